package endpoint

import (
	"net/netip"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
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
	return ec2.Any443(tx, to, ec2.TypeSecurityGroupIngress, from, cidr) && ec2.Any443(tx, from, ec2.TypeSecurityGroupEgress, to, cidr)
}
