package cfn

import (
	"fmt"
	"strconv"
)

// Scalar is what a CloudFormation property can hold at its leaves.
type Scalar interface {
	string | int | bool | float64
}

// Value is a literal or an expression that CloudFormation evaluates to a T.
// The zero Value means "absent".
type Value[T Scalar] struct{ v any }

// List is a list of T: of literals, of values, or one list-valued expression.
// The zero List means "absent"; L() without arguments is an empty list.
type List[T Scalar] struct{ v any }

// Expression is implemented by [Value] and [List] only.
type Expression[V any] interface {
	raw() any
	wrap(any) V
}

func (v Value[T]) raw() any            { return v.v }
func (v Value[T]) wrap(x any) Value[T] { return Value[T]{x} }
func (l List[T]) raw() any             { return l.v }
func (l List[T]) wrap(x any) List[T]   { return List[T]{x} }

// IsZero reports whether the value is absent.
func (v Value[T]) IsZero() bool { return v.v == nil }

// IsZero reports whether the list is absent.
func (l List[T]) IsZero() bool { return l.v == nil }

// Literal returns the value when it is a literal known now.
func (v Value[T]) Literal() (T, bool) {
	x, ok := v.v.(T)
	return x, ok
}

// V is a literal.
func V[T Scalar](x T) Value[T] { return Value[T]{x} }

// L is a list of literals.
func L[T Scalar](xs ...T) List[T] {
	items := make([]any, len(xs))
	for i, x := range xs {
		items[i] = x
	}
	return List[T]{items}
}

// ListOf is a list of values. An absent value among them is a fault; an
// element that depends on a condition is written If(c, v, NoValue[T]()).
func ListOf[T Scalar](vs ...Value[T]) List[T] {
	items := make([]any, len(vs))
	for i, v := range vs {
		items[i] = v.v
	}
	return List[T]{items}
}

// The nodes of expressions. A literal is a bare string, int, bool or float64;
// a list written out is a []any.
type (
	// ref is Ref to a resource or a parameter of the template t.
	ref struct {
		t     *Template
		id    string
		param bool
		list  bool
	}
	// att is Fn::GetAtt on a resource of the template t.
	att struct {
		t        *Template
		id, name string
		list     bool
	}
	pseudo string
	call   struct {
		fn   string
		args []any
	}
	sub struct {
		format string
		vars   map[string]any
	}
	cond struct {
		c               Cond
		then, otherwise any
	}
	subJSON struct {
		doc  any
		vars map[string]any
	}
	// fault is a mistake made when the expression was written, told by Build.
	fault string
)

// Int views a string expression as a number, for parameters and attributes.
// CloudFormation converts on use; a literal that is no number is a fault.
func Int(v Value[string]) Value[int] {
	if s, ok := v.v.(string); ok {
		n, err := strconv.Atoi(s)
		if err != nil {
			return Value[int]{fault(fmt.Sprintf("%q is not an integer", s))}
		}
		return V(n)
	}
	return Value[int](v)
}

// Float views a string expression as a number, as [Int] does.
func Float(v Value[string]) Value[float64] {
	if s, ok := v.v.(string); ok {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return Value[float64]{fault(fmt.Sprintf("%q is not a number", s))}
		}
		return V(f)
	}
	return Value[float64](v)
}

// Bool views a string expression as a boolean, as [Int] does.
func Bool(v Value[string]) Value[bool] {
	switch v.v {
	case "true":
		return V(true)
	case "false":
		return V(false)
	}
	if s, ok := v.v.(string); ok {
		return Value[bool]{fault(fmt.Sprintf("%q is neither true nor false", s))}
	}
	return Value[bool](v)
}

// String views any value as a string, for outputs and joins.
func String[T Scalar](v Value[T]) Value[string] {
	switch x := v.v.(type) {
	case int:
		return V(strconv.Itoa(x))
	case bool:
		return V(strconv.FormatBool(x))
	case float64:
		return V(strconv.FormatFloat(x, 'f', -1, 64))
	}
	return Value[string](v)
}

// Vars are the local variables of [Sub].
type Vars map[string]Value[string]

func merge(vars []Vars) map[string]any {
	out := map[string]any{}
	for _, m := range vars {
		for name, v := range m {
			out[name] = v.v
		}
	}
	return out
}

// Sub is Fn::Sub. ${Name} names a variable, a parameter, a resource, an
// attribute (${Vpc.CidrBlock}) or a pseudo parameter; ${!Name} stays ${Name}.
// Unknown names and unused variables are faults. A format without any
// placeholder becomes a literal.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-sub.html
func Sub(format string, vars ...Vars) Value[string] {
	return Value[string]{sub{format, merge(vars)}}
}

// Base64 is Fn::Base64 of a text, for user data.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-base64.html
func Base64(text Value[string]) Value[string] {
	return Value[string]{call{"Fn::Base64", []any{text.v}}}
}

// SubJSON is doc as a JSON string through Fn::Sub, for documents whose keys
// are known only to CloudFormation, such as a trust policy that names the
// cluster's OIDC issuer in its conditions. Placeholders in keys and strings
// are as in [Sub]; expressions inside doc become variables by themselves.
func SubJSON(doc any, vars ...Vars) Value[string] {
	return Value[string]{subJSON{doc, merge(vars)}}
}

// Join is Fn::Join over values.
func Join(sep string, vs ...Value[string]) Value[string] { return JoinList(sep, ListOf(vs...)) }

// JoinList is Fn::Join over a list.
func JoinList[T Scalar](sep string, l List[T]) Value[string] {
	return Value[string]{call{"Fn::Join", []any{sep, l.v}}}
}

// Select is Fn::Select: element i of the list, counted from 0.
func Select[T Scalar](i int, l List[T]) Value[T] {
	if items, ok := l.v.([]any); i < 0 || ok && i >= len(items) {
		return Value[T]{fault(fmt.Sprintf("Fn::Select index %d is outside the list", i))}
	}
	return Value[T]{call{"Fn::Select", []any{i, l.v}}}
}

// Split is Fn::Split.
func Split(sep string, v Value[string]) List[string] {
	return List[string]{call{"Fn::Split", []any{sep, v.v}}}
}

// GetAZs is the availability zones of the stack's region.
func GetAZs() List[string] { return List[string]{call{"Fn::GetAZs", []any{""}}} }

// If is Fn::If. An absent branch is AWS::NoValue.
func If[V Expression[V]](c Cond, then, otherwise V) V {
	return then.wrap(cond{c, then.raw(), otherwise.raw()})
}

// NoValue is AWS::NoValue: the property or element is left out. It stands in a
// branch of [If].
func NoValue[T Scalar]() Value[T] { return Value[T]{noValue} }

const noValue = pseudo("AWS::NoValue")

// AccountID is the account of the stack.
func AccountID() Value[string] { return Value[string]{pseudo("AWS::AccountId")} }

// Region is the region of the stack.
func Region() Value[string] { return Value[string]{pseudo("AWS::Region")} }

// Partition is the partition of the region: aws, aws-cn, aws-us-gov.
func Partition() Value[string] { return Value[string]{pseudo("AWS::Partition")} }

// URLSuffix is the domain of the partition, usually amazonaws.com.
func URLSuffix() Value[string] { return Value[string]{pseudo("AWS::URLSuffix")} }

// StackName is the name of the stack.
func StackName() Value[string] { return Value[string]{pseudo("AWS::StackName")} }

// StackID is the ARN of the stack.
func StackID() Value[string] { return Value[string]{pseudo("AWS::StackId")} }

// Cond is a condition: an expression, or one that a template has named with
// [Template.Condition]. Only named ones can be used by [If] and [Condition].
type Cond struct {
	t    *Template
	name string
	v    any
}

// Equals is Fn::Equals.
func Equals[T Scalar](a, b Value[T]) Cond {
	return Cond{v: call{"Fn::Equals", []any{a.v, b.v}}}
}

// Not is Fn::Not.
func Not(c Cond) Cond { return Cond{v: call{"Fn::Not", []any{c}}} }

// And is Fn::And over 2 to 10 conditions.
func And(cs ...Cond) Cond { return Cond{v: call{"Fn::And", conds(cs)}} }

// Or is Fn::Or over 2 to 10 conditions.
func Or(cs ...Cond) Cond { return Cond{v: call{"Fn::Or", conds(cs)}} }

func conds(cs []Cond) []any {
	out := make([]any, len(cs))
	for i, c := range cs {
		out[i] = c
	}
	return out
}

// Tag is the usual shape of a tag.
type Tag struct {
	Key   Value[string] `cfn:"required"`
	Value Value[string] `cfn:"required"`
}

// Tags makes tags from keys and values in turn. A key is a string, a value is
// a string or a Value[string].
func Tags(pairs ...any) []Tag {
	out := make([]Tag, 0, (len(pairs)+1)/2)
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok || i+1 == len(pairs) {
			bad := Value[string]{fault("tags want a string key and a value in turn")}
			return append(out, Tag{bad, bad})
		}
		tag := Tag{Key: V(key)}
		switch v := pairs[i+1].(type) {
		case string:
			tag.Value = V(v)
		case Value[string]:
			tag.Value = v
		default:
			tag.Value = Value[string]{fault(fmt.Sprintf("a tag can't hold a %T", v))}
		}
		out = append(out, tag)
	}
	return out
}
