package sandbox

import (
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// TestTagsFollowTheirProperty changes the tags of a resource of every type that
// can be made on its own: those of the property come and go, those set by API
// stay.
func TestTagsFollowTheirProperty(t *testing.T) {
	t.Parallel()
	known, err := facts.Load()
	if err != nil {
		t.Fatal(err)
	}
	box := New(Options{})
	plant(t, box)
	owner := box.Principals()[0].ARN
	tested := map[string]bool{}
	err = box.Account().Do(func(tx *account.Tx) error {
		trust := map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Principal": map[string]any{"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}}
		for typ, p := range map[string]map[string]any{
			"AWS::Backup::BackupVault":   {"BackupVaultName": "tagged"},
			"AWS::EC2::InternetGateway":  {},
			"AWS::EC2::SecurityGroup":    {"GroupDescription": "x"},
			"AWS::EC2::EIP":              {},
			"AWS::IAM::Role":             {"AssumeRolePolicyDocument": trust},
			"AWS::IAM::OIDCProvider":     {"Url": "https://example.com", "ClientIdList": []any{"a"}},
			"AWS::CloudWatch::Alarm":     {"MetricName": "a", "Namespace": "b", "Statistic": "Sum", "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1, "Period": 60, "EvaluationPeriods": 1},
			"AWS::RDS::DBParameterGroup": {"Family": "postgres17", "Description": "x"},
			"AWS::WAFv2::IPSet":          {"Scope": "REGIONAL", "IPAddressVersion": "IPV4", "Addresses": []any{}},
		} {
			r, _, err := tx.Create(typ, p, owner, false)
			if err != nil {
				return err
			}
			if err := tx.Settle(r, "create"); err != nil {
				return err
			}
		}
		for name, typ := range known {
			property := typ.Tagging().Property
			if property == "" {
				continue
			}
			for _, r := range tx.List(name) {
				if tested[name] || r.Owner != owner {
					continue
				}
				tested[name] = true
				r.Tags["by-api"] = "1"
				tags := any(map[string]any{"new": "1"})
				if typ.Properties[property].Type == "list" {
					tags = []any{map[string]any{"Key": "new", "Value": "1"}}
				}
				plain := account.Copy(r.Props).(map[string]any)
				tagged := account.Copy(r.Props).(map[string]any)
				tagged[property] = tags
				for _, c := range []struct {
					next map[string]any
					want string
				}{{tagged, "1"}, {plain, ""}} {
					if _, err := tx.Update(r, c.next, false); err != nil {
						t.Errorf("%s: %v", name, err)
						break
					}
					if err := tx.Settle(r, "update"); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					if r.Tags["new"] != c.want || r.Tags["by-api"] != "1" {
						t.Errorf("%s with %s %v has tags %v", name, property, c.next[property], r.Tags)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tested) < 18 {
		t.Errorf("tested %d types only", len(tested))
	}
}
