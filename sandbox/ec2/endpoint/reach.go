package endpoint

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Answers tells whether an interface endpoint answers for a service in the
// subnet's VPC.
func Answers(tx *account.Tx, s *account.Resource, name string, groups []string, cidr netip.Prefix) bool {
	for _, e := range ec2.InVPC(tx, ec2.TypeVPCEndpoint, ec2.VPCOf(s)) {
		if strings.HasSuffix(props.Str(e.Props, "ServiceName"), "."+tx.Region()+"."+name) && props.Str(e.Props, "VpcEndpointType") == "Interface" &&
			e.Status == "available" && props.Bool(e.Props, false, "PrivateDnsEnabled") && Admits(tx, Groups(tx, e, e.Props), groups, cidr) {
			return true
		}
	}
	return false
}

// Admits tells whether one of the groups lets HTTPS in from callers, by
// their groups or their network, and the callers' groups let it out.
func Admits(tx *account.Tx, to, from []string, cidr netip.Prefix) bool {
	return Any443(tx, to, ec2.TypeSecurityGroupIngress, from, cidr) && Any443(tx, from, ec2.TypeSecurityGroupEgress, to, cidr)
}

// Any443 tells whether a rule of one of the groups allows TCP port 443 with
// one of the peers or all of the network.
func Any443(tx *account.Tx, groups []string, typ string, peers []string, network netip.Prefix) bool {
	for _, g := range groups {
		for _, x := range ec2.Rules(tx, g) {
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
