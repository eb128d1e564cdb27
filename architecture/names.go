package architecture

import (
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/config"
)

// All names begin with the deployment's, which has 3 to 24 characters: short
// enough for load balancers and target groups (32), node groups (63), database
// instances (63), roles (64) and stacks (128). Buckets and roles are checked,
// since their names hold the region.

// Name is the deployment's.
func (a *Architecture) Name() string { return a.Config.Name }

// ResourceName is the name of a part in tags, and where AWS wants a name that
// nobody needs to know.
func (a *Architecture) ResourceName(part string) string { return a.Config.Name + "-" + part }

// StackName is the CloudFormation stack's name.
func (a *Architecture) StackName(s StackName) string { return a.ResourceName(string(s)) }

// StackIDTag is the tag that CloudFormation, and nobody else, gives to what a stack
// makes: the stack's id, an ARN with its name in it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-console-create-stack.html
const StackIDTag = "aws:cloudformation:stack-id"

// Made tells by its tags that a stack of that name made a resource.
func (a *Architecture) Made(s StackName, tags map[string]string) bool {
	return strings.Contains(tags[StackIDTag], ":stack/"+a.StackName(s)+"/")
}

// ClusterName is the EKS cluster's name.
func (a *Architecture) ClusterName() string { return a.Config.Name }

// KeyAlias is the alias of a KMS key.
func (a *Architecture) KeyAlias(p KeyPurpose) string {
	return "alias/" + a.Config.Name + "/" + string(p)
}

// LoadBalancerName is the name of the web or admin load balancer, up to 32
// characters for parts up to 7.
func (a *Architecture) LoadBalancerName(part string) string { return a.ResourceName(part) }

// DatabaseName is the RDS instance's identifier.
func (a *Architecture) DatabaseName() string { return a.Config.Name }

// RoleName is a role's name. IAM is global, so it holds the region: two
// deployments of one name can be in two regions.
func (a *Architecture) RoleName(part string) string {
	return a.ResourceName(part) + "-" + a.Config.Region
}

// RepositoryName is the name of an ECR repository.
func (a *Architecture) RepositoryName(repository string) string {
	return a.Config.Name + "/" + repository
}

// ParameterPath is where the deployment's Parameter Store entries are.
func (a *Architecture) ParameterPath() string { return "/poolhouse/" + a.Config.Name }

// LeasePath is where it stands who works on the deployment. No entry of the
// stack parameters is below it.
func (a *Architecture) LeasePath() string { return a.ParameterPath() + "/lease" }

// UpgradePath is the parameter that says where an upgrade of Kubernetes stands, as
// long as one is under way. No entry of the deployment has its name.
func (a *Architecture) UpgradePath() string { return a.ParameterPath() + "/upgrade" }

// ClusterLogGroup is where EKS writes its logs. EKS fixes the name.
// https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html
func (a *Architecture) ClusterLogGroup() string {
	return "/aws/eks/" + a.ClusterName() + "/cluster"
}

// DatabaseLogGroup is where RDS writes one of its logs. RDS fixes the name.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_LogAccess.Procedural.UploadtoCloudWatch.html
func (a *Architecture) DatabaseLogGroup(log string) string {
	return "/aws/rds/instance/" + a.DatabaseName() + "/" + log
}

// WAFLogGroup is where WAF writes its logs. WAF fixes how the name begins.
// https://docs.aws.amazon.com/waf/latest/developerguide/logging-cw-logs.html
func (a *Architecture) WAFLogGroup() string { return "aws-waf-logs-" + a.Config.Name }

// LogGroup is the log group of another part.
func (a *Architecture) LogGroup(part string) string { return a.ParameterPath() + "/" + part }

// LogGroups are patterns of all log groups of the deployment, for the policy
// of their key.
func (a *Architecture) LogGroups() []string {
	return []string{
		a.ClusterLogGroup(),
		a.LogGroup("*"),
		a.DatabaseLogGroup("*"),
		a.WAFLogGroup(),
	}
}

// planBuckets fills in Buckets and checks their names and those of roles.
func (a *Architecture) planBuckets() config.Faults {
	c := a.Config
	var faults config.Faults
	seen := map[string]BucketPurpose{}
	for _, b := range []struct {
		purpose BucketPurpose
		key     string
		bucket  config.Bucket
	}{
		{BucketModels, "models", c.Storage.Models},
		{BucketCodeDocs, "codeDocs", c.Storage.CodeDocs},
		{BucketAudit, "audit", c.Storage.Audit},
		{BucketTelemetry, "telemetry", c.Storage.Telemetry},
		{BucketLogs, "logs", c.Storage.Logs},
	} {
		name := b.bucket.Name
		if name == "" {
			name = a.ResourceName(string(b.purpose)) + "-${AWS::AccountId}-${AWS::Region}"
		}
		path := "storage." + b.key + ".name"
		whole := strings.NewReplacer("${AWS::AccountId}", "123456789012", "${AWS::Region}", c.Region).Replace(name)
		if len(whole) > 63 {
			faults = append(faults, c.Fault(path, fmt.Sprintf("%s has %d characters, more than 63", whole, len(whole)), "name the bucket, or shorten the deployment's name"))
		}
		if other, ok := seen[whole]; ok {
			faults = append(faults, c.Fault(path, fmt.Sprintf("%s is the name of %s too", whole, other), "give each bucket a name of its own"))
		}
		seen[whole] = b.purpose
		a.Buckets = append(a.Buckets, Bucket{b.purpose, name, b.bucket})
	}
	if n := a.RoleName(RoleLoadBalancerController); len(n) > 64 {
		faults = append(faults, c.Fault("name", fmt.Sprintf("the role %s would have %d characters, more than 64", n, len(n)), "shorten the name"))
	}
	return faults
}

// checkRegistry finds repositories whose names give one logical id, and more of
// them than one template holds: CloudFormation takes 51,200 bytes inline, of
// which the buckets need a third and a repository some hundreds.
func (a *Architecture) checkRegistry() config.Faults {
	const room, each = 33_000, 480
	c := a.Config
	var faults config.Faults
	seen := map[string]string{}
	size := 0
	for _, name := range c.Registry.Repositories {
		words := strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' || r == '/' }), " ")
		if other, ok := seen[words]; ok {
			faults = append(faults, c.Fault("registry.repositories", fmt.Sprintf("%s and %s differ in separators only", other, name), "rename one"))
		}
		seen[words] = name
		size += each + 2*len(name)
	}
	if size > room {
		faults = append(faults, c.Fault("registry.repositories", "has more or longer names than one CloudFormation template holds", fmt.Sprintf("keep about %d", room/(each+40))))
	}
	return faults
}

// Bucket is the bucket for a purpose.
func (a *Architecture) Bucket(p BucketPurpose) Bucket {
	for _, b := range a.Buckets {
		if b.Purpose == p {
			return b
		}
	}
	return Bucket{}
}
