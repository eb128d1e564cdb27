package deploy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Plan is what a Create or Update would do.
type Plan struct {
	Deployment string `json:"deployment"`
	Region     string `json:"region"`
	// Offline: no account was looked at, so everything counts as new.
	Offline bool        `json:"offline"`
	Stacks  []StackPlan `json:"stacks"`
	// Path is the chain of stacks that decides how long it takes.
	Path     []PathStep    `json:"criticalPath"`
	Expected time.Duration `json:"expectedNanoseconds"`
	// Deviations from the reference architecture, each with its reason.
	Deviations []architecture.Deviation `json:"deviations"`
	// DriftUnknown is why drift of some stacks is not known; "" if it is.
	DriftUnknown string `json:"driftUnknown,omitempty"`
	// Kubernetes is how the Kubernetes API is expected to be reached.
	Kubernetes architecture.KubernetesAccess `json:"kubernetes"`
	// Egress is how the public addresses change that the private subnets leave
	// by; nil if they don't.
	Egress *Egress `json:"egress,omitempty"`
	// Advice is what a look at the network found that will do and could be
	// better.
	Advice []config.Fault `json:"advice,omitempty"`
	// Adopted are the stacks that stand and are gone on from, while others are
	// yet to be made.
	Adopted []Adopted `json:"adopted,omitempty"`
	// Database is where a database that is yet to be made has its data from; nil
	// if it stands.
	Database *Origin `json:"database,omitempty"`
	// Unprotected is the protection that a complete deployment lacks although its
	// file asks for it: create and update put it back, whether or not there is
	// anything else to do.
	Unprotected []Protection `json:"unprotected,omitempty"`
	// Session is how long the credentials go on; nil without an account, or if
	// there is nothing to do.
	Session *Session `json:"session,omitempty"`
	// NotOurs are stacks that have the deployment's tag and are none of its own:
	// no command touches them.
	NotOurs []string `json:"notOurs,omitempty"`
	// Refusals are why the plan is not carried out. If there are any, Stacks may
	// be empty.
	Refusals []guard.Refusal `json:"refusals,omitempty"`

	drift map[architecture.StackName]*stack.Drift
	// seen are the stacks that the plan was made from.
	seen map[architecture.StackName]*stack.State
}

// StackPlan is what would happen to one stack.
type StackPlan struct {
	Stack    architecture.StackName `json:"stack"`
	Name     string                 `json:"name"`
	Action   Action                 `json:"action"`
	Expected time.Duration          `json:"expectedNanoseconds"`
	Changes  []stack.Change         `json:"changes"`
	// KnownAfter are the stacks whose outputs this one waits for; what depends
	// on them is compared locally.
	KnownAfter []architecture.StackName `json:"knownAfter,omitempty"`
	// Drift is what was changed outside of CloudFormation; nil if nothing was.
	// Changes marked as drift put it right; the rest is left alone.
	Drift *stack.Drift `json:"drift,omitempty"`
	// Before are the updates that come first, each on its own, in words.
	Before []string `json:"before,omitempty"`
	// Besides is what goes or stays with a stack that is deleted and that its
	// deletion by itself would not touch, in words.
	Besides []string `json:"besides,omitempty"`
	// Status of the stack when it stands in the way: an operation under way,
	// or a failed one that will be cleared up first.
	Status string `json:"status,omitempty"`

	// parameters are those that Changes were read with; nil if CloudFormation was
	// not asked.
	parameters map[string]string
}

// Empty tells that nothing would change.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Stacks, func(s StackPlan) bool { return s.Action != NoChange })
}

// PlanOffline plans without an account, as if nothing were there. It is pure.
func PlanOffline(a *architecture.Architecture) (*Plan, error) {
	all, err := templates.All(a)
	if err != nil {
		return nil, err
	}
	p := &Plan{Deployment: a.Config.Name, Region: a.Config.Region, Offline: true, Deviations: a.Deviations, Kubernetes: a.KubernetesAccess()}
	for _, s := range all {
		p.Stacks = append(p.Stacks, newStack(s))
	}
	p.time(a)
	return p, nil
}

// newStack plans a stack that does not exist.
func newStack(s templates.Stack) StackPlan {
	return StackPlan{Stack: s.Name, Name: s.StackName, Action: CreateStack, Expected: createTime(s.Body), Changes: localChanges(nil, s.Body), KnownAfter: sources(s)}
}

func sources(s templates.Stack) []architecture.StackName {
	var from []architecture.StackName
	for _, in := range s.Inputs {
		if n := architecture.StackName(in.Stack); !slices.Contains(from, n) {
			from = append(from, n)
		}
	}
	return from
}

// Drift is what the plan knows of the stacks' drift, for an update to go by
// instead of looking again. It is nil if the plan did not look.
func (p *Plan) Drift() map[architecture.StackName]*stack.Drift { return p.drift }

// MakePlan compares the configuration with the account, and the account with
// what was deployed. It writes nothing but change sets on stacks that exist,
// which it deletes after reading; that CloudFormation looks for drift leaves
// its findings with the stack. It refuses, by [config.Faults], a file whose
// Kubernetes version is older than what runs, and by [RefusedError], with the
// plan as far as it got, what the guards refuse and [Target] does not allow.
func MakePlan(ctx context.Context, t Target) (*Plan, error) {
	return planned(ctx, t, forUpdate)
}

// PlanCreate is [MakePlan] for a creation, which leaves drift to updates: it looks
// only whether what an earlier run made is still there.
func PlanCreate(ctx context.Context, t Target) (*Plan, error) {
	return planned(ctx, t, forCreate)
}

// purpose is what a plan is made for.
type purpose int

const (
	forUpdate purpose = iota
	forCreate
	// forReverts is for what has drifted, and judges nothing.
	forReverts
)

func planned(ctx context.Context, t Target, what purpose) (*Plan, error) {
	p, err := makePlan(ctx, t, what)
	if err == nil && !p.Empty() {
		p.Session, err = sessionOf(ctx, t.AWS, p.Expected)
	}
	return p, err
}

// PlanReverts is [MakePlan] for what has drifted, also where Kubernetes was
// upgraded beyond the file: as if the file had the version that runs.
func PlanReverts(ctx context.Context, t Target) (*Plan, error) {
	return makePlan(ctx, t, forReverts)
}

// lookings is how often a plan is made while others change the stacks under it.
const lookings = 4

// makePlan makes a plan of one moment: from the start again if a stack is changed
// meanwhile.
func makePlan(ctx context.Context, t Target, what purpose) (*Plan, error) {
	for n := 1; ; n++ {
		p, err := compare(ctx, t, what)
		var changed *stack.ChangedError
		if !errors.As(err, &changed) || n == lookings {
			return p, err
		}
		newRun(t, nil).step("", "stack %s was changed by somebody else while it was looked at: looking again", changed.Stack)
	}
}

func compare(ctx context.Context, t Target, what purpose) (*Plan, error) {
	all, names, err := built(t)
	if err != nil {
		return nil, err
	}
	a := &applying{run: newRun(t, names), creating: what == forCreate, stacks: map[architecture.StackName]templates.Stack{}, outputs: map[architecture.StackName]map[string]string{}}
	for _, s := range all {
		a.stacks[s.Name] = s
	}
	if a.states, a.foreign, err = knownStacks(ctx, a.driver, t.Architecture.Config.Name); err != nil {
		return nil, err
	}
	for n, st := range a.states {
		if st.Exists() {
			a.outputs[n] = st.Outputs
		}
	}
	if what != forReverts {
		if err := a.lookAtData(ctx, what == forUpdate && t.KeepDrift); err != nil {
			return nil, err
		}
	}
	if what == forCreate {
		if err := a.lookForLoss(ctx, nil); err != nil {
			return nil, err
		}
	}
	if what != forReverts {
		err := a.judge(ctx)
		var refused *RefusedError
		if errors.As(err, &refused) {
			return &Plan{
				Deployment: t.Architecture.Config.Name, Region: t.AWS.Region, Deviations: t.Architecture.Deviations, Kubernetes: t.Architecture.KubernetesAccess(),
				Adopted: a.adopted(), Database: a.origin, NotOurs: strays(a.foreign, t.Architecture.Config.Name), Refusals: refused.Refusals,
			}, err
		}
		if err != nil {
			return nil, err
		}
	}
	if err := a.look(ctx); err != nil {
		return nil, err
	}
	if what != forCreate && !t.KeepDrift {
		if err := a.lookForDrift(ctx, everything); err != nil {
			return nil, err
		}
	}
	if what == forReverts {
		a.asRaised()
	} else if err := a.refuseDowngrade(); err != nil {
		return nil, err
	}
	p := &Plan{
		Deployment: t.Architecture.Config.Name, Region: t.AWS.Region, Deviations: t.Architecture.Deviations, Stacks: make([]StackPlan, len(all)),
		Kubernetes: t.Architecture.KubernetesAccess(), DriftUnknown: a.driftUnknown, Advice: a.advice, drift: a.drift, seen: maps.Clone(a.states),
		Adopted: a.adopted(), Database: a.origin, NotOurs: strays(a.foreign, t.Architecture.Config.Name),
	}
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, s := range all {
		wg.Go(func() { p.Stacks[i], errs[i] = a.planStack(ctx, a.stacks[s.Name]) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	for _, n := range a.surplus() {
		goes, err := a.planSurplus(ctx, n)
		if err != nil {
			return nil, err
		}
		p.Stacks = append(p.Stacks, goes)
	}
	if p.Egress, err = a.planEgress(ctx); err != nil {
		return nil, err
	}
	if what != forReverts {
		if p.Unprotected, err = a.unprotected(ctx); err != nil {
			return nil, err
		}
	}
	p.time(t.Architecture)
	if what == forReverts {
		return p, nil
	}
	return p, p.refuse(t)
}

// refuse notes what the change sets would lose, and is the error for it.
func (p *Plan) refuse(t Target) error {
	var all []guard.Refusal
	for _, s := range p.Stacks {
		if s.Action == UpdateStack {
			all = append(all, guard.Lost(s.Name, s.Changes)...)
		}
	}
	err := t.refusal(all, true)
	var refused *RefusedError
	if errors.As(err, &refused) {
		p.Refusals = refused.Refusals
	}
	return err
}

func (a *applying) planStack(ctx context.Context, s templates.Stack) (StackPlan, error) {
	st := a.states[s.Name]
	if !st.Exists() {
		return newStack(s), nil
	}
	p := StackPlan{Stack: s.Name, Name: s.StackName, Action: UpdateStack, Drift: a.shown(s.Name)}
	current, err := a.driver.Template(ctx, st.ID)
	if err != nil {
		return p, err
	}
	spec, unknown, err := a.spec(s)
	if err != nil {
		return p, err
	}
	switch {
	case stack.ConditionOf(st.Status) != stack.Whole:
		p.Status = string(st.Status)
		p.Changes = localChanges(current, s.Body)
		if !stack.Lasts(st.Status) {
			p.Action, p.Changes = CreateStack, localChanges(nil, s.Body)
		}
	case len(unknown) > 0:
		p.KnownAfter = unknown
		p.Changes = localChanges(current, s.Body)
	case !a.reverts(s.Name) && a.upToDate(st, current, spec):
		p.Action = NoChange
	default:
		spec.RevertDrift = a.reverts(s.Name)
		if p.Changes, err = a.driver.Preview(ctx, spec, st); err != nil {
			return p, err
		}
		p.parameters = spec.Parameters
		if p.Changes = effective(p.Changes); len(p.Changes) == 0 {
			p.Action = NoChange
			break
		}
		parts, _, err := a.parts(current, spec, st)
		if err != nil {
			return p, err
		}
		for _, part := range parts {
			p.Before = append(p.Before, part.why)
		}
	}
	if p.Action != NoChange {
		p.Expected = changesTime(p.Changes)
		if spec.RevertDrift {
			p.Expected += readingTime(len(s.Template.Resources()))
		}
	}
	return p, nil
}

// time fills in how long the plan takes.
func (p *Plan) time(a *architecture.Architecture) {
	takes := map[architecture.StackName]time.Duration{}
	var names []architecture.StackName
	for _, s := range p.Stacks {
		if s.Action == CreateStack || s.Action == UpdateStack {
			takes[s.Stack] = s.Expected
			names = append(names, s.Stack)
		}
	}
	p.Path, p.Expected = criticalPath(names, after(a.Stacks), takes)
}
