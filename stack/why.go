package stack

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Why finds out why a stack's last operation failed, from its events. It reads
// back to where somebody began the operation.
func (d *Driver) Why(ctx context.Context, st *State) (diagnosis.Root, error) {
	var all []Event // newest first
	pages := cloudformation.NewDescribeStackEventsPaginator(d.CFN, &cloudformation.DescribeStackEventsInput{StackName: &st.ID})
read:
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awsapi.IsNotFound(err) {
			break
		}
		if err != nil {
			return diagnosis.Root{}, fmt.Errorf("read events of stack %s: %w", st.Name, err)
		}
		for _, e := range page.StackEvents {
			all = append(all, event(e))
			if begins(e) {
				break read
			}
		}
	}
	slices.Reverse(all)
	return rootOf(st.Name, firstFailure(all), st.Reason), nil
}

// begins tells that an event is the first of an operation: the stack's own that
// says that somebody asked for it.
func begins(e types.StackEvent) bool {
	return aws.ToString(e.ResourceType) == "AWS::CloudFormation::Stack" && aws.ToString(e.PhysicalResourceId) == aws.ToString(e.StackId) &&
		(aws.ToString(e.ResourceStatusReason) == "User Initiated" || e.ResourceStatus == types.ResourceStatusCreateInProgress)
}
