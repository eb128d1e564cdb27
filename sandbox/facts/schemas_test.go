package facts_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// TestSchemas probes whether everything that the resource schemas of AWS say of
// properties is enforced: for each keyword at each place it makes a value that
// breaks this one, and expects a fault just there. What is not enforced stands
// in testdata/unenforced.txt, each with a line, which only shrinks.
func TestSchemas(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("POOLHOUSE_SCHEMAS")
	if folder == "" {
		t.Skip("no schemas to compare with: set POOLHOUSE_SCHEMAS to a folder of CloudFormation resource schemas")
	}
	set, err := facts.Load()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	probes := 0
	for _, name := range slices.Sorted(maps.Keys(set)) {
		body, err := os.ReadFile(filepath.Join(folder, strings.ToLower(strings.ReplaceAll(name, "::", "-"))+".json"))
		if os.IsNotExist(err) {
			got = append(got, name+" has no schema")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		p := &prober{t: t, typ: set[name], visits: map[string]int{}}
		if err := json.Unmarshal(body, &p.schema); err != nil {
			t.Fatalf("read schema of %s: %v", name, err)
		}
		p.run()
		probes += p.probes
		for _, line := range p.missing {
			got = append(got, name+" "+line)
		}
	}
	slices.Sort(got)
	got = slices.Compact(got)
	file, err := os.ReadFile("testdata/unenforced.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(file)), "\n")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("testdata/unenforced.txt lists what is not enforced; a line that is needed no longer goes, and none may come (-file +found):\n%s", d)
	}
	t.Logf("%d probes of %d types", probes, len(set))
	if probes < 4000 {
		t.Errorf("there were %d probes only", probes)
	}
}

// keywords are a part of a schema.
type keywords struct {
	Type         kinds                `json:"type"`
	Ref          string               `json:"$ref"`
	Properties   map[string]*keywords `json:"properties"`
	Keys         map[string]*keywords `json:"patternProperties"`
	Additional   json.RawMessage      `json:"additionalProperties"`
	Required     []string             `json:"required"`
	Dependencies map[string][]string  `json:"dependencies"`
	OneOf        []*keywords          `json:"oneOf"`
	AnyOf        []*keywords          `json:"anyOf"`
	AllOf        []*keywords          `json:"allOf"`
	Items        *keywords            `json:"items"`
	MinItems     *int                 `json:"minItems"`
	MaxItems     *int                 `json:"maxItems"`
	Unique       bool                 `json:"uniqueItems"`
	MinProps     *int                 `json:"minProperties"`
	MaxProps     *int                 `json:"maxProperties"`
	Enum         []any                `json:"enum"`
	Const        any                  `json:"const"`
	Pattern      string               `json:"pattern"`
	Format       string               `json:"format"`
	MinLength    *int                 `json:"minLength"`
	MaxLength    *int                 `json:"maxLength"`
	Minimum      *number              `json:"minimum"`
	Maximum      *number              `json:"maximum"`
	Multiple     *number              `json:"multipleOf"`
}

type kinds []string

func (k *kinds) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(k))
	}
	*k = make(kinds, 1)
	return json.Unmarshal(b, &(*k)[0])
}

// number is one that some schemas write as text.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	return json.Unmarshal([]byte(strings.Trim(string(b), `"`)), (*float64)(n))
}

type prober struct {
	t      *testing.T
	typ    *facts.Type
	schema struct {
		keywords
		Definitions                     map[string]*keywords       `json:"definitions"`
		ReadOnlyProperties              []string                   `json:"readOnlyProperties"`
		WriteOnlyProperties             []string                   `json:"writeOnlyProperties"`
		CreateOnlyProperties            []string                   `json:"createOnlyProperties"`
		ConditionalCreateOnlyProperties []string                   `json:"conditionalCreateOnlyProperties"`
		Handlers                        map[string]json.RawMessage `json:"handlers"`
	}
	visits  map[string]int
	probes  int
	missing []string
}

// step is one on the way to a value: a property, an element of a list, or an
// entry of a map.
type step struct {
	kind string // property, element, entry
	name string
}

func (p *prober) run() {
	p.node(nil, &p.schema.keywords, nil)
	for _, path := range p.schema.ReadOnlyProperties {
		steps := way(path)
		if slices.ContainsFunc(steps, func(s step) bool { return s.kind == "element" }) {
			continue // not to be set in one piece
		}
		p.readOnly(steps)
	}
	readable := facts.ReadableType(p.typ.Name)
	if _, ok := p.schema.Handlers["read"]; ok && readable == nil {
		p.missing = append(p.missing, "# read handler")
	}
	for _, path := range p.schema.WriteOnlyProperties {
		p.probes++
		if readable != nil && !slices.Contains(readable.WriteOnly, strings.TrimPrefix(path, "/properties")) {
			p.missing = append(p.missing, path+" writeOnly")
		}
	}
	for _, path := range p.schema.CreateOnlyProperties {
		p.replaces(path, "createOnly", "yes")
	}
	for _, path := range p.schema.ConditionalCreateOnlyProperties {
		p.replaces(path, "conditionalCreateOnly", "maybe")
	}
}

func way(path string) []step {
	var steps []step
	for _, w := range strings.Split(strings.TrimPrefix(path, "/properties/"), "/") {
		switch w {
		case "*", "items":
			steps = append(steps, step{"element", ""})
		case "properties":
		default:
			steps = append(steps, step{"property", w})
		}
	}
	return steps
}

// replaces follows the facts to a property; what lies above may replace too.
func (p *prober) replaces(path, keyword, want string) {
	p.probes++
	readOnly := slices.Contains(p.schema.ReadOnlyProperties, path)
	properties := p.typ.Properties
	for _, s := range way(path) {
		if s.kind == "element" {
			continue
		}
		d := properties[s.name]
		if d == nil {
			break
		}
		if d.Replace == "yes" || d.Replace == want {
			return
		}
		for d.Item != nil {
			d = d.Item
		}
		properties = p.typ.Definitions[d.Ref]
	}
	if !readOnly {
		p.missing = append(p.missing, strings.TrimPrefix(path, "/properties")+" "+keyword)
	}
}

// at is the place of a value as faults have it.
func at(steps []step) string {
	path := "#"
	for _, s := range steps {
		switch s.kind {
		case "element":
			path += "/0"
		default:
			path += "/" + s.name
		}
	}
	return path
}

// line is the place as the table has it.
func line(steps []step) string {
	path := ""
	for _, s := range steps {
		switch s.kind {
		case "property":
			path += "/" + s.name
		default:
			path += "/*"
		}
	}
	if path == "" {
		return "#"
	}
	return path
}

// wrap puts a value into its place.
func wrap(steps []step, v any) map[string]any {
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].kind == "element" {
			v = []any{v}
		} else {
			v = map[string]any{steps[i].name: v}
		}
	}
	m, _ := v.(map[string]any)
	return m
}

// expect sets a value and looks for a fault with the words at a place.
func (p *prober) expect(keyword string, steps []step, v any, place []step, words string) {
	p.probes++
	_, faults := p.typ.Normalise(wrap(steps, v))
	for _, f := range faults {
		if f.Path == at(place) && strings.Contains(f.Message, words) {
			return
		}
	}
	p.missing = append(p.missing, line(steps)+" "+keyword)
}

// readOnly sets a read-only property; what it lies in may be refused already.
func (p *prober) readOnly(steps []step) {
	p.probes++
	_, faults := p.typ.Normalise(wrap(steps, "x"))
	for i, s := range steps {
		if slices.ContainsFunc(faults, func(f facts.Fault) bool {
			return f.Path == at(steps[:i]) && f.Message == "extraneous key ["+s.name+"] is not permitted"
		}) {
			return
		}
	}
	p.missing = append(p.missing, line(steps)+" readOnly")
}

func (p *prober) node(steps []step, k *keywords, seen []string) {
	if len(steps) == 1 && slices.Contains(p.schema.ReadOnlyProperties, "/properties/"+steps[0].name) {
		return
	}
	if k.Ref != "" {
		name := k.Ref[strings.LastIndexByte(k.Ref, '/')+1:]
		p.visits[name]++
		if slices.Contains(seen, name) || p.visits[name] > 3 {
			return
		}
		to := p.schema.Definitions[name]
		if strings.HasPrefix(k.Ref, "#/properties/") {
			to = p.schema.Properties[name]
		}
		if to == nil {
			p.t.Fatalf("%s: there is no %s", p.typ.Name, k.Ref)
		}
		p.node(steps, to, append(slices.Clip(seen), name))
		return
	}
	here := func(keyword string, v any, words string) { p.expect(keyword, steps, v, steps, words) }
	// A keyword says nothing of values of other types.
	of := func(kind string) bool { return len(k.Type) == 0 || slices.Contains(k.Type, kind) }
	if len(k.Type) > 0 && len(steps) > 0 {
		if v := other(k); v != nil {
			here("type", v, "expected type: ")
		}
	}
	if len(k.Enum) > 0 {
		v := any("no such value")
		if slices.Contains(k.Type, "integer") {
			v = 987654321
		}
		here("enum", v, "not a valid enum value")
	}
	if k.Const != nil {
		here("const", "no such value", "keyword [const]")
	}
	if k.Pattern != "" && k.Pattern != ".*" {
		if v, ok := unlike(p.t, k.Pattern); ok {
			here("pattern", v, "keyword [pattern]")
		} else {
			p.missing = append(p.missing, line(steps)+" pattern "+k.Pattern)
		}
	}
	if k.Format == "date-time" {
		here("format", "yesterday", "keyword [format]")
	}
	if of("string") && k.MinLength != nil && *k.MinLength > 0 {
		here("minLength", strings.Repeat("a", *k.MinLength-1), fmt.Sprintf("expected minLength: %d, actual: %d", *k.MinLength, *k.MinLength-1))
	}
	if of("string") && k.MaxLength != nil {
		here("maxLength", strings.Repeat("a", *k.MaxLength+1), fmt.Sprintf("expected maxLength: %d, actual: %d", *k.MaxLength, *k.MaxLength+1))
	}
	if k.Minimum != nil {
		here("minimum", int(*k.Minimum)-1, "keyword [minimum]")
	}
	if k.Maximum != nil {
		here("maximum", int(*k.Maximum)+1, "keyword [maximum]")
	}
	if k.Multiple != nil {
		here("multipleOf", 0.1, "keyword [multipleOf]")
	}
	if of("array") && k.MinItems != nil && *k.MinItems > 0 {
		here("minItems", make([]any, *k.MinItems-1), "expected minimum item count")
	}
	if of("array") && k.MaxItems != nil {
		here("maxItems", slices.Repeat([]any{"a"}, *k.MaxItems+1), "expected maximum item count")
	}
	if of("array") && k.Unique {
		here("uniqueItems", []any{"a", "a"}, "array items are not unique")
	}
	if k.MinProps != nil {
		here("minProperties", map[string]any{}, "minimum size")
	}
	if k.MaxProps != nil {
		p.missing = append(p.missing, line(steps)+" maxProperties")
	}
	for name, needed := range k.Dependencies {
		here("dependencies", map[string]any{name: 1}, "property ["+needed[0]+"] is required")
	}
	if len(k.Properties) > 0 || len(k.Required) > 0 {
		for _, name := range k.Required {
			here("required "+name, map[string]any{}, "required key ["+name+"] not found")
		}
	}
	if len(k.Properties) > 0 && string(k.Additional) == "false" {
		here("additionalProperties", map[string]any{"NoSuchProperty": "x"}, "extraneous key [NoSuchProperty] is not permitted")
	}
	if n := named(k.OneOf); n > 0 {
		here("oneOf", map[string]any{}, "0 subschemas matched instead of one")
	}
	if n := named(k.AnyOf); n > 0 {
		here("anyOf", map[string]any{}, "no subschema matched out of the total")
	}
	for pattern, sub := range k.Keys {
		if bad, ok := unlike(p.t, pattern); ok && string(k.Additional) == "false" {
			here("patternProperties", map[string]any{bad: "x"}, "is not permitted")
		}
		p.node(append(slices.Clip(steps), step{"entry", "a"}), sub, seen)
	}
	if k.Items != nil {
		p.node(append(slices.Clip(steps), step{"element", ""}), k.Items, seen)
	}
	for _, name := range slices.Sorted(maps.Keys(k.Properties)) {
		p.node(append(slices.Clip(steps), step{"property", name}), k.Properties[name], seen)
	}
	for _, list := range [][]*keywords{k.AllOf, k.OneOf, k.AnyOf} {
		for _, sub := range list {
			if len(sub.Properties) > 0 {
				p.node(steps, &keywords{Properties: sub.Properties}, seen)
			}
		}
	}
}

// named counts the alternatives that ask for a property each; others say
// nothing, or differ in the type.
func named(list []*keywords) int {
	n := 0
	for _, x := range list {
		if len(x.Required) > 0 {
			n++
		}
	}
	if n != len(list) {
		return 0
	}
	return n
}

// other is a value of none of the types, nor one that CloudFormation turns into
// them; nil if there is none.
func other(k *keywords) any {
	scalar := slices.ContainsFunc(k.Type, func(t string) bool { return t != "object" && t != "array" })
	switch {
	case scalar && !slices.Contains(k.Type, "array"):
		return []any{"x"}
	case scalar:
		return nil
	}
	return 5
}

// unlike is a text that does not match a pattern.
func unlike(t *testing.T, pattern string) (string, bool) {
	t.Helper()
	p, err := facts.CompilePattern(pattern, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"~", "", " ", "\n", "\x00", "a", "ü", "😀", "A b", strings.Repeat("~", 2000), "aws:x", "-", "_"} {
		if !p.Match(s) {
			return s, true
		}
	}
	return "", false
}
