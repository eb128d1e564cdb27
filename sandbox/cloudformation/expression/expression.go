// Package expression is the values of CloudFormation templates: intrinsic
// functions, conditions and references, compiled once and evaluated in a
// [Scope].
//
// An [Expr] never changes and may be shared. What depends on a resource that
// doesn't exist yet evaluates to [facts.Unknown]. Errors are *account.Error
// values in CloudFormation's words. Functions that need a transform
// (Fn::ForEach, Fn::Length, Fn::ToJsonString, Fn::Transform) are refused as not
// modelled.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
package expression

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// Ref is one thing that a value refers to: a parameter, pseudo parameter or
// resource (Attr empty), or an attribute of a resource.
type Ref struct{ Name, Attr string }

// Expr is a compiled value of a template. It never changes.
type Expr interface {
	// Eval computes the value; it contains facts.Unknown where it depends on
	// what isn't known yet, and is [NoValue] for AWS::NoValue.
	Eval(s *Scope) (any, error)
	// Walk visits the references, those in the branches taken under s, or all
	// if s is nil.
	Walk(s *Scope, visit func(Ref))
}

// NoValue is AWS::NoValue: what holds it goes away.
type NoValue struct{}

type (
	literal struct{ v any }
	object  struct {
		keys   []string
		values []Expr
	}
	list []Expr
	ref  struct{ name string }
	attr struct{ name, attr string }
	// attrOf is Fn::GetAtt whose attribute name is computed.
	attrOf struct {
		name string
		attr Expr
	}
)

// Compile turns plain values into an expression. Place is for messages.
func Compile(v any, place string) (Expr, error) {
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
					return nil, account.NotModelled("Template error: function %s is not modelled by the sandbox", k)
				}
				return nil, invalid("Template format error: [%s] a function must be the only key of its object", place)
			}
			e, err := Compile(v[k], place+"/"+k)
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
			e, err := Compile(x, place)
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

func (e literal) Eval(*Scope) (any, error)     { return e.v, nil }
func (e literal) Walk(*Scope, func(visit Ref)) {}

func (e object) Eval(s *Scope) (any, error) {
	out := make(map[string]any, len(e.keys))
	for i, x := range e.values {
		v, err := x.Eval(s)
		if err != nil {
			return nil, err
		}
		if v != (NoValue{}) {
			out[e.keys[i]] = v
		}
	}
	return out, nil
}

func (e object) Walk(s *Scope, visit func(Ref)) {
	for _, x := range e.values {
		x.Walk(s, visit)
	}
}

func (e list) Eval(s *Scope) (any, error) {
	out := make([]any, 0, len(e))
	for _, x := range e {
		v, err := x.Eval(s)
		if err != nil {
			return nil, err
		}
		if v != (NoValue{}) {
			out = append(out, v)
		}
	}
	return out, nil
}

func (e list) Walk(s *Scope, visit func(Ref)) {
	for _, x := range e {
		x.Walk(s, visit)
	}
}

func (e ref) Eval(s *Scope) (any, error) {
	v, err := s.ref(e.name)
	if t, ok := v.(string); ok && err == nil {
		err = s.spend(len(t))
	}
	return v, err
}

func (e ref) Walk(_ *Scope, visit func(Ref))  { visit(Ref{Name: e.name}) }
func (e attr) Eval(s *Scope) (any, error)     { return s.attribute(e.name, e.attr) }
func (e attr) Walk(_ *Scope, visit func(Ref)) { visit(Ref{Name: e.name, Attr: e.attr}) }
func (e attrOf) Walk(s *Scope, visit func(Ref)) {
	name := "?"
	if s != nil {
		if v, err := e.attr.Eval(s); err == nil {
			name = facts.Text(v)
		}
	}
	visit(Ref{Name: e.name, Attr: name})
	e.attr.Walk(s, visit)
}

func (e attrOf) Eval(s *Scope) (any, error) {
	v, err := e.attr.Eval(s)
	if err != nil {
		return nil, err
	}
	name, ok := v.(string)
	if !ok {
		return nil, invalid("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
	}
	return s.attribute(e.name, name)
}

// Branches visits the names of the conditions that Fn::If uses.
func Branches(e Expr, visit func(condition string)) {
	each := func(es []Expr) {
		for _, x := range es {
			Branches(x, visit)
		}
	}
	switch e := e.(type) {
	case object:
		each(e.values)
	case list:
		each(e)
	case call:
		each(e.args)
	case sub:
		each(e.values)
	case choose:
		each([]Expr{e.index, e.from})
	case attrOf:
		each([]Expr{e.attr})
	case importValue:
		each([]Expr{e.name})
	case branch:
		visit(e.condition)
		each([]Expr{e.yes, e.no})
	}
}

// IsPseudo tells whether a name is that of a pseudo parameter.
func IsPseudo(name string) bool {
	switch name {
	case "AWS::AccountId", "AWS::NotificationARNs", "AWS::NoValue", "AWS::Partition", "AWS::Region", "AWS::StackId", "AWS::StackName", "AWS::URLSuffix":
		return true
	}
	return false
}

// HasShort tells whether YAML has a short form of a function, "Sub".
func HasShort(name string) bool {
	switch name {
	case "Ref", "Condition", "Equals", "And", "Or", "Not":
		return true
	}
	return compiler("Fn::"+name) != nil
}

func invalid(format string, args ...any) error {
	return account.Errorf("ValidationError", format, args...)
}
