package api

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// transitListings are what leads to other networks.
func transitListings() []listing {
	return []listing{
		{
			name: "DescribeTransitGateways", set: "transitGatewaySet", ids: map[string]string{"TransitGatewayIds": "transitGatewayId"},
			missing: [2]string{"InvalidTransitGatewayID.NotFound", "Transit Gateway %s was deleted or does not exist."},
			items:   each(ec2.TypeTransitGateway, transitGatewayItem),
			filters: map[string]string{"tag": "", "transit-gateway-id": "transitGatewayId", "state": "state", "owner-id": "ownerId"},
		},
		{
			name: "DescribeTransitGatewayVpcAttachments", set: "transitGatewayVpcAttachments", ids: map[string]string{"TransitGatewayAttachmentIds": "transitGatewayAttachmentId"},
			missing: [2]string{"InvalidTransitGatewayAttachmentID.NotFound", "Transit Gateway Attachment %s was deleted or does not exist."},
			items:   each(ec2.TypeTransitGatewayAttachment, transitAttachmentItem),
			filters: map[string]string{
				"tag": "", "transit-gateway-attachment-id": "transitGatewayAttachmentId", "transit-gateway-id": "transitGatewayId", "vpc-id": "vpcId", "state": "state",
			},
		},
		{
			name: "DescribeVpcPeeringConnections", set: "vpcPeeringConnectionSet", ids: map[string]string{"VpcPeeringConnectionId": "vpcPeeringConnectionId"},
			missing: [2]string{"InvalidVpcPeeringConnectionID.NotFound", "The vpcPeeringConnection ID '%s' does not exist"},
			items:   each(ec2.TypeVPCPeeringConnection, peeringItem),
			filters: map[string]string{
				"tag": "", "vpc-peering-connection-id": "vpcPeeringConnectionId", "status-code": "status.code",
				"requester-vpc-info.vpc-id": "requesterVpcInfo.vpcId", "accepter-vpc-info.vpc-id": "accepterVpcInfo.vpcId",
			},
		},
		{
			name: "DescribeVpnGateways", set: "vpnGatewaySet", ids: map[string]string{"VpnGatewayId": "vpnGatewayId"}, unpaged: true,
			missing: [2]string{"InvalidVpnGatewayID.NotFound", "The vpnGateway ID '%s' does not exist"},
			items:   each(ec2.TypeVPNGateway, vpnGatewayItem),
			filters: map[string]string{"tag": "", "vpn-gateway-id": "vpnGatewayId", "state": "state", "attachment.vpc-id": "attachments.vpcId"},
		},
	}
}

func transitGatewayItem(tx *account.Tx, r *account.Resource) object {
	accept := "disable"
	if ec2.AcceptsAttachments(r) {
		accept = "enable"
	}
	owner := ec2.TransitOwner(tx, r)
	return object{
		"transitGatewayId": r.ID, "state": r.Status, "ownerId": owner, "creationTime": r.Created, "tagSet": tagSet(r.Tags),
		"transitGatewayArn": "arn:" + tx.Partition() + ":ec2:" + tx.Region() + ":" + owner + ":transit-gateway/" + r.ID,
		"description":       props.Str(r.Props, "Description"),
		"options": object{
			"amazonSideAsn": 64512, "autoAcceptSharedAttachments": accept, "defaultRouteTableAssociation": "enable",
			"defaultRouteTablePropagation": "enable", "dnsSupport": "enable", "vpnEcmpSupport": "enable", "multicastSupport": "disable",
		},
	}
}

func transitAttachmentItem(tx *account.Tx, r *account.Resource) object {
	option := func(name, otherwise string) string {
		if v := props.Str(r.Props, "Options", name); v != "" {
			return v
		}
		return otherwise
	}
	return object{
		"transitGatewayAttachmentId": r.ID, "transitGatewayId": props.Str(r.Props, "TransitGatewayId"), "vpcId": ec2.VPCOf(r), "vpcOwnerId": tx.AccountID(),
		"state": r.Status, "subnetIds": props.List(props.Strs(r.Props, "SubnetIds")), "creationTime": r.Created, "tagSet": tagSet(r.Tags),
		"options": object{
			"dnsSupport": option("DnsSupport", "enable"), "ipv6Support": option("Ipv6Support", "disable"),
			"applianceModeSupport": option("ApplianceModeSupport", "disable"), "securityGroupReferencingSupport": option("SecurityGroupReferencingSupport", "enable"),
		},
	}
}

func peeringItem(tx *account.Tx, r *account.Resource) object {
	side := func(id string) object {
		out := object{"vpcId": id, "ownerId": tx.AccountID(), "region": tx.Region()}
		if vpc := tx.Get(ec2.TypeVPC, id); vpc != nil {
			out["cidrBlock"] = vpc.Attrs["CidrBlock"]
		}
		return out
	}
	return object{
		"vpcPeeringConnectionId": r.ID, "status": object{"code": r.Status, "message": ""}, "tagSet": tagSet(r.Tags),
		"requesterVpcInfo": side(props.Str(r.Props, "VpcId")), "accepterVpcInfo": side(props.Str(r.Props, "PeerVpcId")),
	}
}

func vpnGatewayItem(tx *account.Tx, r *account.Resource) object {
	attachments := []any{}
	if vpc := ec2.AttachedVPC(tx, r.ID); vpc != "" {
		attachments = append(attachments, object{"vpcId": vpc, "state": "attached"})
	}
	return object{"vpnGatewayId": r.ID, "state": r.Status, "type": "ipsec.1", "amazonSideAsn": 64512, "attachments": attachments, "tagSet": tagSet(r.Tags)}
}
