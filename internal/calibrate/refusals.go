package calibrate

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// request is one that is refused, or should be, and what it is called.
type request struct {
	name, call string
	send       func(context.Context, *side) error
}

// asking is a request of one of the clients.
func asking[C, I, O, P any](name, call string, of func(*side) C, operation func(C, context.Context, I, ...P) (O, error), in I) request {
	return request{name, call, func(ctx context.Context, s *side) error {
		_, err := operation(of(s), ctx, in)
		return err
	}}
}

func ofACM(s *side) *acm.Client                       { return s.ACM }
func ofCloudFormation(s *side) *cloudformation.Client { return s.CloudFormation }
func ofEC2(s *side) *ec2.Client                       { return s.EC2 }
func ofECR(s *side) *ecr.Client                       { return s.ECR }
func ofEKS(s *side) *eks.Client                       { return s.EKS }
func ofELB(s *side) *elb.Client                       { return s.ELB }
func ofIAM(s *side) *iam.Client                       { return s.IAM }
func ofKMS(s *side) *kms.Client                       { return s.KMS }
func ofRDS(s *side) *rds.Client                       { return s.RDS }
func ofRoute53(s *side) *route53.Client               { return s.Route53 }
func ofSSM(s *side) *ssm.Client                       { return s.SSM }
func ofSecretsManager(s *side) *secretsmanager.Client { return s.SecretsManager }

// refused is a probe that compares how requests are refused.
func refused(id, asks string, requests []request) Probe {
	p := Probe{ID: id, Asks: asks}
	for _, r := range requests {
		p.Calls = append(p.Calls, r.call)
	}
	p.look = func(ctx context.Context, s *side) error {
		for _, r := range requests {
			err := r.send(ctx, s)
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			s.refusal(r.name, err)
		}
		return nil
	}
	return p
}

// absentName is a name that nothing has, and absent an id.
const absentName = "poolhouse-calibrate-absent"

func absent(prefix string) string { return prefix + "-" + absentDigits }

func refusals() []Probe {
	return []Probe{
		refused("errors-ec2", "how EC2 refuses ids that nothing has, and ids that are none", ec2Requests()),
		refused("errors-dry-run", "what EC2 answers to dry runs of calls that make or delete something", dryRuns()),
		refused("errors-cloudformation", "how CloudFormation refuses stacks that aren't there, and malformed requests", cloudformationRequests()),
		refused("errors-templates", "what CloudFormation says of good and bad templates", templateRequests()),
		refused("errors-eks", "how EKS refuses names that nothing has", eksRequests()),
		refused("errors-services", "how other services refuse what isn't there", serviceRequests()),
	}
}

func ec2Requests() []request {
	var out []request
	for kind, id := range map[string]string{"absent": "", "malformed": "x"} {
		of := func(prefix string) []string {
			if id != "" {
				return []string{prefix + "-" + id}
			}
			return []string{absent(prefix)}
		}
		out = append(
			out,
			asking(kind+" VPC", "ec2:DescribeVpcs", ofEC2, (*ec2.Client).DescribeVpcs, &ec2.DescribeVpcsInput{VpcIds: of("vpc")}),
			asking(kind+" subnet", "ec2:DescribeSubnets", ofEC2, (*ec2.Client).DescribeSubnets, &ec2.DescribeSubnetsInput{SubnetIds: of("subnet")}),
			asking(kind+" security group", "ec2:DescribeSecurityGroups", ofEC2, (*ec2.Client).DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: of("sg")}),
			asking(kind+" route table", "ec2:DescribeRouteTables", ofEC2, (*ec2.Client).DescribeRouteTables, &ec2.DescribeRouteTablesInput{RouteTableIds: of("rtb")}),
			asking(kind+" network ACL", "ec2:DescribeNetworkAcls", ofEC2, (*ec2.Client).DescribeNetworkAcls, &ec2.DescribeNetworkAclsInput{NetworkAclIds: of("acl")}),
			asking(kind+" internet gateway", "ec2:DescribeInternetGateways", ofEC2, (*ec2.Client).DescribeInternetGateways, &ec2.DescribeInternetGatewaysInput{InternetGatewayIds: of("igw")}),
			asking(kind+" NAT gateway", "ec2:DescribeNatGateways", ofEC2, (*ec2.Client).DescribeNatGateways, &ec2.DescribeNatGatewaysInput{NatGatewayIds: of("nat")}),
			asking(kind+" network interface", "ec2:DescribeNetworkInterfaces", ofEC2, (*ec2.Client).DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: of("eni")}),
			asking(kind+" endpoint", "ec2:DescribeVpcEndpoints", ofEC2, (*ec2.Client).DescribeVpcEndpoints, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: of("vpce")}),
			asking(kind+" instance", "ec2:DescribeInstances", ofEC2, (*ec2.Client).DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: of("i")}),
			asking(kind+" volume", "ec2:DescribeVolumes", ofEC2, (*ec2.Client).DescribeVolumes, &ec2.DescribeVolumesInput{VolumeIds: of("vol")}),
			asking(kind+" launch template", "ec2:DescribeLaunchTemplates", ofEC2, (*ec2.Client).DescribeLaunchTemplates, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateIds: of("lt")}),
			asking(kind+" address", "ec2:DescribeAddresses", ofEC2, (*ec2.Client).DescribeAddresses, &ec2.DescribeAddressesInput{AllocationIds: of("eipalloc")}),
		)
	}
	return append(out, asking("absent launch template by name", "ec2:DescribeLaunchTemplates", ofEC2, (*ec2.Client).DescribeLaunchTemplates, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{absentName}}),
		asking("instance type that isn't", "ec2:DescribeInstanceTypes", ofEC2, (*ec2.Client).DescribeInstanceTypes, &ec2.DescribeInstanceTypesInput{InstanceTypes: []ec2types.InstanceType{"m99.large"}}),
		asking("unknown filter", "ec2:DescribeVpcs", ofEC2, (*ec2.Client).DescribeVpcs, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("no-such-filter", "x")}}),
	)
}

func dryRuns() []request {
	dry := aws.Bool(true)
	return []request{
		asking("make a VPC", "ec2:CreateVpc", ofEC2, (*ec2.Client).CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("10.250.0.0/16"), DryRun: dry}),
		asking("make a VPC that is too large", "ec2:CreateVpc", ofEC2, (*ec2.Client).CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/8"), DryRun: dry}),
		asking("make a VPC of no range", "ec2:CreateVpc", ofEC2, (*ec2.Client).CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.300/16"), DryRun: dry}),
		asking("make a subnet in an absent VPC", "ec2:CreateSubnet", ofEC2, (*ec2.Client).CreateSubnet, &ec2.CreateSubnetInput{VpcId: aws.String(absent("vpc")), CidrBlock: aws.String("10.250.0.0/24"), DryRun: dry}),
		asking("make a security group in an absent VPC", "ec2:CreateSecurityGroup", ofEC2, (*ec2.Client).CreateSecurityGroup, &ec2.CreateSecurityGroupInput{VpcId: aws.String(absent("vpc")), GroupName: aws.String(absentName), Description: aws.String("calibration"), DryRun: dry}),
		asking("delete an absent VPC", "ec2:DeleteVpc", ofEC2, (*ec2.Client).DeleteVpc, &ec2.DeleteVpcInput{VpcId: aws.String(absent("vpc")), DryRun: dry}),
		asking("delete an absent security group", "ec2:DeleteSecurityGroup", ofEC2, (*ec2.Client).DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(absent("sg")), DryRun: dry}),
	}
}

func cloudformationRequests() []request {
	return []request{
		asking("describe an absent stack", "cloudformation:DescribeStacks", ofCloudFormation, (*cloudformation.Client).DescribeStacks, &cloudformation.DescribeStacksInput{StackName: aws.String(absentName)}),
		asking("describe a stack of no name", "cloudformation:DescribeStacks", ofCloudFormation, (*cloudformation.Client).DescribeStacks, &cloudformation.DescribeStacksInput{StackName: aws.String("not_a_stack!")}),
		asking("events of an absent stack", "cloudformation:DescribeStackEvents", ofCloudFormation, (*cloudformation.Client).DescribeStackEvents, &cloudformation.DescribeStackEventsInput{StackName: aws.String(absentName)}),
		asking("resources of an absent stack", "cloudformation:DescribeStackResources", ofCloudFormation, (*cloudformation.Client).DescribeStackResources, &cloudformation.DescribeStackResourcesInput{StackName: aws.String(absentName)}),
		asking("list the resources of an absent stack", "cloudformation:ListStackResources", ofCloudFormation, (*cloudformation.Client).ListStackResources, &cloudformation.ListStackResourcesInput{StackName: aws.String(absentName)}),
		asking("template of an absent stack", "cloudformation:GetTemplate", ofCloudFormation, (*cloudformation.Client).GetTemplate, &cloudformation.GetTemplateInput{StackName: aws.String(absentName)}),
		asking("policy of an absent stack", "cloudformation:GetStackPolicy", ofCloudFormation, (*cloudformation.Client).GetStackPolicy, &cloudformation.GetStackPolicyInput{StackName: aws.String(absentName)}),
		asking("change set of an absent stack", "cloudformation:DescribeChangeSet", ofCloudFormation, (*cloudformation.Client).DescribeChangeSet, &cloudformation.DescribeChangeSetInput{StackName: aws.String(absentName), ChangeSetName: aws.String(absentName)}),
		asking("change sets of an absent stack", "cloudformation:ListChangeSets", ofCloudFormation, (*cloudformation.Client).ListChangeSets, &cloudformation.ListChangeSetsInput{StackName: aws.String(absentName)}),
		asking("imports of an absent export", "cloudformation:ListImports", ofCloudFormation, (*cloudformation.Client).ListImports, &cloudformation.ListImportsInput{ExportName: aws.String(absentName)}),
	}
}

func templateRequests() []request {
	var out []request
	for name, body := range map[string]string{
		"good":                    `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic"}}}`,
		"not JSON":                `{"Resources":`,
		"no resources":            `{"Description":"nothing"}`,
		"empty resources":         `{"Resources":{}}`,
		"unknown type":            `{"Resources":{"X":{"Type":"AWS::SNS::Nothing"}}}`,
		"no type":                 `{"Resources":{"X":{}}}`,
		"unknown section":         `{"Bogus":{},"Resources":{"Topic":{"Type":"AWS::SNS::Topic"}}}`,
		"unknown attribute":       `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Bogus":1}}}`,
		"dangling reference":      `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{"TopicName":{"Ref":"Nothing"}}}}}`,
		"dangling attribute":      `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{"TopicName":{"Fn::GetAtt":["Nothing","Arn"]}}}}}`,
		"dangling dependency":     `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","DependsOn":"Nothing"}}}`,
		"unknown condition":       `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Condition":"Nothing"}}}`,
		"circle":                  `{"Resources":{"A":{"Type":"AWS::SNS::Topic","DependsOn":"B"},"B":{"Type":"AWS::SNS::Topic","DependsOn":"A"}}}`,
		"name of a resource":      `{"Resources":{"a-b":{"Type":"AWS::SNS::Topic"}}}`,
		"wrong version":           `{"AWSTemplateFormatVersion":"2020-01-01","Resources":{"Topic":{"Type":"AWS::SNS::Topic"}}}`,
		"parameter without type":  `{"Parameters":{"P":{}},"Resources":{"Topic":{"Type":"AWS::SNS::Topic"}}}`,
		"parameter of wrong type": `{"Parameters":{"P":{"Type":"Text"}},"Resources":{"Topic":{"Type":"AWS::SNS::Topic"}}}`,
		"output without value":    `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic"}},"Outputs":{"O":{"Description":"none"}}}`,
		"null":                    `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{"TopicName":null}}}}`,
		"deletion policy":         `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","DeletionPolicy":"Keep"}}}`,
		"snapshot of a topic":     `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","DeletionPolicy":"Snapshot"}}}`,
		"not a template":          `just text`,
		"list":                    `[]`,
	} {
		out = append(out, asking(name, "cloudformation:ValidateTemplate", ofCloudFormation, (*cloudformation.Client).ValidateTemplate, &cloudformation.ValidateTemplateInput{TemplateBody: aws.String(body)}))
	}
	return out
}

func eksRequests() []request {
	name := aws.String(absentName)
	return []request{
		asking("cluster", "eks:DescribeCluster", ofEKS, (*eks.Client).DescribeCluster, &eks.DescribeClusterInput{Name: name}),
		asking("node group", "eks:DescribeNodegroup", ofEKS, (*eks.Client).DescribeNodegroup, &eks.DescribeNodegroupInput{ClusterName: name, NodegroupName: name}),
		asking("node groups", "eks:ListNodegroups", ofEKS, (*eks.Client).ListNodegroups, &eks.ListNodegroupsInput{ClusterName: name}),
		asking("add-on", "eks:DescribeAddon", ofEKS, (*eks.Client).DescribeAddon, &eks.DescribeAddonInput{ClusterName: name, AddonName: aws.String("vpc-cni")}),
		asking("access entries", "eks:ListAccessEntries", ofEKS, (*eks.Client).ListAccessEntries, &eks.ListAccessEntriesInput{ClusterName: name}),
		asking("updates", "eks:ListUpdates", ofEKS, (*eks.Client).ListUpdates, &eks.ListUpdatesInput{Name: name}),
	}
}

func serviceRequests() []request {
	name := aws.String(absentName)
	return []request{
		asking("IAM role", "iam:GetRole", ofIAM, (*iam.Client).GetRole, &iam.GetRoleInput{RoleName: name}),
		asking("IAM policy", "iam:GetPolicy", ofIAM, (*iam.Client).GetPolicy, &iam.GetPolicyInput{PolicyArn: aws.String("arn:aws:iam::aws:policy/" + absentName)}),
		asking("IAM instance profile", "iam:GetInstanceProfile", ofIAM, (*iam.Client).GetInstanceProfile, &iam.GetInstanceProfileInput{InstanceProfileName: name}),
		asking("IAM policies of a role", "iam:ListAttachedRolePolicies", ofIAM, (*iam.Client).ListAttachedRolePolicies, &iam.ListAttachedRolePoliciesInput{RoleName: name}),
		asking("database", "rds:DescribeDBInstances", ofRDS, (*rds.Client).DescribeDBInstances, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: name}),
		asking("database snapshot", "rds:DescribeDBSnapshots", ofRDS, (*rds.Client).DescribeDBSnapshots, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: name}),
		asking("database subnet group", "rds:DescribeDBSubnetGroups", ofRDS, (*rds.Client).DescribeDBSubnetGroups, &rds.DescribeDBSubnetGroupsInput{DBSubnetGroupName: name}),
		asking("database parameter group", "rds:DescribeDBParameterGroups", ofRDS, (*rds.Client).DescribeDBParameterGroups, &rds.DescribeDBParameterGroupsInput{DBParameterGroupName: name}),
		asking("load balancer", "elasticloadbalancing:DescribeLoadBalancers", ofELB, (*elb.Client).DescribeLoadBalancers, &elb.DescribeLoadBalancersInput{Names: []string{"calibrate-absent"}}),
		asking("target group", "elasticloadbalancing:DescribeTargetGroups", ofELB, (*elb.Client).DescribeTargetGroups, &elb.DescribeTargetGroupsInput{Names: []string{"calibrate-absent"}}),
		asking("key by alias", "kms:DescribeKey", ofKMS, (*kms.Client).DescribeKey, &kms.DescribeKeyInput{KeyId: aws.String("alias/" + absentName)}),
		asking("key by no id", "kms:DescribeKey", ofKMS, (*kms.Client).DescribeKey, &kms.DescribeKeyInput{KeyId: aws.String("not-a-key")}),
		asking("secret", "secretsmanager:DescribeSecret", ofSecretsManager, (*secretsmanager.Client).DescribeSecret, &secretsmanager.DescribeSecretInput{SecretId: name}),
		asking("parameter", "ssm:GetParameter", ofSSM, (*ssm.Client).GetParameter, &ssm.GetParameterInput{Name: aws.String("/" + absentName)}),
		asking("repository", "ecr:DescribeRepositories", ofECR, (*ecr.Client).DescribeRepositories, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{absentName}}),
		asking("certificate of no ARN", "acm:DescribeCertificate", ofACM, (*acm.Client).DescribeCertificate, &acm.DescribeCertificateInput{CertificateArn: aws.String("arn:aws:acm:" + "us-east-1:not-a-certificate")}),
		asking("hosted zone", "route53:GetHostedZone", ofRoute53, (*route53.Client).GetHostedZone, &route53.GetHostedZoneInput{Id: aws.String("Z0123456789ABCDEFGHIJ")}),
	}
}
