package kms_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// A grant allows its operations to its grantee, in the encryption context that
// it is bound to, until it is retired or revoked. It goes with its key.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
func TestGrants(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Now()
	s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	c := sdk.NewFromConfig(testkit.Config(s))
	start := testkit.Dump(s.Account())
	const role = "arn:aws:iam::123456789012:role/w"
	testkit.MustCreate(t, s, iam.TypeRole, map[string]any{"RoleName": "w", "AssumeRolePolicyDocument": ecsTrust})
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"PendingWindowInDays": 7})
	arn := props.Str(key.Attrs, "Arn")
	may := func(action string, context map[string][]string) (ok bool) {
		_ = s.Account().Do(func(tx *account.Tx) error {
			ok = iam.Permit(tx, role, access.Demand{Action: action, Resources: []string{arn}, Context: context}) == nil
			return nil
		})
		return ok
	}
	in := &sdk.CreateGrantInput{
		KeyId: &key.ID, GranteePrincipal: aws.String(role), RetiringPrincipal: aws.String(role), Name: aws.String("g"),
		Operations: []types.GrantOperation{types.GrantOperationDecrypt, types.GrantOperationDescribeKey}, Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"app": "x"}},
	}
	first, err := c.CreateGrant(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.CreateGrant(ctx, in); err != nil || *again.GrantId != *first.GrantId {
		t.Errorf("a grant of the same name and content: got %v, %v", again, err)
	}
	x, y := map[string][]string{"kms:EncryptionContext:app": {"x"}}, map[string][]string{"kms:EncryptionContext:app": {"y"}}
	for _, tc := range []struct {
		action  string
		context map[string][]string
		want    bool
	}{{"kms:Decrypt", x, true}, {"kms:Decrypt", y, false}, {"kms:Decrypt", nil, false}, {"kms:DescribeKey", nil, true}, {"kms:Encrypt", x, false}} {
		if got := may(tc.action, tc.context); got != tc.want {
			t.Errorf("%s in %v: got %v", tc.action, tc.context, got)
		}
	}
	list, err := c.ListGrants(ctx, &sdk.ListGrantsInput{KeyId: &key.ID})
	if err != nil || len(list.Grants) != 1 || *list.Grants[0].GrantId != *first.GrantId || *list.Grants[0].GranteePrincipal != role || list.Grants[0].Constraints.EncryptionContextSubset["app"] != "x" {
		t.Errorf("got %+v, %v", list, err)
	}
	retirable, err := c.ListRetirableGrants(ctx, &sdk.ListRetirableGrantsInput{RetiringPrincipal: aws.String(role)})
	if err != nil || len(retirable.Grants) != 1 {
		t.Errorf("got %v, %v", retirable, err)
	}
	if _, err := c.RetireGrant(ctx, &sdk.RetireGrantInput{GrantToken: first.GrantToken}); err != nil {
		t.Error(err)
	}
	if may("kms:Decrypt", x) {
		t.Error("a retired grant allows")
	}
	in.Constraints = &types.GrantConstraints{EncryptionContextEquals: map[string]string{"app": "x"}}
	second, err := c.CreateGrant(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	only := map[string][]string{"kms:EncryptionContext:app": {"x"}, "kms:EncryptionContextKeys": {"app"}}
	more := map[string][]string{"kms:EncryptionContext:app": {"x"}, "kms:EncryptionContext:b": {"z"}, "kms:EncryptionContextKeys": {"app", "b"}}
	if !may("kms:Decrypt", only) || may("kms:Decrypt", more) {
		t.Error("a grant for one encryption context is not for exactly that")
	}
	if _, err := c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &key.ID, GrantId: second.GrantId}); err != nil || may("kms:Decrypt", only) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &key.ID, GrantId: second.GrantId}); testkit.Code(err) != "NotFoundException" {
		t.Errorf("got %v", err)
	}
	if _, err := c.CreateGrant(ctx, in); err != nil {
		t.Fatal(err)
	}
	testkit.Refused(t, testkit.Delete(s, kms.TypeKey, key.ID), "")
	now = now.Add(8 * 24 * time.Hour)
	testkit.Refused(t, testkit.Delete(s, iam.TypeRole, "w"), "")
	now = now.Add(time.Minute)
	if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
		t.Errorf("something is left:\n%s", diff)
	}
}

// A request for a grant is checked: its principals exist, its operations are
// those of KMS, and its key is enabled.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
func TestGrantIsChecked(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	off := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"Enabled": false})
	for _, c := range []struct{ name, key, grantee, operation, want string }{
		{"fine", key.ID, "arn:aws:iam::123456789012:role/Administrator", "Decrypt", ""},
		{"no such role", key.ID, "arn:aws:iam::123456789012:role/none", "Decrypt", "InvalidArnException"},
		{"no such operation", key.ID, "arn:aws:iam::123456789012:role/Administrator", "Burn", "ValidationException"},
		{"disabled", off.ID, "arn:aws:iam::123456789012:role/Administrator", "Decrypt", "DisabledException"},
		{"AWS managed", "alias/aws/ebs", "arn:aws:iam::123456789012:role/Administrator", "Decrypt", "AccessDeniedException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sdk.NewFromConfig(testkit.Config(s)).CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: &c.key, GranteePrincipal: &c.grantee, Operations: []types.GrantOperation{types.GrantOperation(c.operation)}})
			if got := testkit.Code(err); got != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A key policy has to let whoever sets it change it again, unless the check is
// waived.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html#prevent-unmanageable-key
func TestLockOut(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	const admin = `"arn:aws:iam::123456789012:role/Administrator"`
	testkit.MustCreate(t, s, iam.TypeRole, map[string]any{"RoleName": "w", "AssumeRolePolicyDocument": ecsTrust})
	statement := func(effect, principal, action string) string {
		return fmt.Sprintf(`{"Effect":"%s","Principal":{"AWS":%s},"Action":"%s","Resource":"*"}`, effect, principal, action)
	}
	for _, tc := range []struct{ name, policy, want string }{
		{"the account", keyPolicy(rootStatement), ""},
		{"the caller's role", keyPolicy(statement("Allow", admin, "kms:Put*")), ""},
		{"the caller's session", keyPolicy(statement("Allow", `"arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"`, "kms:*")), ""},
		{"another role", keyPolicy(statement("Allow", `"arn:aws:iam::123456789012:role/w"`, "kms:*")), "MalformedPolicyDocumentException"},
		{"only to look at", keyPolicy(statement("Allow", admin, "kms:Describe*")), "MalformedPolicyDocumentException"},
		{"denied", keyPolicy(rootStatement, statement("Deny", admin, "kms:PutKeyPolicy")), "MalformedPolicyDocumentException"},
		{"under a condition that holds", keyPolicy(strings.Replace(rootStatement, `"Resource"`, `"Condition":{"StringEquals":{"kms:CallerAccount":"123456789012"}},"Resource"`, 1)), ""},
		{"under one that doesn't", keyPolicy(strings.Replace(rootStatement, `"Resource"`, `"Condition":{"StringEquals":{"kms:CallerAccount":"999999999999"}},"Resource"`, 1)), "MalformedPolicyDocumentException"},
	} {
		_, err := c.CreateKey(ctx, &sdk.CreateKeyInput{Policy: &tc.policy})
		if got := testkit.Code(err); got != tc.want {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.want)
		}
		if _, err := c.CreateKey(ctx, &sdk.CreateKeyInput{Policy: &tc.policy, BypassPolicyLockoutSafetyCheck: true}); err != nil {
			t.Errorf("%s, waived: %v", tc.name, err)
		}
	}
}

// Services use a key for their callers: the caller needs the permission, under
// the conditions that the service sets. A service's linked role has to be named
// by the key's policy.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
func TestKeyIsUsedForServices(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	const linked = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
	grant := func(principal, condition string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":["kms:CreateGrant","kms:Decrypt"],"Resource":"*","Condition":` + condition + `}`
	}
	create := func(statements ...string) string {
		return testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(statements...), "BypassPolicyLockoutSafetyCheck": true}).ID
	}
	forEC2 := create(grant("arn:aws:iam::123456789012:role/Administrator", `{"StringEquals":{"kms:ViaService":"ec2.us-east-1.amazonaws.com"},"Bool":{"kms:GrantIsForAWSResource":"true"}}`))
	forLinked := create(rootStatement, grant(linked, `{"Bool":{"kms:GrantIsForAWSResource":"true"}}`))
	onlyRoot := create(rootStatement)
	ec2 := map[string]string{"kms:ViaService": "ec2.us-east-1.amazonaws.com", "kms:GrantIsForAWSResource": "true"}
	rds := map[string]string{"kms:ViaService": "rds.us-east-1.amazonaws.com", "kms:GrantIsForAWSResource": "true"}
	for _, c := range []struct {
		name, key, principal string
		context              map[string]string
		want                 bool
	}{
		{"the caller, by EC2", forEC2, "", ec2, true},
		{"the caller, by RDS", forEC2, "", rds, false},
		{"the caller, not for a resource", forEC2, "", map[string]string{"kms:ViaService": "ec2.us-east-1.amazonaws.com"}, false},
		{"linked role that is named", forLinked, linked, ec2, true},
		{"linked role, not for a resource", forLinked, linked, nil, false},
		{"linked role that isn't named", onlyRoot, linked, ec2, false},
		{"the caller, by its own policy", onlyRoot, "", rds, true},
	} {
		err := s.Account().Do(func(tx *account.Tx) error {
			tx.Caller = "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"
			_, err := kms.Usable(tx, c.key, c.principal, c.context, "kms:CreateGrant")
			return err
		})
		if got := err == nil; got != c.want {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
