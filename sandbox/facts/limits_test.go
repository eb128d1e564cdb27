package facts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Patterns, lengths, ranges and counts of the published schemas are enforced
// before a resource's handler is called, in words that don't repeat a value
// that may be secret.
//
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
// https://repost.aws/knowledge-center/cloudformation-resolve-model-val-failed
func TestLimits(t *testing.T) {
	t.Parallel()
	set, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	type obj = map[string]any
	long := strings.Repeat("a", 300)
	for _, tc := range []struct {
		name, typ string
		in        obj
		want      []string // Message | Early
	}{
		{"fits", "AWS::ECR::Repository", obj{"RepositoryName": "a/b-c", "Tags": []any{obj{"Key": "k", "Value": "v"}}}, nil},
		{"pattern", "AWS::ECR::Repository", obj{"RepositoryName": "A/b"}, []string{
			"#/RepositoryName: failed validation constraint for keyword [pattern] | Value [A/b] does not match pattern [^(?=.{2,256}$)([a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*)$]",
		}},
		{"maxLength", "AWS::ECR::Repository", obj{"RepositoryName": long}, []string{
			"#/RepositoryName: expected maxLength: 256, actual: 300 | expected maxLength: 256, actual: 300",
			"#/RepositoryName: failed validation constraint for keyword [pattern] | Value [" + long + "] does not match pattern [^(?=.{2,256}$)([a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*)$]",
		}},
		{"minLength", "AWS::EC2::InternetGateway", obj{"Tags": []any{obj{"Key": "", "Value": "v"}}}, []string{
			"#/Tags/0/Key: expected minLength: 1, actual: 0 | expected minLength: 1, actual: 0",
		}},
		{"minimum", "AWS::KMS::Key", obj{"KeyPolicy": obj{}, "PendingWindowInDays": 6}, []string{
			"#/PendingWindowInDays: failed validation constraint for keyword [minimum] | Value [6] is less than the minimum [7]",
		}},
		{"maximum of a text", "AWS::KMS::Key", obj{"KeyPolicy": obj{}, "PendingWindowInDays": "31"}, []string{
			"#/PendingWindowInDays: failed validation constraint for keyword [maximum] | Value [31] is greater than the maximum [30]",
		}},
		{"minItems", "AWS::EC2::VPCEndpoint", obj{"VpcId": "v", "DnsOptions": obj{"PrivateDnsSpecifiedDomains": []any{}}}, []string{
			"#/DnsOptions/PrivateDnsSpecifiedDomains: expected minimum item count: 1, found: 0 | expected minimum item count: 1, found: 0",
		}},
		{"uniqueItems", "AWS::EC2::VPCEndpoint", obj{"VpcId": "v", "SubnetIds": []any{"a", "b", "a"}}, []string{
			"#/SubnetIds: array items are not unique | array items are not unique",
		}},
		{"unknown items may differ", "AWS::EC2::VPCEndpoint", obj{"VpcId": "v", "SubnetIds": []any{Unknown{}, Unknown{}}}, nil},
		{"unknown fits", "AWS::ECR::Repository", obj{"RepositoryName": Unknown{}}, nil},
		{"dynamic reference fits", "AWS::ECR::Repository", obj{"RepositoryName": "{{resolve:ssm:X}}"}, nil},
		{"enum of elements", "AWS::S3::Bucket", obj{"CorsConfiguration": obj{"CorsRules": []any{obj{"AllowedMethods": []any{"PATCH"}, "AllowedOrigins": []any{"*"}}}}}, []string{
			"#/CorsConfiguration/CorsRules/0/AllowedMethods/0: PATCH is not a valid enum value | Value [PATCH] is not one of the allowed values [GET, PUT, HEAD, POST, DELETE]",
		}},
		{"dependencies", "AWS::AutoScaling::AutoScalingGroup", obj{"MinSize": "1", "MaxSize": "1", "InstanceMaintenancePolicy": obj{"MinHealthyPercentage": 90}}, []string{
			"#/InstanceMaintenancePolicy: property [MaxHealthyPercentage] is required | Required property [MaxHealthyPercentage] not found",
		}},
		{"oneOf", "AWS::CloudWatch::Alarm", obj{"EvaluationWindow": obj{}}, []string{
			"#/EvaluationWindow: 0 subschemas matched instead of one | 0 subschemas matched instead of one",
		}},
		{"read-only within", "AWS::EC2::VPC", obj{"CidrBlock": "10.0.0.0/16", "VpcEncryptionControl": obj{"Mode": "monitor", "State": "available"}}, []string{
			"#/VpcEncryptionControl: extraneous key [State] is not permitted | Unsupported property [State]",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, faults := set[tc.typ].Normalise(tc.in)
			var got []string
			for _, f := range faults {
				if !strings.Contains(f.Message, "required key") {
					got = append(got, f.String()+" | "+f.Early)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestEmbeddedLimits decodes the limits of all types, so that none is passed
// over for a fault in the file.
func TestEmbeddedLimits(t *testing.T) {
	t.Parallel()
	set, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	all := loadLimits()
	if len(all) < 30 {
		t.Errorf("there are limits of %d types only", len(all))
	}
	for name, load := range all {
		l, err := load()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if set[name] == nil {
			t.Errorf("there are limits of the unknown type %s", name)
			continue
		}
		for property := range l.Properties {
			if set[name].Properties[property] == nil {
				t.Errorf("there are limits of the unknown property %s %s", name, property)
			}
		}
		var follow func(x *limit)
		follow = func(x *limit) {
			if x.pattern != nil {
				if _, err := x.pattern(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, key := range x.keys {
				if _, err := key(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, list := range [][]*limit{x.OneOf, x.AnyOf, x.AllOf} {
				for _, y := range list {
					follow(y)
				}
			}
			if x.Ref != "" && l.Definitions[x.Ref] == nil {
				t.Errorf("%s: no definition %q", name, x.Ref)
			}
			if x.Items != nil {
				follow(x.Items)
			}
			for _, y := range x.Properties {
				follow(y)
			}
		}
		for _, x := range l.Properties {
			follow(x)
		}
		for _, x := range l.Definitions {
			follow(x)
		}
	}
}

func TestCompilePattern(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern  string
		whole    bool
		yes, no  []string
		refusing bool
	}{
		{pattern: "[a-z]+", yes: []string{"a", "1a1"}, no: []string{"", "1"}},
		{pattern: "[a-z]+", whole: true, yes: []string{"a"}, no: []string{"1a"}},
		{pattern: "a|b", whole: true, yes: []string{"a", "b"}, no: []string{"ab"}},
		{pattern: `^[\u0009\u0020-\u007e]+$`, yes: []string{"a\tb"}, no: []string{"ä"}},
		{pattern: `[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*`, whole: true, yes: []string{"", "😀"}, no: []string{"\x00"}},
		{pattern: `^a+\Z`, yes: []string{"aa"}, no: []string{"aab"}},
		{pattern: `^(?=.{2,4}$)a+$`, yes: []string{"aa", "aaaa"}, no: []string{"a", "aaaaa", "ab"}},
		{pattern: `^(?!aws:)[a-z:]+$`, yes: []string{"a:b"}, no: []string{"aws:b"}},
		{pattern: `^[a-z]+{1,255}$`, yes: []string{"ab"}, no: []string{"", "1"}},
		{pattern: `^[a-z]{1,1024}$`, yes: []string{"a", strings.Repeat("a", 1024)}, no: []string{"", strings.Repeat("a", 1025)}},
		{pattern: `a(?!b)c`, refusing: true},
		{pattern: `^(?=a`, refusing: true},
		{pattern: `(a)\1`, refusing: true},
	} {
		t.Run(tc.pattern, func(t *testing.T) {
			t.Parallel()
			p, err := CompilePattern(tc.pattern, tc.whole)
			if (err != nil) != tc.refusing {
				t.Fatal(err)
			}
			if tc.refusing {
				return
			}
			for _, s := range tc.yes {
				if !p.Match(s) {
					t.Errorf("does not match %q", s)
				}
			}
			for _, s := range tc.no {
				if p.Match(s) {
					t.Errorf("matches %q", s)
				}
			}
		})
	}
}
