package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// factsJSON is facts.json: a resource type per block, a property per line, so
// that a new specification gives a readable difference.
func factsJSON(types map[string]*resourceType) ([]byte, error) {
	w := &factsWriter{}
	object(w, 0, types, func(name string) { w.resource(types[name]) })
	w.buf.WriteByte('\n')
	if w.err == nil && !json.Valid(w.buf.Bytes()) {
		w.err = fmt.Errorf("encode facts: output is no JSON")
	}
	return w.buf.Bytes(), w.err
}

type factsWriter struct {
	buf bytes.Buffer
	err error
}

func (w *factsWriter) resource(r *resourceType) {
	w.buf.WriteString("{\n \"id\": ")
	w.json(r.ID)
	w.buf.WriteString(",\n \"attributes\": ")
	w.json(r.Attributes)
	w.buf.WriteString(",\n \"properties\": ")
	w.properties(1, r.Properties)
	w.buf.WriteString(",\n \"definitions\": ")
	object(w, 1, r.Definitions, func(name string) { w.properties(2, r.Definitions[name]) })
	w.buf.WriteString("\n}")
}

func (w *factsWriter) properties(depth int, p properties) {
	object(w, depth, p, func(name string) { w.json(p[name]) })
}

// json writes v on the same line.
func (w *factsWriter) json(v any) {
	body, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("encode facts: %w", err)
	}
	w.buf.Write(body)
}

// object writes a map with a member per line, sorted.
func object[V any](w *factsWriter, depth int, m map[string]V, member func(name string)) {
	if len(m) == 0 {
		w.buf.WriteString("{}")
		return
	}
	indent := "\n" + strings.Repeat(" ", depth)
	w.buf.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			w.buf.WriteByte(',')
		}
		if depth > 0 {
			w.buf.WriteString(indent + " ")
		} else {
			w.buf.WriteByte('\n')
		}
		w.json(name)
		w.buf.WriteString(": ")
		member(name)
	}
	w.buf.WriteString(indent + "}")
}
