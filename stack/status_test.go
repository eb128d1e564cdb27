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
