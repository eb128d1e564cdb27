package network

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
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

// connectedChecks are the checks of what a network of the deployment's own may
// have besides NAT: a transit gateway, further routes, a range for pods.
func connectedChecks() []check.Check {
	return []check.Check{
		{ID: "transit-gateway-attached", Proves: "The VPC is attached to the configured transit gateway, in every private subnet.", Level: check.Required, Rows: []string{"C8", "S3"}, Run: transitGatewayAttached},
		{ID: "configured-routes", Proves: "The configured routes are there and active in the route table of every private subnet.", Level: check.Required, Rows: []string{"C8", "S3"}, Run: configuredRoutes},
		{ID: "pod-subnets", Proves: "Pods have the configured range of their own: a subnet in each zone, with the zone's way out, and the network plugin gives pods addresses there.", Level: check.Required, Rows: []string{"C3", "C8"}, Run: podSubnets},
	}
}

func transitGatewayAttached(l *account.Look, r *check.Recorder) error {
	gateway := l.Arch.Config.Network.TransitGateway.ID
	if gateway == "" {
		r.NA("network.transitGateway is not there")
		return nil
	}
	vpc, err := l.VPCID()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeTransitGatewayVpcAttachments"
	found := false
	err = account.Pages(l, "attachments to "+gateway, ec2.NewDescribeTransitGatewayVpcAttachmentsPaginator(l.AWS.EC2, &ec2.DescribeTransitGatewayVpcAttachmentsInput{
		Filters: []types.Filter{account.Filter("vpc-id", vpc), account.Filter("transit-gateway-id", gateway)},
	}), func(o *ec2.DescribeTransitGatewayVpcAttachmentsOutput) {
		for _, a := range o.TransitGatewayVpcAttachments {
			switch a.State {
			case types.TransitGatewayAttachmentStateDeleted, types.TransitGatewayAttachmentStateDeleting:
				continue
			}
			found = true
			ok := a.State == types.TransitGatewayAttachmentStateAvailable || a.State == types.TransitGatewayAttachmentStateModifying
			saw := string(a.State)
			for _, s := range p.Tier(architecture.Private) {
				if !slices.Contains(a.SubnetIds, s.SubnetID) {
					ok = false
					saw += ", not in " + s.SubnetID
				}
			}
			r.Saw(ok, aws.ToString(a.TransitGatewayAttachmentId), saw, api, "available, in every private subnet",
				"if it waits for acceptance, ask the owner of "+gateway+" to accept it; otherwise "+check.FixUpdate)
		}
	})
	if err == nil && !found {
		r.Missing("attachment of "+vpc+" to "+gateway, api, check.FixUpdate)
	}
	return err
}

func configuredRoutes(l *account.Look, r *check.Recorder) error {
	n := l.Arch.Config.Network
	var want []config.Route
	for _, cidr := range n.TransitGateway.CIDRs {
		want = append(want, config.Route{CIDR: cidr, Target: n.TransitGateway.ID})
	}
	if want = append(want, n.Routes...); len(want) == 0 {
		r.NA("neither network.transitGateway nor network.routes is there")
		return nil
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	for _, s := range p.Tier(architecture.Private) {
		for _, w := range want {
			saw, ok := "no route to "+w.CIDR, false
			for _, route := range s.Table.Routes {
				if _, target := vpc.TargetOf(route); vpc.DestinationOf(route) == w.CIDR {
					saw = fmt.Sprintf("%s to %s, %s", w.CIDR, target, route.State)
					ok = target == w.Target && route.State == types.RouteStateActive
				}
			}
			r.Saw(ok, s.SubnetID, saw, "ec2:DescribeRouteTables", w.CIDR+" to "+w.Target+", active", check.FixUpdate)
		}
	}
	return nil
}

func podSubnets(l *account.Look, r *check.Recorder) error {
	pods, ok := l.Arch.PodRange()
	if !ok {
		r.NA("network.podCidr is empty: pods have addresses of the private subnets")
		return nil
	}
	vpc, err := l.VPC()
	if err != nil {
		return err
	}
	if vpc == nil {
		r.Missing("range "+pods.String(), "ec2:DescribeVpcs", check.FixUpdate)
		return nil
	}
	state := "not there"
	for _, a := range vpc.CidrBlockAssociationSet {
		if aws.ToString(a.CidrBlock) == pods.String() && a.CidrBlockState != nil {
			state = string(a.CidrBlockState.State)
		}
	}
	r.Saw(state == string(types.VpcCidrBlockStateCodeAssociated), aws.ToString(vpc.VpcId), "range "+pods.String()+" "+state, "ec2:DescribeVpcs", "associated", check.FixUpdate)
	p, err := l.Places()
	if err != nil {
		return err
	}
	private := map[int]account.Placed{}
	for _, s := range p.Tier(architecture.Private) {
		private[s.Zone] = s
	}
	var ids []string
	for _, s := range p.Tier(architecture.Pods) {
		ids = append(ids, s.SubnetID)
		beside := private[s.Zone]
		zone, table := aws.ToString(s.EC2.AvailabilityZoneId), aws.ToString(s.Table.RouteTableId)
		r.Saw(zone == aws.ToString(beside.EC2.AvailabilityZoneId) && table == aws.ToString(beside.Table.RouteTableId), s.SubnetID, fmt.Sprintf("%s in %s, with %s", s.CIDR, zone, table), "ec2:DescribeSubnets, DescribeRouteTables",
			"zone and route table of "+beside.SubnetID, check.FixUpdate)
	}
	for _, s := range p.Missing {
		if s.Tier == architecture.Pods {
			r.Missing("subnet "+s.CIDR.String(), "ec2:DescribeSubnets", check.FixUpdate)
		}
	}
	return podNetwork(l, r, ids)
}

// podNetwork judges how the network plugin is configured.
// https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network.html
func podNetwork(l *account.Look, r *check.Recorder, subnets []string) error {
	addons, err := l.ClusterAddons()
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
	r.Saw(len(faults) == 0, aws.ToString(cni.AddonArn), saw, "eks:DescribeAddon", "custom networking in the subnets of pods", check.FixUpdate)
	return nil
}
