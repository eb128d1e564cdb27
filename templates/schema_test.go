package templates_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/poolhouse/poolhouse/config"
)

// schemasVariable names the folder with the resource schemas that AWS
// publishes, a file for each type.
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
const schemasVariable = "POOLHOUSE_SCHEMAS"

// TestSchemas holds every resource of all examples, and of the largest
// configuration, to AWS's schema of its type: no unknown, read-only or missing
// property, every literal of the right type, form and range, and every attribute
// asked for there to be had. An intrinsic function stands for anything, a
// parameter for its default.
func TestSchemas(t *testing.T) {
	t.Parallel()
	folder := os.Getenv(schemasVariable)
	if folder == "" {
		t.Skip("set " + schemasVariable + " to a folder of CloudFormation resource schemas")
	}
	types := readSchemas(t, folder)
	configs := map[string]*config.Config{"everything": everything(t)}
	for _, name := range examples(t) {
		configs[name] = example(t, name)
	}
	// Collections of schemas lack them; package cfn checks their properties.
	without := map[string]bool{"AWS::EC2::EIPAssociation": true, "AWS::SNS::TopicPolicy": true}
	for name, c := range configs {
		for _, s := range all(t, c) {
			t.Run(name+"/"+string(s.Name), func(t *testing.T) {
				t.Parallel()
				var doc schemaTemplate
				if err := json.Unmarshal(s.Body, &doc); err != nil {
					t.Fatal(err)
				}
				for _, fault := range doc.faults(types, without) {
					t.Error(fault)
				}
			})
		}
	}
}

// TestSchemaFaults shows that the schemas find what they are there for.
func TestSchemaFaults(t *testing.T) {
	t.Parallel()
	var s schema
	if err := json.Unmarshal([]byte(`{
		"typeName": "Example",
		"additionalProperties": false,
		"required": ["Name"],
		"readOnlyProperties": ["/properties/Arn"],
		"definitions": {
			"Mode": {"type": "string", "enum": ["On", "Off"]},
			"Tag": {"type": "object", "additionalProperties": false, "required": ["Key"], "properties": {"Key": {"type": "string", "maxLength": 3}}}
		},
		"properties": {
			"Arn": {"type": "string"},
			"Name": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2},
			"Mode": {"$ref": "#/definitions/Mode"},
			"Size": {"type": "integer", "minimum": 1, "maximum": 9},
			"Open": {"type": "boolean"},
			"Tags": {"type": "array", "maxItems": 2, "uniqueItems": true, "items": {"$ref": "#/definitions/Tag"}},
			"Labels": {"type": "object", "additionalProperties": false, "patternProperties": {"^[a-z]$": {"type": "string"}}},
			"Rule": {"type": "object", "oneOf": [{"required": ["A"]}, {"required": ["B"]}]}
		}
	}`), &s); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ properties, want string }{
		{`{"Name": "ab", "Mode": "On", "Size": 9, "Open": true, "Tags": [{"Key": "k"}], "Labels": {"a": "b"}, "Rule": {"B": 1}}`, ""},
		{`{"Name": {"Fn::GetAtt": ["Other", "Arn"]}, "Size": {"Ref": "Given"}, "Tags": {"Ref": "None"}}`, ""},
		{`{"Name": "ab", "Tags": [{"Fn::If": ["C", {"Key": "k"}, {"Ref": "AWS::NoValue"}]}]}`, ""},
		{`{}`, "Name: missing"},
		{`{"Name": {"Ref": "AWS::NoValue"}}`, "Name: missing"},
		{`{"Name": "ab", "Nmae": 1}`, "Nmae: unknown"},
		{`{"Name": "ab", "Arn": "x"}`, "Arn: read only"},
		{`{"Name": "AB"}`, "Name: does not match ^[a-z]+$"},
		{`{"Name": "a"}`, "Name: shorter than 2"},
		{`{"Name": {"Ref": "Empty"}}`, "Name: does not match ^[a-z]+$; Name: shorter than 2"},
		{`{"Name": {"Ref": "Other"}}`, "Name: no attribute or parameter Other"},
		{`{"Name": {"Fn::GetAtt": ["Other", "Nothing"]}}`, "Name: Example has no attribute Nothing"},
		{`{"Name": "ab", "Mode": "on"}`, "Mode: on is not among On, Off"},
		{`{"Name": "ab", "Size": "9"}`, "Size: string is no integer"},
		{`{"Name": "ab", "Size": 1.5}`, "Size: number is no integer"},
		{`{"Name": "ab", "Size": 0}`, "Size: less than 1"},
		{`{"Name": "ab", "Size": 10}`, "Size: more than 9"},
		{`{"Name": "ab", "Open": "true"}`, "Open: string is no boolean"},
		{`{"Name": "ab", "Tags": [{"Key": "long"}]}`, "Tags.0.Key: longer than 3"},
		{`{"Name": "ab", "Tags": [{"Fn::If": ["C", {}, {"Key": "k"}]}]}`, "Tags.0.Key: missing"},
		{`{"Name": "ab", "Tags": [{"Key": "a"}, {"Key": "a"}]}`, "Tags: 1 repeats 0"},
		{`{"Name": "ab", "Tags": [{"Key": "a"}, {"Key": "b"}, {"Key": "c"}]}`, "Tags: more than 2 items"},
		{`{"Name": "ab", "Labels": {"A": "b"}}`, "Labels.A: unknown"},
		{`{"Name": "ab", "Labels": {"a": 1}}`, "Labels.a: integer is no string"},
		{`{"Name": "ab", "Rule": {"A": 1, "B": 1}}`, "Rule: fits 2 of oneOf"},
		{`{"Name": "ab", "Rule": {}}`, "Rule: fits 0 of oneOf"},
	} {
		t.Run(tc.properties, func(t *testing.T) {
			t.Parallel()
			var properties any
			if err := json.Unmarshal([]byte(tc.properties), &properties); err != nil {
				t.Fatal(err)
			}
			doc := schemaTemplate{
				Parameters: map[string]schemaParameter{"Given": {}, "None": {}, "Empty": {Default: new(string)}},
				Resources:  map[string]schemaResource{"It": {"Example", properties}},
			}
			if strings.Contains(tc.properties, "GetAtt") {
				doc.Resources["Other"] = schemaResource{"Example", map[string]any{"Name": "ab"}}
			}
			got := strings.ReplaceAll(strings.Join(doc.faults(map[string]*schema{"Example": &s}, nil), "; "), "It.", "")
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// schema is what is read of a resource type's schema, or of a part of it.
type schema struct {
	TypeName string   `json:"typeName"`
	ReadOnly []string `json:"readOnlyProperties"`

	Ref         string             `json:"$ref"`
	Definitions map[string]*schema `json:"definitions"`

	Type       schemaTypes        `json:"type"`
	Properties map[string]*schema `json:"properties"`
	Patterns   map[string]*schema `json:"patternProperties"`
	Additional json.RawMessage    `json:"additionalProperties"`
	Required   []string           `json:"required"`
	OneOf      []*schema          `json:"oneOf"`
	AnyOf      []*schema          `json:"anyOf"`
	AllOf      []*schema          `json:"allOf"`

	Items     *schema `json:"items"`
	MinItems  *int    `json:"minItems"`
	MaxItems  *int    `json:"maxItems"`
	Unique    bool    `json:"uniqueItems"`
	Enum      []any   `json:"enum"`
	Const     any     `json:"const"`
	Pattern   string  `json:"pattern"`
	MinLength *int    `json:"minLength"`
	MaxLength *int    `json:"maxLength"`
	Minimum   *number `json:"minimum"`
	Maximum   *number `json:"maximum"`
}

// schemaTypes are one type or several.
type schemaTypes []string

func (s *schemaTypes) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(s))
	}
	*s = make(schemaTypes, 1)
	return json.Unmarshal(b, &(*s)[0])
}

// number is one that some schemas write as text.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	return json.Unmarshal([]byte(strings.Trim(string(b), `"`)), (*float64)(n))
}

func readSchemas(t *testing.T, folder string) map[string]*schema {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d schemas in %s (%v)", len(files), folder, err)
	}
	out := map[string]*schema{}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s := &schema{}
		if err := json.Unmarshal(body, s); err != nil {
			t.Fatalf("read %s: %v", f, err)
		}
		out[s.TypeName] = s
	}
	return out
}

// schemaTemplate is what is read of a template.
type schemaTemplate struct {
	Parameters map[string]schemaParameter
	Resources  map[string]schemaResource
}

type schemaParameter struct {
	Type    string
	Default *string
}

type schemaResource struct {
	Type       string
	Properties any
}

// faults are all faults of all resources, in order.
func (d schemaTemplate) faults(types map[string]*schema, without map[string]bool) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(d.Resources)) {
		r := d.Resources[id]
		s, ok := types[r.Type]
		if !ok {
			if !without[r.Type] {
				out = append(out, id+": there is no schema of "+r.Type)
			}
			continue
		}
		c := schemaCheck{doc: d, types: types, root: s}
		properties := r.Properties
		if properties == nil {
			properties = map[string]any{}
		}
		for _, path := range s.ReadOnly {
			name := strings.TrimPrefix(path, "/properties/")
			if p, ok := properties.(map[string]any); ok && p[name] != nil {
				c.fault(id+"."+name, "read only")
			}
		}
		// Properties by themselves have the type of an object.
		c.value(id, s, properties, false)
		out = append(out, c.faults...)
	}
	return out
}

// schemaCheck checks one resource.
type schemaCheck struct {
	doc    schemaTemplate
	types  map[string]*schema
	root   *schema
	faults []string
}

func (c *schemaCheck) fault(path, format string, args ...any) {
	c.faults = append(c.faults, path+": "+fmt.Sprintf(format, args...))
}

// value checks a value. A loose one is a parameter's, which CloudFormation
// converts from a string.
func (c *schemaCheck) value(path string, s *schema, v any, loose bool) {
	if s.Ref != "" {
		to, ok := c.root.Definitions[strings.TrimPrefix(s.Ref, "#/definitions/")]
		if !ok { // the few that refer to a property's own schema
			to, ok = c.root.Properties[strings.TrimPrefix(s.Ref, "#/properties/")]
		}
		if !ok {
			c.fault(path, "unknown schema %s", s.Ref)
			return
		}
		c.value(path, to, v, loose)
		return
	}
	if c.intrinsic(path, s, v) {
		return
	}
	if len(s.Type) > 0 && !loose && !slices.ContainsFunc(s.Type, func(t string) bool { return isA(v, t) }) {
		c.fault(path, "%s is no %s", kindOf(v), strings.Join(s.Type, " or "))
		return
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		c.fault(path, "%v is not among %s", v, list(s.Enum))
	}
	if s.Const != nil && s.Const != v {
		c.fault(path, "%v is not %v", v, s.Const)
	}
	for _, all := range s.AllOf {
		c.value(path, all, v, loose)
	}
	if n := c.fitting(s.AnyOf, v); len(s.AnyOf) > 0 && n == 0 {
		c.fault(path, "fits none of anyOf")
	}
	if n := c.fitting(s.OneOf, v); len(s.OneOf) > 0 && n != 1 {
		c.fault(path, "fits %d of oneOf", n)
	}
	switch v := v.(type) {
	case string:
		c.text(path, s, v)
	case float64:
		if s.Minimum != nil && v < float64(*s.Minimum) {
			c.fault(path, "less than %v", *s.Minimum)
		}
		if s.Maximum != nil && v > float64(*s.Maximum) {
			c.fault(path, "more than %v", *s.Maximum)
		}
	case []any:
		c.array(path, s, v)
	case map[string]any:
		c.object(path, s, v)
	}
}

// fitting counts the alternatives that a value fits.
func (c *schemaCheck) fitting(alternatives []*schema, v any) int {
	n := 0
	for _, s := range alternatives {
		try := &schemaCheck{doc: c.doc, types: c.types, root: c.root}
		try.value("", s, v, false)
		if len(try.faults) == 0 {
			n++
		}
	}
	return n
}

// intrinsic says whether a value is an intrinsic function, and checks what is
// known of its result.
func (c *schemaCheck) intrinsic(path string, s *schema, v any) bool {
	o, ok := v.(map[string]any)
	if !ok || len(o) != 1 {
		return false
	}
	for name, arg := range o {
		switch {
		case name == "Ref":
			c.ref(path, s, arg)
		case name == "Fn::GetAtt":
			c.attribute(path, arg)
		case name == "Fn::If":
			for _, branch := range arg.([]any)[1:] {
				if !noValue(branch) {
					c.value(path, s, branch, false)
				}
			}
		case !strings.HasPrefix(name, "Fn::"):
			return false
		}
	}
	return true
}

func (c *schemaCheck) ref(path string, s *schema, arg any) {
	name, _ := arg.(string)
	p, ok := c.doc.Parameters[name]
	if !ok {
		if _, ok := c.doc.Resources[name]; !ok && !strings.HasPrefix(name, "AWS::") {
			c.fault(path, "no attribute or parameter %s", name)
		}
		return
	}
	if p.Default == nil || strings.Contains(p.Type, "List") {
		return
	}
	c.value(path, s, *p.Default, true)
}

// attribute checks that a resource has one. Attributes are the read-only
// properties, but for one that is older than the schemas.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-subnet.html
func (c *schemaCheck) attribute(path string, arg any) {
	parts, _ := arg.([]any)
	if len(parts) != 2 {
		c.fault(path, "Fn::GetAtt of %v", arg)
		return
	}
	id, _ := parts[0].(string)
	name, _ := parts[1].(string)
	s, ok := c.types[c.doc.Resources[id].Type]
	if !ok {
		return
	}
	known := slices.Contains(s.ReadOnly, "/properties/"+strings.ReplaceAll(name, ".", "/"))
	if !known && (s.TypeName != "AWS::EC2::Subnet" || name != "AvailabilityZone") {
		c.fault(path, "%s has no attribute %s", s.TypeName, name)
	}
}

func (c *schemaCheck) text(path string, s *schema, v string) {
	if s.Pattern != "" && !c.matches(path, s.Pattern, v) {
		c.fault(path, "does not match %s", s.Pattern)
	}
	n := utf8.RuneCountInString(v)
	if s.MinLength != nil && n < *s.MinLength {
		c.fault(path, "shorter than %d", *s.MinLength)
	}
	if s.MaxLength != nil && n > *s.MaxLength {
		c.fault(path, "longer than %d", *s.MaxLength)
	}
}

// matches says whether a text matches a pattern. Patterns are written for other
// engines than Go's: their look-aheads, which only bound lengths, and long
// repetitions are let go.
func (c *schemaCheck) matches(path, pattern, text string) bool {
	plain := strings.NewReplacer(`\Z`, `\z`, `(?=.{2,256}$)`, ``, `+{1,255}`, `+`, `{1,1024}`, `+`).Replace(pattern)
	re, err := regexp.Compile(plain)
	if err != nil {
		c.fault(path, "compile pattern: %v", err)
		return true
	}
	return re.MatchString(text)
}

func (c *schemaCheck) array(path string, s *schema, v []any) {
	if s.MinItems != nil && len(v) < *s.MinItems {
		c.fault(path, "fewer than %d items", *s.MinItems)
	}
	if s.MaxItems != nil && len(v) > *s.MaxItems {
		c.fault(path, "more than %d items", *s.MaxItems)
	}
	for i, item := range v {
		if s.Items != nil {
			c.value(fmt.Sprintf("%s.%d", path, i), s.Items, item, false)
		}
		for j := range i {
			if s.Unique && reflect.DeepEqual(v[j], item) {
				c.fault(path, "%d repeats %d", i, j)
			}
		}
	}
}

func (c *schemaCheck) object(path string, s *schema, v map[string]any) {
	for _, name := range s.Required {
		if p, ok := v[name]; !ok || noValue(p) {
			c.fault(path+"."+name, "missing")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		at := path + "." + name
		if sub, ok := s.Properties[name]; ok {
			if !noValue(v[name]) {
				c.value(at, sub, v[name], false)
			}
			continue
		}
		known := false
		for pattern, sub := range s.Patterns {
			if c.matches(at, pattern, name) {
				known = true
				c.value(at, sub, v[name], false)
			}
		}
		if !known && string(s.Additional) == "false" {
			c.fault(at, "unknown")
		}
	}
}

func noValue(v any) bool {
	return reflect.DeepEqual(v, map[string]any{"Ref": "AWS::NoValue"})
}

func isA(v any, kind string) bool {
	got := kindOf(v)
	return got == kind || got == "integer" && kind == "number"
}

func kindOf(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}

func list(values []any) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprint(v)
	}
	return strings.Join(out, ", ")
}
