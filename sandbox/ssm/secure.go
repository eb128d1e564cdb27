package ssm

import (
	"errors"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

const secureString = "SecureString"

// conditions are the condition keys of the calls to KMS for a parameter, whose
// encryption context is its ARN.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
func conditions(tx *account.Tx, name string) map[string]string {
	return map[string]string{"kms:ViaService": "ssm." + tx.Region() + ".amazonaws.com", "kms:EncryptionContext:PARAMETER_ARN": arn(tx, name)}
}

func encryptionContext(tx *account.Tx, name string) map[string]string {
	return map[string]string{"PARAMETER_ARN": arn(tx, name)}
}

// keyError words what KMS says of a parameter's key as Parameter Store does. What
// the caller has no right to stays KMS's own refusal.
//
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
func keyError(err error) error {
	if e, ok := errors.AsType[*account.Error](err); ok && e.Code != "AccessDeniedException" && !account.IsNotModelled(err) {
		return account.Errorf("InvalidKeyId", "%s (Service: AWSKMS; Status Code: 400; Error Code: %s)", e.Message, e.Code)
	}
	return err
}

// key is the key that a secure parameter is to be encrypted under, if the caller
// may: one of the advanced tier by a data key.
func key(tx *account.Tx, name string, p map[string]any) (*account.Resource, error) {
	ref, action := props.Str(p, "KeyId"), "kms:Encrypt"
	if ref == "" {
		ref = "alias/aws/ssm"
	}
	if tier(p) == "Advanced" {
		action = "kms:GenerateDataKey"
	}
	k, err := kms.Usable(tx, ref, "", conditions(tx, name), action)
	if err != nil {
		return nil, keyError(err)
	}
	return k, nil
}

// conceal puts the ciphertext of a secure parameter's value in its place, for
// good, and the tier that the value was found to need.
func conceal(tx *account.Tx, name string, p map[string]any) error {
	if kind(p) != secureString {
		return nil
	}
	k, err := key(tx, name, p)
	if err != nil {
		return err
	}
	p["Tier"] = tier(p)
	p["Value"], err = kms.Seal(tx, k, encryptionContext(tx, name), []byte(props.Str(p, "Value")))
	return err
}

// reveal is the value behind what is kept of a parameter's, for a caller who may
// use the key that it is under.
func reveal(tx *account.Tx, p *account.Resource, kept string) (string, error) {
	if kind(p.Props) != secureString {
		return kept, nil
	}
	plain, k, err := kms.Open(tx, kept, encryptionContext(tx, p.ID))
	if err == nil {
		_, err = kms.Usable(tx, k.ID, "", conditions(tx, p.ID), "kms:Decrypt")
	}
	if err != nil {
		return "", keyError(err)
	}
	return string(plain), nil
}

// Value is a parameter's value, in the version with that number or, if it is
// empty, the current one, for a caller who may read it; false if there is none.
func Value(tx *account.Tx, p *account.Resource, version string) (string, bool, error) {
	kept, ok := props.Str(p.Props, "Value"), version == ""
	for _, h := range props.Maps(p.Data, "History") {
		if version != "" && props.Str(h, "Version") == version {
			kept, ok = props.Str(h, "Value"), true
		}
	}
	if !ok {
		return "", false, nil
	}
	value, err := reveal(tx, p, kept)
	return value, err == nil, err
}
