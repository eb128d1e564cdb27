package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// limit is what a resource schema says of values beyond their types, and the
// way to where it says so. Its members are the keywords of JSON schema.
type limit struct {
	Pattern       string              `json:"pattern,omitempty"`
	MinLength     *int                `json:"minLength,omitempty"`
	MaxLength     *int                `json:"maxLength,omitempty"`
	Minimum       *number             `json:"minimum,omitempty"`
	Maximum       *number             `json:"maximum,omitempty"`
	MinItems      *int                `json:"minItems,omitempty"`
	MaxItems      *int                `json:"maxItems,omitempty"`
	UniqueItems   bool                `json:"uniqueItems,omitempty"`
	MinProperties *int                `json:"minProperties,omitempty"`
	Const         any                 `json:"const,omitempty"`
	Enum          []any               `json:"enum,omitempty"` // of elements of lists only
	Format        string              `json:"format,omitempty"`
	Ref           string              `json:"$ref,omitempty"`
	Items         *limit              `json:"items,omitempty"`
	Properties    map[string]*limit   `json:"properties,omitempty"`
	Keys          map[string]*limit   `json:"patternProperties,omitempty"`
	Required      []string            `json:"required,omitempty"` // of alternatives only
	OneOf         []*limit            `json:"oneOf,omitempty"`
	AnyOf         []*limit            `json:"anyOf,omitempty"`
	AllOf         []*limit            `json:"allOf,omitempty"`
	Dependencies  map[string][]string `json:"dependencies,omitempty"`
}

// number is one that some schemas write as text.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	return json.Unmarshal([]byte(strings.Trim(string(b), `"`)), (*float64)(n))
}

// limitSchema is a resource schema as far as limits go.
type limitSchema struct {
	TypeName           string            `json:"typeName"`
	Definitions        map[string]*limit `json:"definitions"`
	ReadOnlyProperties []string          `json:"readOnlyProperties"`
	limit
}

// limits is one type of limits.json.
type limits struct {
	// ReadOnly are the properties within others that can't be set.
	ReadOnly    []string          `json:"readOnly,omitempty"`
	Properties  map[string]*limit `json:"properties,omitempty"`
	Definitions map[string]*limit `json:"definitions,omitempty"`
}

// limitsJSON is limits.json: the types with limits, one a line.
func limitsJSON(folder string, types map[string]*resourceType) ([]byte, error) {
	w := &factsWriter{}
	found, schemas := map[string]limits{}, 0
	for name := range types {
		file := filepath.Join(folder, strings.ToLower(strings.ReplaceAll(name, "::", "-"))+".json")
		body, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read schema of %s: %w", name, err)
		}
		var s limitSchema
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, fmt.Errorf("read schema %s: %w", file, err)
		}
		schemas++
		if l := s.limits(); len(l.Properties) > 0 || len(l.ReadOnly) > 0 {
			found[name] = l
		}
	}
	if schemas == 0 {
		return nil, fmt.Errorf("read schemas: %s holds none: %w", folder, fs.ErrNotExist)
	}
	object(w, 0, found, func(name string) { w.json(found[name]) })
	w.buf.WriteByte('\n')
	return w.buf.Bytes(), w.err
}

// limits prunes a schema to its limits and to the ways there.
func (s *limitSchema) limits() limits {
	var out limits
	for _, p := range s.ReadOnlyProperties {
		name := strings.TrimPrefix(p, "/properties/")
		if delete(s.Properties, name); strings.Contains(name, "/") {
			out.ReadOnly = append(out.ReadOnly, "/"+strings.ReplaceAll(name, "/items/", "/*/"))
		}
	}
	slices.Sort(out.ReadOnly)
	// A definition stays while something in it, or in one that it refers to, is
	// a limit.
	kept := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for name, d := range s.Definitions {
			if !kept[name] && s.prune(d, kept, true) != nil {
				kept[name], grown = true, true
			}
		}
	}
	out.Properties, out.Definitions = map[string]*limit{}, map[string]*limit{}
	for name, p := range s.Properties {
		if l := s.prune(p, kept, true); l != nil {
			out.Properties[name] = l
		}
	}
	var use func(l *limit)
	use = func(l *limit) {
		if l == nil {
			return
		}
		if l.Ref != "" && out.Definitions[l.Ref] == nil {
			d := s.prune(s.Definitions[l.Ref], kept, true)
			out.Definitions[l.Ref] = d
			use(d)
		}
		use(l.Items)
		for _, m := range []map[string]*limit{l.Properties, l.Keys} {
			for _, x := range m {
				use(x)
			}
		}
		for _, list := range [][]*limit{l.OneOf, l.AnyOf, l.AllOf} {
			for _, x := range list {
				use(x)
			}
		}
	}
	for _, p := range out.Properties {
		use(p)
	}
	return out
}

// prune is a copy without what limits nothing; nil if nothing is left. What is
// required stands in the other facts, but for that of alternatives.
func (s *limitSchema) prune(l *limit, kept map[string]bool, plain bool) *limit {
	if l == nil {
		return nil
	}
	out := *l
	if ref := strings.TrimPrefix(l.Ref, "#/definitions/"); ref != l.Ref {
		out.Ref = ref
		if !kept[ref] {
			out.Ref = ""
		}
	} else {
		out.Ref = ""
	}
	if plain {
		out.Required = nil
	}
	// The other facts have those of properties.
	out.Enum = nil
	if out.Format != "date-time" {
		out.Format = ""
	}
	if out.MinLength != nil && *out.MinLength == 0 {
		out.MinLength = nil
	}
	if out.MinItems != nil && *out.MinItems == 0 {
		out.MinItems = nil
	}
	if out.Pattern == ".*" {
		out.Pattern = ""
	}
	if out.Items = s.prune(l.Items, kept, true); l.Items != nil && l.Items.Enum != nil {
		if out.Items == nil {
			out.Items = &limit{}
		}
		out.Items.Enum = l.Items.Enum
	}
	prune := func(in map[string]*limit, keep bool) map[string]*limit {
		var m map[string]*limit
		for k, x := range in {
			y := s.prune(x, kept, true)
			if y == nil && keep {
				y = &limit{}
			}
			if y != nil {
				if m == nil {
					m = map[string]*limit{}
				}
				m[k] = y
			}
		}
		return m
	}
	out.Properties = prune(l.Properties, false)
	keys := l.Keys
	if len(keys) == 1 && (keys[".*"] != nil || keys[".{1,}"] != nil || keys[".+"] != nil) {
		out.Keys = prune(keys, false)
	} else {
		out.Keys = prune(keys, true)
	}
	alternatives := func(in []*limit, any bool) []*limit {
		var list []*limit
		for _, x := range in {
			y := s.prune(x, kept, false)
			if y == nil {
				if any {
					return nil // this one always fits
				}
				continue
			}
			list = append(list, y)
		}
		return list
	}
	out.AnyOf, out.AllOf = alternatives(l.AnyOf, true), alternatives(l.AllOf, false)
	out.OneOf = nil
	// Of alternatives that differ in types, the other facts know.
	if one := alternatives(l.OneOf, true); !slices.ContainsFunc(one, func(x *limit) bool { return len(x.Required) == 0 }) {
		out.OneOf = one
	}
	if out.empty() {
		return nil
	}
	return &out
}

func (l *limit) empty() bool {
	body, err := json.Marshal(l)
	return err == nil && string(body) == "{}"
}
