// Package kms is AWS Key Management Service: keys, their policies, aliases and
// grants, and encryption under symmetric keys.
//
// Invariants: a key's policy always lets somebody who exists change it; an
// alias points to a key of this account that isn't about to be deleted; a
// deleted key waits out its window, usable by nobody, and then vanishes with
// its aliases. A key's material never leaves the account: it is kept with it, as
// sensitive as all of its state. A ciphertext can be decrypted as long as its key
// is there, also after rotations.
//
// Other services ask [Usable] whether they may use a key, and keep what they
// encrypt under it by [Seal] and [Open].
//
// Limits: asymmetric and HMAC keys only exist, nothing is done with them; services
// make no grants when they use a key; a grant is in force at once, so grant
// tokens are only checked; imported material, replicas, custom key stores and
// enclaves are not modelled. Ciphertexts have a form of the sandbox's own. AWS
// managed keys (alias/aws/...) exist as soon as they are asked for and leave no
// trace; their material follows from the keys of the account's principals.
package kms

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package.
const (
	TypeKey   = "AWS::KMS::Key"
	TypeAlias = "AWS::KMS::Alias"
	// TypeGrant is a grant, by its id.
	TypeGrant = "kms:grant"
)

// The states of a key.
const (
	Enabled         = "Enabled"
	Disabled        = "Disabled"
	PendingDeletion = "PendingDeletion"
)

// deleteEvent ends a key's waiting time.
const deleteEvent = "kms:delete-key"

// EventUnusable tells, for the key with the event's id as its ARN, that it was
// disabled or is to be deleted, after the time in which services notice. It
// has no handler here.
// https://docs.aws.amazon.com/kms/latest/developerguide/unusable-kms-keys.html
const EventUnusable = "kms:unusable"

// noticed is after how long RDS notices that a key can't be used.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.Keys.html
const noticed = 2 * time.Hour

// Types are the resource types of this package.
func Types() []*account.Type { return []*account.Type{keyType(), aliasType()} }

// Events are the package's event handlers.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){deleteEvent: vanish}
}

// vanish removes a key whose window is over, unless its deletion was cancelled
// or scheduled anew meanwhile.
func vanish(tx *account.Tx, e account.Event) {
	k := tx.Get(TypeKey, e.ID)
	if k == nil || k.Status != PendingDeletion {
		return
	}
	if at, ok := k.Data["DeletionDate"].(time.Time); !ok || at.After(tx.Now()) {
		return
	}
	tx.Drop(TypeKey, e.ID)
	for _, a := range tx.Where(TypeAlias, "key", target, e.ID) {
		tx.Drop(TypeAlias, a.ID)
	}
	for _, g := range grants(tx, e.ID) {
		tx.Drop(TypeGrant, g.ID)
	}
}

// Lookup returns the key that a key id, key ARN, alias name or alias ARN stands
// for, or KMS's NotFoundException.
func Lookup(tx *account.Tx, ref string) (*account.Resource, error) {
	id := ref
	if strings.HasPrefix(ref, "arn:") {
		rest, ok := strings.CutPrefix(ref, tx.ARN("kms", ""))
		if !ok {
			return nil, account.Errorf("NotFoundException", "Invalid arn %s", ref)
		}
		id = strings.TrimPrefix(rest, "key/")
		if id == rest && !strings.HasPrefix(rest, "alias/") {
			return nil, account.Errorf("NotFoundException", "Invalid arn %s", ref)
		}
	}
	switch {
	case strings.HasPrefix(id, "alias/aws/"):
		return managedKey(tx, strings.TrimPrefix(id, "alias/aws/"))
	case strings.HasPrefix(id, "alias/"):
		a := tx.Get(TypeAlias, id)
		if a == nil {
			return nil, account.Errorf("NotFoundException", "Alias %s is not found.", tx.ARN("kms", id))
		}
		return Lookup(tx, target(a))
	}
	k := tx.Get(TypeKey, id)
	if k == nil {
		if m := managedByID(tx, id); m != nil {
			return m, nil
		}
		return nil, account.Errorf("NotFoundException", "Key '%s' does not exist", tx.ARN("kms", "key/"+id))
	}
	return k, nil
}

// managedServices have a key of AWS's own in every account.
// https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-cmk
func managedServices() []string {
	return []string{"acm", "backup", "dynamodb", "ebs", "ecr", "elasticfilesystem", "lambda", "rds", "s3", "secretsmanager", "sns", "sqs", "ssm"}
}

// managedKey makes up the key that AWS manages for a service; it isn't stored.
func managedKey(tx *account.Tx, service string) (*account.Resource, error) {
	if !slices.Contains(managedServices(), service) {
		return nil, account.Errorf("NotFoundException", "Alias %s is not found.", tx.ARN("kms", "alias/aws/"+service))
	}
	id := managedID(tx, service)
	return &account.Resource{
		Type: TypeKey, ID: id, Status: Enabled, Tags: map[string]string{}, Data: map[string]any{"AWSManaged": service},
		Attrs: map[string]any{"Arn": tx.ARN("kms", "key/"+id), "KeyId": id},
		Props: map[string]any{"Description": "Default key that protects my " + strings.ToUpper(service) + " data when no other key is defined", "EnableKeyRotation": true},
	}, nil
}

func managedByID(tx *account.Tx, id string) *account.Resource {
	for _, s := range managedServices() {
		if managedID(tx, s) == id {
			// The service is one of those that have a key.
			k, _ := managedKey(tx, s)
			return k
		}
	}
	return nil
}

func managedID(tx *account.Tx, service string) string {
	h := fnv.New128a()
	h.Write([]byte(tx.AccountID() + tx.Region() + service))
	return uuid(hex.EncodeToString(h.Sum(nil)))
}

// ARN is the ARN of a key.
func ARN(key *account.Resource) string { return props.Str(key.Attrs, "Arn") }

// Usable returns the key that ref stands for if a principal may do all of the
// actions with it now: it exists, is enabled, and its policy, its grants and the
// principal's own policies allow them, in the encryption context and with the
// other condition keys given. The principal is an ARN, a service
// ("logs.us-east-1.amazonaws.com") or, if empty, the caller. Services and their
// linked roles have no policies of their own that speak of keys: the key's has to
// name them. Errors are KMS's own.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/control-access.html
func Usable(tx *account.Tx, ref, principal string, context map[string]string, actions ...string) (*account.Resource, error) {
	k, err := Lookup(tx, ref)
	if err != nil {
		return nil, err
	}
	if err := enabled(k); err != nil {
		return nil, err
	}
	if k.Data["AWSManaged"] != nil {
		return k, nil
	}
	if principal == "" {
		principal = asker(tx)
	}
	docs := policies(tx, k)
	keys := map[string][]string{"kms:CallerAccount": {tx.AccountID()}, "aws:SourceAccount": {tx.AccountID()}}
	for key, v := range context {
		keys[key] = []string{v}
	}
	for key, v := range k.Tags {
		keys["aws:ResourceTag/"+key] = []string{v}
	}
	named := strings.Contains(principal, ":role/aws-service-role/")
	service := strings.HasSuffix(strings.TrimSuffix(principal, ".cn"), ".amazonaws.com") && !strings.HasPrefix(principal, "arn:")
	for _, a := range actions {
		var refusal *account.Error
		switch {
		case service || named:
			r := iam.Ask(tx, principal, a, ARN(k), keys)
			if service {
				r.Type = "Service"
			}
			if !namedBy(docs, &r) {
				refusal = &account.Error{Code: "AccessDeniedException", Message: fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action", principal, a, ARN(k), a), Status: http.StatusBadRequest}
			}
		default:
			refusal = iam.PermitOn(tx, principal, access.Demand{Action: a, Resources: []string{ARN(k)}, Context: keys}, docs...)
		}
		if refusal != nil {
			return nil, refusal
		}
	}
	return k, nil
}

// namedBy tells whether the documents allow a request to whom they name, more
// closely than by the account, and none denies it.
func namedBy(docs []*policy.Document, r *policy.Request) bool {
	naming := policy.Unnamed
	for _, doc := range docs {
		d := doc.Evaluate(r)
		if d.Denies != nil {
			return false
		}
		naming = max(naming, d.Naming)
	}
	return naming > policy.ByAccount
}

// asker is whom a key policy is asked for: the caller, or the account where AWS
// acts by itself.
func asker(tx *account.Tx) string {
	if strings.HasPrefix(tx.Caller, "arn:") {
		return tx.Caller
	}
	return tx.GlobalARN("iam", "root")
}

// Policies are the policy of the key that an ARN names, and what its grants
// allow as policies.
func Policies(tx *account.Tx, arn string) []*policy.Document {
	id, ok := strings.CutPrefix(arn, tx.ARN("kms", "key/"))
	if !ok {
		return nil
	}
	k := tx.Get(TypeKey, id)
	if k == nil {
		if k = managedByID(tx, id); k == nil {
			return nil
		}
	}
	return policies(tx, k)
}

func policies(tx *account.Tx, k *account.Resource) []*policy.Document {
	var out []*policy.Document
	add := func(doc any) {
		// What a key has was checked.
		if d, err := policy.Parse(doc, policy.Resource); err == nil {
			out = append(out, d)
		}
	}
	if service := props.Str(k.Data, "AWSManaged"); service != "" {
		add(managedPolicy(tx, service))
	} else {
		add(keyPolicy(tx, k.Props))
	}
	for _, g := range grants(tx, k.ID) {
		add(g.Data["policy"])
	}
	return out
}

// managedPolicy is the policy of a key that AWS manages for a service: everybody
// in the account may use it through the service, and look at it.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-cmk
func managedPolicy(tx *account.Tx, service string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Id":"auto-%[1]s-1","Statement":[`+
		`{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:CreateGrant","kms:DescribeKey"],"Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"%[2]s","kms:ViaService":"%[1]s.%[3]s.amazonaws.com"}}},`+
		`{"Effect":"Allow","Principal":{"AWS":"%[4]s"},"Action":["kms:Describe*","kms:Get*","kms:List*","kms:RevokeGrant"],"Resource":"*"}]}`,
		service, tx.AccountID(), tx.Region(), tx.GlobalARN("iam", "root"))
}

// uuid puts 32 hexadecimal digits into the form of key ids.
func uuid(x string) string {
	return x[:8] + "-" + x[8:12] + "-4" + x[13:16] + "-a" + x[17:20] + "-" + x[20:32]
}

func demand(action, key string) access.Demand {
	return access.Demand{Action: action, Resources: []string{key}}
}
