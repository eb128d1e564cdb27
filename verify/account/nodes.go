package account

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// nodeFacts are what the nodes are.
type nodeFacts struct {
	nodeGroupsFact Fact[[]NodeGroup]
}

// NodeGroup is an EKS node group with what the configuration has for its roles.
type NodeGroup struct {
	*types.Nodegroup
	// Roles are those that its labels name, in the configuration's order.
	Roles []config.Role
	// Plan is a group of the configuration that serves exactly these roles, or
	// nil. Groups of one role differ in their zone and their sizes only.
	Plan *architecture.NodeGroup
}

// Name is the node group's name.
func (g NodeGroup) Name() string { return aws.ToString(g.NodegroupName) }

// ARN is the node group's ARN.
func (g NodeGroup) ARN() string { return aws.ToString(g.NodegroupArn) }

// Running tells whether the group has its nodes, if perhaps not the newest.
func (g NodeGroup) Running() bool {
	return g.Status == types.NodegroupStatusActive || g.Status == types.NodegroupStatusUpdating
}

// hasLabels tells whether the group's nodes carry the labels.
func (g NodeGroup) hasLabels(want map[string]string) bool {
	for k, v := range want {
		if g.Labels[k] != v {
			return false
		}
	}
	return true
}

// PlannedGroups are all node groups of the configuration.
func (l *Look) PlannedGroups() []architecture.NodeGroup {
	return slices.Concat(l.Arch.NodeGroups, l.Arch.GPUGroups)
}

// NodeGroups are the cluster's node groups.
func (l *Look) NodeGroups() ([]NodeGroup, error) {
	return l.nodeGroupsFact.Get(func() ([]NodeGroup, error) {
		name := l.Arch.ClusterName()
		var found []NodeGroup
		pages := eks.NewListNodegroupsPaginator(l.AWS.EKS, &eks.ListNodegroupsInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := OrNone(pages.NextPage(l.Ctx))
			if err != nil {
				return nil, fmt.Errorf("list the node groups of %s: %w", name, err)
			}
			if page == nil { // no cluster
				return nil, nil
			}
			for _, group := range page.Nodegroups {
				out, err := OrNone(l.AWS.EKS.DescribeNodegroup(l.Ctx, &eks.DescribeNodegroupInput{ClusterName: &name, NodegroupName: &group}))
				if err != nil {
					return nil, fmt.Errorf("look up node group %s: %w", group, err)
				}
				if out != nil {
					found = append(found, l.matched(out.Nodegroup))
				}
			}
		}
		return found, nil
	})
}

// matched finds what the configuration has for a node group.
func (l *Look) matched(n *types.Nodegroup) NodeGroup {
	g := NodeGroup{Nodegroup: n}
	for _, r := range []config.Role{config.Core, config.WebAssistant, config.Interface, config.GPU} {
		if g.hasLabels(architecture.LabelsFor(r)) {
			g.Roles = append(g.Roles, r)
		}
	}
	for _, p := range l.PlannedGroups() {
		if len(p.Roles()) == len(g.Roles) && !slices.ContainsFunc(p.Roles(), func(r config.Role) bool { return !slices.Contains(g.Roles, r) }) {
			g.Plan = &p
			break
		}
	}
	return g
}

// PlannedRoles are the roles that have node groups of their own.
func (l *Look) PlannedRoles() []config.Role {
	var out []config.Role
	for _, p := range l.PlannedGroups() {
		if !slices.Contains(out, p.Role) {
			out = append(out, p.Role)
		}
	}
	return out
}
