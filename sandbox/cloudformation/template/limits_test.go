package template

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// members writes n members of a section, each with the same value.
func members(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  M%d: %s\n", i, value)
	}
	return b.String()
}

// A template has at most 500 resources, 200 parameters, 200 mappings with 200
// attributes each, 200 outputs, names of 255 characters, a description of 1,024
// bytes and values of parameters of 4,096 bytes.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
func TestLimits(t *testing.T) {
	t.Parallel()
	const vpc = "Resources:\n  V: {Type: AWS::EC2::VPC}\n"
	for name, tc := range map[string]struct {
		limit int
		body  func(n int) string
		want  string
	}{
		"resources":  {500, func(n int) string { return "Resources:\n" + members(n, "{Type: AWS::EC2::VPC}") }, "Template format error: Number of resources, 501, is greater than maximum allowed, 500"},
		"parameters": {200, func(n int) string { return vpc + "Parameters:\n" + members(n, "{Type: String, Default: x}") }, "Template format error: Number of parameters, 201, is greater than maximum allowed, 200"},
		"mappings":   {200, func(n int) string { return vpc + "Mappings:\n" + members(n, "{a: {b: c}}") }, "Template format error: Number of mappings, 201, is greater than maximum allowed, 200"},
		"attributes": {200, func(n int) string {
			return vpc + "Mappings:\n  M:\n" + strings.ReplaceAll(members(n, "{b: c}"), "  M", "    M")
		}, "Template format error: Number of attributes of mapping M, 201, is greater than maximum allowed, 200"},
		"outputs":         {200, func(n int) string { return vpc + "Outputs:\n" + members(n, "{Value: x}") }, "Template format error: Number of outputs, 201, is greater than maximum allowed, 200"},
		"resource's name": {255, func(n int) string { return vpc + "  " + strings.Repeat("x", n) + ": {Type: AWS::EC2::VPC}\n" }, "Template format error: Resource name " + strings.Repeat("x", 256) + " is longer than 255."},
		"parameter's name": {255, func(n int) string {
			return vpc + "Parameters:\n  " + strings.Repeat("x", n) + ": {Type: String, Default: x}\n"
		}, "Template format error: Parameter name " + strings.Repeat("x", 256) + " is longer than 255."},
		"mapping's name": {255, func(n int) string { return vpc + "Mappings:\n  " + strings.Repeat("x", n) + ": {a: {b: c}}\n" }, "Template format error: Mapping name " + strings.Repeat("x", 256) + " is longer than 255."},
		"output's name":  {255, func(n int) string { return vpc + "Outputs:\n  " + strings.Repeat("x", n) + ": {Value: x}\n" }, "Template format error: Output name " + strings.Repeat("x", 256) + " is longer than 255."},
		"description":    {1024, func(n int) string { return vpc + "Description: " + strings.Repeat("x", n) + "\n" }, "Template format error: 'Description' length is greater than 1024."},
		"value of a parameter": {4096, func(n int) string {
			return vpc + "Parameters: {P: {Type: String, Default: " + strings.Repeat("x", n) + "}}\n"
		}, "Parameter 'P' must contain at most 4096 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := bound(t, tc.body(tc.limit)); err != nil {
				t.Errorf("refused at the limit: %v", err)
			}
			_, _, err := bound(t, tc.body(tc.limit+1))
			if err == nil || err.Error() != "ValidationError: "+tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// Names with :: need no quotes in YAML, not even inside braces and brackets.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
func TestFlowStyleYAML(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"{b: !Ref AWS::StackName}":                                         in{"b": in{"Ref": "AWS::StackName"}},
		"{b: !Ref AWS::StackName, c: d}":                                   in{"b": in{"Ref": "AWS::StackName"}, "c": "d"},
		"{b: [AWS::EC2::VPC, x]}":                                          in{"b": []any{"AWS::EC2::VPC", "x"}},
		"{Fn::GetAtt: [A, B.C]}":                                           in{"Fn::GetAtt": []any{"A", "B.C"}},
		"{Fn::Join: ['', [{Ref: AWS::Region}]]}":                           in{"Fn::Join": []any{"", []any{in{"Ref": "AWS::Region"}}}},
		"{b: !Sub arn:aws:s3:::x}":                                         in{"b": in{"Fn::Sub": "arn:aws:s3:::x"}},
		"{b: !If [X, !Ref AWS::Region, !Ref AWS::NoValue]}":                in{"b": in{"Fn::If": []any{"X", in{"Ref": "AWS::Region"}, in{"Ref": "AWS::NoValue"}}}},
		"{b: https://x.y/z}":                                               in{"b": "https://x.y/z"},
		"{b: {\n  c: !GetAtt A.B,\n}}":                                     in{"b": in{"c": in{"Fn::GetAtt": "A.B"}}},
		"{on: yes, n: null, i: 7, f: 1.5, d: 2012-10-17, z: 007, h: 0x1F}": in{"on": "yes", "n": nil, "i": 7, "f": 1.5, "d": "2012-10-17", "z": "007", "h": "0x1F"},
	} {
		got, err := tree("a: " + text)
		if d := cmp.Diff(in{"a": want}, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", text, err, d)
		}
	}
}

type in = map[string]any

// asked counts how often a template's evaluation asks for a resource.
func asked(t *testing.T, body string) (int, error) {
	t.Helper()
	tpl, s, err := bound(t, body)
	if err != nil {
		return 0, err
	}
	if _, err := s.Dependencies(); err != nil {
		return 0, err
	}
	n := 0
	s.Resource = func(string) any { n++; return "x" }
	s.Spent = new(int)
	for _, r := range tpl.Resources {
		if _, err := s.Properties(r); err != nil {
			return n, err
		}
	}
	_, err = s.Outputs()
	return n, err
}

// A template that would grow without end when it is evaluated is refused, and
// costs what it is long: nested Fn::Sub, texts joined over and over, deep
// nesting, aliases and circles.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
func TestHostileTemplates(t *testing.T) {
	t.Parallel()
	param := func(value string) string {
		return "Parameters: {P: {Type: String, Default: " + strings.Repeat("p", 4096) + "}}\nResources:\n  V: {Type: AWS::EC2::VPC}\n  X: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: " + value + "}}\n"
	}
	// Each level names the one below sixteen times: 16^20 without sharing.
	nested := "!Ref V"
	for range 20 {
		nested = `{"Fn::Sub": ["` + strings.Repeat("${a}", 16) + `", {a: ` + nested + `}]}`
	}
	empty := strings.Replace(nested, "!Ref V", `""`, 1)
	ring := func(n int) string {
		var b strings.Builder
		b.WriteString("Resources:\n")
		for i := range n {
			fmt.Fprintf(&b, "  R%d: {Type: AWS::EC2::VPC, DependsOn: R%d}\n", i, (i+1)%n)
		}
		return b.String()
	}
	all := func(n int) string {
		var b strings.Builder
		b.WriteString("Resources:\n")
		for i := range n {
			fmt.Fprintf(&b, "  R%d: {Type: AWS::EC2::VPC, DependsOn: [", i)
			for j := range i {
				fmt.Fprintf(&b, "R%d, ", j)
			}
			b.WriteString("]}\n")
		}
		return b.String()
	}
	circle := make([]string, 500)
	for i := range circle {
		circle[i] = fmt.Sprintf("R%d", i)
	}
	const tooLong = "NotModelled: Template error: functions that make texts of more than 131072 bytes or lists of more than 8192 elements are not modelled by the sandbox"
	for name, tc := range map[string]struct {
		body  string
		asked int // at most
		want  string
	}{
		"nested Sub":             {param(nested), 1, tooLong},
		"nested Sub of nothing":  {param(empty), 0, ""},
		"one text many times":    {param(`!Join ["", [` + strings.Repeat("!Ref P, ", 40) + `]]`), 0, tooLong},
		"many long texts":        {"Outputs: {O: {Value: x}}\n" + param(`[`+strings.Repeat(`!Join ["", [`+strings.Repeat("!Ref P, ", 31)+`]], `, 100)+`]`), 0, "NotModelled: Template error: templates whose functions and references make more than 8388608 bytes are not modelled by the sandbox"},
		"one parameter for ever": {param(`[` + strings.Repeat("!Ref P, ", 3000) + `]`), 0, "NotModelled: Template error: templates whose functions and references make more than 8388608 bytes are not modelled by the sandbox"},
		"lists of lists":         {param(`!Split ["p", !Join ["", [!Ref P, !Ref P, !Ref P]]]`), 0, tooLong},
		"deep brackets":          {param(strings.Repeat("[", 50_000)), 0, "ValidationError: Template format error: unsupported structure."},
		"deep lines":             {"A:" + strings.Repeat("\n- ", 10) + strings.Repeat("- ", 20_000), 0, "ValidationError: Template format error: unsupported structure."},
		"deep keys":              {strings.Repeat("? ", 20_000) + "a", 0, "ValidationError: Template format error: YAML not well-formed."},
		"aliases":                {"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n", 0, "ValidationError: Template error: YAML aliases are not allowed in CloudFormation templates"},
		"ring of 500":            {ring(500), 0, "ValidationError: Circular dependency between resources: [" + strings.Join(slices.Sorted(slices.Values(circle)), ", ") + "]"},
		"all on all":             {all(120), 0, ""},
		"ring of conditions":     {"Conditions: {A: !Condition B, B: !Not [!Condition A]}\nResources: {V: {Type: AWS::EC2::VPC}}\n", 0, "ValidationError: Template format error: Found circular condition dependency with condition A"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := asked(t, tc.body)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got  %.300s\nwant %.300s", got, tc.want)
			}
			if n > tc.asked {
				t.Errorf("asked for resources %d times", n)
			}
		})
	}
}
