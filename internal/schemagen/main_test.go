package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/poolhouse/poolhouse/config"
)

const top = "../.."

func TestGeneratedFilesAreCurrent(t *testing.T) {
	t.Parallel()
	files, err := generate(top)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s differs; run: go run ./internal/schemagen (-want +got)\n%s", name, diff)
		}
	}
}

func TestEveryKeyOfTheTypesIsDescribed(t *testing.T) {
	t.Parallel()
	list, files := generated(t)
	if len(list) < 100 {
		t.Fatalf("%d keys", len(list))
	}
	for _, k := range list {
		row := "| `" + k.path + "` |"
		if !strings.Contains(k.path, ".") && (k.kind == "" || k.kind == "list") {
			row = "\n## " + k.path + "\n"
		}
		if !strings.Contains(files["docs/reference/configuration.md"], row) {
			t.Errorf("the page has no row for %s", k.path)
		}
	}
	// A rule of a key that doesn't exist would never apply.
	known := map[string]bool{}
	for _, k := range list {
		for _, suffix := range []string{"", "[]", "{}"} {
			known[k.path+suffix] = true
		}
	}
	for path, r := range config.Rules() {
		if !known[path] {
			t.Errorf("rule of unknown key %s", path)
		}
		if _, err := regexp.Compile(r.Pattern); err != nil {
			t.Errorf("pattern of %s: %v", path, err)
		}
	}
}

// values are the files that both the schema and the product judge.
func values(t *testing.T) map[string][]byte {
	files := map[string][]byte{}
	names, err := filepath.Glob(top + "/examples/*.yaml")
	if err != nil || len(names) < 6 {
		t.Fatalf("examples: %v %v", names, err)
	}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = src
	}
	for _, p := range []config.Profile{config.Evaluation, config.Production} {
		src, err := config.Init(config.Options{Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		files["init "+string(p)] = src
	}
	return files
}

func TestExamplesMatchTheSchema(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	list, _ := generated(t)
	known := map[string]bool{}
	for _, k := range list {
		known[k.path] = true
	}
	for name, src := range values(t) {
		v := decoded(t, src)
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, path := range paths("", v) {
			if holder, _, ok := strings.Cut(path, "{}"); ok {
				path = holder
			}
			if !known[path] {
				t.Errorf("%s: key %s is not in the reference", name, path)
			}
		}
	}
}

// What the schema can judge it judges as the product does.
func TestSchemaAndProductRefuseTheSame(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	production := string(values(t)["production.yaml"])
	for _, c := range []struct{ name, old, new string }{
		{"unknown key", "region:", "regoin:"},
		{"no name", "name: poolside\n", ""},
		{"no host", "api: {host: api.poolside.example.com}", "api: {}"},
		{"no access", production[strings.Index(production, "access:"):strings.Index(production, "dns:")], ""},
		{"wrong type", "cidr: 10.80.0.0/16", "zones: \"3\""},
		{"1 zone", "cidr: 10.80.0.0/16", "zones: 1"},
		{"4 zones", "cidr: 10.80.0.0/16", "zones: 4"},
		{"enum", "profile: production", "profile: prod"},
		{"pattern", "us-east-1\nprofile", "us-esat-1\nprofile"},
		{"too long", "name: poolside", "name: a123456789-123456789-1234"},
		{"zero or a range", "cidr: 10.80.0.0/16", "subnets: {public: 28}"},
		{"listed values", "cidr: 10.80.0.0/16", "flowLogs: {retentionDays: 31}"},
		{"items", "[203.0.113.0/24]", "[everyone]"},
		{"twice", "[203.0.113.0/24]", "[203.0.113.0/24, 203.0.113.0/24]"},
		{"keys of a map", "  cost-centre:", "  \"cost#centre\":"},
		{"short reason", "dns:", "deviations: {no-nat: because}\ndns:"},
		{"role", "dns:", "compute: [{role: gpus}]\ndns:"},
		{"no role", "dns:", "compute: [{min: 3}]\ndns:"},
		{"lock of models", "dns:", "storage: {models: {objectLock: {mode: governance}}}\ndns:"},
		{"empty text", "name: poolside", "name: poolside\nserviceRole: \"\""},
	} {
		src := []byte(strings.Replace(production, c.old, c.new, 1))
		if bytes.Equal(src, []byte(production)) {
			t.Errorf("%s: changes nothing", c.name)
		}
		if _, err := config.Parse("", src); err == nil {
			t.Errorf("%s: the product takes it", c.name)
		}
		if err := s.Validate(decoded(t, src)); err == nil {
			t.Errorf("%s: the schema takes it", c.name)
		}
	}
}

func generated(t *testing.T) ([]key, map[string]string) {
	t.Helper()
	docs, err := comments(top + "/config/config.go")
	if err != nil {
		t.Fatal(err)
	}
	list, err := describe(docs)
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(top)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, content := range files {
		out[name] = string(content)
	}
	return list, out
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	src, err := os.ReadFile(top + "/config/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decoded is a YAML file as a JSON value.
func decoded(t *testing.T, src []byte) any {
	t.Helper()
	j, err := yaml.YAMLToJSON(src)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// paths are the keys of a value as the reference names them.
func paths(path string, v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for name, item := range v {
			at := strings.TrimPrefix(path+"."+name, ".")
			if path == "tags" || path == "deviations" || path == "cluster.addonVersions" || strings.HasSuffix(path, ".labels") {
				at = path + "{}"
			}
			out = append(append(out, at), paths(at, item)...)
		}
	case []any:
		for _, item := range v {
			out = append(out, paths(path+"[]", item)...)
		}
	case json.Number, string, bool, nil:
	}
	return out
}
