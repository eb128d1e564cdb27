package eks

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// nodegroupService launches the instances of managed node groups.
const nodegroupService = "eks-nodegroup.amazonaws.com"

// launchTemplate finds a launch template, its version's number and that
// version's data: nil and "" for what isn't there.
func launchTemplate(tx *account.Tx, id, name, version string) (*account.Resource, string, map[string]any) {
	lt, err := instance.FindTemplate(tx, id, name)
	if err != nil {
		return nil, "", nil
	}
	data, number, err := instance.TemplateData(lt, version)
	if err != nil {
		return lt, "", nil
	}
	if data == nil {
		data = map[string]any{}
	}
	return lt, strconv.Itoa(number), data
}

// checkCapacity holds the capacity type and the reservation together.
// https://docs.aws.amazon.com/eks/latest/userguide/capacity-blocks-mng.html
func checkCapacity(tx *account.Tx, p map[string]any, t template, types []string) error {
	kind := capacityType(p)
	if !slices.Contains([]string{"ON_DEMAND", "SPOT", "CAPACITY_BLOCK"}, kind) {
		return invalid("Invalid capacity type %s", kind)
	}
	if kind == "SPOT" {
		return account.NotModelled("Capacity type SPOT is not modelled by the sandbox")
	}
	if kind != "CAPACITY_BLOCK" {
		return nil
	}
	id := props.Str(t.data, "CapacityReservationSpecification", "CapacityReservationTarget", "CapacityReservationId")
	switch {
	case props.Str(t.data, "InstanceMarketOptions", "MarketType") != "capacity-block":
		return invalid("Launch template must specify InstanceMarketOptions with MarketType capacity-block for node groups of capacity type CAPACITY_BLOCK.")
	case id == "":
		return invalid("Launch template must specify a capacity reservation ID for node groups of capacity type CAPACITY_BLOCK.")
	case len(types) != 1:
		return invalid("Node groups of capacity type CAPACITY_BLOCK support only one instance type")
	}
	r, err := instance.FindReservation(tx, id)
	if err != nil {
		return invalid("The capacity reservation ID '%s' does not exist", id)
	}
	if props.Str(r.Props, "ReservationType") != "capacity-block" || props.Str(r.Props, "InstanceType") != types[0] {
		return invalid("The capacity reservation %s is not a capacity block for instance type %s", id, types[0])
	}
	zone := props.Str(r.Props, "AvailabilityZone")
	for _, s := range props.Strs(p, "Subnets") {
		if sub, err := ec2.FindSubnet(tx, s); err == nil && ec2.ZoneOf(sub).Name == zone {
			return nil
		}
	}
	return invalid("None of the subnets of the node group is in the Availability Zone %s of the capacity reservation %s", zone, id)
}

// group is the node group's Auto Scaling group, or nil.
func group(tx *account.Tx, r *account.Resource) *account.Resource {
	return tx.Get(autoscaling.TypeGroup, props.Str(r.Data, "asg"))
}

// instances are the node group's instances.
func instances(tx *account.Tx, r *account.Resource) []*account.Resource {
	if g := group(tx, r); g != nil {
		return autoscaling.Instances(tx, g)
	}
	return nil
}

// launch makes what a managed node group consists of: an instance profile, a
// launch template of EKS's own and an Auto Scaling group. What can't be
// launched is the issue returned.
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
func launch(tx *account.Tx, r, c *account.Resource, t template) map[string]any {
	iam.EnsureServiceLinkedRole(tx, nodegroupService)
	own := "eks-" + props.Str(r.Data, "uuid")
	nodeRole := iam.RoleByARN(tx, props.Str(r.Props, "NodeRole"))
	if _, _, err := tx.Create(iam.TypeInstanceProfile, map[string]any{"InstanceProfileName": own, "Roles": []any{nodeRole.ID}}, nodegroupService, true); err != nil {
		return issue("IamInstanceProfileNotFound", err.Error())
	}
	lt, _, err := tx.Create(instance.TypeLaunchTemplate, map[string]any{"LaunchTemplateName": own, "LaunchTemplateData": templateData(tx, r, c, t)}, nodegroupService, true)
	if err != nil {
		return issue("Ec2LaunchTemplateInvalidConfiguration", err.Error())
	}
	r.Data["ownTemplate"] = lt.ID
	if _, _, err := tx.Create(autoscaling.TypeGroup, groupProps(r, r.Props, lt), nodegroupService, false); err != nil {
		return issue("AutoScalingGroupInvalidConfiguration", err.Error())
	}
	return launchIssue(tx, r)
}

// launchIssue is what kept the Auto Scaling group from launching, or nil.
func launchIssue(tx *account.Tx, r *account.Resource) map[string]any {
	g := group(tx, r)
	if g == nil {
		return issue("AutoScalingGroupNotFound", "We couldn't find the Auto Scaling group associated with the managed node group.", props.Str(r.Data, "asg"))
	}
	failure := props.Str(g.Data, "failure")
	switch {
	case failure == "":
		return nil
	case strings.Contains(failure, "free addresses"):
		return issue("InsufficientFreeAddresses", "One or more of the subnets associated with your managed node group does not have enough available IP addresses for new nodes.", props.Strs(r.Props, "Subnets")...)
	}
	return issue("AsgInstanceLaunchFailures", "Could not launch On-Demand Instances. "+failure, g.ID)
}

// templateData is what EKS launches: the given template's data, completed.
func templateData(tx *account.Tx, r, c *account.Resource, t template) map[string]any {
	data, _ := account.Copy(t.data).(map[string]any)
	if data == nil {
		data = map[string]any{"BlockDeviceMappings": []any{map[string]any{"DeviceName": "/dev/xvda", "Ebs": map[string]any{"VolumeSize": props.Int(r.Props, 20, "DiskSize"), "VolumeType": "gp3"}}}}
	}
	data["IamInstanceProfile"] = map[string]any{"Name": "eks-" + props.Str(r.Data, "uuid")}
	if types := props.Strs(r.Data, "instanceTypes"); len(types) == 1 {
		data["InstanceType"] = types[0]
	}
	if !props.Has(data, "ImageId") {
		data["ImageId"] = imageOf(tx, props.Str(r.Data, "amiType"), props.Str(r.Data, "version"))
	}
	if len(instance.Groups(data)) == 0 {
		own := []any{c.Attrs["ClusterSecurityGroupId"]}
		if faces := props.Maps(data, "NetworkInterfaces"); len(faces) > 0 {
			faces[0]["Groups"] = own
		} else {
			data["SecurityGroupIds"] = own
		}
	}
	tags := map[string]string{"eks:cluster-name": c.ID, "eks:nodegroup-name": nodegroupName(r)}
	specs := props.List(data, "TagSpecifications")
	i := slices.IndexFunc(specs, func(s any) bool { return props.Str(s, "ResourceType") == "instance" })
	if i < 0 {
		data["TagSpecifications"] = append(specs, map[string]any{"ResourceType": "instance", "Tags": props.Pairs(tags)})
	} else if s, ok := specs[i].(map[string]any); ok {
		s["Tags"] = append(props.List(s, "Tags"), props.Pairs(tags)...)
	}
	return data
}

// imageOf is the id of the image that EKS has for a type of AMI and a version,
// the newest known one if there is none for the version.
func imageOf(tx *account.Tx, ami, version string) string {
	parameter := "/aws/service/eks/optimized-ami/%s/amazon-linux-2023/" + images[ami].arch + "/standard/recommended/image_id"
	switch {
	case strings.HasPrefix(ami, "BOTTLEROCKET") && images[ami].accelerator == "gpu":
		parameter = "/aws/service/bottlerocket/aws-k8s-%s-nvidia/" + images[ami].arch + "/latest/image_id"
	case strings.HasPrefix(ami, "BOTTLEROCKET"):
		parameter = "/aws/service/bottlerocket/aws-k8s-%s/" + images[ami].arch + "/latest/image_id"
	case images[ami].accelerator == "gpu":
		parameter = strings.Replace(parameter, "/standard/", "/nvidia/", 1)
	case images[ami].accelerator == "neuron":
		parameter = strings.Replace(parameter, "/standard/", "/neuron/", 1)
	}
	var newest string
	for _, im := range instance.Images(tx) {
		if im.Parameter == fmt.Sprintf(parameter, version) {
			return im.ID
		}
		for _, k := range versions {
			if im.Parameter == fmt.Sprintf(parameter, k.version) {
				newest = im.ID
			}
		}
	}
	return newest
}

// groupProps are the properties of the node group's Auto Scaling group.
func groupProps(r *account.Resource, p map[string]any, lt *account.Resource) map[string]any {
	cluster := props.Str(p, "ClusterName")
	minimum, desired, maximum := scaling(p)
	var tags []any
	for _, t := range props.Pairs(map[string]string{
		"eks:cluster-name": cluster, "eks:nodegroup-name": nodegroupName(r), "kubernetes.io/cluster/" + cluster: "owned",
		"k8s.io/cluster-autoscaler/enabled": "true", "k8s.io/cluster-autoscaler/" + cluster: "owned",
	}) {
		m, _ := t.(map[string]any)
		m["PropagateAtLaunch"] = true
		tags = append(tags, m)
	}
	spec := map[string]any{"LaunchTemplateId": lt.ID, "Version": lt.Attrs["LatestVersionNumber"]}
	out := map[string]any{
		"AutoScalingGroupName": props.Str(r.Data, "asg"), "MinSize": strconv.Itoa(minimum), "MaxSize": strconv.Itoa(maximum), "DesiredCapacity": strconv.Itoa(desired),
		"VPCZoneIdentifier": props.List(props.Strs(p, "Subnets")), "Tags": tags,
	}
	if types := props.Strs(r.Data, "instanceTypes"); len(types) > 1 {
		var overrides []any
		for _, t := range types {
			overrides = append(overrides, map[string]any{"InstanceType": t})
		}
		out["MixedInstancesPolicy"] = map[string]any{"LaunchTemplate": map[string]any{"LaunchTemplateSpecification": spec, "Overrides": overrides}}
		return out
	}
	out["LaunchTemplate"] = spec
	return out
}

// relaunch brings the instances to what the node group has become: its size,
// and new instances in place of the old ones if their version changed, as many
// at a time as may be unavailable. It tells how many old ones are left then.
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html
func relaunch(tx *account.Tx, r *account.Resource) (failure map[string]any, left int) {
	c, g, lt := tx.Get(TypeCluster, props.Str(r.Props, "ClusterName")), group(tx, r), tx.Get(instance.TypeLaunchTemplate, props.Str(r.Data, "ownTemplate"))
	if c == nil || g == nil {
		return launchIssue(tx, r), 0
	}
	if lt == nil {
		return issue("Ec2LaunchTemplateNotFound", "We couldn't find the Amazon EC2 launch template for your managed node group.", props.Str(r.Data, "ownTemplate")), 0
	}
	roll, begun := r.Data["roll"] == true, props.Has(r.Data, "old")
	if roll && !begun {
		_, _, data := launchTemplate(tx, props.Str(r.Data, "template", "id"), "", props.Str(r.Data, "template", "version"))
		next, _ := account.Copy(lt.Props).(map[string]any)
		next["LaunchTemplateData"] = templateData(tx, r, c, template{data: data})
		if _, err := tx.Update(lt, next, true); err != nil {
			return issue("Ec2LaunchTemplateInvalidConfiguration", err.Error()), 0
		}
		var old []string
		for _, i := range autoscaling.Instances(tx, g) {
			old = append(old, i.ID)
		}
		r.Data["old"] = props.List(old)
	}
	if !begun {
		if _, err := tx.Update(g, groupProps(r, r.Props, lt), true); err != nil {
			return issue("AutoScalingGroupInvalidConfiguration", err.Error()), 0
		}
	}
	if !roll {
		return launchIssue(tx, r), 0
	}
	// New nodes come first; if they can't join, the old ones stay.
	if f := joinFailure(tx, r); f != nil {
		return f, 0
	}
	old := slices.DeleteFunc(props.Strs(r.Data, "old"), func(id string) bool { return tx.Get(instance.TypeInstance, id) == nil })
	batch := min(unavailable(r, size(tx, r)), len(old))
	for _, id := range old[:batch] {
		instance.Remove(tx, id)
		if _, err := tx.Update(g, groupProps(r, r.Props, lt), true); err != nil {
			return issue("AutoScalingGroupInvalidConfiguration", err.Error()), 0
		}
	}
	r.Data["old"] = props.List(old[batch:])
	return launchIssue(tx, r), len(old) - batch
}

// retire takes away what launch made.
func retire(tx *account.Tx, r *account.Resource) {
	own := "eks-" + props.Str(r.Data, "uuid")
	for _, x := range []*account.Resource{group(tx, r), tx.Get(instance.TypeLaunchTemplate, props.Str(r.Data, "ownTemplate")), tx.Get(iam.TypeInstanceProfile, own)} {
		if x == nil {
			continue
		}
		if _, err := tx.Delete(x, false); err != nil || tx.Settle(x, "delete") != nil {
			// EKS goes on and leaves behind what somebody else protects.
			r.Data["left"] = append(props.List(r.Data, "left"), x.ID)
		}
	}
}

// plugged gives every node the second interface that the network plugin keeps
// ready for pods, as long as its subnet has addresses. With custom networking
// it is in the subnet of the ENIConfig that the node's label names.
// https://docs.aws.amazon.com/eks/latest/userguide/managing-vpc-cni.html
// https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network-tutorial.html
func plugged(tx *account.Tx, c, r *account.Resource) {
	custom := podNetworkOf(tx, c)
	for _, i := range instances(tx, r) {
		t, ok := instance.FindType(tx, props.Str(i.Props, "InstanceType"))
		faces := ec2.InterfacesOf(tx, i.ID)
		if !ok || t.Interfaces < 2 || len(faces) != 1 {
			continue
		}
		subnet, groups := props.Str(i.Props, "SubnetId"), ec2.InterfaceGroups(faces[0])
		if custom != nil {
			subnet, groups = custom.place(r, i, groups)
		}
		s, err := ec2.FindSubnet(tx, subnet)
		if err != nil || ec2.AvailableAddresses(tx, s) < t.Addresses {
			continue
		}
		// The plugin tries again while a subnet has no room.
		_, _ = ec2.AddInterface(tx, ec2.Interface{
			Subnet: s.ID, Groups: groups, Owner: i.ID, Instance: i.ID, Secondary: t.Addresses - 1, Description: "aws-K8S-" + i.ID,
			Tags: map[string]string{"cluster.k8s.amazonaws.com/name": c.ID, "node.k8s.amazonaws.com/instance_id": i.ID, "node.k8s.amazonaws.com/createdAt": tx.Now().UTC().Format("2006-01-02T15:04:05Z")},
		})
	}
}

// podNetwork is what the network plugin is told of pods' interfaces.
type podNetwork struct {
	Env       map[string]string `json:"env"`
	EniConfig struct {
		Subnets map[string]struct {
			ID             string   `json:"id"`
			SecurityGroups []string `json:"securityGroups"`
		} `json:"subnets"`
	} `json:"eniConfig"`
}

// podNetworkOf is the custom networking of a cluster, or nil.
func podNetworkOf(tx *account.Tx, c *account.Resource) *podNetwork {
	cni := tx.Get(TypeAddon, addonID(c.ID, "vpc-cni"))
	if cni == nil {
		return nil
	}
	var n podNetwork
	if json.Unmarshal([]byte(props.Str(cni.Props, "ConfigurationValues")), &n) != nil || n.Env["AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"] != "true" {
		return nil
	}
	return &n
}

// place is where a node's pods are: "" if no ENIConfig fits it.
func (n *podNetwork) place(r, node *account.Resource, groups []string) (subnet string, own []string) {
	label := n.Env["ENI_CONFIG_LABEL_DEF"]
	name := props.Str(r.Props, "Labels", label)
	switch {
	case label == "":
		name = "default"
	case name == "" && (label == "topology.kubernetes.io/zone" || label == "failure-domain.beta.kubernetes.io/zone"):
		name = props.Str(node.Attrs, "AvailabilityZone")
	}
	config, ok := n.EniConfig.Subnets[name]
	if !ok {
		return "", nil
	}
	if len(config.SecurityGroups) > 0 {
		groups = config.SecurityGroups
	}
	return config.ID, groups
}

// needed are the services that a node calls before it is ready.
// https://docs.aws.amazon.com/eks/latest/userguide/private-clusters.html
var needed = []string{"ec2", "ecr.api", "ecr.dkr", "eks", "sts"}

// reaches tells whether nodes in a subnet get to AWS's APIs and to the cluster.
// The way out of the VPC is "igw", "nat" or "".
func reaches(tx *account.Tx, c, r, s *account.Resource, way string) bool {
	groups := nodeGroups(tx, c, r)
	cidr, err := netip.ParsePrefix(props.Str(s.Attrs, "CidrBlock"))
	if err != nil {
		return false
	}
	if way == "" {
		for _, name := range needed {
			if !endpoint.Answers(tx, s, name, groups, cidr) {
				return false
			}
		}
		if !storage(tx, s, groups, cidr) {
			return false
		}
	}
	config := props.Map(c.Props, "ResourcesVpcConfig")
	if props.Bool(config, false, "EndpointPrivateAccess") {
		// The private address is found by the VPC's own names only.
		// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
		if vpc := tx.Get(ec2.TypeVPC, ec2.VPCOf(s)); vpc == nil || !props.Bool(vpc.Props, true, "EnableDnsSupport") || !props.Bool(vpc.Props, false, "EnableDnsHostnames") {
			return false
		}
		return endpoint.Admits(tx, append([]string{props.Str(c.Attrs, "ClusterSecurityGroupId")}, props.Strs(config, "SecurityGroupIds")...), groups, cidr)
	}
	if way == "" || !props.Bool(config, true, "EndpointPublicAccess") {
		return false
	}
	return listed(tx, s, props.Strs(config, "PublicAccessCidrs"))
}

// nodeGroups are the security groups of the nodes.
func nodeGroups(tx *account.Tx, c, r *account.Resource) []string {
	_, _, data := launchTemplate(tx, props.Str(r.Data, "template", "id"), "", props.Str(r.Data, "template", "version"))
	if g := instance.Groups(data); len(g) > 0 {
		return g
	}
	return []string{props.Str(c.Attrs, "ClusterSecurityGroupId")}
}

// storage tells whether S3, where image layers are, is reached by an endpoint.
func storage(tx *account.Tx, s *account.Resource, groups []string, cidr netip.Prefix) bool {
	if table := ec2.RouteTableOf(tx, s); table != nil {
		for _, e := range endpoint.GatewaysOf(tx, table.ID) {
			if strings.HasSuffix(props.Str(e.Props, "ServiceName"), "."+tx.Region()+".s3") && e.Status == "available" {
				return true
			}
		}
	}
	return endpoint.Answers(tx, s, "s3", groups, cidr)
}

// listed tells whether the public address that a subnet's traffic leaves from
// is one that the API server admits. An address that isn't known passes.
func listed(tx *account.Tx, s *account.Resource, cidrs []string) bool {
	if len(cidrs) == 0 || slices.Contains(cidrs, "0.0.0.0/0") {
		return true
	}
	table := ec2.RouteTableOf(tx, s)
	if table == nil {
		return false
	}
	for _, route := range ec2.Routes(tx, table.ID) {
		key, id := ec2.Target(route.Props)
		if props.Str(route.Attrs, "CidrBlock") != "0.0.0.0/0" || key == "GatewayId" {
			continue
		}
		face := tx.Get(ec2.TypeNetworkInterface, id)
		if key == "NatGatewayId" {
			if n := tx.Get(ec2.TypeNatGateway, id); n != nil {
				face = tx.Get(ec2.TypeNetworkInterface, props.Str(n.Attrs, "EniId"))
			}
		}
		if face == nil {
			return true
		}
		ip, err := netip.ParseAddr(ec2.PublicIP(tx, face))
		return err == nil && slices.ContainsFunc(cidrs, func(c string) bool {
			p, err := netip.ParsePrefix(c)
			return err == nil && p.Contains(ip)
		})
	}
	return true
}

// ZoneLost degrades the node groups that could not replace the nodes that a
// lost zone took.
func ZoneLost(tx *account.Tx) {
	for _, r := range tx.List(TypeNodegroup) {
		if i := launchIssue(tx, r); i != nil {
			r.Status, r.Data["issues"] = "DEGRADED", []any{i}
		}
	}
}

// Nodes are the instances of a node group.
func Nodes(tx *account.Tx, nodegroup *account.Resource) []*account.Resource {
	return instances(tx, nodegroup)
}
