package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// The schema of bundle.yaml takes what build writes and refuses what the reader
// refuses.
func TestBundleSchema(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(top, "bundle", "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("bundle", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("bundle")
	if err != nil {
		t.Fatal(err)
	}
	o, err := samplebundle.Write(t.TempDir(), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	made, err := bundle.Build(t.Context(), filepath.Join(t.TempDir(), "b.tar"), o)
	if err != nil {
		t.Fatal(err)
	}
	good, err := yaml.Marshal(made.Manifest(o.Name, o.Version, o.Checkpoints))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for folder, sources := range map[string][]string{"charts": o.Charts, "containers": o.Images, "scripts": o.Scripts} {
		for _, s := range sources {
			to := filepath.Join(dir, folder, filepath.Base(s))
			if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(s, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, change := range []struct{ from, to string }{
		{"", ""},
		{"bundle/v1", "bundle/v2"},
		{"name: sample\n", "name: Sample\n"},
		{"name: sample\n", ""},
		{"version: 1.0.0", "version: '?'"},
		{"sha256:", "sha512:"},
		{"name: sample\n", "name: sample\nother: key\n"},
		{"name: sample-1.0", "name: a/b"},
	} {
		text := strings.Replace(string(good), change.from, change.to, 1)
		if change.from != "" && text == string(good) {
			t.Fatalf("nothing to change: %q in\n%s", change.from, good)
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		bySchema := s.Validate(value)
		if err := os.WriteFile(filepath.Join(dir, bundle.Description), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := bundle.Read(t.Context(), dir, bundle.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if (bySchema == nil) != (change.from == "") || (len(read.Faults) == 0) != (change.from == "") {
			t.Errorf("%q for %q: the schema says %v, the reader %v", change.to, change.from, bySchema, read.Faults)
		}
	}
}
