package secretsmanager_test

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
)

// A secret's name is unique, and a value can be generated with the characters that
// are asked for.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html
func TestSecrets(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	testkit.MustCreate(t, s, secretsmanager.TypeSecret, map[string]any{"Name": "taken"})
	generate := func(pairs ...any) map[string]any {
		g := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			g[pairs[i].(string)] = pairs[i+1]
		}
		return map[string]any{"Name": "new", "GenerateSecretString": g}
	}
	for _, c := range []struct {
		name  string
		props map[string]any
		want  string
		value string // pattern
	}{
		{"with key", map[string]any{"Name": "new", "SecretString": "v", "KmsKeyId": key.ID}, "", "^v$"},
		{"generated", generate(), "", "^.{32}$"},
		{"generated without punctuation", generate("ExcludePunctuation", true, "PasswordLength", 12, "ExcludeCharacters", "0123456789"), "", "^[a-zA-Z]{12}$"},
		{"generated into a template", generate("GenerateStringKey", "password", "SecretStringTemplate", `{"username":"u"}`), "", `^{"password":".*","username":"u"}$`},
		{"taken", map[string]any{"Name": "taken"}, "ResourceExistsException: The operation failed because the secret taken already exists.", ""},
		{"bad name", map[string]any{"Name": "a b"}, "ValidationException: Invalid name.", ""},
		{"no key", map[string]any{"Name": "new", "KmsKeyId": "alias/none"}, "EncryptionFailure: ", ""},
		{"two values", map[string]any{"Name": "new", "SecretString": "v", "GenerateSecretString": map[string]any{}}, "InvalidRequestException: You can't specify both", ""},
		{"template without key", generate("SecretStringTemplate", "{}"), "InvalidRequestException: GenerateStringKey and SecretStringTemplate must be given together", ""},
		{"password too long", generate("PasswordLength", 5000), "InvalidParameterException: Password length must be between 1 and 4096.", ""},
		{"too large", map[string]any{"Name": "new", "SecretString": strings.Repeat("x", 65537)}, "InvalidParameterException: The secret value is larger", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := s.Clone(nil)
			r, err := testkit.Create(s, secretsmanager.TypeSecret, c.props)
			testkit.Refused(t, err, c.want)
			if err != nil {
				return
			}
			if !regexp.MustCompile(`^arn:aws:secretsmanager:us-east-1:123456789012:secret:new-[a-zA-Z0-9]{6}$`).MatchString(r.ID) {
				t.Errorf("id %s", r.ID)
			}
			if v := current(s, r.ID); !regexp.MustCompile(c.value).MatchString(v) {
				t.Errorf("value %q, want %s", v, c.value)
			}
		})
	}
}

// current is a secret's current value.
func current(s *sandbox.Sandbox, id string) (v string) {
	_ = s.Account().Do(func(tx *account.Tx) (err error) {
		v, _, err = secretsmanager.Reveal(tx, tx.Get(secretsmanager.TypeSecret, id))
		return err
	})
	return v
}

// A value that CloudFormation generated stays until what it is generated from
// changes.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secret.html
func TestGeneratedValueStays(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	r := testkit.MustCreate(t, s, secretsmanager.TypeSecret, map[string]any{"Name": "a", "GenerateSecretString": map[string]any{"PasswordLength": 20}})
	value := func() string { return current(s, r.ID) }
	first := value()
	testkit.Refused(t, testkit.Update(s, r.Type, r.ID, map[string]any{"Name": "a", "Description": "d", "GenerateSecretString": map[string]any{"PasswordLength": 20}}), "")
	if got := value(); got != first {
		t.Errorf("a change of the description changed the value from %q to %q", first, got)
	}
	testkit.Refused(t, testkit.Update(s, r.Type, r.ID, map[string]any{"Name": "a", "GenerateSecretString": map[string]any{"PasswordLength": 21}}), "")
	if got := value(); len(got) != 21 {
		t.Errorf("value %q after a new length", got)
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := testkit.Sandbox(t, sandbox.Options{})
		start := testkit.Dump(s.Account())
		c := sdk.NewFromConfig(testkit.Config(s))
		name := aws.String("team/password")
		create := func() error {
			_, err := c.CreateSecret(ctx, &sdk.CreateSecretInput{Name: name, SecretString: aws.String(`{"a":1}`)})
			return err
		}
		get := func() string {
			out, err := c.GetSecretValue(ctx, &sdk.GetSecretValueInput{SecretId: name})
			if err != nil {
				return testkit.Code(err)
			}
			return *out.SecretString
		}
		expect := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: got %q, want %q", what, got, want)
			}
		}
		expect("create", testkit.Code(create()), "")
		expect("value", get(), `{"a":1}`)
		_, err := c.PutSecretValue(ctx, &sdk.PutSecretValueInput{SecretId: name, SecretString: aws.String("two")})
		expect("put", testkit.Code(err), "")
		expect("value", get(), "two")
		old, err := c.GetSecretValue(ctx, &sdk.GetSecretValueInput{SecretId: name, VersionStage: aws.String("AWSPREVIOUS")})
		if err != nil || *old.SecretString != `{"a":1}` {
			t.Errorf("previous value: %+v %v", old, err)
		}
		_, err = c.DeleteSecret(ctx, &sdk.DeleteSecretInput{SecretId: name, RecoveryWindowInDays: aws.Int64(6)})
		expect("short window", testkit.Code(err), "InvalidParameterException")
		_, err = c.DeleteSecret(ctx, &sdk.DeleteSecretInput{SecretId: name, RecoveryWindowInDays: aws.Int64(7)})
		expect("delete", testkit.Code(err), "")
		expect("value of a deleted secret", get(), "InvalidRequestException")
		expect("name of a deleted secret", testkit.Code(create()), "InvalidRequestException")
		if list, err := c.ListSecrets(ctx, nil); err != nil || len(list.SecretList) != 0 {
			t.Errorf("list: %+v %v", list, err)
		}
		_, err = c.RestoreSecret(ctx, &sdk.RestoreSecretInput{SecretId: name})
		expect("restore", testkit.Code(err), "")
		time.Sleep(8 * 24 * time.Hour)
		expect("value of a restored secret", get(), "two")
		_, err = c.DeleteSecret(ctx, &sdk.DeleteSecretInput{SecretId: name})
		expect("delete again", testkit.Code(err), "")
		time.Sleep(30 * 24 * time.Hour)
		expect("value after the window", get(), "ResourceNotFoundException")
		expect("create anew", testkit.Code(create()), "")
		_, err = c.DeleteSecret(ctx, &sdk.DeleteSecretInput{SecretId: name, ForceDeleteWithoutRecovery: aws.Bool(true)})
		expect("force", testkit.Code(err), "")
		if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
			t.Errorf("left behind:\n%s", diff)
		}
	})
}

func TestServiceOwned(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	if err := s.Account().Do(func(tx *account.Tx) error {
		_, _, err := tx.Create(secretsmanager.TypeSecret, map[string]any{"Name": "rds!db-1", "SecretString": "{}", "Tags": []any{map[string]any{"Key": "aws:secretsmanager:owningService", "Value": "rds"}}}, "rds.amazonaws.com", true)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c := sdk.NewFromConfig(testkit.Config(s))
	if _, err := c.DeleteSecret(ctx, &sdk.DeleteSecretInput{SecretId: aws.String("rds!db-1")}); testkit.Code(err) != "InvalidRequestException" {
		t.Errorf("delete: %v", err)
	}
	out, err := c.DescribeSecret(ctx, &sdk.DescribeSecretInput{SecretId: aws.String("rds!db-1")})
	if err != nil || aws.ToString(out.OwningService) != "rds" {
		b, _ := json.Marshal(out)
		t.Errorf("describe: %s %v", b, err)
	}
}

func TestResourcePolicies(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	secret := testkit.MustCreate(t, s, secretsmanager.TypeSecret, map[string]any{"Name": "a", "SecretString": "v"})
	c := sdk.NewFromConfig(testkit.Config(s))
	ctx := t.Context()
	text := func(principal string) *string {
		return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`)
	}
	const one = `{"AWS":"arn:aws:iam::123456789012:root"}`
	for _, p := range []struct {
		policy *string
		block  bool
		want   string
	}{
		{text(one), true, ""},
		{text(`"*"`), false, ""},
		{text(`"*"`), true, "PublicPolicyException"},
		{aws.String("{"), false, "MalformedPolicyDocumentException"},
	} {
		_, err := c.PutResourcePolicy(ctx, &sdk.PutResourcePolicyInput{SecretId: &secret.ID, ResourcePolicy: p.policy, BlockPublicPolicy: &p.block})
		if (err == nil) != (p.want == "") || err != nil && !strings.Contains(err.Error(), p.want) {
			t.Errorf("%s: %v, want %q", *p.policy, err, p.want)
		}
	}
	got, err := c.GetResourcePolicy(ctx, &sdk.GetResourcePolicyInput{SecretId: &secret.ID})
	if err != nil || aws.ToString(got.ResourcePolicy) != *text(`"*"`) {
		t.Errorf("policy is %s, %v", aws.ToString(got.ResourcePolicy), err)
	}
	if _, err := c.DeleteResourcePolicy(ctx, &sdk.DeleteResourcePolicyInput{SecretId: &secret.ID}); err != nil {
		t.Error(err)
	}
	if got, err := c.GetResourcePolicy(ctx, &sdk.GetResourcePolicyInput{SecretId: &secret.ID}); err != nil || got.ResourcePolicy != nil {
		t.Errorf("policy after its deletion is %v, %v", got, err)
	}
}
