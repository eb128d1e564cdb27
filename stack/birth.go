package stack

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Birth is how a stack began, as its events tell.
type Birth struct {
	// Stillborn tells that no operation on the stack was ever completed, but for
	// rollbacks.
	Stillborn bool

	made map[string][]string // physical ids that the stack began to make, by logical id
}

// Made tells that the stack made the resource itself: what had the name before,
// and for which its creation failed, it did not.
func (b *Birth) Made(r Resource) bool {
	return r.PhysicalID != "" && slices.Contains(b.made[r.LogicalID], r.PhysicalID)
}

// Birth reads how a stack began, by its ARN. Of one whose first events are no
// longer told it says nothing: that it was complete once, and made nothing.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html
func (d *Driver) Birth(ctx context.Context, id string) (*Birth, error) {
	b := &Birth{made: map[string][]string{}}
	begun, complete := false, false
	pages := cloudformation.NewDescribeStackEventsPaginator(d.CFN, &cloudformation.DescribeStackEventsInput{StackName: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read events of stack %s: %w", id, err)
		}
		for _, x := range page.StackEvents {
			e := event(x)
			if e.IsStack() && e.PhysicalID == aws.ToString(x.StackId) {
				begun = begun || e.Status == types.ResourceStatusCreateInProgress
				complete = complete || ConditionOf(types.StackStatus(e.Status)) == Whole
				continue
			}
			// CloudFormation says so once the service has taken the resource on.
			// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
			initiated := e.Status == types.ResourceStatusCreateInProgress && e.Reason == "Resource creation Initiated"
			if e.PhysicalID != "" && (initiated || e.Status == types.ResourceStatusCreateComplete) {
				b.made[e.LogicalID] = append(b.made[e.LogicalID], e.PhysicalID)
			}
		}
	}
	b.Stillborn = begun && !complete
	return b, nil
}
