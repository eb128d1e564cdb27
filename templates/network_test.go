package templates

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func natMode(m config.NATMode) func(*config.Config) {
	return func(c *config.Config) {
		c.Network.NAT = config.NAT{Mode: m, InstanceType: "c7gn.medium"}
		c.Deviations = map[string]string{architecture.SingleNAT: "one is enough here", architecture.NoNAT: "nothing leaves"}
	}
}

func internalWeb(clients ...string) func(*config.Config) {
	return func(c *config.Config) {
		c.Access.Web.Scheme, c.Access.Web.AllowCIDRs = config.SchemeInternal, clients
		c.Deviations = map[string]string{architecture.InternalWeb: "users come over our own network"}
	}
}

func twoZones(c *config.Config) { c.Network.Zones = 2 }

func TestSubnets(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, twoZones), architecture.Network)
	got := map[string]string{}
	for _, id := range d.ofType("AWS::EC2::Subnet") {
		p := d.Resources[id].Properties
		if p["MapPublicIpOnLaunch"] == true {
			t.Errorf("%s gives public addresses", id)
		}
		var roles []string
		for i := range 3 {
			if key := text(at(p, "Tags", i, "Key")); strings.HasPrefix(key, "kubernetes.io/") {
				roles = append(roles, key)
			}
		}
		got[id] = text(p["AvailabilityZoneId"]) + " " + strings.Join(roles, " ")
	}
	const elb, internal = "kubernetes.io/role/elb", "kubernetes.io/role/internal-elb"
	want := map[string]string{
		"PublicSubnet1": "${ZoneId1} " + elb, "PublicSubnet2": "${ZoneId2} " + elb,
		"ControlPlaneSubnet1": "${ZoneId1} ", "ControlPlaneSubnet2": "${ZoneId2} ", "ControlPlaneSubnet3": "${ZoneId3} ",
		"PrivateSubnet1": "${ZoneId1} " + internal, "PrivateSubnet2": "${ZoneId2} " + internal,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subnets, -want +got:\n%s", diff)
	}
	for output, want := range map[string]string{
		"PublicSubnetIds":       "${PublicSubnet1},${PublicSubnet2}",
		"ControlPlaneSubnetIds": "${ControlPlaneSubnet1},${ControlPlaneSubnet2},${ControlPlaneSubnet3}",
		"PrivateSubnetIds":      "${PrivateSubnet1},${PrivateSubnet2}",
		"PrivateSubnet2Id":      "${PrivateSubnet2}",
		"Zone3Name":             "${ControlPlaneSubnet3.AvailabilityZone}",
		"Zone3Id":               "${ZoneId3}",
	} {
		if got := text(d.Outputs[output]["Value"]); got != want {
			t.Errorf("output %s is %s, want %s", output, got, want)
		}
	}
}

// TestDefaultRoutes holds that a change of NAT mode updates routes in place:
// they have the same logical ids and destination in every mode.
func TestDefaultRoutes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mode    config.NATMode
		targets []string
		address string
	}{
		{config.NATGatewayPerZone, []string{"${NatGateway1}", "${NatGateway2}", "${NatGateway3}"}, "${NatGatewayAddress1.PublicIp},${NatGatewayAddress2.PublicIp},${NatGatewayAddress3.PublicIp}"},
		{config.NATSingleGateway, []string{"${NatGateway1}", "${NatGateway1}", "${NatGateway1}"}, "${NatGatewayAddress1.PublicIp}"},
		{config.NATInstancePerZone, []string{"${NatInterface1}", "${NatInterface2}", "${NatInterface3}"}, "${NatInstanceAddress1.PublicIp},${NatInstanceAddress2.PublicIp},${NatInstanceAddress3.PublicIp}"},
		{config.NATSingleInstance, []string{"${NatInterface1}", "${NatInterface1}", "${NatInterface1}"}, "${NatInstanceAddress1.PublicIp}"},
		{config.NATNone, nil, ""},
	} {
		t.Run(string(tc.mode), func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, natMode(tc.mode)), architecture.Network)
			got := map[string]string{}
			for _, id := range d.ofType("AWS::EC2::Route") {
				p := d.Resources[id].Properties
				if p["DestinationCidrBlock"] != "0.0.0.0/0" {
					t.Errorf("%s goes to %v", id, p["DestinationCidrBlock"])
				}
				got[id] = text(p["RouteTableId"]) + " " + text(p["GatewayId"]) + text(p["NatGatewayId"]) + text(p["NetworkInterfaceId"])
			}
			want := map[string]string{"PublicDefaultRoute": "${PublicRouteTable} ${InternetGateway}"}
			for i, target := range tc.targets {
				n := number(i)
				want["PrivateDefaultRoute"+n] = "${PrivateRouteTable" + n + "} " + target
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("default routes, -want +got:\n%s", diff)
			}
			if got := text(d.Outputs["NatAddresses"]["Value"]); got != tc.address {
				t.Errorf("addresses are %s, want %s", got, tc.address)
			}
		})
	}
}

func TestRouteTablesOfSubnets(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Network)
	got := map[string]string{}
	for _, id := range d.ofType("AWS::EC2::SubnetRouteTableAssociation") {
		p := d.Resources[id].Properties
		got[text(p["SubnetId"])] = text(p["RouteTableId"])
	}
	want := map[string]string{}
	for i := range 3 {
		n := number(i)
		want["${PublicSubnet"+n+"}"] = "${PublicRouteTable}"
		want["${ControlPlaneSubnet"+n+"}"] = "${ControlPlaneRouteTable}"
		want["${PrivateSubnet"+n+"}"] = "${PrivateRouteTable" + n + "}"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("route tables, -want +got:\n%s", diff)
	}
}

// TestL28SelfManagedNAT holds its final shape: a group of exactly one per zone,
// with a fixed interface and address.
func TestL28SelfManagedNAT(t *testing.T) {
	t.Parallel()
	a := planned(t, natMode(config.NATInstancePerZone), func(c *config.Config) { c.Tags = map[string]string{"owner": "platform"} })
	d := built(t, a, architecture.Network)
	if got := d.ofType("AWS::AutoScaling::AutoScalingGroup"); len(got) != 3 {
		t.Fatalf("groups are %v, want one a zone", got)
	}
	group := d.properties(t, "NatGroup2", "AWS::AutoScaling::AutoScalingGroup")
	template := d.properties(t, "NatLaunchTemplate2", "AWS::EC2::LaunchTemplate")
	device := d.properties(t, "NatInterface2", "AWS::EC2::NetworkInterface")
	association := d.properties(t, "NatAddressAssociation2", "AWS::EC2::EIPAssociation")
	data := at(template, "LaunchTemplateData")
	for _, tc := range []struct {
		what string
		got  any
		want string
	}{
		{"smallest size", group["MinSize"], "1"},
		{"largest size", group["MaxSize"], "1"},
		{"zone", at(group, "AvailabilityZones"), "${PublicSubnet2.AvailabilityZone}"},
		{"subnet, which the interface decides", group["VPCZoneIdentifier"], ""},
		{"template", at(group, "LaunchTemplate", "LaunchTemplateId"), "${NatLaunchTemplate2}"},
		{"healthy at replacement", at(group, "InstanceMaintenancePolicy", "MinHealthyPercentage"), "0"},
		{"running at replacement", at(group, "InstanceMaintenancePolicy", "MaxHealthyPercentage"), "100"},
		{"source/destination check", device["SourceDestCheck"], "false"},
		{"interface's subnet", device["SubnetId"], "${PublicSubnet2}"},
		{"interface's group", device["GroupSet"], "${NatSecurityGroup}"},
		{"address", association["AllocationId"], "${NatInstanceAddress2.AllocationId}"},
		{"address's interface", association["NetworkInterfaceId"], "${NatInterface2}"},
		{"device", at(data, "NetworkInterfaces", 0, "DeviceIndex"), "0"},
		{"device's interface", at(data, "NetworkInterfaces", 0, "NetworkInterfaceId"), "${NatInterface2.Id}"},
		{"image", at(data, "ImageId"), "${NatImage}"},
		{"image's parameter", d.Parameters["NatImage"]["Default"], "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"},
		{"type", at(data, "InstanceType"), "c7gn.medium"},
		{"tokens", at(data, "MetadataOptions", "HttpTokens"), "required"},
		{"hops", at(data, "MetadataOptions", "HttpPutResponseHopLimit"), "1"},
		{"encryption", at(data, "BlockDeviceMappings", 0, "Ebs", "Encrypted"), "true"},
		{"key", at(data, "BlockDeviceMappings", 0, "Ebs", "KmsKeyId"), "${KeysVolumesKeyArn}"},
		{"key pair", at(data, "KeyName"), ""},
		{"role's policies", at(d.properties(t, "NatRole", "AWS::IAM::Role"), "ManagedPolicyArns"), "arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"},
	} {
		if got := text(tc.got); got != tc.want {
			t.Errorf("%s is %s, want %s", tc.what, got, tc.want)
		}
	}
	waits := slices.Concat(d.Resources["NatGroup2"].DependsOn, d.Resources["NatGroup1"].DependsOn)
	for _, want := range []string{"NatAddressAssociation2", "PublicDefaultRoute", "NatGroup1"} {
		if !slices.Contains(waits, want) {
			t.Errorf("the group does not wait for %s, without which instances reach nothing or two zones are cut off at a time", want)
		}
	}
	if got := d.Resources["PrivateDefaultRoute2"].DependsOn; !slices.Equal(got, []string{"NatGroup2"}) {
		t.Errorf("the route turns to the interface after %v, want after the group", got)
	}
	tags := func(v any) string {
		var out []string
		list, _ := v.([]any)
		for _, tag := range list {
			out = append(out, text(at(tag, "Key"))+"="+text(at(tag, "Value")))
		}
		return strings.Join(out, " ")
	}
	want := "Name=poolside-nat-2 owner=platform poolhouse:deployment=poolside"
	for what, v := range map[string]any{
		"group":           group["Tags"],
		"launch template": at(template, "TagSpecifications", 0, "Tags"),
		"volume":          at(data, "TagSpecifications", 0, "Tags"),
	} {
		if got := tags(v); got != want {
			t.Errorf("%s has the tags %s, want %s", what, got, want)
		}
	}
	if at(group, "Tags", 0, "PropagateAtLaunch") != true {
		t.Error("instances do not get the group's tags")
	}
	// Ready is when the instance says so, at creation and at each replacement.
	if got, want := text(at(at(data, "UserData"), "Fn::Base64")), "${NatScript}NatGroup2 --stack ${AWS::StackName}"; got != want {
		t.Errorf("the user data is %s, want %s", got, want)
	}
	policies := d.Resources["NatGroup2"]
	for what, got := range map[string]any{
		"signals at creation":    at(policies.CreationPolicy, "ResourceSignal", "Count"),
		"signals at replacement": at(policies.UpdatePolicy, "AutoScalingRollingUpdate", "WaitOnResourceSignals"),
	} {
		if s := text(got); s != "1" && s != "true" {
			t.Errorf("%s: %v", what, got)
		}
	}
	script := text(d.Parameters["NatScript"]["Default"])
	for _, want := range []string{"cfn-signal -e $? --region eu-central-1 --resource ", "#!/bin/bash\n(set -e\n", "net.ipv4.ip_forward=1", "ip saddr 10.80.0.0/16 ip daddr != 10.80.0.0/16 masquerade", "policy drop"} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %q:\n%s", want, script)
		}
	}
	if strings.Contains(script, "VPC") {
		t.Errorf("the script has a placeholder:\n%s", script)
	}
}

// packet is one way of a connection through the ACL of a tier.
type packet struct {
	tier     architecture.Tier
	egress   bool
	protocol int
	port     int // destination
	peer     string
}

func (p packet) String() string {
	direction := "from"
	if p.egress {
		direction = "to"
	}
	return fmt.Sprintf("%s: protocol %d %s %s, port %d", p.tier, p.protocol, direction, p.peer, p.port)
}

// passes evaluates a tier's ACL as EC2 does: the first entry that fits decides,
// and nothing fits is no.
func passes(t *testing.T, d document, p packet) bool {
	t.Helper()
	type entry struct {
		number float64
		allow  bool
	}
	var fits []entry
	for _, id := range d.ofType("AWS::EC2::NetworkAclEntry") {
		e := d.Resources[id].Properties
		if text(e["NetworkAclId"]) != "${"+camel(string(p.tier))+"Acl}" || (e["Egress"] == true) != p.egress {
			continue
		}
		protocol := int(e["Protocol"].(float64))
		cidr := netip.MustParsePrefix(e["CidrBlock"].(string))
		if protocol != allProtocols && protocol != p.protocol || !cidr.Contains(netip.MustParseAddr(p.peer)) {
			continue
		}
		if protocol == tcp {
			if port := float64(p.port); port < at(e, "PortRange", "From").(float64) || port > at(e, "PortRange", "To").(float64) {
				continue
			}
		}
		fits = append(fits, entry{e["RuleNumber"].(float64), e["RuleAction"] == "allow"})
	}
	if len(fits) == 0 {
		return false
	}
	return slices.MinFunc(fits, func(x, y entry) int { return int(x.number - y.number) }).allow
}

func TestACLs(t *testing.T) {
	t.Parallel()
	const (
		node, other, balancer, apiServer = "10.80.1.10", "10.80.64.10", "10.80.192.10", "10.80.255.70"
		outside                          = "198.51.100.9"
		udp                              = 17
	)
	public, control, private := architecture.Public, architecture.ControlPlane, architecture.Private
	// hop is a packet that leaves one tier and enters another.
	hop := func(from architecture.Tier, source string, to architecture.Tier, destination string, protocol, port int) []packet {
		return []packet{{from, true, protocol, port, destination}, {to, false, protocol, port, source}}
	}
	production := built(t, planned(t), architecture.Network)
	enterprise := built(t, planned(t, internalWeb("10.0.0.0/8")), architecture.Network)
	inside := built(t, planned(t, internalWeb("10.80.0.0/16")), architecture.Network)
	for _, tc := range []struct {
		name    string
		in      document
		packets []packet
	}{
		{"node to S3 by the gateway endpoint", production, []packet{{private, true, tcp, 443, outside}, {private, false, tcp, 40000, outside}}},
		{"node to the internet by NAT", production, slices.Concat(
			[]packet{{private, true, tcp, 443, outside}, {public, false, tcp, 443, node}, {public, true, tcp, 443, outside}},
			[]packet{{public, false, tcp, 1024, outside}, {public, true, tcp, 40000, node}, {private, false, tcp, 40000, outside}})},
		{"web user to load balancer", production, []packet{{public, false, tcp, 443, outside}, {public, true, tcp, 50000, outside}, {public, false, tcp, 80, outside}}},
		{"load balancer to pod", production, append(hop(public, balancer, private, node, tcp, 8443), hop(private, node, public, balancer, tcp, 1024)...)},
		{"node to node in another zone", production, append(hop(private, node, private, other, tcp, 22), hop(private, other, private, node, udp, 53)...)},
		{"kubelet for the control plane", production, append(hop(control, apiServer, private, node, tcp, 10250), hop(private, node, control, apiServer, tcp, 33000)...)},
		{"Kubernetes API for nodes", production, append(hop(private, node, control, apiServer, tcp, 443), hop(control, apiServer, private, node, tcp, 33000)...)},
		{"too large for the path", production, []packet{{public, false, icmp, 0, outside}, {private, false, icmp, 0, outside}}},
		{"company user to internal load balancer", enterprise, []packet{{private, false, tcp, 443, "10.7.8.9"}, {private, false, tcp, 80, "10.7.8.9"}, {private, true, tcp, 50000, "10.7.8.9"}}},
		{"internal load balancer from the VPC", inside, []packet{{private, false, tcp, 80, balancer}, {private, false, tcp, 443, balancer}}},
	} {
		for _, p := range tc.packets {
			if !passes(t, tc.in, p) {
				t.Errorf("%s is stopped at %v", tc.name, p)
			}
		}
	}
	for _, tc := range []struct {
		name string
		in   document
		p    packet
	}{
		{"internet to node", production, packet{private, false, tcp, 443, outside}},
		{"internet to node by SSH", production, packet{private, false, tcp, 22, outside}},
		{"internet to public subnet by SSH", production, packet{public, false, tcp, 22, outside}},
		{"internet to public subnet, UDP", production, packet{public, false, udp, 5000, outside}},
		{"internet to control plane", production, packet{control, false, tcp, 443, outside}},
		{"internet to control plane, high port", production, packet{control, false, tcp, 33000, outside}},
		{"control plane to internet", production, packet{control, true, tcp, 443, outside}},
		{"load balancer to node by SSH", production, packet{private, false, tcp, 22, balancer}},
		{"node to internet by HTTP", production, packet{private, true, tcp, 80, outside}},
		{"node to a high port outside", production, packet{private, true, tcp, 8080, outside}},
		{"internet to public subnet without public load balancers", enterprise, packet{public, false, tcp, 443, outside}},
		{"outside to an internal load balancer for the VPC", inside, packet{private, false, tcp, 443, outside}},
	} {
		if passes(t, tc.in, tc.p) {
			t.Errorf("%s passes at %v", tc.name, tc.p)
		}
	}
	for _, d := range []document{production, enterprise, inside} {
		entries := map[string]int{}
		for _, id := range d.ofType("AWS::EC2::NetworkAclEntry") {
			e := d.Resources[id].Properties
			entries[text(e["NetworkAclId"])+text(e["Egress"])]++
		}
		for acl, n := range entries {
			if n > 20 {
				t.Errorf("%s has %d entries, and the quota is 20", acl, n)
			}
		}
	}
}

// groupRules are all rules of security groups as "from > to port" and, for
// addresses, "cidr > group port" or "group > cidr port".
func groupRules(d document) []string {
	var out []string
	name := func(v any) string { return strings.TrimSuffix(strings.Trim(text(v), "${}"), "SecurityGroup") }
	rule := func(from, to string, r object) {
		port := text(r["FromPort"])
		if text(r["ToPort"]) != port {
			port += "-" + text(r["ToPort"])
		}
		out = append(out, from+" > "+to+" "+text(r["IpProtocol"])+" "+port)
	}
	for id, res := range d.Resources {
		p := res.Properties
		switch res.Type {
		case "AWS::EC2::SecurityGroup":
			own := strings.TrimSuffix(id, "SecurityGroup")
			in, _ := p["SecurityGroupIngress"].([]any)
			for _, r := range in {
				rule(text(at(r, "CidrIp"))+name(at(r, "SourceSecurityGroupId")), "in "+own, r.(object))
			}
			eg, _ := p["SecurityGroupEgress"].([]any)
			for _, r := range eg {
				rule("out "+own, text(at(r, "CidrIp"))+name(at(r, "DestinationSecurityGroupId")), r.(object))
			}
		case "AWS::EC2::SecurityGroupIngress":
			rule(text(p["CidrIp"])+name(p["SourceSecurityGroupId"]), "in "+name(p["GroupId"]), p)
		case "AWS::EC2::SecurityGroupEgress":
			rule("out "+name(p["GroupId"]), name(p["DestinationSecurityGroupId"]), p)
		}
	}
	slices.Sort(out)
	return out
}

func TestSecurityGroupRules(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, withGPU(config.NodeGroup{Max: 1}), natMode(config.NATInstancePerZone)), architecture.Network)
	want := []string{
		// From and to addresses.
		"198.51.100.0/24 > in AlbWeb tcp 443", "198.51.100.0/24 > in AlbWeb tcp 80",
		"10.80.0.0/16 > in AlbAdmin tcp 443", "10.80.0.0/16 > in AlbAdmin tcp 80",
		"10.80.0.0/19 > in Nat tcp 443", "10.80.64.0/19 > in Nat tcp 443", "10.80.128.0/19 > in Nat tcp 443",
		"Nat > in Endpoints tcp 443",
		"out AlbWeb > 0.0.0.0/0 tcp 443", "out AlbAdmin > 0.0.0.0/0 tcp 443",
		"out Nodes > 0.0.0.0/0 tcp 443", "out Nat > 0.0.0.0/0 tcp 443",
		// Closed.
		"out NodesGpu > 127.0.0.1/32 tcp 1", "out Database > 127.0.0.1/32 tcp 1", "out Endpoints > 127.0.0.1/32 tcp 1", "out ControlPlane > 127.0.0.1/32 tcp 1",
	}
	for _, f := range []string{
		"AlbWeb NodesWebAssistant 8443", "AlbWeb NodesInterface 8443", "AlbAdmin NodesCore 8443",
		"NodesWebAssistant NodesCore 8443", "NodesInterface NodesCore 8443",
		"NodesCore NodesGpu 8443", "NodesCore NodesGpu 8080", "NodesCore Database 5432",
		"Nodes Endpoints 443", "Nodes ControlPlane 443", "ControlPlane Nodes 10250",
	} {
		w := strings.Fields(f)
		want = append(want, w[0]+" > in "+w[1]+" tcp "+w[2], "out "+w[0]+" > "+w[1]+" tcp "+w[2])
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, groupRules(d)); diff != "" {
		t.Errorf("rules, -want +got:\n%s", diff)
	}
	for id, r := range d.Resources {
		if !strings.HasPrefix(r.Type, "AWS::EC2::SecurityGroup") {
			continue
		}
		for _, rules := range []any{r.Properties["SecurityGroupIngress"], r.Properties["SecurityGroupEgress"]} {
			list, _ := rules.([]any)
			for _, rule := range list {
				if at(rule, "Description") == nil {
					t.Errorf("a rule of %s has no description", id)
				}
			}
		}
		if strings.Contains(text(r.Properties["Tags"]), "kubernetes.io/cluster/") {
			t.Errorf("%s has the tag of the cluster's own group", id)
		}
	}
}

func TestGroupsWithoutSignOnAreClosed(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, func(c *config.Config) {
		c.Access.SSO.Enabled = false
		c.Deviations = map[string]string{architecture.NoSSO: "not yet connected"}
	}), architecture.Network)
	for _, r := range groupRules(d) {
		if strings.HasPrefix(r, "out Alb") && strings.Contains(r, "0.0.0.0/0") {
			t.Errorf("load balancers reach the internet: %s", r)
		}
		if strings.Contains(r, "NodesGpu") && !strings.HasSuffix(r, "127.0.0.1/32 tcp 1") || strings.Contains(r, "Nat ") {
			t.Errorf("there is a rule for what is not there: %s", r)
		}
	}
}

func TestFlowLogs(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Network)
	group := d.properties(t, "FlowLogGroup", "AWS::Logs::LogGroup")
	if text(group["KmsKeyId"]) != "${KeysLogsKeyArn}" || text(group["RetentionInDays"]) != "365" || text(group["LogGroupName"]) != "/poolhouse/poolside/flow-logs" {
		t.Errorf("log group is %v", group)
	}
	trust := at(d.properties(t, "FlowLogRole", "AWS::IAM::Role"), "AssumeRolePolicyDocument", "Statement", 0, "Condition")
	if text(at(trust, "StringEquals", "aws:SourceAccount")) != "${AWS::AccountId}" || text(at(trust, "ArnLike", "aws:SourceArn")) != "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:vpc-flow-log/*" {
		t.Errorf("flow logs of other accounts can use the role: %v", trust)
	}
	off := built(t, planned(t, func(c *config.Config) { c.Network.FlowLogs.Enabled = false }), architecture.Network)
	for _, id := range []string{"FlowLog", "FlowLogGroup", "FlowLogRole"} {
		if _, ok := off.Resources[id]; ok {
			t.Errorf("%s is there although flow logs are off", id)
		}
	}
}

// TestL28AnnouncedAddresses holds that an announced mode adds its addresses and
// nothing else, under the logical ids that they have in that mode, and that what
// both modes have stays.
func TestL28AnnouncedAddresses(t *testing.T) {
	t.Parallel()
	modes := []config.NATMode{config.NATGatewayPerZone, config.NATSingleGateway, config.NATInstancePerZone, config.NATSingleInstance}
	for _, mode := range append(modes, config.NATNone) {
		for _, announced := range modes {
			if announced == mode {
				continue
			}
			t.Run(string(mode)+" to "+string(announced), func(t *testing.T) {
				t.Parallel()
				before := built(t, planned(t, natMode(mode)), architecture.Network)
				then := built(t, planned(t, natMode(announced)), architecture.Network)
				d := built(t, planned(t, func(c *config.Config) {
					natMode(mode)(c)
					c.Network.NAT.Announce = announced
				}), architecture.Network)
				for id, r := range d.Resources {
					_, had := before.Resources[id]
					switch {
					case had:
						if diff := cmp.Diff(before.Resources[id], r); diff != "" {
							t.Errorf("%s changes, -before +announced:\n%s", id, diff)
						}
					case r.Type != "AWS::EC2::EIP":
						t.Errorf("%s (%s) is made", id, r.Type)
					default:
						if diff := cmp.Diff(then.Resources[id], r); diff != "" {
							t.Errorf("%s will change, -then +announced:\n%s", id, diff)
						}
					}
				}
				for id := range before.Resources {
					if _, ok := d.Resources[id]; !ok {
						t.Errorf("%s goes", id)
					}
				}
				if got, want := text(d.Outputs[AnnouncedOutput]["Value"]), text(then.Outputs[AddressesOutput]["Value"]); got != want || want == "" {
					t.Errorf("announced are %s, want %s", got, want)
				}
			})
		}
	}
}
