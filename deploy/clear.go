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

// clear is what comes before a stack is made again in place of one whose creation
// or deletion failed. It refuses that if the stack was complete once and still has
// what holds data: a create or update never finishes a deletion that loses
// something. If it never was, what its creation made is taken away, which the
// deletion of the stack would leave behind.
func (a *applying) clear(name architecture.StackName) stack.Clear {
	return func(ctx context.Context, st *stack.State, held []stack.Resource) error {
		birth, err := a.birth(ctx, st)
		if err != nil {
			return err
		}
		if birth.Stillborn {
			return a.unmakeAll(ctx, name, st, birth, held)
		}
		var data []string
		for _, r := range standing(held) {
			data = append(data, fmt.Sprintf("%s (%s)", r.LogicalID, r.Type))
		}
		if len(data) == 0 {
			return nil
		}
		return &stack.Error{Stack: st.Name, Status: st.Status, Reason: "its deletion began, and what holds data still stands: " + strings.Join(data, ", ")}
	}
}

// birth is how a stack began whose creation or deletion failed.
func (r *run) birth(ctx context.Context, st *stack.State) (*stack.Birth, error) {
	b, err := r.driver.Birth(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	b.Stillborn = b.Stillborn || stack.ConditionOf(st.Status) == stack.Stillborn
	return b, nil
}

// ofIts are the resources of a stack without those that were there before it, and
// that its creation, or an update, could not make: both may have failed, unless the
// stack is whole. One that was in motion may be gone by now.
func (r *run) ofIts(ctx context.Context, st *stack.State) ([]stack.Resource, error) {
	held, err := r.driver.Resources(ctx, st.ID)
	if err != nil || stack.ConditionOf(st.Status) == stack.Whole {
		return held, err
	}
	birth, err := r.birth(ctx, st)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(held, func(res stack.Resource) bool {
		return (birth.Stillborn || res.Status == types.ResourceStatusCreateFailed) && !birth.Made(res)
	}), nil
}

// standing are the resources that hold data and are still there: those too that
// the deletion of the stack has let go, which nothing but the stack's record
// leads to.
func standing(held []stack.Resource) []stack.Resource {
	var out []stack.Resource
	for _, r := range held {
		gone := r.PhysicalID == "" || r.Status == types.ResourceStatusDeleteComplete
		if !gone && slices.Contains(guard.Stateful(), r.Type) {
			out = append(out, r)
		}
	}
	return out
}

// strandable are the resources of a stack that never was whole which its deletion
// would leave behind: those that its creation made, and others, which were there
// before. CloudFormation takes a resource for retained once its creation and the
// rollback of that are over.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
func (r *run) strandable(ctx context.Context, st *stack.State, birth *stack.Birth, held []stack.Resource) (made, others []stack.Resource, err error) {
	body, err := r.driver.Template(ctx, st.ID)
	if err != nil {
		return nil, nil, err
	}
	retained, err := retains(body)
	if err != nil {
		return nil, nil, fmt.Errorf("clear away stack %s: %w", st.Name, err)
	}
	for _, res := range standing(held) {
		switch {
		case !retained[res.LogicalID]:
		case birth.Made(res):
			made = append(made, res)
		default:
			others = append(others, res)
		}
	}
	return made, others, nil
}

// unmakeAll takes away what the creation of a stack that never was whole made and
// its deletion would leave behind. What somebody has put data into is refused;
// what was there before stays, and is named. While the stack is there it is the
// list of what is left to do.
func (r *run) unmakeAll(ctx context.Context, name architecture.StackName, st *stack.State, birth *stack.Birth, held []stack.Resource) error {
	made, others, err := r.strandable(ctx, st, birth, held)
	if err != nil {
		return err
	}
	for _, res := range others {
		r.step(name, "%s %s stays: the creation of stack %s, which failed, did not make it", res.Type, res.PhysicalID, st.Name)
	}
	var full []string
	var errs []error
	for _, res := range made {
		did, err := r.unmake(ctx, st, res)
		var holds *holdsError
		switch {
		case errors.As(err, &holds):
			full = append(full, fmt.Sprintf("%s (%s) %s: %s", res.LogicalID, res.Type, res.PhysicalID, holds.what))
		case err != nil:
			errs = append(errs, fmt.Errorf("take away %s %s, which the failed creation of stack %s made: %w", res.Type, res.PhysicalID, st.Name, err))
		case did != "":
			r.step(name, "%s, which the failed creation of stack %s had made", did, st.Name)
		}
	}
	if len(full) > 0 {
		errs = append([]error{&stack.Error{Stack: st.Name, Status: st.Status, Reason: "its creation failed, and somebody has put data into what it made: " + strings.Join(full, "; ")}}, errs...)
	}
	return errors.Join(errs...)
}
