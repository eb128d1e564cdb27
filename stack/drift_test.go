package stack_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

func (w *world) drift(t *testing.T) []stack.Drifted {
	t.Helper()
	d, err := w.DetectDrift(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	if d.Checked.IsZero() || d.Incomplete != "" || d.Empty() != (len(d.Resources) == 0) {
		t.Errorf("%+v", d)
	}
	return d.Resources
}

func TestDriftIsFoundAndReverted(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.apply(t, group(30, 30, 30))
		if got := w.drift(t); len(got) > 0 {
			t.Fatalf("of a new stack: %+v", got)
		}
		logs := cloudwatchlogs.NewFromConfig(testkit.Config(w.box))
		if _, err := logs.PutRetentionPolicy(t.Context(), &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: new("group-0"), RetentionInDays: aws.Int32(7)}); err != nil {
			t.Fatal(err)
		}
		if _, err := logs.DeleteLogGroup(t.Context(), &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: new("group-1")}); err != nil {
			t.Fatal(err)
		}
		want := []stack.Drifted{
			{LogicalID: "Group0", PhysicalID: "group-0", Type: "AWS::Logs::LogGroup", Differences: []stack.Difference{{Path: "/RetentionInDays", Kind: "NOT_EQUAL", Expected: "30", Actual: "7"}}},
			{LogicalID: "Group1", PhysicalID: "group-1", Type: "AWS::Logs::LogGroup", Deleted: true},
		}
		if diff := cmp.Diff(want, w.drift(t), cmpopts.IgnoreFields(stack.Drifted{}, "Actual")); diff != "" {
			t.Errorf("drift, -want +got:\n%s", diff)
		}
		spec := stack.Spec{Name: "s", Template: group(30, 30, 30), Tags: map[string]string{"owner": "test"}}
		if changes, err := w.preview(t.Context(), t, spec); err != nil || len(changes) > 0 {
			t.Errorf("without reverting, a preview lists %+v, %v", changes, err)
		}
		spec.RevertDrift = true
		changes := []stack.Change{
			{LogicalID: "Group0", PhysicalID: "group-0", Type: "AWS::Logs::LogGroup", Action: stack.Modify, Drift: true, Properties: []stack.Property{{Path: "RetentionInDays", Before: "7", After: "30", Recreates: "Never", Drift: true}}},
			{LogicalID: "Group1", Type: "AWS::Logs::LogGroup", Action: stack.Add, Drift: true},
		}
		got, err := w.preview(t.Context(), t, spec)
		if diff := cmp.Diff(changes, got); diff != "" || err != nil {
			t.Errorf("preview (%v), -want +got:\n%s", err, diff)
		}
		out, err := w.Apply(t.Context(), spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(changes, out.Changes); diff != "" {
			t.Errorf("applied, -want +got:\n%s", diff)
		}
		if got := w.drift(t); len(got) > 0 {
			t.Errorf("left: %+v", got)
		}
		if again, err := w.Apply(t.Context(), spec, nil); err != nil || len(again.Changes) > 0 {
			t.Errorf("applied again: %+v, %v", again, err)
		}
	})
}

// TestWantedDriftIsNoChange: what the template comes to ask for is there.
func TestWantedDriftIsNoChange(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.apply(t, group(30))
		if _, err := cloudwatchlogs.NewFromConfig(testkit.Config(w.box)).PutRetentionPolicy(t.Context(), &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: new("group-0"), RetentionInDays: aws.Int32(7)}); err != nil {
			t.Fatal(err)
		}
		changes, err := w.preview(t.Context(), t, stack.Spec{Name: "s", Template: group(7), Tags: map[string]string{"owner": "test"}, RevertDrift: true})
		want := []stack.Change{{LogicalID: "Group0", PhysicalID: "group-0", Type: "AWS::Logs::LogGroup", Action: stack.Sync}}
		if diff := cmp.Diff(want, changes, cmpopts.IgnoreFields(stack.Change{}, "Properties")); diff != "" || err != nil {
			t.Errorf("preview (%v), -want +got:\n%s", err, diff)
		}
	})
}

// TestAnotherDetectionIsWaitedFor, since CloudFormation takes one at a time and
// the other may have begun before the drift.
func TestAnotherDetectionIsWaitedFor(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.apply(t, group(30))
		if _, err := w.CFN.DetectStackDrift(t.Context(), &cloudformation.DetectStackDriftInput{StackName: new("s")}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if got := w.drift(t); len(got) > 0 || time.Since(start) < 10*time.Second {
			t.Errorf("after %v: %+v; want both detections to have run", time.Since(start), got)
		}
	})
}

func TestDetectionsThatCannotBe(t *testing.T) {
	denied := true
	o := sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
		if operation == "DetectStackDrift" && denied {
			return &account.Error{Code: "AccessDenied", Message: "User is not authorized to perform: cloudformation:DetectStackDrift", Status: 403}
		}
		return nil
	}}
	bubble(t, o, func(t *testing.T, w *world) {
		st := w.apply(t, group(30)).State
		if !st.CanDrift() || (&stack.State{Status: types.StackStatusUpdateInProgress}).CanDrift() || (*stack.State)(nil).CanDrift() {
			t.Error("which stacks can be looked at is wrong")
		}
		if _, err := w.DetectDrift(t.Context(), "s"); testkit.Code(err) != "AccessDenied" {
			t.Errorf("got %v, want that it is denied", err)
		}
		denied = false
		if _, err := w.DetectDrift(t.Context(), "none"); testkit.Code(err) != "ValidationError" {
			t.Errorf("got %v, want that there is no such stack", err)
		}
	})
}
