package graph

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"
)

// ErrOther says that what is read was written by a program with other types.
var ErrOther = errors.New("written by another version of the program")

var errShort = errors.New("it ends in the middle of a value")

// Decoder reads what an [Encoder] wrote, in the same order. It is not safe for
// concurrent use.
type Decoder struct {
	kinds     *Kinds
	structs   []written
	named     []*Kind
	constants []reflect.Value

	in    []byte
	local []reflect.Value
	depth int
}

// written are the fields of a struct as the writer had them.
type written struct {
	name   string
	fields []string
	// typ and plan are the type that it was last read into and its fields in
	// the writer's order.
	typ  reflect.Type
	plan []field
}

// NewDecoder is a decoder that has read nothing yet.
func NewDecoder(kinds *Kinds) *Decoder { return &Decoder{kinds: kinds} }

// Define reads definitions.
func (d *Decoder) Define(b []byte) error {
	d.in, d.local = b, nil
	for len(d.in) > 0 {
		if err := d.definition(); err != nil {
			return fmt.Errorf("read definition: %w", err)
		}
	}
	return nil
}

func (d *Decoder) definition() error {
	what, err := d.number()
	if err != nil {
		return err
	}
	switch what {
	case defineStruct:
		var w written
		if w.name, err = d.text(); err != nil {
			return err
		}
		n, err := d.length(1)
		if err != nil {
			return err
		}
		for range n {
			f, err := d.text()
			if err != nil {
				return err
			}
			w.fields = append(w.fields, f)
		}
		d.structs = append(d.structs, w)
	case defineKind:
		name, err := d.text()
		if err != nil {
			return err
		}
		k := d.kinds.byName[name]
		if k == nil {
			return fmt.Errorf("kind %q is unknown: %w", name, ErrOther)
		}
		d.named = append(d.named, k)
	case defineConstant:
		k, err := d.kind()
		if err != nil {
			return err
		}
		if k == nil || !k.frozen {
			return errors.New("a constant of a kind that has none")
		}
		d.local = nil
		var p reflect.Value
		if k.unpack != nil {
			held := reflect.New(k.packed).Elem()
			if err := d.value(held); err != nil {
				return err
			}
			if p, err = k.unpack(held); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		} else {
			p = reflect.New(k.typ.Elem())
			if err := d.value(p.Elem()); err != nil {
				return err
			}
		}
		d.constants = append(d.constants, p)
	default:
		return fmt.Errorf("definition %d is unknown: %w", what, ErrOther)
	}
	return nil
}

// Read reads one value into what a pointer points at, and returns the rest.
func (d *Decoder) Read(b []byte, pointer any) ([]byte, error) {
	v := reflect.ValueOf(pointer)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return b, fmt.Errorf("read %T: not a pointer to a value", pointer)
	}
	d.in, d.local, d.depth = b, []reflect.Value{v}, 0
	if err := d.value(v.Elem()); err != nil {
		return d.in, fmt.Errorf("read %s: %w", v.Type().Elem(), err)
	}
	return d.in, nil
}

func (d *Decoder) number() (int, error) {
	n, size := binary.Uvarint(d.in)
	if size <= 0 || n > math.MaxInt {
		return 0, errShort
	}
	d.in = d.in[size:]
	return int(n), nil
}

func (d *Decoder) signed() (int64, error) {
	n, size := binary.Varint(d.in)
	if size <= 0 {
		return 0, errShort
	}
	d.in = d.in[size:]
	return n, nil
}

// length is a number of things of at least some bytes each that follow.
func (d *Decoder) length(least int) (int, error) {
	n, err := d.number()
	if err == nil && n > len(d.in)/max(least, 1) && least > 0 {
		return 0, errShort
	}
	return n, err
}

func (d *Decoder) text() (string, error) {
	n, err := d.length(1)
	if err != nil {
		return "", err
	}
	s := string(d.in[:n])
	d.in = d.in[n:]
	return s, nil
}

// kind is the kind of a value behind an interface; nil stands for none.
func (d *Decoder) kind() (*Kind, error) {
	n, err := d.number()
	switch {
	case err != nil || n == 0:
		return nil, err
	case n <= len(plainTypes):
		return d.kinds.byType[plainTypes[n-1]], nil
	case n-len(plainTypes) <= len(d.named):
		return d.named[n-len(plainTypes)-1], nil
	}
	return nil, fmt.Errorf("kind %d is not defined", n)
}

func (d *Decoder) value(v reflect.Value) error {
	if d.depth++; d.depth > maxDepth {
		return fmt.Errorf("more than %d values deep", maxDepth)
	}
	defer func() { d.depth-- }()
	t := v.Type()
	switch t.Kind() {
	case reflect.Bool:
		n, err := d.number()
		v.SetBool(n == 1)
		return err
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := d.signed()
		if err == nil && v.OverflowInt(n) {
			return fmt.Errorf("%d is too large: %w", n, ErrOther)
		}
		v.SetInt(n)
		return err
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, size := binary.Uvarint(d.in)
		if size <= 0 {
			return errShort
		}
		d.in = d.in[size:]
		if v.OverflowUint(n) {
			return fmt.Errorf("%d is too large: %w", n, ErrOther)
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		if len(d.in) < 8 {
			return errShort
		}
		v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(d.in)))
		d.in = d.in[8:]
	case reflect.String:
		s, err := d.text()
		v.SetString(s)
		return err
	case reflect.Slice:
		return d.slice(v)
	case reflect.Array:
		for i := range v.Len() {
			if err := d.value(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		return d.table(v)
	case reflect.Struct:
		return d.structure(v)
	case reflect.Pointer:
		return d.pointer(v)
	case reflect.Interface:
		return d.behind(v)
	default:
		return fmt.Errorf("a %s can't be read", t)
	}
	return nil
}

func (d *Decoder) slice(v reflect.Value) error {
	n, err := d.number()
	if err != nil || n == 0 {
		return err
	}
	n--
	t := v.Type()
	if t.Elem().Kind() == reflect.Uint8 {
		if n > len(d.in) {
			return errShort
		}
		v.SetBytes(slices.Clone(d.in[:n:n]))
		if v.IsNil() {
			v.Set(reflect.MakeSlice(t, 0, 0))
		}
		d.in = d.in[n:]
		return nil
	}
	// Elements may be empty structs, so the number is no measure of the bytes;
	// memory is taken as they come.
	out := reflect.MakeSlice(t, 0, min(n, len(d.in)))
	if t.Elem().Size() == 0 && n > len(d.in) {
		return errShort
	}
	for range n {
		x := reflect.New(t.Elem()).Elem()
		if err := d.value(x); err != nil {
			return err
		}
		out = reflect.Append(out, x)
	}
	v.Set(out)
	return nil
}

func (d *Decoder) table(v reflect.Value) error {
	n, err := d.number()
	if err != nil || n == 0 {
		return err
	}
	n--
	t := v.Type()
	if !sortable(t.Key().Kind()) {
		return fmt.Errorf("a map by %s can't be read", t.Key())
	}
	out := reflect.MakeMapWithSize(t, min(n, len(d.in)))
	for range n {
		k, x := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := d.value(k); err != nil {
			return err
		}
		if err := d.value(x); err != nil {
			return fmt.Errorf("%v: %w", k, err)
		}
		out.SetMapIndex(k, x)
	}
	v.Set(out)
	return nil
}

func (d *Decoder) structure(v reflect.Value) error {
	t := v.Type()
	if t == timeType {
		return d.time(v)
	}
	n, err := d.number()
	if err != nil {
		return err
	}
	if n >= len(d.structs) {
		return fmt.Errorf("struct %d is not defined", n)
	}
	w := &d.structs[n]
	if w.typ != t {
		fields := layout(t)
		w.typ, w.plan = t, nil
		for _, name := range w.fields {
			i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
			if i < 0 {
				return fmt.Errorf("%s has no field %s, only %s: %w", t, name, names(fields), ErrOther)
			}
			w.plan = append(w.plan, fields[i])
		}
	}
	for _, f := range w.plan {
		if err := d.value(f.of(v)); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

func (d *Decoder) time(v reflect.Value) error {
	sec, err := d.signed()
	if err != nil {
		return err
	}
	nano, err := d.number()
	if err != nil {
		return err
	}
	zone, err := d.signed()
	if err != nil {
		return err
	}
	t := time.Unix(sec, int64(nano)).UTC()
	if zone%2 != 0 {
		t = t.In(time.FixedZone("", int((zone-1)/2)))
	}
	v.Set(reflect.ValueOf(t))
	return nil
}

func (d *Decoder) pointer(v reflect.Value) error {
	n, err := d.number()
	if err != nil || n == 0 {
		return err
	}
	t := v.Type()
	if k := d.kinds.byType[t]; k != nil && k.frozen {
		if n > len(d.constants) || d.constants[n-1].Type() != t {
			return fmt.Errorf("constant %d is no %s", n, t)
		}
		v.Set(d.constants[n-1])
		return nil
	}
	if n > 1 {
		if n-2 >= len(d.local) || d.local[n-2].Type() != t {
			return fmt.Errorf("pointer %d is no %s", n, t)
		}
		v.Set(d.local[n-2])
		return nil
	}
	p := reflect.New(t.Elem())
	d.local = append(d.local, p)
	v.Set(p)
	return d.value(p.Elem())
}

func (d *Decoder) behind(v reflect.Value) error {
	k, err := d.kind()
	if err != nil || k == nil {
		return err
	}
	if !k.typ.AssignableTo(v.Type()) {
		return fmt.Errorf("a %s is no %s: %w", k.typ, v.Type(), ErrOther)
	}
	x := reflect.New(k.typ).Elem()
	if err := d.value(x); err != nil {
		return err
	}
	v.Set(x)
	return nil
}
