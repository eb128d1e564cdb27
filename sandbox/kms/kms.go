// Package kms is AWS Key Management Service: keys, their policies and aliases.
//
// Invariants: a key's policy always lets somebody who exists change it; an
// alias points to a key of this account that isn't about to be deleted; a
// deleted key waits out its window, usable by nobody, and then vanishes with
// its aliases.
//
// Other services ask [Usable] whether they may use a key.
//
// Limits: nothing is encrypted or decrypted; grants, imported material,
// replicas and custom key stores are not modelled. AWS managed keys
// (alias/aws/...) exist as soon as they are asked for and leave no trace.
package kms

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package.
const (
	TypeKey   = "AWS::KMS::Key"
	TypeAlias = "AWS::KMS::Alias"
)

// The states of a key.
const (
	Enabled         = "Enabled"
	Disabled        = "Disabled"
	PendingDeletion = "PendingDeletion"
)

// deleteEvent ends a key's waiting time.
const deleteEvent = "kms:delete-key"

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
	for _, a := range tx.List(TypeAlias) {
		if target(a) == e.ID {
			tx.Drop(TypeAlias, a.ID)
		}
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
	h := fnv.New128a()
	h.Write([]byte(tx.AccountID() + tx.Region() + service))
	id := uuid(fmt.Sprintf("%x", h.Sum(nil)))
	return &account.Resource{
		Type: TypeKey, ID: id, Status: Enabled, Tags: map[string]string{}, Data: map[string]any{"AWSManaged": service},
		Attrs: map[string]any{"Arn": tx.ARN("kms", "key/"+id), "KeyId": id},
		Props: map[string]any{"Description": "Default key that protects my " + strings.ToUpper(service) + " data when no other key is defined", "EnableKeyRotation": true},
	}, nil
}

func managedByID(tx *account.Tx, id string) *account.Resource {
	for _, s := range managedServices() {
		if k, err := managedKey(tx, s); err == nil && k.ID == id {
			return k
		}
	}
	return nil
}

// ARN is the ARN of a key.
func ARN(key *account.Resource) string { return props.Str(key.Attrs, "Arn") }

// Usable returns the key that ref stands for if a principal may do all of the
// actions with it now: it exists, is enabled, and its policy allows them in the
// encryption context and other condition keys given. The principal is an ARN, a
// service ("logs.us-east-1.amazonaws.com") or, if empty, the caller. A policy
// that leaves the decision to the account's identity policies is enough for
// callers and roles, since those aren't enforced, but not for services and
// their linked roles. Errors are KMS's own.
func Usable(tx *account.Tx, ref, principal string, context map[string]string, actions ...string) (*account.Resource, error) {
	k, err := Lookup(tx, ref)
	if err != nil {
		return nil, err
	}
	switch k.Status {
	case PendingDeletion:
		return nil, account.Errorf("KMSInvalidStateException", "%s is pending deletion.", ARN(k))
	case Disabled:
		return nil, account.Errorf("DisabledException", "%s is disabled.", ARN(k))
	}
	if k.Data["AWSManaged"] != nil {
		return k, nil
	}
	doc, err := policy.Parse(keyPolicy(tx, k.Props), policy.Resource)
	if err != nil {
		return nil, fmt.Errorf("read policy of key %s: %w", k.ID, err)
	}
	r := policy.Request{Type: "AWS", Principal: principal, Resource: ARN(k), Context: map[string]string{"kms:CallerAccount": tx.AccountID(), "aws:SourceAccount": tx.AccountID(), "aws:PrincipalAccount": tx.AccountID()}}
	for key, v := range context {
		r.Context[key] = v
	}
	switch {
	case principal == "":
		r.Principal = callerRole(tx)
	case strings.HasSuffix(strings.TrimSuffix(principal, ".cn"), ".amazonaws.com") && !strings.HasPrefix(principal, "arn:"):
		r.Type = "Service"
	case strings.Contains(principal, ":role/aws-service-role/"):
		r.Exact = true
	}
	for _, a := range actions {
		r.Action = a
		if !doc.Allows(r) {
			return nil, &account.Error{Code: "AccessDeniedException", Message: fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action", r.Principal, a, ARN(k), a), Status: http.StatusBadRequest}
		}
	}
	return k, nil
}

// callerRole is whom a key policy knows the caller as: the role of a session,
// or the account where AWS acts by itself.
func callerRole(tx *account.Tx) string {
	if _, rest, ok := strings.Cut(tx.Caller, ":assumed-role/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		if r := tx.Get(iam.TypeRole, name); r != nil {
			return props.Str(r.Attrs, "Arn")
		}
	}
	if strings.HasPrefix(tx.Caller, "arn:") {
		return tx.Caller
	}
	return tx.GlobalARN("iam", "root")
}

// uuid puts 32 hexadecimal digits into the form of key ids.
func uuid(x string) string {
	return x[:8] + "-" + x[8:12] + "-4" + x[13:16] + "-a" + x[17:20] + "-" + x[20:32]
}
