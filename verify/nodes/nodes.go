// Package nodes has the checks of nodes, of the session host, and of what nodes trust and
// which proxy they use.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: nobody signs in to a node. What runs on it is known by its
// launch template and its instance only.
package nodes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// eachGroup calls f for the node groups that serve roles of the configuration.
func eachGroup(f func(l *account.Look, r *check.Recorder, g account.NodeGroup) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		groups, err := l.NodeGroups()
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.Plan == nil {
				continue
			}
			if err := f(l, r, g); err != nil {
				return err
			}
		}
		return nil
	}
}

// eachTemplate calls f for their launch templates. A group without one takes
// what EKS and EC2 have by default.
func eachTemplate(f func(l *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error) func(*account.Look, *check.Recorder) error {
	return eachGroup(func(l *account.Look, r *check.Recorder, g account.NodeGroup) error {
		t, err := nodeTemplate(l, g)
		if err != nil {
			return err
		}
		if t == nil {
			r.Saw(false, g.ARN(), "no launch template, or one that is gone", "ec2:DescribeLaunchTemplateVersions", "the launch template of its role", newNodes)
			return nil
		}
		return f(l, r, g, fmt.Sprintf("%s:%s", aws.ToString(g.LaunchTemplate.Id), aws.ToString(g.LaunchTemplate.Version)), t)
	})
}

// onceTemplate is eachTemplate with the groups that share a template looked at
// once.
func onceTemplate(f func(l *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		seen := map[string]bool{}
		return eachTemplate(func(l *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
			if seen[id] {
				return nil
			}
			seen[id] = true
			return f(l, r, g, id, t)
		})(l, r)
	}
}

// newNodes is the fix for what nodes have from their launch template.
const newNodes = "run poolhouse update with the configuration: it gives the group the right launch template and replaces its nodes one by one"

// replaced is the fix for what one instance differs in.
func replaced(i ec2types.Instance) string {
	return "drain the node and terminate it, and its group makes a new one: aws ec2 terminate-instances --instance-ids " + aws.ToString(i.InstanceId)
}

// ofNodes judges all instances that are nodes. What is the same and right for
// the instances of a group is one piece of evidence.
func ofNodes(l *account.Look, r *check.Recorder, want string, judge func(i ec2types.Instance) (saw string, ok bool)) error {
	instances, err := nodeInstances(l)
	if err != nil {
		return err
	}
	const api = "ec2:DescribeInstances"
	type same struct{ group, saw string }
	count := map[same]int{}
	var order []same
	for _, i := range instances {
		saw, ok := judge(i)
		if !ok {
			r.Saw(false, aws.ToString(i.InstanceId), saw, api, want, replaced(i))
			continue
		}
		s := same{groupOf(i), saw}
		if count[s] == 0 {
			order = append(order, s)
		}
		count[s]++
	}
	slices.SortFunc(order, func(a, b same) int { return cmp.Compare(a.group+a.saw, b.group+b.saw) })
	for _, s := range order {
		group := "node group " + s.group
		if s.group == "" {
			group = "nodes of no group"
		}
		r.Saw(true, group, fmt.Sprintf("%d x %s", count[s], s.saw), api, "", "")
	}
	return nil
}

// Checks are the checks of nodes, the session host, proxy and trust, in the order of reports.
func Checks() []check.Check {
	return slices.Concat([]check.Check{
		{ID: "nodes-roles", Proves: "Every role that the configuration serves has nodes with its label.", Level: check.Required, Rows: []string{"C3", "C11", "S9"}, Run: nodesRoles},
		{ID: "nodes-apart", Proves: "Each node group serves the roles it is for, and its taints keep other pods away.", Level: check.Required, Rows: []string{"C3", "C11", "S9"}, Run: nodesApart},
		{ID: "nodes-no-others", Proves: "All nodes of the cluster belong to the deployment's node groups.", Level: check.Advised, Rows: []string{"C3", "S9"}, Run: nodesNoOthers},
		{ID: "nodes-private", Proves: "Node groups are in the private subnets only.", Level: check.Required, Rows: []string{"S1", "C3", "B29"}, Run: nodesPrivate},
		{ID: "nodes-zones", Proves: "Each role's node groups cover the zones of the configuration, with nodes in each zone that must have some.", Level: check.Required, Rows: []string{"S8", "C7"}, Run: check.OnCluster(nodesZones)},
		{ID: "nodes-running", Proves: "Each node group has as many running nodes as it must have.", Level: check.Required, Rows: []string{"C3", "S8"}, Run: eachGroup(nodesRunning)},
		{ID: "nodes-sizes", Proves: "The least and most nodes of each role are as configured.", Level: check.Advised, Rows: []string{"C3"}, Run: nodesSizes},
		{ID: "nodes-health", Proves: "EKS reports no issues of any node group.", Level: check.Required, Rows: []string{"C3", "S8"}, Run: eachGroup(nodesHealth)},
		{ID: "nodes-version", Proves: "Nodes run the same minor version of Kubernetes as the control plane.", Level: check.Required, Rows: []string{"C10", "S7"}, Run: check.OnCluster(nodesVersion)},
		{ID: "nodes-image", Proves: "Nodes start from EKS's own images of Amazon Linux 2023.", Level: check.Advised, Rows: []string{"S7"}, Run: eachGroup(nodesImage)},
		{ID: "nodes-instance-types", Proves: "Nodes have the configured instance types.", Level: check.Advised, Rows: []string{"C3"}, Run: eachTemplate(nodesInstanceTypes)},
		{ID: "nodes-capacity", Proves: "Nodes are on demand, or on the capacity that is reserved for them.", Level: check.Required, Rows: []string{"S8"}, Run: eachTemplate(nodesCapacity)},
		{ID: "nodes-repair", Proves: "EKS replaces nodes that stop being healthy.", Level: check.Advised, Rows: []string{"S8"}, Run: eachGroup(nodesRepair)},
		{ID: "nodes-imds", Proves: "Launch templates want session tokens for instance metadata, and keep it one hop away, out of the reach of pods.", Level: check.Required, Rows: []string{"B36"}, Run: onceTemplate(nodesIMDS)},
		{ID: "nodes-imds-running", Proves: "So do the instances that run.", Level: check.Required, Rows: []string{"B36"}, Run: nodesIMDSRunning},
		{ID: "nodes-volumes-encrypted", Proves: "Launch templates encrypt volumes with the volumes key.", Level: check.Required, Rows: []string{"B8", "S4"}, Run: onceTemplate(nodesVolumes)},
		{ID: "nodes-volumes-running", Proves: "Volumes of running nodes are encrypted with the volumes key, and those of persistent volume claims with some key.", Level: check.Required, Rows: []string{"B8", "S4"}, Run: nodesVolumesRunning},
		{ID: "nodes-no-ssh", Proves: "Nodes have no SSH key, and no rule lets addresses in on port 22.", Level: check.Required, Rows: []string{"B37"}, Run: check.OnCluster(nodesNoSSH)},
		{ID: "nodes-session-manager", Proves: "Session Manager can reach the nodes.", Level: check.Required, Rows: []string{"B37"}, Run: nodesSessionManager},
		{ID: "nodes-security-groups", Proves: "Launch templates give nodes the cluster's group, the one that all nodes share and those of their roles, and no other.", Level: check.Required, Rows: []string{"S3", "S9", "C3"}, Run: check.OnCluster(nodesSecurityGroups)},
		{ID: "nodes-security-groups-running", Proves: "So do the instances that run.", Level: check.Required, Rows: []string{"S3", "S9"}, Run: check.OnCluster(nodesSecurityGroupsRunning)},
		{ID: "nodes-role-per-kind", Proves: "Each kind of node has an IAM role of its own.", Level: check.Required, Rows: []string{"B39", "S6"}, Run: eachGroup(nodesRolePerKind)},
		{ID: "nodes-access-entry", Proves: "Nodes may join the cluster by an access entry of their role, which gives no other rights.", Level: check.Required, Rows: []string{"B40"}, Run: nodesAccessEntry},
		{ID: "nodes-gpu", Proves: "GPU nodes are there, with NVIDIA's driver, and kept free for what needs them.", Level: check.Required, Rows: []string{"S9"}, Run: nodesGPU},
	}, privateChecks())
}
