package facts

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Unknown stands for a value that is known only once another resource exists.
// It fits wherever a value is expected.
type Unknown struct{}

// Fault is one way in which properties don't fit their type.
type Fault struct {
	// Path is the place, "#/Tags/0"; "#" are the properties as a whole.
	Path string
	// Message is the fault in the words of CloudFormation's schema check.
	Message string
	// Early is the fault in the words of the check before deployment.
	Early string
}

func (f Fault) String() string { return f.Path + ": " + f.Message }

// Normalise checks properties against the type and returns them with every
// scalar in the kind that the type asks for, as CloudFormation takes "443" for
// a number and true for a string: string, int, float64 and bool. What the
// schema of the type says of patterns, lengths and ranges is checked too. The
// properties given are not changed. Documents of kind json stay as they are.
func (t *Type) Normalise(props map[string]any) (map[string]any, []Fault) {
	c := checker{t: t}
	out := c.object("#", t.Properties, props)
	if l := t.limits(); l != nil {
		c.limit(l, out)
	}
	return out, c.faults
}

type checker struct {
	t      *Type
	faults []Fault
}

func (c *checker) fault(path, message, early string) {
	c.faults = append(c.faults, Fault{Path: path, Message: message, Early: early})
}

func (c *checker) object(path string, props map[string]*Prop, v map[string]any) map[string]any {
	out := make(map[string]any, len(v))
	// The order of faults is that of names, so that answers repeat.
	for _, k := range slices.Sorted(maps.Keys(v)) {
		p := props[k]
		if p == nil {
			c.fault(path, fmt.Sprintf("extraneous key [%s] is not permitted", k), fmt.Sprintf("Unsupported property [%s]", k))
			continue
		}
		out[k] = c.value(path+"/"+k, p, v[k])
	}
	var missing []string
	for k, p := range props {
		if p.Required {
			if _, ok := v[k]; !ok {
				missing = append(missing, k)
			}
		}
	}
	slices.Sort(missing)
	for _, k := range missing {
		c.fault(path, fmt.Sprintf("required key [%s] not found", k), fmt.Sprintf("Required property [%s] not found", k))
	}
	return out
}

func (c *checker) value(path string, p *Prop, v any) any {
	if _, ok := v.(Unknown); ok {
		return v
	}
	switch p.Type {
	case "string":
		switch x := v.(type) {
		case string:
			c.enum(path, p, x)
			return x
		case bool, int, float64:
			c.enum(path, p, Text(x))
			return Text(x)
		}
		c.wrong(path, "String", v)
	case "integer":
		if n, ok := integer(v); ok {
			c.enum(path, p, strconv.Itoa(n))
			return n
		}
		c.wrong(path, "Integer", v)
	case "number":
		switch x := v.(type) {
		case int:
			return float64(x)
		case float64:
			return x
		case string:
			if n, ok := Number(strings.TrimSpace(x)); ok {
				return n
			}
		}
		c.wrong(path, "Number", v)
	case "boolean":
		switch x := v.(type) {
		case bool:
			return x
		case string:
			switch strings.ToLower(x) {
			case "true":
				return true
			case "false":
				return false
			}
		}
		c.wrong(path, "Boolean", v)
	case "json":
		switch v.(type) {
		case map[string]any, string:
		default:
			c.wrong(path, "JSONObject", v)
		}
	case "list":
		l, ok := v.([]any)
		if !ok {
			c.wrong(path, "JSONArray", v)
			return v
		}
		out := make([]any, len(l))
		for i, x := range l {
			out[i] = x
			if p.Item != nil {
				out[i] = c.value(path+"/"+strconv.Itoa(i), p.Item, x)
			}
		}
		return out
	case "map":
		m, ok := v.(map[string]any)
		if !ok {
			c.wrong(path, "JSONObject", v)
			return v
		}
		out := make(map[string]any, len(m))
		for _, k := range slices.Sorted(maps.Keys(m)) {
			out[k] = m[k]
			if p.Item != nil {
				out[k] = c.value(path+"/"+k, p.Item, m[k])
			}
		}
		return out
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			c.wrong(path, "JSONObject", v)
			return v
		}
		def, ok := c.t.Definitions[p.Ref]
		if !ok {
			return v
		}
		return c.object(path, def, m)
	case "union":
		return c.union(path, p, v)
	}
	return v
}

// union takes the first choice that fits. If none does, the faults of the one
// with the fewest are reported.
func (c *checker) union(path string, p *Prop, v any) any {
	var best *checker
	for _, choice := range p.Of {
		try := &checker{t: c.t}
		out := try.value(path, choice, v)
		if len(try.faults) == 0 {
			return out
		}
		// One that has the value's kind fits better than one that hasn't.
		if best == nil || len(try.faults) < len(best.faults) || len(try.faults) == len(best.faults) && best.at(path) && !try.at(path) {
			best = try
		}
	}
	if best != nil {
		c.faults = append(c.faults, best.faults...)
	}
	return v
}

// at tells whether there is a fault just at a path.
func (c *checker) at(path string) bool {
	return slices.ContainsFunc(c.faults, func(f Fault) bool { return f.Path == path })
}

func (c *checker) enum(path string, p *Prop, v string) {
	// A dynamic reference is resolved later, by the handler.
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, v) && !strings.Contains(v, "{{resolve:") {
		c.fault(path, v+" is not a valid enum value", fmt.Sprintf("Value [%s] is not one of the allowed values [%s]", v, strings.Join(p.Enum, ", ")))
	}
}

// Number is a text as a decimal number; NaN, infinity and hexadecimal ones are
// none.
func Number(s string) (float64, bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !strings.ContainsAny(s, "xX_nN")
}

func integer(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case float64:
		// Beyond, not every whole number has a float of its own.
		return int(v), v == math.Trunc(v) && math.Abs(v) <= 1<<53
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		return n, err == nil
	}
	return 0, false
}

func (c *checker) wrong(path, want string, v any) {
	if s, ok := v.(string); ok && strings.Contains(s, "{{resolve:") {
		return
	}
	m := fmt.Sprintf("expected type: %s, found: %s", want, kind(v))
	c.fault(path, m, m)
}

// kind names a value's type as the schema check does.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "String"
	case bool:
		return "Boolean"
	case int:
		return "Integer"
	case float64:
		return "Double"
	case []any:
		return "JSONArray"
	case map[string]any:
		return "JSONObject"
	case nil:
		return "Null"
	}
	return fmt.Sprintf("%T", v)
}

// Text is a scalar as CloudFormation writes it.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
