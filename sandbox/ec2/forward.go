package ec2

import (
	"net/netip"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Leaves tells whether an interface reaches the internet by itself on port 443:
// it has a public address, its subnet leads to an internet gateway, and its
// groups let it out.
// https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html
func Leaves(tx *account.Tx, eni *account.Resource) bool {
	subnet, err := FindSubnet(tx, props.Str(eni.Props, "SubnetId"))
	return err == nil && PublicIP(tx, eni) != "" && ReachesInternet(tx, subnet) == "igw" &&
		Any443(tx, InterfaceGroups(eni), TypeSecurityGroupEgress, nil, everywhere())
}

// forwards tells whether an interface is a way out for a subnet, as a NAT
// instance's is: a running instance has it, the source/destination check is off,
// its groups let the subnet in, and it leaves by itself. Whether the instance is
// set up for it isn't looked at.
// https://docs.aws.amazon.com/vpc/latest/userguide/work-with-nat-instances.html
func forwards(tx *account.Tx, eni, subnet *account.Resource) bool {
	cidr, err := netip.ParsePrefix(props.Str(subnet.Attrs, "CidrBlock"))
	return err == nil && running(tx, eni) && !props.Bool(eni.Props, true, "SourceDestCheck") &&
		Any443(tx, InterfaceGroups(eni), TypeSecurityGroupIngress, nil, cidr) && Leaves(tx, eni)
}

// running tells whether a running instance has the interface.
func running(tx *account.Tx, eni *account.Resource) bool {
	i := tx.Get(TypeInstance, props.Str(eni.Data, "attachment", "instance"))
	return i != nil && i.Status == "running"
}

func everywhere() netip.Prefix { return netip.PrefixFrom(netip.IPv4Unspecified(), 0) }

// Any443 tells whether a rule of one of the groups allows TCP port 443 with
// one of the peers or all of the network.
func Any443(tx *account.Tx, groups []string, typ string, peers []string, network netip.Prefix) bool {
	for _, g := range groups {
		for _, x := range Rules(tx, g) {
			protocol := rule.Protocol(props.Str(x.Props, "IpProtocol"))
			port := protocol == "-1" || protocol == "tcp" && props.Int(x.Props, 1, "FromPort") <= 443 && props.Int(x.Props, 0, "ToPort") >= 443
			if x.Type != typ || !port {
				continue
			}
			if p := rule.PeerGroup(x.Props); p != "" && slices.Contains(peers, p) {
				return true
			}
			if c, err := netip.ParsePrefix(props.Str(x.Props, "CidrIp")); err == nil && c.Bits() <= network.Bits() && c.Contains(network.Addr()) {
				return true
			}
		}
	}
	return false
}
