package stack

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// DeleteOptions qualify Delete.
type DeleteOptions struct {
	RoleARN string
	// Retain are resources, by logical id, that are left behind, and Force leaves
	// behind whatever can't be deleted. CloudFormation takes both only once a
	// deletion has failed. See
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
	Retain []string
	Force  bool
}

// Delete deletes the stack and returns when it is gone. Deleting what does not
// exist does nothing.
func (d *Driver) Delete(ctx context.Context, name string, o DeleteOptions) error {
	st, err := d.Rest(ctx, name)
	if err != nil || st == nil || st.Status == types.StackStatusDeleteComplete {
		return err
	}
	token := newToken()
	in := &cloudformation.DeleteStackInput{StackName: &st.ID, ClientRequestToken: &token, RetainResources: o.Retain}
	if o.Force {
		in.DeletionMode = types.DeletionModeForceDeleteStack
	}
	if o.RoleARN != "" {
		in.RoleARN = &o.RoleARN
	}
	if _, err := d.CFN.DeleteStack(ctx, in); err != nil {
		return fmt.Errorf("delete stack %s: %w", name, err)
	}
	// The ARN still answers when the name no longer does.
	st, err = d.follow(ctx, newWatch(st.ID, token))
	if err != nil {
		return err
	}
	if st != nil && st.Status != types.StackStatusDeleteComplete {
		return d.failure(ctx, st, token)
	}
	return nil
}
