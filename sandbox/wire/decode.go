package wire

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Any input is bounded in its nesting and in the structures, lists and values
// it is made of, so that a small body can't fill the memory; AWS's own shapes
// stay far below.
const (
	maxDepth = 64
	maxNodes = 1 << 16
)

var errTooMany = errors.New("input has too many members")

// decodeForm nests query parameters by their dots. Lists are numbered from 1;
// the query protocol puts the list's element name between ("member"), which
// vanishes, and EC2 doesn't.
func decodeForm(form url.Values, ec2 bool) (map[string]any, error) {
	root := map[string]any{}
	nodes := 0
	for _, key := range sortedKeys(form) {
		if key == "Action" || key == "Version" {
			continue
		}
		path := strings.Split(key, ".")
		if len(path) > maxDepth {
			return nil, fmt.Errorf("parameter is nested too deeply")
		}
		m := root
		for _, p := range path[:len(path)-1] {
			next, ok := m[p].(map[string]any)
			if !ok {
				if nodes++; nodes > maxNodes {
					return nil, errTooMany
				}
				// "A" and "A.B" together: the structure wins.
				next = map[string]any{}
				m[p] = next
			}
			m = next
		}
		last := path[len(path)-1]
		if _, ok := m[last].(map[string]any); !ok {
			m[last] = form[key][0]
		}
	}
	for k, v := range root {
		root[k] = lists(v, ec2)
	}
	return root, nil
}

// lists turns maps with numbers as keys into lists.
func lists(v any, ec2 bool) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if !ec2 && len(m) == 1 {
		for _, x := range m {
			if inner, ok := x.(map[string]any); ok {
				if _, ok := indexes(inner); ok {
					return lists(x, ec2)
				}
			}
		}
	}
	for k, x := range m {
		m[k] = lists(x, ec2)
	}
	if numbers, ok := indexes(m); ok {
		l := make([]any, len(numbers))
		for i, n := range numbers {
			l[i] = m[n]
		}
		return l
	}
	return m
}

// indexes returns the map's keys in numeric order if all are list positions.
func indexes(m map[string]any) ([]string, bool) {
	keys := make([]string, 0, len(m))
	for k := range m {
		if n, err := strconv.Atoi(k); err != nil || n < 0 || strconv.Itoa(n) != k {
			return nil, false
		}
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if len(keys[i]) != len(keys[j]) {
			return len(keys[i]) < len(keys[j])
		}
		return keys[i] < keys[j]
	})
	return keys, len(keys) > 0
}

// decodeJSON reads a body that must be one JSON object; an empty body is an
// empty object.
func decodeJSON(body []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	if err := shallow(body); err != nil {
		return nil, err
	}
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	if in == nil {
		return nil, errors.New("body is not an object")
	}
	// Clients may send members as null to leave them out.
	for k, v := range in {
		if v == nil {
			delete(in, k)
		}
	}
	return in, nil
}

// shallow refuses JSON nested deeper than maxDepth, or of more than maxNodes
// values, before it is decoded.
func shallow(body []byte) error {
	depth, nodes, quoted, escaped := 0, 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped = c == '\\'
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == ',':
			nodes++
		case c == '{' || c == '[':
			nodes++
			if depth++; depth > maxDepth {
				return errors.New("body is nested too deeply")
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if nodes > maxNodes {
		return errTooMany
	}
	return nil
}

// decodeXML reads the elements below an XML body's root. Attributes are left
// out but for xsi:type, which S3's grantees need and has the name "type".
func decodeXML(body []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	// Every element has a "<" of its own, and one that ends it.
	if bytes.Count(body, []byte("<")) > 2*maxNodes {
		return nil, errTooMany
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		if start, ok := tok.(xml.StartElement); ok {
			v, err := element(d, start, 0)
			if err != nil {
				return nil, err
			}
			if err := nothingAfter(d); err != nil {
				return nil, err
			}
			if m, ok := v.(map[string]any); ok {
				return m, nil
			}
			return map[string]any{}, nil
		}
	}
}

func nothingAfter(d *xml.Decoder) error {
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, ok := tok.(xml.StartElement); ok {
			return errors.New("more than one root element")
		}
	}
}

// element reads an element to its end: its text, or its children by name.
func element(d *xml.Decoder, start xml.StartElement, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("body is nested too deeply")
	}
	var text strings.Builder
	var children map[string]any
	for _, a := range start.Attr {
		if a.Name.Local == "type" && a.Name.Space != "" {
			children = map[string]any{"type": a.Value}
		}
	}
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.CharData:
			text.Write(tok)
		case xml.StartElement:
			v, err := element(d, tok, depth+1)
			if err != nil {
				return nil, err
			}
			if children == nil {
				children = map[string]any{}
			}
			name := tok.Name.Local
			switch old := children[name].(type) {
			case nil:
				children[name] = v
			case []any:
				children[name] = append(old, v)
			default:
				children[name] = []any{old, v}
			}
		case xml.EndElement:
			if children != nil {
				return children, nil
			}
			return text.String(), nil
		}
	}
}

// decodeParams puts query string parameters into in: one value as a string,
// several as a list.
func decodeParams(in map[string]any, params url.Values) {
	for _, k := range sortedKeys(params) {
		if strings.HasPrefix(k, "X-Amz-") || k == "x-id" {
			continue
		}
		switch vs := params[k]; len(vs) {
		case 0:
			in[k] = ""
		case 1:
			in[k] = vs[0]
		default:
			l := make([]any, len(vs))
			for i, v := range vs {
				l[i] = v
			}
			in[k] = l
		}
	}
}

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
