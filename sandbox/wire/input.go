package wire

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Has tells whether the input has the member, even with an empty value.
func (r *Request) Has(name string) bool {
	_, ok := r.In[name]
	return ok
}

// String returns a member as text; "" if it is missing or not a scalar.
func (r *Request) String(name string) string { return props.Str(r.In[name]) }

// Int returns a member as a whole number, or otherwise if it is missing or not
// a number.
func (r *Request) Int(name string, otherwise int) int {
	switch v := r.In[name].(type) {
	case float64:
		return int(v)
	case int:
		return v
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n
		}
	}
	return otherwise
}

// Bool returns a member as a truth value, or otherwise if it is missing or not
// one.
func (r *Request) Bool(name string, otherwise bool) bool {
	switch v := r.In[name].(type) {
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	return otherwise
}

// Strings returns a list member; a scalar counts as a list of one. An XML
// list's elements are found below their common name.
func (r *Request) Strings(name string) []string {
	var out []string
	for _, v := range List(r.In[name]) {
		out = append(out, props.Str(v))
	}
	return out
}

// Map returns a structure member, or nil.
func (r *Request) Map(name string) map[string]any {
	m, _ := r.In[name].(map[string]any)
	return m
}

// Maps returns a list member whose elements are structures.
func (r *Request) Maps(name string) []map[string]any {
	var out []map[string]any
	for _, v := range List(r.In[name]) {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// Tags returns a list member of Key and Value pairs ("key" and "value",
// "TagKey" and "TagValue"), or a member that is a map of strings.
func (r *Request) Tags(name string) map[string]string { return TagMap(r.In[name]) }

// TagMap reads tags in any of AWS's forms; see [Request.Tags].
func TagMap(v any) map[string]string {
	tags := map[string]string{}
	if m, ok := v.(map[string]any); ok {
		for k, x := range m {
			tags[k] = props.Str(x)
		}
		return tags
	}
	for _, x := range List(v) {
		m, ok := x.(map[string]any)
		if !ok {
			continue
		}
		for _, pair := range [][2]string{{"Key", "Value"}, {"key", "value"}, {"TagKey", "TagValue"}} {
			if k, ok := m[pair[0]]; ok {
				tags[props.Str(k)] = props.Str(m[pair[1]])
				break
			}
		}
	}
	return tags
}

// List returns a decoded value as a list: nil and "" are empty, a scalar or a
// structure is a list of one.
func List(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	case string:
		if v == "" {
			return nil
		}
	}
	return []any{v}
}

// Epoch is a time as the JSON protocols have it: seconds with a fraction.
func Epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// ISO is a time as the XML protocols have it.
func ISO(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Page cuts one page out of a listing: at most limit items (0 means all) from
// where token, the next token of the page before, says. A token that no page
// gave is refused with the given error code.
func Page[T any](items []T, token string, limit int, code string) (page []T, next string, err error) {
	start := 0
	if token != "" {
		raw, derr := base64.RawURLEncoding.DecodeString(token)
		if _, serr := fmt.Sscanf(string(raw), "from %d", &start); derr != nil || serr != nil || start < 0 || start > len(items) {
			return nil, "", account.Errorf(code, "The specified token is not valid: %s", strings.ToValidUTF8(token, "?"))
		}
	}
	end := len(items)
	if limit > 0 && start+limit < end {
		end = start + limit
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "from %d", end))
	}
	return items[start:end], next, nil
}
