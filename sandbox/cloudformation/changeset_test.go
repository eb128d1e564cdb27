package cloudformation

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
)

// planned makes a change set c for the stack s and returns it when it is done.
func (w *world) planned(template string, more in) map[string]any {
	w.tb.Helper()
	input := in{"StackName": "s", "ChangeSetName": "c", "TemplateBody": template}
	maps.Copy(input, more)
	w.must("CreateChangeSet", input)
	w.pass(5 * time.Second)
	return w.must("DescribeChangeSet", in{"StackName": input["StackName"], "ChangeSetName": input["ChangeSetName"], "IncludePropertyValues": "true"})
}

// digest writes changes compactly: a line for each change and each cause.
func digest(cs map[string]any) []string {
	var out []string
	text := func(v any) string {
		if v == nil {
			return "-"
		}
		return v.(string)
	}
	changes, _ := cs["Changes"].([]any)
	for _, x := range changes {
		c := x.(map[string]any)["ResourceChange"].(map[string]any)
		l := []string{text(c["Action"]), text(c["LogicalResourceId"]), text(c["Replacement"]), text(c["PolicyAction"])}
		if s, ok := c["Scope"].([]string); ok {
			l = append(l, strings.Join(s, "+"))
		}
		out = append(out, strings.Join(l, " "))
		details, _ := c["Details"].([]any)
		for _, y := range details {
			d := y.(map[string]any)
			t := d["Target"].(map[string]any)
			out = append(out, "  "+strings.Join([]string{
				text(t["Attribute"]), text(t["Name"]), text(t["AttributeChangeType"]), text(t["RequiresRecreation"]),
				text(d["ChangeSource"]), text(d["CausingEntity"]), text(d["Evaluation"]), text(t["BeforeValue"]) + "->" + text(t["AfterValue"]),
			}, " "))
		}
	}
	return out
}

// A change set for a stack that is not there makes one in REVIEW_IN_PROGRESS,
// which executing the change set creates.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ExecuteChangeSet.html
func TestChangeSetOfNewStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out := w.must("CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": network, "Description": "first", "OnStackFailure": "DELETE"})
	equal(t, w.status("s"), "REVIEW_IN_PROGRESS")
	describe := func() (any, any) {
		d := w.must("DescribeChangeSet", in{"ChangeSetName": out["Id"]})
		return d["Status"], d["ExecutionStatus"]
	}
	for _, step := range []struct{ status, execution string }{{"CREATE_PENDING", "UNAVAILABLE"}, {"CREATE_IN_PROGRESS", "UNAVAILABLE"}, {"CREATE_IN_PROGRESS", "UNAVAILABLE"}, {"CREATE_IN_PROGRESS", "UNAVAILABLE"}, {"CREATE_COMPLETE", "AVAILABLE"}} {
		s, e := describe()
		equal(t, []any{s, e}, []any{step.status, step.execution})
		if s == "CREATE_PENDING" {
			w.refused("InvalidChangeSetStatus: ChangeSet ["+out["Id"].(string)+"] cannot be executed in its current status of [CREATE_PENDING]", "ExecuteChangeSet", in{"ChangeSetName": out["Id"]})
			w.refused("InvalidChangeSetStatus: ChangeSet ["+out["Id"].(string)+"] cannot be deleted in its current status of [CREATE_PENDING]", "DeleteChangeSet", in{"ChangeSetName": out["Id"]})
		}
		w.pass(time.Second)
	}
	d := w.must("DescribeChangeSet", in{"StackName": "s", "ChangeSetName": "c", "IncludePropertyValues": "true"})
	equal(t, digest(d), []string{"Add A - -", "Add Memo - -", "Add Vpc - -"})
	after := d["Changes"].([]any)[0].(map[string]any)["ResourceChange"].(map[string]any)["AfterContext"]
	equal(t, after, any(`{"Properties":{"CidrBlock":"10.0.1.0/24","VpcId":"{{changeSet:KNOWN_AFTER_APPLY}}"}}`))
	equal(t, d["OnStackFailure"], any("DELETE"))

	w.refused("AlreadyExistsException: ChangeSet [c] already exists", "CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": network})
	w.refused("ValidationError: Stack:ARN is in REVIEW_IN_PROGRESS state and can not be updated.", "CreateChangeSet", in{"StackName": "s", "ChangeSetName": "d", "TemplateBody": network})
	w.refused("AlreadyExistsException: Stack [s] already exists", "CreateStack", in{"StackName": "s", "TemplateBody": network})
	w.must("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	_, execution := describe()
	equal(t, execution, any("EXECUTE_IN_PROGRESS"))
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	_, execution = describe()
	equal(t, execution, any("EXECUTE_COMPLETE"))
	equal(t, w.stack("s")["ChangeSetId"], out["Id"])
	equal(t, w.story("s", 0)[:2], []string{"s REVIEW_IN_PROGRESS: User Initiated", "s CREATE_IN_PROGRESS: User Initiated"})
	w.refused("ValidationError: Stack [s] already exists and cannot be created again with the changeSet [d].", "CreateChangeSet", in{"StackName": "s", "ChangeSetName": "d", "ChangeSetType": "CREATE", "TemplateBody": network})
	w.refused("ValidationError: Stack [t] does not exist", "CreateChangeSet", in{"StackName": "t", "ChangeSetName": "d", "TemplateBody": network})
}

// A stack that only change sets were made for is deleted at once.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
func TestDeleteStackInReview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cs := w.planned(network, in{"ChangeSetType": "CREATE"})
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s"})
	equal(t, w.status(id), "DELETE_COMPLETE")
	equal(t, w.count(stack.ChangeSetType), 0)
	w.refused("ChangeSetNotFound: ChangeSet ["+cs["ChangeSetId"].(string)+"] does not exist", "DescribeChangeSet", in{"ChangeSetName": cs["ChangeSetId"]})
}

// A change set lists each change of a resource with the property, its values
// before and after, its cause, whether that is certain, and whether it
// replaces the resource: always, conditionally or never.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChangeDetail.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceTargetDefinition.html
func TestChanges(t *testing.T) {
	t.Parallel()
	subnet := "  A:\n    Type: AWS::EC2::Subnet\n    Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.0.0/24}\n"
	attribute := note("N", "x", "") // replaced below
	attribute = strings.Replace(attribute, `"x"`, "!GetAtt Vpc.DefaultSecurityGroup", 1)
	param := "Parameters: {Support: {Type: String, Default: 'true'}}\nResources:\n"
	for _, tc := range []struct {
		name, before, after string
		more                in
		want                []string
	}{
		{
			"replacement reaches references", body(vpc("Vpc", "") + subnet + attribute), body(strings.Replace(vpc("Vpc", ""), "10.0", "10.9", 1) + subnet + attribute), nil,
			[]string{
				"Modify A Conditional - Properties",
				"  Properties VpcId Modify Always ResourceReference Vpc Dynamic VPC->{{changeSet:KNOWN_AFTER_APPLY}}",
				"Modify N False - Properties",
				"  Properties Value Modify Never ResourceAttribute Vpc.DefaultSecurityGroup Dynamic SG->{{changeSet:KNOWN_AFTER_APPLY}}",
				"Modify Vpc True ReplaceAndDelete Properties",
				"  Properties CidrBlock Modify Always DirectModification - Static 10.0.0.0/16->10.9.0.0/16",
			},
		},
		{
			"a change in place reaches attributes but no references", body(vpc("Vpc", "") + subnet + attribute), body(vpc("Vpc", ", EnableDnsSupport: true") + subnet + attribute), nil,
			[]string{
				"Modify N False - Properties",
				"  Properties Value Modify Never ResourceAttribute Vpc.DefaultSecurityGroup Dynamic SG->{{changeSet:KNOWN_AFTER_APPLY}}",
				"Modify Vpc False - Properties",
				"  Properties EnableDnsSupport Add Never DirectModification - Static -->true",
			},
		},
		{
			"tags reach nothing", body(vpc("Vpc", "") + subnet + attribute), body(vpc("Vpc", ", Tags: [{Key: a, Value: b}]") + subnet + attribute), nil,
			[]string{
				"Modify Vpc False - Tags",
				`  Tags - Add Never DirectModification - Static -->[{"Key":"a","Value":"b"}]`,
			},
		},
		{
			"by a parameter", param + vpc("Vpc", ", EnableDnsSupport: !Ref Support"), param + vpc("Vpc", ", EnableDnsSupport: !Ref Support"),
			in{"Parameters": []any{in{"ParameterKey": "Support", "ParameterValue": "false"}}},
			[]string{
				"Modify Vpc False - Properties",
				"  Properties EnableDnsSupport Modify Never ParameterReference Support Static true->false",
				"  Properties EnableDnsSupport Modify Never DirectModification - Dynamic true->false",
			},
		},
		{
			"under conditions", body(vpc("Vpc", ", InstanceTenancy: default") + subnet), body(vpc("Vpc", ", InstanceTenancy: dedicated") + subnet), nil,
			[]string{
				"Modify A Conditional - Properties",
				"  Properties VpcId Modify Always ResourceReference Vpc Dynamic VPC->{{changeSet:KNOWN_AFTER_APPLY}}",
				"Modify Vpc Conditional - Properties",
				"  Properties InstanceTenancy Modify Conditionally DirectModification - Static default->dedicated",
			},
		},
		{
			"added, removed, kept", body(vpc("Vpc", "") + strings.Replace(group("G", "g", "d", ""), "    Prop", "    DeletionPolicy: Retain\n    Prop", 1) + note("N", "a", "")), body(vpc("Vpc", "") + group("H", "h", "d", "")), nil,
			[]string{"Remove G - Retain", "Add H - -", "Remove N - Delete"},
		},
		{
			"policies and metadata", body(vpc("Vpc", "")), body(strings.Replace(vpc("Vpc", ""), "    Prop", "    Metadata: {a: b}\n    DeletionPolicy: Retain\n    Prop", 1)), nil,
			[]string{
				"Modify Vpc False - Metadata+DeletionPolicy",
				`  Metadata - Add Never DirectModification - Static -->{"a":"b"}`,
				"  DeletionPolicy - Modify Never DirectModification - Static Delete->Retain",
			},
		},
		{
			"tags of the stack", body(vpc("Vpc", "") + subnet), body(vpc("Vpc", "") + subnet),
			in{"Tags": []any{in{"Key": "a", "Value": "b"}}},
			[]string{
				"Modify A False - Tags",
				`  Tags - Add Never DirectModification - Static -->[{"Key":"a","Value":"b"}]`,
				"Modify Vpc False - Tags",
				`  Tags - Add Never DirectModification - Static -->[{"Key":"a","Value":"b"}]`,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := made(t, tc.before)
			cs := w.planned(tc.after, tc.more)
			equal(t, cs["Status"], any("CREATE_COMPLETE"))
			var got []string
			ids := map[string]string{}
			for logical, short := range map[string]string{"Vpc": "VPC"} {
				ids[w.physical("s", logical)] = short
			}
			for _, l := range digest(cs) {
				for id, short := range ids {
					l = strings.ReplaceAll(l, id, short)
				}
				if i := strings.Index(l, "sg-"); i >= 0 {
					l = l[:i] + "SG" + l[i+20:]
				}
				got = append(got, l)
			}
			equal(t, got, tc.want)

			// What was announced happens, and then there is nothing to do.
			w.must("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
			equal(t, w.rest("s"), "UPDATE_COMPLETE")
			again := in{"ChangeSetName": "again"}
			maps.Copy(again, tc.more)
			cs = w.planned(tc.after, again)
			equal(t, cs["Status"], any("FAILED"))
			equal(t, cs["StatusReason"], any("The submitted information didn't contain changes. Submit different information to create a change set."))
		})
	}
}

// A change set is obsolete once the stack was changed otherwise, and gone when
// the stack is deleted.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeChangeSet.html
func TestChangeSetsGoStale(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	first := w.planned(body(vpc("Vpc", ", EnableDnsSupport: true")), nil)
	w.planned(body(vpc("Vpc", ", EnableDnsSupport: false")), in{"ChangeSetName": "d"})
	w.must("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "d"})
	want := "InvalidChangeSetStatus: ChangeSet [" + first["ChangeSetId"].(string) + "] cannot be executed in its current execution status of [OBSOLETE]"
	w.refused(want, "ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	w.rest("s")
	w.refused(want, "ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	w.must("DeleteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	w.must("DeleteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	w.refused("ChangeSetNotFound: ChangeSet [c] does not exist", "DescribeChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	w.refused("ValidationError: StackName must be specified if ChangeSetName is not specified as an ARN.", "DescribeChangeSet", in{"ChangeSetName": "c"})
	l := w.must("ListChangeSets", in{"StackName": "s"})["Summaries"].([]any)
	equal(t, len(l), 1)
	equal(t, l[0].(map[string]any)["ExecutionStatus"], any("EXECUTE_COMPLETE"))

	w.planned(body(vpc("Vpc", ", EnableDnsSupport: true")), in{"ChangeSetName": "e"})
	w.must("UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ""))})
	l = w.must("ListChangeSets", in{"StackName": "s"})["Summaries"].([]any)
	equal(t, l[0].(map[string]any)["ExecutionStatus"], any("OBSOLETE"))
}

// A change set with unknown properties or taken names fails, and
// DescribeEvents says where in the template.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeEvents.html
func TestChangeSetThatFails(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")+"  B:\n    Type: AWS::S3::Bucket\n    Properties: {BucketName: taken}\n"))
	cs := w.planned(body("  Vpc:\n    Type: AWS::EC2::VPC\n    Properties: {Cidr: 1, Tags: [{Key: a}]}\n  S:\n    Type: AWS::EC2::Subnet\n    Properties: {}\n  C:\n    Type: AWS::S3::Bucket\n    Properties: {BucketName: taken}\n"), nil)
	equal(t, cs["Status"], any("FAILED"))
	equal(t, cs["ExecutionStatus"], any("UNAVAILABLE"))
	equal(t, cs["StatusReason"], any("The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation, AWS::EarlyValidation::ResourceExistenceCheck]. To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."))
	var got []string
	for _, x := range w.must("DescribeEvents", in{"StackName": "s", "ChangeSetName": "c", "Filters": in{"FailedEvents": "true"}})["OperationEvents"].([]any) {
		m := x.(map[string]any)
		if m["EventType"] == "STACK_EVENT" {
			equal(t, []any{m["OperationType"], m["OperationStatus"], m["DetailedStatus"]}, []any{"CREATE_CHANGESET", "FAILED", "VALIDATION_FAILED"})
			continue
		}
		got = append(got, strings.Join([]string{m["EventType"].(string), m["ValidationName"].(string), m["LogicalResourceId"].(string), m["ValidationPath"].(string), m["ValidationStatusReason"].(string)}, " | "))
	}
	equal(t, got, []string{
		"VALIDATION_ERROR | NAME_CONFLICT_VALIDATION | C | /Resources/C | Resource of type 'AWS::S3::Bucket' with identifier 'taken' already exists.",
		"VALIDATION_ERROR | PROPERTY_VALIDATION | S | /Resources/S/Properties | Required property [VpcId] not found",
		"VALIDATION_ERROR | PROPERTY_VALIDATION | Vpc | /Resources/Vpc/Properties | Unsupported property [Cidr]",
		"VALIDATION_ERROR | PROPERTY_VALIDATION | Vpc | /Resources/Vpc/Properties/Tags/0 | Required property [Value] not found",
	})
	w.refused("InvalidChangeSetStatus: ChangeSet ["+cs["ChangeSetId"].(string)+"] cannot be executed in its current status of [FAILED]", "ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	equal(t, w.status("s"), "CREATE_COMPLETE")
}

// OnStackFailure of a change set decides what becomes of a stack whose
// creation fails.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
func TestChangeSetWithoutRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.planned(body(group("G", "g", "fail create", "")), in{"ChangeSetType": "CREATE", "OnStackFailure": "DO_NOTHING"})
	w.must("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	equal(t, w.rest("s"), "CREATE_FAILED")
	equal(t, w.must("DescribeChangeSet", in{"StackName": "s", "ChangeSetName": "c"})["ExecutionStatus"], any("EXECUTE_FAILED"))
	w.planned(body(group("G", "g", "good", "")), in{"ChangeSetName": "d"})
	w.must("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "d", "DisableRollback": "true"})
	equal(t, w.rest("s"), "UPDATE_COMPLETE")
}

// The type of a resource can not be changed by an update.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks.html
func TestResourceTypeCannotChange(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("X", "")))
	cs := w.planned(body(group("X", "g", "d", "")), nil)
	equal(t, cs["StatusReason"], any("Update of resource type is not permitted. The new template modifies resource type of the following resources: [X]"))
	w.refused("ValidationError: Update of resource type is not permitted. The new template modifies resource type of the following resources: [X]", "UpdateStack", in{"StackName": "s", "TemplateBody": body(group("X", "g", "d", ""))})
}
