package template

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

func types(t testing.TB) facts.Set {
	t.Helper()
	s, err := facts.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bound parses a template and binds it with the values given.
func bound(t testing.TB, body string, in ...Input) (*Template, *Scope, error) {
	t.Helper()
	tpl, err := Parse(body, types(t))
	if err != nil {
		return nil, nil, err
	}
	values, err := tpl.Values(in, nil, Account{Parameter: func(n string) (string, bool, error) { return "value of " + n, n != "/none", nil }})
	if err != nil {
		return nil, nil, err
	}
	s := expression.Scope{
		Pseudo: expression.Pseudo{AccountID: "123456789012", Region: "us-east-1", Partition: "aws", URLSuffix: "amazonaws.com", StackID: "arn:stack", StackName: "st", NotificationARNs: []string{"t1"}},
		Zones:  []string{"us-east-1a", "us-east-1b"}, Parameters: map[string]any{},
		Resource: func(id string) any {
			if id == "New" {
				return facts.Unknown{}
			}
			return "id-of-" + id
		},
		Attribute: func(id, name string) (any, error) {
			if name == "Ipv6CidrBlocks" {
				return []any{"x", "y"}, nil
			}
			return id + "/" + name, nil
		},
		Import: func(n string) (string, bool) { return "import " + n, n == "there" },
	}
	for _, v := range values {
		s.Parameters[v.Key] = v.Ref
	}
	b, err := tpl.Bind(s)
	return tpl, b, err
}

// Intrinsic functions, conditions, mappings and pseudo parameters give what
// AWS says they give.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-conditions.html
func TestFunctions(t *testing.T) {
	t.Parallel()
	const head = `
Parameters:
  Text: {Type: String, Default: hello}
  Count: {Type: Number, Default: 2}
  Names: {Type: CommaDelimitedList, Default: "a, b,c"}
  Stored: {Type: "AWS::SSM::Parameter::Value<String>", Default: /p}
  Env: {Type: String, Default: prod}
Mappings:
  Sizes: {us-east-1: {small: t3.small, zones: [a, b]}, other: {small: t2.small, zones: [c]}}
Conditions:
  Prod: !Equals [!Ref Env, prod]
  Test: !Not [!Condition Prod]
  Both: !And [!Condition Prod, !Equals [!Ref "AWS::Region", us-east-1]]
  Either: !Or [!Condition Test, !Equals [!Select [1, !Ref Names], b]]
Resources:
  Vpc: {Type: AWS::EC2::VPC}
  New: {Type: AWS::EC2::VPC}
  X:
    Type: AWS::SSM::Parameter
    Properties:
      Type: String
      Value: `
	for _, tc := range []struct{ expr, want string }{
		{`plain`, `"plain"`},
		{`12`, `12`},
		{`012345678901`, `"012345678901"`},
		{`2012-10-17`, `"2012-10-17"`},
		{`true`, `true`},
		{`1.5`, `1.5`},
		{`!Ref Text`, `"hello"`},
		{`!Ref Count`, `"2"`},
		{`!Ref Names`, `["a","b","c"]`},
		{`!Ref Stored`, `"value of /p"`},
		{`!Ref Vpc`, `"id-of-Vpc"`},
		{`!Ref AWS::Partition`, `"aws"`},
		{`!Ref AWS::NotificationARNs`, `["t1"]`},
		{`!GetAtt Vpc.VpcId`, `"Vpc/VpcId"`},
		{`{"Fn::GetAtt": [Vpc, VpcId]}`, `"Vpc/VpcId"`},
		{`{"Fn::GetAtt": [Vpc, !Join ["", [Vpc, Id]]]}`, `"Vpc/VpcId"`},
		{`!GetAtt Vpc.VpcEncryptionControl.State`, `"Vpc/VpcEncryptionControl.State"`},
		{`!Sub "${Text}-${Vpc.VpcId}-${AWS::Region}-${!Literal}"`, `"hello-Vpc/VpcId-us-east-1-${Literal}"`},
		{`!Sub ["${a}${Text}$", {a: !Ref Count}]`, `"2hello$"`},
		{`!Sub "none at all"`, `"none at all"`},
		{`!Join ["-", [x, !Ref Text, 1]]`, `"x-hello-1"`},
		{`!Join [",", !Ref Names]`, `"a,b,c"`},
		{`!Join ["", [a, !Ref "AWS::NoValue", b]]`, `"ab"`},
		{`!Select [1, [a, b]]`, `"b"`},
		{`!Select ["0", !GetAZs ""]`, `"us-east-1a"`},
		{`!Select [!Ref Count, !Ref Names]`, `"c"`},
		{`!Select [0, [a, !Ref New]]`, `"a"`},
		{`!GetAZs {Ref: "AWS::Region"}`, `["us-east-1a","us-east-1b"]`},
		{`!Split ["-", "a-b-c"]`, `["a","b","c"]`},
		{`!FindInMap [Sizes, !Ref "AWS::Region", small]`, `"t3.small"`},
		{`!FindInMap [Sizes, other, zones]`, `["c"]`},
		{`{"Fn::Base64": "#!/bin/sh"}`, `"IyEvYmluL3No"`},
		{`!Base64 {"Fn::Sub": "${Text}"}`, `"aGVsbG8="`},
		{`!Cidr [10.0.0.0/16, 3, 8]`, `["10.0.0.0/24","10.0.1.0/24","10.0.2.0/24"]`},
		{`!Cidr [10.0.0.0/16, 2]`, `["10.0.0.0/24","10.0.1.0/24"]`},
		{`!Cidr [192.168.0.0/24, "2", "5"]`, `["192.168.0.0/27","192.168.0.32/27"]`},
		{`!If [Prod, yes it is, no]`, `"yes it is"`},
		{`!If [Test, 1, {a: !If [Both, !Ref Text, 3]}]`, `{"a":"hello"}`},
		{`!If [Either, e, f]`, `"e"`},
		{`{a: !If [Test, 1, !Ref "AWS::NoValue"], b: [!If [Test, 1, !Ref "AWS::NoValue"], 2]}`, `{"b":[2]}`},
		{`!ImportValue there`, `"import there"`},
		{`!ImportValue {"Fn::Sub": ["the${x}", {x: re}]}`, `"import there"`},
		{`!Ref New`, `"{{changeSet:KNOWN_AFTER_APPLY}}"`},
		{`!Sub "a-${New}"`, `"{{changeSet:KNOWN_AFTER_APPLY}}"`},
		{`[1, !Ref New]`, `[1,"{{changeSet:KNOWN_AFTER_APPLY}}"]`},
		{`!Join ["", [a, !Ref New]]`, `"{{changeSet:KNOWN_AFTER_APPLY}}"`},
		{`{Condition: {StringEquals: x}}`, `{"Condition":{"StringEquals":"x"}}`},
		{`{"Ref": Text}`, `"hello"`},
		{"|\n        line 1\n        line 2", `"line 1\nline 2\n"`},
		{"a <b> & \"c\"", `"a <b> & \"c\""`},
	} {
		tpl, s, err := bound(t, head+tc.expr+"\n")
		if err != nil {
			t.Errorf("%s: %v", tc.expr, err)
			continue
		}
		props, err := s.Properties(tpl.Resources["X"])
		if err != nil {
			t.Errorf("%s: %v", tc.expr, err)
			continue
		}
		if got := expression.JSON(props["Value"]); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.expr, got, tc.want)
		}
	}
}

// JSON and YAML templates mean the same, short forms included.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
func TestJSONAndYAMLMeanTheSame(t *testing.T) {
	t.Parallel()
	yaml := `
Parameters: {P: {Type: String, Default: x}}
Conditions: {C: !Equals [!Ref P, x]}
Resources:
  A: {Type: AWS::EC2::VPC, Properties: {CidrBlock: !Sub "${P}", Tags: [{Key: k, Value: !If [C, !Ref P, z]}]}}
  B: {Type: AWS::EC2::Subnet, DependsOn: A, Properties: {VpcId: !GetAtt A.VpcId, MapPublicIpOnLaunch: true}}
Outputs: {O: {Value: !Join ["-", [!Ref A, !Ref B]], Export: {Name: !Sub "${AWS::StackName}-o"}}}
`
	json := `{"Parameters":{"P":{"Type":"String","Default":"x"}},"Conditions":{"C":{"Fn::Equals":[{"Ref":"P"},"x"]}},
"Resources":{"A":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":{"Fn::Sub":"${P}"},"Tags":[{"Key":"k","Value":{"Fn::If":["C",{"Ref":"P"},"z"]}}]}},
"B":{"Type":"AWS::EC2::Subnet","DependsOn":["A"],"Properties":{"VpcId":{"Fn::GetAtt":["A","VpcId"]},"MapPublicIpOnLaunch":true}}},
"Outputs":{"O":{"Value":{"Fn::Join":["-",[{"Ref":"A"},{"Ref":"B"}]]},"Export":{"Name":{"Fn::Sub":"${AWS::StackName}-o"}}}}}`
	var seen []string
	for _, body := range []string{yaml, json} {
		tpl, s, err := bound(t, body)
		if err != nil {
			t.Fatal(err)
		}
		deps, err := s.Dependencies()
		if err != nil {
			t.Fatal(err)
		}
		a, _ := s.Properties(tpl.Resources["A"])
		b, _ := s.Properties(tpl.Resources["B"])
		out, err := s.Outputs()
		seen = append(seen, fmt.Sprint(deps, expression.JSON(a), expression.JSON(b), out, err, s.Refs(tpl.Resources["A"], "Tags"), s.Refs(tpl.Resources["B"], "VpcId")))
	}
	if d := cmp.Diff(seen[0], seen[1]); d != "" {
		t.Error(d)
	}
	want := `map[A:[] B:[A]]{"CidrBlock":"x","Tags":[{"Key":"k","Value":"x"}]}{"MapPublicIpOnLaunch":true,"VpcId":"A/VpcId"}[{O id-of-A-id-of-B  st-o}] <nil> [{P }] [{A VpcId}]`
	if seen[0] != want {
		t.Errorf("got  %s\nwant %s", seen[0], want)
	}
}

// Resources depend on what they refer to and on what DependsOn names, under
// the conditions; circles are refused.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-dependson.html
func TestDependencies(t *testing.T) {
	t.Parallel()
	const head = `
Parameters: {Env: {Type: String, Default: prod}}
Conditions: {Test: !Equals [!Ref Env, test]}
Resources:
  V: {Type: AWS::EC2::VPC}
  W: {Type: AWS::EC2::VPC, Condition: Test}
`
	for _, tc := range []struct{ name, resources, want string }{
		{"by reference", "  S: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref V, CidrBlock: !Sub '${V.CidrBlock}'}}", "map[S:[V] V:[]]"},
		{"by DependsOn on what is left out", "  S: {Type: AWS::EC2::Subnet, DependsOn: [V, W]}", "map[S:[V] V:[]]"},
		{"in a branch not taken", "  S: {Type: AWS::EC2::Subnet, Properties: {VpcId: !If [Test, !Ref W, !Ref V]}}", "map[S:[V] V:[]]"},
		{"on what is left out", "  S: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref W}}", "ValidationError: Template format error: Unresolved resource dependencies [W] in the Resources block of the template"},
		{"on itself", "  S: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref S}}", "ValidationError: Circular dependency between resources: [S]"},
		{"in a circle, with hangers-on", "  A: {Type: AWS::EC2::VPC, DependsOn: [B, V]}\n  B: {Type: AWS::EC2::VPC, DependsOn: C}\n  C: {Type: AWS::EC2::VPC, DependsOn: A}\n  D: {Type: AWS::EC2::VPC, DependsOn: C}", "ValidationError: Circular dependency between resources: [A, B, C]"},
	} {
		_, s, err := bound(t, head+tc.resources+"\n")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		deps, err := s.Dependencies()
		got := fmt.Sprint(deps)
		if err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

// A template that is not well-formed is refused in the words of
// CloudFormation.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
func TestRefused(t *testing.T) {
	t.Parallel()
	const vpc = "Resources: {V: {Type: AWS::EC2::VPC}}\n"
	prop := func(v string) string {
		return "Parameters: {P: {Type: String, Default: x}}\nResources:\n  V: {Type: AWS::EC2::VPC}\n  X: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: " + v + "}}\n"
	}
	many := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"Resources":{`)
		for i := range n {
			fmt.Fprintf(&b, `"R%d":{"Type":"AWS::EC2::VPC"},`, i)
		}
		return strings.TrimSuffix(b.String(), ",") + "}}"
	}
	for _, tc := range []struct{ body, want string }{
		{``, "Template format error: unsupported structure."},
		{`[]`, "Template format error: unsupported structure."},
		{`just text`, "Template format error: unsupported structure."},
		{"{\n  \"Resources\": {,}\n}", "Template format error: JSON not well-formed. (line 2, column 18)"},
		{`{"Resources":{}} {}`, "Template format error: JSON not well-formed. (line 1, column 18)"},
		{"Resources:\n  A: [", "Template format error: YAML not well-formed. (line 2)"},
		{"A: 1\nA: 2\n", "Template format error: YAML not well-formed. (line 2, column 1)"},
		{strings.Repeat("[", 5000), "Template format error: unsupported structure."},
		{"A: x\nB:\n  " + strings.Repeat("- ", 5000), "Template format error: unsupported structure."},
		{"{\"a\":" + strings.Repeat("{\"a\":", 5000), "Template format error: unsupported structure."},
		{"x: &a 1\ny: *a\n", "Template error: YAML aliases are not allowed in CloudFormation templates"},
		{"x: !Frob 1\n", "Template format error: YAML tag !Frob is not supported"},
		{`Description: x`, "Template format error: At least one Resources member must be defined."},
		{`Resources: {}`, "Template format error: At least one Resources member must be defined."},
		{vpc + "Foo: 1\nBar: 2\n", "Invalid template property or properties [Bar, Foo]"},
		{vpc + "Transform: AWS::Serverless-2016-10-31\n", "NotModelled: Template section Transform is not modelled by the sandbox"},
		{vpc + "AWSTemplateFormatVersion: '2011'\n", "Template format error: unsupported value for AWSTemplateFormatVersion."},
		{vpc + "Description: [a]\n", "Template format error: Description must be a string."},
		{vpc + "Description: " + strings.Repeat("d", 1025), "Template format error: 'Description' length is greater than 1024."},
		{"Resources: {V-1: {Type: AWS::EC2::VPC}}", "Template format error: Resource name V-1 is non alphanumeric."},
		{"Resources: {V: {}}", "Template format error: [/Resources/V] Every Resources object must contain a Type member."},
		{"Resources: {V: {Type: AWS::EC2::VPC, Foo: 1}}", "Invalid template resource property 'Foo'"},
		{"Resources: {V: {Type: AWS::EC2::VPC, DeletionPolicy: Keep}}", "Template error: Unrecognized DeletionPolicy Keep for resource V"},
		{"Resources: {V: {Type: AWS::EC2::VPC, DeletionPolicy: Snapshot}}", "Template error: resource type AWS::EC2::VPC does not support deletion policy Snapshot"},
		{"Resources: {V: {Type: AWS::EC2::VPC, UpdateReplacePolicy: RetainExceptOnCreate}}", "Template error: Unrecognized UpdateReplacePolicy RetainExceptOnCreate for resource V"},
		{"Resources: {V: {Type: AWS::EC2::VPC, CreationPolicy: {}}}", "NotModelled: Template error: CreationPolicy is not modelled by the sandbox [/Resources/V]"},
		{"Resources: {V: {Type: AWS::EC2::VPC, DependsOn: X}}", "Template format error: Unresolved resource dependencies [X] in the Resources block of the template"},
		{"Resources: {V: {Type: AWS::EC2::VPC, Condition: X}}", "Template format error: Unresolved condition dependency X in the Resources block of the template"},
		{"Resources: {V: {Type: AWS::EC2::Vpc}, W: {Type: Foo}}", "Template format error: Unrecognized resource types: [AWS::EC2::Vpc, Foo]"},
		{"Resources: {V: {Type: AWS::CloudFormation::Stack}}", "NotModelled: Template error: nested stacks are not modelled by the sandbox [V]"},
		{"Resources: {V: {Type: AWS::EC2::VPC, Properties: {Fn::Transform: {Name: AWS::Include}}}}", "NotModelled: Template error: function Fn::Transform is not modelled by the sandbox"},
		{"Resources: {V: {Type: Custom::Thing}}", "NotModelled: Template error: custom resources are not modelled by the sandbox [V]"},
		{many(501), "Template format error: Number of resources, 501, is greater than maximum allowed, 500"},
		{many(500), ""},
		{"Parameters: {V: {Type: String}}\n" + vpc, "Template format error: Names must be unique among Parameters and Resources: [V]"},
		{prop(`null`), "Template format error: [/Resources/X/Properties/Value] 'null' values are not allowed in templates"},
		{prop(`!Ref Nothing`), "Template format error: Unresolved resource dependencies [Nothing] in the Resources block of the template"},
		{prop(`!Sub "${Nothing}"`), "Template format error: Unresolved resource dependencies [Nothing] in the Resources block of the template"},
		{prop(`!Ref [a]`), "Template format error: every Ref object must have a single String value."},
		{prop(`!GetAtt Nothing.Arn`), "Template error: instance of Fn::GetAtt references undefined resource Nothing"},
		{prop(`!GetAtt V.Arn`), "Template error: resource V does not support attribute type Arn in Fn::GetAtt"},
		{prop(`!GetAtt V`), "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"},
		{prop(`!Sub {a: b}`), "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string"},
		{prop(`!Sub "${a-b}"`), "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons"},
		{prop(`!Join [",", a, b]`), "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."},
		{prop(`!Join [",", a]`), "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."},
		{prop(`!Select [3, [a]]`), "Template error: Fn::Select cannot select nonexistent value at index 3"},
		{prop(`!Select [a, [a]]`), "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"},
		{prop(`!Split [",", [a]]`), "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split."},
		{prop(`!FindInMap [A, b, c]`), "Template error: Mapping named 'A' is not present in the 'Mappings' section of template."},
		{prop(`!FindInMap [A, b]`), "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value"},
		{"Mappings: {A: {b: {c: d}}}\n" + prop(`!FindInMap [A, b, x]`), "Template error: Unable to get mapping for A::b::x"},
		{"Mappings: {A: {b: c}}\n" + vpc, "Template format error: Every Mappings attribute must be a map [A::b]"},
		{prop(`!If [C, a, b]`), "Template error: unresolved condition dependency C in Fn::If"},
		{prop(`!If [C, a]`), "Template error: Fn::If requires a list argument with three elements"},
		{prop(multiplied(`!Join ["", [%s, %s]]`)), tooLarge},
		{prop(multiplied(`!Sub ["${a}${b}", {a: %s, b: %s}]`)), tooLarge},
		{prop(multiplied(`!Join [x, !Split [x, !Join ["", [%s, %s]]]]`)), tooLarge},
		{"Parameters: {P: {Type: Number, Default: Infinity}}\n" + vpc, "Parameter 'P' must be a number"},
		{prop(`{"Fn::Frob": a}`), "NotModelled: Template error: function Fn::Frob is not modelled by the sandbox"},
		{prop(`{"Fn::Base64": a, b: c}`), "Template format error: [/Resources/X/Properties/Value] a function must be the only key of its object"},
		{prop(`!Base64 [a]`), "Template error: every Fn::Base64 object must have a String-typed value."},
		{prop(`!Cidr [10.0.0.0/24, 300, 4]`), "Template error: Fn::Cidr can't divide 10.0.0.0/24 into 300 blocks of 4 bits"},
		{prop(`!Cidr [10.0.0.0/24, 5, 6]`), "Template error: Fn::Cidr can't divide 10.0.0.0/24 into 5 blocks of 6 bits"},
		{prop(`!Cidr [nonsense, 5, 6]`), "Template error: nonsense is not a valid CIDR block"},
		{prop(`!ImportValue gone`), "No export named gone found"},
		{prop(`!GetAZs eu-west-1`), "NotModelled: Template error: Fn::GetAZs is modelled for us-east-1 only, not eu-west-1"},
		{"Conditions: {C: x}\n" + vpc, "Template format error: Every Conditions member must be a condition function [/Conditions/C]"},
		{"Conditions: {C: !Equals [a]}\n" + vpc, "Template error: every Fn::Equals object requires a list of 2 string parameters."},
		{"Conditions: {C: !And [!Equals [a, b]]}\n" + vpc, "Template error: every Fn::And object requires a list of at least 2 and at most 10 boolean parameters."},
		{"Conditions: {C: !Not []}\n" + vpc, "Template error: every Fn::Not object requires one boolean parameter."},
		{"Conditions: {C: !Equals [!Ref V, b]}\n" + vpc, "Template format error: Unresolved dependencies [V]. Cannot reference resources in the Conditions block of the template"},
		{"Conditions: {C: !Condition D}\n" + vpc, "Template format error: Unresolved condition dependency D in the Conditions block of the template"},
		{"Conditions: {C: !Condition D, D: !Not [!Condition C]}\n" + vpc, "Template format error: Found circular condition dependency with condition C"},
		{vpc + "Outputs: {O: {}}", "Template format error: [/Outputs/O] Every Outputs member must contain a Value object."},
		{vpc + "Outputs: {O: {Value: !Ref X}}", "Template format error: Unresolved resource dependencies [X] in the Outputs block of the template"},
		{vpc + "Outputs: {O: {Value: !GetAtt V.Ipv6CidrBlocks}}", "Template format error: The Value field of every Outputs member must evaluate to a String."},
		{vpc + "Outputs: {O: {Value: a, Export: {Name: !Ref V}}}", "Template format error: Output O is malformed. The Name field of every Export member must not depend on any resources, imported values, or Fn::GetAZs."},
		{vpc + "Outputs: {O: {Value: a, Export: x}}", "Template format error: Output O is malformed. The Name field of every Export member must be specified and consist of a string."},
	} {
		tpl, s, err := bound(t, tc.body)
		if err == nil {
			for _, r := range tpl.Resources {
				if _, err = s.Properties(r); err != nil {
					break
				}
			}
		}
		if err == nil {
			_, err = s.Outputs()
		}
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "ValidationError: ")
		}
		if got != tc.want {
			t.Errorf("%.80s\ngot  %s\nwant %s", tc.body, got, tc.want)
		}
	}
}

const tooLarge = "NotModelled: Template error: functions that make texts of more than 131072 bytes or lists of more than 8192 elements are not modelled by the sandbox"

// multiplied doubles a text of 500 bytes ten times.
func multiplied(double string) string {
	v := strings.Repeat("x", 500)
	for range 10 {
		v = fmt.Sprintf(double, v, v)
	}
	return v
}

// Parameters are checked against their type, pattern, length, range and
// allowed values, and those of the Parameter Store are read.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-supplied-parameter-types.html
func TestParameters(t *testing.T) {
	t.Parallel()
	const vpc = "\nResources: {V: {Type: AWS::EC2::VPC}}\n"
	previous := []Value{{Key: "P", Given: "before"}}
	acct := Account{
		Parameter: func(n string) (string, bool, error) { return "vpc-1", n == "/vpc", nil },
		Exists:    func(_, v string) bool { return v == "vpc-1" || strings.HasPrefix(v, "subnet-") },
	}
	for _, tc := range []struct {
		def  string
		in   []Input
		want string
	}{
		{"{Type: String}", []Input{{Key: "P", Value: "x"}}, "x -> x"},
		{"{Type: String}", []Input{{Key: "P", Value: ""}}, " -> "},
		{"{Type: String, Default: d}", nil, "d -> d"},
		{"{Type: String}", nil, "Parameters: [P] must have values"},
		{"{Type: String}", []Input{{Key: "P", UsePrevious: true}}, "before -> before"},
		{"{Type: String}", []Input{{Key: "P", UsePrevious: true, Value: "x"}}, "Invalid input for parameter key P. Cannot specify usePreviousValue as true and specify a value"},
		{"{Type: String, Default: d}\n  Q: {Type: String}", []Input{{Key: "Q", UsePrevious: true}}, "Invalid input for parameter key Q. Cannot specify usePreviousValue as true for a parameter key not in the previous template"},
		{"{Type: String}", []Input{{Key: "P", Value: "x"}, {Key: "Z", Value: "x"}, {Key: "Y", Value: "x"}}, "Parameters: [Y, Z] do not exist in the template"},
		{"{Type: String}", []Input{{Key: "P", Value: "x"}, {Key: "P", Value: "y"}}, "Duplicate parameter key: P"},
		{"{Type: String, AllowedValues: [a, b]}", []Input{{Key: "P", Value: "c"}}, "Parameter 'P' must be one of AllowedValues"},
		{"{Type: Number, AllowedValues: [1, 2]}", []Input{{Key: "P", Value: "2"}}, "2 -> 2"},
		{"{Type: String, AllowedPattern: '[a-z]+'}", []Input{{Key: "P", Value: "aB"}}, "Parameter 'P' must match pattern [a-z]+"},
		{"{Type: String, AllowedPattern: '[a-z]+', ConstraintDescription: letters only}", []Input{{Key: "P", Value: "aB"}}, "Parameter P failed to satisfy constraint: letters only"},
		{"{Type: String, AllowedPattern: '(?!aws)[a-z]+'}", nil, "NotModelled: Template format error: AllowedPattern (?!aws)[a-z]+ of parameter P is not modelled by the sandbox: error parsing regexp: invalid or unsupported Perl syntax: `(?!`"},
		{"{Type: String, AllowedPattern: '(a)\\1'}", nil, "NotModelled: Template format error: AllowedPattern (a)\\1 of parameter P is not modelled by the sandbox: error parsing regexp: invalid escape sequence: `\\1`"},
		{"{Type: String, AllowedPattern: 'a{1,2000}'}", nil, "NotModelled: Template format error: AllowedPattern a{1,2000} of parameter P is not modelled by the sandbox: error parsing regexp: invalid repeat count: `{1,2000}`"},
		{"{Type: String, AllowedPattern: '(a'}", nil, "Template format error: Parameter P: AllowedPattern (a is not a regular expression"},
		{"{Type: String, MinLength: 3}", []Input{{Key: "P", Value: "ab"}}, "Parameter 'P' must contain at least 3 characters"},
		{"{Type: String, MaxLength: 1}", []Input{{Key: "P", Value: "ab"}}, "Parameter 'P' must contain at most 1 characters"},
		{"{Type: String}", []Input{{Key: "P", Value: strings.Repeat("x", 4097)}}, "Parameter 'P' must contain at most 4096 characters"},
		{"{Type: Number, MinValue: 2}", []Input{{Key: "P", Value: "1"}}, "Parameter 'P' must be a number not less than 2"},
		{"{Type: Number, MaxValue: 2}", []Input{{Key: "P", Value: "2.5"}}, "Parameter 'P' must be a number not greater than 2"},
		{"{Type: Number}", []Input{{Key: "P", Value: "x"}}, "Parameter 'P' must be a number"},
		{"{Type: List<Number>}", []Input{{Key: "P", Value: "1, 2"}}, "1, 2 -> [1 2]"},
		{"{Type: List<Number>}", []Input{{Key: "P", Value: "1,x"}}, "Parameter 'P' must be a number"},
		{"{Type: CommaDelimitedList}", []Input{{Key: "P", Value: ""}}, " -> []"},
		{"{Type: CommaDelimitedList, AllowedValues: [a]}", []Input{{Key: "P", Value: "a,b"}}, "Parameter 'P' must be one of AllowedValues"},
		{"{Type: AWS::EC2::VPC::Id}", []Input{{Key: "P", Value: "vpc-1"}}, "vpc-1 -> vpc-1"},
		{"{Type: AWS::EC2::VPC::Id}", []Input{{Key: "P", Value: "vpc-2"}}, "Parameter validation failed: parameter value vpc-2 for parameter name P does not exist"},
		{"{Type: List<AWS::EC2::Subnet::Id>}", []Input{{Key: "P", Value: "subnet-1,subnet-2"}}, "subnet-1,subnet-2 -> [subnet-1 subnet-2]"},
		{"{Type: AWS::SSM::Parameter::Value<AWS::EC2::VPC::Id>}", []Input{{Key: "P", Value: "/vpc"}}, "/vpc -> vpc-1"},
		{"{Type: AWS::SSM::Parameter::Value<List<String>>}", []Input{{Key: "P", Value: "/vpc"}}, "/vpc -> [vpc-1]"},
		{"{Type: AWS::SSM::Parameter::Value<String>}", []Input{{Key: "P", Value: "/x"}}, "Unable to fetch parameters [/x] from parameter store for this account."},
		{"{Type: AWS::SSM::Parameter::Name}", []Input{{Key: "P", Value: "/vpc"}}, "/vpc -> /vpc"},
		{"{Type: Strings}", nil, "Template format error: Unrecognized parameter type: Strings"},
		{"{Type: List<String>}", nil, "Template format error: Unrecognized parameter type: List<String>"},
		{"{}", nil, "Template format error: Every Parameters object must contain a Type member."},
		{"{Type: String, Foo: 1}", nil, "Invalid template parameter property 'Foo'"},
		{"{Type: String, Default: [a]}", nil, "Template format error: Every Default member must be a string."},
		{"{Type: String, NoEcho: perhaps}", nil, "Template format error: Parameter P: NoEcho has an invalid value"},
	} {
		got := ""
		tpl, err := Parse("Parameters:\n  P: "+tc.def+vpc, types(t))
		if err == nil {
			var v []Value
			if v, err = tpl.Values(tc.in, previous, acct); err == nil {
				got = fmt.Sprintf("%s -> %v", v[0].Given, v[0].Ref)
			}
		}
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "ValidationError: ")
		}
		if got != tc.want {
			t.Errorf("%s %v\ngot  %s\nwant %s", tc.def, tc.in, got, tc.want)
		}
	}
}

// IAM resources need CAPABILITY_IAM, those with a name CAPABILITY_NAMED_IAM.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/control-access-with-iam.html
func TestCapability(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ resources, want string }{
		{"V: {Type: AWS::EC2::VPC}", " []"},
		{"R: {Type: AWS::IAM::Role}, P: {Type: AWS::IAM::InstanceProfile}", "CAPABILITY_IAM [AWS::IAM::InstanceProfile AWS::IAM::Role]"},
		{"R: {Type: AWS::IAM::Role, Properties: {RoleName: r}}, P: {Type: AWS::IAM::ManagedPolicy}", "CAPABILITY_NAMED_IAM [AWS::IAM::ManagedPolicy AWS::IAM::Role]"},
	} {
		tpl, err := Parse("Resources: {"+tc.resources+"}", types(t))
		if err != nil {
			t.Fatal(err)
		}
		c, which := tpl.Capability()
		if got := fmt.Sprint(c, " ", which); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.resources, got, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Resources: {V: {Type: AWS::EC2::VPC, Properties: {CidrBlock: !Sub \"${AWS::Region}\"}}}")
	f.Add(`{"Resources":{"V":{"Type":"AWS::EC2::VPC"}},"Conditions":{"C":{"Fn::Equals":["a",{"Ref":"AWS::Region"}]}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		_, s, err := bound(t, body)
		if err != nil {
			return
		}
		_, _ = s.Dependencies()
		_, _ = s.Outputs()
	})
}
