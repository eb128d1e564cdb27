package sandbox

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// shown are properties that are kept, shown and compared, and have no other
// effect: what they would change isn't there in any account of the sandbox.
// The list only shrinks.
func shown() map[string][]string {
	return map[string][]string{
		// There are no metrics, spot instances, instance refreshes or health replacements.
		"AWS::AutoScaling::AutoScalingGroup":   {"AvailabilityZoneDistribution", "Context", "DefaultInstanceWarmup", "InstanceMaintenancePolicy", "MetricsCollection"},
		"AWS::CertificateManager::Certificate": {"CertificateTransparencyLoggingPreference"},
		"AWS::CloudWatch::Alarm":               {"EvaluateLowSampleCountPercentile", "Unit"},
		"AWS::EC2::EIP":                        {"Domain", "NetworkBorderGroup"},
		// No records are written, and no packets flow.
		"AWS::EC2::FlowLog":              {"DestinationOptions"},
		"AWS::EC2::NatGateway":           {"MaxDrainDurationSeconds"},
		"AWS::EC2::NetworkInterface":     {"ConnectionTrackingSpecification"},
		"AWS::EC2::SecurityGroupIngress": {"SourceSecurityGroupOwnerId"},
		"AWS::EC2::Subnet":               {"PrivateDnsNameOptionsOnLaunch"},
		"AWS::EC2::VPCEndpoint":          {"DnsOptions"},
		"AWS::EKS::Addon":                {"PreserveOnDelete"},
		"AWS::EKS::Cluster":              {"Force"},
		"AWS::RDS::DBInstance":           {"CertificateRotationRestart"},
		"AWS::SNS::Topic":                {"MaximumMessageSize", "SignatureVersion", "TracingConfig"},
		// No request is inspected.
		"AWS::WAFv2::WebACL": {"ApplicationConfig", "AssociationConfig", "CaptchaConfig", "ChallengeConfig", "DataProtectionConfig", "MonetizationConfig", "OnSourceDDoSProtectionConfig", "TokenDomains"},
	}
}

// TestPropertiesAreReadOrRefused goes through every property that AWS publishes
// of every type: the package of the type names it, or it is refused as not
// modelled, or it is known to be shown only.
func TestPropertiesAreReadOrRefused(t *testing.T) {
	t.Parallel()
	known, err := facts.Load()
	if err != nil {
		t.Fatal(err)
	}
	said := source(t, nil)
	texts := map[string]map[string]bool{}
	for key, m := range said {
		pkg, _, _ := strings.Cut(key, " ")
		if texts[pkg] == nil {
			texts[pkg] = map[string]bool{}
		}
		maps.Copy(texts[pkg], m.texts)
	}
	types, err := ResourceTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range types {
		if known[name] == nil {
			continue // of CloudFormation itself
		}
		var left []string
		for _, p := range slices.Sorted(maps.Keys(known[name].Properties)) {
			_, refused := unmodelled(name)[p]
			read := slices.ContainsFunc(packages(name), func(pkg string) bool { return texts[pkg][p] })
			switch {
			case refused && read:
				t.Errorf("%s of %s is refused, but package %s reads it", p, name, packages(name))
			case !refused && !read:
				left = append(left, p)
			}
		}
		if !slices.Equal(left, shown()[name]) {
			t.Errorf("properties of %s that nothing reads or refuses are\n%q, want\n%q", name, left, shown()[name])
		}
	}
}

// packages are those in which a resource type or a service's API lives.
func packages(typ string) []string {
	name := strings.ToLower(typ)
	if parts := strings.Split(name, "::"); len(parts) == 3 {
		name = parts[1]
	}
	switch name {
	case "certificatemanager":
		return []string{"acm"}
	case "elasticloadbalancing", "elasticloadbalancingv2":
		return []string{"elbv2"}
	case "ec2":
		return []string{"ec2", "api", "endpoint", "flowlog", "instance", "rule"}
	}
	return []string{name}
}

// A property that asks for what isn't modelled is refused, by a stack and by the
// API, and one that asks for nothing is not.
func TestUnmodelledPropertiesAreRefused(t *testing.T) {
	t.Parallel()
	box := New(Options{Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	types, err := ResourceTypes()
	if err != nil {
		t.Fatal(err)
	}
	try := func(typ, property string, value any) error {
		return box.Account().Do(func(tx *account.Tx) error {
			_, _, err := tx.Create(typ, map[string]any{property: value}, box.Principals()[0].ARN, false)
			return err
		})
	}
	for _, typ := range types {
		for property, nothing := range unmodelled(typ) {
			want := property + " of " + typ + " is not modelled by the sandbox"
			for _, v := range []any{true, "x", map[string]any{"a": "b"}, []any{"a"}} {
				if err := try(typ, property, v); !account.IsNotModelled(err) || !strings.Contains(err.Error(), want) {
					t.Errorf("%s of %s, %v: %v", property, typ, v, err)
				}
			}
			for _, v := range []any{nil, false, "false", "", []any{}, nothing} {
				if err := try(typ, property, v); err != nil && strings.Contains(err.Error(), want) {
					t.Errorf("%s of %s is refused as %v, which asks for nothing", property, typ, v)
				}
			}
		}
	}
	err = box.Account().Do(func(tx *account.Tx) error {
		topic, _, err := tx.Create("AWS::SNS::Topic", map[string]any{}, "", false)
		if err != nil {
			return err
		}
		if err := tx.Settle(topic, "create"); err != nil {
			return err
		}
		_, err = tx.Update(topic, map[string]any{"ContentBasedDeduplication": true}, false)
		return err
	})
	if !account.IsNotModelled(err) {
		t.Errorf("an update to a property that isn't modelled: %v", err)
	}
}
