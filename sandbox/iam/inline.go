package iam

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// inlinePolicyType is CloudFormation's name for inline policies that a template
// writes apart from the roles that have them.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-policy.html
func inlinePolicyType() *account.Type {
	return &account.Type{
		Name: TypeInlinePolicy, Latency: "iam:role",
		Create: func(tx *account.Tx, r *account.Resource) error {
			if err := checkInlinePolicy(tx, r.Props); err != nil {
				return err
			}
			r.ID = tx.Name(r, 128)
			r.Attrs["Id"] = r.ID
			return nil
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error {
			return checkInlinePolicy(tx, next)
		},
	}
}

// holders are the properties of an inline policy that name who has it, by
// the holder's type.
func holders(typ string) string {
	if typ == TypeUser {
		return "Users"
	}
	return "Roles"
}

func checkInlinePolicy(tx *account.Tx, p map[string]any) error {
	if err := account.Unmodelled(TypeInlinePolicy, p, "Groups"); err != nil {
		return err
	}
	if err := checkName("policyName", props.Str(p, "PolicyName"), "", 128); err != nil {
		return err
	}
	if len(props.Strs(p, "Roles"))+len(props.Strs(p, "Users")) == 0 {
		return errorf("ValidationError", "At least one of [Groups,Roles,Users] must be non-empty.")
	}
	if _, err := checkDocument(p["PolicyDocument"], policy.Identity); err != nil {
		return err
	}
	for _, typ := range []string{TypeRole, TypeUser} {
		for _, name := range props.Strs(p, holders(typ)) {
			holder := tx.Get(typ, name)
			if holder == nil {
				return errorf("NoSuchEntity", "The %s with name %s cannot be found.", kindName(typ), name)
			}
			if err := modifiable(holder); err != nil {
				return err
			}
		}
	}
	return nil
}

// InlinePolicies are the inline policies of a role or user with the properties
// p, as its property Policies has them, wherever they were written.
func InlinePolicies(tx *account.Tx, of *account.Resource, p map[string]any) []map[string]any {
	out := props.Maps(p, "Policies")
	for _, x := range tx.List(TypeInlinePolicy) {
		if slices.Contains(props.Strs(x.Props, holders(of.Type)), of.ID) {
			out = append(slices.Clip(out), x.Props)
		}
	}
	return out
}

// detachInline takes the named policy, written apart from the role or user, off
// it.
func detachInline(tx *account.Tx, of *account.Resource, name string) {
	key := holders(of.Type)
	for _, x := range tx.List(TypeInlinePolicy) {
		if props.Str(x.Props, "PolicyName") != name || !slices.Contains(props.Strs(x.Props, key), of.ID) {
			continue
		}
		next, _ := account.Copy(x.Props).(map[string]any)
		next[key] = without(props.Strs(x.Props, key), of.ID)
		if x.Props = next; len(props.Strs(next, "Roles"))+len(props.Strs(next, "Users")) == 0 {
			tx.Drop(x.Type, x.ID)
		}
	}
}
