package account

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

// networkFacts are what the network is.
type networkFacts struct {
	vpcFact        Fact[*types.Vpc]
	vpcsFact       Fact[[]types.Vpc]
	subnetsFact    Fact[[]types.Subnet]
	tablesFact     Fact[[]types.RouteTable]
	aclsFact       Fact[[]types.NetworkAcl]
	groupsFact     Fact[[]types.SecurityGroup]
	rulesFact      Fact[[]types.SecurityGroupRule]
	interfacesFact Fact[[]types.NetworkInterface]
	natsFact       Fact[[]types.NatGateway]
	endpointsFact  Fact[[]types.VpcEndpoint]
	instancesFact  Fact[[]types.Instance]
	placesFact     Fact[*Places]
}

// Given says whether the network was there before and stays as it is. Then its
// parts are known by the ids that the configuration has, not by tags and ranges.
func (l *Look) Given() bool { return l.Arch.Config.Network.Exists() }

// VPCs are the VPCs that carry the deployment's tag, or the one that is given.
func (l *Look) VPCs() ([]types.Vpc, error) {
	return l.vpcsFact.Get(func() ([]types.Vpc, error) {
		which := Filter("tag:"+architecture.DeploymentTag, l.Arch.Name())
		if l.Given() {
			which = Filter("vpc-id", l.Arch.Config.Network.Existing.VPCID)
		}
		var all []types.Vpc
		err := Pages(l, "VPCs", ec2.NewDescribeVpcsPaginator(l.AWS.EC2, &ec2.DescribeVpcsInput{Filters: []types.Filter{which}}),
			func(o *ec2.DescribeVpcsOutput) { all = append(all, o.Vpcs...) })
		return all, err
	})
}

// VPC is the deployment's VPC, or nil: of several with its tag, the one with the
// planned range.
func (l *Look) VPC() (*types.Vpc, error) {
	return l.vpcFact.Get(func() (*types.Vpc, error) {
		all, err := l.VPCs()
		if err != nil || len(all) == 0 {
			return nil, err
		}
		i := slices.IndexFunc(all, func(v types.Vpc) bool { return aws.ToString(v.CidrBlock) == l.Arch.VPC().String() })
		return &all[max(i, 0)], nil
	})
}

// VPCID is the id of the deployment's VPC; that there is none is an error, for
// nothing in it can be looked at.
func (l *Look) VPCID() (string, error) {
	v, err := l.VPC()
	if err != nil {
		return "", err
	}
	if v == nil && l.Given() {
		return "", fmt.Errorf("look into the VPC: there is no %s", l.Arch.Config.Network.Existing.VPCID)
	}
	if v == nil {
		return "", fmt.Errorf("look into the VPC: no VPC has the tag %s=%s", architecture.DeploymentTag, l.Arch.Name())
	}
	return aws.ToString(v.VpcId), nil
}

// Filter is a filter of EC2's Describe operations.
func Filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// Pages reads a list of EC2 to its end.
func Pages[O any](l *Look, what string, p interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*ec2.Options)) (*O, error)
}, each func(*O),
) error {
	for p.HasMorePages() {
		out, err := p.NextPage(l.Ctx)
		if err != nil {
			return fmt.Errorf("look up %s: %w", what, err)
		}
		each(out)
	}
	return nil
}

// inVPC reads a list once, of what is in the VPC.
func inVPC[T any](l *Look, f *Fact[[]T], read func(here []types.Filter) ([]T, error)) ([]T, error) {
	return f.Get(func() ([]T, error) {
		id, err := l.VPCID()
		if err != nil {
			return nil, err
		}
		return read([]types.Filter{Filter("vpc-id", id)})
	})
}

// Subnets are all subnets of the VPC, the deployment's or not.
func (l *Look) Subnets() ([]types.Subnet, error) {
	return inVPC(l, &l.subnetsFact, func(here []types.Filter) (all []types.Subnet, err error) {
		err = Pages(l, "subnets", ec2.NewDescribeSubnetsPaginator(l.AWS.EC2, &ec2.DescribeSubnetsInput{Filters: here}),
			func(o *ec2.DescribeSubnetsOutput) { all = append(all, o.Subnets...) })
		return all, err
	})
}

// RouteTables are all route tables of the VPC.
func (l *Look) RouteTables() ([]types.RouteTable, error) {
	return inVPC(l, &l.tablesFact, func(here []types.Filter) (all []types.RouteTable, err error) {
		err = Pages(l, "route tables", ec2.NewDescribeRouteTablesPaginator(l.AWS.EC2, &ec2.DescribeRouteTablesInput{Filters: here}),
			func(o *ec2.DescribeRouteTablesOutput) { all = append(all, o.RouteTables...) })
		return all, err
	})
}

// NetworkACLs are all network ACLs of the VPC.
func (l *Look) NetworkACLs() ([]types.NetworkAcl, error) {
	return inVPC(l, &l.aclsFact, func(here []types.Filter) (all []types.NetworkAcl, err error) {
		err = Pages(l, "network ACLs", ec2.NewDescribeNetworkAclsPaginator(l.AWS.EC2, &ec2.DescribeNetworkAclsInput{Filters: here}),
			func(o *ec2.DescribeNetworkAclsOutput) { all = append(all, o.NetworkAcls...) })
		return all, err
	})
}

// SecurityGroups are all security groups of the VPC.
func (l *Look) SecurityGroups() ([]types.SecurityGroup, error) {
	return inVPC(l, &l.groupsFact, func(here []types.Filter) (all []types.SecurityGroup, err error) {
		err = Pages(l, "security groups", ec2.NewDescribeSecurityGroupsPaginator(l.AWS.EC2, &ec2.DescribeSecurityGroupsInput{Filters: here}),
			func(o *ec2.DescribeSecurityGroupsOutput) { all = append(all, o.SecurityGroups...) })
		return all, err
	})
}

// GroupRules are the rules of all security groups of the VPC. A filter takes 200
// values.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
func (l *Look) GroupRules() ([]types.SecurityGroupRule, error) {
	return l.rulesFact.Get(func() ([]types.SecurityGroupRule, error) {
		groups, err := l.SecurityGroups()
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, g := range groups {
			ids = append(ids, aws.ToString(g.GroupId))
		}
		var all []types.SecurityGroupRule
		for some := range slices.Chunk(ids, 200) {
			err := Pages(l, "rules of security groups", ec2.NewDescribeSecurityGroupRulesPaginator(l.AWS.EC2,
				&ec2.DescribeSecurityGroupRulesInput{Filters: []types.Filter{Filter("group-id", some...)}}),
				func(o *ec2.DescribeSecurityGroupRulesOutput) { all = append(all, o.SecurityGroupRules...) })
			if err != nil {
				return nil, err
			}
		}
		return all, nil
	})
}

// NetworkInterfaces are all network interfaces of the VPC.
func (l *Look) NetworkInterfaces() ([]types.NetworkInterface, error) {
	return inVPC(l, &l.interfacesFact, func(here []types.Filter) (all []types.NetworkInterface, err error) {
		err = Pages(l, "network interfaces", ec2.NewDescribeNetworkInterfacesPaginator(l.AWS.EC2, &ec2.DescribeNetworkInterfacesInput{Filters: here}),
			func(o *ec2.DescribeNetworkInterfacesOutput) { all = append(all, o.NetworkInterfaces...) })
		return all, err
	})
}

// NatGateways are those of the VPC that are not deleted.
func (l *Look) NatGateways() ([]types.NatGateway, error) {
	return inVPC(l, &l.natsFact, func(here []types.Filter) (all []types.NatGateway, err error) {
		err = Pages(l, "NAT gateways", ec2.NewDescribeNatGatewaysPaginator(l.AWS.EC2, &ec2.DescribeNatGatewaysInput{Filter: here}),
			func(o *ec2.DescribeNatGatewaysOutput) { all = append(all, o.NatGateways...) })
		return slices.DeleteFunc(all, func(n types.NatGateway) bool {
			return n.State == types.NatGatewayStateDeleted || n.State == types.NatGatewayStateDeleting
		}), err
	})
}

// VPCEndpoints are all endpoints of the VPC.
func (l *Look) VPCEndpoints() ([]types.VpcEndpoint, error) {
	return inVPC(l, &l.endpointsFact, func(here []types.Filter) (all []types.VpcEndpoint, err error) {
		err = Pages(l, "VPC endpoints", ec2.NewDescribeVpcEndpointsPaginator(l.AWS.EC2, &ec2.DescribeVpcEndpointsInput{Filters: here}),
			func(o *ec2.DescribeVpcEndpointsOutput) { all = append(all, o.VpcEndpoints...) })
		return all, err
	})
}

// VPCInstances are the VPC's instances that are not terminated.
func (l *Look) VPCInstances() ([]types.Instance, error) {
	return inVPC(l, &l.instancesFact, func(here []types.Filter) (all []types.Instance, err error) {
		err = Pages(l, "instances", ec2.NewDescribeInstancesPaginator(l.AWS.EC2, &ec2.DescribeInstancesInput{Filters: here}),
			func(o *ec2.DescribeInstancesOutput) {
				for _, r := range o.Reservations {
					all = append(all, r.Instances...)
				}
			})
		return slices.DeleteFunc(all, func(i types.Instance) bool {
			return i.State != nil && (i.State.Name == types.InstanceStateNameTerminated || i.State.Name == types.InstanceStateNameShuttingDown)
		}), err
	})
}

// Tag is the value of a tag.
func Tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// Placed is a subnet in its place of the plan.
type Placed struct {
	architecture.Subnet
	SubnetID string
	EC2      types.Subnet
	ACL      types.NetworkAcl
	// Table is the one that applies, explicitly or as the VPC's main one.
	Table types.RouteTable
}

// Places are the planned subnets that are there, in the order of the plan, and
// those that are not.
type Places struct {
	Subnets []Placed
	Missing []architecture.Subnet
}

// Tier are the subnets of a tier.
func (p *Places) Tier(t architecture.Tier) []Placed {
	var out []Placed
	for _, s := range p.Subnets {
		if s.Tier == t {
			out = append(out, s)
		}
	}
	return out
}

// Of is the subnet of an id, if it is one of the plan's.
func (p *Places) Of(id string) (Placed, bool) {
	i := slices.IndexFunc(p.Subnets, func(s Placed) bool { return s.SubnetID == id })
	if i < 0 {
		return Placed{}, false
	}
	return p.Subnets[i], true
}

// is tells whether a subnet is a planned one: by its id where that is given,
// otherwise by its range.
func is(planned architecture.Subnet, s types.Subnet) bool {
	if planned.ID != "" {
		return planned.ID == aws.ToString(s.SubnetId)
	}
	return planned.CIDR.IsValid() && planned.CIDR.String() == aws.ToString(s.CidrBlock)
}

// NameOfPlanned is a planned subnet for people.
func NameOfPlanned(s architecture.Subnet) string {
	if s.ID != "" {
		return s.ID
	}
	return s.CIDR.String()
}

// PlannedIn says whether a subnet is one that the plan has for a tier, and
// names those.
func (l *Look) PlannedIn(t architecture.Tier, s types.Subnet) (bool, string) {
	found, names := false, []string{}
	for _, p := range l.Arch.Tier(t) {
		found = found || is(p, s)
		names = append(names, NameOfPlanned(p))
	}
	return found, strings.Join(names, ", ")
}

// Describe says where a subnet is in the plan, and whether that is a tier.
func (p *Places) Describe(id string, t architecture.Tier) (saw string, ok bool) {
	s, ok := p.Of(id)
	if !ok {
		return "no subnet of the deployment", false
	}
	return fmt.Sprintf("%s subnet %s", s.Tier, aws.ToString(s.EC2.CidrBlock)), s.Tier == t
}

// Places finds the planned subnets.
func (l *Look) Places() (*Places, error) {
	return l.placesFact.Get(func() (*Places, error) {
		subnets, err := l.Subnets()
		if err != nil {
			return nil, err
		}
		tables, err := l.RouteTables()
		if err != nil {
			return nil, err
		}
		acls, err := l.NetworkACLs()
		if err != nil {
			return nil, err
		}
		p := &Places{}
		for _, planned := range l.Arch.Subnets {
			i := slices.IndexFunc(subnets, func(s types.Subnet) bool { return is(planned, s) })
			if i < 0 {
				p.Missing = append(p.Missing, planned)
				continue
			}
			id := aws.ToString(subnets[i].SubnetId)
			if !planned.CIDR.IsValid() {
				if planned.CIDR, err = netip.ParsePrefix(aws.ToString(subnets[i].CidrBlock)); err != nil {
					return nil, fmt.Errorf("read what EC2 describes: %w", err)
				}
			}
			p.Subnets = append(p.Subnets, Placed{Subnet: planned, SubnetID: id, EC2: subnets[i], ACL: vpc.ACLOf(acls, id), Table: vpc.TableOf(tables, id)})
		}
		return p, nil
	})
}

// OurGroups are the deployment's security groups by the last part of their
// names: "nodes-core".
func (l *Look) OurGroups() (map[string]types.SecurityGroup, error) {
	groups, err := l.SecurityGroups()
	if err != nil {
		return nil, err
	}
	out := map[string]types.SecurityGroup{}
	for _, g := range groups {
		if Tag(g.Tags, architecture.DeploymentTag) == l.Arch.Name() {
			if name, ok := strings.CutPrefix(Tag(g.Tags, "Name"), l.Arch.ResourceName("")); ok {
				out[name] = g
			}
		}
	}
	return out, nil
}

// SelfManaged tells whether a NAT mode is one of instances.
func SelfManaged(m config.NATMode) bool {
	return m == config.NATInstancePerZone || m == config.NATSingleInstance
}

// NATCount is how many NATs a mode has.
func NATCount(a *architecture.Architecture) int {
	switch a.Config.Network.NAT.Mode {
	case config.NATGatewayPerZone, config.NATInstancePerZone:
		return len(a.PrivateSubnets())
	case config.NATSingleGateway, config.NATSingleInstance:
		return 1
	}
	return 0
}
