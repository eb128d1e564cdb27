package sandbox_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	sandboxkms "github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

// What is secret is kept as ciphertext only: no file of a kept account has a
// secret's or a secure parameter's value, nor a value that was encrypted or a
// managed master password, in any form; and the account opened again reads all
// of them.
func TestNoSecretIsKeptInPlaintext(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	kinds, err := sandbox.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	open := func() (*sandbox.Sandbox, *state.Store) {
		t.Helper()
		store, err := state.Open(dir, kinds)
		if err != nil {
			t.Fatal(err)
		}
		s, err := sandbox.Open(sandbox.Options{}, store)
		if err != nil {
			t.Fatal(err)
		}
		return s, store
	}
	s, store := open()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg := testkit.Config(s)
	m, p, k := secretsmanager.NewFromConfig(cfg), ssm.NewFromConfig(cfg), kms.NewFromConfig(cfg)
	key, err := k.CreateKey(ctx, &kms.CreateKeyInput{})
	fail(err)
	id := key.KeyMetadata.KeyId
	_, err = m.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("text"), SecretString: aws.String("the-first-text"), KmsKeyId: id})
	fail(err)
	_, err = m.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String("text"), SecretString: aws.String("the-second-text")})
	fail(err)
	_, err = m.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("bytes"), SecretBinary: []byte("bytes-in-a-secret")})
	fail(err)
	for name, tier := range map[string]ssmtypes.ParameterTier{"/standard": ssmtypes.ParameterTierStandard, "/advanced": ssmtypes.ParameterTierAdvanced} {
		_, err = p.PutParameter(ctx, &ssm.PutParameterInput{Name: &name, Type: ssmtypes.ParameterTypeSecureString, Tier: tier, KeyId: id, Value: aws.String("value-of-" + name)})
		fail(err)
	}
	_, err = p.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/standard"), Overwrite: aws.Bool(true), Value: aws.String("value-of-the-second-version")})
	fail(err)
	made, err := k.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("encrypted-by-a-client")})
	fail(err)
	generated := testkit.MustCreate(t, s, "AWS::SecretsManager::Secret", map[string]any{"Name": "generated", "GenerateSecretString": map[string]any{"ExcludePunctuation": true}})
	given := testkit.MustCreate(t, s, "AWS::SecretsManager::Secret", map[string]any{"Name": "given", "SecretString": "given-by-a-template"})
	vpc := testkit.MustCreate(t, s, "AWS::EC2::VPC", map[string]any{"CidrBlock": "10.0.0.0/16"})
	var subnets []any
	for i, z := range []string{"us-east-1a", "us-east-1b"} {
		subnets = append(subnets, testkit.MustCreate(t, s, "AWS::EC2::Subnet", map[string]any{"VpcId": vpc.ID, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": z}).ID)
	}
	group := testkit.MustCreate(t, s, "AWS::RDS::DBSubnetGroup", map[string]any{"DBSubnetGroupDescription": "d", "SubnetIds": subnets})
	testkit.MustCreate(t, s, "AWS::RDS::DBInstance", map[string]any{
		"DBInstanceIdentifier": "db", "Engine": "postgres", "DBInstanceClass": "db.m7g.large", "AllocatedStorage": "20", "DBSubnetGroupName": group.ID, "MasterUsername": "m", "ManageMasterUserPassword": true,
	})
	secret := func(s *sandbox.Sandbox, id string) string {
		t.Helper()
		v, err := secretsmanager.NewFromConfig(testkit.Config(s)).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
		fail(err)
		return aws.ToString(v.SecretString) + string(v.SecretBinary)
	}
	parameter := func(s *sandbox.Sandbox, name string) string {
		t.Helper()
		v, err := ssm.NewFromConfig(testkit.Config(s)).GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
		fail(err)
		return *v.Parameter.Value
	}
	db, err := rds.NewFromConfig(cfg).DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{})
	fail(err)
	master := *db.DBInstances[0].MasterUserSecret.SecretArn
	_, password, _ := strings.Cut(secret(s, master), `"password":"`)
	password, _, _ = strings.Cut(password, `"`)
	if password == "" {
		t.Fatal("no master password")
	}
	want := map[string]string{"generated": secret(s, generated.ID), "master": secret(s, master)}
	fail(store.Close())
	for _, value := range []string{
		"the-first-text", "the-second-text", "bytes-in-a-secret", "value-of-", "encrypted-by-a-client", "given-by-a-template", want["generated"], password,
	} {
		for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value)), fmt.Sprintf("%x", value)} {
			for _, f := range files(t, dir) {
				if bytes.Contains(f, []byte(form)) {
					t.Errorf("the state has %q", form)
				}
			}
		}
	}
	s, store = open()
	for what, x := range map[string][2]string{
		"text": {secret(s, "text"), "the-second-text"}, "bytes": {secret(s, "bytes"), "bytes-in-a-secret"}, "given": {secret(s, given.ID), "given-by-a-template"},
		"generated": {secret(s, generated.ID), want["generated"]}, "master": {secret(s, master), want["master"]},
		"standard": {parameter(s, "/standard"), "value-of-the-second-version"}, "former": {parameter(s, "/standard:1"), "value-of-/standard"}, "advanced": {parameter(s, "/advanced"), "value-of-/advanced"},
	} {
		if x[0] != x[1] {
			t.Errorf("%s: opened again, got %q, want %q", what, x[0], x[1])
		}
	}
	out, err := kms.NewFromConfig(testkit.Config(s)).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob})
	if err != nil || string(out.Plaintext) != "encrypted-by-a-client" {
		t.Errorf("decrypted %v %v", out, err)
	}
	fail(store.Close())
}

func files(t *testing.T, dir string) (out [][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// Secrets and secure parameters are read by those who may read them and use
// their key as well: for decryption to read, for a data key or encryption to
// write, through the service if the key's policy says so.
//
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
// https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
func TestReadersOfSecretsNeedTheKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const stores = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["secretsmanager:*","ssm:*"],"Resource":"*"}]}`
	var people []sandbox.Principal
	for _, name := range []string{"reader", "writer", "direct", "nobody"} {
		people = append(people, sandbox.Principal{AccessKeyID: "AKIA" + strings.ToUpper(name), SecretAccessKey: name, ARN: "arn:aws:iam::123456789012:user/" + name, Policy: stores})
	}
	owner := sandbox.Principal{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:sts::123456789012:assumed-role/Administrator/owner"}
	s := testkit.Sandbox(t, sandbox.Options{Principals: append(people, owner)})
	user := func(name, actions, condition string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/` + name + `"},"Action":[` + actions + `],"Resource":"*"` + condition + `}`
	}
	const through = `,"Condition":{"StringEquals":{"kms:ViaService":["secretsmanager.us-east-1.amazonaws.com","ssm.us-east-1.amazonaws.com"]}}`
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"},` +
		user("reader", `"kms:Decrypt"`, through) + "," + user("writer", `"kms:Decrypt","kms:Encrypt","kms:GenerateDataKey"`, through) + "," +
		user("direct", `"kms:*"`, `,"Condition":{"Null":{"kms:ViaService":"true"}}`) + `]}`
	key := testkit.MustCreate(t, s, sandboxkms.TypeKey, map[string]any{"KeyPolicy": policy})
	own := testkit.ConfigAs(s, owner)
	if _, err := secretsmanager.NewFromConfig(own).CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("v"), KmsKeyId: &key.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := ssm.NewFromConfig(own).PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/p"), Type: ssmtypes.ParameterTypeSecureString, Value: aws.String("v"), KeyId: &key.ID}); err != nil {
		t.Fatal(err)
	}
	const no = "AccessDeniedException"
	for _, x := range []struct{ who, reads, writes, decrypts string }{
		{"reader", "", no, no}, {"writer", "", "", no}, {"direct", no, no, ""}, {"nobody", no, no, no},
	} {
		i := 0
		for people[i].SecretAccessKey != x.who {
			i++
		}
		cfg := testkit.ConfigAs(s, people[i])
		m, p, k := secretsmanager.NewFromConfig(cfg), ssm.NewFromConfig(cfg), kms.NewFromConfig(cfg)
		check := func(what string, err error, want string) {
			t.Helper()
			if got := testkit.Code(err); got != want {
				t.Errorf("%s %s: got %v, want %q", x.who, what, err, want)
			}
		}
		_, err := m.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
		check("reads the secret", err, x.reads)
		_, err = p.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/p"), WithDecryption: aws.Bool(true)})
		check("reads the parameter", err, x.reads)
		_, err = p.GetParametersByPath(ctx, &ssm.GetParametersByPathInput{Path: aws.String("/"), WithDecryption: aws.Bool(true)})
		check("reads all parameters", err, x.reads)
		sealed, err := p.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/p")})
		check("reads the ciphertext", err, "")
		_, err = m.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String("s"), SecretString: aws.String("v")})
		check("writes the secret", err, x.writes)
		_, err = p.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/p"), Value: aws.String("v"), Overwrite: aws.Bool(true)})
		check("writes the parameter", err, x.writes)
		_, err = p.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/p/" + x.who), Type: ssmtypes.ParameterTypeSecureString, Tier: ssmtypes.ParameterTierAdvanced, KeyId: &key.ID, Value: aws.String("v")})
		check("writes an advanced parameter", err, x.writes)
		blob, err := base64.StdEncoding.DecodeString(*sealed.Parameter.Value)
		if err != nil {
			t.Fatal(err)
		}
		out, err := k.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"PARAMETER_ARN": "arn:aws:ssm:us-east-1:123456789012:parameter/p"}})
		check("decrypts the parameter's ciphertext", err, x.decrypts)
		if x.decrypts == "" && string(out.Plaintext) != "v" {
			t.Errorf("decrypted %q", out.Plaintext)
		}
	}
}

// A secret or secure parameter whose key is disabled or waits for its deletion
// can't be read, nor written; once the key is back it can. When the key is gone,
// so is the value.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
// https://docs.aws.amazon.com/kms/latest/developerguide/unusable-kms-keys.html
func TestSecretsGoWithTheirKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := testkit.Sandbox(t, sandbox.Options{})
		cfg := testkit.Config(s)
		m, p, k := secretsmanager.NewFromConfig(cfg), ssm.NewFromConfig(cfg), kms.NewFromConfig(cfg)
		key := testkit.MustCreate(t, s, sandboxkms.TypeKey, map[string]any{})
		check := func(what string, err error, want string) {
			t.Helper()
			if got := testkit.Code(err); got != want {
				t.Errorf("%s: got %v, want %q", what, err, want)
			}
		}
		uses := func(when, reads, writes, parameter string) {
			t.Helper()
			_, err := m.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
			check(when+": read secret", err, reads)
			_, err = m.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String("s"), SecretString: aws.String("w")})
			check(when+": write secret", err, writes)
			_, err = p.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/p"), WithDecryption: aws.Bool(true)})
			check(when+": read parameter", err, parameter)
			_, err = p.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/p")})
			check(when+": read ciphertext", err, "")
		}
		_, err := m.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("v"), KmsKeyId: &key.ID})
		check("secret", err, "")
		_, err = p.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/p"), Type: ssmtypes.ParameterTypeSecureString, Value: aws.String("v"), KeyId: &key.ID})
		check("parameter", err, "")
		uses("enabled", "", "", "")
		_, err = k.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key.ID})
		check("disable", err, "")
		uses("disabled", "DecryptionFailure", "EncryptionFailure", "InvalidKeyId")
		_, err = k.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &key.ID})
		check("enable", err, "")
		uses("enabled again", "", "", "")
		_, err = k.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &key.ID, PendingWindowInDays: aws.Int32(7)})
		check("delete", err, "")
		uses("pending deletion", "DecryptionFailure", "EncryptionFailure", "InvalidKeyId")
		time.Sleep(8 * 24 * time.Hour)
		uses("gone", "DecryptionFailure", "EncryptionFailure", "AccessDeniedException")
	})
}

// A secret that gets another key is read by it: the versions that have labels
// move to it.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecret.html
func TestSecretMovesToAnotherKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := testkit.Sandbox(t, sandbox.Options{})
	cfg := testkit.Config(s)
	m, k := secretsmanager.NewFromConfig(cfg), kms.NewFromConfig(cfg)
	from, to := testkit.MustCreate(t, s, sandboxkms.TypeKey, map[string]any{}), testkit.MustCreate(t, s, sandboxkms.TypeKey, map[string]any{})
	if _, err := m.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("v"), KmsKeyId: &from.ID, ClientRequestToken: aws.String("0123456789abcdef0123456789abcdef")}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.UpdateSecret(ctx, &secretsmanager.UpdateSecretInput{SecretId: aws.String("s"), KmsKeyId: &to.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &from.ID}); err != nil {
		t.Fatal(err)
	}
	got, err := m.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
	if err != nil || *got.SecretString != "v" || *got.VersionId != "0123456789abcdef0123456789abcdef" {
		t.Errorf("got %+v, %v", got, err)
	}
}
