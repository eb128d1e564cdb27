package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
	"github.com/poolhouse/poolhouse/upgrade"
)

// UpgradeOptions qualify PlanUpgrade and Upgrade.
type UpgradeOptions struct {
	Target
	// Addons has the add-ons upgraded, and Kubernetes stay as it is.
	Addons bool
	// Asked is the Kubernetes version that the command line names; "" is none, and
	// another one than the file's is refused.
	Asked string
	// Bake is how long the new control plane is watched before anything follows.
	Bake time.Duration
	// Shown is the plan that was agreed to; what it did not show is not done: then the
	// error is a [*StaleError]. Nil is none.
	Shown *upgrade.Plan
}

// upgrading is an upgrade in progress.
type upgrading struct {
	*applying
	options   UpgradeOptions
	record    *Upgrading
	resources map[architecture.StackName][]stack.Resource
	deployed  map[architecture.StackName]guard.Stack // as the last plan found them
}

// PlanUpgrade tells what an upgrade has left to do. It only reads. A plan that is not
// carried out comes with a [*RefusedError] of everything that it is refused for; there
// is none where the cluster or the database is not the deployment's.
func PlanUpgrade(ctx context.Context, o UpgradeOptions) (*upgrade.Plan, error) {
	u, err := newUpgrading(ctx, o)
	if err != nil {
		return nil, err
	}
	return u.plan(ctx)
}

// Upgrade changes the Kubernetes version of a deployment to the file's, or its
// add-ons: the control plane alone, a time for which that is watched, add-ons one
// after another, and node groups last, one after another. It blocks until all is
// done, and may be repeated after any error: it goes on with what is left. Nodes that
// can't be drained because of a budget fail their group's update, as EKS has it; the
// error names the budgets.
func Upgrade(ctx context.Context, o UpgradeOptions) (*upgrade.Plan, error) {
	p, err := hold(ctx, o.Target, func(ctx context.Context, t Target) (*upgrade.Plan, error) {
		o.Target = t
		u, err := newUpgrading(ctx, o)
		if err != nil {
			return nil, err
		}
		return u.all(ctx)
	})
	return p, interrupted(ctx, err)
}

func newUpgrading(ctx context.Context, o UpgradeOptions) (*upgrading, error) {
	o.KeepDrift = true
	all, names, err := built(o.Target)
	if err != nil {
		return nil, err
	}
	r := newRun(o.Target, names)
	a := &applying{
		run: r, opts: CreateOptions{Target: o.Target}, stacks: map[architecture.StackName]templates.Stack{},
		outputs: map[architecture.StackName]map[string]string{}, costs: map[architecture.StackName]time.Duration{},
		transfers: transfers{run: r, outputs: map[architecture.StackName]map[string]string{}},
	}
	for _, s := range all {
		a.stacks[s.Name] = s
	}
	u := &upgrading{applying: a, options: o, resources: map[architecture.StackName][]stack.Resource{}}
	return u, u.lookAgain(ctx)
}

// lookAgain reads the deployment's stacks and the record.
func (u *upgrading) lookAgain(ctx context.Context) (err error) {
	if u.states, u.foreign, err = knownStacks(ctx, u.driver, u.Architecture.Config.Name); err != nil {
		return err
	}
	if !u.states[architecture.Cluster].Exists() {
		return fmt.Errorf("upgrade %s: %w", u.Architecture.Config.Name, ErrAbsent)
	}
	for n, st := range u.states {
		if st.Exists() {
			u.outputs[n] = st.Outputs
		}
	}
	clear(u.resources)
	if u.record, err = lookAtUpgrade(ctx, u.Target); err != nil {
		return err
	}
	return u.look(ctx)
}

// plan looks at the account and plans what is left.
func (u *upgrading) plan(ctx context.Context) (*upgrade.Plan, error) {
	if err := u.replaced(ctx, u.states); err != nil {
		return nil, err
	}
	f, err := u.facts(ctx)
	if err != nil {
		return nil, err
	}
	p := upgrade.Kubernetes(f)
	if u.options.Addons {
		p = upgrade.OnlyAddons(f)
		if u.record != nil {
			refused, err := u.upgradeRefusals(ctx)
			if err != nil {
				return nil, err
			}
			p.Refusals = append(p.Refusals, refused...)
		}
	}
	if len(p.Of(upgrade.Nodes)) > 0 {
		blocking, err := u.budgets(ctx)
		unseen, err := beside(ctx, err)
		switch {
		case err != nil:
			return nil, err
		case unseen != "":
			p.Notes = append(p.Notes, "budgets of pods were not looked at: "+unseen)
		}
		p.Budgets = blocking
	}
	differing, err := u.differing(p)
	if err != nil {
		return nil, err
	}
	p.Restore(differing)
	// Each is a reason of its own, also where the file has one place for many.
	p.Refusals = slices.DeleteFunc(p.Refusals, func(r guard.Refusal) bool { return r.Flag != "" && u.Allow[r.Flag] })
	if len(p.Refusals) > 0 {
		return p, &RefusedError{Refusals: p.Refusals, Untouched: true}
	}
	return p, nil
}

// differing are the stacks whose templates, once a plan's changes are made, are not
// the file's: a stage has written a version that the file doesn't pin, or Parameter
// Store says another one.
func (u *upgrading) differing(p *upgrade.Plan) (out []architecture.StackName, err error) {
	for _, place := range []architecture.StackName{architecture.Cluster, architecture.Addons, architecture.Parameters} {
		body := u.deployed[place].Body
		if body == nil {
			continue
		}
		for _, c := range p.Changes {
			if c.Stack != place {
				continue
			}
			if body, err = changed(body, c); err != nil {
				return nil, err
			}
		}
		same, err := sameJSON(body, u.stacks[place].Body)
		if err != nil {
			return nil, fmt.Errorf("compare the template of stack %s with the file's: %w", u.stacks[place].StackName, err)
		}
		if !same {
			out = append(out, place)
		}
	}
	return out, nil
}

// all carries out what is left, stage by stage.
func (u *upgrading) all(ctx context.Context) (*upgrade.Plan, error) {
	// What an operation of before leaves decides what is left.
	for _, place := range upgrade.Order {
		if st := u.states[place]; st.Exists() && stack.ConditionOf(st.Status) == stack.Moving {
			if _, err := u.driver.Rest(ctx, st.Name); err != nil {
				return nil, err
			}
		}
	}
	if err := u.lookAgain(ctx); err != nil {
		return nil, err
	}
	p, err := u.plan(ctx)
	if err != nil {
		return p, err
	}
	if u.options.Shown != nil {
		if changed := p.Differs(u.options.Shown); len(changed) > 0 {
			return p, &StaleError{changed}
		}
	}
	for _, stage := range upgrade.Stages {
		if err := u.stage(ctx, p, stage); err != nil {
			return p, err
		}
	}
	if u.record != nil {
		return p, forgetUpgrade(ctx, u.Target)
	}
	return p, nil
}

// stage carries out one stage of a plan.
func (u *upgrading) stage(ctx context.Context, p *upgrade.Plan, stage upgrade.Stage) error {
	changes := p.Of(stage)
	if len(changes) == 0 && (stage != upgrade.Bake || p.Bake == 0) {
		return nil
	}
	if !u.options.Addons {
		if u.record == nil || u.record.To != p.To { // the plan refuses another one that can't be given up
			u.record = &Upgrading{From: p.From, To: p.To, Began: u.AWS.Clock.Now()}
		}
		if stage == upgrade.ControlPlane {
			u.record.Well, u.record.Baked = time.Time{}, false
		}
		u.record.Stage = stage
		if err := u.record.save(ctx, u.Target); err != nil {
			return err
		}
	}
	if stage == upgrade.Bake {
		return u.bake(ctx, p.Bake)
	}
	for _, c := range changes {
		var err error
		if stage == upgrade.Templates {
			err = u.apply(ctx, c.Stack)
		} else {
			err = u.change(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("upgrade %s at its stage %q, %s: %w%s", p.Deployment, stage, c, err, u.undrained(ctx, stage))
		}
	}
	return nil
}
