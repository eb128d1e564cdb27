package eks

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns the API of Amazon EKS as far as it is modelled.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Operations.html
func Service() wire.Service {
	const one = "/clusters/{name}"
	op := func(name, method, path string, do func(*account.Tx, *wire.Request) (any, error)) wire.Operation {
		return wire.Operation{Name: name, Method: method, Path: path, Do: do}
	}
	return wire.Service{Name: "eks", Version: "2017-11-01", Protocol: wire.RestJSON, Operations: []wire.Operation{
		op("CreateCluster", "POST", "/clusters", apiCreateCluster),
		op("ListClusters", "GET", "/clusters", listClusters),
		op("DescribeCluster", "GET", one, describeCluster),
		op("UpdateClusterConfig", "POST", one+"/update-config", updateClusterConfig),
		op("UpdateClusterVersion", "POST", one+"/updates", updateClusterVersion),
		op("DeleteCluster", "DELETE", one, apiDeleteCluster),
		op("ListUpdates", "GET", one+"/updates", listUpdates),
		op("DescribeUpdate", "GET", one+"/updates/{updateId}", describeUpdate),
		op("CreateNodegroup", "POST", one+"/node-groups", apiCreateNodegroup),
		op("ListNodegroups", "GET", one+"/node-groups", listNodegroups),
		op("UpdateNodegroupVersion", "POST", one+"/node-groups/{nodegroupName}/update-version", updateNodegroupVersion),
		op("AssociateEncryptionConfig", "POST", one+"/encryption-config/associate", associateEncryption),
		op("CreateAddon", "POST", one+"/addons", apiCreateAddon),
		op("UpdateAccessEntry", "POST", one+"/access-entries/{principalArn}", apiUpdateAccessEntry),
		op("DescribeNodegroup", "GET", one+"/node-groups/{nodegroupName}", describeNodegroup),
		op("UpdateNodegroupConfig", "POST", one+"/node-groups/{nodegroupName}/update-config", updateNodegroupConfig),
		op("DeleteNodegroup", "DELETE", one+"/node-groups/{nodegroupName}", apiDeleteNodegroup),
		op("ListAddons", "GET", one+"/addons", listAddons),
		op("DescribeAddon", "GET", one+"/addons/{addonName}", describeAddon),
		op("UpdateAddon", "POST", one+"/addons/{addonName}/update", apiUpdateAddon),
		op("DeleteAddon", "DELETE", one+"/addons/{addonName}", apiDeleteAddon),
		op("DescribeAddonVersions", "GET", "/addons/supported-versions", describeAddonVersions),
		op("DescribeClusterVersions", "GET", "/cluster-versions", describeClusterVersions),
		op("ListInsights", "POST", one+"/insights", listInsights),
		op("DescribeInsight", "GET", one+"/insights/{id}", describeInsight),
		op("CreateAccessEntry", "POST", one+"/access-entries", apiCreateAccessEntry),
		op("ListAccessEntries", "GET", one+"/access-entries", listAccessEntries),
		op("DescribeAccessEntry", "GET", one+"/access-entries/{principalArn}", describeAccessEntry),
		op("DeleteAccessEntry", "DELETE", one+"/access-entries/{principalArn}", apiDeleteAccessEntry),
		op("AssociateAccessPolicy", "POST", one+"/access-entries/{principalArn}/access-policies", associatePolicy),
		op("DisassociateAccessPolicy", "DELETE", one+"/access-entries/{principalArn}/access-policies/{policyArn}", disassociatePolicy),
		op("ListAssociatedAccessPolicies", "GET", one+"/access-entries/{principalArn}/access-policies", listAssociatedPolicies),
		op("ListAccessPolicies", "GET", "/access-policies", listPolicies),
		op("AssociateIdentityProviderConfig", "POST", one+"/identity-provider-configs/associate", associateIdentityProvider),
		op("ListIdentityProviderConfigs", "GET", one+"/identity-provider-configs", listIdentityProviders),
		op("DescribeIdentityProviderConfig", "POST", one+"/identity-provider-configs/describe", describeIdentityProvider),
		op("DisassociateIdentityProviderConfig", "POST", one+"/identity-provider-configs/disassociate", disassociateIdentityProvider),
		op("ListTagsForResource", "GET", "/tags/{resourceArn}", onTagged(listTags)),
		op("TagResource", "POST", "/tags/{resourceArn}", onTagged(tag)),
		op("UntagResource", "DELETE", "/tags/{resourceArn}", onTagged(untag)),
	}}
}

// properties turns API members into CloudFormation's: their names begin with
// a capital.
func properties(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[strings.ToUpper(k[:1])+k[1:]] = properties(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = properties(x)
		}
		return l
	}
	return v
}

// members turns CloudFormation's properties into API members.
func members(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[strings.ToLower(k[:1])+k[1:]] = members(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = members(x)
		}
		return l
	}
	return v
}

// fromAPI makes cluster properties of a request's members.
func fromAPI(in map[string]any, into map[string]any) {
	for _, k := range []string{"roleArn", "version", "resourcesVpcConfig", "kubernetesNetworkConfig", "encryptionConfig", "accessConfig", "upgradePolicy", "deletionProtection", "zonalShiftConfig", "bootstrapSelfManagedAddons", "computeConfig", "storageConfig", "remoteNetworkConfig", "controlPlaneScalingConfig", "outpostConfig"} {
		v, ok := in[k]
		if !ok {
			continue
		}
		key := strings.ToUpper(k[:1]) + k[1:]
		next, old := properties(v), props.Map(into, key)
		// A structure changes only the members it names.
		if m, ok := next.(map[string]any); ok && old != nil {
			merged, _ := account.Copy(old).(map[string]any)
			for mk, mv := range m {
				merged[mk] = mv
			}
			next = merged
		}
		into[key] = next
	}
	if setups := props.Maps(in, "logging", "clusterLogging"); setups != nil {
		on := loggingOf(into)
		for _, s := range setups {
			for _, t := range props.Strs(s, "types") {
				on = slices.DeleteFunc(on, func(x string) bool { return x == t })
				if props.Bool(s, false, "enabled") {
					on = append(on, t)
				}
			}
		}
		slices.Sort(on)
		types := []any{}
		for _, t := range on {
			types = append(types, map[string]any{"Type": t})
		}
		into["Logging"] = map[string]any{"ClusterLogging": map[string]any{"EnabledTypes": types}}
	}
}

func apiCreateCluster(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{"Name": r.String("name"), "Tags": props.Pairs(r.Tags("tags"))}
	fromAPI(r.In, p)
	c, _, err := tx.Create(TypeCluster, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	return map[string]any{"cluster": clusterOut(tx, c)}, nil
}

func listClusters(tx *account.Tx, r *wire.Request) (any, error) {
	var names []string
	for _, c := range tx.List(TypeCluster) {
		names = append(names, c.ID)
	}
	return page(r, "clusters", names)
}

// page cuts a page of a listing as the request asks for it.
func page[T any](r *wire.Request, key string, items []T) (any, error) {
	code := "InvalidParameterException"
	switch r.Operation {
	case "ListAssociatedAccessPolicies":
		code = "InvalidRequestException"
	case "ListAccessPolicies":
		// Its own errors are the server's only.
		code = "ValidationException"
	}
	items, next, err := wire.Page(items, r.String("nextToken"), r.Int("maxResults", 100), code)
	if err != nil {
		return nil, err
	}
	if items == nil {
		items = []T{}
	}
	out := map[string]any{key: items}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

func describeCluster(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"cluster": clusterOut(tx, c)}, nil
}

func clusterOut(tx *account.Tx, c *account.Resource) map[string]any {
	p := c.Props
	config := props.Map(p, "ResourcesVpcConfig")
	cidrs := props.Strs(config, "PublicAccessCidrs")
	public := props.Bool(config, true, "EndpointPublicAccess")
	if public && len(cidrs) == 0 {
		cidrs = []string{"0.0.0.0/0"}
	}
	on := loggingOf(p)
	off := slices.DeleteFunc(slices.Clone(logTypes), func(t string) bool { return slices.Contains(on, t) })
	logs := []any{}
	if len(on) > 0 {
		logs = append(logs, map[string]any{"types": props.List(on), "enabled": true})
	}
	if len(off) > 0 {
		logs = append(logs, map[string]any{"types": props.List(off), "enabled": false})
	}
	support := supportOf(p)
	out := map[string]any{
		"name": c.ID, "arn": c.Attrs["Arn"], "createdAt": c.Created, "version": c.Data["version"], "status": c.Status,
		"roleArn": props.Str(p, "RoleArn"), "platformVersion": "eks.1", "tags": c.Tags, "id": nil,
		"resourcesVpcConfig": map[string]any{
			"subnetIds": props.List(props.Strs(config, "SubnetIds")), "securityGroupIds": props.List(props.Strs(config, "SecurityGroupIds")),
			"clusterSecurityGroupId": c.Attrs["ClusterSecurityGroupId"], "vpcId": c.Data["vpc"],
			"endpointPublicAccess": public, "endpointPrivateAccess": props.Bool(config, false, "EndpointPrivateAccess"),
			"publicAccessCidrs": props.List(cidrs),
		},
		"kubernetesNetworkConfig": map[string]any{"serviceIpv4Cidr": c.Attrs["KubernetesNetworkConfig.ServiceIpv4Cidr"], "ipFamily": "ipv4", "elasticLoadBalancing": map[string]any{"enabled": false}},
		"logging":                 map[string]any{"clusterLogging": logs},
		"accessConfig":            map[string]any{"authenticationMode": modeOf(p)},
		"upgradePolicy":           map[string]any{"supportType": support},
		"zonalShiftConfig":        map[string]any{"enabled": props.Bool(p, false, "ZonalShiftConfig", "Enabled")},
		"deletionProtection":      props.Bool(p, false, "DeletionProtection"),
		"health":                  map[string]any{"issues": clusterIssues(tx, c)},
	}
	delete(out, "id")
	if e := props.List(p, "EncryptionConfig"); len(e) > 0 {
		out["encryptionConfig"] = members(e)
	}
	// Until it is up, a cluster has no endpoint.
	if c.Status != "CREATING" {
		out["endpoint"] = c.Attrs["Endpoint"]
		out["certificateAuthority"] = map[string]any{"data": c.Attrs["CertificateAuthorityData"]}
		out["identity"] = map[string]any{"oidc": map[string]any{"issuer": c.Attrs["OpenIdConnectIssuerUrl"]}}
	}
	return out
}

func updateClusterConfig(tx *account.Tx, r *wire.Request) (any, error) {
	return changeCluster(tx, r, func(next map[string]any) { fromAPI(r.In, next) })
}

func updateClusterVersion(tx *account.Tx, r *wire.Request) (any, error) {
	return changeCluster(tx, r, func(next map[string]any) { next["Version"] = r.String("version") })
}

func changeCluster(tx *account.Tx, r *wire.Request, change func(next map[string]any)) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(c.Props).(map[string]any)
	change(next)
	if len(kinds(c.Props, next)) == 0 {
		return nil, invalid("No changes needed for the cluster: it is already at the desired configuration")
	}
	if _, err := tx.Update(c, next, true); err != nil {
		return nil, err
	}
	updates := props.Maps(c.Data, "updates")
	return map[string]any{"update": updates[len(updates)-1]}, nil
}

func apiDeleteCluster(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	if c.Status != "DELETING" {
		if _, err := tx.Delete(c, true); err != nil {
			return nil, err
		}
	}
	return map[string]any{"cluster": clusterOut(tx, c)}, nil
}

// updated finds what an update request is about: an add-on, a node group or
// the cluster.
func updated(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	c, err := cluster(tx, r.String("name"))
	switch {
	case err != nil:
		return nil, err
	case r.String("nodegroupName") != "":
		return nodegroup(tx, r)
	case r.String("addonName") != "":
		return installed(tx, r)
	}
	return c, nil
}

func listUpdates(tx *account.Tx, r *wire.Request) (any, error) {
	x, err := updated(tx, r)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, u := range props.Maps(x.Data, "updates") {
		ids = append(ids, props.Str(u, "id"))
	}
	return page(r, "updateIds", ids)
}

func describeUpdate(tx *account.Tx, r *wire.Request) (any, error) {
	x, err := updated(tx, r)
	if err != nil {
		return nil, err
	}
	for _, u := range props.Maps(x.Data, "updates") {
		if props.Str(u, "id") == r.String("updateId") {
			return map[string]any{"update": u}, nil
		}
	}
	return nil, notFound("No update found for ID: %s", r.String("updateId"))
}

func listNodegroups(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range nodegroups(tx, c.ID) {
		names = append(names, nodegroupName(n))
	}
	return page(r, "nodegroups", names)
}

func nodegroup(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	if n := tx.Get(TypeNodegroup, c.ID+"/"+r.String("nodegroupName")); n != nil {
		return n, nil
	}
	return nil, notFound("No node group found for name: %s.", r.String("nodegroupName"))
}

func describeNodegroup(tx *account.Tx, r *wire.Request) (any, error) {
	n, err := nodegroup(tx, r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"nodegroup": nodegroupOut(tx, n)}, nil
}

func nodegroupOut(tx *account.Tx, n *account.Resource) map[string]any {
	p := present(tx, n)
	minimum, desired, maximum := scaling(p)
	status, issues := nodegroupHealth(tx, n)
	out := map[string]any{
		"nodegroupName": nodegroupName(n), "nodegroupArn": n.Attrs["Arn"], "clusterName": props.Str(p, "ClusterName"),
		"version": n.Data["version"], "releaseVersion": n.Data["release"], "createdAt": n.Created, "modifiedAt": n.Data["modified"],
		"status": status, "capacityType": capacityType(p), "amiType": n.Data["amiType"], "nodeRole": props.Str(p, "NodeRole"),
		"scalingConfig": map[string]any{"minSize": minimum, "maxSize": maximum, "desiredSize": desired},
		"subnets":       props.List(props.Strs(p, "Subnets")), "tags": n.Tags,
		"labels":       map[string]any{},
		"updateConfig": map[string]any{"maxUnavailable": 1},
		"resources":    map[string]any{"autoScalingGroups": []any{map[string]any{"name": n.Data["asg"]}}},
		"health":       map[string]any{"issues": append([]any{}, issues...)},
	}
	if l := props.Map(p, "Labels"); l != nil {
		out["labels"] = l
	}
	if t := props.List(p, "Taints"); len(t) > 0 {
		out["taints"] = members(t)
	}
	if u := props.Map(p, "UpdateConfig"); u != nil {
		out["updateConfig"] = members(u)
	}
	for k, v := range map[string]string{"nodeRepairConfig": "NodeRepairConfig", "remoteAccess": "RemoteAccess"} {
		if c := props.Map(p, v); c != nil {
			out[k] = members(c)
		}
	}
	if lt := props.Map(n.Data, "template"); lt != nil {
		out["launchTemplate"] = lt
	} else {
		out["diskSize"] = props.Int(p, 20, "DiskSize")
	}
	if types := props.Strs(p, "InstanceTypes"); len(types) > 0 || props.Map(n.Data, "template") == nil {
		out["instanceTypes"] = n.Data["instanceTypes"]
	}
	return out
}

func apiDeleteNodegroup(tx *account.Tx, r *wire.Request) (any, error) {
	n, err := nodegroup(tx, r)
	if err != nil {
		return nil, err
	}
	if n.Status != "DELETING" {
		if _, err := tx.Delete(n, true); err != nil {
			return nil, err
		}
	}
	return map[string]any{"nodegroup": nodegroupOut(tx, n)}, nil
}

func listAddons(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range tx.List(TypeAddon) {
		if props.Str(a.Props, "ClusterName") == c.ID {
			names = append(names, props.Str(a.Props, "AddonName"))
		}
	}
	return page(r, "addons", names)
}

func installed(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	if a := tx.Get(TypeAddon, addonID(c.ID, r.String("addonName"))); a != nil {
		return a, nil
	}
	return nil, notFound("No addon: %s found in cluster: %s", r.String("addonName"), c.ID)
}

func describeAddon(tx *account.Tx, r *wire.Request) (any, error) {
	a, err := installed(tx, r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"addon": addonOut(a)}, nil
}

func addonOut(a *account.Resource) map[string]any {
	known, _ := knownAddon(props.Str(a.Props, "AddonName"))
	out := map[string]any{
		"addonName": known.name, "clusterName": props.Str(a.Props, "ClusterName"), "status": a.Status, "addonVersion": a.Data["version"],
		"health": map[string]any{"issues": props.List(a.Data, "issues")}, "addonArn": a.Attrs["Arn"],
		"createdAt": a.Created, "modifiedAt": a.Data["modified"], "tags": a.Tags,
		"podIdentityAssociations": []any{}, "namespaceConfig": map[string]any{"namespace": known.namespace},
	}
	for k, v := range map[string]string{"serviceAccountRoleArn": "ServiceAccountRoleArn", "configurationValues": "ConfigurationValues"} {
		if s := props.Str(a.Props, v); s != "" {
			out[k] = s
		}
	}
	return out
}

func apiUpdateAddon(tx *account.Tx, r *wire.Request) (any, error) {
	a, err := installed(tx, r)
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(a.Props).(map[string]any)
	for k, v := range map[string]string{"addonVersion": "AddonVersion", "serviceAccountRoleArn": "ServiceAccountRoleArn", "configurationValues": "ConfigurationValues", "resolveConflicts": "ResolveConflicts"} {
		if r.Has(k) {
			next[v] = r.String(k)
		}
	}
	if r.Has("podIdentityAssociations") {
		next["PodIdentityAssociations"] = r.In["podIdentityAssociations"]
	}
	if _, err := tx.Update(a, next, true); err != nil {
		return nil, err
	}
	updates := props.Maps(a.Data, "updates")
	return map[string]any{"update": updates[len(updates)-1]}, nil
}

func apiDeleteAddon(tx *account.Tx, r *wire.Request) (any, error) {
	a, err := installed(tx, r)
	if err != nil {
		return nil, err
	}
	if a.Status != "DELETING" {
		if _, err := tx.Delete(a, true); err != nil {
			return nil, err
		}
	}
	return map[string]any{"addon": addonOut(a)}, nil
}

func describeAddonVersions(_ *account.Tx, r *wire.Request) (any, error) {
	infos := []any{}
	for _, a := range addons {
		if n := r.String("addonName"); n != "" && n != a.name {
			continue
		}
		order := []string{}
		compatible := map[string][]any{}
		for _, k := range versions {
			if v := r.String("kubernetesVersion"); v != "" && v != k.version {
				continue
			}
			for i, v := range a.versions[k.version] {
				if compatible[v] == nil {
					order = append(order, v)
				}
				compatible[v] = append(compatible[v], map[string]any{"clusterVersion": k.version, "platformVersions": []any{"*"}, "defaultVersion": i == 0})
			}
		}
		list := []any{}
		for _, v := range order {
			list = append(list, map[string]any{
				"addonVersion": v, "architecture": []any{"amd64", "arm64"}, "computeTypes": []any{"ec2", "auto", "hybrid"},
				"compatibilities": compatible[v], "requiresConfiguration": false, "requiresIamPermissions": a.iam,
			})
		}
		if len(list) > 0 {
			infos = append(infos, map[string]any{"addonName": a.name, "type": a.kind, "addonVersions": list, "publisher": "eks", "owner": "aws", "defaultNamespace": a.namespace})
		}
	}
	return page(r, "addons", infos)
}

func describeClusterVersions(tx *account.Tx, r *wire.Request) (any, error) {
	wanted := r.Strings("clusterVersions")
	list := []any{}
	for _, k := range slices.Backward(versions) {
		support := k.support(tx.Now())
		if support == "UNSUPPORTED" && !r.Bool("includeAll", false) || len(wanted) > 0 && !slices.Contains(wanted, k.version) ||
			r.Bool("defaultOnly", false) && k.version != defaultVersion {
			continue
		}
		if s := r.String("versionStatus"); s != "" && s != support {
			continue
		}
		list = append(list, map[string]any{
			"clusterVersion": k.version, "clusterType": "eks", "defaultPlatformVersion": "eks.1", "defaultVersion": k.version == defaultVersion,
			"releaseDate": day(k.released), "endOfStandardSupportDate": day(k.standard), "endOfExtendedSupportDate": day(k.extended),
			"status": strings.ToLower(strings.ReplaceAll(support, "_", "-")), "versionStatus": support, "kubernetesPatchVersion": k.patch,
		})
	}
	return page(r, "clusterVersions", list)
}

func apiCreateAccessEntry(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{"ClusterName": r.String("name"), "Tags": props.Pairs(r.Tags("tags"))}
	for k, v := range map[string]string{"principalArn": "PrincipalArn", "type": "Type", "username": "Username"} {
		if s := r.String(k); s != "" {
			p[v] = s
		}
	}
	if groups := r.Strings("kubernetesGroups"); len(groups) > 0 {
		p["KubernetesGroups"] = props.List(groups)
	}
	if _, err := cluster(tx, r.String("name")); err != nil {
		return nil, err
	}
	e, _, err := tx.Create(TypeAccessEntry, p, r.Caller, false)
	if err != nil {
		return nil, err
	}
	return map[string]any{"accessEntry": entryOut(e)}, tx.Settle(e, "create")
}

// associatePolicy adds an access policy to an entry, or gives one that it has
// another scope.
func associatePolicy(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := entry(tx, r)
	if err != nil {
		return nil, err
	}
	arn := r.String("policyArn")
	added := map[string]any{"PolicyArn": arn, "AccessScope": properties(r.In["accessScope"])}
	if err := changeEntry(tx, e, append(withoutPolicy(e, arn), added)); err != nil {
		return nil, err
	}
	return map[string]any{"clusterName": r.String("name"), "principalArn": r.String("principalArn"), "associatedAccessPolicy": policyOut(e, added)}, nil
}

func disassociatePolicy(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := entry(tx, r)
	if err != nil {
		return nil, err
	}
	rest := withoutPolicy(e, r.String("policyArn"))
	if len(rest) == len(props.Maps(e.Props, "AccessPolicies")) {
		return nil, notFound("The specified policyArn could not be found on the access entry.")
	}
	return map[string]any{}, changeEntry(tx, e, rest)
}

// withoutPolicy are an entry's access policies but for one.
func withoutPolicy(e *account.Resource, arn string) []any {
	var rest []any
	for _, a := range props.Maps(e.Props, "AccessPolicies") {
		if props.Str(a, "PolicyArn") != arn {
			rest = append(rest, a)
		}
	}
	return rest
}

func changeEntry(tx *account.Tx, e *account.Resource, access []any) error {
	next, _ := account.Copy(e.Props).(map[string]any)
	next["AccessPolicies"] = access
	if _, err := tx.Update(e, next, false); err != nil {
		return err
	}
	return tx.Settle(e, "update")
}

func listAccessEntries(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, e := range tx.List(TypeAccessEntry) {
		policy := r.String("associatedPolicyArn")
		has := policy == "" || slices.ContainsFunc(props.Maps(e.Props, "AccessPolicies"), func(a map[string]any) bool { return props.Str(a, "PolicyArn") == policy })
		if props.Str(e.Props, "ClusterName") == c.ID && has {
			arns = append(arns, props.Str(e.Props, "PrincipalArn"))
		}
	}
	return page(r, "accessEntries", arns)
}

func entry(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	if e := tx.Get(TypeAccessEntry, entryID(r.String("principalArn"), c.ID)); e != nil {
		return e, nil
	}
	return nil, notFound("The specified principalArn could not be found. You can view your available access entries with 'aws eks list-access-entries'.")
}

func describeAccessEntry(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := entry(tx, r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"accessEntry": entryOut(e)}, nil
}

func entryOut(e *account.Resource) map[string]any {
	groups := props.Strs(e.Props, "KubernetesGroups")
	if entryType(e.Props) == "EC2_LINUX" {
		groups = []string{"system:nodes"}
	}
	return map[string]any{
		"clusterName": props.Str(e.Props, "ClusterName"), "principalArn": props.Str(e.Props, "PrincipalArn"), "kubernetesGroups": props.List(groups),
		"accessEntryArn": e.Attrs["AccessEntryArn"], "createdAt": e.Created, "modifiedAt": e.Data["modified"], "tags": e.Tags,
		"username": username(e), "type": entryType(e.Props),
	}
}

func apiDeleteAccessEntry(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := entry(tx, r)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Delete(e, false); err != nil {
		return nil, err
	}
	return map[string]any{}, tx.Settle(e, "delete")
}

func listAssociatedPolicies(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := entry(tx, r)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, a := range props.Maps(e.Props, "AccessPolicies") {
		list = append(list, policyOut(e, a))
	}
	out, err := page(r, "associatedAccessPolicies", list)
	if m, ok := out.(map[string]any); ok {
		m["clusterName"], m["principalArn"] = r.String("name"), r.String("principalArn")
	}
	return out, err
}

func policyOut(e *account.Resource, a map[string]any) map[string]any {
	return map[string]any{
		"policyArn": props.Str(a, "PolicyArn"), "associatedAt": e.Created, "modifiedAt": e.Data["modified"],
		"accessScope": map[string]any{"type": props.Str(a, "AccessScope", "Type"), "namespaces": props.List(props.Strs(a, "AccessScope", "Namespaces"))},
	}
}

func listPolicies(tx *account.Tx, r *wire.Request) (any, error) {
	var list []any
	for _, p := range policies {
		list = append(list, map[string]any{"name": p, "arn": "arn:" + tx.Partition() + ":eks::aws:cluster-access-policy/" + p})
	}
	return page(r, "accessPolicies", list)
}
