// Package eks simulates Amazon EKS: clusters, managed node groups, add-ons and
// access entries.
//
// A cluster lives in the network it is given: it checks its subnets, security
// groups, role and key, puts interfaces into the subnets and makes a security
// group of its own. A node group is an Auto Scaling group whose instances join
// only if they can: their subnets must have a way to the cluster and to AWS's
// APIs, their role the policies, and the cluster a network plugin.
//
// Invariants: one kind of change is under way on a cluster at a time; a cluster
// keeps the zones it was created with; versions rise by one minor version and go
// back to the former one for a week at most; a cluster with node groups can't be
// deleted.
//
// Limits: what is behind the endpoint is the affair of package controlplane. A
// node that can't join any more is gone there at once. Fargate, EKS Auto Mode,
// Outposts, hybrid nodes and pod identity aren't modelled and are refused.
// Insights are about upgrades, as of the moment they are asked for, and hold none
// back; whether removed APIs are used is unknown. Pods keep no node from going.
package eks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package.
const (
	TypeCluster     = "AWS::EKS::Cluster"
	TypeNodegroup   = "AWS::EKS::Nodegroup"
	TypeAddon       = "AWS::EKS::Addon"
	TypeAccessEntry = "AWS::EKS::AccessEntry"
)

// service owns what EKS makes by itself.
const service = "eks.amazonaws.com"

// Types returns the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{clusterType(), nodegroupType(), addonType(), accessEntryType(), identityProviderType()}
}

func invalid(format string, args ...any) error {
	return account.Errorf("InvalidParameterException", format, args...)
}

func invalidRequest(format string, args ...any) error {
	return account.Errorf("InvalidRequestException", format, args...)
}

func inUse(format string, args ...any) error {
	return &account.Error{Code: "ResourceInUseException", Message: fmt.Sprintf(format, args...), Status: 409}
}

func notFound(format string, args ...any) error {
	return &account.Error{Code: "ResourceNotFoundException", Message: fmt.Sprintf(format, args...), Status: 404}
}

// cluster returns the cluster of that name.
func cluster(tx *account.Tx, name string) (*account.Resource, error) {
	if c := tx.Get(TypeCluster, name); c != nil {
		return c, nil
	}
	return nil, notFound("No cluster found for name: %s.", name)
}

// activeCluster returns the cluster if it accepts operations.
func activeCluster(tx *account.Tx, name string) (*account.Resource, error) {
	c, err := cluster(tx, name)
	if err != nil {
		return nil, err
	}
	if c.Status != "ACTIVE" && c.Status != "UPDATING" {
		return nil, invalidRequest("Cluster '%s' is not in ACTIVE status", name)
	}
	return c, nil
}

// trusts tells whether a role lets a service assume it on behalf of a cluster,
// to which its policy may be pinned.
func trusts(tx *account.Tx, arn, service, cluster string) bool {
	return iam.Trusts(tx, iam.RoleByARN(tx, arn), service, tx.ARN("eks", "cluster/"+cluster))
}

// hasPolicy tells whether a role has one of AWS's managed policies attached.
func hasPolicy(tx *account.Tx, r *account.Resource, names ...string) bool {
	for _, arn := range iam.AttachedPolicies(tx, r) {
		if slices.Contains(names, arn[strings.LastIndex(arn, "/")+1:]) {
			return true
		}
	}
	return false
}

// issue is a health issue of a cluster, node group or add-on.
func issue(code, message string, resources ...string) map[string]any {
	return map[string]any{"code": code, "message": message, "resourceIds": props.List(resources)}
}
