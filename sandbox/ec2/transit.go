package ec2

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// transitGatewayType is a transit gateway. Its route tables, and what is behind
// it, are not modelled. The property OwnerId, which CloudFormation does not
// have, makes it one that another account shares.
func transitGatewayType() *account.Type {
	return &account.Type{
		Name: TypeTransitGateway, Latency: "ec2:tgw",
		Create: func(tx *account.Tx, r *account.Resource) error {
			name(tx, r, "tgw", "Id")
			r.Status = "pending"
			return nil
		},
		Update: updateTags,
		Settle: settled("available"),
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if len(where(tx, TypeTransitGatewayAttachment, "TransitGatewayId", r.ID)) > 0 {
				return account.Errorf("IncorrectState", "%s has non-deleted VPC Attachments", r.ID)
			}
			r.Status = "deleting"
			return nil
		},
	}
}

// transitAttachmentType is a VPC's attachment to a transit gateway: an
// interface in each of its subnets, of which a zone has one.
// https://docs.aws.amazon.com/vpc/latest/tgw/tgw-vpc-attachments.html
func transitAttachmentType() *account.Type {
	return &account.Type{
		Name: TypeTransitGatewayAttachment, Latency: "ec2:tgw-attachment",
		Create: createTransitAttachment,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkTransitSubnets(tx, next); err != nil {
				return err
			}
			if err := placeTransit(tx, r, next); err != nil {
				return err
			}
			r.Status = "modifying"
			r.Retag(next, "Tags")
			return nil
		},
		Settle: func(tx *account.Tx, r *account.Resource, _ string) error {
			r.Status = "available"
			if g := tx.Get(TypeTransitGateway, props.Str(r.Props, "TransitGatewayId")); g != nil && TransitOwner(tx, g) != tx.AccountID() && !AcceptsAttachments(g) {
				r.Status = "pendingAcceptance"
			}
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			r.Status = "deleting"
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) { RemoveInterfaces(tx, r.ID) },
	}
}

// TransitOwner is the account that a transit gateway belongs to.
func TransitOwner(tx *account.Tx, gateway *account.Resource) string {
	if owner := props.Str(gateway.Props, "OwnerId"); owner != "" {
		return owner
	}
	return tx.AccountID()
}

// AcceptsAttachments tells whether a transit gateway takes attachments of other
// accounts by itself.
func AcceptsAttachments(gateway *account.Resource) bool {
	return props.Str(gateway.Props, "AutoAcceptSharedAttachments") == "enable"
}

func createTransitAttachment(tx *account.Tx, r *account.Resource) error {
	gateway, err := Lookup(tx, TypeTransitGateway, props.Str(r.Props, "TransitGatewayId"))
	if err != nil {
		return err
	}
	if gateway.Status != "available" {
		return account.Errorf("IncorrectState", "%s is in invalid state", gateway.ID)
	}
	vpc, err := Lookup(tx, TypeVPC, props.Str(r.Props, "VpcId"))
	if err != nil {
		return err
	}
	if err := checkTransitSubnets(tx, r.Props); err != nil {
		return err
	}
	if TransitAttachment(tx, gateway.ID, vpc.ID) != nil {
		return account.Errorf("DuplicateTransitGatewayAttachment", "%s has non-deleted Transit Gateway Attachments with same VPC ID.", gateway.ID)
	}
	name(tx, r, "tgw-attach", "Id")
	r.Status = "pending"
	if err := placeTransit(tx, r, r.Props); err != nil {
		RemoveInterfaces(tx, r.ID)
		return err
	}
	return nil
}

// checkTransitSubnets wants subnets of the VPC, one in a zone.
func checkTransitSubnets(tx *account.Tx, p map[string]any) error {
	subnets := props.Strs(p, "SubnetIds")
	if len(subnets) == 0 {
		return account.Errorf("MissingParameter", "The request must contain the parameter SubnetIds")
	}
	zones := map[string]bool{}
	for _, id := range subnets {
		s, err := FindSubnet(tx, id)
		if err != nil {
			return err
		}
		if VPCOf(s) != props.Str(p, "VpcId") {
			return account.Errorf("InvalidParameterValue", "Subnet %s does not belong to VPC %s.", id, props.Str(p, "VpcId"))
		}
		zone := ZoneOf(s).Name
		if zones[zone] {
			return account.Errorf("DuplicateSubnetsInSameZone", "Duplicate Subnets for same AZ")
		}
		zones[zone] = true
	}
	return nil
}

// placeTransit gives an attachment one interface for each subnet of p.
func placeTransit(tx *account.Tx, r *account.Resource, p map[string]any) error {
	subnets := props.Strs(p, "SubnetIds")
	there := map[string]bool{}
	for _, eni := range InterfacesOf(tx, r.ID) {
		if s := props.Str(eni.Props, "SubnetId"); slices.Contains(subnets, s) {
			there[s] = true
		} else {
			RemoveInterface(tx, eni.ID)
		}
	}
	for _, id := range subnets {
		if there[id] {
			continue
		}
		if _, err := AddInterface(tx, Interface{
			Subnet: id, Owner: r.ID, Type: interfaceTransit, Requester: "amazon-tgw",
			Description: "Network Interface for Transit Gateway Attachment " + r.ID,
		}); err != nil {
			return err
		}
	}
	return nil
}

// TransitAttachment is the attachment of a VPC to a transit gateway, or nil.
func TransitAttachment(tx *account.Tx, gateway, vpc string) *account.Resource {
	for _, a := range where(tx, TypeTransitGatewayAttachment, "TransitGatewayId", gateway) {
		if VPCOf(a) == vpc {
			return a
		}
	}
	return nil
}

// peeringType is a peering connection, active from the start; its other end is
// a VPC that isn't looked at.
func peeringType() *account.Type {
	return &account.Type{
		Name: TypeVPCPeeringConnection,
		Create: func(tx *account.Tx, r *account.Resource) error {
			if _, err := Lookup(tx, TypeVPC, props.Str(r.Props, "VpcId")); err != nil {
				return err
			}
			name(tx, r, "pcx", "Id")
			r.Status = "active"
			return nil
		},
		Update: updateTags,
	}
}

// vpnGatewayType is a virtual private gateway. It reaches a VPC by an
// attachment, as an internet gateway does.
func vpnGatewayType() *account.Type {
	return &account.Type{
		Name: TypeVPNGateway,
		Create: func(tx *account.Tx, r *account.Resource) error {
			name(tx, r, "vgw", "VPNGatewayId")
			r.Status = "available"
			return nil
		},
		Update: updateTags,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if AttachedVPC(tx, r.ID) != "" {
				return account.Errorf("IncorrectState", "The vpnGateway ID '%s' is attached to a VPC", r.ID)
			}
			return nil
		},
	}
}
