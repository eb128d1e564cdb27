package quota

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func iam(code, name string, value int, key string) *Quota {
	return &Quota{Service: "iam", Code: code, Name: name, Default: value, Adjustable: true, Global: true, Refusal: "LimitExceeded", Message: "Cannot exceed quota for " + key + ": {}", Status: 409}
}

func rds(code, name string, value int, refusal, message string) *Quota {
	return &Quota{Service: "rds", Code: code, Name: name, Default: value, Adjustable: true, Refusal: refusal, Message: message}
}

func eks(code, name string, value int) *Quota {
	return &Quota{Service: "eks", Code: code, Name: name, Default: value, Adjustable: true, Refusal: "ResourceLimitExceededException", Message: "You have encountered a service limit on the specified resource."}
}

// Quotas on whole types, see [Guard].
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
// https://docs.aws.amazon.com/eks/latest/userguide/service-quotas.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-quotas.html
var (
	Roles            = iam("L-FE177D64", "Roles per account", 1000, "RolesPerAccount")
	InstanceProfiles = iam("L-6E65F664", "Instance profiles per account", 1000, "InstanceProfilesPerAccount")
	ManagedPolicies  = iam("L-E95E4862", "Customer managed policies per account", 1500, "PoliciesPerAccount")
	OIDCProviders    = iam("L-858F3967", "OpenId connect providers per account", 100, "OpenIdConnectProvidersPerAccount")
	Clusters         = eks("L-1194D53C", "Clusters", 100)
	NodeGroups       = eks("L-6D54EA21", "Managed node groups per cluster", 30)
	Databases        = rds("L-7B6409FD", "DB instances", 40, "InstanceQuotaExceeded", "DB Instance quota exceeded")
	SubnetGroups     = rds("L-48C6BF61", "DB subnet groups", 50, "DBSubnetGroupQuotaExceeded", "DBSubnetGroup quota exceeded")
	ParameterGroups  = rds("L-DE55804A", "Parameter groups", 50, "DBParameterGroupQuotaExceeded", "ParameterGroup quota exceeded")
	Keys             = &Quota{
		Service: "kms", Code: "L-C2F1777E", Name: "Customer Master Keys (CMKs)", Default: 100_000, Adjustable: true,
		Refusal: "LimitExceededException", Message: "The request was rejected because a quota was exceeded.",
	}
	AutoScalingGroups = &Quota{
		Service: "autoscaling", Code: "L-CDE20ADC", Name: "Auto Scaling groups per region", Default: 500, Adjustable: true,
		Refusal: "LimitExceeded", Message: "You have already reached a limit for your Amazon EC2 Auto Scaling resources.",
	}
)

// guards are the quotas of types whose packages don't count them. What counts
// nil means all of the type; within names the property that sets the quota's
// scope, where that isn't the account.
var guards = map[string]struct {
	quota  *Quota
	counts func(*account.Resource) bool
	within string
}{
	"AWS::IAM::Role": {quota: Roles, counts: func(r *account.Resource) bool {
		return !strings.HasPrefix(props.Str(r.Props, "Path"), "/aws-service-role/")
	}},
	"AWS::IAM::InstanceProfile":  {quota: InstanceProfiles},
	"AWS::IAM::ManagedPolicy":    {quota: ManagedPolicies},
	"AWS::IAM::OIDCProvider":     {quota: OIDCProviders},
	"AWS::EKS::Cluster":          {quota: Clusters},
	"AWS::EKS::Nodegroup":        {quota: NodeGroups, within: "ClusterName"},
	"AWS::RDS::DBInstance":       {quota: Databases},
	"AWS::RDS::DBSubnetGroup":    {quota: SubnetGroups},
	"AWS::RDS::DBParameterGroup": {quota: ParameterGroups},
	"AWS::KMS::Key": {quota: Keys, counts: func(r *account.Resource) bool {
		return r.Data["AWSManaged"] == nil
	}},
	"AWS::AutoScaling::AutoScalingGroup": {quota: AutoScalingGroups},
}

// others are the quotas on all of a type that the type's package checks.
var others = map[string]*Quota{
	"AWS::CertificateManager::Certificate":      Certificates,
	"AWS::EC2::EIP":                             Addresses,
	"AWS::EC2::InternetGateway":                 InternetGateways,
	"AWS::EC2::NetworkInterface":                Interfaces,
	"AWS::EC2::SecurityGroup":                   SecurityGroups,
	"AWS::EC2::VPC":                             VPCs,
	"AWS::ECR::Repository":                      Repositories,
	"AWS::ElasticLoadBalancingV2::LoadBalancer": LoadBalancers,
	"AWS::ElasticLoadBalancing::LoadBalancer":   ClassicLoadBalancers,
	"AWS::ElasticLoadBalancingV2::TargetGroup":  TargetGroups,
	"AWS::Logs::LogGroup":                       LogGroups,
	"AWS::Route53::HostedZone":                  HostedZones,
	"AWS::S3::Bucket":                           Buckets,
	"AWS::SNS::Topic":                           Topics,
	"AWS::WAFv2::WebACL":                        WebACLs,
}

// OfType is the quota on all resources of a type in the account, and how many
// of them there are; nil for a type without such a quota.
func OfType(tx *account.Tx, typ string) (*Quota, int) {
	if q, ok := others[typ]; ok {
		return q, tx.Count(typ)
	}
	g, ok := guards[typ]
	if !ok || g.within != "" {
		return nil, 0
	}
	if g.counts == nil {
		return g.quota, tx.Count(typ)
	}
	return g.quota, count(tx, typ, g.counts)
}

func count(tx *account.Tx, typ string, counts func(*account.Resource) bool) int {
	n := 0
	for _, r := range tx.List(typ) {
		if counts(r) {
			n++
		}
	}
	return n
}

// Guard is a type that holds its quota as well; a type without one is itself.
func Guard(t *account.Type) *account.Type {
	g, ok := guards[t.Name]
	if !ok {
		return t
	}
	guarded := *t
	guarded.Create = func(tx *account.Tx, r *account.Resource) error {
		counts := g.counts
		if g.within != "" {
			counts = func(o *account.Resource) bool { return props.Str(o.Props, g.within) == props.Str(r.Props, g.within) }
		}
		// Few accounts come near, so the resources are looked at only then.
		have := tx.Count(t.Name)
		if have >= g.quota.Value(tx) && counts != nil {
			have = count(tx, t.Name, counts)
		}
		if err := g.quota.Check(tx, have); err != nil {
			return err
		}
		return t.Create(tx, r)
	}
	return &guarded
}
