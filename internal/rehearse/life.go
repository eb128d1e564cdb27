package rehearse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
)

// steps is the rehearsal.
func (r *run) steps(ctx context.Context) (err error) {
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
	opened := r.openPlatform(ctx)
	defer func() { err = errors.Join(err, opened.end()) }()
	if err := r.breach(ctx); err != nil {
		return err
	}
	if err := r.outage(ctx); err != nil {
		return err
	}
	if err := r.data(ctx); err != nil {
		return err
	}
	if err := r.platform(ctx, opened); err != nil {
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
	return deploy.Target{Architecture: a, AWS: p.clients, Machine: r.machine(p.clock, r.place(), r.inside), Holder: r.holder(p, s), Emit: func(e deploy.Event) {
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
		res, err := deploy.Update(p.ctx, deploy.CreateOptions{Target: r.target(p, r.next, StepUpdate, nil), Shown: plan})
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
