package ec2_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

type in = ec2test.In

func TestRefusals(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	other := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.1.0.0/16"})
	otherSubnet := l.Make(ec2.TypeSubnet, in{"VpcId": other.ID, "CidrBlock": "10.1.0.0/24"})
	otherTable := l.Make(ec2.TypeRouteTable, in{"VpcId": other.ID})
	otherGroup := l.Make(ec2.TypeSecurityGroup, in{"VpcId": other.ID, "GroupName": "own", "GroupDescription": "other"})
	acl := l.Make(ec2.TypeNetworkACL, in{"VpcId": n.VPC.ID})
	l.Make(ec2.TypeNetworkACLEntry, in{"NetworkAclId": acl.ID, "RuleNumber": 100, "Protocol": 6, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0", "PortRange": in{"From": 443, "To": 443}})
	l.Make(ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": n.Gateway.ID})
	l.Make(ec2.TypeSecurityGroupIngress, in{"GroupId": n.Group.ID, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/16"})
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID, "PrivateIpAddress": "10.0.0.10"})
	eip := l.Make(ec2.TypeEIP, in{"Domain": "vpc"})
	allocation := eip.Attrs["AllocationId"]
	route := func(more in) in {
		p := in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "192.168.0.0/16"}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	entry := func(more in) in {
		p := in{"NetworkAclId": acl.ID, "RuleNumber": 110, "Protocol": 6, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0", "PortRange": in{"From": "1024", "To": "65535"}}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	permit := func(more in) in {
		p := in{"GroupId": n.Group.ID, "IpProtocol": "tcp", "FromPort": "80", "ToPort": 80}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	l.Check([]ec2test.Case{
		{"vpc too large", ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/15"}, "InvalidVpc.Range: The CIDR '10.0.0.0/15' is invalid."},
		{"vpc too small", ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/29"}, "InvalidVpc.Range"},
		{"vpc restricted", ec2.TypeVPC, in{"CidrBlock": "169.254.8.0/24"}, "InvalidVpc.Range"},
		{"vpc no network", ec2.TypeVPC, in{"CidrBlock": "10.0.0.0"}, "InvalidParameterValue: Value (10.0.0.0) for parameter cidrBlock is invalid. This is not a valid CIDR block."},
		{"vpc missing", ec2.TypeVPC, in{}, "MissingParameter"},
		{"vpc names without resolution", ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/16", "EnableDnsSupport": false, "EnableDnsHostnames": true}, "InvalidParameterCombination"},
		{"vpc ipam", ec2.TypeVPC, in{"Ipv4IpamPoolId": "ipam-1"}, "NotModelled"},
		{"vpc canonical", ec2.TypeVPC, in{"CidrBlock": "10.0.9.9/16"}, ""},

		{"subnet overlap", ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.0.128/25"}, "InvalidSubnet.Conflict: The CIDR '10.0.0.128/25' conflicts with another subnet"},
		{"subnet outside", ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.1.0.0/24"}, "InvalidSubnet.Range"},
		{"subnet larger than vpc", ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.0.0/15"}, "InvalidSubnet.Range"},
		{"subnet too small", ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.9.0/29"}, "InvalidSubnet.Range"},
		{"subnet zone", ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.9.0/24", "AvailabilityZone": "us-east-1z"}, "InvalidParameterValue: Value (us-east-1z) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: us-east-1a, us-east-1b, us-east-1c."},
		{"subnet zone id", ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.9.0/24", "AvailabilityZoneId": "use1-az9"}, "InvalidParameterValue: Value (use1-az9)"},
		{"subnet vpc", ec2.TypeSubnet, in{"VpcId": "vpc-0", "CidrBlock": "10.0.9.0/24"}, "InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist"},
		{"subnet good", ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.9.0/24"}, ""},

		{"interface subnet", ec2.TypeNetworkInterface, in{"SubnetId": "subnet-0"}, "InvalidSubnetID.NotFound"},
		{"interface foreign group", ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID, "GroupSet": []any{otherGroup.ID}}, "InvalidParameter: Security group"},
		{"interface address taken", ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID, "PrivateIpAddress": "10.0.0.10"}, "InvalidIPAddress.InUse"},
		{"interface address reserved", ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID, "PrivateIpAddress": "10.0.0.3"}, "InvalidParameterValue: Address 10.0.0.3 is in subnet's reserved address range"},
		{"interface address outside", ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID, "PrivateIpAddress": "10.0.1.5"}, "InvalidParameterValue: Address 10.0.1.5 does not fall within"},
		{"interface too many", ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "SecondaryPrivateIpAddressCount": 11}, "InsufficientFreeAddressesInSubnet"},
		{"interface as many as fit", ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "SecondaryPrivateIpAddressCount": 10}, ""},

		{"attachment twice", ec2.TypeVPCGatewayAttachment, in{"VpcId": other.ID, "InternetGatewayId": n.Gateway.ID}, "Resource.AlreadyAssociated"},
		{"attachment gateway", ec2.TypeVPCGatewayAttachment, in{"VpcId": other.ID, "InternetGatewayId": "igw-0"}, "InvalidInternetGatewayID.NotFound"},

		{"route again", ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": n.Gateway.ID}, "RouteAlreadyExists: The route identified by 0.0.0.0/0 already exists."},
		{"route local", ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "10.0.0.0/16", "NetworkInterfaceId": eni.ID}, "RouteAlreadyExists"},
		{"route inside", ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "10.0.7.0/24", "GatewayId": n.Gateway.ID}, "InvalidParameterValue: The destination CIDR block"},
		{"route without target", ec2.TypeRoute, route(nil), "MissingParameter"},
		{"route with two targets", ec2.TypeRoute, route(in{"GatewayId": n.Gateway.ID, "NetworkInterfaceId": eni.ID}), "InvalidParameterCombination: The parameters gatewayId and networkInterfaceId cannot be used together"},
		{"route to nothing", ec2.TypeRoute, route(in{"NatGatewayId": "nat-0"}), "InvalidNatGatewayID.NotFound"},
		{"route to foreign gateway", ec2.TypeRoute, in{"RouteTableId": otherTable.ID, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": n.Gateway.ID}, "InvalidParameterValue: route table " + otherTable.ID + " and network gateway " + n.Gateway.ID + " belong to different networks"},
		{"route table", ec2.TypeRoute, in{"RouteTableId": "rtb-0", "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": n.Gateway.ID}, "InvalidRouteTableID.NotFound"},
		{"route good", ec2.TypeRoute, route(in{"NetworkInterfaceId": eni.ID}), ""},
		{"association foreign", ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": otherTable.ID, "SubnetId": n.A.ID}, "InvalidParameterValue: Route table"},

		{"nat subnet", ec2.TypeNatGateway, in{"SubnetId": "subnet-0", "AllocationId": allocation}, "InvalidSubnetID.NotFound"},
		{"nat without address", ec2.TypeNatGateway, in{"SubnetId": n.A.ID}, "MissingParameter"},
		{"nat unknown address", ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": "eipalloc-0"}, "InvalidAllocationID.NotFound"},
		{"nat without gateway", ec2.TypeNatGateway, in{"SubnetId": otherSubnet.ID, "AllocationId": allocation}, "Gateway.NotAttached: Network " + other.ID + " has no Internet gateway attached"},
		{"nat private", ec2.TypeNatGateway, in{"SubnetId": otherSubnet.ID, "ConnectivityType": "private"}, ""},
		{"address to interface", ec2.TypeEIPAssociation, in{"AllocationId": allocation, "NetworkInterfaceId": eni.ID}, ""},
		{"address to nothing", ec2.TypeEIPAssociation, in{"AllocationId": allocation, "NetworkInterfaceId": "eni-0"}, "InvalidNetworkInterfaceID.NotFound"},
		{"no address", ec2.TypeEIPAssociation, in{"AllocationId": "eipalloc-0", "NetworkInterfaceId": eni.ID}, "InvalidAllocationID.NotFound"},

		{"entry number taken", ec2.TypeNetworkACLEntry, entry(in{"RuleNumber": "100"}), "NetworkAclEntryAlreadyExists: The network acl entry identified by 100 already exists."},
		{"entry number the other way", ec2.TypeNetworkACLEntry, entry(in{"RuleNumber": 100, "Egress": true}), ""},
		{"entry number range", ec2.TypeNetworkACLEntry, entry(in{"RuleNumber": 32767}), "InvalidParameterValue"},
		{"entry without ports", ec2.TypeNetworkACLEntry, entry(in{"PortRange": nil}), "MissingParameter: The request must contain the parameter portRange"},
		{"entry all without ports", ec2.TypeNetworkACLEntry, entry(in{"PortRange": nil, "Protocol": -1}), ""},
		{"entry action", ec2.TypeNetworkACLEntry, entry(in{"RuleAction": "pass"}), "InvalidParameterValue"},
		{"entry network", ec2.TypeNetworkACLEntry, entry(in{"CidrBlock": "10.0.0.0/33"}), "InvalidParameterValue"},
		{"entry protocol", ec2.TypeNetworkACLEntry, entry(in{"Protocol": 300}), "InvalidParameterValue"},
		{"acl association foreign", ec2.TypeSubnetNetworkACLAssociation, in{"NetworkAclId": acl.ID, "SubnetId": otherSubnet.ID}, "InvalidParameterValue: Network ACL"},

		{"group name taken", ec2.TypeSecurityGroup, in{"VpcId": n.VPC.ID, "GroupName": "own", "GroupDescription": "x"}, "InvalidGroup.Duplicate: The security group 'own' already exists for VPC '" + n.VPC.ID + "'"},
		{"group name form", ec2.TypeSecurityGroup, in{"VpcId": n.VPC.ID, "GroupName": "sg-x", "GroupDescription": "x"}, "InvalidParameterValue"},
		{"group reserved", ec2.TypeSecurityGroup, in{"VpcId": n.VPC.ID, "GroupName": "default", "GroupDescription": "x"}, "InvalidGroup.Reserved"},
		{"group description", ec2.TypeSecurityGroup, in{"VpcId": n.VPC.ID, "GroupDescription": "it's"}, "InvalidParameterValue: Invalid security group description"},
		{"group without vpc", ec2.TypeSecurityGroup, in{"GroupDescription": "x"}, "VPCIdNotSpecified"},
		{"rule again", ec2.TypeSecurityGroupIngress, permit(in{"FromPort": 443, "ToPort": 443, "IpProtocol": "6", "CidrIp": "10.0.5.5/16"}), "InvalidPermission.Duplicate: the specified rule \"peer: 10.0.0.0/16, TCP, from port: 443, to port: 443, ALLOW\" already exists"},
		{"rule without peer", ec2.TypeSecurityGroupIngress, permit(nil), "MissingParameter"},
		{"rule with two peers", ec2.TypeSecurityGroupIngress, permit(in{"CidrIp": "10.0.0.0/8", "SourceSecurityGroupId": n.Group.ID}), "InvalidParameterCombination"},
		{"rule foreign group", ec2.TypeSecurityGroupIngress, permit(in{"SourceSecurityGroupId": otherGroup.ID}), "InvalidGroup.NotFound: You have specified two resources that belong to different networks."},
		{"rule unknown group", ec2.TypeSecurityGroupEgress, permit(in{"DestinationSecurityGroupId": "sg-0"}), "InvalidGroup.NotFound: The security group 'sg-0' does not exist"},
		{"rule ports", ec2.TypeSecurityGroupIngress, permit(in{"FromPort": 90, "CidrIp": "10.0.0.0/8"}), "InvalidParameterValue: Invalid TCP/UDP port range (90:80)"},
		{"rule port range", ec2.TypeSecurityGroupIngress, permit(in{"ToPort": 70000, "CidrIp": "10.0.0.0/8"}), "InvalidParameterValue: TCP/UDP port (70000) out of range"},
		{"rule no ports", ec2.TypeSecurityGroupIngress, in{"GroupId": n.Group.ID, "IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"}, "InvalidParameterValue: Invalid value 'Must specify both from and to ports with TCP/UDP.'"},
		{"rule protocol", ec2.TypeSecurityGroupIngress, permit(in{"IpProtocol": "http", "CidrIp": "10.0.0.0/8"}), "InvalidParameterValue: Invalid value 'http' for IP protocol."},
		{"rule network", ec2.TypeSecurityGroupIngress, permit(in{"CidrIp": "10.0.0.0"}), "InvalidParameterValue: CIDR block 10.0.0.0 is malformed"},
		{"rule description", ec2.TypeSecurityGroupIngress, permit(in{"CidrIp": "10.0.0.0/8", "Description": "it's"}), "InvalidParameterValue: Invalid rule description"},
		{"rule prefix list", ec2.TypeSecurityGroupEgress, permit(in{"DestinationPrefixListId": "pl-1"}), "InvalidPrefixListID.NotFound"},
		{"rule good", ec2.TypeSecurityGroupEgress, permit(in{"DestinationPrefixListId": "pl-63a5400a"}), ""},
	})
}

// TestDependents: what something lives in or refers to can't go before it.
func TestDependents(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	before := len(l.Account.Resources())
	n := l.Network()
	peer := l.Make(ec2.TypeSecurityGroup, in{"VpcId": n.VPC.ID, "GroupName": "peer", "GroupDescription": "peer"})
	rule := l.Make(ec2.TypeSecurityGroupIngress, in{"GroupId": peer.ID, "IpProtocol": "-1", "SourceSecurityGroupId": n.Group.ID})
	association := l.Make(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": n.Table.ID, "SubnetId": n.A.ID})
	acl := l.Make(ec2.TypeNetworkACL, in{"VpcId": n.VPC.ID})
	filter := l.Make(ec2.TypeSubnetNetworkACLAssociation, in{"NetworkAclId": acl.ID, "SubnetId": n.A.ID})
	eip := l.Make(ec2.TypeEIP, in{})
	nat := l.Make(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": eip.Attrs["AllocationId"]})
	l.Make(ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": nat.ID})
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "GroupSet": []any{n.Group.ID}})

	l.Held("DependencyViolation: The vpc '"+n.VPC.ID+"' has dependencies and cannot be deleted.", n.VPC)
	l.Held("DependencyViolation: The internetGateway", n.Gateway)
	l.Held("DependencyViolation: Network "+n.VPC.ID+" has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", n.Attachment)
	l.Held("DependencyViolation: The subnet '"+n.A.ID+"'", n.A)
	l.Held("DependencyViolation: The routeTable", n.Table)
	l.Held("DependencyViolation: The network ACL", acl)
	l.Held("InvalidIPAddress.InUse", eip)
	l.Held("DependencyViolation: resource "+n.Group.ID+" has a dependent object", n.Group)

	l.Gone(eni)
	l.Held("DependencyViolation", n.Group) // the rule of another group still names it
	l.Gone(rule, n.Group, peer, nat, eip, n.Attachment, n.Gateway, association, filter, acl, n.Table, n.A, n.B, n.VPC)
	if left := l.Account.Resources(); len(left) != before {
		for _, r := range left {
			t.Errorf("left behind: %s %s", r.Type, r.ID)
		}
	}
}

// A VPC comes with a security group, a network ACL and a main route table,
// which its subnets use until they are given others.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/configure-your-vpc.html
// https://docs.aws.amazon.com/vpc/latest/userguide/default-security-group.html
func TestSideResources(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Do(func(tx *account.Tx) {
		group := tx.Get(ec2.TypeSecurityGroup, props.Str(n.VPC.Attrs, "DefaultSecurityGroup"))
		acl := props.Str(n.VPC.Attrs, "DefaultNetworkAcl")
		if group == nil || ec2.GroupName(group) != "default" || tx.Get(ec2.TypeNetworkACL, acl) == nil {
			t.Fatalf("attributes of the VPC lead nowhere: %v", n.VPC.Attrs)
		}
		if got := ec2.ACLOf(n.A); got != acl {
			t.Errorf("subnet has ACL %s, want the default one %s", got, acl)
		}
		if got := len(ec2.Entries(tx, acl)); got != 2 {
			t.Errorf("default ACL has %d entries, want 2", got)
		}
		if got := ec2.RouteTableOf(tx, n.A); got == nil || got.Data["default"] != true {
			t.Errorf("subnet without association has table %v, want the main one", got)
		}
	})
	l.Do(func(tx *account.Tx) {
		_, err := tx.Delete(tx.Get(ec2.TypeSecurityGroup, props.Str(n.VPC.Attrs, "DefaultSecurityGroup")), false)
		l.Want("CannotDelete", err)
	})
}

// A security group without egress rules of its own lets everything out; a rule
// that is there can't be added again.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-securitygroup.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html
func TestGroupRules(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	keys := func() map[string]string {
		out := map[string]string{}
		l.Do(func(tx *account.Tx) {
			for _, r := range ec2.Rules(tx, n.Group.ID) {
				out[r.Type[len("AWS::EC2::SecurityGroup"):]+" "+props.Str(r.Props, "FromPort")+" "+props.Str(r.Props, "CidrIp")] = r.ID
			}
		})
		return out
	}
	same := func(want ...string) {
		t.Helper()
		got := keys()
		if len(got) != len(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, w := range want {
			if got[w] == "" {
				t.Errorf("got %v, want %s", got, w)
			}
		}
	}
	same("Egress  0.0.0.0/0")
	web := in{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/8"}
	next := in{"VpcId": n.VPC.ID, "GroupName": "own", "GroupDescription": "own", "SecurityGroupIngress": []any{web}, "SecurityGroupEgress": []any{web}}
	l.Want("", l.Update(n.Group, next))
	same("Ingress 443 10.0.0.0/8", "Egress 443 10.0.0.0/8")
	kept := keys()["Ingress 443 10.0.0.0/8"]
	bad := in{"VpcId": n.VPC.ID, "GroupName": "own", "GroupDescription": "own", "SecurityGroupIngress": []any{web, web}}
	l.Want("InvalidPermission.Duplicate", l.Update(n.Group, bad))
	same("Ingress 443 10.0.0.0/8", "Egress 443 10.0.0.0/8")
	l.Want("", l.Update(n.Group, in{"VpcId": n.VPC.ID, "GroupName": "own", "GroupDescription": "own", "SecurityGroupIngress": []any{web}}))
	same("Ingress 443 10.0.0.0/8", "Egress  0.0.0.0/0")
	if got := keys()["Ingress 443 10.0.0.0/8"]; got != kept {
		t.Errorf("rule that stayed has id %s, had %s", got, kept)
	}
	for i := range 59 {
		l.Make(ec2.TypeSecurityGroupIngress, in{"GroupId": n.Group.ID, "IpProtocol": "udp", "FromPort": i, "ToPort": i, "CidrIp": "10.0.0.0/8"})
	}
	_, err := l.Create(ec2.TypeSecurityGroupIngress, in{"GroupId": n.Group.ID, "IpProtocol": "udp", "FromPort": 99, "ToPort": 99, "CidrIp": "10.0.0.0/8"})
	l.Want("RulesPerSecurityGroupLimitExceeded", err)
}

// A subnet has one route table and one network ACL at any time; a new
// association takes the place of the old one.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html
// https://docs.aws.amazon.com/vpc/latest/userguide/nacl-basics.html
func TestReplacedAssociations(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	second := l.Make(ec2.TypeRouteTable, in{"VpcId": n.VPC.ID})
	first := l.Make(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": n.Table.ID, "SubnetId": n.A.ID})
	l.Make(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": second.ID, "SubnetId": n.A.ID})
	l.Do(func(tx *account.Tx) {
		if got := ec2.RouteTableOf(tx, n.A).ID; got != second.ID {
			t.Errorf("subnet has table %s, want %s", got, second.ID)
		}
		if got := len(tx.List(ec2.TypeSubnetRouteTableAssociation)); got != 1 {
			t.Errorf("got %d associations for one subnet, want 1", got)
		}
	})
	l.Gone(first)
	acls := []*account.Resource{l.Make(ec2.TypeNetworkACL, in{"VpcId": n.VPC.ID}), l.Make(ec2.TypeNetworkACL, in{"VpcId": n.VPC.ID})}
	was := l.Make(ec2.TypeSubnetNetworkACLAssociation, in{"NetworkAclId": acls[0].ID, "SubnetId": n.A.ID})
	is := l.Make(ec2.TypeSubnetNetworkACLAssociation, in{"NetworkAclId": acls[1].ID, "SubnetId": n.A.ID})
	l.Gone(was)
	l.Do(func(tx *account.Tx) {
		if got := ec2.RouteTableOf(tx, n.A).ID; got != second.ID {
			t.Errorf("subnet has table %s, want %s", got, second.ID)
		}
		if got := ec2.ACLOf(n.A); got != acls[1].ID {
			t.Errorf("subnet has ACL %s, want %s", got, acls[1].ID)
		}
	})
	l.Gone(is)
	if got, want := ec2.ACLOf(n.A), props.Str(n.VPC.Attrs, "DefaultNetworkAcl"); got != want {
		t.Errorf("subnet has ACL %s, want the default one %s", got, want)
	}
}

// TestAddresses: interfaces take addresses and give them back.
func TestAddresses(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	free := func() (f int) {
		l.Do(func(tx *account.Tx) { f = ec2.AvailableAddresses(tx, n.B) })
		return f
	}
	if got := free(); got != 11 {
		t.Errorf("got %d free addresses in an empty /28, want 11", got)
	}
	l.Do(func(tx *account.Tx) {
		for range 2 {
			_, err := ec2.AddInterface(tx, ec2.Interface{Subnet: n.B.ID, Groups: []string{n.Group.ID}, Owner: "svc", Requester: "amazon-elb", Secondary: 4, Public: true})
			l.Want("", err)
		}
		_, err := ec2.AddInterface(tx, ec2.Interface{Subnet: n.B.ID, Owner: "svc", Secondary: 1})
		l.Want("InsufficientFreeAddressesInSubnet: The specified subnet does not have enough free addresses to satisfy the request.", err)
	})
	if got := free(); got != 1 {
		t.Errorf("got %d free addresses, want 1", got)
	}
	l.Held("DependencyViolation: Network", n.Attachment)
	l.Do(func(tx *account.Tx) {
		for _, r := range ec2.InterfacesOf(tx, "svc") {
			ec2.Abandon(r)
		}
	})
	l.Gone(n.Attachment) // abandoned interfaces have no public address
	l.Held("DependencyViolation: The subnet", n.B)
	l.Do(func(tx *account.Tx) { ec2.RemoveInterfaces(tx, "svc") })
	if got := free(); got != 11 {
		t.Errorf("got %d free addresses after removal, want 11", got)
	}
}

// An Elastic IP address moves between interfaces, but not away from a NAT
// gateway; a route whose NAT gateway is gone is a blackhole.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html
// https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html
func TestAddressMoves(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	eip := l.Make(ec2.TypeEIP, in{})
	allocation := eip.Attrs["AllocationId"]
	one := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID})
	two := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID})
	first := l.Make(ec2.TypeEIPAssociation, in{"AllocationId": allocation, "NetworkInterfaceId": one.ID})
	second := l.Make(ec2.TypeEIPAssociation, in{"AllocationId": allocation, "NetworkInterfaceId": two.ID})
	l.Gone(first)
	l.Held("InvalidIPAddress.InUse", eip)
	_, err := l.Create(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": allocation})
	l.Want("Resource.AlreadyAssociated: Elastic IP address ["+fmt.Sprint(allocation)+"] is already associated", err)
	l.Gone(second)
	nat := l.Make(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": allocation})
	_, err = l.Create(ec2.TypeEIPAssociation, in{"AllocationId": allocation, "NetworkInterfaceId": one.ID})
	l.Want("Resource.AlreadyAssociated", err)

	route := l.Make(ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": nat.ID})
	l.Make(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": n.Table.ID, "SubnetId": n.B.ID})
	way := func() (w string) {
		l.Do(func(tx *account.Tx) { w = ec2.ReachesInternet(tx, n.B) })
		return w
	}
	var got []string
	got = append(got, way())
	l.Gone(nat)
	got = append(got, way())
	l.Want("", l.Update(route, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": n.Gateway.ID}))
	got = append(got, way())
	if diff := cmp.Diff([]string{"nat", "", "igw"}, got); diff != "" {
		t.Errorf("ways out: %s", diff)
	}
}

// An interface keeps its primary private address for its life, and a VPC can't
// become dedicated: CloudFormation replaces them.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-networkinterface.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-vpc.html
func TestReplacements(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Want(account.ErrReplace.Error(), l.Update(n.VPC, in{"CidrBlock": "10.0.0.0/16", "InstanceTenancy": "dedicated"}))
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID})
	l.Want("", l.Update(eni, in{"SubnetId": n.A.ID, "SecondaryPrivateIpAddressCount": 2}))
	if diff := cmp.Diff([]string{"10.0.0.5", "10.0.0.6"}, props.Strs(eni.Attrs, "SecondaryPrivateIpAddresses")); diff != "" {
		t.Errorf("addresses: %s", diff)
	}
	first := func(ip string) in {
		return in{"SubnetId": n.A.ID, "PrivateIpAddresses": []any{in{"Primary": true, "PrivateIpAddress": ip}}}
	}
	l.Want("", l.Update(eni, first("10.0.0.4")))
	l.Want(account.ErrReplace.Error(), l.Update(eni, first("10.0.0.9")))
}

// An account comes with a default VPC, one public subnet in each zone.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html
func TestSeed(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{Used: true})
	l.Do(func(tx *account.Tx) {
		vpc := ec2.DefaultVPC(tx)
		if vpc == nil {
			t.Fatal("no default VPC")
		}
		subnets := ec2.InVPC(tx, ec2.TypeSubnet, vpc.ID)
		if len(subnets) != len(tx.Zones()) {
			t.Errorf("got %d default subnets, want one a zone", len(subnets))
		}
		for _, s := range subnets {
			if got := ec2.ReachesInternet(tx, s); got != "igw" {
				t.Errorf("default subnet %s reaches the internet by %q, want igw", s.ID, got)
			}
		}
	})
	if got := len(ec2test.New(t, ec2test.Options{}).Account.Resources()); got != 0 {
		t.Errorf("got %d resources in a fresh account, want none", got)
	}
}

// Whatever subnets are asked for, those accepted lie in the VPC and don't
// overlap.
func TestSubnetsNeverOverlap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l := ec2test.New(t, ec2test.Options{})
		vpc := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/18"})
		network := netip.MustParsePrefix("10.0.0.0/18")
		for range rapid.IntRange(1, 25).Draw(rt, "requests") {
			host := rapid.Uint16().Draw(rt, "host")
			cidr := fmt.Sprintf("10.0.%d.%d/%d", host>>8, host&0xff, rapid.IntRange(15, 29).Draw(rt, "bits"))
			_, refused := l.Create(ec2.TypeSubnet, in{"VpcId": vpc.ID, "CidrBlock": cidr})
			var subnets []*account.Resource
			l.Do(func(tx *account.Tx) { subnets = ec2.InVPC(tx, ec2.TypeSubnet, vpc.ID) })
			want := netip.MustParsePrefix(cidr).Masked()
			possible := want.Bits() >= 18 && want.Bits() <= 28 && network.Contains(want.Addr())
			for i, s := range subnets {
				p := netip.MustParsePrefix(props.Str(s.Attrs, "CidrBlock"))
				if p.Bits() < 18 || !network.Contains(p.Addr()) {
					rt.Fatalf("accepted %s outside of %s", p, network)
				}
				for _, o := range subnets[:i] {
					if q := netip.MustParsePrefix(props.Str(o.Attrs, "CidrBlock")); p.Overlaps(q) {
						rt.Fatalf("accepted %s and %s", p, q)
					}
				}
				if refused != nil && p.Overlaps(want) {
					possible = false
				}
			}
			if refused != nil && possible {
				rt.Fatalf("refused %s for nothing: %v", cidr, refused)
			}
			if len(subnets) > 0 && rapid.Bool().Draw(rt, "delete") {
				l.Gone(subnets[rapid.IntRange(0, len(subnets)-1).Draw(rt, "which")])
			}
		}
	})
}
