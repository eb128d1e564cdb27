package cloudformation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

func body(resources string) string { return "Resources:\n" + resources }

// vpc and bucket are resources for templates; extra are further lines.
func vpc(id, extra string) string {
	return fmt.Sprintf("  %s:\n    Type: AWS::EC2::VPC\n    Properties: {CidrBlock: 10.0.0.0/16%s}\n", id, extra)
}

func note(id, value, extra string) string {
	return fmt.Sprintf("  %s:\n    Type: AWS::SSM::Parameter\n    Properties: {Type: String, Value: %q}\n%s", id, value, extra)
}

func group(id, name, description, extra string) string {
	return fmt.Sprintf("  %s:\n    Type: AWS::EC2::SecurityGroup\n    Properties: {GroupName: %q, GroupDescription: %q}\n%s", id, name, description, extra)
}

// Resources are made in the order of their dependencies and deleted in the
// reverse, each with events that say so.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_StackEvent.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
func TestCreateAndDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "net", "TemplateBody": network, "Parameters": []any{in{"ParameterKey": "Note", "ParameterValue": "bye"}}})
	equal(t, w.status("net"), "CREATE_IN_PROGRESS")
	equal(t, w.rest("net"), "CREATE_COMPLETE")
	equal(t, w.story("net", 0), []string{
		"net CREATE_IN_PROGRESS: User Initiated",
		"Vpc CREATE_IN_PROGRESS",
		"Vpc CREATE_IN_PROGRESS: Resource creation Initiated",
		"Vpc CREATE_COMPLETE",
		"A CREATE_IN_PROGRESS",
		"A CREATE_IN_PROGRESS: Resource creation Initiated",
		"A CREATE_COMPLETE",
		"Memo CREATE_IN_PROGRESS",
		"Memo CREATE_IN_PROGRESS: Resource creation Initiated",
		"Memo CREATE_COMPLETE",
		"net CREATE_COMPLETE",
	})
	subnet := w.physical("net", "A")
	w.edit("AWS::SSM::Parameter", "/note", func(r *account.Resource) {
		equal(t, r.Props["Value"], any("bye from "+subnet))
		equal(t, r.LogicalID, "Memo")
	})
	st := w.stack("net")
	equal(t, st["Outputs"], any([]any{in{"OutputKey": "Vpc", "OutputValue": w.physical("net", "Vpc"), "Description": nil, "ExportName": nil}}))
	id := st["StackId"].(string)

	n := len(w.story("net", 0))
	w.must("DeleteStack", in{"StackName": "net"})
	equal(t, w.rest(id), "DELETE_COMPLETE")
	equal(t, w.story(id, n), []string{
		"net DELETE_IN_PROGRESS: User Initiated",
		"Memo DELETE_IN_PROGRESS",
		"Memo DELETE_COMPLETE",
		"A DELETE_IN_PROGRESS",
		"A DELETE_COMPLETE",
		"Vpc DELETE_IN_PROGRESS",
		"Vpc DELETE_COMPLETE",
		"net DELETE_COMPLETE",
	})
	for _, r := range w.a.Resources() {
		if !strings.HasPrefix(r.Type, "cloudformation:") {
			t.Errorf("%s %s is left", r.Type, r.ID)
		}
	}
	w.refused("ValidationError: Stack with id net does not exist", "DescribeStacks", in{"StackName": "net"})
	w.must("DeleteStack", in{"StackName": "net"})
	w.pass(91 * 24 * time.Hour)
	w.refused("ValidationError: Stack with id "+id+" does not exist", "DescribeStacks", in{"StackName": id})
}

func TestEventsDiffer(t *testing.T) {
	t.Parallel()
	w := made(t, large(30))
	seen := map[any]bool{}
	last := ""
	for _, x := range w.must("DescribeStackEvents", in{"StackName": "s"})["StackEvents"].([]any) {
		m := x.(map[string]any)
		if at := m["Timestamp"].(string); seen[m["EventId"]] || last != "" && at >= last {
			t.Fatalf("event %v at %s comes after one at %s", m["EventId"], at, last)
		} else {
			last = at
		}
		seen[m["EventId"]] = true
	}
}

// Resources are made with the permissions of who asked for them, or of the
// role that was given.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
func TestCaller(t *testing.T) {
	t.Parallel()
	for role, want := range map[string]string{"": "arn:aws:iam::123456789012:user/tester", "arn:aws:iam::123456789012:role/deploy": "arn:aws:iam::123456789012:role/deploy"} {
		w := newWorld(t)
		_ = w.a.Do(func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: "AWS::IAM::Role", ID: "deploy", Data: map[string]any{}, Attrs: map[string]any{"Arn": "arn:aws:iam::123456789012:role/deploy"}, Props: map[string]any{
				"AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"cloudformation.amazonaws.com"},"Action":"sts:AssumeRole"}}`,
			}})
			return nil
		})
		w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "")), "RoleARN": role})
		equal(t, w.rest("s"), "CREATE_COMPLETE")
		w.edit("AWS::EC2::VPC", w.physical("s", "Vpc"), func(r *account.Resource) { equal(t, r.Data["caller"], any(want)) })
	}
}

// A resource may need more time than its type says.
func TestResourceThatNeedsMoreTime(t *testing.T) {
	t.Parallel()
	for until, want := range map[time.Duration]time.Duration{time.Second: 12 * time.Second, 20 * time.Second: 42 * time.Second, 50 * time.Second: 72 * time.Second} {
		w := newWorld(t)
		start := w.now
		w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ""))})
		w.pass(8 * time.Second)
		w.edit("AWS::EC2::VPC", w.physical("s", "Vpc"), func(r *account.Resource) { r.Data["until"] = start.Add(7500*time.Millisecond + until) })
		equal(t, w.until("CREATE_COMPLETE").Sub(start), 15*time.Second+want)
	}
}

// Resources that do not depend on each other are made side by side.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-dependson.html
func TestSideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := w.now
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("A", "") + vpc("B", "") + vpc("C", ""))})
	for w.status("s") == "CREATE_IN_PROGRESS" {
		w.pass(time.Second)
	}
	// Overhead 15 s and one VPC's 12 s, not three.
	equal(t, w.now.Sub(start), 27*time.Second)
}

// A creation that fails is rolled back, the stack is deleted or is left as it
// is, by OnFailure, DisableRollback and the timeout.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
func TestCreateFails(t *testing.T) {
	t.Parallel()
	// Vpc takes 12 s, the group is refused at once or at its end (6 s).
	broken := func(when string) string { return body(vpc("Vpc", "") + group("Bad", "b", "fail "+when, "")) }
	handled := func(s string) string {
		// Tokens differ from event to event.
		i := strings.Index(s, "(Service")
		if i < 0 {
			return s
		}
		return s[:i] + "..." + s[strings.Index(s, "HandlerErrorCode"):]
	}
	for _, tc := range []struct {
		name, template string
		input          in
		status         string
		story          []string
		left           int
	}{
		{
			name: "refused by the service", template: broken("create"), status: "ROLLBACK_COMPLETE",
			story: []string{
				"Bad CREATE_IN_PROGRESS",
				`Bad CREATE_FAILED: Resource handler returned message: "told to create ...HandlerErrorCode: InvalidRequest)`,
				"s ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [Bad]. Rollback requested by user.",
				"Bad DELETE_COMPLETE",
				"s ROLLBACK_COMPLETE",
			},
		},
		{
			name: "fails at its end while another is under way", template: broken("settle"), status: "ROLLBACK_COMPLETE",
			story: []string{
				"Bad CREATE_IN_PROGRESS",
				"Bad CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc CREATE_IN_PROGRESS",
				"Vpc CREATE_IN_PROGRESS: Resource creation Initiated",
				`Bad CREATE_FAILED: Resource handler returned message: "told to settle ...HandlerErrorCode: InvalidRequest)`,
				"Vpc CREATE_FAILED: Resource creation cancelled",
				"s ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [Bad, Vpc]. Rollback requested by user.",
				"Bad DELETE_IN_PROGRESS",
				"Vpc DELETE_IN_PROGRESS",
				"Bad DELETE_COMPLETE",
				"Vpc DELETE_COMPLETE",
				"s ROLLBACK_COMPLETE",
			},
		},
		{
			name: "rollback disabled: what is independent goes on", template: broken("settle"), input: in{"DisableRollback": "true"}, status: "CREATE_FAILED", left: 1,
			story: []string{
				"Bad CREATE_IN_PROGRESS",
				"Bad CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc CREATE_IN_PROGRESS",
				"Vpc CREATE_IN_PROGRESS: Resource creation Initiated",
				`Bad CREATE_FAILED: Resource handler returned message: "told to settle ...HandlerErrorCode: InvalidRequest)`,
				"Vpc CREATE_COMPLETE",
				"s CREATE_FAILED: The following resource(s) failed to create: [Bad]. ",
			},
		},
		{
			name: "delete on failure", template: broken("create"), input: in{"OnFailure": "DELETE"}, status: "DELETE_COMPLETE",
			story: []string{
				"Bad CREATE_IN_PROGRESS",
				`Bad CREATE_FAILED: Resource handler returned message: "told to create ...HandlerErrorCode: InvalidRequest)`,
				"s DELETE_IN_PROGRESS: The following resource(s) failed to create: [Bad]. Delete requested by user.",
				"Bad DELETE_COMPLETE",
				"s DELETE_COMPLETE",
			},
		},
		{
			name: "retained by policy", template: body(vpc("Vpc", "}\n    DeletionPolicy: Retain\n    Metadata: {a: b") + group("Bad", "b", "fail create", "    DependsOn: Vpc\n")), status: "ROLLBACK_COMPLETE", left: 1,
			story: []string{
				"Vpc CREATE_IN_PROGRESS",
				"Vpc CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc CREATE_COMPLETE",
				"Bad CREATE_IN_PROGRESS",
				`Bad CREATE_FAILED: Resource handler returned message: "told to create ...HandlerErrorCode: InvalidRequest)`,
				"s ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [Bad]. Rollback requested by user.",
				"Bad DELETE_COMPLETE",
				"Vpc DELETE_SKIPPED",
				"s ROLLBACK_COMPLETE",
			},
		},
		{
			name: "retained except on create", template: body(vpc("Vpc", "}\n    DeletionPolicy: RetainExceptOnCreate\n    Metadata: {a: b") + group("Bad", "b", "fail create", "    DependsOn: Vpc\n")), status: "ROLLBACK_COMPLETE",
			story: []string{
				"Vpc CREATE_IN_PROGRESS",
				"Vpc CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc CREATE_COMPLETE",
				"Bad CREATE_IN_PROGRESS",
				`Bad CREATE_FAILED: Resource handler returned message: "told to create ...HandlerErrorCode: InvalidRequest)`,
				"s ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [Bad]. Rollback requested by user.",
				"Bad DELETE_COMPLETE",
				"Vpc DELETE_IN_PROGRESS",
				"Vpc DELETE_COMPLETE",
				"s ROLLBACK_COMPLETE",
			},
		},
		{
			name: "a property of the wrong kind, checks disabled", template: body("  Vpc:\n    Type: AWS::EC2::VPC\n    Properties: {CidrBlock: 10.0.0.0/16, Cidr: 1, Tags: {a: b}}\n"), input: in{"DisableValidation": "true"}, status: "ROLLBACK_COMPLETE",
			story: []string{
				"Vpc CREATE_IN_PROGRESS",
				"Vpc CREATE_FAILED: Properties validation failed for resource Vpc with message:\n#: extraneous key [Cidr] is not permitted\n#/Tags: expected type: JSONArray, found: JSONObject",
				"s ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [Vpc]. Rollback requested by user.",
				"Vpc DELETE_COMPLETE",
				"s ROLLBACK_COMPLETE",
			},
		},
		{
			name: "a property of the wrong kind", template: body("  Vpc:\n    Type: AWS::EC2::VPC\n    Properties: {CidrBlock: 10.0.0.0/16, Cidr: 1}\n"), status: "ROLLBACK_COMPLETE",
			story: []string{
				"s ROLLBACK_IN_PROGRESS: The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]. To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information. Rollback requested by user.",
				"s ROLLBACK_COMPLETE",
			},
		},
		{
			name: "too slow", template: body(vpc("Vpc", "") + "  Db:\n    Type: AWS::RDS::DBInstance\n    Properties: {DBInstanceClass: db.t3.micro}\n"), input: in{"TimeoutInMinutes": "1"}, status: "ROLLBACK_COMPLETE",
			story: []string{
				"Db CREATE_IN_PROGRESS",
				"Db CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc CREATE_IN_PROGRESS",
				"Vpc CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc CREATE_COMPLETE",
				"Db CREATE_FAILED: Resource creation cancelled",
				"s ROLLBACK_IN_PROGRESS: Stack creation time exceeded the specified timeout. Rollback requested by user.",
				"Db DELETE_IN_PROGRESS",
				"Vpc DELETE_IN_PROGRESS",
				"Vpc DELETE_COMPLETE",
				"Db DELETE_COMPLETE",
				"s ROLLBACK_COMPLETE",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			input := in{"StackName": "s", "TemplateBody": tc.template}
			for k, v := range tc.input {
				input[k] = v
			}
			id := w.must("CreateStack", input)["StackId"].(string)
			equal(t, w.rest(id), tc.status)
			if tc.story == nil {
				return
			}
			var got []string
			for _, l := range w.story(id, 1) {
				got = append(got, handled(l))
			}
			equal(t, got, tc.story)
			equal(t, w.count("AWS::EC2::VPC"), tc.left)
			equal(t, w.count("AWS::RDS::DBInstance")+w.count("test:snapshot"), 0)
		})
	}
}

// A resource whose creation was cancelled is deleted once its creation is over.
func TestRollbackWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := w.now
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(group("Bad", "b", "fail settle", "") + "  Db:\n    Type: AWS::RDS::DBInstance\n    Properties: {DBInstanceClass: db.t3.micro}\n")})
	w.pass(14 * time.Second)
	equal(t, w.status("s"), "ROLLBACK_IN_PROGRESS")
	equal(t, w.count("AWS::RDS::DBInstance"), 1)
	// Half of the stack's own time, the instance's creation and its deletion.
	equal(t, w.until("ROLLBACK_COMPLETE").Sub(start), 7500*time.Millisecond+420*time.Second+2*time.Second)
	w.refused("ValidationError: Stack:ARN is in ROLLBACK_COMPLETE state and can not be updated.", "UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("A", ""))})
}

// The rollback of a creation fails if a resource can not be deleted; the stack
// can then only be deleted.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html#cfn-console-view-stack-data-resources-status-codes
func TestRollbackFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "") + group("Bad", "b", "fail settle", "    DependsOn: Vpc\n"))})
	w.pass(21 * time.Second)
	w.edit("AWS::EC2::VPC", w.physical("s", "Vpc"), func(r *account.Resource) { r.Data["locked"] = true })
	equal(t, w.rest("s"), "ROLLBACK_FAILED")
	equal(t, w.stack("s")["StackStatusReason"], any("The following resource(s) failed to delete: [Vpc]. "))
	w.edit("AWS::EC2::VPC", w.physical("s", "Vpc"), func(r *account.Resource) { delete(r.Data, "locked") })
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s"})
	equal(t, w.rest(id), "DELETE_COMPLETE")
	equal(t, w.count("AWS::EC2::VPC"), 0)
}

// A creation that failed with rollback disabled goes on with an update: what
// failed is made again, the rest stays.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
func TestRetryWithoutRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "DisableRollback": "true", "TemplateBody": body(vpc("Vpc", "") + group("G", "b", "fail settle", ""))})
	equal(t, w.rest("s"), "CREATE_FAILED")
	kept := w.physical("s", "Vpc")
	w.refused("ValidationError: Stack ARN is currently in a non-terminal [CREATE_FAILED] state. To update the stack from this state, please use the disable-rollback parameter with update-stack API. To rollback to the last known good state, use the rollback-stack API",
		"UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ""))})
	n := len(w.story("s", 0))
	w.must("UpdateStack", in{"StackName": "s", "DisableRollback": "true", "TemplateBody": body(vpc("Vpc", "") + group("G", "b", "good", ""))})
	equal(t, w.rest("s"), "UPDATE_COMPLETE")
	equal(t, w.story("s", n), []string{
		"s UPDATE_IN_PROGRESS: User Initiated",
		"G CREATE_IN_PROGRESS",
		"G CREATE_IN_PROGRESS: Resource creation Initiated",
		"G CREATE_COMPLETE",
		"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
		"s UPDATE_COMPLETE",
	})
	equal(t, w.physical("s", "Vpc"), kept)
	equal(t, w.count("AWS::EC2::SecurityGroup"), 1)
}

// RollbackStack takes back a creation that failed with rollback disabled.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackStack.html
func TestRollbackStackAfterFailedCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "OnFailure": "DO_NOTHING", "TemplateBody": body(vpc("Vpc", "") + group("G", "b", "fail settle", ""))})
	equal(t, w.rest("s"), "CREATE_FAILED")
	w.must("RollbackStack", in{"StackName": "s"})
	equal(t, w.status("s"), "ROLLBACK_IN_PROGRESS")
	equal(t, w.rest("s"), "ROLLBACK_COMPLETE")
	equal(t, w.count("AWS::EC2::VPC")+w.count("AWS::EC2::SecurityGroup"), 0)
	w.refused("ValidationError: Stack:ARN is in ROLLBACK_COMPLETE state and can not be rolled back. Stacks can be rolled back from CREATE_FAILED and UPDATE_FAILED.", "RollbackStack", in{"StackName": "s"})
}

// A deletion fails if a resource can not be deleted, names it, and can be
// tried again.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
func TestDeleteFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		again in
		story []string
	}{
		{"retaining", in{"RetainResources": []any{"A"}}, []string{
			"s DELETE_IN_PROGRESS: User Initiated", "A DELETE_SKIPPED", "Vpc DELETE_IN_PROGRESS", "Vpc DELETE_FAILED: retried", "s DELETE_FAILED: The following resource(s) failed to delete: [Vpc]. ",
		}},
		{"by force", in{"DeletionMode": "FORCE_DELETE_STACK"}, []string{
			"s DELETE_IN_PROGRESS: User Initiated", "A DELETE_IN_PROGRESS", "A DELETE_SKIPPED: locked", "Vpc DELETE_IN_PROGRESS", "Vpc DELETE_SKIPPED: retried", "s DELETE_COMPLETE",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must("CreateStack", in{"StackName": "s", "TemplateBody": network})
			w.rest("s")
			id := w.idOf("s")
			w.refused("ValidationError: Invalid operation on stack [ARN]. When you delete a stack, specify which resources to retain only when the stack is in the DELETE_FAILED state.", "DeleteStack", in{"StackName": "s", "RetainResources": []any{"A"}})
			w.refused("ValidationError: Invalid operation on stack [ARN]. You can only force delete a stack that is in the DELETE_FAILED state.", "DeleteStack", in{"StackName": "s", "DeletionMode": "FORCE_DELETE_STACK"})
			w.edit("AWS::EC2::Subnet", w.physical("s", "A"), func(r *account.Resource) { r.Data["locked"] = true })
			w.must("DeleteStack", in{"StackName": "s"})
			equal(t, w.rest(id), "DELETE_FAILED")
			equal(t, w.stack("s")["StackStatusReason"], any("The following resource(s) failed to delete: [A]. "))
			w.refused("ValidationError: Stack:ARN is in DELETE_FAILED state and can not be updated.", "UpdateStack", in{"StackName": "s", "TemplateBody": network})
			n := len(w.story(id, 0))
			tc.again["StackName"] = "s"
			w.must("DeleteStack", tc.again)
			w.rest(id)
			var got []string
			for _, l := range w.story(id, n) {
				for _, word := range []string{"locked", "dependencies"} {
					if strings.Contains(l, word) {
						l = l[:strings.Index(l, ":")] + ": " + map[string]string{"locked": "locked", "dependencies": "retried"}[word]
					}
				}
				got = append(got, l)
			}
			equal(t, got, tc.story)
		})
	}
}

// A stack with termination protection can not be deleted.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-protect-stacks.html
func TestTerminationProtection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("A", "")), "EnableTerminationProtection": "true"})
	w.rest("s")
	w.refused("ValidationError: Stack [ARN] cannot be deleted while TerminationProtection is enabled", "DeleteStack", in{"StackName": "s"})
	equal(t, w.status("s"), "CREATE_COMPLETE")
	w.must("UpdateTerminationProtection", in{"StackName": "s", "EnableTerminationProtection": "false"})
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s"})
	equal(t, w.rest(id), "DELETE_COMPLETE")
}

// A stack can be deleted while it is being created.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
func TestDeleteWhileCreating(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": network})
	w.pass(10 * time.Second)
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s"})
	equal(t, w.status("s"), "DELETE_IN_PROGRESS")
	equal(t, w.rest(id), "DELETE_COMPLETE")
	equal(t, w.count("AWS::EC2::VPC"), 0)
}

// The deletion policy decides whether a resource is deleted, kept, or deleted
// after a snapshot.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
func TestSnapshotAndRetain(t *testing.T) {
	t.Parallel()
	db := "  Db:\n    Type: AWS::RDS::DBInstance\n    Properties: {DBInstanceClass: db.t3.micro, DBInstanceIdentifier: db}\n"
	for _, tc := range []struct {
		policy              string
		snapshots, instance int
	}{{"", 1, 0}, {"    DeletionPolicy: Delete\n", 0, 0}, {"    DeletionPolicy: Retain\n", 0, 1}, {"    DeletionPolicy: RetainExceptOnCreate\n", 0, 1}, {"    DeletionPolicy: Snapshot\n", 1, 0}} {
		w := newWorld(t)
		w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(db + tc.policy)})
		w.rest("s")
		id := w.idOf("s")
		w.must("DeleteStack", in{"StackName": "s"})
		equal(t, w.rest(id), "DELETE_COMPLETE")
		equal(t, w.count("test:snapshot"), tc.snapshots)
		equal(t, w.count("AWS::RDS::DBInstance"), tc.instance)
	}
}

// Something outside the stack that goes away in time doesn't fail a deletion.
func TestDeleteIsRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ""))})
	w.rest("s")
	id, vpcID := w.idOf("s"), w.physical("s", "Vpc")
	_ = w.a.Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::EC2::Subnet", ID: "subnet-1", Props: map[string]any{"VpcId": vpcID}})
		return nil
	})
	w.must("DeleteStack", in{"StackName": "s"})
	w.pass(time.Minute)
	equal(t, w.status("s"), "DELETE_IN_PROGRESS")
	_ = w.a.Do(func(tx *account.Tx) error {
		tx.Drop("AWS::EC2::Subnet", "subnet-1")
		return nil
	})
	equal(t, w.rest(id), "DELETE_COMPLETE")
}

// until lets time pass in small steps until the stack s has the status.
func (w *world) until(status string) time.Time {
	w.tb.Helper()
	for range 20000 {
		if w.status("s") == status {
			return w.now
		}
		w.pass(100 * time.Millisecond)
	}
	w.tb.Fatalf("stack stays %s", w.status("s"))
	return w.now
}

func TestCloneGoesItsOwnWay(t *testing.T) {
	t.Parallel()
	straight := newWorld(t)
	straight.must("CreateStack", in{"StackName": "s", "TemplateBody": network})
	equal(t, straight.rest("s"), "CREATE_COMPLETE")

	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": network})
	var told []func()
	for _, at := range []time.Duration{0, 8, 6, 4, 4} {
		w.pass(at * time.Second)
		w.status("s")
		forks := []*world{}
		for range 3 {
			fork := *w
			fork.a = w.a.Clone(func() time.Time { return fork.now })
			forks = append(forks, &fork)
		}
		equal(t, forks[0].rest("s"), "CREATE_COMPLETE")
		equal(t, forks[0].story("s", 0), straight.story("s", 0))
		id := forks[1].idOf("s")
		forks[1].must("DeleteStack", in{"StackName": "s"})
		equal(t, forks[1].rest(id), "DELETE_COMPLETE")
		equal(t, forks[1].count("AWS::EC2::VPC"), 0)
		forks[2].must("DeleteStack", in{"StackName": "s"})
		for _, f := range forks[1:] {
			story := f.story(id, 0)
			told = append(told, func() { equal(t, f.story(id, 0), story) })
		}
	}
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	equal(t, w.story("s", 0), straight.story("s", 0))
	for _, same := range told {
		same()
	}
}
