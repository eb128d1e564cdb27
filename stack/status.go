package stack

import (
	"cmp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

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
	// Stillborn: creation failed: delete, and what it made with it; then create.
	Stillborn
	// Halted: an update failed and nothing was taken back: roll back first.
	Halted
	// Stuck: a rollback failed: it must be continued before anything else.
	Stuck
	// Undeleted: a deletion failed: delete again.
	Undeleted
)

// Conditions are all of them, in order.
func Conditions() []Condition {
	return []Condition{Absent, Whole, Moving, Stillborn, Halted, Stuck, Undeleted}
}

func (c Condition) String() string {
	return [...]string{"absent", "whole", "moving", "stillborn", "halted", "stuck", "undeleted"}[c]
}

// Means is the condition in words.
func (c Condition) Means() string {
	return [...]string{
		"there is no stack, or one that holds nothing",
		"at rest and complete: a change set says whether it is up to date",
		"an operation is under way, whoever began it",
		"its creation failed: it never was whole",
		"an update failed and nothing was taken back, because whoever began it disabled the rollback",
		"the way back of an update failed: CloudFormation takes no change until it is continued",
		"its deletion failed",
	}[c]
}

// Rule is what is done about a stack in a status.
type Rule struct {
	Status    types.StackStatus
	Condition Condition
	// What the verbs do, in words.
	Create, Update, Delete, Recover string
}

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

	types.StackStatusUpdateFailed: Halted,

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

// Rules are all statuses and what is done about them, by condition. The last one,
// without a status, is for those that nobody knows yet.
func Rules() []Rule {
	var all []Rule
	for s, c := range conditions {
		r := c.rule()
		r.Status = s
		switch s {
		case types.StackStatusReviewInProgress:
			r.Delete, r.Recover = "deletes it: it holds nothing", "deletes it: it holds nothing"
		case types.StackStatusImportRollbackFailed:
			const refuse = "fails and names it: CloudFormation can't continue the way back of an import"
			r.Create, r.Update, r.Recover = refuse, refuse, refuse
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Condition, b.Condition), cmp.Compare(a.Status, b.Status))
	})
	return append(all, Moving.rule())
}

// rule is what is done about a condition.
func (c Condition) rule() Rule {
	const onward = "; then as for the status that it comes to"
	r := Rule{Condition: c}
	switch c {
	case Absent:
		r.Create, r.Update, r.Delete, r.Recover = "creates it", "creates it", "nothing", "nothing"
	case Whole:
		r.Create, r.Update = "changes it, if it differs", "changes it, if it differs"
		r.Delete, r.Recover = "deletes it", "nothing, but that change sets which a dead run left are deleted"
	case Moving:
		const wait = "waits until it is over" + onward
		r.Create, r.Update, r.Delete, r.Recover = wait, wait, wait, wait
	case Stillborn:
		const rest = "deletes what is left of it, with all that its creation made; "
		const full = "; if somebody has put data into that, the run fails and names it"
		const anew = rest + "then creates it" + full
		r.Create, r.Update, r.Delete = anew, anew, "deletes it"
		r.Recover = rest + "the next create makes it" + full
	case Halted:
		const back = "rolls back to the last whole state"
		r.Create, r.Update, r.Delete, r.Recover = back+onward, back+onward, "deletes it", back
	case Stuck:
		const again = "continues the rollback, skipping nothing; if it fails again, the run fails and names what holds it"
		r.Create, r.Update = again+onward, again+onward
		r.Delete, r.Recover = "deletes it", "continues the rollback, without the resources that --skip names"
	case Undeleted:
		const never = "if it never was whole, as if its creation had failed; otherwise, "
		const anew = never + "if nothing that holds data still stands, deletes it again and creates it; if something does, the run fails and names it"
		r.Create, r.Update = anew, anew
		r.Delete = "deletes it again"
		r.Recover = never + "deletes it again, leaving behind what --retain names, or with --force whatever can't be deleted; what holds data is left behind by name only"
	}
	return r
}

// Lasts tells that a stack of this status is changed in place from now on, not
// made again from the start. One in motion towards its end does not last; one that
// is being created may turn out not to.
func Lasts(s types.StackStatus) bool {
	if s == types.StackStatusDeleteInProgress || s == types.StackStatusRollbackInProgress {
		return false
	}
	c := ConditionOf(s)
	return c == Whole || c == Moving || c == Halted || c == Stuck
}
