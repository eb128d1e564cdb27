package verify

import (
	"cmp"
	"context"
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
	"github.com/poolhouse/poolhouse/verify/reach"
)

// networkFacts are what the network is.
type networkFacts struct {
	vpcFact        fact[*types.Vpc]
	vpcsFact       fact[[]types.Vpc]
	subnetsFact    fact[[]types.Subnet]
	tablesFact     fact[[]types.RouteTable]
	aclsFact       fact[[]types.NetworkAcl]
	groupsFact     fact[[]types.SecurityGroup]
	rulesFact      fact[[]types.SecurityGroupRule]
	interfacesFact fact[[]types.NetworkInterface]
	igwsFact       fact[[]types.InternetGateway]
	natsFact       fact[[]types.NatGateway]
	endpointsFact  fact[[]types.VpcEndpoint]
	servicesFact   fact[map[string]bool]
	flowLogsFact   fact[[]types.FlowLog]
	instancesFact  fact[[]types.Instance]
	modelFact      fact[*reach.Model]
	exposedFact    fact[map[string]reach.Answer]
	betweenFacts   keyed[reach.Answer]
	placesFact     fact[*places]
}

// given says whether the network was there before and stays as it is. Then its
// parts are known by the ids that the configuration has, not by tags and ranges.
func (l *look) given() bool { return l.arch.Config.Network.Exists() }

// theirs is why what a given network has is not judged.
const theirs = "network.existing names the network: %s"

// vpcs are the VPCs that carry the deployment's tag, or the one that is given.
func (l *look) vpcs() ([]types.Vpc, error) {
	return l.vpcsFact.get(func() ([]types.Vpc, error) {
		which := filter("tag:"+architecture.DeploymentTag, l.arch.Name())
		if l.given() {
			which = filter("vpc-id", l.arch.Config.Network.Existing.VPCID)
		}
		var all []types.Vpc
		err := pages(l, "VPCs", ec2.NewDescribeVpcsPaginator(l.aws.EC2, &ec2.DescribeVpcsInput{Filters: []types.Filter{which}}),
			func(o *ec2.DescribeVpcsOutput) { all = append(all, o.Vpcs...) })
		return all, err
	})
}

// vpc is the deployment's VPC, or nil: of several with its tag, the one with the
// planned range.
func (l *look) vpc() (*types.Vpc, error) {
	return l.vpcFact.get(func() (*types.Vpc, error) {
		all, err := l.vpcs()
		if err != nil || len(all) == 0 {
			return nil, err
		}
		i := slices.IndexFunc(all, func(v types.Vpc) bool { return aws.ToString(v.CidrBlock) == l.arch.VPC().String() })
		return &all[max(i, 0)], nil
	})
}

// vpcID is the id of the deployment's VPC; that there is none is an error, for
// nothing in it can be looked at.
func (l *look) vpcID() (string, error) {
	v, err := l.vpc()
	if err != nil {
		return "", err
	}
	if v == nil && l.given() {
		return "", fmt.Errorf("look into the VPC: there is no %s", l.arch.Config.Network.Existing.VPCID)
	}
	if v == nil {
		return "", fmt.Errorf("look into the VPC: no VPC has the tag %s=%s", architecture.DeploymentTag, l.arch.Name())
	}
	return aws.ToString(v.VpcId), nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// pages reads a list of EC2 to its end.
func pages[O any](l *look, what string, p interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*ec2.Options)) (*O, error)
}, each func(*O),
) error {
	for p.HasMorePages() {
		out, err := p.NextPage(l.ctx)
		if err != nil {
			return fmt.Errorf("look up %s: %w", what, err)
		}
		each(out)
	}
	return nil
}

// inVPC reads a list once, of what is in the VPC.
func inVPC[T any](l *look, f *fact[[]T], read func(here []types.Filter) ([]T, error)) ([]T, error) {
	return f.get(func() ([]T, error) {
		id, err := l.vpcID()
		if err != nil {
			return nil, err
		}
		return read([]types.Filter{filter("vpc-id", id)})
	})
}

func (l *look) subnets() ([]types.Subnet, error) {
	return inVPC(l, &l.subnetsFact, func(here []types.Filter) (all []types.Subnet, err error) {
		err = pages(l, "subnets", ec2.NewDescribeSubnetsPaginator(l.aws.EC2, &ec2.DescribeSubnetsInput{Filters: here}),
			func(o *ec2.DescribeSubnetsOutput) { all = append(all, o.Subnets...) })
		return all, err
	})
}

func (l *look) routeTables() ([]types.RouteTable, error) {
	return inVPC(l, &l.tablesFact, func(here []types.Filter) (all []types.RouteTable, err error) {
		err = pages(l, "route tables", ec2.NewDescribeRouteTablesPaginator(l.aws.EC2, &ec2.DescribeRouteTablesInput{Filters: here}),
			func(o *ec2.DescribeRouteTablesOutput) { all = append(all, o.RouteTables...) })
		return all, err
	})
}

func (l *look) networkACLs() ([]types.NetworkAcl, error) {
	return inVPC(l, &l.aclsFact, func(here []types.Filter) (all []types.NetworkAcl, err error) {
		err = pages(l, "network ACLs", ec2.NewDescribeNetworkAclsPaginator(l.aws.EC2, &ec2.DescribeNetworkAclsInput{Filters: here}),
			func(o *ec2.DescribeNetworkAclsOutput) { all = append(all, o.NetworkAcls...) })
		return all, err
	})
}

func (l *look) securityGroups() ([]types.SecurityGroup, error) {
	return inVPC(l, &l.groupsFact, func(here []types.Filter) (all []types.SecurityGroup, err error) {
		err = pages(l, "security groups", ec2.NewDescribeSecurityGroupsPaginator(l.aws.EC2, &ec2.DescribeSecurityGroupsInput{Filters: here}),
			func(o *ec2.DescribeSecurityGroupsOutput) { all = append(all, o.SecurityGroups...) })
		return all, err
	})
}

// groupRules are the rules of all security groups of the VPC. A filter takes 200
// values.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
func (l *look) groupRules() ([]types.SecurityGroupRule, error) {
	return l.rulesFact.get(func() ([]types.SecurityGroupRule, error) {
		groups, err := l.securityGroups()
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, g := range groups {
			ids = append(ids, aws.ToString(g.GroupId))
		}
		var all []types.SecurityGroupRule
		for some := range slices.Chunk(ids, 200) {
			err := pages(l, "rules of security groups", ec2.NewDescribeSecurityGroupRulesPaginator(l.aws.EC2,
				&ec2.DescribeSecurityGroupRulesInput{Filters: []types.Filter{filter("group-id", some...)}}),
				func(o *ec2.DescribeSecurityGroupRulesOutput) { all = append(all, o.SecurityGroupRules...) })
			if err != nil {
				return nil, err
			}
		}
		return all, nil
	})
}

func (l *look) networkInterfaces() ([]types.NetworkInterface, error) {
	return inVPC(l, &l.interfacesFact, func(here []types.Filter) (all []types.NetworkInterface, err error) {
		err = pages(l, "network interfaces", ec2.NewDescribeNetworkInterfacesPaginator(l.aws.EC2, &ec2.DescribeNetworkInterfacesInput{Filters: here}),
			func(o *ec2.DescribeNetworkInterfacesOutput) { all = append(all, o.NetworkInterfaces...) })
		return all, err
	})
}

// internetGateways are those attached to the VPC.
func (l *look) internetGateways() ([]types.InternetGateway, error) {
	return l.igwsFact.get(func() ([]types.InternetGateway, error) {
		id, err := l.vpcID()
		if err != nil {
			return nil, err
		}
		var all []types.InternetGateway
		err = pages(l, "internet gateways", ec2.NewDescribeInternetGatewaysPaginator(l.aws.EC2,
			&ec2.DescribeInternetGatewaysInput{Filters: []types.Filter{filter("attachment.vpc-id", id)}}),
			func(o *ec2.DescribeInternetGatewaysOutput) { all = append(all, o.InternetGateways...) })
		return all, err
	})
}

// natGateways are those of the VPC that are not deleted.
func (l *look) natGateways() ([]types.NatGateway, error) {
	return inVPC(l, &l.natsFact, func(here []types.Filter) (all []types.NatGateway, err error) {
		err = pages(l, "NAT gateways", ec2.NewDescribeNatGatewaysPaginator(l.aws.EC2, &ec2.DescribeNatGatewaysInput{Filter: here}),
			func(o *ec2.DescribeNatGatewaysOutput) { all = append(all, o.NatGateways...) })
		return slices.DeleteFunc(all, func(n types.NatGateway) bool {
			return n.State == types.NatGatewayStateDeleted || n.State == types.NatGatewayStateDeleting
		}), err
	})
}

func (l *look) vpcEndpoints() ([]types.VpcEndpoint, error) {
	return inVPC(l, &l.endpointsFact, func(here []types.Filter) (all []types.VpcEndpoint, err error) {
		err = pages(l, "VPC endpoints", ec2.NewDescribeVpcEndpointsPaginator(l.aws.EC2, &ec2.DescribeVpcEndpointsInput{Filters: here}),
			func(o *ec2.DescribeVpcEndpointsOutput) { all = append(all, o.VpcEndpoints...) })
		return all, err
	})
}

// policyServices tells which services of the VPC's endpoints take endpoint
// policies.
func (l *look) policyServices() (map[string]bool, error) {
	return l.servicesFact.get(func() (map[string]bool, error) {
		endpoints, err := l.vpcEndpoints()
		if err != nil {
			return nil, err
		}
		var names []string
		for _, e := range endpoints {
			names = append(names, aws.ToString(e.ServiceName))
		}
		slices.Sort(names)
		takes := map[string]bool{}
		if names = slices.Compact(names); len(names) == 0 {
			return takes, nil
		}
		in := &ec2.DescribeVpcEndpointServicesInput{ServiceNames: names}
		for {
			out, err := l.aws.EC2.DescribeVpcEndpointServices(l.ctx, in)
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

func (l *look) flowLogs() ([]types.FlowLog, error) {
	return l.flowLogsFact.get(func() ([]types.FlowLog, error) {
		id, err := l.vpcID()
		if err != nil {
			return nil, err
		}
		var all []types.FlowLog
		err = pages(l, "flow logs", ec2.NewDescribeFlowLogsPaginator(l.aws.EC2, &ec2.DescribeFlowLogsInput{Filter: []types.Filter{filter("resource-id", id)}}),
			func(o *ec2.DescribeFlowLogsOutput) { all = append(all, o.FlowLogs...) })
		return all, err
	})
}

// vpcInstances are the VPC's instances that are not terminated.
func (l *look) vpcInstances() ([]types.Instance, error) {
	return inVPC(l, &l.instancesFact, func(here []types.Filter) (all []types.Instance, err error) {
		err = pages(l, "instances", ec2.NewDescribeInstancesPaginator(l.aws.EC2, &ec2.DescribeInstancesInput{Filters: here}),
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

// Fixes that many checks name.
const (
	fixUpdate = "run poolhouse update with the deployment's file, which puts it back; if the change was meant, put it into the file"
	fixReach  = "find who changed the route, network ACL or security group that is named, in CloudTrail, and undo it; poolhouse update puts back what it knows of"
)

// fixNetwork is the fix of what the network has: one that is given is for its
// owner to change.
func (l *look) fixNetwork() string {
	if l.given() {
		return "ask the owner of the network to change it: the deployment leaves it as it is"
	}
	return fixUpdate
}

// What evidence on paths rests on.
const reachAPI = "ec2:DescribeNetworkInterfaces, DescribeRouteTables, DescribeNetworkAcls, DescribeSecurityGroupRules"

// tag is the value of a tag.
func tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// placed is a subnet in its place of the plan.
type placed struct {
	architecture.Subnet
	id  string
	aws types.Subnet
	acl types.NetworkAcl
	// table is the one that applies, explicitly or as the VPC's main one.
	table types.RouteTable
}

// places are the planned subnets that are there, in the order of the plan, and
// those that are not.
type places struct {
	subnets []placed
	missing []architecture.Subnet
}

// tier are the subnets of a tier.
func (p *places) tier(t architecture.Tier) []placed {
	var out []placed
	for _, s := range p.subnets {
		if s.Tier == t {
			out = append(out, s)
		}
	}
	return out
}

// of is the subnet of an id, if it is one of the plan's.
func (p *places) of(id string) (placed, bool) {
	i := slices.IndexFunc(p.subnets, func(s placed) bool { return s.id == id })
	if i < 0 {
		return placed{}, false
	}
	return p.subnets[i], true
}

// is tells whether a subnet is a planned one: by its id where that is given,
// otherwise by its range.
func is(planned architecture.Subnet, s types.Subnet) bool {
	if planned.ID != "" {
		return planned.ID == aws.ToString(s.SubnetId)
	}
	return planned.CIDR.IsValid() && planned.CIDR.String() == aws.ToString(s.CidrBlock)
}

// nameOfPlanned is a planned subnet for people.
func nameOfPlanned(s architecture.Subnet) string {
	if s.ID != "" {
		return s.ID
	}
	return s.CIDR.String()
}

// plannedIn says whether a subnet is one that the plan has for a tier, and
// names those.
func (l *look) plannedIn(t architecture.Tier, s types.Subnet) (bool, string) {
	found, names := false, []string{}
	for _, p := range l.arch.Tier(t) {
		found = found || is(p, s)
		names = append(names, nameOfPlanned(p))
	}
	return found, strings.Join(names, ", ")
}

// describe says where a subnet is in the plan, and whether that is a tier.
func (p *places) describe(id string, t architecture.Tier) (saw string, ok bool) {
	s, ok := p.of(id)
	if !ok {
		return "no subnet of the deployment", false
	}
	return fmt.Sprintf("%s subnet %s", s.Tier, aws.ToString(s.aws.CidrBlock)), s.Tier == t
}

// places finds the planned subnets.
func (l *look) places() (*places, error) {
	return l.placesFact.get(func() (*places, error) {
		subnets, err := l.subnets()
		if err != nil {
			return nil, err
		}
		tables, err := l.routeTables()
		if err != nil {
			return nil, err
		}
		acls, err := l.networkACLs()
		if err != nil {
			return nil, err
		}
		p := &places{}
		for _, planned := range l.arch.Subnets {
			i := slices.IndexFunc(subnets, func(s types.Subnet) bool { return is(planned, s) })
			if i < 0 {
				p.missing = append(p.missing, planned)
				continue
			}
			id := aws.ToString(subnets[i].SubnetId)
			if !planned.CIDR.IsValid() {
				parse := &parser{}
				if planned.CIDR = parse.prefix(subnets[i].CidrBlock); parse.err != nil {
					return nil, parse.err
				}
			}
			p.subnets = append(p.subnets, placed{Subnet: planned, id: id, aws: subnets[i], acl: aclOf(acls, id), table: tableOf(tables, id)})
		}
		return p, nil
	})
}

// tableOf is the route table that applies to a subnet.
func tableOf(tables []types.RouteTable, subnet string) types.RouteTable {
	var main types.RouteTable
	for _, t := range tables {
		for _, a := range t.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				return t
			}
			if aws.ToBool(a.Main) {
				main = t
			}
		}
	}
	return main
}

func aclOf(acls []types.NetworkAcl, subnet string) types.NetworkAcl {
	for _, a := range acls {
		for _, s := range a.Associations {
			if aws.ToString(s.SubnetId) == subnet {
				return a
			}
		}
	}
	return types.NetworkAcl{}
}

// networkChecks are the checks of the VPC and of what passes in it.
func networkChecks() []Check {
	return []Check{
		{"vpc-there", "There is one VPC of the deployment, its own or the given one, with the planned range.", Required, []string{"C8"}, vpcThere},
		{"vpc-dns", "Names resolve in the VPC, and its hosts have names, without which private endpoints are not found.", Required, []string{"C2", "S3"}, vpcDNS},
		{"subnets-tiers", "Every planned subnet of the three tiers is there.", Required, []string{"C1", "C2", "C3", "C8"}, subnetsTiers},
		{"subnets-zones", "Each tier is spread over the zones that it should be in.", Required, []string{"C7", "S8"}, subnetsZones},
		{"subnets-no-public-ip", "No subnet gives out public addresses.", Required, []string{"B30", "S1"}, subnetsNoPublicIP},
		{"subnet-free-addresses", "Subnets have room: for EKS's interfaces, and for another node.", Advised, []string{"C2", "C3"}, subnetFreeAddresses},
		{"acl-per-tier", "Each tier has a network ACL of its own, not the default one.", Required, []string{"C8", "B33"}, aclPerTier},
		{"acl-no-open-ports", "Network ACLs let in from the internet only what their tier needs.", Required, []string{"B33", "S3"}, aclNoOpenPorts},
		{"no-black-holes", "No route leads to something that is gone.", Required, []string{"C8", "C9"}, noBlackHoles},
		{"igw-only-ours", "The VPC has one internet gateway, and no route leads to other networks unless clients come from there.", Required, []string{"S3"}, onlyGateway},
		{"public-routes-to-internet", "Public subnets lead to the internet.", Required, []string{"C1"}, publicRoutes},
		{"private-egress", "Private subnets reach the internet by NAT, by the way out that the network brings, or not at all if there is none.", Required, []string{"C9", "N2"}, privateEgress},
		{"nat-per-zone", "Each private subnet leaves by a NAT in its own zone.", Required, []string{"C9", "S8"}, natPerZone},
		{"nat-gateway-healthy", "NAT gateways are available and have public addresses.", Required, []string{"C1", "C9", "N2"}, natGatewayHealthy},
		{"nat-instance-safe", "Self-managed NAT forwards, and lets in only the private subnets; its instances take IMDSv2 only.", Required, []string{"N2", "B36"}, natInstanceSafe},
		{"private-no-way-in", "Nothing on the internet can open a connection to anything in private subnets.", Required, []string{"C3", "S1", "B29"}, noWayIn(architecture.Private)},
		{"control-plane-no-way-in", "Nothing on the internet can open a connection to anything in control-plane subnets.", Required, []string{"C2"}, noWayIn(architecture.ControlPlane)},
		{"nodes-not-reachable-from-internet", "Nothing on the internet can open a connection to a node.", Required, []string{"S1", "B29"}, nodesUnreachable},
		{"database-not-reachable-from-internet", "Nothing on the internet can open a connection to PostgreSQL.", Required, []string{"C12", "S3", "B29"}, withDatabase(databaseUnreachable)},
		{"database-reached-only-by-core-nodes", "Of all that is in the VPC or connected to it, core nodes alone can open a connection to PostgreSQL.", Required, []string{"C12", "S6"}, withDatabase(databaseReachedByCore)},
		{"web-nodes-cannot-reach-database", "Nodes of web assistant and interface can't open a connection to PostgreSQL.", Required, []string{"C11", "S9"}, withDatabase(webNodesApart)},
		{"nodes-reach-database", "Every core node can connect to PostgreSQL, and answers come back.", Required, []string{"C12", "S10"}, withDatabase(nodesReachDatabase)},
		{"load-balancer-reaches-pods", "Each load balancer can connect to the nodes that it serves.", Required, []string{"C1", "C5"}, loadBalancersReachPods},
		{"default-group-empty", "The VPC's default security group has no rules.", Required, []string{"B32", "S6"}, defaultGroupEmpty},
		{"groups-name-groups", "Groups inside the VPC let in groups, not addresses.", Required, []string{"B31", "S6"}, groupsNameGroups},
		{"groups-closed-egress", "Groups that need no way out have none.", Required, []string{"B32", "S6"}, groupsClosed},
		{"no-open-ssh-rdp", "No security group lets SSH or RDP in from anywhere.", Required, []string{"B37", "S3"}, noOpenSSH},
		{"endpoint-s3-gateway", "Private subnets reach S3 by a gateway endpoint; in a given network the way out does too.", Required, []string{"C13", "S3"}, endpointS3},
		{"endpoints-present", "The interface endpoints are available in every zone, under the services' own names.", Required, []string{"S3"}, endpointsPresent},
		{"endpoint-policies", "Endpoints have policies of their own.", Required, []string{"B35"}, endpointPolicies},
		{"flow-logs", "All traffic of the VPC is logged, encrypted.", Required, []string{"B34", "B11"}, flowLogsOn},
	}
}

func vpcThere(l *look, r *result) error {
	all, err := l.vpcs()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeVpcs"
	fix := "remove the tag " + architecture.DeploymentTag + " from a VPC that is not the deployment's"
	switch {
	case l.given():
		fix = "correct network.cidr: it is the primary range of network.existing.vpcId"
		if len(all) == 0 {
			r.missing(l.arch.Config.Network.Existing.VPCID, api, "correct network.existing.vpcId")
		}
	case len(all) == 0:
		r.missing("VPC of "+l.arch.Name(), api, "run poolhouse create with the deployment's file")
	}
	for _, v := range all {
		cidr := aws.ToString(v.CidrBlock)
		r.saw(cidr == l.arch.VPC().String() && v.State == types.VpcStateAvailable, aws.ToString(v.VpcId), fmt.Sprintf("%s, %s", cidr, v.State), api,
			l.arch.VPC().String()+", available", fix)
	}
	return nil
}

func vpcDNS(l *look, r *result) error {
	id, err := l.vpcID()
	if err != nil {
		return err
	}
	for _, a := range []types.VpcAttributeName{types.VpcAttributeNameEnableDnsSupport, types.VpcAttributeNameEnableDnsHostnames} {
		out, err := l.aws.EC2.DescribeVpcAttribute(l.ctx, &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: a})
		if err != nil {
			return fmt.Errorf("look up %s of %s: %w", a, id, err)
		}
		v := out.EnableDnsSupport
		if a == types.VpcAttributeNameEnableDnsHostnames {
			v = out.EnableDnsHostnames
		}
		on := v != nil && aws.ToBool(v.Value)
		r.saw(on, id, fmt.Sprintf("%s is %s", a, yesNo(on)), "ec2:DescribeVpcAttribute", "on", l.fixNetwork())
	}
	return nil
}

func subnetsTiers(l *look, r *result) error {
	p, err := l.places()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeSubnets"
	for _, s := range p.subnets {
		ok := s.aws.State == types.SubnetStateAvailable
		r.saw(ok, s.id, fmt.Sprintf("%s %s, %s", s.Tier, s.CIDR, s.aws.State), api, "available", "wait, or ask AWS Support")
	}
	for _, s := range p.missing {
		r.missing(fmt.Sprintf("%s subnet %s", s.Tier, nameOfPlanned(s)), api, l.fixNetwork())
	}
	return nil
}

func subnetsZones(l *look, r *result) error {
	p, err := l.places()
	if err != nil {
		return err
	}
	for _, t := range []architecture.Tier{architecture.Public, architecture.ControlPlane, architecture.Private} {
		zones := map[string]bool{}
		var ids []string
		for _, s := range p.tier(t) {
			zones[aws.ToString(s.aws.AvailabilityZoneId)] = true
			ids = append(ids, s.id)
		}
		if len(ids) == 0 {
			continue // subnets-tiers says so
		}
		want := len(l.arch.Tier(t))
		r.saw(len(zones) >= want && want >= 2, strings.Join(ids, ", "), fmt.Sprintf("%s in %s", t, strings.Join(sortedKeys(zones), ", ")), "ec2:DescribeSubnets",
			fmt.Sprintf("%d zones", max(want, 2)), l.fixNetwork())
	}
	return nil
}

func subnetsNoPublicIP(l *look, r *result) error {
	subnets, err := l.subnets()
	if err != nil {
		return err
	}
	if l.given() {
		// Of what others have there, public subnets may.
		p, err := l.places()
		if err != nil {
			return err
		}
		subnets = nil
		for _, s := range p.subnets {
			if s.Tier != architecture.Public {
				subnets = append(subnets, s.aws)
			}
		}
	}
	for _, s := range subnets {
		on := aws.ToBool(s.MapPublicIpOnLaunch)
		id := aws.ToString(s.SubnetId)
		r.saw(!on, id, "MapPublicIpOnLaunch is "+yesNo(on), "ec2:DescribeSubnets", "off", "aws ec2 modify-subnet-attribute --no-map-public-ip-on-launch --subnet-id "+id)
	}
	return nil
}

// What should stay free: what EKS wants in control-plane subnets, and in private
// ones a node with its pods.
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
var roomy = map[architecture.Tier]int32{architecture.ControlPlane: 16, architecture.Private: 32}

func subnetFreeAddresses(l *look, r *result) error {
	p, err := l.places()
	if err != nil {
		return err
	}
	for _, t := range []architecture.Tier{architecture.ControlPlane, architecture.Private} {
		for _, s := range p.tier(t) {
			free := aws.ToInt32(s.aws.AvailableIpAddressCount)
			r.saw(free >= roomy[t], s.id, fmt.Sprintf("%s, %d free", t, free), "ec2:DescribeSubnets", fmt.Sprintf("%d or more", roomy[t]),
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

func aclPerTier(l *look, r *result) error {
	if l.given() {
		r.na(theirs, "its owner decides on network ACLs")
		return nil
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	used := map[string]architecture.Tier{}
	for _, s := range p.subnets {
		id, tier := aws.ToString(s.acl.NetworkAclId), guarded(s.Tier)
		other, taken := used[id]
		if !taken {
			used[id], other = tier, tier
		}
		saw := fmt.Sprintf("%s has %s", s.Tier, id)
		switch {
		case aws.ToBool(s.acl.IsDefault):
			saw += ", the VPC's default ACL"
		case other != tier:
			saw += ", as " + string(other) + " has"
		}
		r.saw(!aws.ToBool(s.acl.IsDefault) && other == tier, s.id, saw, "ec2:DescribeNetworkAcls", "an ACL that the tier alone has", fixUpdate)
	}
	return nil
}

func noBlackHoles(l *look, r *result) error {
	tables, err := l.routeTables()
	if err != nil {
		return err
	}
	if l.given() {
		if tables, err = l.ourTables(); err != nil {
			return err
		}
	}
	for _, t := range tables {
		var dead []string
		for _, route := range t.Routes {
			if route.State == types.RouteStateBlackhole {
				_, target := targetOf(route)
				dead = append(dead, destinationOf(route)+" to "+target)
			}
		}
		saw := fmt.Sprintf("%d routes, all active", len(t.Routes))
		if len(dead) > 0 {
			saw = "black holes: " + strings.Join(dead, ", ")
		}
		r.saw(len(dead) == 0, aws.ToString(t.RouteTableId), saw, "ec2:DescribeRouteTables", "active routes only", l.fixNetwork())
	}
	return nil
}

// ourTables are the route tables of planned subnets, each once.
func (l *look) ourTables() ([]types.RouteTable, error) {
	p, err := l.places()
	if err != nil {
		return nil, err
	}
	var out []types.RouteTable
	for _, s := range p.subnets {
		if !slices.ContainsFunc(out, func(t types.RouteTable) bool {
			return aws.ToString(t.RouteTableId) == aws.ToString(s.table.RouteTableId)
		}) {
			out = append(out, s.table)
		}
	}
	return out, nil
}

// configured tells whether the configuration has a route.
func configured(n config.Network, route types.Route) bool {
	to, target := destinationOf(route), ""
	if _, target = targetOf(route); target == "" {
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

func onlyGateway(l *look, r *result) error {
	if l.given() {
		r.na(theirs, "its owner decides on internet gateways and what it is connected to")
		return nil
	}
	gateways, err := l.internetGateways()
	if err != nil {
		return err
	}
	tables, err := l.routeTables()
	if err != nil {
		return err
	}
	if len(gateways) == 0 {
		r.missing("internet gateway of the VPC", "ec2:DescribeInternetGateways", fixUpdate)
	}
	for _, g := range gateways {
		owner := tag(g.Tags, architecture.DeploymentTag)
		r.saw(owner == l.arch.Name(), aws.ToString(g.InternetGatewayId), fmt.Sprintf("attached, deployment %q", owner), "ec2:DescribeInternetGateways",
			"the deployment's own", "detach it, and run poolhouse update")
	}
	c := l.arch.Config
	connected := reachedFromOutside(l.arch) || len(c.Cluster.API.AllowCIDRs) > 0 || c.Proxy.URL != ""
	for _, t := range tables {
		var others []string
		for _, route := range t.Routes {
			switch kind, target := targetOf(route); kind {
			case reach.ToTransitGateway, reach.ToPeering, reach.ToVPNGateway, reach.ToEgressOnlyGateway, reach.Other:
				if !configured(c.Network, route) {
					others = append(others, destinationOf(route)+" to "+target)
				}
			}
		}
		id := aws.ToString(t.RouteTableId)
		switch {
		case len(others) == 0:
			r.saw(true, id, "no route to another network but configured ones", "ec2:DescribeRouteTables", "", "")
		default:
			r.saw(connected, id, "other networks: "+strings.Join(others, ", "), "ec2:DescribeRouteTables", "no route to another network, since no client comes from one",
				"delete the routes; or, if clients come from there, put their ranges into access.web.allowCidrs and make its scheme internal")
		}
	}
	return nil
}

func publicRoutes(l *look, r *result) error {
	p, err := l.places()
	if err != nil {
		return err
	}
	if l.given() && len(l.arch.PublicSubnets()) == 0 {
		r.na(theirs, "there are no public subnets, since load balancers are internal")
		return nil
	}
	for _, s := range p.tier(architecture.Public) {
		saw, ok := "no default route", false
		for _, route := range s.table.Routes {
			if aws.ToString(route.DestinationCidrBlock) == "0.0.0.0/0" {
				kind, target := targetOf(route)
				ok = kind == reach.ToInternetGateway && route.State == types.RouteStateActive
				saw = fmt.Sprintf("0.0.0.0/0 to %s, %s", target, route.State)
			}
		}
		r.saw(ok, s.id, saw, "ec2:DescribeRouteTables", "0.0.0.0/0 to the internet gateway, active", l.fixNetwork())
	}
	return nil
}

// selfManaged and gateways tell the NAT modes apart.
func selfManaged(m config.NATMode) bool {
	return m == config.NATInstancePerZone || m == config.NATSingleInstance
}

func gatewayNAT(m config.NATMode) bool {
	return m == config.NATGatewayPerZone || m == config.NATSingleGateway
}

// natCount is how many NATs a mode has.
func natCount(a *architecture.Architecture) int {
	switch a.Config.Network.NAT.Mode {
	case config.NATGatewayPerZone, config.NATInstancePerZone:
		return len(a.PrivateSubnets())
	case config.NATSingleGateway, config.NATSingleInstance:
		return 1
	}
	return 0
}

func natPerZone(l *look, r *result) error {
	if l.given() {
		r.na(theirs, "it brings its own way out")
		return nil
	}
	mode := l.arch.Config.Network.NAT.Mode
	if mode != config.NATGatewayPerZone && mode != config.NATInstancePerZone {
		r.na("network.nat.mode is %s: there is no NAT for each zone", mode)
		return nil
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	nats, err := l.natGateways()
	if err != nil {
		return err
	}
	interfaces, err := l.networkInterfaces()
	if err != nil {
		return err
	}
	subnets, err := l.subnets()
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
	for _, s := range p.tier(architecture.Private) {
		saw, zone := "no default route", ""
		for _, route := range s.table.Routes {
			if aws.ToString(route.DestinationCidrBlock) != "0.0.0.0/0" {
				continue
			}
			_, target := targetOf(route)
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
		own := aws.ToString(s.aws.AvailabilityZoneId)
		r.saw(zone == own, s.id, saw, "ec2:DescribeRouteTables, DescribeNatGateways", "a NAT in "+own, fixUpdate)
	}
	return nil
}

func natGatewayHealthy(l *look, r *result) error {
	if l.given() {
		r.na(theirs, "it brings its own way out")
		return nil
	}
	mode := l.arch.Config.Network.NAT.Mode
	if !gatewayNAT(mode) {
		r.na("network.nat.mode is %s: there are no NAT gateways", mode)
		return nil
	}
	nats, err := l.natGateways()
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
		r.saw(ok, aws.ToString(n.NatGatewayId), saw, api, "available, with a public address", "delete the NAT gateway and run poolhouse update, which makes another")
	}
	if want := natCount(l.arch); healthy < want {
		r.saw(false, "NAT gateways of the VPC", fmt.Sprintf("%d available", healthy), api, fmt.Sprintf("%d", want), fixUpdate)
	}
	return nil
}

func natInstanceSafe(l *look, r *result) error {
	if l.given() {
		r.na(theirs, "it brings its own way out")
		return nil
	}
	mode := l.arch.Config.Network.NAT.Mode
	if !selfManaged(mode) {
		r.na("network.nat.mode is %s: there is no self-managed NAT", mode)
		return nil
	}
	interfaces, err := l.networkInterfaces()
	if err != nil {
		return err
	}
	instances, err := l.vpcInstances()
	if err != nil {
		return err
	}
	rules, err := l.groupRules()
	if err != nil {
		return err
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	running, groups := 0, map[string]bool{}
	for _, e := range interfaces {
		if !isNAT(p, e) {
			continue
		}
		id := aws.ToString(e.NetworkInterfaceId)
		r.saw(!aws.ToBool(e.SourceDestCheck), id, "source and destination check is "+yesNo(aws.ToBool(e.SourceDestCheck)), "ec2:DescribeNetworkInterfaces", "off",
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
			r.saw(tokens == types.HttpTokensStateRequired && hops == 1 && state == types.InstanceStateNameRunning, aws.ToString(i.InstanceId),
				fmt.Sprintf("%s, tokens %s, hop limit %d", state, tokens, hops), "ec2:DescribeInstances", "running, tokens required, hop limit 1",
				"terminate the instance: its group makes another from the launch template")
		}
	}
	for _, rule := range rules {
		if !groups[aws.ToString(rule.GroupId)] || aws.ToBool(rule.IsEgress) {
			continue
		}
		peer := peerOf(rule)
		ok := slices.ContainsFunc(p.tier(architecture.Private), func(s placed) bool { return peer == s.CIDR.String() })
		r.saw(ok, aws.ToString(rule.SecurityGroupRuleId), fmt.Sprintf("lets in %s from %s", portsOf(rule), peer), "ec2:DescribeSecurityGroupRules", "the private subnets only",
			"aws ec2 revoke-security-group-ingress --group-id "+aws.ToString(rule.GroupId)+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
	}
	if want := natCount(l.arch); running < want {
		r.saw(false, "NAT instances of the VPC", fmt.Sprintf("%d running", running), "ec2:DescribeInstances", fmt.Sprintf("%d", want),
			"see the Auto Scaling groups' activities for why none is launched")
	}
	return nil
}

// isNAT tells whether an interface is what private subnets leave by.
func isNAT(p *places, e types.NetworkInterface) bool {
	for _, s := range p.tier(architecture.Private) {
		for _, route := range s.table.Routes {
			if kind, target := targetOf(route); kind == reach.ToInterface && target == aws.ToString(e.NetworkInterfaceId) {
				return true
			}
		}
	}
	return false
}

func defaultGroupEmpty(l *look, r *result) error {
	if l.given() {
		r.na(theirs, "its default security group may be in use by others")
		return nil
	}
	groups, err := l.securityGroups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if aws.ToString(g.GroupName) != "default" {
			continue
		}
		in, out := len(g.IpPermissions), len(g.IpPermissionsEgress)
		r.saw(in+out == 0, aws.ToString(g.GroupId), fmt.Sprintf("%d rules in, %d out", in, out), "ec2:DescribeSecurityGroups", "no rules", "run poolhouse update, which empties it")
	}
	return nil
}

// ourGroups are the deployment's security groups by the last part of their
// names: "nodes-core".
func (l *look) ourGroups() (map[string]types.SecurityGroup, error) {
	groups, err := l.securityGroups()
	if err != nil {
		return nil, err
	}
	out := map[string]types.SecurityGroup{}
	for _, g := range groups {
		if tag(g.Tags, architecture.DeploymentTag) == l.arch.Name() {
			if name, ok := strings.CutPrefix(tag(g.Tags, "Name"), l.arch.ResourceName("")); ok {
				out[name] = g
			}
		}
	}
	return out, nil
}

// Groups that face addresses: those of load balancers, which clients reach, and of
// self-managed NAT, which private subnets do.
var facing = []string{"alb-web", "alb-admin", "nat"}

// closed are groups that open no connections.
var closed = []string{"database", "endpoints", "nodes-gpu"}

func groupsNameGroups(l *look, r *result) error {
	ours, err := l.ourGroups()
	if err != nil {
		return err
	}
	rules, err := l.groupRules()
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(ours) {
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
			operators := name == "control-plane" && slices.Contains(l.arch.Config.Cluster.API.AllowCIDRs, peerOf(rule)) && portsOf(rule) == "tcp 443"
			if rule.ReferencedGroupInfo == nil && !operators {
				r.saw(false, id, fmt.Sprintf("%s: %s lets in %s from %s", name, aws.ToString(rule.SecurityGroupRuleId), portsOf(rule), peerOf(rule)), "ec2:DescribeSecurityGroupRules",
					"groups only", "aws ec2 revoke-security-group-ingress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
			}
		}
		r.saw(true, id, fmt.Sprintf("%s has %d rules in", name, n), "ec2:DescribeSecurityGroupRules", "", "")
	}
	return nil
}

func groupsClosed(l *look, r *result) error {
	ours, err := l.ourGroups()
	if err != nil {
		return err
	}
	rules, err := l.groupRules()
	if err != nil {
		return err
	}
	for _, name := range closed {
		g, ok := ours[name]
		id := aws.ToString(g.GroupId)
		if !ok {
			r.missing("security group "+l.arch.ResourceName(name), "ec2:DescribeSecurityGroups", fixUpdate)
			continue
		}
		open := false
		for _, rule := range rules {
			// A rule for loopback, where no packet leaves the host, keeps EC2 from
			// adding one for everything.
			if aws.ToString(rule.GroupId) != id || !aws.ToBool(rule.IsEgress) || peerOf(rule) == "127.0.0.1/32" {
				continue
			}
			open = true
			r.saw(false, id, fmt.Sprintf("%s: %s lets out %s to %s", name, aws.ToString(rule.SecurityGroupRuleId), portsOf(rule), peerOf(rule)), "ec2:DescribeSecurityGroupRules",
				"no way out", "aws ec2 revoke-security-group-egress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
		}
		if !open {
			r.saw(true, id, name+" has no way out", "ec2:DescribeSecurityGroupRules", "", "")
		}
	}
	return nil
}

func noOpenSSH(l *look, r *result) error {
	groups, err := l.securityGroups()
	if err != nil {
		return err
	}
	rules, err := l.groupRules()
	if err != nil {
		return err
	}
	if l.given() {
		groups = slices.DeleteFunc(slices.Clone(groups), func(g types.SecurityGroup) bool {
			return tag(g.Tags, architecture.DeploymentTag) != l.arch.Name() && tag(g.Tags, "aws:eks:cluster-name") != l.arch.ClusterName()
		})
	}
	for _, g := range groups {
		id := aws.ToString(g.GroupId)
		ok := true
		for _, rule := range rules {
			if aws.ToString(rule.GroupId) != id || aws.ToBool(rule.IsEgress) || !fromAnywhere(rule) {
				continue
			}
			t := trafficOf(rule)
			for _, port := range []int{22, 3389} {
				if t.Protocol != -1 && (t.Protocol != 6 || t.From != -1 && (port < t.From || t.To < port)) {
					continue
				}
				ok = false
				r.saw(false, aws.ToString(rule.SecurityGroupRuleId), fmt.Sprintf("%s lets in %s from %s, with it port %d", id, portsOf(rule), peerOf(rule), port), "ec2:DescribeSecurityGroupRules",
					"neither 22 nor 3389 from anywhere", "aws ec2 revoke-security-group-ingress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
			}
		}
		if ok {
			r.saw(true, id, "neither 22 nor 3389 from anywhere", "ec2:DescribeSecurityGroupRules", "", "")
		}
	}
	return nil
}

// fromAnywhere tells whether a rule names every address.
func fromAnywhere(rule types.SecurityGroupRule) bool {
	return aws.ToString(rule.CidrIpv4) == "0.0.0.0/0" || aws.ToString(rule.CidrIpv6) == "::/0"
}

func (l *look) serviceName(service string) string {
	return "com.amazonaws." + l.arch.Config.Region + "." + service
}

func endpointS3(l *look, r *result) error {
	endpoints, err := l.vpcEndpoints()
	if err != nil {
		return err
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	var gateway types.VpcEndpoint
	for _, e := range endpoints {
		if e.VpcEndpointType == types.VpcEndpointTypeGateway && aws.ToString(e.ServiceName) == l.serviceName("s3") {
			gateway = e
		}
	}
	if l.given() {
		return l.givenS3(r, p, gateway)
	}
	if gateway.VpcEndpointId == nil {
		r.missing("gateway endpoint of S3", "ec2:DescribeVpcEndpoints", fixUpdate)
		return nil
	}
	id := *gateway.VpcEndpointId
	for _, s := range p.tier(architecture.Private) {
		table := aws.ToString(s.table.RouteTableId)
		ok := strings.EqualFold(string(gateway.State), string(types.StateAvailable)) && slices.Contains(gateway.RouteTableIds, table)
		saw := fmt.Sprintf("%s, in %s", strings.ToLower(string(gateway.State)), table)
		if !slices.Contains(gateway.RouteTableIds, table) {
			saw = fmt.Sprintf("%s, not in %s", strings.ToLower(string(gateway.State)), table)
		}
		r.saw(ok, id+" for "+s.id, saw, "ec2:DescribeVpcEndpoints", "available, in the subnet's route table", fixUpdate)
	}
	return nil
}

// givenS3 takes the endpoint of a given network, or its way out.
func (l *look) givenS3(r *result, p *places, gateway types.VpcEndpoint) error {
	for _, s := range p.tier(architecture.Private) {
		if strings.EqualFold(string(gateway.State), string(types.StateAvailable)) && slices.Contains(gateway.RouteTableIds, aws.ToString(s.table.RouteTableId)) {
			r.saw(true, *gateway.VpcEndpointId+" for "+s.id, "available, in "+aws.ToString(s.table.RouteTableId), "ec2:DescribeVpcEndpoints", "", "")
			continue
		}
		by, err := leaves(l, s.id)
		if err != nil {
			return err
		}
		r.saw(by != "", s.id, "no gateway endpoint of S3; the way out is "+cmp.Or(by, "not there"), "ec2:DescribeVpcEndpoints, "+reachAPI, "S3's gateway endpoint, or a way out", l.fixNetwork())
	}
	return nil
}

func endpointsPresent(l *look, r *result) error {
	if len(l.arch.Endpoints) == 0 {
		r.na("network.endpoints lists none, and with NAT none is required")
		return nil
	}
	endpoints, err := l.vpcEndpoints()
	if err != nil {
		return err
	}
	p, err := l.places()
	if err != nil {
		return err
	}
	ours, err := l.ourGroups()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeVpcEndpoints"
	for _, service := range l.arch.Endpoints {
		i := slices.IndexFunc(endpoints, func(e types.VpcEndpoint) bool {
			return e.VpcEndpointType == types.VpcEndpointTypeInterface && aws.ToString(e.ServiceName) == l.serviceName(service)
		})
		if i < 0 {
			r.missing("interface endpoint of "+service, api, fixUpdate)
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
		for _, s := range p.tier(architecture.Private) {
			if !slices.Contains(e.SubnetIds, s.id) {
				faults = append(faults, "not in "+s.id)
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
		r.saw(len(faults) == 0, aws.ToString(e.VpcEndpointId), saw, api, "available, private DNS on, in every private subnet, with the endpoints' group", fixUpdate)
	}
	return nil
}

func endpointPolicies(l *look, r *result) error {
	endpoints, err := l.vpcEndpoints()
	if err != nil {
		return err
	}
	takes, err := l.policyServices()
	if err != nil {
		return err
	}
	if l.given() {
		endpoints = slices.DeleteFunc(slices.Clone(endpoints), func(e types.VpcEndpoint) bool {
			return tag(e.Tags, architecture.DeploymentTag) != l.arch.Name()
		})
		if len(endpoints) == 0 {
			r.na(theirs, "no endpoint in it is the deployment's")
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
		r.saw(!open, aws.ToString(e.VpcEndpointId), saw, "ec2:DescribeVpcEndpoints", "a policy that names the account", fixUpdate)
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

func flowLogsOn(l *look, r *result) error {
	if !l.arch.Config.Network.FlowLogs.Enabled {
		r.na("network.flowLogs.enabled is false")
		return nil
	}
	logs, err := l.flowLogs()
	if err != nil {
		return err
	}
	if l.given() { // others may log it too
		logs = slices.DeleteFunc(slices.Clone(logs), func(f types.FlowLog) bool { return tag(f.Tags, architecture.DeploymentTag) != l.arch.Name() })
	}
	if len(logs) == 0 {
		r.missing("flow log of the VPC", "ec2:DescribeFlowLogs", fixUpdate)
	}
	for _, f := range logs {
		id := aws.ToString(f.FlowLogId)
		ok := aws.ToString(f.FlowLogStatus) == "ACTIVE" && f.TrafficType == types.TrafficTypeAll
		r.saw(ok, id, fmt.Sprintf("%s, %s traffic", aws.ToString(f.FlowLogStatus), f.TrafficType), "ec2:DescribeFlowLogs", "ACTIVE, ALL traffic", fixUpdate)
		group := aws.ToString(f.LogGroupName)
		if group == "" {
			continue // to S3, whose encryption the buckets' checks look at
		}
		out, err := l.aws.Logs.DescribeLogGroups(l.ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &group})
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
		r.saw(encrypted, group, saw, "logs:DescribeLogGroups", "encrypted with the logs key", fixUpdate)
	}
	return nil
}
