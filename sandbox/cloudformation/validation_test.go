package cloudformation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// findings are what the checks before deployment found, a line each.
func (w *world) findings(of in) []string {
	w.tb.Helper()
	var out []string
	all, _ := w.must("DescribeEvents", of)["OperationEvents"].([]any)
	for _, x := range all {
		if m := x.(map[string]any); m["EventType"] == "VALIDATION_ERROR" {
			out = append(out, fmt.Sprint(m["OperationType"], " ", m["ValidationFailureMode"], " ", m["ValidationName"], " ", m["ValidationPath"], ": ", m["ValidationStatusReason"]))
		}
	}
	return out
}

// The creation of a stack with a property that its type doesn't have fails
// before anything is made.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
func TestPropertiesAreValidatedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", "") + "  N:\n    Type: AWS::SSM::Parameter\n    DependsOn: Vpc\n    Properties: {Typ: String, Value: x}\n")})
	equal(t, w.rest("s"), "ROLLBACK_COMPLETE")
	equal(t, w.story("s", 0), []string{
		"s CREATE_IN_PROGRESS: User Initiated",
		"s ROLLBACK_IN_PROGRESS: The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]. To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information. Rollback requested by user.",
		"s ROLLBACK_COMPLETE",
	})
	equal(t, w.count("AWS::EC2::VPC"), 0)
	equal(t, w.findings(in{"StackName": "s"}), []string{
		"CREATE_STACK FAIL PROPERTY_VALIDATION /Resources/N/Properties: Required property [Type] not found",
		"CREATE_STACK FAIL PROPERTY_VALIDATION /Resources/N/Properties: Unsupported property [Typ]",
	})
}

// An update that would make a resource whose name is taken fails before
// anything is touched.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
func TestNamesAreValidatedFirst(t *testing.T) {
	t.Parallel()
	before := body(vpc("Vpc", ""))
	w := made(t, before)
	_ = w.a.Do(func(tx *account.Tx) error {
		_, _, err := tx.Create("AWS::S3::Bucket", map[string]any{"BucketName": "taken"}, "other", false)
		return err
	})
	w.must("UpdateStack", in{"StackName": "s", "TemplateBody": body(vpc("Vpc", ", EnableDnsSupport: true") + "  B:\n    Type: AWS::S3::Bucket\n    Properties: {BucketName: taken}\n")})
	equal(t, w.rest("s"), "UPDATE_ROLLBACK_COMPLETE")
	for _, l := range w.story("s", 0) {
		if strings.HasPrefix(l, "Vpc UPDATE") || strings.HasPrefix(l, "B ") {
			t.Errorf("touched: %s", l)
		}
	}
	equal(t, w.findings(in{"StackName": "s"}), []string{"UPDATE_STACK FAIL NAME_CONFLICT_VALIDATION /Resources/B: Resource of type 'AWS::S3::Bucket' with identifier 'taken' already exists."})
	w.asBefore(before)
}

// DisableValidation leaves out the checks before deployment: the resource
// itself fails.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
func TestDisableValidation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template := body("  N:\n    Type: AWS::SSM::Parameter\n    Properties: {Typ: String, Type: String, Value: x}\n")
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": template, "DisableValidation": "true"})
	equal(t, w.rest("s"), "ROLLBACK_COMPLETE")
	equal(t, w.story("s", 0)[2], "N CREATE_FAILED: Properties validation failed for resource N with message:\n#: extraneous key [Typ] is not permitted")
	equal(t, w.findings(in{"StackName": "s"}), nil)
	cs := w.planned(template, in{"StackName": "t", "ChangeSetType": "CREATE", "DisableValidation": "true"})
	equal(t, cs["Status"], any("CREATE_COMPLETE"))
}

// A change set that deletes a bucket or repository that holds something is made
// with a warning.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
func TestDeletionOfWhatIsNotEmptyWarns(t *testing.T) {
	t.Parallel()
	repository := func(id, more string) string {
		return "  " + id + ":\n    Type: AWS::ECR::Repository\n    Properties: {RepositoryName: " + strings.ToLower(id) + more + "}\n"
	}
	bucket := func(id, more string) string {
		return "  " + id + ":\n    Type: AWS::S3::Bucket\n" + more + "    Properties: {BucketName: " + strings.ToLower(id) + "}\n"
	}
	w := made(t, body(vpc("Vpc", "")+bucket("Full", "")+bucket("Void", "")+bucket("Kept", "    DeletionPolicy: Retain\n")+repository("Images", "")+repository("Cleared", ", EmptyOnDelete: true")))
	_ = w.a.Do(func(tx *account.Tx) error {
		for _, id := range []string{"full/key", "kept/key"} {
			tx.Put(&account.Resource{Type: "s3:object", ID: id})
		}
		for _, id := range []string{"images@sha256:1", "cleared@sha256:1"} {
			tx.Put(&account.Resource{Type: "ecr:image", ID: id})
		}
		return nil
	})
	cs := w.planned(body(vpc("Vpc", "")), nil)
	equal(t, cs["Status"], any("CREATE_COMPLETE"))
	equal(t, w.findings(in{"StackName": "s", "ChangeSetName": "c"}), []string{
		"CREATE_CHANGESET WARN BUCKET_EMPTINESS_VALIDATION /Resources/Full: The bucket 'full' is not empty. You must empty it before it can be deleted.",
		"CREATE_CHANGESET WARN REPOSITORY_EMPTINESS_VALIDATION /Resources/Images: The repository 'images' is not empty. It can't be deleted while it contains images.",
	})
	// It is executed all the same.
	w.must("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
	equal(t, w.rest("s"), "UPDATE_COMPLETE")
}

// A change set that makes more resources than the account may have is made with
// a warning.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
func TestQuotasWarn(t *testing.T) {
	t.Parallel()
	w := made(t, body(vpc("A", "")+vpc("B", "")))
	cs := w.planned(body(vpc("A", "")+vpc("B", "")+vpc("C", "")+vpc("D", "")+vpc("E", "")+vpc("F", "")), nil)
	equal(t, cs["Status"], any("CREATE_COMPLETE"))
	equal(t, w.findings(in{"StackName": "s", "ChangeSetName": "c"}), []string{
		"CREATE_CHANGESET WARN SERVICE_QUOTA_VALIDATION /Resources/F: Creating this resource exceeds the service quota 'VPCs per Region' of 5.",
	})
	// The account's own quotas count, where AWS has raised them.
	w.a = w.a.CloneIn(func() time.Time { return w.now }, account.World{Quotas: map[string]int{quota.VPCs.Code: 6}})
	w.planned(body(vpc("A", "")+vpc("B", "")+vpc("C", "")+vpc("D", "")+vpc("E", "")+vpc("F", "")), in{"ChangeSetName": "raised"})
	equal(t, w.findings(in{"StackName": "s", "ChangeSetName": "raised"}), []string(nil))
}
