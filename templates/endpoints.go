package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
)

// endpoints is the VPC's endpoints: S3's gateway, so that images and models pass
// no NAT, and the interfaces that were asked for. A gateway is routes, so there
// is none of ours in route tables that are not ours.
func endpoints(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Endpoints)
	if !a.Config.Network.Exists() {
		t.Add("S3Endpoint", ec2.VPCEndpoint{
			VpcId:           vpcID(t),
			ServiceName:     cfn.Sub("com.amazonaws.${AWS::Region}.s3"),
			VpcEndpointType: cfn.V("Gateway"),
			RouteTableIds:   t.InputList(string(architecture.Network), "PrivateRouteTableIds"),
			PolicyDocument:  s3EndpointPolicy(),
			Tags:            named(a, "s3"),
		})
		t.Output("S3EndpointId", t.Resource("S3Endpoint").Ref())
	}
	for _, service := range a.Endpoints {
		e := ec2.VPCEndpoint{
			VpcId:             vpcID(t),
			ServiceName:       cfn.Sub("com.amazonaws.${AWS::Region}." + service),
			VpcEndpointType:   cfn.V("Interface"),
			PrivateDnsEnabled: cfn.V(true),
			SubnetIds:         subnetIDs(t, architecture.Private),
			SecurityGroupIds:  cfn.ListOf(securityGroupID(t, groupEndpoints)),
			Tags:              named(a, service),
		}
		if p, ok := endpointPolicy(service); ok {
			e.PolicyDocument = p
		}
		t.Add(cfn.LogicalID(camel(service)+"Endpoint"), e)
	}
	return t
}

// s3EndpointPolicy lets the account's principals use the account's buckets, and
// everybody read what AWS keeps in its own: image layers of ECR, which come by
// URLs that ECR signs, and packages of Amazon Linux.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
// https://docs.aws.amazon.com/linux/al2023/ug/ec2.html
func s3EndpointPolicy() cfn.Policy {
	return cfn.Policy{Statement: []cfn.Statement{
		{
			Sid:       "OwnBuckets",
			Principal: cfn.Principal{Any: true},
			Action: cfn.L(
				"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetBucketLocation",
				"s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectTagging", "s3:GetObjectVersion",
				"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions", "s3:ListMultipartUploadParts",
				"s3:PutObject", "s3:PutObjectTagging",
			),
			Resource: cfn.L("*"),
			Condition: cfn.Conditions{"StringEquals": {
				"aws:PrincipalAccount": cfn.AccountID(),
				"aws:ResourceAccount":  cfn.AccountID(),
			}},
		},
		{
			Sid:       "AwsContent",
			Principal: cfn.Principal{Any: true},
			Action:    cfn.L("s3:GetObject"),
			Resource: cfn.ListOf(
				cfn.Sub("arn:${AWS::Partition}:s3:::prod-${AWS::Region}-starport-layer-bucket/*"),
				cfn.Sub("arn:${AWS::Partition}:s3:::al2023-repos-${AWS::Region}-de612dc2/*"),
			),
		},
	}}
}

// endpointPolicy lets only the account's principals use a service, where the
// service takes endpoint policies. STS also answers callers who have no account
// yet: pods that trade a service account's token for a role of this account.
// https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
func endpointPolicy(service string) (cfn.Policy, bool) {
	prefix, ok := map[string]string{
		"autoscaling":          "autoscaling",
		"ec2":                  "ec2",
		"ec2messages":          "ec2messages",
		"ecr.api":              "ecr",
		"ecr.dkr":              "ecr",
		"eks":                  "eks",
		"elasticloadbalancing": "elasticloadbalancing",
		"kms":                  "kms",
		"logs":                 "logs",
		"monitoring":           "cloudwatch",
		"secretsmanager":       "secretsmanager",
		"sns":                  "sns",
		"ssm":                  "ssm",
		"ssmmessages":          "ssmmessages",
		"sts":                  "sts",
	}[service]
	if !ok {
		return cfn.Policy{}, false
	}
	p := cfn.Policy{Statement: []cfn.Statement{{
		Sid:       "OwnAccount",
		Principal: cfn.Principal{Any: true},
		Action:    cfn.L(prefix + ":*"),
		Resource:  cfn.L("*"),
		Condition: cfn.Conditions{"StringEquals": {"aws:PrincipalAccount": cfn.AccountID()}},
	}}}
	if service == "sts" {
		p.Statement = append(p.Statement, cfn.Statement{
			Sid:       "ServiceAccounts",
			Principal: cfn.Principal{Any: true},
			Action:    cfn.L("sts:AssumeRoleWithWebIdentity"),
			Resource:  cfn.ListOf(cfn.Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*")),
		})
	}
	return p, true
}
