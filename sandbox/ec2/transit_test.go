package ec2_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func TestSecondaryRanges(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	block := func(cidr string) in { return in{"VpcId": n.VPC.ID, "CidrBlock": cidr} }
	carrier := l.Make(ec2.TypeVPC, in{"CidrBlock": "100.64.0.0/16"})
	table := l.Make(ec2.TypeRouteTable, in{"VpcId": carrier.ID})
	l.Make(ec2.TypeVPCPeeringConnection, in{"VpcId": carrier.ID, "PeerVpcId": n.VPC.ID})
	l.Make(ec2.TypeRoute, in{"RouteTableId": table.ID, "DestinationCidrBlock": "100.70.0.0/16", "VpcPeeringConnectionId": only(l, ec2.TypeVPCPeeringConnection).ID})
	l.Check([]ec2test.Case{
		{"carrier-grade", ec2.TypeVPCCidrBlock, block("100.64.0.0/16"), ""},
		{"public", ec2.TypeVPCCidrBlock, block("203.0.113.0/24"), ""},
		{"the same private block", ec2.TypeVPCCidrBlock, block("10.9.0.0/16"), ""},
		{"overlap", ec2.TypeVPCCidrBlock, block("10.0.128.0/17"), "InvalidVpc.Range: The CIDR '10.0.128.0/17' conflicts"},
		{"another private block", ec2.TypeVPCCidrBlock, block("192.168.0.0/16"), "InvalidVpc.Range: The CIDR '192.168.0.0/16' is restricted."},
		{"private beside carrier-grade", ec2.TypeVPCCidrBlock, in{"VpcId": carrier.ID, "CidrBlock": "10.9.0.0/16"}, "InvalidVpc.Range: The CIDR '10.9.0.0/16' is restricted."},
		{"benchmarks", ec2.TypeVPCCidrBlock, block("198.19.0.0/16"), "InvalidVpc.Range: The CIDR '198.19.0.0/16' is restricted."},
		{"too large", ec2.TypeVPCCidrBlock, block("100.64.0.0/15"), "InvalidVpc.Range: The CIDR '100.64.0.0/15' is invalid."},
		{"no VPC", ec2.TypeVPCCidrBlock, in{"VpcId": "vpc-0", "CidrBlock": "100.64.0.0/16"}, "InvalidVpcID.NotFound"},
		{"a route's range", ec2.TypeVPCCidrBlock, in{"VpcId": carrier.ID, "CidrBlock": "100.70.0.0/16"}, "InvalidVpc.Range: The CIDR '100.70.0.0/16' conflicts with a route"},
		{"IPv6", ec2.TypeVPCCidrBlock, in{"VpcId": n.VPC.ID, "AmazonProvidedIpv6CidrBlock": true}, "NotModelled"},
		{"subnet outside", ec2.TypeSubnet, block("100.64.1.0/24"), "InvalidSubnet.Range"},
	})
	pods := l.Make(ec2.TypeVPCCidrBlock, block("100.64.0.0/16"))
	subnet := l.Make(ec2.TypeSubnet, block("100.64.1.0/24"))
	l.Do(func(tx *account.Tx) {
		want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")}
		if diff := cmp.Diff(want, ec2.Ranges(tx, tx.Get(ec2.TypeVPC, n.VPC.ID)), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("ranges, -want +got:\n%s", diff)
		}
	})
	l.Check([]ec2test.Case{
		{"the pods' local route", ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "100.64.0.0/16", "GatewayId": n.Gateway.ID}, "RouteAlreadyExists"},
		{"into the pods' range", ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "100.64.1.0/24", "GatewayId": n.Gateway.ID}, "InvalidParameterValue"},
	})
	l.Held("InvalidCidrBlock.InUse: The vpc "+n.VPC.ID+" currently has a subnet within CIDR block 100.64.0.0/16", pods)
	l.Gone(subnet, pods)
	for _, cidr := range []string{"100.65.0.0/16", "100.66.0.0/16", "100.67.0.0/16", "100.68.0.0/16"} {
		l.Make(ec2.TypeVPCCidrBlock, block(cidr))
	}
	l.Check([]ec2test.Case{{"the sixth", ec2.TypeVPCCidrBlock, block("100.69.0.0/16"), "CidrLimitExceeded"}})
}

// only is the account's only resource of a type.
func only(l *ec2test.Lab, typ string) (r *account.Resource) {
	l.T.Helper()
	l.Do(func(tx *account.Tx) {
		list := tx.List(typ)
		if len(list) != 1 {
			l.T.Fatalf("%d of %s", len(list), typ)
		}
		r = list[0]
	})
	return r
}

func TestTransitGateways(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	other := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.1.0.0/16"})
	otherSubnet := l.Make(ec2.TypeSubnet, in{"VpcId": other.ID, "CidrBlock": "10.1.0.0/24"})
	second := l.Make(ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1a"})
	gateway := l.Make(ec2.TypeTransitGateway, in{"Description": "hub"})
	attach := func(more in) in {
		p := in{"TransitGatewayId": gateway.ID, "VpcId": n.VPC.ID, "SubnetIds": []any{n.A.ID}}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	route := in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "10.0.0.0/8", "TransitGatewayId": gateway.ID}
	l.Check([]ec2test.Case{
		{"attachment", ec2.TypeTransitGatewayAttachment, attach(nil), ""},
		{"no gateway", ec2.TypeTransitGatewayAttachment, attach(in{"TransitGatewayId": "tgw-0"}), "InvalidTransitGatewayID.NotFound"},
		{"no subnet", ec2.TypeTransitGatewayAttachment, attach(in{"SubnetIds": []any{}}), "MissingParameter"},
		{"unknown subnet", ec2.TypeTransitGatewayAttachment, attach(in{"SubnetIds": []any{"subnet-0"}}), "InvalidSubnetID.NotFound"},
		{"subnet of another VPC", ec2.TypeTransitGatewayAttachment, attach(in{"SubnetIds": []any{otherSubnet.ID}}), "InvalidParameterValue"},
		{"two in a zone", ec2.TypeTransitGatewayAttachment, attach(in{"SubnetIds": []any{n.A.ID, second.ID}}), "DuplicateSubnetsInSameZone"},
		{"route without attachment", ec2.TypeRoute, route, "InvalidTransitGatewayID.NotFound: The transitGateway ID '" + gateway.ID + "' does not exist"},
	})
	a := l.Make(ec2.TypeTransitGatewayAttachment, attach(in{"Tags": []any{in{"Key": "team", "Value": "a"}}}))
	l.Check([]ec2test.Case{
		{"attached twice", ec2.TypeTransitGatewayAttachment, attach(nil), "DuplicateTransitGatewayAttachment"},
	})
	l.Held("IncorrectState", gateway)
	l.Held("DependencyViolation", n.A)
	r := l.Make(ec2.TypeRoute, route)
	l.Make(ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "TransitGatewayId": gateway.ID})
	l.Make(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": n.Table.ID, "SubnetId": n.A.ID})
	state := func() (enis int, blackhole bool, reaches string) {
		l.Do(func(tx *account.Tx) {
			enis, blackhole, reaches = len(ec2.InterfacesOf(tx, a.ID)), ec2.Blackhole(tx, tx.Get(ec2.TypeRoute, r.ID)), ec2.ReachesInternet(tx, tx.Get(ec2.TypeSubnet, n.A.ID))
		})
		return enis, blackhole, reaches
	}
	if enis, blackhole, reaches := state(); enis != 1 || blackhole || reaches != "nat" {
		t.Errorf("%d interfaces, black hole %v, reaches the internet by %q", enis, blackhole, reaches)
	}
	if err := l.Update(a, attach(in{"SubnetIds": []any{n.A.ID, n.B.ID}})); err != nil {
		t.Error(err)
	}
	if enis, _, _ := state(); enis != 2 || a.Status != "available" {
		t.Errorf("%d interfaces with two subnets, %s", enis, a.Status)
	}
	l.Gone(a)
	if enis, blackhole, reaches := state(); enis != 0 || !blackhole || reaches != "" {
		t.Errorf("without attachment: %d interfaces, black hole %v, reaches the internet by %q", enis, blackhole, reaches)
	}
	l.Gone(gateway)

	shared := l.Make(ec2.TypeTransitGateway, in{"OwnerId": "210987654321"})
	waiting := l.Make(ec2.TypeTransitGatewayAttachment, attach(in{"TransitGatewayId": shared.ID}))
	if waiting.Status != "pendingAcceptance" {
		t.Errorf("an attachment to another account's gateway is %s", waiting.Status)
	}
	l.Check([]ec2test.Case{{"route before acceptance", ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "172.16.0.0/12", "TransitGatewayId": shared.ID}, "InvalidTransitGatewayID.NotFound"}})
}

func TestOtherRouteTargets(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	other := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.1.0.0/16"})
	elsewhere := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.2.0.0/16"})
	peering := l.Make(ec2.TypeVPCPeeringConnection, in{"VpcId": other.ID, "PeerVpcId": n.VPC.ID})
	strange := l.Make(ec2.TypeVPCPeeringConnection, in{"VpcId": other.ID, "PeerVpcId": elsewhere.ID})
	vpn := l.Make(ec2.TypeVPNGateway, in{})
	var firewall *account.Resource
	l.Do(func(tx *account.Tx) {
		var err error
		if firewall, err = endpoint.Firewall(tx, n.A.ID); err != nil {
			t.Fatal(err)
		}
	})
	aws := l.Make(ec2.TypeVPCEndpoint, in{"VpcId": n.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.ec2", "VpcEndpointType": "Interface", "SubnetIds": []any{n.A.ID}})
	route := func(key, id string) in {
		return in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "192.168.0.0/16", key: id}
	}
	l.Check([]ec2test.Case{
		{"peering", ec2.TypeRoute, route("VpcPeeringConnectionId", peering.ID), ""},
		{"peering of others", ec2.TypeRoute, route("VpcPeeringConnectionId", strange.ID), "InvalidParameterValue"},
		{"no peering", ec2.TypeRoute, route("VpcPeeringConnectionId", "pcx-0"), "InvalidVpcPeeringConnectionID.NotFound"},
		{"detached virtual private gateway", ec2.TypeRoute, route("GatewayId", vpn.ID), "InvalidParameterValue"},
		{"no virtual private gateway", ec2.TypeRoute, route("GatewayId", "vgw-0"), "InvalidGatewayID.NotFound"},
		{"firewall", ec2.TypeRoute, route("VpcEndpointId", firewall.ID), ""},
		{"AWS's endpoint", ec2.TypeRoute, route("VpcEndpointId", aws.ID), "RouteNotSupported"},
	})
	attachment := l.Make(ec2.TypeVPCGatewayAttachment, in{"VpcId": n.VPC.ID, "VpnGatewayId": vpn.ID})
	second := l.Make(ec2.TypeVPNGateway, in{})
	l.Check([]ec2test.Case{
		{"virtual private gateway", ec2.TypeRoute, route("GatewayId", vpn.ID), ""},
		{"a second one", ec2.TypeVPCGatewayAttachment, in{"VpcId": n.VPC.ID, "VpnGatewayId": second.ID}, "VpnGatewayAttachmentLimitExceeded"},
		{"a default route by it", ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": vpn.ID}, ""},
	})
	l.Held("IncorrectState", vpn)
	l.Do(func(tx *account.Tx) {
		if got := ec2.AttachedGateway(tx, n.VPC.ID); got != n.Gateway.ID {
			t.Errorf("the VPC's internet gateway is %q", got)
		}
		if groups := ec2.InterfaceGroups(tx.Get(ec2.TypeNetworkInterface, props.Strs(firewall.Attrs, "NetworkInterfaceIds")[0])); len(groups) != 0 {
			t.Errorf("a firewall's interface has groups %v", groups)
		}
	})
	l.Gone(attachment, vpn)
}
