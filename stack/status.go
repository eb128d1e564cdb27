package stack

import "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

// Condition is what a stack's status means for the next step.
type Condition int

// The conditions.
const (
	// Absent: there is no stack, or one that holds nothing: create it.
	Absent Condition = iota
	// Whole: a change set says whether it is up to date.
	Whole
	// Moving: an operation is under way: wait, then look again.
	Moving
	// Stillborn: creation failed and left nothing to keep: delete, then create.
	Stillborn
	// Stuck: a rollback failed: it must be continued before anything else.
	Stuck
	// Undeleted: a deletion failed: delete again.
	Undeleted
)

// conditions holds every status of a stack. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
var conditions = map[types.StackStatus]Condition{
	// A stack that only has a change set holds no resource.
	types.StackStatusReviewInProgress: Absent,
	types.StackStatusDeleteComplete:   Absent,

	types.StackStatusCreateComplete:         Whole,
	types.StackStatusUpdateComplete:         Whole,
	types.StackStatusUpdateRollbackComplete: Whole,
	types.StackStatusImportComplete:         Whole,
	types.StackStatusImportRollbackComplete: Whole,
	// Made with failed resources left in place, by a caller who disabled the
	// rollback: an update goes on from there.
	types.StackStatusUpdateFailed: Whole,

	types.StackStatusCreateInProgress:                        Moving,
	types.StackStatusUpdateInProgress:                        Moving,
	types.StackStatusUpdateCompleteCleanupInProgress:         Moving,
	types.StackStatusUpdateRollbackInProgress:                Moving,
	types.StackStatusUpdateRollbackCompleteCleanupInProgress: Moving,
	types.StackStatusRollbackInProgress:                      Moving,
	types.StackStatusDeleteInProgress:                        Moving,
	types.StackStatusImportInProgress:                        Moving,
	types.StackStatusImportRollbackInProgress:                Moving,

	types.StackStatusCreateFailed:     Stillborn,
	types.StackStatusRollbackComplete: Stillborn,
	types.StackStatusRollbackFailed:   Stillborn,

	types.StackStatusUpdateRollbackFailed: Stuck,
	types.StackStatusImportRollbackFailed: Stuck,

	types.StackStatusDeleteFailed: Undeleted,
}

// ConditionOf tells what a status means. One that CloudFormation adds some day
// is waited for, never acted upon.
func ConditionOf(s types.StackStatus) Condition {
	if c, ok := conditions[s]; ok {
		return c
	}
	return Moving
}
