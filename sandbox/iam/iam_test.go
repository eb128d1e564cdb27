package iam_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
)

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func trust(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}]}`
}

func document(statement string) map[string]any {
	return map[string]any{"PolicyName": "p", "PolicyDocument": `{"Version":"2012-10-17","Statement":[` + statement + `]}`}
}

// Roles, policies and providers keep to IAM's names, paths, grammar and quotas.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
func TestRefusals(t *testing.T) {
	t.Parallel()
	role := func(extra ...any) map[string]any {
		p := map[string]any{"RoleName": "new", "AssumeRolePolicyDocument": trustEC2}
		for i := 0; i < len(extra); i += 2 {
			p[extra[i].(string)] = extra[i+1]
		}
		return p
	}
	for _, c := range []struct {
		name, typ string
		props     map[string]any
		want      string
	}{
		{"a good role", iam.TypeRole, role("Path", "/a/", "MaxSessionDuration", 7200, "ManagedPolicyArns", []any{"arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"}), ""},
		{"role name with a space", iam.TypeRole, role("RoleName", "a b"), "ValidationError: The specified value for roleName is invalid."},
		{"role name too long", iam.TypeRole, role("RoleName", strings.Repeat("a", 65)), "ValidationError: 1 validation error detected"},
		{"role that exists in other case", iam.TypeRole, role("RoleName", "administrator"), "EntityAlreadyExists: Role with name administrator already exists."},
		{"path without slash", iam.TypeRole, role("Path", "a"), "ValidationError: The specified value for path is invalid."},
		{"path of AWS", iam.TypeRole, role("Path", "/aws-service-role/x/"), "ValidationError: The specified value for path is invalid."},
		{"session too short", iam.TypeRole, role("MaxSessionDuration", 60), "ValidationError: 1 validation error detected: Value '60' at 'maxSessionDuration'"},
		{"trust is not JSON", iam.TypeRole, role("AssumeRolePolicyDocument", "{"), "MalformedPolicyDocument: This policy contains invalid Json"},
		{"trust without principal", iam.TypeRole, role("AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`), "MalformedPolicyDocument: Missing required field Principal"},
		{"trust with resource", iam.TypeRole, role("AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Resource":"*"}}`), "MalformedPolicyDocument: Has prohibited field Resource"},
		{"trust with other action", iam.TypeRole, role("AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Principal":"*"}}`), "MalformedPolicyDocument: AssumeRole policy may only specify STS AssumeRole actions."},
		{"trust names no role", iam.TypeRole, role("AssumeRolePolicyDocument", trust(`{"AWS":"arn:aws:iam::123456789012:role/ghost"}`)), `MalformedPolicyDocument: Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:role/ghost"`},
		{"trust names a role", iam.TypeRole, role("AssumeRolePolicyDocument", trust(`{"AWS":["arn:aws:iam::123456789012:role/Administrator","123456789012","arn:aws:iam::999999999999:root"]}`)), ""},
		{"trust names no service", iam.TypeRole, role("AssumeRolePolicyDocument", trust(`{"Service":"ekss.amazonaws.com"}`)), `MalformedPolicyDocument: Invalid principal in policy: "SERVICE":"ekss.amazonaws.com"`},
		{"trust names a provider badly", iam.TypeRole, role("AssumeRolePolicyDocument", trust(`{"Federated":"https://x"}`)), "MalformedPolicyDocument: Federated principals must be"},
		{"trust too long", iam.TypeRole, role("AssumeRolePolicyDocument", strings.Replace(trustEC2, `"Effect"`, `"Sid":"`+strings.Repeat("a", 2048)+`","Effect"`, 1)), "LimitExceeded: Cannot exceed quota for ACLSizePerRole: 2048"},
		{"unknown AWS policy", iam.TypeRole, role("ManagedPolicyArns", []any{"arn:aws:iam::aws:policy/AmazonEKSFlyPolicy"}), "NoSuchEntity: Policy arn:aws:iam::aws:policy/AmazonEKSFlyPolicy does not exist or is not attachable."},
		{"unknown boundary", iam.TypeRole, role("PermissionsBoundary", "arn:aws:iam::123456789012:policy/b"), "NoSuchEntity: Scope ARN: arn:aws:iam::123456789012:policy/b does not exist or is not attachable."},
		{"inline policy with unknown field", iam.TypeRole, role("Policies", []any{document(`{"Effect":"Allow","Actions":"s3:*","Resource":"*"}`)}), "MalformedPolicyDocument: Unknown field Actions"},
		{"inline policy with principal", iam.TypeRole, role("Policies", []any{document(`{"Effect":"Allow","Action":"s3:*","Resource":"*","Principal":"*"}`)}), "MalformedPolicyDocument: Policy document should not specify a principal."},
		{"inline policy without resource", iam.TypeRole, role("Policies", []any{document(`{"Effect":"Allow","Action":"s3:*"}`)}), "MalformedPolicyDocument: Policy statement must contain resources."},
		{"inline policy with bare resource", iam.TypeRole, role("Policies", []any{document(`{"Effect":"Allow","Action":"s3:*","Resource":"bucket"}`)}), "MalformedPolicyDocument: Resource bucket must be in ARN format"},
		{"inline policy with bare action", iam.TypeRole, role("Policies", []any{document(`{"Effect":"Allow","Action":"GetObject","Resource":"*"}`)}), "MalformedPolicyDocument: Actions/Conditions must be prefaced by a vendor"},
		{"inline policy with unknown operator", iam.TypeRole, role("Policies", []any{document(`{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEqual":{"aws:a":"b"}}}`)}), "MalformedPolicyDocument: Invalid Condition type : StringEqual."},
		{"inline policies too long", iam.TypeRole, role("Policies", []any{document(`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::` + strings.Repeat("a", 10300) + `"}`)}), "LimitExceeded: Maximum policy size of 10240 bytes exceeded for role new"},
		{"reserved tag", iam.TypeRole, role("Tags", []any{map[string]any{"Key": "aws:x", "Value": "y"}}), "InvalidInput: "},

		{"profile of no role", iam.TypeInstanceProfile, map[string]any{"Roles": []any{"ghost"}}, "NoSuchEntity: The role with name ghost cannot be found."},
		{"profile of two roles", iam.TypeInstanceProfile, map[string]any{"Roles": []any{"Administrator", "b"}}, "LimitExceeded: Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"},

		{"policy without version", iam.TypeManagedPolicy, map[string]any{"PolicyDocument": `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}, "MalformedPolicyDocument: Policy document must be version 2012-10-17 or greater."},
		{"policy too long", iam.TypeManagedPolicy, map[string]any{"PolicyDocument": document(`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::` + strings.Repeat("a", 6100) + `"}`)["PolicyDocument"]}, "LimitExceeded: Cannot exceed quota for PolicySize: 6144"},
		{"policy of no role", iam.TypeManagedPolicy, map[string]any{"Roles": []any{"ghost"}, "PolicyDocument": document(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`)["PolicyDocument"]}, "NoSuchEntity: The role with name ghost cannot be found."},

		{"provider over http", iam.TypeOIDCProvider, map[string]any{"Url": "http://example.com"}, "ValidationError: Invalid Open ID Connect Provider URL"},
		{"provider with short thumbprint", iam.TypeOIDCProvider, map[string]any{"Url": "https://example.com", "ThumbprintList": []any{"ab"}}, "ValidationError: Invalid thumbprint: ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Sandbox(t, sandbox.Options{})
			before := testkit.Dump(s.Account())
			_, err := testkit.Create(s, c.typ, c.props)
			testkit.Refused(t, err, c.want)
			if diff := testkit.DiffDumps(before, testkit.Dump(s.Account())); c.want != "" && diff != "" {
				t.Errorf("a refusal changed the account:\n%s", diff)
			}
		})
	}
}

func TestDependents(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	policy := testkit.MustCreate(t, s, iam.TypeManagedPolicy, map[string]any{"ManagedPolicyName": "p", "PolicyDocument": document(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`)["PolicyDocument"]})
	role := testkit.MustCreate(t, s, iam.TypeRole, map[string]any{"AssumeRolePolicyDocument": trustEC2, "ManagedPolicyArns": []any{policy.ID}})
	profile := testkit.MustCreate(t, s, iam.TypeInstanceProfile, map[string]any{"Roles": []any{role.ID}})
	boundary := testkit.MustCreate(t, s, iam.TypeManagedPolicy, map[string]any{"ManagedPolicyName": "b", "PolicyDocument": document(`{"Effect":"Allow","Action":"*","Resource":"*"}`)["PolicyDocument"]})
	bounded := testkit.MustCreate(t, s, iam.TypeRole, map[string]any{"RoleName": "bounded", "AssumeRolePolicyDocument": trustEC2, "PermissionsBoundary": boundary.ID})
	provider := testkit.MustCreate(t, s, iam.TypeOIDCProvider, map[string]any{"Url": "https://oidc.eks.us-east-1.amazonaws.com/id/ABC"})
	if want := "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"; provider.ID != want {
		t.Errorf("provider %s, want %s", provider.ID, want)
	}
	testkit.Refused(t, testkit.Delete(s, iam.TypeRole, role.ID), "DeleteConflict: Cannot delete entity, must remove roles from instance profile first.")
	testkit.Refused(t, testkit.Delete(s, iam.TypeManagedPolicy, policy.ID), "DeleteConflict: Cannot delete a policy attached to entities.")
	testkit.Refused(t, testkit.Delete(s, iam.TypeManagedPolicy, boundary.ID), "DeleteConflict: Cannot delete a policy attached to entities.")
	testkit.Refused(t, testkit.Delete(s, iam.TypeRole, "AWSServiceRoleForAutoScaling"), "UnmodifiableEntity: ")
	_, err := testkit.Create(s, iam.TypeOIDCProvider, map[string]any{"Url": "https://oidc.eks.us-east-1.amazonaws.com/id/ABC"})
	testkit.Refused(t, err, "EntityAlreadyExists: Provider with url https://oidc.eks.us-east-1.amazonaws.com/id/ABC already exists.")
	ctx := context.Background()
	c := sdk.NewFromConfig(testkit.Config(s))
	if _, err := c.DeleteInstanceProfile(ctx, &sdk.DeleteInstanceProfileInput{InstanceProfileName: &profile.ID}); testkit.Code(err) != "DeleteConflict" {
		t.Errorf("delete profile with role: %v", err)
	}
	for _, r := range []*account.Resource{profile, role, bounded, policy, boundary, provider} {
		testkit.Refused(t, testkit.Delete(s, r.Type, r.ID), "")
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	before := testkit.Dump(s.Account())
	c := sdk.NewFromConfig(testkit.Config(s))
	name := aws.String("worker")
	role, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustEC2), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(role.Role.Arn) != "arn:aws:iam::123456789012:role/worker" || len(aws.ToString(role.Role.RoleId)) != 21 || !strings.HasPrefix(*role.Role.RoleId, "AROA") {
		t.Errorf("got %s %s", *role.Role.Arn, *role.Role.RoleId)
	}
	if _, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustEC2)}); testkit.Code(err) != "EntityAlreadyExists" {
		t.Errorf("second create: %v", err)
	}
	policyArn := aws.String("arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
	doc := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/a b+c"}]}`)
	steps := []func() error{
		func() error {
			_, err := c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: name, PolicyArn: policyArn})
			return err
		},
		func() error {
			_, err := c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("in"), PolicyDocument: doc})
			return err
		},
		func() error {
			_, err := c.CreateInstanceProfile(ctx, &sdk.CreateInstanceProfileInput{InstanceProfileName: name})
			return err
		},
		func() error {
			_, err := c.AddRoleToInstanceProfile(ctx, &sdk.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
			return err
		},
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	got, err := c.GetRole(ctx, &sdk.GetRoleInput{RoleName: name})
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := url.QueryUnescape(*got.Role.AssumeRolePolicyDocument); d != trustEC2 {
		t.Errorf("trust policy came back as %s", d)
	}
	if len(got.Role.Tags) != 1 || *got.Role.Tags[0].Value != "b" {
		t.Errorf("tags %+v", got.Role.Tags)
	}
	attached, err := c.ListAttachedRolePolicies(ctx, &sdk.ListAttachedRolePoliciesInput{RoleName: name})
	if err != nil || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyName != "AmazonEKSWorkerNodePolicy" {
		t.Errorf("attached: %+v %v", attached, err)
	}
	in, err := c.GetRolePolicy(ctx, &sdk.GetRolePolicyInput{RoleName: name, PolicyName: aws.String("in")})
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := url.PathUnescape(*in.PolicyDocument); d != *doc {
		t.Errorf("inline policy came back as %s", d)
	}
	profile, err := c.GetInstanceProfile(ctx, &sdk.GetInstanceProfileInput{InstanceProfileName: name})
	if err != nil || len(profile.InstanceProfile.Roles) != 1 || *profile.InstanceProfile.Roles[0].RoleName != "worker" {
		t.Errorf("profile: %+v %v", profile, err)
	}
	undo := []struct {
		code string
		do   func() error
	}{
		{"DeleteConflict", func() error { _, err := c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: name}); return err }},
		{"", func() error {
			_, err := c.RemoveRoleFromInstanceProfile(ctx, &sdk.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
			return err
		}},
		{"DeleteConflict", func() error { _, err := c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: name}); return err }},
		{"", func() error {
			_, err := c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: name, PolicyArn: policyArn})
			return err
		}},
		{"NoSuchEntity", func() error {
			_, err := c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: name, PolicyArn: policyArn})
			return err
		}},
		{"DeleteConflict", func() error { _, err := c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: name}); return err }},
		{"", func() error {
			_, err := c.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("in")})
			return err
		}},
		{"", func() error { _, err := c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: name}); return err }},
		{"NoSuchEntity", func() error { _, err := c.GetRole(ctx, &sdk.GetRoleInput{RoleName: name}); return err }},
		{"", func() error {
			_, err := c.DeleteInstanceProfile(ctx, &sdk.DeleteInstanceProfileInput{InstanceProfileName: name})
			return err
		}},
	}
	for i, u := range undo {
		if err := u.do(); testkit.Code(err) != u.code {
			t.Errorf("undo step %d: got %v, want %q", i, err, u.code)
		}
	}
	if diff := testkit.DiffDumps(before, testkit.Dump(s.Account())); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
}

// The client ids of a provider are added and removed one by one, and either
// twice is no error.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddClientIDToOpenIDConnectProvider.html
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_RemoveClientIDFromOpenIDConnectProvider.html
func TestAudiences(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
	made, err := c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://oidc.example.com/id/1"), ClientIDList: []string{"sts.amazonaws.com"}})
	if err != nil {
		t.Fatal(err)
	}
	arn, other := made.OpenIDConnectProviderArn, aws.String("other")
	for _, want := range [][]string{{"sts.amazonaws.com", "other"}, {"sts.amazonaws.com"}} {
		for range 2 {
			if len(want) == 2 {
				_, err = c.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: other})
			} else {
				_, err = c.RemoveClientIDFromOpenIDConnectProvider(ctx, &sdk.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: other})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.ClientIDList); diff != "" {
			t.Error(diff)
		}
	}
	_, err = c.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(*arn + "x"), ClientID: other})
	if testkit.Code(err) != "NoSuchEntity" {
		t.Errorf("unknown provider: %v", err)
	}
}

// A service-linked role is made once for a service, below a path of its own.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateServiceLinkedRole.html
func TestServiceLinkedRoles(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	in := &sdk.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")}
	used := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
	_, err := used.CreateServiceLinkedRole(ctx, in)
	if testkit.Code(err) != "InvalidInput" || !strings.Contains(err.Error(), "Service role name AWSServiceRoleForAutoScaling has been taken in this account") {
		t.Errorf("used account: %v", err)
	}
	fresh := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{Fresh: true})))
	out, err := fresh.CreateServiceLinkedRole(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if want := "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"; *out.Role.Arn != want {
		t.Errorf("got %s, want %s", *out.Role.Arn, want)
	}
	if _, err := fresh.CreateServiceLinkedRole(ctx, in); testkit.Code(err) != "InvalidInput" {
		t.Errorf("second time: %v", err)
	}
	roles, err := fresh.ListRoles(ctx, &sdk.ListRolesInput{PathPrefix: aws.String("/aws-service-role/")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range roles.Roles {
		names = append(names, *r.RoleName)
	}
	if diff := cmp.Diff([]string{"AWSServiceRoleForAutoScaling", "AWSServiceRoleForSupport", "AWSServiceRoleForTrustedAdvisor"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	c := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
	all, err := c.ListRoles(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := sdk.NewListRolesPaginator(c, &sdk.ListRolesInput{MaxItems: aws.Int32(3)}); p.HasMorePages(); {
		page, err := p.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Roles)
	}
	if n != len(all.Roles) || n < 4 {
		t.Errorf("paged %d roles of %d", n, len(all.Roles))
	}
}
