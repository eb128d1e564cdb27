package faults_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// shareOfRollbacks is which part of the resources fails together with a rollback,
// when it is not all of them.
const shareOfRollbacks = 0.08

// TestL11CreationAndItsRollbackFail has the creation of each resource of every
// example fail, and then the rollback of another of its stack, of one that holds
// data as often as not. The next run gets over it, and nothing that the failed
// creation made is left in no stack.
func TestL11CreationAndItsRollbackFail(t *testing.T) {
	cases, stuck := 0, 0
	start := time.Now()
	for _, name := range livedToo() {
		t.Run(name, func(t *testing.T) {
			s := told(t, name)
			for _, op := range s.ops[life.Create] {
				name := fmt.Sprintf("%s/%s/%s/%s/rollback", s.Name, life.Create, op.stack, op.resource)
				if life.Wanted(name, shareOfRollbacks) {
					t.Run(strings.TrimPrefix(name, s.Name+"/"), func(t *testing.T) {
						cases++
						if s.failsTwice(t, name, op) {
							stuck++
						}
					})
				}
			}
		})
	}
	t.Logf("seed %d: %d creations failed, in %s; of %d the rollback failed too", life.Seed(), cases, time.Since(start).Round(time.Second), stuck)
	if cases == 0 {
		t.Error("nothing failed")
	}
}

// other draws a resource of an operation's stack.
func (s *story) other(name string, op operation) string {
	var all, data []string
	for _, o := range s.ops[life.Create] {
		if o.stack != op.stack {
			continue
		}
		all = append(all, o.resource)
		if slices.Contains(guard.Stateful(), o.typ) {
			data = append(data, o.resource)
		}
	}
	if len(data) > 0 && life.Draw(life.Seed(), name, "data") < 0.5 {
		all = data
	}
	return all[int(life.Draw(life.Seed(), name, "other")*float64(len(all)))]
}

// failsTwice has the creation of a resource fail, and the rollback of another. It
// tells whether that failed.
func (s *story) failsTwice(t *testing.T, name string, op operation) (stuck bool) {
	defer func() {
		if t.Failed() {
			t.Log(life.Repeat(t, "deploy/sweep/faults", name))
		}
	}()
	other := s.other(name, op)
	at := s.stages[key(life.Create, op.stack)]
	life.Bubble(t, at.at, func(t *testing.T) {
		box := testkit.Clone(t, at.box, time.Now)
		a := s.After(life.Create)
		faults := breakIt(t, box, life.Seed(), a.Config.Region, fmt.Sprintf(`faults:
- {id: forth, times: 1, fail: {stack: %[1]s, resource: %[2]s, on: [create], error: InternalFailure, late: true}}
- {id: back, times: 1, fail: {stack: %[1]s, resource: %[3]s, on: [rollback], error: InternalFailure}}
`, a.StackName(op.stack), op.resource, other))
		first := &run{Life: s.Life, verb: life.Create, box: box, pid: 10, short: true}
		err := first.to(t.Context(), op.stack)
		stuck = faults.Tallies()[1].Times > 0
		if stuck && err == nil {
			t.Errorf("the rollback of %s failed, and the run did not", other)
		}
		s.rests(t, box, a, op.stack)
		again := &run{Life: s.Life, verb: life.Create, box: box, pid: 11, short: true}
		if next := again.patiently(t, op.stack); next != nil {
			t.Errorf("the creation of %s and the rollback of %s fail: %v\nand so does the next run: %v", op.resource, other, err, next)
			return
		}
		inNoStack(t, box)
	})
	return stuck
}

// inNoStack holds an account to have nothing that a stack made which is gone.
func inNoStack(t *testing.T, box *sandbox.Sandbox) {
	t.Helper()
	all := box.Account().Resources()
	stands := map[string]bool{}
	for _, r := range all {
		if r.Type == "cloudformation:stack" && r.Status != "DELETE_COMPLETE" {
			stands[r.ID] = true
		}
	}
	for _, r := range all {
		// KMS keeps keys for some days.
		if strings.Contains(r.Owner, ":stack/") && !stands[r.Owner] && r.Status != "PendingDeletion" {
			t.Errorf("%s %s (%s) is in no stack", r.Type, r.ID, r.LogicalID)
		}
	}
}
