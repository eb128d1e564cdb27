package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/route53"
	"github.com/poolhouse/poolhouse/config"
)

// dns is the hosted zone. It must be delegated before the certificate can be
// issued, so its name servers are an output.
func dns(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.DNS)
	zone := t.Add("HostedZone", route53.HostedZone{
		Name:             cfn.V(a.Config.DNS.Zone),
		HostedZoneConfig: &route53.HostedZoneConfig{Comment: cfn.V("poolhouse " + a.Name())},
		HostedZoneTags:   named(a, "zone"),
	})
	t.Output("HostedZoneId", zone.Ref())
	t.OutputList("NameServers", zone.AttList("NameServers"))
	return t
}

// hostedZoneID is the zone that records go into, ours or an existing one;
// absent when DNS is elsewhere.
func hostedZoneID(a *architecture.Architecture, t *cfn.Template) cfn.Value[string] {
	switch a.Config.DNS.Mode {
	case config.DNSCreateZone:
		return t.Input(string(architecture.DNS), "HostedZoneId")
	case config.DNSExistingZone:
		return cfn.V(a.Config.DNS.ZoneID)
	}
	return cfn.Value[string]{}
}
