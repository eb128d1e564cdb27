package nodes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

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
