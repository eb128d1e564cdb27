package kms

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns KMS's API.
func Service() wire.Service {
	return wire.Service{
		Name: "kms", Target: "TrentService", Protocol: wire.JSON11,
		Operations: append(cryptographic(), []wire.Operation{
			{Name: "CreateKey", Do: apiCreateKey},
			{Name: "DescribeKey", Do: onKey(func(tx *account.Tx, _ *wire.Request, k *account.Resource) (any, error) {
				return map[string]any{"KeyMetadata": metadata(tx, k)}, nil
			})},
			{Name: "ListKeys", Do: listKeys},
			{Name: "GetKeyPolicy", Do: onKey(getKeyPolicy)},
			{Name: "ListKeyPolicies", Do: onKey(func(_ *account.Tx, _ *wire.Request, _ *account.Resource) (any, error) {
				return map[string]any{"PolicyNames": []any{"default"}, "Truncated": false}, nil
			})},
			{Name: "PutKeyPolicy", Do: onKey(putKeyPolicy)},
			{Name: "GetKeyRotationStatus", Do: onKey(getKeyRotationStatus)},
			{Name: "EnableKeyRotation", Do: onKey(func(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
				if err := enabled(k); err != nil {
					return nil, err
				}
				return nil, change(tx, k, func(p map[string]any) {
					p["EnableKeyRotation"] = true
					if n := r.Int("RotationPeriodInDays", 0); n != 0 {
						p["RotationPeriodInDays"] = n
					}
				})
			})},
			{Name: "DisableKeyRotation", Do: onKey(func(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
				if err := enabled(k); err != nil {
					return nil, err
				}
				return set("EnableKeyRotation", false)(tx, r, k)
			})},
			{Name: "EnableKey", Do: onKey(set("Enabled", true))},
			{Name: "DisableKey", Do: onKey(set("Enabled", false))},
			{Name: "UpdateKeyDescription", Do: onKey(func(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
				return nil, change(tx, k, func(p map[string]any) { p["Description"] = r.String("Description") })
			})},
			{Name: "ScheduleKeyDeletion", Do: onKey(scheduleKeyDeletion)},
			{Name: "CancelKeyDeletion", Do: onKey(cancelKeyDeletion)},
			{Name: "ListResourceTags", Do: onKey(listResourceTags)},
			{Name: "TagResource", Do: onKey(tagResource)},
			{Name: "UntagResource", Do: onKey(untagResource)},
			{Name: "CreateAlias", Do: createAlias},
			{Name: "UpdateAlias", Do: onAlias(func(tx *account.Tx, r *wire.Request, a *account.Resource) (any, error) {
				return nil, change(tx, a, func(p map[string]any) { p["TargetKeyId"] = r.String("TargetKeyId") })
			})},
			{Name: "DeleteAlias", Do: onAlias(func(tx *account.Tx, _ *wire.Request, a *account.Resource) (any, error) {
				if _, err := tx.Delete(a, false); err != nil {
					return nil, err
				}
				return nil, tx.Settle(a, "delete")
			})},
			{Name: "ListAliases", Do: listAliases},
			{Name: "CreateGrant", Do: onKey(createGrant)},
			{Name: "ListGrants", Do: onKey(listGrants)},
			{Name: "ListRetirableGrants", Do: listRetirableGrants},
			{Name: "RevokeGrant", Do: onKey(revokeGrant)},
			{Name: "RetireGrant", Do: retireGrant},
		}...),
	}
}

type handler func(*account.Tx, *wire.Request, *account.Resource) (any, error)

func onKey(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		k, err := Lookup(tx, r.String("KeyId"))
		if err != nil {
			return nil, err
		}
		r.Resource = ARN(k)
		read := r.Operation == "RevokeGrant" || strings.HasPrefix(r.Operation, "Describe") || strings.HasPrefix(r.Operation, "Get") || strings.HasPrefix(r.Operation, "List")
		if k.Data["AWSManaged"] != nil && !read {
			return nil, account.Errorf("AccessDeniedException", "%s is an AWS managed key", ARN(k))
		}
		return do(tx, r, k)
	}
}

func onAlias(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		a := tx.Get(TypeAlias, r.String("AliasName"))
		if a == nil {
			return nil, account.Errorf("NotFoundException", "Alias %s is not found.", tx.ARN("kms", r.String("AliasName")))
		}
		r.Resource = tx.ARN("kms", a.ID)
		return do(tx, r, a)
	}
}

func change(tx *account.Tx, r *account.Resource, edit func(map[string]any)) error {
	next, _ := account.Copy(r.Props).(map[string]any)
	edit(next)
	_, err := tx.Update(r, next, false)
	return err
}

func set(property string, value bool) handler {
	return func(tx *account.Tx, _ *wire.Request, k *account.Resource) (any, error) {
		return nil, change(tx, k, func(p map[string]any) { p[property] = value })
	}
}

// enabled refuses a key that can't be used now.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func enabled(k *account.Resource) error {
	switch k.Status {
	case PendingDeletion:
		return account.Errorf("KMSInvalidStateException", "%s is pending deletion.", ARN(k))
	case Disabled:
		return account.Errorf("DisabledException", "%s is disabled.", ARN(k))
	}
	return nil
}

func apiCreateKey(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{"Tags": props.Pairs(wire.TagMap(r.In["Tags"]))}
	for api, prop := range map[string]string{
		"Policy": "KeyPolicy", "Description": "Description", "KeyUsage": "KeyUsage", "KeySpec": "KeySpec", "Origin": "Origin",
		"MultiRegion": "MultiRegion", "BypassPolicyLockoutSafetyCheck": "BypassPolicyLockoutSafetyCheck",
	} {
		if r.Has(api) {
			p[prop] = r.In[api]
		}
	}
	k, _, err := tx.Create(TypeKey, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	r.Resource = ARN(k)
	return map[string]any{"KeyMetadata": metadata(tx, k)}, tx.Settle(k, "create")
}

func metadata(tx *account.Tx, k *account.Resource) map[string]any {
	spec := defaulted(k.Props, "KeySpec")
	m := map[string]any{
		"AWSAccountId": tx.AccountID(), "KeyId": k.ID, "Arn": ARN(k), "CreationDate": k.Created, "Enabled": k.Status == Enabled,
		"Description": props.Str(k.Props, "Description"), "KeyUsage": defaulted(k.Props, "KeyUsage"), "KeyState": k.Status, "Origin": "AWS_KMS",
		"KeyManager": "CUSTOMER", "KeySpec": spec, "CustomerMasterKeySpec": spec, "MultiRegion": props.Bool(k.Props, false, "MultiRegion"),
	}
	if k.Data["AWSManaged"] != nil {
		m["KeyManager"] = "AWS"
	}
	if spec == "SYMMETRIC_DEFAULT" {
		m["EncryptionAlgorithms"] = []any{"SYMMETRIC_DEFAULT"}
	}
	if k.Status == PendingDeletion {
		m["DeletionDate"] = k.Data["DeletionDate"]
	}
	return m
}

// paged cuts a listing as KMS does, by Marker and Limit.
func paged(r *wire.Request, name string, items []any, limit int) (any, error) {
	page, next, err := wire.Page(items, r.String("Marker"), r.Int("Limit", limit), "InvalidMarkerException")
	if err != nil {
		return nil, err
	}
	out := map[string]any{name: page, "Truncated": next != ""}
	if next != "" {
		out["NextMarker"] = next
	}
	return out, nil
}

func listKeys(tx *account.Tx, r *wire.Request) (any, error) {
	items := []any{}
	for _, k := range tx.List(TypeKey) {
		items = append(items, map[string]any{"KeyId": k.ID, "KeyArn": ARN(k)})
	}
	return paged(r, "Keys", items, 100)
}

func getKeyPolicy(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	if n := r.String("PolicyName"); n != "" && n != "default" {
		return nil, account.Errorf("NotFoundException", "No such policy exists")
	}
	text, err := policy.Text(keyPolicy(tx, k.Props))
	if err != nil {
		return nil, err
	}
	if service := props.Str(k.Data, "AWSManaged"); service != "" {
		text = managedPolicy(tx, service)
	}
	return map[string]any{"Policy": text, "PolicyName": "default"}, nil
}

func putKeyPolicy(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	return nil, change(tx, k, func(p map[string]any) {
		p["KeyPolicy"] = r.String("Policy")
		p["BypassPolicyLockoutSafetyCheck"] = r.Bool("BypassPolicyLockoutSafetyCheck", false)
	})
}

func getKeyRotationStatus(tx *account.Tx, _ *wire.Request, k *account.Resource) (any, error) {
	if k.Status == PendingDeletion {
		return map[string]any{"KeyId": ARN(k), "KeyRotationEnabled": false}, nil
	}
	out := map[string]any{"KeyId": ARN(k), "KeyRotationEnabled": props.Bool(k.Props, false, "EnableKeyRotation")}
	if next, days, ok := rotates(k); ok {
		out["RotationPeriodInDays"] = days
		for !next.After(tx.Now()) {
			next = next.AddDate(0, 0, days)
		}
		out["NextRotationDate"] = next
	}
	return out, nil
}

func scheduleKeyDeletion(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	days := r.Int("PendingWindowInDays", 30)
	if err := schedule(tx, k, days); err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": ARN(k), "DeletionDate": k.Data["DeletionDate"], "KeyState": k.Status, "PendingWindowInDays": days}, nil
}

// cancelKeyDeletion leaves the key disabled, as KMS does.
func cancelKeyDeletion(_ *account.Tx, _ *wire.Request, k *account.Resource) (any, error) {
	if k.Status != PendingDeletion {
		return nil, account.Errorf("KMSInvalidStateException", "%s is not pending deletion.", ARN(k))
	}
	k.Status = Disabled
	k.Props["Enabled"] = false
	delete(k.Data, "DeletionDate")
	delete(k.Data, "stays")
	return map[string]any{"KeyId": ARN(k)}, nil
}

func listResourceTags(_ *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	items := []any{}
	for _, t := range props.Maps(map[string]any{"t": props.Pairs(k.Tags)}, "t") {
		items = append(items, map[string]any{"TagKey": t["Key"], "TagValue": t["Value"]})
	}
	return paged(r, "Tags", items, 50)
}

func tagResource(_ *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	for key, v := range wire.TagMap(r.In["Tags"]) {
		if strings.HasPrefix(key, "aws:") || key == "" {
			return nil, account.Errorf("TagException", "Tag key %q is not valid", key)
		}
		k.Tags[key] = v
	}
	return nil, nil
}

func untagResource(_ *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	for _, key := range r.Strings("TagKeys") {
		delete(k.Tags, key)
	}
	return nil, nil
}

func createAlias(tx *account.Tx, r *wire.Request) (any, error) {
	a, _, err := tx.Create(TypeAlias, map[string]any{"AliasName": r.String("AliasName"), "TargetKeyId": r.String("TargetKeyId")}, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	r.Resource = tx.ARN("kms", a.ID)
	return nil, tx.Settle(a, "create")
}

func listAliases(tx *account.Tx, r *wire.Request) (any, error) {
	only := ""
	if r.Has("KeyId") {
		k, err := Lookup(tx, r.String("KeyId"))
		if err != nil {
			return nil, err
		}
		only = k.ID
	}
	type alias struct{ name, key string }
	var all []alias
	for _, a := range tx.List(TypeAlias) {
		all = append(all, alias{a.ID, target(a)})
	}
	for _, s := range managedServices() {
		k, err := managedKey(tx, s)
		if err != nil {
			return nil, err
		}
		all = append(all, alias{"alias/aws/" + s, k.ID})
	}
	slices.SortFunc(all, func(a, b alias) int { return strings.Compare(a.name, b.name) })
	items := []any{}
	for _, a := range all {
		if only == "" || only == a.key {
			items = append(items, map[string]any{"AliasName": a.name, "AliasArn": tx.ARN("kms", a.name), "TargetKeyId": a.key})
		}
	}
	return paged(r, "Aliases", items, 50)
}
