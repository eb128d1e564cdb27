package cloudformation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// at lets time pass until the stack has a status, and is true if it got there.
func (w *world) at(nameOrID, status string) bool {
	for range 6000 {
		switch got := w.status(nameOrID); {
		case got == status:
			return true
		case !strings.HasSuffix(got, "_IN_PROGRESS"):
			return false
		}
		w.pass(500 * time.Millisecond)
	}
	return false
}

// Every status that AWS documents for a stack, but for those of imports, is
// reached as documented, and allows the operations that AWS allows in it.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html#cfn-console-view-stack-data-resources-status-codes
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Stack.html
func TestStackStatuses(t *testing.T) {
	t.Parallel()
	good := body(vpc("Vpc", "") + note("N", "a", "    DependsOn: Vpc\n"))
	better := body(vpc("Vpc", ", EnableDnsSupport: true") + note("N", "a", "    DependsOn: Vpc\n"))
	replaced := strings.Replace(good, "10.0", "10.1", 1)
	failing := body(strings.Replace(vpc("Vpc", ""), "10.0", "10.1", 1) + note("N", "fail update", "    DependsOn: Vpc\n"))
	unmade := body(vpc("Vpc", "") + note("N", "fail create", "    DependsOn: Vpc\n"))
	create := func(w *world, template string, more ...string) {
		input := in{"StackName": "s", "TemplateBody": template}
		for _, k := range more {
			input[k] = "true"
		}
		w.must("CreateStack", input)
	}
	update := func(w *world, template string, more ...string) {
		create(w, good)
		w.rest("s")
		input := in{"StackName": "s", "TemplateBody": template}
		for _, k := range more {
			input[k] = "true"
		}
		w.must("UpdateStack", input)
	}
	lock := func(w *world, key string, value any) {
		w.edit("AWS::EC2::VPC", w.physical("s", "Vpc"), func(r *account.Resource) { r.Data[key] = value })
	}
	const (
		none    = ""
		any3    = "update change delete"
		stalled = "change delete rollback" // an update needs DisableRollback
	)
	for _, tc := range []struct {
		status  string
		reach   func(w *world)
		allowed string
	}{
		{"REVIEW_IN_PROGRESS", func(w *world) {
			// A change set for a stack that isn't there.
			w.must("CreateChangeSet", in{"StackName": "s", "ChangeSetName": "first", "ChangeSetType": "CREATE", "TemplateBody": good})
		}, "delete"},
		{"CREATE_IN_PROGRESS", func(w *world) { create(w, good) }, "delete"},
		// The creation failed and rollback is disabled.
		{"CREATE_FAILED", func(w *world) { create(w, unmade, "DisableRollback") }, stalled},
		{"CREATE_COMPLETE", func(w *world) { create(w, good) }, any3},
		// The creation failed.
		{"ROLLBACK_IN_PROGRESS", func(w *world) { create(w, unmade) }, "delete"},
		{"ROLLBACK_COMPLETE", func(w *world) { create(w, unmade) }, "delete"},
		{"ROLLBACK_FAILED", func(w *world) {
			// The creation failed, and what there was can't be deleted.
			create(w, unmade)
			w.pass(8 * time.Second)
			lock(w, "locked", true)
		}, "delete"},
		{"DELETE_IN_PROGRESS", func(w *world) {
			create(w, good)
			w.rest("s")
			w.must("DeleteStack", in{"StackName": "s"})
		}, "delete"},
		{"DELETE_FAILED", func(w *world) {
			// What there is can't be deleted.
			create(w, good)
			w.rest("s")
			lock(w, "locked", true)
			w.must("DeleteStack", in{"StackName": "s"})
		}, "delete"},
		// Done for good: the id still describes it.
		{"DELETE_COMPLETE", func(w *world) {
			create(w, good)
			w.rest("s")
			w.must("DeleteStack", in{"StackName": "s"})
		}, "delete"},
		{"UPDATE_IN_PROGRESS", func(w *world) { update(w, better) }, "cancel"},
		{"UPDATE_COMPLETE", func(w *world) { update(w, better) }, any3},
		// The update is over and what it replaced goes.
		{"UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", func(w *world) { update(w, replaced) }, none},
		// The update failed and rollback is disabled.
		{"UPDATE_FAILED", func(w *world) { update(w, failing, "DisableRollback") }, stalled},
		// The update failed.
		{"UPDATE_ROLLBACK_IN_PROGRESS", func(w *world) { update(w, failing) }, none},
		// The stack is as before, and what the update made goes.
		{"UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", func(w *world) { update(w, failing) }, none},
		{"UPDATE_ROLLBACK_COMPLETE", func(w *world) { update(w, failing) }, any3},
		{"UPDATE_ROLLBACK_FAILED", func(w *world) {
			// The update failed, and something can't be taken back.
			update(w, body(vpc("Vpc", ", EnableDnsSupport: true")+group("G", "g", "d", "    DependsOn: Vpc\n")+note("N", "fail update", "    DependsOn: G\n")))
			for w.resourceStatus("Vpc") != "UPDATE_COMPLETE" {
				w.pass(time.Second / 10)
			}
			lock(w, "stuck", true)
		}, "continue delete"},
	} {
		t.Run(tc.status, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.reach(w)
			id := w.idOf("s")
			if !w.at(id, tc.status) {
				t.Fatalf("stack is %s", w.status(id))
			}
			var allowed []string
			next := better
			if tc.status == "UPDATE_COMPLETE" {
				next = good
			}
			for _, op := range []struct {
				word, name string
				input      in
			}{
				{"update", "UpdateStack", in{"TemplateBody": next}},
				{"change", "CreateChangeSet", in{"TemplateBody": next, "ChangeSetName": "c"}},
				{"delete", "DeleteStack", in{}},
				{"cancel", "CancelUpdateStack", in{}},
				{"continue", "ContinueUpdateRollback", in{}},
				{"rollback", "RollbackStack", in{}},
			} {
				fork := *w
				fork.a = w.a.Clone(func() time.Time { return fork.now })
				op.input["StackName"] = id
				_, err := fork.call(op.name, op.input)
				if err == nil {
					allowed = append(allowed, op.word)
				} else if e, ok := err.(*account.Error); !ok || e.Code != "ValidationError" {
					t.Errorf("%s is refused with %v", op.name, err)
				}
			}
			got, want := allowed, strings.Fields(tc.allowed)
			slices.Sort(got)
			slices.Sort(want)
			equal(t, fmt.Sprint(got), fmt.Sprint(want))
		})
	}
}

// A stack whose creation failed with rollback disabled takes an update only
// with DisableRollback.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
func TestFailedStackNeedsDisableRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "") + note("N", "fail create", "")), "DisableRollback": "true"})
	equal(t, w.rest("s"), "CREATE_FAILED")
	w.refused("ValidationError: Stack ARN is currently in a non-terminal [CREATE_FAILED] state. To update the stack from this state, please use the disable-rollback parameter with update-stack API. To rollback to the last known good state, use the rollback-stack API",
		"UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "") + note("N", "b", ""))})
	w.must("UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "") + note("N", "b", "")), "DisableRollback": "true"})
	equal(t, w.rest("s"), "UPDATE_COMPLETE")
}

// Each operation on a stack has an id, which its answer gives, its events bear
// and DescribeEvents asks by; the way back of a failed one is an operation of
// its own.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeEvents.html
func TestOperationIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ""))})["OperationId"]
	w.rest("s")
	changed := w.must("UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "") + note("N", "fail create", ""))})["OperationId"]
	equal(t, w.rest("s"), "UPDATE_ROLLBACK_COMPLETE")
	last := w.stack("s")["LastOperations"].([]any)[0].(map[string]any)
	equal(t, last["OperationType"], any("ROLLBACK"))
	events := func(more in) []string {
		var out []string
		all, _ := w.must("DescribeEvents", more)["OperationEvents"].([]any)
		for _, x := range all {
			m := x.(map[string]any)
			out = append(out, fmt.Sprint(m["OperationType"], " ", m["EventType"], " ", m["LogicalResourceId"], " ", m["ResourceStatus"], " ", m["OperationStatus"]))
		}
		slices.Reverse(out)
		return out
	}
	equal(t, events(in{"OperationId": made}), []string{
		"CREATE_STACK STACK_EVENT s CREATE_IN_PROGRESS IN_PROGRESS",
		"CREATE_STACK PROGRESS_EVENT Vpc CREATE_IN_PROGRESS <nil>",
		"CREATE_STACK PROGRESS_EVENT Vpc CREATE_IN_PROGRESS <nil>",
		"CREATE_STACK PROGRESS_EVENT Vpc CREATE_COMPLETE <nil>",
		"CREATE_STACK STACK_EVENT s CREATE_COMPLETE SUCCEEDED",
	})
	equal(t, events(in{"OperationId": changed}), []string{
		"UPDATE_STACK STACK_EVENT s UPDATE_IN_PROGRESS IN_PROGRESS",
		"UPDATE_STACK PROGRESS_EVENT N CREATE_IN_PROGRESS <nil>",
		"UPDATE_STACK PROVISIONING_ERROR N CREATE_FAILED <nil>",
	})
	equal(t, events(in{"StackName": "s", "OperationId": last["OperationId"]})[0], "ROLLBACK STACK_EVENT s UPDATE_ROLLBACK_IN_PROGRESS IN_PROGRESS")
	equal(t, events(in{"StackName": "s", "Filters": in{"FailedEvents": "true"}}), []string{"UPDATE_STACK PROVISIONING_ERROR N CREATE_FAILED <nil>"})
	w.refused("ValidationError: One of ChangeSetName, OperationId or StackName must be specified.", "DescribeEvents", in{})
	w.refused("ValidationError: Operation with id x does not exist", "DescribeEvents", in{"OperationId": "x"})
}

// A request may name a role for its operation alone.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
func TestRoleOfADeletion(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	w.refused("ValidationError: Role arn:aws:iam::123456789012:role/none is invalid or cannot be assumed", "DeleteStack", in{"StackName": "s", "RoleARN": "arn:aws:iam::123456789012:role/none"})
	_ = w.a.Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{
			Type: "AWS::IAM::Role", ID: "deleter", Data: map[string]any{}, Attrs: map[string]any{"Arn": "arn:aws:iam::123456789012:role/deleter"},
			Props: map[string]any{"AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"cloudformation.amazonaws.com"},"Action":"sts:AssumeRole"}]}`},
		})
		return nil
	})
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s", "RoleARN": "arn:aws:iam::123456789012:role/deleter"})
	w.at(id, "DELETE_COMPLETE")
	equal(t, w.lastCaller, "arn:aws:iam::123456789012:role/deleter")
}
