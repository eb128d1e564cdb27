package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// documentation are the ranges that stand for others in examples. EKS refuses
// them as public access ranges.
// https://www.rfc-editor.org/rfc/rfc5737
var documentation = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
}

// exampleAccount is the account id of examples.
const exampleAccount = "123456789012"

// exampleCompany owns the certificates of examples.
const (
	exampleCompany = "Example Corp"
	// exampleID is what the ids of EC2 begin with in examples, after their kind.
	exampleID = "0123456789abcdef"
)

// Placeholders lists what still stands for something of the user's own: ranges,
// domains, ids of networks and account ids that examples have. They are no faults, since
// rehearsals take them, but a real account does not. In the order of the file.
func (c *Config) Placeholders() Faults {
	var out Faults
	note := func(path, value, what string) {
		out = append(out, c.Fault(path, fmt.Sprintf("%s stands for %s of your own", value, what), "put your own in its place before you use a real account"))
	}
	cidrs := func(path string, list []string) {
		for i, s := range list {
			p, err := netip.ParsePrefix(s)
			if err == nil && slices.ContainsFunc(documentation, func(d netip.Prefix) bool { return d.Overlaps(p) }) {
				note(fmt.Sprintf("%s[%d]", path, i), s, "an address range")
			}
		}
	}
	cidrs("cluster.publicAccessCidrs", c.Cluster.PublicAccessCIDRs)
	cidrs("access.web.allowCidrs", c.Access.Web.AllowCIDRs)
	cidrs("access.admin.allowCidrs", c.Access.Admin.AllowCIDRs)
	host := func(path, h string) {
		if h == "example.com" || strings.HasSuffix(h, ".example.com") {
			note(path, h, "a host name")
		}
	}
	host("access.web.host", c.Access.Web.Host)
	host("access.api.host", c.Access.API.Host)
	host("access.admin.host", c.Access.Admin.Host)
	host("dns.zone", c.DNS.Zone)
	for _, p := range []setting{{"cluster.api.proxy", c.Cluster.API.Proxy}, {"proxy.url", c.Proxy.URL}} {
		if u, err := url.Parse(p.value); err == nil {
			host(p.path, u.Hostname())
		}
	}
	for i, s := range c.Proxy.NoProxy {
		host(fmt.Sprintf("proxy.noProxy[%d]", i), s)
	}
	for _, cert := range c.Trust.Certificates() {
		if slices.Contains(cert.Subject.Organization, exampleCompany) {
			note("trust.caBundle", "the certificate of "+cert.Subject.CommonName, "an authority")
		}
	}
	for _, id := range c.ids() {
		if _, digits, ok := strings.Cut(id.value, "-"); ok && strings.HasPrefix(digits, exampleID) {
			note(id.path, id.value, "an id")
		}
	}
	for _, a := range c.arns() {
		if parts := strings.Split(a.value, ":"); len(parts) > 5 && parts[4] == exampleAccount {
			note(a.path, a.value, "an ARN")
		}
	}
	// Sorting is all that Err adds.
	_ = out.Err()
	return out
}

// setting is a value and the key that it stands at.
type setting struct{ path, value string }

// ids are the networks, and parts of networks, that the configuration names.
func (c *Config) ids() []setting {
	n := c.Network
	out := []setting{{"network.existing.vpcId", n.Existing.VPCID}, {"network.transitGateway.id", n.TransitGateway.ID}}
	for _, tier := range []struct {
		key string
		ids []string
	}{
		{"publicSubnetIds", n.Existing.PublicSubnetIDs},
		{"controlPlaneSubnetIds", n.Existing.ControlPlaneSubnetIDs},
		{"privateSubnetIds", n.Existing.PrivateSubnetIDs},
	} {
		for i, id := range tier.ids {
			out = append(out, setting{fmt.Sprintf("network.existing.%s[%d]", tier.key, i), id})
		}
	}
	for i, r := range n.Routes {
		out = append(out, setting{fmt.Sprintf("network.routes[%d].target", i), r.Target})
	}
	return out
}

// arns are the ARNs that the configuration names, in no account but its own.
func (c *Config) arns() []setting {
	out := []setting{{"permissionBoundary", c.PermissionBoundary}, {"serviceRole", c.ServiceRole}}
	for i, s := range c.Cluster.Administrators {
		out = append(out, setting{fmt.Sprintf("cluster.administrators[%d]", i), s})
	}
	return append(out,
		setting{"access.sso.web.secretArn", c.Access.SSO.Web.SecretARN},
		setting{"access.sso.admin.secretArn", c.Access.SSO.Admin.SecretARN},
		setting{"certificate.arn", c.Certificate.ARN},
	)
}
