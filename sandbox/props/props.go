// Package props reads JSON-like values: properties of resources as
// CloudFormation resolves them and decoded requests.
//
// CloudFormation hands scalars on as they were written or as parameters, which
// are strings, so numbers and booleans are read from their textual form too.
// Nothing here fails: a value that is absent or of another kind reads as the
// zero value, because the shape of properties is checked before a resource
// type sees them. All functions are pure.
package props

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Get returns the value at a path of keys, or nil.
func Get(v any, path ...string) any {
	for _, k := range path {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// Has tells whether a value is there.
func Has(v any, path ...string) bool { return Get(v, path...) != nil }

// Str returns a scalar as text; numbers and booleans in their JSON form.
func Str(v any, path ...string) string {
	switch x := Get(v, path...).(type) {
	case string:
		return x
	case bool:
		return strconv.FormatBool(x)
	case int:
		return strconv.Itoa(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case json.Number:
		return x.String()
	}
	return ""
}

// Bool returns a boolean, written as one or as text, or otherwise the default.
func Bool(v any, otherwise bool, path ...string) bool {
	b, err := strconv.ParseBool(Str(v, path...))
	if err != nil {
		return otherwise
	}
	return b
}

// Int returns a whole number, or otherwise the default.
func Int(v any, otherwise int, path ...string) int {
	f, err := strconv.ParseFloat(Str(v, path...), 64)
	if err != nil {
		return otherwise
	}
	return int(f)
}

// List returns a list. A map with one member that is a list stands for the
// list, which is how the query protocol decodes "Filters.Filter.1".
func List(v any, path ...string) []any {
	switch x := Get(v, path...).(type) {
	case []any:
		return x
	case []string:
		l := make([]any, len(x))
		for i, s := range x {
			l[i] = s
		}
		return l
	case map[string]any:
		if len(x) == 1 {
			for _, one := range x {
				if l, ok := one.([]any); ok {
					return l
				}
			}
		}
	}
	return nil
}

// Strs returns the scalars of a list as text.
func Strs(v any, path ...string) []string {
	var out []string
	for _, x := range List(v, path...) {
		out = append(out, Str(x))
	}
	return out
}

// Maps returns the maps of a list.
func Maps(v any, path ...string) []map[string]any {
	var out []map[string]any
	for _, x := range List(v, path...) {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// Map returns a map, or nil.
func Map(v any, path ...string) map[string]any {
	m, _ := Get(v, path...).(map[string]any)
	return m
}

// Tags returns the tags under a key: a list of Key and Value, or a map.
func Tags(v any, path ...string) map[string]string {
	tags := map[string]string{}
	if m, ok := Get(v, path...).(map[string]any); ok && List(v, path...) == nil {
		for k, x := range m {
			tags[k] = Str(x)
		}
		return tags
	}
	for _, t := range Maps(v, path...) {
		if k := Str(t, "Key"); k != "" {
			tags[k] = Str(t, "Value")
		}
	}
	return tags
}

// Pairs returns tags as the list of Key and Value, by key.
func Pairs(tags map[string]string) []any {
	list := []any{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, map[string]any{"Key": k, "Value": tags[k]})
	}
	return list
}

// Same tells whether two values are equal, scalars compared by their text and
// an absent value equal to an empty list or map.
func Same(a, b any) bool { return canonical(a) == canonical(b) }

// SameSet tells whether two lists of scalars hold the same elements.
func SameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

// Changed returns the keys, in order, whose values differ.
func Changed(old, next map[string]any) []string {
	keys := map[string]bool{}
	for k := range old {
		keys[k] = true
	}
	for k := range next {
		keys[k] = true
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !Same(old[k], next[k]) {
			out = append(out, k)
		}
	}
	return out
}

func canonical(v any) string {
	switch x := v.(type) {
	case nil:
		return "-"
	case map[string]any:
		s := ""
		for _, k := range slices.Sorted(maps.Keys(x)) {
			if c := canonical(x[k]); c != "-" {
				s += strconv.Quote(k) + ":" + c + ","
			}
		}
		if s == "" {
			return "-"
		}
		return "{" + s + "}"
	case []any:
		if len(x) == 0 {
			return "-"
		}
		s := ""
		for _, e := range x {
			s += canonical(e) + ","
		}
		return "[" + s + "]"
	case []string:
		return canonical(List(x))
	}
	if s := Str(v); s != "" || v == "" {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%v", v)
}
