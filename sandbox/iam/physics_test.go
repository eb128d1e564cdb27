package iam_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/iam"
)

// expect wants the code that a call ended with, "" for none.
func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := testkit.Code(err); got != want {
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

func role(more map[string]any) map[string]any {
	p := map[string]any{"RoleName": "r", "AssumeRolePolicyDocument": trustEC2}
	for k, v := range more {
		p[k] = v
	}
	return p
}

// A role can't be deleted while policies are attached to it or it has inline
// ones.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html
func TestRoleWithPoliciesStays(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
	s := testkit.Sandbox(t, sandbox.Options{})
	c, name := sdk.NewFromConfig(testkit.Config(s)), aws.String("r")
	testkit.MustCreate(t, s, iam.TypeRole, role(map[string]any{"ManagedPolicyArns": []any{arn}, "Policies": []any{document(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`)}}))
	remove := func() error {
		_, err := c.DeleteRole(t.Context(), &sdk.DeleteRoleInput{RoleName: name})
		return err
	}
	err := remove()
	expect(t, "attached", err, "DeleteConflict")
	if err != nil && !strings.Contains(err.Error(), "Cannot delete entity, must detach all policies first.") {
		t.Error(err)
	}
	_, err = c.DetachRolePolicy(t.Context(), &sdk.DetachRolePolicyInput{RoleName: name, PolicyArn: aws.String(arn)})
	expect(t, "detach", err, "")
	err = remove()
	expect(t, "inline", err, "DeleteConflict")
	if err != nil && !strings.Contains(err.Error(), "Cannot delete entity, must delete policies first.") {
		t.Error(err)
	}
	_, err = c.DeleteRolePolicy(t.Context(), &sdk.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("p")})
	expect(t, "delete policy", err, "")
	expect(t, "delete", remove(), "")
}

// A role can't be deleted while an instance profile holds it, nor the profile
// while it holds the role.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteInstanceProfile.html
func TestRoleInAProfileStays(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c, name := sdk.NewFromConfig(testkit.Config(s)), aws.String("r")
	testkit.MustCreate(t, s, iam.TypeRole, role(nil))
	testkit.MustCreate(t, s, iam.TypeInstanceProfile, map[string]any{"InstanceProfileName": "r", "Roles": []any{"r"}})
	_, err := c.DeleteRole(t.Context(), &sdk.DeleteRoleInput{RoleName: name})
	expect(t, "role", err, "DeleteConflict")
	_, err = c.DeleteInstanceProfile(t.Context(), &sdk.DeleteInstanceProfileInput{InstanceProfileName: name})
	expect(t, "profile", err, "DeleteConflict")
}

// An instance profile holds one role at most.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddRoleToInstanceProfile.html
func TestProfileHoldsOneRole(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, iam.TypeRole, role(nil))
	testkit.MustCreate(t, s, iam.TypeRole, role(map[string]any{"RoleName": "q"}))
	testkit.MustCreate(t, s, iam.TypeInstanceProfile, map[string]any{"InstanceProfileName": "p", "Roles": []any{"r"}})
	_, err := sdk.NewFromConfig(testkit.Config(s)).AddRoleToInstanceProfile(t.Context(), &sdk.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("p"), RoleName: aws.String("q")})
	expect(t, "second role", err, "LimitExceeded")
}

// A stack deletes a role with its policies: CloudFormation detaches and deletes
// them first. A retained instance profile that holds the role stops that.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-role.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
func TestStackDetachesPolicies(t *testing.T) {
	t.Parallel()
	for retain, want := range map[string]string{"": "ValidationError", "DeletionPolicy: Retain": "DELETE_FAILED"} {
		synctest.Test(t, func(t *testing.T) {
			c, name := cfn.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{}))), aws.String("s")
			body := `
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Principal: {Service: ec2.amazonaws.com}}]}
      ManagedPolicyArns: ["arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"]
      Policies: [{PolicyName: p, PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}}]
  Profile:
    Type: AWS::IAM::InstanceProfile
    ` + retain + `
    Properties: {Roles: [!Ref Role]}
`
			if _, err := c.CreateStack(t.Context(), &cfn.CreateStackInput{StackName: name, TemplateBody: &body, Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityIam}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if _, err := c.DeleteStack(t.Context(), &cfn.DeleteStackInput{StackName: name}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			got := ""
			if out, err := c.DescribeStacks(t.Context(), &cfn.DescribeStacksInput{StackName: name}); err != nil {
				got = testkit.Code(err)
			} else {
				got = string(out.Stacks[0].StackStatus)
			}
			if got != want {
				t.Errorf("%q: got %s, want %s", retain, got, want)
			}
		})
	}
}

// A role's name is unique in the account, without regard to case or path.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
func TestRoleNamesAreUnique(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, iam.TypeRole, role(nil))
	_, err := testkit.Create(s, iam.TypeRole, role(map[string]any{"RoleName": "R", "Path": "/other/"}))
	testkit.Refused(t, err, "EntityAlreadyExists: Role with name R already exists.")
}

// The principals of this account that a trust policy names must exist.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAssumeRolePolicy.html
func TestTrustedPrincipalsExist(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, iam.TypeRole, role(nil))
	for principal, want := range map[string]string{
		`{"AWS":"arn:aws:iam::123456789012:role/none"}`: `MalformedPolicyDocument: Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:role/none"`,
		`{"AWS":"arn:aws:iam::123456789012:role/r"}`:    "",
		`{"AWS":"arn:aws:iam::999999999999:root"}`:      "",
		`{"Service":"nothing.amazonaws.com"}`:           `MalformedPolicyDocument: Invalid principal in policy: "SERVICE":"nothing.amazonaws.com"`,
	} {
		_, err := testkit.Create(s.Clone(nil), iam.TypeRole, role(map[string]any{"RoleName": "q", "AssumeRolePolicyDocument": trust(principal)}))
		testkit.Refused(t, err, want)
	}
}

// At most ten managed policies are attached to a role, whichever way.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
func TestManagedPoliciesOfARole(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	testkit.MustCreate(t, s, iam.TypeRole, role(nil))
	text := fmt.Sprint(document(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`)["PolicyDocument"])
	for i := range 10 {
		p := map[string]any{"ManagedPolicyName": fmt.Sprint("p", i), "PolicyDocument": text}
		if i%2 == 0 {
			p["Roles"] = []any{"r"}
		}
		made := testkit.MustCreate(t, s, iam.TypeManagedPolicy, p)
		if i%2 == 1 {
			_, err := c.AttachRolePolicy(t.Context(), &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &made.ID})
			expect(t, fmt.Sprint("policy ", i), err, "")
		}
	}
	_, err := c.AttachRolePolicy(t.Context(), &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")})
	expect(t, "one more", err, "LimitExceeded")
	_, err = testkit.Create(s, iam.TypeManagedPolicy, map[string]any{"ManagedPolicyName": "p10", "PolicyDocument": text, "Roles": []any{"r"}})
	testkit.Refused(t, err, "LimitExceeded: Cannot exceed quota for PoliciesPerRole: 10")
}

// A trust policy has 2048 characters at most, a managed policy 6144, and the
// inline policies of a role 10240 together; white space doesn't count.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
func TestPolicySizes(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	statement := func(size int) string {
		const frame = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::"}]}`
		return strings.Replace(frame, "s3:::", "s3:::"+strings.Repeat("b", size-len(frame)), 1)
	}
	trusting := func(size int) string {
		const frame = `{"Version":"2012-10-17","Statement":[{"Sid":"","Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
		return strings.Replace(frame, `"Sid":"`, `"Sid":"`+strings.Repeat("a", size-len(frame)), 1)
	}
	for over, want := range map[int]string{0: "", 1: "LimitExceeded: "} {
		f := s.Clone(nil)
		_, err := testkit.Create(f, iam.TypeManagedPolicy, map[string]any{"ManagedPolicyName": "p", "PolicyDocument": statement(6144 + over)})
		testkit.Refused(t, err, want)
		_, err = testkit.Create(f, iam.TypeRole, role(map[string]any{"RoleName": "q", "Policies": []any{
			map[string]any{"PolicyName": "a", "PolicyDocument": statement(5000) + "   "}, map[string]any{"PolicyName": "b", "PolicyDocument": statement(5240 + over)},
		}}))
		testkit.Refused(t, err, want)
		_, err = testkit.Create(f, iam.TypeRole, role(map[string]any{"RoleName": "t", "AssumeRolePolicyDocument": trusting(2048 + over)}))
		testkit.Refused(t, err, want)
	}
}

// A session of a role lasts an hour to twelve hours at most, as the role says.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
func TestSessionDuration(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	for n, want := range map[int]string{3599: "ValidationError: ", 3600: "", 43200: "", 43201: "ValidationError: "} {
		_, err := testkit.Create(s.Clone(nil), iam.TypeRole, role(map[string]any{"MaxSessionDuration": n}))
		testkit.Refused(t, err, want)
	}
}

// Only AWS changes service-linked roles.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/using-service-linked-roles.html
func TestLinkedRolesAreProtected(t *testing.T) {
	t.Parallel()
	c := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
	name := aws.String("AWSServiceRoleForAutoScaling")
	_, err := c.DeleteRole(t.Context(), &sdk.DeleteRoleInput{RoleName: name})
	expect(t, "delete", err, "UnmodifiableEntity")
	_, err = c.AttachRolePolicy(t.Context(), &sdk.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
	expect(t, "attach", err, "UnmodifiableEntity")
}

// The deletion of a service-linked role fails while its service has resources
// that need it.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteServiceLinkedRole.html
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetServiceLinkedRoleDeletionStatus.html
func TestLinkedRoleInUse(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	name := aws.String("AWSServiceRoleForBackup")
	vault := testkit.MustCreate(t, s, "AWS::Backup::BackupVault", map[string]any{"BackupVaultName": "v1"})
	remove := func() *sdk.GetServiceLinkedRoleDeletionStatusOutput {
		task, err := c.DeleteServiceLinkedRole(t.Context(), &sdk.DeleteServiceLinkedRoleInput{RoleName: name})
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.GetServiceLinkedRoleDeletionStatus(t.Context(), &sdk.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task.DeletionTaskId})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := remove(); out.Status != types.DeletionTaskStatusTypeFailed || len(out.Reason.RoleUsageList) != 1 || out.Reason.RoleUsageList[0].Resources[0] != "arn:aws:backup:us-east-1:123456789012:backup-vault:v1" {
		t.Errorf("in use: %+v", out)
	}
	testkit.Refused(t, testkit.Delete(s, vault.Type, vault.ID), "")
	if out := remove(); out.Status != types.DeletionTaskStatusTypeSucceeded {
		t.Errorf("not in use: %+v", out)
	}
	_, err := c.GetRole(t.Context(), &sdk.GetRoleInput{RoleName: name})
	expect(t, "look", err, "NoSuchEntity")
}

// There is one OpenID Connect provider for a URL in an account.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html
func TestProviderURLIsUnique(t *testing.T) {
	t.Parallel()
	c := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
	for _, want := range []string{"", "EntityAlreadyExists"} {
		_, err := c.CreateOpenIDConnectProvider(t.Context(), &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://oidc.eks.us-east-1.amazonaws.com/id/A"), ClientIDList: []string{"sts.amazonaws.com"}})
		expect(t, "create", err, want)
	}
	_, err := c.CreateOpenIDConnectProvider(t.Context(), &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("http://oidc.example.com")})
	expect(t, "without TLS", err, "ValidationError")
}

// The thumbprints of a provider are optional, have 40 hexadecimal digits and
// are five at most.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html
func TestThumbprintsAreOptional(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	good := strings.Repeat("a1", 20)
	for i, x := range []struct {
		list []any
		want string
	}{{nil, ""}, {[]any{good}, ""}, {[]any{"a1"}, "ValidationError: Invalid thumbprint: a1"}, {[]any{good, good, good, good, good, good}, "LimitExceeded: "}} {
		p := map[string]any{"Url": fmt.Sprintf("https://oidc.example.com/id/%d", i)}
		if x.list != nil {
			p["ThumbprintList"] = x.list
		}
		_, err := testkit.Create(s, iam.TypeOIDCProvider, p)
		testkit.Refused(t, err, x.want)
	}
}

// A trust policy is checked when it is set: other changes of the role are taken
// also after a principal that it names is gone.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func TestTrustIsCheckedWhenItIsSet(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, iam.TypeRole, role(nil))
	p := role(map[string]any{"RoleName": "q", "AssumeRolePolicyDocument": trust(`{"AWS":"arn:aws:iam::123456789012:role/r"}`)})
	testkit.MustCreate(t, s, iam.TypeRole, p)
	testkit.Refused(t, testkit.Delete(s, iam.TypeRole, "r"), "")
	p["Description"] = "d"
	testkit.Refused(t, testkit.Update(s, iam.TypeRole, "q", p), "")
	_, err := sdk.NewFromConfig(testkit.Config(s)).UpdateAssumeRolePolicy(t.Context(), &sdk.UpdateAssumeRolePolicyInput{RoleName: aws.String("q"), PolicyDocument: aws.String(trust(`{"AWS":["arn:aws:iam::123456789012:role/r","arn:aws:iam::999999999999:root"]}`))})
	expect(t, "set again", err, "MalformedPolicyDocument")
}
