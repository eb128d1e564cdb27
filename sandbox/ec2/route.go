package ec2

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func routeTableType() *account.Type {
	return &account.Type{
		Name: TypeRouteTable, Latency: "ec2:routetable",
		Create: func(tx *account.Tx, r *account.Resource) error {
			vpc, err := Lookup(tx, TypeVPC, props.Str(r.Props, "VpcId"))
			if err != nil {
				return err
			}
			if err := quota.RouteTables.Check(tx, len(InVPC(tx, TypeRouteTable, vpc.ID))); err != nil {
				return err
			}
			name(tx, r, "rtb", "RouteTableId")
			r.Status = "available"
			return nil
		},
		Update: updateTags,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if r.Data["default"] == true || len(where(tx, TypeSubnetRouteTableAssociation, "RouteTableId", r.ID)) > 0 {
				return dependencies("routeTable", r.ID)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, route := range Routes(tx, r.ID) {
				tx.Drop(TypeRoute, route.ID)
			}
		},
	}
}

// newMainRouteTable makes the table that comes with a VPC.
func newMainRouteTable(tx *account.Tx, vpc string) {
	id := "rtb-" + tx.HexID(17)
	put(tx, &account.Resource{
		Type: TypeRouteTable, ID: id, Status: "available",
		Props: map[string]any{"VpcId": vpc},
		Attrs: map[string]any{"RouteTableId": id},
		Data:  map[string]any{"default": true, "association": "rtbassoc-" + tx.HexID(17)},
	})
}

// Routes are the routes of a table, but for the local one and those to
// gateway endpoints.
func Routes(tx *account.Tx, table string) []*account.Resource {
	return where(tx, TypeRoute, "RouteTableId", table)
}

// RouteTableOf is the table that a subnet's traffic goes by: the one it is
// associated with, or the VPC's main one.
func RouteTableOf(tx *account.Tx, subnet *account.Resource) *account.Resource {
	for _, a := range where(tx, TypeSubnetRouteTableAssociation, "SubnetId", subnet.ID) {
		return tx.Get(TypeRouteTable, props.Str(a.Props, "RouteTableId"))
	}
	for _, t := range InVPC(tx, TypeRouteTable, VPCOf(subnet)) {
		if t.Data["default"] == true {
			return t
		}
	}
	return nil
}

func routeType() *account.Type {
	return &account.Type{
		Name: TypeRoute, Latency: "ec2:route",
		Create: createRoute,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			table, err := Lookup(tx, TypeRouteTable, props.Str(next, "RouteTableId"))
			if err != nil {
				return err
			}
			return checkTarget(tx, table, next)
		},
	}
}

func createRoute(tx *account.Tx, r *account.Resource) error {
	if err := account.Unmodelled(r.Type, r.Props, "DestinationIpv6CidrBlock", "CarrierGatewayId", "CoreNetworkArn", "EgressOnlyInternetGatewayId", "LocalGatewayId", "OdbNetworkArn"); err != nil {
		return err
	}
	table, err := Lookup(tx, TypeRouteTable, props.Str(r.Props, "RouteTableId"))
	if err != nil {
		return err
	}
	destination := props.Str(r.Props, "DestinationPrefixListId")
	if destination == "" {
		cidr, err := parseCIDR(props.Str(r.Props, "DestinationCidrBlock"), "destinationCidrBlock")
		if err != nil {
			return err
		}
		if err := checkLocal(tx, table, cidr, r.Props); err != nil {
			return err
		}
		destination = cidr.String()
	} else if _, ok := PrefixLists(tx.Region())[destination]; !ok {
		return account.Errorf("InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", destination)
	}
	if err := checkTarget(tx, table, r.Props); err != nil {
		return err
	}
	r.ID = table.ID + "|" + destination
	if tx.Get(TypeRoute, r.ID) != nil {
		return account.Errorf("RouteAlreadyExists", "The route identified by %s already exists.", destination)
	}
	if err := quota.Routes.Check(tx, len(Routes(tx, table.ID))); err != nil {
		return err
	}
	r.Attrs["CidrBlock"] = destination
	r.Attrs["VpcId"] = VPCOf(table)
	r.Status = "active"
	return nil
}

// checkLocal keeps the local routes: their destinations are taken, and inside the
// VPC only an interface, an instance or a firewall's endpoint can be a target.
// https://docs.aws.amazon.com/vpc/latest/userguide/RouteTables.html
func checkLocal(tx *account.Tx, table *account.Resource, cidr netip.Prefix, p map[string]any) error {
	vpc, err := Lookup(tx, TypeVPC, VPCOf(table))
	if err != nil {
		return err
	}
	for _, local := range Ranges(tx, vpc) {
		if cidr == local {
			return account.Errorf("RouteAlreadyExists", "The route identified by %s already exists.", cidr)
		}
		inside := local.Contains(cidr.Addr()) && cidr.Bits() > local.Bits()
		if key, _ := Target(p); inside && key != "NetworkInterfaceId" && key != "InstanceId" && key != "VpcEndpointId" {
			return account.Errorf("InvalidParameterValue", "The destination CIDR block %s is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.", cidr)
		}
	}
	return nil
}

// targets are a route's possible targets, with EC2's words for each.
var targets = []struct{ key, typ, word, code, message string }{
	{"GatewayId", TypeInternetGateway, "network gateway", "InvalidGatewayID.NotFound", "The gateway ID '%s' does not exist"},
	{"NatGatewayId", TypeNatGateway, "NAT gateway", "InvalidNatGatewayID.NotFound", "The natGateway ID '%s' does not exist"},
	{"NetworkInterfaceId", TypeNetworkInterface, "interface", "InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist"},
	{"InstanceId", TypeInstance, "instance", "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist"},
	{"TransitGatewayId", TypeTransitGateway, "transit gateway", "InvalidTransitGatewayID.NotFound", "The transitGateway ID '%s' does not exist"},
	{"VpcPeeringConnectionId", TypeVPCPeeringConnection, "peering connection", "InvalidVpcPeeringConnectionID.NotFound", "The vpcPeeringConnection ID '%s' does not exist"},
	{"VpcEndpointId", TypeVPCEndpoint, "vpc endpoint", "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist"},
}

// targetType is the type of what a target's property names: an id of a gateway
// says which kind it is.
func targetType(key, typ, id string) string {
	if key == "GatewayId" && strings.HasPrefix(id, "vgw-") {
		return TypeVPNGateway
	}
	return typ
}

// Target is where a route goes: one of the properties GatewayId, NatGatewayId,
// NetworkInterfaceId, InstanceId, TransitGatewayId, VpcPeeringConnectionId and
// VpcEndpointId, and its value.
func Target(p map[string]any) (key, id string) {
	for _, t := range targets {
		if id := props.Str(p, t.key); id != "" {
			return t.key, id
		}
	}
	return "", ""
}

// Blackhole tells whether the route's target is gone, or is an interface that no
// instance has.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Route.html
func Blackhole(tx *account.Tx, route *account.Resource) bool {
	key, id := Target(route.Props)
	for _, t := range targets {
		if t.key == key {
			target := tx.Get(targetType(key, t.typ, id), id)
			return target == nil || t.key == "NetworkInterfaceId" && target.Status != "in-use" || t.key != "InstanceId" && targetVPC(tx, target, props.Str(route.Attrs, "VpcId")) == ""
		}
	}
	return true
}

// checkTarget wants exactly one target, in the VPC of the table.
func checkTarget(tx *account.Tx, table *account.Resource, p map[string]any) error {
	var given []string
	for _, t := range targets {
		if props.Str(p, t.key) != "" {
			given = append(given, strings.ToLower(t.key[:1])+t.key[1:])
		}
	}
	if len(given) == 0 {
		return account.Errorf("MissingParameter", "The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, vpcPeeringConnectionId, egressOnlyInternetGatewayId, transitGatewayId, localGatewayId, carrierGatewayId or vpcEndpointId")
	}
	if len(given) > 1 {
		return account.Errorf("InvalidParameterCombination", "The parameters %s cannot be used together", strings.Join(given, " and "))
	}
	for _, t := range targets {
		id := props.Str(p, t.key)
		if id == "" {
			continue
		}
		target := tx.Get(targetType(t.key, t.typ, id), id)
		vpc := ""
		if target != nil {
			vpc = targetVPC(tx, target, VPCOf(table))
		}
		// For a transit gateway that the VPC isn't attached to, EC2 says that it
		// does not exist.
		if target == nil || t.typ == TypeTransitGateway && vpc == "" {
			return account.Errorf(t.code, t.message, id)
		}
		if vpc != VPCOf(table) {
			return account.Errorf("InvalidParameterValue", "route table %s and %s %s belong to different networks", table.ID, t.word, id)
		}
		if t.typ == TypeVPCEndpoint && props.Str(target.Props, "VpcEndpointType") != "GatewayLoadBalancer" {
			return account.Errorf("RouteNotSupported", "Route table contains unsupported route target: %s. VPC Endpoints of this type cannot be used as route targets.", id)
		}
	}
	return nil
}

// targetVPC is the VPC that a route's target serves, the wanted one if it serves
// several; "" if none.
func targetVPC(tx *account.Tx, target *account.Resource, wanted string) string {
	switch target.Type {
	case TypeInternetGateway, TypeVPNGateway:
		return AttachedVPC(tx, target.ID)
	case TypeTransitGateway:
		if a := TransitAttachment(tx, target.ID, wanted); a != nil && (a.Status == "available" || a.Status == "modifying") {
			return wanted
		}
		return ""
	case TypeVPCPeeringConnection:
		if target.Status != "active" {
			return ""
		}
		if props.Str(target.Props, "PeerVpcId") == wanted {
			return wanted
		}
	}
	return VPCOf(target)
}

func routeAssociationType() *account.Type {
	return &account.Type{
		Name: TypeSubnetRouteTableAssociation, Latency: "ec2:routetable-association",
		Create: func(tx *account.Tx, r *account.Resource) error {
			table, err := Lookup(tx, TypeRouteTable, props.Str(r.Props, "RouteTableId"))
			if err != nil {
				return err
			}
			subnet, err := FindSubnet(tx, props.Str(r.Props, "SubnetId"))
			if err != nil {
				return err
			}
			if VPCOf(table) != VPCOf(subnet) {
				return account.Errorf("InvalidParameterValue", "Route table %s and subnet %s belong to different networks.", table.ID, subnet.ID)
			}
			// A subnet has one table; CloudFormation replaces the association
			// that is there (ec2:ReplaceRouteTableAssociation).
			for _, old := range where(tx, TypeSubnetRouteTableAssociation, "SubnetId", subnet.ID) {
				tx.Drop(TypeSubnetRouteTableAssociation, old.ID)
			}
			name(tx, r, "rtbassoc", "Id")
			r.Attrs["VpcId"] = VPCOf(table)
			r.Status = "associated"
			return nil
		},
	}
}

// ReachesInternet tells how traffic from the subnet leaves the VPC: "igw" for
// a public subnet, "nat" by a NAT gateway, instance, interface, transit gateway
// or firewall, "" not at all. An interface is one that forwards; what else lies
// behind a network ACL or security group isn't looked at.
func ReachesInternet(tx *account.Tx, subnet *account.Resource) string {
	table := RouteTableOf(tx, subnet)
	if table == nil {
		return ""
	}
	i := slices.IndexFunc(Routes(tx, table.ID), func(r *account.Resource) bool { return props.Str(r.Attrs, "CidrBlock") == "0.0.0.0/0" })
	if i < 0 {
		return ""
	}
	route := Routes(tx, table.ID)[i]
	if Blackhole(tx, route) {
		return ""
	}
	key, id := Target(route.Props)
	if key == "NetworkInterfaceId" && !forwards(tx, tx.Get(TypeNetworkInterface, id), subnet) {
		return ""
	}
	if key == "GatewayId" && targetType(key, TypeInternetGateway, id) == TypeInternetGateway {
		return "igw"
	}
	return "nat"
}

// PrefixLists are the ids and names of the region's managed prefix lists. The
// ids are us-east-1's everywhere, where AWS's differ by region.
func PrefixLists(region string) map[string]string {
	return map[string]string{
		"pl-63a5400a": "com.amazonaws." + region + ".s3",
		"pl-02cd2c6b": "com.amazonaws." + region + ".dynamodb",
	}
}

// PrefixListEntries are the ranges of one of AWS's prefix lists, by its name: some
// that S3 and DynamoDB have in us-east-1, the same in every region.
// https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-ranges.html
func PrefixListEntries(name string) []string {
	switch {
	case strings.HasSuffix(name, ".s3"):
		return []string{"3.5.0.0/19", "16.15.176.0/20", "18.34.0.0/19", "52.216.0.0/15", "54.231.0.0/16"}
	case strings.HasSuffix(name, ".dynamodb"):
		return []string{"3.218.180.0/22", "52.94.0.0/22", "52.119.224.0/20"}
	}
	return nil
}
