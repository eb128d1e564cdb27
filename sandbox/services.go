package sandbox

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/logs"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
	"github.com/poolhouse/poolhouse/sandbox/sts"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// module is what one service package brings into the account.
type module struct {
	services []wire.Service
	types    []*account.Type
	events   map[string]func(*account.Tx, account.Event)
	seed     func(*account.Tx)
}

// modules are all service packages.
func modules() []module {
	return []module{
		{services: []wire.Service{sts.Service()}},
		{services: []wire.Service{iam.Service()}, types: iam.Types(), seed: iam.Seed},
		{services: []wire.Service{kms.Service()}, types: kms.Types(), events: kms.Events()},
		{services: []wire.Service{logs.Service()}, types: logs.Types()},
		{services: []wire.Service{ssm.Service()}, types: ssm.Types()},
		{services: []wire.Service{secretsmanager.Service()}, types: secretsmanager.Types(), events: secretsmanager.Events()},
	}
}
