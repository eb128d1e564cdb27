// Package graph writes Go values to bytes and reads them again: structs with
// all their fields, unexported ones too, and pointers with what is shared
// between them. Nobody has to name the fields that a type has, so none can be
// forgotten.
//
// The names of fields are written once, and values by position after them, so
// that what was written by a program with other fields is recognised: a field
// that the reader doesn't know is an error, one that it has besides stays zero.
//
// What stands behind an interface must be of a plain type (see below) or one of
// the [Kinds]. Functions, channels and other things that live in a process
// can't be written; [Kinds.Check] finds the types that have them. Slices and
// maps that are shared are written each time, and are apart when they are read.
//
// Plain types behind interfaces: bool, string, int, int64, float64, []byte,
// time.Time, and the lists and maps of JSON-like values. Times keep their zone
// as an offset and lose the monotonic clock.
//
// It reaches unexported fields through package unsafe; nothing but the layout
// that package reflect gives for a type is relied on.
package graph

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// maxDepth bounds how deep values hang below each other.
const maxDepth = 10_000

// Kind is a type that values behind interfaces may have, or that is written in
// a form of its own. Make one with [Type], [Constant] or [Packed].
type Kind struct {
	name   string
	typ    reflect.Type
	frozen bool
	packed reflect.Type
	pack   func(reflect.Value) reflect.Value
	unpack func(reflect.Value) (reflect.Value, error)
}

// Type is a type that values behind interfaces may have. The name stands for it
// in what is written, and must stay.
func Type[T any](name string) Kind { return Kind{name: name, typ: reflect.TypeFor[T]()} }

// Constant is a pointer type whose values never change once they are made: an
// [Encoder] writes each once, however often it meets it.
func Constant[T any](name string) Kind {
	k := Type[T](name)
	k.frozen = true
	return k
}

// Packed is a constant pointer type that is written in another form, such as
// the text that it was parsed from. Neither function is called with nil.
func Packed[T, P any](name string, pack func(T) P, unpack func(P) (T, error)) Kind {
	k := Constant[T](name)
	k.packed = reflect.TypeFor[P]()
	k.pack = func(v reflect.Value) reflect.Value {
		p := pack(v.Interface().(T))
		return reflect.ValueOf(&p).Elem()
	}
	k.unpack = func(v reflect.Value) (reflect.Value, error) {
		x, err := unpack(v.Interface().(P))
		return reflect.ValueOf(x), err
	}
	return k
}

// Type is the type that it is of.
func (k Kind) Type() reflect.Type { return k.typ }

// Kinds are the kinds that an encoder and a decoder know. It never changes and
// is safe for concurrent use.
type Kinds struct {
	byName map[string]*Kind
	byType map[reflect.Type]*Kind
}

// New joins kinds. A name or a type that is there twice, and a constant that is
// no pointer, is an error.
func New(kinds ...Kind) (*Kinds, error) {
	ks := &Kinds{byName: map[string]*Kind{}, byType: map[reflect.Type]*Kind{}}
	for i, t := range plainTypes {
		ks.byType[t] = &Kind{name: plainName(i), typ: t}
	}
	for _, k := range kinds {
		switch {
		case ks.byName[k.name] != nil || k.name == "":
			return nil, fmt.Errorf("kind %q is there twice or has no name", k.name)
		case ks.byType[k.typ] != nil:
			return nil, fmt.Errorf("type %s has two kinds", k.typ)
		case k.frozen && k.typ.Kind() != reflect.Pointer:
			return nil, fmt.Errorf("constant %s is no pointer", k.typ)
		}
		ks.byName[k.name], ks.byType[k.typ] = &k, &k
	}
	for _, k := range ks.byType {
		ks.byName[k.name] = k
	}
	return ks, nil
}

// Has tells whether values of a type may stand behind interfaces.
func (ks *Kinds) Has(t reflect.Type) bool { return ks.byType[t] != nil }

var timeType = reflect.TypeFor[time.Time]()

// plainTypes may stand behind interfaces without being registered. Their order
// is part of what is written.
var plainTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[int64](), reflect.TypeFor[float64](),
	reflect.TypeFor[[]byte](), timeType, reflect.TypeFor[map[string]any](), reflect.TypeFor[[]any](), reflect.TypeFor[[]string](),
	reflect.TypeFor[map[string]string](), reflect.TypeFor[[]map[string]any](),
}

func plainName(i int) string { return fmt.Sprintf("#%d", i) }

// Check looks at everything that values of the kinds can lead to by their
// types, and lists what can't be written: each with the way to it.
func (ks *Kinds) Check() []string {
	var faults []string
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type, at string)
	walk = func(t reflect.Type, at string) {
		if seen[t] || t == timeType {
			return
		}
		seen[t] = true
		if k := ks.byType[t]; k != nil && k.packed != nil {
			walk(k.packed, at+" packed")
			return
		}
		switch t.Kind() {
		case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128:
			faults = append(faults, fmt.Sprintf("%s is a %s", at, t))
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(t.Elem(), at)
		case reflect.Map:
			if !sortable(t.Key().Kind()) {
				faults = append(faults, fmt.Sprintf("%s is a map by %s", at, t.Key()))
			}
			walk(t.Elem(), at+"[]")
		case reflect.Struct:
			for i := range t.NumField() {
				walk(t.Field(i).Type, at+"."+t.Field(i).Name)
			}
		case reflect.Interface:
			if t.NumMethod() == 0 {
				return
			}
			for _, k := range ks.byType {
				if k.typ.Implements(t) {
					return
				}
			}
			faults = append(faults, fmt.Sprintf("%s is a %s, which no kind is", at, t))
		}
	}
	for _, k := range ks.byName {
		walk(k.typ, k.typ.String())
	}
	slices.Sort(faults)
	return faults
}

func sortable(k reflect.Kind) bool {
	return k == reflect.String || k >= reflect.Int && k <= reflect.Int64 || k >= reflect.Uint && k <= reflect.Uint64
}

// field is a field of a struct type.
type field struct {
	name   string
	typ    reflect.Type
	offset uintptr
}

// of is the field of an addressable struct, writable though it be unexported.
func (f field) of(v reflect.Value) reflect.Value {
	return reflect.NewAt(f.typ, unsafe.Add(v.Addr().UnsafePointer(), f.offset)).Elem()
}

var layouts sync.Map // reflect.Type to []field

// layout are the fields of a struct type, but those of no name.
func layout(t reflect.Type) []field {
	if l, ok := layouts.Load(t); ok {
		return l.([]field)
	}
	var out []field
	for i := range t.NumField() {
		if f := t.Field(i); f.Name != "_" {
			out = append(out, field{f.Name, f.Type, f.Offset})
		}
	}
	l, _ := layouts.LoadOrStore(t, out)
	return l.([]field)
}

func names(fields []field) string {
	var out []string
	for _, f := range fields {
		out = append(out, f.name)
	}
	return strings.Join(out, ",")
}
