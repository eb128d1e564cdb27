package iam

import (
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
)

// awsTexts are the statements of those of AWS's managed policies whose text is
// known here. Of the others only the names are: what they would decide is
// answered as not modelled.
//
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
var awsTexts = map[string]string{
	"AdministratorAccess": `{"Effect":"Allow","Action":"*","Resource":"*"}`,
	"PowerUserAccess": `{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"},
		{"Effect":"Allow","Action":["account:GetAccountInformation","account:GetGovCloudAccountInformation","account:GetPrimaryEmail","account:ListRegions","iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles","organizations:DescribeOrganization"],"Resource":"*"}`,
	"IAMFullAccess":                      `{"Effect":"Allow","Action":["iam:*","organizations:DescribeAccount","organizations:DescribeOrganization","organizations:DescribeOrganizationalUnit","organizations:DescribePolicy","organizations:ListChildren","organizations:ListParents","organizations:ListPoliciesForTarget","organizations:ListRoots","organizations:ListPolicies","organizations:ListTargetsForPolicy"],"Resource":"*"}`,
	"IAMReadOnlyAccess":                  `{"Effect":"Allow","Action":["iam:GenerateCredentialReport","iam:GenerateServiceLastAccessedDetails","iam:Get*","iam:List*","iam:SimulateCustomPolicy","iam:SimulatePrincipalPolicy"],"Resource":"*"}`,
	"AmazonS3FullAccess":                 `{"Effect":"Allow","Action":["s3:*","s3-object-lambda:*"],"Resource":"*"}`,
	"AmazonS3ReadOnlyAccess":             `{"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:Describe*","s3-object-lambda:Get*","s3-object-lambda:List*"],"Resource":"*"}`,
	"AWSCloudFormationFullAccess":        `{"Effect":"Allow","Action":["cloudformation:*"],"Resource":"*"}`,
	"AWSCloudFormationReadOnlyAccess":    `{"Effect":"Allow","Action":["cloudformation:Describe*","cloudformation:EstimateTemplateCost","cloudformation:Get*","cloudformation:List*","cloudformation:ValidateTemplate","cloudformation:BatchDescribe*","cloudformation:Detect*"],"Resource":"*"}`,
	"AmazonEC2ContainerRegistryPullOnly": `{"Sid":"ECRPullOnly","Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchImportUpstreamImage"],"Resource":"*"}`,
	"AmazonEC2ContainerRegistryReadOnly": `{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:GetRepositoryPolicy","ecr:DescribeRepositories","ecr:ListImages","ecr:DescribeImages","ecr:BatchGetImage","ecr:GetLifecyclePolicy","ecr:GetLifecyclePolicyPreview","ecr:ListTagsForResource","ecr:DescribeImageScanFindings"],"Resource":"*"}`,
	"AmazonEKSWorkerNodePolicy":          `{"Sid":"WorkerNodePermissions","Effect":"Allow","Action":["ec2:DescribeInstances","ec2:DescribeInstanceTypes","ec2:DescribeRouteTables","ec2:DescribeSecurityGroups","ec2:DescribeSubnets","ec2:DescribeVolumes","ec2:DescribeVolumesModifications","ec2:DescribeVpcs","eks:DescribeCluster","eks-auth:AssumeRoleForPodIdentity"],"Resource":"*"}`,
	"AmazonSSMManagedInstanceCore": `{"Effect":"Allow","Action":["ssm:DescribeAssociation","ssm:GetDeployablePatchSnapshotForInstance","ssm:GetDocument","ssm:DescribeDocument","ssm:GetManifest","ssm:GetParameter","ssm:GetParameters","ssm:ListAssociations","ssm:ListInstanceAssociations","ssm:PutInventory","ssm:PutComplianceItems","ssm:PutConfigurePackageResult","ssm:UpdateAssociationStatus","ssm:UpdateInstanceAssociationStatus","ssm:UpdateInstanceInformation"],"Resource":"*"},
		{"Effect":"Allow","Action":["ssmmessages:CreateControlChannel","ssmmessages:CreateDataChannel","ssmmessages:OpenControlChannel","ssmmessages:OpenDataChannel"],"Resource":"*"},
		{"Effect":"Allow","Action":["ec2messages:AcknowledgeMessage","ec2messages:DeleteMessage","ec2messages:FailMessage","ec2messages:GetEndpoint","ec2messages:GetMessages","ec2messages:SendReply"],"Resource":"*"}`,
	"service-role/AmazonRDSEnhancedMonitoringRole": `{"Sid":"EnableCreationAndManagementOfRDSCloudwatchLogGroups","Effect":"Allow","Action":["logs:CreateLogGroup","logs:PutRetentionPolicy"],"Resource":["arn:aws:logs:*:*:log-group:RDS*"]},
		{"Sid":"EnableCreationAndManagementOfRDSCloudwatchLogStreams","Effect":"Allow","Action":["logs:CreateLogStream","logs:PutLogEvents","logs:DescribeLogStreams","logs:GetLogEvents"],"Resource":["arn:aws:logs:*:*:log-group:RDS*:log-stream:*"]}`,
}

// awsDocuments are the documents of awsTexts.
var awsDocuments = sync.OnceValue(func() map[string]*policy.Document {
	out := make(map[string]*policy.Document, len(awsTexts))
	for name := range awsTexts {
		// A test holds that they parse.
		out[name], _ = policy.Parse(awsText(name), policy.Identity)
	}
	return out
})

// awsDocument is the document of one of AWS's policies, by its path and name;
// nil if its text isn't known.
func awsDocument(name string) *policy.Document { return awsDocuments()[name] }

// awsText is the text of one of AWS's policies, or "".
func awsText(name string) string {
	if s := awsTexts[name]; s != "" {
		return `{"Version":"2012-10-17","Statement":[` + strings.NewReplacer("\n", "", "\t", "").Replace(s) + `]}`
	}
	return ""
}
