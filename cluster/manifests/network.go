package manifests

import (
	"github.com/poolhouse/poolhouse/architecture"
)

// policies let nothing in and out of a namespace but what its pods need. The VPC CNI
// enforces them.
// https://kubernetes.io/docs/concepts/services-networking/network-policies/
// https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy.html
func (m *maker) policies(namespace string) []Object {
	list := []Object{
		policy(namespace, "default-deny", nil, nil),
		policy(namespace, "within", []any{from(pods(nil))}, []any{to(pods(nil))}),
		policy(namespace, "dns", nil, []any{to(inNamespace(system, Object{"k8s-app": "kube-dns"}), port("UDP", dnsPort), port("TCP", dnsPort))}),
		policy(namespace, "aws", nil, m.out()),
		policy(namespace, "webhooks", []any{from(m.ranges(architecture.ControlPlane), webhookPorts()...)}, nil),
	}
	switch namespace {
	case Core:
		list = append(list,
			policy(namespace, "database", nil, []any{to(m.privateRanges(), port("TCP", architecture.PostgresPort))}),
			policy(namespace, "load-balancers", []any{from(m.loadBalancers(), port("TCP", architecture.PodPort))}, nil),
			policy(namespace, "to-models", nil, []any{to(inNamespace(Models, nil), modelPorts()...)}),
		)
	case Models:
		list = append(list, policy(namespace, "from-core", []any{from(inNamespace(Core, nil), modelPorts()...)}, nil))
	}
	return list
}

// webhookPorts are those on which pods commonly serve what the control plane calls:
// admission webhooks and aggregated APIs. Who serves it is the charts' choice.
func webhookPorts() []any {
	return []any{port("TCP", httpsPort), port("TCP", architecture.PodPort), port("TCP", webhookPort), port("TCP", kubeletPort)}
}

// modelPorts are those of the inference proxy and of model servers.
func modelPorts() []any {
	return []any{port("TCP", architecture.PodPort), port("TCP", architecture.ModelPort)}
}

const (
	dnsPort   = 53
	httpsPort = 443
	// webhookPort is what controller-runtime serves webhooks on, and kubeletPort what
	// the control plane reaches on nodes anyway, which is why charts choose it.
	// https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/webhook#DefaultPort
	webhookPort = 9443
	kubeletPort = 10250
	// metadata is the address of the instance metadata service, which pods have no
	// business with: their credentials are of service accounts.
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
	metadata = "169.254.169.254/32"
)

// out is the way to AWS, which has addresses of all ranges, and through the proxy if
// there is one.
func (m *maker) out() []any {
	rules := []any{to([]any{Object{"ipBlock": Object{"cidr": "0.0.0.0/0", "except": []any{metadata}}}}, port("TCP", httpsPort))}
	if p := m.a.ProxyPort(); p != 0 && p != httpsPort {
		var ranges []any
		for _, r := range m.a.ProxyRanges() {
			ranges = append(ranges, block(r.String()))
		}
		rules = append(rules, to(ranges, port("TCP", p)))
	}
	return rules
}

// privateRanges are where the database is.
func (m *maker) privateRanges() []any { return m.ranges(architecture.Private) }

// loadBalancers are the ranges that the deployment's load balancers stand in.
func (m *maker) loadBalancers() (list []any) {
	access := m.a.Config.Access
	tiers := []architecture.Tier{architecture.LoadBalancerTier(access.Web.Scheme)}
	if t := architecture.LoadBalancerTier(access.Admin.Scheme); t != tiers[0] {
		tiers = append(tiers, t)
	}
	for _, t := range tiers {
		list = append(list, m.ranges(t)...)
	}
	return list
}

// ranges are those of a tier's subnets. Of subnets that are there only ids are known:
// then it is the VPC's range, or all private ones if that isn't known either.
func (m *maker) ranges(t architecture.Tier) (list []any) {
	for _, s := range m.a.Tier(t) {
		if s.CIDR.IsValid() {
			list = append(list, block(s.CIDR.String()))
			continue
		}
		if vpc := m.a.VPC(); vpc.IsValid() {
			return []any{block(vpc.String())}
		}
		return []any{block("10.0.0.0/8"), block("172.16.0.0/12"), block("192.168.0.0/16"), block("100.64.0.0/10")}
	}
	return list
}

func policy(namespace, name string, ingress, egress []any) Object {
	var types []any
	spec := Object{"podSelector": Object{}}
	both := ingress == nil && egress == nil // nothing is let through
	if ingress != nil || both {
		types = append(types, "Ingress")
	}
	if egress != nil || both {
		types = append(types, "Egress")
	}
	if ingress != nil {
		spec["ingress"] = ingress
	}
	if egress != nil {
		spec["egress"] = egress
	}
	spec["policyTypes"] = types
	return object("networking.k8s.io/v1", "NetworkPolicy", namespace, name, Object{"spec": spec})
}

func from(peers []any, ports ...any) Object { return rule("from", peers, ports) }
func to(peers []any, ports ...any) Object   { return rule("to", peers, ports) }

func rule(way string, peers, ports []any) Object {
	r := Object{way: peers}
	if len(ports) > 0 {
		r["ports"] = ports
	}
	return r
}

func block(cidr string) Object { return Object{"ipBlock": Object{"cidr": cidr}} }

func port(protocol string, number int) Object { return Object{"protocol": protocol, "port": number} }

// pods are those of the same namespace with labels, or all of them.
func pods(labels Object) []any {
	selector := Object{}
	if labels != nil {
		selector["matchLabels"] = labels
	}
	return []any{Object{"podSelector": selector}}
}

// inNamespace are pods of another namespace.
func inNamespace(name string, labels Object) []any {
	peer := pods(labels)[0].(Object)
	peer["namespaceSelector"] = Object{"matchLabels": Object{"kubernetes.io/metadata.name": name}}
	return []any{peer}
}
