// Package template reads CloudFormation templates as stacks have them. Those of
// poolhouse are JSON; somebody may have given a stack one in YAML.
//
// YAML is read as CloudFormation says it reads it: version 1.1 with the short forms
// of functions, without aliases, merge keys and the tags binary, omap, pairs, set and
// timestamp. A date is text. Numbers, and words such as yes, are what YAML 1.1 makes
// of them unless they are quoted: 0300 is 192.
//
//   - https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
//   - https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
//   - https://dev.classmethod.jp/articles/how-to-identify-numerical-values-in-cfn-yaml-template/
//
// It is pure, and takes time in proportion to a text of whoever wrote it. Limits:
// comments and the order of keys are lost, and macros are not carried out.
package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxBytes is what a template may have at most.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
	maxBytes = 1 << 20
	// maxDepth is how deep values may be nested: those of real templates lie some
	// twenty levels deep.
	maxDepth = 100
)

// JSON returns a template in JSON: the bytes given if they are that, and otherwise
// what the YAML means. The error says where the text can't be read, and why.
func JSON(text []byte) ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) && json.Valid(text) {
		return text, nil
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("it is no JSON, and with %d bytes larger than a template may be", len(text))
	}
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, fault(root, "it is neither JSON nor keys and values in YAML")
	}
	v, err := value(root, 1)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// parse returns the one value of a YAML text.
func parse(text []byte) (*yaml.Node, error) {
	malformed := func(err error) error {
		return fmt.Errorf("it is neither JSON nor YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, errors.New("it is empty")
	case err != nil:
		return nil, malformed(err)
	}
	switch err := d.Decode(&more); {
	case err == nil:
		return nil, fault(&more, "a second YAML document begins")
	case !errors.Is(err, io.EOF):
		return nil, malformed(err)
	}
	return doc.Content[0], nil
}

// fault is why a text can't be read, with the place.
func fault(n *yaml.Node, reason string, args ...any) error {
	return fmt.Errorf("line %d, column %d: %s", n.Line, n.Column, fmt.Sprintf(reason, args...))
}

// value is what a node means.
func value(n *yaml.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fault(n, "values are nested in more than %d levels", maxDepth)
	}
	if err := plain(n); err != nil {
		return nil, err
	}
	var v any
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		v, err = mapping(n, depth)
	case yaml.SequenceNode:
		v, err = sequence(n, depth)
	default:
		if v = n.Value; n.Style == 0 {
			v = scalar(n.Value)
		}
	}
	if err != nil || n.Style&yaml.TaggedStyle == 0 {
		return v, err
	}
	return tagged(n, v)
}

// plain refuses what stands for a value elsewhere.
func plain(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fault(n, "aliases (*) and anchors (&) are not allowed in templates")
	}
	return nil
}

func sequence(n *yaml.Node, depth int) ([]any, error) {
	list := make([]any, len(n.Content))
	for i, item := range n.Content {
		var err error
		if list[i], err = value(item, depth+1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func mapping(n *yaml.Node, depth int) (map[string]any, error) {
	fields := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if err := plain(key); err != nil {
			return nil, err
		}
		_, twice := fields[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			return nil, fault(key, "a key is no text")
		case key.Style&yaml.TaggedStyle != 0 && key.ShortTag() != "!!str":
			return nil, fault(key, "a key has the tag %.40q", key.Tag)
		case key.Value == "<<" && key.Style == 0:
			return nil, fault(key, "merge keys (<<) are not allowed in templates")
		case twice:
			return nil, fault(key, "the key %.40q is there twice", key.Value)
		}
		var err error
		if fields[key.Value], err = value(n.Content[i+1], depth+1); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// shortForm is the tag of a function. A stack's template has only functions that
// CloudFormation knows.
var shortForm = regexp.MustCompile(`^![A-Za-z][A-Za-z0-9]*$`)

// tagged is what a value means with its tag: that of a function, or of a type which
// the value has anyway.
func tagged(n *yaml.Node, v any) (any, error) {
	tag := n.ShortTag()
	switch {
	case shortForm.MatchString(tag):
		return long(tag[1:], v), nil
	case n.Kind == yaml.MappingNode && tag == "!!map", n.Kind == yaml.SequenceNode && tag == "!!seq", n.Kind == yaml.ScalarNode && tag == "!!str":
		return v, nil
	case n.Kind == yaml.ScalarNode && (tag == "!!int" || tag == "!!float" || tag == "!!bool" || tag == "!!null"):
		return scalar(n.Value), nil
	}
	return nil, fault(n, "the tag %.40q is none of CloudFormation's", n.Tag)
}

// long is the long form of a function.
func long(name string, v any) any {
	switch name {
	case "Ref", "Condition":
		return map[string]any{name: v}
	case "GetAtt":
		if s, ok := v.(string); ok {
			if id, attribute, ok := strings.Cut(s, "."); ok {
				v = []any{id, attribute}
			}
		}
	}
	return map[string]any{"Fn::" + name: v}
}
