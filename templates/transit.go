package templates

import (
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/config"
)

// addTransit attaches the VPC to a transit gateway and adds the routes through
// it, and those that the configuration adds. The attachment has an interface in
// each private subnet, which serves all subnets of its zone.
// https://docs.aws.amazon.com/vpc/latest/tgw/tgw-vpc-attachments.html
//
// A default route through it has the logical ids of NAT's, so that a change from
// one to the other updates the routes in place.
func (v *vpc) addTransit() {
	n := v.a.Config.Network
	var attached cfn.Handle
	through := map[string][]cfn.Option{}
	if t := n.TransitGateway; t.ID != "" {
		attached = v.t.Add("TransitGatewayAttachment", ec2.TransitGatewayAttachment{
			TransitGatewayId: cfn.V(t.ID),
			VpcId:            v.id,
			SubnetIds:        refs(v.subnets[architecture.Private]),
			Tags:             named(v.a, "transit"),
		})
		through[t.ID] = []cfn.Option{cfn.DependsOn(attached)}
		for _, cidr := range t.CIDRs {
			if cidr == anywhere {
				for zone, table := range v.private {
					v.addRoute("PrivateDefaultRoute"+number(zone), table, cidr, t.ID, through[t.ID]...)
				}
				continue
			}
			id := "TransitRoute" + digits(cidr)
			for zone, table := range v.private {
				v.addRoute(fmt.Sprintf("Private%sZone%s", id, number(zone)), table, cidr, t.ID, through[t.ID]...)
			}
			// Load balancers there may have an identity provider behind it, and
			// clients.
			if facing(v.a, config.SchemeInternetFacing) {
				v.addRoute("Public"+id, v.public, cidr, t.ID, through[t.ID]...)
			}
		}
	}
	for _, r := range n.Routes {
		for zone, table := range v.private {
			v.addRoute(fmt.Sprintf("PrivateRoute%sZone%s", digits(r.CIDR), number(zone)), table, r.CIDR, r.Target, through[r.Target]...)
		}
	}
}

// addRoute adds a route to what an id names.
func (v *vpc) addRoute(id string, table cfn.Handle, cidr, target string, opts ...cfn.Option) {
	r := ec2.Route{RouteTableId: table.Ref(), DestinationCidrBlock: cfn.V(cidr)}
	to := cfn.V(target)
	switch kind, _, _ := strings.Cut(target, "-"); kind {
	case "tgw":
		r.TransitGatewayId = to
	case "pcx":
		r.VpcPeeringConnectionId = to
	case "vgw":
		r.GatewayId = to
	case "eni":
		r.NetworkInterfaceId = to
	case "vpce":
		r.VpcEndpointId = to
	}
	v.t.Add(cfn.LogicalID(id), r, opts...)
}

// digits make a range part of a logical id: 10.0.0.0/8 becomes 10x0x0x0x8. Ids
// go by the range, so that the order in a list means nothing.
func digits(cidr string) string { return strings.NewReplacer(".", "x", "/", "x").Replace(cidr) }
