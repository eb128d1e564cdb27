package oracle

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Generator makes requests that fit a service's model. It is not safe for
// concurrent use.
type Generator struct {
	Models *Models
	Rand   *rand.Rand
	// Known are values to try for a member, by its name in small letters: ids
	// and names of what is there.
	Known map[string][]string
	// Now is what timestamps are around.
	Now time.Time
}

// Generated is a request without its signature.
type Generated struct {
	Method, URI string
	Header      http.Header
	Body        []byte
}

type (
	structure  map[string]any // by the members' names
	dictionary map[string]any
)

// Operations are the names of a service's operations, sorted; nil for a service
// without a model.
func (ms *Models) Operations(service string) ([]string, error) {
	m, err := ms.model(service)
	if m == nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(m.Operations)), nil
}

// Required are the members that a request can't do without and that a client
// could leave out.
func (ms *Models) Required(service, operation string) ([]string, error) {
	m, err := ms.model(service)
	if m == nil || m.Operations[operation] == nil || m.Operations[operation].Input == nil {
		return nil, err
	}
	s := m.shape(m.Operations[operation].Input.Shape)
	var out []string
	for _, name := range s.Required {
		if s.Members[name].Location != "uri" && s.Payload != name {
			out = append(out, name)
		}
	}
	return out, nil
}

// Request makes a request that fits, but for the member that is to be left out,
// if one is named.
func (g *Generator) Request(service, operation, without string) (*Generated, error) {
	m, err := g.Models.model(service)
	if err != nil {
		return nil, err
	}
	if m == nil || m.Operations[operation] == nil {
		return nil, fmt.Errorf("%s.%s: there is no model of it", service, operation)
	}
	op := m.Operations[operation]
	in, s := structure{}, &shape{}
	if op.Input != nil {
		s = m.shape(op.Input.Shape)
		in, _ = g.value(m, op.Input, "", 0).(structure)
	}
	out := &Generated{Method: op.HTTP.Method, URI: "/", Header: http.Header{}}
	delete(in, without)
	switch m.Metadata.Protocol {
	case "json":
		out.Header.Set("X-Amz-Target", m.Metadata.TargetPrefix+"."+operation)
		out.Header.Set("Content-Type", "application/x-amz-json-"+m.Metadata.JSONVersion)
		out.Body, err = json.Marshal(g.jsonMembers(m, s, in, ""))
	case "query", "ec2":
		form := url.Values{"Action": {operation}, "Version": {m.Metadata.APIVersion}}
		g.formMembers(m, s, in, "", m.Metadata.Protocol == "ec2", form)
		out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		out.Body = []byte(form.Encode())
	default:
		err = g.rest(m, op, s, in, out)
	}
	return out, err
}

// value makes a value of a shape.
func (g *Generator) value(m *model, r *ref, name string, depth int) any {
	s := m.shape(r.Shape)
	switch s.Type {
	case "structure":
		out := structure{}
		members := slices.Sorted(maps.Keys(s.Members))
		if s.Union && len(members) > 0 {
			one := members[g.Rand.IntN(len(members))]
			if v := g.value(m, s.Members[one], one, depth+1); v != nil {
				out[one] = v
			}
			return out
		}
		for _, k := range members {
			needed := slices.Contains(s.Required, k)
			if !needed && (depth > 3 || k == "DryRun" || g.Rand.IntN(4) > 0) {
				continue
			}
			if v := g.value(m, s.Members[k], k, depth+1); v != nil {
				out[k] = v
			}
		}
		return out
	case "list":
		n := g.Rand.IntN(3)
		if s.Min != nil {
			n = max(n, int(*s.Min))
		}
		if depth > 6 {
			n = 0
		}
		list := []any{}
		for range n {
			if v := g.value(m, s.Member, name, depth+1); v != nil {
				list = append(list, v)
			}
		}
		return list
	case "map":
		out := dictionary{}
		if k, ok := g.value(m, s.Key, "key", depth+1).(string); ok && k != "" && depth < 6 {
			if v := g.value(m, s.Value, "value", depth+1); v != nil {
				out[k] = v
			}
		}
		return out
	case "boolean":
		return g.Rand.IntN(2) == 0
	case "integer", "long", "double", "float":
		low, high := 0.0, 100.0
		if s.Min != nil {
			low = *s.Min
			high = max(high, low)
		}
		if s.Max != nil {
			high = *s.Max
		}
		return int64(low) + g.Rand.Int64N(int64(min(high-low, 1e6))+1)
	case "timestamp":
		return g.Now.Add(-time.Duration(g.Rand.IntN(3600)) * time.Second).UTC()
	case "blob":
		return []byte("{}")
	case "string":
		if v, ok := g.text(s, name); ok {
			return v
		}
	}
	return nil
}

// text makes a text that fits a shape; what is known of the member is likely.
func (g *Generator) text(s *shape, name string) (string, bool) {
	if len(s.Enum) > 0 {
		return s.Enum[g.Rand.IntN(len(s.Enum))], true
	}
	fits := func(v string) bool {
		c := &checker{}
		c.str("", s, v)
		return len(c.faults) == 0
	}
	low := strings.ToLower(name)
	var candidates []string
	for _, k := range []string{low, strings.TrimSuffix(low, "s"), strings.TrimSuffix(low, "identifier"), strings.TrimSuffix(low, "name"), strings.TrimSuffix(low, "arns"), "arn"} {
		if known := g.Known[k]; len(known) > 0 && (k != "arn" || strings.Contains(low, "arn") || strings.Contains(low, "resource")) {
			candidates = append(candidates, known[g.Rand.IntN(len(known))])
		}
	}
	words := []string{
		"a", "test", "example-1", "10.0.0.0/16", "10.0.0.5", "443", "2026-01-01T00:00:00Z", "a.example.com", "{}", "true", "t3.medium",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`,
		"arn:aws:iam::123456789012:role/none", "0123456789abcdef0123456789abcdef", "Zäöü✓", strings.Repeat("x", 40), "/a/b", "012345678901",
	}
	g.Rand.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	for _, v := range append(candidates, words...) {
		if fits(v) {
			return v, true
		}
	}
	return "", false
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Time:
		return v.Format(time.RFC3339)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	}
	return fmt.Sprint(v)
}

func wireName(name string, r *ref) string {
	if r.LocationName != "" {
		return r.LocationName
	}
	return name
}

func (g *Generator) json(m *model, r *ref, v any) any {
	s := m.shape(r.Shape)
	switch v := v.(type) {
	case structure:
		return g.jsonMembers(m, s, v, "")
	case dictionary:
		out := map[string]any{}
		for k, x := range v {
			out[k] = g.json(m, s.Value, x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = g.json(m, s.Member, x)
		}
		return out
	case time.Time:
		if s.TimestampFormat == "iso8601" || r.TimestampFormat == "iso8601" {
			return scalar(v)
		}
		return v.Unix()
	}
	return v
}

func (g *Generator) jsonMembers(m *model, s *shape, v structure, location string) map[string]any {
	out := map[string]any{}
	for k, x := range v {
		if r := s.Members[k]; r.Location == location {
			out[wireName(k, r)] = g.json(m, r, x)
		}
	}
	return out
}

func (g *Generator) form(m *model, r *ref, v any, path string, ec2 bool, out url.Values) {
	s := m.shape(r.Shape)
	switch v := v.(type) {
	case structure:
		g.formMembers(m, s, v, path+".", ec2, out)
	case dictionary:
		i := 0
		for k, x := range v {
			i++
			at := fmt.Sprintf("%s.entry.%d", path, i)
			if s.Flattened || r.Flattened {
				at = fmt.Sprintf("%s.%d", path, i)
			}
			out.Set(at+"."+wireName("key", s.Key), k)
			g.form(m, s.Value, x, at+"."+wireName("value", s.Value), ec2, out)
		}
	case []any:
		if !ec2 && !s.Flattened && !r.Flattened {
			path += "." + wireName("member", s.Member)
		}
		for i, x := range v {
			g.form(m, s.Member, x, fmt.Sprintf("%s.%d", path, i+1), ec2, out)
		}
	default:
		out.Set(path, scalar(v))
	}
}

func (g *Generator) formMembers(m *model, s *shape, v structure, prefix string, ec2 bool, out url.Values) {
	for k, x := range v {
		r := s.Members[k]
		name := wireName(k, r)
		if ec2 {
			if r.QueryName != "" {
				name = r.QueryName
			}
			name = strings.ToUpper(name[:1]) + name[1:]
		} else if to := m.shape(r.Shape); (to.Flattened || r.Flattened) && to.Type == "list" && to.Member.LocationName != "" {
			name = to.Member.LocationName
		}
		g.form(m, r, x, prefix+name, ec2, out)
	}
}

// rest spreads members over path, query, headers and body.
func (g *Generator) rest(m *model, op *operation, s *shape, in structure, out *Generated) error {
	uri, fixed, _ := strings.Cut(op.HTTP.RequestURI, "?")
	query, _ := url.ParseQuery(fixed)
	for k, v := range in {
		r := s.Members[k]
		name := wireName(k, r)
		switch r.Location {
		case "uri":
			escaped := strings.ReplaceAll(url.QueryEscape(scalar(v)), "+", "%20")
			uri = strings.ReplaceAll(uri, "{"+name+"+}", strings.ReplaceAll(escaped, "%2F", "/"))
			uri = strings.ReplaceAll(uri, "{"+name+"}", escaped)
		case "querystring":
			if list, ok := v.([]any); ok {
				for _, x := range list {
					query.Add(name, scalar(x))
				}
			} else if _, ok := v.(dictionary); !ok {
				query.Set(name, scalar(v))
			}
		case "header":
			if name == "Content-Length" {
				continue
			}
			if list, ok := v.([]any); ok {
				for _, x := range list {
					out.Header.Add(name, scalar(x))
				}
			} else if at, ok := v.(time.Time); ok {
				out.Header.Set(name, at.Format(http.TimeFormat))
			} else {
				out.Header.Set(name, scalar(v))
			}
		}
	}
	out.URI = uri
	if len(query) > 0 {
		out.URI += "?" + query.Encode()
	}
	isJSON := m.Metadata.Protocol == "rest-json"
	if isJSON {
		out.Header.Set("Content-Type", "application/json")
	}
	if s.Payload != "" {
		r := s.Members[s.Payload]
		switch v := in[s.Payload].(type) {
		case nil:
		case structure:
			if isJSON {
				var err error
				out.Body, err = json.Marshal(g.json(m, r, v))
				return err
			}
			out.Body = []byte(g.xml(m, r, wireName(s.Payload, r), v))
		case []byte:
			out.Body = v
		default:
			out.Body = []byte(scalar(v))
		}
		return nil
	}
	body := structure{}
	for k, v := range in {
		if s.Members[k].Location == "" {
			body[k] = v
		}
	}
	if len(body) == 0 {
		return nil
	}
	if isJSON {
		var err error
		out.Body, err = json.Marshal(g.jsonMembers(m, s, body, ""))
		return err
	}
	root := op.Input.LocationName
	if root == "" {
		root = op.Input.Shape
	}
	out.Body = []byte(g.xml(m, op.Input, root, body))
	return nil
}

func (g *Generator) xml(m *model, r *ref, name string, v any) string {
	s := m.shape(r.Shape)
	var b strings.Builder
	switch v := v.(type) {
	case structure:
		attributes := ""
		for k, x := range v {
			to := s.Members[k]
			if to.XMLAttribute {
				attributes += ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ` + to.LocationName + `="` + scalar(x) + `"`
				continue
			}
			b.WriteString(g.xml(m, to, wireName(k, to), x))
		}
		return "<" + name + attributes + ">" + b.String() + "</" + name + ">"
	case []any:
		if s.Flattened || r.Flattened {
			for _, x := range v {
				b.WriteString(g.xml(m, s.Member, name, x))
			}
			return b.String()
		}
		for _, x := range v {
			b.WriteString(g.xml(m, s.Member, wireName("member", s.Member), x))
		}
	case dictionary:
	default:
		// Writing to a builder can't fail.
		_ = xml.EscapeText(&b, []byte(scalar(v)))
	}
	return "<" + name + ">" + b.String() + "</" + name + ">"
}
