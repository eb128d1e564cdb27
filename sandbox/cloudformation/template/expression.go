package template

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// Ref is one thing that a value refers to: a parameter, pseudo parameter or
// resource (Attr empty), or an attribute of a resource.
type Ref struct{ Name, Attr string }

// expr is a compiled value of a template. It never changes.
type expr interface {
	// eval computes the value; it contains facts.Unknown where it depends on
	// what isn't known yet, and is noValue for AWS::NoValue.
	eval(s *Scope) (any, error)
	// walk visits the references, those in the branches taken under s, or all
	// if s is nil.
	walk(s *Scope, visit func(Ref))
}

// noValue is AWS::NoValue: what holds it goes away.
type noValue struct{}

type (
	literal struct{ v any }
	object  struct {
		keys   []string
		values []expr
	}
	list []expr
	ref  struct{ name string }
	attr struct{ name, attr string }
	// attrOf is Fn::GetAtt whose attribute name is computed.
	attrOf struct {
		name string
		attr expr
	}
)

// compile turns plain values into an expression. Place is for messages.
func compile(v any, place string) (expr, error) {
	switch v := v.(type) {
	case nil:
		return nil, invalid("Template format error: [%s] 'null' values are not allowed in templates", place)
	case map[string]any:
		if len(v) == 1 {
			for k, arg := range v {
				if f := compiler(k); f != nil {
					return f(arg, place)
				}
			}
		}
		o := object{keys: slices.Sorted(maps.Keys(v))}
		constant := true
		for _, k := range o.keys {
			if strings.HasPrefix(k, "Fn::") {
				if compiler(k) == nil {
					return nil, invalid("Template error: function %s is not modelled", k)
				}
				return nil, invalid("Template format error: [%s] a function must be the only key of its object", place)
			}
			e, err := compile(v[k], place+"/"+k)
			if err != nil {
				return nil, err
			}
			_, lit := e.(literal)
			constant = constant && lit
			o.values = append(o.values, e)
		}
		if constant {
			return literal{v}, nil
		}
		return o, nil
	case []any:
		l := make(list, len(v))
		constant := true
		for i, x := range v {
			e, err := compile(x, place)
			if err != nil {
				return nil, err
			}
			_, lit := e.(literal)
			constant = constant && lit
			l[i] = e
		}
		if constant {
			return literal{v}, nil
		}
		return l, nil
	}
	return literal{v}, nil
}

func (e literal) eval(*Scope) (any, error)     { return e.v, nil }
func (e literal) walk(*Scope, func(visit Ref)) {}

func (e object) eval(s *Scope) (any, error) {
	out := make(map[string]any, len(e.keys))
	for i, x := range e.values {
		v, err := x.eval(s)
		if err != nil {
			return nil, err
		}
		if v != (noValue{}) {
			out[e.keys[i]] = v
		}
	}
	return out, nil
}

func (e object) walk(s *Scope, visit func(Ref)) {
	for _, x := range e.values {
		x.walk(s, visit)
	}
}

func (e list) eval(s *Scope) (any, error) {
	out := make([]any, 0, len(e))
	for _, x := range e {
		v, err := x.eval(s)
		if err != nil {
			return nil, err
		}
		if v != (noValue{}) {
			out = append(out, v)
		}
	}
	return out, nil
}

func (e list) walk(s *Scope, visit func(Ref)) {
	for _, x := range e {
		x.walk(s, visit)
	}
}

func (e ref) eval(s *Scope) (any, error)      { return s.ref(e.name) }
func (e ref) walk(_ *Scope, visit func(Ref))  { visit(Ref{Name: e.name}) }
func (e attr) eval(s *Scope) (any, error)     { return s.attribute(e.name, e.attr) }
func (e attr) walk(_ *Scope, visit func(Ref)) { visit(Ref{Name: e.name, Attr: e.attr}) }
func (e attrOf) walk(s *Scope, visit func(Ref)) {
	name := "?"
	if s != nil {
		if v, err := e.attr.eval(s); err == nil {
			name = facts.Text(v)
		}
	}
	visit(Ref{Name: e.name, Attr: name})
	e.attr.walk(s, visit)
}

func (e attrOf) eval(s *Scope) (any, error) {
	v, err := e.attr.eval(s)
	if err != nil {
		return nil, err
	}
	name, ok := v.(string)
	if !ok {
		return nil, invalid("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
	}
	return s.attribute(e.name, name)
}
