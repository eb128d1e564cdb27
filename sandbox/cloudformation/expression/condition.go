package expression

import (
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// Condition is a compiled condition function. It never changes.
type Condition interface {
	Holds(s *Scope) (bool, error)
	Walk(visit func(Ref))
}

type (
	equals struct{ a, b Expr }
	not    struct{ c Condition }
	all    []Condition
	some   []Condition
	named  struct{ name string }
)

// CompileCondition turns plain values into a condition. Place is for messages.
func CompileCondition(v any, place string) (Condition, error) {
	return compileCondition(v, place, nil)
}

// compileCondition also takes the functions that more knows.
func compileCondition(v any, place string, more func(name string, arg any, place string) (Condition, error)) (Condition, error) {
	malformed := invalid("Template format error: Every Conditions member must be a condition function [%s]", place)
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return nil, malformed
	}
	for k, arg := range m {
		l, _ := arg.([]any)
		if more != nil {
			if c, err := more(k, arg, place); c != nil || err != nil {
				return c, err
			}
		}
		switch k {
		case "Condition":
			name, ok := arg.(string)
			if !ok {
				return nil, invalid("Template format error: Every Condition member must be a string.")
			}
			return named{name}, nil
		case "Fn::Equals":
			args, err := arguments(arg, place, 2, 2, invalid("Template error: every Fn::Equals object requires a list of 2 string parameters."))
			if err != nil {
				return nil, err
			}
			return equals{args[0], args[1]}, nil
		case "Fn::Not":
			if len(l) != 1 {
				return nil, invalid("Template error: every Fn::Not object requires one boolean parameter.")
			}
			c, err := compileCondition(l[0], place, more)
			return not{c}, err
		case "Fn::And", "Fn::Or":
			if len(l) < 2 || len(l) > 10 {
				return nil, invalid("Template error: every %s object requires a list of at least 2 and at most 10 boolean parameters.", k)
			}
			cs := make([]Condition, len(l))
			for i, x := range l {
				c, err := compileCondition(x, place, more)
				if err != nil {
					return nil, err
				}
				cs[i] = c
			}
			if k == "Fn::And" {
				return all(cs), nil
			}
			return some(cs), nil
		}
	}
	return nil, malformed
}

func (c equals) Holds(s *Scope) (bool, error) {
	a, err := c.a.Eval(s)
	if err != nil {
		return false, err
	}
	b, err := c.b.Eval(s)
	if err != nil {
		return false, err
	}
	return Equal(a, b), nil
}

// Equal compares two values as CloudFormation does, to which "1" and 1 are the
// same. What is unknown equals nothing.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case facts.Unknown:
		return false
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, x := range a {
			y, ok := b[k]
			if !ok || !Equal(x, y) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i, x := range a {
			if !Equal(x, b[i]) {
				return false
			}
		}
		return true
	}
	if s, ok := a.(string); ok {
		if t, ok := b.(string); ok {
			return s == t
		}
	}
	x, ok1 := Scalar(a)
	y, ok2 := Scalar(b)
	return ok1 && ok2 && x == y
}

func (c equals) Walk(visit func(Ref)) {
	c.a.Walk(nil, visit)
	c.b.Walk(nil, visit)
}

func (c not) Holds(s *Scope) (bool, error) {
	b, err := c.c.Holds(s)
	return !b, err
}

func (c not) Walk(visit func(Ref)) { c.c.Walk(visit) }

func (cs all) Holds(s *Scope) (bool, error) {
	for _, c := range cs {
		if b, err := c.Holds(s); err != nil || !b {
			return false, err
		}
	}
	return true, nil
}

func (cs all) Walk(visit func(Ref)) {
	for _, c := range cs {
		c.Walk(visit)
	}
}

func (cs some) Holds(s *Scope) (bool, error) {
	for _, c := range cs {
		if b, err := c.Holds(s); err != nil || b {
			return b, err
		}
	}
	return false, nil
}

func (cs some) Walk(visit func(Ref)) {
	for _, c := range cs {
		c.Walk(visit)
	}
}

func (c named) Holds(s *Scope) (bool, error) { return s.condition(c.name) }
func (c named) Walk(func(Ref))               {}
