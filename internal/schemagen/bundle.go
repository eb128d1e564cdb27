package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/poolhouse/poolhouse/bundle"
)

// bundleSchema is the JSON Schema of bundle.yaml, whose rules are in the tags of
// its types.
func bundleSchema(top string) ([]byte, error) {
	docs, err := comments(filepath.Join(top, "bundle", "manifest.go"))
	if err != nil {
		return nil, err
	}
	r := jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		DoNotReference:             true,
		Anonymous:                  true,
	}
	root := r.ReflectFromType(reflect.TypeFor[bundle.Manifest]())
	root.Title = bundle.Description
	root.Description = "What is in a bundle."
	if err := explain(root, reflect.TypeFor[bundle.Manifest](), docs); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema of %s: %w", bundle.Description, err)
	}
	return append(out, '\n'), nil
}

// explain gives every property the comment of its field.
func explain(s *jsonschema.Schema, t reflect.Type, docs map[string]string) error {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		p, ok := s.Properties.Get(name)
		if !ok {
			continue // not in the file
		}
		if p.Description = docs[t.Name()+"."+field.Name]; p.Description == "" {
			return fmt.Errorf("describe %s: field %s.%s has no comment", bundle.Description, t.Name(), field.Name)
		}
		if field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct {
			if err := explain(p.Items, field.Type.Elem(), docs); err != nil {
				return err
			}
		}
	}
	return nil
}
