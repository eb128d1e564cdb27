// Command schemagen writes what is generated from the types, comments, rules
// and defaults of package config: the JSON Schema for editors and the reference
// page of the configuration; and from those of package bundle the JSON Schema of
// bundle.yaml. Run it at the top of the repository:
//
//	go run ./internal/schemagen
//
// A test fails when the files differ from what it would write. It alone links a
// schema library; the product does not.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/poolhouse/poolhouse/config"
)

//go:generate go -C ../.. run ./internal/schemagen

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// write writes the generated files below the top of the repository.
func write(top string) error {
	files, err := generate(top)
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make folder of %s: %w", path, err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}

// generate returns the generated files by name.
func generate(top string) (map[string][]byte, error) {
	docs, err := comments(filepath.Join(top, "config", "config.go"))
	if err != nil {
		return nil, err
	}
	list, err := describe(docs)
	if err != nil {
		return nil, err
	}
	s, err := schema(list)
	if err != nil {
		return nil, err
	}
	described, err := bundleSchema(top)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"bundle/schema.json":              described,
		"config/schema.json":              s,
		"docs/reference/configuration.md": page(list),
	}, nil
}

// comments are the comments of a file's types and fields, as "Type" and
// "Type.Field", in one line each.
func comments(file string) (map[string]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	line := func(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
	out := map[string]string{}
	for _, decl := range f.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			out[t.Name.Name] = line(g.Doc)
			s, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					out[t.Name.Name+"."+name.Name] = line(field.Doc)
				}
			}
		}
	}
	return out, nil
}

// key is one key of the file.
type key struct {
	path    string // "compute[].min"
	kind    string // for people: "text", "list of text"
	meaning string
	rule    config.Rule
	items   config.Rule // of a list's items or a map's values
	// Defaults by profile, for people; the same in both if equal.
	evaluation, production string
	value                  any // the default if the profiles agree
}

// describe lists the keys in the order of the types. Every key has a meaning:
// its comment, or that of its type.
func describe(docs map[string]string) ([]key, error) {
	var (
		list  []key
		rules = config.Rules()
		walk  func(t reflect.Type, path string, e, p reflect.Value) error
	)
	walk = func(t reflect.Type, path string, e, p reflect.Value) error {
		for i := range t.NumField() {
			field := t.Field(i)
			name := field.Tag.Get("yaml")
			if name == "" {
				continue
			}
			k := key{path: strings.TrimPrefix(path+"."+name, "."), meaning: docs[t.Name()+"."+field.Name]}
			k.rule, k.items = rules[k.path], rules[k.path+"[]"]
			if field.Type.Kind() == reflect.Map {
				k.items = rules[k.path+"{}"]
			}
			k.kind = kind(field.Type)
			if k.meaning == "" && field.Type.Kind() == reflect.Struct {
				k.meaning = meaning(field.Type.Name(), docs)
			}
			if k.meaning == "" {
				return fmt.Errorf("describe %s: field %s.%s has no comment", k.path, t.Name(), field.Name)
			}
			var ev, pv reflect.Value
			if e.IsValid() && !k.rule.Required {
				ev, pv = e.Field(i), p.Field(i)
				k.evaluation, k.production = shown(ev), shown(pv)
				if k.evaluation == k.production && k.evaluation != "" && ev.Kind() != reflect.Struct {
					k.value = ev.Interface()
				}
			}
			list = append(list, k)
			switch field.Type.Kind() {
			case reflect.Struct:
				if err := walk(field.Type, k.path, ev, pv); err != nil {
					return err
				}
			case reflect.Slice:
				if elem := field.Type.Elem(); elem.Kind() == reflect.Struct {
					if err := walk(elem, k.path+"[]", reflect.Value{}, reflect.Value{}); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	e, p := config.Default(config.Evaluation), config.Default(config.Production)
	err := walk(reflect.TypeFor[config.Config](), "", reflect.ValueOf(e).Elem(), reflect.ValueOf(p).Elem())
	return list, err
}

// meaning is a type's comment without its name: "Network is the VPC." says
// "The VPC."
func meaning(name string, docs map[string]string) string {
	doc := docs[name]
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(doc, name+verb); ok {
			return strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	return doc
}

func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		return ""
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "list"
		}
		return "list of " + kind(t.Elem())
	case reflect.Map:
		return "map of " + kind(t.Elem())
	case reflect.Int:
		return "number"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}

// shown is a default for people; "" if there is none.
func shown(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct, reflect.Map:
		return ""
	case reflect.Slice:
		if v.Len() == 0 || v.Type().Elem().Kind() == reflect.Struct {
			return ""
		}
		var items []string
		for i := range v.Len() {
			items = append(items, shown(v.Index(i)))
		}
		return strings.Join(items, ", ")
	}
	return fmt.Sprint(v.Interface())
}
