package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/cfn/logs"
)

const anywhere = "0.0.0.0/0"

// vpc is the stack network while it is built.
type vpc struct {
	a *architecture.Architecture
	t *cfn.Template

	id      cfn.Value[string]
	subnets map[architecture.Tier][]cfn.Handle // by zone
	// internet is complete once public subnets reach the internet.
	attachment, internet cfn.Handle
	// public is the public subnets' route table, private are those of the
	// private subnets, by zone.
	public  cfn.Handle
	private []cfn.Handle
	// addresses of NAT, by zone.
	addresses []cfn.Handle
}

// network is the VPC with its three tiers, the ways in and out of each, and
// what watches and filters them; or what the deployment adds to a network that
// is there: security groups, and flow logs if they are asked for.
//
// The default security group can't be emptied by CloudFormation; package deploy
// does it by API, in a VPC of the deployment's own.
func network(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Network)
	v := &vpc{a: a, t: t, subnets: map[architecture.Tier][]cfn.Handle{}}
	if a.Config.Network.Exists() {
		v.adopt()
	} else {
		v.make()
	}
	v.addSecurityGroups()
	if a.Config.Network.FlowLogs.Enabled {
		v.addFlowLogs()
	}
	return t
}

// make adds a network of the deployment's own.
func (v *vpc) make() {
	v.id = v.t.Add("Vpc", ec2.VPC{
		CidrBlock:          cfn.V(v.a.VPC().String()),
		EnableDnsHostnames: cfn.V(true),
		EnableDnsSupport:   cfn.V(true),
		Tags:               named(v.a, "vpc"),
	}).Ref()
	v.t.Output("VpcId", v.id)
	v.addSubnets()
	v.addRoutes()
	v.addNAT()
	v.addTransit()
	v.addACLs()
}

// adopt takes a network that is there: its ids come in as parameters and go
// out under the names that a network of our own has, so that other stacks can't
// tell. Nothing that is there is a resource of the stack.
func (v *vpc) adopt() {
	v.id = v.t.Parameter(VPCParameter, cfn.Parameter{
		Type: "AWS::EC2::VPC::Id", Default: cfn.V(v.a.Config.Network.Existing.VPCID),
		Description: "VPC that is there. It can't change.",
	}).Ref()
	v.t.Output("VpcId", v.id)
	subnets := map[architecture.Tier][]cfn.Value[string]{}
	for _, s := range v.a.Subnets {
		id := v.t.Parameter(SubnetParameter(s), cfn.Parameter{Type: "AWS::EC2::Subnet::Id", Default: cfn.V(s.ID)}).Ref()
		subnets[s.Tier] = append(subnets[s.Tier], id)
		switch n := number(s.Zone); s.Tier {
		case architecture.Private:
			v.t.Output("PrivateSubnet"+n+"Id", id)
		case architecture.ControlPlane:
			v.t.Output("Zone"+n+"Name", v.t.Parameter(ZoneNameParameter+n, cfn.Parameter{AllowedPattern: "^[a-z0-9-]+[a-z]$"}).Ref())
			v.t.Output("Zone"+n+"Id", v.zoneID(s.Zone))
		}
	}
	for tier, ids := range subnets {
		v.t.OutputList(camel(string(tier))+"SubnetIds", cfn.ListOf(ids...))
	}
}

// zoneID declares the parameter of a recorded zone.
func (v *vpc) zoneID(zone int) cfn.Value[string] {
	return v.t.Parameter(ZoneIDParameter+number(zone), cfn.Parameter{AllowedPattern: "^[a-z0-9]+-az[0-9]+$"}).Ref()
}

// addSubnets adds the subnets of all tiers, tagged for load balancers as EKS
// expects. None of them gives instances public addresses, which is the default.
// https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html
func (v *vpc) addSubnets() {
	var zones []cfn.Value[string]
	for zone := range v.a.Zones {
		zones = append(zones, v.zoneID(zone))
	}
	var opts []cfn.Option
	if pods, ok := v.a.PodRange(); ok {
		block := v.t.Add("PodCidrBlock", ec2.VPCCidrBlock{VpcId: v.id, CidrBlock: cfn.V(pods.String())})
		opts = append(opts, cfn.DependsOn(block))
		v.t.Output(PodRangeOutput, cfn.V(pods.String()))
	}
	for _, s := range v.a.Subnets {
		id := camel(string(s.Tier)) + "Subnet" + number(s.Zone)
		tags := named(v.a, string(s.Tier)+"-"+number(s.Zone))
		switch s.Tier {
		case architecture.Public:
			tags = append(tags, cfn.Tags("kubernetes.io/role/elb", "1")...)
		case architecture.Private:
			tags = append(tags, cfn.Tags("kubernetes.io/role/internal-elb", "1")...)
		}
		h := v.t.Add(cfn.LogicalID(id), ec2.Subnet{
			VpcId:              v.id,
			AvailabilityZoneId: zones[s.Zone],
			CidrBlock:          cfn.V(s.CIDR.String()),
			Tags:               tags,
		}, within(s, opts)...)
		v.subnets[s.Tier] = append(v.subnets[s.Tier], h)
		switch s.Tier {
		case architecture.Private, architecture.Pods:
			v.t.Output(id+"Id", h.Ref())
		case architecture.ControlPlane:
			v.t.Output("Zone"+number(s.Zone)+"Name", h.Att("AvailabilityZone"))
			v.t.Output("Zone"+number(s.Zone)+"Id", zones[s.Zone])
		}
	}
	for tier, subnets := range v.subnets {
		v.t.OutputList(camel(string(tier))+"SubnetIds", refs(subnets))
	}
}

// within are the options of a subnet of pods, whose range must be there first.
func within(s architecture.Subnet, opts []cfn.Option) []cfn.Option {
	if s.Tier == architecture.Pods {
		return opts
	}
	return nil
}

// refs are the Ref values of resources.
func refs(handles []cfn.Handle) cfn.List[string] {
	var out []cfn.Value[string]
	for _, h := range handles {
		out = append(out, h.Ref())
	}
	return cfn.ListOf(out...)
}

// addRoutes adds the route tables: one for the public subnets, with the
// internet gateway; one for the control plane, which reaches nothing outside
// the VPC; one for each private subnet, so that each can have a NAT of its own,
// which holds for the zone's pods too.
func (v *vpc) addRoutes() {
	gateway := v.t.Add("InternetGateway", ec2.InternetGateway{Tags: named(v.a, "internet")})
	v.attachment = v.t.Add("GatewayAttachment", ec2.VPCGatewayAttachment{VpcId: v.id, InternetGatewayId: gateway.Ref()})
	table := func(id, name string, subnets ...cfn.Handle) cfn.Handle {
		h := v.t.Add(cfn.LogicalID(id), ec2.RouteTable{VpcId: v.id, Tags: named(v.a, name)})
		for _, s := range subnets {
			v.t.Add(s.ID()+"RouteTable", ec2.SubnetRouteTableAssociation{SubnetId: s.Ref(), RouteTableId: h.Ref()})
		}
		return h
	}
	v.public = table("PublicRouteTable", "public", v.subnets[architecture.Public]...)
	v.internet = v.t.Add("PublicDefaultRoute", ec2.Route{
		RouteTableId:         v.public.Ref(),
		DestinationCidrBlock: cfn.V(anywhere),
		GatewayId:            gateway.Ref(),
	}, cfn.DependsOn(v.attachment))
	table("ControlPlaneRouteTable", "control-plane", v.subnets[architecture.ControlPlane]...)
	for zone, s := range v.subnets[architecture.Private] {
		served := []cfn.Handle{s}
		if pods := v.subnets[architecture.Pods]; zone < len(pods) {
			served = append(served, pods[zone])
		}
		v.private = append(v.private, table("PrivateRouteTable"+number(zone), "private-"+number(zone), served...))
	}
	v.t.OutputList("PrivateRouteTableIds", refs(v.private))
}

// addFlowLogs records all traffic of the VPC in a log group of its own.
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
func (v *vpc) addFlowLogs() {
	group := v.t.Add("FlowLogGroup", logs.LogGroup{
		LogGroupName:    cfn.V(v.a.LogGroup("flow-logs")),
		KmsKeyId:        keyARN(v.t, architecture.KeyLogs),
		RetentionInDays: cfn.V(v.a.Config.Network.FlowLogs.RetentionDays),
		Tags:            named(v.a, "flow-logs"),
	}, cfn.DeletionPolicy(cfn.Delete), cfn.UpdateReplacePolicy(cfn.Delete))
	conditions := sameAccount()
	conditions["ArnLike"] = map[string]any{"aws:SourceArn": arn("ec2", "vpc-flow-log/*")}
	writer := v.t.Add("FlowLogRole", role(v.a, "flow-logs", "Writes the flow logs of "+v.a.Name(),
		trust("vpc-flow-logs.amazonaws.com", conditions),
		policy("write-flow-logs", cfn.Statement{
			Action: cfn.L("logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"),
			// The ARN ends in ":*": the group and its streams.
			Resource: cfn.ListOf(group.Att("Arn")),
		})))
	v.t.Add("FlowLog", ec2.FlowLog{
		ResourceId:               v.id,
		ResourceType:             cfn.V("VPC"),
		TrafficType:              cfn.V("ALL"),
		LogDestinationType:       cfn.V("cloud-watch-logs"),
		LogGroupName:             group.Ref(),
		DeliverLogsPermissionArn: writer.Att("Arn"),
		MaxAggregationInterval:   cfn.V(60),
		Tags:                     named(v.a, "flow-logs"),
	})
}
