package kms_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/kms"
)

func must[T any](t *testing.T, what string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

// What is encrypted under a key is decrypted by the ciphertext alone, which
// names its key, and only in the encryption context that it was encrypted in.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
// https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
func TestEncryptAndDecrypt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	key, other := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{}), testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	in := &sdk.EncryptInput{KeyId: &key.ID, Plaintext: []byte("attack at dawn"), EncryptionContext: map[string]string{"app": "x", "stage": "y"}}
	first, second := must[*sdk.EncryptOutput](t, "encrypt")(c.Encrypt(ctx, in)), must[*sdk.EncryptOutput](t, "encrypt again")(c.Encrypt(ctx, in))
	if bytes.Equal(first.CiphertextBlob, second.CiphertextBlob) || bytes.Contains(first.CiphertextBlob, in.Plaintext) {
		t.Errorf("ciphertexts %x and %x", first.CiphertextBlob, second.CiphertextBlob)
	}
	out := must[*sdk.DecryptOutput](t, "decrypt")(c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob, EncryptionContext: in.EncryptionContext}))
	if !bytes.Equal(out.Plaintext, in.Plaintext) || *out.KeyId != kms.ARN(key) {
		t.Errorf("decrypted %q under %s", out.Plaintext, *out.KeyId)
	}
	changed := bytes.Clone(first.CiphertextBlob)
	changed[len(changed)-1] ^= 1
	for what, x := range map[string]struct {
		in   sdk.DecryptInput
		want string
	}{
		"no context":      {sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob}, "InvalidCiphertextException"},
		"another context": {sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob, EncryptionContext: map[string]string{"app": "x"}}, "InvalidCiphertextException"},
		"changed":         {sdk.DecryptInput{CiphertextBlob: changed, EncryptionContext: in.EncryptionContext}, "InvalidCiphertextException"},
		"not KMS's":       {sdk.DecryptInput{CiphertextBlob: []byte("x")}, "InvalidCiphertextException"},
		"another key":     {sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob, EncryptionContext: in.EncryptionContext, KeyId: &other.ID}, "IncorrectKeyException"},
		"its own key":     {sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob, EncryptionContext: in.EncryptionContext, KeyId: aws.String(kms.ARN(key))}, ""},
		"dry run":         {sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob, EncryptionContext: in.EncryptionContext, DryRun: aws.Bool(true)}, "DryRunOperationException"},
		"unknown token":   {sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob, EncryptionContext: in.EncryptionContext, GrantTokens: []string{"x"}}, "InvalidGrantTokenException"},
		"algorithm":       {sdk.DecryptInput{CiphertextBlob: first.CiphertextBlob, EncryptionContext: in.EncryptionContext, EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha1}, "InvalidKeyUsageException"},
	} {
		_, err := c.Decrypt(ctx, &x.in)
		expect(t, what, err, x.want)
	}
}

// KMS encrypts up to 4096 bytes, and only under keys that are for it.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
func TestEncryptRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	signs := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})
	for what, x := range map[string]struct {
		key  string
		size int
		want string
	}{
		"largest": {key.ID, 4096, ""}, "too large": {key.ID, 4097, "ValidationException"}, "nothing": {key.ID, 0, "ValidationException"},
		"a key that signs": {signs.ID, 1, "InvalidKeyUsageException"}, "no key": {"alias/none", 1, "NotFoundException"},
		"a key that AWS manages": {"alias/aws/ssm", 1, "AccessDeniedException"},
	} {
		_, err := c.Encrypt(t.Context(), &sdk.EncryptInput{KeyId: &x.key, Plaintext: make([]byte, x.size)})
		expect(t, what, err, x.want)
	}
}

// A data key comes in plaintext and encrypted under the KMS key, or encrypted
// alone, with the size that is asked for in one of two ways.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
func TestDataKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	for what, x := range map[string]struct {
		in   sdk.GenerateDataKeyInput
		size int
		want string
	}{
		"256 bits":   {sdk.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes256}, 32, ""},
		"128 bits":   {sdk.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes128}, 16, ""},
		"some bytes": {sdk.GenerateDataKeyInput{NumberOfBytes: aws.Int32(1024)}, 1024, ""},
		"too many":   {sdk.GenerateDataKeyInput{NumberOfBytes: aws.Int32(1025)}, 0, "ValidationException"},
		"no size":    {sdk.GenerateDataKeyInput{}, 0, "ValidationException"},
		"two sizes":  {sdk.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes256, NumberOfBytes: aws.Int32(32)}, 0, "ValidationException"},
	} {
		x.in.KeyId, x.in.EncryptionContext = &key.ID, map[string]string{"of": what}
		out, err := c.GenerateDataKey(ctx, &x.in)
		expect(t, what, err, x.want)
		if x.want != "" {
			continue
		}
		back := must[*sdk.DecryptOutput](t, what)(c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: x.in.EncryptionContext}))
		if len(out.Plaintext) != x.size || !bytes.Equal(back.Plaintext, out.Plaintext) {
			t.Errorf("%s: %x, decrypted %x", what, out.Plaintext, back.Plaintext)
		}
	}
	alone := must[*sdk.GenerateDataKeyWithoutPlaintextOutput](t, "without plaintext")(c.GenerateDataKeyWithoutPlaintext(ctx, &sdk.GenerateDataKeyWithoutPlaintextInput{KeyId: &key.ID, KeySpec: types.DataKeySpecAes256}))
	if back := must[*sdk.DecryptOutput](t, "decrypt")(c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: alone.CiphertextBlob})); len(back.Plaintext) != 32 {
		t.Errorf("a data key of %d bytes", len(back.Plaintext))
	}
	a, b := must[*sdk.GenerateRandomOutput](t, "random")(c.GenerateRandom(ctx, &sdk.GenerateRandomInput{NumberOfBytes: aws.Int32(32)})), must[*sdk.GenerateRandomOutput](t, "random")(c.GenerateRandom(ctx, &sdk.GenerateRandomInput{NumberOfBytes: aws.Int32(32)}))
	if len(a.Plaintext) != 32 || bytes.Equal(a.Plaintext, b.Plaintext) {
		t.Errorf("random %x and %x", a.Plaintext, b.Plaintext)
	}
}

// A ciphertext goes from one key and context to another without its plaintext
// being told.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html
func TestReEncrypt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	from, to := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{}), testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
	one, two := map[string]string{"a": "1"}, map[string]string{"a": "2"}
	made := must[*sdk.EncryptOutput](t, "encrypt")(c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &from.ID, Plaintext: []byte("v"), EncryptionContext: one}))
	in := &sdk.ReEncryptInput{CiphertextBlob: made.CiphertextBlob, SourceEncryptionContext: one, DestinationKeyId: &to.ID, DestinationEncryptionContext: two}
	moved := must[*sdk.ReEncryptOutput](t, "re-encrypt")(c.ReEncrypt(ctx, in))
	if *moved.SourceKeyId != kms.ARN(from) || *moved.KeyId != kms.ARN(to) {
		t.Errorf("from %s to %s", *moved.SourceKeyId, *moved.KeyId)
	}
	out := must[*sdk.DecryptOutput](t, "decrypt")(c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: moved.CiphertextBlob, EncryptionContext: two}))
	if string(out.Plaintext) != "v" || *out.KeyId != kms.ARN(to) {
		t.Errorf("decrypted %q under %s", out.Plaintext, *out.KeyId)
	}
	in.SourceEncryptionContext = two
	_, err := c.ReEncrypt(ctx, in)
	expect(t, "another context", err, "InvalidCiphertextException")
	in.SourceEncryptionContext, in.SourceKeyId = one, &to.ID
	_, err = c.ReEncrypt(ctx, in)
	expect(t, "another key", err, "IncorrectKeyException")
}

// A key that is disabled or waits for its deletion encrypts and decrypts
// nothing; what was encrypted under a deleted key is lost.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func TestUnusableKeyEncryptsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
		made := must[*sdk.EncryptOutput](t, "encrypt")(c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &key.ID, Plaintext: []byte("v")}))
		uses := func(state, want, opens string) {
			t.Helper()
			_, err := c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &key.ID, Plaintext: []byte("v")})
			expect(t, state+": encrypt", err, want)
			_, err = c.GenerateDataKey(ctx, &sdk.GenerateDataKeyInput{KeyId: &key.ID, KeySpec: types.DataKeySpecAes256})
			expect(t, state+": data key", err, want)
			_, err = c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: made.CiphertextBlob})
			expect(t, state+": decrypt", err, opens)
		}
		must[*sdk.DisableKeyOutput](t, "disable")(c.DisableKey(ctx, &sdk.DisableKeyInput{KeyId: &key.ID}))
		uses("disabled", "DisabledException", "DisabledException")
		must[*sdk.EnableKeyOutput](t, "enable")(c.EnableKey(ctx, &sdk.EnableKeyInput{KeyId: &key.ID}))
		uses("enabled", "", "")
		must[*sdk.ScheduleKeyDeletionOutput](t, "delete")(c.ScheduleKeyDeletion(ctx, &sdk.ScheduleKeyDeletionInput{KeyId: &key.ID, PendingWindowInDays: aws.Int32(7)}))
		uses("pending deletion", "KMSInvalidStateException", "KMSInvalidStateException")
		time.Sleep(8 * 24 * time.Hour)
		uses("deleted", "NotFoundException", "AccessDeniedException")
	})
}

// Rotation gives a key new material to encrypt by, and keeps the former ones to
// decrypt by: on demand, up to 25 times, and every so many days from when it was
// turned on.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
// https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
func TestRotationKeepsFormerMaterial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		key := testkit.MustCreate(t, s, kms.TypeKey, map[string]any{})
		var blobs [][]byte
		encrypt := func() {
			t.Helper()
			v := fmt.Append(nil, "v", len(blobs))
			blobs = append(blobs, must[*sdk.EncryptOutput](t, "encrypt")(c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &key.ID, Plaintext: v})).CiphertextBlob)
		}
		encrypt()
		must[*sdk.RotateKeyOnDemandOutput](t, "rotate")(c.RotateKeyOnDemand(ctx, &sdk.RotateKeyOnDemandInput{KeyId: &key.ID}))
		encrypt()
		time.Sleep(30 * 24 * time.Hour)
		must[*sdk.EnableKeyRotationOutput](t, "turn on")(c.EnableKeyRotation(ctx, &sdk.EnableKeyRotationInput{KeyId: &key.ID, RotationPeriodInDays: aws.Int32(100)}))
		on := time.Now()
		time.Sleep(99 * 24 * time.Hour)
		encrypt()
		time.Sleep(25 * time.Hour)
		encrypt()
		used := map[string]bool{}
		for i, b := range blobs {
			out := must[*sdk.DecryptOutput](t, "decrypt")(c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: b}))
			if want := fmt.Sprint("v", i); string(out.Plaintext) != want {
				t.Errorf("got %q, want %q", out.Plaintext, want)
			}
			used[*out.KeyMaterialId] = true
		}
		if len(used) != 3 {
			t.Errorf("%d materials in use: %v", len(used), used)
		}
		list := must[*sdk.ListKeyRotationsOutput](t, "list")(c.ListKeyRotations(ctx, &sdk.ListKeyRotationsInput{KeyId: &key.ID}))
		var how []string
		for _, r := range list.Rotations {
			how = append(how, string(r.RotationType))
		}
		if got := strings.Join(how, " "); got != "ON_DEMAND AUTOMATIC" || !list.Rotations[1].RotationDate.Equal(on.AddDate(0, 0, 100).Truncate(time.Millisecond)) {
			t.Errorf("rotations %s, the last at %v", got, list.Rotations[len(list.Rotations)-1].RotationDate)
		}
		for i := range 25 {
			want := ""
			if i == 24 {
				want = "LimitExceededException"
			}
			_, err := c.RotateKeyOnDemand(ctx, &sdk.RotateKeyOnDemandInput{KeyId: &key.ID})
			expect(t, fmt.Sprint("rotation ", i+2), err, want)
		}
	})
}

// A key is used by those whom its policy and theirs let, bound to the encryption
// context that a condition asks for, and by the grantee of a grant as its
// constraint says.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
// https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
func TestWhoEncryptsAndDecrypts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const all = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`
	const none = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:GetCallerIdentity","Resource":"*"}]}`
	user := func(name, policy string) sandbox.Principal {
		return sandbox.Principal{AccessKeyID: "AKIA" + strings.ToUpper(name), SecretAccessKey: name, ARN: "arn:aws:iam::123456789012:user/" + name, Policy: policy}
	}
	people := []sandbox.Principal{user("owner", all), user("named", none), user("bound", none), user("granted", none), user("exact", none), user("stranger", none), user("free", all)}
	s := testkit.Sandbox(t, sandbox.Options{Principals: people})
	client := map[string]*sdk.Client{}
	for _, p := range people {
		name := p.ARN[strings.LastIndex(p.ARN, "/")+1:]
		client[name] = sdk.NewFromConfig(testkit.ConfigAs(s, p))
	}
	statement := func(who, actions, condition string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + who + `"},"Action":[` + actions + `],"Resource":"*"` + condition + `}`
	}
	policy := `{"Version":"2012-10-17","Statement":[` + strings.Join([]string{
		statement("arn:aws:iam::123456789012:user/owner", `"kms:*"`, ""),
		statement("arn:aws:iam::123456789012:user/named", `"kms:Decrypt"`, ""),
		statement("arn:aws:iam::123456789012:user/bound", `"kms:Decrypt"`, `,"Condition":{"StringEquals":{"kms:EncryptionContext:app":"x"}}`),
	}, ",") + `]}`
	owner := client["owner"]
	key := must[*sdk.CreateKeyOutput](t, "key")(owner.CreateKey(ctx, &sdk.CreateKeyInput{Policy: &policy})).KeyMetadata
	grant := func(to string, c *types.GrantConstraints) {
		t.Helper()
		must[*sdk.CreateGrantOutput](t, "grant")(owner.CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: aws.String("arn:aws:iam::123456789012:user/" + to), Operations: []types.GrantOperation{types.GrantOperationDecrypt}, Constraints: c}))
	}
	grant("granted", &types.GrantConstraints{EncryptionContextSubset: map[string]string{"app": "x"}})
	grant("exact", &types.GrantConstraints{EncryptionContextEquals: map[string]string{"app": "x"}})
	contexts := []map[string]string{{"app": "x"}, {"app": "x", "more": "z"}, {"app": "y"}, nil}
	want := map[string]string{"owner": "++++", "named": "++++", "bound": "++--", "granted": "++--", "exact": "+---", "stranger": "----", "free": "----"}
	for who, c := range client {
		got := ""
		for _, x := range contexts {
			made := must[*sdk.EncryptOutput](t, "encrypt")(owner.Encrypt(ctx, &sdk.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("v"), EncryptionContext: x}))
			_, err := c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: made.CiphertextBlob, EncryptionContext: x})
			if err == nil {
				got += "+"
				continue
			}
			got += "-"
			expect(t, who, err, "AccessDeniedException")
		}
		if got != want[who] {
			t.Errorf("%s: got %s, want %s", who, got, want[who])
		}
		if who != "owner" {
			_, err := c.Encrypt(ctx, &sdk.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("v")})
			expect(t, who+" encrypts", err, "AccessDeniedException")
		}
	}
}
