// Package cluster has the checks of the EKS cluster: its control plane, add-ons, and who
// has access to it.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: what lies inside the cluster is not looked at.
package cluster

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
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// clusterFacts are what the cluster is.
type clusterFacts struct {
	clusterVersionFact account.Fact[*types.ClusterVersionInformation]
	clusterIssuersFact account.Fact[[]types.IdentityProviderConfig]
}

// clusterVersion is what EKS says of the cluster's Kubernetes version, or nil
// if it no longer knows it.
func clusterVersion(l *account.Look, version string) (*types.ClusterVersionInformation, error) {
	return account.Facts[clusterFacts](l).clusterVersionFact.Get(func() (*types.ClusterVersionInformation, error) {
		pages := eks.NewDescribeClusterVersionsPaginator(l.AWS.EKS, &eks.DescribeClusterVersionsInput{
			ClusterVersions: []string{version}, IncludeAll: aws.Bool(true),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
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

// clusterIssuers are the OpenID Connect providers whose tokens the cluster
// takes.
func clusterIssuers(l *account.Look) ([]types.IdentityProviderConfig, error) {
	return account.Facts[clusterFacts](l).clusterIssuersFact.Get(func() ([]types.IdentityProviderConfig, error) {
		name := l.Arch.ClusterName()
		var found []types.IdentityProviderConfig
		pages := eks.NewListIdentityProviderConfigsPaginator(l.AWS.EKS, &eks.ListIdentityProviderConfigsInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list the identity providers of %s: %w", name, err)
			}
			found = append(found, page.IdentityProviderConfigs...)
		}
		return found, nil
	})
}

// clusterInterfaces are the interfaces of the control plane in the VPC, which
// EKS describes by the cluster's name.
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func clusterInterfaces(l *account.Look, c *types.Cluster) ([]ec2types.NetworkInterface, error) {
	all, err := l.NetworkInterfaces()
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

// Checks are the checks of the cluster and of who has access to it, in the order of reports.
func Checks() []check.Check {
	return slices.Concat([]check.Check{
		{ID: "cluster-active", Proves: "The EKS cluster is there, serves and reports no health issues.", Level: check.Required, Rows: []string{"C10"}, Run: clusterActive},
		{ID: "cluster-version", Proves: "The control plane runs the configured Kubernetes version, or a newer one.", Level: check.Required, Rows: []string{"C10"}, Run: check.OnCluster(clusterVersionAsConfigured)},
		{ID: "cluster-version-supported", Proves: "The Kubernetes version is in EKS's standard support.", Level: check.Advised, Rows: []string{"C10", "S7"}, Run: check.OnCluster(clusterVersionSupported)},
		{ID: "cluster-upgrade-policy", Proves: "EKS does not upgrade Kubernetes on its own while it supports the version.", Level: check.Advised, Rows: []string{"C10"}, Run: check.OnCluster(clusterUpgradePolicy)},
		{ID: "cluster-service-range", Proves: "Kubernetes services have the configured range.", Level: check.Required, Rows: []string{"C10"}, Run: check.OnCluster(clusterServiceRange)},
		{ID: "cluster-private-endpoint", Proves: "The Kubernetes API is reached inside the VPC.", Level: check.Required, Rows: []string{"B28", "S3"}, Run: check.OnCluster(clusterPrivateEndpoint)},
		{ID: "cluster-public-endpoint", Proves: "From the internet the Kubernetes API is reached by the configured ranges only, or not at all.", Level: check.Required, Rows: []string{"B28", "S3"}, Run: check.OnCluster(clusterPublicEndpoint)},
		{ID: "cluster-subnets", Proves: "The control plane is bound to the control-plane subnets, one in each zone.", Level: check.Required, Rows: []string{"C2", "C7", "S8"}, Run: check.OnCluster(clusterInSubnets)},
		{ID: "cluster-interfaces", Proves: "The control plane's interfaces are in two zones of these subnets at least, without public addresses.", Level: check.Required, Rows: []string{"C2", "S8"}, Run: check.OnCluster(clusterAtInterfaces)},
		{ID: "cluster-security-group", Proves: "The control plane has its own security group, and none of its groups lets anywhere in.", Level: check.Required, Rows: []string{"C2", "S3"}, Run: check.OnCluster(clusterSecurityGroups)},
		{ID: "cluster-logs", Proves: "All configured logs of the control plane are on.", Level: check.Required, Rows: []string{"B44", "S7"}, Run: check.OnCluster(clusterLogs)},
		{ID: "cluster-secrets-encrypted", Proves: "Kubernetes secrets are encrypted with the Kubernetes key.", Level: check.Required, Rows: []string{"B14", "S4", "S7"}, Run: check.OnCluster(clusterSecretsEncrypted)},
		{ID: "cluster-deletion-protection", Proves: "EKS refuses to delete the cluster.", Level: check.Required, Rows: []string{"B48"}, Run: check.OnCluster(clusterProtected)},
		{ID: "cluster-zonal-shift", Proves: "Traffic inside the cluster can be shifted away from an impaired zone.", Level: check.Advised, Rows: []string{"S8"}, Run: check.OnCluster(clusterZonalShift)},
		{ID: "cluster-role", Proves: "EKS acts by the role that is made for it.", Level: check.Required, Rows: []string{"S6"}, Run: check.OnCluster(clusterRole)},
		{ID: "cluster-addons-there", Proves: "All add-ons that the deployment needs are installed.", Level: check.Required, Rows: []string{"C10"}, Run: check.OnCluster(clusterAddonsThere)},
		{ID: "cluster-addons-healthy", Proves: "The add-ons are active and report no health issues.", Level: check.Required, Rows: []string{"C10"}, Run: check.OnCluster(clusterAddonsHealthy)},
		{ID: "cluster-addon-versions", Proves: "Add-ons have versions that are configured and that EKS has for this Kubernetes version.", Level: check.Advised, Rows: []string{"C10", "S7"}, Run: check.OnCluster(clusterAddonVersions)},
		{ID: "cluster-addon-roles", Proves: "Add-ons that call AWS do so by the roles of their service accounts.", Level: check.Required, Rows: []string{"C4", "B38"}, Run: check.OnCluster(clusterAddonRoles)},
	}, accessChecks())
}

func clusterActive(l *account.Look, r *check.Recorder) error {
	c, err := l.Cluster()
	if err != nil {
		return err
	}
	const api = "eks:DescribeCluster"
	if c == nil {
		r.Missing(l.Arch.ClusterName(), api, "run poolhouse create with the configuration: it makes what is missing")
		return nil
	}
	// A cluster that is being updated serves.
	ok := c.Status == types.ClusterStatusActive || c.Status == types.ClusterStatusUpdating
	r.Saw(ok, aws.ToString(c.Arn), "status "+string(c.Status), api, "status ACTIVE", "see the cluster's health issues in EKS, and open a case with AWS if there are none")
	if c.Health != nil {
		for _, i := range c.Health.Issues {
			r.Saw(false, aws.ToString(c.Arn), fmt.Sprintf("issue %s: %s", i.Code, aws.ToString(i.Message)), api, "no health issues",
				"mend what the issue names: https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html#cluster-health-status")
		}
	}
	return nil
}

func clusterVersionAsConfigured(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	saw, want := aws.ToString(c.Version), l.Arch.Config.Cluster.Version
	r.Saw(account.KubernetesMinor(saw) >= account.KubernetesMinor(want), aws.ToString(c.Arn), "Kubernetes "+saw, "eks:DescribeCluster", want+" or newer",
		"run poolhouse update with the configuration: it upgrades one minor version at a time")
	return nil
}

func clusterVersionSupported(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	version := aws.ToString(c.Version)
	v, err := clusterVersion(l, version)
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
	r.Saw(ok, aws.ToString(c.Arn), saw, api, "standard support", "raise cluster.version by one minor version at a time and run poolhouse update; extended support costs more per hour, and EKS upgrades by itself when that ends")
	return nil
}

func clusterUpgradePolicy(_ *account.Look, r *check.Recorder, c *types.Cluster) error {
	saw := "not set"
	if c.UpgradePolicy != nil {
		saw = string(c.UpgradePolicy.SupportType)
	}
	r.Saw(saw == string(types.SupportTypeExtended), aws.ToString(c.Arn), "support type "+saw, "eks:DescribeCluster", "support type EXTENDED, with which the time of an upgrade is yours", check.FixUpdate)
	return nil
}

func clusterServiceRange(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	var saw string
	if c.KubernetesNetworkConfig != nil {
		saw = aws.ToString(c.KubernetesNetworkConfig.ServiceIpv4Cidr)
	}
	want := l.Arch.Config.Cluster.ServiceCIDR
	r.Saw(saw == want, aws.ToString(c.Arn), "services in "+saw, "eks:DescribeCluster", want, "write "+saw+" as cluster.serviceCidr: the range of a cluster can't change")
	return nil
}

func clusterPrivateEndpoint(_ *account.Look, r *check.Recorder, c *types.Cluster) error {
	on := c.ResourcesVpcConfig.EndpointPrivateAccess
	r.Saw(on, aws.ToString(c.Arn), "private endpoint "+check.YesNo(on), "eks:DescribeCluster", "on", check.FixUpdate)
	return nil
}

// wide says whether a range stands for more or less everywhere.
func wide(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err != nil || p.Bits() < 8
}

func clusterPublicEndpoint(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	const api = "eks:DescribeCluster"
	allowed := l.Arch.Config.Cluster.PublicAccessCIDRs
	arn := aws.ToString(c.Arn)
	if !c.ResourcesVpcConfig.EndpointPublicAccess {
		r.Saw(len(allowed) == 0, arn, "public endpoint off", api, "public endpoint on for "+strings.Join(allowed, ", "), check.FixUpdate)
		return nil
	}
	if len(allowed) == 0 {
		r.Saw(false, arn, "public endpoint on for "+strings.Join(c.ResourcesVpcConfig.PublicAccessCidrs, ", "), api, "public endpoint off", check.FixUpdate)
		return nil
	}
	for _, cidr := range c.ResourcesVpcConfig.PublicAccessCidrs {
		r.Saw(slices.Contains(allowed, cidr) && !wide(cidr), arn, "public endpoint on for "+cidr, api, "only "+strings.Join(allowed, ", "), check.FixUpdate)
	}
	for _, cidr := range allowed {
		if !slices.Contains(c.ResourcesVpcConfig.PublicAccessCidrs, cidr) {
			r.Saw(false, arn, "public endpoint closed to "+cidr, api, "open to it", check.FixUpdate)
		}
	}
	return nil
}

func clusterInSubnets(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	subnets, err := l.SubnetsByID()
	if err != nil {
		return err
	}
	const fix = "run poolhouse update with the configuration: it binds the cluster to its subnets again; EKS takes new subnets in the same zones only"
	bound, zones := 0, map[string]bool{}
	for _, id := range c.ResourcesVpcConfig.SubnetIds {
		s, ok := subnets[id]
		if !ok {
			r.Missing(id, "ec2:DescribeSubnets", "make a subnet in the same zone and run poolhouse update")
			continue
		}
		bound++
		zones[aws.ToString(s.AvailabilityZoneId)] = true
		ok, want := l.PlannedIn(architecture.ControlPlane, s)
		r.Saw(ok, id, aws.ToString(s.CidrBlock)+" in "+aws.ToString(s.AvailabilityZoneId), "eks:DescribeCluster", "one of the control-plane subnets "+want, fix)
	}
	want := len(l.Arch.ControlPlaneSubnets())
	r.Saw(bound >= want && len(zones) >= 2, aws.ToString(c.Arn), fmt.Sprintf("%d subnets in %s", bound, strings.Join(account.SortedKeys(zones), ", ")), "eks:DescribeCluster", fmt.Sprintf("%d subnets in 2 zones or more", want), fix)
	return nil
}

func clusterAtInterfaces(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	faces, err := clusterInterfaces(l, c)
	if err != nil {
		return err
	}
	subnets, err := l.SubnetsByID()
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
			r.Saw(false, aws.ToString(f.NetworkInterfaceId), saw+" with public address "+*f.Association.PublicIp, api, "no public address", "take the address away: aws ec2 disassociate-address")
			continue
		}
		ok := slices.Contains(c.ResourcesVpcConfig.SubnetIds, aws.ToString(f.SubnetId))
		r.Saw(ok, aws.ToString(f.NetworkInterfaceId), saw, api, "in one of the cluster's subnets", "wait until EKS has moved it, which it does after an update of the subnets")
	}
	r.Saw(len(zones) >= 2, aws.ToString(c.Arn), fmt.Sprintf("%d interfaces in %d zones", len(faces), len(zones)), api, "interfaces in 2 zones",
		"see that the control-plane subnets have free addresses, and open a case with AWS if they do")
	return nil
}

// openTo are the ranges from everywhere that a group's rules let in, with
// their ports.
func openTo(g ec2types.SecurityGroup) []string {
	var out []string
	for _, p := range g.IpPermissions {
		for _, cidr := range account.PermittedRanges(p) {
			if wide(cidr) {
				out = append(out, cidr+" to "+permittedPorts(p))
			}
		}
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

func clusterSecurityGroups(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.GroupsByID()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeSecurityGroups"
	own := l.GroupNamed(groups, "control-plane")
	ids := append([]string{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}, c.ResourcesVpcConfig.SecurityGroupIds...)
	r.Saw(own != "" && slices.Contains(ids, own), aws.ToString(c.Arn), "groups "+strings.Join(ids, ", "), "eks:DescribeCluster",
		"among them "+l.Arch.ResourceName("control-plane"), check.FixUpdate)
	for _, id := range ids {
		g, ok := groups[id]
		if !ok {
			r.Missing(id, api, check.FixUpdate)
			continue
		}
		open := openTo(g)
		saw := fmt.Sprintf("%d rules, none for everywhere", len(g.IpPermissions))
		if len(open) > 0 {
			saw = "lets in " + strings.Join(open, ", ")
		}
		r.Saw(len(open) == 0, id, saw, api, "no rule for everywhere", "remove the rule: aws ec2 revoke-security-group-ingress --group-id "+id)
	}
	return nil
}

func clusterLogs(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	want := l.Arch.Config.Cluster.Logs
	if len(want) == 0 {
		r.NA("cluster.logs is empty")
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
		r.Saw(on[t], aws.ToString(c.Arn), "log "+t+" "+check.YesNo(on[t]), "eks:DescribeCluster", "on", check.FixUpdate)
	}
	return nil
}

func clusterSecretsEncrypted(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	keys, err := l.Keys()
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
			ok = keys[architecture.KeyKubernetes] != "" && account.KeyIDOf(saw) == keys[architecture.KeyKubernetes]
		}
	}
	r.Saw(ok, aws.ToString(c.Arn), "secrets: "+saw, "eks:DescribeCluster", "the key "+l.Arch.KeyAlias(architecture.KeyKubernetes),
		"EKS can't change the key of a cluster: make a new deployment and move to it")
	return nil
}

func clusterProtected(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	if !l.Arch.Config.Database.DeletionProtection {
		r.NA("the configuration does not ask for deletion protection (database.deletionProtection)")
		return nil
	}
	on := aws.ToBool(c.DeletionProtection)
	r.Saw(on, aws.ToString(c.Arn), "deletion protection "+check.YesNo(on), "eks:DescribeCluster", "on", "run poolhouse update with the configuration: its last step switches it on")
	return nil
}

func clusterZonalShift(_ *account.Look, r *check.Recorder, c *types.Cluster) error {
	on := c.ZonalShiftConfig != nil && aws.ToBool(c.ZonalShiftConfig.Enabled)
	r.Saw(on, aws.ToString(c.Arn), "zonal shift "+check.YesNo(on), "eks:DescribeCluster", "on", check.FixUpdate)
	return nil
}

func clusterRole(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	want := l.RoleARN("cluster")
	r.Saw(aws.ToString(c.RoleArn) == want, aws.ToString(c.Arn), aws.ToString(c.RoleArn), "eks:DescribeCluster", want, "EKS can't change the role of a cluster: make a new deployment and move to it")
	return nil
}

// expectedAddons are the add-ons of the deployment.
func expectedAddons(l *account.Look) []string {
	out := []string{"vpc-cni", "kube-proxy", "coredns", "aws-ebs-csi-driver", "metrics-server", "snapshot-controller"}
	if l.Arch.Config.Cluster.AddonVersions["eks-pod-identity-agent"] != "" {
		out = append(out, "eks-pod-identity-agent")
	}
	return out
}

func clusterAddonsThere(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	addons, err := l.ClusterAddons()
	if err != nil {
		return err
	}
	for _, name := range expectedAddons(l) {
		if a := addons[name]; a != nil {
			r.Saw(true, aws.ToString(a.AddonArn), aws.ToString(a.AddonVersion), "eks:DescribeAddon", "", "")
			continue
		}
		r.Missing("add-on "+name+" of "+aws.ToString(c.Name), "eks:ListAddons", check.FixUpdate)
	}
	return nil
}

// eachAddon calls f for the deployment's add-ons that are there.
func eachAddon(l *account.Look, f func(name string, a *types.Addon) error) error {
	addons, err := l.ClusterAddons()
	if err != nil {
		return err
	}
	for _, name := range expectedAddons(l) {
		if a := addons[name]; a != nil {
			if err := f(name, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func clusterAddonsHealthy(l *account.Look, r *check.Recorder, _ *types.Cluster) error {
	return eachAddon(l, func(_ string, a *types.Addon) error {
		saw := "status " + string(a.Status)
		ok := a.Status == types.AddonStatusActive || a.Status == types.AddonStatusUpdating
		if a.Health != nil {
			for _, i := range a.Health.Issues {
				ok = false
				saw += fmt.Sprintf(", issue %s: %s", i.Code, aws.ToString(i.Message))
			}
		}
		r.Saw(ok, aws.ToString(a.AddonArn), saw, "eks:DescribeAddon", "status ACTIVE without issues", "mend what the issue names; if nodes are missing, see nodes-running")
		return nil
	})
}

func clusterAddonVersions(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	return eachAddon(l, func(name string, a *types.Addon) error {
		saw, arn := aws.ToString(a.AddonVersion), aws.ToString(a.AddonArn)
		if want := l.Arch.Config.Cluster.AddonVersions[name]; want != "" && want != saw {
			r.Saw(false, arn, saw, "eks:DescribeAddon", want, check.FixUpdate)
			return nil
		}
		offered := false
		pages := eks.NewDescribeAddonVersionsPaginator(l.AWS.EKS, &eks.DescribeAddonVersionsInput{AddonName: &name, KubernetesVersion: c.Version})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return fmt.Errorf("ask for the versions of add-on %s: %w", name, err)
			}
			for _, info := range page.Addons {
				offered = offered || slices.ContainsFunc(info.AddonVersions, func(v types.AddonVersionInfo) bool { return aws.ToString(v.AddonVersion) == saw })
			}
		}
		r.Saw(offered, arn, saw, "eks:DescribeAddonVersions", "a version that EKS has for Kubernetes "+aws.ToString(c.Version),
			"write a version from aws eks describe-addon-versions --addon-name "+name+" under cluster.addonVersions, and run poolhouse update")
		return nil
	})
}

func clusterAddonRoles(l *account.Look, r *check.Recorder, _ *types.Cluster) error {
	roles := map[string]string{"vpc-cni": architecture.RoleVPCCNI, "aws-ebs-csi-driver": architecture.RoleEBSCSI}
	return eachAddon(l, func(name string, a *types.Addon) error {
		if part := roles[name]; part != "" {
			want, saw := l.RoleARN(part), aws.ToString(a.ServiceAccountRoleArn)
			ok := saw == want
			if saw == "" {
				saw = "no role: it takes the node's"
			}
			r.Saw(ok, aws.ToString(a.AddonArn), saw, "eks:DescribeAddon", want, check.FixUpdate)
		}
		return nil
	})
}
