package ec2_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// A VPC is between a /16 and a /28, in no range that AWS keeps for itself.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
func TestVPCBlockSize(t *testing.T) {
	t.Parallel()
	vpc := func(cidr string) in { return in{"CidrBlock": cidr} }
	ec2test.New(t, ec2test.Options{}).Check([]ec2test.Case{
		{"/15", ec2.TypeVPC, vpc("10.0.0.0/15"), "InvalidVpc.Range: The CIDR '10.0.0.0/15' is invalid."},
		{"/16", ec2.TypeVPC, vpc("10.0.0.0/16"), ""},
		{"/28", ec2.TypeVPC, vpc("10.0.0.0/28"), ""},
		{"/29", ec2.TypeVPC, vpc("10.0.0.0/29"), "InvalidVpc.Range"},
		{"loopback", ec2.TypeVPC, vpc("127.0.0.0/16"), "InvalidVpc.Range"},
		{"link-local", ec2.TypeVPC, vpc("169.254.0.0/20"), "InvalidVpc.Range"},
		{"multicast", ec2.TypeVPC, vpc("224.0.0.0/16"), "InvalidVpc.Range"},
		{"public", ec2.TypeVPC, vpc("198.51.100.0/24"), ""},
	})
}

// VPCs may overlap each other: only what is inside one VPC may not.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
func TestVPCsMayOverlap(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	l.Network()
	l.Network()
}

// A subnet is a part of one of its VPC's blocks, between a /16 and a /28.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSubnet.html
func TestSubnetLiesInItsVPC(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	vpc := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/16"})
	subnet := func(cidr string) in { return in{"VpcId": vpc.ID, "CidrBlock": cidr} }
	l.Check([]ec2test.Case{
		{"all of it", ec2.TypeSubnet, subnet("10.0.0.0/16"), ""},
		{"beside it", ec2.TypeSubnet, subnet("10.1.0.0/24"), "InvalidSubnet.Range: The CIDR '10.1.0.0/24' is invalid."},
		{"around it", ec2.TypeSubnet, subnet("10.0.0.0/15"), "InvalidSubnet.Range"},
		{"/29", ec2.TypeSubnet, subnet("10.0.0.0/29"), "InvalidSubnet.Range"},
		{"secondary block that isn't there", ec2.TypeSubnet, subnet("100.64.0.0/24"), "InvalidSubnet.Range"},
	})
	l.Make(ec2.TypeVPCCidrBlock, in{"VpcId": vpc.ID, "CidrBlock": "100.64.0.0/20"})
	l.Make(ec2.TypeSubnet, subnet("100.64.0.0/24"))
}

// A subnet that overlaps another one of its VPC is refused.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
func TestSubnetsConflict(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	for _, cidr := range []string{"10.0.0.0/24", "10.0.0.0/25", "10.0.0.0/23", "10.0.0.240/28"} {
		_, err := l.Create(ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": cidr})
		l.Want("InvalidSubnet.Conflict: The CIDR '"+cidr+"' conflicts with another subnet", err)
	}
}

// A secondary block of a VPC overlaps no other, no route of the VPC, and stays in
// the address space of the primary one.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#add-cidr-block-restrictions
func TestSecondaryBlockRestrictions(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	ten := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.8.0.0/16"})
	low := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.1.0.0/16"})
	private := l.Make(ec2.TypeVPC, in{"CidrBlock": "172.16.0.0/16"})
	block := func(vpc *account.Resource, cidr string) in { return in{"VpcId": vpc.ID, "CidrBlock": cidr} }
	l.Check([]ec2test.Case{
		{"same space", ec2.TypeVPCCidrBlock, block(ten, "10.9.0.0/16"), ""},
		{"shared space", ec2.TypeVPCCidrBlock, block(ten, "100.64.0.0/16"), ""},
		{"overlap", ec2.TypeVPCCidrBlock, block(ten, "10.8.4.0/24"), "InvalidVpc.Range: The CIDR '10.8.4.0/24' conflicts with another CIDR of this VPC: '10.8.0.0/16'."},
		{"172 beside 10", ec2.TypeVPCCidrBlock, block(ten, "172.16.0.0/16"), "InvalidVpc.Range: The CIDR '172.16.0.0/16' is restricted."},
		{"192 beside 10", ec2.TypeVPCCidrBlock, block(ten, "192.168.0.0/16"), "InvalidVpc.Range"},
		{"198.19", ec2.TypeVPCCidrBlock, block(ten, "198.19.0.0/16"), "InvalidVpc.Range"},
		{"10.0 beside 10.1", ec2.TypeVPCCidrBlock, block(low, "10.0.0.0/16"), "InvalidVpc.Range"},
		{"172.31 beside 172", ec2.TypeVPCCidrBlock, block(private, "172.31.0.0/16"), "InvalidVpc.Range"},
		{"/15", ec2.TypeVPCCidrBlock, block(ten, "10.10.0.0/15"), "InvalidVpc.Range"},
	})
}

// A secondary block can't go while a subnet lies in it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisassociateVpcCidrBlock.html
func TestSecondaryBlockInUse(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	block := l.Make(ec2.TypeVPCCidrBlock, in{"VpcId": n.VPC.ID, "CidrBlock": "100.64.0.0/20"})
	subnet := l.Make(ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "100.64.0.0/24"})
	l.Held("InvalidCidrBlock.InUse: The vpc "+n.VPC.ID+" currently has a subnet within CIDR block 100.64.0.0/20", block)
	l.Gone(subnet, block)
}

// The first four addresses of a subnet and its last one are AWS's.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
func TestReservedAddresses(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	for _, ip := range []string{"10.0.1.0", "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.15"} {
		_, err := l.Create(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "PrivateIpAddress": ip})
		l.Want("InvalidParameterValue: Address "+ip+" is in subnet's reserved address range", err)
	}
	for _, ip := range []string{"10.0.1.4", "10.0.1.14"} {
		l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "PrivateIpAddress": ip})
	}
}

// A subnet's count of free addresses leaves out the five that AWS reserves, falls
// with every address that an interface takes, and rises again when it goes.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Subnet.html
func TestFreeAddressCount(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	var got []int
	count := func() { l.Do(func(tx *account.Tx) { got = append(got, ec2.AvailableAddresses(tx, n.B)) }) }
	count()
	one := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID})
	count()
	two := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "SecondaryPrivateIpAddressCount": 9})
	count()
	_, err := l.Create(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID})
	l.Want("InsufficientFreeAddressesInSubnet: The specified subnet does not have enough free addresses to satisfy the request.", err)
	l.Gone(one, two)
	count()
	if d := cmp.Diff([]int{11, 10, 0, 11}, got); d != "" {
		t.Error(d)
	}
}

// A route table serves only subnets of its own VPC.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html
func TestRouteTableOfAnotherVPC(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	a, b := l.Network(), l.Network()
	_, err := l.Create(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": a.Table.ID, "SubnetId": b.A.ID})
	l.Want("InvalidParameterValue: Route table "+a.Table.ID+" and subnet "+b.A.ID+" belong to different networks.", err)
}

// A route's target lies in the VPC of its table: gateways, NAT gateways and
// interfaces of other VPCs are refused.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateRoute.html
func TestRouteToAnotherVPC(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	a, b := l.Network(), l.Network()
	eip := l.Make(ec2.TypeEIP, in{})
	nat := l.Make(ec2.TypeNatGateway, in{"SubnetId": b.A.ID, "AllocationId": eip.Attrs["AllocationId"]})
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": b.A.ID})
	route := func(key, id string) in {
		return in{"RouteTableId": a.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", key: id}
	}
	l.Check([]ec2test.Case{
		{"gateway", ec2.TypeRoute, route("GatewayId", b.Gateway.ID), "InvalidParameterValue: route table " + a.Table.ID + " and network gateway " + b.Gateway.ID + " belong to different networks"},
		{"NAT gateway", ec2.TypeRoute, route("NatGatewayId", nat.ID), "InvalidParameterValue: route table " + a.Table.ID + " and NAT gateway " + nat.ID + " belong to different networks"},
		{"interface", ec2.TypeRoute, route("NetworkInterfaceId", eni.ID), "InvalidParameterValue: route table " + a.Table.ID + " and interface " + eni.ID + " belong to different networks"},
		{"own gateway", ec2.TypeRoute, route("GatewayId", a.Gateway.ID), ""},
	})
}

// A rule of a security group refers only to groups of the same VPC.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
func TestRuleForAnotherVPC(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	a, b := l.Network(), l.Network()
	for typ, side := range map[string]string{ec2.TypeSecurityGroupIngress: "SourceSecurityGroupId", ec2.TypeSecurityGroupEgress: "DestinationSecurityGroupId"} {
		_, err := l.Create(typ, in{"GroupId": a.Group.ID, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, side: b.Group.ID})
		l.Want("InvalidGroup.NotFound: You have specified two resources that belong to different networks.", err)
	}
}

// An interface has groups of its own VPC only.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkInterface.html
func TestGroupOfAnotherVPC(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	a, b := l.Network(), l.Network()
	_, err := l.Create(ec2.TypeNetworkInterface, in{"SubnetId": a.A.ID, "GroupSet": []any{b.Group.ID}})
	l.Want("InvalidParameter: Security group "+b.Group.ID+" and VPC "+a.VPC.ID+" belong to different networks.", err)
}

// An endpoint has subnets, security groups and route tables of its own VPC only.
//
// https://docs.aws.amazon.com/vpc/latest/privatelink/create-interface-endpoint.html
// https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
func TestEndpointStaysInItsVPC(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	a, b := l.Network(), l.Network()
	endpoint := func(more in) in {
		p := in{"VpcId": a.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.sts", "VpcEndpointType": "Interface", "SubnetIds": []any{a.A.ID}}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	l.Check([]ec2test.Case{
		{"subnet", ec2.TypeVPCEndpoint, endpoint(in{"SubnetIds": []any{b.A.ID}}), "InvalidParameter: Subnet " + b.A.ID + " does not belong to VPC " + a.VPC.ID},
		{"group", ec2.TypeVPCEndpoint, endpoint(in{"SecurityGroupIds": []any{b.Group.ID}}), "InvalidParameter: Security group " + b.Group.ID},
		{"table", ec2.TypeVPCEndpoint, in{"VpcId": a.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.s3", "RouteTableIds": []any{b.Table.ID}}, "InvalidParameter: Route table " + b.Table.ID + " does not belong to VPC " + a.VPC.ID},
		{"own", ec2.TypeVPCEndpoint, endpoint(nil), ""},
	})
}

// An interface endpoint has one subnet in a zone at most.
//
// https://docs.aws.amazon.com/vpc/latest/privatelink/create-interface-endpoint.html
func TestEndpointHasOneSubnetInAZone(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	beside := l.Make(ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1a"})
	_, err := l.Create(ec2.TypeVPCEndpoint, in{
		"VpcId": n.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.sts", "VpcEndpointType": "Interface", "SubnetIds": []any{n.A.ID, beside.ID},
	})
	l.Want("DuplicateSubnetsInSameZone", err)
}

// A network ACL filters only subnets of its own VPC.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceNetworkAclAssociation.html
func TestACLOfAnotherVPC(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	a, b := l.Network(), l.Network()
	acl := l.Make(ec2.TypeNetworkACL, in{"VpcId": a.VPC.ID})
	_, err := l.Create(ec2.TypeSubnetNetworkACLAssociation, in{"NetworkAclId": acl.ID, "SubnetId": b.A.ID})
	l.Want("InvalidParameterValue: Network ACL "+acl.ID+" and subnet "+b.A.ID+" belong to different networks.", err)
}

// A public NAT gateway needs a VPC with an internet gateway; otherwise it fails
// after its creation was accepted.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html
func TestNATGatewayWithoutInternetGateway(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Gone(n.Attachment)
	eip := l.Make(ec2.TypeEIP, in{})
	_, err := l.Create(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": eip.Attrs["AllocationId"]})
	l.Want("Gateway.NotAttached: Network "+n.VPC.ID+" has no Internet gateway attached", err)
}

// A security group that an interface has can't be deleted.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html
func TestSecurityGroupInUseByInterface(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID, "GroupSet": []any{n.Group.ID}})
	l.Held("DependencyViolation: resource "+n.Group.ID+" has a dependent object", n.Group)
	l.Gone(eni, n.Group)
}

// A security group that a rule of another group names can't be deleted; one that
// names only itself can.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html
func TestSecurityGroupInUseByRule(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	peer := l.Make(ec2.TypeSecurityGroup, in{"VpcId": n.VPC.ID, "GroupName": "peer", "GroupDescription": "peer"})
	l.Make(ec2.TypeSecurityGroupIngress, in{"GroupId": n.Group.ID, "IpProtocol": "-1", "SourceSecurityGroupId": n.Group.ID})
	rule := l.Make(ec2.TypeSecurityGroupEgress, in{"GroupId": peer.ID, "IpProtocol": "-1", "DestinationSecurityGroupId": n.Group.ID})
	l.Held("DependencyViolation: resource "+n.Group.ID+" has a dependent object", n.Group)
	l.Gone(rule, n.Group)
}

// The default security group of a VPC stays as long as the VPC.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/default-security-group.html
func TestDefaultSecurityGroupStays(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	var group *account.Resource
	l.Do(func(tx *account.Tx) {
		group = tx.Get(ec2.TypeSecurityGroup, props.Str(n.VPC.Attrs, "DefaultSecurityGroup"))
	})
	l.Held("CannotDelete: the specified group: \""+group.ID+"\" name: \"default\" cannot be deleted by a user", group)
}

// A VPC can't be deleted while anything is in it that doesn't come with it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteVpc.html
func TestVPCWithDependencies(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{ec2.TypeSubnet, ec2.TypeSecurityGroup, ec2.TypeRouteTable, ec2.TypeNetworkACL, ec2.TypeVPCGatewayAttachment} {
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			l := ec2test.New(t, ec2test.Options{})
			vpc := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/16"})
			gateway := l.Make(ec2.TypeInternetGateway, in{})
			thing := l.Make(typ, in{"VpcId": vpc.ID, "CidrBlock": "10.0.0.0/24", "GroupDescription": "own", "InternetGatewayId": gateway.ID})
			l.Held("DependencyViolation: The vpc '"+vpc.ID+"' has dependencies and cannot be deleted.", vpc)
			l.Gone(thing, vpc)
		})
	}
}

// A subnet can't be deleted while an interface is in it, whoever made it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSubnet.html
func TestSubnetWithInterface(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Do(func(tx *account.Tx) {
		_, err := ec2.AddInterface(tx, ec2.Interface{Subnet: n.A.ID, Owner: "svc", Requester: "amazon-rds"})
		l.Want("", err)
	})
	l.Held("DependencyViolation: The subnet '"+n.A.ID+"' has dependencies and cannot be deleted.", n.A)
	l.Do(func(tx *account.Tx) { ec2.RemoveInterfaces(tx, "svc") })
	l.Gone(n.A)
}

// An internet gateway can't be detached while its VPC has mapped public
// addresses, nor deleted while it is attached.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachInternetGateway.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteInternetGateway.html
func TestInternetGatewayInUse(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	eip := l.Make(ec2.TypeEIP, in{})
	nat := l.Make(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": eip.Attrs["AllocationId"]})
	l.Held("DependencyViolation: Network "+n.VPC.ID+" has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", n.Attachment)
	l.Held("DependencyViolation: The internetGateway '"+n.Gateway.ID+"' has dependencies and cannot be deleted.", n.Gateway)
	l.Gone(nat, n.Attachment, n.Gateway)
}

// A load balancer's public addresses hold the internet gateway as well.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/working-with-igw.html
func TestLoadBalancerHoldsInternetGateway(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Do(func(tx *account.Tx) {
		_, err := ec2.AddInterface(tx, ec2.Interface{Subnet: n.A.ID, Owner: "lb", Requester: "amazon-elb", Description: "ELB app/a/1", Public: true})
		l.Want("", err)
		ec2.ReleaseInterfaces(tx, "lb", time.Minute)
	})
	l.Held("DependencyViolation: Network "+n.VPC.ID+" has some mapped public address(es).", n.Attachment)
	l.Wait(time.Minute)
	l.Gone(n.Attachment)
}

// A route table can't be deleted while a subnet is associated with it, and a
// VPC's main table not at all.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteRouteTable.html
func TestRouteTableInUse(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	association := l.Make(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": n.Table.ID, "SubnetId": n.A.ID})
	l.Held("DependencyViolation: The routeTable '"+n.Table.ID+"' has dependencies and cannot be deleted.", n.Table)
	l.Gone(association, n.Table)
	var main *account.Resource
	l.Do(func(tx *account.Tx) { main = ec2.RouteTableOf(tx, n.A) })
	l.Held("DependencyViolation: The routeTable '"+main.ID+"'", main)
}

// A network ACL can't be deleted while a subnet has it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteNetworkAcl.html
func TestNetworkACLInUse(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	acl := l.Make(ec2.TypeNetworkACL, in{"VpcId": n.VPC.ID})
	association := l.Make(ec2.TypeSubnetNetworkACLAssociation, in{"NetworkAclId": acl.ID, "SubnetId": n.A.ID})
	l.Held("DependencyViolation: The network ACL '"+acl.ID+"' has dependencies and cannot be deleted.", acl)
	l.Gone(association, acl)
}

// An Elastic IP address in use can't be released; deleting a NAT gateway frees its
// address but keeps it allocated.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReleaseAddress.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteNatGateway.html
func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	eip := l.Make(ec2.TypeEIP, in{})
	nat := l.Make(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": eip.Attrs["AllocationId"]})
	l.Held("InvalidIPAddress.InUse: Address "+eip.ID+" is in use.", eip)
	l.Gone(nat, eip)
}

// An interface in use can't be deleted.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteNetworkInterface.html
func TestInterfaceInUse(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	var eni *account.Resource
	l.Do(func(tx *account.Tx) {
		var err error
		eni, err = ec2.AddInterface(tx, ec2.Interface{Subnet: n.A.ID, Owner: "svc", Requester: "amazon-elb"})
		l.Want("", err)
	})
	l.Held("InvalidParameterValue: Network interface '"+eni.ID+"' is currently in use.", eni)
}

// A NAT gateway and an interface endpoint leave interfaces in their subnets that
// say whose they are, and take them along.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func TestInterfacesOfGatewaysAndEndpoints(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	eip := l.Make(ec2.TypeEIP, in{})
	nat := l.Make(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": eip.Attrs["AllocationId"]})
	endpoint := l.Make(ec2.TypeVPCEndpoint, in{"VpcId": n.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.sts", "VpcEndpointType": "Interface", "SubnetIds": []any{n.A.ID, n.B.ID}})
	describe := func() string {
		var out []string
		l.Do(func(tx *account.Tx) {
			for _, eni := range append(ec2.InterfacesOf(tx, nat.ID), ec2.InterfacesOf(tx, endpoint.ID)...) {
				out = append(out, fmt.Sprint(props.Str(eni.Props, "InterfaceType"), " ", props.Str(eni.Props, "Description"), " ", props.Str(eni.Data, "requester"), " ", eni.Status))
			}
		})
		return strings.Join(out, "\n")
	}
	one := "vpc_endpoint VPC Endpoint Interface " + endpoint.ID + " amazon-vpc-endpoints in-use"
	if d := cmp.Diff("nat_gateway Interface for NAT Gateway "+nat.ID+" amazon-nat-gateway in-use\n"+one+"\n"+one, describe()); d != "" {
		t.Error(d)
	}
	l.Gone(nat, endpoint)
	if got := describe(); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// Interfaces of a service can outlive what they served: they stay in use for
// some minutes, with their subnet, groups and public address, and then go.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func TestInterfacesLinger(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Do(func(tx *account.Tx) {
		_, err := ec2.AddInterface(tx, ec2.Interface{Subnet: n.A.ID, Groups: []string{n.Group.ID}, Owner: "lb", Requester: "amazon-elb"})
		l.Want("", err)
		ec2.ReleaseInterfaces(tx, "lb", 2*time.Minute)
	})
	l.Wait(119 * time.Second)
	l.Held("DependencyViolation: The subnet", n.A)
	l.Held("DependencyViolation: resource", n.Group)
	l.Wait(2 * time.Second)
	l.Gone(n.A, n.Group)
}
