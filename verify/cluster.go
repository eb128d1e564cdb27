package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// clusterFacts are what the cluster is, and its nodes.
type clusterFacts struct {
	clusterFact        fact[*types.Cluster]
	clusterVersionFact fact[*types.ClusterVersionInformation]
	clusterAddonsFact  fact[map[string]*types.Addon]
	clusterIssuersFact fact[[]types.IdentityProviderConfig]

	accessFacts
	nodeFacts
}

// cluster is the EKS cluster, or nil.
func (l *look) cluster() (*types.Cluster, error) {
	return l.clusterFact.get(func() (*types.Cluster, error) {
		name := l.arch.ClusterName()
		out, err := l.aws.EKS.DescribeCluster(l.ctx, &eks.DescribeClusterInput{Name: &name})
		if awsapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look up cluster %s: %w", name, err)
		}
		return out.Cluster, nil
	})
}

// onCluster looks at the cluster. Where there is none, a check has nothing to
// look at; cluster-active says so.
func onCluster(f func(l *look, r *result, c *types.Cluster) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		c, err := l.cluster()
		if err != nil || c == nil {
			return err
		}
		return f(l, r, c)
	}
}

// clusterVersion is what EKS says of the cluster's Kubernetes version, or nil
// if it no longer knows it.
func (l *look) clusterVersion(version string) (*types.ClusterVersionInformation, error) {
	return l.clusterVersionFact.get(func() (*types.ClusterVersionInformation, error) {
		pages := eks.NewDescribeClusterVersionsPaginator(l.aws.EKS, &eks.DescribeClusterVersionsInput{
			ClusterVersions: []string{version}, IncludeAll: aws.Bool(true),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("ask about Kubernetes %s: %w", version, err)
			}
			for _, v := range page.ClusterVersions {
				if aws.ToString(v.ClusterVersion) == version {
					return &v, nil
				}
			}
		}
		return nil, nil
	})
}

// clusterAddons are the EKS add-ons by name.
func (l *look) clusterAddons() (map[string]*types.Addon, error) {
	return l.clusterAddonsFact.get(func() (map[string]*types.Addon, error) {
		name := l.arch.ClusterName()
		found := map[string]*types.Addon{}
		pages := eks.NewListAddonsPaginator(l.aws.EKS, &eks.ListAddonsInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the add-ons of %s: %w", name, err)
			}
			for _, addon := range page.Addons {
				out, err := orNone(l.aws.EKS.DescribeAddon(l.ctx, &eks.DescribeAddonInput{ClusterName: &name, AddonName: &addon}))
				if err != nil {
					return nil, fmt.Errorf("look up add-on %s: %w", addon, err)
				}
				if out != nil {
					found[addon] = out.Addon
				}
			}
		}
		return found, nil
	})
}

// clusterIssuers are the OpenID Connect providers whose tokens the cluster
// takes.
func (l *look) clusterIssuers() ([]types.IdentityProviderConfig, error) {
	return l.clusterIssuersFact.get(func() ([]types.IdentityProviderConfig, error) {
		name := l.arch.ClusterName()
		var found []types.IdentityProviderConfig
		pages := eks.NewListIdentityProviderConfigsPaginator(l.aws.EKS, &eks.ListIdentityProviderConfigsInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the identity providers of %s: %w", name, err)
			}
			found = append(found, page.IdentityProviderConfigs...)
		}
		return found, nil
	})
}

// subnetsByID are the subnets of the VPC by id.
func (l *look) subnetsByID() (map[string]ec2types.Subnet, error) {
	all, err := l.subnets()
	if err != nil {
		return nil, err
	}
	found := map[string]ec2types.Subnet{}
	for _, s := range all {
		found[aws.ToString(s.SubnetId)] = s
	}
	return found, nil
}

// groupsByID are the security groups of the VPC by id.
func (l *look) groupsByID() (map[string]ec2types.SecurityGroup, error) {
	all, err := l.securityGroups()
	if err != nil {
		return nil, err
	}
	found := map[string]ec2types.SecurityGroup{}
	for _, g := range all {
		found[aws.ToString(g.GroupId)] = g
	}
	return found, nil
}

// clusterInterfaces are the interfaces of the control plane in the VPC, which
// EKS describes by the cluster's name.
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func (l *look) clusterInterfaces(c *types.Cluster) ([]ec2types.NetworkInterface, error) {
	all, err := l.networkInterfaces()
	if err != nil {
		return nil, err
	}
	var found []ec2types.NetworkInterface
	for _, f := range all {
		if aws.ToString(f.Description) == "Amazon EKS "+aws.ToString(c.Name) {
			found = append(found, f)
		}
	}
	return found, nil
}

func clusterChecks() []Check {
	return slices.Concat([]Check{
		{ID: "cluster-active", Proves: "The EKS cluster is there, serves and reports no health issues.", Level: Required, Rows: []string{"C10"}, run: clusterActive},
		{ID: "cluster-version", Proves: "The control plane runs the configured Kubernetes version, or a newer one.", Level: Required, Rows: []string{"C10"}, run: onCluster(clusterVersionAsConfigured)},
		{ID: "cluster-version-supported", Proves: "The Kubernetes version is in EKS's standard support.", Level: Advised, Rows: []string{"C10", "S7"}, run: onCluster(clusterVersionSupported)},
		{ID: "cluster-upgrade-policy", Proves: "EKS does not upgrade Kubernetes on its own while it supports the version.", Level: Advised, Rows: []string{"C10"}, run: onCluster(clusterUpgradePolicy)},
		{ID: "cluster-service-range", Proves: "Kubernetes services have the configured range.", Level: Required, Rows: []string{"C10"}, run: onCluster(clusterServiceRange)},
		{ID: "cluster-private-endpoint", Proves: "The Kubernetes API is reached inside the VPC.", Level: Required, Rows: []string{"B28", "S3"}, run: onCluster(clusterPrivateEndpoint)},
		{ID: "cluster-public-endpoint", Proves: "From the internet the Kubernetes API is reached by the configured ranges only, or not at all.", Level: Required, Rows: []string{"B28", "S3"}, run: onCluster(clusterPublicEndpoint)},
		{ID: "cluster-subnets", Proves: "The control plane is bound to the control-plane subnets, one in each zone.", Level: Required, Rows: []string{"C2", "C7", "S8"}, run: onCluster(clusterInSubnets)},
		{ID: "cluster-interfaces", Proves: "The control plane's interfaces are in two zones of these subnets at least, without public addresses.", Level: Required, Rows: []string{"C2", "S8"}, run: onCluster(clusterAtInterfaces)},
		{ID: "cluster-security-group", Proves: "The control plane has its own security group, and none of its groups lets anywhere in.", Level: Required, Rows: []string{"C2", "S3"}, run: onCluster(clusterSecurityGroups)},
		{ID: "cluster-logs", Proves: "All configured logs of the control plane are on.", Level: Required, Rows: []string{"B44", "S7"}, run: onCluster(clusterLogs)},
		{ID: "cluster-secrets-encrypted", Proves: "Kubernetes secrets are encrypted with the Kubernetes key.", Level: Required, Rows: []string{"B14", "S4", "S7"}, run: onCluster(clusterSecretsEncrypted)},
		{ID: "cluster-deletion-protection", Proves: "EKS refuses to delete the cluster.", Level: Required, Rows: []string{"B48"}, run: onCluster(clusterProtected)},
		{ID: "cluster-zonal-shift", Proves: "Traffic inside the cluster can be shifted away from an impaired zone.", Level: Advised, Rows: []string{"S8"}, run: onCluster(clusterZonalShift)},
		{ID: "cluster-role", Proves: "EKS acts by the role that is made for it.", Level: Required, Rows: []string{"S6"}, run: onCluster(clusterRole)},
		{ID: "cluster-addons-there", Proves: "All add-ons that the deployment needs are installed.", Level: Required, Rows: []string{"C10"}, run: onCluster(clusterAddonsThere)},
		{ID: "cluster-addons-healthy", Proves: "The add-ons are active and report no health issues.", Level: Required, Rows: []string{"C10"}, run: onCluster(clusterAddonsHealthy)},
		{ID: "cluster-addon-versions", Proves: "Add-ons have versions that are configured and that EKS has for this Kubernetes version.", Level: Advised, Rows: []string{"C10", "S7"}, run: onCluster(clusterAddonVersions)},
		{ID: "cluster-addon-roles", Proves: "Add-ons that call AWS do so by the roles of their service accounts.", Level: Required, Rows: []string{"C4", "B38"}, run: onCluster(clusterAddonRoles)},
	}, accessChecks())
}

func clusterActive(l *look, r *result) error {
	c, err := l.cluster()
	if err != nil {
		return err
	}
	const api = "eks:DescribeCluster"
	if c == nil {
		r.missing(l.arch.ClusterName(), api, "run poolhouse create with the configuration: it makes what is missing")
		return nil
	}
	// A cluster that is being updated serves.
	ok := c.Status == types.ClusterStatusActive || c.Status == types.ClusterStatusUpdating
	r.saw(ok, aws.ToString(c.Arn), "status "+string(c.Status), api, "status ACTIVE", "see the cluster's health issues in EKS, and open a case with AWS if there are none")
	if c.Health != nil {
		for _, i := range c.Health.Issues {
			r.saw(false, aws.ToString(c.Arn), fmt.Sprintf("issue %s: %s", i.Code, aws.ToString(i.Message)), api, "no health issues",
				"mend what the issue names: https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html#cluster-health-status")
		}
	}
	return nil
}

// kubernetesMinor is the 35 of 1.35, or -1.
func kubernetesMinor(version string) int {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major != 1 {
		return -1
	}
	return minor
}

func clusterVersionAsConfigured(l *look, r *result, c *types.Cluster) error {
	saw, want := aws.ToString(c.Version), l.arch.Config.Cluster.Version
	r.saw(kubernetesMinor(saw) >= kubernetesMinor(want), aws.ToString(c.Arn), "Kubernetes "+saw, "eks:DescribeCluster", want+" or newer",
		"run poolhouse update with the configuration: it upgrades one minor version at a time")
	return nil
}

func clusterVersionSupported(l *look, r *result, c *types.Cluster) error {
	version := aws.ToString(c.Version)
	v, err := l.clusterVersion(version)
	if err != nil {
		return err
	}
	const api = "eks:DescribeClusterVersions"
	saw, ok := "Kubernetes "+version+" is no version that EKS names", false
	if v != nil {
		ok = v.VersionStatus == types.VersionStatusStandardSupport
		saw = fmt.Sprintf("Kubernetes %s, %s", version, strings.ToLower(strings.ReplaceAll(string(v.VersionStatus), "_", " ")))
		end := v.EndOfStandardSupportDate
		if !ok {
			end = v.EndOfExtendedSupportDate
		}
		if end != nil {
			saw += " until " + end.UTC().Format("2006-01-02")
		}
	}
	r.saw(ok, aws.ToString(c.Arn), saw, api, "standard support", "raise cluster.version by one minor version at a time and run poolhouse update; extended support costs more per hour, and EKS upgrades by itself when that ends")
	return nil
}

func clusterUpgradePolicy(_ *look, r *result, c *types.Cluster) error {
	saw := "not set"
	if c.UpgradePolicy != nil {
		saw = string(c.UpgradePolicy.SupportType)
	}
	r.saw(saw == string(types.SupportTypeExtended), aws.ToString(c.Arn), "support type "+saw, "eks:DescribeCluster", "support type EXTENDED, with which the time of an upgrade is yours", fixUpdate)
	return nil
}

func clusterServiceRange(l *look, r *result, c *types.Cluster) error {
	var saw string
	if c.KubernetesNetworkConfig != nil {
		saw = aws.ToString(c.KubernetesNetworkConfig.ServiceIpv4Cidr)
	}
	want := l.arch.Config.Cluster.ServiceCIDR
	r.saw(saw == want, aws.ToString(c.Arn), "services in "+saw, "eks:DescribeCluster", want, "write "+saw+" as cluster.serviceCidr: the range of a cluster can't change")
	return nil
}

func clusterPrivateEndpoint(_ *look, r *result, c *types.Cluster) error {
	on := c.ResourcesVpcConfig.EndpointPrivateAccess
	r.saw(on, aws.ToString(c.Arn), "private endpoint "+yesNo(on), "eks:DescribeCluster", "on", fixUpdate)
	return nil
}

// wide says whether a range stands for more or less everywhere.
func wide(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err != nil || p.Bits() < 8
}

func clusterPublicEndpoint(l *look, r *result, c *types.Cluster) error {
	const api = "eks:DescribeCluster"
	allowed := l.arch.Config.Cluster.PublicAccessCIDRs
	arn := aws.ToString(c.Arn)
	if !c.ResourcesVpcConfig.EndpointPublicAccess {
		r.saw(len(allowed) == 0, arn, "public endpoint off", api, "public endpoint on for "+strings.Join(allowed, ", "), fixUpdate)
		return nil
	}
	if len(allowed) == 0 {
		r.saw(false, arn, "public endpoint on for "+strings.Join(c.ResourcesVpcConfig.PublicAccessCidrs, ", "), api, "public endpoint off", fixUpdate)
		return nil
	}
	for _, cidr := range c.ResourcesVpcConfig.PublicAccessCidrs {
		r.saw(slices.Contains(allowed, cidr) && !wide(cidr), arn, "public endpoint on for "+cidr, api, "only "+strings.Join(allowed, ", "), fixUpdate)
	}
	for _, cidr := range allowed {
		if !slices.Contains(c.ResourcesVpcConfig.PublicAccessCidrs, cidr) {
			r.saw(false, arn, "public endpoint closed to "+cidr, api, "open to it", fixUpdate)
		}
	}
	return nil
}

func clusterInSubnets(l *look, r *result, c *types.Cluster) error {
	subnets, err := l.subnetsByID()
	if err != nil {
		return err
	}
	const fix = "run poolhouse update with the configuration: it binds the cluster to its subnets again; EKS takes new subnets in the same zones only"
	bound, zones := 0, map[string]bool{}
	for _, id := range c.ResourcesVpcConfig.SubnetIds {
		s, ok := subnets[id]
		if !ok {
			r.missing(id, "ec2:DescribeSubnets", "make a subnet in the same zone and run poolhouse update")
			continue
		}
		bound++
		zones[aws.ToString(s.AvailabilityZoneId)] = true
		ok, want := l.plannedIn(architecture.ControlPlane, s)
		r.saw(ok, id, aws.ToString(s.CidrBlock)+" in "+aws.ToString(s.AvailabilityZoneId), "eks:DescribeCluster", "one of the control-plane subnets "+want, fix)
	}
	want := len(l.arch.ControlPlaneSubnets())
	r.saw(bound >= want && len(zones) >= 2, aws.ToString(c.Arn), fmt.Sprintf("%d subnets in %s", bound, strings.Join(sortedKeys(zones), ", ")), "eks:DescribeCluster", fmt.Sprintf("%d subnets in 2 zones or more", want), fix)
	return nil
}

func clusterAtInterfaces(l *look, r *result, c *types.Cluster) error {
	faces, err := l.clusterInterfaces(c)
	if err != nil {
		return err
	}
	subnets, err := l.subnetsByID()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeNetworkInterfaces"
	zones := map[string]bool{}
	for _, f := range faces {
		s := subnets[aws.ToString(f.SubnetId)]
		zones[aws.ToString(s.AvailabilityZoneId)] = true
		saw := fmt.Sprintf("%s in %s", aws.ToString(f.PrivateIpAddress), aws.ToString(s.AvailabilityZoneId))
		if f.Association != nil && f.Association.PublicIp != nil {
			r.saw(false, aws.ToString(f.NetworkInterfaceId), saw+" with public address "+*f.Association.PublicIp, api, "no public address", "take the address away: aws ec2 disassociate-address")
			continue
		}
		ok := slices.Contains(c.ResourcesVpcConfig.SubnetIds, aws.ToString(f.SubnetId))
		r.saw(ok, aws.ToString(f.NetworkInterfaceId), saw, api, "in one of the cluster's subnets", "wait until EKS has moved it, which it does after an update of the subnets")
	}
	r.saw(len(zones) >= 2, aws.ToString(c.Arn), fmt.Sprintf("%d interfaces in %d zones", len(faces), len(zones)), api, "interfaces in 2 zones",
		"see that the control-plane subnets have free addresses, and open a case with AWS if they do")
	return nil
}

// openTo are the ranges from everywhere that a group's rules let in, with
// their ports.
func openTo(g ec2types.SecurityGroup) []string {
	var out []string
	for _, p := range g.IpPermissions {
		for _, cidr := range permittedRanges(p) {
			if wide(cidr) {
				out = append(out, cidr+" to "+permittedPorts(p))
			}
		}
	}
	return out
}

// permittedRanges are the ranges that a rule names, of both families.
func permittedRanges(p ec2types.IpPermission) []string {
	var out []string
	for _, x := range p.IpRanges {
		out = append(out, aws.ToString(x.CidrIp))
	}
	for _, x := range p.Ipv6Ranges {
		out = append(out, aws.ToString(x.CidrIpv6))
	}
	return out
}

// permittedPorts are the ports of a rule for people.
func permittedPorts(p ec2types.IpPermission) string {
	protocol := aws.ToString(p.IpProtocol)
	from, to := aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort)
	switch {
	case protocol == "-1":
		return "everything"
	case p.FromPort == nil:
		return protocol
	case from == to:
		return fmt.Sprintf("%s %d", protocol, from)
	}
	return fmt.Sprintf("%s %d-%d", protocol, from, to)
}

func clusterSecurityGroups(l *look, r *result, c *types.Cluster) error {
	groups, err := l.groupsByID()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeSecurityGroups"
	own := l.groupNamed(groups, "control-plane")
	ids := append([]string{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}, c.ResourcesVpcConfig.SecurityGroupIds...)
	r.saw(own != "" && slices.Contains(ids, own), aws.ToString(c.Arn), "groups "+strings.Join(ids, ", "), "eks:DescribeCluster",
		"among them "+l.arch.ResourceName("control-plane"), fixUpdate)
	for _, id := range ids {
		g, ok := groups[id]
		if !ok {
			r.missing(id, api, fixUpdate)
			continue
		}
		open := openTo(g)
		saw := fmt.Sprintf("%d rules, none for everywhere", len(g.IpPermissions))
		if len(open) > 0 {
			saw = "lets in " + strings.Join(open, ", ")
		}
		r.saw(len(open) == 0, id, saw, api, "no rule for everywhere", "remove the rule: aws ec2 revoke-security-group-ingress --group-id "+id)
	}
	return nil
}

// groupNamed is the id of the deployment's security group whose name is that of
// a part, or "". Names and tags come from the deployment.
func (l *look) groupNamed(groups map[string]ec2types.SecurityGroup, part string) string {
	for _, id := range sortedKeys(groups) {
		tags := ec2Tags(groups[id].Tags)
		if tags[architecture.DeploymentTag] == l.arch.Name() && tags["Name"] == l.arch.ResourceName(part) {
			return id
		}
	}
	return ""
}

// ec2Tags are tags as a map.
func ec2Tags(tags []ec2types.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range tags {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

func clusterLogs(l *look, r *result, c *types.Cluster) error {
	want := l.arch.Config.Cluster.Logs
	if len(want) == 0 {
		r.na("cluster.logs is empty")
		return nil
	}
	on := map[string]bool{}
	if c.Logging != nil {
		for _, setup := range c.Logging.ClusterLogging {
			for _, t := range setup.Types {
				on[string(t)] = on[string(t)] || aws.ToBool(setup.Enabled)
			}
		}
	}
	for _, t := range want {
		r.saw(on[t], aws.ToString(c.Arn), "log "+t+" "+yesNo(on[t]), "eks:DescribeCluster", "on", fixUpdate)
	}
	return nil
}

// keyIDOf is the id of a KMS key from its ARN.
func keyIDOf(arn string) string { return strings.TrimPrefix(resourceOf(arn), "key/") }

func clusterSecretsEncrypted(l *look, r *result, c *types.Cluster) error {
	keys, err := l.keys()
	if err != nil {
		return err
	}
	saw, ok := "not encrypted with a key of yours", false
	for _, e := range c.EncryptionConfig {
		// All of Kubernetes' data is encrypted with the key, whatever the
		// resources that the entry names.
		// https://docs.aws.amazon.com/eks/latest/userguide/envelope-encryption.html
		if e.Provider != nil {
			saw = aws.ToString(e.Provider.KeyArn)
			ok = keys[architecture.KeyKubernetes] != "" && keyIDOf(saw) == keys[architecture.KeyKubernetes]
		}
	}
	r.saw(ok, aws.ToString(c.Arn), "secrets: "+saw, "eks:DescribeCluster", "the key "+l.arch.KeyAlias(architecture.KeyKubernetes),
		"EKS can't change the key of a cluster: make a new deployment and move to it")
	return nil
}

func clusterProtected(l *look, r *result, c *types.Cluster) error {
	if !l.arch.Config.Database.DeletionProtection {
		r.na("the configuration does not ask for deletion protection (database.deletionProtection)")
		return nil
	}
	on := aws.ToBool(c.DeletionProtection)
	r.saw(on, aws.ToString(c.Arn), "deletion protection "+yesNo(on), "eks:DescribeCluster", "on", "run poolhouse update with the configuration: its last step switches it on")
	return nil
}

func clusterZonalShift(_ *look, r *result, c *types.Cluster) error {
	on := c.ZonalShiftConfig != nil && aws.ToBool(c.ZonalShiftConfig.Enabled)
	r.saw(on, aws.ToString(c.Arn), "zonal shift "+yesNo(on), "eks:DescribeCluster", "on", fixUpdate)
	return nil
}

func clusterRole(l *look, r *result, c *types.Cluster) error {
	want := l.roleARN("cluster")
	r.saw(aws.ToString(c.RoleArn) == want, aws.ToString(c.Arn), aws.ToString(c.RoleArn), "eks:DescribeCluster", want, "EKS can't change the role of a cluster: make a new deployment and move to it")
	return nil
}

// roleARN is the ARN of a role of the deployment.
func (l *look) roleARN(part string) string {
	return l.iamARN("role/" + l.arch.RoleName(part))
}

// expectedAddons are the add-ons of the deployment.
func (l *look) expectedAddons() []string {
	out := []string{"vpc-cni", "kube-proxy", "coredns", "aws-ebs-csi-driver", "metrics-server", "snapshot-controller"}
	if l.arch.Config.Cluster.AddonVersions["eks-pod-identity-agent"] != "" {
		out = append(out, "eks-pod-identity-agent")
	}
	return out
}

func clusterAddonsThere(l *look, r *result, c *types.Cluster) error {
	addons, err := l.clusterAddons()
	if err != nil {
		return err
	}
	for _, name := range l.expectedAddons() {
		if a := addons[name]; a != nil {
			r.saw(true, aws.ToString(a.AddonArn), aws.ToString(a.AddonVersion), "eks:DescribeAddon", "", "")
			continue
		}
		r.missing("add-on "+name+" of "+aws.ToString(c.Name), "eks:ListAddons", fixUpdate)
	}
	return nil
}

// eachAddon calls f for the deployment's add-ons that are there.
func (l *look) eachAddon(f func(name string, a *types.Addon) error) error {
	addons, err := l.clusterAddons()
	if err != nil {
		return err
	}
	for _, name := range l.expectedAddons() {
		if a := addons[name]; a != nil {
			if err := f(name, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func clusterAddonsHealthy(l *look, r *result, _ *types.Cluster) error {
	return l.eachAddon(func(_ string, a *types.Addon) error {
		saw := "status " + string(a.Status)
		ok := a.Status == types.AddonStatusActive || a.Status == types.AddonStatusUpdating
		if a.Health != nil {
			for _, i := range a.Health.Issues {
				ok = false
				saw += fmt.Sprintf(", issue %s: %s", i.Code, aws.ToString(i.Message))
			}
		}
		r.saw(ok, aws.ToString(a.AddonArn), saw, "eks:DescribeAddon", "status ACTIVE without issues", "mend what the issue names; if nodes are missing, see nodes-running")
		return nil
	})
}

func clusterAddonVersions(l *look, r *result, c *types.Cluster) error {
	return l.eachAddon(func(name string, a *types.Addon) error {
		saw, arn := aws.ToString(a.AddonVersion), aws.ToString(a.AddonArn)
		if want := l.arch.Config.Cluster.AddonVersions[name]; want != "" && want != saw {
			r.saw(false, arn, saw, "eks:DescribeAddon", want, fixUpdate)
			return nil
		}
		offered := false
		pages := eks.NewDescribeAddonVersionsPaginator(l.aws.EKS, &eks.DescribeAddonVersionsInput{AddonName: &name, KubernetesVersion: c.Version})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return fmt.Errorf("ask for the versions of add-on %s: %w", name, err)
			}
			for _, info := range page.Addons {
				offered = offered || slices.ContainsFunc(info.AddonVersions, func(v types.AddonVersionInfo) bool { return aws.ToString(v.AddonVersion) == saw })
			}
		}
		r.saw(offered, arn, saw, "eks:DescribeAddonVersions", "a version that EKS has for Kubernetes "+aws.ToString(c.Version),
			"write a version from aws eks describe-addon-versions --addon-name "+name+" under cluster.addonVersions, and run poolhouse update")
		return nil
	})
}

func clusterAddonRoles(l *look, r *result, _ *types.Cluster) error {
	roles := map[string]string{"vpc-cni": architecture.RoleVPCCNI, "aws-ebs-csi-driver": architecture.RoleEBSCSI}
	return l.eachAddon(func(name string, a *types.Addon) error {
		if part := roles[name]; part != "" {
			want, saw := l.roleARN(part), aws.ToString(a.ServiceAccountRoleArn)
			ok := saw == want
			if saw == "" {
				saw = "no role: it takes the node's"
			}
			r.saw(ok, aws.ToString(a.AddonArn), saw, "eks:DescribeAddon", want, fixUpdate)
		}
		return nil
	})
}
