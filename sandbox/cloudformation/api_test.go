package cloudformation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Requests that CloudFormation refuses are refused in its words, and leave the
// account as it was.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/CommonErrors.html
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("Vpc", "")))
	role := func(props string) string {
		return "  R:\n    Type: AWS::IAM::Role\n    Properties: {AssumeRolePolicyDocument: {}" + props + "}\n"
	}
	for _, tc := range []struct {
		name, op string
		input    in
		want     string
	}{
		{"no name", "CreateStack", in{"TemplateBody": network}, "ValidationError: 1 validation error detected: Value null at 'stackName' failed to satisfy constraint: Member must not be null"},
		{"bad name", "CreateStack", in{"StackName": "a_b", "TemplateBody": network}, "ValidationError: 1 validation error detected: Value 'a_b' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"},
		{"long name", "CreateStack", in{"StackName": strings.Repeat("a", 129), "TemplateBody": network}, "ValidationError: 1 validation error detected: Value '" + strings.Repeat("a", 129) + "' at 'stackName' failed to satisfy constraint: Member must have length less than or equal to 128"},
		{"there already", "CreateStack", in{"StackName": "s", "TemplateBody": network}, "AlreadyExistsException: Stack [s] already exists"},
		{"no template", "CreateStack", in{"StackName": "t"}, "ValidationError: Either Template URL or Template Body must be specified."},
		{"template by address", "CreateStack", in{"StackName": "t", "TemplateURL": "https://x"}, "ValidationError: TemplateURL must be a supported URL."},
		{"large template", "CreateStack", in{"StackName": "t", "TemplateBody": strings.Repeat("x", 51201)}, "ValidationError: 1 validation error detected: Value '" + strings.Repeat("x", 60) + "...' at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to 51200"},
		{"unknown type", "CreateStack", in{"StackName": "t", "TemplateBody": body("  A: {Type: AWS::EC2::Vcp}\n  B: {Type: AWS::Foo::Bar}\n")}, "ValidationError: Template format error: Unrecognized resource types: [AWS::EC2::Vcp, AWS::Foo::Bar]"},
		{"type without behaviour", "CreateStack", in{"StackName": "t", "TemplateBody": body("  A: {Type: AWS::SNS::Topic}\n")}, "NotModelled: Resource types are not modelled by the sandbox: [AWS::SNS::Topic]"},
		{"public parameter", "CreateStack", in{"StackName": "t", "TemplateBody": body("  A: {Type: AWS::EC2::VPC}\n") + "Parameters: {P: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /aws/service/x}}\n"}, "NotModelled: the public parameter /aws/service/x is not modelled by the sandbox"},
		{"update policy", "CreateStack", in{"StackName": "t", "TemplateBody": body("  A: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}, UpdatePolicy: {AutoScalingReplacingUpdate: {WillReplace: true}}}\n")}, "NotModelled: Template error: UpdatePolicy AutoScalingReplacingUpdate is not modelled by the sandbox [A]"},
		{"signals", "CreateStack", in{"StackName": "t", "TemplateBody": body("  A: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}, UpdatePolicy: {AutoScalingRollingUpdate: {WaitOnResourceSignals: \"true\"}}}\n")}, "NotModelled: Template error: WaitOnResourceSignals of UpdatePolicy is not modelled by the sandbox [A]"},
		{"update policy that refers to nothing", "CreateStack", in{"StackName": "t", "TemplateBody": body("  A: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}, UpdatePolicy: {AutoScalingRollingUpdate: !Ref X}}\n")}, "ValidationError: Template format error: Unresolved resource dependencies [X] in the Resources block of the template"},
		{"long policy", "SetStackPolicy", in{"StackName": "s", "StackPolicyBody": strings.Repeat("x", 16385)}, "ValidationError: 1 validation error detected: Value '" + strings.Repeat("x", 60) + "...' at 'stackPolicyBody' failed to satisfy constraint: Member must have length less than or equal to 16384"},
		{"no policy", "SetStackPolicy", in{"StackName": "s"}, "ValidationError: You must specify either StackPolicyBody or StackPolicyURL."},
		{"six topics", "CreateStack", in{"StackName": "t", "TemplateBody": network, "NotificationARNs": []any{"1", "2", "3", "4", "5", "6"}}, "ValidationError: 1 validation error detected: Value '[6 topics]' at 'notificationARNs' failed to satisfy constraint: Member must have length less than or equal to 5"},
		{"no time at all", "CreateStack", in{"StackName": "t", "TemplateBody": network, "TimeoutInMinutes": "0"}, "ValidationError: 1 validation error detected: Value '0' at 'timeoutInMinutes' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"long description", "CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "TemplateBody": network, "Description": strings.Repeat("x", 1025)}, "ValidationError: 1 validation error detected: Value '" + strings.Repeat("x", 60) + "...' at 'description' failed to satisfy constraint: Member must have length less than or equal to 1024"},
		{"no capability", "CreateStack", in{"StackName": "t", "TemplateBody": body(role(""))}, "InsufficientCapabilitiesException: Requires capabilities : [CAPABILITY_IAM]"},
		{"no capability for names", "CreateStack", in{"StackName": "t", "TemplateBody": body(role(", RoleName: r")), "Capabilities": []any{"CAPABILITY_IAM"}}, "InsufficientCapabilitiesException: Requires capabilities : [CAPABILITY_NAMED_IAM]"},
		{"unknown capability", "CreateStack", in{"StackName": "t", "TemplateBody": network, "Capabilities": []any{"CAPABILITY_ALL"}}, "ValidationError: 1 validation error detected: Value '[CAPABILITY_ALL]' at 'capabilities' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [CAPABILITY_NAMED_IAM, CAPABILITY_AUTO_EXPAND, CAPABILITY_IAM]]"},
		{"capability in a change set", "CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "TemplateBody": body(role(""))}, "InsufficientCapabilitiesException: Requires capabilities : [CAPABILITY_IAM]"},
		{"unknown parameter", "CreateStack", in{"StackName": "t", "TemplateBody": network, "Parameters": []any{in{"ParameterKey": "X", "ParameterValue": "1"}}}, "ValidationError: Parameters: [X] do not exist in the template"},
		{"role that isn't there", "CreateStack", in{"StackName": "t", "TemplateBody": network, "RoleARN": "arn:aws:iam::123456789012:role/none"}, "ValidationError: Role arn:aws:iam::123456789012:role/none is invalid or cannot be assumed"},
		{"reserved tag", "CreateStack", in{"StackName": "t", "TemplateBody": network, "Tags": []any{in{"Key": "aws:x", "Value": "1"}}}, "ValidationError: Invalid parameter value: aws: prefixed tag key names are not allowed for external use."},
		{"OnFailure and DisableRollback", "CreateStack", in{"StackName": "t", "TemplateBody": network, "OnFailure": "DELETE", "DisableRollback": "false"}, "ValidationError: Either DisableRollback or OnFailure can be specified, not both."},
		{"unknown export", "CreateStack", in{"StackName": "t", "TemplateBody": body(note("N", "x", "")) + "Outputs: {O: {Value: !ImportValue none}}\n"}, "ValidationError: No export named none found"},
		{"template and previous template", "UpdateStack", in{"StackName": "s", "TemplateBody": network, "UsePreviousTemplate": "true"}, "ValidationError: You cannot specify both usePreviousTemplate and Template Body."},
		{"unknown stack", "DescribeStackEvents", in{"StackName": "t"}, "ValidationError: Stack [t] does not exist"},
		{"unknown resource", "DescribeStackResource", in{"StackName": "s", "LogicalResourceId": "X"}, "ValidationError: Resource X does not exist for stack s"},
		{"resources of an unknown stack", "DescribeStackResources", in{"StackName": "t"}, "ValidationError: Stack with id t does not exist"},
		{"unknown change set", "DescribeChangeSet", in{"StackName": "s", "ChangeSetName": "x"}, "ChangeSetNotFound: ChangeSet [x] does not exist"},
		{"import", "CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "ChangeSetType": "IMPORT", "TemplateBody": network}, "NotModelled: change sets of type IMPORT are not modelled by the sandbox"},
		{"express deletion", "DeleteStack", in{"StackName": "s", "DeploymentConfig": in{"Mode": "EXPRESS"}}, "NotModelled: deployment mode EXPRESS is not modelled by the sandbox"},
		{"no importers", "ListImports", in{"ExportName": "x"}, "ValidationError: Export 'x' is not imported by any stack."},
		{"bad token", "ListStacks", in{"NextToken": "x"}, "ValidationError: The specified token is not valid: x"},
		{"dangling reference in a template to validate", "ValidateTemplate", in{"TemplateBody": body(vpc("V", ", InstanceTenancy: !Ref X"))}, "ValidationError: Template format error: Unresolved resource dependencies [X] in the Resources block of the template"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(w.a.Resources())
			w.refused(tc.want, tc.op, tc.input)
			equal(t, len(w.a.Resources()), before)
		})
	}
}

// The events of an operation bear the token of its request.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_StackEvent.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create := in{"StackName": "s", "TemplateBody": network, "ClientRequestToken": "one"}
	id := w.must("CreateStack", create)["StackId"]
	equal(t, w.must("CreateStack", create)["StackId"], id)
	w.rest("s")
	update := in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "")), "ClientRequestToken": "two"}
	w.must("UpdateStack", update)
	w.rest("s")
	equal(t, w.must("UpdateStack", update)["StackId"], id)
	equal(t, w.status("s"), "UPDATE_COMPLETE")
	w.refused("TokenAlreadyExistsException: Token one is already in use by another operation", "DeleteStack", in{"StackName": "s", "ClientRequestToken": "one"})
	for _, x := range w.must("DescribeStackEvents", in{"StackName": "s"})["StackEvents"].([]any) {
		m := x.(map[string]any)
		if want := map[bool]string{true: "two", false: "one"}[w.isUpdate(m)]; m["ClientRequestToken"] != want {
			t.Errorf("%s %s has token %v, want %s", m["LogicalResourceId"], m["ResourceStatus"], m["ClientRequestToken"], want)
		}
	}
	w.planned(network, in{"ClientToken": "x"})
	again := w.must("CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "TemplateBody": network, "ClientToken": "x"})
	equal(t, again["StackId"], id)
}

func (w *world) isUpdate(m map[string]any) bool {
	s := m["ResourceStatus"].(string)
	return strings.HasPrefix(s, "UPDATE_") || strings.HasPrefix(s, "DELETE_")
}

// An export has one name in the account, and can be neither changed nor
// deleted while another stack imports it.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
func TestExports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	exporting := body(note("N", "one", "")) + "Outputs: {O: {Value: !GetAtt N.Value, Export: {Name: !Sub \"${AWS::StackName}-out\"}}}\n"
	w.must("CreateStack", in{"StackName": "a", "TemplateBody": exporting})
	w.rest("a")
	w.must("CreateStack", in{"StackName": "b", "TemplateBody": body(strings.Replace(note("M", "x", ""), `"x"`, "!ImportValue a-out", 1))})
	equal(t, w.rest("b"), "CREATE_COMPLETE")
	w.edit("AWS::SSM::Parameter", w.physical("b", "M"), func(r *account.Resource) { equal(t, r.Props["Value"], any("one")) })
	equal(t, w.must("ListImports", in{"ExportName": "a-out"})["Imports"], any([]string{"b"}))
	equal(t, w.must("ListExports", in{})["Exports"], any([]any{map[string]any{"ExportingStackId": w.idOf("a"), "Name": "a-out", "Value": "one"}}))
	w.refused("ValidationError: Export a-out cannot be deleted as it is in use by b", "DeleteStack", in{"StackName": "a"})

	w.must("UpdateStack", in{"StackName": "a", "TemplateBody": strings.Replace(exporting, "one", "two", 1)})
	equal(t, w.rest("a"), "UPDATE_ROLLBACK_COMPLETE")
	if got := w.story("a", 0); !strings.Contains(strings.Join(got, "\n"), "a UPDATE_ROLLBACK_IN_PROGRESS: Export a-out cannot be updated as it is in use by b") {
		t.Errorf("no word of the export in use:\n%s", strings.Join(got, "\n"))
	}
	w.must("CreateStack", in{"StackName": "c", "TemplateBody": strings.Replace(exporting, `!Sub "${AWS::StackName}-out"`, "a-out", 1)})
	equal(t, w.rest("c"), "ROLLBACK_COMPLETE")
	id := w.idOf("b")
	w.must("DeleteStack", in{"StackName": "b"})
	w.rest(id)
	id = w.idOf("a")
	w.must("DeleteStack", in{"StackName": "a"})
	equal(t, w.rest(id), "DELETE_COMPLETE")
}

// Dynamic references are resolved for the resource only, and no answer shows
// them or the values of NoEcho parameters.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := "Parameters: {Pass: {Type: String, NoEcho: true}, Store: {Type: 'AWS::SSM::Parameter::Value<String>'}}\n" + body(`  S:
    Type: AWS::SecretsManager::Secret
    Properties: {Name: app, SecretString: '{"password":"hunter2"}'}
  Db:
    Type: AWS::RDS::DBInstance
    DependsOn: S
    Properties:
      MasterUserPassword: '{{resolve:secretsmanager:app:SecretString:password}}'
      MasterUsername: !Sub '${Pass}-{{resolve:ssm:/user}}'
      DBName: !Ref Store
`)
	_ = w.a.Do(func(tx *account.Tx) error {
		_, _, err := tx.Create("AWS::SSM::Parameter", map[string]any{"Name": "/user", "Type": "String", "Value": "root"}, "test", true)
		return err
	})
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": secret, "Parameters": []any{in{"ParameterKey": "Pass", "ParameterValue": "geheim"}, in{"ParameterKey": "Store", "ParameterValue": "/user"}}})
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	w.edit("AWS::RDS::DBInstance", w.physical("s", "Db"), func(r *account.Resource) {
		equal(t, r.Props["MasterUserPassword"], any("hunter2"))
		equal(t, r.Props["MasterUsername"], any("geheim-root"))
		equal(t, r.Props["DBName"], any("root"))
	})
	cs := w.planned(strings.Replace(secret, "DBName", "DBInstanceClass: db.t3.micro\n      DBName", 1), in{"Parameters": []any{in{"ParameterKey": "Pass", "ParameterValue": "geheim2"}, in{"ParameterKey": "Store", "UsePreviousValue": "true"}}})
	for _, answer := range []any{cs, w.must("DescribeStackEvents", in{"StackName": "s"}), w.stack("s"), w.must("DescribeStackResources", in{"StackName": "s"})} {
		for _, word := range []string{"geheim", "hunter2\"", "-root"} {
			if s := fmt.Sprint(answer); strings.Contains(s, word) && !(word == "hunter2\"" && strings.Contains(s, `SecretString`)) {
				t.Errorf("%s shows in %s", word, s)
			}
		}
	}
	equal(t, w.stack("s")["Parameters"], any([]any{
		map[string]any{"ParameterKey": "Pass", "ParameterValue": "****", "ResolvedValue": nil},
		map[string]any{"ParameterKey": "Store", "ParameterValue": "/user", "ResolvedValue": "root"},
	}))
	w.edit("AWS::SecretsManager::Secret", w.physical("s", "S"), func(r *account.Resource) { r.Data["DeletedDate"] = w.now })
	w.must("CreateStack", in{"StackName": "u", "TemplateBody": body(note("N", "{{resolve:secretsmanager:app}}", ""))})
	equal(t, w.rest("u"), "ROLLBACK_COMPLETE")
	w.must("CreateStack", in{"StackName": "t", "TemplateBody": body(note("N", "{{resolve:ssm:/none}}", ""))})
	equal(t, w.rest("t"), "ROLLBACK_COMPLETE")
	equal(t, w.story("t", 0)[2], "N CREATE_FAILED: Parameters: [/none] could not be found")
}

// Events are listed from the newest on, and ListStacks shows a deleted stack
// for 90 days.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
func TestListings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "big", "TemplateBody": large(120)})
	w.rest("big")
	events := w.story("big", 0)
	equal(t, len(events), 2+3*120)
	equal(t, events[0], "big CREATE_IN_PROGRESS: User Initiated")
	first := w.must("DescribeStackEvents", in{"StackName": "big"})
	equal(t, len(first["StackEvents"].([]any)), 100)
	equal(t, first["StackEvents"].([]any)[0].(map[string]any)["ResourceStatus"], any("CREATE_COMPLETE"))
	// Events that come meanwhile don't move the pages.
	w.must("UpdateStack", in{"StackName": "big", "TemplateBody": large(119)})
	second := w.must("DescribeStackEvents", in{"StackName": "big", "NextToken": first["NextToken"]})
	last := first["StackEvents"].([]any)[99].(map[string]any)["EventId"]
	next := second["StackEvents"].([]any)[0].(map[string]any)["EventId"]
	if last == next {
		t.Errorf("event %v is on both pages", last)
	}
	equal(t, len(second["StackEvents"].([]any)), 100)
	w.rest("big")

	page := w.must("ListStackResources", in{"StackName": "big"})
	equal(t, len(page["StackResourceSummaries"].([]any)), 100)
	page = w.must("ListStackResources", in{"StackName": "big", "NextToken": page["NextToken"]})
	equal(t, len(page["StackResourceSummaries"].([]any)), 19)

	found := w.must("DescribeStackResources", in{"PhysicalResourceId": w.physical("big", "R7")})["StackResources"].([]any)
	equal(t, len(found), 100)
	id := w.idOf("big")
	w.must("DeleteStack", in{"StackName": "big"})
	w.rest(id)
	equal(t, len(w.must("ListStacks", in{"StackStatusFilter": []any{"DELETE_COMPLETE"}})["StackSummaries"].([]any)), 1)
	equal(t, w.must("ListStacks", in{"StackStatusFilter": []any{"CREATE_COMPLETE"}})["StackSummaries"], nil)
	w.refused("ValidationError: 1 validation error detected: Value '[GONE]' at 'stackStatusFilter' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: ["+strings.Join(statuses(), ", ")+"]]",
		"ListStacks", in{"StackStatusFilter": []any{"CREATE_COMPLETE", "GONE"}})
	equal(t, w.must("DescribeStacks", in{})["Stacks"], nil)
	w.pass(90*24*time.Hour + time.Minute)
	equal(t, w.must("ListStacks", in{})["StackSummaries"], nil)
}

// ValidateTemplate and GetTemplateSummary tell the parameters, capabilities
// and resource types of a template.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ValidateTemplate.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_GetTemplateSummary.html
func TestTemplateQuestions(t *testing.T) {
	t.Parallel()
	tpl := `
Description: what it is
Metadata: {Owner: me}
Parameters:
  Size: {Type: Number, Default: 3, AllowedValues: [1, 3], Description: how many}
  Pass: {Type: String, NoEcho: true}
Resources:
  R:
    Type: AWS::IAM::Role
    Properties: {RoleName: r, AssumeRolePolicyDocument: {}}
  P:
    Type: AWS::SSM::Parameter
    Properties: {Type: String, Value: !Ref Size}
`
	w := newWorld(t)
	equal(t, w.must("ValidateTemplate", in{"TemplateBody": tpl}), map[string]any{
		"Description": "what it is", "Capabilities": []string{"CAPABILITY_NAMED_IAM"},
		"CapabilitiesReason": "The following resource(s) require capabilities: [AWS::IAM::Role]",
		"Parameters": []any{
			map[string]any{"ParameterKey": "Pass", "NoEcho": true, "Description": nil},
			map[string]any{"ParameterKey": "Size", "NoEcho": false, "Description": "how many", "DefaultValue": "3"},
		},
	})
	s := w.must("GetTemplateSummary", in{"TemplateBody": tpl})
	equal(t, s["ResourceTypes"], any([]string{"AWS::IAM::Role", "AWS::SSM::Parameter"}))
	equal(t, s["Metadata"], any(`{"Owner":"me"}`))
	equal(t, s["Parameters"].([]any)[1].(map[string]any)["ParameterConstraints"], any(map[string]any{"AllowedValues": []string{"1", "3"}}))
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": tpl, "Capabilities": []any{"CAPABILITY_NAMED_IAM"}, "Parameters": []any{in{"ParameterKey": "Pass", "ParameterValue": "x"}}})
	equal(t, w.must("GetTemplate", in{"StackName": "s"})["TemplateBody"], any(tpl))
	equal(t, w.must("GetTemplateSummary", in{"StackName": "s"})["Description"], any("what it is"))
}
