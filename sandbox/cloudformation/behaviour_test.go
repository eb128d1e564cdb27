package cloudformation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
)

// A change set without changes fails, and can't be executed.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
func TestChangeSetWithoutChanges(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	cs := w.planned(body(vpc("Vpc", "")), nil)
	equal(t, []any{cs["Status"], cs["ExecutionStatus"], cs["StatusReason"]}, []any{"FAILED", "UNAVAILABLE", "The submitted information didn't contain changes. Submit different information to create a change set."})
	w.refused("InvalidChangeSetStatus: ChangeSet ["+cs["ChangeSetId"].(string)+"] cannot be executed in its current status of [FAILED]", "ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	w.must("DeleteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	equal(t, w.must("ListChangeSets", in{"StackName": "s"})["Summaries"], nil)
}

// A token stands for one request: the same request with the same token does
// nothing more, and another request with it is refused.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_UpdateStack.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackStack.html
func TestTokenOfAnotherRequest(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	update := func(extra string) in {
		return in{"StackName": "s", "TemplateBody": body(vpc("Vpc", extra)), "ClientRequestToken": "once"}
	}
	op := w.must("UpdateStack", update(", EnableDnsSupport: true"))["OperationId"]
	equal(t, w.must("UpdateStack", update(", EnableDnsSupport: true"))["OperationId"], op)
	w.rest("s")
	n := len(w.story("s", 0))
	equal(t, w.must("UpdateStack", update(", EnableDnsSupport: true"))["OperationId"], op)
	equal(t, len(w.story("s", 0)), n)
	w.refused("TokenAlreadyExistsException: Token once is already in use by another operation", "UpdateStack", update(", EnableDnsHostnames: true"))
	w.refused("TokenAlreadyExistsException: Token once is already in use by another operation", "DeleteStack", in{"StackName": "s", "ClientRequestToken": "once"})
	w.refused("ValidationError: 1 validation error detected: Value '-x' at 'clientRequestToken' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9][-a-zA-Z0-9]*", "DeleteStack", in{"StackName": "s", "ClientRequestToken": "-x"})
}

// RetainExceptOnCreate deletes what a failed creation has made and keeps it
// when the stack is deleted later: as a policy of a resource, and as an option
// of the request for all that retain.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
func TestRetainExceptOnCreate(t *testing.T) {
	t.Parallel()
	kept := func(policy string) string {
		return strings.Replace(vpc("Vpc", ""), "    Properties", "    DeletionPolicy: "+policy+"\n    Properties", 1)
	}
	bad := note("N", "fail create", "    DependsOn: Vpc\n")
	for _, tc := range []struct {
		policy, option string
		left           int
	}{{"Retain", "false", 1}, {"Retain", "true", 0}, {"RetainExceptOnCreate", "false", 0}} {
		w := newWorld(t)
		w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(kept(tc.policy) + bad), "RetainExceptOnCreate": tc.option})
		equal(t, w.rest("s"), "ROLLBACK_COMPLETE")
		equal(t, w.count("AWS::EC2::VPC"), tc.left)

		w = made(t, body(kept(tc.policy)))
		id := w.idOf("s")
		w.must("DeleteStack", in{"StackName": "s"})
		equal(t, w.rest(id), "DELETE_COMPLETE")
		equal(t, w.count("AWS::EC2::VPC"), 1)
	}
}

// undeletable is a stack whose deletion has failed.
func undeletable(t *testing.T) (*world, string) {
	t.Helper()
	w := made(t, body(vpc("Vpc", "")+note("N", "a", "")))
	w.edit("AWS::EC2::VPC", w.physical("s", "Vpc"), func(r *account.Resource) { r.Data["locked"] = true })
	id := w.idOf("s")
	for _, tc := range []in{{"RetainResources": []any{"Vpc"}}, {"DeletionMode": "FORCE_DELETE_STACK"}} {
		tc["StackName"] = "s"
		if _, err := w.call("DeleteStack", tc); err == nil || !strings.Contains(err.Error(), "DELETE_FAILED state.") {
			t.Errorf("%v before the deletion failed: %v", tc, err)
		}
	}
	w.must("DeleteStack", in{"StackName": "s"})
	equal(t, w.rest(id), "DELETE_FAILED")
	equal(t, w.stack(id)["StackStatusReason"], any("The following resource(s) failed to delete: [Vpc]. "))
	return w, id
}

// A stack whose deletion failed is deleted with its resources retained that
// can't be deleted; before that it can't be asked to.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
func TestRetainResources(t *testing.T) {
	t.Parallel()
	w, id := undeletable(t)
	w.refused("ValidationError: The specified resources to retain must be in a valid state. Do not include resources that are in the following state: DELETE_COMPLETE or that do not exist [N]", "DeleteStack", in{"StackName": "s", "RetainResources": []any{"N"}})
	w.must("DeleteStack", in{"StackName": "s", "RetainResources": []any{"Vpc"}})
	equal(t, w.rest(id), "DELETE_COMPLETE")
	equal(t, w.count("AWS::EC2::VPC"), 1)
}

// FORCE_DELETE_STACK deletes a stack whose deletion failed, and leaves what
// can't be deleted.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
func TestForceDelete(t *testing.T) {
	t.Parallel()
	w, id := undeletable(t)
	w.must("DeleteStack", in{"StackName": "s", "DeletionMode": "FORCE_DELETE_STACK"})
	equal(t, w.rest(id), "DELETE_COMPLETE")
	equal(t, w.stack(id)["DeletionMode"], any("FORCE_DELETE_STACK"))
	equal(t, w.count("AWS::EC2::VPC"), 1)
}

// A policy given with an update holds for that update in place of the stack's
// own.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html
func TestPolicyDuringUpdate(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	policy := func(effect string) string {
		return `{"Statement":[{"Effect":"` + effect + `","Action":"Update:*","Principal":"*","Resource":"*"}]}`
	}
	w.must("SetStackPolicy", in{"StackName": "s", "StackPolicyBody": policy("Deny")})
	next := body(vpc("Vpc", ", EnableDnsSupport: true"))
	w.update(next, nil)
	equal(t, w.status("s"), "UPDATE_ROLLBACK_COMPLETE")
	if got := strings.Join(w.story("s", 0), "\n"); !strings.Contains(got, "Vpc UPDATE_FAILED: Action denied by stack policy: Statement [#1] does not allow [Update:Modify] for resource [LogicalResourceId/Vpc]") {
		t.Errorf("no word of the policy:\n%s", got)
	}
	w.update(next, in{"StackPolicyDuringUpdateBody": policy("Allow")})
	equal(t, w.status("s"), "UPDATE_COMPLETE")
	equal(t, w.must("GetStackPolicy", in{"StackName": "s"})["StackPolicyBody"], any(policy("Deny")))
	w.update(body(vpc("Vpc", "")), nil)
	equal(t, w.status("s"), "UPDATE_ROLLBACK_COMPLETE")
}

// An account has 2,000 stacks, those that are deleted not counted.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
func TestStackQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	small := body(note("N", "a", ""))
	_ = w.a.Do(func(tx *account.Tx) error {
		for i := range maxStacks {
			stack.New(tx, fmt.Sprintf("s%d", i)).Review()
		}
		return nil
	})
	w.refused("LimitExceededException: Limit for stack has been exceeded", "CreateStack", in{"StackName": "more", "TemplateBody": small})
	w.refused("LimitExceededException: Limit for stack has been exceeded", "CreateChangeSet", in{"StackName": "more", "ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": small})
	w.must("DeleteStack", in{"StackName": "s7"})
	w.must("CreateStack", in{"StackName": "more", "TemplateBody": small})
}

// Lists come in pages of a hundred.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListExports.html
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	exporting := func(n int) string {
		var b strings.Builder
		b.WriteString(body(note("N", "a", "")) + "Outputs:\n")
		for i := range n {
			fmt.Fprintf(&b, "  O%d: {Value: x, Export: {Name: !Sub \"${AWS::StackName}-%d\"}}\n", i, i)
		}
		return b.String()
	}
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": exporting(130)})
	w.rest("s")
	importing := body("  M:\n    Type: AWS::SSM::Parameter\n    Properties: {Type: String, Value: !ImportValue s-0}\n")
	changed := strings.Replace(large(129), `"Resources":{`, `"Resources":{"N":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"b"}},`, 1)
	for i := range 130 {
		w.must("CreateStack", in{"StackName": fmt.Sprintf("i%d", i), "TemplateBody": importing})
		w.must("CreateChangeSet", in{"StackName": "s", "ChangeSetName": fmt.Sprintf("c%d", i), "TemplateBody": changed})
		changed = importing
	}
	w.pass(10 * time.Minute)
	for _, tc := range []struct {
		op, list string
		input    in
		all      int
	}{
		{"ListStacks", "StackSummaries", in{}, 131},
		{"DescribeStacks", "Stacks", in{}, 131},
		{"ListExports", "Exports", in{}, 130},
		{"ListImports", "Imports", in{"ExportName": "s-0"}, 130},
		{"ListChangeSets", "Summaries", in{"StackName": "s"}, 130},
		{"DescribeChangeSet", "Changes", in{"StackName": "s", "ChangeSetName": "c0"}, 130},
		{"DescribeEvents", "OperationEvents", in{"StackName": "s"}, len(w.story("s", 0))},
	} {
		seen, pages := 0, 0
		for {
			out := w.must(tc.op, tc.input)
			n := 0
			switch l := out[tc.list].(type) {
			case []any:
				n = len(l)
			case []string:
				n = len(l)
			}
			if n > pageSize {
				t.Errorf("%s: a page of %d", tc.op, n)
			}
			seen, pages = seen+n, pages+1
			next, _ := out["NextToken"].(string)
			if next == "" {
				break
			}
			tc.input["NextToken"] = next
		}
		if seen != tc.all || tc.all > pageSize && pages < 2 {
			t.Errorf("%s: %d of %d in %d pages", tc.op, seen, tc.all, pages)
		}
	}
}

// DescribeStackResources shows the first hundred resources only.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html
func TestDescribeStackResourcesIsCut(t *testing.T) {
	t.Parallel()
	w := made(t, large(120))
	equal(t, len(w.must("DescribeStackResources", in{"StackName": "s"})["StackResources"].([]any)), 100)
	equal(t, len(w.must("DescribeStackResources", in{"StackName": "s", "LogicalResourceId": "R99"})["StackResources"].([]any)), 1)
}

// A parameter that names something in the account must name something that is
// there.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-supplied-parameter-types.html
func TestParametersAreLookedUp(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")+"  Net:\n    Type: AWS::EC2::Subnet\n    Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.1.0/24}\n"))
	template := "Parameters:\n  Vpc: {Type: \"AWS::EC2::VPC::Id\"}\n  Nets: {Type: \"List<AWS::EC2::Subnet::Id>\"}\n  Zone: {Type: \"AWS::EC2::AvailabilityZone::Name\", Default: us-east-1a}\n" + body(note("N", "a", ""))
	try := func(vpc, nets, zone string) in {
		return in{"StackName": "t", "TemplateBody": template, "Parameters": []any{
			in{"ParameterKey": "Vpc", "ParameterValue": vpc}, in{"ParameterKey": "Nets", "ParameterValue": nets}, in{"ParameterKey": "Zone", "ParameterValue": zone},
		}}
	}
	v, n := w.physical("s", "Vpc"), w.physical("s", "Net")
	for parameter, input := range map[string]in{
		"vpc-1 for parameter name Vpc":       try("vpc-1", n, "us-east-1a"),
		"subnet-1 for parameter name Nets":   try(v, n+",subnet-1", "us-east-1a"),
		"eu-west-1a for parameter name Zone": try(v, n, "eu-west-1a"),
	} {
		w.refused("ValidationError: Parameter validation failed: parameter value "+parameter+" does not exist", "CreateStack", input)
	}
	w.must("CreateStack", try(v, n, "us-east-1b"))
}

// A stack that makes IAM resources needs a capability, one that names them
// another; the answer names the one that is missing.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/control-access-with-iam.html
func TestCapabilities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := func(more string) string {
		return body("  R:\n    Type: AWS::IAM::Role\n    Properties: {AssumeRolePolicyDocument: {}" + more + "}\n")
	}
	w.refused("InsufficientCapabilitiesException: Requires capabilities : [CAPABILITY_IAM]", "CreateStack", in{"StackName": "s", "TemplateBody": role("")})
	w.refused("InsufficientCapabilitiesException: Requires capabilities : [CAPABILITY_NAMED_IAM]", "CreateStack", in{"StackName": "s", "TemplateBody": role(", RoleName: r"), "Capabilities": []any{"CAPABILITY_IAM"}})
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": role(", RoleName: r"), "Capabilities": []any{"CAPABILITY_NAMED_IAM"}})
	w.must("CreateStack", in{"StackName": "t", "TemplateBody": role(""), "Capabilities": []any{"CAPABILITY_NAMED_IAM"}})
}

// A reference to a secure parameter is taken only where a password is, and a
// template has at most 60 dynamic references.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
func TestDynamicReferencesAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused("ValidationError: SSM Secure reference is not supported in: [AWS::SSM::Parameter/Properties/Value]", "CreateStack", in{"StackName": "s", "TemplateBody": body(note("N", "{{resolve:ssm-secure:/p}}", ""))})
	many := func(n int) string {
		return body(note("N", strings.Repeat("{{resolve:ssm:/p}}", n), ""))
	}
	w.refused("ValidationError: Template validation error: the template has more than 60 dynamic references", "CreateStack", in{"StackName": "s", "TemplateBody": many(61)})
	_ = w.a.Do(func(tx *account.Tx) error {
		for name, kind := range map[string]string{"/p": "String", "/secret": "SecureString"} {
			r := &account.Resource{Type: ssm.TypeParameter, Props: map[string]any{"Name": name, "Type": kind, "Value": "x"}, Attrs: map[string]any{}, Data: map[string]any{}}
			if err := ssm.Types()[0].Create(tx, r); err != nil {
				return err
			}
			tx.Put(r)
		}
		return nil
	})
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": many(60)})
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	w.must("CreateStack", in{"StackName": "t", "TemplateBody": body("  Db:\n    Type: AWS::RDS::DBInstance\n    Properties: {MasterUserPassword: '{{resolve:ssm-secure:/secret}}'}\n")})
	equal(t, w.rest("t"), "CREATE_COMPLETE")
	w.edit("AWS::RDS::DBInstance", w.physical("t", "Db"), func(r *account.Resource) { equal(t, r.Props["MasterUserPassword"], any("x")) })
}

// A stack of 500 resources, as many as a template may have, is made and deleted
// at the pace of its longest chain.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
func TestFiveHundredResources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_ = w.a.Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::S3::Bucket", ID: "b"})
		tx.Put(&account.Resource{Type: "s3:object", ID: "b/k", Data: map[string]any{"versions": []any{map[string]any{"id": "v", "bodies": []any{map[string]any{"text": large(500)}}}}}})
		return nil
	})
	start := w.now
	w.must("CreateStack", in{"StackName": "s", "TemplateURL": "https://b.s3.amazonaws.com/k"})
	// Four VPCs in turn, and the service's own time.
	equal(t, w.until("CREATE_COMPLETE").Sub(start), 4*12*time.Second+15*time.Second)
	equal(t, w.count("AWS::EC2::VPC"), 500)
	equal(t, len(w.story("s", 0)), 2+3*500)
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s"})
	equal(t, w.rest(id), "DELETE_COMPLETE")
	equal(t, w.count("AWS::EC2::VPC"), 0)
}
