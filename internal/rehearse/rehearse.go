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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
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
	// Servers opens what holds the data of a copy of an account, and says what isn't
	// at hand and what brings it; without any server it returns nil. The
	// architecture is what is deployed there. Nil rehearses
	// no data.
	Servers func(ctx context.Context, box *sandbox.Sandbox, a *architecture.Architecture) (*Servers, []string, error)
	// Platform opens a copy of an account whose cluster runs Kubernetes, with what is to
	// be installed there. It is called beside other steps, with a sandbox that nobody else
	// uses. Nil leaves Kubernetes out.
	Platform func(ctx context.Context, box *sandbox.Sandbox, a *architecture.Architecture) (*Platform, error)
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
	r.clock.Patient(clock.Computing)
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
