package secretsmanager

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// A version keeps its value as a ciphertext under the secret's key, bound to the
// secret and the version.
//
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html

// The forms of a value.
const (
	text   = "string"
	binary = "binary"
)

// value is what a version holds: text, or bytes as base64.
type value struct{ form, content string }

func keyOf(p map[string]any) string {
	if k := props.Str(p, "KmsKeyId"); k != "" {
		return k
	}
	return "alias/aws/secretsmanager"
}

func sealedContext(s *account.Resource, version string) map[string]string {
	return bound(s.ID, version)
}

func bound(arn, version string) map[string]string {
	return map[string]string{"SecretARN": arn, "SecretVersionId": version}
}

// Bind seals all values of a secret for another ARN, which the caller is about to
// give it.
func Bind(tx *account.Tx, s *account.Resource, arn string) error {
	again := func(kept, version string) (string, error) {
		plain, k, err := kms.Open(tx, kept, sealedContext(s, version))
		if err != nil {
			return "", err
		}
		return kms.Seal(tx, k, bound(arn, version), plain)
	}
	var err error
	for _, v := range versions(s) {
		if v["sealed"], err = again(props.Str(v, "sealed"), props.Str(v, "id")); err != nil {
			return err
		}
	}
	if kept := props.Str(s.Data, given); kept != "" {
		s.Data[given], err = again(kept, given)
	}
	return err
}

// conceal encrypts a value for a version of a secret, under a key that was found
// to be usable.
func conceal(tx *account.Tx, s *account.Resource, key, version string, content string) (string, error) {
	k, err := kms.Lookup(tx, key)
	if err != nil {
		return "", err
	}
	return kms.Seal(tx, k, sealedContext(s, version), []byte(content))
}

// open decrypts a version's value in the name of the caller.
func open(tx *account.Tx, s *account.Resource, v map[string]any) (value, error) {
	plain, k, err := kms.Open(tx, props.Str(v, "sealed"), sealedContext(s, props.Str(v, "id")))
	if err == nil {
		_, err = kms.Usable(tx, k.ID, "", keyContext(tx, s.ID), "kms:Decrypt")
	}
	if err != nil {
		return value{}, account.Errorf("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text using the provided KMS key: %v", err)
	}
	return value{props.Str(v, "form"), string(plain)}, nil
}

// Reveal is a secret's current value, as text, for a caller who may use its key;
// false if it has none. Errors: DecryptionFailure.
func Reveal(tx *account.Tx, s *account.Resource) (string, bool, error) {
	v := byLabel(s, current)
	if v == nil || props.Str(v, "form") != text {
		return "", false, nil
	}
	have, err := open(tx, s, v)
	return have.content, err == nil, err
}

// reseal moves the versions that have labels to another key; those that the
// caller can't decrypt stay under the former one.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecret.html
func reseal(tx *account.Tx, s *account.Resource, key string) error {
	for _, v := range versions(s) {
		if len(props.List(v, "stages")) == 0 {
			continue
		}
		have, err := open(tx, s, v)
		if err != nil {
			continue
		}
		if v["sealed"], err = conceal(tx, s, key, props.Str(v, "id"), have.content); err != nil {
			return err
		}
	}
	return nil
}

// rename gives a version another id, which its value is bound to.
func rename(tx *account.Tx, s *account.Resource, v map[string]any, id string) error {
	have, err := open(tx, s, v)
	if err != nil {
		return err
	}
	v["id"] = id
	v["sealed"], err = conceal(tx, s, keyOf(s.Props), id, have.content)
	mirror(s)
	return err
}

// given is the version, none of those that can be read, that the value in a
// secret's properties is kept as.
const given = "given"

// same tells whether a value in properties is the one that was given last, and
// takes it out of them: they are kept as they are.
func same(tx *account.Tx, s *account.Resource, p map[string]any) (string, bool, error) {
	next := props.Str(p, "SecretString")
	delete(p, "SecretString")
	if kept := props.Str(s.Data, given); kept != "" {
		if plain, _, err := kms.Open(tx, kept, sealedContext(s, given)); err == nil && string(plain) == next {
			return next, true, nil
		}
	}
	kept, err := conceal(tx, s, keyOf(p), given, next)
	s.Data[given] = kept
	return next, false, err
}

// Known is a secret's current value for the service that owns it, which knows it
// whatever becomes of the key.
func Known(tx *account.Tx, s *account.Resource) (string, error) {
	v := byLabel(s, current)
	if v == nil {
		return "", account.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: %s", current)
	}
	plain, _, err := kms.Open(tx, props.Str(v, "sealed"), sealedContext(s, props.Str(v, "id")))
	return string(plain), err
}
