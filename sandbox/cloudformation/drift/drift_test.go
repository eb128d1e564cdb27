package drift_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/drift"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

type m = map[string]any

type l = []any

func typ(t interface {
	Helper()
	Fatal(...any)
}, name string,
) *facts.Type {
	t.Helper()
	set, err := facts.Load()
	if err != nil {
		t.Fatal(err)
	}
	return set[name]
}

// Drift is a difference in what the template sets: values, missing and added
// elements of lists, order only where it counts.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
func TestCompare(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typ              string
		expected, actual m
		want             []string
	}{
		"scalars by their text":     {"AWS::Logs::LogGroup", m{"RetentionInDays": 30}, m{"RetentionInDays": "30"}, nil},
		"only what is set":          {"AWS::Logs::LogGroup", m{"RetentionInDays": 30}, m{"RetentionInDays": 30, "KmsKeyId": "k"}, nil},
		"nested, only what is set":  {"AWS::EKS::Cluster", m{"ResourcesVpcConfig": m{"EndpointPublicAccess": false}}, m{"ResourcesVpcConfig": m{"EndpointPublicAccess": true, "PublicAccessCidrs": l{"a"}}}, []string{"NOT_EQUAL /ResourcesVpcConfig/EndpointPublicAccess"}},
		"write-only":                {"AWS::SSM::Parameter", m{"Description": "a", "Value": "v"}, m{"Value": "v"}, nil},
		"secrets":                   {"AWS::SSM::Parameter", m{"Value": "{{resolve:secretsmanager:x}}"}, m{"Value": "v"}, nil},
		"no read handler":           {"AWS::EC2::NetworkAclEntry", m{"RuleNumber": 1}, m{"RuleNumber": 2}, nil},
		"documents as text or not":  {"AWS::S3::BucketPolicy", m{"PolicyDocument": m{"Version": "1", "Statement": l{m{"Effect": "Deny", "On": true}}}}, m{"PolicyDocument": `{"Statement":[{"On":"true","Effect":"Deny"}],"Version":"1"}`}, nil},
		"documents as a whole":      {"AWS::S3::BucketPolicy", m{"PolicyDocument": m{"Version": "1"}}, m{"PolicyDocument": m{"Version": "1", "More": "x"}}, []string{"NOT_EQUAL /PolicyDocument"}},
		"sets in another order":     {"AWS::IAM::Role", m{"ManagedPolicyArns": l{"a", "b"}}, m{"ManagedPolicyArns": l{"b", "a"}}, nil},
		"lists in another order":    {"AWS::S3::Bucket", m{"LifecycleConfiguration": m{"Rules": l{m{"Id": "a"}, m{"Id": "b"}}}}, m{"LifecycleConfiguration": m{"Rules": l{m{"Id": "b"}, m{"Id": "a"}}}}, []string{"NOT_EQUAL /LifecycleConfiguration/Rules/0/Id", "NOT_EQUAL /LifecycleConfiguration/Rules/1/Id"}},
		"elements that belong":      {"AWS::IAM::Role", m{"Policies": l{m{"PolicyName": "a", "PolicyDocument": m{"V": "1"}}, m{"PolicyName": "b", "PolicyDocument": m{}}}}, m{"Policies": l{m{"PolicyName": "c", "PolicyDocument": m{}}, m{"PolicyName": "a", "PolicyDocument": m{"V": "2"}}}}, []string{"ADD /Policies/0", "NOT_EQUAL /Policies/0/PolicyDocument", "REMOVE /Policies/1"}},
		"tags are a set":            {"AWS::EC2::Subnet", m{"Tags": l{m{"Key": "a", "Value": "1"}, m{"Key": "b", "Value": "2"}}}, m{"Tags": l{m{"Key": "b", "Value": "3"}, m{"Key": "a", "Value": "1"}}}, []string{"NOT_EQUAL /Tags/1/Value"}},
		"maps with names of choice": {"AWS::SSM::Parameter", m{"Tags": m{"a/b": "1"}}, m{"Tags": m{"a/b": "2", "c": "3"}}, []string{"NOT_EQUAL /Tags/a~1b", "ADD /Tags/c"}},
		"attributes have defaults":  {"AWS::ElasticLoadBalancingV2::LoadBalancer", m{"LoadBalancerAttributes": l{m{"Key": "a", "Value": "1"}}}, m{"LoadBalancerAttributes": l{m{"Key": "b", "Value": "2"}, m{"Key": "a", "Value": "3"}}}, []string{"NOT_EQUAL /LoadBalancerAttributes/0/Value"}},
		"an empty list is no list":  {"AWS::IAM::Role", m{"ManagedPolicyArns": l{}}, m{}, nil},
		"a property that is gone":   {"AWS::S3::Bucket", m{"VersioningConfiguration": m{"Status": "Enabled"}}, m{}, []string{"REMOVE /VersioningConfiguration"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, d := range drift.Compare(typ(t, tc.typ), tc.expected, tc.actual) {
				got = append(got, d.Kind+" "+d.Path)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestNothingDiffersFromItself, whatever its order where order means nothing.
func TestNothingDiffersFromItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.Custom(func(t *rapid.T) any {
			return m{"IpProtocol": "tcp", "FromPort": rapid.IntRange(0, 9).Draw(t, "port"), "CidrIp": fmt.Sprintf("10.0.%d.0/24", rapid.IntRange(0, 3).Draw(t, "net"))}
		})
		rules := rapid.SliceOfN(rule, 0, 6).Draw(t, "rules")
		p := m{"GroupDescription": "g", "SecurityGroupIngress": rules, "VpcId": "vpc-1"}
		other, _ := account.Copy(p).(m)
		other["SecurityGroupIngress"] = rapid.Permutation(rules).Draw(t, "order")
		if found := drift.Compare(typ(t, "AWS::EC2::SecurityGroup"), p, other); len(found) > 0 {
			t.Fatalf("%+v", found)
		}
		if len(rules) == 0 {
			return
		}
		gone := rapid.IntRange(0, len(rules)-1).Draw(t, "gone")
		other["SecurityGroupIngress"] = append(append(l{}, rules[:gone]...), rules[gone+1:]...)
		if found := drift.Compare(typ(t, "AWS::EC2::SecurityGroup"), p, other); len(found) != 1 || found[0].Kind != drift.Removed {
			t.Fatalf("without rule %d: %+v", gone, found)
		}
	})
}
