package guard

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
)

// template is what is looked at of one.
type template struct {
	Conditions map[string]any
	Resources  map[string]*resource
}

type resource struct {
	Type       string
	Condition  string
	Properties map[string]any
}

// difference is a resource that differs between a stack and what it shall be.
type difference struct {
	place  architecture.StackName
	stack  string
	id     string
	typ    string
	was    *resource // nil if it is new
	is     *resource // nil if it goes
	goes   bool      // with its whole stack
	begins bool      // with its whole stack
}

// compare lists what differs, by stack and logical id. Of a template that is not as
// we write them, what can be read counts.
func compare(c Case) []difference {
	var all []difference
	for _, place := range sorted(c.Before, c.After) {
		before, was := c.Before[place]
		after, is := c.After[place]
		old, next := parse(before.Body), parse(after.Body)
		name := after.Name
		if !is {
			name = before.Name
		}
		for _, id := range sorted(old.Resources, next.Resources) {
			d := difference{place: place, stack: name, id: id, was: old.Resources[id], is: next.Resources[id], goes: !is, begins: !was}
			switch {
			case d.was == nil:
				d.typ = d.is.Type
			case d.is == nil || d.was.Type == d.is.Type:
				d.typ = d.was.Type
			default: // CloudFormation refuses another type
				d.typ = d.was.Type
			}
			if d.was == nil || d.is == nil || !reflect.DeepEqual(d.was, d.is) {
				all = append(all, d)
			}
		}
	}
	return all
}

func parse(body []byte) template {
	var t template
	// See compare.
	_ = json.Unmarshal(body, &t)
	return t
}

func sorted[K interface{ ~string }, V any](a, b map[K]V) []K {
	all := map[K]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// changed are the properties that differ.
func (d difference) changed() []string {
	if d.was == nil || d.is == nil {
		return nil
	}
	var names []string
	for _, p := range sorted(d.was.Properties, d.is.Properties) {
		if !reflect.DeepEqual(d.was.Properties[p], d.is.Properties[p]) {
			names = append(names, p)
		}
	}
	return names
}

// at is the value at a dotted path of properties; nil if there is none.
func (r *resource) at(path string) any {
	if r == nil {
		return nil
	}
	var v any = r.Properties
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// text shows a value of a template.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(b)
}

// number is a value as a number; 0 if it is none.
func number(v any) float64 {
	n, _ := v.(float64)
	return n
}
