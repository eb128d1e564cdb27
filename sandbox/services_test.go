package sandbox

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// TestServices holds every service package to the form that the wire needs.
func TestServices(t *testing.T) {
	t.Parallel()
	type protocol struct {
		service, api string
		protocol     wire.Protocol
	}
	services, types, events := map[protocol]bool{}, map[string]bool{}, map[string]bool{}
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			if s.Name == "" || services[protocol{s.Name, s.API, s.Protocol}] {
				t.Errorf("service %q is there twice or has no name", s.Name)
			}
			services[protocol{s.Name, s.API, s.Protocol}] = true
			operations := map[string]bool{}
			rest := s.Protocol == wire.RestJSON || s.Protocol == wire.RestXML
			for _, o := range s.Operations {
				if o.Name == "" || o.Do == nil || operations[o.Name] || rest != (o.Path != "") || rest != (o.Method != "") {
					t.Errorf("%s:%s is there twice or incomplete", s.Name, o.Name)
				}
				operations[o.Name] = true
			}
			switch s.Protocol {
			case wire.Query, wire.EC2Query:
				if s.Version == "" || s.Namespace == "" {
					t.Errorf("service %s lacks version or namespace", s.Name)
				}
			case wire.JSON10, wire.JSON11:
				if s.Target == "" {
					t.Errorf("service %s lacks a target", s.Name)
				}
			}
		}
		for _, typ := range m.types {
			if types[typ.Name] || strings.HasPrefix(typ.Name, "AWS::") && typ.Create == nil {
				t.Errorf("type %s is there twice or can't be created", typ.Name)
			}
			types[typ.Name] = true
		}
		for kind := range m.events {
			if events[kind] {
				t.Errorf("event %s has two handlers", kind)
			}
			events[kind] = true
		}
	}
}

// apiModel is as much of a published service model as the test compares.
type apiModel struct {
	Metadata struct {
		APIVersion   string `json:"apiVersion"`
		TargetPrefix string `json:"targetPrefix"`
		XMLNamespace any    `json:"xmlNamespace"`
	}
	Operations map[string]struct {
		HTTP struct {
			Method       string `json:"method"`
			RequestURI   string `json:"requestUri"`
			ResponseCode int    `json:"responseCode"`
		} `json:"http"`
		Input struct {
			Shape string `json:"shape"`
		} `json:"input"`
	}
	Shapes map[string]struct {
		Members map[string]struct {
			Location     string `json:"location"`
			LocationName string `json:"locationName"`
		} `json:"members"`
	} `json:"shapes"`
}

// TestOracle compares names, versions, methods and paths with AWS's published
// service models.
func TestOracle(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("POOLHOUSE_API_MODELS")
	if dir == "" {
		t.Skip("no service models to compare with: set POOLHOUSE_API_MODELS to a folder of AWS's service models, gzipped")
	}
	files := map[string]string{"elasticloadbalancing": "elbv2", "servicequotas": "service-quotas", "tagging": "resourcegroupstaggingapi"}
	// The folder has no models of these.
	without := []string{"cloudtrail", "elb", "monitoring", "sns"}
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			name := cmp.Or(s.API, s.Name)
			if slices.Contains(without, name) {
				continue
			}
			if files[name] != "" {
				name = files[name]
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				model, ok := readModel(t, filepath.Join(dir, name+".json.gz"))
				if !ok {
					t.Fatalf("there is no model of %s", name)
				}
				if s.Version != "" && s.Version != model.Metadata.APIVersion {
					t.Errorf("version %s, want %s", s.Version, model.Metadata.APIVersion)
				}
				if s.Target != model.Metadata.TargetPrefix {
					t.Errorf("target %s, want %s", s.Target, model.Metadata.TargetPrefix)
				}
				for _, o := range s.Operations {
					want, ok := model.Operations[o.Name]
					if !ok {
						t.Errorf("%s is no operation", o.Name)
						continue
					}
					if o.Path == "" {
						continue
					}
					path, query, _ := strings.Cut(want.HTTP.RequestURI, "?")
					wanted := append(strings.Split(query, "&"), model.parameters(want.Input.Shape)...)
					for _, q := range o.Query {
						if !slices.Contains(wanted, strings.TrimSuffix(q, "?")) {
							t.Errorf("%s has query %s, want %s", o.Name, q, query)
						}
					}
					if o.Method != want.HTTP.Method || !samePath(o.Path, path) {
						t.Errorf("%s is %s %s, want %s %s", o.Name, o.Method, o.Path, want.HTTP.Method, path)
					}
				}
			})
		}
	}
}

// parameters are those of the query that a shape has.
func (m apiModel) parameters(shape string) (out []string) {
	for _, member := range m.Shapes[shape].Members {
		if member.Location == "querystring" {
			out = append(out, member.LocationName)
		}
	}
	return out
}

// samePath compares paths; labels may have other names.
func samePath(a, b string) bool {
	plain := func(s string) string {
		parts := strings.Split(strings.Trim(s, "/"), "/")
		for i, p := range parts {
			if strings.HasPrefix(p, "{") {
				parts[i] = "{}"
				if strings.HasSuffix(p, "+}") {
					parts[i] = "{+}"
				}
			}
		}
		return strings.Join(parts, "/")
	}
	return plain(a) == plain(b)
}

func readModel(t testing.TB, path string) (apiModel, bool) {
	t.Helper()
	var m apiModel
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return m, false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m, true
}
