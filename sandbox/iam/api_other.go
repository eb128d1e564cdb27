package iam

import (
	"slices"
	"strings"
	"time"

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
	for _, r := range slices.Concat(tx.List(TypeRole), tx.List(TypeUser)) {
		if contains(AttachedPolicies(tx, r), p.ID) {
			attached++
		}
		if props.Str(r.Props, "PermissionsBoundary") == p.ID {
			boundaries++
		}
	}
	updated := p.Created
	for _, v := range props.Maps(p.Data, versions) {
		if at, ok := v["created"].(time.Time); ok && at.After(updated) {
			updated = at
		}
	}
	v := map[string]any{
		"PolicyName": p.ID[strings.LastIndex(p.ID, "/")+1:], "Arn": p.ID, "PolicyId": p.Attrs["PolicyId"], "Path": pathOf(p), "DefaultVersionId": p.Attrs["DefaultVersionId"],
		"AttachmentCount": attached, "PermissionsBoundaryUsageCount": boundaries, "IsAttachable": true, "CreateDate": p.Created, "UpdateDate": updated,
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
	arn, id := r.String("PolicyArn"), r.String("VersionId")
	if rest, ok := strings.CutPrefix(arn, "arn:"+tx.Partition()+":iam::aws:policy/"); ok && PolicyExists(tx, arn) {
		text := awsText(rest)
		if text == "" || id != "v1" {
			return nil, account.NotModelled("the text of version %s of AWS's policy %s is not modelled by the sandbox", id, rest)
		}
		return map[string]any{"PolicyVersion": map[string]any{"VersionId": id, "IsDefaultVersion": true, "Document": encodeDocument(text)}}, nil
	}
	p, err := lookupPolicy(tx, arn)
	if err != nil {
		return nil, err
	}
	v := findVersion(p, id)
	if v == nil {
		return nil, noVersion(p, id)
	}
	text, err := policy.Text(v["document"])
	if err != nil {
		return nil, err
	}
	out := versionView(p, v)
	out["Document"] = encodeDocument(text)
	return map[string]any{"PolicyVersion": out}, nil
}

func noVersion(p *account.Resource, id string) error {
	return errorf("NoSuchEntity", "Policy %s version %s does not exist or is not attachable.", p.ID, id)
}

func versionView(p *account.Resource, v map[string]any) map[string]any {
	return map[string]any{"VersionId": v["id"], "IsDefaultVersion": v["id"] == p.Attrs["DefaultVersionId"], "CreateDate": v["created"]}
}

func listPolicyVersions(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := lookupPolicy(tx, r.String("PolicyArn"))
	if err != nil {
		return nil, err
	}
	var items []any
	for _, v := range props.Maps(p.Data, versions) {
		items = append(items, versionView(p, v))
	}
	// The newest comes first.
	slices.Reverse(items)
	return paged(r, "Versions", items)
}

func onPolicy(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		p, err := lookupPolicy(tx, r.String("PolicyArn"))
		if err != nil {
			return nil, err
		}
		r.Resource = p.ID
		return do(tx, r, p)
	}
}

func createPolicyVersion(tx *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	doc := r.String("PolicyDocument")
	next, _ := account.Copy(p.Props).(map[string]any)
	next["PolicyDocument"] = doc
	if err := checkManaged(tx, p.ID, next); err != nil {
		return nil, err
	}
	if len(props.Maps(p.Data, versions)) >= maxVersions {
		return nil, errorf("LimitExceeded", "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
	}
	id := addVersion(tx, p, doc)
	if r.Bool("SetAsDefault", false) {
		makeDefault(tx, p, id)
	}
	return map[string]any{"PolicyVersion": versionView(p, findVersion(p, id))}, nil
}

// makeDefault lets a version decide from now on.
func makeDefault(tx *account.Tx, p *account.Resource, id string) {
	before := p.Props
	next, _ := account.Copy(before).(map[string]any)
	next["PolicyDocument"] = findVersion(p, id)["document"]
	p.Props = next
	p.Attrs["DefaultVersionId"] = id
	spread(tx, p, before)
}

func setDefaultPolicyVersion(tx *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	id := r.String("VersionId")
	if findVersion(p, id) == nil {
		return nil, noVersion(p, id)
	}
	makeDefault(tx, p, id)
	return nil, nil
}

func deletePolicyVersion(_ *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	id := r.String("VersionId")
	switch {
	case findVersion(p, id) == nil:
		return nil, noVersion(p, id)
	case id == props.Str(p.Attrs, "DefaultVersionId"):
		return nil, errorf("DeleteConflict", "Cannot delete the default version of a policy.")
	}
	dropVersion(p, id)
	return nil, nil
}

// listEntitiesForPolicy shows who has a policy, as permissions or as boundary.
func listEntitiesForPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	arn := r.String("PolicyArn")
	if !PolicyExists(tx, arn) {
		return nil, errorf("NoSuchEntity", "Policy %s was not found.", arn)
	}
	has := func(e *account.Resource) bool {
		if r.String("PolicyUsageFilter") == "PermissionsBoundary" {
			return props.Str(e.Props, "PermissionsBoundary") == arn
		}
		return contains(AttachedPolicies(tx, e), arn)
	}
	out := map[string]any{"PolicyGroups": []any{}, "PolicyRoles": []any{}, "PolicyUsers": []any{}, "IsTruncated": false}
	for _, k := range []struct{ typ, list, kind, filter string }{{TypeRole, "PolicyRoles", "Role", "Role"}, {TypeUser, "PolicyUsers", "User", "User"}} {
		if f := r.String("EntityFilter"); f != "" && f != k.filter {
			continue
		}
		list := []any{}
		for _, e := range tx.List(k.typ) {
			if has(e) && strings.HasPrefix(pathOf(e), r.String("PathPrefix")) {
				list = append(list, map[string]any{k.kind + "Name": e.ID, k.kind + "Id": entityID(e)})
			}
		}
		out[k.list] = list
	}
	return out, nil
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
	if len(props.Strs(p.Props, "Roles"))+len(props.Strs(p.Props, "Users")) > 0 {
		return nil, errorf("DeleteConflict", "Cannot delete a policy attached to entities.")
	}
	if len(props.Maps(p.Data, versions)) > 1 {
		return nil, errorf("DeleteConflict", "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
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

// PolicyText is the text of a managed policy as it is seen. Errors are STS's.
func PolicyText(tx *account.Tx, arn string) (string, error) {
	if rest, ok := strings.CutPrefix(arn, "arn:"+tx.Partition()+":iam::aws:policy/"); ok && PolicyExists(tx, arn) {
		if text := awsText(rest); text != "" {
			return text, nil
		}
		return "", account.NotModelled("the text of AWS's policy %s is not modelled by the sandbox", rest)
	}
	p := tx.Get(TypeManagedPolicy, arn)
	if p == nil || seen(tx, p) == nil {
		return "", account.Errorf("ValidationError", "Policy %s does not exist or is not attachable.", arn)
	}
	return policy.Text(seen(tx, p)["PolicyDocument"])
}
