package endpoint

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Service is an AWS service that VPC endpoints can be made for.
type Service struct {
	Name  string   // com.amazonaws.us-east-1.ec2
	Types []string // Gateway, Interface
	// PrivateDNS are the names that private DNS makes point to the endpoint.
	PrivateDNS []string
}

// offered are the services by the last part of their names, with the patterns
// of their private DNS names; "{}" is the region. Without a pattern the name is
// the usual one, service.region.amazonaws.com.
// https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
var offered = map[string][]string{
	"acm-pca": nil, "application-autoscaling": nil, "athena": nil, "autoscaling": nil, "backup": nil,
	"bedrock": nil, "bedrock-runtime": nil, "cloudformation": nil, "cloudtrail": nil, "codeartifact.api": nil,
	"config": nil, "dynamodb": nil, "ebs": nil, "ec2": nil, "ec2messages": nil,
	"ecr.api":              {"api.ecr.{}.amazonaws.com"},
	"ecr.dkr":              {"*.dkr.ecr.{}.amazonaws.com", "dkr.ecr.{}.amazonaws.com"},
	"eks":                  nil,
	"eks-auth":             {"eks-auth.{}.api.aws"},
	"elasticache":          nil,
	"elasticfilesystem":    nil,
	"elasticloadbalancing": nil,
	"email-smtp":           nil,
	"events":               nil,
	"execute-api":          {"*.execute-api.{}.amazonaws.com"},
	"grafana":              nil,
	"guardduty":            nil,
	"guardduty-data":       nil,
	"kinesis-firehose":     {"firehose.{}.amazonaws.com"},
	"kinesis-streams":      {"kinesis.{}.amazonaws.com"},
	"kms":                  nil,
	"lambda":               nil,
	"license-manager":      nil,
	"logs":                 nil,
	"monitoring":           nil,
	"rds":                  nil,
	"s3":                   {"s3.{}.amazonaws.com", "*.s3.{}.amazonaws.com", "*.s3-accesspoint.{}.amazonaws.com", "*.s3-control.{}.amazonaws.com"},
	"sagemaker.api":        {"api.sagemaker.{}.amazonaws.com"},
	"sagemaker.runtime":    {"runtime.sagemaker.{}.amazonaws.com"},
	"secretsmanager":       nil,
	"servicequotas":        nil,
	"sns":                  nil,
	"sqs":                  nil,
	"ssm":                  nil,
	"ssmmessages":          nil,
	"states":               nil,
	"sts":                  nil,
	"synthetics":           nil,
	"tagging":              nil,
	"xray":                 nil,
	"aps-workspaces":       nil,
	"imagebuilder":         nil,
	"inspector2":           nil,
	"securityhub":          nil,
	"sync-states":          nil,
	"transfer":             nil,
	"resource-groups":      nil,
	"access-analyzer":      nil,
	"rds-data":             nil,
	"storagegateway":       nil,
}

// gateways are the services that gateway endpoints can be made for.
var gateways = []string{"dynamodb", "s3"}

// FindService returns the service with the full name, or InvalidServiceName.
func FindService(tx *account.Tx, name string) (Service, error) {
	short, ok := strings.CutPrefix(name, "com.amazonaws."+tx.Region()+".")
	names, known := offered[short]
	if !ok || !known {
		return Service{}, account.Errorf("InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist", name)
	}
	s := Service{Name: name, Types: []string{"Interface"}}
	if slices.Contains(gateways, short) {
		s.Types = []string{"Gateway", "Interface"}
	}
	if names == nil {
		names = []string{short + ".{}.amazonaws.com"}
	}
	for _, n := range names {
		s.PrivateDNS = append(s.PrivateDNS, strings.ReplaceAll(n, "{}", tx.Region()))
	}
	return s, nil
}

// Services are all services of the region, by name.
func Services(tx *account.Tx) []Service {
	var out []Service
	for short := range offered {
		if s, err := FindService(tx, "com.amazonaws."+tx.Region()+"."+short); err == nil {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return out
}
