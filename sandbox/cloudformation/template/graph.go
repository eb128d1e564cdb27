package template

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
)

// Dependencies are the live resources by logical id, each with those it needs
// first: by reference or DependsOn. A cycle or a reference to a resource that
// the conditions leave out is refused.
func (s *Scope) Dependencies() (map[string][]string, error) {
	deps := make(map[string][]string, len(s.t.Resources))
	var dangling []string
	for id, r := range s.t.Resources {
		if !s.Live(r) {
			continue
		}
		var needs []string
		add := func(on string) { needs = append(needs, on) }
		for _, d := range r.DependsOn {
			// DependsOn on a resource that is left out has no effect.
			if s.Live(s.t.Resources[d]) {
				add(d)
			}
		}
		for _, e := range r.expressions() {
			e.Walk(&s.Scope, func(x expression.Ref) {
				on := s.t.Resources[x.Name]
				switch {
				case on == nil:
				case s.Live(on):
					add(x.Name)
				default:
					dangling = append(dangling, x.Name)
				}
			})
		}
		slices.Sort(needs)
		deps[id] = slices.Compact(needs)
	}
	if err := unresolved(dangling, "Resources"); err != nil {
		return nil, err
	}
	if cycle := findCycle(deps); len(cycle) > 0 {
		return nil, invalid("Circular dependency between resources: [%s]", strings.Join(cycle, ", "))
	}
	for _, o := range s.t.outputs {
		if !s.True(o.condition) {
			continue
		}
		o.value.Walk(&s.Scope, func(x expression.Ref) {
			if on := s.t.Resources[x.Name]; on != nil && !s.Live(on) {
				dangling = append(dangling, x.Name)
			}
		})
	}
	return deps, unresolved(dangling, "Outputs")
}

// findCycle returns the members of cycles, and what lies between them, in
// order, or nothing.
func findCycle(deps map[string][]string) []string {
	back := make(map[string][]string, len(deps))
	for id, needs := range deps {
		for _, n := range needs {
			back[n] = append(back[n], id)
		}
	}
	// What doesn't lie on a cycle can be taken away from one side or the
	// other.
	left := make(map[string]bool, len(deps))
	for id := range deps {
		left[id] = true
	}
	peel(left, deps, back)
	peel(left, back, deps)
	return slices.Sorted(maps.Keys(left))
}

// peel takes away, as long as there are any, members without edges to others.
func peel(left map[string]bool, edges, back map[string][]string) {
	open := make(map[string]int, len(left))
	var free []string
	for id := range left {
		for _, n := range edges[id] {
			if left[n] {
				open[id]++
			}
		}
		if open[id] == 0 {
			free = append(free, id)
		}
	}
	for len(free) > 0 {
		id := free[len(free)-1]
		free = free[:len(free)-1]
		delete(left, id)
		for _, n := range back[id] {
			if open[n]--; open[n] == 0 && left[n] {
				free = append(free, n)
			}
		}
	}
}
