package network

import (
	"cmp"
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
)

// leaves is what a host in a subnet reaches the internet on 443 by, or "". Where
// that is a gateway to other networks, what those do with it is not known.
func leaves(l *account.Look, subnet string) (string, error) {
	a, err := between(l, reach.In{Subnet: subnet}, reach.Internet{})
	if err != nil {
		return "", err
	}
	ask := reach.TCP(443)
	ask.Clients = reach.Ephemeral
	for _, o := range a.Reached(ask) {
		if o.Way == reach.WayGatewayEndpoint || o.Verdict == reach.OneWay {
			continue
		}
		return o.String(), nil
	}
	return "", nil
}

// byConfigured tells whether traffic goes by something that the configuration has
// routes to.
func byConfigured(n config.Network, o reach.Outcome) bool {
	targets := []string{n.TransitGateway.ID}
	for _, r := range n.Routes {
		targets = append(targets, r.Target)
	}
	return slices.ContainsFunc(append(slices.Clone(o.Trail), o.At), func(s reach.Step) bool {
		return s.Object != "" && slices.Contains(targets, s.Object)
	})
}

func privateEgress(l *account.Look, r *check.Recorder) error {
	p, err := l.Places()
	if err != nil {
		return err
	}
	n := l.Arch.Config.Network
	none := account.NATCount(l.Arch) == 0
	for _, s := range p.Tier(architecture.Private) {
		if l.Given() || n.CentralEgress() {
			by, err := leaves(l, s.SubnetID)
			if err != nil {
				return err
			}
			r.Saw(by != "" || l.Arch.Config.Proxy.URL != "", s.SubnetID, "the way out is "+cmp.Or(by, "not there"), reachAPI, "a way to the internet on 443, or proxy in the configuration", fixNetwork(l))
			continue
		}
		if !none {
			if err := covers(l, r, s.SubnetID, reach.In{Subnet: s.SubnetID}, reach.Internet{}, 443, "the internet"); err != nil {
				return err
			}
			continue
		}
		a, err := between(l, reach.In{Subnet: s.SubnetID}, reach.Internet{})
		if err != nil {
			return err
		}
		// A gateway endpoint leads to its service and nowhere else.
		out := slices.DeleteFunc(a.Reached(reach.Everything()), func(o reach.Outcome) bool {
			return o.Way == reach.WayGatewayEndpoint || byConfigured(n, o)
		})
		saw := "no way out but to S3 by its endpoint"
		var way []string
		if len(out) > 0 {
			saw = reachedBy(out[0])
			way = trail(out[0])
		}
		r.Saw(len(out) == 0, s.SubnetID, saw, reachAPI, "no way out, since network.nat.mode is none", check.FixReach, way...)
	}
	return nil
}
