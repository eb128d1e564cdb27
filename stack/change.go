package stack

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Action is what a change does to a resource.
type Action string

// The actions.
const (
	Add     Action = "create"
	Modify  Action = "update"
	Replace Action = "replace"
	// MayReplace depends on values that are known only during the update.
	MayReplace Action = "may-replace"
	Remove     Action = "delete"
	// Sync touches nothing: the template now asks for what is there already.
	Sync Action = "sync"
)

// Change is what an update will do to one resource.
type Change struct {
	LogicalID  string     `json:"logicalId"`
	PhysicalID string     `json:"physicalId,omitempty"`
	Type       string     `json:"type"`
	Action     Action     `json:"action"`
	Properties []Property `json:"properties,omitempty"`
	// Drift tells that the resource was changed or deleted outside of
	// CloudFormation, and that the update puts that right.
	Drift bool `json:"drift,omitempty"`
}

// Property is a property that changes, with JSON values as CloudFormation has
// them before and after, or [Hidden]; "" where it doesn't say.
type Property struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Recreates tells that this property alone replaces the resource: Never,
	// Conditionally or Always.
	Recreates string `json:"recreates,omitempty"`
	// Drift tells that Before is not what the stack had set.
	Drift bool `json:"drift,omitempty"`
	// From is the resource of the stack, or RESOURCE.ATTRIBUTE, that the value
	// comes from and that is why it may change; "" if that is not all.
	From string `json:"-"`
}

// Outcome is what Apply did.
type Outcome struct {
	State   *State
	Changes []Change // empty if the stack was up to date
	Made    bool     // the stack did not exist before
}

// Preview returns what applying the spec to an existing stack, as it was seen,
// would change. It makes a change set, reads it and deletes it, also when the
// context ends meanwhile. It is a [*ChangedError] if the stack is another by then:
// CloudFormation makes no change set of a stack in motion, and deletes all there
// are when it executes one.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets-execute.html
func (d *Driver) Preview(ctx context.Context, spec Spec, st *State) ([]Change, error) {
	set, err := d.changeSet(ctx, spec, planSets+random(), st.ID, types.ChangeSetTypeUpdate)
	if err != nil && ctx.Err() == nil {
		if look := d.unchanged(ctx, st); look != nil {
			err = errors.Join(look, err)
		}
	}
	if set.id != "" {
		err = errors.Join(err, d.discard(ctx, set.id))
	}
	return set.changes, err
}

// Ready makes the stack ready for a change set, as [Rules] say: it waits until no
// operation is under way, goes on with a rollback that failed, and deletes what
// is left of a creation that failed or a deletion that did, unless clear, which
// may be nil, refuses that. It returns the stack, or nil if it is to be created.
func (d *Driver) Ready(ctx context.Context, name, roleARN string, clear Clear) (*State, error) {
	for {
		st, err := d.Rest(ctx, name)
		if err != nil || !st.Exists() {
			return nil, err
		}
		switch ConditionOf(st.Status) {
		case Stillborn, Undeleted:
			if err := d.clear(ctx, st, clear); err != nil {
				return nil, err
			}
			if err := d.Delete(ctx, st.ID, DeleteOptions{RoleARN: roleARN}); err != nil {
				return nil, fmt.Errorf("clear away stack %s (%s): %w", name, st.Status, err)
			}
		case Stuck:
			if err := d.continueRollback(ctx, st, roleARN, nil); err != nil {
				return nil, err
			}
		case Halted:
			if err := d.rollback(ctx, st, roleARN); err != nil {
				return nil, err
			}
		default:
			return st, nil
		}
	}
}

// clear asks whether what is left of a stack may be deleted.
func (d *Driver) clear(ctx context.Context, st *State, clear Clear) error {
	if clear == nil {
		return nil
	}
	held, err := d.Resources(ctx, st.ID)
	if err != nil {
		return err
	}
	return clear(ctx, st, held)
}

// Apply makes the stack what the spec says, whatever it is now, and returns
// when it is at rest. Approve, if not nil, sees the changes of an existing
// stack before they are executed and may refuse by an error.
func (d *Driver) Apply(ctx context.Context, spec Spec, approve func([]Change) error) (*Outcome, error) {
	st, err := d.Ready(ctx, spec.Name, spec.RoleARN, spec.Clear)
	if err != nil {
		return nil, err
	}
	kind, on := types.ChangeSetTypeCreate, spec.Name
	if st != nil {
		// By its ARN: another stack of the name is another stack.
		kind, on = types.ChangeSetTypeUpdate, st.ID
	}
	set, err := d.changeSet(ctx, spec, applySet, on, kind)
	if err != nil {
		return nil, err
	}
	if set.id == "" { // nothing to change
		return &Outcome{State: st}, nil
	}
	if approve != nil && st != nil {
		if err := approve(set.changes); err != nil {
			return nil, errors.Join(err, d.discard(ctx, set.id))
		}
	}
	if err := d.unchanged(ctx, st); err != nil {
		return nil, errors.Join(err, d.discard(ctx, set.id))
	}
	token := newToken()
	if err := d.execute(ctx, spec.Name, set, token); err != nil {
		return nil, err
	}
	after, err := d.follow(ctx, newWatch(set.stack, token))
	if err != nil {
		return nil, err
	}
	if after == nil {
		after = &State{ID: set.stack, Name: spec.Name, Status: types.StackStatusDeleteComplete}
	}
	if after.Status != types.StackStatusCreateComplete && after.Status != types.StackStatusUpdateComplete {
		return nil, d.failure(ctx, after, token)
	}
	return &Outcome{State: after, Changes: set.changes, Made: st == nil}, nil
}
