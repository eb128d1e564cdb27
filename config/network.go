package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// Exists says whether the network is one that is there and stays as it is.
func (n *Network) Exists() bool { return n.Existing.VPCID != "" }

// CentralEgress says whether the private subnets reach the internet through the
// transit gateway.
func (n *Network) CentralEgress() bool { return slices.Contains(n.TransitGateway.CIDRs, anywhere) }

// Isolated says whether nothing of ours leads from the private subnets to the
// internet. What a network that is there has, only the account tells.
func (n *Network) Isolated() bool {
	return !n.Exists() && n.NAT.Mode == NATNone && !n.CentralEgress()
}

const anywhere = "0.0.0.0/0"

// carrierGrade is the range between carriers and their customers, which VPCs
// may use beside the private ones.
// https://www.rfc-editor.org/rfc/rfc6598
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// existing checks the names of a network that is there, as far as one can tell
// without the account.
func (k *checker) existing() {
	n := &k.c.Network
	e := n.Existing
	const at = "network.existing."
	for _, key := range []string{"nat", "subnets", "podCidr", "transitGateway", "routes"} {
		if k.given("network." + key) {
			k.fault("network."+key, "is for a network of the deployment's own, and network.existing names one that is there", "remove it, or remove network.existing")
		}
	}
	if e.VPCID == "" {
		k.fault(at+"vpcId", "is missing", "write the id of the VPC, such as vpc-0123456789abcdef0, or remove network.existing")
	}
	private, control, public := len(e.PrivateSubnetIDs), len(e.ControlPlaneSubnetIDs), len(e.PublicSubnetIDs)
	switch {
	case private < 2:
		k.fault(at+"privateSubnetIds", fmt.Sprintf("has %d entries, and nodes and database need two zones", private), "list two or three subnets in distinct zones")
	case n.Zones != private && private <= 3:
		k.fault("network.zones", fmt.Sprintf("is %d, and network.existing.privateSubnetIds has %d", n.Zones, private), "remove it: the zones follow from the subnets")
	}
	switch {
	case control < 2:
		k.fault(at+"controlPlaneSubnetIds", fmt.Sprintf("has %d entries, and EKS needs two zones", control), "list two or three subnets in distinct zones")
	case control < min(private, 3):
		k.fault(at+"controlPlaneSubnetIds", fmt.Sprintf("has %d entries, fewer than the %d of privateSubnetIds", control, private), "list one in each zone of the private subnets")
	}
	facing := ""
	for _, s := range []struct{ path, scheme string }{{"access.web", k.c.Access.Web.Scheme}, {"access.admin", k.c.Access.Admin.Scheme}} {
		if s.scheme == SchemeInternetFacing && facing == "" {
			facing = s.path
		}
	}
	switch {
	case public == 0 && facing != "":
		k.fault(at+"publicSubnetIds", "is missing, and "+facing+" is internet-facing", "list a public subnet in each zone of the private ones, or set the scheme to internal")
	case public > 0 && public != private:
		k.fault(at+"publicSubnetIds", fmt.Sprintf("has %d entries, and privateSubnetIds has %d", public, private), "list one in each zone of the private subnets")
	}
	tiers := map[string]string{}
	for _, tier := range []struct {
		key string
		ids []string
	}{{"publicSubnetIds", e.PublicSubnetIDs}, {"controlPlaneSubnetIds", e.ControlPlaneSubnetIDs}, {"privateSubnetIds", e.PrivateSubnetIDs}} {
		for i, id := range tier.ids {
			if other, ok := tiers[id]; ok && other != tier.key {
				k.fault(fmt.Sprintf("%s%s[%d]", at, tier.key, i), quoted(id)+" is in "+other+" too", "give each tier subnets of its own")
			}
			tiers[id] = tier.key
		}
	}
}

// routing checks what a network of our own has besides NAT: a range for pods, a
// transit gateway, further routes.
func (k *checker) routing(vpc netip.Prefix, vpcOK bool) {
	n := &k.c.Network
	local := map[string]netip.Prefix{}
	if vpcOK {
		local["network.cidr"] = vpc
	}
	if pods, ok := k.prefix("network.podCidr", n.PodCIDR); ok {
		k.pods(pods, vpc, vpcOK)
		local["network.podCidr"] = pods
	}
	t := n.TransitGateway
	switch {
	case t.ID == "" && k.given("network.transitGateway"):
		k.fault("network.transitGateway.id", "is missing", "write the id of the transit gateway, such as tgw-0123456789abcdef0, or remove network.transitGateway")
	case t.ID != "" && len(t.CIDRs) == 0:
		k.fault("network.transitGateway.cidrs", "is empty, so that nothing goes through the transit gateway", "list the ranges that are reached through it, such as 10.0.0.0/8")
	}
	destinations := map[netip.Prefix]string{}
	destination := func(path, cidr string) {
		p, ok := k.prefix(path, cidr)
		if !ok {
			return
		}
		for _, key := range []string{"network.cidr", "network.podCidr"} {
			// Inside the VPC its own route is the only one, and what it leads
			// to must not be elsewhere too.
			// https://docs.aws.amazon.com/vpc/latest/userguide/RouteTables.html
			if own, ok := local[key]; ok && own.Bits() <= p.Bits() && own.Overlaps(p) {
				k.fault(path, quoted(cidr)+" lies in "+key+" "+own.String(), "name ranges outside the VPC")
			}
		}
		if other, ok := destinations[p]; ok && other != path {
			k.fault(path, quoted(cidr)+" is the range of "+other+" too", "keep one of them")
		}
		destinations[p] = path
	}
	for i, cidr := range t.CIDRs {
		path := fmt.Sprintf("network.transitGateway.cidrs[%d]", i)
		if cidr == anywhere && n.NAT.Mode != NATNone {
			k.fault(path, "leads everything through the transit gateway, and network.nat.mode is "+string(n.NAT.Mode), "set network.nat.mode to none for central egress, or list smaller ranges")
		}
		destination(path, cidr)
	}
	for i, r := range n.Routes {
		path := fmt.Sprintf("network.routes[%d].cidr", i)
		if r.CIDR == anywhere {
			k.fault(path, "is the default route, which network.nat or network.transitGateway decides", "list smaller ranges, or 0.0.0.0/0 in network.transitGateway.cidrs")
		}
		destination(path, r.CIDR)
	}
}

// pods checks the secondary range of a VPC of our own.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#add-cidr-block-restrictions
func (k *checker) pods(pods, vpc netip.Prefix, vpcOK bool) {
	const path = "network.podCidr"
	if pods.Bits() < 16 || pods.Bits() > 20 {
		k.fault(path, quoted(pods.String())+" is not of a size from /16 to /20", "write "+netip.PrefixFrom(pods.Addr(), 16).Masked().String())
		return
	}
	if services, err := netip.ParsePrefix(k.c.Cluster.ServiceCIDR); err == nil && services.Overlaps(pods) {
		k.fault(path, "overlaps with cluster.serviceCidr "+services.String(), "choose ranges that don't overlap")
		return
	}
	if !vpcOK {
		return
	}
	if pods.Overlaps(vpc) {
		k.fault(path, "overlaps with network.cidr "+vpc.String(), "choose ranges that don't overlap")
		return
	}
	allowed := []netip.Prefix{carrierGrade}
	for _, p := range private() {
		if p.Contains(vpc.Addr()) {
			allowed = append(allowed, p)
		}
	}
	reserved := func(block, beside string) bool {
		return netip.MustParsePrefix(beside).Contains(vpc.Addr()) && netip.MustParsePrefix(block).Overlaps(pods)
	}
	if !within(pods, allowed) || reserved("10.0.0.0/16", "10.0.0.0/15") || reserved("172.31.0.0/16", "172.16.0.0/12") {
		k.fault(path, quoted(pods.String())+" can't be added to a VPC with "+vpc.String(), "choose a range in 100.64.0.0/10, such as 100.64.0.0/16")
	}
}
