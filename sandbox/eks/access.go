package eks

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func accessEntryType() *account.Type {
	return &account.Type{
		Name: TypeAccessEntry, Latency: "eks:access-entry",
		Create: createAccessEntry,
		Update: updateAccessEntry,
	}
}

// policies are the access policies of EKS, after arn:aws:eks::aws:cluster-access-policy/.
// https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
var policies = []string{
	"AmazonAIOpsAssistantPolicy", "AmazonARCRegionSwitchScalingPolicy", "AmazonEKSACKPolicy", "AmazonEKSAdminPolicy",
	"AmazonEKSAdminViewPolicy", "AmazonEKSArgoCDClusterPolicy", "AmazonEKSArgoCDPolicy", "AmazonEKSAutoNodePolicy",
	"AmazonEKSBlockStorageClusterPolicy", "AmazonEKSBlockStoragePolicy", "AmazonEKSClusterAdminPolicy",
	"AmazonEKSClusterInsightsPolicy", "AmazonEKSComputeClusterPolicy", "AmazonEKSComputePolicy", "AmazonEKSEditPolicy",
	"AmazonEKSHybridPolicy", "AmazonEKSKROPolicy", "AmazonEKSLoadBalancingClusterPolicy", "AmazonEKSLoadBalancingPolicy",
	"AmazonEKSNetworkingClusterPolicy", "AmazonEKSNetworkingPolicy", "AmazonEKSSecretReaderPolicy", "AmazonEKSViewPolicy",
	"AmazonSagemakerHyperpodClusterPolicy", "AmazonSagemakerHyperpodControllerPolicy", "AmazonSagemakerHyperpodSpacePolicy",
}

// nodeTypes are the types of entries for nodes, which carry no permissions.
var nodeTypes = []string{"EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX", "EC2"}

var reservedPrefixes = []string{"system:", "eks:", "aws:", "amazon:", "iam:"}

func entryID(principal, cluster string) string { return principal + "|" + cluster }

func createAccessEntry(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	c, err := activeCluster(tx, props.Str(p, "ClusterName"))
	if err != nil {
		return err
	}
	if modeOf(c.Props) == "CONFIG_MAP" {
		return invalidRequest("The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.")
	}
	principal := props.Str(p, "PrincipalArn")
	if err := checkPrincipal(tx, principal, entryType(p)); err != nil {
		return err
	}
	if tx.Get(TypeAccessEntry, entryID(principal, c.ID)) != nil {
		return inUse("The specified access entry resource is already in use on this cluster.")
	}
	if err := checkEntry(tx, p); err != nil {
		return err
	}
	describeEntry(tx, r, c.ID, principal)
	return nil
}

func describeEntry(tx *account.Tx, r *account.Resource, cluster, principal string) {
	hex := tx.HexID(32)
	kind, name := "role", principal
	if i := strings.Index(principal, ":user/"); i >= 0 {
		kind = "user"
	}
	if i := strings.LastIndex(principal, "/"); i >= 0 {
		name = principal[i+1:]
	}
	parts := strings.Split(principal, ":")
	r.ID = entryID(principal, cluster)
	r.Tags = props.Tags(r.Props, "Tags")
	r.Attrs = map[string]any{"AccessEntryArn": tx.ARN("eks", strings.Join([]string{"access-entry", cluster, kind, parts[4], name, hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:]}, "/"))}
	r.Data = map[string]any{"modified": tx.Now()}
}

func entryType(p map[string]any) string {
	if t := props.Str(p, "Type"); t != "" {
		return t
	}
	return "STANDARD"
}

// checkPrincipal wants a role or a user, which exists if it is of this account.
// The roles of IAM Identity Center, which have a path, are as good as others.
func checkPrincipal(tx *account.Tx, arn, kind string) error {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" || !(strings.HasPrefix(parts[5], "role/") || strings.HasPrefix(parts[5], "user/")) {
		return invalid("The specified principalArn is invalid: invalid principal.")
	}
	own := parts[4] == tx.AccountID()
	if kind != "STANDARD" && !own {
		return invalid("AccessEntry principalArn must be from the same account as the cluster when using types %v", list(nodeTypes))
	}
	if kind != "STANDARD" && !strings.HasPrefix(parts[5], "role/") {
		return invalid("AccessEntry principalArn must be IAM role when using types %v", list(nodeTypes))
	}
	if own && arn != roleOf(tx.Caller) && !iam.PrincipalExists(tx, arn) {
		return invalid("The specified principalArn is invalid: invalid principal.")
	}
	return nil
}

func list(items []string) string { return "[" + strings.Join(items, ", ") + "]" }

// checkEntry checks what an entry grants.
func checkEntry(tx *account.Tx, p map[string]any) error {
	kind := entryType(p)
	if kind != "STANDARD" && !slices.Contains(nodeTypes, kind) {
		return invalid("The specified access entry type is invalid: %s", kind)
	}
	user, groups, access := props.Str(p, "Username"), props.Strs(p, "KubernetesGroups"), props.Maps(p, "AccessPolicies")
	if kind != "STANDARD" {
		switch {
		case len(groups) > 0:
			return invalid("The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when type is set as %s", kind)
		case user != "":
			return invalid("The specified username is invalid: setting username is not allowed when type is set as %s", kind)
		case len(access) > 0:
			return invalidRequest("This operation can only be performed on Access Entries with a type of \"STANDARD\"")
		}
	}
	for _, prefix := range reservedPrefixes {
		if strings.HasPrefix(user, prefix) {
			return invalid("The username must not begin with %s", prefix)
		}
		for _, g := range groups {
			if strings.HasPrefix(g, prefix) {
				return invalid("The kubernetes group name %s is invalid, it cannot start with %s", g, prefix)
			}
		}
	}
	for _, a := range access {
		arn := props.Str(a, "PolicyArn")
		parts := strings.SplitN(arn, ":", 6)
		if len(parts) != 6 || parts[2] != "eks" || parts[4] != "aws" || !strings.HasPrefix(parts[5], "cluster-access-policy/") {
			return invalid("The policyArn parameter format is not valid")
		}
		if parts[1] != tx.Partition() || !slices.Contains(policies, strings.TrimPrefix(parts[5], "cluster-access-policy/")) {
			return notFound("The specified policyArn could not be found.")
		}
		spaces := props.Strs(a, "AccessScope", "Namespaces")
		switch scope := props.Str(a, "AccessScope", "Type"); {
		case scope == "":
			return invalid("The type of accessScope must be provided")
		case scope == "namespace" && len(spaces) == 0:
			return invalid("At least 1 namespace must be provided if the type is set as namespace")
		case scope == "cluster" && len(spaces) > 0:
			return invalid("accessScope should not include namespaces if the type is not set as namespace")
		}
	}
	return nil
}

func updateAccessEntry(tx *account.Tx, r *account.Resource, next map[string]any) error {
	if err := checkEntry(tx, next); err != nil {
		return err
	}
	r.Retag(next, "Tags")
	r.Data["modified"] = tx.Now()
	return nil
}

// roleOf is the role behind a principal: a session's role, or the principal.
func roleOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) == 6 && parts[2] == "sts" {
		if name, ok := strings.CutPrefix(parts[5], "assumed-role/"); ok {
			name, _, _ = strings.Cut(name, "/")
			return strings.Join([]string{"arn", parts[1], "iam", "", parts[4], "role/" + name}, ":")
		}
	}
	return arn
}

// creatorEntry makes the creator an administrator, unless that was declined.
func creatorEntry(tx *account.Tx, c *account.Resource) {
	creator := props.Str(c.Data, "creator")
	if modeOf(c.Props) == "CONFIG_MAP" || creator == "" || tx.Get(TypeAccessEntry, entryID(creator, c.ID)) != nil {
		return
	}
	e := &account.Resource{Type: TypeAccessEntry, Owner: service, Props: map[string]any{
		"ClusterName": c.ID, "PrincipalArn": creator, "Type": "STANDARD",
		"AccessPolicies": []any{map[string]any{"PolicyArn": "arn:" + tx.Partition() + ":eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy", "AccessScope": map[string]any{"Type": "cluster"}}},
	}}
	describeEntry(tx, e, c.ID, creator)
	tx.Put(e)
}

// nodeEntry lets a role's nodes join, as EKS does for managed node groups.
func nodeEntry(tx *account.Tx, c *account.Resource, roleARN string) {
	if modeOf(c.Props) == "CONFIG_MAP" || tx.Get(TypeAccessEntry, entryID(roleARN, c.ID)) != nil {
		return
	}
	e := &account.Resource{Type: TypeAccessEntry, Owner: service, Props: map[string]any{"ClusterName": c.ID, "PrincipalArn": roleARN, "Type": "EC2_LINUX"}}
	describeEntry(tx, e, c.ID, roleARN)
	tx.Put(e)
}
