package deploy

import (
	"context"

	"github.com/poolhouse/poolhouse/stack"
)

// bring applies a spec unless the stack is the same already, in several
// updates where a version goes alone or EKS takes one kind of change at a time.
func (a *applying) bring(ctx context.Context, spec stack.Spec, st *stack.State, approve func([]stack.Change) error) (*stack.Outcome, error) {
	if st.Exists() && stack.ConditionOf(st.Status) != stack.Whole {
		// What an operation under way, or its recovery, leaves decides which
		// updates are left to make.
		var err error
		if st, err = a.driver.Ready(ctx, spec.Name, spec.RoleARN, spec.Clear); err != nil {
			return nil, err
		}
	}
	if st.Exists() && stack.ConditionOf(st.Status) == stack.Whole {
		current, err := a.driver.Template(ctx, spec.Name)
		if err != nil {
			return nil, err
		}
		if a.upToDate(st, current, spec) {
			return &stack.Outcome{State: st}, nil
		}
		var total []stack.Change
		parts, releases, err := a.parts(current, spec, st)
		if err != nil {
			return nil, err
		}
		if err := a.settle(ctx, spec.Name); err != nil {
			return nil, err
		}
		for _, part := range parts {
			a.step(a.names[spec.Name], "%s", part.why)
			out, err := a.driver.Apply(ctx, part.spec, approve)
			if err != nil {
				return nil, err
			}
			total = append(total, effective(out.Changes)...)
			st = out.State
		}
		if releases {
			if err := a.awaitExits(ctx, st.Outputs, true, "the old way out stands until the new one is proved: repeat the command to ask again, or set network.nat.mode back and update to return to it"); err != nil {
				return nil, err
			}
		}
		out, err := a.driver.Apply(ctx, spec, func(changes []stack.Change) error {
			if err := approve(changes); err != nil || a.opts.Shown == nil {
				return err
			}
			// Those before it are steps on the way to what was shown.
			return a.opts.Shown.shows(spec, changes)
		})
		if err == nil {
			out.Changes = append(total, effective(out.Changes)...)
		}
		return out, err
	}
	return a.driver.Apply(ctx, spec, approve)
}
