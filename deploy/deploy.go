// Package deploy creates, updates and deletes a deployment: it alone knows the
// order of things across stacks.
//
// The account is the state: what exists is read from CloudFormation, which
// stacks belong to a deployment from their tags. Every operation converges: it
// starts from what is there, so the same call continues after an error, an
// interrupt or a kill. A context that ends stops watching and starting; it
// never stops what AWS is doing. The package prints nothing; it emits events.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Tag is the tag that says which deployment a stack belongs to.
const Tag = inventory.Tag

// Target is a deployment and the account it is in.
type Target struct {
	Architecture *architecture.Architecture
	AWS          *awsapi.Clients
	// KeepDrift leaves alone what was changed outside of CloudFormation: plans
	// and updates do not look for it. A creation leaves it alone anyway, but for
	// what holds data and is gone.
	KeepDrift bool
	// Allow are the flags that were given for what is refused without them.
	Allow guard.Allowed
	// Machine is from where the Kubernetes API is looked for once the AWS side
	// is complete. Nil leaves the Kubernetes phase out.
	Machine *cluster.Machine
	// DNS is the public DNS, asked whether a new zone's domain leads to it. Nil is
	// not asked, and create says so.
	DNS Resolver
	// Holder is this run, as others see it while it changes the deployment. An
	// empty owner is the caller.
	Holder lease.Holder
	// Expected is how long the run will take, as its plan says; zero if nobody
	// knows.
	Expected time.Duration
	// Emit receives events, one at a time. May be nil.
	Emit func(Event)
	// Terse leaves out the events of resources, whose reads are most of what a
	// run reads.
	Terse bool

	// while, if it isn't nil, makes a context that ends when the run's lease is lost.
	while func(context.Context) (context.Context, context.CancelFunc)
}

// Event is something that happened in a run; one of the types below.
type Event interface{ event() }

// StackStarted says that a stack's turn has come.
type StackStarted struct {
	Time     time.Time              `json:"time"`
	Stack    architecture.StackName `json:"stack"`
	Action   Action                 `json:"action"`
	Expected time.Duration          `json:"expectedNanoseconds"`
}

// StackFinished says that a stack is at rest again.
type StackFinished struct {
	Time   time.Time              `json:"time"`
	Stack  architecture.StackName `json:"stack"`
	Action Action                 `json:"action"`
	Took   time.Duration          `json:"tookNanoseconds"`
	// Changes is how many resources changed; 0 means that it was up to date.
	Changes int   `json:"changes"`
	Err     error `json:"-"`
	// Error is Err in words.
	Error string `json:"error,omitempty"`
	// Root is why, if CloudFormation said so.
	Root *diagnosis.Root `json:"rootCause,omitempty"`
}

// ResourceEvent is an event of a stack in motion.
type ResourceEvent struct {
	Stack architecture.StackName `json:"stack"`
	stack.Event
}

// Step is work outside of CloudFormation.
type Step struct {
	Time  time.Time              `json:"time"`
	Stack architecture.StackName `json:"stack,omitempty"`
	Text  string                 `json:"text"`

	// idle says how a wait goes on: nothing has moved.
	idle bool
}

func (StackStarted) event()  {}
func (StackFinished) event() {}
func (ResourceEvent) event() {}
func (Step) event()          {}

// Action is what a run or a plan does to a stack.
type Action string

// The actions.
const (
	CreateStack Action = "create"
	UpdateStack Action = "update"
	DeleteStack Action = "delete"
	// NoChange: the stack is up to date.
	NoChange Action = "none"
	// AwaitStack: an operation that an earlier run began goes on.
	AwaitStack Action = "await"
	// RecoverStack: a stack is brought out of a failure.
	RecoverStack Action = "recover"
	// ProtectStack: protection is switched on or off.
	ProtectStack Action = "protect"
)

// run is one operation on a target.
type run struct {
	Target
	driver *stack.Driver
	mu     sync.Mutex // serialises Emit
	names  map[string]architecture.StackName
	denied sync.Map // permissions that were said to be lacking
}

func newRun(t Target, names map[string]architecture.StackName) *run {
	r := &run{Target: t, names: names}
	r.driver = &stack.Driver{CFN: t.AWS.CloudFormation, Clock: t.AWS.Clock, Tell: func(stack, text string) { r.tell(r.names[stack], text) }}
	if t.Emit != nil && !t.Terse {
		r.driver.Emit = func(e stack.Event) {
			r.emit(ResourceEvent{Stack: r.names[e.Stack], Event: e})
		}
	}
	return r
}

func (r *run) emit(e Event) {
	if r.Emit == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Emit(e)
}

func (r *run) step(name architecture.StackName, format string, args ...any) {
	r.emit(Step{Time: r.AWS.Clock.Now(), Stack: name, Text: fmt.Sprintf(format, args...)})
}

// timed runs one stack's part between its two events.
func (r *run) timed(name architecture.StackName, action Action, expected time.Duration, f func() (changes int, err error)) error {
	start := r.AWS.Clock.Now()
	r.emit(StackStarted{Time: start, Stack: name, Action: action, Expected: expected})
	n, err := f()
	done := StackFinished{Time: r.AWS.Clock.Now(), Stack: name, Action: action, Changes: n, Err: err}
	done.Took = done.Time.Sub(start)
	if err != nil {
		done.Error = err.Error()
		var failed *stack.Error
		if errors.As(err, &failed) {
			root := failed.Root()
			done.Root = &root
		}
	}
	r.emit(done)
	return err
}

// built are a target's stacks with their templates, in order.
func built(t Target) ([]templates.Stack, map[string]architecture.StackName, error) {
	all, err := templates.All(t.Architecture)
	if err != nil {
		return nil, nil, err
	}
	names := map[string]architecture.StackName{}
	for _, s := range all {
		names[s.StackName] = s.Name
	}
	return all, names, nil
}

// errSkipped marks a stack whose turn never came.
var errSkipped = errors.New("skipped")

// inOrder runs f for every name once all names that come before it are done.
// What can run side by side does. After an error, what depends on the failed
// one is left out and the rest goes on, so that the next run has less to do.
// The errors are joined, the earliest first.
func inOrder(ctx context.Context, names []architecture.StackName, before func(architecture.StackName) []architecture.StackName, f func(context.Context, architecture.StackName) error) error {
	type result struct {
		done chan struct{}
		err  error
	}
	results := make(map[architecture.StackName]*result, len(names))
	for _, n := range names {
		results[n] = &result{done: make(chan struct{})}
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for _, n := range names {
		wg.Go(func() {
			res := results[n]
			defer close(res.done)
			for _, b := range before(n) {
				dep, ok := results[b]
				if !ok {
					continue
				}
				<-dep.done
				if dep.err != nil {
					res.err = errSkipped
				}
			}
			if res.err == nil && ctx.Err() != nil {
				res.err = context.Cause(ctx)
			} else if res.err == nil {
				res.err = f(ctx, n)
			}
			if res.err != nil && !errors.Is(res.err, errSkipped) {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, res.err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// unordered has all stacks side by side.
func unordered(architecture.StackName) []architecture.StackName { return nil }

// after maps each stack to those before it, and reversed the other way round.
func after(stacks []architecture.Stack) func(architecture.StackName) []architecture.StackName {
	m := map[architecture.StackName][]architecture.StackName{}
	for _, s := range stacks {
		m[s.Name] = s.After
	}
	return func(n architecture.StackName) []architecture.StackName { return m[n] }
}

func reversed(stacks []architecture.Stack) func(architecture.StackName) []architecture.StackName {
	m := map[architecture.StackName][]architecture.StackName{}
	for _, s := range stacks {
		for _, a := range s.After {
			m[a] = append(m[a], s.Name)
		}
	}
	return func(n architecture.StackName) []architecture.StackName { return slices.Clone(m[n]) }
}
