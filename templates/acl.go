package templates

import (
	"net/netip"
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/config"
)

// aclRule is an entry that allows traffic. Protocols go by number; -1 is all,
// without ports.
type aclRule struct {
	number   int
	egress   bool
	protocol int
	from, to int // ports, or type and code of ICMP
	cidr     string
}

const (
	allProtocols = -1
	icmp         = 1
	tcp          = 6
)

// Network ACLs keep no state, so answers need entries too: clients, NAT and
// load balancers take any port from 1024 for them. ACLs can't name prefix
// lists, and S3 answers through the gateway endpoint from public addresses.
// DNS, time and metadata at the VPC's own addresses are never filtered.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html
//
// What the allow-lists say is for the security groups: an ACL takes 20 entries.
func (v *vpc) addACLs() {
	for _, tier := range []architecture.Tier{architecture.Public, architecture.ControlPlane, architecture.Private} {
		name := camel(string(tier))
		acl := v.t.Add(cfn.LogicalID(name+"Acl"), ec2.NetworkAcl{VpcId: v.id, Tags: named(v.a, string(tier))})
		subnets := v.subnets[tier]
		if tier == architecture.Private {
			subnets = slices.Concat(subnets, v.subnets[architecture.Pods])
		}
		for _, s := range subnets {
			v.t.Add(s.ID()+"Acl", ec2.SubnetNetworkAclAssociation{SubnetId: s.Ref(), NetworkAclId: acl.Ref()})
		}
		for _, r := range aclRules(v.a, tier) {
			direction := "In"
			entry := ec2.NetworkAclEntry{
				NetworkAclId: acl.Ref(),
				RuleNumber:   cfn.V(r.number),
				Protocol:     cfn.V(r.protocol),
				RuleAction:   cfn.V("allow"),
				CidrBlock:    cfn.V(r.cidr),
			}
			if r.egress {
				direction = "Out"
				entry.Egress = cfn.V(true)
			}
			switch r.protocol {
			case tcp:
				entry.PortRange = &ec2.PortRange{From: cfn.V(r.from), To: cfn.V(r.to)}
			case icmp:
				entry.Icmp = &ec2.Icmp{Type: cfn.V(r.from), Code: cfn.V(r.to)}
			}
			v.t.Add(cfn.LogicalID(name+"Acl"+direction+number(r.number-1)), entry)
		}
	}
}

func aclRules(a *architecture.Architecture, tier architecture.Tier) []aclRule {
	inside := a.VPC().String()
	ranges := []string{inside}
	pods, apart := a.PodRange()
	if apart {
		ranges = append(ranges, pods.String())
	}
	in := func(number, protocol, from, to int, cidr string) aclRule {
		return aclRule{number, false, protocol, from, to, cidr}
	}
	out := func(number, protocol, from, to int, cidr string) aclRule {
		return aclRule{number, true, protocol, from, to, cidr}
	}
	// A packet is too large for the path: without it, connections hang.
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html
	const tooLarge, fragment = 3, 4
	switch tier {
	case architecture.Public:
		// Load balancers, and NAT for the private subnets.
		rules := []aclRule{
			in(120, tcp, 1024, 65535, anywhere),
			in(130, icmp, tooLarge, fragment, anywhere),
			out(100, tcp, 443, 443, anywhere),
			out(110, tcp, 1024, 65535, anywhere),
		}
		if facing(a, config.SchemeInternetFacing) {
			return append(rules, in(100, tcp, 443, 443, anywhere), in(110, tcp, 80, 80, anywhere))
		}
		return append(rules, in(100, tcp, 443, 443, inside))
	case architecture.ControlPlane:
		// The Kubernetes API for the VPC; kubelets and webhooks from it.
		var rules []aclRule
		for i, r := range ranges {
			rules = append(rules,
				in(100+i, tcp, 443, 443, r),
				in(110+i, tcp, 1024, 65535, r),
				out(100+i, tcp, 443, 443, r),
				out(110+i, tcp, 1024, 65535, r),
			)
		}
		for i, cidr := range a.Config.Cluster.API.AllowCIDRs {
			rules = append(rules, in(120+i, tcp, 443, 443, cidr), out(120+i, tcp, 1024, 65535, cidr))
		}
		return rules
	}
	// Nodes, pods, database and endpoints talk freely among themselves (the
	// security groups say who to whom), load balancers and the control plane
	// with pods.
	clients := inside
	if reachedFromOutside(a) {
		clients = anywhere
	}
	rules := []aclRule{
		in(110, tcp, 443, 443, clients),
		in(130, tcp, 1024, 65535, anywhere),
		in(140, icmp, tooLarge, fragment, anywhere),
		out(110, tcp, 443, 443, anywhere),
		out(130, tcp, 1024, 65535, clients),
	}
	if facing(a, config.SchemeInternal) {
		rules = append(rules, in(120, tcp, 80, 80, clients))
	}
	// On 443 and between private subnets there is a way already.
	if port := a.ProxyPort(); port != 0 && port != 443 {
		for i, r := range a.ProxyRanges() {
			rules = append(rules, out(140+i, tcp, port, port, r.String()))
		}
	}
	if apart {
		rules = append(rules, in(105, allProtocols, 0, 0, pods.String()), out(105, allProtocols, 0, 0, pods.String()))
	}
	for _, s := range a.PrivateSubnets() {
		rules = append(rules, in(100+s.Zone, allProtocols, 0, 0, s.CIDR.String()), out(100+s.Zone, allProtocols, 0, 0, s.CIDR.String()))
	}
	return rules
}

// facing says whether there is a load balancer of a scheme.
func facing(a *architecture.Architecture, scheme string) bool {
	return a.Config.Access.Web.Scheme == scheme || a.Config.Access.Admin.Scheme == scheme
}

// reachedFromOutside says whether internal load balancers serve clients beyond
// the VPC, in connected networks.
func reachedFromOutside(a *architecture.Architecture) bool {
	for _, e := range []config.Endpoint{a.Config.Access.Web, a.Config.Access.Admin} {
		if e.Scheme == config.SchemeInternal && slices.ContainsFunc(e.AllowCIDRs, func(cidr string) bool {
			p, err := netip.ParsePrefix(cidr)
			return err != nil || p.Bits() < a.VPC().Bits() || !a.VPC().Contains(p.Addr())
		}) {
			return true
		}
	}
	return false
}
