package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// driftSchema is what drift depends on in CloudFormation's schema of a resource
// type. See
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
type driftSchema struct {
	TypeName            string                     `json:"typeName"`
	Properties          map[string]driftNode       `json:"properties"`
	Definitions         map[string]driftNode       `json:"definitions"`
	WriteOnlyProperties []string                   `json:"writeOnlyProperties"`
	Handlers            map[string]json.RawMessage `json:"handlers"`
}

type driftNode struct {
	Ref            string               `json:"$ref"`
	Items          *driftNode           `json:"items"`
	Properties     map[string]driftNode `json:"properties"`
	InsertionOrder *bool                `json:"insertionOrder"`
	OneOf          []driftNode          `json:"oneOf"`
	AnyOf          []driftNode          `json:"anyOf"`
	AllOf          []driftNode          `json:"allOf"`
}

// readable is one type of drift.json: it has a read handler, which returns all
// but what is write-only. Places are paths of property names, with an asterisk
// for the elements of a list.
type readable struct {
	WriteOnly []string `json:"writeOnly,omitempty"`
	// Unordered are lists whose order means nothing.
	Unordered []string `json:"unordered,omitempty"`
}

// driftJSON is drift.json: the types with a read handler, one a line. The
// folder holds CloudFormation's resource schemas.
func driftJSON(folder string, types map[string]*resourceType) ([]byte, error) {
	w := &factsWriter{}
	found := map[string]readable{}
	for name := range types {
		file := filepath.Join(folder, strings.ToLower(strings.ReplaceAll(name, "::", "-"))+".json")
		body, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read schema of %s: %w", name, err)
		}
		var s driftSchema
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, fmt.Errorf("read schema %s: %w", file, err)
		}
		if _, ok := s.Handlers["read"]; !ok {
			continue
		}
		var r readable
		for _, p := range s.WriteOnlyProperties {
			r.WriteOnly = append(r.WriteOnly, strings.TrimPrefix(p, "/properties"))
		}
		slices.Sort(r.WriteOnly)
		s.unordered("", driftNode{Properties: s.Properties}, nil, &r.Unordered)
		slices.Sort(r.Unordered)
		r.Unordered = slices.Compact(r.Unordered)
		found[name] = r
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("read schemas: %s holds none: %w", folder, fs.ErrNotExist)
	}
	object(w, 0, found, func(name string) { w.json(found[name]) })
	w.buf.WriteByte('\n')
	return w.buf.Bytes(), w.err
}

// unordered collects the lists whose order means nothing. A definition that
// refers to itself is followed once.
func (s *driftSchema) unordered(path string, n driftNode, seen []string, out *[]string) {
	if n.Ref != "" {
		name := n.Ref[strings.LastIndexByte(n.Ref, '/')+1:]
		if slices.Contains(seen, name) {
			return
		}
		s.unordered(path, s.Definitions[name], append(slices.Clip(seen), name), out)
	}
	if n.Items != nil {
		if n.InsertionOrder != nil && !*n.InsertionOrder {
			*out = append(*out, path)
		}
		s.unordered(path+"/*", *n.Items, seen, out)
	}
	for _, k := range slices.Sorted(maps.Keys(n.Properties)) {
		s.unordered(path+"/"+k, n.Properties[k], seen, out)
	}
	for _, choices := range [][]driftNode{n.OneOf, n.AnyOf, n.AllOf} {
		for _, c := range choices {
			s.unordered(path, c, seen, out)
		}
	}
}
