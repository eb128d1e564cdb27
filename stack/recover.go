package stack

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// RecoverOptions qualify [Driver.Recover]. Resources are named by logical id.
type RecoverOptions struct {
	RoleARN string
	// Skip are resources that the continued rollback leaves as they are, and
	// CloudFormation takes for restored.
	Skip []string
	// Retain are resources that the repeated deletion leaves behind.
	Retain []string
	// Force leaves behind whatever can't be deleted, as the last resort.
	Force bool
	// Clear comes before what is left of a stack is deleted. May be nil.
	Clear Clear
}

// Recover brings a stack out of a failure, as [Rules] say, and returns what it
// comes to; nil if there is no stack any more. A stack that is whole only loses
// the change sets that a run left which is over.
func (d *Driver) Recover(ctx context.Context, name string, o RecoverOptions) (*State, error) {
	st, err := d.Rest(ctx, name)
	if err != nil || st == nil {
		return nil, err
	}
	condition := ConditionOf(st.Status)
	if condition == Stillborn || condition == Undeleted {
		if err := d.clear(ctx, st, o.Clear); err != nil {
			return nil, err
		}
	}
	switch condition {
	case Absent, Stillborn:
		return nil, d.Delete(ctx, st.ID, DeleteOptions{RoleARN: o.RoleARN})
	case Undeleted:
		return nil, d.Delete(ctx, st.ID, DeleteOptions{RoleARN: o.RoleARN, Retain: o.Retain, Force: o.Force})
	case Halted:
		err = d.rollback(ctx, st, o.RoleARN)
	case Stuck:
		err = d.continueRollback(ctx, st, o.RoleARN, o.Skip)
	default:
		sets, err := d.StaleChangeSets(ctx, st)
		if err != nil {
			return nil, err
		}
		for _, set := range sets {
			if err := d.deleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: &st.ID, ChangeSetName: &set}); err != nil {
				return nil, err
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return d.Describe(ctx, st.ID)
}

// Failed tells that CloudFormation could not do with the resource what it was
// to: restore it, or delete it.
func (r Resource) Failed() bool { return strings.HasSuffix(string(r.Status), "_FAILED") }

// continueRollback tries a failed rollback again, without the resources to
// skip. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-continueupdaterollback.html
func (d *Driver) continueRollback(ctx context.Context, st *State, roleARN string, skip []string) error {
	if st.Status != types.StackStatusUpdateRollbackFailed {
		return &Error{Stack: st.Name, Status: st.Status, Reason: st.Reason}
	}
	token := newToken()
	in := &cloudformation.ContinueUpdateRollbackInput{StackName: &st.ID, ClientRequestToken: &token, ResourcesToSkip: skip}
	if roleARN != "" {
		in.RoleARN = &roleARN
	}
	if _, err := d.CFN.ContinueUpdateRollback(ctx, in); err != nil {
		return fmt.Errorf("continue rollback of stack %s: %w", st.Name, err)
	}
	return d.settled(ctx, st.ID, token)
}

// rollback takes back an update that failed without a rollback. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackStack.html
func (d *Driver) rollback(ctx context.Context, st *State, roleARN string) error {
	token := newToken()
	in := &cloudformation.RollbackStackInput{StackName: &st.ID, ClientRequestToken: &token}
	if roleARN != "" {
		in.RoleARN = &roleARN
	}
	if _, err := d.CFN.RollbackStack(ctx, in); err != nil {
		return fmt.Errorf("roll back stack %s: %w", st.Name, err)
	}
	return d.settled(ctx, st.ID, token)
}

// settled follows a rollback; it is an error if it is stuck in the end.
func (d *Driver) settled(ctx context.Context, id, token string) error {
	after, err := d.follow(ctx, newWatch(id, token))
	if err != nil {
		return err
	}
	if after != nil && ConditionOf(after.Status) == Stuck {
		return d.failure(ctx, after, token)
	}
	return nil
}
