package eks

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func nodegroupType() *account.Type {
	return &account.Type{
		Name: TypeNodegroup, Latency: "eks:nodegroup",
		Row: func(r *account.Resource, op string) string {
			switch {
			case op == "create" && r.Data["doomed"] == true:
				return "eks:nodegroup/join-timeout"
			case op == "create" && r.Data["gpu"] == true:
				return "eks:nodegroup-gpu/create"
			case op == "update" && r.Data["idle"] == true:
				return "eks:nodegroup/update-config"
			case op == "update":
				return "eks:nodegroup/" + props.Str(r.Data, "change")
			}
			return "eks:nodegroup/" + op
		},
		Create: createNodegroup,
		Update: updateNodegroup,
		Settle: settleNodegroup,
		Delete: deleteNodegroup,
		Gone:   nodegroupGone,
		Read:   present,
	}
}

// nodegroups lists the node groups of a cluster.
func nodegroups(tx *account.Tx, cluster string) []*account.Resource {
	var out []*account.Resource
	for _, n := range tx.List(TypeNodegroup) {
		if props.Str(n.Props, "ClusterName") == cluster {
			out = append(out, n)
		}
	}
	return out
}

func nodegroupName(n *account.Resource) string { return n.ID[strings.Index(n.ID, "/")+1:] }

// scaling is the size of a node group.
func scaling(p map[string]any) (minimum, desired, maximum int) {
	minimum = props.Int(p, 1, "ScalingConfig", "MinSize")
	desired = props.Int(p, max(minimum, min(2, props.Int(p, 2, "ScalingConfig", "MaxSize"))), "ScalingConfig", "DesiredSize")
	return minimum, desired, props.Int(p, max(2, desired), "ScalingConfig", "MaxSize")
}

// present are a node group's properties with the size that its Auto Scaling group has,
// which a cluster autoscaler changes there, unless an update is to change it.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_NodegroupScalingConfig.html
func present(tx *account.Tx, n *account.Resource) map[string]any {
	g := group(tx, n)
	if g == nil || n.Status != "ACTIVE" && n.Status != "DEGRADED" {
		return n.Props
	}
	if _, desired, _ := scaling(n.Props); desired == autoscaling.Desired(g) {
		return n.Props
	}
	config := map[string]any{}
	maps.Copy(config, props.Map(n.Props, "ScalingConfig"))
	config["DesiredSize"] = autoscaling.Desired(g)
	out := maps.Clone(n.Props)
	out["ScalingConfig"] = config
	return out
}

// size is how many nodes a node group wants.
func size(tx *account.Tx, n *account.Resource) int {
	_, desired, _ := scaling(present(tx, n))
	return desired
}

func capacityType(p map[string]any) string {
	if c := props.Str(p, "CapacityType"); c != "" {
		return c
	}
	return "ON_DEMAND"
}

// image is a type of AMI.
type image struct{ arch, accelerator string }

// images are the AMI types that can be chosen.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Nodegroup.html
var images = map[string]image{
	"AL2023_x86_64_STANDARD": {"x86_64", ""}, "AL2023_ARM_64_STANDARD": {"arm64", ""},
	"AL2023_x86_64_NVIDIA": {"x86_64", "gpu"}, "AL2023_ARM_64_NVIDIA": {"arm64", "gpu"}, "AL2023_x86_64_NEURON": {"x86_64", "neuron"},
	"BOTTLEROCKET_x86_64": {"x86_64", ""}, "BOTTLEROCKET_ARM_64": {"arm64", ""},
	"BOTTLEROCKET_x86_64_FIPS": {"x86_64", ""}, "BOTTLEROCKET_ARM_64_FIPS": {"arm64", ""},
	"BOTTLEROCKET_x86_64_NVIDIA": {"x86_64", "gpu"}, "BOTTLEROCKET_ARM_64_NVIDIA": {"arm64", "gpu"},
	"AL2_x86_64": {"x86_64", ""}, "AL2_ARM_64": {"arm64", ""}, "AL2_x86_64_GPU": {"x86_64", "gpu"},
	"CUSTOM": {},
}

var (
	labelKey   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
)

func createNodegroup(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	c, err := activeCluster(tx, props.Str(p, "ClusterName"))
	if err != nil {
		return err
	}
	name := props.Str(p, "NodegroupName")
	if name == "" {
		name = tx.Name(r, 63)
	}
	if len(name) > 63 {
		return invalid("nodeGroupName can't be longer than 63 characters!")
	}
	if tx.Get(TypeNodegroup, c.ID+"/"+name) != nil {
		return inUse("NodeGroup already exists with name %s and cluster name %s", name, c.ID)
	}
	if err := checkNodeRole(tx, props.Str(p, "NodeRole")); err != nil {
		return err
	}
	if err := checkNodeSubnets(tx, c, props.Strs(p, "Subnets")); err != nil {
		return err
	}
	t, err := checkTemplate(tx, p)
	if err != nil {
		return err
	}
	if err := checkNodeConfig(p); err != nil {
		return err
	}
	types := props.Strs(p, "InstanceTypes")
	if own := props.Str(t.data, "InstanceType"); own != "" {
		types = []string{own}
	}
	if len(types) == 0 {
		types = []string{"t3.medium"}
	}
	ami, err := checkImage(tx, c, p, t, types)
	if err != nil {
		return err
	}
	version, err := nodeVersion(c, p)
	if err != nil {
		return err
	}
	if err := checkCapacity(tx, p, t, types); err != nil {
		return err
	}
	hex := tx.HexID(32)
	uuid := strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
	r.ID = c.ID + "/" + name
	r.Status = "CREATING"
	r.Tags = props.Tags(p, "Tags")
	r.Attrs = map[string]any{
		"Arn": tx.ARN("eks", "nodegroup/"+c.ID+"/"+name+"/"+uuid), "Id": r.ID, "ClusterName": c.ID, "NodegroupName": name,
	}
	release := props.Str(p, "ReleaseVersion")
	if release == "" {
		k, _ := known(version)
		release = k.patch + "-" + tx.Now().UTC().Format("20060102")
	}
	r.Data = map[string]any{
		"uuid": uuid, "amiType": ami, "version": version, "release": release, "instanceTypes": props.List(types), "modified": tx.Now(),
		"gpu": images[ami].accelerator == "gpu", "updates": []any{}, "issues": []any{}, "asg": "eks-" + name + "-" + uuid,
	}
	if t.id != "" {
		r.Data["template"] = map[string]any{"id": t.id, "name": t.name, "version": t.version}
	}
	nodeEntry(tx, c, props.Str(p, "NodeRole"))
	if f := launch(tx, r, c, t); f != nil {
		r.Data["launchFailure"] = f
	}
	// Nodes that can't join are given up only after a while.
	r.Data["doomed"] = joinFailure(tx, r) != nil
	return nil
}

// checkNodeRole wants a role that instances can have.
// https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html
func checkNodeRole(tx *account.Tx, arn string) error {
	role := iam.RoleByARN(tx, arn)
	if role == nil {
		return invalid("The role with name %s cannot be found.", arn[strings.LastIndex(arn, "/")+1:])
	}
	if !iam.Trusts(tx, role, "ec2.amazonaws.com", "") {
		return invalid("Following required service principals [ec2.amazonaws.com] were not found in the trust relationships of nodeRole %s", arn)
	}
	return nil
}

func checkNodeSubnets(tx *account.Tx, c *account.Resource, subnets []string) error {
	if len(subnets) == 0 {
		return invalid("Subnets cannot be empty")
	}
	for _, id := range subnets {
		s, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return invalid("The subnet ID '%s' does not exist", id)
		}
		if ec2.VPCOf(s) != props.Str(c.Data, "vpc") {
			return invalid("Subnets specified must belong to the VPC %s of the cluster", props.Str(c.Data, "vpc"))
		}
	}
	return nil
}

// template is the launch template of a node group: zero without one.
type template struct {
	id, name, version string
	data              map[string]any
}

// checkTemplate finds the launch template and holds it and the node group to
// the rules on who sets what.
// https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html
func checkTemplate(tx *account.Tx, p map[string]any) (template, error) {
	var t template
	spec := props.Map(p, "LaunchTemplate")
	if spec == nil {
		if props.Str(p, "AmiType") == "CUSTOM" {
			return t, invalid("Launch template details can't be null for Custom ami type node group")
		}
		return t, nil
	}
	id, name := props.Str(spec, "Id"), props.Str(spec, "Name")
	if (id == "") == (name == "") {
		return t, invalid("Either provide launch template ID or launch template name in the request.")
	}
	lt, version, data := launchTemplate(tx, id, name, props.Str(spec, "Version"))
	if lt == nil {
		return t, invalid("Launch template %s%s cannot be found", id, name)
	}
	if data == nil {
		return t, invalid("Could not find the specified version %s of launch template %s", props.Str(spec, "Version"), lt.ID)
	}
	t = template{id: lt.ID, name: props.Str(lt.Attrs, "LaunchTemplateName"), version: version, data: data}
	switch {
	case props.Has(p, "DiskSize"):
		return t, invalid("Disk size must be specified within the launch template.")
	case props.Has(p, "RemoteAccess"):
		return t, invalid("Remote access configuration cannot be specified with a launch template.")
	case len(props.Strs(p, "InstanceTypes")) > 0 && props.Has(data, "InstanceType"):
		return t, invalidRequest("Cannot specify instance types in launch template and API request")
	case props.Has(data, "IamInstanceProfile"):
		return t, invalid("Launch template should not specify an instance profile. The noderole in your request will be used to construct an instance profile.")
	case props.Has(data, "HibernationOptions"):
		return t, invalid("Launch template should not specify hibernation configuration.")
	case props.Has(data, "InstanceRequirements"):
		return t, invalid("Launch template should not specify instance requirements.")
	case capacityType(p) != "CAPACITY_BLOCK" && props.Has(data, "InstanceMarketOptions"):
		return t, invalid("Remove instance market options from launch template, and specify it in the request by setting the capacity type.")
	}
	for _, face := range props.Maps(data, "NetworkInterfaces") {
		if props.Has(face, "SubnetId") || props.Has(face, "NetworkInterfaceId") {
			return t, invalid("Launch template should not specify subnets, network interfaces")
		}
	}
	custom := props.Str(p, "AmiType") == "CUSTOM"
	image := props.Has(data, "ImageId")
	switch {
	case image && !custom && props.Has(p, "AmiType"):
		return t, invalid("You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template.")
	case image && (props.Has(p, "Version") || props.Has(p, "ReleaseVersion")):
		return t, invalid("You cannot specify the field kubernetesVersion or releaseVersion when using custom AMIs.")
	case !image && custom:
		return t, invalid("Launch template must specify an image id for Custom ami type node group")
	}
	if data := props.Str(data, "UserData"); data != "" && !image {
		text, err := base64.StdEncoding.DecodeString(data)
		bottle := strings.HasPrefix(props.Str(p, "AmiType"), "BOTTLEROCKET")
		if err != nil || !bottle && !strings.HasPrefix(string(text), "MIME-Version:") && !strings.HasPrefix(string(text), "Content-Type: multipart/") {
			return t, &account.Error{Code: "InvalidRequestException", Message: "Ec2LaunchTemplateInvalidConfiguration: User data was not in the MIME multipart format.", Status: 400}
		}
	}
	return t, nil
}

// checkNodeConfig checks what a node group may change later.
func checkNodeConfig(p map[string]any) error {
	minimum, desired, maximum := scaling(p)
	switch {
	case maximum < 1:
		return invalid("maxSize must be at least 1")
	case minimum > desired:
		return invalid("Minimum capacity %d can't be greater than desired size %d", minimum, desired)
	case desired > maximum:
		return invalid("desired capacity %d can't be greater than max size %d", desired, maximum)
	}
	for k, v := range props.Map(p, "Labels") {
		if !labelKey.MatchString(k) || !labelValue.MatchString(props.Str(v)) {
			return invalid("Label %s:%v is invalid: field must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", k, v)
		}
		if prefix, _, ok := strings.Cut(k, "/"); ok && (prefix == "kubernetes.io" || strings.HasSuffix(prefix, ".kubernetes.io") && prefix != "node.kubernetes.io" && !strings.HasSuffix(prefix, ".node.kubernetes.io") || prefix == "k8s.io" || prefix == "eks.amazonaws.com") {
			return invalid("Label cannot contain reserved prefixes: %s", k)
		}
	}
	seen := map[string]bool{}
	for _, t := range props.Maps(p, "Taints") {
		key, effect := props.Str(t, "Key"), props.Str(t, "Effect")
		if !slices.Contains([]string{"NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"}, effect) {
			return invalid("Invalid taint effect %s", effect)
		}
		if !labelKey.MatchString(key) || !labelValue.MatchString(props.Str(t, "Value")) {
			return invalid("Taint %s is invalid", key)
		}
		if seen[key+effect] {
			return invalid("Taints with the same key and effect cannot be specified more than once: %s", key)
		}
		seen[key+effect] = true
	}
	if u, ok := p["UpdateConfig"].(map[string]any); ok {
		count, percent := props.Has(u, "MaxUnavailable"), props.Has(u, "MaxUnavailablePercentage")
		switch {
		case len(u) == 0:
			return invalid("UpdateConfig cannot be empty if set in the request.")
		case count && percent:
			return invalid("Either provide max unavailable count or percentage in the request.")
		}
	}
	return nil
}

// checkImage fits the type of AMI to the instance types, and chooses it if
// none is given.
func checkImage(tx *account.Tx, c *account.Resource, p map[string]any, t template, types []string) (string, error) {
	ami := props.Str(p, "AmiType")
	if ami == "" && props.Has(t.data, "ImageId") {
		ami = "CUSTOM"
	}
	for _, name := range types {
		it, ok := instance.FindType(tx, name)
		if !ok {
			return "", invalid("[%s] is not a valid instance type", name)
		}
		if ami == "" {
			ami = "AL2023_x86_64_STANDARD"
			switch {
			case it.Arch == "arm64" && it.GPUs > 0:
				ami = "AL2023_ARM_64_NVIDIA"
			case it.Arch == "arm64":
				ami = "AL2023_ARM_64_STANDARD"
			case it.GPUs > 0:
				ami = "AL2023_x86_64_NVIDIA"
			}
		}
		im, known := images[ami]
		if !known {
			return "", account.NotModelled("AMI type %s is not modelled by the sandbox", ami)
		}
		if ami != "CUSTOM" && (im.arch != it.Arch || im.accelerator == "gpu" && it.GPUs == 0) {
			return "", invalid("[%s] is not a valid instance type for requested amiType %s", name, ami)
		}
	}
	// https://docs.aws.amazon.com/eks/latest/userguide/eks-ami-deprecation-faqs.html
	if strings.HasPrefix(ami, "AL2_") && minor(props.Str(c.Data, "version")) > 32 {
		return "", invalid("Requested amiType %s is not supported for kubernetes version %s", ami, props.Str(c.Data, "version"))
	}
	return ami, nil
}

// nodeVersion is the Kubernetes version of the nodes: the cluster's, or an
// older one the cluster can still work with.
func nodeVersion(c *account.Resource, p map[string]any) (string, error) {
	own := props.Str(c.Data, "version")
	version := props.Str(p, "Version")
	if version == "" {
		return own, nil
	}
	if _, ok := known(version); !ok || minor(version) > minor(own) || minor(own)-minor(version) > 3 {
		return "", invalid("Requested Nodegroup kubernetes version %s is not supported with cluster version %s", version, own)
	}
	return version, nil
}

// updateNodegroup changes a node group in place: its configuration, or the
// version of its nodes, which are then replaced one after the other.
func updateNodegroup(tx *account.Tx, r *account.Resource, next map[string]any) error {
	changed := props.Changed(r.Props, next)
	rest := slices.DeleteFunc(slices.Clone(changed), func(k string) bool { return k == "Tags" || k == "ForceUpdateEnabled" })
	if len(rest) == 0 {
		r.Data["change"] = "update-tags"
		r.Retag(next, "Tags")
		return nil
	}
	c, err := activeCluster(tx, props.Str(r.Props, "ClusterName"))
	if err != nil {
		return err
	}
	if r.Status != "ACTIVE" && r.Status != "DEGRADED" {
		return inUse("Nodegroup %s is in status %s and can't be updated", nodegroupName(r), r.Status)
	}
	if err := checkNodeConfig(next); err != nil {
		return err
	}
	t, err := checkTemplate(tx, next)
	if err != nil {
		return err
	}
	if t.id != props.Str(r.Data, "template", "id") {
		return invalid("Launch template can't be changed: a node group keeps the launch template that it was created with")
	}
	types := props.Strs(r.Data, "instanceTypes")
	if own := props.Str(t.data, "InstanceType"); own != "" {
		types = []string{own}
	}
	if _, err := checkImage(tx, c, next, t, types); err != nil {
		return err
	}
	version := props.Str(r.Data, "version")
	roll := t.version != props.Str(r.Data, "template", "version")
	if slices.Contains(rest, "Version") || slices.Contains(rest, "ReleaseVersion") {
		if version, err = nodeVersion(c, next); err != nil {
			return err
		}
		if minor(version) < minor(props.Str(r.Data, "version")) && version != reversible(tx, c) {
			return invalid("Nodegroup Kubernetes version and release version cannot be downgraded from %s to %s", props.Str(r.Data, "version"), version)
		}
		release := props.Str(next, "ReleaseVersion")
		if release == "" {
			k, _ := known(version)
			release = k.patch + "-" + tx.Now().UTC().Format("20060102")
		}
		r.Data["release"] = release
		roll = true
	}
	r.Retag(next, "Tags")
	r.Data["version"], r.Data["instanceTypes"], r.Data["modified"], r.Data["roll"] = version, props.List(types), tx.Now(), roll
	if t.id != "" {
		r.Data["template"] = map[string]any{"id": t.id, "name": t.name, "version": t.version}
	}
	r.Status = "UPDATING"
	r.Data["change"], r.Data["idle"] = "update-config", len(instances(tx, r)) == 0
	kind := "ConfigUpdate"
	if roll {
		r.Data["change"], kind = "update-per-node", versionUpdate
	}
	begin(tx, r, kind)
	return nil
}

// settleNodegroup ends a creation or an update: nodes that are wanted have to
// be there.
func settleNodegroup(tx *account.Tx, r *account.Resource, op string) error {
	var failure map[string]any
	rolls, waited := r.Data["roll"] == true, r.Data["waiting"] == true
	if g := group(tx, r); g != nil && waited {
		// For capacity, which EC2 had none of.
		if wait := autoscaling.Retry(tx, g); wait > 0 {
			return account.Later(wait)
		}
		failure = launchIssue(tx, r)
	}
	switch {
	case failure != nil:
	case op == "update":
		var left int
		if failure, left = relaunch(tx, r); failure == nil && left > 0 {
			delete(r.Data, "waiting")
			return perNode(tx, r, left)
		}
	case !waited:
		failure = props.Map(r.Data, "launchFailure")
	}
	if g := group(tx, r); g != nil && failure != nil && !waited {
		if wait := autoscaling.Retry(tx, g); wait > 0 {
			r.Data["waiting"] = true
			return account.Later(wait)
		}
		if props.Str(failure, "code") == "AsgInstanceLaunchFailures" {
			failure = launchIssue(tx, r)
		}
	}
	delete(r.Data, "waiting")
	if failure == nil {
		failure = joinFailure(tx, r)
	}
	if failure != nil && rolls && props.Str(failure, "code") == "NodeCreationFailure" {
		failure["message"] = "Couldn't proceed with upgrade process as new nodes are not joining node group " + nodegroupName(r)
	}
	for _, k := range []string{"launchFailure", "roll", "old"} {
		delete(r.Data, k)
	}
	r.Data["issues"] = []any{}
	if op == "update" {
		finish(r, failure)
	}
	if failure == nil {
		r.Status = "ACTIVE"
		plugged(tx, tx.Get(TypeCluster, props.Str(r.Props, "ClusterName")), r)
		nodesChanged(tx, props.Str(r.Props, "ClusterName"))
		return nil
	}
	r.Data["issues"] = []any{failure}
	r.Status = "DEGRADED"
	if op == "create" {
		r.Status = "CREATE_FAILED"
	}
	return account.Errorf(props.Str(failure, "code"), "%s", props.Str(failure, "message"))
}

func deleteNodegroup(_ *account.Tx, r *account.Resource) error {
	if r.Status == "UPDATING" {
		return inUse("Nodegroup %s cannot be deleted as it is currently being updated", nodegroupName(r))
	}
	r.Status = "DELETING"
	return nil
}

func nodegroupGone(tx *account.Tx, r *account.Resource) {
	retire(tx, r)
	nodesChanged(tx, props.Str(r.Props, "ClusterName"))
}

// joinFailure is what keeps nodes from joining, or nil.
// https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html#worker-node-fail
func joinFailure(tx *account.Tx, r *account.Resource) map[string]any {
	if size(tx, r) == 0 {
		return nil
	}
	c := tx.Get(TypeCluster, props.Str(r.Props, "ClusterName"))
	if c == nil {
		return issue("ClusterUnreachable", "The cluster doesn't exist")
	}
	const joined = "Instances failed to join the kubernetes cluster"
	var ids []string
	for _, i := range instances(tx, r) {
		ids = append(ids, i.ID)
	}
	role := iam.RoleByARN(tx, props.Str(r.Props, "NodeRole"))
	if role == nil {
		return issue("IamNodeRoleNotFound", "The node role cannot be found", props.Str(r.Props, "NodeRole"))
	}
	if !hasPolicy(tx, role, "AmazonEKSWorkerNodePolicy", "AmazonEKSWorkerNodeMinimalPolicy") ||
		!hasPolicy(tx, role, "AmazonEC2ContainerRegistryReadOnly", "AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryPowerUser", "AmazonEC2ContainerRegistryFullAccess") {
		return issue("NodeCreationFailure", joined, ids...)
	}
	for _, id := range props.Strs(r.Props, "Subnets") {
		s, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return issue("Ec2SubnetNotFound", "The subnet cannot be found", id)
		}
		way := ec2.ReachesInternet(tx, s)
		if way == "igw" && !props.Bool(s.Props, false, "MapPublicIpOnLaunch") {
			return issue("Ec2SubnetInvalidConfiguration", fmt.Sprintf("One or more Amazon EC2 Subnets of [%s] for node group %s does not automatically assign public IP addresses to instances launched into it. If you want your instances to be assigned a public IP address, then you need to enable auto-assign public IP address for the subnet.", id, nodegroupName(r)), id)
		}
		if !reaches(tx, c, r, s, way) {
			return issue("NodeCreationFailure", joined, ids...)
		}
	}
	if !admitted(tx, c, props.Str(r.Props, "NodeRole")) {
		return issue("NodeCreationFailure", joined, ids...)
	}
	if !networked(tx, c, role) {
		return issue("NodeCreationFailure", "Unhealthy nodes in the kubernetes cluster", ids...)
	}
	return nil
}

// networked tells whether the network plugin runs and may do its work.
func networked(tx *account.Tx, c, nodeRole *account.Resource) bool {
	if c.Data["selfManaged"] == true && hasPolicy(tx, nodeRole, "AmazonEKS_CNI_Policy") {
		return true
	}
	cni := tx.Get(TypeAddon, addonID(c.ID, "vpc-cni"))
	return cni != nil && (hasPolicy(tx, nodeRole, "AmazonEKS_CNI_Policy") || props.Has(cni.Props, "ServiceAccountRoleArn"))
}
