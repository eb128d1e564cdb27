package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// nodeFacts are what the nodes are.
type nodeFacts struct {
	nodeGroupsFact    fact[[]nodeGroup]
	nodeTemplateFacts keyed[*ec2types.ResponseLaunchTemplateData]
	nodeVolumesFact   fact[[]ec2types.Volume]
}

// nodeGroup is an EKS node group with what the configuration has for its roles.
type nodeGroup struct {
	*types.Nodegroup
	// roles are those that its labels name, in the configuration's order.
	roles []config.Role
	// plan is a group of the configuration that serves exactly these roles, or
	// nil. Groups of one role differ in their zone and their sizes only.
	plan *architecture.NodeGroup
}

func (g nodeGroup) name() string { return aws.ToString(g.NodegroupName) }
func (g nodeGroup) arn() string  { return aws.ToString(g.NodegroupArn) }

// running tells whether the group has its nodes, if perhaps not the newest.
func (g nodeGroup) running() bool {
	return g.Status == types.NodegroupStatusActive || g.Status == types.NodegroupStatusUpdating
}

// hasLabels tells whether the group's nodes carry the labels.
func (g nodeGroup) hasLabels(want map[string]string) bool {
	for k, v := range want {
		if g.Labels[k] != v {
			return false
		}
	}
	return true
}

// plannedGroups are all node groups of the configuration.
func (l *look) plannedGroups() []architecture.NodeGroup {
	return slices.Concat(l.arch.NodeGroups, l.arch.GPUGroups)
}

// nodeGroups are the cluster's node groups.
func (l *look) nodeGroups() ([]nodeGroup, error) {
	return l.nodeGroupsFact.get(func() ([]nodeGroup, error) {
		name := l.arch.ClusterName()
		var found []nodeGroup
		pages := eks.NewListNodegroupsPaginator(l.aws.EKS, &eks.ListNodegroupsInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := orNone(pages.NextPage(l.ctx))
			if err != nil {
				return nil, fmt.Errorf("list the node groups of %s: %w", name, err)
			}
			if page == nil { // no cluster
				return nil, nil
			}
			for _, group := range page.Nodegroups {
				out, err := orNone(l.aws.EKS.DescribeNodegroup(l.ctx, &eks.DescribeNodegroupInput{ClusterName: &name, NodegroupName: &group}))
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
func (l *look) matched(n *types.Nodegroup) nodeGroup {
	g := nodeGroup{Nodegroup: n}
	for _, r := range []config.Role{config.Core, config.WebAssistant, config.Interface, config.GPU} {
		if g.hasLabels(architecture.LabelsFor(r)) {
			g.roles = append(g.roles, r)
		}
	}
	for _, p := range l.plannedGroups() {
		if len(p.Roles()) == len(g.roles) && !slices.ContainsFunc(p.Roles(), func(r config.Role) bool { return !slices.Contains(g.roles, r) }) {
			g.plan = &p
			break
		}
	}
	return g
}

// nodeTemplate is the launch template data that a node group uses, or nil.
func (l *look) nodeTemplate(g nodeGroup) (*ec2types.ResponseLaunchTemplateData, error) {
	if g.LaunchTemplate == nil {
		return nil, nil
	}
	id, version := aws.ToString(g.LaunchTemplate.Id), aws.ToString(g.LaunchTemplate.Version)
	return l.nodeTemplateFacts.get(id+":"+version, func() (*ec2types.ResponseLaunchTemplateData, error) {
		out, err := orNone(l.aws.EC2.DescribeLaunchTemplateVersions(l.ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{version}}))
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
func (l *look) nodeInstances() ([]ec2types.Instance, error) {
	all, err := l.vpcInstances()
	if err != nil {
		return nil, err
	}
	var found []ec2types.Instance
	for _, i := range all {
		if tag(i.Tags, "kubernetes.io/cluster/"+l.arch.ClusterName()) == "owned" {
			found = append(found, i)
		}
	}
	return found, nil
}

// groupOf is the node group of an instance, as EKS tags it; "" if none.
func groupOf(i ec2types.Instance) string { return ec2Tags(i.Tags)["eks:nodegroup-name"] }

// nodeVolumes are the volumes attached to nodes.
func (l *look) nodeVolumes() ([]ec2types.Volume, error) {
	return l.nodeVolumesFact.get(func() ([]ec2types.Volume, error) {
		instances, err := l.nodeInstances()
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
			pages := ec2.NewDescribeVolumesPaginator(l.aws.EC2, &ec2.DescribeVolumesInput{Filters: []ec2types.Filter{
				{Name: aws.String("attachment.instance-id"), Values: some},
			}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(l.ctx)
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
func eachGroup(f func(l *look, r *result, g nodeGroup) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		groups, err := l.nodeGroups()
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.plan == nil {
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
func eachTemplate(f func(l *look, r *result, g nodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error) func(*look, *result) error {
	return eachGroup(func(l *look, r *result, g nodeGroup) error {
		t, err := l.nodeTemplate(g)
		if err != nil {
			return err
		}
		if t == nil {
			r.saw(false, g.arn(), "no launch template, or one that is gone", "ec2:DescribeLaunchTemplateVersions", "the launch template of its role", newNodes)
			return nil
		}
		return f(l, r, g, fmt.Sprintf("%s:%s", aws.ToString(g.LaunchTemplate.Id), aws.ToString(g.LaunchTemplate.Version)), t)
	})
}

// onceTemplate is eachTemplate with the groups that share a template looked at
// once.
func onceTemplate(f func(l *look, r *result, g nodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		seen := map[string]bool{}
		return eachTemplate(func(l *look, r *result, g nodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
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
func ofNodes(l *look, r *result, want string, judge func(i ec2types.Instance) (saw string, ok bool)) error {
	instances, err := l.nodeInstances()
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
			r.saw(false, aws.ToString(i.InstanceId), saw, api, want, replaced(i))
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
		r.saw(true, group, fmt.Sprintf("%d x %s", count[s], s.saw), api, "", "")
	}
	return nil
}

func nodeChecks() []Check {
	return []Check{
		{ID: "nodes-roles", Proves: "Every role that the configuration serves has nodes with its label.", Level: Required, Rows: []string{"C3", "C11", "S9"}, run: nodesRoles},
		{ID: "nodes-apart", Proves: "Each node group serves the roles it is for, and its taints keep other pods away.", Level: Required, Rows: []string{"C3", "C11", "S9"}, run: nodesApart},
		{ID: "nodes-no-others", Proves: "All nodes of the cluster belong to the deployment's node groups.", Level: Advised, Rows: []string{"C3", "S9"}, run: nodesNoOthers},
		{ID: "nodes-private", Proves: "Node groups are in the private subnets only.", Level: Required, Rows: []string{"S1", "C3", "B29"}, run: nodesPrivate},
		{ID: "nodes-zones", Proves: "Each role's node groups cover the zones of the configuration, with nodes in each zone that must have some.", Level: Required, Rows: []string{"S8", "C7"}, run: onCluster(nodesZones)},
		{ID: "nodes-running", Proves: "Each node group has as many running nodes as it must have.", Level: Required, Rows: []string{"C3", "S8"}, run: eachGroup(nodesRunning)},
		{ID: "nodes-sizes", Proves: "The least and most nodes of each role are as configured.", Level: Advised, Rows: []string{"C3"}, run: nodesSizes},
		{ID: "nodes-health", Proves: "EKS reports no issues of any node group.", Level: Required, Rows: []string{"C3", "S8"}, run: eachGroup(nodesHealth)},
		{ID: "nodes-version", Proves: "Nodes run the same minor version of Kubernetes as the control plane.", Level: Required, Rows: []string{"C10", "S7"}, run: onCluster(nodesVersion)},
		{ID: "nodes-image", Proves: "Nodes start from EKS's own images of Amazon Linux 2023.", Level: Advised, Rows: []string{"S7"}, run: eachGroup(nodesImage)},
		{ID: "nodes-instance-types", Proves: "Nodes have the configured instance types.", Level: Advised, Rows: []string{"C3"}, run: eachTemplate(nodesInstanceTypes)},
		{ID: "nodes-capacity", Proves: "Nodes are on demand, or on the capacity that is reserved for them.", Level: Required, Rows: []string{"S8"}, run: eachTemplate(nodesCapacity)},
		{ID: "nodes-repair", Proves: "EKS replaces nodes that stop being healthy.", Level: Advised, Rows: []string{"S8"}, run: eachGroup(nodesRepair)},
		{ID: "nodes-imds", Proves: "Launch templates want session tokens for instance metadata, and keep it one hop away, out of the reach of pods.", Level: Required, Rows: []string{"B36"}, run: onceTemplate(nodesIMDS)},
		{ID: "nodes-imds-running", Proves: "So do the instances that run.", Level: Required, Rows: []string{"B36"}, run: nodesIMDSRunning},
		{ID: "nodes-volumes-encrypted", Proves: "Launch templates encrypt volumes with the volumes key.", Level: Required, Rows: []string{"B8", "S4"}, run: onceTemplate(nodesVolumes)},
		{ID: "nodes-volumes-running", Proves: "Volumes of running nodes are encrypted with the volumes key, and those of persistent volume claims with some key.", Level: Required, Rows: []string{"B8", "S4"}, run: nodesVolumesRunning},
		{ID: "nodes-no-ssh", Proves: "Nodes have no SSH key, and no rule lets addresses in on port 22.", Level: Required, Rows: []string{"B37"}, run: onCluster(nodesNoSSH)},
		{ID: "nodes-session-manager", Proves: "Session Manager can reach the nodes.", Level: Required, Rows: []string{"B37"}, run: nodesSessionManager},
		{ID: "nodes-security-groups", Proves: "Launch templates give nodes the cluster's group, the one that all nodes share and those of their roles, and no other.", Level: Required, Rows: []string{"S3", "S9", "C3"}, run: onCluster(nodesSecurityGroups)},
		{ID: "nodes-security-groups-running", Proves: "So do the instances that run.", Level: Required, Rows: []string{"S3", "S9"}, run: onCluster(nodesSecurityGroupsRunning)},
		{ID: "nodes-role-per-kind", Proves: "Each kind of node has an IAM role of its own.", Level: Required, Rows: []string{"B39", "S6"}, run: eachGroup(nodesRolePerKind)},
		{ID: "nodes-access-entry", Proves: "Nodes may join the cluster by an access entry of their role, which gives no other rights.", Level: Required, Rows: []string{"B40"}, run: nodesAccessEntry},
		{ID: "nodes-gpu", Proves: "GPU nodes are there, with NVIDIA's driver, and kept free for what needs them.", Level: Required, Rows: []string{"S9"}, run: nodesGPU},
	}
}

func nodesRoles(l *look, r *result) error {
	groups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	const api = "eks:DescribeNodegroup"
	for _, role := range []config.Role{config.Core, config.WebAssistant, config.Interface} {
		if !l.arch.Serves(role) {
			continue
		}
		var names []string
		for _, g := range groups {
			if slices.Contains(g.roles, role) && g.running() {
				names = append(names, g.name())
			}
		}
		r.saw(len(names) > 0, "role "+string(role), fmt.Sprintf("%d active node groups with label %s", len(names), strings.Join(sortedKeys(architecture.LabelsFor(role)), ", ")), api,
			"one or more", fixUpdate)
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

func nodesApart(l *look, r *result) error {
	groups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	const api = "eks:DescribeNodegroup"
	for _, g := range groups {
		if len(g.roles) == 0 {
			continue // see nodes-no-others
		}
		var names []string
		for _, role := range g.roles {
			names = append(names, string(role))
		}
		serves := "serves " + strings.Join(names, " and ")
		if g.plan == nil {
			r.saw(false, g.arn(), serves, api, "roles that share nodes in the configuration", "remove the labels of the roles that don't belong together, or the node group")
			continue
		}
		want, has := []string{}, []string{}
		for _, t := range g.plan.Taints() {
			want = append(want, taintText(t.Key, t.Value, t.Effect))
		}
		for _, t := range g.Taints {
			has = append(has, taintText(aws.ToString(t.Key), aws.ToString(t.Value), string(t.Effect)))
		}
		slices.Sort(want)
		slices.Sort(has)
		r.saw(slices.Equal(want, has), g.arn(), serves+" with taints "+orNothing(has), api, "taints "+orNothing(want), fixUpdate)
	}
	return nil
}

// orNothing is a list for people.
func orNothing(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func nodesNoOthers(l *look, r *result) error {
	groups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	const fix = "move what runs there to nodes of the deployment and remove it, or skip this check with your reason"
	ours := map[string]bool{}
	for _, g := range groups {
		ok := len(g.roles) > 0
		ours[g.name()] = ok
		saw := "node group of the deployment"
		if !ok {
			saw = "node group without a role"
		}
		r.saw(ok, g.arn(), saw, "eks:ListNodegroups", "a node group of the deployment", fix)
	}
	instances, err := l.nodeInstances()
	if err != nil {
		return err
	}
	for _, i := range instances {
		if _, known := ours[groupOf(i)]; !known {
			r.saw(false, aws.ToString(i.InstanceId), "a node in no node group", "ec2:DescribeInstances", "nodes of node groups", fix)
		}
	}
	return nil
}

func nodesPrivate(l *look, r *result) error {
	groups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	p, err := l.places()
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
			saw, ok := p.describe(id, architecture.Private)
			r.saw(ok, id, saw, "eks:DescribeNodegroup, ec2:DescribeSubnets", "a private subnet",
				"remove node group "+g.name()+" and run poolhouse update: a node group can't change its subnets")
		}
	}
	return nil
}

func nodesZones(l *look, r *result, c *types.Cluster) error {
	groups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	subnets, err := l.subnetsByID()
	if err != nil {
		return err
	}
	instances, err := l.nodeInstances()
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
	for _, role := range l.plannedRoles() {
		its := l.groupsOf(groups, role)
		if len(its) == 0 {
			continue // see nodes-roles and nodes-gpu
		}
		want, must := 0, 0
		for _, p := range l.plannedGroups() {
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
			maps.Copy(with, nodes[g.name()])
		}
		r.saw(len(zones) >= want, "role "+string(role), "node groups in "+orNothing(sortedKeys(zones)), "eks:DescribeNodegroup", fmt.Sprintf("in %d zones", want), fixUpdate)
		r.saw(len(with) >= must, "role "+string(role), "nodes in "+orNothing(sortedKeys(with)), "ec2:DescribeInstances", fmt.Sprintf("in %d zones", must),
			"see the activities of the node groups' Auto Scaling groups for why they launch no instance")
	}
	return nil
}

// plannedRoles are the roles that have node groups of their own.
func (l *look) plannedRoles() []config.Role {
	var out []config.Role
	for _, p := range l.plannedGroups() {
		if !slices.Contains(out, p.Role) {
			out = append(out, p.Role)
		}
	}
	return out
}

// groupsOf are the node groups that are for a role by their plan.
func (l *look) groupsOf(groups []nodeGroup, role config.Role) []nodeGroup {
	var out []nodeGroup
	for _, g := range groups {
		if g.plan != nil && g.plan.Role == role {
			out = append(out, g)
		}
	}
	return out
}

func nodesRunning(l *look, r *result, g nodeGroup) error {
	instances, err := l.nodeInstances()
	if err != nil {
		return err
	}
	n := 0
	for _, i := range instances {
		if groupOf(i) == g.name() && i.State != nil && i.State.Name == ec2types.InstanceStateNameRunning {
			n++
		}
	}
	least, desired := 0, 0
	if g.ScalingConfig != nil {
		least, desired = int(aws.ToInt32(g.ScalingConfig.MinSize)), int(aws.ToInt32(g.ScalingConfig.DesiredSize))
	}
	r.saw(n >= least, g.arn(), fmt.Sprintf("%d running, %d desired", n, desired), "ec2:DescribeInstances", fmt.Sprintf("%d running", least),
		"see the activities of the Auto Scaling group for why it launches no instance: quota, capacity or free addresses")
	return nil
}

func nodesSizes(l *look, r *result) error {
	groups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	for _, role := range l.plannedRoles() {
		its := l.groupsOf(groups, role)
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
		for _, p := range l.plannedGroups() {
			if p.Role == role {
				wantMost += p.Max
				if !p.Group.Reservation.CapacityBlock { // there may be no window now
					wantLeast += p.Min
				}
			}
		}
		r.saw(least == wantLeast && most == wantMost, "role "+string(role), fmt.Sprintf("%d to %d nodes", least, most), "eks:DescribeNodegroup", fmt.Sprintf("%d to %d nodes", wantLeast, wantMost), fixUpdate)
	}
	return nil
}

func nodesHealth(_ *look, r *result, g nodeGroup) error {
	saw, ok := "status "+string(g.Status), g.running()
	if g.Health != nil {
		for _, i := range g.Health.Issues {
			ok = false
			saw += fmt.Sprintf(", issue %s: %s", i.Code, aws.ToString(i.Message))
		}
	}
	r.saw(ok, g.arn(), saw, "eks:DescribeNodegroup", "status ACTIVE without issues", "mend what the issue names: https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html")
	return nil
}

func nodesVersion(l *look, r *result, c *types.Cluster) error {
	return eachGroup(func(_ *look, r *result, g nodeGroup) error {
		saw, want := aws.ToString(g.Version), aws.ToString(c.Version)
		r.saw(kubernetesMinor(saw) == kubernetesMinor(want), g.arn(), "Kubernetes "+saw, "eks:DescribeNodegroup", want, "run poolhouse update with the configuration: nodes follow the control plane")
		return nil
	})(l, r)
}

func nodesImage(_ *look, r *result, g nodeGroup) error {
	saw := string(g.AmiType)
	r.saw(strings.HasPrefix(saw, "AL2023_"), g.arn(), saw+" "+aws.ToString(g.ReleaseVersion), "eks:DescribeNodegroup", "an image of Amazon Linux 2023", "remove the node group and run poolhouse update: a node group can't change its kind of image")
	return nil
}

func nodesInstanceTypes(_ *look, r *result, g nodeGroup, _ string, t *ec2types.ResponseLaunchTemplateData) error {
	saw := g.InstanceTypes
	if t.InstanceType != "" {
		saw = []string{string(t.InstanceType)}
	}
	want := g.plan.Group.InstanceTypes
	r.saw(slices.Equal(saw, want), g.arn(), strings.Join(saw, ", "), "eks:DescribeNodegroup", strings.Join(want, ", "), fixUpdate)
	return nil
}

func nodesCapacity(_ *look, r *result, g nodeGroup, _ string, t *ec2types.ResponseLaunchTemplateData) error {
	reservation, want := g.plan.Group.Reservation, types.CapacityTypesOnDemand
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
	r.saw(g.CapacityType == want && id == reservation.ID, g.arn(), saw, "eks:DescribeNodegroup", wants, "remove the node group and run poolhouse update: a node group can't change its kind of capacity")
	return nil
}

func nodesRepair(_ *look, r *result, g nodeGroup) error {
	if g.plan.Group.Reservation.ID != "" {
		r.na("a repair of reserved nodes would wait for capacity that isn't there")
		return nil
	}
	on := g.NodeRepairConfig != nil && aws.ToBool(g.NodeRepairConfig.Enabled)
	r.saw(on, g.arn(), "node repair "+yesNo(on), "eks:DescribeNodegroup", "on", fixUpdate)
	return nil
}

func nodesIMDS(_ *look, r *result, _ nodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
	saw, ok := "tokens optional", false
	if m := t.MetadataOptions; m != nil {
		saw = fmt.Sprintf("tokens %s, hop limit %d", m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit))
		ok = m.HttpTokens == ec2types.LaunchTemplateHttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
	}
	r.saw(ok, id, saw, "ec2:DescribeLaunchTemplateVersions", "tokens required, hop limit 1", newNodes)
	return nil
}

func nodesIMDSRunning(l *look, r *result) error {
	return ofNodes(l, r, "tokens required, hop limit 1", func(i ec2types.Instance) (string, bool) {
		m := i.MetadataOptions
		if m == nil {
			return "tokens optional", false
		}
		return fmt.Sprintf("tokens %s, hop limit %d", m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit)),
			m.HttpTokens == ec2types.HttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
	})
}

func nodesVolumes(l *look, r *result, g nodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
	keys, err := l.keys()
	if err != nil {
		return err
	}
	want := keys[architecture.KeyVolumes]
	const api = "ec2:DescribeLaunchTemplateVersions"
	key := "the key " + l.arch.KeyAlias(architecture.KeyVolumes)
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
		ok := aws.ToBool(m.Ebs.Encrypted) && want != "" && keyIDOf(aws.ToString(m.Ebs.KmsKeyId)) == want
		r.saw(ok, id, saw, api, key, newNodes)
	}
	if n == 0 {
		r.saw(false, id, "no volume: node group "+g.name()+" takes the image's", api, key, newNodes)
	}
	return nil
}

func nodesVolumesRunning(l *look, r *result) error {
	volumes, err := l.nodeVolumes()
	if err != nil {
		return err
	}
	keys, err := l.keys()
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
		if ec2Tags(v.Tags)["CSIVolumeName"] != "" {
			claims++
			if !aws.ToBool(v.Encrypted) {
				r.saw(false, id, saw+", of a persistent volume claim", api, "encrypted", "set encrypted and kmsKeyId in the storage class, and copy the volume")
			}
			continue
		}
		if aws.ToBool(v.Encrypted) && keyIDOf(key) == keys[architecture.KeyVolumes] {
			own++
			continue
		}
		fix := "drain its node and terminate it: its node group makes a new one"
		r.saw(false, id, saw, api, "encrypted with "+l.arch.KeyAlias(architecture.KeyVolumes), fix)
	}
	if own > 0 {
		r.saw(true, l.arch.KeyAlias(architecture.KeyVolumes), fmt.Sprintf("%d volumes of nodes encrypted with it, %d of claims", own, claims), api, "", "")
	}
	return nil
}

// admits22 are the ranges that a group lets in on port 22.
func admits22(g ec2types.SecurityGroup) []string {
	var out []string
	for _, p := range g.IpPermissions {
		protocol := aws.ToString(p.IpProtocol)
		if protocol == "-1" || protocol == "tcp" && aws.ToInt32(p.FromPort) <= 22 && aws.ToInt32(p.ToPort) >= 22 {
			out = append(out, permittedRanges(p)...)
		}
	}
	return out
}

func nodesNoSSH(l *look, r *result, c *types.Cluster) error {
	groups, err := l.groupsByID()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	err = eachTemplate(func(_ *look, r *result, g nodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
		if g.RemoteAccess != nil {
			r.saw(false, g.arn(), "remote access by key "+aws.ToString(g.RemoteAccess.Ec2SshKey), "eks:DescribeNodegroup", "no remote access", newNodes)
		}
		if !seen[id] {
			seen[id] = true
			key := aws.ToString(t.KeyName)
			saw := "no key pair"
			if key != "" {
				saw = "key pair " + key
			}
			r.saw(key == "", id, saw, "ec2:DescribeLaunchTemplateVersions", "no key pair", newNodes)
		}
		for _, sg := range t.SecurityGroupIds {
			if in := admits22(groups[sg]); len(in) > 0 && !seen[sg] {
				seen[sg] = true
				r.saw(false, sg, "port 22 open to "+strings.Join(in, ", "), "ec2:DescribeSecurityGroups", "no range on port 22", "remove the rule: aws ec2 revoke-security-group-ingress --group-id "+sg)
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
func (l *look) wantedGroups(c *types.Cluster, groups map[string]ec2types.SecurityGroup, g nodeGroup) (ids, lacking []string) {
	ids = []string{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}
	parts := []string{"nodes"}
	for _, role := range g.plan.Roles() {
		parts = append(parts, "nodes-"+string(role))
	}
	for _, part := range parts {
		if id := l.groupNamed(groups, part); id != "" {
			ids = append(ids, id)
		} else {
			lacking = append(lacking, l.arch.ResourceName(part))
		}
	}
	slices.Sort(ids)
	return ids, lacking
}

func nodesSecurityGroups(l *look, r *result, c *types.Cluster) error {
	groups, err := l.groupsByID()
	if err != nil {
		return err
	}
	return onceTemplate(func(l *look, r *result, g nodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
		want, lacking := l.wantedGroups(c, groups, g)
		for _, name := range lacking {
			r.missing("security group "+name, "ec2:DescribeSecurityGroups", fixUpdate)
		}
		has := slices.Sorted(slices.Values(t.SecurityGroupIds))
		r.saw(slices.Equal(has, want), id, orNothing(has), "ec2:DescribeLaunchTemplateVersions", strings.Join(want, ", "), newNodes)
		return nil
	})(l, r)
}

func nodesSecurityGroupsRunning(l *look, r *result, c *types.Cluster) error {
	groups, err := l.groupsByID()
	if err != nil {
		return err
	}
	nodeGroups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	byName := map[string]nodeGroup{}
	for _, g := range nodeGroups {
		byName[g.name()] = g
	}
	return ofNodes(l, r, "the groups of its launch template", func(i ec2types.Instance) (string, bool) {
		g := byName[groupOf(i)]
		if g.plan == nil {
			return "node of no role", true // see nodes-no-others
		}
		want, _ := l.wantedGroups(c, groups, g)
		var has []string
		for _, sg := range i.SecurityGroups {
			has = append(has, aws.ToString(sg.GroupId))
		}
		slices.Sort(has)
		return "groups " + orNothing(has), slices.Equal(has, want)
	})
}

// nodeRoleOf is the name of a node group's IAM role.
func nodeRoleOf(g nodeGroup) string {
	arn := aws.ToString(g.NodeRole)
	return arn[strings.LastIndex(arn, "/")+1:]
}

// nodesSessionManager looks at the roles' policies: agent and network are the
// image's and the network's.
func nodesSessionManager(l *look, r *result) error {
	seen := map[string]bool{}
	return eachGroup(func(l *look, r *result, g nodeGroup) error {
		name := nodeRoleOf(g)
		if seen[name] {
			return nil
		}
		seen[name] = true
		role, err := l.iamRole(name)
		if err != nil {
			return err
		}
		const api, want = "iam:ListAttachedRolePolicies", "AmazonSSMManagedInstanceCore"
		if role == nil {
			r.missing(aws.ToString(g.NodeRole), "iam:GetRole", "remove node group "+g.name()+" and run poolhouse update")
			return nil
		}
		policies := role.attachedNames()
		r.saw(slices.Contains(policies, want), role.arn, orNothing(policies), api, want, fixUpdate)
		return nil
	})(l, r)
}

func nodesRolePerKind(l *look, r *result, g nodeGroup) error {
	want := l.roleARN(string(g.plan.Role) + "-nodes")
	r.saw(aws.ToString(g.NodeRole) == want, g.arn(), aws.ToString(g.NodeRole), "eks:DescribeNodegroup", want, "remove the node group and run poolhouse update: a node group can't change its role")
	return nil
}

func nodesAccessEntry(l *look, r *result) error {
	entries, err := l.accessEntries()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	return eachGroup(func(_ *look, r *result, g nodeGroup) error {
		principal := aws.ToString(g.NodeRole)
		if seen[principal] {
			return nil
		}
		seen[principal] = true
		i := slices.IndexFunc(entries, func(e accessEntry) bool { return e.principal() == principal })
		if i < 0 {
			r.missing(principal, "eks:ListAccessEntries", "aws eks create-access-entry --type EC2_LINUX --cluster-name "+l.arch.ClusterName()+" --principal-arn "+principal)
			return nil
		}
		kind := aws.ToString(entries[i].Type)
		r.saw(kind == "EC2_LINUX", principal, "access entry of type "+kind+", policies "+accessPolicies(entries[i]), "eks:DescribeAccessEntry", "type EC2_LINUX",
			"delete the entry and make one of type EC2_LINUX: aws eks delete-access-entry, aws eks create-access-entry")
		return nil
	})(l, r)
}

func nodesGPU(l *look, r *result) error {
	if len(l.arch.GPUGroups) == 0 {
		r.na("the configuration has no GPU nodes")
		return nil
	}
	groups, err := l.nodeGroups()
	if err != nil {
		return err
	}
	const api = "eks:DescribeNodegroup"
	its := l.groupsOf(groups, config.GPU)
	if len(its) == 0 {
		r.saw(false, "role "+string(config.GPU), "no node group: GPU nodes are pending", api, "a node group", "see that the reservation or the capacity is there, and run poolhouse update: it tries again")
	}
	taint := architecture.GPUTaint()
	for _, g := range its {
		kept := slices.ContainsFunc(g.Taints, func(t types.Taint) bool {
			return taintText(aws.ToString(t.Key), aws.ToString(t.Value), string(t.Effect)) == taintText(taint.Key, taint.Value, taint.Effect)
		})
		saw := fmt.Sprintf("%s, %s, taint %s %s", g.Status, g.AmiType, taint.Key, yesNo(kept))
		r.saw(g.running() && strings.Contains(string(g.AmiType), "NVIDIA") && kept, g.arn(), saw, api, "active, an image with NVIDIA's driver and the taint", fixUpdate)
	}
	return nil
}
