package graph_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/graph"
)

type shape interface{ area() int }

type square struct{ side int }

func (s *square) area() int { return s.side * s.side }

type leaf struct {
	text string
}

type compiled struct {
	source string
	run    func() string // can't be written, so it is made again
}

type node struct {
	Name    string
	hidden  int
	ratio   float64
	small   uint8
	flag    bool
	at      time.Time
	next    *node
	twin    *node
	leaf    *leaf
	form    shape
	value   any
	list    []*node
	counts  map[int]string
	texts   map[string]string
	bytes   []byte
	array   [2]string
	program *compiled
}

func kinds(t testing.TB) *graph.Kinds {
	t.Helper()
	ks, err := graph.New(
		graph.Type[*square]("square"), graph.Type[node]("node"), graph.Constant[*leaf]("leaf"),
		graph.Packed("compiled", func(c *compiled) string { return c.source }, compile),
	)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func compile(source string) (*compiled, error) {
	if source == "bad" {
		return nil, errors.New("bad source")
	}
	return &compiled{source, func() string { return "ran " + source }}, nil
}

// again writes values and reads them.
func again[T any](t testing.TB, values ...*T) []*T {
	t.Helper()
	e, d := graph.NewEncoder(kinds(t)), graph.NewDecoder(kinds(t))
	var out []*T
	for _, v := range values {
		b, err := e.Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Define(e.Definitions()); err != nil {
			t.Fatal(err)
		}
		x := new(T)
		rest, err := d.Read(b, x)
		if err != nil {
			t.Fatal(err)
		}
		if len(rest) > 0 {
			t.Fatalf("%d bytes are left", len(rest))
		}
		out = append(out, x)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	l := &leaf{"shared"}
	ring := &node{Name: "a", hidden: -7, ratio: math.Inf(1), small: 255, flag: true, at: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), leaf: l}
	ring.next = &node{Name: "b", next: ring, leaf: l, list: []*node{ring, nil}, bytes: []byte{}, counts: map[int]string{2: "two", -1: "minus"}}
	ring.twin = ring.next
	ring.form = &square{3}
	ring.texts = map[string]string{"x": "y"}
	ring.array = [2]string{"p", "q"}
	ring.program, _ = compile("go")
	ring.value = map[string]any{"n": nil, "i": 3, "f": 1.5, "l": []any{"s", true, []any{}}, "t": time.Unix(5, 0).UTC(), "m": map[string]any(nil), "node": node{Name: "c"}, "ss": []string{"a"}, "b": []byte("x")}

	got := again(t, ring, &node{leaf: l})
	a := got[0]
	if a.next.next != a || a.twin != a.next || a.next.list[0] != a || a.next.list[1] != nil {
		t.Error("pointers don't lead where they led")
	}
	if a.leaf != a.next.leaf || got[1].leaf != a.leaf {
		t.Error("a constant is there twice")
	}
	if a.form.area() != 9 || a.program.run() != "ran go" {
		t.Error("what stands behind interfaces, or what was packed, is not as it was")
	}
	if a.next.bytes == nil || a.bytes != nil || a.counts != nil {
		t.Error("nil and empty are mixed up")
	}
	a.next.next, a.twin, a.next.list, a.program = nil, nil, nil, nil
	ring.next.next, ring.twin, ring.next.list, ring.program = nil, nil, nil, nil
	if diff := cmp.Diff(ring, a, cmp.AllowUnexported(node{}, leaf{}, square{})); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

// TestSameBytes writes a value twice: the bytes are the same, and a constant is
// not written again.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	e := graph.NewEncoder(kinds(t))
	n := &node{leaf: &leaf{"x"}, value: map[string]any{"a": 1, "b": 2, "c": 3, "d": 4}}
	first, err := e.Append(nil, n)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Definitions()) == 0 {
		t.Error("nothing was defined")
	}
	second, err := e.Append(nil, n)
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) || len(e.Definitions()) > 0 {
		t.Error("the same value was written in another way")
	}
}

func TestRandomValues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var value func(depth int) any
		value = func(depth int) any {
			most := 8
			if depth == 0 {
				most = 5
			}
			switch rapid.IntRange(0, most).Draw(t, "kind") {
			case 0:
				return nil
			case 1:
				return rapid.String().Draw(t, "s")
			case 2:
				return rapid.Int().Draw(t, "i")
			case 3:
				return rapid.Bool().Draw(t, "b")
			case 4:
				return rapid.Float64().Draw(t, "f")
			case 5:
				return time.Unix(rapid.Int64Range(-1e10, 1e10).Draw(t, "t"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
			case 6:
				l := []any{}
				for range rapid.IntRange(0, 4).Draw(t, "n") {
					l = append(l, value(depth-1))
				}
				return l
			case 7:
				return map[string]string{rapid.String().Draw(t, "k"): rapid.String().Draw(t, "v")}
			}
			m := map[string]any{}
			for range rapid.IntRange(0, 4).Draw(t, "n") {
				m[rapid.String().Draw(t, "k")] = value(depth - 1)
			}
			return m
		}
		v := value(4)
		e, err := graph.New()
		if err != nil {
			t.Fatal(err)
		}
		enc, dec := graph.NewEncoder(e), graph.NewDecoder(e)
		b, err := enc.Append(nil, &v)
		if err != nil {
			t.Fatal(err)
		}
		if err := dec.Define(enc.Definitions()); err != nil {
			t.Fatal(err)
		}
		var got any
		if _, err := dec.Read(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, got); diff != "" {
			t.Fatalf("-written +read:\n%s", diff)
		}
	})
}

type (
	older struct{ A, B int }
	newer struct{ A, B, C int }
)

func TestOtherFields(t *testing.T) {
	t.Parallel()
	ks, err := graph.New()
	if err != nil {
		t.Fatal(err)
	}
	move := func(from, to any) error {
		e, d := graph.NewEncoder(ks), graph.NewDecoder(ks)
		b, err := e.Append(nil, from)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Define(e.Definitions()); err != nil {
			t.Fatal(err)
		}
		_, err = d.Read(b, to)
		return err
	}
	got := newer{}
	if err := move(&older{1, 2}, &got); err != nil || got != (newer{1, 2, 0}) {
		t.Errorf("got %v (%v), want what there was, and zero", got, err)
	}
	err = move(&newer{1, 2, 3}, &older{})
	if !errors.Is(err, graph.ErrOther) || !strings.Contains(err.Error(), "has no field C") {
		t.Errorf("got %v, want that there is no field C", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		value any
		want  string
	}{
		"function":     {&struct{ f func() }{func() {}}, "f: a func() can't be written"},
		"unregistered": {&struct{ v any }{struct{ x int }{1}}, "v: a struct { x int } can't be written behind an interface: no kind is registered for it"},
		"not pointer":  {3, "not a pointer"},
		"deep":         {deep(), "values deep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := graph.NewEncoder(kinds(t)).Append(nil, tc.value)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	for name, list := range map[string][]graph.Kind{
		"a name twice":              {graph.Type[older]("x"), graph.Type[newer]("x")},
		"a type twice":              {graph.Type[older]("x"), graph.Type[older]("y")},
		"a constant not pointer":    {graph.Constant[older]("x")},
		"a type that needs no kind": {graph.Type[string]("x")},
	} {
		if _, err := graph.New(list...); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func deep() any {
	var v any
	for range 20_000 {
		v = []any{v}
	}
	return &v
}

func TestCheck(t *testing.T) {
	t.Parallel()
	type bad struct {
		ok    *leaf
		run   func()
		tubes []chan int
		odd   map[float64]int
		form  shape
	}
	_ = bad{ok: nil, run: nil, tubes: nil, odd: nil, form: nil}
	ks, err := graph.New(graph.Type[*bad]("bad"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"*graph_test.bad.form is a graph_test.shape, which no kind is",
		"*graph_test.bad.odd is a map by float64",
		"*graph_test.bad.run is a func()",
		"*graph_test.bad.tubes is a chan int",
	}
	if diff := cmp.Diff(want, ks.Check()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if faults := kinds(t).Check(); len(faults) > 0 {
		t.Errorf("faults in what can be written: %v", faults)
	}
}

// FuzzRead reads whatever bytes: an error or a value, in bounded memory.
func FuzzRead(f *testing.F) {
	e := graph.NewEncoder(kinds(f))
	l := &leaf{"x"}
	n := &node{Name: "a", leaf: l, value: map[string]any{"a": []any{1, "s"}}, form: &square{2}, counts: map[int]string{1: "x"}}
	n.next = n
	n.program, _ = compile("go")
	b, err := e.Append(nil, n)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.Definitions(), b)
	f.Add([]byte{1}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, defs, b []byte) {
		d := graph.NewDecoder(kinds(t))
		if d.Define(defs) != nil {
			return
		}
		var x node
		if rest, err := d.Read(b, &x); err == nil && len(rest) > len(b) {
			t.Error(fmt.Sprint("more is left than there was: ", len(rest)))
		}
	})
}
