// Package chain finds out how fast a run could have been: it takes the
// operations that a simulated account has carried out, each with the time that
// it really took, and what each one needs, and looks for the longest chain of
// them. A run that takes longer than that has lost the difference by waiting.
//
// What needs what: a resource what its template refers to or depends on, and in
// a deletion the other way round; a stack's resources its change set and
// CloudFormation's preparation; the stack's end all its resources; a change set
// the ends of the stacks whose outputs it takes, since a stack has outputs only
// when it is complete. Nodes need the endpoints through which they reach AWS, and
// add-ons the nodes that they run on. Protection needs all stacks.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/outputs-section-structure.html
//
// Limits: operations that failed are not part of a chain.
package chain

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Recorder keeps the operations of an account. Its method Add is for
// [github.com/poolhouse/poolhouse/sandbox.Options.OnOperation].
type Recorder struct {
	mu  sync.Mutex
	all []account.Operation
}

// Add keeps an operation.
func (r *Recorder) Add(o account.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, o)
}

// Between are the operations that ended in a span of time, its end included.
func (r *Recorder) Between(from, to time.Time) []account.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all), func(o account.Operation) bool { return o.End.Before(from) || o.End.After(to) })
}

// Link is an operation of a chain.
type Link struct {
	Stack architecture.StackName `json:"stack"`
	// Resource is the logical id of a resource; empty for what CloudFormation
	// does about the stack itself.
	Resource string        `json:"resource,omitempty"`
	Type     string        `json:"type"`
	Verb     string        `json:"verb"`
	Part     string        `json:"part,omitempty"`
	Takes    time.Duration `json:"takesNanoseconds"`
}

// Pace is how long a run took, and its longest chain of operations.
type Pace struct {
	Took    time.Duration `json:"tookNanoseconds"`
	Longest time.Duration `json:"longestNanoseconds"`
	Links   []Link        `json:"links"`
}

// Ratio is how many times its longest chain the run took; 1 is the best that can
// be, and what a run without operations has.
func (p Pace) Ratio() float64 {
	if p.Longest == 0 {
		return 1
	}
	return float64(p.Took) / float64(p.Longest)
}

// MarshalJSON adds the ratio.
func (p Pace) MarshalJSON() ([]byte, error) {
	type plain Pace
	return json.Marshal(struct {
		plain
		Ratio float64 `json:"ratio"`
	}{plain(p), p.Ratio()})
}

// Stacks sums the chain up by stack, in the order in which it goes through them.
func (p Pace) Stacks() []Link {
	var out []Link
	for _, l := range p.Links {
		if n := len(out); n > 0 && out[n-1].Stack == l.Stack && out[n-1].Verb == l.Verb {
			out[n-1].Takes += l.Takes
			continue
		}
		verb := l.Verb
		if l.Type == stack.ChangeSetType {
			verb = ""
		}
		if n := len(out); n > 0 && out[n-1].Stack == l.Stack && out[n-1].Verb == "" {
			out[n-1].Takes += l.Takes
			out[n-1].Verb = verb
			continue
		}
		out = append(out, Link{Stack: l.Stack, Verb: verb, Takes: l.Takes})
	}
	return out
}

// unwritten are needs that no output carries.
var unwritten = map[architecture.StackName][]architecture.StackName{
	architecture.Nodes:       {architecture.Endpoints},
	architecture.GPU:         {architecture.Endpoints},
	architecture.SessionHost: {architecture.Endpoints},
	architecture.Addons:      {architecture.Nodes},
}

// Of finds the longest chain of a run that created or deleted a deployment and
// took a time, in an account that still knows its stacks.
func Of(a *architecture.Architecture, acc *account.Account, ops []account.Operation, took time.Duration) (Pace, error) {
	all, err := templates.All(a)
	if err != nil {
		return Pace{}, err
	}
	g := &graph{
		names: map[string]architecture.StackName{}, needs: map[architecture.StackName][]architecture.StackName{},
		inside: map[string]map[string][]string{}, passes: map[architecture.StackName][]*pass{}, ends: map[node]time.Duration{}, via: map[node]node{},
	}
	for _, s := range all {
		g.names[s.StackName] = s.Name
		g.needs[s.Name] = slices.Clone(unwritten[s.Name])
		for _, in := range s.Inputs {
			if from := architecture.StackName(in.Stack); !slices.Contains(g.needs[s.Name], from) {
				g.needs[s.Name] = append(g.needs[s.Name], from)
			}
		}
	}
	latest := map[string]time.Time{}
	for _, r := range acc.Resources() {
		st, ok := r.State.(*stack.Stack)
		if ok && st.Current != nil && !r.Created.Before(latest[st.Name]) {
			latest[st.Name], g.inside[st.Name] = r.Created, st.Current.Needs
		}
	}
	g.collect(ops)
	p := g.longest()
	p.Took = took
	return p, nil
}

// pass is what happens to a stack once: it is created, updated or deleted.
type pass struct {
	stack     architecture.StackName
	name      string // the stack's
	verb      string
	own       []account.Operation // change set and preparation, in order
	conclude  account.Operation
	resources map[string]account.Operation
}

// node is an operation: of a pass, the number of its own, a resource, or the
// end.
type node struct {
	pass     *pass
	own      int
	resource string
	end      bool
}

type graph struct {
	names  map[string]architecture.StackName
	needs  map[architecture.StackName][]architecture.StackName
	inside map[string]map[string][]string
	passes map[architecture.StackName][]*pass
	ends   map[node]time.Duration
	via    map[node]node
}

// collect puts operations into passes.
func (g *graph) collect(ops []account.Operation) {
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b account.Operation) int { return a.End.Compare(b.End) })
	open := map[string]*pass{}
	at := func(o account.Operation) *pass {
		p := open[o.Stack]
		if p == nil {
			p = &pass{stack: g.names[o.Stack], name: o.Stack, resources: map[string]account.Operation{}}
			open[o.Stack] = p
		}
		return p
	}
	for _, o := range ops {
		if g.names[o.Stack] == "" {
			continue
		}
		p := at(o)
		switch {
		case o.Type == stack.ChangeSetType:
			// Of several only the last is executed.
			p.own = []account.Operation{o}
		case o.Part == "prepare":
			p.verb = o.Verb
			p.own = append(p.own, o)
		case o.Part == "conclude":
			p.conclude = o
			g.passes[p.stack] = append(g.passes[p.stack], p)
			delete(open, o.Stack)
		default:
			p.resources[o.LogicalID] = o
		}
	}
}

// before are the operations that one needs.
func (g *graph) before(n node) []node {
	p := n.pass
	if n.end {
		var all []node
		for id := range p.resources {
			all = append(all, node{pass: p, resource: id})
		}
		return append(all, g.entry(p, len(p.own))...)
	}
	if n.resource == "" {
		return g.entry(p, n.own)
	}
	var all []node
	// What is deleted by API, before its stack is, needs no preparation.
	if o := p.resources[n.resource]; len(p.own) > 0 && !o.Start.Before(p.own[len(p.own)-1].End) {
		all = g.entry(p, len(p.own))
	} else {
		all = g.entry(p, 0)
	}
	needs := g.inside[p.name]
	if p.verb == "delete" {
		for id, of := range needs {
			if _, ok := p.resources[id]; ok && slices.Contains(of, n.resource) {
				all = append(all, node{pass: p, resource: id})
			}
		}
		return all
	}
	for _, id := range needs[n.resource] {
		if _, ok := p.resources[id]; ok {
			all = append(all, node{pass: p, resource: id})
		}
	}
	return all
}

// entry is what must be over before the own operation i of a pass begins.
func (g *graph) entry(p *pass, i int) []node {
	if i > 0 {
		return []node{{pass: p, own: i - 1}}
	}
	var all []node
	passes := g.passes[p.stack]
	if k := slices.Index(passes, p); k > 0 {
		all = append(all, node{pass: passes[k-1], end: true})
	}
	for name, others := range g.passes {
		for _, o := range others {
			switch {
			case o.stack == p.stack:
			case p.verb == "create" && o.verb == "create" && slices.Contains(g.needs[p.stack], name),
				p.verb == "delete" && o.verb == "delete" && slices.Contains(g.needs[name], p.stack),
				// Protection, which comes when all is there.
				p.verb == "update" && o.verb == "create":
				all = append(all, node{pass: o, end: true})
			}
		}
	}
	return all
}

func (g *graph) operation(n node) account.Operation {
	switch {
	case n.end:
		return n.pass.conclude
	case n.resource != "":
		return n.pass.resources[n.resource]
	}
	return n.pass.own[n.own]
}

// visit is when an operation could have ended.
func (g *graph) visit(n node) time.Duration {
	if t, ok := g.ends[n]; ok {
		return t
	}
	g.ends[n] = 0 // templates have no cycles
	var start time.Duration
	for _, b := range g.before(n) {
		t := g.visit(b)
		if had, ok := g.via[n]; t > start || ok && t == start && less(b, had) {
			start, g.via[n] = t, b
		}
	}
	o := g.operation(n)
	g.ends[n] = start + o.End.Sub(o.Start)
	return g.ends[n]
}

// less orders operations that are alike in time.
func less(a, b node) bool {
	return cmp.Or(cmp.Compare(a.pass.stack, b.pass.stack), cmp.Compare(a.resource, b.resource), cmp.Compare(a.own, b.own)) < 0
}

func (g *graph) longest() Pace {
	var last node
	var p Pace
	for _, passes := range g.passes {
		for _, x := range passes {
			n := node{pass: x, end: true}
			if t := g.visit(n); t > p.Longest || t == p.Longest && (last.pass == nil || less(n, last)) {
				last, p.Longest = n, t
			}
		}
	}
	for n, ok := last, last.pass != nil; ok; {
		o := g.operation(n)
		p.Links = append(p.Links, Link{Stack: n.pass.stack, Resource: n.resource, Type: o.Type, Verb: o.Verb, Part: o.Part, Takes: o.End.Sub(o.Start)})
		n, ok = g.via[n]
	}
	slices.Reverse(p.Links)
	return p
}
