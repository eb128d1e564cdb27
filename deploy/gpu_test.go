package deploy_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// TestL14NoCapacityLeavesThePlatformUsable: GPU nodes that can't be had leave a
// platform that is whole and protected, long before AWS gives up on them; the
// same command tries again, and touches nothing else.
func TestL14NoCapacityLeavesThePlatformUsable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "gpu-inference")
		w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(
			`faults: [{id: gpu, fail: {stack: poolside-gpu, type: "AWS::EKS::Nodegroup", error: AsgInstanceLaunchFailures}}]`)})
		var protected, gaveUp time.Time
		w.seen = func(e deploy.Event) {
			if f, ok := e.(deploy.StackFinished); ok && f.Action == deploy.ProtectStack && f.Stack == architecture.Database {
				protected = f.Time
			} else if ok && f.Stack == architecture.GPU && f.Err != nil {
				gaveUp = f.Time
			}
		}
		res, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		var pending *deploy.PendingError
		var failed *stack.Error
		if !errors.As(err, &pending) || !errors.As(pending.GPU, &failed) || res == nil || res.Outputs[architecture.Parameters] == nil {
			t.Fatalf("create: %v, want GPU pending and a result", err)
		}
		if failed.Cause.Type != "AWS::EKS::Nodegroup" || !strings.Contains(failed.Cause.Reason, "InsufficientInstanceCapacity") {
			t.Errorf("the cause is %+v", failed.Cause)
		}
		if protected.IsZero() || !protected.Before(gaveUp) {
			t.Errorf("the database was protected at %v and AWS gave up on the GPU nodes at %v", protected, gaveUp)
		}
		d := &stack.Driver{CFN: w.target(a).AWS.CloudFormation}
		all, err := d.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := map[string]time.Time{}
		for _, st := range all {
			before[st.Name] = st.Updated
			if st.Name == a.StackName(architecture.GPU) {
				continue
			}
			if on := st.Parameters[templates.ProtectionParameter]; !st.Protected || on == "false" {
				t.Errorf("stack %s (%s) is unprotected", st.Name, st.Status)
			}
		}
		if s, err := deploy.Look(t.Context(), w.target(a)); err != nil || s.Phase != deploy.GPUPending || s.Next != "create" {
			t.Errorf("status: %+v, %v", s, err)
		}
		w.create(a)
		if all, err = d.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, st := range all {
			if gpu := st.Name == a.StackName(architecture.GPU); !gpu && !st.Updated.Equal(before[st.Name]) || !st.Protected {
				t.Errorf("after the second create, stack %s was updated at %v, protected %v", st.Name, st.Updated, st.Protected)
			}
		}
		w.emptyPlan(a)
	})
}
