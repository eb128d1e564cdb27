package facts

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

//go:embed limits.json
var embeddedLimits []byte

// limit is what a resource schema says of a value beyond its type, in the
// keywords of JSON schema, and the way to where it says so.
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
type limit struct {
	Pattern       string              `json:"pattern"`
	MinLength     *int                `json:"minLength"`
	MaxLength     *int                `json:"maxLength"`
	Minimum       *float64            `json:"minimum"`
	Maximum       *float64            `json:"maximum"`
	MinItems      *int                `json:"minItems"`
	MaxItems      *int                `json:"maxItems"`
	UniqueItems   bool                `json:"uniqueItems"`
	MinProperties *int                `json:"minProperties"`
	Const         any                 `json:"const"`
	Enum          []any               `json:"enum"`
	Format        string              `json:"format"`
	Ref           string              `json:"$ref"`
	Items         *limit              `json:"items"`
	Properties    map[string]*limit   `json:"properties"`
	Keys          map[string]*limit   `json:"patternProperties"`
	Required      []string            `json:"required"`
	OneOf         []*limit            `json:"oneOf"`
	AnyOf         []*limit            `json:"anyOf"`
	AllOf         []*limit            `json:"allOf"`
	Dependencies  map[string][]string `json:"dependencies"`

	// Patterns are compiled when a value first meets them.
	pattern func() (*Pattern, error)
	keys    map[string]func() (*Pattern, error)
	names   []string // of Properties, sorted
}

// limits are those of one type.
type limits struct {
	// ReadOnly are the properties within others that can't be set, with an
	// asterisk for the elements of a list.
	ReadOnly    []string          `json:"readOnly"`
	Properties  map[string]*limit `json:"properties"`
	Definitions map[string]*limit `json:"definitions"`

	root     *limit
	readOnly [][]string
}

// loadLimits splits the file into its types; each is decoded when it is first
// met, since few of them ever are.
var loadLimits = sync.OnceValue(func() map[string]func() (*limits, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(embeddedLimits, &raw); err != nil {
		// The file is embedded, and a test decodes it.
		return nil
	}
	out := make(map[string]func() (*limits, error), len(raw))
	for name, body := range raw {
		out[name] = sync.OnceValues(func() (*limits, error) { return parseLimits(body) })
	}
	return out
})

func parseLimits(body []byte) (*limits, error) {
	l := &limits{}
	if err := json.Unmarshal(body, l); err != nil {
		return nil, fmt.Errorf("read limits: %w", err)
	}
	l.root = &limit{Properties: l.Properties}
	l.root.prepare()
	for _, x := range l.Definitions {
		x.prepare()
	}
	for _, path := range l.ReadOnly {
		l.readOnly = append(l.readOnly, strings.Split(path[1:], "/"))
	}
	return l, nil
}

func lazily(pattern string) func() (*Pattern, error) {
	return sync.OnceValues(func() (*Pattern, error) { return CompilePattern(pattern, false) })
}

// matches tells whether a text fits a pattern. One that can't be compiled lets
// all pass; a test compiles all of them.
func matches(pattern func() (*Pattern, error), text string) bool {
	p, err := pattern()
	return err != nil || p.Match(text)
}

// prepare makes the patterns of a limit and of those below it ready.
func (l *limit) prepare() {
	if l.Pattern != "" {
		l.pattern = lazily(l.Pattern)
	}
	l.names = slices.Sorted(maps.Keys(l.Properties))
	below := slices.Concat(l.OneOf, l.AnyOf, l.AllOf)
	if l.Items != nil {
		below = append(below, l.Items)
	}
	for _, x := range l.Properties {
		below = append(below, x)
	}
	for key, x := range l.Keys {
		if l.keys == nil {
			l.keys = map[string]func() (*Pattern, error){}
		}
		l.keys[key] = lazily(key)
		below = append(below, x)
	}
	for _, x := range below {
		x.prepare()
	}
}

// limits are those of the type; nil if it has none.
func (t *Type) limits() *limits {
	load := loadLimits()[t.Name]
	if load == nil {
		return nil
	}
	l, err := load()
	if err != nil {
		// The file is embedded, and a test decodes all of it.
		return nil
	}
	return l
}

// limit checks normalised properties against the limits of the type. Of a value
// that is of another type there is nothing more to say.
func (c *checker) limit(l *limits, props map[string]any) {
	var faulty map[string]bool
	for _, f := range c.faults {
		if strings.HasPrefix(f.Message, "expected type: ") {
			if faulty == nil {
				faulty = map[string]bool{}
			}
			faulty[f.Path] = true
		}
	}
	for _, words := range l.readOnly {
		c.readOnly("#", words, props)
	}
	b := bounds{c: c, definitions: l.Definitions, faulty: faulty}
	b.object("#", l.root, props)
}

// readOnly refuses a property that only the resource itself sets.
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
func (c *checker) readOnly(path string, words []string, v any) {
	switch v := v.(type) {
	case []any:
		if words[0] == "*" {
			for i, x := range v {
				c.readOnly(path+"/"+strconv.Itoa(i), words[1:], x)
			}
		}
	case map[string]any:
		x, ok := v[words[0]]
		switch {
		case !ok:
			return
		case len(words) > 1:
			c.readOnly(path+"/"+words[0], words[1:], x)
		case !slices.ContainsFunc(c.faults, func(f Fault) bool { return f.Path == path && strings.Contains(f.Message, "["+words[0]+"]") }):
			c.fault(path, fmt.Sprintf("extraneous key [%s] is not permitted", words[0]), fmt.Sprintf("Unsupported property [%s]", words[0]))
		}
	}
}

type bounds struct {
	c           *checker
	definitions map[string]*limit
	faulty      map[string]bool
}

// keyword is a fault whose words must not repeat the value: what AWS's
// validator says of all keywords that may show secrets.
// https://github.com/aws-cloudformation/cloudformation-resource-schema
func (b *bounds) keyword(path, keyword, early string) {
	b.c.fault(path, "failed validation constraint for keyword ["+keyword+"]", early)
}

func (b *bounds) value(path string, l *limit, v any) {
	if l.Ref != "" {
		if d := b.definitions[l.Ref]; d != nil {
			b.value(path, d, v)
		}
	}
	if b.faulty[path] {
		return
	}
	if s, ok := v.(string); ok && len(l.Enum) > 0 && !dynamic(s) && !slices.Contains(l.Enum, any(s)) {
		allowed := make([]string, len(l.Enum))
		for i, x := range l.Enum {
			allowed[i] = Text(x)
		}
		if !b.c.at(path) {
			b.c.fault(path, s+" is not a valid enum value", fmt.Sprintf("Value [%s] is not one of the allowed values [%s]", s, strings.Join(allowed, ", ")))
		}
	}
	if l.Const != nil && !reflect.DeepEqual(l.Const, v) {
		if _, ok := v.(Unknown); !ok && !dynamic(v) {
			b.keyword(path, "const", fmt.Sprintf("Value [%s] is not one of the allowed values [%s]", Text(v), Text(l.Const)))
		}
	}
	switch v := v.(type) {
	case string:
		if !dynamic(v) {
			b.text(path, l, v)
		}
	case int:
		b.number(path, l, float64(v))
	case float64:
		b.number(path, l, v)
	case []any:
		b.list(path, l, v)
	case map[string]any:
		b.object(path, l, v)
	}
	for _, x := range l.AllOf {
		b.value(path, x, v)
	}
	if n := b.fitting(path, l.AnyOf, v); len(l.AnyOf) > 0 && n == 0 {
		m := fmt.Sprintf("no subschema matched out of the total %d subschemas", len(l.AnyOf))
		b.c.fault(path, m, m)
	}
	if n := b.fitting(path, l.OneOf, v); len(l.OneOf) > 0 && n != 1 {
		m := fmt.Sprintf("%d subschemas matched instead of one", n)
		b.c.fault(path, m, m)
	}
}

// dynamic tells that a text holds a dynamic reference, which the handler
// resolves.
func dynamic(v any) bool {
	s, ok := v.(string)
	return ok && strings.Contains(s, "{{resolve:")
}

// fitting counts the alternatives that a value fits.
func (b *bounds) fitting(path string, alternatives []*limit, v any) int {
	n := 0
	for _, x := range alternatives {
		try := bounds{c: &checker{t: b.c.t}, definitions: b.definitions}
		if m, ok := v.(map[string]any); ok {
			for _, k := range x.Required {
				if _, ok := m[k]; !ok {
					try.c.fault(path, "required key ["+k+"] not found", "")
				}
			}
		}
		try.value(path, x, v)
		if len(try.c.faults) == 0 {
			n++
		}
	}
	return n
}

func (b *bounds) text(path string, l *limit, v string) {
	n := utf8.RuneCountInString(v)
	if l.MinLength != nil && n < *l.MinLength {
		m := fmt.Sprintf("expected minLength: %d, actual: %d", *l.MinLength, n)
		b.c.fault(path, m, m)
	}
	if l.MaxLength != nil && n > *l.MaxLength {
		m := fmt.Sprintf("expected maxLength: %d, actual: %d", *l.MaxLength, n)
		b.c.fault(path, m, m)
	}
	if l.pattern != nil && !matches(l.pattern, v) {
		b.keyword(path, "pattern", fmt.Sprintf("Value [%s] does not match pattern [%s]", v, l.Pattern))
	}
	if l.Format == "date-time" {
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			b.keyword(path, "format", fmt.Sprintf("Value [%s] is not a valid date-time", v))
		}
	}
}

func (b *bounds) number(path string, l *limit, v float64) {
	if l.Minimum != nil && v < *l.Minimum {
		b.keyword(path, "minimum", fmt.Sprintf("Value [%s] is less than the minimum [%s]", Text(v), Text(*l.Minimum)))
	}
	if l.Maximum != nil && v > *l.Maximum {
		b.keyword(path, "maximum", fmt.Sprintf("Value [%s] is greater than the maximum [%s]", Text(v), Text(*l.Maximum)))
	}
}

func (b *bounds) list(path string, l *limit, v []any) {
	if l.MinItems != nil && len(v) < *l.MinItems {
		m := fmt.Sprintf("expected minimum item count: %d, found: %d", *l.MinItems, len(v))
		b.c.fault(path, m, m)
	}
	if l.MaxItems != nil && len(v) > *l.MaxItems {
		m := fmt.Sprintf("expected maximum item count: %d, found: %d", *l.MaxItems, len(v))
		b.c.fault(path, m, m)
	}
	if l.UniqueItems && repeats(v) {
		b.c.fault(path, "array items are not unique", "array items are not unique")
	}
	if l.Items != nil {
		for i, x := range v {
			b.value(path+"/"+strconv.Itoa(i), l.Items, x)
		}
	}
}

// repeats tells whether a list holds two values that are the same. Those that
// are unknown may differ.
func repeats(l []any) bool {
	if len(l) < 2 {
		return false
	}
	// Short lists are compared, which is cheaper.
	if len(l) <= 16 {
		for i, v := range l {
			for _, w := range l[:i] {
				if reflect.DeepEqual(v, w) && !unknown(v) {
					return true
				}
			}
		}
		return false
	}
	seen := map[string]bool{}
	for _, v := range l {
		if unknown(v) {
			continue
		}
		key, err := json.Marshal(v)
		if err != nil {
			continue
		}
		if seen[string(key)] {
			return true
		}
		seen[string(key)] = true
	}
	return false
}

// unknown tells whether a value or something in it is unknown.
func unknown(v any) bool {
	switch v := v.(type) {
	case Unknown:
		return true
	case []any:
		return slices.ContainsFunc(v, unknown)
	case map[string]any:
		for _, x := range v {
			if unknown(x) {
				return true
			}
		}
	}
	return false
}

func (b *bounds) object(path string, l *limit, v map[string]any) {
	if l.MinProperties != nil && len(v) < *l.MinProperties {
		m := fmt.Sprintf("minimum size: [%d], found: [%d]", *l.MinProperties, len(v))
		b.c.fault(path, m, m)
	}
	for _, k := range slices.Sorted(maps.Keys(l.Dependencies)) {
		if _, ok := v[k]; !ok {
			continue
		}
		for _, needed := range l.Dependencies[k] {
			if _, ok := v[needed]; !ok {
				b.c.fault(path, "property ["+needed+"] is required", "Required property ["+needed+"] not found")
			}
		}
	}
	if len(l.Keys) == 0 {
		for _, k := range l.names {
			if x, ok := v[k]; ok {
				b.value(path+"/"+k, l.Properties[k], x)
			}
		}
		return
	}
	for _, k := range slices.Sorted(maps.Keys(v)) {
		at := path + "/" + k
		if x := l.Properties[k]; x != nil {
			b.value(at, x, v[k])
		}
		known := false
		for _, key := range slices.Sorted(maps.Keys(l.Keys)) {
			if matches(l.keys[key], k) {
				known = true
				b.value(at, l.Keys[key], v[k])
			}
		}
		if !known && l.Properties[k] == nil {
			b.c.fault(path, fmt.Sprintf("extraneous key [%s] is not permitted", k), fmt.Sprintf("Unsupported property [%s]", k))
		}
	}
}
