package kms_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

const rootStatement = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}`

const ecsTrust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}}`

func keyPolicy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// A key policy that names a principal that does not exist is refused, and so is a
// key whose properties do not fit together.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	dying := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"PendingWindowInDays": 7})
	testkit.MustCreate(t, s, kms.TypeAlias, map[string]any{"AliasName": "alias/taken", "TargetKeyId": key.Attrs["Arn"]})
	testkit.Refused(t, testkit.Delete(s, kms.TypeKey, dying.ID), "")
	for _, c := range []struct {
		name, typ string
		props     map[string]any
		want      string
	}{
		{"key of all defaults", kms.TypeKey, map[string]any{}, ""},
		{"short window", kms.TypeKey, map[string]any{"PendingWindowInDays": 6}, "ValidationException: 1 validation error detected: Value '6' at 'pendingWindowInDays'"},
		{"short rotation", kms.TypeKey, map[string]any{"RotationPeriodInDays": 30}, "ValidationException: 1 validation error detected: Value '30' at 'rotationPeriodInDays'"},
		{"rotation of an asymmetric key", kms.TypeKey, map[string]any{"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY", "EnableKeyRotation": true}, "UnsupportedOperationException: "},
		{"key of several regions", kms.TypeKey, map[string]any{"MultiRegion": true}, "NotModelled: "},
		{"key of one region", kms.TypeKey, map[string]any{"MultiRegion": false}, ""},
		{"usage that doesn't fit", kms.TypeKey, map[string]any{"KeySpec": "HMAC_256"}, "ValidationException: KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec HMAC_256"},
		{"policy that isn't JSON", kms.TypeKey, map[string]any{"KeyPolicy": "no"}, "MalformedPolicyDocumentException: "},
		{"policy without resource", kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(`{"Effect":"Allow","Principal":"*","Action":"kms:*"}`)}, "MalformedPolicyDocumentException: Policy statement must contain resources."},
		{"policy that locks out", kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(strings.Replace(rootStatement, "kms:*", "kms:Decrypt", 1))}, "MalformedPolicyDocumentException: The new key policy will not allow you to update the key policy in the future."},
		{"policy that locks out on purpose", kms.TypeKey, map[string]any{"BypassPolicyLockoutSafetyCheck": true, "KeyPolicy": keyPolicy(strings.Replace(rootStatement, "kms:*", "kms:Decrypt", 1))}, ""},
		{"policy for the caller's role alone", kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(strings.Replace(rootStatement, ":root", ":role/Administrator", 1))}, ""},
		{"policy that names no role", kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(rootStatement, strings.Replace(rootStatement, ":root", ":role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot", 1))}, "MalformedPolicyDocumentException: Policy contains a statement with one or more invalid principals."},
		{"policy that names a linked role", kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(rootStatement, strings.Replace(rootStatement, ":root", ":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", 1))}, ""},
		{"policy that names no service", kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(rootStatement, `{"Effect":"Allow","Principal":{"Service":"logz.us-east-1.amazonaws.com"},"Action":"kms:*","Resource":"*"}`)}, "MalformedPolicyDocumentException: Policy contains a statement with one or more invalid principals."},

		{"alias without prefix", kms.TypeAlias, map[string]any{"AliasName": "x", "TargetKeyId": key.ID}, "ValidationException: 1 validation error detected: Value 'x' at 'aliasName'"},
		{"alias of AWS", kms.TypeAlias, map[string]any{"AliasName": "alias/aws/x", "TargetKeyId": key.ID}, "NotAuthorizedException: "},
		{"alias taken", kms.TypeAlias, map[string]any{"AliasName": "alias/taken", "TargetKeyId": key.ID}, "AlreadyExistsException: An alias with the name arn:aws:kms:us-east-1:123456789012:alias/taken already exists"},
		{"alias of an alias", kms.TypeAlias, map[string]any{"AliasName": "alias/b", "TargetKeyId": "alias/taken"}, "ValidationException: Aliases must refer to keys. Not aliases"},
		{"alias of no key", kms.TypeAlias, map[string]any{"AliasName": "alias/b", "TargetKeyId": "1234"}, "NotFoundException: Key 'arn:aws:kms:us-east-1:123456789012:key/1234' does not exist"},
		{"alias of a dying key", kms.TypeAlias, map[string]any{"AliasName": "alias/b", "TargetKeyId": dying.ID}, "KMSInvalidStateException: " + kms.ARN(dying) + " is pending deletion."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := testkit.Create(s.Clone(nil), c.typ, c.props)
			testkit.Refused(t, err, c.want)
		})
	}
}

// A service uses a key only as its policy allows, with the encryption context that
// it asks for.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
func TestUsable(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	logs := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"KeyPolicy": keyPolicy(rootStatement,
		`{"Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":["kms:Encrypt*","kms:Decrypt*"],"Resource":"*","Condition":{"ArnLike":{"kms:EncryptionContext:aws:logs:arn":"arn:aws:logs:us-east-1:123456789012:log-group:/good/*"}}}`)})
	off := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"Enabled": false})
	testkit.MustCreate(t, s, kms.TypeAlias, map[string]any{"AliasName": "alias/logs", "TargetKeyId": logs.ID})
	testkit.MustCreate(t, s, iam.TypeRole, map[string]any{"RoleName": "x", "AssumeRolePolicyDocument": ecsTrust, "Policies": []any{map[string]any{
		"PolicyName": "use", "PolicyDocument": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"` + props.Str(logs.Attrs, "Arn") + `"}}`,
	}}})
	testkit.MustCreate(t, s, iam.TypeRole, map[string]any{"RoleName": "y", "AssumeRolePolicyDocument": ecsTrust})
	group := func(name string) map[string]string {
		return map[string]string{"kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:us-east-1:123456789012:log-group:" + name}
	}
	const linked = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
	for _, c := range []struct {
		name, ref, principal string
		context              map[string]string
		want                 string
	}{
		{"service that may", logs.ID, "logs.us-east-1.amazonaws.com", group("/good/x"), ""},
		{"by alias ARN", "arn:aws:kms:us-east-1:123456789012:alias/logs", "logs.us-east-1.amazonaws.com", group("/good/x"), ""},
		{"for something else", logs.ID, "logs.us-east-1.amazonaws.com", group("/bad"), "AccessDeniedException: "},
		{"service that may not", logs.ID, "sns.amazonaws.com", group("/good/x"), "AccessDeniedException: "},
		{"role, which the account decides about", logs.ID, "arn:aws:iam::123456789012:role/x", nil, ""},
		{"role that the account lets not", logs.ID, "arn:aws:iam::123456789012:role/y", nil, "AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/y/AWSCloudFormation is not authorized to perform: kms:Encrypt on resource: " + props.Str(logs.Attrs, "Arn") + " because no identity-based policy allows the kms:Encrypt action"},
		{"linked role, which it doesn't", logs.ID, linked, nil, "AccessDeniedException: "},
		{"the caller", logs.ID, "", nil, ""},
		{"no key", "alias/none", "", nil, "NotFoundException: Alias arn:aws:kms:us-east-1:123456789012:alias/none is not found."},
		{"key of another account", "arn:aws:kms:us-east-1:999999999999:key/1", "", nil, "NotFoundException: Invalid arn"},
		{"disabled key", off.ID, "", nil, "DisabledException: "},
		{"AWS managed key", "alias/aws/ebs", linked, nil, ""},
	} {
		err := s.Account().Do(func(tx *account.Tx) error {
			_, err := kms.Usable(tx, c.ref, c.principal, c.context, "kms:Encrypt", "kms:Decrypt")
			return err
		})
		t.Run(c.name, func(t *testing.T) { testkit.Refused(t, err, c.want) })
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := testkit.Sandbox(t, sandbox.Options{})
		start := testkit.Dump(s.Account())
		c := sdk.NewFromConfig(testkit.Config(s))
		key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"EnableKeyRotation": true, "PendingWindowInDays": 7})
		testkit.MustCreate(t, s, kms.TypeAlias, map[string]any{"AliasName": "alias/k", "TargetKeyId": key.ID})
		testkit.Refused(t, testkit.Delete(s, kms.TypeKey, key.ID), "")
		state := func() types.KeyState {
			out, err := c.DescribeKey(ctx, &sdk.DescribeKeyInput{KeyId: &key.ID})
			if err != nil {
				return types.KeyState(testkit.Code(err))
			}
			return out.KeyMetadata.KeyState
		}
		time.Sleep(6 * 24 * time.Hour)
		if got := state(); got != types.KeyStatePendingDeletion {
			t.Errorf("after six days: %s", got)
		}
		if _, err := c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID}); testkit.Code(err) != "KMSInvalidStateException" {
			t.Errorf("scheduled again: %v", err)
		}
		// CloudFormation takes it for gone.
		testkit.Refused(t, testkit.Delete(s, kms.TypeKey, key.ID), "")
		if _, err := c.CancelKeyDeletion(ctx, &sdk.CancelKeyDeletionInput{KeyId: &key.ID}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * 24 * time.Hour)
		if got := state(); got != types.KeyStateDisabled {
			t.Errorf("after the deletion was cancelled: %s", got)
		}
		out, err := c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID, PendingWindowInDays: aws.Int32(10)})
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(*out.DeletionDate); left != 10*24*time.Hour {
			t.Errorf("%v until the deletion", left)
		}
		time.Sleep(10 * 24 * time.Hour)
		if got := state(); got != "NotFoundException" {
			t.Errorf("after the window: %s", got)
		}
		if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
			t.Errorf("left behind:\n%s", diff)
		}
	})
}

func TestAPI(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	made, err := c.CreateKey(ctx, &sdk.CreateKeyInput{Description: aws.String("d"), Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	id := made.KeyMetadata.KeyId
	if len(*id) != 36 || *made.KeyMetadata.Arn != "arn:aws:kms:us-east-1:123456789012:key/"+*id || made.KeyMetadata.KeyState != types.KeyStateEnabled {
		t.Errorf("got %+v", made.KeyMetadata)
	}
	if _, err := c.CreateAlias(ctx, &sdk.CreateAliasInput{AliasName: aws.String("alias/x"), TargetKeyId: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: aws.String("alias/x"), RotationPeriodInDays: aws.Int32(90)}); err != nil {
		t.Fatal(err)
	}
	rotation, err := c.GetKeyRotationStatus(ctx, &sdk.GetKeyRotationStatusInput{KeyId: id})
	if err != nil || !rotation.KeyRotationEnabled || *rotation.RotationPeriodInDays != 90 {
		t.Errorf("rotation %+v %v", rotation, err)
	}
	policy, err := c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: id})
	if err != nil || !strings.Contains(*policy.Policy, "arn:aws:iam::123456789012:root") {
		t.Errorf("policy %+v %v", policy, err)
	}
	_, err = c.PutKeyPolicy(ctx, &sdk.PutKeyPolicyInput{KeyId: id, Policy: aws.String(keyPolicy(strings.Replace(rootStatement, "kms:*", "kms:List*", 1)))})
	if testkit.Code(err) != "MalformedPolicyDocumentException" {
		t.Errorf("lock-out: %v", err)
	}
	tags, err := c.ListResourceTags(ctx, &sdk.ListResourceTagsInput{KeyId: id})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].TagKey != "a" {
		t.Errorf("tags %+v %v", tags, err)
	}
	aliases, err := c.ListAliases(ctx, &sdk.ListAliasesInput{KeyId: id})
	if err != nil || len(aliases.Aliases) != 1 || *aliases.Aliases[0].AliasName != "alias/x" || *aliases.Aliases[0].TargetKeyId != *id {
		t.Errorf("aliases %+v %v", aliases, err)
	}
	managed, err := c.DescribeKey(ctx, &sdk.DescribeKeyInput{KeyId: aws.String("alias/aws/ebs")})
	if err != nil || managed.KeyMetadata.KeyManager != types.KeyManagerTypeAws {
		t.Errorf("managed key %+v %v", managed, err)
	}
	if _, err := c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: managed.KeyMetadata.KeyId}); testkit.Code(err) != "AccessDeniedException" {
		t.Errorf("deletion of an AWS managed key: %v", err)
	}
}
