package wire

import (
	"cmp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// required are members without which AWS refuses a request, of operations that
// don't look themselves. A test holds all operations to AWS's service models.
func required(service, operation string) []string {
	switch service + "." + operation {
	case "cloudformation.DeleteChangeSet":
		return []string{"ChangeSetName"}
	case "ec2.CreateCapacityReservation":
		return []string{"InstanceType", "InstancePlatform", "InstanceCount"}
	case "ec2.DeleteVpcEndpoints":
		return []string{"VpcEndpointId"}
	case "ecr.BatchGetImage", "ecr.BatchDeleteImage":
		return []string{"repositoryName", "imageIds"}
	case "ecr.PutImageScanningConfiguration":
		return []string{"repositoryName", "imageScanningConfiguration"}
	case "ecr.PutImageTagMutability":
		return []string{"repositoryName", "imageTagMutability"}
	case "ecr.PutLifecyclePolicy":
		return []string{"repositoryName", "lifecyclePolicyText"}
	case "eks.AssociateAccessPolicy":
		return []string{"policyArn", "accessScope"}
	case "elb.AddTags", "elb.RemoveTags":
		return []string{"LoadBalancerNames", "Tags"}
	case "elb.CreateLoadBalancer":
		return []string{"LoadBalancerName", "Listeners"}
	case "elb.DeleteLoadBalancer":
		return []string{"LoadBalancerName"}
	case "elb.DescribeTags":
		return []string{"LoadBalancerNames"}
	case "elasticloadbalancing.AddTags":
		return []string{"ResourceArns", "Tags"}
	case "elasticloadbalancing.DeleteLoadBalancer":
		return []string{"LoadBalancerArn"}
	case "elasticloadbalancing.DeleteTargetGroup":
		return []string{"TargetGroupArn"}
	case "elasticloadbalancing.RegisterTargets", "elasticloadbalancing.DeregisterTargets":
		return []string{"TargetGroupArn", "Targets"}
	case "elasticloadbalancing.DescribeTags":
		return []string{"ResourceArns"}
	case "elasticloadbalancing.ModifyLoadBalancerAttributes":
		return []string{"LoadBalancerArn", "Attributes"}
	case "elasticloadbalancing.RemoveTags":
		return []string{"ResourceArns", "TagKeys"}
	case "iam.CreateInstanceProfile":
		return []string{"InstanceProfileName"}
	case "iam.PutRolePermissionsBoundary":
		return []string{"RoleName", "PermissionsBoundary"}
	case "iam.TagRole":
		return []string{"RoleName", "Tags"}
	case "iam.UntagRole":
		return []string{"RoleName", "TagKeys"}
	case "kms.PutKeyPolicy":
		return []string{"KeyId", "Policy"}
	case "kms.TagResource":
		return []string{"KeyId", "Tags"}
	case "kms.UntagResource":
		return []string{"KeyId", "TagKeys"}
	case "kms.UpdateKeyDescription":
		return []string{"KeyId", "Description"}
	case "logs.AssociateKmsKey":
		return []string{"kmsKeyId"}
	case "logs.PutLogGroupDeletionProtection":
		return []string{"logGroupIdentifier", "deletionProtectionEnabled"}
	case "logs.PutRetentionPolicy":
		return []string{"logGroupName", "retentionInDays"}
	case "route53.CreateHostedZone":
		return []string{"Name", "CallerReference"}
	case "secretsmanager.TagResource":
		return []string{"SecretId", "Tags"}
	case "secretsmanager.UntagResource":
		return []string{"SecretId", "TagKeys"}
	case "ssm.DeleteParameters":
		return []string{"Names"}
	case "ssm.GetConnectionStatus":
		return []string{"Target"}
	case "ssm.TerminateSession":
		return []string{"SessionId"}
	case "wafv2.GetWebACLForResource":
		return []string{"ResourceArn"}
	case "wafv2.ListIPSets", "wafv2.ListWebACLs":
		return []string{"Scope"}
	}
	return nil
}

// complete refuses a request that lacks a required member, in the words that
// the service has for it.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func complete(s *Service, operation string, in map[string]any) error {
	for _, name := range required(cmp.Or(s.API, s.Name), operation) {
		if in[name] != nil {
			continue
		}
		member := strings.ToLower(name[:1]) + name[1:]
		switch {
		case s.Protocol == EC2Query:
			return account.Errorf("MissingParameter", "The request must contain the parameter %s", name)
		case s.Name == "ecr":
			return account.Errorf("InvalidParameterException", "Invalid parameter at '%s' failed to satisfy constraint: 'Member must not be null'", member)
		}
		code := "ValidationException"
		switch {
		case s.Name == "logs" || s.Name == "eks":
			code = "InvalidParameterException"
		case s.Protocol == Query:
			code = "ValidationError"
		case s.Protocol == RestXML:
			code = "InvalidInput"
		}
		return account.Errorf(code, "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", member)
	}
	return nil
}
