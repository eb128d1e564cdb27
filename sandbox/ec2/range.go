package ec2

import (
	"fmt"
	"net/netip"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// rangeType is a secondary range of a VPC.
func rangeType() *account.Type {
	return &account.Type{
		Name: TypeVPCCidrBlock, Latency: "ec2:vpc-cidr",
		Create: createRange,
		Settle: settled("associated"),
		Delete: func(tx *account.Tx, r *account.Resource) error {
			for _, s := range InVPC(tx, TypeSubnet, VPCOf(r)) {
				if rangeCIDR(r).Overlaps(subnetCIDR(s)) {
					return account.Errorf("InvalidCidrBlock.InUse", "The vpc %s currently has a subnet within CIDR block %s", VPCOf(r), rangeCIDR(r))
				}
			}
			return nil
		},
	}
}

func createRange(tx *account.Tx, r *account.Resource) error {
	if err := account.Unmodelled(r.Type, r.Props, "AmazonProvidedIpv6CidrBlock", "Ipv4IpamPoolId", "Ipv4NetmaskLength", "Ipv6CidrBlock", "Ipv6CidrBlockNetworkBorderGroup", "Ipv6IpamPoolId", "Ipv6NetmaskLength", "Ipv6Pool"); err != nil {
		return err
	}
	vpc, err := Lookup(tx, TypeVPC, props.Str(r.Props, "VpcId"))
	if err != nil {
		return err
	}
	cidr, err := parseCIDR(props.Str(r.Props, "CidrBlock"), "cidrBlock")
	if err != nil {
		return err
	}
	ranges := Ranges(tx, vpc)
	if most := quota.Ranges.Value(tx); len(ranges) >= most {
		return account.Errorf(quota.Ranges.Refusal, "This network '%s' has met its maximum number of allowed CIDRs: %d", vpc.ID, most)
	}
	if cidr.Bits() < 16 || cidr.Bits() > 28 {
		return account.Errorf("InvalidVpc.Range", "The CIDR '%s' is invalid.", cidr)
	}
	for _, other := range ranges {
		if other.Overlaps(cidr) {
			return account.Errorf("InvalidVpc.Range", "The CIDR '%s' conflicts with another CIDR of this VPC: '%s'.", cidr, other)
		}
	}
	if !beside(ranges[0], cidr) {
		return account.Errorf("InvalidVpc.Range", "The CIDR '%s' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR.", cidr)
	}
	for _, table := range InVPC(tx, TypeRouteTable, vpc.ID) {
		for _, route := range Routes(tx, table.ID) {
			// The new local route must not take the place of another.
			to, err := netip.ParsePrefix(props.Str(route.Attrs, "CidrBlock"))
			if err == nil && cidr.Bits() <= to.Bits() && cidr.Overlaps(to) {
				return account.Errorf("InvalidVpc.Range", "The CIDR '%s' conflicts with a route of route table %s.", cidr, table.ID)
			}
		}
	}
	id := "vpc-cidr-assoc-" + tx.HexID(17)
	r.ID = id + "|" + vpc.ID
	r.Attrs["Id"] = id
	r.Attrs["CidrBlock"] = cidr.String()
	r.Status = "associating"
	return nil
}

// beside tells whether a range may stand beside a VPC's primary one.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#add-cidr-block-restrictions
func beside(primary, cidr netip.Prefix) bool {
	in := func(p netip.Prefix, block string) bool { return netip.MustParsePrefix(block).Overlaps(p) }
	for _, p := range append(restricted, netip.MustParsePrefix("198.19.0.0/16")) {
		if p.Overlaps(cidr) {
			return false
		}
	}
	for _, block := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} {
		if in(cidr, block) && !in(primary, block) {
			return false
		}
	}
	return (!in(primary, "10.0.0.0/15") || !in(cidr, "10.0.0.0/16")) && (!in(primary, "172.16.0.0/12") || !in(cidr, "172.31.0.0/16"))
}

func rangeCIDR(r *account.Resource) netip.Prefix {
	return netip.MustParsePrefix(props.Str(r.Attrs, "CidrBlock"))
}

// Ranges are the ranges of a VPC, the primary one first.
func Ranges(tx *account.Tx, vpc *account.Resource) []netip.Prefix {
	out := []netip.Prefix{netip.MustParsePrefix(props.Str(vpc.Attrs, "CidrBlock"))}
	for _, r := range InVPC(tx, TypeVPCCidrBlock, vpc.ID) {
		out = append(out, rangeCIDR(r))
	}
	return out
}

// RangeAssociation is a range of a VPC with the id and state of its association.
type RangeAssociation struct{ ID, CIDR, State string }

// RangeAssociations are the ranges of a VPC, the primary one first.
func RangeAssociations(tx *account.Tx, vpc *account.Resource) []RangeAssociation {
	var out []RangeAssociation
	for _, id := range props.Strs(vpc.Attrs, "CidrBlockAssociations") {
		out = append(out, RangeAssociation{id, props.Str(vpc.Attrs, "CidrBlock"), "associated"})
	}
	for _, r := range InVPC(tx, TypeVPCCidrBlock, vpc.ID) {
		out = append(out, RangeAssociation{props.Str(r.Attrs, "Id"), fmt.Sprint(rangeCIDR(r)), r.Status})
	}
	return out
}
