// Package vpc turns what EC2 describes of a VPC into values: those of package reach,
// and texts for people.
//
// Invariants: it is pure. An address or a range that can't be read is an error.
//
// Limits: what package reach has no value for is not turned into one.
package vpc

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/verify/reach"
)

// Description is a VPC as EC2 describes it.
type Description struct {
	VPC        types.Vpc
	Subnets    []types.Subnet
	Tables     []types.RouteTable
	ACLs       []types.NetworkAcl
	Groups     []types.SecurityGroup
	Rules      []types.SecurityGroupRule
	Lists      []reach.PrefixList
	Interfaces []types.NetworkInterface
	IGWs       []types.InternetGateway
	NATs       []types.NatGateway
}

// ListIDs are the prefix lists that routes and rules name, sorted.
func (d Description) ListIDs() []string {
	ids := map[string]bool{}
	for _, t := range d.Tables {
		for _, r := range t.Routes {
			ids[aws.ToString(r.DestinationPrefixListId)] = true
		}
	}
	for _, r := range d.Rules {
		ids[aws.ToString(r.PrefixListId)] = true
	}
	delete(ids, "")
	return slices.Sorted(maps.Keys(ids))
}

// Network is the VPC as a value.
func (d Description) Network() (reach.Network, error) {
	n := reach.Network{ID: aws.ToString(d.VPC.VpcId), PrefixLists: d.Lists}
	p := &Parser{}
	for _, a := range d.VPC.CidrBlockAssociationSet {
		if a.CidrBlockState == nil || a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			n.CIDRs = append(n.CIDRs, p.prefix(a.CidrBlock))
		}
	}
	for _, a := range d.VPC.Ipv6CidrBlockAssociationSet {
		if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			n.CIDRs = append(n.CIDRs, p.prefix(a.Ipv6CidrBlock))
		}
	}
	for _, s := range d.Subnets {
		id := aws.ToString(s.SubnetId)
		subnet := reach.Subnet{ID: id, Zone: aws.ToString(s.AvailabilityZoneId), RouteTable: aws.ToString(TableOf(d.Tables, id).RouteTableId), ACL: aws.ToString(ACLOf(d.ACLs, id).NetworkAclId)}
		if s.CidrBlock != nil {
			subnet.CIDRs = append(subnet.CIDRs, p.prefix(s.CidrBlock))
		}
		for _, a := range s.Ipv6CidrBlockAssociationSet {
			if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State == types.SubnetCidrBlockStateCodeAssociated {
				subnet.CIDRs = append(subnet.CIDRs, p.prefix(a.Ipv6CidrBlock))
			}
		}
		n.Subnets = append(n.Subnets, subnet)
	}
	for _, t := range d.Tables {
		table := reach.RouteTable{ID: aws.ToString(t.RouteTableId)}
		for _, a := range t.Associations {
			if a.GatewayId != nil {
				table.Gateways = append(table.Gateways, *a.GatewayId)
			}
		}
		for _, r := range t.Routes {
			kind, target := TargetOf(r)
			route := reach.Route{
				PrefixList: aws.ToString(r.DestinationPrefixListId), Kind: kind, Target: target,
				Blackhole: r.State == types.RouteStateBlackhole, Propagated: r.Origin == types.RouteOriginEnableVgwRoutePropagation,
			}
			switch {
			case r.DestinationCidrBlock != nil:
				route.Destination = p.prefix(r.DestinationCidrBlock)
			case r.DestinationIpv6CidrBlock != nil:
				route.Destination = p.prefix(r.DestinationIpv6CidrBlock)
			}
			table.Routes = append(table.Routes, route)
		}
		n.RouteTables = append(n.RouteTables, table)
	}
	for _, a := range d.ACLs {
		n.ACLs = append(n.ACLs, p.ACL(a))
	}
	for _, g := range d.Groups {
		group := reach.SecurityGroup{ID: aws.ToString(g.GroupId)}
		for _, r := range d.Rules {
			if aws.ToString(r.GroupId) != group.ID {
				continue
			}
			rule := reach.Rule{ID: aws.ToString(r.SecurityGroupRuleId), Egress: aws.ToBool(r.IsEgress), Traffic: TrafficOf(r), PrefixList: aws.ToString(r.PrefixListId)}
			switch {
			case r.CidrIpv4 != nil:
				rule.CIDR = p.prefix(r.CidrIpv4)
			case r.CidrIpv6 != nil:
				rule.CIDR = p.prefix(r.CidrIpv6)
			case r.ReferencedGroupInfo != nil:
				rule.Group = aws.ToString(r.ReferencedGroupInfo.GroupId)
			}
			group.Rules = append(group.Rules, rule)
		}
		n.SecurityGroups = append(n.SecurityGroups, group)
	}
	for _, e := range d.Interfaces {
		n.Interfaces = append(n.Interfaces, p.face(e))
	}
	for _, g := range d.IGWs {
		n.InternetGateways = append(n.InternetGateways, reach.InternetGateway{ID: aws.ToString(g.InternetGatewayId), Attached: true})
	}
	for _, g := range d.NATs {
		if g.State != types.NatGatewayStateAvailable {
			continue
		}
		gateway := reach.NATGateway{ID: aws.ToString(g.NatGatewayId)}
		if g.SubnetId != nil && len(g.NatGatewayAddresses) > 0 {
			gateway.Interface = aws.ToString(g.NatGatewayAddresses[0].NetworkInterfaceId)
		}
		n.NATGateways = append(n.NATGateways, gateway)
	}
	return n, p.Err
}

// Parser keeps the first fault of what EC2 said.
type Parser struct{ Err error }

func (p *Parser) prefix(s *string) netip.Prefix {
	out, err := netip.ParsePrefix(aws.ToString(s))
	if err != nil && p.Err == nil {
		p.Err = fmt.Errorf("read what EC2 describes: %w", err)
	}
	return out
}

func (p *Parser) addr(s *string) netip.Addr {
	out, err := netip.ParseAddr(aws.ToString(s))
	if err != nil && p.Err == nil {
		p.Err = fmt.Errorf("read what EC2 describes: %w", err)
	}
	return out
}

// defaultEntry is the number of an ACL's last entry, the one that the console
// shows as *.
const defaultEntry = 32767

// ACL is a network ACL as a value.
func (p *Parser) ACL(a types.NetworkAcl) reach.ACL {
	out := reach.ACL{ID: aws.ToString(a.NetworkAclId)}
	for _, e := range a.Entries {
		if aws.ToInt32(e.RuleNumber) >= defaultEntry {
			continue // what no entry decides is denied anyway
		}
		entry := reach.ACLEntry{Number: int(aws.ToInt32(e.RuleNumber)), Egress: aws.ToBool(e.Egress), Allow: e.RuleAction == types.RuleActionAllow}
		entry.Traffic = reach.Traffic{Protocol: protocolOf(aws.ToString(e.Protocol)), From: -1, To: -1}
		switch {
		case e.PortRange != nil:
			entry.Traffic.From, entry.Traffic.To = int(aws.ToInt32(e.PortRange.From)), int(aws.ToInt32(e.PortRange.To))
		case e.IcmpTypeCode != nil:
			entry.Traffic.From, entry.Traffic.To = int(aws.ToInt32(e.IcmpTypeCode.Type)), int(aws.ToInt32(e.IcmpTypeCode.Code))
		}
		if e.CidrBlock != nil {
			entry.CIDR = p.prefix(e.CidrBlock)
		} else {
			entry.CIDR = p.prefix(e.Ipv6CidrBlock)
		}
		out.Entries = append(out.Entries, entry)
	}
	return out
}

func (p *Parser) face(e types.NetworkInterface) reach.Interface {
	out := reach.Interface{
		ID: aws.ToString(e.NetworkInterfaceId), Subnet: aws.ToString(e.SubnetId), Description: aws.ToString(e.Description), SourceDestCheck: aws.ToBool(e.SourceDestCheck),
	}
	for _, a := range e.PrivateIpAddresses {
		address := reach.Address{IP: p.addr(a.PrivateIpAddress)}
		association := a.Association
		if association == nil && aws.ToBool(a.Primary) {
			association = e.Association
		}
		if association != nil && association.PublicIp != nil {
			address.Public = p.addr(association.PublicIp)
		}
		out.Addresses = append(out.Addresses, address)
	}
	for _, a := range e.Ipv6Addresses {
		out.Addresses = append(out.Addresses, reach.Address{IP: p.addr(a.Ipv6Address)})
	}
	for _, g := range e.Groups {
		out.Groups = append(out.Groups, aws.ToString(g.GroupId))
	}
	return out
}

// protocolOf is IANA's number of a protocol that EC2 names, -1 for all.
func protocolOf(name string) int {
	switch name {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "icmp":
		return 1
	case "icmpv6":
		return 58
	}
	n, err := strconv.Atoi(name)
	if err != nil {
		return -1 // more than it may be, never less
	}
	return n
}

// TrafficOf is the traffic that a security group's rule lets pass.
func TrafficOf(r types.SecurityGroupRule) reach.Traffic {
	t := reach.Traffic{Protocol: protocolOf(aws.ToString(r.IpProtocol)), From: -1, To: -1}
	if r.FromPort != nil && r.ToPort != nil {
		t.From, t.To = int(*r.FromPort), int(*r.ToPort)
	}
	return t
}

// PortsOf is the traffic of a rule for people.
func PortsOf(r types.SecurityGroupRule) string {
	t := TrafficOf(r)
	name := aws.ToString(r.IpProtocol)
	switch {
	case t.Protocol == -1:
		return "everything"
	case t.From == -1:
		return name
	case t.From == t.To:
		return fmt.Sprintf("%s %d", name, t.From)
	}
	return fmt.Sprintf("%s %d-%d", name, t.From, t.To)
}

// PeerOf is the other end of a rule.
func PeerOf(r types.SecurityGroupRule) string {
	switch {
	case r.CidrIpv4 != nil:
		return *r.CidrIpv4
	case r.CidrIpv6 != nil:
		return *r.CidrIpv6
	case r.PrefixListId != nil:
		return *r.PrefixListId
	case r.ReferencedGroupInfo != nil:
		return aws.ToString(r.ReferencedGroupInfo.GroupId)
	}
	return "nobody"
}

// TargetOf is what a route leads to.
func TargetOf(r types.Route) (reach.TargetKind, string) {
	switch {
	case r.NatGatewayId != nil:
		return reach.ToNATGateway, *r.NatGatewayId
	case r.NetworkInterfaceId != nil:
		return reach.ToInterface, *r.NetworkInterfaceId
	case r.TransitGatewayId != nil:
		return reach.ToTransitGateway, *r.TransitGatewayId
	case r.VpcPeeringConnectionId != nil:
		return reach.ToPeering, *r.VpcPeeringConnectionId
	case r.EgressOnlyInternetGatewayId != nil:
		return reach.ToEgressOnlyGateway, *r.EgressOnlyInternetGatewayId
	}
	id := aws.ToString(r.GatewayId)
	switch prefix, _, _ := strings.Cut(id, "-"); {
	case id == "local":
		return reach.Local, ""
	case prefix == "igw":
		return reach.ToInternetGateway, id
	case prefix == "vgw":
		return reach.ToVPNGateway, id
	case prefix == "vpce" && r.DestinationPrefixListId != nil:
		return reach.ToGatewayEndpoint, id
	}
	for _, other := range []*string{r.GatewayId, r.InstanceId, r.LocalGatewayId, r.CarrierGatewayId, r.CoreNetworkArn} {
		if other != nil {
			return reach.Other, *other
		}
	}
	return reach.Other, "an unknown target"
}

// DestinationOf is a route's destination for people.
func DestinationOf(r types.Route) string {
	for _, d := range []*string{r.DestinationCidrBlock, r.DestinationIpv6CidrBlock, r.DestinationPrefixListId} {
		if d != nil {
			return *d
		}
	}
	return "an unknown destination"
}
