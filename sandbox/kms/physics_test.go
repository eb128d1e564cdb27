package kms_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/kms"
)

// expect wants the code that a call ended with, "" for none.
func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := testkit.Code(err); got != want {
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

// state is a key's state, or the code that looking for it ended with.
func state(t *testing.T, c *sdk.Client, id string) string {
	t.Helper()
	out, err := c.DescribeKey(t.Context(), &sdk.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return testkit.Code(err)
	}
	return string(out.KeyMetadata.KeyState)
}

// A key is deleted after a waiting period of 7 to 30 days, 30 if none is given,
// with its aliases.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
func TestPendingWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
		testkit.MustCreate(t, s, kms.TypeAlias, map[string]any{"AliasName": "alias/k", "TargetKeyId": key.ID})
		for _, days := range []int32{6, 31} {
			_, err := c.ScheduleKeyDeletion(t.Context(), &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID, PendingWindowInDays: &days})
			expect(t, fmt.Sprint(days, " days"), err, "ValidationException")
		}
		out, err := c.ScheduleKeyDeletion(t.Context(), &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID})
		expect(t, "no days", err, "")
		if left := time.Until(*out.DeletionDate); left != 30*24*time.Hour {
			t.Errorf("deletion in %v", left)
		}
		time.Sleep(30*24*time.Hour - time.Second)
		if got := state(t, c, "alias/k"); got != "PendingDeletion" {
			t.Errorf("a second before: %s", got)
		}
		time.Sleep(time.Second)
		if got := state(t, c, key.ID) + " " + state(t, c, "alias/k"); got != "NotFoundException NotFoundException" {
			t.Errorf("then: %s", got)
		}
	})
}

// A deletion can be cancelled while the key waits for it; the key is disabled
// then.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html
func TestDeletionIsCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
		cancel := &sdk.CancelKeyDeletionInput{KeyId: &key.ID}
		_, err := c.CancelKeyDeletion(t.Context(), cancel)
		expect(t, "nothing to cancel", err, "KMSInvalidStateException")
		_, err = c.ScheduleKeyDeletion(t.Context(), &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID, PendingWindowInDays: aws.Int32(7)})
		expect(t, "schedule", err, "")
		_, err = c.CancelKeyDeletion(t.Context(), cancel)
		expect(t, "cancel", err, "")
		time.Sleep(8 * 24 * time.Hour)
		if got := state(t, c, key.ID); got != "Disabled" {
			t.Errorf("got %s", got)
		}
		_, err = c.EnableKey(t.Context(), &sdk.EnableKeyInput{KeyId: &key.ID})
		expect(t, "enable", err, "")
	})
}

// A key that waits for its deletion takes no changes, no aliases and no second
// deletion.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func TestKeyThatWaitsForItsDeletion(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	_, err := c.ScheduleKeyDeletion(t.Context(), &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID})
	expect(t, "schedule", err, "")
	for what, do := range map[string]func() error{
		"enable": func() error {
			_, err := c.EnableKey(t.Context(), &sdk.EnableKeyInput{KeyId: &key.ID})
			return err
		},
		"disable": func() error {
			_, err := c.DisableKey(t.Context(), &sdk.DisableKeyInput{KeyId: &key.ID})
			return err
		},
		"rotate": func() error {
			_, err := c.EnableKeyRotation(t.Context(), &sdk.EnableKeyRotationInput{KeyId: &key.ID})
			return err
		},
		"alias": func() error {
			_, err := c.CreateAlias(t.Context(), &sdk.CreateAliasInput{AliasName: aws.String("alias/x"), TargetKeyId: &key.ID})
			return err
		},
		"delete": func() error {
			_, err := c.ScheduleKeyDeletion(t.Context(), &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID})
			return err
		},
	} {
		expect(t, what, do(), "KMSInvalidStateException")
	}
}

// A disabled key can't be used by services, nor its rotation be changed, until
// it is enabled again.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/enabling-keys.html
// https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
func TestDisabledKey(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c, m := sdk.NewFromConfig(testkit.Config(s)), secretsmanager.NewFromConfig(testkit.Config(s))
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	name := aws.String("s")
	_, err := m.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: name, SecretString: aws.String("v"), KmsKeyId: &key.ID})
	expect(t, "secret", err, "")
	read := func() error {
		_, err := m.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: name})
		return err
	}
	_, err = c.DisableKey(t.Context(), &sdk.DisableKeyInput{KeyId: &key.ID})
	expect(t, "disable", err, "")
	expect(t, "read", read(), "DecryptionFailure")
	_, err = m.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("t"), KmsKeyId: &key.ID})
	expect(t, "another secret", err, "EncryptionFailure")
	_, err = c.EnableKeyRotation(t.Context(), &sdk.EnableKeyRotationInput{KeyId: &key.ID})
	expect(t, "rotate", err, "DisabledException")
	_, err = c.EnableKey(t.Context(), &sdk.EnableKeyInput{KeyId: &key.ID})
	expect(t, "enable", err, "")
	expect(t, "read again", read(), "")
}

// An alias's name is unique in the account and region, and one that begins with
// alias/aws/ is AWS's own.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
func TestAliasNames(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	for _, x := range []struct{ name, want string }{
		{"alias/a", ""}, {"alias/a", "AlreadyExistsException"}, {"alias/aws/a", "NotAuthorizedException"}, {"a", "ValidationException"},
	} {
		_, err := c.CreateAlias(t.Context(), &sdk.CreateAliasInput{AliasName: &x.name, TargetKeyId: &key.ID})
		expect(t, x.name, err, x.want)
	}
}

// A key has at most 50 aliases.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
func TestAliasesOfAKey(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	for i := range 50 {
		testkit.MustCreate(t, s, kms.TypeAlias, map[string]any{"AliasName": fmt.Sprint("alias/", i), "TargetKeyId": key.ID})
	}
	_, err := testkit.Create(s, kms.TypeAlias, map[string]any{"AliasName": "alias/50", "TargetKeyId": key.ID})
	testkit.Refused(t, err, "LimitExceededException: ")
}

// A key is rotated every 90 to 2560 days, every 365 if nothing is said.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
func TestRotationPeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
		for _, x := range []struct {
			days *int32
			want string
			now  int32
		}{{aws.Int32(89), "ValidationException", 0}, {aws.Int32(2561), "ValidationException", 0}, {nil, "", 365}, {aws.Int32(90), "", 90}} {
			_, err := c.EnableKeyRotation(t.Context(), &sdk.EnableKeyRotationInput{KeyId: &key.ID, RotationPeriodInDays: x.days})
			expect(t, fmt.Sprint(aws.ToInt32(x.days)), err, x.want)
			out, err := c.GetKeyRotationStatus(t.Context(), &sdk.GetKeyRotationStatusInput{KeyId: &key.ID})
			expect(t, "status", err, "")
			if aws.ToInt32(out.RotationPeriodInDays) != x.now {
				t.Errorf("period %v, want %d", out.RotationPeriodInDays, x.now)
			}
		}
		time.Sleep(100 * 24 * time.Hour)
		out, err := c.GetKeyRotationStatus(t.Context(), &sdk.GetKeyRotationStatusInput{KeyId: &key.ID})
		expect(t, "later", err, "")
		if left := time.Until(*out.NextRotationDate); left != 80*24*time.Hour {
			t.Errorf("next rotation in %v", left)
		}
	})
}

// KMS doesn't care what a key still protects: it is disabled and deleted all
// the same, and a database that is encrypted with it becomes inaccessible.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
// https://docs.aws.amazon.com/kms/latest/developerguide/unusable-kms-keys.html
func TestKeyInUseIsDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		c, db := sdk.NewFromConfig(testkit.Config(s)), rds.NewFromConfig(testkit.Config(s))
		key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
		vpc := testkit.MustCreate(t, s, "AWS::EC2::VPC", map[string]any{"CidrBlock": "10.0.0.0/16"})
		var subnets []any
		for i, z := range []string{"us-east-1a", "us-east-1b"} {
			subnets = append(subnets, testkit.MustCreate(t, s, "AWS::EC2::Subnet", map[string]any{"VpcId": vpc.ID, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": z}).ID)
		}
		g := testkit.MustCreate(t, s, "AWS::RDS::DBSubnetGroup", map[string]any{"DBSubnetGroupDescription": "d", "SubnetIds": subnets})
		testkit.MustCreate(t, s, "AWS::RDS::DBInstance", map[string]any{
			"DBInstanceIdentifier": "db", "Engine": "postgres", "DBInstanceClass": "db.m7g.large", "AllocatedStorage": "20", "DBSubnetGroupName": g.ID,
			"MasterUsername": "m", "ManageMasterUserPassword": true, "KmsKeyId": key.ID,
		})
		_, err := c.ScheduleKeyDeletion(t.Context(), &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID, PendingWindowInDays: aws.Int32(7)})
		expect(t, "delete", err, "")
		time.Sleep(3 * time.Hour)
		out, err := db.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
		expect(t, "database", err, "")
		if got := *out.DBInstances[0].DBInstanceStatus; got != "inaccessible-encryption-credentials-recoverable" {
			t.Errorf("the database is %s", got)
		}
		time.Sleep(8 * 24 * time.Hour)
		if got := state(t, c, key.ID); got != "NotFoundException" {
			t.Errorf("the key is %s", got)
		}
	})
}

// A stack that deletes a key schedules its deletion, with the waiting period
// that the template gives, and is done with it.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-kms-key.html
func TestStackSchedulesDeletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		c, stacks := sdk.NewFromConfig(testkit.Config(s)), cfn.NewFromConfig(testkit.Config(s))
		name := aws.String("s")
		if _, err := stacks.CreateStack(t.Context(), &cfn.CreateStackInput{StackName: name, TemplateBody: aws.String(`{"Resources": {"Key": {"Type": "AWS::KMS::Key", "Properties": {"PendingWindowInDays": 9}}}}`)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		res, err := stacks.DescribeStackResources(t.Context(), &cfn.DescribeStackResourcesInput{StackName: name})
		if err != nil {
			t.Fatal(err)
		}
		id := res.StackResources[0].PhysicalResourceId
		if _, err := stacks.DeleteStack(t.Context(), &cfn.DeleteStackInput{StackName: name}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		_, err = stacks.DescribeStacks(t.Context(), &cfn.DescribeStacksInput{StackName: name})
		expect(t, "stack", err, "ValidationError")
		key, err := c.DescribeKey(t.Context(), &sdk.DescribeKeyInput{KeyId: id})
		if err != nil || key.KeyMetadata.KeyState != types.KeyStatePendingDeletion || time.Until(*key.KeyMetadata.DeletionDate).Round(time.Hour*24) != 9*24*time.Hour {
			t.Errorf("got %+v %v", key, err)
		}
	})
}
