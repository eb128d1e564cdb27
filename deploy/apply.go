package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/preflight"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// ErrAbsent says that there is no such deployment in the account.
var ErrAbsent = errors.New("there is no such deployment in this account and region")

// Result is what a run of Create or Update came to.
type Result struct {
	// Complete tells that everything was there before and Create changed
	// nothing; Update is the way to change it.
	Complete bool
	// Changes counts the resources that were changed.
	Changes int
	Outputs map[architecture.StackName]map[string]string
	Took    time.Duration
	// Kubernetes is the route to the Kubernetes API, closed by now; nil if it
	// was not looked for.
	Kubernetes *cluster.Route
	// Releases are what [CreateOptions.Install] did.
	Releases []cluster.Applied
}

// CreateOptions qualify Create and Update.
type CreateOptions struct {
	Target
	// Drift is the drift that a plan has found just before, see [Plan.Drift]:
	// which stacks to put right. Create and Update look by themselves if it is nil.
	Drift map[architecture.StackName]*stack.Drift
	// Shown is the plan that was agreed to, whose drift counts in place of Drift.
	// What it did not show is not done: then the error is a [*StaleError]. Nil is
	// none, and everything is done that is due.
	Shown *Plan
	// Transfers are the bytes that the run moves beside the stacks.
	Transfers []Transfer
	// Install installs charts. It is called last: when all stacks are complete, all
	// transfers have ended, and the Kubernetes API was reached; otherwise not at all.
	// The context ends when the run's lease is lost. Nil installs none.
	Install func(context.Context, Target) ([]cluster.Applied, error)
}

// Create makes the deployment, or goes on making it. A deployment that is
// complete is left as it is, whatever the configuration says by now. Create
// blocks until the work is done; it may be repeated after any error. With a
// [PendingError] there is a result too: the AWS side is complete.
func Create(ctx context.Context, o CreateOptions) (*Result, error) {
	res, err := hold(ctx, o.Target, func(ctx context.Context, t Target) (*Result, error) {
		o.Target = t
		return converge(ctx, o, false)
	})
	return res, interrupted(ctx, err)
}

// Update changes the deployment to what the configuration says: what is
// missing is made, what the configuration no longer has is deleted, and what
// somebody changed outside of CloudFormation is put back, unless drift is to be
// kept. It returns [ErrAbsent] if there is nothing to update.
func Update(ctx context.Context, o CreateOptions) (*Result, error) {
	res, err := hold(ctx, o.Target, func(ctx context.Context, t Target) (*Result, error) {
		o.Target = t
		return converge(ctx, o, true)
	})
	return res, interrupted(ctx, err)
}

// interrupted gives an error the cause that the context ended for, if it did.
func interrupted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

// applying is a converge in progress.
type applying struct {
	*run
	opts CreateOptions
	// creating: what is gone is made again or refused, and not left out.
	creating bool
	stacks   map[architecture.StackName]templates.Stack
	states   map[architecture.StackName]*stack.State
	// foreign are stacks of others that have names of this deployment.
	foreign []*stack.State
	// origin is where the database that is yet to be made has its data from.
	origin *Origin
	zones  []preflight.Zone
	caller string
	// orphan: there is the record of an upgrade, and no cluster of it any more.
	orphan bool
	// account is the caller's.
	account string
	// advice is what a look at the network has found besides.
	advice config.Faults
	sizes  map[string]int // nodes that node groups have now, by parameter
	costs  map[architecture.StackName]time.Duration
	// keysFrom is when the roles that key policies name can be named.
	keysFrom time.Time
	// madeRole tells that this run made one of them, or one that did a moment ago.
	madeRole bool
	// drift of the stacks that were looked at; driftUnknown is why some were
	// not.
	drift        map[architecture.StackName]*stack.Drift
	driftUnknown string
	// lost is what stacks held that is gone, see [applying.lookAtData].
	lost map[architecture.StackName][]stack.Resource

	gpu gpuRun

	transfers transfers

	mu      sync.Mutex
	outputs map[architecture.StackName]map[string]string
	changes int
}

// converge does what is to be done, and waits for what is moved beside it.
func converge(ctx context.Context, o CreateOptions, update bool) (*Result, error) {
	all, names, err := built(o.Target)
	if err != nil {
		return nil, err
	}
	if o.Shown != nil {
		o.Drift = o.Shown.drift
	}
	r := newRun(o.Target, names)
	start := r.AWS.Clock.Now()
	a := &applying{
		run: r, opts: o, creating: !update, stacks: map[architecture.StackName]templates.Stack{}, outputs: map[architecture.StackName]map[string]string{},
		costs:     map[architecture.StackName]time.Duration{},
		transfers: transfers{run: r, waiting: o.Transfers, outputs: map[architecture.StackName]map[string]string{}},
	}
	res, err := a.converge(ctx, all, start, update)
	if err = errors.Join(err, a.transfers.wait()); err != nil || o.Install == nil || res.Kubernetes == nil {
		return res, err
	}
	err = r.within(ctx, func(ctx context.Context) (err error) {
		res.Releases, err = o.Install(ctx, r.Target)
		return err
	})
	res.Took = r.AWS.Clock.Now().Sub(start)
	return res, err
}

func (a *applying) converge(ctx context.Context, all []templates.Stack, start time.Time, update bool) (*Result, error) {
	o, r := a.opts, a.run
	for _, s := range all {
		a.stacks[s.Name] = s
		a.costs[s.Name] = createTime(s.Body)
	}
	owned, foreign, err := knownStacks(ctx, r.driver, o.Architecture.Config.Name)
	if err != nil {
		return nil, err
	}
	a.states, a.foreign = owned, foreign
	if o.Shown != nil {
		if err := o.Shown.stale(owned); err != nil {
			return nil, err
		}
	}
	exists := slices.ContainsFunc(slices.Collect(maps.Values(owned)), (*stack.State).Exists)
	if update && !exists {
		return nil, fmt.Errorf("update %s: %w", o.Architecture.Config.Name, ErrAbsent)
	}
	if err := a.lookAtData(ctx, update && o.KeepDrift); err != nil {
		return nil, err
	}
	allThere := true
	if !update {
		if err := a.lookForLoss(ctx, o.Drift); err != nil {
			return nil, err
		}
		a.tellLoss()
		allThere = len(a.drift) == 0 && a.driftUnknown == ""
		a.driftUnknown = ""
	}
	if !update && a.complete() && allThere {
		// Protection, charts and all that follows would be somebody else's. A look that
		// fails decides nothing: charts ask for the cluster again, and a database gets at
		// most its protection.
		err := a.replaced(ctx, a.states)
		if _, refused := errors.AsType[*RefusedError](err); refused {
			return nil, err
		}
		for n, st := range owned {
			a.outputs[n] = st.Outputs
			a.transfers.complete(ctx, n, st.Outputs)
		}
		return a.finish(ctx, start, true, nil)
	}
	if err := a.judge(ctx); err != nil {
		return nil, err
	}
	if err := a.look(ctx); err != nil {
		return nil, err
	}
	if update && !o.KeepDrift && o.Drift != nil {
		a.drift = maps.Clone(o.Drift)
		a.addLost()
	}
	if update && o.Drift == nil && !o.KeepDrift {
		a.step("", "looking for drift: what was changed outside of CloudFormation")
		if err := a.lookForDrift(ctx, everything); err != nil {
			return nil, err
		}
		if a.driftUnknown != "" {
			a.step("", "drift is left alone where it is not known: %s", a.driftUnknown)
		}
	}
	if err := a.refuseDowngrade(); err != nil {
		return nil, err
	}
	if err := a.judgeDrift(); err != nil {
		return nil, err
	}
	if a.orphan {
		a.step("", "the record of an upgrade is removed: its cluster is gone")
		if err := forgetUpgrade(ctx, o.Target); err != nil {
			return nil, err
		}
	}
	if err := a.announce(ctx); err != nil {
		return nil, err
	}
	for _, f := range a.advice {
		a.step(architecture.Network, "%s: %s; advice: %s", f.Path, f.Reason, f.Fix)
	}
	if a.keysFrom, err = a.ensureServiceLinkedRole(ctx); err != nil {
		return nil, err
	}
	a.madeRole = a.keysFrom.After(a.AWS.Clock.Now())
	var order []architecture.StackName
	for _, s := range o.Architecture.Stacks {
		order = append(order, s.Name)
	}
	before := ""
	if st := owned[architecture.Certificate]; st.Exists() {
		before = st.Outputs["CertificateArn"]
	}
	err = inOrder(ctx, order, after(o.Architecture.Stacks), a.apart)
	if err == nil {
		err = a.removeSurplus(ctx)
	}
	if now := a.output(architecture.Certificate, "CertificateArn"); err == nil && before != "" && now != "" && now != before {
		err = a.retireCertificate(ctx, before)
	}
	return a.finish(ctx, start, false, err)
}

// finish is what comes after all stacks, if they came without an error:
// protection, which a way out that is not proved doesn't keep off, then the
// Kubernetes phase, which the AWS side never needs.
func (a *applying) finish(ctx context.Context, start time.Time, complete bool, err error) (*Result, error) {
	res := &Result{Complete: complete, Outputs: a.outputs}
	if err == nil {
		// A complete deployment is left as it is, but for protection that it lacks.
		if !complete || a.Architecture.Config.Database.DeletionProtection {
			err = a.protect(ctx, a.platform())
		}
		if ctx.Err() == nil {
			err = errors.Join(err, a.proveExits(ctx))
		}
	}
	gpu, fatal := a.gpuPhase(ctx, err == nil)
	err = errors.Join(err, fatal)
	if err == nil {
		res.Kubernetes, err = a.kubernetes(ctx)
	}
	err = pendingGPU(a.Architecture.Config.Name, err, gpu)
	res.Changes, res.Took = a.changes, a.AWS.Clock.Now().Sub(start)
	return res, err
}

// state is a stack as it was last seen. Stacks are worked on side by side.
func (a *applying) state(name architecture.StackName) *stack.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.states[name]
}

func (a *applying) setState(name architecture.StackName, st *stack.State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.states[name] = st
}

// output is what a stack has given so far, or "".
func (a *applying) output(name architecture.StackName, key string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outputs[name][key]
}

// complete tells that every stack of the architecture is whole.
func (a *applying) complete() bool {
	for n := range a.stacks {
		if st := a.states[n]; st == nil || stack.ConditionOf(st.Status) != stack.Whole {
			return false
		}
	}
	return true
}

// look finds out what only the account can tell. It only reads.
func (a *applying) look(ctx context.Context) error {
	if err := a.lookAtNetwork(ctx); err != nil {
		return err
	}
	if a.caller == "" {
		id, err := a.AWS.Identity(ctx)
		if err != nil {
			return err
		}
		a.caller = id.Principal
	}
	return a.readSizes(ctx)
}

// apply makes one stack what it shall be.
func (a *applying) apply(ctx context.Context, name architecture.StackName) error {
	s := a.stacks[name]
	action := CreateStack
	if st := a.state(name); st.Exists() && stack.ConditionOf(st.Status) == stack.Moving {
		action = AwaitStack
	} else if st.Exists() {
		action = UpdateStack
	}
	err := a.timed(name, action, a.costs[name], a.witnessed(ctx, name, func() (int, error) {
		if action == AwaitStack {
			// What comes of it decides what is handed on.
			st, err := a.driver.Rest(ctx, s.StackName)
			if err != nil {
				return 0, err
			}
			a.setState(name, st)
			if name == architecture.Database && !(st.Exists() && stack.Lasts(st.Status)) {
				if err := a.judgeOrigin(ctx); err != nil {
					return 0, err
				}
			}
		}
		spec, unknown, err := a.spec(s)
		if err != nil {
			return 0, err
		}
		if len(unknown) > 0 {
			return 0, fmt.Errorf("stack %s needs outputs that stack %s does not have", s.StackName, unknown[0])
		}
		spec.RevertDrift = a.reverts(name)
		if wait := a.keysFrom.Sub(a.AWS.Clock.Now()); name == architecture.Keys && wait > 0 {
			if err := a.AWS.Clock.Sleep(ctx, wait); err != nil {
				return 0, err
			}
		}
		if a.Allow[guard.Replace] && a.state(name).Exists() && HoldsState(s) {
			// The policy comes back with the protection, as the last step.
			if err := a.driver.Policy(ctx, a.state(name).ID, openPolicy); err != nil {
				return 0, err
			}
		}
		if holdsNodes(name) && !a.state(name).Exists() {
			if err := a.checkTopology(ctx); err != nil {
				return 0, err
			}
		}
		if name == architecture.Certificate {
			a.compareDelegation(ctx)
		}
		out, err := a.bringPatiently(ctx, name, spec)
		if err != nil {
			return 0, err
		}
		if name == architecture.Network && !a.Architecture.Config.Network.Exists() {
			if err := a.emptyDefaultGroup(ctx, out.State.Outputs["VpcId"]); err != nil {
				return len(out.Changes), err
			}
		}
		if servers := out.State.Outputs["NameServers"]; name == architecture.DNS && len(out.Changes) > 0 && servers != "" {
			a.step(name, "delegate %s to %s; a certificate that is issued here waits until the domain leads there", a.Architecture.Config.DNS.Zone, strings.ReplaceAll(servers, ",", ", "))
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.outputs[name] = out.State.Outputs
		a.states[name] = out.State
		a.changes += len(out.Changes)
		return len(out.Changes), nil
	}))
	if err != nil {
		return err
	}
	// Who looks on has been told that the stack is complete.
	a.mu.Lock()
	outputs := a.outputs[name]
	a.mu.Unlock()
	a.transfers.complete(ctx, name, outputs)
	return nil
}
