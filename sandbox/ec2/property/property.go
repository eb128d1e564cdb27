// Package property reads the JSON-like values that resources and requests are
// made of.
//
// CloudFormation accepts "443" where a number is meant and "true" for a
// boolean, and the query protocols know strings only; so does every reader
// here. A value of another shape reads as absent: whether a property has the
// right type is for CloudFormation's engine to say, not for this package.
package property

import (
	"fmt"
	"math"
	"strconv"
)

// String is the value as text, "" if it is absent.
func String(p map[string]any, key string) string {
	return text(p[key])
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int, int64, bool:
		return fmt.Sprint(v)
	}
	return ""
}

// Int is the value as a whole number, and whether it is one.
func Int(p map[string]any, key string) (int, bool) {
	switch v := p[key].(type) {
	case int:
		return v, true
	case int64:
		return int(v), true
	case float64:
		return int(v), v == math.Trunc(v)
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil
	}
	return 0, false
}

// Bool is the value as a boolean, or def if it is absent.
func Bool(p map[string]any, key string, def bool) bool {
	switch v := p[key].(type) {
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	return def
}

// Strings are the values of a list, or of the one value that stands for a list.
func Strings(p map[string]any, key string) []string {
	var out []string
	switch v := p[key].(type) {
	case []any:
		for _, x := range v {
			if s := text(x); s != "" {
				out = append(out, s)
			}
		}
	default:
		if s := text(v); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Map is the object at key, nil if there is none.
func Map(p map[string]any, key string) map[string]any {
	m, _ := p[key].(map[string]any)
	return m
}

// Maps are the objects of the list at key.
func Maps(p map[string]any, key string) []map[string]any {
	list, _ := p[key].([]any)
	var out []map[string]any
	for _, x := range list {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// Tags are the tags of a list of objects with Key and Value.
func Tags(p map[string]any, key string) map[string]string {
	tags := map[string]string{}
	for _, t := range Maps(p, key) {
		tags[String(t, "Key")] = String(t, "Value")
	}
	return tags
}

// List makes the JSON-like list of texts.
func List(texts ...string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}
