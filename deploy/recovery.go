package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/stack"
)

// Recovery is what is stuck in a deployment, and what is done about it.
type Recovery struct {
	Deployment string          `json:"deployment"`
	Region     string          `json:"region"`
	Stacks     []StackRecovery `json:"stacks"`
	// Lease is held by who works on the deployment, or has ended, and what its run
	// sent to delete may still arrive; nil if neither. Until LeaseFree [Recover] is
	// refused.
	Lease     *lease.Held `json:"lease,omitempty"`
	LeaseFree time.Time   `json:"leaseFree,omitzero"`
	// Settled are the stacks that were in motion when [Recover] began, and that it
	// only had to wait for.
	Settled []SettledStack `json:"settled,omitempty"`
}

// SettledStack is a stack that came to rest by itself.
type SettledStack struct {
	Stack architecture.StackName `json:"stack"`
	Name  string                 `json:"name"`
	// Was is its status before, and Status the one that it came to; "" is that it
	// is gone.
	Was    string `json:"was"`
	Status string `json:"status,omitempty"`
}

// StackRecovery is one stack that is not whole, or that a run left a change set
// on.
type StackRecovery struct {
	Stack  architecture.StackName `json:"stack"`
	Name   string                 `json:"name"`
	Status string                 `json:"status"`
	// Root is why it failed, if it did.
	Root *diagnosis.Root `json:"rootCause,omitempty"`
	// Does is what is done about it.
	Does string `json:"does"`
	// Held are the resources that CloudFormation could not restore or delete.
	Held []HeldResource `json:"held,omitempty"`
	// Takes are the resources that a creation which failed had made and that the
	// deletion of its stack would leave behind: they are taken away before it.
	Takes []HeldResource `json:"takes,omitempty"`
	// ChangeSets are those that a run left which is over.
	ChangeSets []string `json:"changeSets,omitempty"`
	// Refused is why nothing is done about it, and Next what to do then.
	Refused string `json:"refused,omitempty"`
	Next    string `json:"next,omitempty"`

	stillborn bool // it never was whole
}

// HeldResource is a resource that a failed operation could not bring where it was
// to be.
type HeldResource struct {
	LogicalID  string `json:"logicalId"`
	PhysicalID string `json:"physicalId,omitempty"`
	Type       string `json:"type"`
	// Data tells that its loss loses data.
	Data bool `json:"data,omitempty"`
	// Left tells that the recovery leaves it as it is. After a recovery that
	// deleted the stack these are all that it left, and nothing else is held. Of a
	// creation that failed it was there before.
	Left bool `json:"left,omitempty"`

	failed bool
}

// Empty tells that nothing is stuck.
func (r *Recovery) Empty() bool { return len(r.Stacks) == 0 }

// Err says what of the recovery is refused.
func (r *Recovery) Err() error {
	var errs []error
	for _, s := range r.Stacks {
		if s.Refused != "" {
			errs = append(errs, &UnrecoverableError{Stack: s.Name, Reason: s.Refused, Next: s.Next})
		}
	}
	return errors.Join(errs...)
}

// UnrecoverableError is a stack that a recovery, as it was asked for, does not
// touch; Stack is "" if it is about none.
type UnrecoverableError struct {
	Stack, Reason, Next string
	// Begun tells that the recovery was under way, of other stacks at least.
	Begun bool
}

func (e *UnrecoverableError) Error() string {
	if e.Stack == "" {
		return e.Reason
	}
	return fmt.Sprintf("stack %s is not recovered: %s", e.Stack, e.Reason)
}

// PlanRecovery finds out what is stuck, and what [Recover] would do, or is refused
// for: the error is a [*RefusedError] then, and comes with the plan. It only reads. Change sets of a run that is
// at work are not counted as left.
func PlanRecovery(ctx context.Context, o RecoverOptions) (*Recovery, error) {
	r, owned, err := recovering(ctx, o)
	if err != nil {
		return nil, err
	}
	at, err := lease.Look(ctx, r.AWS.SSM, r.Architecture.LeasePath())
	unseen, err := beside(ctx, err)
	if err != nil {
		return nil, err
	}
	plan, err := r.plan(ctx, o, owned, unseen == "" && (at == nil || at.Ended))
	if err != nil {
		return plan, err
	}
	if at != nil {
		plan.Lease, plan.LeaseFree = at, at.Free(lease.Holder{})
	}
	if plan.Empty() {
		return plan, nil
	}
	return plan, r.replacedBut(ctx, owned, o.retained(plan))
}

// plan is what is stuck. With idle, nobody else is at work, and open change sets
// were left.
func (r *run) plan(ctx context.Context, o RecoverOptions, owned map[architecture.StackName]*stack.State, idle bool) (*Recovery, error) {
	plan := &Recovery{Deployment: o.Architecture.Config.Name, Region: o.AWS.Region, Stacks: []StackRecovery{}}
	named := slices.Concat(o.Skip, o.Retain)
	for _, entry := range architecture.Catalogue() {
		st := owned[entry.Name]
		if st == nil || st.Status == types.StackStatusDeleteComplete {
			continue
		}
		if !idle && stack.ConditionOf(st.Status) == stack.Whole {
			continue
		}
		s, err := r.planStack(ctx, o, entry.Name, st)
		if err != nil {
			return nil, err
		}
		if s != nil {
			plan.Stacks = append(plan.Stacks, *s)
			named = slices.DeleteFunc(named, func(n string) bool { return strings.HasPrefix(n, string(entry.Name)+"/") })
		}
	}
	if len(named) > 0 {
		return nil, &UnrecoverableError{Reason: "no stack that is stuck has " + strings.Join(named, ", "), Next: "name a resource STACK/RESOURCE, as the recovery shows it"}
	}
	return plan, nil
}

// planStack is what is done about a stack; nil if it is in order.
func (r *run) planStack(ctx context.Context, o RecoverOptions, name architecture.StackName, st *stack.State) (*StackRecovery, error) {
	s := &StackRecovery{Stack: name, Name: st.Name, Status: string(st.Status)}
	condition := stack.ConditionOf(st.Status)
	if condition == stack.Whole {
		var err error
		if s.ChangeSets, err = r.driver.StaleChangeSets(ctx, st); err != nil || len(s.ChangeSets) == 0 {
			return nil, err
		}
	}
	for _, rule := range stack.Rules() {
		if rule.Status == st.Status || rule.Status == "" && s.Does == "" {
			s.Does = rule.Recover
		}
	}
	if st.Failed() && condition != stack.Whole {
		root, err := r.driver.Why(ctx, st)
		if err != nil {
			return nil, err
		}
		s.Root = &root
	}
	held, err := r.driver.Resources(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	left := slices.Concat(o.of(o.Skip, name), o.of(o.Retain, name))
	kept := standing(held)
	var made []stack.Resource
	if condition == stack.Stillborn || condition == stack.Undeleted {
		birth, err := r.birth(ctx, st)
		if err != nil {
			return nil, err
		}
		if s.stillborn = birth.Stillborn; s.stillborn {
			if made, kept, err = r.strandable(ctx, st, birth, held); err != nil {
				return nil, err
			}
		}
	}
	for _, res := range held {
		h := HeldResource{
			LogicalID: res.LogicalID, PhysicalID: res.PhysicalID, Type: res.Type, Data: slices.Contains(guard.Stateful(), res.Type),
			Left: slices.Contains(left, res.LogicalID), failed: res.Failed(),
		}
		stays := slices.Contains(kept, res)
		switch {
		case slices.Contains(made, res) && !h.Left:
			s.Takes = append(s.Takes, h)
		case s.stillborn && stays:
			h.Left = true
			s.Held = append(s.Held, h)
		case h.failed || slices.Contains(made, res) || condition == stack.Undeleted && stays:
			s.Held = append(s.Held, h)
		}
	}
	s.refuse(o, condition, st, held)
	return s, nil
}

// refuse holds a recovery to what it may not do: touch what did not fail, or lose
// data.
func (s *StackRecovery) refuse(o RecoverOptions, condition stack.Condition, st *stack.State, held []stack.Resource) {
	skip, retain := o.of(o.Skip, s.Stack), o.of(o.Retain, s.Stack)
	for _, id := range slices.Concat(skip, retain) {
		if !slices.ContainsFunc(s.Held, func(h HeldResource) bool { return h.LogicalID == id }) {
			s.Refused, s.Next = id+" is not among the resources that failed", "name only those that are shown"
			return
		}
	}
	switch {
	case st.Status == types.StackStatusImportRollbackFailed:
		s.Refused, s.Next = "CloudFormation can't continue the way back of an import", "ask AWS Support to bring the stack to rest"
	case len(skip) > 0 && condition != stack.Stuck:
		s.Refused, s.Next = "only a rollback that failed can skip resources", "leave --skip out"
	case len(retain) > 0 && condition != stack.Undeleted:
		s.Refused, s.Next = "only a deletion that failed can leave resources behind", "leave --retain out"
	case condition == stack.Undeleted && !s.stillborn:
		s.refuseLoss(held, retain)
	}
}

// refuseLoss holds the repeated deletion of a stack to leave behind what holds
// data, by name.
func (s *StackRecovery) refuseLoss(held []stack.Resource, retain []string) {
	var data []string
	for _, res := range standing(held) {
		if !slices.Contains(retain, res.LogicalID) {
			data = append(data, res.LogicalID)
		}
	}
	if len(data) > 0 {
		s.Refused = "to delete it again would lose track of what holds data: " + strings.Join(data, ", ")
		s.Next = "to delete it to the end, poolhouse delete FILE, which asks what becomes of the data; to leave it behind, name it by --retain"
	}
}
