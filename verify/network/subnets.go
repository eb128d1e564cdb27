package network

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

func vpcThere(l *account.Look, r *check.Recorder) error {
	all, err := l.VPCs()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeVpcs"
	fix := "remove the tag " + architecture.DeploymentTag + " from a VPC that is not the deployment's"
	switch {
	case l.Given():
		fix = "correct network.cidr: it is the primary range of network.existing.vpcId"
		if len(all) == 0 {
			r.Missing(l.Arch.Config.Network.Existing.VPCID, api, "correct network.existing.vpcId")
		}
	case len(all) == 0:
		r.Missing("VPC of "+l.Arch.Name(), api, "run poolhouse create with the deployment's file")
	}
	for i, v := range all {
		cidr := aws.ToString(v.CidrBlock)
		ok := cidr == l.Arch.VPC().String() && v.State == types.VpcStateAvailable && (i == 0 || l.Given())
		r.Saw(ok, aws.ToString(v.VpcId), fmt.Sprintf("%s, %s, number %d of %d", cidr, v.State, i+1, len(all)), api,
			"one VPC, "+l.Arch.VPC().String()+", available", fix)
	}
	return nil
}

func vpcDNS(l *account.Look, r *check.Recorder) error {
	id, err := l.VPCID()
	if err != nil {
		return err
	}
	for _, a := range []types.VpcAttributeName{types.VpcAttributeNameEnableDnsSupport, types.VpcAttributeNameEnableDnsHostnames} {
		out, err := l.AWS.EC2.DescribeVpcAttribute(l.Ctx, &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: a})
		if err != nil {
			return fmt.Errorf("look up %s of %s: %w", a, id, err)
		}
		v := out.EnableDnsSupport
		if a == types.VpcAttributeNameEnableDnsHostnames {
			v = out.EnableDnsHostnames
		}
		on := v != nil && aws.ToBool(v.Value)
		r.Saw(on, id, fmt.Sprintf("%s is %s", a, check.YesNo(on)), "ec2:DescribeVpcAttribute", "on", fixNetwork(l))
	}
	return nil
}

func subnetsTiers(l *account.Look, r *check.Recorder) error {
	p, err := l.Places()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeSubnets"
	for _, s := range p.Subnets {
		ok := s.EC2.State == types.SubnetStateAvailable
		r.Saw(ok, s.SubnetID, fmt.Sprintf("%s %s, %s", s.Tier, s.CIDR, s.EC2.State), api, "available", "wait, or ask AWS Support")
	}
	for _, s := range p.Missing {
		r.Missing(fmt.Sprintf("%s subnet %s", s.Tier, account.NameOfPlanned(s)), api, fixNetwork(l))
	}
	return nil
}

func subnetsZones(l *account.Look, r *check.Recorder) error {
	p, err := l.Places()
	if err != nil {
		return err
	}
	for _, t := range []architecture.Tier{architecture.Public, architecture.ControlPlane, architecture.Private} {
		zones := map[string]bool{}
		var ids []string
		for _, s := range p.Tier(t) {
			zones[aws.ToString(s.EC2.AvailabilityZoneId)] = true
			ids = append(ids, s.SubnetID)
		}
		if len(ids) == 0 {
			continue // subnets-tiers says so
		}
		want := len(l.Arch.Tier(t))
		r.Saw(len(zones) >= want && want >= 2, strings.Join(ids, ", "), fmt.Sprintf("%s in %s", t, strings.Join(account.SortedKeys(zones), ", ")), "ec2:DescribeSubnets",
			fmt.Sprintf("%d zones", max(want, 2)), fixNetwork(l))
	}
	return nil
}

func subnetsNoPublicIP(l *account.Look, r *check.Recorder) error {
	subnets, err := l.Subnets()
	if err != nil {
		return err
	}
	if l.Given() {
		// Of what others have there, public subnets may.
		p, err := l.Places()
		if err != nil {
			return err
		}
		subnets = nil
		for _, s := range p.Subnets {
			if s.Tier != architecture.Public {
				subnets = append(subnets, s.EC2)
			}
		}
	}
	for _, s := range subnets {
		on := aws.ToBool(s.MapPublicIpOnLaunch)
		id := aws.ToString(s.SubnetId)
		r.Saw(!on, id, "MapPublicIpOnLaunch is "+check.YesNo(on), "ec2:DescribeSubnets", "off", "aws ec2 modify-subnet-attribute --no-map-public-ip-on-launch --subnet-id "+id)
	}
	return nil
}

// What should stay free: what EKS wants in control-plane subnets, and in private
// ones a node with its pods.
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
var roomy = map[architecture.Tier]int32{architecture.ControlPlane: 16, architecture.Private: 32}

func subnetFreeAddresses(l *account.Look, r *check.Recorder) error {
	p, err := l.Places()
	if err != nil {
		return err
	}
	for _, t := range []architecture.Tier{architecture.ControlPlane, architecture.Private} {
		for _, s := range p.Tier(t) {
			free := aws.ToInt32(s.EC2.AvailableIpAddressCount)
			r.Saw(free >= roomy[t], s.SubnetID, fmt.Sprintf("%s, %d free", t, free), "ec2:DescribeSubnets", fmt.Sprintf("%d or more", roomy[t]),
				"delete network interfaces that nothing uses, or lower the node groups' sizes; a subnet's range can't change")
		}
	}
	return nil
}

// guarded is the tier whose network ACL a tier has: pods have that of their
// nodes.
func guarded(t architecture.Tier) architecture.Tier {
	if t == architecture.Pods {
		return architecture.Private
	}
	return t
}

func aclPerTier(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "its owner decides on network ACLs")
		return nil
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	used := map[string]architecture.Tier{}
	for _, s := range p.Subnets {
		id, tier := aws.ToString(s.ACL.NetworkAclId), guarded(s.Tier)
		other, taken := used[id]
		if !taken {
			used[id], other = tier, tier
		}
		saw := fmt.Sprintf("%s has %s", s.Tier, id)
		switch {
		case aws.ToBool(s.ACL.IsDefault):
			saw += ", the VPC's default ACL"
		case other != tier:
			saw += ", as " + string(other) + " has"
		}
		r.Saw(!aws.ToBool(s.ACL.IsDefault) && other == tier, s.SubnetID, saw, "ec2:DescribeNetworkAcls", "an ACL that the tier alone has", check.FixUpdate)
	}
	return nil
}
