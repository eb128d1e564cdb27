package cfn

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// rule is what a property asks of the values that stand at it.
type rule struct {
	enum []string
	refs []string // "AWS::EC2::Subnet.SubnetId"
}

// field is what a struct field says about its property.
type field struct {
	index    int
	name     string
	required bool
	rule     rule
}

// plan reads a struct's fields once per build. A field is named like its
// property and tagged cfn:"required", enum:"a|b", ref:"Type.Name|Type.Name".
func (b *builder) plan(typ reflect.Type) []field {
	if p, ok := b.plans[typ]; ok {
		return p
	}
	var fields []field
	for i := range typ.NumField() {
		f := typ.Field(i)
		fields = append(fields, field{
			index:    i,
			name:     f.Name,
			required: f.Tag.Get("cfn") == "required",
			rule:     rule{enum: split(f.Tag.Get("enum")), refs: split(f.Tag.Get("ref"))},
		})
	}
	b.plans[typ] = fields
	return fields
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

// object walks a generated struct.
func (b *builder) object(v reflect.Value) map[string]any {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	out := map[string]any{}
	for _, f := range b.plan(v.Type()) {
		fv := v.Field(f.index)
		if absent(fv) {
			if f.required {
				b.at(f.name, func() { b.fault("required property is missing") })
			}
			continue
		}
		b.at(f.name, func() { out[f.name] = b.reflect(fv, f.rule) })
	}
	return out
}

// holder is a Value or a List.
type holder interface {
	raw() any
	IsZero() bool
}

func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Interface:
		return v.IsNil() || absent(v.Elem())
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return v.IsNil()
	case reflect.Struct:
		h, ok := v.Interface().(holder)
		return ok && h.IsZero()
	}
	return !v.IsValid()
}

// reflect walks any Go value a property can hold.
func (b *builder) reflect(v reflect.Value, r rule) any {
	if absent(v) {
		b.fault("value is absent")
		return nil
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return b.reflect(v.Elem(), r)
	case reflect.Struct:
		switch x := v.Interface().(type) {
		case holder:
			return b.value(x.raw(), r)
		case Policy:
			return b.policy(x)
		case Statement:
			return b.statement(x)
		}
		return b.object(v)
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			b.at(index("", i), func() { out[i] = b.reflect(v.Index(i), r) })
		}
		return out
	case reflect.Map:
		out := make(map[string]any, v.Len())
		keys := make([]string, 0, v.Len())
		if v.Type().Key().Kind() != reflect.String {
			b.fault("map wants string keys")
			return nil
		}
		for _, key := range v.MapKeys() {
			keys = append(keys, key.String())
		}
		slices.Sort(keys)
		for _, key := range keys {
			elem := v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key()))
			b.at(key, func() { out[key] = b.reflect(elem, r) })
		}
		return out
	case reflect.String:
		return b.value(v.String(), r)
	case reflect.Bool:
		return b.value(v.Bool(), r)
	case reflect.Int, reflect.Int64, reflect.Int32:
		return b.value(int(v.Int()), r)
	case reflect.Float64:
		return b.value(v.Float(), r)
	}
	b.fault("a property can't hold a %s", v.Type())
	return nil
}

// value walks a literal or an expression.
func (b *builder) value(v any, r rule) any {
	switch x := v.(type) {
	case nil:
		b.fault("value is absent")
	case fault:
		b.fault("%s", string(x))
	case string:
		b.enum(x, r)
		return x
	case int:
		b.enum(strconv.Itoa(x), r)
		return x
	case bool, float64:
		return x
	case []any:
		out := make([]any, len(x))
		for i, item := range x {
			b.at(index("", i), func() { out[i] = b.value(item, r) })
		}
		return out
	case pseudo:
		return map[string]any{"Ref": string(x)}
	case ref:
		return b.ref(x, r)
	case att:
		return b.att(x, r)
	case Cond:
		return b.condition(x)
	case cond:
		return map[string]any{"Fn::If": []any{b.conditionName(x.c), b.branch(x.then, r), b.branch(x.otherwise, r)}}
	case sub:
		return b.sub(x.format, x.vars, nil)
	case subJSON:
		return b.subJSON(x)
	case call:
		return b.call(x, r)
	default:
		b.fault("a property can't hold a %T", v)
	}
	return nil
}

func (b *builder) branch(v any, r rule) any {
	if v == nil {
		v = noValue
	}
	return b.value(v, r)
}

func (b *builder) enum(literal string, r rule) {
	if len(r.enum) > 0 && !slices.Contains(r.enum, literal) {
		b.fault("%q is none of %s", literal, strings.Join(r.enum, ", "))
	}
}

func (b *builder) call(c call, r rule) any {
	switch c.fn {
	case "Fn::GetAZs":
		return map[string]any{c.fn: c.args[0]}
	case "Fn::Base64":
		return map[string]any{c.fn: b.value(c.args[0], rule{})}
	}
	if n := len(c.args); (c.fn == "Fn::And" || c.fn == "Fn::Or") && (n < 2 || n > 10) {
		b.fault("%s takes 2 to 10 conditions, not %d", c.fn, n)
	}
	if c.fn != "Fn::Select" {
		r = rule{}
	}
	args := make([]any, len(c.args))
	for i, arg := range c.args {
		if c.fn == "Fn::Select" && i == 0 {
			args[i] = arg
			continue
		}
		args[i] = b.value(arg, r)
	}
	return map[string]any{c.fn: args}
}

// declared reports whether a resource is part of this template, and the
// reference to it as a dependency.
func (b *builder) declared(t *Template, id LogicalID) bool {
	switch {
	case t == nil:
		b.fault("reference to nothing: the handle is zero")
	case t != b.t:
		b.fault("reference to %s of another template", id)
	case b.t.resources[id] == nil:
		b.fault("reference to %s, which is not declared", id)
	case b.inCondition:
		b.fault("a condition can't refer to the resource %s", id)
	default:
		return true
	}
	return false
}

func (b *builder) depend(id LogicalID) Facts {
	if b.current != "" {
		b.deps[b.current][id] = true
	}
	return b.t.resources[id].Facts()
}

func (b *builder) ref(x ref, r rule) any {
	out := map[string]any{"Ref": x.id}
	switch {
	case !x.param:
		if id := LogicalID(x.id); b.declared(x.t, id) {
			facts := b.depend(id)
			b.related(facts.Type, facts.Ref, "Ref", r)
		}
	case x.t == nil:
		b.fault("reference to nothing: the parameter is zero")
	case x.t != b.t:
		b.fault("reference to the parameter %s of another template", x.id)
	default:
		b.params[x.id] = true
		if list := b.t.parameters[x.id].IsList(); list != x.list {
			b.fault("parameter %s is %s: use %s", x.id,
				map[bool]string{true: "a list", false: "no list"}[list],
				map[bool]string{true: "List", false: "Ref"}[list])
		}
	}
	return out
}

func (b *builder) att(x att, r rule) any {
	if id := LogicalID(x.id); b.declared(x.t, id) {
		facts := b.depend(id)
		if b.attribute(facts, x.name, x.list) {
			b.related(facts.Type, x.name, x.name, r)
		}
	}
	return map[string]any{"Fn::GetAtt": []any{x.id, x.name}}
}

func (b *builder) attribute(facts Facts, name string, list bool) bool {
	for known := range strings.FieldsSeq(facts.Attributes) {
		shape, ok := strings.CutPrefix(known, name)
		switch {
		case !ok:
		case shape == "[]" && !list:
			b.fault("attribute %s of %s is a list: use AttList", name, facts.Type)
			return false
		case shape == "" && list:
			b.fault("attribute %s of %s is no list: use Att", name, facts.Type)
			return false
		case shape == "" || shape == "[]":
			return true
		}
	}
	b.fault("%s has no attribute %q", facts.Type, name)
	return false
}

// related checks that a reference leads to what the property wants. what is
// the name of the property or attribute that the reference yields.
func (b *builder) related(typ, name, what string, r rule) {
	if len(r.refs) == 0 || slices.Contains(r.refs, typ+"."+name) {
		return
	}
	if what == "Ref" {
		what = "Ref (" + name + ")"
	}
	b.fault("%s of %s is the wrong kind: want %s", what, typ, strings.Join(r.refs, " or "))
}

// condition walks a condition's expression, or names it.
func (b *builder) condition(c Cond) any {
	if c.name != "" {
		return map[string]any{"Condition": b.conditionName(c)}
	}
	return b.value(c.v, rule{})
}

func (b *builder) conditionName(c Cond) string {
	switch {
	case c.name == "":
		b.fault("condition has no name: declare it with Template.Condition")
	case c.t != b.t:
		b.fault("condition %s belongs to another template", c.name)
	default:
		b.conds[c.name] = true
	}
	return c.name
}

// sub checks each placeholder of a format. lifted are variables that are
// already written. It returns a literal when there is nothing to substitute,
// since linters ask for that.
func (b *builder) sub(format string, vars, lifted map[string]any) any {
	used := map[string]bool{}
	dynamic := false
	for rest := format; ; {
		_, after, ok := strings.Cut(rest, "${")
		if !ok {
			break
		}
		name, tail, ok := strings.Cut(after, "}")
		if !ok {
			b.fault("placeholder ${%s is not closed", after)
			break
		}
		dynamic, rest = true, tail
		switch {
		case strings.HasPrefix(name, "!"):
		case vars[name] != nil:
			used[name] = true
		case lifted[name] == nil:
			b.placeholder(name)
		}
	}
	if len(vars)+len(lifted) == 0 {
		if !dynamic {
			return format
		}
		return map[string]any{"Fn::Sub": format}
	}
	out := maps.Clone(lifted)
	if out == nil {
		out = map[string]any{}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		b.at(name, func() {
			if !used[name] {
				b.fault("variable is not used or is absent")
				return
			}
			out[name] = b.value(vars[name], rule{})
		})
	}
	return map[string]any{"Fn::Sub": []any{format, out}}
}

// placeholder checks a name that is no local variable.
func (b *builder) placeholder(name string) {
	switch name {
	case "AWS::AccountId", "AWS::Region", "AWS::Partition", "AWS::URLSuffix", "AWS::StackName", "AWS::StackId":
		return
	}
	if b.t.parameters[name] != nil {
		b.ref(ref{t: b.t, id: name, param: true}, rule{})
	} else if id, attribute, ok := strings.Cut(name, "."); ok {
		b.att(att{t: b.t, id: id, name: attribute}, rule{})
	} else {
		b.ref(ref{t: b.t, id: id}, rule{})
	}
}

// subJSON turns a document into a format for Fn::Sub.
func (b *builder) subJSON(x subJSON) any {
	lifted := map[string]any{}
	doc := b.lift(b.reflect(reflect.ValueOf(x.doc), rule{}), lifted)
	format, err := encode(doc)
	if err != nil {
		b.fault("encode document: %v", err)
	}
	return b.sub(string(format), x.vars, lifted)
}

// lift replaces the expressions in a written document by placeholders, the
// longer ones by way of a variable.
func (b *builder) lift(doc any, lifted map[string]any) any {
	switch x := doc.(type) {
	case []any:
		for i, item := range x {
			x[i] = b.lift(item, lifted)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(x)) {
			switch arg := x[key].(type) {
			case string:
				if key == "Ref" {
					return "${" + arg + "}"
				} else if key == "Fn::Sub" {
					return arg
				}
			case []any:
				if key == "Fn::GetAtt" {
					return fmt.Sprintf("${%s.%s}", arg...)
				} else if key == "Fn::Split" {
					b.fault("a list-valued expression can't stand in a JSON string")
				}
			}
			if strings.HasPrefix(key, "Fn::") {
				name := "Value" + strconv.Itoa(len(lifted)+1)
				lifted[name] = x
				return "${" + name + "}"
			}
			x[key] = b.lift(x[key], lifted)
		}
	}
	return doc
}
