package sandbox

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/acm"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/backup"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation"
	"github.com/poolhouse/poolhouse/sandbox/cloudtrail"
	"github.com/poolhouse/poolhouse/sandbox/cloudwatch"
	ec2 "github.com/poolhouse/poolhouse/sandbox/ec2/api"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/logs"
	"github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
	"github.com/poolhouse/poolhouse/sandbox/sns"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
	"github.com/poolhouse/poolhouse/sandbox/sts"
	"github.com/poolhouse/poolhouse/sandbox/wafv2"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// module is what one service package brings into the account.
type module struct {
	services []wire.Service
	types    []*account.Type
	events   map[string]func(*account.Tx, account.Event)
	seed     func(*account.Tx)
}

// modules are all service packages. Seeds run in this order.
func modules() []module {
	return []module{
		{services: []wire.Service{sts.Service()}},
		{services: []wire.Service{iam.Service()}, types: iam.Types(), seed: iam.Seed},
		{services: []wire.Service{kms.Service()}, types: kms.Types(), events: kms.Events()},
		{services: []wire.Service{cloudtrail.Service()}},
		{services: []wire.Service{cloudformation.Service()}, events: cloudformation.Events()},
		{services: []wire.Service{ec2.Service()}, types: ec2.Types(), seed: ec2.Seed},
		{services: []wire.Service{autoscaling.Service()}, types: autoscaling.Types()},
		{services: []wire.Service{eks.Service()}, types: eks.Types()},
		{services: []wire.Service{rds.Service()}, types: rds.Types(), events: rds.Events(), seed: rds.Seed},
		{services: []wire.Service{route53.Service()}, types: route53.Types()},
		{services: []wire.Service{acm.Service()}, types: acm.Types()},
		{services: []wire.Service{elbv2.Service()}, types: elbv2.Types()},
		{services: []wire.Service{logs.Service()}, types: logs.Types()},
		{services: []wire.Service{sns.Service()}, types: sns.Types()},
		{services: cloudwatch.Services(), types: cloudwatch.Types()},
		{services: []wire.Service{wafv2.Service()}, types: wafv2.Types()},
		{services: []wire.Service{backup.Service()}, types: backup.Types(), events: backup.Events()},
		{services: []wire.Service{ecr.Service()}, types: ecr.Types()},
		{services: []wire.Service{s3.Service()}, types: s3.Types()},
		{services: []wire.Service{ssm.Service()}, types: ssm.Types()},
		{services: []wire.Service{secretsmanager.Service()}, types: secretsmanager.Types(), events: secretsmanager.Events()},
	}
}
