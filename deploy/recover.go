package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/stack"
)

// RecoverOptions qualify Recover. Resources are named STACK/RESOURCE, by the
// stack's place in the catalogue and the logical id.
type RecoverOptions struct {
	Target
	// Skip are resources that a continued rollback leaves as they are.
	Skip []string
	// Retain are resources that a repeated deletion leaves behind.
	Retain []string
	// Force leaves behind whatever a repeated deletion can't delete.
	Force bool
	// Shown is the recovery that was agreed to; nil is none. Where it is another by
	// now, nothing is done, and the error is a [*StaleError].
	Shown *Recovery
}

// Recover brings the deployment's stacks out of their failures: it waits for what
// is in motion, continues or makes rollbacks, deletes what is left of failed
// creations and deletions, and change sets that a run left. It changes nothing
// if any of that is refused, see [Recovery.Err]. It blocks until that is done and
// may be repeated.
func Recover(ctx context.Context, o RecoverOptions) (*Recovery, error) {
	done, err := hold(ctx, o.Target, func(ctx context.Context, t Target) (*Recovery, error) {
		o.Target = t
		r, owned, err := recovering(ctx, o)
		if err != nil {
			return nil, err
		}
		settled, err := r.rest(ctx, owned)
		if err != nil {
			return nil, err
		}
		plan, err := r.plan(ctx, o, owned, true)
		if err != nil {
			return nil, err
		}
		plan.Settled = settled
		if err := errors.Join(plan.Err(), plan.stale(o.Shown)); err != nil {
			return plan, err
		}
		retained := o.retained(plan)
		if err := r.replacedBut(ctx, owned, retained); err != nil {
			return plan, err
		}
		var names []architecture.StackName
		for _, s := range plan.Stacks {
			names = append(names, s.Stack)
		}
		return plan, inOrder(ctx, names, reversed(architecture.Catalogue()), func(ctx context.Context, name architecture.StackName) error {
			return r.timed(name, RecoverStack, 0, func() (int, error) {
				st := owned[name]
				_, err := r.driver.Recover(ctx, st.ID, stack.RecoverOptions{
					RoleARN: o.Architecture.Config.ServiceRole, Skip: o.of(o.Skip, name), Retain: retained[name], Force: o.Force,
					Clear: func(ctx context.Context, st *stack.State, held []stack.Resource) error {
						birth, err := r.birth(ctx, st)
						if err != nil {
							return err
						}
						named := o.of(o.Retain, name)
						if birth.Stillborn {
							held = slices.DeleteFunc(held, func(res stack.Resource) bool { return slices.Contains(named, res.LogicalID) })
							return r.unmakeAll(ctx, name, st, birth, held)
						}
						s := StackRecovery{Stack: name, Name: st.Name}
						if s.refuseLoss(held, named); s.Refused != "" {
							return &UnrecoverableError{Stack: s.Name, Reason: s.Refused, Next: s.Next, Begun: true}
						}
						return nil
					},
				})
				i := slices.IndexFunc(plan.Stacks, func(s StackRecovery) bool { return s.Stack == name })
				s := &plan.Stacks[i]
				switch condition := stack.ConditionOf(st.Status); {
				case err != nil || condition != stack.Stillborn && condition != stack.Undeleted:
				case s.stillborn:
					s.Held = slices.DeleteFunc(s.Held, func(h HeldResource) bool { return !h.Left })
				default:
					err = r.leaves(ctx, s, st)
				}
				return 1, err
			})
		})
	})
	return done, interrupted(ctx, err)
}

// leaves names what the deletion of a stack left behind, which no stack has any
// more: what was to be retained, and with force what could not be deleted. The
// record of a deleted stack tells for 90 days; see
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html
func (r *run) leaves(ctx context.Context, s *StackRecovery, st *stack.State) error {
	held, err := r.driver.Resources(ctx, st.ID)
	if err != nil {
		return fmt.Errorf("see what the deletion has left: %w", err)
	}
	s.Held = nil
	for _, res := range held {
		if res.PhysicalID == "" || res.Status == types.ResourceStatusDeleteComplete {
			continue
		}
		s.Held = append(s.Held, HeldResource{
			LogicalID: res.LogicalID, PhysicalID: res.PhysicalID, Type: res.Type, Data: slices.Contains(guard.Stateful(), res.Type), Left: true,
		})
		r.step(s.Stack, "left behind, in no stack: %s %s", res.Type, res.PhysicalID)
	}
	return nil
}

func recovering(ctx context.Context, o RecoverOptions) (*run, map[architecture.StackName]*stack.State, error) {
	names := map[string]architecture.StackName{}
	for _, s := range architecture.Catalogue() {
		names[o.Architecture.StackName(s.Name)] = s.Name
	}
	r := newRun(o.Target, names)
	owned, err := ownedStacks(ctx, r.driver, o.Architecture.Config.Name)
	if err == nil && len(owned) == 0 {
		err = fmt.Errorf("recover %s: %w", o.Architecture.Config.Name, ErrAbsent)
	}
	return r, owned, err
}

// rest brings stacks in motion to rest: what they come to decides what is
// planned, and what is refused. The others have time to come to rest meanwhile. It
// returns those that need nothing more.
func (r *run) rest(ctx context.Context, owned map[architecture.StackName]*stack.State) ([]SettledStack, error) {
	var settled []SettledStack
	for _, entry := range architecture.Catalogue() {
		st := owned[entry.Name]
		if st == nil || stack.ConditionOf(st.Status) != stack.Moving {
			continue
		}
		err := r.timed(entry.Name, AwaitStack, 0, func() (int, error) {
			at, err := r.driver.Rest(ctx, st.ID)
			owned[entry.Name] = at
			return 0, err
		})
		if err != nil {
			return nil, err
		}
		s := SettledStack{Stack: entry.Name, Name: st.Name, Was: string(st.Status)}
		switch at := owned[entry.Name]; {
		case !at.Exists():
		case stack.ConditionOf(at.Status) == stack.Whole:
			s.Status = string(at.Status)
		default:
			continue
		}
		settled = append(settled, s)
	}
	return settled, nil
}

// retained are the resources that a plan leaves behind, by their stacks. What a
// deletion let go already is left behind anyway.
func (o RecoverOptions) retained(plan *Recovery) map[architecture.StackName][]string {
	all := map[architecture.StackName][]string{}
	for _, s := range plan.Stacks {
		for _, h := range s.Held {
			if h.failed && slices.Contains(o.of(o.Retain, s.Stack), h.LogicalID) {
				all[s.Stack] = append(all[s.Stack], h.LogicalID)
			}
		}
	}
	return all
}

// of are the logical ids that are named of a stack.
func (RecoverOptions) of(named []string, name architecture.StackName) []string {
	var ids []string
	for _, n := range named {
		if s, id, ok := strings.Cut(n, "/"); ok && s == string(name) {
			ids = append(ids, id)
		}
	}
	return ids
}
