package vpc

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/verify/reach"
)

// TestNetworkValue reads what EC2 describes of a VPC that has what the sandbox does
// not model too: IPv6, connected networks, prefix lists of customers.
func TestNetworkValue(t *testing.T) {
	t.Parallel()
	s := aws.String
	d := Description{
		VPC: types.Vpc{
			VpcId: s("vpc-1"),
			CidrBlockAssociationSet: []types.VpcCidrBlockAssociation{
				{CidrBlock: s("10.0.0.0/16"), CidrBlockState: &types.VpcCidrBlockState{State: types.VpcCidrBlockStateCodeAssociated}},
				{CidrBlock: s("10.1.0.0/16"), CidrBlockState: &types.VpcCidrBlockState{State: types.VpcCidrBlockStateCodeDisassociated}},
			},
			Ipv6CidrBlockAssociationSet: []types.VpcIpv6CidrBlockAssociation{{Ipv6CidrBlock: s("2001:db8::/56")}},
		},
		Subnets: []types.Subnet{
			{SubnetId: s("subnet-1"), CidrBlock: s("10.0.0.0/24"), AvailabilityZoneId: s("use1-az1"), Ipv6CidrBlockAssociationSet: []types.SubnetIpv6CidrBlockAssociation{{Ipv6CidrBlock: s("2001:db8::/64")}}},
			{SubnetId: s("subnet-2"), CidrBlock: s("10.0.1.0/24"), AvailabilityZoneId: s("use1-az2")},
		},
		Tables: []types.RouteTable{
			{RouteTableId: s("rtb-main"), Associations: []types.RouteTableAssociation{{Main: aws.Bool(true)}}, Routes: []types.Route{
				{DestinationCidrBlock: s("10.0.0.0/16"), GatewayId: s("local"), State: types.RouteStateActive},
				{DestinationCidrBlock: s("10.9.0.0/16"), TransitGatewayId: s("tgw-1"), State: types.RouteStateActive},
				{DestinationCidrBlock: s("10.8.0.0/16"), VpcPeeringConnectionId: s("pcx-1"), State: types.RouteStateBlackhole},
				{DestinationCidrBlock: s("10.7.0.0/16"), GatewayId: s("vgw-1"), Origin: types.RouteOriginEnableVgwRoutePropagation},
				{DestinationCidrBlock: s("10.6.0.0/16"), GatewayId: s("vpce-9")},
				{DestinationCidrBlock: s("10.5.0.0/16"), NetworkInterfaceId: s("eni-1"), InstanceId: s("i-1")},
				{DestinationPrefixListId: s("pl-1"), GatewayId: s("vpce-1")},
				{DestinationIpv6CidrBlock: s("::/0"), EgressOnlyInternetGatewayId: s("eigw-1")},
			}},
			{RouteTableId: s("rtb-2"), Associations: []types.RouteTableAssociation{{SubnetId: s("subnet-2")}, {GatewayId: s("igw-1")}}, Routes: []types.Route{
				{DestinationCidrBlock: s("0.0.0.0/0"), NatGatewayId: s("nat-1")},
				{DestinationCidrBlock: s("10.0.0.0/16"), CoreNetworkArn: s("arn:core")},
			}},
		},
		ACLs: []types.NetworkAcl{{NetworkAclId: s("acl-1"), Associations: []types.NetworkAclAssociation{{SubnetId: s("subnet-1")}, {SubnetId: s("subnet-2")}}, Entries: []types.NetworkAclEntry{
			{RuleNumber: aws.Int32(100), Protocol: s("6"), CidrBlock: s("10.0.0.0/8"), PortRange: &types.PortRange{From: aws.Int32(80), To: aws.Int32(81)}, RuleAction: types.RuleActionAllow},
			{RuleNumber: aws.Int32(110), Protocol: s("58"), Ipv6CidrBlock: s("::/0"), IcmpTypeCode: &types.IcmpTypeCode{Type: aws.Int32(128), Code: aws.Int32(-1)}, Egress: aws.Bool(true), RuleAction: types.RuleActionDeny},
			{RuleNumber: aws.Int32(32767), Protocol: s("-1"), CidrBlock: s("0.0.0.0/0"), RuleAction: types.RuleActionDeny},
			{RuleNumber: aws.Int32(32768), Protocol: s("-1"), Ipv6CidrBlock: s("::/0"), RuleAction: types.RuleActionDeny},
		}}},
		Groups: []types.SecurityGroup{{GroupId: s("sg-1")}},
		Rules: []types.SecurityGroupRule{
			{SecurityGroupRuleId: s("sgr-1"), GroupId: s("sg-1"), IpProtocol: s("icmpv6"), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1), CidrIpv6: s("::/0")},
			{SecurityGroupRuleId: s("sgr-2"), GroupId: s("sg-1"), IpProtocol: s("-1"), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1), PrefixListId: s("pl-2"), IsEgress: aws.Bool(true)},
			{SecurityGroupRuleId: s("sgr-3"), GroupId: s("sg-1"), IpProtocol: s("udp"), FromPort: aws.Int32(53), ToPort: aws.Int32(53), ReferencedGroupInfo: &types.ReferencedSecurityGroup{GroupId: s("sg-9")}},
			{SecurityGroupRuleId: s("sgr-4"), GroupId: s("sg-other"), IpProtocol: s("tcp"), CidrIpv4: s("0.0.0.0/0")},
		},
		Interfaces: []types.NetworkInterface{{
			NetworkInterfaceId: s("eni-1"), SubnetId: s("subnet-1"), Description: s("a node"), SourceDestCheck: aws.Bool(true), Groups: []types.GroupIdentifier{{GroupId: s("sg-1")}},
			Association: &types.NetworkInterfaceAssociation{PublicIp: s("203.0.113.1")},
			PrivateIpAddresses: []types.NetworkInterfacePrivateIpAddress{
				{PrivateIpAddress: s("10.0.0.10"), Primary: aws.Bool(true)},
				{PrivateIpAddress: s("10.0.0.11"), Association: &types.NetworkInterfaceAssociation{PublicIp: s("203.0.113.2")}},
			},
			Ipv6Addresses: []types.NetworkInterfaceIpv6Address{{Ipv6Address: s("2001:db8::1")}},
		}},
		IGWs: []types.InternetGateway{{InternetGatewayId: s("igw-1")}},
		NATs: []types.NatGateway{
			{NatGatewayId: s("nat-1"), State: types.NatGatewayStateAvailable, SubnetId: s("subnet-1"), NatGatewayAddresses: []types.NatGatewayAddress{{NetworkInterfaceId: s("eni-1")}}},
			{NatGatewayId: s("nat-2"), State: types.NatGatewayStateFailed},
			{NatGatewayId: s("nat-3"), State: types.NatGatewayStateAvailable},
		},
	}
	if diff := cmp.Diff([]string{"pl-1", "pl-2"}, d.ListIDs()); diff != "" {
		t.Errorf("prefix lists: %s", diff)
	}
	cidr, ip := netip.MustParsePrefix, netip.MustParseAddr
	d.Lists = []reach.PrefixList{{ID: "pl-1", Prefixes: []netip.Prefix{cidr("3.5.0.0/19")}}, {ID: "pl-2", Prefixes: []netip.Prefix{cidr("10.9.0.0/24")}}}
	got, err := d.Network()
	if err != nil {
		t.Fatal(err)
	}
	want := reach.Network{
		ID: "vpc-1", CIDRs: []netip.Prefix{cidr("10.0.0.0/16"), cidr("2001:db8::/56")}, PrefixLists: d.Lists,
		Subnets: []reach.Subnet{
			{ID: "subnet-1", Zone: "use1-az1", CIDRs: []netip.Prefix{cidr("10.0.0.0/24"), cidr("2001:db8::/64")}, RouteTable: "rtb-main", ACL: "acl-1"},
			{ID: "subnet-2", Zone: "use1-az2", CIDRs: []netip.Prefix{cidr("10.0.1.0/24")}, RouteTable: "rtb-2", ACL: "acl-1"},
		},
		RouteTables: []reach.RouteTable{
			{ID: "rtb-main", Routes: []reach.Route{
				{Destination: cidr("10.0.0.0/16"), Kind: reach.Local},
				{Destination: cidr("10.9.0.0/16"), Kind: reach.ToTransitGateway, Target: "tgw-1"},
				{Destination: cidr("10.8.0.0/16"), Kind: reach.ToPeering, Target: "pcx-1", Blackhole: true},
				{Destination: cidr("10.7.0.0/16"), Kind: reach.ToVPNGateway, Target: "vgw-1", Propagated: true},
				{Destination: cidr("10.6.0.0/16"), Kind: reach.Other, Target: "vpce-9"},
				{Destination: cidr("10.5.0.0/16"), Kind: reach.ToInterface, Target: "eni-1"},
				{PrefixList: "pl-1", Kind: reach.ToGatewayEndpoint, Target: "vpce-1"},
				{Destination: cidr("::/0"), Kind: reach.ToEgressOnlyGateway, Target: "eigw-1"},
			}},
			{ID: "rtb-2", Gateways: []string{"igw-1"}, Routes: []reach.Route{
				{Destination: cidr("0.0.0.0/0"), Kind: reach.ToNATGateway, Target: "nat-1"},
				{Destination: cidr("10.0.0.0/16"), Kind: reach.Other, Target: "arn:core"},
			}},
		},
		ACLs: []reach.ACL{{ID: "acl-1", Entries: []reach.ACLEntry{
			{Number: 100, Allow: true, Traffic: reach.Traffic{Protocol: 6, From: 80, To: 81}, CIDR: cidr("10.0.0.0/8")},
			{Number: 110, Egress: true, Traffic: reach.Traffic{Protocol: 58, From: 128, To: -1}, CIDR: cidr("::/0")},
		}}},
		SecurityGroups: []reach.SecurityGroup{{ID: "sg-1", Rules: []reach.Rule{
			{ID: "sgr-1", Traffic: reach.Traffic{Protocol: 58, From: -1, To: -1}, CIDR: cidr("::/0")},
			{ID: "sgr-2", Egress: true, Traffic: reach.Traffic{Protocol: -1, From: -1, To: -1}, PrefixList: "pl-2"},
			{ID: "sgr-3", Traffic: reach.Traffic{Protocol: 17, From: 53, To: 53}, Group: "sg-9"},
		}}},
		Interfaces: []reach.Interface{{ID: "eni-1", Subnet: "subnet-1", Description: "a node", SourceDestCheck: true, Groups: []string{"sg-1"}, Addresses: []reach.Address{
			{IP: ip("10.0.0.10"), Public: ip("203.0.113.1")}, {IP: ip("10.0.0.11"), Public: ip("203.0.113.2")}, {IP: ip("2001:db8::1")},
		}}},
		InternetGateways: []reach.InternetGateway{{ID: "igw-1", Attached: true}},
		NATGateways:      []reach.NATGateway{{ID: "nat-1", Interface: "eni-1"}, {ID: "nat-3"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	if _, err := reach.Compile(got); err != nil {
		t.Error(err)
	}
	d.VPC.CidrBlockAssociationSet[0].CidrBlock = s("10.0.0.0")
	if _, err := d.Network(); err == nil {
		t.Error("a range that is none is taken")
	}
}
