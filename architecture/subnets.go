package architecture

import (
	"fmt"
	"net/netip"

	"go4.org/netipx"

	"github.com/poolhouse/poolhouse/config"
)

// The plan cuts the VPC into quarters. The first three are the zones': each
// begins with the zone's private subnet and keeps the rest for it to grow. The
// last holds the public subnets from its beginning and the control-plane ones
// up to its end. Places depend on the range and the sizes alone, never on how
// many zones are in use, so a zone can be added without renumbering.
const (
	slots = 3
	// AWS keeps five addresses of each subnet.
	// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
	reservedAddresses = 5
	// What EKS wants to stay free in control-plane subnets.
	// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
	controlPlaneAddresses = 16
	// An address for a node, its pods and a warm set behind them, and a zone's
	// endpoints, database and load balancers: ours, on the low side, to refuse
	// only what can't work.
	nodeAddresses = 32
	zoneAddresses = 32
	// With a range of their own for pods, only a node's first interface is in
	// the private subnet.
	nodeAddressesAlone = 1
	// What a load balancer wants to stay free.
	// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
	loadBalancerAddresses = 8
)

// sizes are the prefix lengths by tier, with what the configuration leaves
// open computed from the range.
func sizes(vpc netip.Prefix, s config.Subnets) config.Subnets {
	bits := vpc.Bits()
	if s.Private == 0 {
		s.Private = min(bits+3, 22)
	}
	if s.Public == 0 {
		s.Public = min(bits+8, 26)
	}
	if s.ControlPlane == 0 {
		s.ControlPlane = 27
		if bits <= 18 {
			s.ControlPlane = 26
		}
	}
	return s
}

// usable is how many addresses of a subnet can be used.
func usable(bits int) int { return 1<<(32-bits) - reservedAddresses }

// planSubnets fills in Subnets: by tier, then by zone.
func (a *Architecture) planSubnets() config.Faults {
	c := a.Config
	vpc, err := netip.ParsePrefix(c.Network.CIDR)
	if c.Network.Exists() {
		if err != nil {
			return config.Faults{c.Fault("network.cidr", fmt.Sprintf("%q is no IPv4 range", c.Network.CIDR), "write the primary range of the VPC")}
		}
		a.vpc = vpc
		a.nameSubnets()
		return nil
	}
	if err != nil || !vpc.Addr().Is4() || vpc != vpc.Masked() || vpc.Bits() < 16 || vpc.Bits() > 20 {
		return config.Faults{c.Fault("network.cidr", fmt.Sprintf("%q is no IPv4 range from /16 to /20", c.Network.CIDR), "write a range such as 10.80.0.0/16")}
	}
	a.vpc = vpc
	size := sizes(vpc, c.Network.Subnets)
	quarter := vpc.Bits() + 2
	var faults config.Faults
	fault := func(path, reason, fix string) {
		faults = append(faults, c.Fault("network.subnets."+path, reason, fix))
	}
	for path, bits := range map[string]int{"public": size.Public, "controlPlane": size.ControlPlane, "private": size.Private} {
		if bits < 1 || bits > 28 {
			fault(path, fmt.Sprintf("a subnet can't be a /%d", bits), "write 28 or less")
		}
	}
	if len(faults) > 0 {
		return faults
	}
	if size.Private < quarter {
		fault("private", fmt.Sprintf("three /%d do not fit into %s beside the other tiers", size.Private, vpc), fmt.Sprintf("write %d or more, or a larger network.cidr", quarter))
	}
	if n := usable(size.ControlPlane); n < controlPlaneAddresses {
		fault("controlPlane", fmt.Sprintf("a /%d has %d usable addresses, and EKS wants %d", size.ControlPlane, n, controlPlaneAddresses), "write 27 or less")
	}
	last := nth(vpc, quarter, slots)
	if need := slots<<(32-size.Public) + slots<<(32-size.ControlPlane); need > 1<<(32-quarter) {
		fault("public", fmt.Sprintf("three /%d and three /%d of the control plane need %d addresses, and %s has %d", size.Public, size.ControlPlane, need, last, 1<<(32-quarter)), "write longer prefixes, or a larger network.cidr")
	}
	if len(faults) > 0 {
		return faults
	}
	for zone := range a.Zones {
		if zone < c.Network.Zones {
			a.Subnets = append(a.Subnets, Subnet{Tier: Public, Zone: zone, CIDR: nth(last, size.Public, zone)})
		}
	}
	top := 1 << (size.ControlPlane - quarter)
	for zone := range a.Zones {
		a.Subnets = append(a.Subnets, Subnet{Tier: ControlPlane, Zone: zone, CIDR: nth(last, size.ControlPlane, top-slots+zone)})
	}
	for zone := range min(a.Zones, c.Network.Zones) {
		a.Subnets = append(a.Subnets, Subnet{Tier: Private, Zone: zone, CIDR: nth(nth(vpc, quarter, zone), size.Private, 0)})
		if need, have := a.addresses(zone), usable(size.Private); need > have && len(faults) == 0 {
			fault("private", fmt.Sprintf("zone %d may need %d addresses for its nodes and pods, and a /%d has %d", zone+1, need, size.Private, have), "write a shorter prefix, or lower max in compute")
		}
	}
	return append(faults, a.planPods()...)
}

// nameSubnets fills in Subnets with those that are there.
func (a *Architecture) nameSubnets() {
	e := a.Config.Network.Existing
	for _, tier := range []struct {
		tier Tier
		ids  []string
	}{{Public, e.PublicSubnetIDs}, {ControlPlane, e.ControlPlaneSubnetIDs}, {Private, e.PrivateSubnetIDs}} {
		for zone, id := range tier.ids {
			a.Subnets = append(a.Subnets, Subnet{Tier: tier.tier, Zone: zone, ID: id})
		}
	}
}

// planPods adds the subnets of pods: the first quarters of their range, so that
// a zone can be added.
func (a *Architecture) planPods() config.Faults {
	c := a.Config
	if c.Network.PodCIDR == "" {
		return nil
	}
	pods, err := netip.ParsePrefix(c.Network.PodCIDR)
	if err != nil || !pods.Addr().Is4() || pods != pods.Masked() || pods.Bits() < 16 || pods.Bits() > 20 || pods.Overlaps(a.vpc) {
		return config.Faults{c.Fault("network.podCidr", fmt.Sprintf("%q is no IPv4 range from /16 to /20 beside network.cidr", c.Network.PodCIDR), "write a range such as 100.64.0.0/16")}
	}
	a.pods = pods
	quarter := pods.Bits() + 2
	var faults config.Faults
	for zone := range min(a.Zones, c.Network.Zones) {
		a.Subnets = append(a.Subnets, Subnet{Tier: Pods, Zone: zone, CIDR: nth(pods, quarter, zone)})
		if need, have := a.maxNodes(zone)*nodeAddresses, usable(quarter); need > have && len(faults) == 0 {
			faults = append(faults, c.Fault("network.podCidr", fmt.Sprintf("zone %d may need %d addresses for its pods, and a /%d has %d", zone+1, need, quarter, have), "write a shorter prefix, or lower max in compute"))
		}
	}
	return faults
}

// PodRange is the VPC's secondary range for pods, if they have one.
func (a *Architecture) PodRange() (netip.Prefix, bool) { return a.pods, a.pods.IsValid() }

// addresses is what a zone's private subnet needs when every node group is at
// its maximum.
func (a *Architecture) addresses(zone int) int {
	each := nodeAddresses
	if a.Config.Network.PodCIDR != "" {
		each = nodeAddressesAlone
	}
	return zoneAddresses + a.maxNodes(zone)*each
}

// Addresses is how many free addresses a tier's subnet in a zone needs before
// the deployment is made; 0 is no matter.
func (a *Architecture) Addresses(t Tier, zone int) int {
	switch t {
	case ControlPlane:
		return controlPlaneAddresses
	case Private:
		return a.addresses(zone)
	case Public:
		return loadBalancerAddresses
	}
	return 0
}

// maxNodes is how many nodes a zone has when every node group is at its
// maximum. Nodes of a reservation count in each zone: they can be in any.
func (a *Architecture) maxNodes(zone int) int {
	n := 0
	for _, groups := range [][]NodeGroup{a.NodeGroups, a.GPUGroups} {
		for _, g := range groups {
			if g.Zone == zone || g.Zone == AnyZone {
				n += g.Max
			}
		}
	}
	return n
}

// nth is subnet i of that length in a range, counted from 0.
func nth(in netip.Prefix, bits, i int) netip.Prefix {
	b := in.Masked().Addr().As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n += uint32(i) << (32 - bits)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), bits)
}

// VPC is the VPC's primary range.
func (a *Architecture) VPC() netip.Prefix { return a.vpc }

// Free is what the plan leaves of the VPC's primary range for growth, in order.
// The places of zones that are not in use are part of it.
func (a *Architecture) Free() ([]netip.Prefix, error) {
	var b netipx.IPSetBuilder
	b.AddPrefix(a.vpc)
	for _, s := range a.Subnets {
		b.RemovePrefix(s.CIDR)
	}
	set, err := b.IPSet()
	if err != nil {
		return nil, fmt.Errorf("compute free ranges of %s: %w", a.vpc, err)
	}
	return set.Prefixes(), nil
}

// Tier are the subnets of a tier, by zone.
func (a *Architecture) Tier(t Tier) []Subnet {
	var out []Subnet
	for _, s := range a.Subnets {
		if s.Tier == t {
			out = append(out, s)
		}
	}
	return out
}

// PublicSubnets are those of load balancers and NAT, by zone.
func (a *Architecture) PublicSubnets() []Subnet { return a.Tier(Public) }

// ControlPlaneSubnets are those of EKS, in all recorded zones.
func (a *Architecture) ControlPlaneSubnets() []Subnet { return a.Tier(ControlPlane) }

// PrivateSubnets are those of nodes, database and endpoints, by zone, and of
// pods unless they have a range of their own.
func (a *Architecture) PrivateSubnets() []Subnet { return a.Tier(Private) }

// PodSubnets are those of pods, by zone, if they have a range of their own.
func (a *Architecture) PodSubnets() []Subnet { return a.Tier(Pods) }

// LoadBalancerTier is where load balancers of a scheme stand. Internal ones
// stand in the private subnets: in public ones they would have no way out to
// the identity provider, since they have no public address.
func LoadBalancerTier(scheme string) Tier {
	if scheme == config.SchemeInternal {
		return Private
	}
	return Public
}

// checkRoutes finds more routes, and subnets of pods, than the network's template
// holds besides what else varies in it: CloudFormation takes 51,200 bytes inline, of which the rest
// needs about half. The sizes are those of the templates, rounded up.
func (a *Architecture) checkRoutes() config.Faults {
	const room, each, client, pods, instance, tag = 25_500, 250, 190, 3_600, 4_900, 60
	n := a.Config.Network
	path := "network.routes"
	routes := len(n.Routes) * n.Zones
	for _, cidr := range n.TransitGateway.CIDRs {
		routes += n.Zones
		if cidr != "0.0.0.0/0" {
			routes++
		}
	}
	if len(n.Routes) == 0 {
		path = "network.transitGateway.cidrs"
	}
	used := routes*each + client*(len(a.Config.Access.Web.AllowCIDRs)+len(a.Config.Access.Admin.AllowCIDRs))
	if n.PodCIDR != "" {
		used += pods
	}
	instances := map[config.NATMode]int{config.NATInstancePerZone: n.Zones, config.NATSingleInstance: 1}[n.NAT.Mode]
	used += instances * (instance + tag*len(a.Config.Tags))
	for key, value := range a.Config.Tags {
		if instances > 0 {
			used += len(key) + len(value) + tag
		}
	}
	if routes == 0 && n.PodCIDR == "" || used <= room {
		return nil
	}
	if routes == 0 {
		path = "network.podCidr"
	}
	return config.Faults{a.Config.Fault(path, fmt.Sprintf("is more, with %d routes, than one CloudFormation template holds beside the rest of the network", routes), "list fewer and larger ranges in network and access, or choose NAT gateways")}
}
