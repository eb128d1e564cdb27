package architecture

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Way is a way to the Kubernetes API.
type Way string

// The ways, in the order in which they are tried.
const (
	// WayDirect is the cluster's endpoint itself: public and allow-listed, or
	// private and reached from the VPC or a connected network.
	WayDirect Way = "direct"
	// WayProxy is an HTTP proxy that connects to the endpoint.
	WayProxy Way = "proxy"
	// WaySession is a Session Manager session that forwards to it.
	WaySession Way = "session"
)

// KubernetesAccess is how the Kubernetes API is expected to be reached.
type KubernetesAccess struct {
	// PublicCIDRs may reach the public endpoint; none: there is only a private
	// one.
	PublicCIDRs []string `json:"publicCidrs,omitempty"`
	// AllowCIDRs are ranges in connected networks that may reach the private
	// endpoint.
	AllowCIDRs []string `json:"allowCidrs,omitempty"`
	// Proxy is the URL of the proxy to it, or "".
	Proxy string `json:"proxy,omitempty"`
	// SessionHost says that sessions go to an instance of our own; otherwise
	// they go to a core node.
	SessionHost bool `json:"sessionHost"`
	// Ways are tried in this order.
	Ways []Way `json:"ways"`
	// Outside says that something else than the VPC itself is meant to reach
	// it: without it create is expected to end before the Kubernetes phase.
	Outside bool `json:"outside"`
}

// KubernetesAccess is what the configuration says of the ways to the API.
func (a *Architecture) KubernetesAccess() KubernetesAccess {
	c := a.Config.Cluster
	k := KubernetesAccess{
		PublicCIDRs: c.PublicAccessCIDRs, AllowCIDRs: c.API.AllowCIDRs, Proxy: c.API.Proxy, SessionHost: c.API.SessionHost,
		Ways: []Way{WayDirect},
	}
	if k.Proxy != "" {
		k.Ways = append(k.Ways, WayProxy)
	}
	k.Ways = append(k.Ways, WaySession)
	k.Outside = len(k.PublicCIDRs) > 0 || len(k.AllowCIDRs) > 0 || k.Proxy != "" || k.SessionHost
	return k
}

// SessionHostGoesOut says that the session host reaches Systems Manager by what
// an existing network has for that, endpoints or a way out, instead of by
// endpoints of the deployment. Where that is can't be known here, so its group
// lets HTTPS out to everywhere.
func (a *Architecture) SessionHostGoesOut() bool {
	return a.Config.Cluster.API.SessionHost &&
		slices.ContainsFunc(SessionServices(), func(s string) bool { return !slices.Contains(a.Endpoints, s) })
}

// SessionServices are what the agent on a session host needs, by the names of
// their interface endpoints.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/setup-create-vpc.html
func SessionServices() []string { return []string{"ssm", "ssmmessages"} }

// SessionHostName is the name of the instance that forwards to the Kubernetes
// API, in tags.
func (a *Architecture) SessionHostName() string { return a.ResourceName("session-host") }

// CoreNodeName is the name of the core nodes, in tags.
func (a *Architecture) CoreNodeName() string { return a.ResourceName("core") }

// ProxyPort is the port of the way out through a proxy, or 0 if there is none.
func (a *Architecture) ProxyPort() int {
	u, err := url.Parse(a.Config.Proxy.URL)
	if err != nil || a.Config.Proxy.URL == "" {
		return 0
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return 0
	}
	return port
}

// ProxyRanges are where the proxy is, for rules that can't name hosts: its own
// address if the URL has one, otherwise all private ranges, since a proxy is in
// the VPC or in a network connected to it.
func (a *Architecture) ProxyRanges() []netip.Prefix {
	u, err := url.Parse(a.Config.Proxy.URL)
	if err != nil || a.Config.Proxy.URL == "" {
		return nil
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
	}
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
	}
}

// NoProxy is what nodes and workloads reach without the proxy, in the order in
// which it is written: themselves, the VPC and its range for pods, Kubernetes,
// instance metadata, AWS services that the deployment makes endpoints for, and
// what the configuration adds. Secondary ranges of a network that is there are
// not known here. It is empty without a proxy.
//
// Programs read such lists differently. Most take a name for itself and all
// names below it; for those that do not, names with others below them stand
// there with a leading dot too. Not all know ranges; names cover what counts.
// https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-proxy.html
func (a *Architecture) NoProxy() []string {
	if a.Config.Proxy.URL == "" {
		return nil
	}
	out := []string{
		"localhost", "127.0.0.1",
		a.VPC().String(),
	}
	if pods, ok := a.PodRange(); ok {
		out = append(out, pods.String())
	}
	// The last is instance metadata.
	out = append(out, a.Config.Cluster.ServiceCIDR, "169.254.169.254")
	if a.Config.Cluster.AddonVersions["eks-pod-identity-agent"] != "" {
		out = append(out, "169.254.170.23")
	}
	region := a.Config.Region
	out = append(out,
		// Names of instances and of Kubernetes.
		".internal", ".svc", ".cluster.local",
		// The Kubernetes API, which nodes reach by its private endpoint.
		"."+region+".eks.amazonaws.com",
	)
	name := func(host string) { out = append(out, host, "."+host) }
	// The gateway endpoint answers for S3's addresses, whatever its name. Amazon
	// Linux names its packages the second way.
	name("s3." + region + ".amazonaws.com")
	name("s3.dualstack." + region + ".amazonaws.com")
	for _, service := range a.Endpoints {
		host := endpointHost(service, region)
		switch service {
		case "ecr.dkr", "execute-api":
			// Accounts and APIs have names below it.
			name(host)
		default:
			out = append(out, host)
		}
	}
	for _, s := range a.Config.Proxy.NoProxy {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// endpointHost is the private DNS name of a service's interface endpoint: the
// words of its name the other way round.
// https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
func endpointHost(service, region string) string {
	if service == "eks-auth" {
		return "eks-auth." + region + ".api.aws"
	}
	words := strings.Split(service, ".")
	slices.Reverse(words)
	return strings.Join(words, ".") + "." + region + ".amazonaws.com"
}
