package deploy_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
)

// slowest is how many times its longest chain of operations a run may take.
const slowest = 1.10

// pace holds a run that began at a time and ends now to its longest chain of
// operations, and says how it went.
func (w *world) pace(verb string, a *architecture.Architecture, start time.Time) string {
	w.t.Helper()
	now := time.Now()
	p, err := chain.Of(a, w.box.Account(), w.ops.Between(start, now), now.Sub(start))
	if err != nil {
		w.t.Fatal(err)
	}
	said := fmt.Sprintf("%s took %v, its longest chain takes %v: %.3f", verb, p.Took.Round(time.Second), p.Longest.Round(time.Second), p.Ratio())
	if p.Ratio() > slowest || p.Longest == 0 || p.Longest > p.Took {
		w.t.Errorf("%s; at most %.2f is right:", said, slowest)
		for _, l := range p.Links {
			w.t.Logf("%v %s %s %s %s %s", l.Takes, l.Stack, l.Resource, l.Type, l.Verb, l.Part)
		}
	}
	return said
}

// dependentsFirst holds a deletion that began at a time to L03: for every edge
// of the architecture the dependent stack is gone before the first thing of its
// provider starts to go, by whatever call.
func (w *world) dependentsFirst(a *architecture.Architecture, start time.Time) {
	w.t.Helper()
	began, gone := map[string]time.Time{}, map[string]time.Time{}
	for _, o := range w.ops.Between(start, time.Now()) {
		if o.Stack == "" || o.Verb != "delete" {
			continue
		}
		if at, ok := began[o.Stack]; !ok || o.Start.Before(at) {
			began[o.Stack] = o.Start
		}
		if o.Part == "conclude" {
			gone[o.Stack] = o.End
		}
	}
	edges := 0
	for _, s := range a.Stacks {
		for _, provider := range s.After {
			from, to := a.StackName(s.Name), a.StackName(provider)
			if gone[from].IsZero() || began[to].IsZero() || began[to].Before(gone[from]) {
				w.t.Errorf("L03: stack %s was gone at %v, and %s, which it needs, began to go at %v", from, gone[from], to, began[to])
			}
			edges++
		}
	}
	if edges < len(a.Stacks) || slices.ContainsFunc(a.Stacks, func(s architecture.Stack) bool { return gone[a.StackName(s.Name)].IsZero() }) {
		w.t.Errorf("L03: %d edges between %d stacks, of which %d went", edges, len(a.Stacks), len(gone))
	}
}
