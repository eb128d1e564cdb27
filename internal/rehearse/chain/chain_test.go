package chain

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
)

// operations are those of a stack's life in order, each a line of its own in
// time: what they need is not when they were.
func operations(name, verb string, takes map[string]int) []account.Operation {
	at := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	if verb == "update" {
		at = at.AddDate(0, 0, 1)
	}
	var out []account.Operation
	add := func(o account.Operation, seconds int) {
		o.Stack, o.Start, o.End = name, at, at.Add(time.Duration(seconds)*time.Second)
		at = o.End
		out = append(out, o)
	}
	if verb != "delete" {
		add(account.Operation{Type: stack.ChangeSetType, Verb: "create"}, 4)
	}
	add(account.Operation{Type: stack.Type, Verb: verb, Part: "prepare"}, 5)
	for _, id := range []string{"Vpc", "Gateway", "Database", "Alarm"} {
		if s, ok := takes[id]; ok {
			add(account.Operation{Type: "T", LogicalID: id, Verb: verb}, s)
		}
	}
	add(account.Operation{Type: stack.Type, Verb: verb, Part: "conclude"}, 5)
	return out
}

func newGraph(ops ...[]account.Operation) *graph {
	g := &graph{
		names: map[string]architecture.StackName{"x-network": "network", "x-database": "database", "x-dns": "dns"},
		needs: map[architecture.StackName][]architecture.StackName{"database": {"network"}},
		inside: map[string]map[string][]string{
			"x-network":  {"Vpc": nil, "Gateway": {"Vpc"}},
			"x-database": {"Database": nil, "Alarm": {"Database"}},
		},
		passes: map[architecture.StackName][]*pass{}, ends: map[node]time.Duration{}, via: map[node]node{},
	}
	var all []account.Operation
	for _, o := range ops {
		all = append(all, o...)
	}
	g.collect(all)
	return g
}

func TestLongest(t *testing.T) {
	t.Parallel()
	network := map[string]int{"Vpc": 10, "Gateway": 100}
	database := map[string]int{"Database": 800, "Alarm": 1}
	for _, tt := range []struct {
		name string
		g    *graph
		want time.Duration
		path []string
	}{
		{"a stack alone", newGraph(operations("x-network", "create", network)), 124 * time.Second, []string{"", "", "Vpc", "Gateway", ""}},
		{
			"one after another", newGraph(operations("x-network", "create", network), operations("x-database", "create", database)), (124 + 815) * time.Second,
			[]string{"", "", "Vpc", "Gateway", "", "", "", "Database", "Alarm", ""},
		},
		{
			"side by side", newGraph(operations("x-dns", "create", map[string]int{"Vpc": 900}), operations("x-network", "create", network)), 914 * time.Second,
			[]string{"", "", "Vpc", ""},
		},
		{
			"deletion is the other way round", newGraph(operations("x-network", "delete", network), operations("x-database", "delete", database)), (120 + 811) * time.Second,
			[]string{"", "Alarm", "Database", "", "", "Gateway", "Vpc", ""},
		},
		{
			"protection comes last", newGraph(operations("x-network", "create", network), operations("x-database", "create", database), operations("x-network", "update", map[string]int{"Vpc": 2})), (124 + 815 + 16) * time.Second,
			[]string{"", "", "Vpc", "Gateway", "", "", "", "Database", "Alarm", "", "", "", "Vpc", ""},
		},
	} {
		p := tt.g.longest()
		var path []string
		for _, l := range p.Links {
			path = append(path, l.Resource)
		}
		if p.Longest != tt.want || !cmp.Equal(path, tt.path) {
			t.Errorf("%s: %v by %q; want %v by %q", tt.name, p.Longest, path, tt.want, tt.path)
		}
	}
}

// TestDeletionByAPI has a resource deleted before its stack is: it needs no
// preparation of CloudFormation's.
func TestDeletionByAPI(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	byAPI := []account.Operation{{Type: "T", Stack: "x-database", LogicalID: "Database", Verb: "delete", Start: at, End: at.Add(285 * time.Second)}}
	p := newGraph(byAPI, operations("x-database", "delete", nil)).longest()
	if want := 290 * time.Second; p.Longest != want {
		t.Errorf("the chain takes %v, want %v: %+v", p.Longest, want, p.Links)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	p := newGraph(operations("x-network", "create", map[string]int{"Vpc": 10}), operations("x-database", "create", map[string]int{"Database": 26})).longest()
	p.Took = 88 * time.Second
	if p.Ratio() != 88./(24+40) {
		t.Errorf("ratio %v of %+v", p.Ratio(), p)
	}
	want := []Link{{Stack: "network", Verb: "create", Takes: 24 * time.Second}, {Stack: "database", Verb: "create", Takes: 40 * time.Second}}
	if diff := cmp.Diff(want, p.Stacks()); diff != "" {
		t.Errorf("by stack (-want +got):\n%s", diff)
	}
	if got := (Pace{Took: time.Second}).Ratio(); got != 1 {
		t.Errorf("the ratio of a run without operations is %v", got)
	}
}
