package eks

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func clusterType() *account.Type {
	return &account.Type{
		Name:    TypeCluster,
		Latency: "eks:cluster",
		// A cluster has no status for it, and waiters take one that is ACTIVE again for
		// one that stays.
		// https://docs.aws.amazon.com/eks/latest/APIReference/API_Cluster.html
		Restored: true,
		Row: func(r *account.Resource, op string) string {
			if op == "update" {
				return "eks:cluster/" + props.Str(r.Data, "change")
			}
			return "eks:cluster/" + op
		},
		Create: createCluster,
		Update: updateCluster,
		Settle: settleCluster,
		Delete: deleteCluster,
		Gone:   clusterGone,
	}
}

// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
const (
	leastZones     = 2
	leastAddresses = 6 // free in every subnet; AWS recommends 16
	mostCIDRs      = 40
	mostGroups     = 5
)

// unsupportedZones can't hold a control plane, by zone id.
var unsupportedZones = []string{"use1-az3", "usw1-az2", "cac1-az3"}

var logTypes = []string{"api", "audit", "authenticator", "controllerManager", "scheduler"}

func createCluster(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	name := props.Str(p, "Name")
	if name == "" {
		name = tx.Name(r, 100)
	}
	if tx.Get(TypeCluster, name) != nil {
		return inUse("Cluster already exists with name: %s", name)
	}
	for _, k := range []string{"OutpostConfig", "RemoteNetworkConfig"} {
		if props.Has(p, k) {
			return account.NotModelled("%s is not modelled by the sandbox", k)
		}
	}
	if autoMode(p) {
		return account.NotModelled("EKS Auto Mode is not modelled by the sandbox")
	}
	if v := props.Str(p, "Version"); v != "" {
		k, ok := known(v)
		if !ok || k.support(tx.Now()) == "UNSUPPORTED" {
			return invalid("unsupported Kubernetes version")
		}
		if err := checkSupport(tx, v, p); err != nil {
			return err
		}
	}
	arn := props.Str(p, "RoleArn")
	if !trusts(tx, arn, service, name) {
		return invalid("Role with arn: %s, could not be assumed because it does not exist or the trusted entity is not correct", arn)
	}
	net, err := checkNetwork(tx, name, props.Map(p, "ResourcesVpcConfig"), nil)
	if err != nil {
		return err
	}
	if err := checkEndpoints(props.Map(p, "ResourcesVpcConfig")); err != nil {
		return err
	}
	if err := checkLogging(p); err != nil {
		return err
	}
	if err := checkEncryption(tx, p); err != nil {
		return err
	}
	serviceCIDR, err := serviceRange(tx, props.Map(p, "KubernetesNetworkConfig"), net.vpc)
	if err != nil {
		return err
	}

	id := strings.ToUpper(tx.HexID(32))
	domain := "amazonaws.com"
	if tx.Partition() == "aws-cn" {
		domain = "amazonaws.com.cn"
	}
	ca, err := authority(tx, id)
	if err != nil {
		return fmt.Errorf("make certificate authority of cluster %s: %w", name, err)
	}
	iam.EnsureServiceLinkedRole(tx, service)
	r.ID, r.Status, r.Tags = name, "CREATING", props.Tags(p, "Tags")
	groups := props.Strs(p, "ResourcesVpcConfig", "SecurityGroupIds")
	own, err := clusterGroup(tx, name, net.vpc)
	if err == nil {
		err = place(tx, name, net, append([]string{own}, groups...))
	}
	if err != nil {
		return err
	}
	r.Attrs = map[string]any{
		"Arn":                      tx.ARN("eks", "cluster/"+name),
		"Id":                       name,
		"Endpoint":                 tx.KubernetesEndpoint(name, fmt.Sprintf("https://%s.gr7.%s.eks.%s", id, tx.Region(), domain)),
		"CertificateAuthorityData": ca, "CertificateAuthority.Data": ca,
		"ClusterSecurityGroupId":                  own,
		"OpenIdConnectIssuerUrl":                  fmt.Sprintf("https://oidc.eks.%s.%s/id/%s", tx.Region(), domain, id),
		"EncryptionConfigKeyArn":                  encryptionKey(p),
		"KubernetesNetworkConfig.ServiceIpv4Cidr": serviceCIDR,
	}
	version := props.Str(p, "Version")
	if version == "" {
		version = defaultVersion
	}
	r.Data = map[string]any{
		"vpc": net.vpc, "zones": props.List(net.zones), "version": version,
		"selfManaged": props.Bool(p, true, "BootstrapSelfManagedAddons"), "updates": []any{},
	}
	if props.Bool(p, true, "AccessConfig", "BootstrapClusterCreatorAdminPermissions") {
		r.Data["creator"] = roleOf(tx.Caller)
	}
	return nil
}

// network is where a control plane lives.
type network struct {
	vpc     string
	zones   []string          // names, in order
	subnets map[string]string // a subnet by zone
}

// checkNetwork checks the subnets and security groups. A cluster that exists
// keeps its VPC and its zones.
func checkNetwork(tx *account.Tx, name string, config map[string]any, existing *account.Resource) (network, error) {
	n := network{subnets: map[string]string{}}
	var unsupported string
	for _, id := range props.Strs(config, "SubnetIds") {
		s, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return n, invalid("The subnet ID '%s' does not exist", id)
		}
		switch vpc := ec2.VPCOf(s); {
		case n.vpc == "":
			n.vpc = vpc
		case n.vpc != vpc:
			return n, invalid("Subnets specified must belong to the same VPC")
		}
		zone := ec2.ZoneOf(s)
		if slices.Contains(unsupportedZones, zone.ID) {
			unsupported = zone.Name
		}
		if _, ok := n.subnets[zone.Name]; !ok {
			n.subnets[zone.Name] = id
			n.zones = append(n.zones, zone.Name)
		}
		// Interfaces of the cluster itself occupy addresses of the subnets
		// that it already has.
		if existing == nil || !slices.Contains(props.Strs(existing.Props, "ResourcesVpcConfig", "SubnetIds"), id) {
			if ec2.AvailableAddresses(tx, s) < leastAddresses {
				return n, invalid("Subnet %s does not have enough free IP addresses: at least %d are required", id, leastAddresses)
			}
		}
	}
	slices.Sort(n.zones)
	if unsupported != "" {
		return n, &account.Error{Code: "UnsupportedAvailabilityZoneException", Message: fmt.Sprintf("Cannot create cluster '%s' because %s, the targeted availability zone, does not currently have sufficient capacity to support the cluster. Retry and choose from these availability zones: %s", name, unsupported, strings.Join(supportedZones(tx), ", ")), Status: 400}
	}
	if len(n.zones) < leastZones {
		return n, invalid("Subnets specified must be in at least two different AZs")
	}
	if existing != nil {
		if n.vpc != props.Str(existing.Data, "vpc") {
			return n, invalid("Subnets specified must belong to the VPC %s of the cluster", props.Str(existing.Data, "vpc"))
		}
		if zones := props.Strs(existing.Data, "zones"); !slices.Equal(zones, n.zones) {
			return n, invalid("Provided subnets belong to the AZs %v. Provided subnets must belong to the same set of AZs as the cluster was created with: %v", n.zones, zones)
		}
	}
	groups := props.Strs(config, "SecurityGroupIds")
	if len(groups) > mostGroups {
		return n, invalid("Cannot specify more than %d security groups", mostGroups)
	}
	var wrong []string
	for _, id := range groups {
		g, err := ec2.FindSecurityGroup(tx, id)
		if err != nil {
			return n, invalid("The security group '%s' does not exist", id)
		}
		if ec2.VPCOf(g) != n.vpc {
			wrong = append(wrong, id)
		}
	}
	if len(wrong) > 0 {
		return n, invalid("Security group(s) %v are not in the same VPC as the subnets. Please specify Security groups in the same VPC", wrong)
	}
	return n, nil
}

func supportedZones(tx *account.Tx) []string {
	var names []string
	for _, z := range tx.Zones() {
		if !slices.Contains(unsupportedZones, z.ID) {
			names = append(names, z.Name)
		}
	}
	return names
}

// reserved are ranges that can't be a public client's address. Those for
// documentation are taken, as AWS's own examples have them.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"),
}

// checkEndpoints checks how the API server is reached.
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html
func checkEndpoints(config map[string]any) error {
	if !props.Bool(config, true, "EndpointPublicAccess") && !props.Bool(config, false, "EndpointPrivateAccess") {
		return invalid("Private and public endpoint access cannot be false")
	}
	cidrs := props.Strs(config, "PublicAccessCidrs")
	if len(cidrs) > mostCIDRs {
		return invalid("The number of publicAccessCidrs exceeds the limit of %d", mostCIDRs)
	}
	var malformed, refused []string
	for _, c := range cidrs {
		p, err := netip.ParsePrefix(c)
		if err != nil || !p.Addr().Is4() || p != p.Masked() {
			malformed = append(malformed, c)
			continue
		}
		for _, r := range reserved {
			if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
				refused = append(refused, c)
				break
			}
		}
	}
	if len(malformed) > 0 {
		return invalid("The following CIDRs are invalid in publicAccessCidrs: [%s]", strings.Join(malformed, ", "))
	}
	if len(refused) > 0 {
		return invalid("The following CIDRs are not allowed in publicAccessCidrs: [%s]", strings.Join(refused, ", "))
	}
	return nil
}

func loggingOf(p map[string]any) []string {
	var on []string
	for _, t := range props.Maps(p, "Logging", "ClusterLogging", "EnabledTypes") {
		on = append(on, props.Str(t, "Type"))
	}
	slices.Sort(on)
	return slices.Compact(on)
}

func checkLogging(p map[string]any) error {
	for _, t := range loggingOf(p) {
		if !slices.Contains(logTypes, t) {
			return invalid("Invalid logging type %s, valid types are %v", t, logTypes)
		}
	}
	return nil
}

func encryptionKey(p map[string]any) string {
	for _, c := range props.Maps(p, "EncryptionConfig") {
		return props.Str(c, "Provider", "KeyArn")
	}
	return ""
}

func checkEncryption(tx *account.Tx, p map[string]any) error {
	for _, c := range props.Maps(p, "EncryptionConfig") {
		if res := props.Strs(c, "Resources"); len(res) != 1 || res[0] != "secrets" {
			return invalid("Invalid k8s resource for encryption")
		}
		arn := props.Str(c, "Provider", "KeyArn")
		if parts := strings.Split(arn, ":"); len(parts) == 6 && parts[3] != tx.Region() {
			return invalid("The keyArn for encryptionConfig is scoped to invalid aws region.")
		}
		if !usableKey(tx, arn) {
			return invalid("The keyArn in encryptionConfig provider %s is invalid", arn)
		}
	}
	return nil
}

// serviceRange is the range of Kubernetes services: the one asked for, or the
// one of AWS's two that the VPC leaves free.
func serviceRange(tx *account.Tx, config map[string]any, vpc string) (string, error) {
	if f := props.Str(config, "IpFamily"); f != "" && f != "ipv4" {
		return "", account.NotModelled("ipFamily %s is not modelled by the sandbox", f)
	}
	asked := props.Str(config, "ServiceIpv4Cidr")
	if asked == "" {
		asked = "10.100.0.0/16"
		if overlaps(tx, netip.MustParsePrefix("10.0.0.0/8"), vpc) {
			asked = "172.20.0.0/16"
		}
		return asked, nil
	}
	p, err := netip.ParsePrefix(asked)
	if err != nil || p != p.Masked() {
		return "", invalid("serviceIpv4Cidr %s is not a valid CIDR block", asked)
	}
	if !slices.ContainsFunc(reserved[:3], func(r netip.Prefix) bool { return r.Bits() <= p.Bits() && r.Contains(p.Addr()) }) {
		return "", invalid("serviceIpv4Cidr must be within RFC1918 range")
	}
	if p.Bits() < 12 || p.Bits() > 24 {
		return "", invalid("serviceIpv4Cidr netmask must be between /24 and /12")
	}
	if overlaps(tx, p, vpc) {
		return "", invalid("serviceIpv4Cidr %s overlaps with the CIDR blocks of the VPC %s", asked, vpc)
	}
	return asked, nil
}

// autoMode tells whether the cluster wants EKS to run its nodes.
func autoMode(p map[string]any) bool {
	return props.Bool(p, false, "ComputeConfig", "Enabled") || props.Bool(p, false, "StorageConfig", "BlockStorage", "Enabled") ||
		props.Bool(p, false, "KubernetesNetworkConfig", "ElasticLoadBalancing", "Enabled")
}

// The kinds of update, of which one operation may hold one.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html
const (
	versionUpdate    = "VersionUpdate"
	vpcUpdate        = "VpcConfigUpdate"
	endpointUpdate   = "EndpointAccessUpdate"
	loggingUpdate    = "LoggingUpdate"
	accessUpdate     = "AccessConfigUpdate"
	encryptionUpdate = "AssociateEncryptionConfig"
	versionRollback  = "VersionRollback"
)

// kinds lists the kinds of update between two sets of properties.
func kinds(old, next map[string]any) []string {
	var out []string
	add := func(changed bool, kind string) {
		if changed {
			out = append(out, kind)
		}
	}
	differ := func(path ...string) bool { return !props.Same(props.Get(old, path...), props.Get(next, path...)) }
	set := func(path ...string) bool {
		return !props.SameSet(props.Strs(old, path...), props.Strs(next, path...))
	}
	add(differ("Version") && props.Has(next, "Version"), versionUpdate)
	add(set("ResourcesVpcConfig", "SubnetIds") || set("ResourcesVpcConfig", "SecurityGroupIds"), vpcUpdate)
	add(differ("ResourcesVpcConfig", "EndpointPublicAccess") || differ("ResourcesVpcConfig", "EndpointPrivateAccess") || set("ResourcesVpcConfig", "PublicAccessCidrs"), endpointUpdate)
	add(!slices.Equal(loggingOf(old), loggingOf(next)), loggingUpdate)
	add(differ("AccessConfig", "AuthenticationMode"), accessUpdate)
	add(supportOf(old) != supportOf(next), "UpgradePolicyUpdate")
	add(differ("EncryptionConfig"), encryptionUpdate)
	add(differ("ZonalShiftConfig"), "ZonalShiftConfigUpdate")
	add(differ("ComputeConfig") || differ("StorageConfig") || differ("KubernetesNetworkConfig", "ElasticLoadBalancing"), "AutoModeUpdate")
	add(differ("RemoteNetworkConfig"), "RemoteNetworkConfigUpdate")
	add(differ("ControlPlaneScalingConfig"), "ControlPlaneScalingConfigUpdate")
	add(props.Bool(old, false, "DeletionProtection") != props.Bool(next, false, "DeletionProtection"), "DeletionProtectionUpdate")
	return out
}

func updateCluster(tx *account.Tx, r *account.Resource, next map[string]any) error {
	all := kinds(r.Props, next)
	if len(all) > 1 {
		return invalid("Only one type of update can be allowed.")
	}
	if len(all) == 0 {
		r.Data["change"] = "update-tags"
		r.Retag(next, "Tags")
		return nil
	}
	kind := all[0]
	if err := busy(r, kind); err != nil {
		return err
	}
	if autoMode(next) || props.Has(next, "RemoteNetworkConfig") {
		return account.NotModelled("%s is not modelled by the sandbox", kind)
	}
	change := "update-config"
	switch kind {
	case versionUpdate:
		to, from := props.Str(next, "Version"), props.Str(r.Data, "version")
		if to == from {
			return invalid("Cluster is already at the desired configuration with version: %s", to)
		}
		if minor(to) == minor(from)-1 {
			if err := checkRollback(tx, r, to, next); err != nil {
				return err
			}
			kind, change = versionRollback, "update-version"
			break
		}
		if k, ok := known(to); !ok || minor(to) != minor(from)+1 || k.support(tx.Now()) == "UNSUPPORTED" {
			return invalid("Unsupported Kubernetes minor version update from %s to %s", from, to)
		}
		for _, n := range nodegroups(tx, r.ID) {
			// https://kubernetes.io/releases/version-skew-policy/#kubelet
			if v := props.Str(n.Data, "version"); minor(to)-minor(v) > 3 {
				return invalidRequest("Nodegroups [%s] must be updated to match cluster version %s before updating cluster version", nodegroupName(n), from)
			}
		}
		change = "update-version"
	case vpcUpdate:
		if _, err := checkNetwork(tx, r.ID, props.Map(next, "ResourcesVpcConfig"), r); err != nil {
			return err
		}
	case endpointUpdate:
		if err := checkEndpoints(props.Map(next, "ResourcesVpcConfig")); err != nil {
			return err
		}
	case loggingUpdate:
		if err := checkLogging(next); err != nil {
			return err
		}
	case accessUpdate:
		from, to := modeOf(r.Props), modeOf(next)
		if slices.Index(modes, to) != slices.Index(modes, from)+1 {
			return invalid("Unsupported authentication mode update from %s to %s", from, to)
		}
	case "UpgradePolicyUpdate":
		if err := checkSupport(tx, props.Str(r.Data, "version"), next); err != nil {
			return err
		}
		change = "update-tags"
	case "DeletionProtectionUpdate":
		change = "update-tags"
	case encryptionUpdate:
		if encryptionKey(r.Props) != "" {
			return invalidRequest("Encryption config is already associated with the cluster %s; it can't be changed or removed", r.ID)
		}
		if err := checkEncryption(tx, next); err != nil {
			return err
		}
	}
	r.Retag(next, "Tags")
	r.Status = "UPDATING"
	r.Data["change"] = change
	if change == "update-version" {
		r.Data["becomes"] = props.Str(next, "Version")
	}
	begin(tx, r, kind)
	return nil
}

// modes are the authentication modes in the order they may be taken.
var modes = []string{"CONFIG_MAP", "API_AND_CONFIG_MAP", "API"}

func modeOf(p map[string]any) string {
	if m := props.Str(p, "AccessConfig", "AuthenticationMode"); m != "" {
		return m
	}
	return modes[0]
}

// busy refuses an operation while the cluster is being changed.
func busy(r *account.Resource, kind string) error {
	if r.Status == "ACTIVE" {
		return nil
	}
	for _, u := range props.Maps(r.Data, "updates") {
		if props.Str(u, "status") == "InProgress" {
			return inUse("Cannot %s because cluster %s currently has update %s in progress", kind, r.ID, props.Str(u, "id"))
		}
	}
	return inUse("Cannot %s because cluster %s is in status %s", kind, r.ID, r.Status)
}

// begin notes an update of a cluster, node group or add-on.
func begin(tx *account.Tx, r *account.Resource, kind string) {
	hex := tx.HexID(32)
	id := strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
	r.Data["updates"] = append(props.List(r.Data, "updates"), map[string]any{"id": id, "type": kind, "status": "InProgress", "params": []any{}, "errors": []any{}, "createdAt": tx.Now()})
}

// finish ends the update under way.
func finish(r *account.Resource, failure map[string]any) {
	for _, u := range props.Maps(r.Data, "updates") {
		if props.Str(u, "status") == "InProgress" {
			u["status"] = "Successful"
			if failure != nil {
				u["status"] = "Failed"
				u["errors"] = []any{map[string]any{"errorCode": errorCode(props.Str(failure, "code")), "errorMessage": failure["message"], "resourceIds": failure["resourceIds"]}}
			}
		}
	}
}

// errorCodes are those that updates fail with; other issues than these are seen
// in the health of what was updated.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_ErrorDetail.html
var errorCodes = []string{
	"SubnetNotFound", "SecurityGroupNotFound", "EniLimitReached", "IpNotAvailable", "AccessDenied", "OperationNotPermitted", "VpcIdNotFound", "NodeCreationFailure", "PodEvictionFailure",
	"InsufficientFreeAddresses", "ClusterUnreachable", "InsufficientNumberOfReplicas", "ConfigurationConflict", "AdmissionRequestDenied", "UnsupportedAddonModification", "K8sResourceNotFound",
}

func errorCode(issue string) string {
	switch {
	case slices.Contains(errorCodes, issue):
		return issue
	case issue == "AsgInstanceLaunchFailures":
		return "NodeCreationFailure"
	}
	return "Unknown"
}

func settleCluster(tx *account.Tx, r *account.Resource, op string) error {
	before := props.Str(r.Data, "version")
	if v := props.Str(r.Data, "becomes"); v != "" {
		r.Data["version"] = v
		delete(r.Data, "upgraded")
		if minor(v) > minor(before) {
			r.Data["upgraded"] = map[string]any{"from": before, "at": tx.Now()}
		}
		delete(r.Data, "becomes")
		if p := props.Str(r.Props, "Version"); p != "" && p != v {
			// EKS upgraded the cluster by itself.
			r.Props = maps.Clone(r.Props)
			r.Props["Version"] = v
		}
	}
	if op == "create" || props.Str(r.Data, "version") != before || props.Str(r.Data, "support") != supportOf(r.Props) {
		r.Data["support"] = supportOf(r.Props)
		watchSupport(tx, r)
	}
	switch op {
	case "create":
		creatorEntry(tx, r)
		r.Attrs["EncryptionConfigKeyArn"] = encryptionKey(r.Props)
	case "update":
		r.Attrs["EncryptionConfigKeyArn"] = encryptionKey(r.Props)
		config := props.Map(r.Props, "ResourcesVpcConfig")
		var failure map[string]any
		net, err := checkNetwork(tx, r.ID, config, r)
		if err == nil {
			err = place(tx, r.ID, net, append([]string{props.Str(r.Attrs, "ClusterSecurityGroupId")}, props.Strs(config, "SecurityGroupIds")...))
		}
		if err != nil {
			failure = issue("Unknown", err.Error())
		}
		finish(r, failure)
	}
	r.Status = "ACTIVE"
	return writeLogs(tx, r)
}

func deleteCluster(tx *account.Tx, r *account.Resource) error {
	if props.Bool(r.Props, false, "DeletionProtection") {
		return invalidRequest("Cannot delete cluster %s because deletion protection is enabled", r.ID)
	}
	if r.Status == "UPDATING" {
		return busy(r, "delete")
	}
	if len(nodegroups(tx, r.ID)) > 0 {
		return inUse("Cluster has nodegroups attached")
	}
	r.Status = "DELETING"
	// The control plane logs until its end.
	return writeLogs(tx, r)
}

// clusterGone removes what the cluster made: its interfaces, its group unless
// something still uses it, its add-ons and its access entries.
func clusterGone(tx *account.Tx, r *account.Resource) {
	ec2.RemoveInterfaces(tx, interfaces(tx, r.ID))
	// A group in use stays behind, which nobody is told.
	_ = dropGroup(tx, props.Str(r.Attrs, "ClusterSecurityGroupId"))
	tx.Drop(typeIdentityProvider, r.ID)
	for _, t := range []string{TypeAddon, TypeAccessEntry} {
		for _, x := range tx.List(t) {
			if props.Str(x.Props, "ClusterName") == r.ID {
				tx.Drop(t, x.ID)
			}
		}
	}
}

// writeLogs makes the log group that the control plane's logs go to.
// https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html
func writeLogs(tx *account.Tx, c *account.Resource) error {
	name := "/aws/eks/" + c.ID + "/cluster"
	if len(loggingOf(c.Props)) == 0 || tx.Get("AWS::Logs::LogGroup", name) != nil {
		return nil
	}
	_, _, err := tx.Create("AWS::Logs::LogGroup", map[string]any{"LogGroupName": name}, service, true)
	return err
}

// usableKey tells whether EKS may encrypt secrets with a key for the caller.
// https://docs.aws.amazon.com/eks/latest/userguide/enable-kms.html
func usableKey(tx *account.Tx, arn string) bool {
	// EKS does not say that its grants are for an AWS resource.
	_, err := kms.Usable(tx, arn, "", nil, "kms:DescribeKey", "kms:CreateGrant")
	return err == nil
}
