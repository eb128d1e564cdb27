package stack_test

import (
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL11Birth: the events of a stack tell whether it ever was complete, and what
// it made itself.
func TestL11Birth(t *testing.T) {
	t.Parallel()
	for status, stillborn := range map[types.StackStatus]bool{
		types.StackStatusCreateFailed: true, types.StackStatusRollbackFailed: true,
		types.StackStatusCreateComplete: false, types.StackStatusDeleteFailed: false, types.StackStatusUpdateRollbackFailed: false,
	} {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &walk{world: newWorld(t, sandbox.Options{}), t: t}
				w.keys = kms.NewFromConfig(testkit.Config(w.box))
				w.first, w.second = w.key(t, w.keys), w.key(t, w.keys)
				w.reach(status)
				st, err := w.Describe(t.Context(), "s")
				if err != nil {
					t.Fatal(err)
				}
				b, err := w.Birth(t.Context(), st.ID)
				if err != nil || b.Stillborn != stillborn {
					t.Fatalf("stillborn is %v, want %v; %v", b.Stillborn, stillborn, err)
				}
				for id, made := range map[string]bool{"group": true, "theirs": false, "": false} {
					if b.Made(stack.Resource{LogicalID: "Group", PhysicalID: id}) != made {
						t.Errorf("made %q is not %v", id, made)
					}
				}
			})
		})
	}
}
