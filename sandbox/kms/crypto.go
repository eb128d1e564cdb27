package kms

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms/ciphertext"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Limits of the cryptographic operations, in bytes.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
// https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateRandom.html
const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
	maxRandom     = 1024
)

const symmetric = "SYMMETRIC_DEFAULT"

func cryptographic() []wire.Operation {
	return []wire.Operation{
		{Name: "Encrypt", Do: onKey(encrypt)},
		{Name: "Decrypt", Do: decrypt},
		{Name: "ReEncrypt", Do: reEncrypt},
		{Name: "GenerateDataKey", Do: onKey(generateDataKey)},
		{Name: "GenerateDataKeyWithoutPlaintext", Do: onKey(generateDataKey)},
		{Name: "GenerateRandom", Do: generateRandom},
		{Name: "RotateKeyOnDemand", Do: onKey(rotateOnDemand)},
		{Name: "ListKeyRotations", Do: onKey(listRotations)},
	}
}

func invalidField(member, value, constraint string) error {
	return account.Errorf("ValidationException", "1 validation error detected: Value %s at '%s' failed to satisfy constraint: %s", value, member, constraint)
}

// blob reads a parameter of bytes.
func blob(r *wire.Request, name, member string, limit int) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(r.String(name))
	if err != nil {
		return nil, account.Errorf("SerializationException", "%s is not base64", name)
	}
	if len(b) == 0 {
		return nil, invalidField(member, "at", "Member must have length greater than or equal to 1")
	}
	if len(b) > limit {
		return nil, invalidField(member, "at", fmt.Sprintf("Member must have length less than or equal to %d", limit))
	}
	return b, nil
}

// encryptionContext reads a parameter of names and values.
// https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
func encryptionContext(r *wire.Request, name string) map[string]string {
	out := map[string]string{}
	for k := range props.Map(r.In, name) {
		out[k] = props.Str(r.In, name, k)
	}
	return out
}

func pairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k, m[k])
	}
	return out
}

// usable refuses what a request asks of a key that can't do it now: by state, by
// kind, by grant tokens that nobody gave out. A dry run ends here. Whether the
// caller may was asked before.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func usable(tx *account.Tx, r *wire.Request, algorithm string, keys ...*account.Resource) error {
	for _, k := range keys {
		if err := enabled(k); err != nil {
			return err
		}
		if usage := defaulted(k.Props, "KeyUsage"); usage != "ENCRYPT_DECRYPT" {
			return account.Errorf("InvalidKeyUsageException", "%s key usage is %s which is not valid for %s.", ARN(k), usage, r.Operation)
		}
		if spec := defaulted(k.Props, "KeySpec"); spec != symmetric {
			return account.NotModelled("%s with a key of spec %s is not modelled by the sandbox", r.Operation, spec)
		}
		if a := r.String(algorithm); a != "" && a != symmetric {
			return account.Errorf("InvalidKeyUsageException", "The %s encryption algorithm is not compatible with key spec %s.", a, symmetric)
		}
	}
	if r.Has("Recipient") {
		return account.NotModelled("Recipient of %s is not modelled by the sandbox", r.Operation)
	}
	for _, token := range r.Strings("GrantTokens") {
		if tx.Find(TypeGrant, func(g *account.Resource) bool { return g.Data["token"] == token }) == nil {
			return account.Errorf("InvalidGrantTokenException", "The grant token is not valid")
		}
	}
	if r.Bool("DryRun", false) {
		return account.Errorf("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// seal encrypts for a client: the same value never has the same ciphertext.
func seal(tx *account.Tx, k *account.Resource, context map[string]string, plain []byte) (string, *material, error) {
	all, err := materials(tx, k)
	if err != nil {
		return "", nil, err
	}
	nonce := make([]byte, 12)
	if _, err := rand.Read(nonce); err != nil {
		return "", nil, fmt.Errorf("encrypt under key %s: %w", k.ID, err)
	}
	m := &all[len(all)-1]
	out, err := ciphertext.Seal(k.ID, len(all)-1, m.bytes, nonce, context, plain)
	if err != nil {
		return "", nil, err
	}
	return base64.StdEncoding.EncodeToString(out), m, nil
}

func encrypt(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	plain, err := blob(r, "Plaintext", "plaintext", maxPlaintext)
	if err != nil {
		return nil, err
	}
	if err := usable(tx, r, "EncryptionAlgorithm", k); err != nil {
		return nil, err
	}
	out, _, err := seal(tx, k, encryptionContext(r, "EncryptionContext"), plain)
	if err != nil {
		return nil, err
	}
	return map[string]any{"CiphertextBlob": out, "KeyId": ARN(k), "EncryptionAlgorithm": symmetric}, nil
}

// source finds the key of a ciphertext, and refuses another one that the
// request names.
func source(tx *account.Tx, r *wire.Request, parameter string) (*account.Resource, int, error) {
	if _, err := blob(r, "CiphertextBlob", "ciphertextBlob", maxCiphertext); err != nil {
		return nil, 0, err
	}
	c, k, err := parse(tx, r.String("CiphertextBlob"))
	if err != nil {
		return nil, 0, err
	}
	if ref := r.String(parameter); ref != "" {
		named, err := Lookup(tx, ref)
		if err != nil {
			return nil, 0, err
		}
		if named.ID != k.ID {
			return nil, 0, account.Errorf("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
		}
	}
	return k, c.Material, nil
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
func decrypt(tx *account.Tx, r *wire.Request) (any, error) {
	k, number, err := source(tx, r, "KeyId")
	if err != nil {
		return nil, err
	}
	r.Resource = ARN(k)
	if err := usable(tx, r, "EncryptionAlgorithm", k); err != nil {
		return nil, err
	}
	plain, _, err := Open(tx, r.String("CiphertextBlob"), encryptionContext(r, "EncryptionContext"))
	if err != nil {
		return nil, err
	}
	all, err := materials(tx, k)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"Plaintext": base64.StdEncoding.EncodeToString(plain), "KeyId": ARN(k), "EncryptionAlgorithm": symmetric, "KeyMaterialId": all[number].id(),
	}, nil
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html
func reEncrypt(tx *account.Tx, r *wire.Request) (any, error) {
	from, number, err := source(tx, r, "SourceKeyId")
	if err != nil {
		return nil, err
	}
	to, err := Lookup(tx, r.String("DestinationKeyId"))
	if err != nil {
		return nil, err
	}
	r.Resource = ARN(to)
	if err := usable(tx, r, "DestinationEncryptionAlgorithm", from, to); err != nil {
		return nil, err
	}
	plain, _, err := Open(tx, r.String("CiphertextBlob"), encryptionContext(r, "SourceEncryptionContext"))
	if err != nil {
		return nil, err
	}
	out, m, err := seal(tx, to, encryptionContext(r, "DestinationEncryptionContext"), plain)
	if err != nil {
		return nil, err
	}
	had, err := materials(tx, from)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"CiphertextBlob": out, "SourceKeyId": ARN(from), "KeyId": ARN(to), "SourceEncryptionAlgorithm": symmetric, "DestinationEncryptionAlgorithm": symmetric,
		"SourceKeyMaterialId": had[number].id(), "DestinationKeyMaterialId": m.id(),
	}, nil
}

// generateDataKey serves both forms.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
func generateDataKey(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	size, spec := r.Int("NumberOfBytes", 0), r.String("KeySpec")
	switch {
	case r.Has("NumberOfBytes") == (spec != ""):
		return nil, account.Errorf("ValidationException", "Please specify either number of bytes or key spec.")
	case spec == "AES_256":
		size = 32
	case spec == "AES_128":
		size = 16
	case spec != "":
		return nil, invalidField("keySpec", "'"+spec+"'", "Member must satisfy enum value set: [AES_256, AES_128]")
	}
	plain, err := random(size)
	if err != nil {
		return nil, err
	}
	if err := usable(tx, r, "", k); err != nil {
		return nil, err
	}
	out, m, err := seal(tx, k, encryptionContext(r, "EncryptionContext"), plain)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"CiphertextBlob": out, "KeyId": ARN(k), "KeyMaterialId": m.id()}
	if r.Operation == "GenerateDataKey" {
		answer["Plaintext"] = base64.StdEncoding.EncodeToString(plain)
	}
	return answer, nil
}

func random(size int) ([]byte, error) {
	if size < 1 || size > maxRandom {
		return nil, invalidField("numberOfBytes", fmt.Sprintf("'%d'", size), fmt.Sprintf("Member must have value between 1 and %d", maxRandom))
	}
	out := make([]byte, size)
	if _, err := rand.Read(out); err != nil {
		return nil, fmt.Errorf("make random bytes: %w", err)
	}
	return out, nil
}

func generateRandom(_ *account.Tx, r *wire.Request) (any, error) {
	for _, p := range []string{"CustomKeyStoreId", "Recipient"} {
		if r.Has(p) {
			return nil, account.NotModelled("%s of GenerateRandom is not modelled by the sandbox", p)
		}
	}
	out, err := random(r.Int("NumberOfBytes", 0))
	if err != nil {
		return nil, err
	}
	return map[string]any{"Plaintext": base64.StdEncoding.EncodeToString(out)}, nil
}

// rotatable refuses keys whose material KMS doesn't rotate.
func rotatable(k *account.Resource) error {
	if defaulted(k.Props, "KeySpec") != symmetric {
		return account.Errorf("UnsupportedOperationException", "You cannot rotate the material of asymmetric or HMAC KMS keys.")
	}
	if k.Status == PendingDeletion {
		return enabled(k)
	}
	return nil
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html
func rotateOnDemand(tx *account.Tx, _ *wire.Request, k *account.Resource) (any, error) {
	if err := rotatable(k); err != nil {
		return nil, err
	}
	if err := enabled(k); err != nil {
		return nil, err
	}
	all, err := materials(tx, k)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, m := range all {
		if m.how == onDemand {
			n++
		}
	}
	if n >= mostOnDemand {
		return nil, account.Errorf("LimitExceededException", "The request was rejected because a quota was exceeded: on-demand rotations per key %d", mostOnDemand)
	}
	add(tx, k, tx.Now(), onDemand)
	return map[string]any{"KeyId": ARN(k)}, nil
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyRotations.html
func listRotations(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	if err := rotatable(k); err != nil {
		return nil, err
	}
	all, err := materials(tx, k)
	if err != nil {
		return nil, err
	}
	items := []any{}
	for i, m := range all {
		item := map[string]any{"KeyId": k.ID, "KeyMaterialId": m.id(), "KeyMaterialState": "NON_CURRENT"}
		if i == len(all)-1 {
			item["KeyMaterialState"] = "CURRENT"
		}
		if m.how == "" {
			if r.String("IncludeKeyMaterial") != "ALL_KEY_MATERIAL" {
				continue
			}
		} else {
			item["RotationDate"], item["RotationType"] = m.since, m.how
		}
		items = append(items, item)
	}
	return paged(r, "Rotations", items, 100)
}
