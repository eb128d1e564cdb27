// Package ec2 is the physics of Amazon EC2 and Amazon VPC: networks, their
// gateways, routes, filters and interfaces, and what may be done to them.
//
// Each resource type is one account.Type, in one file with its relatives.
// CloudFormation and the API operations (package api below this one) create,
// change and delete through these types only, so both meet the same refusals,
// in EC2's codes and words.
//
// Invariants: every subnet lies in its VPC and overlaps no other; every address
// belongs to one interface; every rule of a security group or network ACL is a
// resource of its own, wherever it was written; what EC2 makes along with a
// resource (the main route table, the default group) leaves with it.
//
// Other services reach in through small functions: [AddInterface] and
// [RemoveInterfaces] to live in a subnet, [FindSubnet] and [FindSecurityGroup]
// to check what they were given.
//
// Transit gateways, peering connections and virtual private gateways are there
// as what routes lead to; what lies behind them is not, nor are their own
// operations but the Describe ones.
//
// Deleted gateways and interfaces are gone at once, where EC2 shows a deleted NAT
// gateway for an hour.
//
// Not modelled: IPv6, IPAM, Outposts, Local Zones, packet flow. Asking for them
// is refused.
package ec2

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package.
const (
	TypeVPC                         = "AWS::EC2::VPC"
	TypeSubnet                      = "AWS::EC2::Subnet"
	TypeNetworkInterface            = "AWS::EC2::NetworkInterface"
	TypeInternetGateway             = "AWS::EC2::InternetGateway"
	TypeVPCGatewayAttachment        = "AWS::EC2::VPCGatewayAttachment"
	TypeRouteTable                  = "AWS::EC2::RouteTable"
	TypeRoute                       = "AWS::EC2::Route"
	TypeSubnetRouteTableAssociation = "AWS::EC2::SubnetRouteTableAssociation"
	TypeEIP                         = "AWS::EC2::EIP"
	TypeEIPAssociation              = "AWS::EC2::EIPAssociation"
	TypeNatGateway                  = "AWS::EC2::NatGateway"
	TypeNetworkACL                  = "AWS::EC2::NetworkAcl"
	TypeNetworkACLEntry             = "AWS::EC2::NetworkAclEntry"
	TypeSubnetNetworkACLAssociation = "AWS::EC2::SubnetNetworkAclAssociation"
	TypeSecurityGroup               = "AWS::EC2::SecurityGroup"
	TypeSecurityGroupIngress        = "AWS::EC2::SecurityGroupIngress"
	TypeSecurityGroupEgress         = "AWS::EC2::SecurityGroupEgress"
	TypeVPCEndpoint                 = "AWS::EC2::VPCEndpoint"
	TypeFlowLog                     = "AWS::EC2::FlowLog"
	TypeVPCCidrBlock                = "AWS::EC2::VPCCidrBlock"
	TypeTransitGateway              = "AWS::EC2::TransitGateway"
	TypeTransitGatewayAttachment    = "AWS::EC2::TransitGatewayAttachment"
	TypeVPCPeeringConnection        = "AWS::EC2::VPCPeeringConnection"
	TypeVPNGateway                  = "AWS::EC2::VPNGateway"
	TypeInstance                    = "ec2:instance"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{
		vpcType(), rangeType(), subnetType(), interfaceType(),
		transitGatewayType(), transitAttachmentType(), peeringType(), vpnGatewayType(),
		internetGatewayType(), attachmentType(), natGatewayType(), eipType(), eipAssociationType(),
		routeTableType(), routeType(), routeAssociationType(),
		aclType(), aclEntryType(), aclAssociationType(),
		securityGroupType(), ruleType(TypeSecurityGroupIngress), ruleType(TypeSecurityGroupEgress),
	}
}

// owner is who owns what EC2 makes by itself.
const owner = "ec2.amazonaws.com"

// notFound has the code and the words for an id of a type that isn't there.
var notFound = map[string][2]string{
	TypeVPC:              {"InvalidVpcID.NotFound", "The vpc ID '%s' does not exist"},
	TypeSubnet:           {"InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist"},
	TypeNetworkInterface: {"InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist"},
	TypeInternetGateway:  {"InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist"},
	TypeRouteTable:       {"InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist"},
	TypeNatGateway:       {"NatGatewayNotFound", "The Nat Gateway %s was not found"},
	TypeNetworkACL:       {"InvalidNetworkAclID.NotFound", "The networkAcl ID '%s' does not exist"},
	TypeSecurityGroup:    {"InvalidGroup.NotFound", "The security group '%s' does not exist"},
	TypeInstance:         {"InvalidInstanceID.NotFound", "The instance ID '%s' does not exist"},
	TypeVPCEndpoint:      {"InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist"},
	TypeTransitGateway:   {"InvalidTransitGatewayID.NotFound", "The transitGateway ID '%s' does not exist"},
	TypeVPNGateway:       {"InvalidVpnGatewayID.NotFound", "The vpnGateway ID '%s' does not exist"},
}

// Lookup returns the resource, or EC2's error for an id it doesn't know.
func Lookup(tx *account.Tx, typ, id string) (*account.Resource, error) {
	if r := tx.Get(typ, id); r != nil {
		return r, nil
	}
	words, ok := notFound[typ]
	if !ok {
		return nil, account.Errorf("InvalidParameterValue", "The %s '%s' does not exist", typ, id)
	}
	return nil, account.Errorf(words[0], words[1], id)
}

// dependencies refuses a deletion in EC2's words.
func dependencies(what, id string) error {
	return account.Errorf("DependencyViolation", "The %s '%s' has dependencies and cannot be deleted.", what, id)
}

// name gives a new resource its id, which is also the attribute attr.
func name(tx *account.Tx, r *account.Resource, prefix, attr string) {
	r.ID = prefix + "-" + tx.HexID(17)
	r.Attrs[attr] = r.ID
	r.Tags = props.Tags(r.Props, "Tags")
}

// updateTags is the Update of types of which only tags can change in place.
func updateTags(_ *account.Tx, r *account.Resource, next map[string]any) error {
	r.Retag(next, "Tags")
	return nil
}

// settled returns a Settle that sets the status.
func settled(status string) func(*account.Tx, *account.Resource, string) error {
	return func(_ *account.Tx, r *account.Resource, _ string) error {
		r.Status = status
		return nil
	}
}

// put stores what EC2 makes along with another resource.
func put(tx *account.Tx, r *account.Resource) *account.Resource {
	if r.Attrs == nil {
		r.Attrs = map[string]any{}
	}
	if r.Data == nil {
		r.Data = map[string]any{}
	}
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	if r.Owner == "" {
		r.Owner = owner
	}
	tx.Put(r)
	return r
}

// VPCOf is the id of the VPC that a resource of this package belongs to.
func VPCOf(r *account.Resource) string {
	if v := props.Str(r.Props, "VpcId"); v != "" {
		return v
	}
	return props.Str(r.Attrs, "VpcId")
}

// InVPC lists the resources of a type that belong to the VPC.
func InVPC(tx *account.Tx, typ, vpc string) []*account.Resource {
	return tx.Where(typ, "vpc", VPCOf, vpc)
}

// where lists the resources of a type of which a property has the value.
func where(tx *account.Tx, typ, key, value string) []*account.Resource {
	return tx.Where(typ, key, func(r *account.Resource) string { return props.Str(r.Props, key) }, value)
}
