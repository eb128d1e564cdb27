package preflight

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// routes checks what the routes of a network of our own lead to.
func (r *reader) routes(a *architecture.Architecture, o Options, account string) (config.Faults, error) {
	n := a.Config.Network
	var faults config.Faults
	fault := func(path, fix, format string, args ...any) {
		faults = append(faults, a.Config.Fault(path, fmt.Sprintf(format, args...), fix))
	}
	if id := n.TransitGateway.ID; id != "" {
		const at = "network.transitGateway.id"
		g, err := r.transitGateway(id)
		if err != nil {
			return nil, err
		}
		attached, err := r.attached(id, o.VPC)
		if err != nil {
			return nil, err
		}
		switch {
		case g == nil:
			fault(at, "write the id of a transit gateway of this account, or have it shared with the account", "%s does not exist in %s", id, a.Config.Region)
		case g.State != types.TransitGatewayStateAvailable && g.State != types.TransitGatewayStateModifying:
			fault(at, "wait until it is available, or name another", "%s is %s", id, g.State)
		case aws.ToString(g.OwnerId) != account && !attached && (g.Options == nil || g.Options.AutoAcceptSharedAttachments != types.AutoAcceptSharedAttachmentsValueEnable):
			// Routes can't lead to an attachment that waits.
			fault(at, "have its owner switch on auto-accept-shared-attachments", "%s belongs to account %s and accepts no attachment by itself, so the routes to it could not be made", id, aws.ToString(g.OwnerId))
		}
	}
	for i, route := range n.Routes {
		at := fmt.Sprintf("network.routes[%d].target", i)
		if route.Target == n.TransitGateway.ID {
			continue
		}
		if o.VPC == "" {
			fault(at, "create the deployment without this route, connect it with the VPC, then add the route by an update", "%s can't be connected with the VPC, which is not there yet", route.Target)
			continue
		}
		found, state, err := r.target(route.Target, o.VPC)
		switch {
		case err != nil:
			return nil, err
		case !found:
			fault(at, "write the id of something of this account and region", "%s does not exist in %s", route.Target, a.Config.Region)
		case state != "":
			fault(at, "connect it with "+o.VPC+", or name another", "%s %s", route.Target, state)
		}
	}
	return faults, nil
}

// transitGateway is the transit gateway with that id, or nil.
func (r *reader) transitGateway(id string) (*types.TransitGateway, error) {
	out, err := r.ec2.DescribeTransitGateways(r.ctx, &ec2.DescribeTransitGatewaysInput{Filters: filter("transit-gateway-id", id)})
	if err != nil || len(out.TransitGateways) == 0 || out.TransitGateways[0].State == types.TransitGatewayStateDeleted {
		return nil, err
	}
	return &out.TransitGateways[0], nil
}

// attached tells whether a VPC's attachment to a transit gateway works.
func (r *reader) attached(gateway, vpc string) (bool, error) {
	if vpc == "" {
		return false, nil
	}
	filters := append(filter("transit-gateway-id", gateway), filter("vpc-id", vpc)...)
	out, err := r.ec2.DescribeTransitGatewayVpcAttachments(r.ctx, &ec2.DescribeTransitGatewayVpcAttachmentsInput{Filters: filters})
	if err != nil {
		return false, err
	}
	for _, a := range out.TransitGatewayVpcAttachments {
		if a.State == types.TransitGatewayAttachmentStateAvailable || a.State == types.TransitGatewayAttachmentStateModifying {
			return true, nil
		}
	}
	return false, nil
}

// target tells whether a route's target is there, and what keeps it from
// serving the VPC, "" if nothing does.
func (r *reader) target(id, vpc string) (found bool, state string, err error) {
	const elsewhere = "is not connected with the VPC "
	kind, _, _ := strings.Cut(id, "-")
	switch kind {
	case "tgw":
		g, err := r.transitGateway(id)
		if err != nil || g == nil {
			return false, "", err
		}
		attached, err := r.attached(id, vpc)
		if err == nil && !attached {
			state = elsewhere + vpc
		}
		return true, state, err
	case "pcx":
		out, err := r.ec2.DescribeVpcPeeringConnections(r.ctx, &ec2.DescribeVpcPeeringConnectionsInput{Filters: filter("vpc-peering-connection-id", id)})
		if err != nil || len(out.VpcPeeringConnections) == 0 {
			return false, "", err
		}
		p := out.VpcPeeringConnections[0]
		if p.Status == nil || p.Status.Code != types.VpcPeeringConnectionStateReasonCodeActive {
			return true, "is not active", nil
		}
		if !side(p.RequesterVpcInfo, vpc) && !side(p.AccepterVpcInfo, vpc) {
			state = elsewhere + vpc
		}
		return true, state, nil
	case "vgw":
		out, err := r.ec2.DescribeVpnGateways(r.ctx, &ec2.DescribeVpnGatewaysInput{Filters: filter("vpn-gateway-id", id)})
		if err != nil || len(out.VpnGateways) == 0 {
			return false, "", err
		}
		state = elsewhere + vpc
		for _, a := range out.VpnGateways[0].VpcAttachments {
			if aws.ToString(a.VpcId) == vpc && a.State == types.AttachmentStatusAttached {
				state = ""
			}
		}
		return true, state, nil
	case "eni":
		out, err := r.ec2.DescribeNetworkInterfaces(r.ctx, &ec2.DescribeNetworkInterfacesInput{Filters: filter("network-interface-id", id)})
		if err != nil || len(out.NetworkInterfaces) == 0 {
			return false, "", err
		}
		if aws.ToString(out.NetworkInterfaces[0].VpcId) != vpc {
			state = "is not in the VPC " + vpc
		}
		return true, state, nil
	}
	out, err := r.ec2.DescribeVpcEndpoints(r.ctx, &ec2.DescribeVpcEndpointsInput{Filters: filter("vpc-endpoint-id", id)})
	if err != nil || len(out.VpcEndpoints) == 0 {
		return false, "", err
	}
	switch e := out.VpcEndpoints[0]; {
	case aws.ToString(e.VpcId) != vpc:
		state = "is not in the VPC " + vpc
	case e.VpcEndpointType != types.VpcEndpointTypeGatewayLoadBalancer:
		state = "is no endpoint of a firewall, and routes can't lead to others"
	}
	return true, state, nil
}

// side tells that a VPC is an end of a peering connection.
func side(info *types.VpcPeeringConnectionVpcInfo, vpc string) bool {
	return info != nil && aws.ToString(info.VpcId) == vpc
}
