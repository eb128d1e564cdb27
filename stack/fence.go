package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
)

// ChangedError says that somebody else changed a stack while a change of it was
// made ready, so that this change was not carried out.
type ChangedError struct {
	Stack string
	// Err is how CloudFormation refused it; nil if it was not asked.
	Err error
}

func (e *ChangedError) Error() string {
	s := fmt.Sprintf("stack %s was changed by somebody else meanwhile; this change of it was not begun", e.Stack)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ChangedError) Unwrap() error { return e.Err }

// unchanged looks whether a stack is still what it was when the change set was
// decided on. What changes from here on makes the change set one that
// CloudFormation doesn't execute. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets-execute.html
func (d *Driver) unchanged(ctx context.Context, was *State) error {
	if was == nil {
		return nil
	}
	now, err := d.Describe(ctx, was.ID)
	if err != nil {
		return err
	}
	if now == nil || now.ID != was.ID || now.Status != was.Status || !now.Updated.Equal(was.Updated) {
		return &ChangedError{Stack: was.Name}
	}
	return nil
}

// execute begins the change. The change set knows which stack it is for, and
// which state of it.
func (d *Driver) execute(ctx context.Context, name string, set changeSet, token string) error {
	_, err := d.CFN.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: &set.id, ClientRequestToken: &token})
	if err == nil {
		return nil
	}
	if code := awsapi.Code(err); code != "InvalidChangeSetStatus" && !awsapi.IsNotFound(err) {
		return fmt.Errorf("execute change set of stack %s: %w", name, err)
	}
	// A call that is repeated because its answer was lost is refused so too: then
	// it is under way, which may not show at once.
	begun := false
	wait := poll.Wait{For: "the execution of change set " + set.id, Pace: poll.Every(pollSoon)}
	read := d.poller().Until(ctx, wait, func(ctx context.Context, waited time.Duration) (bool, string, error) {
		var over bool
		var err error
		begun, over, err = d.begun(ctx, set, token)
		return begun || over || waited >= hesitation, "", err
	})
	switch {
	case read != nil && ctx.Err() != nil:
		return read
	case read != nil:
		return fmt.Errorf("execute change set of stack %s: %w: %w", name, err, read)
	case !begun:
		return &ChangedError{Stack: name, Err: err}
	}
	return nil
}

// hesitation is how long is looked whether a refused execution is under way.
const hesitation = 10 * time.Second

// begun tells that the execution of a change set of this program is under way or
// over: the change set says so, or an event of the operation does. Over tells that
// it will never be executed. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeChangeSet.html
func (d *Driver) begun(ctx context.Context, set changeSet, token string) (begun, over bool, err error) {
	out, err := d.CFN.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: &set.id})
	switch {
	case err == nil:
		switch out.ExecutionStatus {
		case types.ExecutionStatusExecuteInProgress, types.ExecutionStatusExecuteComplete, types.ExecutionStatusExecuteFailed:
			return true, false, nil
		}
		over = out.ExecutionStatus == types.ExecutionStatusObsolete
	case !awsapi.IsNotFound(err):
		return false, false, fmt.Errorf("read change set of stack %s: %w", set.stack, err)
	}
	events, err := d.events(ctx, newWatch(set.stack, token))
	return len(events) > 0, over, err
}
