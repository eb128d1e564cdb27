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
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// nodeFacts are what the nodes are.
type nodeFacts struct {
	nodeTemplateFacts account.Keyed[*ec2types.ResponseLaunchTemplateData]
	nodeVolumesFact   account.Fact[[]ec2types.Volume]
}

// nodeTemplate is the launch template data that a node group uses, or nil.
func nodeTemplate(l *account.Look, g account.NodeGroup) (*ec2types.ResponseLaunchTemplateData, error) {
	if g.LaunchTemplate == nil {
		return nil, nil
	}
	id, version := aws.ToString(g.LaunchTemplate.Id), aws.ToString(g.LaunchTemplate.Version)
	return account.Facts[nodeFacts](l).nodeTemplateFacts.Get(id+":"+version, func() (*ec2types.ResponseLaunchTemplateData, error) {
		out, err := account.OrNone(l.AWS.EC2.DescribeLaunchTemplateVersions(l.Ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{version}}))
		if err != nil {
			return nil, fmt.Errorf("look up version %s of launch template %s: %w", version, id, err)
		}
		if out == nil || len(out.LaunchTemplateVersions) == 0 {
			return nil, nil
		}
		return out.LaunchTemplateVersions[0].LaunchTemplateData, nil
	})
}

// nodeInstances are the instances that are nodes of the cluster, whoever
// launched them: each carries the cluster's tag.
// https://docs.aws.amazon.com/eks/latest/userguide/worker.html
func nodeInstances(l *account.Look) ([]ec2types.Instance, error) {
	all, err := l.VPCInstances()
	if err != nil {
		return nil, err
	}
	var found []ec2types.Instance
	for _, i := range all {
		if account.Tag(i.Tags, "kubernetes.io/cluster/"+l.Arch.ClusterName()) == "owned" {
			found = append(found, i)
		}
	}
	return found, nil
}

// groupOf is the node group of an instance, as EKS tags it; "" if none.
func groupOf(i ec2types.Instance) string { return account.EC2Tags(i.Tags)["eks:nodegroup-name"] }

// nodeVolumes are the volumes attached to nodes.
func nodeVolumes(l *account.Look) ([]ec2types.Volume, error) {
	return account.Facts[nodeFacts](l).nodeVolumesFact.Get(func() ([]ec2types.Volume, error) {
		instances, err := nodeInstances(l)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, i := range instances {
			ids = append(ids, aws.ToString(i.InstanceId))
		}
		var found []ec2types.Volume
		// A filter takes 200 values.
		for some := range slices.Chunk(ids, 200) {
			pages := ec2.NewDescribeVolumesPaginator(l.AWS.EC2, &ec2.DescribeVolumesInput{Filters: []ec2types.Filter{
				{Name: aws.String("attachment.instance-id"), Values: some},
			}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(l.Ctx)
				if err != nil {
					return nil, fmt.Errorf("list the nodes' volumes: %w", err)
				}
				found = append(found, page.Volumes...)
			}
		}
		return found, nil
	})
}

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

func nodesRoles(l *account.Look, r *check.Recorder) error {
	groups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	const api = "eks:DescribeNodegroup"
	for _, role := range []config.Role{config.Core, config.WebAssistant, config.Interface} {
		if !l.Arch.Serves(role) {
			continue
		}
		var names []string
		for _, g := range groups {
			if slices.Contains(g.Roles, role) && g.Running() {
				names = append(names, g.Name())
			}
		}
		r.Saw(len(names) > 0, "role "+string(role), fmt.Sprintf("%d active node groups with label %s", len(names), strings.Join(account.SortedKeys(architecture.LabelsFor(role)), ", ")), api,
			"one or more", check.FixUpdate)
	}
	return nil
}

// taintText is a taint as kubectl writes it.
func taintText(key, value, effect string) string {
	switch effect {
	case string(types.TaintEffectNoSchedule):
		effect = "NoSchedule"
	case string(types.TaintEffectPreferNoSchedule):
		effect = "PreferNoSchedule"
	case string(types.TaintEffectNoExecute):
		effect = "NoExecute"
	}
	if value != "" {
		key += "=" + value
	}
	return key + ":" + effect
}

func nodesApart(l *account.Look, r *check.Recorder) error {
	groups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	const api = "eks:DescribeNodegroup"
	for _, g := range groups {
		if len(g.Roles) == 0 {
			continue // see nodes-no-others
		}
		var names []string
		for _, role := range g.Roles {
			names = append(names, string(role))
		}
		serves := "serves " + strings.Join(names, " and ")
		if g.Plan == nil {
			r.Saw(false, g.ARN(), serves, api, "roles that share nodes in the configuration", "remove the labels of the roles that don't belong together, or the node group")
			continue
		}
		want, has := []string{}, []string{}
		for _, t := range g.Plan.Taints() {
			want = append(want, taintText(t.Key, t.Value, t.Effect))
		}
		for _, t := range g.Taints {
			has = append(has, taintText(aws.ToString(t.Key), aws.ToString(t.Value), string(t.Effect)))
		}
		slices.Sort(want)
		slices.Sort(has)
		r.Saw(slices.Equal(want, has), g.ARN(), serves+" with taints "+check.OrNothing(has), api, "taints "+check.OrNothing(want), check.FixUpdate)
	}
	return nil
}

func nodesNoOthers(l *account.Look, r *check.Recorder) error {
	groups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	const fix = "move what runs there to nodes of the deployment and remove it, or skip this check with your reason"
	ours := map[string]bool{}
	for _, g := range groups {
		ok := len(g.Roles) > 0
		ours[g.Name()] = ok
		saw := "node group of the deployment"
		if !ok {
			saw = "node group without a role"
		}
		r.Saw(ok, g.ARN(), saw, "eks:ListNodegroups", "a node group of the deployment", fix)
	}
	instances, err := nodeInstances(l)
	if err != nil {
		return err
	}
	for _, i := range instances {
		if _, known := ours[groupOf(i)]; !known {
			r.Saw(false, aws.ToString(i.InstanceId), "a node in no node group", "ec2:DescribeInstances", "nodes of node groups", fix)
		}
	}
	return nil
}

func nodesPrivate(l *account.Look, r *check.Recorder) error {
	groups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, g := range groups {
		for _, id := range g.Subnets {
			if seen[id] {
				continue
			}
			seen[id] = true
			saw, ok := p.Describe(id, architecture.Private)
			r.Saw(ok, id, saw, "eks:DescribeNodegroup, ec2:DescribeSubnets", "a private subnet",
				"remove node group "+g.Name()+" and run poolhouse update: a node group can't change its subnets")
		}
	}
	return nil
}

func nodesZones(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	subnets, err := l.SubnetsByID()
	if err != nil {
		return err
	}
	instances, err := nodeInstances(l)
	if err != nil {
		return err
	}
	nodes := map[string]map[string]bool{} // zones with nodes by node group
	for _, i := range instances {
		if i.Placement == nil || i.State == nil || i.State.Name != ec2types.InstanceStateNameRunning {
			continue
		}
		if nodes[groupOf(i)] == nil {
			nodes[groupOf(i)] = map[string]bool{}
		}
		nodes[groupOf(i)][aws.ToString(i.Placement.AvailabilityZone)] = true
	}
	for _, role := range l.PlannedRoles() {
		its := groupsOf(l, groups, role)
		if len(its) == 0 {
			continue // see nodes-roles and nodes-gpu
		}
		want, must := 0, 0
		for _, p := range l.PlannedGroups() {
			if p.Role == role {
				want++
				if p.Min > 0 && !p.Group.Reservation.CapacityBlock { // there may be no window now
					must++
				}
			}
		}
		zones, with := map[string]bool{}, map[string]bool{}
		for _, g := range its {
			for _, id := range g.Subnets {
				zones[aws.ToString(subnets[id].AvailabilityZone)] = true
			}
			maps.Copy(with, nodes[g.Name()])
		}
		r.Saw(len(zones) >= want, "role "+string(role), "node groups in "+check.OrNothing(account.SortedKeys(zones)), "eks:DescribeNodegroup", fmt.Sprintf("in %d zones", want), check.FixUpdate)
		r.Saw(len(with) >= must, "role "+string(role), "nodes in "+check.OrNothing(account.SortedKeys(with)), "ec2:DescribeInstances", fmt.Sprintf("in %d zones", must),
			"see the activities of the node groups' Auto Scaling groups for why they launch no instance")
	}
	return nil
}

// groupsOf are the node groups that are for a role by their plan.
func groupsOf(l *account.Look, groups []account.NodeGroup, role config.Role) []account.NodeGroup {
	var out []account.NodeGroup
	for _, g := range groups {
		if g.Plan != nil && g.Plan.Role == role {
			out = append(out, g)
		}
	}
	return out
}

func nodesRunning(l *account.Look, r *check.Recorder, g account.NodeGroup) error {
	instances, err := nodeInstances(l)
	if err != nil {
		return err
	}
	n := 0
	for _, i := range instances {
		if groupOf(i) == g.Name() && i.State != nil && i.State.Name == ec2types.InstanceStateNameRunning {
			n++
		}
	}
	least, desired := 0, 0
	if g.ScalingConfig != nil {
		least, desired = int(aws.ToInt32(g.ScalingConfig.MinSize)), int(aws.ToInt32(g.ScalingConfig.DesiredSize))
	}
	r.Saw(n >= least, g.ARN(), fmt.Sprintf("%d running, %d desired", n, desired), "ec2:DescribeInstances", fmt.Sprintf("%d running", least),
		"see the activities of the Auto Scaling group for why it launches no instance: quota, capacity or free addresses")
	return nil
}

func nodesSizes(l *account.Look, r *check.Recorder) error {
	groups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	for _, role := range l.PlannedRoles() {
		its := groupsOf(l, groups, role)
		if len(its) == 0 {
			continue // see nodes-roles
		}
		var least, most, wantLeast, wantMost int
		for _, g := range its {
			if g.ScalingConfig != nil {
				least += int(aws.ToInt32(g.ScalingConfig.MinSize))
				most += int(aws.ToInt32(g.ScalingConfig.MaxSize))
			}
		}
		for _, p := range l.PlannedGroups() {
			if p.Role == role {
				wantMost += p.Max
				if !p.Group.Reservation.CapacityBlock { // there may be no window now
					wantLeast += p.Min
				}
			}
		}
		r.Saw(least == wantLeast && most == wantMost, "role "+string(role), fmt.Sprintf("%d to %d nodes", least, most), "eks:DescribeNodegroup", fmt.Sprintf("%d to %d nodes", wantLeast, wantMost), check.FixUpdate)
	}
	return nil
}

func nodesHealth(_ *account.Look, r *check.Recorder, g account.NodeGroup) error {
	saw, ok := "status "+string(g.Status), g.Running()
	if g.Health != nil {
		for _, i := range g.Health.Issues {
			ok = false
			saw += fmt.Sprintf(", issue %s: %s", i.Code, aws.ToString(i.Message))
		}
	}
	r.Saw(ok, g.ARN(), saw, "eks:DescribeNodegroup", "status ACTIVE without issues", "mend what the issue names: https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html")
	return nil
}

func nodesVersion(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	return eachGroup(func(_ *account.Look, r *check.Recorder, g account.NodeGroup) error {
		saw, want := aws.ToString(g.Version), aws.ToString(c.Version)
		r.Saw(account.KubernetesMinor(saw) == account.KubernetesMinor(want), g.ARN(), "Kubernetes "+saw, "eks:DescribeNodegroup", want, "run poolhouse update with the configuration: nodes follow the control plane")
		return nil
	})(l, r)
}

func nodesImage(_ *account.Look, r *check.Recorder, g account.NodeGroup) error {
	saw := string(g.AmiType)
	r.Saw(strings.HasPrefix(saw, "AL2023_"), g.ARN(), saw+" "+aws.ToString(g.ReleaseVersion), "eks:DescribeNodegroup", "an image of Amazon Linux 2023", "remove the node group and run poolhouse update: a node group can't change its kind of image")
	return nil
}

func nodesInstanceTypes(_ *account.Look, r *check.Recorder, g account.NodeGroup, _ string, t *ec2types.ResponseLaunchTemplateData) error {
	saw := g.InstanceTypes
	if t.InstanceType != "" {
		saw = []string{string(t.InstanceType)}
	}
	want := g.Plan.Group.InstanceTypes
	r.Saw(slices.Equal(saw, want), g.ARN(), strings.Join(saw, ", "), "eks:DescribeNodegroup", strings.Join(want, ", "), check.FixUpdate)
	return nil
}

func nodesCapacity(_ *account.Look, r *check.Recorder, g account.NodeGroup, _ string, t *ec2types.ResponseLaunchTemplateData) error {
	reservation, want := g.Plan.Group.Reservation, types.CapacityTypesOnDemand
	if reservation.CapacityBlock {
		want = types.CapacityTypesCapacityBlock
	}
	saw, id := string(g.CapacityType), ""
	if s := t.CapacityReservationSpecification; s != nil && s.CapacityReservationTarget != nil {
		id = aws.ToString(s.CapacityReservationTarget.CapacityReservationId)
	}
	wants := string(want)
	if reservation.ID != "" {
		wants += " in " + reservation.ID
	}
	if id != "" {
		saw += " in " + id
	}
	r.Saw(g.CapacityType == want && id == reservation.ID, g.ARN(), saw, "eks:DescribeNodegroup", wants, "remove the node group and run poolhouse update: a node group can't change its kind of capacity")
	return nil
}

func nodesRepair(_ *account.Look, r *check.Recorder, g account.NodeGroup) error {
	if g.Plan.Group.Reservation.ID != "" {
		r.NA("a repair of reserved nodes would wait for capacity that isn't there")
		return nil
	}
	on := g.NodeRepairConfig != nil && aws.ToBool(g.NodeRepairConfig.Enabled)
	r.Saw(on, g.ARN(), "node repair "+check.YesNo(on), "eks:DescribeNodegroup", "on", check.FixUpdate)
	return nil
}

func nodesIMDS(_ *account.Look, r *check.Recorder, _ account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
	saw, ok := "tokens optional", false
	if m := t.MetadataOptions; m != nil {
		saw = fmt.Sprintf("tokens %s, hop limit %d", m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit))
		ok = m.HttpTokens == ec2types.LaunchTemplateHttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
	}
	r.Saw(ok, id, saw, "ec2:DescribeLaunchTemplateVersions", "tokens required, hop limit 1", newNodes)
	return nil
}

func nodesIMDSRunning(l *account.Look, r *check.Recorder) error {
	return ofNodes(l, r, "tokens required, hop limit 1", func(i ec2types.Instance) (string, bool) {
		m := i.MetadataOptions
		if m == nil {
			return "tokens optional", false
		}
		return fmt.Sprintf("tokens %s, hop limit %d", m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit)),
			m.HttpTokens == ec2types.HttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
	})
}

func nodesVolumes(l *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	want := keys[architecture.KeyVolumes]
	const api = "ec2:DescribeLaunchTemplateVersions"
	key := "the key " + l.Arch.KeyAlias(architecture.KeyVolumes)
	n := 0
	for _, m := range t.BlockDeviceMappings {
		if m.Ebs == nil {
			continue
		}
		n++
		saw := aws.ToString(m.DeviceName) + " not encrypted"
		if aws.ToBool(m.Ebs.Encrypted) {
			saw = aws.ToString(m.DeviceName) + " with " + aws.ToString(m.Ebs.KmsKeyId)
		}
		ok := aws.ToBool(m.Ebs.Encrypted) && want != "" && account.KeyIDOf(aws.ToString(m.Ebs.KmsKeyId)) == want
		r.Saw(ok, id, saw, api, key, newNodes)
	}
	if n == 0 {
		r.Saw(false, id, "no volume: node group "+g.Name()+" takes the image's", api, key, newNodes)
	}
	return nil
}

func nodesVolumesRunning(l *account.Look, r *check.Recorder) error {
	volumes, err := nodeVolumes(l)
	if err != nil {
		return err
	}
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeVolumes"
	own, claims := 0, 0
	for _, v := range volumes {
		id, key := aws.ToString(v.VolumeId), aws.ToString(v.KmsKeyId)
		saw := "not encrypted"
		if aws.ToBool(v.Encrypted) {
			saw = "encrypted with " + key
		}
		// The storage class of a claim chooses its key.
		if account.EC2Tags(v.Tags)["CSIVolumeName"] != "" {
			claims++
			if !aws.ToBool(v.Encrypted) {
				r.Saw(false, id, saw+", of a persistent volume claim", api, "encrypted", "set encrypted and kmsKeyId in the storage class, and copy the volume")
			}
			continue
		}
		if aws.ToBool(v.Encrypted) && account.KeyIDOf(key) == keys[architecture.KeyVolumes] {
			own++
			continue
		}
		fix := "drain its node and terminate it: its node group makes a new one"
		r.Saw(false, id, saw, api, "encrypted with "+l.Arch.KeyAlias(architecture.KeyVolumes), fix)
	}
	if own > 0 {
		r.Saw(true, l.Arch.KeyAlias(architecture.KeyVolumes), fmt.Sprintf("%d volumes of nodes encrypted with it, %d of claims", own, claims), api, "", "")
	}
	return nil
}

// admits22 are the ranges that a group lets in on port 22.
func admits22(g ec2types.SecurityGroup) []string {
	var out []string
	for _, p := range g.IpPermissions {
		protocol := aws.ToString(p.IpProtocol)
		if protocol == "-1" || protocol == "tcp" && aws.ToInt32(p.FromPort) <= 22 && aws.ToInt32(p.ToPort) >= 22 {
			out = append(out, account.PermittedRanges(p)...)
		}
	}
	return out
}

func nodesNoSSH(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.GroupsByID()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	err = eachTemplate(func(_ *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
		if g.RemoteAccess != nil {
			r.Saw(false, g.ARN(), "remote access by key "+aws.ToString(g.RemoteAccess.Ec2SshKey), "eks:DescribeNodegroup", "no remote access", newNodes)
		}
		if !seen[id] {
			seen[id] = true
			key := aws.ToString(t.KeyName)
			saw := "no key pair"
			if key != "" {
				saw = "key pair " + key
			}
			r.Saw(key == "", id, saw, "ec2:DescribeLaunchTemplateVersions", "no key pair", newNodes)
		}
		for _, sg := range t.SecurityGroupIds {
			if in := admits22(groups[sg]); len(in) > 0 && !seen[sg] {
				seen[sg] = true
				r.Saw(false, sg, "port 22 open to "+strings.Join(in, ", "), "ec2:DescribeSecurityGroups", "no range on port 22", "remove the rule: aws ec2 revoke-security-group-ingress --group-id "+sg)
			}
		}
		return nil
	})(l, r)
	if err != nil {
		return err
	}
	return ofNodes(l, r, "no key pair", func(i ec2types.Instance) (string, bool) {
		if k := aws.ToString(i.KeyName); k != "" {
			return "key pair " + k, false
		}
		return "no key pair", true
	})
}

// wantedGroups are the security groups that nodes of a group should have, and
// those of them that are not there.
func wantedGroups(l *account.Look, c *types.Cluster, groups map[string]ec2types.SecurityGroup, g account.NodeGroup) (ids, lacking []string) {
	ids = []string{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}
	parts := []string{"nodes"}
	for _, role := range g.Plan.Roles() {
		parts = append(parts, "nodes-"+string(role))
	}
	for _, part := range parts {
		if id := l.GroupNamed(groups, part); id != "" {
			ids = append(ids, id)
		} else {
			lacking = append(lacking, l.Arch.ResourceName(part))
		}
	}
	slices.Sort(ids)
	return ids, lacking
}

func nodesSecurityGroups(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.GroupsByID()
	if err != nil {
		return err
	}
	return onceTemplate(func(l *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
		want, lacking := wantedGroups(l, c, groups, g)
		for _, name := range lacking {
			r.Missing("security group "+name, "ec2:DescribeSecurityGroups", check.FixUpdate)
		}
		has := slices.Sorted(slices.Values(t.SecurityGroupIds))
		r.Saw(slices.Equal(has, want), id, check.OrNothing(has), "ec2:DescribeLaunchTemplateVersions", strings.Join(want, ", "), newNodes)
		return nil
	})(l, r)
}

func nodesSecurityGroupsRunning(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.GroupsByID()
	if err != nil {
		return err
	}
	nodeGroups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	byName := map[string]account.NodeGroup{}
	for _, g := range nodeGroups {
		byName[g.Name()] = g
	}
	return ofNodes(l, r, "the groups of its launch template", func(i ec2types.Instance) (string, bool) {
		g := byName[groupOf(i)]
		if g.Plan == nil {
			return "node of no role", true // see nodes-no-others
		}
		want, _ := wantedGroups(l, c, groups, g)
		var has []string
		for _, sg := range i.SecurityGroups {
			has = append(has, aws.ToString(sg.GroupId))
		}
		slices.Sort(has)
		return "groups " + check.OrNothing(has), slices.Equal(has, want)
	})
}

// nodeRoleOf is the name of a node group's IAM role.
func nodeRoleOf(g account.NodeGroup) string {
	arn := aws.ToString(g.NodeRole)
	return arn[strings.LastIndex(arn, "/")+1:]
}

// nodesSessionManager looks at the roles' policies: agent and network are the
// image's and the network's.
func nodesSessionManager(l *account.Look, r *check.Recorder) error {
	seen := map[string]bool{}
	return eachGroup(func(l *account.Look, r *check.Recorder, g account.NodeGroup) error {
		name := nodeRoleOf(g)
		if seen[name] {
			return nil
		}
		seen[name] = true
		role, err := l.IAMRole(name)
		if err != nil {
			return err
		}
		const api, want = "iam:ListAttachedRolePolicies", "AmazonSSMManagedInstanceCore"
		if role == nil {
			r.Missing(aws.ToString(g.NodeRole), "iam:GetRole", "remove node group "+g.Name()+" and run poolhouse update")
			return nil
		}
		policies := role.AttachedNames()
		r.Saw(slices.Contains(policies, want), role.ARN, check.OrNothing(policies), api, want, check.FixUpdate)
		return nil
	})(l, r)
}

func nodesRolePerKind(l *account.Look, r *check.Recorder, g account.NodeGroup) error {
	want := l.RoleARN(string(g.Plan.Role) + "-nodes")
	r.Saw(aws.ToString(g.NodeRole) == want, g.ARN(), aws.ToString(g.NodeRole), "eks:DescribeNodegroup", want, "remove the node group and run poolhouse update: a node group can't change its role")
	return nil
}

func nodesAccessEntry(l *account.Look, r *check.Recorder) error {
	entries, err := l.AccessEntries()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	return eachGroup(func(_ *account.Look, r *check.Recorder, g account.NodeGroup) error {
		principal := aws.ToString(g.NodeRole)
		if seen[principal] {
			return nil
		}
		seen[principal] = true
		i := slices.IndexFunc(entries, func(e account.AccessEntry) bool { return e.Principal() == principal })
		if i < 0 {
			r.Missing(principal, "eks:ListAccessEntries", "aws eks create-access-entry --type EC2_LINUX --cluster-name "+l.Arch.ClusterName()+" --principal-arn "+principal)
			return nil
		}
		kind := aws.ToString(entries[i].Type)
		r.Saw(kind == "EC2_LINUX", principal, "access entry of type "+kind+", policies "+account.AccessPolicies(entries[i]), "eks:DescribeAccessEntry", "type EC2_LINUX",
			"delete the entry and make one of type EC2_LINUX: aws eks delete-access-entry, aws eks create-access-entry")
		return nil
	})(l, r)
}

func nodesGPU(l *account.Look, r *check.Recorder) error {
	if len(l.Arch.GPUGroups) == 0 {
		r.NA("the configuration has no GPU nodes")
		return nil
	}
	groups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	const api = "eks:DescribeNodegroup"
	its := groupsOf(l, groups, config.GPU)
	if len(its) == 0 {
		r.Saw(false, "role "+string(config.GPU), "no node group: GPU nodes are pending", api, "a node group", "see that the reservation or the capacity is there, and run poolhouse update: it tries again")
	}
	taint := architecture.GPUTaint()
	for _, g := range its {
		kept := slices.ContainsFunc(g.Taints, func(t types.Taint) bool {
			return taintText(aws.ToString(t.Key), aws.ToString(t.Value), string(t.Effect)) == taintText(taint.Key, taint.Value, taint.Effect)
		})
		saw := fmt.Sprintf("%s, %s, taint %s %s", g.Status, g.AmiType, taint.Key, check.YesNo(kept))
		r.Saw(g.Running() && strings.Contains(string(g.AmiType), "NVIDIA") && kept, g.ARN(), saw, api, "active, an image with NVIDIA's driver and the taint", check.FixUpdate)
	}
	return nil
}
