package iam_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// A user signs with access keys of its own, of which it has at most two, and may
// do what its policies allow. A key that is inactive or deleted opens nothing.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
func TestAccessKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Now()
	s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	c := sdk.NewFromConfig(testkit.Config(s))
	user, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("bob"), Path: aws.String("/team/"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := *user.User.Arn; got != "arn:aws:iam::123456789012:user/team/bob" || !strings.HasPrefix(*user.User.UserId, "AIDA") {
		t.Errorf("got %s, %s", got, *user.User.UserId)
	}
	if _, err := c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("bob"), PolicyName: aws.String("p"), PolicyDocument: aws.String(statements(allow("ssm:*", "iam:GetUser", "iam:CreateAccessKey")))}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Second)
	made, err := c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: aws.String("bob")})
	if err != nil {
		t.Fatal(err)
	}
	bob := testkit.ConfigAs(s, sandbox.Principal{AccessKeyID: *made.AccessKey.AccessKeyId, SecretAccessKey: *made.AccessKey.SecretAccessKey})
	uses := func(s *sandbox.Sandbox) string {
		k := sandbox.Principal{AccessKeyID: *made.AccessKey.AccessKeyId, SecretAccessKey: *made.AccessKey.SecretAccessKey}
		_, err := ssm.NewFromConfig(testkit.ConfigAs(s, k)).DescribeParameters(ctx, nil)
		return testkit.Code(err)
	}
	if got := uses(s); got != "" {
		t.Errorf("got %s", got)
	}
	me, err := sdk.NewFromConfig(bob).GetUser(ctx, nil)
	if err != nil || *me.User.UserName != "bob" || len(me.User.Tags) != 1 {
		t.Errorf("got %v, %v", me, err)
	}
	if _, err := sdk.NewFromConfig(bob).ListUsers(ctx, nil); testkit.Code(err) != "AccessDenied" {
		t.Errorf("got %v", err)
	}
	if got := uses(s.Clone(nil)); got != "" {
		t.Errorf("in a clone: got %s", got)
	}
	if _, err := sdk.NewFromConfig(bob).CreateAccessKey(ctx, nil); err != nil {
		t.Error(err)
	}
	if _, err := sdk.NewFromConfig(bob).CreateAccessKey(ctx, nil); testkit.Code(err) != "LimitExceeded" {
		t.Errorf("got %v", err)
	}
	for _, status := range []types.StatusType{types.StatusTypeInactive, types.StatusTypeActive} {
		if _, err := c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: aws.String("bob"), AccessKeyId: made.AccessKey.AccessKeyId, Status: status}); err != nil {
			t.Fatal(err)
		}
		if got := uses(s); (got == "") != (status == types.StatusTypeActive) {
			t.Errorf("%s: got %q", status, got)
		}
	}
	if _, err := c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("bob")}); testkit.Code(err) != "DeleteConflict" {
		t.Errorf("got %v", err)
	}
	keys, err := c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: aws.String("bob")})
	if err != nil || len(keys.AccessKeyMetadata) != 2 {
		t.Fatalf("got %v, %v", keys, err)
	}
	for _, k := range keys.AccessKeyMetadata {
		if _, err := c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: aws.String("bob"), AccessKeyId: k.AccessKeyId}); err != nil {
			t.Fatal(err)
		}
	}
	if got := uses(s); got != "UnrecognizedClientException" {
		t.Errorf("got %q", got)
	}
}

// A user is deleted only when its keys and policies are gone.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html
func TestUserIsDeleted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	start := testkit.Dump(s.Account())
	c := sdk.NewFromConfig(testkit.Config(s))
	name, policy := aws.String("bob"), aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")
	step := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func() {
		t.Helper()
		if _, err := c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name}); testkit.Code(err) != "DeleteConflict" {
			t.Errorf("got %v", err)
		}
	}
	step(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: name}))
	if _, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("BOB")}); testkit.Code(err) != "EntityAlreadyExists" {
		t.Errorf("got %v", err)
	}
	step(c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: policy}))
	refused()
	attached, err := c.ListAttachedUserPolicies(ctx, &sdk.ListAttachedUserPoliciesInput{UserName: name})
	if err != nil || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyArn != *policy {
		t.Errorf("got %v, %v", attached, err)
	}
	entities, err := c.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: policy})
	if err != nil || len(entities.PolicyUsers) != 1 || len(entities.PolicyRoles) != 0 {
		t.Errorf("got %v, %v", entities, err)
	}
	step(c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: name, PolicyArn: policy}))
	step(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: aws.String(statements(allow("ssm:*")))}))
	refused()
	got, err := c.GetUserPolicy(ctx, &sdk.GetUserPolicyInput{UserName: name, PolicyName: aws.String("p")})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := url.QueryUnescape(*got.PolicyDocument); err != nil || text != statements(allow("ssm:*")) || *got.UserName != "bob" {
		t.Errorf("got %s of %s, %v", text, *got.UserName, err)
	}
	step(c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("p")}))
	step(c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name}))
	if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
		t.Errorf("something is left:\n%s", diff)
	}
}

// A managed policy has up to five versions, of which the default one counts. The
// default version can't be deleted, nor a policy with others.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html
func TestDefaultVersionCounts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Now()
	s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	c := sdk.NewFromConfig(testkit.Config(s))
	p, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: aws.String(statements(allow("ssm:*")))})
	if err != nil {
		t.Fatal(err)
	}
	arn := p.Policy.Arn
	if _, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("bob")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: aws.String("bob"), PolicyArn: arn}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	may := func(action string) bool {
		return permit(t, s, "arn:aws:iam::123456789012:user/bob", action, "*", nil) == ""
	}
	version := func(action string, standard bool) error {
		_, err := c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(statements(allow(action))), SetAsDefault: standard})
		return err
	}
	if err := version("ec2:*", false); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if !may("ssm:GetParameter") || may("ec2:DescribeVpcs") {
		t.Error("a version counts that isn't the default")
	}
	if err := version("eks:*", true); err != nil {
		t.Fatal(err)
	}
	if !may("ssm:GetParameter") {
		t.Error("the new default is seen at once")
	}
	now = now.Add(time.Minute)
	if may("ssm:GetParameter") || !may("eks:ListClusters") {
		t.Error("the new default doesn't count")
	}
	for _, v := range []string{"v4", "v5"} {
		if err := version("s3:*", false); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
	}
	if err := version("s3:*", false); testkit.Code(err) != "LimitExceeded" {
		t.Errorf("got %v", err)
	}
	list, err := c.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range list.Versions {
		id := *v.VersionId
		if v.IsDefaultVersion {
			id += " default"
		}
		got = append(got, id)
	}
	if diff := cmp.Diff([]string{"v5", "v4", "v3 default", "v2", "v1"}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v2")}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if !may("ec2:DescribeVpcs") || may("eks:ListClusters") {
		t.Error("version 2 doesn't count")
	}
	remove := func(v string) string {
		_, err := c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String(v)})
		return testkit.Code(err)
	}
	for v, want := range map[string]string{"v2": "DeleteConflict", "v9": "NoSuchEntity", "v5": ""} {
		if got := remove(v); got != want {
			t.Errorf("delete %s: got %q", v, got)
		}
	}
	if _, err := c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: aws.String("bob"), PolicyArn: arn}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn}); testkit.Code(err) != "DeleteConflict" {
		t.Errorf("got %v", err)
	}
	for _, v := range []string{"v1", "v3", "v4"} {
		if got := remove(v); got != "" {
			t.Errorf("delete %s: %s", v, got)
		}
	}
	if _, err := c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn}); err != nil {
		t.Error(err)
	}
}

// The simulator answers what the same policies would decide: the decision, the
// statements that brought it about with their places, and the condition keys
// that it would have to know.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
func TestSimulatePrincipalPolicy(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := box(t, statements(allow("ssm:Get*"), `{"Effect":"Deny","Action":"ssm:*","Resource":"arn:aws:ssm:*:*:parameter/locked","Condition":{"StringNotEquals":{"aws:PrincipalTag/Key":"yes"}}}`), "")
	c := sdk.NewFromConfig(testkit.Config(s))
	const open, locked = "arn:aws:ssm:us-east-1:123456789012:parameter/open", "arn:aws:ssm:us-east-1:123456789012:parameter/locked"
	in := &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String(operatorIs), ActionNames: []string{"ssm:GetParameter", "ssm:PutParameter"}, ResourceArns: []string{open, locked}, MaxItems: aws.Int32(3)}
	type result struct {
		Action, Resource, Decision, Matched, Missing string
	}
	simulate := func(in *sdk.SimulatePrincipalPolicyInput) (out []result) {
		t.Helper()
		pages := sdk.NewSimulatePrincipalPolicyPaginator(c, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.EvaluationResults) > 3 {
				t.Errorf("a page of %d", len(page.EvaluationResults))
			}
			for _, r := range page.EvaluationResults {
				one := result{Action: *r.EvalActionName, Resource: *r.EvalResourceName, Decision: string(r.EvalDecision), Missing: strings.Join(r.MissingContextValues, " ")}
				for _, m := range r.MatchedStatements {
					one.Matched += *m.SourcePolicyId + " " + string(m.SourcePolicyType) + " " + statements(allow("ssm:Get*"), `{"Effect":"Deny","Action":"ssm:*"`)[m.StartPosition.Column-1:][:18]
				}
				out = append(out, one)
			}
		}
		return out
	}
	want := []result{
		{"ssm:GetParameter", open, "allowed", `role_Operator_inline role {"Effect":"Allow",`, ""},
		{"ssm:GetParameter", locked, "explicitDeny", `role_Operator_inline role {"Effect":"Deny","`, "aws:PrincipalTag/Key"},
		{"ssm:PutParameter", open, "implicitDeny", "", ""},
		{"ssm:PutParameter", locked, "explicitDeny", `role_Operator_inline role {"Effect":"Deny","`, "aws:PrincipalTag/Key"},
	}
	if diff := cmp.Diff(want, simulate(in)); diff != "" {
		t.Error(diff)
	}
	in.ContextEntries = []types.ContextEntry{{ContextKeyName: aws.String("aws:principaltag/key"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{"yes"}}}
	in.PermissionsBoundaryPolicyInputList = []string{statements(allow("ssm:Put*"))}
	got := simulate(in)
	for i := range got {
		if got[i].Decision != "implicitDeny" || got[i].Missing != "" {
			t.Errorf("got %+v", got[i])
		}
	}
	in.PolicySourceArn = aws.String("arn:aws:iam::123456789012:role/none")
	if _, err := c.SimulatePrincipalPolicy(ctx, in); testkit.Code(err) != "NoSuchEntity" {
		t.Errorf("got %v", err)
	}
}

// Policies can be simulated that nobody has, with a resource's policy beside
// them.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html
func TestSimulateCustomPolicy(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := sdk.NewFromConfig(testkit.Config(box(t, "", "")))
	bucket := statements(`{"Effect":"Allow","Principal":{"AWS":"` + alice + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}`)
	for _, tc := range []struct {
		name string
		in   sdk.SimulateCustomPolicyInput
		want string
	}{
		{"allowed", sdk.SimulateCustomPolicyInput{PolicyInputList: []string{statements(allow("s3:*"))}}, "allowed"},
		{"not mentioned", sdk.SimulateCustomPolicyInput{PolicyInputList: []string{statements(allow("ec2:*"))}}, "implicitDeny"},
		{"by the bucket", sdk.SimulateCustomPolicyInput{PolicyInputList: []string{statements(allow("ec2:*"))}, ResourcePolicy: &bucket, CallerArn: aws.String(alice)}, "allowed"},
		{"not by the bucket", sdk.SimulateCustomPolicyInput{PolicyInputList: []string{statements(allow("ec2:*"))}, ResourcePolicy: &bucket, CallerArn: aws.String("arn:aws:iam::123456789012:user/bob")}, "implicitDeny"},
		{"bounded", sdk.SimulateCustomPolicyInput{PolicyInputList: []string{statements(allow("s3:*"))}, PermissionsBoundaryPolicyInputList: []string{statements(allow("s3:Put*"))}}, "implicitDeny"},
		{"no caller", sdk.SimulateCustomPolicyInput{PolicyInputList: []string{statements(allow("ec2:*"))}, ResourcePolicy: &bucket}, "InvalidInput"},
		{"no policy", sdk.SimulateCustomPolicyInput{PolicyInputList: []string{"{"}}, "InvalidInput"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.in.ActionNames, tc.in.ResourceArns = []string{"s3:GetObject"}, []string{"arn:aws:s3:::b/x"}
			out, err := c.SimulateCustomPolicy(ctx, &tc.in)
			got := testkit.Code(err)
			if err == nil {
				got = string(out.EvaluationResults[0].EvalDecision)
				if d := out.EvaluationResults[0].PermissionsBoundaryDecisionDetail; (d != nil) != (tc.name == "bounded") || d != nil && d.AllowedByPermissionsBoundary {
					t.Errorf("got the boundary's decision %v", d)
				}
			}
			if got != tc.want {
				t.Errorf("got %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}
