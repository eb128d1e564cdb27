package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/poolhouse/poolhouse/architecture"
)

// keyFacts are what the KMS keys, log groups, topics and backups are.
type keyFacts struct {
	keysFact      fact[map[architecture.KeyPurpose]string]
	keyFact       keyed[*types.KeyMetadata]
	rotationFact  keyed[*kms.GetKeyRotationStatusOutput]
	keyPolicyFact keyed[policy]

	logFacts
	backupFacts
}

// keys are the ids of the deployment's KMS keys by purpose, as its aliases
// have them.
func (l *look) keys() (map[architecture.KeyPurpose]string, error) {
	return l.keysFact.get(func() (map[architecture.KeyPurpose]string, error) {
		found := map[architecture.KeyPurpose]string{}
		pages := kms.NewListAliasesPaginator(l.aws.KMS, &kms.ListAliasesInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the aliases of keys: %w", err)
			}
			for _, a := range page.Aliases {
				if purpose, ok := strings.CutPrefix(aws.ToString(a.AliasName), "alias/"+l.arch.Name()+"/"); ok && a.TargetKeyId != nil {
					found[architecture.KeyPurpose(purpose)] = *a.TargetKeyId
				}
			}
		}
		return found, nil
	})
}

// key is what KMS says of a key that is named by id, ARN or alias; nil where
// there is none.
func (l *look) key(ref string) (*types.KeyMetadata, error) {
	return l.keyFact.get(ref, func() (*types.KeyMetadata, error) {
		out, err := orNone(l.aws.KMS.DescribeKey(l.ctx, &kms.DescribeKeyInput{KeyId: &ref}))
		if err != nil {
			return nil, fmt.Errorf("look up key %s: %w", ref, err)
		}
		if out == nil {
			return nil, nil
		}
		return out.KeyMetadata, nil
	})
}

func (l *look) rotation(id string) (*kms.GetKeyRotationStatusOutput, error) {
	return l.rotationFact.get(id, func() (*kms.GetKeyRotationStatusOutput, error) {
		out, err := l.aws.KMS.GetKeyRotationStatus(l.ctx, &kms.GetKeyRotationStatusInput{KeyId: &id})
		if err != nil {
			return nil, fmt.Errorf("look whether key %s rotates: %w", id, err)
		}
		return out, nil
	})
}

func (l *look) keyPolicy(id string) (policy, error) {
	return l.keyPolicyFact.get(id, func() (policy, error) {
		out, err := l.aws.KMS.GetKeyPolicy(l.ctx, &kms.GetKeyPolicyInput{KeyId: &id, PolicyName: aws.String("default")})
		if err != nil {
			return nil, fmt.Errorf("read the policy of key %s: %w", id, err)
		}
		return readPolicy(aws.ToString(out.Policy))
	})
}

// sawKey notes whether something is encrypted with the key of a purpose. The
// reference is what a service says: an id, an ARN or an alias, or "" for none.
// Where the purpose has no key, one check says so for all.
func (l *look) sawKey(r *result, resource, ref, api string, purpose architecture.KeyPurpose, fix string) error {
	keys, err := l.keys()
	if err != nil {
		return err
	}
	id := keys[purpose]
	if id == "" {
		r.na("there is no key for %s, as key-there says", purpose)
		return nil
	}
	alias := l.arch.KeyAlias(purpose)
	if ref == "" {
		r.saw(false, resource, "no key of the customer's", api, alias+", key "+id, fix)
		return nil
	}
	name := resourceOf(ref)
	ok := strings.TrimPrefix(name, "key/") == id || name == alias
	if !ok && strings.HasPrefix(name, "alias/") {
		key, err := l.key(ref)
		if err != nil {
			return err
		}
		ok = key != nil && aws.ToString(key.KeyId) == id
	}
	r.saw(ok, resource, "encrypted with "+ref, api, alias+", key "+id, fix)
	return nil
}

const seeKey = "kms:DescribeKey"

// eachKey looks at the keys that are there, in the plan's order.
func eachKey(f func(l *look, r *result, purpose architecture.KeyPurpose, id string) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		keys, err := l.keys()
		if err != nil {
			return err
		}
		for _, purpose := range l.arch.Keys {
			if id := keys[purpose]; id != "" {
				if err := f(l, r, purpose, id); err != nil {
					return err
				}
			}
		}
		if len(r.seen) == 0 && r.reason == "" {
			r.na("there are no keys, as key-there says")
		}
		return nil
	}
}

// pending tells whether a key is about to be deleted, which one check says for
// all.
func (l *look) pending(id string) (bool, error) {
	key, err := l.key(id)
	return key == nil || key.KeyState == types.KeyStatePendingDeletion, err
}

func keyChecks() []Check {
	return append([]Check{
		{
			ID: "key-there", Level: Required, Rows: []string{"S4", "B1"},
			Proves: "There is a symmetric KMS key of the customer's for each purpose.",
			run:    keyThere,
		},
		{
			ID: "key-apart", Level: Required, Rows: []string{"B1", "S6"},
			Proves: "No key serves two purposes.",
			run:    keyApart,
		},
		{
			ID: "key-enabled", Level: Required, Rows: []string{"S4"},
			Proves: "All keys can be used.",
			run: eachKey(func(l *look, r *result, purpose architecture.KeyPurpose, id string) error {
				key, err := l.key(id)
				if err != nil || key == nil || key.KeyState == types.KeyStatePendingDeletion {
					return err
				}
				r.saw(key.KeyState == types.KeyStateEnabled, aws.ToString(key.Arn), string(key.KeyState), seeKey, "Enabled", "aws kms enable-key --key-id "+id)
				return nil
			}),
		},
		{
			ID: "key-stays", Level: Required, Rows: []string{"S4"},
			Proves: "No key is about to be deleted.",
			run: eachKey(func(l *look, r *result, _ architecture.KeyPurpose, id string) error {
				key, err := l.key(id)
				if err != nil || key == nil {
					return err
				}
				saw := "not about to be deleted"
				if key.DeletionDate != nil {
					saw = "to be deleted on " + key.DeletionDate.UTC().Format(time.DateOnly) + ", and all data encrypted with it lost"
				}
				r.saw(key.KeyState != types.KeyStatePendingDeletion && key.DeletionDate == nil, aws.ToString(key.Arn), saw, seeKey, "not about to be deleted",
					fmt.Sprintf("at once: aws kms cancel-key-deletion --key-id %s && aws kms enable-key --key-id %[1]s", id))
				return nil
			}),
		},
		{
			ID: "key-rotation", Level: Required, Rows: []string{"S4", "B2"},
			Proves: "All keys rotate once a year at least.",
			run: eachKey(func(l *look, r *result, _ architecture.KeyPurpose, id string) error {
				if gone, err := l.pending(id); err != nil || gone {
					return err
				}
				status, err := l.rotation(id)
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
				r.saw(status.KeyRotationEnabled && days <= 366, "key "+id, saw, "kms:GetKeyRotationStatus", "every 365 days", "aws kms enable-key-rotation --rotation-period-in-days 365 --key-id "+id)
				return nil
			}),
		},
		{
			ID: "key-policy-root", Level: Required, Rows: []string{"B3"},
			Proves: "The account itself can always manage its keys.",
			run:    eachKey(keyRoot),
		},
		{
			ID: "key-policy-principals", Level: Required, Rows: []string{"B3", "S6"},
			Proves: "Key policies allow this account, the services that the purpose needs, and nobody else.",
			run:    eachKey(keyPrincipals),
		},
		{
			ID: "key-policy-services", Level: Required, Rows: []string{"B3"},
			Proves: "The services that a purpose needs may use its key.",
			run:    eachKey(keyServices),
		},
		{
			ID: "key-policy-services-bound", Level: Required, Rows: []string{"B3", "S6"},
			Proves: "A service may use a key only for this account's resources.",
			run:    eachKey(keyBound),
		},
		{
			ID: "key-grants", Level: Required, Rows: []string{"B4", "S6"},
			Proves: "Grants on the keys of volumes and database are for AWS services only.",
			run:    eachKey(keyGrants),
		},
	}, slices.Concat(logChecks(), backupChecks())...)
}

func keyThere(l *look, r *result) error {
	keys, err := l.keys()
	if err != nil {
		return err
	}
	for _, purpose := range l.arch.Keys {
		alias := l.arch.KeyAlias(purpose)
		id := keys[purpose]
		if id == "" {
			r.missing(alias, "kms:ListAliases", "point it to the key again: aws kms create-alias --alias-name "+alias+" --target-key-id KEY; keys have the tag "+architecture.DeploymentTag)
			continue
		}
		key, err := l.key(id)
		if err != nil {
			return err
		}
		if key == nil {
			r.missing(alias+", key "+id, seeKey, "the key is gone, with all data that was encrypted with it: create the deployment anew")
			continue
		}
		r.saw(key.KeyManager == types.KeyManagerTypeCustomer && key.KeySpec == types.KeySpecSymmetricDefault && key.KeyUsage == types.KeyUsageTypeEncryptDecrypt,
			aws.ToString(key.Arn), fmt.Sprintf("%s: managed by %s, %s, %s", alias, key.KeyManager, key.KeySpec, key.KeyUsage), seeKey,
			"managed by CUSTOMER, SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT", "point "+alias+" to the deployment's key: aws kms update-alias")
	}
	return nil
}

func keyApart(l *look, r *result) error {
	keys, err := l.keys()
	if err != nil {
		return err
	}
	users := map[string][]string{}
	for _, purpose := range l.arch.Keys {
		if id := keys[purpose]; id != "" {
			users[id] = append(users[id], string(purpose))
		}
	}
	for _, id := range sortedKeys(users) {
		r.saw(len(users[id]) == 1, "key "+id, "for "+listed(users[id]), "kms:ListAliases", "for one purpose", "point each alias to a key of its own: aws kms update-alias")
	}
	if len(users) == 0 {
		r.na("there are no keys, as key-there says")
	}
	return nil
}

func putKeyPolicy(id, what string) string {
	return what + ": aws kms get-key-policy --policy-name default --key-id " + id + ", and put-key-policy with the change"
}

func keyRoot(l *look, r *result, purpose architecture.KeyPurpose, id string) error {
	p, err := l.keyPolicy(id)
	if err != nil {
		return err
	}
	ok := slices.ContainsFunc(p, func(s statement) bool {
		return s.allow && len(s.conditions) == 0 && slices.Contains(s.actions, "kms:*") &&
			slices.ContainsFunc(s.principals, func(who principal) bool { return who.root() && who.account() == l.id.Account })
	})
	saw := "no statement for the account"
	if ok {
		saw = "kms:* for the account"
	}
	r.saw(ok, "key "+id, saw, "kms:GetKeyPolicy", "kms:* for the account, which IAM's policies then divide",
		putKeyPolicy(id, "give the account's root kms:*, before the key of "+string(purpose)+" is locked out"))
	return nil
}

// serviceUse is what a principal may do with a key.
type serviceUse struct {
	who    principal
	action []string
}

// keyUses are whom besides the account the policy of a key must let use it.
func (l *look) keyUses(p architecture.KeyPurpose) []serviceUse {
	use := []string{"kms:Decrypt", "kms:GenerateDataKey"}
	switch p {
	case architecture.KeyVolumes:
		// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
		role := fmt.Sprintf("arn:%s:iam::%s:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", l.id.Partition, l.id.Account)
		return []serviceUse{{principal{"AWS", role}, append(use, "kms:Encrypt", "kms:ReEncryptFrom", "kms:DescribeKey", "kms:CreateGrant")}}
	case architecture.KeyLogs:
		return []serviceUse{
			// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
			{principal{"Service", "logs." + l.aws.Region + ".amazonaws.com"}, append(use, "kms:Encrypt", "kms:ReEncryptFrom")},
			// https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
			{principal{"Service", "cloudwatch.amazonaws.com"}, use},
		}
	}
	return nil
}

func keyPrincipals(l *look, r *result, purpose architecture.KeyPurpose, id string) error {
	p, err := l.keyPolicy(id)
	if err != nil {
		return err
	}
	var known []string
	for _, u := range l.keyUses(purpose) {
		known = append(known, u.who.id)
	}
	strangers := slices.DeleteFunc(p.allowed(), func(who principal) bool {
		return who.root() && who.account() == l.id.Account || slices.Contains(known, who.id)
	})
	for _, who := range strangers {
		r.saw(false, "key "+id, "for "+string(purpose)+": lets "+who.String()+" in", "kms:GetKeyPolicy", "the account and "+listed(known), putKeyPolicy(id, "take "+who.String()+" out"))
	}
	if len(strangers) == 0 {
		r.saw(true, "key "+id, "for "+string(purpose)+": lets the account in, and of services "+listed(known), "kms:GetKeyPolicy", "", "")
	}
	return nil
}

func keyServices(l *look, r *result, purpose architecture.KeyPurpose, id string) error {
	p, err := l.keyPolicy(id)
	if err != nil {
		return err
	}
	for _, u := range l.keyUses(purpose) {
		var lacks []string
		for _, a := range u.action {
			if !slices.ContainsFunc(p, func(s statement) bool { return s.allow && s.covers(a) && slices.Contains(s.principals, u.who) }) {
				lacks = append(lacks, a)
			}
		}
		saw := u.who.id + " may use it"
		if len(lacks) > 0 {
			saw = u.who.id + " lacks " + listed(lacks)
		}
		r.saw(len(lacks) == 0, "key "+id, saw, "kms:GetKeyPolicy", u.who.id+" may do "+listed(u.action), putKeyPolicy(id, "allow "+u.who.id+" "+listed(lacks)))
	}
	return nil
}

// keyBound looks for the conditions that bind services to this account: an
// encryption context or a source that names it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
func keyBound(l *look, r *result, purpose architecture.KeyPurpose, id string) error {
	p, err := l.keyPolicy(id)
	if err != nil {
		return err
	}
	for _, s := range p {
		if !s.allow {
			continue
		}
		for _, who := range s.principals {
			if who.kind != "Service" {
				continue
			}
			ok := slices.ContainsFunc(s.conditions, func(c condition) bool {
				return !strings.Contains(c.operator, "Not") && !strings.HasSuffix(c.operator, "IfExists") && len(c.values) > 0 &&
					!slices.ContainsFunc(c.values, func(v string) bool { return v != l.id.Account && !strings.Contains(v, ":"+l.id.Account+":") })
			})
			saw := who.id + " for any account"
			if ok {
				saw = who.id + " for this account only"
			}
			r.saw(ok, "key "+id, saw, "kms:GetKeyPolicy", who.id+" for this account only",
				putKeyPolicy(id, "add the condition StringEquals aws:SourceAccount "+l.id.Account+" to statement "+s.sid))
		}
	}
	return nil
}

func keyGrants(l *look, r *result, purpose architecture.KeyPurpose, id string) error {
	if purpose != architecture.KeyVolumes && purpose != architecture.KeyDatabase {
		return nil
	}
	p, err := l.keyPolicy(id)
	if err != nil {
		return err
	}
	ok := slices.ContainsFunc(p, func(s statement) bool {
		return !s.allow && s.everybody() && s.notPrincipals == nil && s.covers("kms:CreateGrant") &&
			slices.Equal(s.wants("kms:GrantIsForAWSResource", "Bool", "BoolIfExists"), []string{"false"}) &&
			!slices.ContainsFunc(s.conditions, func(c condition) bool {
				return c.key != "kms:grantisforawsresource" && c.key != "aws:principalisawsservice"
			})
	})
	saw := "anybody with kms:CreateGrant may grant its use"
	if ok {
		saw = "grants refused unless for AWS services"
	}
	r.saw(ok, "key "+id, "for "+string(purpose)+": "+saw, "kms:GetKeyPolicy", "kms:CreateGrant denied where kms:GrantIsForAWSResource is false", putKeyPolicy(id, "add the statement that denies it"))
	return nil
}
