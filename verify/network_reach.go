package verify

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/reach"
)

// described is a VPC as EC2 describes it.
type described struct {
	vpc        types.Vpc
	subnets    []types.Subnet
	tables     []types.RouteTable
	acls       []types.NetworkAcl
	groups     []types.SecurityGroup
	rules      []types.SecurityGroupRule
	lists      []reach.PrefixList
	interfaces []types.NetworkInterface
	igws       []types.InternetGateway
	nats       []types.NatGateway
}

// model is the VPC for questions about paths.
func (l *look) model() (*reach.Model, error) {
	return l.modelFact.get(func() (*reach.Model, error) {
		vpc, err := l.vpc()
		if err != nil {
			return nil, err
		}
		if _, err := l.vpcID(); err != nil {
			return nil, err
		}
		d := described{vpc: *vpc}
		for _, read := range []func() error{
			func() (err error) { d.subnets, err = l.subnets(); return err },
			func() (err error) { d.tables, err = l.routeTables(); return err },
			func() (err error) { d.acls, err = l.networkACLs(); return err },
			func() (err error) { d.groups, err = l.securityGroups(); return err },
			func() (err error) { d.rules, err = l.groupRules(); return err },
			func() (err error) { d.interfaces, err = l.networkInterfaces(); return err },
			func() (err error) { d.igws, err = l.internetGateways(); return err },
			func() (err error) { d.nats, err = l.natGateways(); return err },
		} {
			if err := read(); err != nil {
				return nil, err
			}
		}
		for _, id := range d.listIDs() {
			list := reach.PrefixList{ID: id}
			var bad error
			err := pages(l, "prefix list "+id, ec2.NewGetManagedPrefixListEntriesPaginator(l.aws.EC2, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id}),
				func(o *ec2.GetManagedPrefixListEntriesOutput) {
					for _, e := range o.Entries {
						p, err := netip.ParsePrefix(aws.ToString(e.Cidr))
						if err != nil {
							bad = fmt.Errorf("read prefix list %s: %w", id, err)
						}
						list.Prefixes = append(list.Prefixes, p)
					}
				})
			if err == nil {
				err = bad
			}
			if err != nil {
				return nil, err
			}
			d.lists = append(d.lists, list)
		}
		n, err := d.network()
		if err != nil {
			return nil, err
		}
		return reach.Compile(n)
	})
}

// listIDs are the prefix lists that routes and rules name, sorted.
func (d described) listIDs() []string {
	ids := map[string]bool{}
	for _, t := range d.tables {
		for _, r := range t.Routes {
			ids[aws.ToString(r.DestinationPrefixListId)] = true
		}
	}
	for _, r := range d.rules {
		ids[aws.ToString(r.PrefixListId)] = true
	}
	delete(ids, "")
	return sortedKeys(ids)
}

// network is the VPC as a value.
func (d described) network() (reach.Network, error) {
	n := reach.Network{ID: aws.ToString(d.vpc.VpcId), PrefixLists: d.lists}
	p := &parser{}
	for _, a := range d.vpc.CidrBlockAssociationSet {
		if a.CidrBlockState == nil || a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			n.CIDRs = append(n.CIDRs, p.prefix(a.CidrBlock))
		}
	}
	for _, a := range d.vpc.Ipv6CidrBlockAssociationSet {
		if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			n.CIDRs = append(n.CIDRs, p.prefix(a.Ipv6CidrBlock))
		}
	}
	for _, s := range d.subnets {
		id := aws.ToString(s.SubnetId)
		subnet := reach.Subnet{ID: id, Zone: aws.ToString(s.AvailabilityZoneId), RouteTable: aws.ToString(tableOf(d.tables, id).RouteTableId), ACL: aws.ToString(aclOf(d.acls, id).NetworkAclId)}
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
	for _, t := range d.tables {
		table := reach.RouteTable{ID: aws.ToString(t.RouteTableId)}
		for _, a := range t.Associations {
			if a.GatewayId != nil {
				table.Gateways = append(table.Gateways, *a.GatewayId)
			}
		}
		for _, r := range t.Routes {
			kind, target := targetOf(r)
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
	for _, a := range d.acls {
		n.ACLs = append(n.ACLs, p.acl(a))
	}
	for _, g := range d.groups {
		group := reach.SecurityGroup{ID: aws.ToString(g.GroupId)}
		for _, r := range d.rules {
			if aws.ToString(r.GroupId) != group.ID {
				continue
			}
			rule := reach.Rule{ID: aws.ToString(r.SecurityGroupRuleId), Egress: aws.ToBool(r.IsEgress), Traffic: trafficOf(r), PrefixList: aws.ToString(r.PrefixListId)}
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
	for _, e := range d.interfaces {
		n.Interfaces = append(n.Interfaces, p.face(e))
	}
	for _, g := range d.igws {
		n.InternetGateways = append(n.InternetGateways, reach.InternetGateway{ID: aws.ToString(g.InternetGatewayId), Attached: true})
	}
	for _, g := range d.nats {
		if g.State != types.NatGatewayStateAvailable {
			continue
		}
		gateway := reach.NATGateway{ID: aws.ToString(g.NatGatewayId)}
		if g.SubnetId != nil && len(g.NatGatewayAddresses) > 0 {
			gateway.Interface = aws.ToString(g.NatGatewayAddresses[0].NetworkInterfaceId)
		}
		n.NATGateways = append(n.NATGateways, gateway)
	}
	return n, p.err
}

// parser keeps the first fault of what EC2 said.
type parser struct{ err error }

func (p *parser) prefix(s *string) netip.Prefix {
	out, err := netip.ParsePrefix(aws.ToString(s))
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("read what EC2 describes: %w", err)
	}
	return out
}

func (p *parser) addr(s *string) netip.Addr {
	out, err := netip.ParseAddr(aws.ToString(s))
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("read what EC2 describes: %w", err)
	}
	return out
}

// defaultEntry is the number of an ACL's last entry, the one that the console
// shows as *.
const defaultEntry = 32767

func (p *parser) acl(a types.NetworkAcl) reach.ACL {
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

func (p *parser) face(e types.NetworkInterface) reach.Interface {
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

func trafficOf(r types.SecurityGroupRule) reach.Traffic {
	t := reach.Traffic{Protocol: protocolOf(aws.ToString(r.IpProtocol)), From: -1, To: -1}
	if r.FromPort != nil && r.ToPort != nil {
		t.From, t.To = int(*r.FromPort), int(*r.ToPort)
	}
	return t
}

// portsOf is the traffic of a rule for people.
func portsOf(r types.SecurityGroupRule) string {
	t := trafficOf(r)
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

// peerOf is the other end of a rule.
func peerOf(r types.SecurityGroupRule) string {
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

// targetOf is what a route leads to.
func targetOf(r types.Route) (reach.TargetKind, string) {
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

func destinationOf(r types.Route) string {
	for _, d := range []*string{r.DestinationCidrBlock, r.DestinationIpv6CidrBlock, r.DestinationPrefixListId} {
		if d != nil {
			return *d
		}
	}
	return "an unknown destination"
}

// between answers what one place can open to another, which several checks ask
// of the same places.
func (l *look) between(from, to reach.Place) (reach.Answer, error) {
	return l.betweenFacts.get(fmt.Sprintf("%#v to %#v", from, to), func() (reach.Answer, error) {
		m, err := l.model()
		if err != nil {
			return reach.Answer{}, err
		}
		return m.Between(from, to)
	})
}

// fromInternet answers, by interface, what the internet can open to it.
func (l *look) fromInternet() (map[string]reach.Answer, error) {
	return l.exposedFact.get(func() (map[string]reach.Answer, error) {
		m, err := l.model()
		if err != nil {
			return nil, err
		}
		out := map[string]reach.Answer{}
		for _, a := range m.FromInternet() {
			if at, ok := a.To.(reach.At); ok {
				out[at.Interface] = a
			}
		}
		return out, nil
	})
}

// nameOf is an interface for people.
func nameOf(e types.NetworkInterface) string {
	if d := aws.ToString(e.Description); d != "" {
		return aws.ToString(e.NetworkInterfaceId) + " (" + d + ")"
	}
	return aws.ToString(e.NetworkInterfaceId)
}

// unreached notes for an interface that nothing on the internet reaches a region
// of it.
func (l *look) unreached(r *result, e types.NetworkInterface, ask reach.Region) error {
	answers, err := l.fromInternet()
	if err != nil {
		return err
	}
	a := answers[aws.ToString(e.NetworkInterfaceId)]
	reached := a.Reached(ask)
	if len(reached) == 0 {
		saw := "no way in"
		if stopped := a.Stopped(ask); len(stopped) > 0 {
			saw += ": " + string(stopped[0].Reason)
		}
		r.saw(true, nameOf(e), saw, reachAPI, "", "")
		return nil
	}
	for _, o := range reached {
		r.saw(false, nameOf(e), reachedBy(o), reachAPI, "no way in from the internet", fixReach, trail(o)...)
	}
	return nil
}

// reachedBy says what gets through, and the rule that lets it: the last of a
// security group on the way there, or the last step.
func reachedBy(o reach.Outcome) string {
	return fmt.Sprintf("%s to %s, let through by %s", o.Verdict, o.Service(), letThrough(o))
}

func letThrough(o reach.Outcome) string {
	by := "nothing that stops it"
	for _, s := range o.Trail {
		if !s.Answering && (s.Kind == reach.StepGroup || !strings.HasPrefix(by, string(reach.StepGroup))) {
			by = s.String()
		}
	}
	return by
}

// trail is how an outcome comes about.
func trail(o reach.Outcome) []string {
	steps := []string{o.Region.String()}
	for _, s := range o.Trail {
		steps = append(steps, s.String())
	}
	return steps
}

// noWayIn is a check that nothing on the internet reaches a tier.
func noWayIn(t architecture.Tier) func(*look, *result) error {
	return func(l *look, r *result) error {
		p, err := l.places()
		if err != nil {
			return err
		}
		interfaces, err := l.networkInterfaces()
		if err != nil {
			return err
		}
		subnets := p.tier(t)
		if t == architecture.Private {
			subnets = append(subnets, p.tier(architecture.Pods)...)
		}
		for _, s := range subnets {
			saw, ok := "no route to an internet gateway", true
			for _, route := range s.table.Routes {
				if kind, target := targetOf(route); kind == reach.ToInternetGateway {
					saw, ok = destinationOf(route)+" to "+target, false
				}
			}
			r.saw(ok, s.id, saw, "ec2:DescribeRouteTables", "no route to an internet gateway", l.fixNetwork())
			for _, e := range interfaces {
				if aws.ToString(e.SubnetId) == s.id {
					if err := l.unreached(r, e, reach.Everything()); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
}

func inGroup(e types.NetworkInterface, id string) bool {
	return id != "" && slices.ContainsFunc(e.Groups, func(g types.GroupIdentifier) bool { return aws.ToString(g.GroupId) == id })
}

// nodeInterfaces are the interfaces of the cluster's nodes by the roles that the
// node serves, which its security groups tell.
func (l *look) nodeInterfaces() (map[config.Role][]types.NetworkInterface, error) {
	instances, err := l.vpcInstances()
	if err != nil {
		return nil, err
	}
	interfaces, err := l.networkInterfaces()
	if err != nil {
		return nil, err
	}
	ours, err := l.ourGroups()
	if err != nil {
		return nil, err
	}
	nodes := map[string]bool{}
	for _, i := range instances {
		if tag(i.Tags, "eks:cluster-name") == l.arch.ClusterName() {
			nodes[aws.ToString(i.InstanceId)] = true
		}
	}
	out := map[config.Role][]types.NetworkInterface{}
	for _, e := range interfaces {
		if e.Attachment == nil || !nodes[aws.ToString(e.Attachment.InstanceId)] {
			continue
		}
		for _, role := range []config.Role{config.Core, config.WebAssistant, config.Interface, config.GPU} {
			if inGroup(e, aws.ToString(ours["nodes-"+string(role)].GroupId)) {
				out[role] = append(out[role], e)
			}
		}
	}
	return out, nil
}

// databaseInterfaces are those that RDS has in the VPC, by its description of
// them: of one instance, or of two with Multi-AZ.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html
func (l *look) databaseInterfaces() ([]types.NetworkInterface, error) {
	interfaces, err := l.networkInterfaces()
	if err != nil {
		return nil, err
	}
	ours, err := l.ourGroups()
	if err != nil {
		return nil, err
	}
	var out []types.NetworkInterface
	for _, e := range interfaces {
		// In a given network others may have databases.
		if l.given() && !inGroup(e, aws.ToString(ours["database"].GroupId)) {
			continue
		}
		if aws.ToString(e.Description) == "RDSNetworkInterface" {
			out = append(out, e)
		}
	}
	return out, nil
}

func nodesUnreachable(l *look, r *result) error {
	nodes, err := l.nodeInterfaces()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, role := range slices.Sorted(maps.Keys(nodes)) {
		for _, e := range nodes[role] {
			if id := aws.ToString(e.NetworkInterfaceId); !seen[id] {
				seen[id] = true
				if err := l.unreached(r, e, reach.Everything()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func databaseUnreachable(l *look, r *result) error {
	targets, err := l.databaseInterfaces()
	if err != nil {
		return err
	}
	for _, e := range targets {
		if err := l.unreached(r, e, reach.TCP(architecture.PostgresPort)); err != nil {
			return err
		}
	}
	return nil
}

func at(e types.NetworkInterface) reach.At {
	return reach.At{Interface: aws.ToString(e.NetworkInterfaceId)}
}

func databaseReachedByCore(l *look, r *result) error {
	m, err := l.model()
	if err != nil {
		return err
	}
	targets, err := l.databaseInterfaces()
	if err != nil {
		return err
	}
	interfaces, err := l.networkInterfaces()
	if err != nil {
		return err
	}
	nodes, err := l.nodeInterfaces()
	if err != nil {
		return err
	}
	subnets, err := l.subnets()
	if err != nil {
		return err
	}
	type source struct {
		name  string
		place reach.Place
	}
	var sources []source
	core := map[string]bool{}
	for _, e := range nodes[config.Core] {
		core[aws.ToString(e.NetworkInterfaceId)] = true
	}
	database := map[string]bool{}
	for _, e := range targets {
		database[aws.ToString(e.NetworkInterfaceId)] = true
	}
	for _, e := range interfaces {
		if id := aws.ToString(e.NetworkInterfaceId); !core[id] && !database[id] {
			sources = append(sources, source{nameOf(e), at(e)})
		}
	}
	for _, s := range subnets {
		sources = append(sources, source{"a host without a group in " + aws.ToString(s.SubnetId), reach.In{Subnet: aws.ToString(s.SubnetId)}})
	}
	for _, g := range m.Gateways() {
		sources = append(sources, source{"what is behind " + g, reach.Behind{Gateway: g}})
	}
	for _, target := range targets {
		apart := 0
		in := map[string][]string{} // names of sources, by what lets them in
		ways := map[string][]string{}
		for _, s := range sources {
			a, err := l.between(s.place, at(target))
			if err != nil {
				return err
			}
			reached := a.Reached(reach.TCP(architecture.PostgresPort))
			if len(reached) == 0 {
				apart++
				continue
			}
			by := reachedBy(reached[0])
			if in[by] == nil {
				ways[by] = trail(reached[0])
			}
			in[by] = append(in[by], s.name)
		}
		for _, by := range sortedKeys(in) {
			r.saw(false, nameOf(target), fmt.Sprintf("%s, for %s", by, some(in[by])), reachAPI, "reached by core nodes only", fixReach, ways[by]...)
		}
		r.saw(true, nameOf(target), fmt.Sprintf("%d other places have no way to it", apart), reachAPI, "", "")
	}
	return nil
}

// some names the first of a list, and how many there are.
func some(names []string) string {
	const most = 2
	if len(names) <= most {
		return strings.Join(names, " and ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func webNodesApart(l *look, r *result) error {
	targets, err := l.databaseInterfaces()
	if err != nil {
		return err
	}
	nodes, err := l.nodeInterfaces()
	if err != nil {
		return err
	}
	for _, role := range []config.Role{config.WebAssistant, config.Interface} {
		for _, e := range nodes[role] {
			for _, target := range targets {
				a, err := l.between(at(e), at(target))
				if err != nil {
					return err
				}
				ask := reach.TCP(architecture.PostgresPort)
				reached, saw := a.Reached(ask), fmt.Sprintf("%s: no way to %s", role, nameOf(target))
				var way []string
				if len(reached) > 0 {
					saw, way = fmt.Sprintf("%s: %s", role, reachedBy(reached[0])), trail(reached[0])
				} else if stopped := a.Stopped(ask); len(stopped) > 0 {
					saw += ": " + string(stopped[0].Reason)
				}
				r.saw(len(reached) == 0, nameOf(e), saw, reachAPI, "no way to "+nameOf(target), fixReach, way...)
			}
		}
	}
	return nil
}

// covers notes that a place can open connections to a port of another from every
// port that clients come from by themselves.
func covers(l *look, r *result, name string, from, to reach.Place, port uint16, what string) error {
	a, err := l.between(from, to)
	if err != nil {
		return err
	}
	ask := reach.TCP(port)
	ask.Clients = reach.Ephemeral
	if a.Covers(ask) {
		r.saw(true, name, fmt.Sprintf("reaches %s on %d", what, port), reachAPI, "", "")
		return nil
	}
	saw := "no address to reach"
	for _, v := range []reach.Verdict{reach.Blocked, reach.Opaque, reach.OneWay} {
		for _, o := range a.Outcomes {
			if part, ok := o.Within(ask); ok && o.Verdict == v {
				saw = fmt.Sprintf("%s is %s: %s: %s", part.Region, v, part.At, part.Reason)
			}
		}
	}
	r.saw(false, name, saw, reachAPI, fmt.Sprintf("reaches %s on %d", what, port), fixReach)
	return nil
}

func nodesReachDatabase(l *look, r *result) error {
	targets, err := l.databaseInterfaces()
	if err != nil {
		return err
	}
	nodes, err := l.nodeInterfaces()
	if err != nil {
		return err
	}
	for _, e := range nodes[config.Core] {
		for _, target := range targets {
			if err := covers(l, r, nameOf(e), at(e), at(target), architecture.PostgresPort, nameOf(target)); err != nil {
				return err
			}
		}
	}
	return nil
}

// balanced are the roles that each load balancer serves.
var balanced = map[string][]config.Role{"web": {config.WebAssistant, config.Interface}, "admin": {config.Core}}

func loadBalancersReachPods(l *look, r *result) error {
	interfaces, err := l.networkInterfaces()
	if err != nil {
		return err
	}
	nodes, err := l.nodeInterfaces()
	if err != nil {
		return err
	}
	ours, err := l.ourGroups()
	if err != nil {
		return err
	}
	for _, part := range sortedKeys(balanced) {
		group := aws.ToString(ours["alb-"+part].GroupId)
		for _, e := range interfaces {
			// Elastic Load Balancing describes its interfaces so.
			if !strings.HasPrefix(aws.ToString(e.Description), "ELB app/") || !inGroup(e, group) {
				continue
			}
			for _, role := range balanced[part] {
				for _, node := range nodes[role] {
					if err := covers(l, r, nameOf(e), at(e), at(node), architecture.PodPort, string(role)+" node "+nameOf(node)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// leaves is what a host in a subnet reaches the internet on 443 by, or "". Where
// that is a gateway to other networks, what those do with it is not known.
func leaves(l *look, subnet string) (string, error) {
	a, err := l.between(reach.In{Subnet: subnet}, reach.Internet{})
	if err != nil {
		return "", err
	}
	ask := reach.TCP(443)
	ask.Clients = reach.Ephemeral
	for _, o := range a.Reached(ask) {
		if o.Way == reach.WayGatewayEndpoint || o.Verdict == reach.OneWay {
			continue
		}
		return o.String(), nil
	}
	return "", nil
}

// byConfigured tells whether traffic goes by something that the configuration has
// routes to.
func byConfigured(n config.Network, o reach.Outcome) bool {
	targets := []string{n.TransitGateway.ID}
	for _, r := range n.Routes {
		targets = append(targets, r.Target)
	}
	return slices.ContainsFunc(append(slices.Clone(o.Trail), o.At), func(s reach.Step) bool {
		return s.Object != "" && slices.Contains(targets, s.Object)
	})
}

func privateEgress(l *look, r *result) error {
	p, err := l.places()
	if err != nil {
		return err
	}
	n := l.arch.Config.Network
	none := natCount(l.arch) == 0
	for _, s := range p.tier(architecture.Private) {
		if l.given() || n.CentralEgress() {
			by, err := leaves(l, s.id)
			if err != nil {
				return err
			}
			r.saw(by != "" || l.arch.Config.Proxy.URL != "", s.id, "the way out is "+cmp.Or(by, "not there"), reachAPI, "a way to the internet on 443, or proxy in the configuration", l.fixNetwork())
			continue
		}
		if !none {
			if err := covers(l, r, s.id, reach.In{Subnet: s.id}, reach.Internet{}, 443, "the internet"); err != nil {
				return err
			}
			continue
		}
		a, err := l.between(reach.In{Subnet: s.id}, reach.Internet{})
		if err != nil {
			return err
		}
		// A gateway endpoint leads to its service and nowhere else.
		out := slices.DeleteFunc(a.Reached(reach.Everything()), func(o reach.Outcome) bool {
			return o.Way == reach.WayGatewayEndpoint || byConfigured(n, o)
		})
		saw := "no way out but to S3 by its endpoint"
		var way []string
		if len(out) > 0 {
			saw = reachedBy(out[0])
			way = trail(out[0])
		}
		r.saw(len(out) == 0, s.id, saw, reachAPI, "no way out, since network.nat.mode is none", fixReach, way...)
	}
	return nil
}

// needed are what a tier's ACL has to let in from the internet: clients of load
// balancers, the answers to connections from inside, and that a packet was too
// large for its path.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html
func needed(a *architecture.Architecture, t architecture.Tier) []reach.Region {
	tcp := func(from, to uint16) reach.Region {
		r := reach.TCP(from)
		r.Ports.To = to
		return r
	}
	answers := []reach.Region{tcp(1024, 65535), {Protocols: reach.Range{From: 1, To: 1}, Ports: reach.Range{From: 3<<8 | 4, To: 3<<8 | 4}, Clients: reach.All}}
	clients := []reach.Region{tcp(80, 80), tcp(443, 443)}
	access := a.Config.Access
	switch {
	case t == architecture.ControlPlane:
		return nil
	case t == architecture.Public && (access.Web.Scheme == config.SchemeInternetFacing || access.Admin.Scheme == config.SchemeInternetFacing),
		t == architecture.Private && reachedFromOutside(a):
		return append(answers, clients...)
	}
	return answers
}

// aclNoOpenPorts asks what would get past a subnet's ACL if it led straight to the
// internet and held a host with a public address and no security group.
func aclNoOpenPorts(l *look, r *result) error {
	if l.given() {
		r.na(theirs, "its owner decides on network ACLs")
		return nil
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, s := range p.subnets {
		id := aws.ToString(s.acl.NetworkAclId)
		if key := id + " " + string(s.Tier); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		parse := &parser{}
		n := reach.Network{
			ID: "probe", CIDRs: []netip.Prefix{s.CIDR}, ACLs: []reach.ACL{parse.acl(s.acl)},
			Subnets:          []reach.Subnet{{ID: s.id, CIDRs: []netip.Prefix{s.CIDR}, RouteTable: "probe", ACL: id}},
			RouteTables:      []reach.RouteTable{{ID: "probe", Routes: []reach.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Kind: reach.ToInternetGateway, Target: "probe"}}}},
			InternetGateways: []reach.InternetGateway{{ID: "probe", Attached: true}},
			Interfaces: []reach.Interface{{ID: "probe", Subnet: s.id, Addresses: []reach.Address{
				{IP: s.CIDR.Addr().Next(), Public: netip.AddrFrom4([4]byte{192, 0, 2, 1})},
			}}},
		}
		if parse.err != nil {
			return parse.err
		}
		m, err := reach.Compile(n)
		if err != nil {
			return err
		}
		want := needed(l.arch, guarded(s.Tier))
		ok := true
		for _, o := range m.FromInternet()[0].Outcomes {
			if o.Verdict == reach.Blocked && !o.At.Answering {
				continue
			}
			for _, rest := range o.Region.Without(want...) {
				ok = false
				r.saw(false, id, fmt.Sprintf("%s lets in %s", s.Tier, rest), "ec2:DescribeNetworkAcls", "only what the tier needs from the internet", fixUpdate)
			}
		}
		if ok {
			r.saw(true, id, fmt.Sprintf("%s lets in from the internet only what it needs", s.Tier), "ec2:DescribeNetworkAcls", "", "")
		}
	}
	return nil
}
