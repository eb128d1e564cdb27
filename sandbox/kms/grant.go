package kms

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// maxGrants is the quota of grants for a key.
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const maxGrants = 50000

// grantOperations are what a grant may allow.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
func grantOperations() []string {
	return []string{
		"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "Sign", "Verify", "GetPublicKey",
		"CreateGrant", "RetireGrant", "DescribeKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateMac", "VerifyMac", "DeriveSharedSecret",
	}
}

// grants are those of a key, by their ids.
func grants(tx *account.Tx, key string) []*account.Resource {
	var out []*account.Resource
	for _, g := range tx.List(TypeGrant) {
		if g.Owner == key {
			out = append(out, g)
		}
	}
	return out
}

// createGrant allows operations to one principal, until the grant is retired or
// revoked. A grant of the same name and content is answered again.
func createGrant(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	if k.Status != Enabled {
		return nil, account.Errorf("DisabledException", "%s is disabled.", ARN(k))
	}
	p := map[string]any{}
	for _, name := range []string{"GranteePrincipal", "RetiringPrincipal", "Name"} {
		if s := r.String(name); s != "" {
			p[name] = s
		}
	}
	for _, name := range []string{"GranteePrincipal", "RetiringPrincipal"} {
		if s := props.Str(p, name); s != "" && !iam.PrincipalExists(tx, s) && !iam.ServiceExists(s) {
			return nil, account.Errorf("InvalidArnException", "%s is not a valid principal", s)
		}
	}
	if p["GranteePrincipal"] == nil {
		return nil, account.Errorf("ValidationException", "1 validation error detected: Value null at 'granteePrincipal' failed to satisfy constraint: Member must not be null")
	}
	operations := r.Strings("Operations")
	if len(operations) == 0 {
		return nil, account.Errorf("ValidationException", "1 validation error detected: Value null at 'operations' failed to satisfy constraint: Member must not be null")
	}
	for _, o := range operations {
		if !slices.Contains(grantOperations(), o) {
			return nil, account.Errorf("ValidationException", "1 validation error detected: Value '[%s]' at 'operations' failed to satisfy constraint: Member must satisfy enum value set", o)
		}
	}
	p["Operations"] = props.List(operations)
	if c := props.Map(r.In, "Constraints"); c != nil {
		p["Constraints"] = account.Copy(c)
	}
	if r.Bool("DryRun", false) {
		return nil, account.Errorf("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	}
	for _, g := range grants(tx, k.ID) {
		if p["Name"] != nil && props.Same(g.Props, p) {
			return map[string]any{"GrantId": g.ID, "GrantToken": g.Data["token"]}, nil
		}
	}
	if len(grants(tx, k.ID)) >= maxGrants {
		return nil, account.Errorf("LimitExceededException", "The request was rejected because a quota was exceeded: grants per key %d", maxGrants)
	}
	text, err := grantPolicy(p, ARN(k))
	if err != nil {
		return nil, err
	}
	g := &account.Resource{
		Type: TypeGrant, ID: tx.HexID(64), Owner: k.ID, Props: p, Tags: map[string]string{},
		Data: map[string]any{"policy": text, "token": tx.HexID(128), "issuer": tx.GlobalARN("iam", "root")},
	}
	tx.Put(g)
	return map[string]any{"GrantId": g.ID, "GrantToken": g.Data["token"]}, nil
}

// grantPolicy says as a policy what a grant allows. Constraints are for the
// operations that have an encryption context.
func grantPolicy(p map[string]any, key string) (string, error) {
	kind := "AWS"
	grantee := props.Str(p, "GranteePrincipal")
	if !strings.HasPrefix(grantee, "arn:") {
		kind = "Service"
	}
	var plain, bound []string
	for _, o := range props.Strs(p, "Operations") {
		if slices.Contains([]string{"CreateGrant", "RetireGrant", "DescribeKey", "GetPublicKey", "Sign", "Verify", "GenerateMac", "VerifyMac", "DeriveSharedSecret"}, o) {
			plain = append(plain, "kms:"+o)
		} else {
			bound = append(bound, "kms:"+o)
		}
	}
	equals := map[string]any{}
	condition := map[string]any{}
	exact := props.Map(p, "Constraints", "EncryptionContextEquals")
	for k, v := range props.Map(p, "Constraints", "EncryptionContextSubset") {
		equals["kms:EncryptionContext:"+k] = v
	}
	for k, v := range exact {
		equals["kms:EncryptionContext:"+k] = v
	}
	if len(equals) > 0 {
		condition["StringEquals"] = equals
	}
	if len(exact) > 0 {
		condition["ForAllValues:StringEquals"] = map[string]any{"kms:EncryptionContextKeys": slices.Sorted(maps.Keys(exact))}
	}
	var statements []any
	for _, s := range []struct {
		actions   []string
		condition map[string]any
	}{{plain, nil}, {bound, condition}} {
		if len(s.actions) == 0 {
			continue
		}
		st := map[string]any{"Effect": "Allow", "Principal": map[string]any{kind: grantee}, "Action": s.actions, "Resource": key}
		if len(s.condition) > 0 {
			st["Condition"] = s.condition
		}
		statements = append(statements, st)
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return "", fmt.Errorf("word grant on %s: %w", key, err)
	}
	return string(b), nil
}

func grantView(tx *account.Tx, g *account.Resource) map[string]any {
	v := map[string]any{
		"GrantId": g.ID, "KeyId": tx.ARN("kms", "key/"+g.Owner), "CreationDate": g.Created, "IssuingAccount": g.Data["issuer"], "Name": props.Str(g.Props, "Name"),
	}
	for _, k := range []string{"GranteePrincipal", "RetiringPrincipal", "Operations", "Constraints"} {
		if g.Props[k] != nil {
			v[k] = g.Props[k]
		}
	}
	return v
}

func listGrants(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	items := []any{}
	for _, g := range grants(tx, k.ID) {
		if id := r.String("GrantId"); id != "" && id != g.ID {
			continue
		}
		if p := r.String("GranteePrincipal"); p != "" && p != props.Str(g.Props, "GranteePrincipal") {
			continue
		}
		items = append(items, grantView(tx, g))
	}
	return paged(r, "Grants", items, 50)
}

func listRetirableGrants(tx *account.Tx, r *wire.Request) (any, error) {
	who := r.String("RetiringPrincipal")
	if who == "" {
		return nil, account.Errorf("ValidationException", "1 validation error detected: Value null at 'retiringPrincipal' failed to satisfy constraint: Member must not be null")
	}
	items := []any{}
	for _, g := range tx.List(TypeGrant) {
		if props.Str(g.Props, "RetiringPrincipal") == who {
			items = append(items, grantView(tx, g))
		}
	}
	return paged(r, "Grants", items, 50)
}

func revokeGrant(tx *account.Tx, r *wire.Request, k *account.Resource) (any, error) {
	g := tx.Get(TypeGrant, r.String("GrantId"))
	if g == nil || g.Owner != k.ID {
		return nil, account.Errorf("NotFoundException", "Grant '%s' does not exist", r.String("GrantId"))
	}
	tx.Drop(TypeGrant, g.ID)
	return nil, nil
}

// retireGrant ends a grant in the name of its retiring principal, of its grantee
// if it allows that, or of the account that made it.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html
func retireGrant(tx *account.Tx, r *wire.Request) (any, error) {
	var g *account.Resource
	if token := r.String("GrantToken"); token != "" {
		g = tx.Find(TypeGrant, func(x *account.Resource) bool { return x.Data["token"] == token })
		if g == nil {
			return nil, account.Errorf("InvalidGrantTokenException", "The grant token is not valid")
		}
	} else {
		k, err := Lookup(tx, r.String("KeyId"))
		if err != nil {
			return nil, err
		}
		if g = tx.Get(TypeGrant, r.String("GrantId")); g == nil || g.Owner != k.ID {
			return nil, account.Errorf("NotFoundException", "Grant '%s' does not exist", r.String("GrantId"))
		}
	}
	who := iam.Ask(tx, asker(tx), "kms:RetireGrant", "", nil)
	is := func(p string) bool { return p != "" && (p == who.Principal || p == who.Role) }
	mayGrantee := slices.Contains(props.Strs(g.Props, "Operations"), "RetireGrant") && is(props.Str(g.Props, "GranteePrincipal"))
	if !is(props.Str(g.Props, "RetiringPrincipal")) && !mayGrantee && !is(tx.GlobalARN("iam", "root")) {
		key := tx.ARN("kms", "key/"+g.Owner)
		if refusal := iam.Permit(tx, tx.Caller, demand("kms:RetireGrant", key)); refusal != nil {
			return nil, refusal
		}
	}
	tx.Drop(TypeGrant, g.ID)
	return nil, nil
}
