package config

import (
	"fmt"
	"strings"
)

// Options are what a new deployment.yaml begins with. What is empty becomes a
// sample that the user replaces.
type Options struct {
	Name    string
	Region  string
	Profile Profile
	// Domain is the host name of web users; the other hosts lie below it.
	Domain string
	// Account is the id of the AWS account.
	Account string
	// AllowCIDR is the range that may connect.
	AllowCIDR string
}

// Init writes a commented deployment.yaml. It is valid as it stands, with
// samples in the lines that are marked. Options that make no valid file are
// [Faults].
func Init(o Options) ([]byte, error) {
	values := []struct{ key, value, sample, option string }{
		{"NAME", o.Name, "poolside", "name"},
		{"REGION", o.Region, "us-east-1", "region"},
		{"PROFILE", string(o.Profile), string(Evaluation), "profile"},
		{"DOMAIN", o.Domain, "poolside.example.com", "domain"},
		{"ACCOUNT", o.Account, "123456789012", "account"},
		{"RANGE", o.AllowCIDR, "203.0.113.0/24", "allowed range"},
	}
	var pairs []string
	for _, v := range values {
		s := v.value
		if s == "" {
			s = v.sample
		}
		plain := strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-./") == "" && s[0] != '-'
		if v.key == "ACCOUNT" {
			plain = len(s) == 12 && strings.Trim(s, "0123456789") == ""
		}
		if !plain {
			return nil, Faults{{Reason: fmt.Sprintf("%s %s is not allowed", v.option, quoted(s)), Fix: "give one such as " + v.sample}}
		}
		pairs = append(pairs, "{"+v.key+"}", s)
	}
	region := strings.NewReplacer(pairs...).Replace("{REGION}")
	second := ""
	if o.Profile == Production {
		second = "\n    - arn:{PARTITION}:iam::{ACCOUNT}:role/emergency # change"
	}
	pairs = append(pairs, "{PARTITION}", (&Config{Region: region}).Partition())
	src := strings.NewReplacer(pairs...).Replace(strings.Replace(template, "{SECOND}", second, 1))
	if _, err := Parse("deployment.yaml", []byte(src)); err != nil {
		return nil, err
	}
	return []byte(src), nil
}

const template = `# A deployment of Poolside on AWS. Change what is marked, then run
#   poolhouse validate deployment.yaml
# What isn't here has the profile's default: docs/reference/configuration.md.
apiVersion: poolhouse/v1
name: {NAME} # part of every name in the account; can't change
region: {REGION}
profile: {PROFILE} # evaluation or production; evaluation becomes production in place
network:
  cidr: 10.80.0.0/16 # /16 to /20, free in your company's network; can't change
cluster:
  publicAccessCidrs: [{RANGE}] # change: who reaches the Kubernetes API; [] for the VPC alone
  administrators: # roles or users besides the one that runs create; production needs two
    - arn:{PARTITION}:iam::{ACCOUNT}:role/platform # change{SECOND}
access:
  web: # people in the browser
    host: {DOMAIN}
    scheme: internet-facing # or internal
    allowCidrs: [{RANGE}] # change: who may connect
  api: # IDEs and programs, on the same load balancer
    host: api.{DOMAIN}
  admin: # administrators, on a load balancer of their own
    host: admin.{DOMAIN}
    scheme: internal # reached through the VPC; or internet-facing with allowCidrs
  sso: # OpenID Connect; each client's secret lies in Secrets Manager under client_secret
    issuer: https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0 # change
    web:
      clientId: 11111111-1111-1111-1111-111111111111 # change
      secretArn: arn:{PARTITION}:secretsmanager:{REGION}:{ACCOUNT}:secret:{NAME}/web-AbCdEf # change
    admin: # assign it to the administrators' group only
      clientId: 22222222-2222-2222-2222-222222222222 # change
      secretArn: arn:{PARTITION}:secretsmanager:{REGION}:{ACCOUNT}:secret:{NAME}/admin-AbCdEf # change
    adminGroup: poolside-administrators # change
dns:
  mode: create-zone # existing-zone with zoneId; or none, with certificate.arn
  zone: {DOMAIN}
`
