package network

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

func gatewayNAT(m config.NATMode) bool {
	return m == config.NATGatewayPerZone || m == config.NATSingleGateway
}

func natPerZone(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "it brings its own way out")
		return nil
	}
	mode := l.Arch.Config.Network.NAT.Mode
	if mode != config.NATGatewayPerZone && mode != config.NATInstancePerZone {
		r.NA("network.nat.mode is %s: there is no NAT for each zone", mode)
		return nil
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	nats, err := l.NatGateways()
	if err != nil {
		return err
	}
	interfaces, err := l.NetworkInterfaces()
	if err != nil {
		return err
	}
	subnets, err := l.Subnets()
	if err != nil {
		return err
	}
	zoneOf := func(subnet string) string {
		i := slices.IndexFunc(subnets, func(s types.Subnet) bool { return aws.ToString(s.SubnetId) == subnet })
		if i < 0 {
			return ""
		}
		return aws.ToString(subnets[i].AvailabilityZoneId)
	}
	for _, s := range p.Tier(architecture.Private) {
		saw, zone := "no default route", ""
		for _, route := range s.Table.Routes {
			if aws.ToString(route.DestinationCidrBlock) != "0.0.0.0/0" {
				continue
			}
			_, target := vpc.TargetOf(route)
			for _, n := range nats {
				if aws.ToString(n.NatGatewayId) == target {
					zone = zoneOf(aws.ToString(n.SubnetId))
				}
			}
			for _, e := range interfaces {
				if aws.ToString(e.NetworkInterfaceId) == target {
					zone = zoneOf(aws.ToString(e.SubnetId))
				}
			}
			saw = "default route to " + target
			if zone != "" {
				saw += " in " + zone
			}
		}
		own := aws.ToString(s.EC2.AvailabilityZoneId)
		r.Saw(zone == own, s.SubnetID, saw, "ec2:DescribeRouteTables, DescribeNatGateways", "a NAT in "+own, check.FixUpdate)
	}
	return nil
}

func natGatewayHealthy(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "it brings its own way out")
		return nil
	}
	mode := l.Arch.Config.Network.NAT.Mode
	if !gatewayNAT(mode) {
		r.NA("network.nat.mode is %s: there are no NAT gateways", mode)
		return nil
	}
	nats, err := l.NatGateways()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeNatGateways"
	healthy := 0
	for _, n := range nats {
		public := ""
		for _, a := range n.NatGatewayAddresses {
			if a.PublicIp != nil {
				public = *a.PublicIp
			}
		}
		ok := n.State == types.NatGatewayStateAvailable && public != ""
		if ok {
			healthy++
		}
		saw := fmt.Sprintf("%s, public address %s", n.State, public)
		if public == "" {
			saw = fmt.Sprintf("%s, no public address", n.State)
		}
		r.Saw(ok, aws.ToString(n.NatGatewayId), saw, api, "available, with a public address", "delete the NAT gateway and run poolhouse update, which makes another")
	}
	if want := account.NATCount(l.Arch); healthy < want {
		r.Saw(false, "NAT gateways of the VPC", fmt.Sprintf("%d available", healthy), api, fmt.Sprintf("%d", want), check.FixUpdate)
	}
	return nil
}

func natInstanceSafe(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "it brings its own way out")
		return nil
	}
	mode := l.Arch.Config.Network.NAT.Mode
	if !account.SelfManaged(mode) {
		r.NA("network.nat.mode is %s: there is no self-managed NAT", mode)
		return nil
	}
	interfaces, err := l.NetworkInterfaces()
	if err != nil {
		return err
	}
	instances, err := l.VPCInstances()
	if err != nil {
		return err
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	running, groups := 0, map[string]bool{}
	for _, e := range interfaces {
		if !isNAT(p, e) {
			continue
		}
		id := aws.ToString(e.NetworkInterfaceId)
		r.Saw(!aws.ToBool(e.SourceDestCheck), id, "source and destination check is "+check.YesNo(aws.ToBool(e.SourceDestCheck)), "ec2:DescribeNetworkInterfaces", "off",
			"aws ec2 modify-network-interface-attribute --no-source-dest-check --network-interface-id "+id)
		for _, g := range e.Groups {
			groups[aws.ToString(g.GroupId)] = true
		}
		for _, i := range instances {
			if e.Attachment == nil || aws.ToString(e.Attachment.InstanceId) != aws.ToString(i.InstanceId) {
				continue
			}
			state := types.InstanceStateName("")
			if i.State != nil {
				state = i.State.Name
			}
			if state == types.InstanceStateNameRunning {
				running++
			}
			tokens, hops := types.HttpTokensState("unknown"), int32(0)
			if i.MetadataOptions != nil {
				tokens, hops = i.MetadataOptions.HttpTokens, aws.ToInt32(i.MetadataOptions.HttpPutResponseHopLimit)
			}
			r.Saw(tokens == types.HttpTokensStateRequired && hops == 1 && state == types.InstanceStateNameRunning, aws.ToString(i.InstanceId),
				fmt.Sprintf("%s, tokens %s, hop limit %d", state, tokens, hops), "ec2:DescribeInstances", "running, tokens required, hop limit 1",
				"terminate the instance: its group makes another from the launch template")
		}
	}
	for _, rule := range rules {
		if !groups[aws.ToString(rule.GroupId)] || aws.ToBool(rule.IsEgress) {
			continue
		}
		peer := vpc.PeerOf(rule)
		ok := slices.ContainsFunc(p.Tier(architecture.Private), func(s account.Placed) bool { return peer == s.CIDR.String() })
		r.Saw(ok, aws.ToString(rule.SecurityGroupRuleId), fmt.Sprintf("lets in %s from %s", vpc.PortsOf(rule), peer), "ec2:DescribeSecurityGroupRules", "the private subnets only",
			"aws ec2 revoke-security-group-ingress --group-id "+aws.ToString(rule.GroupId)+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
	}
	if want := account.NATCount(l.Arch); running < want {
		r.Saw(false, "NAT instances of the VPC", fmt.Sprintf("%d running", running), "ec2:DescribeInstances", fmt.Sprintf("%d", want),
			"see the Auto Scaling groups' activities for why none is launched")
	}
	return nil
}

// isNAT tells whether an interface is what private subnets leave by.
func isNAT(p *account.Places, e types.NetworkInterface) bool {
	for _, s := range p.Tier(architecture.Private) {
		for _, route := range s.Table.Routes {
			if kind, target := vpc.TargetOf(route); kind == reach.ToInterface && target == aws.ToString(e.NetworkInterfaceId) {
				return true
			}
		}
	}
	return false
}
