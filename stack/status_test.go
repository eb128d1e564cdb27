package stack

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

func TestEveryStatusHasACondition(t *testing.T) {
	for _, s := range types.StackStatus("").Values() {
		if _, ok := conditions[s]; !ok {
			t.Errorf("status %s has no condition", s)
		}
	}
	if n := len(types.StackStatus("").Values()); n != len(conditions) {
		t.Errorf("%d conditions for %d statuses", len(conditions), n)
	}
	if got := ConditionOf("SOMETHING_NEW"); got != Moving {
		t.Errorf("an unknown status is %v, want Moving: waited for, never acted upon", got)
	}
}

// TestRulesAreWhole: every status has one rule, with a step for each verb.
func TestRulesAreWhole(t *testing.T) {
	seen := map[types.StackStatus]bool{}
	for _, r := range Rules() {
		if seen[r.Status] || r.Create == "" || r.Update == "" || r.Delete == "" || r.Recover == "" || r.Condition != ConditionOf(r.Status) {
			t.Errorf("%+v is there twice or lacks a step", r)
		}
		seen[r.Status] = true
	}
	if len(seen) != len(conditions)+1 || !seen[""] {
		t.Errorf("%d rules for %d statuses and those that nobody knows", len(seen), len(conditions))
	}
	for _, c := range Conditions() {
		if c.String() == "" || c.Means() == "" {
			t.Errorf("condition %d has no words", c)
		}
	}
}
