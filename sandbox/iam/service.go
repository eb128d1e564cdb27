package iam

import (
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// linkedRole is a role that only one service may use and change.
type linkedRole struct {
	name, policy string
	// suffix tells that more than one is possible.
	suffix bool
}

// linkedRoles are the service-linked roles by service.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
func linkedRoles() map[string]linkedRole {
	return map[string]linkedRole{
		"autoscaling.amazonaws.com":          {"AWSServiceRoleForAutoScaling", "AutoScalingServiceRolePolicy", true},
		"backup.amazonaws.com":               {"AWSServiceRoleForBackup", "AWSBackupServiceLinkedRolePolicyForBackup", false},
		"eks.amazonaws.com":                  {"AWSServiceRoleForAmazonEKS", "AmazonEKSServiceRolePolicy", false},
		"eks-nodegroup.amazonaws.com":        {"AWSServiceRoleForAmazonEKSNodegroup", "AWSServiceRoleForAmazonEKSNodegroup", false},
		"elasticloadbalancing.amazonaws.com": {"AWSServiceRoleForElasticLoadBalancing", "AWSElasticLoadBalancingServiceRolePolicy", false},
		"rds.amazonaws.com":                  {"AWSServiceRoleForRDS", "AmazonRDSServiceRolePolicy", false},
		"spot.amazonaws.com":                 {"AWSServiceRoleForEC2Spot", "AWSEC2SpotServiceRolePolicy", false},
		"ec2fleet.amazonaws.com":             {"AWSServiceRoleForEC2Fleet", "AWSEC2FleetServiceRolePolicy", false},
		"ssm.amazonaws.com":                  {"AWSServiceRoleForAmazonSSM", "AmazonSSMServiceRolePolicy", false},
		"wafv2.amazonaws.com":                {"AWSServiceRoleForWAFV2Logging", "WAFV2LoggingServiceRolePolicy", false},
		"guardduty.amazonaws.com":            {"AWSServiceRoleForAmazonGuardDuty", "AmazonGuardDutyServiceRolePolicy", false},
		"replication.ecr.amazonaws.com":      {"AWSServiceRoleForECRReplication", "ECRReplicationServiceRolePolicy", false},
		"support.amazonaws.com":              {"AWSServiceRoleForSupport", "AWSSupportServiceRolePolicy", false},
		"trustedadvisor.amazonaws.com":       {"AWSServiceRoleForTrustedAdvisor", "AWSTrustedAdvisorServiceRolePolicy", false},
	}
}

// EnsureServiceLinkedRole returns the role of a service, which it makes if need
// be, as services do the first time they are used. Nil means that the service
// has none that is modelled.
func EnsureServiceLinkedRole(tx *account.Tx, service string) *account.Resource {
	l, ok := linkedRoles()[service]
	if !ok {
		return nil
	}
	if r := tx.Get(TypeRole, l.name); r != nil {
		return r
	}
	r, err := newLinkedRole(tx, service, l, "", "")
	if err != nil {
		return nil
	}
	return r
}

func newLinkedRole(tx *account.Tx, service string, l linkedRole, suffix, description string) (*account.Resource, error) {
	name := l.name
	if suffix != "" {
		name += "_" + suffix
	}
	p := map[string]any{
		"RoleName": name, "Path": "/aws-service-role/" + service + "/",
		"AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}]}`,
		"ManagedPolicyArns":        []any{"arn:" + tx.Partition() + ":iam::aws:policy/aws-service-role/" + l.policy},
	}
	if description != "" {
		p["Description"] = description
	}
	r, _, err := tx.Create(TypeRole, p, service, false)
	if err != nil {
		return nil, err
	}
	return r, tx.Settle(r, "create")
}

// createServiceLinkedRole refuses a role that is there already in the words
// that SDK users match on.
func createServiceLinkedRole(tx *account.Tx, service, suffix, description string) (*account.Resource, error) {
	l, ok := linkedRoles()[service]
	switch {
	case !ok && !ServiceExists(service):
		return nil, errorf("InvalidInput", "%s is not a valid service name", service)
	case !ok:
		return nil, account.NotModelled("the service-linked role of %s is not modelled by the sandbox", service)
	case suffix != "" && !l.suffix:
		return nil, errorf("InvalidInput", "Custom suffix is not allowed for %s", service)
	}
	name := l.name
	if suffix != "" {
		name += "_" + suffix
	}
	if tx.Get(TypeRole, name) != nil {
		return nil, errorf("InvalidInput", "Service role name %s has been taken in this account, please try a different suffix.", name)
	}
	return newLinkedRole(tx, service, l, suffix, description)
}

var regionalService = regexp.MustCompile(`^([a-z0-9-]+)\.[a-z]{2}(-[a-z]+)+-\d\.amazonaws\.com$`)

// ServiceExists tells whether a policy may name a service principal.
func ServiceExists(principal string) bool {
	name, ok := strings.CutSuffix(strings.TrimSuffix(principal, ".cn"), ".amazonaws.com")
	if !ok {
		return false
	}
	if m := regionalService.FindStringSubmatch(principal); m != nil {
		name = m[1]
	}
	return slices.Contains(servicePrincipals(), name)
}

// servicePrincipals are the names of services as principals, without
// amazonaws.com.
func servicePrincipals() []string {
	return []string{
		"access-analyzer", "acm", "airflow", "amplify", "apigateway", "appmesh", "athena", "autoscaling", "backup", "batch", "batchoperations.s3",
		"bedrock", "budgets", "cloudformation", "cloudfront", "cloudtrail", "cloudwatch", "codebuild", "codedeploy", "codepipeline", "config",
		"dax", "delivery.logs", "dlm", "dms", "ds", "dynamodb", "ec2", "ec2fleet", "ecr", "ecs", "ecs-tasks", "edgelambda", "eks", "eks-fargate-pods", "eks-nodegroup",
		"elasticache", "elasticfilesystem", "elasticloadbalancing", "elasticmapreduce", "es", "events", "export.rds", "firehose", "fsx", "glue", "guardduty",
		"imagebuilder", "inspector2", "kafka", "kinesis", "kms", "lambda", "logdelivery.elasticloadbalancing", "logging.s3", "logs", "macie", "monitoring", "monitoring.rds",
		"opensearchservice", "organizations", "pods.eks", "pipes", "ram", "rds", "redshift", "replication.ecr", "resource-groups", "route53", "s3", "sagemaker", "scheduler",
		"secretsmanager", "securityhub", "ses", "sns", "spot", "spotfleet", "sqs", "ssm", "states", "storagegateway", "support", "synthetics", "trustedadvisor",
		"transfer", "vpc-flow-logs", "vpc-lattice", "wafv2", "xray",
	}
}
