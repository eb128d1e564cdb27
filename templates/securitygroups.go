package templates

import (
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/config"
)

// flow is traffic between two groups: a rule at each end that names the other
// group.
type flow struct {
	from, to group
	protocol string
	port     int
	why      string
}

// flows are all traffic inside the VPC that security groups allow, apart from
// the cluster's own group, which EKS makes and all nodes carry.
//
// Web users and API clients reach web-assistant and interface nodes, which
// reach the core; administrators reach the core; the core reaches models and
// the database.
func flows(a *architecture.Architecture) []flow {
	const (
		https          = 443
		domain         = 53
		kubelet        = 10250 // and external-secrets' webhook
		metricsServer  = 10251
		balancerWebook = 9443
	)
	out := []flow{
		{groupWeb, groupNodesWebAssistant, "tcp", architecture.PodPort, "web users"},
		{groupWeb, groupNodesInterface, "tcp", architecture.PodPort, "API clients"},
		{groupAdmin, groupNodesCore, "tcp", architecture.PodPort, "administrators"},
		{groupNodesWebAssistant, groupNodesCore, "tcp", architecture.PodPort, "web-assistant to core"},
		{groupNodesInterface, groupNodesCore, "tcp", architecture.PodPort, "interfaces to core"},
		{groupNodesCore, groupNodesCore, "tcp", architecture.PodPort, "core to core"},
		{groupNodesCore, groupDatabase, "tcp", architecture.PostgresPort, "core to PostgreSQL"},
		{groupNodes, groupEndpoints, "tcp", https, "AWS APIs by endpoint"},
		{groupNodes, groupControlPlane, "tcp", https, "Kubernetes API"},
		{groupControlPlane, groupNodes, "tcp", kubelet, "kubelet and external-secrets webhook"},
		{groupControlPlane, groupNodes, "tcp", balancerWebook, "load balancer controller webhook"},
		{groupControlPlane, groupNodes, "tcp", metricsServer, "metrics server"},
		{groupNodes, groupNodes, "tcp", kubelet, "metrics server to kubelet"},
		{groupNodes, groupNodes, "tcp", domain, "cluster DNS"},
		{groupNodes, groupNodes, "udp", domain, "cluster DNS"},
	}
	if a.Serves(config.GPU) {
		out = append(out,
			flow{groupNodesCore, groupNodesGPU, "tcp", architecture.ModelPort, "core to model servers"},
			flow{groupNodesCore, groupNodesGPU, "tcp", architecture.PodPort, "core to the inference proxy"},
			flow{groupNodesGPU, groupNodesGPU, "tcp", architecture.ModelPort, "inference proxy to model servers"})
	}
	return out
}

// addSecurityGroups adds the groups and their flows. A group without a rule
// for the way out would get one for everything from EC2; closed groups hold one
// for loopback, where no packet ever leaves.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-securitygroup.html
//
// None of them carries the tag kubernetes.io/cluster/…: nodes carry the
// cluster's own group, which EKS tags, and controllers want exactly one.
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/configurations/
func (v *vpc) addSecurityGroups() {
	access := v.a.Config.Access
	closed := []ec2.Egress{{
		IpProtocol: cfn.V("tcp"), FromPort: cfn.V(1), ToPort: cfn.V(1),
		CidrIp: cfn.V("127.0.0.1/32"), Description: cfn.V("nothing else"),
	}}
	out := func(why string) []ec2.Egress {
		return []ec2.Egress{{
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(443), ToPort: cfn.V(443),
			CidrIp: cfn.V(anywhere), Description: cfn.V(why),
		}}
	}
	balancer := closed
	if access.SSO.Enabled {
		balancer = out("identity provider")
	}
	v.addGroup(groupWeb, "Web load balancer", clients(access.Web, "web users and API clients"), balancer)
	v.addGroup(groupAdmin, "Admin load balancer", clients(access.Admin, "administrators"), balancer)
	v.addGroup(groupNodes, "All nodes", nil, out("AWS APIs and services outside"))
	v.addGroup(groupNodesCore, "Core nodes", nil, closed)
	v.addGroup(groupNodesWebAssistant, "Web-assistant nodes", nil, closed)
	v.addGroup(groupNodesInterface, "Interface nodes", nil, closed)
	if v.a.Serves(config.GPU) {
		v.addGroup(groupNodesGPU, "GPU nodes", nil, closed)
	}
	v.addGroup(groupDatabase, "PostgreSQL", nil, closed)
	v.addGroup(groupEndpoints, "VPC endpoints", nil, closed)
	v.addGroup(groupControlPlane, "EKS control plane", nil, closed)
	if mode := v.a.Config.Network.NAT.Mode; mode == config.NATInstancePerZone || mode == config.NATSingleInstance {
		var private []ec2.Ingress
		for _, s := range v.a.PrivateSubnets() {
			private = append(private, ingress(443, s.CIDR.String(), "private subnet "+number(s.Zone)))
		}
		v.addGroup(groupNAT, "Self-managed NAT", private, out("what the private subnets ask for"))
	}
	for _, f := range flows(v.a) {
		id := string(f.from) + "To" + string(f.to) + strings.ToUpper(f.protocol[:1]) + f.protocol[1:] + strconv.Itoa(f.port)
		v.t.Add(cfn.LogicalID(id+"Out"), ec2.SecurityGroupEgress{
			GroupId: v.group(f.from), DestinationSecurityGroupId: v.group(f.to),
			IpProtocol: cfn.V(f.protocol), FromPort: cfn.V(f.port), ToPort: cfn.V(f.port), Description: cfn.V(f.why),
		})
		v.t.Add(cfn.LogicalID(id+"In"), ec2.SecurityGroupIngress{
			GroupId: v.group(f.to), SourceSecurityGroupId: v.group(f.from),
			IpProtocol: cfn.V(f.protocol), FromPort: cfn.V(f.port), ToPort: cfn.V(f.port), Description: cfn.V(f.why),
		})
	}
}

// group is the id of one of the groups, in the stack network.
func (v *vpc) group(g group) cfn.Value[string] { return v.t.Resource(g.logicalID()).Att("GroupId") }

func (v *vpc) addGroup(g group, description string, in []ec2.Ingress, out []ec2.Egress) {
	v.t.Add(g.logicalID(), ec2.SecurityGroup{
		GroupDescription:     cfn.V(description + " of " + v.a.Name()),
		VpcId:                v.id,
		SecurityGroupIngress: in,
		SecurityGroupEgress:  out,
		Tags:                 named(v.a, kebab(string(g))),
	})
	v.t.Output(string(g.logicalID())+"Id", v.group(g))
}

// clients lets a load balancer's allow-list in, on 443 and on 80, which only
// redirects.
func clients(e config.Endpoint, who string) []ec2.Ingress {
	var out []ec2.Ingress
	for _, cidr := range e.AllowCIDRs {
		out = append(out, ingress(443, cidr, who), ingress(80, cidr, "redirect to 443"))
	}
	return out
}

func ingress(port int, cidr, why string) ec2.Ingress {
	return ec2.Ingress{IpProtocol: cfn.V("tcp"), FromPort: cfn.V(port), ToPort: cfn.V(port), CidrIp: cfn.V(cidr), Description: cfn.V(why)}
}

// kebab is the opposite of camel: NodesCore becomes nodes-core.
func kebab(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
