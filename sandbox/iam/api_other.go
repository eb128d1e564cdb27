package iam

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func createPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := create(tx, TypeManagedPolicy, map[string]any{
		"ManagedPolicyName": r.String("PolicyName"), "Path": r.String("Path"), "Description": r.String("Description"), "PolicyDocument": r.String("PolicyDocument"),
	})
	if err != nil {
		return nil, err
	}
	for k, v := range props.Tags(r.In, "Tags") {
		p.Tags[k] = v
	}
	r.Resource = p.ID
	return map[string]any{"Policy": policyView(tx, p)}, nil
}

func policyView(tx *account.Tx, p *account.Resource) map[string]any {
	attached, boundaries := 0, 0
	for _, role := range tx.List(TypeRole) {
		if contains(AttachedPolicies(tx, role), p.ID) {
			attached++
		}
		if props.Str(role.Props, "PermissionsBoundary") == p.ID {
			boundaries++
		}
	}
	v := map[string]any{
		"PolicyName": p.ID[strings.LastIndex(p.ID, "/")+1:], "Arn": p.ID, "PolicyId": p.Attrs["PolicyId"], "Path": pathOf(p), "DefaultVersionId": "v1",
		"AttachmentCount": attached, "PermissionsBoundaryUsageCount": boundaries, "IsAttachable": true, "CreateDate": p.Created, "UpdateDate": p.Created,
		"Tags": props.Pairs(p.Tags),
	}
	if d := props.Str(p.Props, "Description"); d != "" {
		v["Description"] = d
	}
	return v
}

// lookupPolicy finds a policy of this account; AWS's own are known by name
// only.
func lookupPolicy(tx *account.Tx, arn string) (*account.Resource, error) {
	if p := tx.Get(TypeManagedPolicy, arn); p != nil {
		return p, nil
	}
	return nil, errorf("NoSuchEntity", "Policy %s was not found.", arn)
}

func getPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	arn := r.String("PolicyArn")
	if strings.Contains(arn, ":iam::aws:policy/") && PolicyExists(tx, arn) {
		return map[string]any{"Policy": map[string]any{"PolicyName": arn[strings.LastIndex(arn, "/")+1:], "Arn": arn, "DefaultVersionId": "v1", "IsAttachable": true}}, nil
	}
	p, err := lookupPolicy(tx, arn)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Policy": policyView(tx, p)}, nil
}

func getPolicyVersion(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := lookupPolicy(tx, r.String("PolicyArn"))
	if err != nil {
		return nil, err
	}
	if v := r.String("VersionId"); v != "v1" {
		return nil, errorf("NoSuchEntity", "Policy %s version %s does not exist or is not attachable.", p.ID, v)
	}
	text, err := policy.Text(p.Props["PolicyDocument"])
	if err != nil {
		return nil, err
	}
	return map[string]any{"PolicyVersion": map[string]any{"VersionId": "v1", "IsDefaultVersion": true, "CreateDate": p.Created, "Document": encodeDocument(text)}}, nil
}

func listPolicyVersions(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := lookupPolicy(tx, r.String("PolicyArn"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"Versions": []any{map[string]any{"VersionId": "v1", "IsDefaultVersion": true, "CreateDate": p.Created}}, "IsTruncated": false}, nil
}

func listPolicies(tx *account.Tx, r *wire.Request) (any, error) {
	if s := r.String("Scope"); s != "Local" {
		return nil, account.NotModelled("ListPolicies is modelled by the sandbox with the scope Local only")
	}
	var items []any
	for _, p := range tx.List(TypeManagedPolicy) {
		if strings.HasPrefix(pathOf(p), r.String("PathPrefix")) {
			items = append(items, policyView(tx, p))
		}
	}
	return paged(r, "Policies", items)
}

func deletePolicy(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := lookupPolicy(tx, r.String("PolicyArn"))
	if err != nil {
		return nil, err
	}
	if len(props.Strs(p.Props, "Roles")) > 0 {
		return nil, errorf("DeleteConflict", "Cannot delete a policy attached to entities.")
	}
	r.Resource = p.ID
	return nil, remove(tx, p)
}

func createInstanceProfile(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := create(tx, TypeInstanceProfile, map[string]any{"InstanceProfileName": r.String("InstanceProfileName"), "Path": r.String("Path")})
	if err != nil {
		return nil, err
	}
	for k, v := range props.Tags(r.In, "Tags") {
		p.Tags[k] = v
	}
	r.Resource = props.Str(p.Attrs, "Arn")
	return map[string]any{"InstanceProfile": profileView(tx, p)}, nil
}

func profileView(tx *account.Tx, p *account.Resource) map[string]any {
	roles := []any{}
	for _, name := range props.Strs(p.Props, "Roles") {
		if role := tx.Get(TypeRole, name); role != nil {
			roles = append(roles, roleView(role, false))
		}
	}
	return map[string]any{
		"InstanceProfileName": p.ID, "InstanceProfileId": p.Data["InstanceProfileId"], "Arn": p.Attrs["Arn"], "Path": pathOf(p),
		"CreateDate": p.Created, "Roles": roles, "Tags": props.Pairs(p.Tags),
	}
}

func listInstanceProfiles(tx *account.Tx, r *wire.Request) (any, error) {
	var items []any
	for _, p := range tx.List(TypeInstanceProfile) {
		if strings.HasPrefix(pathOf(p), r.String("PathPrefix")) {
			items = append(items, profileView(tx, p))
		}
	}
	return paged(r, "InstanceProfiles", items)
}

func listInstanceProfilesForRole(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	var items []any
	for _, p := range tx.List(TypeInstanceProfile) {
		if contains(props.Strs(p.Props, "Roles"), role.ID) {
			items = append(items, profileView(tx, p))
		}
	}
	return paged(r, "InstanceProfiles", items)
}

func addRole(tx *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	return nil, change(tx, p, func(next map[string]any) { next["Roles"] = append(props.List(next, "Roles"), r.String("RoleName")) })
}

func removeRole(tx *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	name := r.String("RoleName")
	if !contains(props.Strs(p.Props, "Roles"), name) {
		return nil, errorf("NoSuchEntity", "The role with name %s cannot be found.", name)
	}
	return nil, change(tx, p, func(next map[string]any) { next["Roles"] = without(props.Strs(next, "Roles"), name) })
}

func deleteInstanceProfile(tx *account.Tx, _ *wire.Request, p *account.Resource) (any, error) {
	if len(props.Strs(p.Props, "Roles")) > 0 {
		return nil, errorf("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
	}
	return nil, remove(tx, p)
}

func createProvider(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := create(tx, TypeOIDCProvider, map[string]any{
		"Url": r.String("Url"), "ClientIdList": r.In["ClientIDList"], "ThumbprintList": r.In["ThumbprintList"], "Tags": tags(r),
	})
	if err != nil {
		return nil, err
	}
	r.Resource = p.ID
	return map[string]any{"OpenIDConnectProviderArn": p.ID, "Tags": props.Pairs(p.Tags)}, nil
}

func getProvider(_ *account.Tx, _ *wire.Request, p *account.Resource) (any, error) {
	// AWS answers the URL without its scheme.
	return map[string]any{
		"Url": strings.TrimPrefix(props.Str(p.Props, "Url"), "https://"), "ClientIDList": props.Strs(p.Props, "ClientIdList"),
		"ThumbprintList": props.Strs(p.Props, "ThumbprintList"), "CreateDate": p.Created, "Tags": props.Pairs(p.Tags),
	}, nil
}

// addClientID registers an audience. It is idempotent, as is removing one.
func addClientID(tx *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	id := r.String("ClientID")
	if contains(props.Strs(p.Props, "ClientIdList"), id) {
		return nil, nil
	}
	return nil, change(tx, p, func(next map[string]any) { next["ClientIdList"] = append(props.List(next, "ClientIdList"), id) })
}

func removeClientID(tx *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	return nil, change(tx, p, func(next map[string]any) {
		next["ClientIdList"] = without(props.Strs(next, "ClientIdList"), r.String("ClientID"))
	})
}

func listProviders(tx *account.Tx, _ *wire.Request) (any, error) {
	var items []any
	for _, p := range tx.List(TypeOIDCProvider) {
		items = append(items, map[string]any{"Arn": p.ID})
	}
	return map[string]any{"OpenIDConnectProviderList": items}, nil
}
