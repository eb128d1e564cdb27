package cloudformation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// made is a world with a stack s that is complete.
func made(t *testing.T, template string) *world {
	t.Helper()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": template})
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	return w
}

// short cuts handler messages and tokens out of events.
func short(lines []string) []string {
	var out []string
	for _, l := range lines {
		if head, rest, ok := strings.Cut(l, `Resource handler returned message: "`); ok {
			text, _, _ := strings.Cut(rest, " (Service")
			text, _, _ = strings.Cut(text, `" (`)
			l = head + text
		}
		out = append(out, l)
	}
	return out
}

func (w *world) update(template string, more in) []string {
	w.tb.Helper()
	n := len(w.story("s", 0))
	input := in{"StackName": "s", "TemplateBody": template}
	for k, v := range more {
		input[k] = v
	}
	w.must("UpdateStack", input)
	w.rest("s")
	return short(w.story("s", n))
}

// An update changes resources in place or replaces them, by property, makes
// new ones, removes old ones in the clean-up, and goes back if one fails.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
func TestUpdate(t *testing.T) {
	t.Parallel()
	retain := func(s string) string {
		return strings.Replace(s, "    Properties", "    DeletionPolicy: Retain\n    Properties", 1)
	}
	for _, tc := range []struct {
		name, before, after string
		more                in
		story               []string
		vpcs, groups        int
	}{
		{
			name:   "in place, an addition and a removal",
			before: body(vpc("Vpc", "") + group("Old", "old", "d", "")),
			after:  body(vpc("Vpc", ", EnableDnsSupport: true") + group("New", "new", "d", "")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"New CREATE_IN_PROGRESS",
				"New CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc UPDATE_IN_PROGRESS",
				"Vpc UPDATE_COMPLETE",
				"New CREATE_COMPLETE",
				"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
				"Old DELETE_IN_PROGRESS",
				"Old DELETE_COMPLETE",
				"s UPDATE_COMPLETE",
			},
			vpcs: 1, groups: 1,
		},
		{
			name:   "replacement reaches dependants that refer to the new id",
			before: body(vpc("Vpc", "") + "  A:\n    Type: AWS::EC2::Subnet\n    Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.0.0/24}\n" + note("N", "same", "    DependsOn: Vpc\n")),
			after:  body(strings.Replace(vpc("Vpc", ""), "10.0", "10.1", 1) + "  A:\n    Type: AWS::EC2::Subnet\n    Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.0.0/24}\n" + note("N", "same", "    DependsOn: Vpc\n")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"Vpc UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
				"Vpc UPDATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc UPDATE_COMPLETE",
				"A UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
				"A UPDATE_IN_PROGRESS: Resource creation Initiated",
				"A UPDATE_COMPLETE",
				"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
				"A DELETE_IN_PROGRESS",
				"A DELETE_COMPLETE",
				"Vpc DELETE_IN_PROGRESS",
				"Vpc DELETE_COMPLETE",
				"s UPDATE_COMPLETE",
			},
			vpcs: 1,
		},
		{
			name:   "retained when removed",
			before: body(retain(vpc("Vpc", "")) + group("G", "g", "d", "")),
			after:  body(group("G", "g", "d", "")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
				"Vpc DELETE_SKIPPED",
				"s UPDATE_COMPLETE",
			},
			vpcs: 1, groups: 1,
		},
		{
			name:   "retained when replaced",
			before: body(vpc("Vpc", "")),
			after:  body(strings.Replace(strings.Replace(vpc("Vpc", ""), "10.0", "10.1", 1), "    Prop", "    UpdateReplacePolicy: Retain\n    Prop", 1)),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"Vpc UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
				"Vpc UPDATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc UPDATE_COMPLETE",
				"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
				"Vpc DELETE_SKIPPED",
				"s UPDATE_COMPLETE",
			},
			vpcs: 2,
		},
		{
			name:   "the service asks for a replacement",
			before: body(vpc("Vpc", ", InstanceTenancy: default")),
			after:  body(vpc("Vpc", ", InstanceTenancy: default, Tags: [{Key: a, Value: ask replace}]")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"Vpc UPDATE_IN_PROGRESS",
				"Vpc UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
				"Vpc UPDATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc UPDATE_COMPLETE",
				"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
				"Vpc DELETE_IN_PROGRESS",
				"Vpc DELETE_COMPLETE",
				"s UPDATE_COMPLETE",
			},
			vpcs: 1,
		},
		{
			name:   "refused by the service",
			before: body(vpc("Vpc", "") + note("N", "a", "")),
			after:  body(vpc("Vpc", ", EnableDnsSupport: true") + note("N", "fail update", "    DependsOn: [Vpc, G]\n") + group("G", "g", "d", "")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"G CREATE_IN_PROGRESS",
				"G CREATE_IN_PROGRESS: Resource creation Initiated",
				"Vpc UPDATE_IN_PROGRESS",
				"Vpc UPDATE_COMPLETE",
				"G CREATE_COMPLETE",
				"N UPDATE_IN_PROGRESS",
				"N UPDATE_FAILED: told to update",
				"s UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to update: [N]. ",
				"N UPDATE_IN_PROGRESS",
				"Vpc UPDATE_IN_PROGRESS",
				"N UPDATE_COMPLETE",
				"Vpc UPDATE_COMPLETE",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"G DELETE_IN_PROGRESS",
				"G DELETE_COMPLETE",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
			vpcs: 1,
		},
		{
			name:   "fails while others are under way, one of them a replacement",
			before: body(vpc("Vpc", "") + note("N", "a", "") + group("G", "g", "d", "")),
			after:  body(strings.Replace(vpc("Vpc", ""), "10.0", "10.1", 1) + note("N", "fail settle", "") + group("H", "h", "d", "")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"H CREATE_IN_PROGRESS",
				"H CREATE_IN_PROGRESS: Resource creation Initiated",
				"N UPDATE_IN_PROGRESS",
				"Vpc UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
				"Vpc UPDATE_IN_PROGRESS: Resource creation Initiated",
				"N UPDATE_FAILED: told to settle",
				"H CREATE_FAILED: Resource creation cancelled",
				"Vpc UPDATE_FAILED: Resource update cancelled",
				"s UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [H]. The following resource(s) failed to update: [N, Vpc]. ",
				"N UPDATE_IN_PROGRESS",
				"Vpc UPDATE_IN_PROGRESS",
				"Vpc UPDATE_COMPLETE",
				"N UPDATE_COMPLETE",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"H DELETE_IN_PROGRESS",
				"Vpc DELETE_IN_PROGRESS",
				"H DELETE_COMPLETE",
				"Vpc DELETE_COMPLETE",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
			vpcs: 1, groups: 1,
		},
		{
			name:   "a new resource that is to be kept stays after the rollback",
			before: body(vpc("Vpc", "")),
			after:  body(vpc("Vpc", "") + retain(strings.Replace(vpc("Kept", ""), "10.0", "10.1", 1)) + group("G", "g", "fail create", "    DependsOn: Kept\n")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"Kept CREATE_IN_PROGRESS",
				"Kept CREATE_IN_PROGRESS: Resource creation Initiated",
				"Kept CREATE_COMPLETE",
				"G CREATE_IN_PROGRESS",
				"G CREATE_FAILED: told to create",
				"s UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [G]. ",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"Kept DELETE_SKIPPED",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
			vpcs: 2,
		},
		{
			name:   "nothing is left to do when the last one fails",
			before: body(vpc("Vpc", "")),
			after:  body(vpc("Vpc", "") + retain(group("G", "g", "fail settle", ""))),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"G CREATE_IN_PROGRESS",
				"G CREATE_IN_PROGRESS: Resource creation Initiated",
				"G CREATE_FAILED: told to settle",
				"s UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [G]. ",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"G DELETE_SKIPPED",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
			vpcs: 1, groups: 1,
		},
		{
			name:   "unless the request says otherwise",
			before: body(vpc("Vpc", "")),
			after:  body(vpc("Vpc", "") + retain(strings.Replace(vpc("Kept", ""), "10.0", "10.1", 1)) + group("G", "g", "fail create", "    DependsOn: Kept\n")),
			more:   in{"RetainExceptOnCreate": "true"},
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"Kept CREATE_IN_PROGRESS",
				"Kept CREATE_IN_PROGRESS: Resource creation Initiated",
				"Kept CREATE_COMPLETE",
				"G CREATE_IN_PROGRESS",
				"G CREATE_FAILED: told to create",
				"s UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [G]. ",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"Kept DELETE_IN_PROGRESS",
				"Kept DELETE_COMPLETE",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
			vpcs: 1,
		},
		{
			name:   "a custom name stands in the way of replacement",
			before: body("  B:\n    Type: AWS::RDS::DBInstance\n    Properties: {DBInstanceIdentifier: mine}\n"),
			after:  body("  B:\n    Type: AWS::RDS::DBInstance\n    Properties: {DBInstanceIdentifier: mine, MasterUsername: me}\n"),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"B UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
				"B UPDATE_FAILED: CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename mine and update the stack again.",
				"s UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to update: [B]. ",
				"B UPDATE_IN_PROGRESS",
				"B UPDATE_COMPLETE",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
		},
		{
			name:   "checks before deployment",
			before: body(vpc("Vpc", "")),
			after:  body(vpc("Vpc", ", Nonsense: 1")),
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"s UPDATE_ROLLBACK_IN_PROGRESS: The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]. To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information. ",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
			vpcs: 1,
		},
		{
			name:   "outputs only",
			before: body(vpc("Vpc", "")),
			after:  body(vpc("Vpc", "")) + "Outputs: {V: {Value: !GetAtt Vpc.VpcId}}\n",
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
				"s UPDATE_COMPLETE",
			},
			vpcs: 1,
		},
		{
			name:   "an output that can't be had",
			before: body(vpc("Vpc", "")),
			after:  body(vpc("Vpc", "")) + "Outputs: {V: {Value: !GetAtt Vpc.DefaultNetworkAcl}}\n",
			story: []string{
				"s UPDATE_IN_PROGRESS: User Initiated",
				"s UPDATE_ROLLBACK_IN_PROGRESS: Attribute 'DefaultNetworkAcl' of AWS::EC2::VPC is not modelled or has no value. ",
				"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
				"s UPDATE_ROLLBACK_COMPLETE",
			},
			vpcs: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := made(t, tc.before)
			equal(t, w.update(tc.after, tc.more), tc.story)
			equal(t, w.count("AWS::EC2::VPC"), tc.vpcs)
			equal(t, w.count("AWS::EC2::SecurityGroup"), tc.groups)
			if strings.HasSuffix(w.status("s"), "ROLLBACK_COMPLETE") {
				w.asBefore(tc.before)
			}
		})
	}
}

// asBefore checks that a rolled-back stack is what its template says: updating
// to it is nothing, and deleting it leaves nothing but what is retained.
func (w *world) asBefore(template string) {
	w.tb.Helper()
	equal(w.tb, w.must("GetTemplate", in{"StackName": "s"})["TemplateBody"], any(template))
	w.refused("ValidationError: No updates are to be performed.", "UpdateStack", in{"StackName": "s", "TemplateBody": template})
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s"})
	equal(w.tb, w.rest(id), "DELETE_COMPLETE")
}

// An update that changes nothing is refused.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_UpdateStack.html
func TestNoUpdates(t *testing.T) {
	t.Parallel()
	w := made(t, network)
	w.refused("ValidationError: No updates are to be performed.", "UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true"})
	w.refused("ValidationError: No updates are to be performed.", "UpdateStack", in{"StackName": "s", "TemplateBody": "Description: other words" + network})
	w.refused("ValidationError: Stack [t] does not exist", "UpdateStack", in{"StackName": "t", "TemplateBody": network})
	w.must("UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true", "Parameters": []any{in{"ParameterKey": "Note", "ParameterValue": "x"}}})
	w.refused("ValidationError: Stack:ARN is in UPDATE_IN_PROGRESS state and can not be updated.", "UpdateStack", in{"StackName": "s", "TemplateBody": network})
	w.refused("ValidationError: Stack [ARN] cannot be deleted while in status UPDATE_IN_PROGRESS", "DeleteStack", in{"StackName": "s"})
	equal(t, w.rest("s"), "UPDATE_COMPLETE")
	w.refused("ValidationError: No updates are to be performed.", "UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true", "Parameters": []any{in{"ParameterKey": "Note", "UsePreviousValue": "true"}}})
	// A parameter that isn't mentioned goes back to its default.
	w.must("UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true"})
}

// The rollback of an update fails if a resource can not be restored;
// ContinueUpdateRollback goes on, with the resource or without it.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ContinueUpdateRollback.html
func TestFailedRollback(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")+note("N", "a", "")))
	vpcID := w.physical("s", "Vpc")
	w.must("UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ", EnableDnsSupport: true") + group("G", "g", "d", "    DependsOn: Vpc\n") + note("N", "fail update", "    DependsOn: G\n"))})
	for w.stack("s")["StackStatus"] == "UPDATE_IN_PROGRESS" && w.resourceStatus("Vpc") != "UPDATE_COMPLETE" {
		w.pass(time.Second / 10)
	}
	w.edit("AWS::EC2::VPC", vpcID, func(r *account.Resource) { r.Data["stuck"] = true })
	n := len(w.story("s", 0))
	equal(t, w.rest("s"), "UPDATE_ROLLBACK_FAILED")
	equal(t, short(w.story("s", n)), []string{
		"G CREATE_COMPLETE",
		"N UPDATE_IN_PROGRESS",
		"N UPDATE_FAILED: told to update",
		"s UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to update: [N]. ",
		"N UPDATE_IN_PROGRESS",
		"Vpc UPDATE_IN_PROGRESS",
		"Vpc UPDATE_FAILED: stuck",
		"N UPDATE_COMPLETE",
		"s UPDATE_ROLLBACK_FAILED: The following resource(s) failed to update: [Vpc]. ",
	})
	w.refused("ValidationError: Stack:ARN is in UPDATE_ROLLBACK_FAILED state and can not be updated.", "UpdateStack", in{"StackName": "s", "TemplateBody": network})

	// Again without a change of anything: it fails the same way.
	w.must("ContinueUpdateRollback", in{"StackName": "s"})
	equal(t, w.rest("s"), "UPDATE_ROLLBACK_FAILED")

	fork := *w
	fork.a = w.a.Clone(func() time.Time { return fork.now })
	w.refused("ValidationError: ContinueUpdateRollback failed: the resource [X] to skip does not exist in stack [s] or is not part of the rollback", "ContinueUpdateRollback", in{"StackName": "s", "ResourcesToSkip": []any{"X"}})
	w.must("ContinueUpdateRollback", in{"StackName": "s", "ResourcesToSkip": []any{"Vpc"}})
	equal(t, w.rest("s"), "UPDATE_ROLLBACK_COMPLETE")

	fork.edit("AWS::EC2::VPC", vpcID, func(r *account.Resource) { delete(r.Data, "stuck") })
	fork.must("ContinueUpdateRollback", in{"StackName": "s"})
	equal(t, fork.rest("s"), "UPDATE_ROLLBACK_COMPLETE")
	fork.edit("AWS::EC2::VPC", vpcID, func(r *account.Resource) { equal(t, r.Props["EnableDnsSupport"], nil) })
	w.edit("AWS::EC2::VPC", vpcID, func(r *account.Resource) { equal(t, r.Props["EnableDnsSupport"], any(true)) })
	w.refused("ValidationError: Stack:ARN is in UPDATE_ROLLBACK_COMPLETE state and can not continue update rollback.", "ContinueUpdateRollback", in{"StackName": "s"})
}

func (w *world) resourceStatus(id string) string {
	d := w.must("DescribeStackResource", in{"StackName": "s", "LogicalResourceId": id})["StackResourceDetail"].(map[string]any)
	return d["ResourceStatus"].(string)
}

// CancelUpdateStack takes back an update in progress.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CancelUpdateStack.html
func TestCancelUpdate(t *testing.T) {
	t.Parallel()
	before := body(vpc("Vpc", ""))
	w := made(t, before)
	w.refused("ValidationError: CancelUpdateStack cannot be called from current stack status", "CancelUpdateStack", in{"StackName": "s"})
	w.must("UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ", EnableDnsSupport: true"))})
	w.pass(8 * time.Second)
	n := len(w.story("s", 0))
	at := w.now
	w.must("CancelUpdateStack", in{"StackName": "s"})
	// The change goes on for another 1.5 s before it is taken back.
	equal(t, w.until("UPDATE_ROLLBACK_COMPLETE").Sub(at), 3500*time.Millisecond)
	equal(t, w.story("s", n), []string{
		"Vpc UPDATE_FAILED: Resource update cancelled",
		"s UPDATE_ROLLBACK_IN_PROGRESS: User Initiated",
		"Vpc UPDATE_IN_PROGRESS",
		"Vpc UPDATE_COMPLETE",
		"s UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
		"s UPDATE_ROLLBACK_COMPLETE",
	})
	w.asBefore(before)
}

// An update that failed with rollback disabled goes on with another update or
// back with RollbackStack.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackStack.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
func TestUpdateWithoutRollback(t *testing.T) {
	t.Parallel()
	before := body(vpc("Vpc", "") + note("N", "a", "    DependsOn: Vpc\n"))
	w := made(t, before)
	old := w.physical("s", "Vpc")
	next := vpc("Vpc", ", EnableDnsSupport: true")
	w.update(body(next+note("N", "fail update", "    DependsOn: Vpc\n")), in{"DisableRollback": "true"})
	equal(t, w.status("s"), "UPDATE_FAILED")
	w.edit("AWS::EC2::VPC", old, func(r *account.Resource) { equal(t, r.Props["EnableDnsSupport"], any(true)) })
	fork := *w
	fork.a = w.a.Clone(func() time.Time { return fork.now })

	// Going on.
	w.update(body(next+note("N", "b", "    DependsOn: Vpc\n")), in{"DisableRollback": "true"})
	equal(t, w.status("s"), "UPDATE_COMPLETE")
	equal(t, w.physical("s", "Vpc"), old)

	// Going back.
	fork.must("RollbackStack", in{"StackName": "s"})
	equal(t, fork.rest("s"), "UPDATE_ROLLBACK_COMPLETE")
	fork.asBefore(before)
}

// A resource is not replaced while rollback is disabled.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
func TestNoReplacementWithoutRollback(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]string{
		"always":        strings.Replace(vpc("Vpc", ""), "10.0", "10.1", 1),
		"conditionally": vpc("Vpc", ", Tags: [{Key: a, Value: ask replace}]"),
	} {
		before := body(vpc("Vpc", ""))
		w := made(t, before)
		w.update(body(next), in{"DisableRollback": "true"})
		equal(t, w.status("s"), "UPDATE_FAILED")
		if got := w.story("s", 0); !slices.Contains(got, "Vpc UPDATE_FAILED: Replacement type updates not supported on stack with disable-rollback.") {
			t.Errorf("%s: %s", name, strings.Join(got, "\n"))
		}
		equal(t, w.count("AWS::EC2::VPC"), 1)
		w.must("RollbackStack", in{"StackName": "s"})
		equal(t, w.rest("s"), "UPDATE_ROLLBACK_COMPLETE")
		w.asBefore(before)
	}
}

// Nothing of an update is left over for the next.
func TestUpdatesOneAfterAnother(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	w.must("SetStackPolicy", in{"StackName": "s", "StackPolicyBody": `{"Statement":[{"Effect":"Deny","Action":"Update:Replace","Principal":"*","Resource":"*"},{"Effect":"Allow","Action":"Update:*","Principal":"*","Resource":"*"}]}`})
	lifted := in{"StackPolicyDuringUpdateBody": `{"Statement":[{"Effect":"Allow","Action":"Update:*","Principal":"*","Resource":"*"}]}`}
	want := []string{
		"s UPDATE_IN_PROGRESS: User Initiated",
		"Vpc UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
		"Vpc UPDATE_IN_PROGRESS: Resource creation Initiated",
		"Vpc UPDATE_COMPLETE",
		"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
		"Vpc DELETE_IN_PROGRESS",
		"Vpc DELETE_COMPLETE",
		"s UPDATE_COMPLETE",
	}
	equal(t, w.update(body(strings.Replace(vpc("Vpc", ""), "10.0", "10.1", 1)), lifted), want)
	equal(t, w.update(body(strings.Replace(vpc("Vpc", ""), "10.0", "10.2", 1)), lifted), want)
	last := w.update(body(strings.Replace(vpc("Vpc", ""), "10.0", "10.3", 1)), nil)
	equal(t, last[len(last)-1], "s UPDATE_ROLLBACK_COMPLETE")
	equal(t, w.count("AWS::EC2::VPC"), 1)
}

// What the service has refused is not what the resource is.
func TestRefusedChangeIsNotDeployed(t *testing.T) {
	t.Parallel()
	w := made(t, body(note("N", "a", "")))
	w.update(body(note("N", "fail update", "")), in{"DisableRollback": "true"})
	equal(t, w.status("s"), "UPDATE_FAILED")
	equal(t, digest(w.planned(body(note("N", "b", "")), nil)), []string{
		"Modify N False - Properties",
		"  Properties Value Modify Never DirectModification - Static a->b",
	})
}

// An update is complete although what it replaced can not be deleted.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html#cfn-console-view-stack-data-resources-status-codes
func TestCleanupFails(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")+group("G", "g", "d", "")))
	w.edit("AWS::EC2::VPC", w.physical("s", "Vpc"), func(r *account.Resource) { r.Data["locked"] = true })
	equal(t, w.update(body(group("G", "g", "d", "")), nil), []string{
		"s UPDATE_IN_PROGRESS: User Initiated",
		"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
		"Vpc DELETE_IN_PROGRESS",
		"Vpc DELETE_FAILED: locked",
		"s UPDATE_COMPLETE: Update successful. One or more resources could not be deleted.",
	})
}

// A stack policy denies updates of resources by action, logical id and type,
// and the resource says which statement did.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html
func TestStackPolicy(t *testing.T) {
	t.Parallel()
	protect := func(action string) string {
		return `{"Statement":[{"Effect":"Allow","Action":"Update:*","Principal":"*","Resource":"*"},
			{"Effect":"Deny","Action":["` + action + `"],"Principal":"*","Resource":"LogicalResourceId/V*","Condition":{"StringEquals":{"ResourceType":["AWS::EC2::VPC"]}}}]}`
	}
	other := strings.Replace(vpc("Vpc", ""), "10.0", "10.1", 1)
	for _, tc := range []struct{ name, policy, after, during, status, reason string }{
		{"replace", protect("Update:Replace"), body(other + group("G", "g", "d", "")), "", "UPDATE_ROLLBACK_COMPLETE", "Vpc UPDATE_FAILED: Action denied by stack policy: Statement [#2] does not allow [Update:Replace] for resource [LogicalResourceId/Vpc]"},
		{"replace, lifted for once", protect("Update:Replace"), body(other + group("G", "g", "d", "")), protect("Update:Delete"), "UPDATE_COMPLETE", ""},
		{"modify", protect("Update:Modify"), body(vpc("Vpc", ", EnableDnsSupport: true") + group("G", "g", "d", "")), "", "UPDATE_ROLLBACK_COMPLETE", "Vpc UPDATE_FAILED: Action denied by stack policy: Statement [#2] does not allow [Update:Modify] for resource [LogicalResourceId/Vpc]"},
		{"modify is not replace", protect("Update:Replace"), body(vpc("Vpc", ", EnableDnsSupport: true") + group("G", "g", "d", "")), "", "UPDATE_COMPLETE", ""},
		{"delete", protect("Update:Delete"), body(group("G", "g", "d", "")), "", "UPDATE_ROLLBACK_COMPLETE", "Vpc UPDATE_FAILED: Action denied by stack policy: Statement [#2] does not allow [Update:Delete] for resource [LogicalResourceId/Vpc]"},
		{"of another type", strings.Replace(protect("Update:*"), "AWS::EC2::VPC", "AWS::RDS::*", 1), body(group("G", "g", "d", "")), "", "UPDATE_COMPLETE", ""},
		{"what isn't allowed is denied", `{"Statement":{"Effect":"Allow","Action":"Update:*","Principal":"*","NotResource":"LogicalResourceId/Vpc"}}`, body(other + group("G", "g", "d", "")), "", "UPDATE_ROLLBACK_COMPLETE", "Vpc UPDATE_FAILED: Action denied by stack policy: no statement allows [Update:Replace] for resource [LogicalResourceId/Vpc]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := made(t, body(vpc("Vpc", "")+group("G", "g", "d", "")))
			if strings.HasPrefix(tc.policy, `{"Statement":{`) {
				tc.policy = strings.Replace(tc.policy[:len(tc.policy)-1], `{"Statement":{`, `{"Statement":[{`, 1) + "]}"
			}
			w.must("SetStackPolicy", in{"StackName": "s", "StackPolicyBody": tc.policy})
			equal(t, w.must("GetStackPolicy", in{"StackName": "s"})["StackPolicyBody"], any(tc.policy))
			story := w.update(tc.after, in{"StackPolicyDuringUpdateBody": tc.during})
			equal(t, w.status("s"), tc.status)
			denied := ""
			for _, l := range story {
				if strings.Contains(l, "denied") {
					denied = l
				}
			}
			equal(t, denied, tc.reason)
			equal(t, w.count("AWS::EC2::VPC"), map[bool]int{true: 0, false: 1}[tc.after == body(group("G", "g", "d", "")) && tc.status == "UPDATE_COMPLETE"])
		})
	}
}

// A stack policy that is not well-formed is refused.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SetStackPolicy.html
func TestStackPolicyRefused(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	for _, bad := range []string{`nonsense`, `{}`, `{"Statement":[{"Effect":"Maybe","Action":"Update:*","Principal":"*","Resource":"*"}]}`, `{"Statement":[{"Effect":"Allow","Action":"Delete","Principal":"*","Resource":"*"}]}`, `{"Statement":[{"Effect":"Allow","Action":"Update:*","Principal":"me","Resource":"*"}]}`, `{"Statement":[{"Effect":"Allow","Action":"Update:*","Principal":"*"}]}`} {
		_, err := w.call("SetStackPolicy", in{"StackName": "s", "StackPolicyBody": bad})
		if err == nil || !strings.HasPrefix(err.Error(), "ValidationError: Error validating stack policy") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

// The tags of a stack, and those that name it, are put on its resources,
// without those that have their own.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-resource-tags.html
func TestTags(t *testing.T) {
	t.Parallel()
	template := body(vpc("Vpc", ", Tags: [{Key: own, Value: mine}]") + `  Role:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {}}
  Lt:
    Type: AWS::EC2::LaunchTemplate
    Properties: {LaunchTemplateData: {InstanceType: t3.micro}}
  Asg:
    Type: AWS::AutoScaling::AutoScalingGroup
    Properties: {MinSize: "1", MaxSize: "1"}
`)
	w := newWorld(t)
	tags := func(kv ...string) []any {
		var l []any
		for i := 0; i < len(kv); i += 2 {
			l = append(l, in{"Key": kv[i], "Value": kv[i+1]})
		}
		return l
	}
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": template, "Capabilities": []any{"CAPABILITY_IAM"}, "Tags": tags("team", "a", "own", "theirs")})
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	id := w.idOf("s")
	system := func(logical string, kv ...string) map[string]string {
		m := map[string]string{"aws:cloudformation:stack-name": "s", "aws:cloudformation:stack-id": id, "aws:cloudformation:logical-id": logical}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	check := func(typ, logical string, want map[string]string) {
		t.Helper()
		w.edit(typ, w.physical("s", logical), func(r *account.Resource) { equal(t, r.Tags, want) })
	}
	check("AWS::EC2::VPC", "Vpc", system("Vpc", "team", "a", "own", "mine"))
	check("AWS::IAM::Role", "Role", map[string]string{"team": "a", "own": "theirs"})
	check("AWS::EC2::LaunchTemplate", "Lt", map[string]string{})
	check("AWS::AutoScaling::AutoScalingGroup", "Asg", system("Asg"))

	w.refused("ValidationError: No updates are to be performed.", "UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true", "Capabilities": []any{"CAPABILITY_IAM"}})
	n := len(w.story("s", 0))
	w.must("UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true", "Capabilities": []any{"CAPABILITY_IAM"}, "Tags": tags("own", "theirs", "new", "b")})
	equal(t, w.rest("s"), "UPDATE_COMPLETE")
	equal(t, w.story("s", n), []string{
		"s UPDATE_IN_PROGRESS: User Initiated",
		"Role UPDATE_IN_PROGRESS",
		"Vpc UPDATE_IN_PROGRESS",
		"Role UPDATE_COMPLETE",
		"Vpc UPDATE_COMPLETE",
		"s UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
		"s UPDATE_COMPLETE",
	})
	check("AWS::EC2::VPC", "Vpc", system("Vpc", "new", "b", "own", "mine"))
	check("AWS::IAM::Role", "Role", map[string]string{"own": "theirs", "new": "b"})
	w.refused("ValidationError: No updates are to be performed.", "UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true", "Capabilities": []any{"CAPABILITY_IAM"}, "Tags": tags("own", "theirs", "new", "b")})
	w.must("UpdateStack", in{"StackName": "s", "UsePreviousTemplate": "true", "Capabilities": []any{"CAPABILITY_IAM"}, "Tags": ""})
	equal(t, w.rest("s"), "UPDATE_COMPLETE")
	check("AWS::IAM::Role", "Role", map[string]string{})
	// For the service, tagging is no operation that ends.
	w.edit("AWS::IAM::Role", w.physical("s", "Role"), func(r *account.Resource) { equal(t, r.Data["settled"], any("<nil>create ")) })
}
