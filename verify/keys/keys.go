// Package keys has the checks of KMS keys: their rotation, policies and grants.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: nothing is encrypted or decrypted.
package keys

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// keyFacts are what the KMS keys are.
type keyFacts struct {
	rotationFact  account.Keyed[*kms.GetKeyRotationStatusOutput]
	keyPolicyFact account.Keyed[policy.Document]
}

func rotation(l *account.Look, id string) (*kms.GetKeyRotationStatusOutput, error) {
	return account.Facts[keyFacts](l).rotationFact.Get(id, func() (*kms.GetKeyRotationStatusOutput, error) {
		out, err := l.AWS.KMS.GetKeyRotationStatus(l.Ctx, &kms.GetKeyRotationStatusInput{KeyId: &id})
		if err != nil {
			return nil, fmt.Errorf("look whether key %s rotates: %w", id, err)
		}
		return out, nil
	})
}

func keyPolicy(l *account.Look, id string) (policy.Document, error) {
	return account.Facts[keyFacts](l).keyPolicyFact.Get(id, func() (policy.Document, error) {
		out, err := l.AWS.KMS.GetKeyPolicy(l.Ctx, &kms.GetKeyPolicyInput{KeyId: &id, PolicyName: aws.String("default")})
		if err != nil {
			return nil, fmt.Errorf("read the policy of key %s: %w", id, err)
		}
		return policy.Read(aws.ToString(out.Policy))
	})
}

const seeKey = "kms:DescribeKey"

// eachKey looks at the keys that are there, in the plan's order.
func eachKey(f func(l *account.Look, r *check.Recorder, purpose architecture.KeyPurpose, id string) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		keys, err := l.Keys()
		if err != nil {
			return err
		}
		for _, purpose := range l.Arch.Keys {
			if id := keys[purpose]; id != "" {
				if err := f(l, r, purpose, id); err != nil {
					return err
				}
			}
		}
		if r.Empty() && !r.Excused() {
			r.NA("there are no keys, as key-there says")
		}
		return nil
	}
}

// pending tells whether a key is about to be deleted, which one check says for
// all.
func pending(l *account.Look, id string) (bool, error) {
	key, err := l.Key(id)
	return key == nil || key.KeyState == types.KeyStatePendingDeletion, err
}

// Checks are the checks of keys, in the order of reports.
func Checks() []check.Check {
	return []check.Check{
		{
			ID: "key-there", Level: check.Required, Rows: []string{"S4", "B1"},
			Proves: "There is a symmetric KMS key of the customer's for each purpose.",
			Run:    keyThere,
		},
		{
			ID: "key-apart", Level: check.Required, Rows: []string{"B1", "S6"},
			Proves: "No key serves two purposes.",
			Run:    keyApart,
		},
		{
			ID: "key-enabled", Level: check.Required, Rows: []string{"S4"},
			Proves: "All keys can be used.",
			Run: eachKey(func(l *account.Look, r *check.Recorder, purpose architecture.KeyPurpose, id string) error {
				key, err := l.Key(id)
				if err != nil || key == nil || key.KeyState == types.KeyStatePendingDeletion {
					return err
				}
				r.Saw(key.KeyState == types.KeyStateEnabled, aws.ToString(key.Arn), string(key.KeyState), seeKey, "Enabled", "aws kms enable-key --key-id "+id)
				return nil
			}),
		},
		{
			ID: "key-stays", Level: check.Required, Rows: []string{"S4"},
			Proves: "No key is about to be deleted.",
			Run: eachKey(func(l *account.Look, r *check.Recorder, _ architecture.KeyPurpose, id string) error {
				key, err := l.Key(id)
				if err != nil || key == nil {
					return err
				}
				saw := "not about to be deleted"
				if key.DeletionDate != nil {
					saw = "to be deleted on " + key.DeletionDate.UTC().Format(time.DateOnly) + ", and all data encrypted with it lost"
				}
				r.Saw(key.KeyState != types.KeyStatePendingDeletion && key.DeletionDate == nil, aws.ToString(key.Arn), saw, seeKey, "not about to be deleted",
					fmt.Sprintf("at once: aws kms cancel-key-deletion --key-id %s && aws kms enable-key --key-id %[1]s", id))
				return nil
			}),
		},
		{
			ID: "key-rotation", Level: check.Required, Rows: []string{"S4", "B2"},
			Proves: "All keys rotate once a year at least.",
			Run: eachKey(func(l *account.Look, r *check.Recorder, _ architecture.KeyPurpose, id string) error {
				if gone, err := pending(l, id); err != nil || gone {
					return err
				}
				status, err := rotation(l, id)
				if err != nil {
					return err
				}
				saw, days := "rotation off", aws.ToInt32(status.RotationPeriodInDays)
				if status.KeyRotationEnabled {
					if days == 0 {
						days = 365 // what it is where KMS doesn't say
					}
					saw = fmt.Sprintf("every %d days", days)
				}
				r.Saw(status.KeyRotationEnabled && days <= 366, keyName(l, id), saw, "kms:GetKeyRotationStatus", "every 365 days", "aws kms enable-key-rotation --rotation-period-in-days 365 --key-id "+id)
				return nil
			}),
		},
		{
			ID: "key-policy-root", Level: check.Required, Rows: []string{"B3"},
			Proves: "The account itself can always manage its keys.",
			Run:    eachKey(keyRoot),
		},
		{
			ID: "key-policy-principals", Level: check.Required, Rows: []string{"B3", "S6"},
			Proves: "Key policies allow this account, the services that the purpose needs, and nobody else.",
			Run:    eachKey(keyPrincipals),
		},
		{
			ID: "key-policy-services", Level: check.Required, Rows: []string{"B3"},
			Proves: "The services that a purpose needs may use its key.",
			Run:    eachKey(keyServices),
		},
		{
			ID: "key-policy-services-bound", Level: check.Required, Rows: []string{"B3", "S6"},
			Proves: "A service may use a key only for this account's resources.",
			Run:    eachKey(keyBound),
		},
		{
			ID: "key-grants", Level: check.Required, Rows: []string{"B4", "S6"},
			Proves: "Grants on the keys of volumes and database are for AWS services only.",
			Run:    eachKey(keyGrants),
		},
	}
}

func keyThere(l *account.Look, r *check.Recorder) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	for _, purpose := range l.Arch.Keys {
		alias := l.Arch.KeyAlias(purpose)
		id := keys[purpose]
		if id == "" {
			r.Missing(alias, "kms:ListAliases", "point it to the key again: aws kms create-alias --alias-name "+alias+" --target-key-id KEY; keys have the tag "+architecture.DeploymentTag)
			continue
		}
		key, err := l.Key(id)
		if err != nil {
			return err
		}
		if key == nil {
			r.Missing(alias+", key "+id, seeKey, "the key is gone, with all data that was encrypted with it: create the deployment anew")
			continue
		}
		r.Saw(key.KeyManager == types.KeyManagerTypeCustomer && key.KeySpec == types.KeySpecSymmetricDefault && key.KeyUsage == types.KeyUsageTypeEncryptDecrypt,
			aws.ToString(key.Arn), fmt.Sprintf("%s: managed by %s, %s, %s", alias, key.KeyManager, key.KeySpec, key.KeyUsage), seeKey,
			"managed by CUSTOMER, SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT", "point "+alias+" to the deployment's key: aws kms update-alias")
	}
	return nil
}

func keyApart(l *account.Look, r *check.Recorder) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	users := map[string][]string{}
	for _, purpose := range l.Arch.Keys {
		if id := keys[purpose]; id != "" {
			users[id] = append(users[id], string(purpose))
		}
	}
	for _, id := range account.SortedKeys(users) {
		r.Saw(len(users[id]) == 1, keyName(l, id), "for "+check.Listed(users[id]), "kms:ListAliases", "for one purpose", "point each alias to a key of its own: aws kms update-alias")
	}
	if len(users) == 0 {
		r.NA("there are no keys, as key-there says")
	}
	return nil
}

func putKeyPolicy(id, what string) string {
	return what + ": aws kms get-key-policy --policy-name default --key-id " + id + ", and put-key-policy with the change"
}

func keyRoot(l *account.Look, r *check.Recorder, purpose architecture.KeyPurpose, id string) error {
	p, err := keyPolicy(l, id)
	if err != nil {
		return err
	}
	ok := slices.ContainsFunc(p, func(s policy.Statement) bool {
		return s.Allow && len(s.Conditions) == 0 && slices.Contains(s.Actions, "kms:*") &&
			slices.ContainsFunc(s.Principals, func(who policy.Principal) bool { return who.Root() && who.Account() == l.ID.Account })
	})
	saw := "no statement for the account"
	if ok {
		saw = "kms:* for the account"
	}
	r.Saw(ok, keyName(l, id), saw, "kms:GetKeyPolicy", "kms:* for the account, which IAM's policies then divide",
		putKeyPolicy(id, "give the account's root kms:*, before the key of "+string(purpose)+" is locked out"))
	return nil
}

// serviceUse is what a principal may do with a key.
type serviceUse struct {
	who    policy.Principal
	action []string
}

// keyUses are whom besides the account the policy of a key must let use it.
func keyUses(l *account.Look, p architecture.KeyPurpose) []serviceUse {
	use := []string{"kms:Decrypt", "kms:GenerateDataKey"}
	switch p {
	case architecture.KeyVolumes:
		// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
		role := fmt.Sprintf("arn:%s:iam::%s:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", l.ID.Partition, l.ID.Account)
		return []serviceUse{{policy.Principal{Kind: "AWS", ID: role}, append(use, "kms:Encrypt", "kms:ReEncryptFrom", "kms:DescribeKey", "kms:CreateGrant")}}
	case architecture.KeyLogs:
		return []serviceUse{
			// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
			{policy.Principal{Kind: "Service", ID: "logs." + l.AWS.Region + ".amazonaws.com"}, append(use, "kms:Encrypt", "kms:ReEncryptFrom")},
			// https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
			{policy.Principal{Kind: "Service", ID: "cloudwatch.amazonaws.com"}, use},
		}
	}
	return nil
}

func keyPrincipals(l *account.Look, r *check.Recorder, purpose architecture.KeyPurpose, id string) error {
	p, err := keyPolicy(l, id)
	if err != nil {
		return err
	}
	var known []string
	for _, u := range keyUses(l, purpose) {
		known = append(known, u.who.ID)
	}
	strangers := slices.DeleteFunc(p.Allowed(), func(who policy.Principal) bool {
		return who.Root() && who.Account() == l.ID.Account || slices.Contains(known, who.ID)
	})
	for _, who := range strangers {
		r.Saw(false, keyName(l, id), "for "+string(purpose)+": lets "+who.String()+" in", "kms:GetKeyPolicy", "the account and "+check.Listed(known), putKeyPolicy(id, "take "+who.String()+" out"))
	}
	if len(strangers) == 0 {
		r.Saw(true, keyName(l, id), "for "+string(purpose)+": lets the account in, and of services "+check.Listed(known), "kms:GetKeyPolicy", "", "")
	}
	return nil
}

func keyServices(l *account.Look, r *check.Recorder, purpose architecture.KeyPurpose, id string) error {
	p, err := keyPolicy(l, id)
	if err != nil {
		return err
	}
	for _, u := range keyUses(l, purpose) {
		var lacks []string
		for _, a := range u.action {
			if !slices.ContainsFunc(p, func(s policy.Statement) bool { return s.Allow && s.Covers(a) && slices.Contains(s.Principals, u.who) }) {
				lacks = append(lacks, a)
			}
		}
		saw := u.who.ID + " may use it"
		if len(lacks) > 0 {
			saw = u.who.ID + " lacks " + check.Listed(lacks)
		}
		r.Saw(len(lacks) == 0, keyName(l, id), saw, "kms:GetKeyPolicy", u.who.ID+" may do "+check.Listed(u.action), putKeyPolicy(id, "allow "+u.who.ID+" "+check.Listed(lacks)))
	}
	return nil
}

// keyBound looks for the conditions that bind services to this account: an
// encryption context or a source that names it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
func keyBound(l *account.Look, r *check.Recorder, purpose architecture.KeyPurpose, id string) error {
	p, err := keyPolicy(l, id)
	if err != nil {
		return err
	}
	for _, s := range p {
		if !s.Allow {
			continue
		}
		for _, who := range s.Principals {
			if who.Kind != "Service" {
				continue
			}
			ok := slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool {
				return !strings.Contains(c.Operator, "Not") && !strings.HasSuffix(c.Operator, "IfExists") && len(c.Values) > 0 &&
					!slices.ContainsFunc(c.Values, func(v string) bool { return v != l.ID.Account && !strings.Contains(v, ":"+l.ID.Account+":") })
			})
			saw := who.ID + " for any account"
			if ok {
				saw = who.ID + " for this account only"
			}
			r.Saw(ok, keyName(l, id), saw, "kms:GetKeyPolicy", who.ID+" for this account only",
				putKeyPolicy(id, "add the condition StringEquals aws:SourceAccount "+l.ID.Account+" to statement "+s.SID))
		}
	}
	return nil
}

func keyGrants(l *account.Look, r *check.Recorder, purpose architecture.KeyPurpose, id string) error {
	if purpose != architecture.KeyVolumes && purpose != architecture.KeyDatabase {
		return nil
	}
	p, err := keyPolicy(l, id)
	if err != nil {
		return err
	}
	ok := slices.ContainsFunc(p, func(s policy.Statement) bool {
		return !s.Allow && s.Everybody() && s.NotPrincipals == nil && s.Covers("kms:CreateGrant") &&
			slices.Equal(s.Wants("kms:GrantIsForAWSResource", "Bool", "BoolIfExists"), []string{"false"}) &&
			!slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool {
				return c.Key != "kms:grantisforawsresource" && c.Key != "aws:principalisawsservice"
			})
	})
	saw := "anybody with kms:CreateGrant may grant its use"
	if ok {
		saw = "grants refused unless for AWS services"
	}
	r.Saw(ok, keyName(l, id), "for "+string(purpose)+": "+saw, "kms:GetKeyPolicy", "kms:CreateGrant denied where kms:GrantIsForAWSResource is false", putKeyPolicy(id, "add the statement that denies it"))
	return nil
}

// keyName is a key's ARN: what findings and CloudTrail name it by.
func keyName(l *account.Look, id string) string {
	if strings.HasPrefix(id, "arn:") {
		return id
	}
	return l.OwnARN("kms", "key/"+id)
}
