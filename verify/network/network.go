// Package network has the checks of the VPC, and of who can open a connection to
// whom in it.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: paths are computed from routes, ACLs and groups; nothing is sent.
package network

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

// networkFacts are what the network is.
type networkFacts struct {
	igwsFact     account.Fact[[]types.InternetGateway]
	servicesFact account.Fact[map[string]bool]
	flowLogsFact account.Fact[[]types.FlowLog]
	modelFact    account.Fact[*reach.Model]
	exposedFact  account.Fact[map[string]reach.Answer]
	betweenFacts account.Keyed[reach.Answer]
	s3ListFact   account.Fact[string]
}

// theirs is why what a given network has is not judged.
const theirs = "network.existing names the network: %s"

// internetGateways are those attached to the VPC.
func internetGateways(l *account.Look) ([]types.InternetGateway, error) {
	return account.Facts[networkFacts](l).igwsFact.Get(func() ([]types.InternetGateway, error) {
		id, err := l.VPCID()
		if err != nil {
			return nil, err
		}
		var all []types.InternetGateway
		err = account.Pages(l, "internet gateways", ec2.NewDescribeInternetGatewaysPaginator(l.AWS.EC2,
			&ec2.DescribeInternetGatewaysInput{Filters: []types.Filter{account.Filter("attachment.vpc-id", id)}}),
			func(o *ec2.DescribeInternetGatewaysOutput) { all = append(all, o.InternetGateways...) })
		return all, err
	})
}

// policyServices tells which of AWS's own services among the VPC's endpoints take
// endpoint policies. Others', such as a firewall's, need not be visible to the
// caller, and one that isn't fails the whole call.
func policyServices(l *account.Look) (map[string]bool, error) {
	return account.Facts[networkFacts](l).servicesFact.Get(func() (map[string]bool, error) {
		endpoints, err := l.VPCEndpoints()
		if err != nil {
			return nil, err
		}
		var names []string
		for _, e := range endpoints {
			name := aws.ToString(e.ServiceName)
			if strings.HasPrefix(name, "com.amazonaws."+l.AWS.Region+".") && !strings.HasPrefix(name, "com.amazonaws.vpce.") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		takes := map[string]bool{}
		if names = slices.Compact(names); len(names) == 0 {
			return takes, nil
		}
		in := &ec2.DescribeVpcEndpointServicesInput{ServiceNames: names}
		for {
			out, err := l.AWS.EC2.DescribeVpcEndpointServices(l.Ctx, in)
			if err != nil {
				return nil, fmt.Errorf("look up services of VPC endpoints: %w", err)
			}
			for _, s := range out.ServiceDetails {
				takes[aws.ToString(s.ServiceName)] = takes[aws.ToString(s.ServiceName)] || aws.ToBool(s.VpcEndpointPolicySupported)
			}
			if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
				return takes, nil
			}
		}
	})
}

func flowLogs(l *account.Look) ([]types.FlowLog, error) {
	return account.Facts[networkFacts](l).flowLogsFact.Get(func() ([]types.FlowLog, error) {
		id, err := l.VPCID()
		if err != nil {
			return nil, err
		}
		var all []types.FlowLog
		err = account.Pages(l, "flow logs", ec2.NewDescribeFlowLogsPaginator(l.AWS.EC2, &ec2.DescribeFlowLogsInput{Filter: []types.Filter{account.Filter("resource-id", id)}}),
			func(o *ec2.DescribeFlowLogsOutput) { all = append(all, o.FlowLogs...) })
		return all, err
	})
}

// fixNetwork is the fix of what the network has: one that is given is for its
// owner to change.
func fixNetwork(l *account.Look) string {
	if l.Given() {
		return "ask the owner of the network to change it: the deployment leaves it as it is"
	}
	return check.FixUpdate
}

// What evidence on paths rests on.
const reachAPI = "ec2:DescribeNetworkInterfaces, DescribeRouteTables, DescribeNetworkAcls, DescribeSecurityGroupRules"

// Checks are the checks of the VPC and of what passes in it.
func Checks() []check.Check {
	return slices.Concat([]check.Check{
		{ID: "vpc-there", Proves: "There is one VPC of the deployment, its own or the given one, with the planned range.", Level: check.Required, Rows: []string{"C8"}, Run: vpcThere},
		{ID: "vpc-dns", Proves: "Names resolve in the VPC, and its hosts have names, without which private endpoints are not found.", Level: check.Required, Rows: []string{"C2", "S3"}, Run: vpcDNS},
		{ID: "subnets-tiers", Proves: "Every planned subnet of the three tiers is there.", Level: check.Required, Rows: []string{"C1", "C2", "C3", "C8"}, Run: subnetsTiers},
		{ID: "subnets-zones", Proves: "Each tier is spread over the zones that it should be in.", Level: check.Required, Rows: []string{"C7", "S8"}, Run: subnetsZones},
		{ID: "subnets-no-public-ip", Proves: "No subnet gives out public addresses.", Level: check.Required, Rows: []string{"B30", "S1"}, Run: subnetsNoPublicIP},
		{ID: "subnet-free-addresses", Proves: "Subnets have room: for EKS's interfaces, and for another node.", Level: check.Advised, Rows: []string{"C2", "C3"}, Run: subnetFreeAddresses},
		{ID: "acl-per-tier", Proves: "Each tier has a network ACL of its own, not the default one.", Level: check.Required, Rows: []string{"C8", "B33"}, Run: aclPerTier},
		{ID: "acl-no-open-ports", Proves: "Network ACLs let in from the internet only what their tier needs.", Level: check.Required, Rows: []string{"B33", "S3"}, Run: aclNoOpenPorts},
		{ID: "no-black-holes", Proves: "No route leads to something that is gone.", Level: check.Required, Rows: []string{"C8", "C9"}, Run: noBlackHoles},
		{ID: "igw-only-ours", Proves: "The VPC has one internet gateway, and no route leads to other networks unless clients come from there.", Level: check.Required, Rows: []string{"S3"}, Run: onlyGateway},
		{ID: "public-routes-to-internet", Proves: "Public subnets lead to the internet.", Level: check.Required, Rows: []string{"C1"}, Run: publicRoutes},
		{ID: "private-egress", Proves: "Private subnets reach the internet by NAT, by the way out that the network brings, or not at all if there is none.", Level: check.Required, Rows: []string{"C9", "N2"}, Run: privateEgress},
		{ID: "nat-per-zone", Proves: "Each private subnet leaves by a NAT in its own zone.", Level: check.Required, Rows: []string{"C9", "S8"}, Run: natPerZone},
		{ID: "nat-gateway-healthy", Proves: "NAT gateways are available and have public addresses.", Level: check.Required, Rows: []string{"C1", "C9", "N2"}, Run: natGatewayHealthy},
		{ID: "nat-instance-safe", Proves: "Self-managed NAT forwards, and lets in only the private subnets; its instances take IMDSv2 only.", Level: check.Required, Rows: []string{"N2", "B36"}, Run: natInstanceSafe},
		{ID: "nat-proved", Proves: "Where something in a private subnet can be asked, it was heard by way of NAT.", Level: check.Required, Rows: []string{"C9", "N2"}, Run: natProved},
		{ID: "private-no-way-in", Proves: "Nothing on the internet can open a connection to anything in private subnets.", Level: check.Required, Rows: []string{"C3", "S1", "B29"}, Run: noWayIn(architecture.Private)},
		{ID: "control-plane-no-way-in", Proves: "Nothing on the internet can open a connection to anything in control-plane subnets.", Level: check.Required, Rows: []string{"C2"}, Run: noWayIn(architecture.ControlPlane)},
		{ID: "nodes-not-reachable-from-internet", Proves: "Nothing on the internet can open a connection to a node.", Level: check.Required, Rows: []string{"S1", "B29"}, Run: nodesUnreachable},
		{ID: "database-not-reachable-from-internet", Proves: "Nothing on the internet can open a connection to PostgreSQL.", Level: check.Required, Rows: []string{"C12", "S3", "B29"}, Run: check.WithDatabase(databaseUnreachable)},
		{ID: "database-reached-only-by-core-nodes", Proves: "Of all that is in the VPC or connected to it, core nodes alone can open a connection to PostgreSQL.", Level: check.Required, Rows: []string{"C12", "S6"}, Run: check.WithDatabase(databaseReachedByCore)},
		{ID: "web-nodes-cannot-reach-database", Proves: "Nodes of web assistant and interface can't open a connection to PostgreSQL.", Level: check.Required, Rows: []string{"C11", "S9"}, Run: check.WithDatabase(webNodesApart)},
		{ID: "nodes-reach-database", Proves: "Every core node can connect to PostgreSQL, and answers come back.", Level: check.Required, Rows: []string{"C12", "S10"}, Run: check.WithDatabase(nodesReachDatabase)},
		{ID: "load-balancer-reaches-pods", Proves: "Each load balancer can connect to the nodes that it serves.", Level: check.Required, Rows: []string{"C1", "C5"}, Run: loadBalancersReachPods},
		{ID: "default-group-empty", Proves: "The VPC's default security group has no rules.", Level: check.Required, Rows: []string{"B32", "S6"}, Run: defaultGroupEmpty},
		{ID: "groups-name-groups", Proves: "Groups inside the VPC let in groups, not addresses.", Level: check.Required, Rows: []string{"B31", "S6"}, Run: groupsNameGroups},
		{ID: "groups-closed-egress", Proves: "Groups that need no way out have none.", Level: check.Required, Rows: []string{"B32", "S6"}, Run: groupsClosed},
		{ID: "no-open-ssh-rdp", Proves: "No security group lets SSH or RDP in from anywhere.", Level: check.Required, Rows: []string{"B37", "S3"}, Run: noOpenSSH},
		{ID: "endpoint-s3-gateway", Proves: "Private subnets reach S3 by a gateway endpoint; in a given network the way out does too.", Level: check.Required, Rows: []string{"C13", "S3"}, Run: endpointS3},
		{ID: "endpoints-present", Proves: "The interface endpoints are available in every zone, under the services' own names.", Level: check.Required, Rows: []string{"S3"}, Run: endpointsPresent},
		{ID: "endpoint-policies", Proves: "Endpoints have policies of their own.", Level: check.Required, Rows: []string{"B35"}, Run: endpointPolicies},
		{ID: "flow-logs", Proves: "All traffic of the VPC is logged, encrypted.", Level: check.Required, Rows: []string{"B34", "B11"}, Run: flowLogsOn},
	}, connectedChecks())
}

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

func noBlackHoles(l *account.Look, r *check.Recorder) error {
	tables, err := l.RouteTables()
	if err != nil {
		return err
	}
	if l.Given() {
		if tables, err = ourTables(l); err != nil {
			return err
		}
	}
	for _, t := range tables {
		var dead []string
		for _, route := range t.Routes {
			if route.State == types.RouteStateBlackhole {
				_, target := vpc.TargetOf(route)
				dead = append(dead, vpc.DestinationOf(route)+" to "+target)
			}
		}
		saw := fmt.Sprintf("%d routes, all active", len(t.Routes))
		if len(dead) > 0 {
			saw = "black holes: " + strings.Join(dead, ", ")
		}
		r.Saw(len(dead) == 0, aws.ToString(t.RouteTableId), saw, "ec2:DescribeRouteTables", "active routes only", fixNetwork(l))
	}
	return nil
}

// ourTables are the route tables of planned subnets, each once.
func ourTables(l *account.Look) ([]types.RouteTable, error) {
	p, err := l.Places()
	if err != nil {
		return nil, err
	}
	var out []types.RouteTable
	for _, s := range p.Subnets {
		if !slices.ContainsFunc(out, func(t types.RouteTable) bool {
			return aws.ToString(t.RouteTableId) == aws.ToString(s.Table.RouteTableId)
		}) {
			out = append(out, s.Table)
		}
	}
	return out, nil
}

// configured tells whether the configuration has a route.
func configured(n config.Network, route types.Route) bool {
	to, target := vpc.DestinationOf(route), ""
	if _, target = vpc.TargetOf(route); target == "" {
		return false
	}
	if target == n.TransitGateway.ID && slices.Contains(n.TransitGateway.CIDRs, to) {
		return true
	}
	return slices.ContainsFunc(n.Routes, func(r config.Route) bool { return r.CIDR == to && r.Target == target })
}

// reachedFromOutside tells whether internal load balancers serve clients beyond
// the VPC, in connected networks.
func reachedFromOutside(a *architecture.Architecture) bool {
	for _, e := range []config.Endpoint{a.Config.Access.Web, a.Config.Access.Admin} {
		if e.Scheme == config.SchemeInternal && slices.ContainsFunc(e.AllowCIDRs, func(cidr string) bool {
			p, err := netip.ParsePrefix(cidr)
			return err != nil || p.Bits() < a.VPC().Bits() || !a.VPC().Contains(p.Addr())
		}) {
			return true
		}
	}
	return false
}

func onlyGateway(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "its owner decides on internet gateways and what it is connected to")
		return nil
	}
	gateways, err := internetGateways(l)
	if err != nil {
		return err
	}
	tables, err := l.RouteTables()
	if err != nil {
		return err
	}
	if len(gateways) == 0 {
		r.Missing("internet gateway of the VPC", "ec2:DescribeInternetGateways", check.FixUpdate)
	}
	for _, g := range gateways {
		owner := account.Tag(g.Tags, architecture.DeploymentTag)
		r.Saw(owner == l.Arch.Name(), aws.ToString(g.InternetGatewayId), fmt.Sprintf("attached, deployment %q", owner), "ec2:DescribeInternetGateways",
			"the deployment's own", "detach it, and run poolhouse update")
	}
	c := l.Arch.Config
	connected := reachedFromOutside(l.Arch) || len(c.Cluster.API.AllowCIDRs) > 0 || c.Proxy.URL != ""
	for _, t := range tables {
		var others []string
		for _, route := range t.Routes {
			switch kind, target := vpc.TargetOf(route); kind {
			case reach.ToTransitGateway, reach.ToPeering, reach.ToVPNGateway, reach.ToEgressOnlyGateway, reach.Other:
				if !configured(c.Network, route) {
					others = append(others, vpc.DestinationOf(route)+" to "+target)
				}
			}
		}
		id := aws.ToString(t.RouteTableId)
		switch {
		case len(others) == 0:
			r.Saw(true, id, "no route to another network but configured ones", "ec2:DescribeRouteTables", "", "")
		default:
			r.Saw(connected, id, "other networks: "+strings.Join(others, ", "), "ec2:DescribeRouteTables", "no route to another network, since no client comes from one",
				"delete the routes; or, if clients come from there, put their ranges into access.web.allowCidrs and make its scheme internal")
		}
	}
	return nil
}

func publicRoutes(l *account.Look, r *check.Recorder) error {
	p, err := l.Places()
	if err != nil {
		return err
	}
	if l.Given() && len(l.Arch.PublicSubnets()) == 0 {
		r.NA(theirs, "there are no public subnets, since load balancers are internal")
		return nil
	}
	behind := func(types.RouteTable, string) string { return "" }
	if l.Given() {
		if behind, err = firewalls(l); err != nil {
			return err
		}
	}
	for _, s := range p.Tier(architecture.Public) {
		saw, ok := "no default route", false
		for _, route := range s.Table.Routes {
			if aws.ToString(route.DestinationCidrBlock) == "0.0.0.0/0" {
				kind, target := vpc.TargetOf(route)
				saw = fmt.Sprintf("0.0.0.0/0 to %s, %s", target, route.State)
				by := behind(s.Table, target)
				if by != "" {
					saw += ", and from there to the internet gateway by " + by
				}
				ok = (kind == reach.ToInternetGateway || by != "") && route.State == types.RouteStateActive
			}
		}
		r.Saw(ok, s.SubnetID, saw, "ec2:DescribeRouteTables", "0.0.0.0/0 to the internet gateway, active", fixNetwork(l))
	}
	return nil
}

// firewalls returns a function that tells, of the endpoint of a firewall that a
// table leads to, which other table leads on to an internet gateway of the VPC:
// that of the endpoint's subnets, or any if the endpoint can't be seen; "" if
// none, or if the target is no such endpoint.
// https://docs.aws.amazon.com/network-firewall/latest/developerguide/arch-igw-ngw.html
func firewalls(l *account.Look) (func(from types.RouteTable, target string) string, error) {
	tables, err := l.RouteTables()
	if err != nil {
		return nil, err
	}
	gateways, err := internetGateways(l)
	if err != nil {
		return nil, err
	}
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return nil, err
	}
	return func(from types.RouteTable, target string) string {
		return leadsOn(tables, gateways, endpoints, aws.ToString(from.RouteTableId), target)
	}, nil
}

func leadsOn(tables []types.RouteTable, gateways []types.InternetGateway, endpoints []types.VpcEndpoint, from, target string) string {
	if !strings.HasPrefix(target, "vpce-") {
		return ""
	}
	candidates := tables
	for _, e := range endpoints {
		if aws.ToString(e.VpcEndpointId) != target {
			continue
		}
		candidates = nil
		for _, s := range e.SubnetIds {
			candidates = append(candidates, vpc.TableOf(tables, s))
		}
	}
	for _, t := range candidates {
		id := aws.ToString(t.RouteTableId)
		if id == from {
			continue // traffic would come back to the endpoint
		}
		for _, route := range vpc.DefaultRoutes(t) {
			kind, to := vpc.TargetOf(route)
			attached := slices.ContainsFunc(gateways, func(g types.InternetGateway) bool { return aws.ToString(g.InternetGatewayId) == to })
			if kind == reach.ToInternetGateway && attached && route.State == types.RouteStateActive {
				return id
			}
		}
	}
	return ""
}

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

func defaultGroupEmpty(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "its default security group may be in use by others")
		return nil
	}
	groups, err := l.SecurityGroups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if aws.ToString(g.GroupName) != "default" {
			continue
		}
		in, out := len(g.IpPermissions), len(g.IpPermissionsEgress)
		r.Saw(in+out == 0, aws.ToString(g.GroupId), fmt.Sprintf("%d rules in, %d out", in, out), "ec2:DescribeSecurityGroups", "no rules", "run poolhouse update, which empties it")
	}
	return nil
}

// Groups that face addresses: those of load balancers, which clients reach, and of
// self-managed NAT, which private subnets do.
var facing = []string{"alb-web", "alb-admin", "nat"}

// closed are groups that open no connections.
var closed = []string{"database", "endpoints", "nodes-gpu"}

func groupsNameGroups(l *account.Look, r *check.Recorder) error {
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	for _, name := range account.SortedKeys(ours) {
		id := aws.ToString(ours[name].GroupId)
		if slices.Contains(facing, name) {
			continue
		}
		n := 0
		for _, rule := range rules {
			if aws.ToString(rule.GroupId) != id || aws.ToBool(rule.IsEgress) {
				continue
			}
			n++
			// Who may reach the Kubernetes API from connected networks is for
			// cluster-api-sources.
			operators := name == "control-plane" && slices.Contains(l.Arch.Config.Cluster.API.AllowCIDRs, vpc.PeerOf(rule)) && vpc.PortsOf(rule) == "tcp 443"
			if rule.ReferencedGroupInfo == nil && !operators {
				r.Saw(false, id, fmt.Sprintf("%s: %s lets in %s from %s", name, aws.ToString(rule.SecurityGroupRuleId), vpc.PortsOf(rule), vpc.PeerOf(rule)), "ec2:DescribeSecurityGroupRules",
					"groups only", "aws ec2 revoke-security-group-ingress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
			}
		}
		r.Saw(true, id, fmt.Sprintf("%s has %d rules in", name, n), "ec2:DescribeSecurityGroupRules", "", "")
	}
	return nil
}

func groupsClosed(l *account.Look, r *check.Recorder) error {
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	for _, name := range closed {
		g, ok := ours[name]
		id := aws.ToString(g.GroupId)
		if !ok {
			r.Missing("security group "+l.Arch.ResourceName(name), "ec2:DescribeSecurityGroups", check.FixUpdate)
			continue
		}
		open := false
		for _, rule := range rules {
			// A rule for loopback, where no packet leaves the host, keeps EC2 from
			// adding one for everything.
			if aws.ToString(rule.GroupId) != id || !aws.ToBool(rule.IsEgress) || vpc.PeerOf(rule) == "127.0.0.1/32" {
				continue
			}
			open = true
			r.Saw(false, id, fmt.Sprintf("%s: %s lets out %s to %s", name, aws.ToString(rule.SecurityGroupRuleId), vpc.PortsOf(rule), vpc.PeerOf(rule)), "ec2:DescribeSecurityGroupRules",
				"no way out", "aws ec2 revoke-security-group-egress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
		}
		if !open {
			r.Saw(true, id, name+" has no way out", "ec2:DescribeSecurityGroupRules", "", "")
		}
	}
	return nil
}

func noOpenSSH(l *account.Look, r *check.Recorder) error {
	groups, err := l.SecurityGroups()
	if err != nil {
		return err
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	if l.Given() {
		groups = slices.DeleteFunc(slices.Clone(groups), func(g types.SecurityGroup) bool {
			return account.Tag(g.Tags, architecture.DeploymentTag) != l.Arch.Name() && account.Tag(g.Tags, "aws:eks:cluster-name") != l.Arch.ClusterName()
		})
	}
	for _, g := range groups {
		id := aws.ToString(g.GroupId)
		ok := true
		for _, rule := range rules {
			if aws.ToString(rule.GroupId) != id || aws.ToBool(rule.IsEgress) || !fromAnywhere(rule) {
				continue
			}
			t := vpc.TrafficOf(rule)
			for _, port := range []int{22, 3389} {
				if t.Protocol != -1 && (t.Protocol != 6 || t.From != -1 && (port < t.From || t.To < port)) {
					continue
				}
				ok = false
				r.Saw(false, aws.ToString(rule.SecurityGroupRuleId), fmt.Sprintf("%s lets in %s from %s, with it port %d", id, vpc.PortsOf(rule), vpc.PeerOf(rule), port), "ec2:DescribeSecurityGroupRules",
					"neither 22 nor 3389 from anywhere", "aws ec2 revoke-security-group-ingress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
			}
		}
		if ok {
			r.Saw(true, id, "neither 22 nor 3389 from anywhere", "ec2:DescribeSecurityGroupRules", "", "")
		}
	}
	return nil
}

// fromAnywhere tells whether a rule names every address.
func fromAnywhere(rule types.SecurityGroupRule) bool {
	return aws.ToString(rule.CidrIpv4) == "0.0.0.0/0" || aws.ToString(rule.CidrIpv6) == "::/0"
}

func serviceName(l *account.Look, service string) string {
	return "com.amazonaws." + l.Arch.Config.Region + "." + service
}

func endpointS3(l *account.Look, r *check.Recorder) error {
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	var gateway types.VpcEndpoint
	for _, e := range endpoints {
		if e.VpcEndpointType == types.VpcEndpointTypeGateway && aws.ToString(e.ServiceName) == serviceName(l, "s3") {
			gateway = e
		}
	}
	if l.Given() {
		return givenS3(l, r, p, gateway)
	}
	if gateway.VpcEndpointId == nil {
		r.Missing("gateway endpoint of S3", "ec2:DescribeVpcEndpoints", check.FixUpdate)
		return nil
	}
	id := *gateway.VpcEndpointId
	for _, s := range p.Tier(architecture.Private) {
		table := aws.ToString(s.Table.RouteTableId)
		ok := strings.EqualFold(string(gateway.State), string(types.StateAvailable)) && slices.Contains(gateway.RouteTableIds, table)
		saw := fmt.Sprintf("%s, in %s", strings.ToLower(string(gateway.State)), table)
		if !slices.Contains(gateway.RouteTableIds, table) {
			saw = fmt.Sprintf("%s, not in %s", strings.ToLower(string(gateway.State)), table)
		}
		r.Saw(ok, id+" for "+s.SubnetID, saw, "ec2:DescribeVpcEndpoints", "available, in the subnet's route table", check.FixUpdate)
	}
	return nil
}

// s3List is the id of the prefix list of S3's addresses in the region.
func s3List(l *account.Look) (string, error) {
	return account.Facts[networkFacts](l).s3ListFact.Get(func() (string, error) {
		id := ""
		err := account.Pages(l, "the prefix list of S3", ec2.NewDescribePrefixListsPaginator(l.AWS.EC2,
			&ec2.DescribePrefixListsInput{Filters: []types.Filter{account.Filter("prefix-list-name", serviceName(l, "s3"))}}),
			func(o *ec2.DescribePrefixListsOutput) {
				for _, p := range o.PrefixLists {
					id = aws.ToString(p.PrefixListId)
				}
			})
		return id, err
	})
}

// routeToS3 is the gateway endpoint that a route table has a working route to for
// the prefix list of S3, "" if none.
func routeToS3(t types.RouteTable, list string) string {
	for _, r := range t.Routes {
		if kind, target := vpc.TargetOf(r); kind == reach.ToGatewayEndpoint && aws.ToString(r.DestinationPrefixListId) == list && r.State != types.RouteStateBlackhole {
			return target
		}
	}
	return ""
}

// givenS3 takes the endpoint of a given network, or its way out. Of a shared VPC
// the endpoints can't be described, but the routes to them can.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-share-limitations.html
func givenS3(l *account.Look, r *check.Recorder, p *account.Places, gateway types.VpcEndpoint) error {
	for _, s := range p.Tier(architecture.Private) {
		table := aws.ToString(s.Table.RouteTableId)
		if strings.EqualFold(string(gateway.State), string(types.StateAvailable)) && slices.Contains(gateway.RouteTableIds, table) {
			r.Saw(true, *gateway.VpcEndpointId+" for "+s.SubnetID, "available, in "+table, "ec2:DescribeVpcEndpoints", "", "")
			continue
		}
		if gateway.VpcEndpointId == nil {
			list, err := s3List(l)
			if err != nil {
				return err
			}
			if to := routeToS3(s.Table, list); list != "" && to != "" {
				r.Saw(true, to+" for "+s.SubnetID, "a route to it in "+table, "ec2:DescribeRouteTables, DescribePrefixLists", "", "")
				continue
			}
		}
		by, err := leaves(l, s.SubnetID)
		if err != nil {
			return err
		}
		r.Saw(by != "", s.SubnetID, "no gateway endpoint of S3; the way out is "+cmp.Or(by, "not there"), "ec2:DescribeVpcEndpoints, "+reachAPI, "S3's gateway endpoint, or a way out", fixNetwork(l))
	}
	return nil
}

func endpointsPresent(l *account.Look, r *check.Recorder) error {
	if len(l.Arch.Endpoints) == 0 {
		r.NA("network.endpoints lists none, and with NAT none is required")
		return nil
	}
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeVpcEndpoints"
	for _, service := range l.Arch.Endpoints {
		i := slices.IndexFunc(endpoints, func(e types.VpcEndpoint) bool {
			return e.VpcEndpointType == types.VpcEndpointTypeInterface && aws.ToString(e.ServiceName) == serviceName(l, service)
		})
		if i < 0 {
			r.Missing("interface endpoint of "+service, api, check.FixUpdate)
			continue
		}
		e := endpoints[i]
		var faults []string
		if !strings.EqualFold(string(e.State), string(types.StateAvailable)) {
			faults = append(faults, "state "+string(e.State))
		}
		if !aws.ToBool(e.PrivateDnsEnabled) {
			faults = append(faults, "private DNS off")
		}
		for _, s := range p.Tier(architecture.Private) {
			if !slices.Contains(e.SubnetIds, s.SubnetID) {
				faults = append(faults, "not in "+s.SubnetID)
			}
		}
		want := aws.ToString(ours["endpoints"].GroupId)
		if len(e.Groups) != 1 || aws.ToString(e.Groups[0].GroupId) != want {
			faults = append(faults, "another security group than "+want)
		}
		saw := service + ": available, private DNS on, in every private subnet"
		if len(faults) > 0 {
			saw = service + ": " + strings.Join(faults, ", ")
		}
		r.Saw(len(faults) == 0, aws.ToString(e.VpcEndpointId), saw, api, "available, private DNS on, in every private subnet, with the endpoints' group", check.FixUpdate)
	}
	return nil
}

func endpointPolicies(l *account.Look, r *check.Recorder) error {
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return err
	}
	takes, err := policyServices(l)
	if err != nil {
		return err
	}
	if l.Given() {
		endpoints = slices.DeleteFunc(slices.Clone(endpoints), func(e types.VpcEndpoint) bool {
			return account.Tag(e.Tags, architecture.DeploymentTag) != l.Arch.Name()
		})
		if len(endpoints) == 0 {
			r.NA(theirs, "no endpoint in it is the deployment's")
		}
	}
	for _, e := range endpoints {
		service := aws.ToString(e.ServiceName)
		if !takes[service] {
			continue
		}
		open, err := openPolicy(aws.ToString(e.PolicyDocument))
		if err != nil {
			return fmt.Errorf("read the policy of %s: %w", aws.ToString(e.VpcEndpointId), err)
		}
		saw := service + ": a policy of its own"
		if open {
			saw = service + ": everybody may do everything"
		}
		r.Saw(!open, aws.ToString(e.VpcEndpointId), saw, "ec2:DescribeVpcEndpoints", "a policy that names the account", check.FixUpdate)
	}
	return nil
}

// openPolicy tells whether a policy lets everybody do everything with everything,
// as the default policy of endpoints does.
func openPolicy(document string) (bool, error) {
	if text, err := url.QueryUnescape(document); err == nil && strings.HasPrefix(document, "%7B") {
		document = text
	}
	var policy struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return false, err
	}
	type statement struct {
		Effect                      string
		Principal, Action, Resource any
		Condition                   map[string]any
	}
	var list []statement
	if err := json.Unmarshal(policy.Statement, &list); err != nil {
		var one statement
		if err := json.Unmarshal(policy.Statement, &one); err != nil {
			return false, err
		}
		list = []statement{one}
	}
	star := func(v any) bool {
		switch v := v.(type) {
		case string:
			return v == "*"
		case []any:
			return slices.Contains(v, any("*"))
		case map[string]any:
			return v["AWS"] == "*"
		}
		return false
	}
	return slices.ContainsFunc(list, func(s statement) bool {
		return s.Effect == "Allow" && star(s.Principal) && star(s.Action) && star(s.Resource) && len(s.Condition) == 0
	}), nil
}

func flowLogsOn(l *account.Look, r *check.Recorder) error {
	if !l.Arch.Config.Network.FlowLogs.Enabled {
		r.NA("network.flowLogs.enabled is false")
		return nil
	}
	logs, err := flowLogs(l)
	if err != nil {
		return err
	}
	if l.Given() { // others may log it too
		logs = slices.DeleteFunc(slices.Clone(logs), func(f types.FlowLog) bool { return account.Tag(f.Tags, architecture.DeploymentTag) != l.Arch.Name() })
	}
	if len(logs) == 0 {
		r.Missing("flow log of the VPC", "ec2:DescribeFlowLogs", check.FixUpdate)
	}
	for _, f := range logs {
		id := aws.ToString(f.FlowLogId)
		ok := aws.ToString(f.FlowLogStatus) == "ACTIVE" && f.TrafficType == types.TrafficTypeAll
		r.Saw(ok, id, fmt.Sprintf("%s, %s traffic", aws.ToString(f.FlowLogStatus), f.TrafficType), "ec2:DescribeFlowLogs", "ACTIVE, ALL traffic", check.FixUpdate)
		group := aws.ToString(f.LogGroupName)
		if group == "" {
			continue // to S3, whose encryption the buckets' checks look at
		}
		out, err := l.AWS.Logs.DescribeLogGroups(l.Ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &group})
		if err != nil {
			return fmt.Errorf("look up log group %s: %w", group, err)
		}
		saw := "not there"
		encrypted := false
		for _, g := range out.LogGroups {
			if aws.ToString(g.LogGroupName) == group {
				encrypted = g.KmsKeyId != nil
				saw = "no key"
				if encrypted {
					saw = "encrypted with " + *g.KmsKeyId
				}
			}
		}
		r.Saw(encrypted, group, saw, "logs:DescribeLogGroups", "encrypted with the logs key", check.FixUpdate)
	}
	return nil
}
