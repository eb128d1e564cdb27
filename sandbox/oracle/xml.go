package oracle

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// node is an XML element.
type node struct {
	name     string
	attrs    map[string]string
	text     string
	children []*node
}

func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// parseXML reads a document's root element.
func parseXML(body []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	top := &node{}
	stack := []*node{top}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		here := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			n := &node{name: tok.Name.Local, attrs: map[string]string{}}
			for _, a := range tok.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			here.children = append(here.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			here.text += string(tok)
		}
	}
	if len(top.children) != 1 {
		return nil, fmt.Errorf("the document has %d root elements", len(top.children))
	}
	return top.children[0], nil
}

// xml checks an element.
func (c *checker) xml(path string, r *ref, n *node) {
	s := c.m.shape(r.Shape)
	switch s.Type {
	case "structure":
		c.xmlMembers(path, s, n, "")
	case "list":
		name := "member"
		if s.Member.LocationName != "" {
			name = s.Member.LocationName
		}
		c.blank(path, n)
		c.items(path, s, len(n.children))
		for i, x := range n.children {
			at := fmt.Sprintf("%s[%d]", path, i)
			if x.name != name {
				c.fault(at, "is called %s, not %s", x.name, name)
			}
			c.xml(at, s.Member, x)
		}
	case "map":
		c.blank(path, n)
		c.items(path, s, len(n.children))
		for _, entry := range n.children {
			if entry.name != "entry" {
				c.fault(path, "an entry is called %s", entry.name)
				continue
			}
			c.entry(path, s, entry)
		}
	default:
		if len(n.children) > 0 {
			c.fault(path, "is a structure where a %s belongs", s.Type)
			return
		}
		c.text(path, r, n.text, "iso8601")
	}
}

func (c *checker) blank(path string, n *node) {
	if text := strings.TrimSpace(n.text); text != "" {
		c.fault(path, "has the text %.60q beside its elements", text)
	}
}

func (c *checker) entry(path string, s *shape, n *node) {
	for _, part := range []struct {
		name string
		r    *ref
	}{{"key", s.Key}, {"value", s.Value}} {
		name := part.name
		if part.r.LocationName != "" {
			name = part.r.LocationName
		}
		if x := n.child(name); x != nil {
			c.xml(join(path, name), part.r, x)
		} else {
			c.fault(path, "an entry lacks its %s", name)
		}
	}
}

// xmlMembers checks the children of an element as the members of a structure,
// of those with the location.
func (c *checker) xmlMembers(path string, s *shape, n *node, location string) {
	names := map[string]string{}
	have := map[string]bool{}
	for name, r := range s.Members {
		if r.Location != location {
			continue
		}
		wire := name
		if r.LocationName != "" {
			wire = r.LocationName
		}
		if r.XMLAttribute {
			_, have[name] = n.attrs[wire[strings.LastIndexByte(wire, ':')+1:]]
			continue
		}
		names[wire] = name
	}
	c.blank(path, n)
	flat := map[string]int{}
	for _, x := range n.children {
		at := join(path, x.name)
		name, ok := names[x.name]
		if !ok {
			c.fault(at, "is no member of %s", s.name)
			continue
		}
		r := s.Members[name]
		target := c.m.shape(r.Shape)
		switch {
		case (r.Flattened || target.Flattened) && target.Type == "list":
			c.xml(fmt.Sprintf("%s[%d]", at, flat[name]), target.Member, x)
			flat[name]++
		case (r.Flattened || target.Flattened) && target.Type == "map":
			c.entry(at, target, x)
		default:
			if have[name] {
				c.fault(at, "is there twice")
			}
			c.xml(at, r, x)
		}
		have[name] = true
	}
	for name, count := range flat {
		c.items(join(path, name), c.m.shape(s.Members[name].Shape), count)
	}
	c.required(path, s, func(name string) bool { return have[name] || s.Members[name].Location != location })
}
