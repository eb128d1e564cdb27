package deploy_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
)

// TestL32SelfManagedNATTakesWhatIsForetold: the network with groups of NAT
// instances, which come one after the other, takes what its plan says, to create
// and to delete.
func TestL32SelfManagedNATTakesWhatIsForetold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "self-managed-nat")
		w := newWorld(t, a, sandbox.Options{})
		var expected time.Duration
		checked := map[deploy.Action]bool{}
		w.seen = func(e deploy.Event) {
			switch e := e.(type) {
			case deploy.StackStarted:
				if e.Stack == architecture.Network {
					expected = e.Expected
				}
			case deploy.StackFinished:
				if e.Stack != architecture.Network || e.Action != deploy.CreateStack && e.Action != deploy.DeleteStack {
					return
				}
				checked[e.Action] = true
				if off := (e.Took - expected).Abs(); off > expected/5 {
					t.Errorf("%s took %v, and %v was foretold", e.Action, e.Took, expected)
				} else {
					t.Logf("%s took %v, foretold %v", e.Action, e.Took, expected)
				}
			}
		}
		w.create(a)
		w.destroy(a)
		if len(checked) != 2 {
			t.Errorf("only %v were seen", checked)
		}
	})
}
