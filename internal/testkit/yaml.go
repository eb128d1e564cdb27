package testkit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// YAML is a CloudFormation template in JSON as people write it in YAML, with the short
// forms of functions.
func YAML(t testing.TB, template []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(template, &v); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(written(v))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// written is a value of JSON as a node of YAML, with short forms.
func written(v any) *yaml.Node {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			name, function := strings.CutPrefix(k, "Fn::")
			if len(v) > 1 || !function && k != "Ref" {
				break
			}
			n := written(x)
			if list, ok := x.([]any); ok && name == "GetAtt" {
				n = &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(list[0], ".", list[1])}
			}
			if n.Style&yaml.TaggedStyle == 0 { // a node has one tag
				n.Tag, n.Style = "!"+name, n.Style|yaml.TaggedStyle
				return n
			}
		}
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: k}, written(v[k]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, x := range v {
			n.Content = append(n.Content, written(x))
		}
		return n
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v, Style: yaml.SingleQuotedStyle}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
}
