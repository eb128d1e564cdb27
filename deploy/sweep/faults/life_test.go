package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

func TestMain(m *testing.M) { life.Main(m) }

// wide is the life of an example whose update changes something in most stacks,
// and the tags of everything.
func wide(t *testing.T, name string) life.Life {
	t.Helper()
	l := life.Of(t, name)
	n := *l.First.Config
	n.Compute = slices.Clone(n.Compute)
	for i := range n.Compute {
		n.Compute[i].Max += 3
	}
	n.Database.BackupDays = max(n.Database.BackupDays, 14)
	n.Registry.Repositories = append(slices.Clone(n.Registry.Repositories), "extra")
	n.Cluster.LogRetentionDays, n.Network.FlowLogs.RetentionDays = 90, 90
	n.Access.Web.AllowCIDRs = append(slices.Clone(n.Access.Web.AllowCIDRs), "198.51.100.128/25")
	n.Tags = maps.Clone(n.Tags)
	if n.Tags == nil {
		n.Tags = map[string]string{}
	}
	n.Tags["swept"] = "yes"
	var err error
	if l.Next, err = architecture.New(&n); err != nil {
		t.Fatal(err)
	}
	return l
}

// stage is an account at the moment when a stack's turn comes.
type stage struct {
	box *sandbox.Sandbox
	at  time.Time
}

// story is a life that went undisturbed, with what is needed to repeat parts of
// it: the account at each stack's turn, and what was done to which resource.
type story struct {
	life.Life
	start  []byte // the account as it was found
	stages map[string]stage
	// ops are the operations of each command, and calls those that a run made from
	// a stage until its stack was done, or in a whole command.
	ops   map[life.Verb][]operation
	calls map[string][]string
}

// tales are the lives that were told, which tests share.
var tales = map[string]*story{}

// told is the undisturbed life of an example. Tests that share it don't run side
// by side.
func told(t *testing.T, name string) *story {
	t.Helper()
	if tales[name] == nil {
		tales[name] = tell(t, wide(t, name))
	}
	return tales[name]
}

type operation struct {
	stack    architecture.StackName
	resource string
	typ      string
	verb     string
}

// key names a stage: create/network. The whole command has the stack "".
func key(v life.Verb, s architecture.StackName) string { return string(v) + "/" + string(s) }

// tell has a life go undisturbed.
func tell(t *testing.T, l life.Life) *story {
	t.Helper()
	s := &story{Life: l, stages: map[string]stage{}, ops: map[life.Verb][]operation{}, calls: map[string][]string{}}
	life.Bubble(t, time.Time{}, func(t *testing.T) {
		var ops chain.Recorder
		var calls heard
		var box *sandbox.Sandbox
		box, s.start = l.Given(t, sandbox.Options{OnOperation: ops.Add, OnCall: calls.add})
		for i, v := range life.Verbs() {
			start, begun := time.Now(), map[architecture.StackName]int{}
			s.stages[key(v, "")] = stage{box.Clone(time.Now), start}
			r := run{Life: l, verb: v, box: box, pid: i, event: func(e deploy.Event) {
				switch e := e.(type) {
				case deploy.StackStarted:
					if e.Action != deploy.ProtectStack {
						s.stages[key(v, e.Stack)] = stage{box.Clone(time.Now), time.Now()}
						begun[e.Stack] = calls.len()
					}
				case deploy.StackFinished:
					if from, ok := begun[e.Stack]; ok && e.Action != deploy.ProtectStack {
						s.calls[key(v, e.Stack)] = calls.since(from)
						delete(begun, e.Stack)
					}
				}
			}}
			first := calls.len()
			if err := r.to(t.Context(), ""); err != nil {
				t.Fatalf("undisturbed: %v", err)
			}
			s.calls[key(v, "")] = calls.since(first)
			names := map[string]architecture.StackName{}
			for _, st := range architecture.Catalogue() {
				names[l.First.StackName(st.Name)] = st.Name
			}
			seen := map[operation]bool{}
			for _, o := range ops.Between(start, time.Now()) {
				op := operation{names[o.Stack], o.LogicalID, o.Type, o.Verb}
				if _, there := s.stages[key(v, op.stack)]; o.LogicalID != "" && op.stack != "" && there && !seen[op] && (v == life.Update || o.Verb == string(v)) {
					seen[op] = true
					s.ops[v] = append(s.ops[v], op)
				}
			}
			time.Sleep(time.Hour)
		}
	})
	return s
}

// heard are the calls that an account has answered, by what they do.
type heard struct {
	mu   sync.Mutex
	what []string
}

func (h *heard) add(c sandbox.Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.what = append(h.what, c.Service+":"+c.Operation)
}

func (h *heard) len() int { return len(h.since(0)) }

// since are the calls but for the first.
func (h *heard) since(first int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.what[first:])
}

// run is one run of a command.
type run struct {
	life.Life
	verb  life.Verb
	box   *sandbox.Sandbox
	pid   int
	event func(deploy.Event) // may be nil
	// short leaves out the look for drift, which takes most of an update's calls.
	short bool
	// stack is how the stack ended that the run was to go to, whole the run.
	stack, whole error
	ended        bool
}

// errReached ends a run that has gone as far as it is wanted to.
var errReached = errors.New("as far as it goes")

// to runs the command until a stack is over, or to its end if that is "". Runs
// of other numbers are dead.
func (r *run) to(ctx context.Context, until architecture.StackName) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	p := life.Process{Box: r.box, Holder: life.Alone(r.pid, string(r.verb)), Adjust: func(t *deploy.Target) {
		t.KeepDrift = r.short
		t.Emit = func(e deploy.Event) {
			mu.Lock()
			defer mu.Unlock()
			if r.event != nil {
				r.event(e)
			}
			if e, ok := e.(deploy.StackFinished); ok && until != "" && e.Stack == until && e.Action != deploy.ProtectStack && !r.ended {
				r.stack, r.ended = e.Err, true
				cancel(errReached)
			}
		}
	}}
	res, err := p.Run(ctx, r.verb, r.After(r.verb))
	if d := res.Deleted; err == nil && d != nil && d.Outcome != deploy.Clean {
		err = fmt.Errorf("all was to go, and delete ends %s: %+v", d.Outcome, d.Kept)
	}
	err = life.Gone(err) // whether it left nothing is looked at elsewhere
	r.whole = err
	if until != "" && r.ended {
		return r.stack
	}
	return err
}

// breakIt puts faults to work in an account.
func breakIt(t *testing.T, box *sandbox.Sandbox, seed uint64, region, faults string) *fault.Injector {
	t.Helper()
	plan, err := rehearse.ParseFaults([]rehearse.Faults{{Name: "faults.yaml", Source: []byte(faults)}}, region)
	if err != nil {
		t.Fatalf("%v\n%s", err, faults)
	}
	i := fault.New(plan, fault.Options{Seed: seed, Sleep: clock.Real{}.Sleep})
	box.Break(i)
	return i
}

// left is what an account holds that it did not hold at its start, or the other
// way round, whatever delete says it kept.
func (s *story) left(box *sandbox.Sandbox) string {
	return life.Left(s.start, box, map[string]bool{"AWS::Logs::LogGroup RDSOSMetrics": true}) // the region's
}

// noFaults is a plan in which nothing goes wrong.
func noFaults() *fault.Injector { return fault.New(fault.Plan{}, fault.Options{}) }

// planned holds a deployment to what it should be after a command: nothing is
// left to do.
func (s *story) planned(t *testing.T, v life.Verb, box *sandbox.Sandbox) {
	t.Helper()
	target, err := life.Process{Box: box}.Target(t.Context(), s.After(v))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := deploy.MakePlan(t.Context(), target)
	if err != nil {
		t.Errorf("plan after %s: %v", v, err)
		return
	}
	for _, st := range plan.Stacks {
		if st.Action != deploy.NoChange {
			t.Errorf("after %s, the plan is to %s stack %s: %+v", v, st.Action, st.Stack, st.Changes)
		}
	}
}
