package iam

import (
	"net/url"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns IAM's API.
func Service() wire.Service {
	return wire.Service{
		Name: "iam", Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/", Protocol: wire.Query,
		Operations: append(userOperations(), []wire.Operation{
			{Name: "CreateRole", Do: apiCreateRole},
			{Name: "GetRole", Do: onRole(func(_ *account.Tx, _ *wire.Request, r *account.Resource) (any, error) {
				return map[string]any{"Role": roleView(r, true)}, nil
			})},
			{Name: "ListRoles", Do: listRoles},
			{Name: "UpdateRole", Do: onRole(updateRole)},
			{Name: "UpdateAssumeRolePolicy", Do: onRole(updateAssumeRolePolicy)},
			{Name: "DeleteRole", Do: onRole(apiDeleteRole)},
			{Name: "TagRole", Do: onRole(tagRole)},
			{Name: "UntagRole", Do: onRole(untagRole)},
			{Name: "ListRoleTags", Do: onRole(func(_ *account.Tx, _ *wire.Request, r *account.Resource) (any, error) {
				return map[string]any{"Tags": props.Pairs(r.Tags), "IsTruncated": false}, nil
			})},
			{Name: "PutRolePolicy", Do: onRole(putInline)},
			{Name: "GetRolePolicy", Do: onRole(getInline)},
			{Name: "DeleteRolePolicy", Do: onRole(deleteInline)},
			{Name: "ListRolePolicies", Do: onRole(listInline)},
			{Name: "AttachRolePolicy", Do: onRole(attach)},
			{Name: "DetachRolePolicy", Do: onRole(detach)},
			{Name: "ListAttachedRolePolicies", Do: onRole(listAttached)},
			{Name: "PutRolePermissionsBoundary", Do: onRole(func(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
				return nil, change(tx, role, func(p map[string]any) { p["PermissionsBoundary"] = r.String("PermissionsBoundary") })
			})},
			{Name: "DeleteRolePermissionsBoundary", Do: onRole(func(tx *account.Tx, _ *wire.Request, role *account.Resource) (any, error) {
				return nil, change(tx, role, func(p map[string]any) { delete(p, "PermissionsBoundary") })
			})},
			{Name: "CreateServiceLinkedRole", Do: apiCreateServiceLinkedRole},
			{Name: "DeleteServiceLinkedRole", Do: onRole(deleteServiceLinkedRole)},
			{Name: "GetServiceLinkedRoleDeletionStatus", Do: linkedRoleDeletion},

			{Name: "CreatePolicy", Do: createPolicy},
			{Name: "GetPolicy", Do: getPolicy},
			{Name: "GetPolicyVersion", Do: getPolicyVersion},
			{Name: "ListPolicyVersions", Do: listPolicyVersions},
			{Name: "ListPolicies", Do: listPolicies},
			{Name: "CreatePolicyVersion", Do: onPolicy(createPolicyVersion)},
			{Name: "SetDefaultPolicyVersion", Do: onPolicy(setDefaultPolicyVersion)},
			{Name: "DeletePolicyVersion", Do: onPolicy(deletePolicyVersion)},
			{Name: "ListEntitiesForPolicy", Do: listEntitiesForPolicy},
			{Name: "DeletePolicy", Do: deletePolicy},

			{Name: "CreateInstanceProfile", Do: createInstanceProfile},
			{Name: "GetInstanceProfile", Do: onProfile(func(tx *account.Tx, _ *wire.Request, p *account.Resource) (any, error) {
				return map[string]any{"InstanceProfile": profileView(tx, p)}, nil
			})},
			{Name: "ListInstanceProfiles", Do: listInstanceProfiles},
			{Name: "ListInstanceProfilesForRole", Do: onRole(listInstanceProfilesForRole)},
			{Name: "AddRoleToInstanceProfile", Do: onProfile(addRole)},
			{Name: "RemoveRoleFromInstanceProfile", Do: onProfile(removeRole)},
			{Name: "DeleteInstanceProfile", Do: onProfile(deleteInstanceProfile)},

			{Name: "CreateOpenIDConnectProvider", Do: createProvider},
			{Name: "GetOpenIDConnectProvider", Do: onOIDCProvider(getProvider)},
			{Name: "ListOpenIDConnectProviders", Do: listProviders},
			{Name: "AddClientIDToOpenIDConnectProvider", Do: onOIDCProvider(addClientID)},
			{Name: "RemoveClientIDFromOpenIDConnectProvider", Do: onOIDCProvider(removeClientID)},
			{Name: "UpdateOpenIDConnectProviderThumbprint", Do: onOIDCProvider(updateThumbprints)},
			{Name: "DeleteOpenIDConnectProvider", Do: onOIDCProvider(func(tx *account.Tx, _ *wire.Request, p *account.Resource) (any, error) { return nil, remove(tx, p) })},

			{Name: "SimulatePrincipalPolicy", Do: simulatePrincipal},
			{Name: "SimulateCustomPolicy", Do: simulateCustom},
		}...),
	}
}

type handler func(tx *account.Tx, r *wire.Request, on *account.Resource) (any, error)

func onRole(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		role := tx.Get(TypeRole, r.String("RoleName"))
		if role == nil {
			return nil, errorf("NoSuchEntity", "The role with name %s cannot be found.", r.String("RoleName"))
		}
		r.Resource = props.Str(role.Attrs, "Arn")
		return do(tx, r, role)
	}
}

func onProfile(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		p := tx.Get(TypeInstanceProfile, r.String("InstanceProfileName"))
		if p == nil {
			return nil, errorf("NoSuchEntity", "Instance Profile %s cannot be found.", r.String("InstanceProfileName"))
		}
		r.Resource = props.Str(p.Attrs, "Arn")
		return do(tx, r, p)
	}
}

func onOIDCProvider(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		arn := r.String("OpenIDConnectProviderArn")
		p := tx.Get(TypeOIDCProvider, arn)
		if p == nil {
			return nil, errorf("NoSuchEntity", "OpenIDConnect Provider not found for arn %s", arn)
		}
		r.Resource = arn
		return do(tx, r, p)
	}
}

// create makes a resource through its type at once: IAM's API answers when the
// entity is there.
func create(tx *account.Tx, typ string, p map[string]any) (*account.Resource, error) {
	for k, v := range p {
		if v == nil || v == "" {
			delete(p, k)
		}
	}
	r, _, err := tx.Create(typ, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	spread(tx, r, nil)
	return r, tx.Settle(r, "create")
}

// change updates a resource through its type.
func change(tx *account.Tx, r *account.Resource, edit func(p map[string]any)) error {
	before := r.Props
	next, _ := account.Copy(before).(map[string]any)
	edit(next)
	if _, err := tx.Update(r, next, false); err != nil {
		return err
	}
	spread(tx, r, before)
	return nil
}

func remove(tx *account.Tx, r *account.Resource) error {
	if _, err := tx.Delete(r, false); err != nil {
		return err
	}
	return tx.Settle(r, "delete")
}

func tags(r *wire.Request) []any { return props.Pairs(props.Tags(r.In, "Tags")) }

func apiCreateRole(tx *account.Tx, r *wire.Request) (any, error) {
	if r.String("RoleName") == "" {
		return nil, errorf("ValidationError", "1 validation error detected: Value null at 'roleName' failed to satisfy constraint: Member must not be null")
	}
	p := map[string]any{"Tags": tags(r)}
	for _, k := range []string{"RoleName", "Path", "AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "PermissionsBoundary"} {
		p[k] = r.String(k)
	}
	role, err := create(tx, TypeRole, p)
	if err != nil {
		return nil, err
	}
	r.Resource = props.Str(role.Attrs, "Arn")
	return map[string]any{"Role": roleView(role, false)}, nil
}

// roleView is a role as the API shows it; listings leave out some of it.
func roleView(r *account.Resource, full bool) map[string]any {
	doc, err := policy.Text(props.Get(r.Props, "AssumeRolePolicyDocument"))
	if err != nil {
		doc = ""
	}
	v := map[string]any{
		"RoleName": r.ID, "Arn": r.Attrs["Arn"], "RoleId": r.Attrs["RoleId"], "Path": pathOf(r), "CreateDate": r.Created,
		"AssumeRolePolicyDocument": encodeDocument(doc),
		"MaxSessionDuration":       props.Int(r.Props, 3600, "MaxSessionDuration"),
	}
	if d := props.Str(r.Props, "Description"); d != "" {
		v["Description"] = d
	}
	if full {
		v["Tags"] = props.Pairs(r.Tags)
		v["RoleLastUsed"] = map[string]any{}
		if b := props.Str(r.Props, "PermissionsBoundary"); b != "" {
			v["PermissionsBoundary"] = map[string]any{"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": b}
		}
	}
	return v
}

// encodeDocument: IAM answers documents percent-encoded (RFC 3986).
func encodeDocument(doc string) string {
	return strings.ReplaceAll(url.QueryEscape(doc), "+", "%20")
}

// paged cuts a listing as IAM does, by Marker and MaxItems.
func paged(r *wire.Request, name string, items []any) (any, error) {
	page, next, err := wire.Page(items, r.String("Marker"), r.Int("MaxItems", 100), "ValidationError")
	if err != nil {
		return nil, err
	}
	out := map[string]any{name: page, "IsTruncated": next != ""}
	if next != "" {
		out["Marker"] = next
	}
	return out, nil
}

func listRoles(tx *account.Tx, r *wire.Request) (any, error) {
	var items []any
	for _, role := range tx.List(TypeRole) {
		if strings.HasPrefix(pathOf(role), r.String("PathPrefix")) {
			items = append(items, roleView(role, false))
		}
	}
	return paged(r, "Roles", items)
}

func updateRole(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	return nil, change(tx, role, func(p map[string]any) {
		for _, k := range []string{"Description", "MaxSessionDuration"} {
			if r.Has(k) {
				p[k] = r.String(k)
			}
		}
	})
}

func updateAssumeRolePolicy(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	return nil, change(tx, role, func(p map[string]any) { p["AssumeRolePolicyDocument"] = r.String("PolicyDocument") })
}

func apiDeleteRole(tx *account.Tx, _ *wire.Request, role *account.Resource) (any, error) {
	if err := deleteRole(tx, role); err != nil {
		return nil, err
	}
	if len(AttachedPolicies(tx, role)) > 0 {
		return nil, errorf("DeleteConflict", "Cannot delete entity, must detach all policies first.")
	}
	if len(InlinePolicies(tx, role, role.Props)) > 0 {
		return nil, errorf("DeleteConflict", "Cannot delete entity, must delete policies first.")
	}
	return nil, remove(tx, role)
}

func tagRole(_ *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	if err := modifiable(role); err != nil {
		return nil, err
	}
	more := props.Tags(r.In, "Tags")
	if err := checkTags(more); err != nil {
		return nil, err
	}
	for k, v := range more {
		role.Tags[k] = v
	}
	return nil, nil
}

func untagRole(_ *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	if err := modifiable(role); err != nil {
		return nil, err
	}
	for _, k := range r.Strings("TagKeys") {
		delete(role.Tags, k)
	}
	return nil, nil
}

// otherInline are the inline policies of a role's properties but the named one.
func otherInline(p map[string]any, name string) (others []any) {
	for _, pol := range props.Maps(p, "Policies") {
		if props.Str(pol, "PolicyName") != name {
			others = append(others, pol)
		}
	}
	return others
}

func putInline(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	return nil, change(tx, role, func(p map[string]any) {
		others := otherInline(p, r.String("PolicyName"))
		p["Policies"] = append(others, map[string]any{"PolicyName": r.String("PolicyName"), "PolicyDocument": r.String("PolicyDocument")})
	})
}

func findInline(tx *account.Tx, of *account.Resource, r *wire.Request) (map[string]any, error) {
	for _, pol := range InlinePolicies(tx, of, of.Props) {
		if props.Str(pol, "PolicyName") == r.String("PolicyName") {
			return pol, nil
		}
	}
	return nil, errorf("NoSuchEntity", "The %s policy with name %s cannot be found.", kindName(of.Type), r.String("PolicyName"))
}

// kindName is what messages call a role or user, by its type.
func kindName(typ string) string {
	if typ == TypeUser {
		return "user"
	}
	return "role"
}

func getInline(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	pol, err := findInline(tx, role, r)
	if err != nil {
		return nil, err
	}
	text, err := policy.Text(pol["PolicyDocument"])
	if err != nil {
		return nil, err
	}
	member := "RoleName"
	if role.Type == TypeUser {
		member = "UserName"
	}
	return map[string]any{member: role.ID, "PolicyName": r.String("PolicyName"), "PolicyDocument": encodeDocument(text)}, nil
}

func deleteInline(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	if _, err := findInline(tx, role, r); err != nil {
		return nil, err
	}
	detachInline(tx, role, r.String("PolicyName"))
	return nil, change(tx, role, func(p map[string]any) { p["Policies"] = otherInline(p, r.String("PolicyName")) })
}

func listInline(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	var names []any
	for _, pol := range InlinePolicies(tx, role, role.Props) {
		names = append(names, props.Str(pol, "PolicyName"))
	}
	return paged(r, "PolicyNames", names)
}

func attach(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	arn := r.String("PolicyArn")
	if contains(AttachedPolicies(tx, role), arn) {
		return nil, nil
	}
	return nil, change(tx, role, func(p map[string]any) { p["ManagedPolicyArns"] = append(props.List(p, "ManagedPolicyArns"), arn) })
}

func detach(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	arn := r.String("PolicyArn")
	if !contains(AttachedPolicies(tx, role), arn) {
		return nil, errorf("NoSuchEntity", "Policy %s was not found.", arn)
	}
	if err := change(tx, role, func(p map[string]any) { p["ManagedPolicyArns"] = without(props.Strs(p, "ManagedPolicyArns"), arn) }); err != nil {
		return nil, err
	}
	list := "Roles"
	if role.Type == TypeUser {
		list = "Users"
	}
	if pol := tx.Get(TypeManagedPolicy, arn); pol != nil && contains(props.Strs(pol.Props, list), role.ID) {
		return nil, change(tx, pol, func(p map[string]any) { p[list] = without(props.Strs(p, list), role.ID) })
	}
	return nil, nil
}

func without(list []string, s string) []any {
	out := []any{}
	for _, x := range list {
		if x != s {
			out = append(out, x)
		}
	}
	return out
}

func listAttached(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	var items []any
	for _, arn := range AttachedPolicies(tx, role) {
		items = append(items, map[string]any{"PolicyArn": arn, "PolicyName": arn[strings.LastIndex(arn, "/")+1:]})
	}
	return paged(r, "AttachedPolicies", items)
}

func apiCreateServiceLinkedRole(tx *account.Tx, r *wire.Request) (any, error) {
	role, err := createServiceLinkedRole(tx, r.String("AWSServiceName"), r.String("CustomSuffix"), r.String("Description"))
	if err != nil {
		return nil, err
	}
	r.Resource = props.Str(role.Attrs, "Arn")
	return map[string]any{"Role": roleView(role, false)}, nil
}
