package diagnosis

import (
	"slices"
	"sync"
)

// Where the documents are.
const (
	cfnDocs = "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/"
	iamDocs = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
	kmsDocs = "https://docs.aws.amazon.com/kms/latest/"
	eksDocs = "https://docs.aws.amazon.com/eks/latest/"
	ec2Docs = "https://docs.aws.amazon.com/AWSEC2/latest/"
	vpcDocs = "https://docs.aws.amazon.com/vpc/latest/"
	rdsDocs = "https://docs.aws.amazon.com/AmazonRDS/latest/"
	s3Docs  = "https://docs.aws.amazon.com/AmazonS3/latest/"
	acmDocs = "https://docs.aws.amazon.com/acm/latest/"
	dnsDocs = "https://docs.aws.amazon.com/Route53/latest/"
	ecrDocs = "https://docs.aws.amazon.com/AmazonECR/latest/"
	elbDocs = "https://docs.aws.amazon.com/elasticloadbalancing/latest/"
	asgDocs = "https://docs.aws.amazon.com/autoscaling/ec2/userguide/"
	logDocs = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/"
	secDocs = "https://docs.aws.amazon.com/secretsmanager/latest/"
	bakDocs = "https://docs.aws.amazon.com/aws-backup/latest/devguide/"
)

// catalogue is put together once; its entries are never written to.
var catalogue = sync.OnceValue(func() []Entry {
	var all []Entry
	for _, area := range []struct {
		name    string
		entries []Entry
	}{
		{"CloudFormation", cloudFormation()},
		{"IAM", identity()},
		{"KMS", keys()},
		{"EKS", clusters()},
		{"EC2 and Auto Scaling", instances()},
		{"VPC", network()},
		{"RDS", databases()},
		{"Certificates and DNS", names()},
		{"Elastic Load Balancing", loadBalancers()},
		{"S3, ECR and AWS Backup", stores()},
		{"Secrets, parameters, logs and WAF", others()},
		{"Quotas", quotas()},
	} {
		for _, e := range area.entries {
			e.Area = area.name
			all = append(all, e)
		}
	}
	return all
})

// Catalogue are all known failures, by area.
func Catalogue() []Entry { return slices.Clone(catalogue()) }

// says is an example: the words of a service, as the handler of a resource type
// passes them on.
func says(typ, words, code string) Failure {
	return Failure{
		Type:   typ,
		Reason: "Resource handler returned message: \"" + words + " (Service: Service, Status Code: 400, Request ID: 5f1c2d3e-0000-4000-8000-000000000000)\" (RequestToken: 0a1b2c3d-0000-4000-8000-000000000000, HandlerErrorCode: " + code + ")",
	}
}

// bare is an example of CloudFormation's own words.
func bare(typ, reason string) Failure { return Failure{Type: typ, Reason: reason} }
