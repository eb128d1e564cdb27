package eks

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// set copies members of a request into properties, whose names begin with a
// capital.
func set(r *wire.Request, p map[string]any, names ...string) {
	for _, k := range names {
		if v, ok := r.In[k]; ok {
			p[strings.ToUpper(k[:1])+k[1:]] = properties(v)
		}
	}
}

func apiCreateNodegroup(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{"ClusterName": r.String("name"), "Tags": props.Pairs(r.Tags("tags"))}
	set(r, p, "nodegroupName", "nodeRole", "subnets", "amiType", "capacityType", "diskSize", "instanceTypes", "launchTemplate", "scalingConfig", "updateConfig", "taints", "version", "releaseVersion", "remoteAccess", "nodeRepairConfig")
	if l := r.Map("labels"); l != nil {
		p["Labels"] = l
	}
	if r.Has("warmPoolConfig") {
		return nil, account.NotModelled("warmPoolConfig of CreateNodegroup is not modelled by the sandbox")
	}
	n, _, err := tx.Create(TypeNodegroup, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	r.Resource = props.Str(n.Attrs, "Arn")
	return map[string]any{"nodegroup": nodegroupOut(tx, n)}, nil
}

// changeNodegroup updates a node group and answers its update.
func changeNodegroup(tx *account.Tx, n *account.Resource, next map[string]any) (any, error) {
	before := len(props.List(n.Data, "updates"))
	if _, err := tx.Update(n, next, true); err != nil {
		return nil, err
	}
	updates := props.Maps(n.Data, "updates")
	if len(updates) == before {
		return nil, invalid("No changes needed for the node group: it is already at the desired configuration")
	}
	return map[string]any{"update": updates[len(updates)-1]}, nil
}

func updateNodegroupConfig(tx *account.Tx, r *wire.Request) (any, error) {
	n, err := nodegroup(tx, r)
	if err != nil {
		return nil, err
	}
	for k := range r.In {
		if !slices.Contains([]string{"name", "nodegroupName", "scalingConfig", "labels", "taints", "updateConfig", "nodeRepairConfig", "clientRequestToken"}, k) {
			return nil, account.NotModelled("%s of UpdateNodegroupConfig is not modelled by the sandbox", k)
		}
	}
	next, _ := account.Copy(present(tx, n)).(map[string]any)
	if r.Has("scalingConfig") {
		config := map[string]any{}
		maps.Copy(config, props.Map(next, "ScalingConfig"))
		to, _ := properties(r.In["scalingConfig"]).(map[string]any)
		maps.Copy(config, to)
		next["ScalingConfig"] = config
	}
	set(r, next, "updateConfig", "nodeRepairConfig")
	if change := r.Map("labels"); change != nil {
		labels := map[string]any{}
		maps.Copy(labels, props.Map(next, "Labels"))
		maps.Copy(labels, props.Map(change, "addOrUpdateLabels"))
		for _, k := range props.Strs(change, "removeLabels") {
			delete(labels, k)
		}
		next["Labels"] = labels
	}
	if change := r.Map("taints"); change != nil {
		changed := append(props.Maps(change, "addOrUpdateTaints"), props.Maps(change, "removeTaints")...)
		taints := []any{}
		for _, t := range props.Maps(next, "Taints") {
			if !slices.ContainsFunc(changed, func(c map[string]any) bool {
				return props.Str(c, "key") == props.Str(t, "Key") && props.Str(c, "effect") == props.Str(t, "Effect")
			}) {
				taints = append(taints, t)
			}
		}
		next["Taints"] = append(taints, props.List(properties(props.List(change, "addOrUpdateTaints")))...)
	}
	return changeNodegroup(tx, n, next)
}

// updateNodegroupVersion replaces the nodes by those of another Kubernetes
// version, release or version of the launch template; by the newest release if
// the request names none.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateNodegroupVersion.html
func updateNodegroupVersion(tx *account.Tx, r *wire.Request) (any, error) {
	n, err := nodegroup(tx, r)
	if err != nil {
		return nil, err
	}
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(present(tx, n)).(map[string]any)
	custom := props.Str(n.Data, "amiType") == "CUSTOM"
	if custom && (r.Has("version") || r.Has("releaseVersion")) {
		return nil, invalid("You cannot specify the field kubernetesVersion or releaseVersion when using custom AMIs.")
	}
	if !custom {
		delete(next, "ReleaseVersion")
		next["Version"] = c.Data["version"]
		set(r, next, "version", "releaseVersion")
		if !r.Has("releaseVersion") {
			k, _ := known(props.Str(next, "Version"))
			next["ReleaseVersion"] = k.patch + "-" + tx.Now().UTC().Format("20060102")
		}
	}
	if r.Has("launchTemplate") {
		to, _ := properties(r.In["launchTemplate"]).(map[string]any)
		next["LaunchTemplate"] = to
	}
	return changeNodegroup(tx, n, next)
}

func apiCreateAddon(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{"ClusterName": r.String("name"), "Tags": props.Pairs(r.Tags("tags"))}
	set(r, p, "addonName", "addonVersion", "configurationValues", "resolveConflicts", "serviceAccountRoleArn", "podIdentityAssociations")
	if r.Has("namespaceConfig") {
		return nil, account.NotModelled("namespaceConfig of CreateAddon is not modelled by the sandbox")
	}
	a, _, err := tx.Create(TypeAddon, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	r.Resource = props.Str(a.Attrs, "Arn")
	return map[string]any{"addon": addonOut(a)}, nil
}

func apiUpdateAccessEntry(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := entry(tx, r)
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(e.Props).(map[string]any)
	set(r, next, "kubernetesGroups", "username")
	if _, err := tx.Update(e, next, false); err != nil {
		return nil, err
	}
	return map[string]any{"accessEntry": entryOut(e)}, tx.Settle(e, "update")
}

func associateEncryption(tx *account.Tx, r *wire.Request) (any, error) {
	return changeCluster(tx, r, func(next map[string]any) { set(r, next, "encryptionConfig") })
}

// tagged finds what an ARN of EKS names, or nil.
func tagged(tx *account.Tx, arn string) *account.Resource {
	for _, t := range []string{TypeCluster, TypeNodegroup, TypeAddon, TypeAccessEntry} {
		if x := tx.Find(t, func(x *account.Resource) bool {
			return props.Str(x.Attrs, "Arn") == arn || props.Str(x.Attrs, "AccessEntryArn") == arn
		}); x != nil {
			return x
		}
	}
	return nil
}

func onTagged(do func(*wire.Request, *account.Resource) any) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		x := tagged(tx, r.String("resourceArn"))
		if x == nil {
			return nil, &account.Error{Code: "NotFoundException", Message: "The specified resource could not be found", Status: 404}
		}
		if x.Tags == nil {
			x.Tags = map[string]string{}
		}
		return do(r, x), nil
	}
}

func listTags(_ *wire.Request, x *account.Resource) any { return map[string]any{"tags": x.Tags} }

func tag(r *wire.Request, x *account.Resource) any {
	maps.Copy(x.Tags, r.Tags("tags"))
	return map[string]any{}
}

func untag(r *wire.Request, x *account.Resource) any {
	for _, k := range r.Strings("tagKeys") {
		delete(x.Tags, k)
	}
	return map[string]any{}
}
