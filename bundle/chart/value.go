package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/poolhouse/poolhouse/bundle/fault"
)

// maxValues is how many values a document may have, each alias counted with all
// that it stands for.
const maxValues = 200_000

// value is a node of a YAML document: of the values of a chart and those that it
// passes on to charts within it.
type value struct {
	file   string
	line   int
	scalar string
	list   []*value
	keys   []string
	fields map[string]*value
}

// parse reads a document. It is nil, with a fault taken down, if it is not one.
func (c *Collector) parse(text []byte, place string) *value {
	const fix = "correct the chart: helm lint says more"
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return &value{file: place, line: 1}
	} else if err != nil {
		c.b.Add(place, fix, "is not valid YAML: %v", err)
		return nil
	}
	b := builder{place: place, left: maxValues}
	v := b.value(&doc, 0)
	if b.left < 0 {
		c.b.Add(place, fix, "has more than %d values", maxValues)
		return nil
	}
	return v
}

// builder makes values out of nodes.
type builder struct {
	place string
	left  int
}

func (b *builder) value(n *yaml.Node, depth int) *value {
	if b.left--; b.left < 0 || depth > 200 {
		b.left = min(b.left, -1)
		return nil
	}
	v := &value{file: b.place, line: n.Line}
	switch n.Kind {
	case yaml.DocumentNode:
		return b.value(n.Content[0], depth+1)
	case yaml.AliasNode:
		return b.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		v.scalar = printed(n)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			v.list = append(v.list, b.value(item, depth+1))
		}
	case yaml.MappingNode:
		v.fields = map[string]*value{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, of := n.Content[i], b.value(n.Content[i+1], depth+1)
			if key.Tag == "!!merge" {
				for _, from := range append(of.items(), of) {
					v.merge(from)
				}
				continue
			}
			v.set(key.Value, of, true)
		}
	}
	return v
}

// merge takes over what has no value yet. https://yaml.org/type/merge.html
func (v *value) merge(from *value) {
	if from == nil {
		return
	}
	for _, k := range from.keys {
		v.set(k, from.fields[k], false)
	}
}

// place is where a value stands.
func (v *value) place() string { return fmt.Sprintf("%s:%d", v.file, v.line) }

// set gives a key a value; one that has one keeps it unless it is replaced.
func (v *value) set(key string, of *value, replace bool) {
	if _, has := v.fields[key]; !has {
		v.keys = append(v.keys, key)
	} else if !replace {
		return
	}
	v.fields[key] = of
}

// printed is a scalar as a template prints it. Helm has numbers as float64: an
// unquoted tag 1.20 becomes 1.2.
// https://helm.sh/docs/chart_best_practices/values/#make-types-clear
func printed(n *yaml.Node) string {
	switch n.Tag {
	case "!!null":
		return ""
	case "!!int", "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return fmt.Sprint(f)
		}
	}
	return n.Value
}

func (v *value) get(key string) *value {
	if v == nil {
		return nil
	}
	return v.fields[key]
}

func (v *value) text(key string) string {
	if f := v.get(key); f != nil {
		return f.scalar
	}
	return ""
}

func (v *value) items() []*value {
	if v == nil {
		return nil
	}
	return v.list
}

// over is a value with another laid over it, as Helm lays a chart's values over
// those of a chart within it.
func (v *value) over(base *value) *value {
	switch {
	case v == nil:
		return base
	case base == nil || v.fields == nil || base.fields == nil:
		return v
	}
	out := &value{file: v.file, line: v.line, fields: map[string]*value{}}
	for _, k := range base.keys {
		out.set(k, v.fields[k].over(base.fields[k]), true)
	}
	for _, k := range v.keys {
		if _, has := base.fields[k]; !has {
			out.set(k, v.fields[k], true)
		}
	}
	return out
}

// annotated are the images of Artifact Hub's annotation, a YAML text in YAML.
// https://artifacthub.io/docs/topics/annotations/helm/
func (c *Collector) annotated(doc *value, place string) []Reference {
	text := doc.get("annotations").text("artifacthub.io/images")
	if text == "" {
		return nil
	}
	at := place + " > artifacthub.io/images"
	var out []Reference
	for _, item := range c.parse([]byte(text), at).items() {
		if r, ok := literal(item.text("image"), at); ok {
			out = append(out, r)
		} else {
			c.b.Add(at, "correct the annotation", "names %s, which is no name of an image", fault.Quoted(item.text("image")))
		}
	}
	return out
}
