// Package drift compares the properties that a stack set on a resource with
// those that the resource has.
//
// Compared is what the template sets explicitly, nested properties included,
// but not what the read handler does not return, nor secrets. The order of a
// list counts unless the type's schema says otherwise. Everything is pure.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
package drift

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// The kinds of differences.
const (
	// Added: a list has an element more.
	Added = "ADD"
	// Removed: a property or an element of a list is gone.
	Removed = "REMOVE"
	// NotEqual: the value differs.
	NotEqual = "NOT_EQUAL"
)

// Difference is one way in which a resource differs from its template.
type Difference struct {
	// Path is a JSON pointer into the properties: "/Tags/0/Value". It counts
	// the elements of lists in the actual properties if the element was added,
	// and in the expected ones otherwise.
	Path             string
	Kind             string
	Expected, Actual any // nil where there is none
}

// Property is the top-level property that the difference is in.
func (d Difference) Property() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(d.Path, "/"), "/")
	return name
}

// Compare lists the differences, by path. Types that can't be read have none.
func Compare(t *facts.Type, expected, actual map[string]any) []Difference {
	r := facts.ReadableType(t.Name)
	if r == nil {
		return nil
	}
	c := &comparison{t: t, r: r}
	c.object("", "", t.Properties, expected, actual)
	slices.SortStableFunc(c.found, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return c.found
}

type comparison struct {
	t     *facts.Type
	r     *facts.Readable
	found []Difference
}

func (c *comparison) add(path, kind string, expected, actual any) {
	c.found = append(c.found, Difference{path, kind, expected, actual})
}

// escape writes a name in a JSON pointer (RFC 6901).
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// object compares what is expected and nothing else: the rest has defaults.
func (c *comparison) object(path, place string, types map[string]*facts.Prop, expected, actual map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(expected)) {
		c.value(path+"/"+escape(k), place+"/"+k, types[k], expected[k], actual[k])
	}
}

// value compares one value. Place is the path as the facts have it, and p is
// nil where the type is not known.
func (c *comparison) value(path, place string, p *facts.Prop, expected, actual any) {
	if slices.Contains(c.r.WriteOnly, place) || opaque(expected) {
		return
	}
	if p != nil && p.Type == "union" {
		p = c.choice(p, expected)
	}
	if p == nil || p.Type == "json" {
		switch {
		case actual == nil && !empty(expected):
			c.add(path, Removed, expected, nil)
		case canonical(expected) != canonical(actual):
			c.add(path, NotEqual, expected, actual)
		}
		return
	}
	switch want := expected.(type) {
	case map[string]any:
		have, ok := actual.(map[string]any)
		switch {
		case !ok && empty(want):
		case !ok && actual == nil:
			c.add(path, Removed, expected, nil)
		case !ok:
			c.add(path, NotEqual, expected, actual)
		case p.Type == "object":
			c.object(path, place, c.t.Definitions[p.Ref], want, have)
		default:
			c.members(path, place, p, want, have)
		}
	case []any:
		have, _ := actual.([]any)
		if slices.Contains(c.r.Unordered, place) || place == "/"+c.t.Tagging().Property {
			c.set(path, place+"/*", p.Item, want, have)
		} else {
			c.list(path, place+"/*", p.Item, want, have)
		}
	default:
		switch {
		case actual == nil && facts.Text(expected) != "":
			c.add(path, Removed, expected, nil)
		case actual != nil && facts.Text(expected) != facts.Text(actual):
			c.add(path, NotEqual, expected, actual)
		}
	}
}

// members compares maps, whose members have names of the user's choice.
func (c *comparison) members(path, place string, p *facts.Prop, expected, actual map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(expected)) {
		c.value(path+"/"+escape(k), place+"/*", p.Item, expected[k], actual[k])
	}
	for _, k := range slices.Sorted(maps.Keys(actual)) {
		if _, ok := expected[k]; !ok {
			c.add(path+"/"+escape(k), Added, nil, actual[k])
		}
	}
}

// choice is the first choice of a union that a value fits.
func (c *comparison) choice(p *facts.Prop, v any) *facts.Prop {
	for _, o := range p.Of {
		_, isMap := v.(map[string]any)
		_, isList := v.([]any)
		switch o.Type {
		case "object", "map", "json":
			if isMap {
				return o
			}
		case "list":
			if isList {
				return o
			}
		default:
			if !isMap && !isList {
				return o
			}
		}
	}
	return nil
}

// list compares lists in order.
func (c *comparison) list(path, place string, item *facts.Prop, expected, actual []any) {
	for i, want := range expected {
		at := fmt.Sprintf("%s/%d", path, i)
		if i >= len(actual) {
			c.add(at, Removed, want, nil)
			continue
		}
		c.value(at, place, item, want, actual[i])
	}
	for i := len(expected); i < len(actual); i++ {
		c.add(fmt.Sprintf("%s/%d", path, i), Added, nil, actual[i])
	}
}

// set compares lists whatever their order: elements that are alike belong
// together, then those of one name.
func (c *comparison) set(path, place string, item *facts.Prop, expected, actual []any) {
	partner := make([]int, len(expected))
	taken := make([]bool, len(actual))
	pair := func(fits func(want, have any) bool) {
		for i, want := range expected {
			if partner[i] >= 0 {
				continue
			}
			for j, have := range actual {
				if !taken[j] && fits(want, have) {
					partner[i], taken[j] = j, true
					break
				}
			}
		}
	}
	for i := range partner {
		partner[i] = -1
	}
	pair(func(want, have any) bool {
		try := &comparison{t: c.t, r: c.r}
		try.value("", place, item, want, have)
		return len(try.found) == 0
	})
	pair(func(want, have any) bool { n := name(want); return n != "" && n == name(have) })
	for i, want := range expected {
		at := fmt.Sprintf("%s/%d", path, i)
		if partner[i] < 0 {
			c.add(at, Removed, want, nil)
			continue
		}
		c.value(at, place, item, want, actual[partner[i]])
	}
	if strings.HasSuffix(path, "Attributes") {
		// Attributes that the template doesn't name have defaults.
		return
	}
	for j, have := range actual {
		if !taken[j] {
			c.add(fmt.Sprintf("%s/%d", path, j), Added, nil, have)
		}
	}
}

// name is what tells an element of a list from the others.
func name(v any) string {
	m, _ := v.(map[string]any)
	for _, k := range []string{"Key", "PolicyName", "Id", "Name"} {
		if s, ok := m[k].(string); ok {
			return k + " " + s
		}
	}
	return ""
}

// opaque tells that a value can't be compared: a secret, or one that isn't
// known.
func opaque(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "{{resolve:")
	case facts.Unknown:
		return true
	}
	return false
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	}
	return false
}

// canonical is a document in a form that can be compared, whether it is given
// as JSON text or decoded.
func canonical(v any) string {
	if s, ok := v.(string); ok {
		var decoded any
		if json.Unmarshal([]byte(s), &decoded) != nil {
			return s
		}
		v = decoded
	}
	b, err := json.Marshal(texts(v))
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// texts writes all scalars as text: a document's numbers and booleans may be
// given as either.
func texts(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = texts(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = texts(x)
		}
		return l
	}
	return facts.Text(v)
}
