package templates

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// planned is the architecture of a production deployment with changes.
func planned(t *testing.T, changes ...func(*config.Config)) *architecture.Architecture {
	t.Helper()
	c := config.Default(config.Production)
	c.Name, c.Region = "poolside", "eu-central-1"
	c.Cluster.Administrators = []string{"arn:aws:iam::123456789012:role/platform", "arn:aws:iam::123456789012:role/emergency"}
	c.Access.Web.Host, c.Access.Web.AllowCIDRs = "poolside.example.com", []string{"198.51.100.0/24"}
	c.Access.API.Host = "api.poolside.example.com"
	c.Access.Admin.Host, c.Access.Admin.AllowCIDRs = "admin.poolside.example.com", []string{"10.80.0.0/16"}
	c.Access.SSO = config.SSO{
		Enabled:               true,
		Issuer:                "https://sso.example.com",
		AuthorizationEndpoint: "https://sso.example.com/authorize",
		TokenEndpoint:         "https://sso.example.com/token",
		UserInfoEndpoint:      "https://sso.example.com/userinfo",
		Web:                   config.Client{ClientID: "web-client", SecretARN: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:web-AbCdEf"},
		Admin:                 config.Client{ClientID: "admin-client", SecretARN: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:admin-AbCdEf"},
		AdminGroup:            "administrators",
	}
	c.DNS = config.DNS{Mode: config.DNSCreateZone, Zone: "poolside.example.com"}
	for _, change := range changes {
		change(c)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatalf("architecture: %v", err)
	}
	return a
}

// withGPU adds a node group for inference.
func withGPU(g config.NodeGroup) func(*config.Config) {
	return func(c *config.Config) {
		if g.InstanceTypes == nil {
			g.InstanceTypes = []string{"p5e.48xlarge"}
		}
		g.Role, g.DiskGiB = config.GPU, 500
		c.Compute = append(c.Compute, g)
	}
}

// document is a template as CloudFormation gets it.
type document struct {
	Parameters map[string]map[string]any
	Conditions map[string]any
	Resources  map[string]resource
	Outputs    map[string]map[string]any
}

type resource struct {
	Type                         string
	Properties                   object
	DependsOn                    []string
	Condition                    string
	DeletionPolicy               string
	UpdateReplacePolicy          string
	CreationPolicy, UpdatePolicy object
}

type object = map[string]any

// built is one stack of an architecture.
func built(t *testing.T, a *architecture.Architecture, name architecture.StackName) document {
	t.Helper()
	s, ok := a.Stack(name)
	if !ok {
		t.Fatalf("the architecture has no stack %s", name)
	}
	out, err := build(a, s)
	if err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	return parsed(t, out.Body)
}

func parsed(t *testing.T, body []byte) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatalf("parse template: %v", err)
	}
	return d
}

// properties of a resource that must be there, and of its type.
func (d document) properties(t *testing.T, id, typ string) object {
	t.Helper()
	r, ok := d.Resources[id]
	if !ok {
		t.Fatalf("no resource %s among %v", id, slices.Sorted(maps.Keys(d.Resources)))
	}
	if r.Type != typ {
		t.Fatalf("%s is %s, want %s", id, r.Type, typ)
	}
	return r.Properties
}

// ofType are the logical ids of a type, sorted.
func (d document) ofType(typ string) []string {
	var out []string
	for id, r := range d.Resources {
		if r.Type == typ {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// at is what a property holds at a path of keys and indices; nil if nothing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(object)
			if !ok {
				return nil
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// text shows a value in Fn::Sub's notation, so that tests can read it.
func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case []any:
		var parts []string
		for _, item := range x {
			parts = append(parts, text(item))
		}
		return strings.Join(parts, ",")
	case object:
		if len(x) == 1 {
			for fn, arg := range x {
				switch fn {
				case "Ref":
					return "${" + text(arg) + "}"
				case "Fn::GetAtt":
					return "${" + text(at(arg, 0)) + "." + text(at(arg, 1)) + "}"
				case "Fn::Sub":
					format, ok := arg.(string)
					if !ok {
						format = text(at(arg, 0))
						vars, _ := at(arg, 1).(object)
						for name, value := range vars {
							format = strings.ReplaceAll(format, "${"+name+"}", text(value))
						}
					}
					return format
				case "Fn::Join":
					var parts []string
					items, ok := at(arg, 1).([]any)
					if !ok {
						return text(at(arg, 1))
					}
					for _, item := range items {
						parts = append(parts, text(item))
					}
					return strings.Join(parts, text(at(arg, 0)))
				case "Fn::If":
					return fmt.Sprintf("if(%s,%s,%s)", text(at(arg, 0)), text(at(arg, 1)), text(at(arg, 2)))
				case "Fn::Select":
					return fmt.Sprintf("select(%v,%s)", at(arg, 0), text(at(arg, 1)))
				case "Fn::Split":
					return fmt.Sprintf("split(%s,%s)", text(at(arg, 0)), text(at(arg, 1)))
				}
			}
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// texts are the texts of a list, or of a single value.
func texts(v any) []string {
	items, ok := v.([]any)
	if !ok {
		if v == nil {
			return nil
		}
		return []string{text(v)}
	}
	var out []string
	for _, item := range items {
		out = append(out, text(item))
	}
	return out
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
