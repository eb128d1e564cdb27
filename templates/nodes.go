package templates

import (
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/cfn/eks"
	"github.com/poolhouse/poolhouse/config"
)

// DesiredSizeParameter is the parameter of a node group's size, in the stacks
// nodes and gpu. Whoever deploys leaves the default at creation, and hands on
// the live value later: a scaler may have changed it.
func DesiredSizeParameter(g architecture.NodeGroup) string { return g.Key() + "DesiredSize" }

// nodes are the node groups of all roles but gpu.
func nodes(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Nodes)
	nodeGroups(t, a, a.NodeGroups)
	return t
}

// nodeGroups adds EKS node groups, with an IAM role and a launch template for
// each of their roles. Nothing is named: what EKS can't change is replaced by a
// group made beside the old one.
func nodeGroups(t *cfn.Template, a *architecture.Architecture, groups []architecture.NodeGroup) {
	tags := deploymentTags(t, a)
	script := userData(t, "NodeUserData", nodeData(a))
	templates := map[config.Role]cfn.Handle{}
	roles := map[config.Role]cfn.Handle{}
	for _, g := range groups {
		if _, ok := roles[g.Role]; !ok {
			roles[g.Role] = nodeRole(t, a, g)
			templates[g.Role] = t.Add(cfn.LogicalID(camel(string(g.Role))+"LaunchTemplate"), nodeTemplate(t, a, g, tags, script))
		}
		h := t.Add(cfn.LogicalID(g.Key()), nodeGroup(t, a, g, roles[g.Role], templates[g.Role]))
		t.Output(g.Key()+"NodeGroupName", h.Att("NodegroupName"))
	}
}

// nodeRole is the IAM role of a role's nodes. The network plugin has a role of
// its own, so nodes carry no policy for it; Session Manager takes SSH's place.
// https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html
func nodeRole(t *cfn.Template, a *architecture.Architecture, g architecture.NodeGroup) cfn.Handle {
	name := string(g.Role)
	r := role(a, name+"-nodes", "Nodes for "+name+" of "+a.ClusterName(), trust("ec2.amazonaws.com", nil))
	r.ManagedPolicyArns = managedPolicies("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore")
	h := t.Add(cfn.LogicalID(camel(name)+"NodeRole"), r)
	t.Output(camel(name)+"NodeRoleArn", h.Att("Arn"))
	return h
}

// nodeTemplate is the launch template of a role's nodes. EKS takes the instance
// type here or in the node group, not in both. A single type stands here, where
// a change rolls the nodes; several stand in the group, where EKS tries them in
// turn, and a change makes a new group.
// https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html
func nodeTemplate(t *cfn.Template, a *architecture.Architecture, g architecture.NodeGroup, tags []cfn.Tag, script cfn.Value[string]) ec2.LaunchTemplate {
	part := string(g.Role)
	data := &ec2.LaunchTemplateData{
		SecurityGroupIds: nodeSecurityGroups(t, g),
		MetadataOptions: &ec2.MetadataOptions{
			HttpEndpoint:            cfn.V("enabled"),
			HttpTokens:              cfn.V("required"),
			HttpPutResponseHopLimit: cfn.V(1), // pods use roles of their own
		},
		BlockDeviceMappings: []ec2.BlockDeviceMapping{{
			DeviceName: cfn.V("/dev/xvda"),
			Ebs: &ec2.Ebs{
				VolumeType:          cfn.V("gp3"),
				VolumeSize:          cfn.V(g.Group.DiskGiB),
				Encrypted:           cfn.V(true),
				KmsKeyId:            keyARN(t, architecture.KeyVolumes),
				DeleteOnTermination: cfn.V(true),
			},
		}},
		Monitoring:        &ec2.Monitoring{Enabled: cfn.V(true)},
		UserData:          script,
		TagSpecifications: launchTags(a, tags, part, "instance", "volume", "network-interface"),
	}
	if len(g.Group.InstanceTypes) == 1 {
		data.InstanceType = cfn.V(g.Group.InstanceTypes[0])
	}
	reserve(data, g)
	return ec2.LaunchTemplate{LaunchTemplateData: data, TagSpecifications: launchTemplateTags(a, tags, part)}
}

// nodeGroup is the nodes of one role in one zone: its own, or that of its
// reservation.
func nodeGroup(t *cfn.Template, a *architecture.Architecture, g architecture.NodeGroup, nodeRole, template cfn.Handle) eks.Nodegroup {
	here := reservedZones(t, a, g)
	ng := eks.Nodegroup{
		ClusterName:    t.Input(string(architecture.Cluster), "Name"),
		NodeRole:       nodeRole.Att("Arn"),
		Subnets:        nodeSubnets(t, a, g, here),
		LaunchTemplate: &eks.LaunchTemplateSpecification{Id: template.Ref(), Version: template.Att("LatestVersionNumber")},
		AmiType:        cfn.V(amiType(g)),
		CapacityType:   cfn.V("ON_DEMAND"),
		Version:        cfn.V(a.Config.Cluster.Version), // nodes follow the control plane
		ScalingConfig:  scaling(t, g),
		UpdateConfig:   &eks.UpdateConfig{MaxUnavailable: cfn.V(1.0)},
		Labels:         nodeLabels(a, g, here),
		Taints:         nodeTaints(g),
		Tags:           map[string]string{"Name": a.ResourceName(string(g.Role))},
		// A node that stops being one is replaced.
		NodeRepairConfig: &eks.NodeRepairConfig{Enabled: cfn.V(true)},
	}
	if len(g.Group.InstanceTypes) > 1 {
		ng.InstanceTypes = cfn.L(g.Group.InstanceTypes...)
	}
	if g.Group.Reservation.ID != "" {
		onReservation(&ng, g)
	}
	return ng
}

// scaling is a node group's sizes, the desired one a parameter.
func scaling(t *cfn.Template, g architecture.NodeGroup) *eks.ScalingConfig {
	if g.Group.Reservation.CapacityBlock {
		g.Min, g.Size = 0, 0 // there may be no window now
	}
	size := t.Parameter(DesiredSizeParameter(g), cfn.Parameter{
		Type:        "Number",
		Default:     cfn.V(strconv.Itoa(g.Size)),
		Description: "Pass the live value at every update.",
	})
	return &eks.ScalingConfig{MinSize: cfn.V(g.Min), DesiredSize: cfn.Int(size.Ref()), MaxSize: cfn.V(g.Max)}
}

// nodeSubnets is the private subnet of a group's zone.
func nodeSubnets(t *cfn.Template, a *architecture.Architecture, g architecture.NodeGroup, here []cfn.Cond) cfn.List[string] {
	if g.Zone == architecture.AnyZone {
		return reservedSubnets(t, a, here)
	}
	return cfn.ListOf(subnetID(t, architecture.Private, g.Zone))
}

func nodeLabels(a *architecture.Architecture, g architecture.NodeGroup, here []cfn.Cond) map[string]cfn.Value[string] {
	out := map[string]cfn.Value[string]{}
	for key, value := range g.Labels() {
		out[key] = cfn.V(value)
	}
	if _, ok := a.PodRange(); ok {
		out[architecture.PodNetworkLabel] = podNetworkLabel(a, g, here)
	}
	return out
}

// podNetworkName names the ENIConfig of a role's nodes in a zone.
func podNetworkName(g architecture.NodeGroup, zone int) string {
	return string(g.Role) + "-" + number(zone)
}

// podNetworkLabel is the ENIConfig of a group's nodes: of its zone, or of that
// of its reservation.
func podNetworkLabel(a *architecture.Architecture, g architecture.NodeGroup, here []cfn.Cond) cfn.Value[string] {
	if g.Zone != architecture.AnyZone {
		return cfn.V(podNetworkName(g, g.Zone))
	}
	out := cfn.V("none")
	for _, s := range slices.Backward(a.PodSubnets()) {
		out = cfn.If(here[s.Zone], cfn.V(podNetworkName(g, s.Zone)), out)
	}
	return out
}

// nodeTaints are taints in EKS's spelling.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Taint.html
func nodeTaints(g architecture.NodeGroup) []eks.Taint {
	effects := map[string]string{"NoSchedule": "NO_SCHEDULE", "PreferNoSchedule": "PREFER_NO_SCHEDULE", "NoExecute": "NO_EXECUTE"}
	var out []eks.Taint
	for _, taint := range g.Taints() {
		t := eks.Taint{Key: cfn.V(taint.Key), Effect: cfn.V(effects[taint.Effect])}
		if taint.Value != "" {
			t.Value = cfn.V(taint.Value)
		}
		out = append(out, t)
	}
	return out
}

// amiType is Amazon Linux 2023 for the processor of a group's instances; for
// gpu with NVIDIA's driver and container toolkit.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Nodegroup.html
func amiType(g architecture.NodeGroup) string {
	arch, arm := "x86_64", "ARM_64"
	if slices.ContainsFunc(g.Group.InstanceTypes, graviton) {
		arch = arm
	}
	if g.Role == config.GPU {
		return "AL2023_" + arch + "_NVIDIA"
	}
	return "AL2023_" + arch + "_STANDARD"
}

// graviton says whether an instance type has an arm64 processor: a g follows
// the generation.
// https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
func graviton(instanceType string) bool {
	family, _, _ := strings.Cut(instanceType, ".")
	attributes := strings.TrimLeft(family, "abcdefghijklmnopqrstuvwxyz")
	attributes = strings.TrimLeft(attributes, "0123456789")
	return family == "a1" || strings.HasPrefix(attributes, "g")
}
