package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/poolhouse/poolhouse/config"
)

// schema is the JSON Schema of the file. It holds what a schema can say; only
// the product checks what spans several keys.
func schema(list []key) ([]byte, error) {
	r := jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		DoNotReference:             true,
		Anonymous:                  true,
	}
	root := r.ReflectFromType(reflect.TypeFor[config.Config]())
	root.Title = "deployment.yaml"
	root.Description = "What a deployment of poolhouse is made from."
	for _, k := range list {
		parent, s, err := find(root, k.path)
		if err != nil {
			return nil, err
		}
		s.Description = k.meaning
		switch {
		case k.value != nil:
			s.Default = k.value
		case k.evaluation != k.production:
			s.Description += fmt.Sprintf(" Default: %s in evaluation, %s in production.", or(k.evaluation, "none"), or(k.production, "none"))
		}
		if k.rule.Required {
			require(root, parent, k.path)
		}
		constrain(s, k.rule)
		if s.Items != nil {
			constrain(s.Items, k.items)
			s.UniqueItems = s.Items.Type == "string"
		}
		if s.AdditionalProperties != nil && s.Type == "object" {
			constrain(s.AdditionalProperties, k.items)
		}
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(out, '\n'), nil
}

// find returns the schema of a key and of what holds it.
func find(root *jsonschema.Schema, path string) (parent, s *jsonschema.Schema, err error) {
	s = root
	for _, name := range strings.Split(path, ".") {
		name, list := strings.CutSuffix(name, "[]")
		parent = s
		var ok bool
		if s, ok = parent.Properties.Get(name); !ok {
			return nil, nil, fmt.Errorf("find %s in schema: no property %s", path, name)
		}
		if list {
			s = s.Items
		}
	}
	return parent, s, nil
}

// require makes a key required, and what holds it, up to a list.
func require(root, parent *jsonschema.Schema, path string) {
	i := strings.LastIndex(path, ".")
	name := path[i+1:]
	for _, r := range parent.Required {
		if r == name {
			return
		}
	}
	parent.Required = append(parent.Required, name)
	if i < 0 || strings.HasSuffix(path[:i], "]") {
		return
	}
	if above, _, err := find(root, path[:i]); err == nil {
		require(root, above, path[:i])
	}
}

func constrain(s *jsonschema.Schema, r config.Rule) {
	for _, e := range r.Enum {
		s.Enum = append(s.Enum, e)
	}
	for _, v := range r.Values {
		s.Enum = append(s.Enum, v)
	}
	s.Pattern = r.Pattern
	size := func(n int) *uint64 {
		if n == 0 {
			return nil
		}
		u := uint64(n)
		return &u
	}
	switch s.Type {
	case "string":
		s.MinLength, s.MaxLength = size(r.Min), size(r.Max)
	case "integer":
		if r.Min == 0 && r.Max == 0 {
			break
		}
		within := jsonschema.Schema{
			Minimum: json.Number(fmt.Sprint(r.Min)),
			Maximum: json.Number(fmt.Sprint(r.Max)),
		}
		if r.Zero && r.Min > 0 {
			s.AnyOf = []*jsonschema.Schema{{Const: 0}, &within}
			break
		}
		s.Minimum, s.Maximum = within.Minimum, within.Maximum
	case "array":
		s.MinItems, s.MaxItems = size(r.MinItems), size(r.MaxItems)
	case "object":
		s.MaxProperties = size(r.MaxItems)
	}
	if r.Keys != nil {
		s.PropertyNames = &jsonschema.Schema{Type: "string"}
		constrain(s.PropertyNames, *r.Keys)
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
