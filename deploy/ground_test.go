package deploy_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// foreign describes a network that somebody else made.
type foreign struct {
	CIDR         string
	Zones        int // with private subnets
	ControlPlane int // zones with control-plane subnets
	Public       bool
	Extra        int // subnets that the deployment doesn't use
	// Secondary puts the private subnets into a secondary range.
	Secondary bool
	// Shared is one route table for all private subnets, or one for each; Main
	// leaves the control plane to the VPC's main table.
	Shared, Main bool
	// Way out of the private subnets: transit, nat, firewall, appliance or none.
	Way string
	// Present are the services of interface endpoints that are there, and
	// Listed of those that the deployment makes.
	Present, Listed []string
	S3              bool
	// What other people have there.
	Groups            int
	ACL, FlowLog      bool
	Peering, VPN      bool
	Tagged            bool
	OwnFlowLogs, Busy bool
}

// foreigns generates them.
func foreigns() *rapid.Generator[foreign] {
	return rapid.Custom(func(t *rapid.T) foreign {
		yes := func(what string) bool { return rapid.Bool().Draw(t, what) }
		f := foreign{
			CIDR:  rapid.SampledFrom([]string{"10.40.0.0/16", "10.41.0.0/18", "172.18.0.0/19", "192.168.64.0/20"}).Draw(t, "cidr"),
			Zones: rapid.IntRange(2, 3).Draw(t, "zones"), Extra: rapid.IntRange(1, 5).Draw(t, "extra"),
			Public: yes("public"), Secondary: yes("secondary"), Shared: yes("shared"), Main: yes("main"),
			Way:    rapid.SampledFrom([]string{"transit", "nat", "firewall", "appliance", "none"}).Draw(t, "way"),
			Groups: rapid.IntRange(0, 3).Draw(t, "groups"), ACL: yes("acl"), FlowLog: yes("flow log"),
			Peering: yes("peering"), VPN: yes("vpn"), Tagged: yes("tagged"), OwnFlowLogs: yes("own flow logs"), Busy: yes("busy"),
		}
		f.ControlPlane = rapid.IntRange(f.Zones, 3).Draw(t, "control plane")
		f.S3 = yes("s3") || f.Way == "none"
		for _, s := range architecture.RequiredServices() {
			switch rapid.IntRange(0, 3).Draw(t, s) {
			case 0:
				f.Listed = append(f.Listed, s)
			case 1:
				f.Present = append(f.Present, s)
			default:
				if f.Way == "none" {
					f.Present = append(f.Present, s)
				}
			}
		}
		return f
	})
}

// ground is a foreign network as it stands in an account.
type ground struct {
	vpc                      string
	public, control, private []string
}

// builder puts a foreign network into an account.
type builder struct {
	tx   *account.Tx
	err  error
	next netip.Addr
}

func (b *builder) put(typ string, p map[string]any) *account.Resource {
	if b.err != nil {
		return &account.Resource{Attrs: map[string]any{}}
	}
	r, _, err := b.tx.Create(typ, p, "somebody else", false)
	if err == nil {
		err = b.tx.Settle(r, "create")
	}
	if err != nil {
		b.err = fmt.Errorf("make %s %v: %w", typ, p, err)
		return &account.Resource{Attrs: map[string]any{}}
	}
	return r
}

// build makes the network.
func (b *builder) build(f foreign) ground {
	tags := func(name string, more ...string) []any {
		out := []any{map[string]any{"Key": "Name", "Value": name}}
		for _, key := range more {
			out = append(out, map[string]any{"Key": key, "Value": "1"})
		}
		return out
	}
	vpc := b.put(ec2.TypeVPC, map[string]any{"CidrBlock": f.CIDR, "EnableDnsSupport": true, "EnableDnsHostnames": true, "Tags": tags("theirs")}).ID
	g := ground{vpc: vpc}
	primary := netip.MustParsePrefix(f.CIDR)
	b.next = primary.Addr()
	block := func(bits int) string {
		p := netip.PrefixFrom(b.next, bits).Masked()
		if p.Addr() != b.next { // on to the next boundary
			p = after(p)
		}
		b.next = after(p).Addr()
		return p.String()
	}
	var zones []string
	for _, z := range b.tx.Zones() {
		if architecture.ControlPlaneZone(z.ID) {
			zones = append(zones, z.ID)
		}
	}
	subnet := func(name, zone string, bits int, more ...string) string {
		return b.put(ec2.TypeSubnet, map[string]any{"VpcId": vpc, "CidrBlock": block(bits), "AvailabilityZoneId": zone, "Tags": tags(name, more...)}).ID
	}
	role := func(key string) []string {
		if f.Tagged {
			return []string{key}
		}
		return nil
	}
	for i := range f.ControlPlane {
		g.control = append(g.control, subnet("control", zones[i], 27))
	}
	for i := range f.Zones {
		g.public = append(g.public, subnet("public", zones[i], 27, role("kubernetes.io/role/elb")...))
	}
	var extra []string
	for i := range f.Extra {
		extra = append(extra, subnet("extra", zones[i%len(zones)], 28))
	}
	if f.Secondary {
		b.put(ec2.TypeVPCCidrBlock, map[string]any{"VpcId": vpc, "CidrBlock": "100.64.0.0/16"})
		b.next = netip.MustParseAddr("100.64.0.0")
	}
	for i := range f.Zones {
		g.private = append(g.private, subnet("private", zones[i], 22, role("kubernetes.io/role/internal-elb")...))
	}
	b.routes(f, &g, extra)
	b.others(f, &g, extra)
	return g
}

func after(p netip.Prefix) netip.Prefix {
	a := p.Addr().As4()
	n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	n += 1 << (32 - p.Bits())
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), p.Bits())
}

// appliance is an instance of theirs that forwards, by its interface.
func (b *builder) appliance(g *ground) string {
	group := b.put(ec2.TypeSecurityGroup, map[string]any{
		"GroupDescription": "theirs", "VpcId": g.vpc,
		"SecurityGroupIngress": []any{map[string]any{"IpProtocol": "-1", "CidrIp": "10.0.0.0/8"}, map[string]any{"IpProtocol": "-1", "CidrIp": "100.64.0.0/10"}},
	})
	eni := b.put(ec2.TypeNetworkInterface, map[string]any{"SubnetId": g.public[0], "SourceDestCheck": false, "GroupSet": []any{group.Attrs["GroupId"]}})
	eip := b.put(ec2.TypeEIP, map[string]any{"Domain": "vpc"})
	b.put(ec2.TypeEIPAssociation, map[string]any{"AllocationId": eip.Attrs["AllocationId"], "NetworkInterfaceId": eni.ID})
	if b.err == nil {
		_, b.err = instance.Run(b.tx, instance.Launch{
			Data: map[string]any{"NetworkInterfaces": []any{map[string]any{"DeviceIndex": 0, "NetworkInterfaceId": eni.ID}}},
			Type: "t4g.small", Image: "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
		})
	}
	return eni.ID
}

// routes makes gateways, route tables and routes.
func (b *builder) routes(f foreign, g *ground, extra []string) {
	table := func(subnets ...string) string {
		id := b.put(ec2.TypeRouteTable, map[string]any{"VpcId": g.vpc}).ID
		for _, s := range subnets {
			b.put(ec2.TypeSubnetRouteTableAssociation, map[string]any{"RouteTableId": id, "SubnetId": s})
		}
		return id
	}
	gateway := b.put(ec2.TypeInternetGateway, map[string]any{}).ID
	b.put(ec2.TypeVPCGatewayAttachment, map[string]any{"VpcId": g.vpc, "InternetGatewayId": gateway})
	b.put(ec2.TypeRoute, map[string]any{"RouteTableId": table(g.public...), "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway})
	if !f.Main {
		table(g.control...)
	}
	tables := []string{}
	if f.Shared {
		tables = append(tables, table(g.private...))
	} else {
		for _, s := range g.private {
			tables = append(tables, table(s))
		}
	}
	key, id := "", ""
	switch f.Way {
	case "transit":
		hub := b.put(ec2.TypeTransitGateway, map[string]any{"OwnerId": b.tx.AccountID()}).ID
		b.put(ec2.TypeTransitGatewayAttachment, map[string]any{"TransitGatewayId": hub, "VpcId": g.vpc, "SubnetIds": props.List(g.private)})
		key, id = "TransitGatewayId", hub
	case "nat":
		eip := b.put(ec2.TypeEIP, map[string]any{"Domain": "vpc"})
		key, id = "NatGatewayId", b.put(ec2.TypeNatGateway, map[string]any{"SubnetId": g.public[0], "AllocationId": eip.Attrs["AllocationId"]}).ID
	case "firewall":
		if b.err == nil {
			r, err := endpoint.Firewall(b.tx, extra[0])
			if b.err = err; err == nil {
				key, id = "VpcEndpointId", r.ID
			}
		}
	case "appliance":
		key, id = "NetworkInterfaceId", b.appliance(g)
	}
	if id != "" {
		for _, t := range tables {
			b.put(ec2.TypeRoute, map[string]any{"RouteTableId": t, "DestinationCidrBlock": "0.0.0.0/0", key: id})
		}
	}
	if f.Peering {
		pcx := b.put(ec2.TypeVPCPeeringConnection, map[string]any{"VpcId": g.vpc, "PeerVpcId": "vpc-0fedcba9876543210"}).ID
		b.put(ec2.TypeRoute, map[string]any{"RouteTableId": tables[0], "DestinationCidrBlock": "10.99.0.0/16", "VpcPeeringConnectionId": pcx})
	}
	if f.VPN {
		vgw := b.put(ec2.TypeVPNGateway, map[string]any{}).ID
		b.put(ec2.TypeVPCGatewayAttachment, map[string]any{"VpcId": g.vpc, "VpnGatewayId": vgw})
		b.put(ec2.TypeRoute, map[string]any{"RouteTableId": tables[0], "DestinationCidrBlock": "10.98.0.0/16", "GatewayId": vgw})
	}
	if f.S3 {
		b.put(ec2.TypeVPCEndpoint, map[string]any{"VpcId": g.vpc, "ServiceName": "com.amazonaws.us-east-1.s3", "VpcEndpointType": "Gateway", "RouteTableIds": props.List(tables)})
	}
}

// others makes what other people have in the network.
func (b *builder) others(f foreign, g *ground, extra []string) {
	var groups []string
	for i := range f.Groups + 1 {
		id := b.put(ec2.TypeSecurityGroup, map[string]any{
			"VpcId": g.vpc, "GroupName": fmt.Sprintf("theirs-%d", i), "GroupDescription": "theirs",
			"SecurityGroupIngress": []any{map[string]any{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}},
		}).ID
		if i > 0 {
			b.put(ec2.TypeSecurityGroupIngress, map[string]any{"GroupId": id, "IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "SourceSecurityGroupId": groups[0]})
		}
		groups = append(groups, id)
	}
	for _, s := range f.Present {
		b.put(ec2.TypeVPCEndpoint, map[string]any{
			"VpcId": g.vpc, "ServiceName": "com.amazonaws.us-east-1." + s, "VpcEndpointType": "Interface", "PrivateDnsEnabled": true,
			"SubnetIds": props.List(g.private), "SecurityGroupIds": []any{groups[0]},
		})
	}
	if f.ACL {
		acl := b.put(ec2.TypeNetworkACL, map[string]any{"VpcId": g.vpc}).ID
		for _, egress := range []bool{false, true} {
			b.put(ec2.TypeNetworkACLEntry, map[string]any{"NetworkAclId": acl, "RuleNumber": 90, "Protocol": 6, "Egress": egress, "RuleAction": "deny", "CidrBlock": "198.51.100.0/24", "PortRange": map[string]any{"From": 0, "To": 65535}})
			b.put(ec2.TypeNetworkACLEntry, map[string]any{"NetworkAclId": acl, "RuleNumber": 100, "Protocol": -1, "Egress": egress, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0"})
		}
		b.put(ec2.TypeSubnetNetworkACLAssociation, map[string]any{"SubnetId": g.private[0], "NetworkAclId": acl})
	}
	if f.FlowLog {
		b.put("AWS::Logs::LogGroup", map[string]any{"LogGroupName": "theirs"})
		role := b.put("AWS::IAM::Role", map[string]any{"RoleName": "theirs", "AssumeRolePolicyDocument": map[string]any{
			"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Principal": map[string]any{"Service": "vpc-flow-logs.amazonaws.com"}, "Action": "sts:AssumeRole"}},
		}})
		b.put(ec2.TypeFlowLog, map[string]any{"ResourceType": "VPC", "ResourceId": g.vpc, "TrafficType": "REJECT", "LogGroupName": "theirs", "DeliverLogsPermissionArn": role.Attrs["Arn"]})
	}
	if f.Busy {
		for _, s := range slices.Concat(g.private, g.control, extra) {
			b.put(ec2.TypeNetworkInterface, map[string]any{"SubnetId": s, "GroupSet": []any{groups[len(groups)-1]}})
		}
	}
}

// file is a deployment.yaml for the network.
func (g ground) file(t testing.TB, f foreign) []byte {
	t.Helper()
	src, err := os.ReadFile("../examples/existing-network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(src), "network:\n")
	_, rest, _ = strings.Cut(rest, "cluster:")
	list := func(ids []string) string { return "[" + strings.Join(ids, ", ") + "]" }
	network := fmt.Sprintf("network:\n  cidr: %s\n  endpoints: %s\n  flowLogs: {enabled: %v}\n  existing:\n    vpcId: %s\n    controlPlaneSubnetIds: %s\n    privateSubnetIds: %s\n",
		f.CIDR, list(f.Listed), f.OwnFlowLogs, g.vpc, list(g.control), list(g.private))
	access := "cluster:" + rest
	if f.Public {
		network += "    publicSubnetIds: " + list(g.public) + "\n"
		access = strings.Replace(access, "scheme: internal, allowCidrs: [10.0.0.0/8]", "scheme: internet-facing, allowCidrs: [203.0.113.0/24]", 1)
	}
	if f.Way == "none" {
		access = strings.Replace(access, "  sso:\n", "  sso:\n    reachableInternally: true\n", 1)
	}
	return []byte(strings.Replace(before, "profile: production", "profile: evaluation", 1) + network + access)
}
