package verify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// connectedChecks are the checks of what a network of the deployment's own may
// have besides NAT: a transit gateway, further routes, a range for pods.
func connectedChecks() []Check {
	return []Check{
		{ID: "transit-gateway-attached", Proves: "The VPC is attached to the configured transit gateway, in every private subnet.", Level: Required, Rows: []string{"C8", "S3"}, run: transitGatewayAttached},
		{ID: "configured-routes", Proves: "The configured routes are there and active in the route table of every private subnet.", Level: Required, Rows: []string{"C8", "S3"}, run: configuredRoutes},
		{ID: "pod-subnets", Proves: "Pods have the configured range of their own: a subnet in each zone, with the zone's way out, and the network plugin gives pods addresses there.", Level: Required, Rows: []string{"C3", "C8"}, run: podSubnets},
	}
}

func transitGatewayAttached(l *look, r *result) error {
	gateway := l.arch.Config.Network.TransitGateway.ID
	if gateway == "" {
		r.na("network.transitGateway is not there")
		return nil
	}
	vpc, err := l.vpcID()
	if err != nil {
		return err
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeTransitGatewayVpcAttachments"
	found := false
	err = pages(l, "attachments to "+gateway, ec2.NewDescribeTransitGatewayVpcAttachmentsPaginator(l.aws.EC2, &ec2.DescribeTransitGatewayVpcAttachmentsInput{
		Filters: []types.Filter{filter("vpc-id", vpc), filter("transit-gateway-id", gateway)},
	}), func(o *ec2.DescribeTransitGatewayVpcAttachmentsOutput) {
		for _, a := range o.TransitGatewayVpcAttachments {
			switch a.State {
			case types.TransitGatewayAttachmentStateDeleted, types.TransitGatewayAttachmentStateDeleting:
				continue
			}
			found = true
			ok := a.State == types.TransitGatewayAttachmentStateAvailable || a.State == types.TransitGatewayAttachmentStateModifying
			saw := string(a.State)
			for _, s := range p.tier(architecture.Private) {
				if !slices.Contains(a.SubnetIds, s.id) {
					ok = false
					saw += ", not in " + s.id
				}
			}
			r.saw(ok, aws.ToString(a.TransitGatewayAttachmentId), saw, api, "available, in every private subnet",
				"if it waits for acceptance, ask the owner of "+gateway+" to accept it; otherwise "+fixUpdate)
		}
	})
	if err == nil && !found {
		r.missing("attachment of "+vpc+" to "+gateway, api, fixUpdate)
	}
	return err
}

func configuredRoutes(l *look, r *result) error {
	n := l.arch.Config.Network
	var want []config.Route
	for _, cidr := range n.TransitGateway.CIDRs {
		want = append(want, config.Route{CIDR: cidr, Target: n.TransitGateway.ID})
	}
	if want = append(want, n.Routes...); len(want) == 0 {
		r.na("neither network.transitGateway nor network.routes is there")
		return nil
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	for _, s := range p.tier(architecture.Private) {
		for _, w := range want {
			saw, ok := "no route to "+w.CIDR, false
			for _, route := range s.table.Routes {
				if _, target := targetOf(route); destinationOf(route) == w.CIDR {
					saw = fmt.Sprintf("%s to %s, %s", w.CIDR, target, route.State)
					ok = target == w.Target && route.State == types.RouteStateActive
				}
			}
			r.saw(ok, s.id, saw, "ec2:DescribeRouteTables", w.CIDR+" to "+w.Target+", active", fixUpdate)
		}
	}
	return nil
}

func podSubnets(l *look, r *result) error {
	pods, ok := l.arch.PodRange()
	if !ok {
		r.na("network.podCidr is empty: pods have addresses of the private subnets")
		return nil
	}
	vpc, err := l.vpc()
	if err != nil {
		return err
	}
	if vpc == nil {
		r.missing("range "+pods.String(), "ec2:DescribeVpcs", fixUpdate)
		return nil
	}
	state := "not there"
	for _, a := range vpc.CidrBlockAssociationSet {
		if aws.ToString(a.CidrBlock) == pods.String() && a.CidrBlockState != nil {
			state = string(a.CidrBlockState.State)
		}
	}
	r.saw(state == string(types.VpcCidrBlockStateCodeAssociated), aws.ToString(vpc.VpcId), "range "+pods.String()+" "+state, "ec2:DescribeVpcs", "associated", fixUpdate)
	p, err := l.places()
	if err != nil {
		return err
	}
	private := map[int]placed{}
	for _, s := range p.tier(architecture.Private) {
		private[s.Zone] = s
	}
	var ids []string
	for _, s := range p.tier(architecture.Pods) {
		ids = append(ids, s.id)
		beside := private[s.Zone]
		zone, table := aws.ToString(s.aws.AvailabilityZoneId), aws.ToString(s.table.RouteTableId)
		r.saw(zone == aws.ToString(beside.aws.AvailabilityZoneId) && table == aws.ToString(beside.table.RouteTableId), s.id, fmt.Sprintf("%s in %s, with %s", s.CIDR, zone, table), "ec2:DescribeSubnets, DescribeRouteTables",
			"zone and route table of "+beside.id, fixUpdate)
	}
	for _, s := range p.missing {
		if s.Tier == architecture.Pods {
			r.missing("subnet "+s.CIDR.String(), "ec2:DescribeSubnets", fixUpdate)
		}
	}
	return l.podNetwork(r, ids)
}

// podNetwork judges how the network plugin is configured.
// https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network.html
func (l *look) podNetwork(r *result, subnets []string) error {
	addons, err := l.clusterAddons()
	if err != nil {
		return err
	}
	cni := addons["vpc-cni"]
	if cni == nil {
		return nil // cluster-addons-there says so
	}
	var values struct {
		Env       map[string]string
		EniConfig struct {
			Create  bool
			Subnets map[string]struct{ ID string }
		}
	}
	if text := aws.ToString(cni.ConfigurationValues); text != "" {
		if err := json.Unmarshal([]byte(text), &values); err != nil {
			return fmt.Errorf("read the configuration of the add-on vpc-cni: %w", err)
		}
	}
	var faults []string
	if v := values.Env["AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"]; v != "true" {
		faults = append(faults, fmt.Sprintf("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG is %q", v))
	}
	if values.Env["ENI_CONFIG_LABEL_DEF"] == "" {
		faults = append(faults, "ENI_CONFIG_LABEL_DEF is empty")
	}
	named := map[string]bool{}
	for _, s := range values.EniConfig.Subnets {
		named[s.ID] = true
		if !slices.Contains(subnets, s.ID) {
			faults = append(faults, "an ENIConfig for "+s.ID)
		}
	}
	for _, id := range subnets {
		if !named[id] || !values.EniConfig.Create {
			faults = append(faults, "no ENIConfig for "+id)
		}
	}
	slices.Sort(faults)
	saw := "custom networking in " + strings.Join(subnets, ", ")
	if len(faults) > 0 {
		saw = strings.Join(slices.Compact(faults), ", ")
	}
	r.saw(len(faults) == 0, aws.ToString(cni.AddonArn), saw, "eks:DescribeAddon", "custom networking in the subnets of pods", fixUpdate)
	return nil
}
