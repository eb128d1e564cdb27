package facts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sample = `{"T::A::B": {"id": ["Name"], "attributes": {"Arn": "string", "Endpoint.Address": "string"},
	"properties": {
		"Name": {"type": "string", "required": true, "replace": "yes"},
		"Size": {"type": "integer", "replace": "maybe"},
		"Share": {"type": "number"},
		"On": {"type": "boolean"},
		"Kind": {"type": "string", "enum": ["a", "b"]},
		"Days": {"type": "integer", "enum": [1, 7]},
		"Doc": {"type": "json"},
		"Either": {"type": "union", "of": [{"type": "string"}, {"type": "object", "ref": "Tag"}]},
		"Labels": {"type": "map", "item": {"type": "string"}},
		"Tags": {"type": "list", "item": {"type": "object", "ref": "Tag"}}},
	"definitions": {"Tag": {"Key": {"type": "string", "required": true}, "Value": {"type": "string"}}}}}`

func TestNormalise(t *testing.T) {
	t.Parallel()
	set, err := Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	typ := set["T::A::B"]
	for _, tc := range []struct {
		name   string
		in     map[string]any
		out    map[string]any
		faults []string
	}{
		{
			"scalars of another kind",
			map[string]any{"Name": 5, "Size": "7", "Share": "0.5", "On": "True", "Days": 7.0},
			map[string]any{"Name": "5", "Size": 7, "Share": 0.5, "On": true, "Days": 7},
			nil,
		},
		{
			"nested",
			map[string]any{"Name": true, "Tags": []any{map[string]any{"Key": 1, "Value": 2.5}}, "Labels": map[string]any{"a": 1}, "Doc": map[string]any{"x": 1}},
			map[string]any{"Name": "true", "Tags": []any{map[string]any{"Key": "1", "Value": "2.5"}}, "Labels": map[string]any{"a": "1"}, "Doc": map[string]any{"x": 1}},
			nil,
		},
		{
			"no numbers",
			map[string]any{"Name": "n", "Share": "NaN", "Size": 1e300},
			map[string]any{"Name": "n", "Share": "NaN", "Size": 1e300},
			[]string{"#/Share: expected type: Number, found: String", "#/Size: expected type: Integer, found: Double"},
		},
		{
			"what is unknown fits",
			map[string]any{"Name": Unknown{}, "Size": Unknown{}, "Tags": []any{Unknown{}}, "Either": Unknown{}},
			map[string]any{"Name": Unknown{}, "Size": Unknown{}, "Tags": []any{Unknown{}}, "Either": Unknown{}},
			nil,
		},
		{
			"dynamic references fit",
			map[string]any{"Name": "n", "Size": "{{resolve:ssm:x}}", "Kind": "{{resolve:ssm:y}}"},
			map[string]any{"Name": "n", "Size": "{{resolve:ssm:x}}", "Kind": "{{resolve:ssm:y}}"},
			nil,
		},
		{
			"either of two",
			map[string]any{"Name": "n", "Either": map[string]any{"Key": 1}},
			map[string]any{"Name": "n", "Either": map[string]any{"Key": "1"}},
			nil,
		},
		{
			"faults",
			map[string]any{"Nmae": "n", "Size": "x", "Share": []any{}, "On": "yes", "Kind": "c", "Days": 2, "Doc": 3, "Either": []any{}, "Labels": "x", "Tags": map[string]any{}},
			nil,
			[]string{
				"#/Days: 2 is not a valid enum value",
				"#/Doc: expected type: JSONObject, found: Integer",
				"#/Either: expected type: String, found: JSONArray",
				"#/Kind: c is not a valid enum value",
				"#/Labels: expected type: JSONObject, found: String",
				"#: extraneous key [Nmae] is not permitted",
				"#/On: expected type: Boolean, found: String",
				"#/Share: expected type: Number, found: JSONArray",
				"#/Size: expected type: Integer, found: String",
				"#/Tags: expected type: JSONArray, found: JSONObject",
				"#: required key [Name] not found",
			},
		},
		{
			"faults below",
			map[string]any{"Name": "n", "Tags": []any{map[string]any{"key": "a"}, "x"}},
			nil,
			[]string{"#/Tags/0: extraneous key [key] is not permitted", "#/Tags/0: required key [Key] not found", "#/Tags/1: expected type: JSONObject, found: String"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out, faults := typ.Normalise(tc.in)
			var got []string
			for _, f := range faults {
				got = append(got, f.String())
			}
			if d := cmp.Diff(tc.faults, got); d != "" {
				t.Errorf("faults, -want +got:\n%s", d)
			}
			if d := cmp.Diff(tc.out, out); tc.out != nil && d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	set, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	vpc := set["AWS::EC2::VPC"]
	if got := []string{vpc.Replace("CidrBlock"), vpc.Replace("InstanceTenancy"), vpc.Replace("EnableDnsSupport"), vpc.Replace("Nothing")}; !cmp.Equal(got, []string{"yes", "maybe", "", ""}) {
		t.Errorf("replacement by property: %q", got)
	}
	if !vpc.Attribute("DefaultSecurityGroup") || vpc.Attribute("Arn") {
		t.Error("wrong attributes of AWS::EC2::VPC")
	}
	// Every reference leads somewhere, so that nothing goes unchecked.
	for name, typ := range set {
		var check func(where string, p *Prop)
		check = func(where string, p *Prop) {
			switch p.Type {
			case "string", "integer", "number", "boolean", "json":
			case "list", "map":
				if p.Item != nil {
					check(where, p.Item)
				}
			case "object":
				if typ.Definitions[p.Ref] == nil {
					t.Errorf("%s %s: no definition %q", name, where, p.Ref)
				}
			case "union":
				for _, o := range p.Of {
					check(where, o)
				}
			default:
				t.Errorf("%s %s: unknown kind %q", name, where, p.Type)
			}
		}
		for k, p := range typ.Properties {
			check(k, p)
		}
		for d, props := range typ.Definitions {
			for k, p := range props {
				check(d+"."+k, p)
			}
		}
	}
}

func TestTagging(t *testing.T) {
	t.Parallel()
	set, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Tagging{
		"AWS::EC2::VPC":                      {"Tags", true, true},
		"AWS::Backup::BackupVault":           {"BackupVaultTags", true, true},
		"AWS::Route53::HostedZone":           {"HostedZoneTags", true, false},
		"AWS::IAM::Role":                     {"Tags", true, false},
		"AWS::IAM::InstanceProfile":          {},
		"AWS::EC2::LaunchTemplate":           {},
		"AWS::AutoScaling::AutoScalingGroup": {"Tags", false, true},
		"AWS::EC2::Route":                    {},
	} {
		if got := set[name].Tagging(); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse(embedded); err != nil {
			b.Fatal(err)
		}
	}
}
