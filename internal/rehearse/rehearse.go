// Package rehearse plays a deployment's whole life in a sandbox: what the file
// presupposes is put into a new account, then the deployment is planned,
// created by a run that is killed half-way and a second one that goes on,
// found to be complete and to conform, and changed. Then somebody changes
// something behind its back, which is noticed and put right, and a copy of the
// account loses a zone. In the end the deployment is deleted, and the account is
// found as it was. Any mismatch makes the rehearsal fail.
//
// The product is the real one: it reaches the sandbox over HTTP with the AWS
// SDK, on a clock that runs fast while nothing but simulated operations is
// waited for. The package prints nothing; it emits events and returns a
// [Report] in which every figure is computed from the run.
//
// Limits: what the sandbox doesn't model is not rehearsed; see
// [Report.NotModelled]. The account is new, so what else a customer has in it
// is not there.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/recording"
)

// DefaultSpeed makes an hour of waiting last about a second.
const DefaultSpeed = 3000

// defaultAccount is the account of files that name none.
const defaultAccount = "123456789012"

// Options qualify Run.
type Options struct {
	// Name of the file, for faults, and what stands in it.
	Name   string
	Source []byte
	// Speed is the factor by which waiting is shortened; 0 means
	// [DefaultSpeed].
	Speed float64
	// Seed varies ids, durations and where the first run is killed; 0 means
	// typical ones.
	Seed uint64
	// Keep leaves the deployment standing after the update, and the sandbox
	// serving until the context ends.
	Keep bool
	// Record puts into the report which permissions it takes.
	Record bool
	// Policies are all that the operator and the service role may do; nil lets
	// both do everything.
	Policies *Policies
	// Faults are files of what goes wrong. With some, the life is another one:
	// commands run as people run them, up to Attempts times each (0 means
	// [DefaultAttempts]), and nothing is killed, breached or lost besides.
	Faults   []Faults
	Attempts int
	// Plugin is AWS's session-manager-plugin; empty means that PATH has it.
	Plugin string
	// Emit receives events, one at a time. May be nil.
	Emit func(Event)
	// Observe is told of every exchange with the sandbox, for tests that hold
	// it to AWS's service models. May be nil.
	Observe func(sandbox.Exchange)
}

// MismatchError says that the account is not what it should be.
type MismatchError struct {
	What  string
	Items []string
}

func (e *MismatchError) Error() string {
	const most = 20
	items := e.Items
	more := ""
	if len(items) > most {
		more = fmt.Sprintf(" and %d more", len(items)-most)
		items = items[:most]
	}
	return e.What + ": " + strings.Join(items, "; ") + more
}

// run is a rehearsal in progress.
type run struct {
	opts   Options
	clock  *clock.Scaled
	box    *sandbox.Sandbox
	server *server
	doors  *Doors
	operator
	faults *fault.Injector
	ops    chain.Recorder
	// inside says that the operator has gone into the VPC.
	inside bool
	calls  atomic.Int64
	report *Report

	mu sync.Mutex // serialises emit and guards what OnCall counts, and processes
	// processes are those that were started, by their numbers.
	processes map[int]*process
	pids      int

	arch  *architecture.Architecture // as the file says
	next  *architecture.Architecture // after the update
	start []*account.Resource
}

// Run rehearses a deployment. It blocks until the rehearsal is over. The
// report says how far it came, also when there is an error; it is nil if the
// file has faults, which are a [config.Faults], or the files of faults have
// mistakes, which are [fault.Mistakes].
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Speed == 0 {
		o.Speed = DefaultSpeed
	}
	c, err := config.Parse(o.Name, o.Source)
	if err != nil {
		return nil, err
	}
	arch, err := architecture.New(c)
	if err != nil {
		return nil, err
	}
	if len(o.Faults) > 0 {
		next, _, err := Change(o.Name, o.Source, c)
		if err != nil {
			return nil, err
		}
		if _, err := ParseFaults(o.Faults, c.Region, arch, next); err != nil {
			return nil, err
		}
	}
	r := &run{opts: o, clock: clock.NewScaled(o.Speed), arch: arch, processes: map[int]*process{}, operator: newOperator(arch)}
	so := SandboxOptions(arch)
	so.Now, so.Seed, so.OnCall, so.Observe, so.OnOperation = r.clock.Now, o.Seed, r.onCall, o.Observe, r.ops.Add
	if o.Record {
		so.Recording = &recording.Recording{}
	}
	r.report = newReport(arch, o, so.AccountID)
	if r.doors, err = OpenDoors(ctx, &so, arch); err != nil {
		return r.report, err
	}
	r.box = sandbox.New(so)
	r.doors.Attach(r.box)
	r.doors.Hold(r.clock)
	if r.server, err = serve(ctx, r.box, r.clock); err != nil {
		return r.report, errors.Join(err, r.doors.Close())
	}
	if len(o.Faults) > 0 {
		err = r.trial(ctx)
	} else {
		err = r.steps(ctx)
	}
	if o.Record {
		r.report.Permissions = NewPermissions(so.Recording, r.arch, r.box)
	}
	if closed := errors.Join(r.server.close(), r.doors.Close()); closed != nil {
		err = errors.Join(err, fmt.Errorf("stop the sandbox: %w", closed))
	}
	if err != nil {
		r.report.Failure = err.Error()
	}
	r.report.finish()
	return r.report, err
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// onCall counts the calls as the account sees them.
func (r *run) onCall(c sandbox.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Calls[c.Service+"."+c.Operation]++
}

func (r *run) emit(e Event) {
	if r.opts.Emit == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opts.Emit(e)
}

// step runs a part of the rehearsal between its two events and puts it into
// the report.
func (r *run) step(s Step, title string, plan *deploy.Plan, f func() (outcome string, err error)) error {
	r.emit(StepStarted{s, title, plan, r.clock})
	simulated, wall, calls := r.clock.Now(), time.Now(), r.calls.Load()
	outcome, err := f()
	done := StepReport{
		Step: s, Title: title, Outcome: outcome, Calls: int(r.calls.Load() - calls),
		Simulated: r.clock.Now().Sub(simulated), Wall: time.Since(wall),
	}
	if s == StepCompare {
		// Moving the clock past waiting periods is no operation.
		done.Simulated -= r.report.Skipped
	}
	if err != nil {
		done.Failure = err.Error()
		err = fmt.Errorf("%s: %w", s, err)
	}
	r.report.Steps = append(r.report.Steps, done)
	r.emit(StepFinished{done, err})
	return err
}

// steps is the rehearsal.
func (r *run) steps(ctx context.Context) error {
	if err := r.prepare(); err != nil {
		return err
	}
	plan, err := r.plan(ctx, StepPlan, "plan, with nothing there yet", r.arch)
	if err != nil {
		return err
	}
	for _, s := range plan.Stacks {
		if s.Action != deploy.CreateStack {
			return fmt.Errorf("plan: stack %s is planned as %s in an empty account", s.Name, s.Action)
		}
	}
	if err := r.create(ctx, plan); err != nil {
		return err
	}
	if err := r.unchanged(ctx, StepCheck, r.arch); err != nil {
		return err
	}
	if err := r.verify(ctx, StepVerify, "verify: does it conform?", r.arch); err != nil {
		return err
	}
	if err := r.update(ctx); err != nil {
		return err
	}
	if err := r.breach(ctx); err != nil {
		return err
	}
	if err := r.outage(ctx); err != nil {
		return err
	}
	if r.opts.Keep {
		return r.keep(ctx)
	}
	return r.delete(ctx)
}

// keep leaves the deployment and serves it until the context ends.
func (r *run) keep(ctx context.Context) error {
	r.report.Kept = nil
	r.emit(Serving{r.server.Endpoint})
	var report []error
	err := NewPacer(r.box.Account(), r.clock).Run(ctx, func(err error) { report = append(report, err) })
	if ctx.Err() == nil {
		return errors.Join(append(report, err)...)
	}
	return errors.Join(report...)
}

func (r *run) prepare() error {
	err := r.step(StepGiven, "a new account, with what the file presupposes", nil, func() (string, error) {
		items, err := Given(r.box, r.arch)
		r.report.Given = items
		if err == nil && r.opts.Policies != nil {
			err = Limit(r.box, r.arch, *r.opts.Policies)
		}
		return fmt.Sprintf("%d given", len(items)), err
	})
	if err != nil {
		return err
	}
	return r.step(StepValidate, "validate the file, and derive the update from it", nil, func() (string, error) {
		next, edits, err := Change(r.opts.Name, r.opts.Source, r.arch.Config)
		if err != nil {
			return "", err
		}
		r.next, r.report.Edits = next, edits
		// A promotion names administrators that the first file does not.
		more, err := Given(r.box, next)
		r.report.Given = append(r.report.Given, more...)
		r.start = r.box.Account().Resources()
		return count(len(edits), "value") + " to change", err
	})
}

// plan makes and shows a plan.
func (r *run) plan(ctx context.Context, s Step, title string, a *architecture.Architecture) (*deploy.Plan, error) {
	var plan *deploy.Plan
	err := r.step(s, title, nil, func() (string, error) {
		p, err := r.process(ctx)
		if err != nil {
			return "", err
		}
		defer p.end()
		if plan, err = deploy.MakePlan(p.ctx, deploy.Target{Architecture: a, AWS: p.clients}); err != nil {
			return "", err
		}
		r.emit(Planned{s, plan})
		return outcome(plan), nil
	})
	return plan, err
}

func outcome(p *deploy.Plan) string {
	if p.Empty() {
		return "no changes"
	}
	n := 0
	for _, s := range p.Stacks {
		if s.Action != deploy.NoChange {
			n++
		}
	}
	return fmt.Sprintf("changes in %d of %d stacks", n, len(p.Stacks))
}

// unchanged plans again and fails unless the plan is empty.
func (r *run) unchanged(ctx context.Context, s Step, a *architecture.Architecture) error {
	plan, err := r.plan(ctx, s, "plan again: nothing may be left to do", a)
	if err != nil || plan.Empty() {
		return err
	}
	var left []string
	for _, st := range plan.Stacks {
		for _, c := range st.Changes {
			left = append(left, fmt.Sprintf("%s %s (%s) of stack %s", c.Action, c.LogicalID, c.Type, st.Name))
		}
		if st.Action != deploy.NoChange && len(st.Changes) == 0 {
			left = append(left, fmt.Sprintf("%s stack %s", st.Action, st.Name))
		}
	}
	return &MismatchError{string(s) + ": the plan is not empty after everything was applied", left}
}

// target is a deployment as one process sees it.
func (r *run) target(p *process, a *architecture.Architecture, s Step, also func(deploy.Event)) deploy.Target {
	return deploy.Target{Architecture: a, AWS: p.clients, Machine: r.machine(p.clock, r.inside), Holder: r.holder(p, s), Emit: func(e deploy.Event) {
		if p.dead.Load() {
			// The dead say nothing.
			return
		}
		r.report.see(s, e)
		r.emit(Deployed{s, e})
		if also != nil {
			also(e)
		}
	}}
}

// create makes the deployment in two runs: the first is killed.
func (r *run) create(ctx context.Context, plan *deploy.Plan) error {
	start := r.clock.Now()
	err := r.step(StepCreate, "create, and kill the run half-way", plan, func() (string, error) {
		p, err := r.process(ctx)
		if err != nil {
			return "", err
		}
		defer p.end()
		k := &killer{r: r, p: p, after: max(len(plan.Stacks)/3, 1)}
		if r.opts.Seed != 0 {
			k.after = 1 + int(r.opts.Seed%uint64(max(len(plan.Stacks)-2, 1)))
		}
		_, err = deploy.Create(p.ctx, deploy.CreateOptions{Target: r.target(p, r.arch, StepCreate, k.event)})
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case k.killed && err != nil:
			return fmt.Sprintf("killed with %s done and %d in motion", count(len(k.done), "stack"), len(k.moving)), nil
		case err == nil:
			err = errors.New("the run was over before it was killed")
		}
		return "", err
	})
	if err != nil {
		return err
	}
	err = r.step(StepResume, "create again: a new process goes on", plan, func() (string, error) {
		p, err := r.process(ctx)
		if err != nil {
			return "", err
		}
		defer p.end()
		res, err := deploy.Create(p.ctx, deploy.CreateOptions{Target: r.target(p, r.arch, StepResume, nil)})
		way, err := r.reached(res, err)
		if err != nil {
			return "", err
		}
		if r.report.Creation, err = r.pace(r.arch, start); err != nil {
			return "", err
		}
		if err := r.report.measure(p, r.arch); err != nil {
			return "", err
		}
		return "complete, " + count(len(res.Outputs), "stack") + "; " + way, nil
	})
	if err != nil || r.report.Kubernetes.Way != "" {
		return err
	}
	r.inside = true
	return r.step(StepInside, "create from inside the VPC: the Kubernetes phase goes on", plan, func() (string, error) {
		p, err := r.process(ctx)
		if err != nil {
			return "", err
		}
		defer p.end()
		res, err := deploy.Create(p.ctx, deploy.CreateOptions{Target: r.target(p, r.arch, StepInside, nil)})
		if err != nil {
			return "", err
		}
		return r.reached(res, nil)
	})
}

// pace is how a run that began at a time and ends now kept up with its longest
// chain of operations; nil under faults, whose failures are no chain.
func (r *run) pace(a *architecture.Architecture, start time.Time) (*chain.Pace, error) {
	if r.faults != nil {
		return nil, nil
	}
	now := r.clock.Now()
	p, err := chain.Of(a, r.box.Account(), r.ops.Between(start, now), now.Sub(start))
	return &p, err
}

// reached puts into the report how a run got to the Kubernetes API, or that it
// did not, which is no failure: the rehearsal goes on from inside the VPC.
func (r *run) reached(res *deploy.Result, err error) (outcome string, out error) {
	var unreachable *cluster.UnreachableError
	switch {
	case errors.As(err, &unreachable):
		r.report.Kubernetes = deploy.KubernetesStatus{Endpoint: unreachable.Endpoint, Attempts: unreachable.Attempts}
		return "no route to Kubernetes from outside", nil
	case err != nil:
		return "", err
	}
	k := res.Kubernetes
	r.report.Kubernetes = deploy.KubernetesStatus{Endpoint: k.Endpoint, Way: k.Way, Via: k.Via, Version: k.Version, Attempts: append(r.report.Kubernetes.Attempts, k.Attempts...)}
	return "Kubernetes: " + k.String(), nil
}

// killer ends a process in the middle of things: some stacks are done, and
// CloudFormation works on others.
type killer struct {
	r      *run
	p      *process
	after  int
	killed bool
	done   []architecture.StackName
	moving []architecture.StackName
}

func (k *killer) event(e deploy.Event) {
	if k.killed {
		return
	}
	switch e := e.(type) {
	case deploy.StackFinished:
		if e.Err == nil {
			k.moving = slices.DeleteFunc(k.moving, func(n architecture.StackName) bool { return n == e.Stack })
			k.done = append(k.done, e.Stack)
		}
	case deploy.ResourceEvent:
		if !e.IsStack() && !slices.Contains(k.moving, e.Stack) && !slices.Contains(k.done, e.Stack) {
			k.moving = append(k.moving, e.Stack)
		}
	}
	// Later there may be only one stack in motion at a time.
	if enough := 2; len(k.done) >= k.after && (len(k.moving) >= enough || len(k.moving) > 0 && len(k.done) >= k.after+enough) {
		k.killed = true
		k.p.kill()
		k.r.emit(Killed{k.r.clock.Now(), int(k.r.calls.Load()), slices.Clone(k.done), slices.Clone(k.moving)})
	}
}

// update changes the deployment and proves that nothing was lost.
func (r *run) update(ctx context.Context) error {
	r.emit(Changed{r.report.Edits})
	plan, err := r.plan(ctx, StepPlanUpdate, "plan the update", r.next)
	if err != nil {
		return err
	}
	r.report.Update = plan
	title := "update"
	if r.arch.Config.Profile == config.Evaluation && r.next.Config.Profile == config.Production {
		title = "update: evaluation becomes production"
	}
	before := r.box.Account().Resources()
	err = r.step(StepUpdate, title, plan, func() (string, error) {
		p, err := r.process(ctx)
		if err != nil {
			return "", err
		}
		defer p.end()
		res, err := deploy.Update(p.ctx, deploy.CreateOptions{Target: r.target(p, r.next, StepUpdate, nil), Drift: plan.Drift()})
		if err != nil {
			return "", err
		}
		kept, err := sameState(before, r.box.Account().Resources())
		r.report.Stateful = kept
		return fmt.Sprintf("%s changed, all %d with data kept", count(res.Changes, "resource"), kept), err
	})
	if err != nil {
		return err
	}
	return r.unchanged(ctx, StepCheckAgain, r.next)
}

// delete removes the deployment and compares the account with its start.
func (r *run) delete(ctx context.Context) error {
	var deleted *deploy.Deleted
	start := r.clock.Now()
	err := r.step(StepDelete, "delete, with all data", nil, func() (string, error) {
		p, err := r.process(ctx)
		if err != nil {
			return "", err
		}
		defer p.end()
		deleted, err = deploy.Delete(p.ctx, deploy.DeleteOptions{Target: r.target(p, r.next, StepDelete, nil), Data: deploy.DestroyData})
		if err != nil {
			return "", err
		}
		if r.report.Deletion, err = r.pace(r.next, start); err != nil {
			return "", err
		}
		r.report.Kept = deleted.Kept
		return count(len(deleted.Kept), "resource") + " kept and named", nil
	})
	if err != nil {
		return err
	}
	return r.step(StepCompare, "compare the account with its start", nil, func() (string, error) {
		roles, err := remainder(r.start, r.box.Account().Resources(), deleted.Kept)
		r.report.LinkedRoles = roles
		if err != nil {
			return "", err
		}
		var last time.Time
		for _, k := range deleted.Kept {
			if k.Until.After(last) {
				last = k.Until
			}
		}
		if wait := last.Sub(r.clock.Now()); !last.IsZero() && wait > -time.Hour {
			r.clock.Skip(wait + time.Hour)
			r.report.Skipped = wait + time.Hour
		}
		still := slices.DeleteFunc(slices.Clone(deleted.Kept), func(k deploy.Kept) bool { return !k.Until.IsZero() })
		_, err = remainder(r.start, r.box.Account().Resources(), still)
		return "as it was found", err
	})
}
