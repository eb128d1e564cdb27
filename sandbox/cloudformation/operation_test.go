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
