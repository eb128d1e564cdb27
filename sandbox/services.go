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
	"github.com/poolhouse/poolhouse/sandbox/elbv2/classic"
	"github.com/poolhouse/poolhouse/sandbox/graph"
	"github.com/poolhouse/poolhouse/sandbox/guardduty"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/logs"
	"github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
	"github.com/poolhouse/poolhouse/sandbox/servicequotas"
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
	// policies are the resource-based policies of what an ARN of the service
	// names.
	policies func(tx *account.Tx, arn string) []*policy.Document
	// kinds are the types of state that its resources have.
	kinds []graph.Kind
}

// modules are all service packages, with what holds objects, or nil for the
// account itself, and with what holds layers of images, or nil for nothing. Seeds
// run in this order.
func modules(objects s3.Bodies, layers ecr.Layers) []module {
	all := []module{
		{services: []wire.Service{sts.Service()}},
		{services: []wire.Service{iam.Service()}, types: iam.Types(), seed: iam.Seed, policies: iam.Policies},
		{services: []wire.Service{kms.Service()}, types: kms.Types(), events: kms.Events(), policies: kms.Policies},
		{services: []wire.Service{cloudtrail.Service()}},
		{services: []wire.Service{cloudformation.Service()}, types: cloudformation.Types(), events: cloudformation.Events(), kinds: cloudformation.Kinds()},
		{services: []wire.Service{ec2.Service()}, types: ec2.Types(), events: ec2.Events(), seed: ec2.Seed},
		{events: guardduty.Events()},
		{services: []wire.Service{autoscaling.Service()}, types: autoscaling.Types(), events: autoscaling.Events()},
		{services: []wire.Service{eks.Service()}, types: eks.Types(), events: eks.Events()},
		{services: []wire.Service{rds.Service()}, types: rds.Types(), events: rds.Events(), seed: rds.Seed},
		{services: []wire.Service{route53.Service()}, types: route53.Types()},
		{services: []wire.Service{acm.Service()}, types: acm.Types()},
		{services: []wire.Service{elbv2.Service(), classic.Service()}, types: append(elbv2.Types(), classic.Types()...)},
		{services: []wire.Service{logs.Service()}, types: logs.Types(), events: logs.Events()},
		{services: []wire.Service{sns.Service()}, types: sns.Types(), policies: sns.Policies},
		{services: cloudwatch.Services(), types: cloudwatch.Types()},
		{services: []wire.Service{wafv2.Service()}, types: wafv2.Types()},
		{services: []wire.Service{backup.Service()}, types: backup.Types(), events: backup.Events(), policies: backup.Policies},
		{services: []wire.Service{ecr.Service(layers)}, types: ecr.Types(), events: ecr.Events(), policies: ecr.Policies},
		{services: []wire.Service{s3.Service(objects)}, types: s3.Types(), policies: s3.Policies},
		{services: []wire.Service{ssm.Service()}, types: ssm.Types(), events: ssm.Events()},
		{services: []wire.Service{servicequotas.Service()}},
		{services: []wire.Service{secretsmanager.Service()}, types: secretsmanager.Types(), events: secretsmanager.Events(), policies: secretsmanager.Policies},
	}
	for _, m := range all {
		for i, s := range m.services {
			m.services[i] = heeding(s)
		}
	}
	return all
}
