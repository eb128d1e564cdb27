package stack

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Reviewed tells whether a stack in REVIEW_IN_PROGRESS may be deleted by whoever
// has the tag: all its change sets carry it, or it has none. Such a stack shows
// no tags of its own, since no change set of it was executed yet.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
func (d *Driver) Reviewed(ctx context.Context, st *State, tag, value string) (bool, error) {
	if st.Status != types.StackStatusReviewInProgress {
		return false, nil
	}
	pages := cloudformation.NewListChangeSetsPaginator(d.CFN, &cloudformation.ListChangeSetsInput{StackName: &st.ID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awsapi.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("list change sets of stack %s: %w", st.Name, err)
		}
		for _, s := range page.Summaries {
			out, err := d.CFN.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: s.ChangeSetId})
			if awsapi.IsNotFound(err) {
				continue
			}
			if err != nil {
				return false, fmt.Errorf("read change set %s of stack %s: %w", aws.ToString(s.ChangeSetName), st.Name, err)
			}
			if !slices.ContainsFunc(out.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == tag && aws.ToString(t.Value) == value }) {
				return false, nil
			}
		}
	}
	return true, nil
}
