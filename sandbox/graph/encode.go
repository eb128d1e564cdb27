package graph

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"
	"unsafe"
)

// What a definition defines.
const (
	defineStruct   = 1
	defineKind     = 2
	defineConstant = 3
)

// Encoder writes values one after the other. Definitions, of field names and of
// constants, are written once and apart from the values that refer to them:
// the same value always gives the same bytes. An encoder keeps the constants
// that it has written alive. It is not safe for concurrent use.
type Encoder struct {
	kinds     *Kinds
	structs   map[reflect.Type]int
	named     map[*Kind]int
	constants map[unsafe.Pointer]int
	alive     []any
	defs      []byte

	out   []byte
	local map[shared]int
	depth int
}

// shared is a pointer that is met within one value.
type shared struct {
	at  unsafe.Pointer
	typ reflect.Type
}

// NewEncoder is an encoder that has written nothing yet.
func NewEncoder(kinds *Kinds) *Encoder {
	return &Encoder{kinds: kinds, structs: map[reflect.Type]int{}, named: map[*Kind]int{}, constants: map[unsafe.Pointer]int{}}
}

// Append appends what a pointer points at to b. After an error the encoder is
// of no use any more.
func (e *Encoder) Append(b []byte, pointer any) ([]byte, error) {
	v := reflect.ValueOf(pointer)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return b, fmt.Errorf("write %T: not a pointer to a value", pointer)
	}
	e.out, e.local = b, map[shared]int{{v.UnsafePointer(), v.Type()}: 0}
	err := e.value(v.Elem())
	b, e.out, e.local = e.out, nil, nil
	if err != nil {
		return b, fmt.Errorf("write %s: %w", v.Type().Elem(), err)
	}
	return b, nil
}

// Definitions are those that have come up since they were last asked for. A
// decoder must read them before the values that were written meanwhile.
func (e *Encoder) Definitions() []byte {
	d := e.defs
	e.defs = nil
	return d
}

func (e *Encoder) number(n int) { e.out = binary.AppendUvarint(e.out, uint64(n)) }

func (e *Encoder) text(s string) {
	e.number(len(s))
	e.out = append(e.out, s...)
}

// value writes an addressable value.
func (e *Encoder) value(v reflect.Value) error {
	if e.depth++; e.depth > maxDepth {
		return fmt.Errorf("more than %d values deep", maxDepth)
	}
	defer func() { e.depth-- }()
	t := v.Type()
	switch t.Kind() {
	case reflect.Bool:
		n := 0
		if v.Bool() {
			n = 1
		}
		e.number(n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out = binary.AppendVarint(e.out, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.out = binary.AppendUvarint(e.out, v.Uint())
	case reflect.Float32, reflect.Float64:
		e.out = binary.LittleEndian.AppendUint64(e.out, math.Float64bits(v.Float()))
	case reflect.String:
		e.text(v.String())
	case reflect.Slice:
		return e.slice(v)
	case reflect.Array:
		for i := range v.Len() {
			if err := e.value(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		return e.table(v)
	case reflect.Struct:
		return e.structure(v)
	case reflect.Pointer:
		return e.pointer(v)
	case reflect.Interface:
		return e.behind(v)
	default:
		return fmt.Errorf("a %s can't be written", t)
	}
	return nil
}

// slice writes the length, plus one, since nil is not the same as empty.
func (e *Encoder) slice(v reflect.Value) error {
	if v.IsNil() {
		e.number(0)
		return nil
	}
	e.number(v.Len() + 1)
	if v.Type().Elem().Kind() == reflect.Uint8 {
		e.out = append(e.out, v.Bytes()...)
		return nil
	}
	for i := range v.Len() {
		if err := e.value(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Encoder) table(v reflect.Value) error {
	if v.IsNil() {
		e.number(0)
		return nil
	}
	e.number(v.Len() + 1)
	switch m := v.Interface().(type) {
	case map[string]any:
		return e.object(m)
	case map[string]string:
		for _, k := range sortedKeys(m) {
			e.text(k)
			e.text(m[k])
		}
		return nil
	}
	if !sortable(v.Type().Key().Kind()) {
		return fmt.Errorf("a map by %s can't be written", v.Type().Key())
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch {
		case a.Kind() == reflect.String:
			return cmp.Compare(a.String(), b.String())
		case a.CanInt():
			return cmp.Compare(a.Int(), b.Int())
		}
		return cmp.Compare(a.Uint(), b.Uint())
	})
	for _, k := range keys {
		if err := e.value(k); err != nil {
			return err
		}
		if err := e.value(addressable(v.MapIndex(k))); err != nil {
			return fmt.Errorf("%v: %w", k, err)
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// object writes the members of the commonest of maps.
func (e *Encoder) object(m map[string]any) error {
	for _, k := range sortedKeys(m) {
		e.text(k)
		if err := e.any(m[k]); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

// any writes what stands behind an interface; the commonest types without
// reflection.
func (e *Encoder) any(x any) error {
	switch x := x.(type) {
	case nil:
		e.number(0)
		return nil
	case string:
		e.number(2)
		e.text(x)
		return nil
	case map[string]any:
		e.number(8)
		if x == nil {
			e.number(0)
			return nil
		}
		e.number(len(x) + 1)
		if e.depth++; e.depth > maxDepth {
			return fmt.Errorf("more than %d values deep", maxDepth)
		}
		defer func() { e.depth-- }()
		return e.object(x)
	}
	v := reflect.ValueOf(x)
	k := e.kinds.byType[v.Type()]
	if k == nil {
		return fmt.Errorf("a %s can't be written behind an interface: no kind is registered for it", v.Type())
	}
	e.number(e.kind(k))
	return e.value(addressable(v))
}

func (e *Encoder) behind(v reflect.Value) error {
	if v.IsNil() {
		e.number(0)
		return nil
	}
	return e.any(v.Elem().Interface())
}

// kind is the number of a kind: plain ones by their place from one on, the
// others after them as they come up.
func (e *Encoder) kind(k *Kind) int {
	if i := slices.Index(plainTypes, k.typ); i >= 0 {
		return i + 1
	}
	n, ok := e.named[k]
	if !ok {
		n = len(e.named) + len(plainTypes) + 1
		e.named[k] = n
		e.define(defineKind, func() { e.text(k.name) })
	}
	return n
}

// define writes a definition.
func (e *Encoder) define(what int, write func()) {
	out := e.out
	e.out = e.defs
	e.number(what)
	write()
	e.defs, e.out = e.out, out
}

func (e *Encoder) structure(v reflect.Value) error {
	t := v.Type()
	if t == timeType {
		return e.time(v.Interface().(time.Time))
	}
	fields := layout(t)
	n, ok := e.structs[t]
	if !ok {
		n = len(e.structs)
		e.structs[t] = n
		e.define(defineStruct, func() {
			e.text(t.String())
			e.number(len(fields))
			for _, f := range fields {
				e.text(f.name)
			}
		})
	}
	e.number(n)
	for _, f := range fields {
		if err := e.value(f.of(v)); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// time is the seconds, the nanoseconds, and the offset of the zone.
func (e *Encoder) time(t time.Time) error {
	_, offset := t.Zone()
	e.out = binary.AppendVarint(e.out, t.Unix())
	e.number(t.Nanosecond())
	zone := 0 // UTC
	if offset != 0 {
		zone = offset*2 + 1
	}
	e.out = binary.AppendVarint(e.out, int64(zone))
	return nil
}

// pointer writes 0 for nil, 1 and the value for one that is met first, and
// otherwise its number from 2 on.
func (e *Encoder) pointer(v reflect.Value) error {
	if v.IsNil() {
		e.number(0)
		return nil
	}
	if k := e.kinds.byType[v.Type()]; k != nil && k.frozen {
		return e.constant(k, v)
	}
	at := shared{v.UnsafePointer(), v.Type()}
	if n, ok := e.local[at]; ok {
		e.number(n + 2)
		return nil
	}
	if e.local == nil {
		e.local = map[shared]int{}
	}
	e.local[at] = len(e.local)
	e.number(1)
	return e.value(v.Elem())
}

// constant writes the number of a constant, and defines it when it is new.
func (e *Encoder) constant(k *Kind, v reflect.Value) error {
	at := v.UnsafePointer()
	n, ok := e.constants[at]
	if !ok {
		out, local := e.out, e.local
		e.out, e.local = nil, nil
		held := v.Elem()
		if k.pack != nil {
			held = k.pack(v)
		}
		if err := e.value(held); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		body := e.out
		e.out, e.local = out, local
		n = len(e.constants) + 1
		e.constants[at] = n
		e.alive = append(e.alive, v.Interface())
		id := e.kind(k)
		e.define(defineConstant, func() {
			e.number(id)
			e.out = append(e.out, body...)
		})
	}
	e.number(n)
	return nil
}

// addressable is a copy of a value that has an address.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}
