package cloudformation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

const bootstrapped = `
Parameters:
  BootstrapVersion: {Type: "AWS::SSM::Parameter::Value<String>", Default: /cdk-bootstrap/hnb659fds/version}
  Zones: {Type: CommaDelimitedList, Default: "a,b"}
Conditions:
  CDKMetadataAvailable: !Or [!Equals [!Ref AWS::Region, us-east-1], !Equals [!Ref "AWS::Region", us-west-2]]
Rules:
  CheckBootstrapVersion:
    Assertions:
      - Assert: {"Fn::Not": [{"Fn::Contains": [["1", "2", "3", "4", "5"], {Ref: BootstrapVersion}]}]}
        AssertDescription: CDK bootstrap stack version 6 required.
  OnlyElsewhere:
    RuleCondition: !Equals [!Ref AWS::Region, eu-west-1]
    Assertions: [{Assert: {"Fn::Contains": [[x], !Ref BootstrapVersion]}}]
  KnownZones:
    Assertions:
      - Assert: {"Fn::EachMemberIn": [{Ref: Zones}, [a, b, c]]}
        AssertDescription: zones are a, b and c
Resources:
  CDKMetadata:
    Type: AWS::CDK::Metadata
    Properties: {Analytics: "v2:deflate64:H4sI"}
    Metadata: {"aws:cdk:path": App/CDKMetadata/Default}
    Condition: CDKMetadataAvailable
  Handle: {Type: AWS::CloudFormation::WaitConditionHandle}
`

// A template's rules are asserted before its operation: a CDK stack is refused
// where the bootstrap is too old.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
func TestRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version := func(v string) {
		_ = w.a.Do(func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: "AWS::SSM::Parameter", ID: "/cdk-bootstrap/hnb659fds/version", Props: map[string]any{"Type": "String", "Value": v}})
			return nil
		})
	}
	version("5")
	create := in{"StackName": "s", "TemplateBody": bootstrapped}
	w.refused("ValidationError: Template validation error: the parameters don't satisfy the rules of the template [CheckBootstrapVersion: CDK bootstrap stack version 6 required.]", "CreateStack", create)
	version("21")
	w.must("CreateStack", create)
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	w.refused("ValidationError: Template validation error: the parameters don't satisfy the rules of the template [KnownZones: zones are a, b and c]", "UpdateStack",
		in{"StackName": "s", "UsePreviousTemplate": "true", "Parameters": []any{in{"ParameterKey": "Zones", "ParameterValue": "a,z"}}})
	for _, tc := range []struct{ rule, want string }{
		{`Assertions: [{Assert: {"Fn::Equals": [!Ref Handle, x]}}]`, "ValidationError: Template format error: Unresolved dependencies [Handle]. Cannot reference resources in the Rules block of the template"},
		{`Assertions: [{Assert: {"Fn::EachMemberIn": [{"Fn::ValueOfAll": ["AWS::EC2::VPC::Id", VpcId]}, [x]]}}]`, "NotModelled: Template error: function Fn::ValueOfAll is not modelled by the sandbox"},
		{`Assertions: [{Assert: {"Fn::RefAll": "AWS::EC2::VPC::Id"}}]`, "NotModelled: Template error: rule function Fn::RefAll is not modelled by the sandbox"},
		{`RuleCondition: {"Fn::Equals": [a, b]}`, "ValidationError: Template format error: [/Rules/KnownZones] Every Rules member must contain Assertions."},
	} {
		head, _, _ := strings.Cut(bootstrapped, "  KnownZones:")
		_, tail, _ := strings.Cut(bootstrapped, "Resources:")
		w.refused(tc.want, "ValidateTemplate", in{"TemplateBody": head + "  KnownZones:\n    " + tc.rule + "\nResources:" + tail})
	}
}

// AWS::CDK::Metadata and AWS::CloudFormation::WaitConditionHandle exist in the
// stack only.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-waitconditionhandle.html
func TestResourcesOfCloudFormationItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, rest, _ := strings.Cut(bootstrapped, "Resources:")
	template := "Conditions: {CDKMetadataAvailable: !Equals [a, a]}\nResources:" + rest
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": template})
	equal(t, w.rest("s"), "CREATE_COMPLETE")
	if got := w.physical("s", "Handle"); !strings.HasPrefix(got, "https://cloudformation-waitcondition-us-east-1.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3A") {
		t.Errorf("handle is %s", got)
	}
	w.update(strings.Replace(template, "H4sI", "H4sJ", 1), nil)
	equal(t, w.status("s"), "UPDATE_COMPLETE")
	id := w.idOf("s")
	w.must("DeleteStack", in{"StackName": "s"})
	equal(t, w.rest(id), "DELETE_COMPLETE")
}

// A template may lie in a bucket of the account, up to 1 MB long.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
func TestTemplateByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	object := func(key, body string) {
		_ = w.a.Do(func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: "s3:object", ID: "cdk.assets/" + key, Data: map[string]any{"versions": []any{map[string]any{"id": "v1", "bodies": []any{map[string]any{"text": body}}}}}})
			return nil
		})
	}
	_ = w.a.Do(func(tx *account.Tx) error {
		_, _, err := tx.Create("AWS::S3::Bucket", map[string]any{"BucketName": "cdk.assets"}, "test", true)
		return err
	})
	template := body(vpc("Vpc", "")) + "# " + strings.Repeat("x", 60_000) + "\n"
	object("a/b.yaml", template)
	object("large", strings.Repeat("x", 1<<20+1))
	w.refused("ValidationError: 1 validation error detected: Value '"+template[:60]+"...' at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to 51200", "ValidateTemplate", in{"TemplateBody": template})
	for i, address := range []string{
		"https://cdk.assets.s3.us-east-1.amazonaws.com/a/b.yaml", "https://cdk.assets.s3.amazonaws.com/a/b.yaml", "https://s3.us-east-1.amazonaws.com/cdk.assets/a/b.yaml",
		"https://s3.amazonaws.com/cdk.assets/a/b.yaml", "https://s3-us-east-1.amazonaws.com/cdk.assets/a/b.yaml?versionId=v1", "http://127.0.0.1:4599/cdk.assets/a/b.yaml",
	} {
		name := fmt.Sprintf("s%d", i)
		w.must("CreateStack", in{"StackName": name, "TemplateURL": address})
		equal(t, w.rest(name), "CREATE_COMPLETE")
		equal(t, w.must("GetTemplate", in{"StackName": name})["TemplateBody"], any(template))
	}
	more := "\nFor more information check http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"
	for address, want := range map[string]string{
		"https://s3.amazonaws.com/cdk.assets/none":                "ValidationError: S3 error: The specified key does not exist." + more,
		"https://none.s3.amazonaws.com/a/b.yaml":                  "ValidationError: S3 error: The specified bucket does not exist" + more,
		"https://cdk.assets.s3.amazonaws.com/large":               "ValidationError: Template may not exceed 1048576 bytes in size.",
		"https://cdk.assets.s3.eu-west-1.amazonaws.com/x":         "NotModelled: templates in eu-west-1 are not modelled by the sandbox, which is us-east-1",
		"https://example.com/x.yaml":                              "ValidationError: TemplateURL must be a supported URL.",
		"http://cdk.assets.s3.amazonaws.com/a/b.yaml":             "ValidationError: TemplateURL must be a supported URL.",
		"https://ec2.amazonaws.com/a":                             "ValidationError: TemplateURL must be a supported URL.",
		"https://cdk.assets.s3.amazonaws.com":                     "ValidationError: TemplateURL must be a supported URL.",
		"ssm-doc://arn:aws:ssm:us-east-1:123:document/x":          "NotModelled: templates in Systems Manager documents are not modelled by the sandbox",
		"https://s3.amazonaws.com/x/" + strings.Repeat("x", 5100): "ValidationError: 1 validation error detected: Value 'https://s3.amazonaws.com/x/" + strings.Repeat("x", 33) + "...' at 'templateURL' failed to satisfy constraint: Member must have length less than or equal to 5120",
	} {
		w.refused(want, "CreateStack", in{"StackName": "t", "TemplateURL": address})
	}
}

// What CloudFormation has and the sandbox has not is refused as not modelled
// before anything is made: nested stacks, macros, custom resources, modules,
// wait conditions, creation policies of other types than groups, and imports.
func TestNotModelledIsRefusedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with := func(resource string) string { return body(vpc("Vpc", "") + "  X: " + resource + "\n") }
	for name, tc := range map[string]struct{ template, want string }{
		"nested stack":       {with("{Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: x}}"), "Template error: nested stacks are not modelled by the sandbox [X]"},
		"custom resource":    {with("{Type: Custom::Thing, Properties: {ServiceToken: x}}"), "Template error: custom resources are not modelled by the sandbox [X]"},
		"custom resource, 2": {with("{Type: AWS::CloudFormation::CustomResource, Properties: {ServiceToken: x}}"), "Template error: custom resources are not modelled by the sandbox [X]"},
		"module":             {with("{Type: My::Own::Thing::MODULE}"), "Template error: modules are not modelled by the sandbox [X]"},
		"wait condition":     {with("{Type: AWS::CloudFormation::WaitCondition, Properties: {Handle: x}}"), "Template error: resources of type AWS::CloudFormation::WaitCondition are not modelled by the sandbox [X]"},
		"creation policy":    {with("{Type: AWS::EC2::VPC, CreationPolicy: {ResourceSignal: {Count: 1}}}"), "Template error: CreationPolicy is not modelled by the sandbox [/Resources/X]"},
		"transform":          {"Transform: AWS::LanguageExtensions\n" + body(vpc("Vpc", "")), "Template section Transform is not modelled by the sandbox"},
		"macro":              {with("{Type: AWS::EC2::VPC, Properties: {CidrBlock: {'Fn::Transform': {Name: M}}}}"), "Template error: function Fn::Transform is not modelled by the sandbox"},
		"loop":               {"Resources:\n  'Fn::ForEach::Loop': [I, [a], {}]\n", "Template error: function Fn::ForEach::Loop needs a transform, and transforms are not modelled by the sandbox"},
		"default of a map":   {"Mappings: {M: {a: {b: c}}}\n" + with("{Type: AWS::EC2::VPC, Properties: {CidrBlock: !FindInMap [M, a, b, {DefaultValue: x}]}}"), "Template error: DefaultValue of Fn::FindInMap needs the transform AWS::LanguageExtensions, which is not modelled by the sandbox"},
		"hooks":              {"Hooks: {H: {}}\n" + body(vpc("Vpc", "")), "Template section Hooks is not modelled by the sandbox"},
	} {
		t.Run(name, func(t *testing.T) {
			w.refused("NotModelled: "+tc.want, "CreateStack", in{"StackName": "s", "TemplateBody": tc.template})
			equal(t, len(w.a.Resources()), 0)
		})
	}
	for _, parameter := range []in{
		{"RollbackConfiguration": in{"RollbackTriggers": []any{in{"Arn": "x", "Type": "AWS::CloudWatch::Alarm"}}}},
		{"ResourceTypes": []any{"AWS::EC2::*"}},
		{"StackPolicyURL": "https://s3.amazonaws.com/b/k"},
		{"DeploymentConfig": in{"Mode": "EXPRESS"}},
	} {
		parameter["StackName"], parameter["TemplateBody"] = "s", body(vpc("Vpc", ""))
		if _, err := w.call("CreateStack", parameter); !account.IsNotModelled(err) {
			t.Errorf("%v: %v", parameter, err)
		}
	}
}

// Fn::GetAZs gives the zones that have a default subnet, and all zones where
// none has one.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-getavailabilityzones.html
func TestGetAZs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template := body(strings.Replace(note("N", "x", ""), `"x"`, `!Join [",", !GetAZs ""]`, 1))
	zones := func(stack string) string {
		w.must("CreateStack", in{"StackName": stack, "TemplateBody": template})
		w.rest(stack)
		got := ""
		w.edit("AWS::SSM::Parameter", w.physical(stack, "N"), func(r *account.Resource) { got = fmt.Sprint(r.Props["Value"]) })
		return got
	}
	equal(t, zones("all"), "us-east-1a,us-east-1b,us-east-1c,us-east-1d,us-east-1e,us-east-1f")
	_ = w.a.Do(func(tx *account.Tx) error {
		for _, z := range []string{"us-east-1d", "us-east-1b"} {
			tx.Put(&account.Resource{Type: "AWS::EC2::Subnet", ID: "subnet-" + z, Attrs: map[string]any{"AvailabilityZone": z}, Data: map[string]any{"default": true}})
		}
		return nil
	})
	equal(t, zones("some"), "us-east-1b,us-east-1d")
}
