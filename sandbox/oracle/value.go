package oracle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// checker collects the faults of one request or answer.
type checker struct {
	m      *model
	faults []string
}

func (c *checker) fault(path, format string, args ...any) {
	if path == "" {
		path = "(whole)"
	}
	c.faults = append(c.faults, path+": "+fmt.Sprintf(format, args...))
}

// required checks that a structure has what it must have.
func (c *checker) required(path string, s *shape, has func(member string) bool) {
	n := 0
	for name := range s.Members {
		if has(name) {
			n++
		}
	}
	for _, name := range s.Required {
		if !has(name) {
			c.fault(join(path, name), "is required, and missing")
		}
	}
	if s.Union && n != 1 {
		c.fault(path, "has %d members of a union", n)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// text checks the text of a scalar, as XML, forms, headers and paths have it.
func (c *checker) text(path string, r *ref, v, timestamps string) {
	s := c.m.shape(r.Shape)
	switch s.Type {
	case "string":
		c.str(path, s, v)
	case "integer", "long":
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			c.fault(path, "%q is no %s", v, s.Type)
			return
		}
		c.bounds(path, s, float64(n))
	case "double", "float":
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			c.fault(path, "%q is no %s", v, s.Type)
			return
		}
		c.bounds(path, s, n)
	case "boolean":
		if v != "true" && v != "false" {
			c.fault(path, "%q is no boolean", v)
		}
	case "timestamp":
		c.timestamp(path, r, s, v, timestamps)
	case "blob":
		if _, err := base64.StdEncoding.DecodeString(v); err != nil {
			c.fault(path, "is no base64")
		}
	default:
		c.fault(path, "a text where a %s belongs", s.Type)
	}
}

func (c *checker) str(path string, s *shape, v string) {
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		c.fault(path, "%q is not among %s", v, strings.Join(s.Enum, ", "))
	}
	n := float64(utf8.RuneCountInString(v))
	if s.Min != nil && n < *s.Min {
		c.fault(path, "%q is shorter than %v", v, *s.Min)
	}
	if s.Max != nil && n > *s.Max {
		c.fault(path, "%.60q... is longer than %v", v, *s.Max)
	}
	if s.pattern != nil && !s.pattern.Match(v) {
		c.fault(path, "%.200q does not match %s", v, s.Pattern)
	}
}

func (c *checker) bounds(path string, s *shape, n float64) {
	if s.Min != nil && n < *s.Min {
		c.fault(path, "%v is less than %v", n, *s.Min)
	}
	if s.Max != nil && n > *s.Max {
		c.fault(path, "%v is more than %v", n, *s.Max)
	}
}

func (c *checker) items(path string, s *shape, n int) {
	if s.Min != nil && float64(n) < *s.Min {
		c.fault(path, "has %d items, fewer than %v", n, *s.Min)
	}
	if s.Max != nil && float64(n) > *s.Max {
		c.fault(path, "has %d items, more than %v", n, *s.Max)
	}
}

var iso = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$`)

// timestamp checks a time that is written as text.
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#timestamp-format
func (c *checker) timestamp(path string, r *ref, s *shape, v, format string) {
	if s.TimestampFormat != "" {
		format = s.TimestampFormat
	}
	if r.TimestampFormat != "" {
		format = r.TimestampFormat
	}
	ok := true
	switch format {
	case "iso8601":
		ok = iso.MatchString(v)
	case "rfc822":
		_, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", v)
		ok = err == nil
	case "unixTimestamp":
		_, err := strconv.ParseFloat(v, 64)
		ok = err == nil
	}
	if !ok {
		c.fault(path, "%q is no time of the form %s", v, format)
	}
}

// json checks a decoded JSON value. Numbers are json.Number.
func (c *checker) json(path string, r *ref, v any) {
	s := c.m.shape(r.Shape)
	if s.Document || v == nil {
		// Null is how some clients leave a member out.
		return
	}
	wrong := func() { c.fault(path, "%s where a %s belongs", kind(v), s.Type) }
	switch s.Type {
	case "structure":
		m, ok := v.(map[string]any)
		if !ok {
			wrong()
			return
		}
		c.jsonMembers(path, s, m, "")
	case "list":
		l, ok := v.([]any)
		if !ok {
			wrong()
			return
		}
		c.items(path, s, len(l))
		for i, x := range l {
			if x == nil {
				c.fault(fmt.Sprintf("%s[%d]", path, i), "is null")
			}
			c.json(fmt.Sprintf("%s[%d]", path, i), s.Member, x)
		}
	case "map":
		m, ok := v.(map[string]any)
		if !ok {
			wrong()
			return
		}
		c.items(path, s, len(m))
		for k, x := range m {
			c.text(path+"[key]", s.Key, k, "")
			c.json(path+"["+k+"]", s.Value, x)
		}
	case "timestamp":
		format := s.TimestampFormat
		if r.TimestampFormat != "" {
			format = r.TimestampFormat
		}
		if _, ok := v.(json.Number); ok == (format == "iso8601" || format == "rfc822") {
			wrong()
		}
		if text, ok := v.(string); ok {
			c.timestamp(path, r, s, text, "unixTimestamp")
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			wrong()
		}
	case "integer", "long", "double", "float":
		n, ok := v.(json.Number)
		if !ok {
			wrong()
			return
		}
		f, err := n.Float64()
		if err != nil || s.Type != "double" && s.Type != "float" && f != math.Trunc(f) {
			c.fault(path, "%s is no %s", n, s.Type)
		}
		c.bounds(path, s, f)
	case "string", "blob":
		text, ok := v.(string)
		if !ok {
			wrong()
			return
		}
		c.text(path, r, text, "")
	default:
		c.fault(path, "the shape %s is %s", s.name, s.Type)
	}
}

// jsonMembers checks an object's members, those with the location: "" are the
// body's.
func (c *checker) jsonMembers(path string, s *shape, m map[string]any, location string) {
	names := map[string]string{}
	for name, r := range s.Members {
		if r.Location != location {
			continue
		}
		wire := name
		if r.LocationName != "" {
			wire = r.LocationName
		}
		names[wire] = name
	}
	have := map[string]bool{}
	for wire, v := range m {
		name, ok := names[wire]
		if !ok {
			c.fault(join(path, wire), "is no member of %s", s.name)
			continue
		}
		have[name] = v != nil
		c.json(join(path, wire), s.Members[name], v)
	}
	c.required(path, s, func(name string) bool { return have[name] || s.Members[name].Location != location })
}

func kind(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	}
	return "null"
}
