package templates

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func podRange(c *config.Config) { c.Network.PodCIDR = "100.64.0.0/16" }

func transit(cidrs ...string) func(*config.Config) {
	return func(c *config.Config) {
		c.Network.TransitGateway = config.TransitGateway{ID: "tgw-0123456789abcdef0", CIDRs: cidrs}
		if slices.Contains(cidrs, anywhere) {
			c.Network.NAT.Mode = config.NATNone
			c.Deviations = map[string]string{architecture.CentralEgress: "everything is inspected", architecture.InternalWeb: "users come over our own network"}
		}
	}
}

// routesOf are the routes of a template as "table destination target", those
// that wait for the attachment with a star.
func routesOf(d document) []string {
	var out []string
	for _, id := range d.ofType("AWS::EC2::Route") {
		p := d.Resources[id].Properties
		line := strings.Trim(text(p["RouteTableId"]), "${}") + " " + text(p["DestinationCidrBlock"]) + " "
		for _, key := range []string{"GatewayId", "NatGatewayId", "TransitGatewayId", "VpcPeeringConnectionId", "NetworkInterfaceId", "VpcEndpointId"} {
			if v := text(p[key]); v != "" {
				line += key + "=" + v
			}
		}
		if slices.Contains(d.Resources[id].DependsOn, "TransitGatewayAttachment") {
			line += " *"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func TestTransitRoutes(t *testing.T) {
	t.Parallel()
	const hub, igw = "TransitGatewayId=tgw-0123456789abcdef0 *", "PublicRouteTable 0.0.0.0/0 GatewayId=${InternetGateway}"
	nat := []string{"PrivateRouteTable1 0.0.0.0/0 NatGatewayId=${NatGateway1}", "PrivateRouteTable2 0.0.0.0/0 NatGatewayId=${NatGateway2}"}
	for _, tc := range []struct {
		name    string
		changes []func(*config.Config)
		want    []string
	}{
		{"company network", []func(*config.Config){transit("10.0.0.0/8")}, append(nat, igw,
			"PrivateRouteTable1 10.0.0.0/8 "+hub, "PrivateRouteTable2 10.0.0.0/8 "+hub, "PublicRouteTable 10.0.0.0/8 "+hub)},
		{"central egress, nothing public", []func(*config.Config){internalWeb("10.0.0.0/8"), transit("10.0.0.0/8", anywhere)}, []string{
			igw, "PrivateRouteTable1 10.0.0.0/8 " + hub, "PrivateRouteTable2 10.0.0.0/8 " + hub,
			"PrivateRouteTable1 0.0.0.0/0 " + hub, "PrivateRouteTable2 0.0.0.0/0 " + hub,
		}},
		{"further routes", []func(*config.Config){transit("10.0.0.0/8"), func(c *config.Config) {
			c.Access.Web.Scheme = config.SchemeInternal
			c.Deviations = map[string]string{architecture.InternalWeb: "users come over our own network"}
			c.Network.Routes = []config.Route{
				{CIDR: "192.168.1.0/24", Target: "pcx-1"},
				{CIDR: "192.168.2.0/24", Target: "vgw-1"},
				{CIDR: "192.168.3.0/24", Target: "eni-1"},
				{CIDR: "192.168.4.0/24", Target: "vpce-1"},
				{CIDR: "192.168.5.0/24", Target: "tgw-0123456789abcdef0"},
			}
		}}, append(nat, igw,
			"PrivateRouteTable1 10.0.0.0/8 "+hub, "PrivateRouteTable2 10.0.0.0/8 "+hub,
			"PrivateRouteTable1 192.168.1.0/24 VpcPeeringConnectionId=pcx-1", "PrivateRouteTable2 192.168.1.0/24 VpcPeeringConnectionId=pcx-1",
			"PrivateRouteTable1 192.168.2.0/24 GatewayId=vgw-1", "PrivateRouteTable2 192.168.2.0/24 GatewayId=vgw-1",
			"PrivateRouteTable1 192.168.3.0/24 NetworkInterfaceId=eni-1", "PrivateRouteTable2 192.168.3.0/24 NetworkInterfaceId=eni-1",
			"PrivateRouteTable1 192.168.4.0/24 VpcEndpointId=vpce-1", "PrivateRouteTable2 192.168.4.0/24 VpcEndpointId=vpce-1",
			"PrivateRouteTable1 192.168.5.0/24 "+hub, "PrivateRouteTable2 192.168.5.0/24 "+hub)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := planned(t, append(tc.changes, twoZones)...)
			d := built(t, a, architecture.Network)
			slices.Sort(tc.want)
			if diff := cmp.Diff(tc.want, routesOf(d)); diff != "" {
				t.Errorf("routes, -want +got:\n%s", diff)
			}
			p := d.properties(t, "TransitGatewayAttachment", "AWS::EC2::TransitGatewayAttachment")
			if text(p["SubnetIds"]) != "${PrivateSubnet1},${PrivateSubnet2}" || text(p["TransitGatewayId"]) != "tgw-0123456789abcdef0" {
				t.Errorf("attachment is %v", p)
			}
		})
	}
	// A change from NAT to central egress updates the default routes in place.
	central := built(t, planned(t, internalWeb("10.0.0.0/8"), transit(anywhere)), architecture.Network)
	for _, id := range built(t, planned(t), architecture.Network).ofType("AWS::EC2::Route") {
		if _, ok := central.Resources[id]; !ok {
			t.Errorf("there is no %s with central egress", id)
		}
	}
	// With a way out, the services need no endpoints.
	if got := planned(t, internalWeb("10.0.0.0/8"), transit(anywhere)).Endpoints; slices.Contains(got, "autoscaling") {
		t.Errorf("endpoints are %v", got)
	}
}

func TestPodRange(t *testing.T) {
	t.Parallel()
	a := planned(t, podRange, twoZones, withGPU(config.NodeGroup{Max: 1, Desired: 1, Reservation: config.Reservation{ID: "cr-1", ZoneID: "euc1-az2"}}))
	network := built(t, a, architecture.Network)
	if p := network.properties(t, "PodCidrBlock", "AWS::EC2::VPCCidrBlock"); text(p["CidrBlock"]) != "100.64.0.0/16" {
		t.Errorf("range is %v", p)
	}
	for n, cidr := range map[string]string{"1": "100.64.0.0/18", "2": "100.64.64.0/18"} {
		id := "PodsSubnet" + n
		if p := network.properties(t, id, "AWS::EC2::Subnet"); text(p["CidrBlock"]) != cidr || text(p["AvailabilityZoneId"]) != "${ZoneId"+n+"}" {
			t.Errorf("%s is %v", id, p)
		}
		if got := network.Resources[id].DependsOn; !slices.Contains(got, "PodCidrBlock") {
			t.Errorf("%s waits for %v", id, got)
		}
		if p := network.properties(t, id+"RouteTable", "AWS::EC2::SubnetRouteTableAssociation"); text(p["RouteTableId"]) != "${PrivateRouteTable"+n+"}" {
			t.Errorf("%s goes by %v", id, p["RouteTableId"])
		}
		if p := network.properties(t, id+"Acl", "AWS::EC2::SubnetNetworkAclAssociation"); text(p["NetworkAclId"]) != "${PrivateAcl}" {
			t.Errorf("%s is filtered by %v", id, p["NetworkAclId"])
		}
	}
	const pod, node, apiServer, balancer, udp = "100.64.1.10", "10.80.1.10", "10.80.255.70", "10.80.192.10", 17
	for _, p := range []packet{
		{architecture.Private, true, udp, 53, pod},
		{architecture.Private, false, udp, 53, pod},
		{architecture.Private, true, tcp, 443, apiServer},
		{architecture.ControlPlane, false, tcp, 443, pod},
		{architecture.ControlPlane, true, tcp, 33000, pod},
		{architecture.ControlPlane, true, tcp, 443, pod},
		{architecture.Public, true, tcp, 8443, pod},
		{architecture.Private, false, tcp, 8443, balancer},
		{architecture.Private, true, tcp, 5432, node},
	} {
		if !passes(t, network, p) {
			t.Errorf("stopped: %v", p)
		}
	}
	if p := (packet{architecture.ControlPlane, false, tcp, 443, "100.65.0.1"}); passes(t, network, p) {
		t.Errorf("passes: %v", p)
	}

	// Pods carry the groups of the nodes they run on.
	cni := built(t, a, architecture.Cluster).properties(t, "VpcCni", "AWS::EKS::Addon")
	var values struct {
		Env       map[string]string
		EniConfig struct {
			Create  bool
			Region  string
			Subnets map[string]struct {
				ID             string
				SecurityGroups []string
			}
		}
	}
	if err := json.Unmarshal([]byte(text(cni["ConfigurationValues"])), &values); err != nil {
		t.Fatalf("%v: %s", err, text(cni["ConfigurationValues"]))
	}
	if values.Env["AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"] != "true" || values.Env["ENI_CONFIG_LABEL_DEF"] != architecture.PodNetworkLabel || values.Env["ENABLE_PREFIX_DELEGATION"] != "true" || !values.EniConfig.Create {
		t.Errorf("add-on is configured as %+v", values)
	}
	core := values.EniConfig.Subnets["core-2"]
	if core.ID != "${NetworkPodsSubnet2Id}" || !slices.Equal(core.SecurityGroups, []string{"${Cluster.ClusterSecurityGroupId}", "${NetworkNodesSecurityGroupId}", "${NetworkNodesCoreSecurityGroupId}"}) {
		t.Errorf("pods on core nodes in zone 2: %+v", core)
	}
	nodes := built(t, a, architecture.Nodes)
	named := map[string]bool{}
	for _, id := range nodes.ofType("AWS::EKS::Nodegroup") {
		label := text(at(nodes.Resources[id].Properties, "Labels", architecture.PodNetworkLabel))
		if _, ok := values.EniConfig.Subnets[label]; !ok || named[label] {
			t.Errorf("%s has the label %q, of which there is no ENIConfig or another group", id, label)
		}
		named[label] = true
	}
	// A reservation's zone is known to the account only.
	label := at(built(t, a, architecture.GPU).properties(t, "GpuReserved", "AWS::EKS::Nodegroup"), "Labels", architecture.PodNetworkLabel)
	want := object{"Fn::If": []any{"ReservedInZone1", "gpu-1", object{"Fn::If": []any{"ReservedInZone2", "gpu-2", "none"}}}}
	if diff := cmp.Diff(any(want), label); diff != "" {
		t.Errorf("label of nodes in a reservation, -want +got:\n%s", diff)
	}
	for _, d := range []document{built(t, planned(t), architecture.Cluster), built(t, planned(t), architecture.Nodes)} {
		for id, r := range d.Resources {
			if s := text(r.Properties); strings.Contains(s, "CUSTOM_NETWORK") || strings.Contains(s, architecture.PodNetworkLabel) {
				t.Errorf("%s has a network for pods, and there is no range", id)
			}
		}
	}
}

// adopted is an architecture in a network that is there.
func adopted(t *testing.T, changes ...func(*config.Config)) *architecture.Architecture {
	return planned(t, append([]func(*config.Config){func(c *config.Config) {
		c.Network = config.Network{CIDR: "10.40.0.0/16", Zones: 2, Existing: config.Existing{
			VPCID: "vpc-1", PublicSubnetIDs: []string{"subnet-1", "subnet-2"}, PrivateSubnetIDs: []string{"subnet-3", "subnet-4"},
			ControlPlaneSubnetIDs: []string{"subnet-5", "subnet-6", "subnet-7"},
		}}
		c.Deviations = map[string]string{architecture.ExistingNetwork: "the network team owns it"}
	}}, changes...)...)
}

// TestExistingNetworkIsNoResource holds that a network that is there is only
// named: the stack makes security groups, and flow logs if they are asked for.
func TestExistingNetworkIsNoResource(t *testing.T) {
	t.Parallel()
	flowLogs := func(c *config.Config) { c.Network.FlowLogs = config.FlowLogs{Enabled: true, RetentionDays: 30} }
	d := built(t, adopted(t, flowLogs), architecture.Network)
	allowed := []string{
		"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress",
		"AWS::EC2::FlowLog", "AWS::Logs::LogGroup", "AWS::IAM::Role",
	}
	for id, r := range d.Resources {
		if !slices.Contains(allowed, r.Type) {
			t.Errorf("%s is a %s", id, r.Type)
		}
	}
	if p := d.properties(t, "NodesSecurityGroup", "AWS::EC2::SecurityGroup"); text(p["VpcId"]) != "${ExistingVpcId}" {
		t.Errorf("the groups are in %v", p["VpcId"])
	}
	// Other stacks take the same outputs as of a network of our own.
	own := built(t, planned(t, twoZones, flowLogs), architecture.Network)
	for name := range own.Outputs {
		if _, ok := d.Outputs[name]; !ok && name != "NatAddresses" && name != "PrivateRouteTableIds" {
			t.Errorf("there is no output %s", name)
		}
	}
	for output, want := range map[string]string{
		"VpcId": "${ExistingVpcId}", "PublicSubnetIds": "${ExistingPublicSubnet1Id},${ExistingPublicSubnet2Id}", "PrivateSubnet2Id": "${ExistingPrivateSubnet2Id}",
		"ControlPlaneSubnetIds": "${ExistingControlPlaneSubnet1Id},${ExistingControlPlaneSubnet2Id},${ExistingControlPlaneSubnet3Id}",
		"Zone3Id":               "${ZoneId3}", "Zone3Name": "${ZoneName3}",
	} {
		if got := text(d.Outputs[output]["Value"]); got != want {
			t.Errorf("output %s is %s, want %s", output, got, want)
		}
	}
	if got := d.Parameters["ExistingPrivateSubnet2Id"]["Default"]; got != "subnet-4" {
		t.Errorf("the second private subnet is %v", got)
	}
}

// TestExistingNetworkKeepsItsRoutes: the endpoints that are asked for, and no
// gateway, which would be routes in tables that are not ours.
func TestExistingNetworkKeepsItsRoutes(t *testing.T) {
	t.Parallel()
	if a := adopted(t); a.Has(architecture.Endpoints) || len(a.Endpoints) != 0 {
		t.Errorf("endpoints are %v", a.Endpoints)
	}
	a := adopted(t, func(c *config.Config) { c.Network.Endpoints = []string{"sts"} })
	d := built(t, a, architecture.Endpoints)
	if got := d.ofType("AWS::EC2::VPCEndpoint"); !slices.Equal(got, []string{"StsEndpoint"}) {
		t.Errorf("endpoints are %v", got)
	}
	if _, ok := d.Outputs["S3EndpointId"]; ok {
		t.Error("there is an endpoint for S3")
	}
}
