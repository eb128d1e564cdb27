package inventory

import "time"

// Price is what something costs in a month of 730 hours.
type Price struct {
	// Amount is in US dollars, without taxes and discounts.
	Amount float64 `json:"usd"`
	// Source is AWS's page that says so, as of Date.
	Source string    `json:"source"`
	Date   time.Time `json:"date"`
}

// prices are those that are the same in all regions of the partition aws and
// don't depend on what a thing holds. All others are unknown here.
var prices = map[string]Price{
	// For each key; each of the first two rotations adds as much, which is not
	// counted here.
	"AWS::KMS::Key": {1, "https://aws.amazon.com/kms/pricing/", date(2026, 3, 14)},
	// USD 0.005 an hour, in use or not.
	"AWS::EC2::EIP": {3.65, "https://aws.amazon.com/blogs/aws/new-aws-public-ipv4-address-charge-public-ip-insights/", date(2024, 2, 1)},
}

// bases are what the price of types goes by that cost something and whose price is
// not known here. What is in neither list costs nothing by itself.
var bases = map[string]string{
	"AWS::AutoScaling::AutoScalingGroup":        "the hours of its instances",
	"AWS::Backup::BackupVault":                  "what its recovery points hold",
	"AWS::CloudWatch::Alarm":                    "the metrics it watches",
	"AWS::EC2::Instance":                        "the hours of its type",
	"AWS::EC2::NatGateway":                      "the hour, and what goes through it",
	"AWS::EC2::Snapshot":                        "its size",
	"AWS::EC2::VPCEndpoint":                     "the hour and zone, unless it is a gateway",
	"AWS::EC2::Volume":                          "its size",
	"AWS::ECR::Repository":                      "what its images hold",
	"AWS::EKS::Cluster":                         "the hour",
	"AWS::EKS::Nodegroup":                       "the hours of its instances",
	"AWS::ElasticLoadBalancing::LoadBalancer":   "the hour, and what goes through it",
	"AWS::ElasticLoadBalancingV2::LoadBalancer": "the hour, and what goes through it",
	"AWS::Logs::LogGroup":                       "what it holds",
	"AWS::RDS::DBInstance":                      "the hours of its class, its storage and its backups",
	"AWS::RDS::DBInstanceAutomatedBackup":       "what it holds",
	"AWS::RDS::DBSnapshot":                      "its size",
	"AWS::Route53::HostedZone":                  "the number of zones and of queries",
	"AWS::S3::Bucket":                           "what it holds",
	"AWS::SecretsManager::Secret":               "the secret, and the calls",
	"AWS::WAFv2::WebACL":                        "the list, its rules and the requests",
}

// Basis is what the price of a type goes by that is not known here; "" if it is
// known, or nothing.
func Basis(typ string) string { return bases[typ] }

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// Monthly is what something of a type costs in a state, or nil. A key whose
// deletion is scheduled is free, by the same page.
func Monthly(typ, state string) *Price {
	p, ok := prices[typ]
	if !ok {
		return nil
	}
	if state == pendingDeletion {
		p.Amount = 0
	}
	return &p
}
