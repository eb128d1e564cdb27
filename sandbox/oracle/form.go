package oracle

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// field is a form's parameters below a prefix.
type field struct {
	value    *string
	children map[string]*field
}

func parseForm(form url.Values) *field {
	root := &field{children: map[string]*field{}}
	for key, values := range form {
		at := root
		for _, word := range strings.Split(key, ".") {
			if at.children == nil {
				at.children = map[string]*field{}
			}
			if at.children[word] == nil {
				at.children[word] = &field{}
			}
			at = at.children[word]
		}
		at.value = &values[0]
	}
	return root
}

// form checks parameters of a query protocol.
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
// https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html
func (c *checker) form(path string, r *ref, f *field, ec2 bool) {
	s := c.m.shape(r.Shape)
	switch s.Type {
	case "structure":
		c.formMembers(path, s, f, ec2)
	case "list":
		if f.value != nil && *f.value == "" && f.children == nil {
			return
		}
		if !ec2 && !s.Flattened && !r.Flattened {
			name := "member"
			if s.Member.LocationName != "" {
				name = s.Member.LocationName
			}
			f = c.only(path, f, name)
		}
		c.numbered(path, s, f, func(at string, x *field) { c.form(at, s.Member, x, ec2) })
	case "map":
		if !s.Flattened && !r.Flattened {
			f = c.only(path, f, "entry")
		}
		c.numbered(path, s, f, func(at string, x *field) {
			for _, part := range []struct {
				name string
				r    *ref
			}{{"key", s.Key}, {"value", s.Value}} {
				name := part.name
				if part.r.LocationName != "" {
					name = part.r.LocationName
				}
				if y := x.children[name]; y != nil {
					c.form(join(at, name), part.r, y, ec2)
				} else {
					c.fault(at, "lacks its %s", name)
				}
			}
		})
	default:
		if f.value == nil {
			c.fault(path, "is a structure where a %s belongs", s.Type)
			return
		}
		c.text(path, r, *f.value, "iso8601")
	}
}

// only steps into the one child that a list's or map's parameter has.
func (c *checker) only(path string, f *field, name string) *field {
	for word := range f.children {
		if word != name {
			c.fault(join(path, word), "is called %s, not %s", word, name)
		}
	}
	if x := f.children[name]; x != nil {
		return x
	}
	return &field{}
}

func (c *checker) numbered(path string, s *shape, f *field, item func(at string, x *field)) {
	c.items(path, s, len(f.children))
	for word, x := range f.children {
		if n, err := strconv.Atoi(word); err != nil || n < 1 {
			c.fault(join(path, word), "is no place in a list")
			continue
		}
		item(fmt.Sprintf("%s[%s]", path, word), x)
	}
}

func (c *checker) formMembers(path string, s *shape, f *field, ec2 bool) {
	names := map[string]string{}
	for name, r := range s.Members {
		wire := name
		switch {
		case ec2 && r.QueryName != "":
			wire = r.QueryName
		case r.LocationName != "":
			wire = r.LocationName
		}
		if ec2 {
			wire = strings.ToUpper(wire[:1]) + wire[1:]
		} else if target := c.m.shape(r.Shape); (target.Flattened || r.Flattened) && target.Type == "list" && target.Member.LocationName != "" {
			wire = target.Member.LocationName
		}
		names[wire] = name
	}
	have := map[string]bool{}
	for wire, x := range f.children {
		name, ok := names[wire]
		if !ok {
			c.fault(join(path, wire), "is no member of %s", s.name)
			continue
		}
		have[name] = true
		c.form(join(path, wire), s.Members[name], x, ec2)
	}
	c.required(path, s, func(name string) bool { return have[name] })
}
