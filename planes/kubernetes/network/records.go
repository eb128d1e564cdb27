package network

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// ttl is how long answers are good for, in seconds: CoreDNS's.
const ttl = 5

// schema is the version of the specification that is followed.
// https://github.com/kubernetes/dns/blob/master/docs/specification.md
const schema = "1.1.0"

// answer is what a question has: records, or that the name has none of the type, or
// that there is no such name.
type answer struct {
	exists bool
	err    error // nobody can say
	// ours is whether the name is in the cluster's domain, or an address's: nobody
	// else knows it.
	ours    bool
	records []record
	extra   []record
}

// record is one of a name, without a dot at its end.
type record struct {
	name string
	body dnsmessage.ResourceBody
}

func address(name string, a netip.Addr) record {
	return record{name, &dnsmessage.AResource{A: a.As4()}}
}

// domain is a name as messages have it; one that is too long for them is none.
func domain(name string) (dnsmessage.Name, error) { return dnsmessage.NewName(name + ".") }

// lookUp answers a question about a name, lower case and without a dot at its end.
func (n *Network) lookUp(name string, kind dnsmessage.Type) answer {
	n.mu.Lock()
	services := n.services
	n.mu.Unlock()
	z := zone{domain: n.opts.Domain, services: services}
	if name == z.domain || strings.HasSuffix(name, "."+z.domain) {
		a := z.inside(strings.TrimSuffix(strings.TrimSuffix(name, z.domain), "."), name, kind)
		a.ours = true
		// Another name of something leads on, if it isn't what was asked for.
		if len(a.records) == 1 && kind != dnsmessage.TypeCNAME {
			if c, ok := a.records[0].body.(*dnsmessage.CNAMEResource); ok {
				to := strings.ToLower(strings.TrimSuffix(c.CNAME.String(), "."))
				if to != name {
					a.records = append(a.records, n.outside(to, kind).records...)
				}
			}
		}
		return a
	}
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		if a := z.reverse(rest, name, kind); a.exists {
			a.ours = true
			return a
		}
	}
	return n.outside(name, kind)
}

// outside answers for what is not in the cluster.
func (n *Network) outside(name string, kind dnsmessage.Type) answer {
	a, leads, err := n.address(name)
	if err != nil || !leads {
		return answer{err: err}
	}
	out := answer{exists: true}
	if kind == dnsmessage.TypeA {
		out.records = []record{address(name, a)}
	}
	return out
}

// zone is the cluster's domain.
type zone struct {
	domain   string
	services map[string]Service
}

// inside answers for a name in the zone, of which rest is what goes before it.
func (z zone) inside(rest, name string, kind dnsmessage.Type) answer {
	labels := strings.Split(rest, ".")
	last := labels[len(labels)-1]
	switch {
	case rest == "" || rest == "svc" || rest == "pod":
		return answer{exists: true}
	case rest == "dns-version":
		a := answer{exists: true}
		if kind == dnsmessage.TypeTXT {
			a.records = []record{{name, &dnsmessage.TXTResource{TXT: []string{schema}}}}
		}
		return a
	case last == "pod" && len(labels) <= 3:
		return z.pod(labels[:len(labels)-1], name, kind)
	case last == "svc":
		return z.service(labels[:len(labels)-1], name, kind)
	}
	return answer{}
}

// namespace is whether there is one with a service.
func (z zone) namespace(name string) bool {
	for _, s := range z.services {
		if s.Namespace == name {
			return true
		}
	}
	return false
}

// pod answers for a pod by its address, whether there is one or not, as CoreDNS on
// EKS does.
func (z zone) pod(labels []string, name string, kind dnsmessage.Type) answer {
	if len(labels) == 1 {
		return answer{exists: z.namespace(labels[0])}
	}
	a, err := netip.ParseAddr(strings.ReplaceAll(labels[0], "-", "."))
	if err != nil || !a.Is4() {
		return answer{}
	}
	out := answer{exists: true}
	if kind == dnsmessage.TypeA {
		out.records = []record{address(name, a)}
	}
	return out
}

// service answers for services, their endpoints, and their ports.
func (z zone) service(labels []string, name string, kind dnsmessage.Type) answer {
	namespace := labels[len(labels)-1]
	if len(labels) == 1 {
		return answer{exists: z.namespace(namespace)}
	}
	s, ok := z.services[namespace+"/"+labels[len(labels)-2]]
	if !ok {
		return answer{}
	}
	own := fmt.Sprintf("%s.%s.svc.%s", s.Name, s.Namespace, z.domain)
	switch labels = labels[:len(labels)-2]; len(labels) {
	case 0:
		return z.whole(s, own, kind)
	case 1:
		if strings.HasPrefix(labels[0], "_") {
			return answer{exists: len(s.ports("", labels[0])) > 0}
		}
		return z.endpoint(s, labels[0], name, kind)
	case 2:
		if !strings.HasPrefix(labels[0], "_") || !strings.HasPrefix(labels[1], "_") {
			return answer{}
		}
		return z.port(s, s.ports(labels[0], labels[1]), own, name, kind)
	}
	return answer{}
}

// whole answers for a service as such.
func (z zone) whole(s Service, own string, kind dnsmessage.Type) answer {
	out := answer{exists: true}
	switch {
	case s.External != "":
		to, err := domain(s.External)
		if err != nil {
			return out
		}
		out.records = []record{{own, &dnsmessage.CNAMEResource{CNAME: to}}}
	case s.Address.Is4():
		if kind == dnsmessage.TypeA {
			out.records = []record{address(own, s.Address)}
		}
	default:
		// A headless service whose pods aren't ready has no name.
		out.exists = len(s.Endpoints) > 0
		seen := map[netip.Addr]bool{}
		for _, e := range s.Endpoints {
			if kind == dnsmessage.TypeA && e.Address.Is4() && !seen[e.Address] {
				seen[e.Address] = true
				out.records = append(out.records, address(own, e.Address))
			}
		}
	}
	if kind == dnsmessage.TypeSRV && s.External == "" {
		return z.port(s, s.ports("", ""), own, own, kind)
	}
	return out
}

// named is the name of an endpoint below its service.
func (e Endpoint) named() string {
	if e.Hostname != "" {
		return strings.ToLower(e.Hostname)
	}
	return strings.ReplaceAll(e.Address.String(), ".", "-")
}

// endpoint answers for one of a headless service.
func (z zone) endpoint(s Service, label, name string, kind dnsmessage.Type) answer {
	var out answer
	if s.Address.IsValid() || s.External != "" {
		return out
	}
	seen := map[netip.Addr]bool{}
	for _, e := range s.Endpoints {
		if e.named() != label || !e.Address.Is4() || seen[e.Address] {
			continue
		}
		seen[e.Address], out.exists = true, true
		if kind == dnsmessage.TypeA {
			out.records = append(out.records, address(name, e.Address))
		}
	}
	return out
}

// ports are those of a service that _name and _protocol mean, "" all: of a headless
// one, those of its endpoints.
func (s Service) ports(name, protocol string) (out []Port) {
	list := s.Ports
	if !s.Address.IsValid() {
		list = nil
		seen := map[Port]bool{}
		for _, e := range s.Endpoints {
			for _, p := range e.Ports {
				if !seen[p] {
					seen[p] = true
					list = append(list, p)
				}
			}
		}
	}
	for _, p := range list {
		if p.Name != "" && (name == "" || "_"+p.Name == name) && (protocol == "" || "_"+p.Protocol == protocol) {
			out = append(out, p)
		}
	}
	return out
}

// port answers for ports by SRV records, with the addresses that they lead to.
func (z zone) port(s Service, ports []Port, own, name string, kind dnsmessage.Type) answer {
	out := answer{exists: len(ports) > 0 || name == own}
	if kind != dnsmessage.TypeSRV {
		return out
	}
	known := map[string]bool{}
	add := func(target string, number uint16, a netip.Addr) {
		to, err := domain(target)
		if err != nil {
			return
		}
		out.records = append(out.records, record{name, &dnsmessage.SRVResource{Weight: 100, Port: number, Target: to}})
		if !known[target] {
			known[target] = true
			out.extra = append(out.extra, address(target, a))
		}
	}
	for _, p := range ports {
		if s.Address.Is4() {
			add(own, p.Number, s.Address)
			continue
		}
		for _, e := range s.Endpoints {
			for _, q := range e.Ports {
				if q == p && e.Address.Is4() {
					add(e.named()+"."+own, q.Number, e.Address)
				}
			}
		}
	}
	return out
}

// reverse answers for an address of the cluster's, which in-addr.arpa has backwards.
func (z zone) reverse(rest, name string, kind dnsmessage.Type) answer {
	labels := strings.Split(rest, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	a, err := netip.ParseAddr(strings.Join(labels, "."))
	if err != nil {
		return answer{}
	}
	var out answer
	for _, s := range z.services {
		own := fmt.Sprintf("%s.%s.svc.%s", s.Name, s.Namespace, z.domain)
		target := ""
		if s.Address == a {
			target = own
		}
		for _, e := range s.Endpoints {
			if e.Address == a && !s.Address.IsValid() {
				target = e.named() + "." + own
			}
		}
		to, err := domain(target)
		if target == "" || err != nil {
			continue
		}
		out.exists = true
		if kind == dnsmessage.TypePTR {
			out.records = append(out.records, record{name, &dnsmessage.PTRResource{PTR: to}})
		}
	}
	return out
}
