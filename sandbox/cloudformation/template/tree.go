package template

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"go.yaml.in/yaml/v3"
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

// treeYAML reads the one document of a YAML text.
func treeYAML(body string) (any, error) {
	d := yaml.NewDecoder(strings.NewReader(strings.TrimPrefix(body, "\ufeff")))
	var doc, second yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, malformed(err)
	}
	switch err := d.Decode(&second); {
	case err == nil:
		return nil, invalid("Template format error: YAML not well-formed. (line %d, column %d)", second.Line, second.Column)
	case !errors.Is(err, io.EOF):
		return nil, malformed(err)
	}
	return node(&doc, 0)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:[a-z ]+ )?line (\d+)`)

// malformed words a parser's error, which knows the line only.
func malformed(err error) error {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return invalid("Template format error: YAML not well-formed. (line %s)", m[1])
	}
	return invalid("Template format error: YAML not well-formed.")
}

// node turns YAML into plain values, short forms of functions into long ones.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
func node(n *yaml.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, invalid("Template format error: unsupported structure.")
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return nil, invalid("Template error: YAML aliases are not allowed in CloudFormation templates")
	}
	tagged := strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!")
	var v any
	var err error
	switch n.Kind {
	case 0:
		return nil, nil
	case yaml.DocumentNode:
		return node(n.Content[0], depth)
	case yaml.MappingNode:
		v, err = mapping(n, depth)
	case yaml.SequenceNode:
		l := make([]any, len(n.Content))
		for i, x := range n.Content {
			if l[i], err = node(x, depth+1); err != nil {
				return nil, err
			}
		}
		v = l
	case yaml.ScalarNode:
		if v = n.Value; !tagged {
			v = scalar(n)
		}
	}
	if err != nil || !tagged {
		return v, err
	}
	return short(n.Tag, v)
}

// scalar is a value without a short form. Account ids and the like with leading
// zeros stay as written, and so do dates.
func scalar(n *yaml.Node) any {
	tag := n.ShortTag()
	if digits := strings.TrimLeft(n.Value, "+-"); (tag == "!!int" || tag == "!!float") && len(digits) > 1 && digits[0] == '0' && digits[1] != '.' {
		return n.Value
	}
	switch tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		if i, err := strconv.Atoi(n.Value); err == nil {
			return i
		}
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && !math.IsInf(f, 0) {
			return f
		}
	}
	return n.Value
}

func mapping(n *yaml.Node, depth int) (any, error) {
	out := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind == yaml.AliasNode || k.Anchor != "" || k.ShortTag() == "!!merge":
			return nil, invalid("Template error: YAML aliases are not allowed in CloudFormation templates")
		case k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null":
			return nil, invalid("Template format error: YAML not well-formed. (line %d, column %d)", k.Line, k.Column)
		}
		if _, twice := out[k.Value]; twice {
			return nil, invalid("Template format error: YAML not well-formed. (line %d, column %d)", k.Line, k.Column)
		}
		var err error
		if out[k.Value], err = node(v, depth+1); err != nil {
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
