package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOracle compares facts.json with CloudFormation's own resource schemas.
// What differs is listed in testdata/differences.txt with the reason; a new
// difference fails, and so does a listed one that is gone.
func TestOracle(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("POOLHOUSE_SCHEMAS")
	if dir == "" {
		t.Skip("no schemas to compare with: set POOLHOUSE_SCHEMAS to a folder of CloudFormation resource schemas, " +
			"https://schema.cloudformation.us-east-1.amazonaws.com/CloudformationSchema.zip unpacked")
	}
	types := readFacts(t)
	schemas := readSchemas(t, dir)
	var got []string
	for name, r := range types {
		s := schemas[name]
		if s == nil {
			got = append(got, name+" no schema")
			continue
		}
		o := oracle{schema: s, facts: r, path: []string{name}, seen: map[string]bool{}}
		o.compare()
		got = append(got, o.differences...)
	}
	drift, err := driftJSON(dir, types)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../../sandbox/facts/drift.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(drift, committed) {
		t.Error("sandbox/facts/drift.json differs from what the schemas say: go generate ./internal/specgen")
	}
	limits, err := limitsJSON(dir, types)
	if err != nil {
		t.Fatal(err)
	}
	if committed, err = os.ReadFile("../../sandbox/facts/limits.json"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(limits, committed) {
		t.Error("sandbox/facts/limits.json differs from what the schemas say: go generate ./internal/specgen")
	}
	slices.Sort(got)
	want := readDifferences(t)
	for _, line := range minus(got, want) {
		t.Errorf("new: %s", line)
	}
	for _, line := range minus(want, got) {
		t.Errorf("gone, remove from differences.txt: %s", line)
	}
}

func readFacts(t *testing.T) map[string]*resourceType {
	t.Helper()
	body, err := os.ReadFile("../../sandbox/facts/facts.json")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]*resourceType{}
	if err := json.Unmarshal(body, &types); err != nil {
		t.Fatal(err)
	}
	return types
}

// readDifferences reads the lines of differences.txt that are neither empty
// nor reasons.
func readDifferences(t *testing.T) []string {
	t.Helper()
	body, err := os.ReadFile("testdata/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	explained := false
	for line := range strings.Lines(string(body)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "#"):
			explained = true
		case line == "":
			explained = false
		case !explained:
			t.Errorf("difference without a reason above it: %s", line)
		default:
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// node is as much of JSON Schema as resource schemas use for structure.
type node struct {
	Ref                  string           `json:"$ref"`
	Type                 any              `json:"type"`
	Properties           map[string]*node `json:"properties"`
	PatternProperties    map[string]*node `json:"patternProperties"`
	AdditionalProperties json.RawMessage  `json:"additionalProperties"`
	Items                *node            `json:"items"`
	Required             []string         `json:"required"`
	OneOf                []*node          `json:"oneOf"`
	AnyOf                []*node          `json:"anyOf"`
	AllOf                []*node          `json:"allOf"`
}

type schema struct {
	node
	TypeName                        string           `json:"typeName"`
	Definitions                     map[string]*node `json:"definitions"`
	ReadOnlyProperties              []string         `json:"readOnlyProperties"`
	CreateOnlyProperties            []string         `json:"createOnlyProperties"`
	ConditionalCreateOnlyProperties []string         `json:"conditionalCreateOnlyProperties"`
	PrimaryIdentifier               []string         `json:"primaryIdentifier"`
}

func readSchemas(t *testing.T, dir string) map[string]*schema {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas in %s (%v)", dir, err)
	}
	out := map[string]*schema{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s schema
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatalf("decode %s: %v", file, err)
		}
		out[s.TypeName] = &s
	}
	return out
}

type oracle struct {
	schema      *schema
	facts       *resourceType
	path        []string // type name, then properties
	seen        map[string]bool
	replaced    bool // a change above replaces the resource already
	differences []string
}

func (o *oracle) differ(what string, names []string) {
	for _, name := range names {
		o.differences = append(o.differences, strings.Join(append(slices.Clone(o.path), name), ".")+" "+what)
	}
}

func (o *oracle) compare() {
	readOnly := pointers(o.schema.ReadOnlyProperties)
	o.differ("is an attribute in the schema only", minus(readOnly, slices.Collect(maps.Keys(o.facts.Attributes))))
	o.differ("is an attribute in the facts only", minus(slices.Collect(maps.Keys(o.facts.Attributes)), readOnly))
	if ids := pointers(o.schema.PrimaryIdentifier); strings.Join(ids, "|") != strings.Join(o.facts.ID, "|") {
		o.differ(fmt.Sprintf("is the id in the schema, %s in the facts", strings.Join(o.facts.ID, "|")), []string{strings.Join(ids, "|")})
	}
	o.properties(&o.schema.node, o.facts.Properties, pointers(o.schema.CreateOnlyProperties), pointers(o.schema.ConditionalCreateOnlyProperties))
}

// pointers turns JSON pointers to properties into dotted names.
func pointers(in []string) []string {
	var out []string
	for _, p := range in {
		var words []string
		for _, w := range strings.Split(strings.TrimPrefix(p, "/properties/"), "/") {
			if w != "*" && w != "items" && w != "properties" {
				words = append(words, w)
			}
		}
		out = append(out, strings.Join(words, "."))
	}
	return out
}

func (o *oracle) resolve(n *node) *node {
	for n != nil && n.Ref != "" {
		n = o.schema.Definitions[strings.TrimPrefix(n.Ref, "#/definitions/")]
	}
	return n
}

// members are the properties of an object, those of its alternatives too.
func (o *oracle) members(n *node, into map[string]*node) {
	if n = o.resolve(n); n == nil {
		return
	}
	maps.Copy(into, n.Properties)
	for _, alternatives := range [][]*node{n.OneOf, n.AnyOf, n.AllOf} {
		for _, a := range alternatives {
			o.members(a, into)
		}
	}
}

func (o *oracle) properties(n *node, facts properties, createOnly, conditional []string) {
	members := map[string]*node{}
	o.members(n, members)
	readOnly := pointers(o.schema.ReadOnlyProperties)
	var names, required, never, maybe []string
	for name := range members {
		if !slices.Contains(readOnly, strings.Join(append(slices.Clone(o.path[1:]), name), ".")) {
			names = append(names, name)
		}
	}
	for name, d := range facts {
		if d.Required {
			required = append(required, name)
		}
		switch d.Replace {
		case "yes":
			never = append(never, name)
		case "maybe":
			maybe = append(maybe, name)
		}
	}
	known := slices.Collect(maps.Keys(facts))
	o.differ("is in the schema only", minus(names, known))
	o.differ("is in the facts only", minus(known, slices.Collect(maps.Keys(members))))
	o.differ("is required in the schema only", minus(o.resolve(n).Required, required))
	o.differ("is required in the facts only", minus(required, o.resolve(n).Required))
	if o.replaced {
		never, maybe, createOnly, conditional = nil, nil, nil, nil
	}
	o.differ("is create-only in the schema only", minus(here(createOnly), never))
	o.differ("is create-only in the facts only", minus(never, here(createOnly)))
	o.differ("is conditionally create-only in the schema only", minus(here(conditional), maybe))
	o.differ("is conditionally create-only in the facts only", minus(maybe, here(conditional)))
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		if sub := members[name]; sub != nil {
			o.path = append(o.path, name)
			outer := o.replaced
			o.replaced = outer || facts[name].Replace == "yes"
			o.property(sub, facts[name], below(name, createOnly), below(name, conditional))
			o.replaced = outer
			o.path = o.path[:len(o.path)-1]
		}
	}
}

// property descends through lists and maps to an object, once per definition.
func (o *oracle) property(n *node, d *propDef, createOnly, conditional []string) {
	n = o.resolve(n)
	for n != nil && d.Item != nil {
		d = d.Item
		switch {
		case n.Items != nil:
			n = o.resolve(n.Items)
		case len(n.PatternProperties) > 0:
			for _, p := range n.PatternProperties {
				n = o.resolve(p)
			}
		default:
			return
		}
	}
	if n == nil || d.Ref == "" || o.seen[d.Ref] {
		return
	}
	o.seen[d.Ref] = true
	o.properties(n, o.facts.Definitions[d.Ref], createOnly, conditional)
}

func here(paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return strings.Contains(p, ".") })
}

func below(name string, paths []string) []string {
	var out []string
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, name+"."); ok {
			out = append(out, rest)
		}
	}
	return out
}

func minus(a, b []string) []string {
	out := slices.DeleteFunc(slices.Clone(a), func(x string) bool { return slices.Contains(b, x) })
	slices.Sort(out)
	return out
}
