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
	port     int // tcp
	why      string
}

// flows are all traffic inside the VPC that these groups allow. What Kubernetes
// itself needs between its nodes and from the control plane to them (DNS,
// webhooks, metrics) is for the cluster's own group, which EKS makes and all
// nodes carry.
// https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
//
// Web users and API clients reach web-assistant and interface nodes, which
// reach the core; administrators reach the core; the core reaches models and
// the database.
func flows(a *architecture.Architecture) []flow {
	const https, kubelet = 443, 10250
	out := []flow{
		{groupWeb, groupNodesWebAssistant, architecture.PodPort, "web users"},
		{groupWeb, groupNodesInterface, architecture.PodPort, "API clients"},
		{groupAdmin, groupNodesCore, architecture.PodPort, "administrators"},
		{groupNodesWebAssistant, groupNodesCore, architecture.PodPort, "web-assistant to core"},
		{groupNodesInterface, groupNodesCore, architecture.PodPort, "interfaces to core"},
		{groupNodesCore, groupDatabase, architecture.PostgresPort, "core to PostgreSQL"},
		{groupNodes, groupEndpoints, https, "AWS APIs by endpoint"},
		{groupNodes, groupControlPlane, https, "Kubernetes API"},
		{groupControlPlane, groupNodes, kubelet, "kubelets"},
	}
	if a.Serves(config.GPU) {
		out = append(out,
			flow{groupNodesCore, groupNodesGPU, architecture.PodPort, "core to the inference proxy"},
			flow{groupNodesCore, groupNodesGPU, architecture.ModelPort, "core to model servers"})
	}
	return out
}

// addSecurityGroups adds the groups and their flows. A group without a rule
// for the way out would get one for everything from EC2; closed groups hold one
// for loopback, where no packet ever leaves the host.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-securitygroup.html
//
// None of them carries the tag kubernetes.io/cluster/…: nodes carry the
// cluster's own group, which EKS tags, and controllers want exactly one.
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/configurations/
func (v *vpc) addSecurityGroups() {
	access := v.a.Config.Access
	out := func(why string) []ec2.Egress {
		return []ec2.Egress{{
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(443), ToPort: cfn.V(443),
			CidrIp: cfn.V(anywhere), Description: cfn.V(why),
		}}
	}
	var balancer []ec2.Egress
	if access.SSO.Enabled {
		balancer = out("identity provider")
	}
	v.addGroup(groupWeb, "Web load balancer", clients(access.Web), balancer)
	v.addGroup(groupAdmin, "Admin load balancer", clients(access.Admin), balancer)
	v.addGroup(groupNodes, "All nodes", nil, append(out("AWS APIs and services outside"), proxyEgress(v.a)...))
	v.addGroup(groupNodesCore, "Core nodes", nil, nil)
	v.addGroup(groupNodesWebAssistant, "Web-assistant nodes", nil, nil)
	v.addGroup(groupNodesInterface, "Interface nodes", nil, nil)
	// There without GPU nodes too: they go last, and this stack can't delete a
	// group that they still have.
	v.addGroup(groupNodesGPU, "GPU nodes", nil, nil)
	v.addGroup(groupDatabase, "PostgreSQL", nil, nil)
	v.addGroup(groupEndpoints, "VPC endpoints", nil, nil)
	v.addGroup(groupControlPlane, "EKS control plane", nil, nil)
	if selfManagedNAT(v.a) {
		var private []ec2.Ingress
		for _, s := range v.a.PrivateSubnets() {
			private = append(private, ingress(443, s.CIDR.String(), "private "+number(s.Zone)))
		}
		v.addGroup(groupNAT, "Self-managed NAT", private, out("NAT"))
		// The endpoints' private names hold in the whole VPC, so Session Manager
		// on these instances goes through them too.
		v.letIn(groupEndpoints, "NatIn", ec2.SecurityGroupIngress{SourceSecurityGroupId: v.group(groupNAT), Description: cfn.V("NAT")})
	}
	for _, cidr := range v.a.Config.Cluster.API.AllowCIDRs {
		id := "Operators" + strings.NewReplacer(".", "x", "/", "x").Replace(cidr) + "In"
		v.letIn(groupControlPlane, id, ec2.SecurityGroupIngress{CidrIp: cfn.V(cidr), Description: cfn.V("Kubernetes API")})
	}
	all := flows(v.a)
	for _, f := range all {
		id := string(f.from) + "To" + string(f.to) + strconv.Itoa(f.port)
		v.t.Add(cfn.LogicalID(id+"In"), ec2.SecurityGroupIngress{
			GroupId: v.group(f.to), SourceSecurityGroupId: v.group(f.from),
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(f.port), ToPort: cfn.V(f.port), Description: cfn.V(f.why),
		})
		if !inline(all, f) {
			v.t.Add(cfn.LogicalID(id+"Out"), ec2.SecurityGroupEgress{
				GroupId: v.group(f.from), DestinationSecurityGroupId: v.group(f.to),
				IpProtocol: cfn.V("tcp"), FromPort: cfn.V(f.port), ToPort: cfn.V(f.port), Description: cfn.V(f.why),
			})
		}
	}
}

// proxyEgress lets nodes reach the proxy. On 443 they reach everything: S3 by
// its gateway endpoint, whose addresses are public, and the private endpoints.
// Load balancers never ask a proxy.
func proxyEgress(a *architecture.Architecture) []ec2.Egress {
	port := a.ProxyPort()
	if port == 0 || port == 443 {
		return nil
	}
	var out []ec2.Egress
	for _, r := range a.ProxyRanges() {
		out = append(out, ec2.Egress{
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(port), ToPort: cfn.V(port),
			CidrIp: cfn.V(r.String()), Description: cfn.V("proxy"),
		})
	}
	return out
}

// selfManagedNAT says whether instances are the way out.
func selfManagedNAT(a *architecture.Architecture) bool {
	mode := a.Config.Network.NAT.Mode
	return mode == config.NATInstancePerZone || mode == config.NATSingleInstance
}

// inline says whether the rule for the way out of a flow can stand in its
// group, which is shorter: not if the first flow of two goes the other way,
// since groups that hold rules for each other could not be made.
func inline(all []flow, f flow) bool {
	for _, other := range all {
		if other == f {
			return true
		}
		if other.from == f.to && other.to == f.from {
			return false
		}
	}
	return true
}

// group is the id of one of the groups, in the stack network.
func (v *vpc) group(g group) cfn.Value[string] { return v.t.Resource(g.logicalID()).Ref() }

// letIn adds a rule on 443 that stands by itself. Other stacks add rules to these
// groups too, and CloudFormation takes rules of other stacks for drift of a group
// that has some of its own.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
func (v *vpc) letIn(to group, id string, rule ec2.SecurityGroupIngress) {
	rule.GroupId = v.group(to)
	rule.IpProtocol, rule.FromPort, rule.ToPort = cfn.V("tcp"), cfn.V(443), cfn.V(443)
	v.t.Add(cfn.LogicalID(id), rule)
}

// addGroup adds a group with its rules, apart from those of flows into it.
func (v *vpc) addGroup(g group, description string, in []ec2.Ingress, out []ec2.Egress) {
	all := flows(v.a)
	for _, f := range all {
		if f.from == g && inline(all, f) {
			out = append(out, ec2.Egress{
				IpProtocol: cfn.V("tcp"), FromPort: cfn.V(f.port), ToPort: cfn.V(f.port),
				DestinationSecurityGroupId: v.group(f.to), Description: cfn.V(f.why),
			})
		}
	}
	if len(out) == 0 {
		out = []ec2.Egress{{
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(1), ToPort: cfn.V(1),
			CidrIp: cfn.V("127.0.0.1/32"), Description: cfn.V("closed"),
		}}
	}
	v.t.Add(g.logicalID(), ec2.SecurityGroup{
		GroupDescription:     cfn.V(description),
		VpcId:                v.id,
		SecurityGroupIngress: in,
		SecurityGroupEgress:  out,
		Tags:                 named(v.a, kebab(string(g))),
	})
	v.t.Output(string(g.logicalID())+"Id", v.group(g))
}

// clients lets a load balancer's allow-list in, on 443 and on 80, which only
// redirects.
func clients(e config.Endpoint) []ec2.Ingress {
	var out []ec2.Ingress
	for _, cidr := range e.AllowCIDRs {
		out = append(out, ingress(443, cidr, "HTTPS"), ingress(80, cidr, "HTTP"))
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
