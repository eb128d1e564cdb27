package instance

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// findKey returns the KMS key that a volume names by id, ARN or alias.
func findKey(tx *account.Tx, ref string) (*account.Resource, error) {
	name := ref
	if strings.HasPrefix(ref, "arn:") {
		name = ref[strings.LastIndex(ref, ":")+1:]
		name = strings.TrimPrefix(name, "key/")
	}
	if strings.HasPrefix(name, "alias/") {
		if alias := tx.Get("AWS::KMS::Alias", name); alias != nil {
			return findKey(tx, props.Str(alias.Props, "TargetKeyId"))
		}
	}
	if key := tx.Get("AWS::KMS::Key", name); key != nil {
		return key, nil
	}
	return nil, account.Errorf("InvalidKmsKeyId.NotFound", "The KMS key '%s' does not exist", ref)
}

// volumeActions are what a principal that launches instances does with the key
// of an encrypted volume.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
var volumeActions = []string{"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"}

// mayUse tells whether the key's policy lets the role encrypt volumes. A
// statement for the account as a whole only delegates to the role's own
// policies, and a service-linked role's give it no key.
func mayUse(tx *account.Tx, key *account.Resource, role string) bool {
	doc, err := policy.Parse(props.Get(key.Props, "KeyPolicy"), policy.Resource)
	if err != nil {
		return false
	}
	account := []string{tx.AccountID(), tx.GlobalARN("iam", "root")}
	for i, s := range doc.Statements {
		if !s.Allow {
			continue
		}
		s.Principals = maps.Clone(s.Principals)
		s.Principals["AWS"] = slices.DeleteFunc(slices.Clone(s.Principals["AWS"]), func(p string) bool { return slices.Contains(account, p) })
		doc.Statements[i] = s
	}
	return !slices.ContainsFunc(volumeActions, func(action string) bool {
		return !doc.Allows(policy.Request{Type: "AWS", Principal: role, Action: action, Context: map[string]string{
			"kms:ViaService": "ec2." + tx.Region() + ".amazonaws.com", "kms:CallerAccount": tx.AccountID(),
			"kms:GrantIsForAWSResource": "true", "aws:PrincipalArn": role, "aws:PrincipalAccount": tx.AccountID(),
		}})
	})
}

// checkKeys refuses a launch by the role that could not use the key of one of
// the volumes. The reason is the one that the instance would end with.
func checkKeys(tx *account.Tx, data map[string]any, role string) error {
	for _, m := range props.Maps(data, "BlockDeviceMappings") {
		ref := props.Str(m, "Ebs", "KmsKeyId")
		if ref == "" {
			continue
		}
		key, err := findKey(tx, ref)
		if err != nil {
			return err
		}
		enabled := props.Bool(key.Props, true, "Enabled") && key.Status != "PendingDeletion" && key.Status != "Disabled"
		if !enabled || role != "" && !mayUse(tx, key, role) {
			return account.Errorf("Client.InvalidKMSKey.InvalidState", "The KMS key provided is in an incorrect state")
		}
	}
	return nil
}
