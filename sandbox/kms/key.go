package kms

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// maxPolicy is the largest key policy, in bytes.
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const maxPolicy = 32768

func keyType() *account.Type {
	return &account.Type{
		Name: TypeKey, Latency: "kms:key",
		Row: func(_ *account.Resource, op string) string {
			if op == "create" {
				return "kms:key/create-cfn"
			}
			return "kms:key/" + op
		},
		Create: createKey,
		Update: updateKey,
		Delete: func(tx *account.Tx, k *account.Resource) error {
			// To CloudFormation a key that waits for its end is gone: see Read.
			if k.Status == PendingDeletion {
				return nil
			}
			return schedule(tx, k, props.Int(k.Props, 30, "PendingWindowInDays"))
		},
		Read: func(_ *account.Tx, k *account.Resource) map[string]any {
			// CloudFormation doesn't find a key any more that waits for its end.
			if k.Status == PendingDeletion {
				return nil
			}
			return k.Props
		},
	}
}

func createKey(tx *account.Tx, r *account.Resource) error {
	if err := checkKey(tx, r.Props); err != nil {
		return err
	}
	r.ID = uuid(tx.HexID(32))
	r.Attrs["KeyId"] = r.ID
	r.Attrs["Arn"] = tx.ARN("kms", "key/"+r.ID)
	r.Tags = props.Tags(r.Props, "Tags")
	r.Status = status(r.Props)
	return nil
}

func status(p map[string]any) string {
	if props.Bool(p, true, "Enabled") {
		return Enabled
	}
	return Disabled
}

func updateKey(tx *account.Tx, r *account.Resource, next map[string]any) error {
	if r.Status == PendingDeletion {
		return account.Errorf("KMSInvalidStateException", "%s is pending deletion.", ARN(r))
	}
	for _, k := range []string{"KeySpec", "KeyUsage", "MultiRegion", "Origin"} {
		if !props.Same(defaulted(r.Props, k), defaulted(next, k)) {
			return account.Errorf("InvalidRequest", "You cannot change the %s of an existing KMS key.", k)
		}
	}
	if err := checkKey(tx, next); err != nil {
		return err
	}
	r.Retag(next, "Tags")
	if on := "EnableKeyRotation"; props.Bool(next, false, on) && (!props.Bool(r.Props, false, on) || !props.Same(r.Props["RotationPeriodInDays"], next["RotationPeriodInDays"])) {
		// What is due by the former period is due all the same.
		if _, err := materials(tx, r); err != nil {
			return err
		}
		r.Data["rotatesSince"] = tx.Now()
	}
	if s := status(next); s != r.Status {
		r.Status = s
		unusable(tx, r)
	}
	return nil
}

// unusable lets those who hold data under a key notice, some hours later, that
// it can't be used any more.
func unusable(tx *account.Tx, k *account.Resource) {
	if k.Status != Enabled {
		tx.After(noticed, account.Event{Calendar: true, Kind: EventUnusable, ID: ARN(k)})
	}
}

func defaulted(p map[string]any, k string) string {
	if s := props.Str(p, k); s != "" {
		return s
	}
	return map[string]string{"KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": "false", "Origin": "AWS_KMS"}[k]
}

func checkKey(tx *account.Tx, p map[string]any) error {
	spec, usage := defaulted(p, "KeySpec"), defaulted(p, "KeyUsage")
	if !slices.Contains(usages(spec), usage) {
		return account.Errorf("ValidationException", "KeyUsage %s is not compatible with KeySpec %s", usage, spec)
	}
	if defaulted(p, "Origin") != "AWS_KMS" {
		return account.NotModelled("Origin %s is not modelled by the sandbox", defaulted(p, "Origin"))
	}
	if props.Bool(p, false, "MultiRegion") {
		return account.NotModelled("Keys of several regions are not modelled by the sandbox, which has one")
	}
	if len(props.Str(p, "Description")) > 8192 {
		return account.Errorf("ValidationException", "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192")
	}
	if props.Bool(p, false, "EnableKeyRotation") && spec != "SYMMETRIC_DEFAULT" {
		return account.Errorf("UnsupportedOperationException", "You cannot enable automatic rotation of asymmetric or HMAC KMS keys.")
	}
	if n := props.Int(p, 365, "RotationPeriodInDays"); n < 90 || n > 2560 {
		return account.Errorf("ValidationException", "1 validation error detected: Value '%d' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value between 90 and 2560", n)
	}
	if err := checkWindow(props.Int(p, 30, "PendingWindowInDays")); err != nil {
		return err
	}
	tags := props.Tags(p, "Tags")
	if len(tags) > 50 {
		return account.Errorf("LimitExceededException", "The request was rejected because a quota was exceeded: tags per key 50")
	}
	return checkPolicy(tx, keyPolicy(tx, p), props.Bool(p, false, "BypassPolicyLockoutSafetyCheck"))
}

func usages(spec string) []string {
	switch {
	case spec == "SYMMETRIC_DEFAULT":
		return []string{"ENCRYPT_DECRYPT"}
	case strings.HasPrefix(spec, "RSA_"):
		return []string{"ENCRYPT_DECRYPT", "SIGN_VERIFY"}
	case strings.HasPrefix(spec, "HMAC_"):
		return []string{"GENERATE_VERIFY_MAC"}
	case spec == "ECC_SECG_P256K1", spec == "ECC_NIST_EDWARDS25519", strings.HasPrefix(spec, "ML_DSA_"):
		return []string{"SIGN_VERIFY"}
	case strings.HasPrefix(spec, "ECC_NIST_"):
		return []string{"SIGN_VERIFY", "KEY_AGREEMENT"}
	case spec == "SM2":
		return []string{"ENCRYPT_DECRYPT", "SIGN_VERIFY", "KEY_AGREEMENT"}
	}
	return nil
}

func checkWindow(days int) error {
	if days < 7 || days > 30 {
		return account.Errorf("ValidationException", "1 validation error detected: Value '%d' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value between 7 and 30", days)
	}
	return nil
}

// keyPolicy is the key's policy document; without one, the account decides.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
func keyPolicy(tx *account.Tx, p map[string]any) any {
	if doc := props.Get(p, "KeyPolicy"); doc != nil && doc != "" {
		return doc
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"%s"},"Action":"kms:*","Resource":"*"}]}`, tx.GlobalARN("iam", "root"))
}

// checkPolicy checks a key policy's grammar, that its principals exist, and
// that whoever sets it can change it again.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
func checkPolicy(tx *account.Tx, doc any, bypass bool) error {
	if policy.Size(doc) > maxPolicy {
		return account.Errorf("LimitExceededException", "The key policy exceeds the maximum size of %d bytes.", maxPolicy)
	}
	d, err := policy.Parse(doc, policy.Resource)
	if err != nil {
		return account.Errorf("MalformedPolicyDocumentException", "%v", err)
	}
	for _, s := range d.Statements {
		for kind, list := range s.Principals {
			for _, p := range list {
				if kind == "AWS" && !iam.PrincipalExists(tx, p) || kind == "Service" && !iam.ServiceExists(p) {
					return account.Errorf("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")
				}
			}
		}
	}
	r := iam.Ask(tx, asker(tx), "kms:PutKeyPolicy", tx.ARN("kms", "key/"), nil)
	if !bypass && !d.Allows(r) {
		return account.Errorf("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

// schedule starts a key's waiting time; the key stays until it is over.
func schedule(tx *account.Tx, k *account.Resource, days int) error {
	if k.Status == PendingDeletion {
		return account.Errorf("KMSInvalidStateException", "%s is pending deletion.", ARN(k))
	}
	if err := checkWindow(days); err != nil {
		return err
	}
	window := time.Duration(days) * 24 * time.Hour
	k.Status = PendingDeletion
	k.Data["stays"] = true
	k.Data["DeletionDate"] = tx.Now().Add(window)
	tx.After(window, account.Event{Calendar: true, Kind: deleteEvent, Type: TypeKey, ID: k.ID})
	unusable(tx, k)
	return nil
}
