package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
)

// maxDepth bounds nesting, so that hostile input can't exhaust the stack.
const maxDepth = 100

// tree reads a template's text, JSON or YAML, into plain values.
func tree(body string) (map[string]any, error) {
	if nesting(body) > maxDepth {
		return nil, invalid("Template format error: unsupported structure.")
	}
	var v any
	var err error
	if strings.HasPrefix(strings.TrimSpace(body), "{") {
		v, err = treeJSON(body)
	} else if dashes(body) {
		return nil, invalid("Template format error: unsupported structure.")
	} else {
		v, err = treeYAML(body)
	}
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Template format error: unsupported structure.")
	}
	return m, nil
}

// nesting is the depth of brackets, which bounds what a parser has to stack.
func nesting(body string) int {
	var depth, deepest int
	for i := range len(body) {
		switch body[i] {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}

// dashes tells whether a line opens too many sequences, which the parser takes
// much memory for. Other ways of nesting without brackets need a line each.
func dashes(body string) bool {
	for line := range strings.Lines(body) {
		depth := 0
		for line = strings.TrimLeft(line, " \t"); strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "-\t"); line = strings.TrimLeft(line[1:], " \t") {
			depth++
		}
		if depth > maxDepth {
			return true
		}
	}
	return false
}

func treeJSON(body string) (any, error) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	if err == nil && d.More() {
		err = &json.SyntaxError{Offset: d.InputOffset()}
	}
	if err != nil {
		at := int64(len(body))
		if se, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = min(se.Offset, at)
		}
		before := body[:at]
		line := strings.Count(before, "\n") + 1
		column := len(before) - strings.LastIndex(before, "\n")
		return nil, invalid("Template format error: JSON not well-formed. (line %d, column %d)", line, column)
	}
	return numbers(v), nil
}

// numbers turns literals into int where they are whole, else float64.
func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = numbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = numbers(x)
		}
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	}
	return v
}

func treeYAML(body string) (any, error) {
	f, err := parser.ParseBytes(bytes.TrimPrefix([]byte(body), []byte("\ufeff")), 0)
	if err != nil {
		if se, ok := errors.AsType[yaml.Error](err); ok && se.GetToken() != nil && se.GetToken().Position != nil {
			p := se.GetToken().Position
			return nil, invalid("Template format error: YAML not well-formed. (line %d, column %d)", p.Line, p.Column)
		}
		return nil, invalid("Template format error: YAML not well-formed.")
	}
	var doc ast.Node
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if doc != nil {
			return nil, invalid("Template format error: YAML not well-formed. (line %d, column 1)", d.Body.GetToken().Position.Line)
		}
		doc = d.Body
	}
	return node(doc, 0)
}

// node turns YAML into plain values, short forms of functions into long ones.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
func node(n ast.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, invalid("Template format error: unsupported structure.")
	}
	switch n := n.(type) {
	case nil:
		return nil, nil
	case *ast.NullNode:
		return nil, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.IntegerNode:
		// Account ids and the like with leading zeros stay as written.
		if t := n.GetToken().Value; len(t) > 1 && t[0] == '0' {
			return t, nil
		}
		switch v := n.Value.(type) {
		case int64:
			return int(v), nil
		case uint64:
			if v <= math.MaxInt {
				return int(v), nil
			}
		}
		return n.GetToken().Value, nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.MappingNode:
		return mapping(n.Values, depth)
	case *ast.MappingValueNode:
		return mapping([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out := make([]any, len(n.Values))
		for i, x := range n.Values {
			v, err := node(x, depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	case *ast.TagNode:
		v, err := node(n.Value, depth+1)
		if err != nil {
			return nil, err
		}
		return short(n.Start.Value, v)
	case *ast.AliasNode, *ast.AnchorNode, *ast.MergeKeyNode:
		return nil, invalid("Template error: YAML aliases are not allowed in CloudFormation templates")
	}
	return nil, invalid("Template format error: YAML not well-formed. (line %d, column %d)", n.GetToken().Position.Line, n.GetToken().Position.Column)
}

func mapping(values []*ast.MappingValueNode, depth int) (any, error) {
	out := make(map[string]any, len(values))
	for _, kv := range values {
		if _, ok := kv.Key.(*ast.MergeKeyNode); ok {
			return nil, invalid("Template error: YAML aliases are not allowed in CloudFormation templates")
		}
		k, err := node(kv.Key, depth+1)
		if err != nil {
			return nil, err
		}
		var key string
		switch k := k.(type) {
		case string:
			key = k
		case int, float64, bool:
			key = kv.Key.GetToken().Value
		default:
			return nil, invalid("Template format error: YAML not well-formed. (line %d, column %d)", kv.Key.GetToken().Position.Line, kv.Key.GetToken().Position.Column)
		}
		if out[key], err = node(kv.Value, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// short is the long form of a short form.
func short(tag string, v any) (any, error) {
	name := strings.TrimPrefix(tag, "!")
	switch {
	case name == "Ref" || name == "Condition":
		return map[string]any{name: v}, nil
	case expression.HasShort(name):
		return map[string]any{"Fn::" + name: v}, nil
	case strings.HasPrefix(tag, "!!"):
		return v, nil
	}
	return nil, invalid("Template format error: YAML tag %s is not supported", tag)
}
