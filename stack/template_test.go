package stack_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// inYAML is a template with every short form that conditions, outputs and properties
// can have.
const inYAML = `AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Stage: {Type: String, Default: test}
  Range: {Type: String, Default: 10.0.0.0/16}
Mappings:
  Sizes:
    test: {Days: 30, 'on': x}
Conditions:
  Test: !Equals [!Ref Stage, test]
  Not: !Not [!Condition Test]
  Some: !Or [!And [!Condition Test, !Condition Not], !Condition Test]
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: !Ref Range, EnableDnsSupport: true}}
  Subnet:
    Type: AWS::EC2::Subnet
    DeletionPolicy: Retain
    Properties:
      VpcId: !GetAtt Vpc.VpcId
      CidrBlock: !Select [0, !Cidr [!GetAtt [Vpc, CidrBlock], 2, 8]]
      AvailabilityZone: !Select
        - 0
        - !GetAZs
  Group:
    Type: AWS::Logs::LogGroup
    Condition: Some
    Properties:
      LogGroupName: !Sub
        - ${Stage}-${Last}
        - Last: !Select [1, !Split ['-', one-group]]
      RetentionInDays: !FindInMap [Sizes, !Ref Stage, Days]
  Entry:
    Type: AWS::SSM::Parameter
    Properties: {Type: String, Value: !Base64 {'Fn::Sub': "${Vpc}\n"}, Description: !If [Not, none, !Ref AWS::NoValue]}
Outputs:
  Both: {Value: !Join ['+', [!Ref Vpc, !Ref Subnet]]}
`

// TestTemplateInYAML: a template that was sent in YAML is read in JSON, in which it
// means the same to CloudFormation. One in JSON is read as it was sent, and one that is
// not given stays.
func TestTemplateInYAML(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		made := w.apply(t, []byte(inYAML))
		body, err := w.Template(t.Context(), made.State.ID)
		if err != nil || !json.Valid(body) || !strings.Contains(string(body), `"DeletionPolicy":"Retain"`) {
			t.Fatalf("read %s, %v", body, err)
		}
		if out := w.apply(t, body); len(out.Changes) > 0 {
			t.Errorf("in JSON it changes %+v", out.Changes)
		}
		out, err := w.Apply(t.Context(), stack.Spec{Name: "s", Parameters: map[string]string{"Stage": "other"}, Tags: made.State.Tags}, nil)
		if err != nil || len(out.Changes) == 0 {
			t.Errorf("another value of a parameter alone: %+v, %v", out, err)
		}
		const odd = " {\"Resources\": {\"Group\": {\"Type\":\"AWS::Logs::LogGroup\"}}}\n"
		w.apply(t, []byte(odd))
		if body, err := w.Template(t.Context(), "s"); err != nil || string(body) != odd {
			t.Errorf("read %q, %v; want the bytes that were sent", body, err)
		}
	})
}

// TestTemplateUnread: what can't be read is told with stack, place, reason and next step.
func TestTemplateUnread(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		made := w.apply(t, []byte("Metadata:\n  Icon: !!binary aGk=\nResources:\n  Group: {Type: AWS::Logs::LogGroup}\n"))
		for _, name := range []string{"s", made.State.ID} {
			_, err := w.Template(t.Context(), name)
			unread, ok := errors.AsType[*stack.TemplateError](err)
			if !ok || unread.Stack != "s" || !strings.HasPrefix(err.Error(), `the template that stack s has can't be read: line 2, column 9: the tag "!!binary" is none of CloudFormation's: deploy it again in JSON`) {
				t.Errorf("got %v", err)
			}
		}
	})
}
