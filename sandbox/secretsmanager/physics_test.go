package secretsmanager_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
)

// expect wants the code that a call ended with, "" for none.
func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := testkit.Code(err); got != want {
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

var name = aws.String("app/password")

// with is a client of a sandbox that has the secret.
func with(t *testing.T) (*sandbox.Sandbox, *sdk.Client) {
	t.Helper()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	_, err := c.CreateSecret(t.Context(), &sdk.CreateSecretInput{Name: name, SecretString: aws.String("one"), ClientRequestToken: aws.String(token("one"))})
	expect(t, "create", err, "")
	return s, c
}

// token is a client's request token, which has 32 characters at least.
func token(s string) string { return s + strings.Repeat("0", 32-len(s)) }

// The name of a secret that waits for its deletion can't be used again until
// the recovery window is over, by the API or by a stack.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_delete-secret.html
func TestNameInRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := with(t)
		_, err := c.DeleteSecret(t.Context(), &sdk.DeleteSecretInput{SecretId: name, RecoveryWindowInDays: aws.Int64(7)})
		expect(t, "delete", err, "")
		create := func() error {
			_, err := testkit.Create(s, secretsmanager.TypeSecret, map[string]any{"Name": *name})
			return err
		}
		testkit.Refused(t, create(), "InvalidRequestException: You can't create this secret because a secret with this name is already scheduled for deletion.")
		time.Sleep(7 * 24 * time.Hour)
		testkit.Refused(t, create(), "")
	})
}

// A secret waits 7 to 30 days for its deletion, 30 if nothing is said; forced,
// it goes at once and its name is free.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html
func TestRecoveryWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := with(t)
		for _, days := range []int64{6, 31} {
			_, err := c.DeleteSecret(t.Context(), &sdk.DeleteSecretInput{SecretId: name, RecoveryWindowInDays: &days})
			expect(t, fmt.Sprint(days, " days"), err, "InvalidParameterException")
		}
		_, err := c.DeleteSecret(t.Context(), &sdk.DeleteSecretInput{SecretId: name, RecoveryWindowInDays: aws.Int64(7), ForceDeleteWithoutRecovery: aws.Bool(true)})
		expect(t, "both", err, "InvalidParameterException")
		out, err := c.DeleteSecret(t.Context(), &sdk.DeleteSecretInput{SecretId: name})
		expect(t, "delete", err, "")
		if left := time.Until(*out.DeletionDate); left != 30*24*time.Hour {
			t.Errorf("deletion in %v", left)
		}
		_, err = c.DeleteSecret(t.Context(), &sdk.DeleteSecretInput{SecretId: name, ForceDeleteWithoutRecovery: aws.Bool(true)})
		expect(t, "force", err, "")
		_, err = testkit.Create(s, secretsmanager.TypeSecret, map[string]any{"Name": *name})
		testkit.Refused(t, err, "")
	})
}

// A secret that waits for its deletion gives no value away and takes no
// changes, until it is restored.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RestoreSecret.html
func TestRestoredSecret(t *testing.T) {
	t.Parallel()
	_, c := with(t)
	_, err := c.DeleteSecret(t.Context(), &sdk.DeleteSecretInput{SecretId: name})
	expect(t, "delete", err, "")
	read := func() error {
		_, err := c.GetSecretValue(t.Context(), &sdk.GetSecretValueInput{SecretId: name})
		return err
	}
	expect(t, "read", read(), "InvalidRequestException")
	_, err = c.PutSecretValue(t.Context(), &sdk.PutSecretValueInput{SecretId: name, SecretString: aws.String("x")})
	expect(t, "write", err, "InvalidRequestException")
	_, err = c.RestoreSecret(t.Context(), &sdk.RestoreSecretInput{SecretId: name})
	expect(t, "restore", err, "")
	expect(t, "read again", read(), "")
}

// A resource policy that lets everybody in is refused if the request asks to
// block public policies.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutResourcePolicy.html
func TestPublicPolicyIsBlocked(t *testing.T) {
	t.Parallel()
	_, c := with(t)
	public := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`)
	for block, want := range map[bool]string{true: "PublicPolicyException", false: ""} {
		_, err := c.PutResourcePolicy(t.Context(), &sdk.PutResourcePolicyInput{SecretId: name, ResourcePolicy: public, BlockPublicPolicy: &block})
		expect(t, fmt.Sprint("block ", block), err, want)
	}
}

// A new value is the version AWSCURRENT and makes the former one AWSPREVIOUS;
// other labels go where the request puts them. A version without a label is
// deprecated.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html
func TestStagingLabels(t *testing.T) {
	t.Parallel()
	_, c := with(t)
	put := func(value string, labels ...string) {
		_, err := c.PutSecretValue(t.Context(), &sdk.PutSecretValueInput{SecretId: name, SecretString: &value, ClientRequestToken: aws.String(token(value)), VersionStages: labels})
		expect(t, "put "+value, err, "")
	}
	get := func(label string) string {
		out, err := c.GetSecretValue(t.Context(), &sdk.GetSecretValueInput{SecretId: name, VersionStage: &label})
		if err != nil {
			return testkit.Code(err)
		}
		return *out.SecretString
	}
	is := func(want ...string) {
		t.Helper()
		if d := cmp.Diff(want, []string{get("AWSCURRENT"), get("AWSPREVIOUS"), get("next")}); d != "" {
			t.Error(d)
		}
	}
	const none = "ResourceNotFoundException"
	is("one", none, none)
	put("two")
	is("two", "one", none)
	put("three", "next")
	is("two", "one", "three")
	move := func(in sdk.UpdateSecretVersionStageInput, want string) {
		t.Helper()
		in.SecretId = name
		_, err := c.UpdateSecretVersionStage(t.Context(), &in)
		expect(t, "move", err, want)
	}
	current, three := aws.String("AWSCURRENT"), aws.String(token("three"))
	move(sdk.UpdateSecretVersionStageInput{VersionStage: current, MoveToVersionId: three}, "InvalidParameterException") // from where?
	move(sdk.UpdateSecretVersionStageInput{VersionStage: current, RemoveFromVersionId: aws.String(token("two"))}, "InvalidParameterException")
	move(sdk.UpdateSecretVersionStageInput{VersionStage: current, MoveToVersionId: three, RemoveFromVersionId: aws.String(token("two"))}, "")
	is("three", "two", "three")
	move(sdk.UpdateSecretVersionStageInput{VersionStage: aws.String("next"), RemoveFromVersionId: three}, "")
	is("three", "two", none)
	for deprecated, want := range map[bool]int{false: 2, true: 3} {
		out, err := c.ListSecretVersionIds(t.Context(), &sdk.ListSecretVersionIdsInput{SecretId: name, IncludeDeprecated: &deprecated})
		if expect(t, "list", err, ""); len(out.Versions) != want {
			t.Errorf("deprecated %v: %d versions, want %d", deprecated, len(out.Versions), want)
		}
	}
}

// The client's token is the id of the version: the same write twice makes one
// version, and another value with the same token is refused.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
func TestTokensNameVersions(t *testing.T) {
	t.Parallel()
	_, c := with(t)
	put := func(value, tok string) (string, error) {
		out, err := c.PutSecretValue(t.Context(), &sdk.PutSecretValueInput{SecretId: name, SecretString: &value, ClientRequestToken: aws.String(token(tok))})
		if err != nil {
			return "", err
		}
		return *out.VersionId, nil
	}
	for _, x := range []struct{ value, token, want string }{{"two", "a", ""}, {"two", "a", ""}, {"three", "a", "ResourceExistsException"}, {"three", "b", ""}} {
		id, err := put(x.value, x.token)
		if expect(t, x.value, err, x.want); err == nil && id != token(x.token) {
			t.Errorf("version %s", id)
		}
	}
	out, err := c.DescribeSecret(t.Context(), &sdk.DescribeSecretInput{SecretId: name})
	expect(t, "describe", err, "")
	if d := cmp.Diff(map[string][]string{token("b"): {"AWSCURRENT"}, token("a"): {"AWSPREVIOUS"}}, out.VersionIdsToStages); d != "" {
		t.Error(d)
	}
}

// A secret that no service manages is rotated by a function only.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html
func TestRotationNeedsAFunction(t *testing.T) {
	t.Parallel()
	_, c := with(t)
	_, err := c.RotateSecret(t.Context(), &sdk.RotateSecretInput{SecretId: name})
	expect(t, "rotate", err, "InvalidRequestException")
	_, err = c.RotateSecret(t.Context(), &sdk.RotateSecretInput{SecretId: name, RotationLambdaARN: aws.String("arn:aws:lambda:us-east-1:123456789012:function:f")})
	expect(t, "by a function", err, "NotModelled")
}
