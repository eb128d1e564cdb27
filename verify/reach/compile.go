package reach

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// Model is a network that was checked and can be asked. It is safe for
// concurrent use.
type Model struct {
	id         string
	subnets    map[string]*subnet
	interfaces map[string]*Interface
	ids        []string // of interfaces, in order
	groups     map[string]*group
	nat        map[string]NATGateway
	natIDs     map[string]bool // interfaces of NAT gateways
	gateway    string          // the internet gateway that is attached
	edges      map[string]*table
	// behind is what the routes of all tables lead to, by gateway.
	behind   map[string]*connected
	internet map[bool]*netipx.IPSet // by IPv6
	taken    *netipx.IPSet          // addresses of interfaces
}

type subnet struct {
	id    string
	space *netipx.IPSet
	table *table
	acl   *acl
}

// table partitions the addresses by the route that serves them.
type table struct {
	id    string
	areas []area
	rest  *netipx.IPSet // without a route
}

type area struct {
	set   *netipx.IPSet
	route Route
	step  Step
}

type acl struct {
	id      string
	in, out []filter // by number
}

// filter is an entry or a rule: what it matches, and who it is for.
type filter struct {
	name  string
	allow bool
	what  traffic16
	peers *netipx.IPSet // nil if by group
	group string
}

// traffic16 is traffic as ranges of a [Region].
type traffic16 struct{ protocols, ports Range }

type group struct {
	id      string
	in, out []filter
}

type connected struct {
	kind TargetKind
	set  *netipx.IPSet
}

// special are the IPv4 ranges that never are on the internet, of IANA's registry
// of special-purpose addresses, apart from those for documentation.
// https://www.iana.org/assignments/iana-ipv4-special-registry
var special = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
}

// unicast is what IPv6 has given out for use on the internet.
var unicast = netip.MustParsePrefix("2000::/3")

// Compile checks that a network is whole: ids are unique, what is referred to is
// there, and prefixes and numbers are valid. It returns all faults, joined.
func Compile(n Network) (*Model, error) {
	c := compiler{m: &Model{
		id:         n.ID,
		subnets:    map[string]*subnet{},
		interfaces: map[string]*Interface{},
		groups:     map[string]*group{},
		nat:        map[string]NATGateway{},
		natIDs:     map[string]bool{},
		edges:      map[string]*table{},
		behind:     map[string]*connected{},
	}, lists: map[string]*netipx.IPSet{}, prefixes: map[string][]netip.Prefix{}, seen: map[string]bool{}}
	own := c.set("VPC "+n.ID, n.CIDRs...)
	public := build(func(b *netipx.IPSetBuilder) {
		b.AddPrefix(ipv4)
		for _, s := range special {
			b.RemovePrefix(netip.MustParsePrefix(s))
		}
		b.AddPrefix(unicast)
		b.RemoveSet(own)
	})
	c.m.internet = map[bool]*netipx.IPSet{false: intersection(public, setOf(ipv4)), true: intersection(public, setOf(ipv6))}
	for _, l := range n.PrefixLists {
		c.once("prefix list", l.ID)
		c.lists[l.ID] = c.set("prefix list "+l.ID, l.Prefixes...)
		c.prefixes[l.ID] = l.Prefixes
	}
	for _, g := range n.InternetGateways {
		c.once("internet gateway", g.ID)
		if g.Attached {
			c.m.gateway = g.ID
		}
	}
	tables, acls := map[string]*table{}, map[string]*acl{}
	for _, t := range n.RouteTables {
		c.once("route table", t.ID)
		tables[t.ID] = c.table(t, own)
		for _, g := range t.Gateways {
			c.m.edges[g] = tables[t.ID]
		}
	}
	for id, b := range c.m.behind {
		c.m.behind[id].set = difference(b.set, own)
	}
	for _, a := range n.ACLs {
		c.once("network ACL", a.ID)
		acls[a.ID] = c.acl(a)
	}
	for _, g := range n.SecurityGroups {
		c.once("security group", g.ID)
		c.m.groups[g.ID] = c.group(g)
	}
	for _, s := range n.Subnets {
		c.once("subnet", s.ID)
		compiled := &subnet{id: s.ID, space: c.set("subnet "+s.ID, s.CIDRs...), table: tables[s.RouteTable], acl: acls[s.ACL]}
		if compiled.table == nil {
			c.fault("subnet %s: the network has no route table %q", s.ID, s.RouteTable)
		}
		if compiled.acl == nil {
			c.fault("subnet %s: the network has no network ACL %q", s.ID, s.ACL)
		}
		if in, out := split(compiled.space, own); in == nil || out != nil {
			c.fault("subnet %s: its addresses are not the VPC's", s.ID)
		}
		for id, other := range c.m.subnets {
			if other.space.Overlaps(compiled.space) {
				c.fault("subnet %s: its addresses are those of %s too", s.ID, id)
			}
		}
		c.m.subnets[s.ID] = compiled
	}
	c.interfaces(n)
	if len(c.faults) > 0 {
		return nil, fmt.Errorf("network of %s: %w", n.ID, errors.Join(c.faults...))
	}
	return c.m, nil
}

type compiler struct {
	m        *Model
	lists    map[string]*netipx.IPSet
	prefixes map[string][]netip.Prefix
	seen     map[string]bool
	faults   []error
}

func (c *compiler) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

func (c *compiler) once(kind, id string) {
	if c.seen[kind+" "+id] || id == "" {
		c.fault("%s %q: ids must be there and unique", kind, id)
	}
	c.seen[kind+" "+id] = true
}

func (c *compiler) set(where string, prefixes ...netip.Prefix) *netipx.IPSet {
	for i, p := range prefixes {
		if !p.IsValid() {
			c.fault("%s: prefix %d is not valid", where, i+1)
			return new(netipx.IPSet)
		}
	}
	return setOf(prefixes...)
}

// list is a prefix list, which must be there.
func (c *compiler) list(where, id string) *netipx.IPSet {
	s, ok := c.lists[id]
	if !ok {
		c.fault("%s: the network has no prefix list %s", where, id)
		return new(netipx.IPSet)
	}
	return s
}

func (c *compiler) interfaces(n Network) {
	owners := map[netip.Addr]string{}
	for i := range n.Interfaces {
		e := &n.Interfaces[i]
		c.once("interface", e.ID)
		s := c.m.subnets[e.Subnet]
		if s == nil {
			c.fault("interface %s: the network has no subnet %q", e.ID, e.Subnet)
			continue
		}
		for _, a := range e.Addresses {
			if !s.space.Contains(a.IP) {
				c.fault("interface %s: %s is not in %s", e.ID, a.IP, e.Subnet)
				continue
			}
			if owner, twice := owners[a.IP]; twice {
				c.fault("interface %s: %s is of %s too", e.ID, a.IP, owner)
			}
			owners[a.IP] = e.ID
		}
		for _, g := range e.Groups {
			if c.m.groups[g] == nil {
				c.fault("interface %s: the network has no security group %q", e.ID, g)
			}
		}
		c.m.interfaces[e.ID] = e
		c.m.ids = append(c.m.ids, e.ID)
	}
	slices.Sort(c.m.ids)
	c.m.taken = build(func(b *netipx.IPSetBuilder) {
		for ip := range owners {
			b.Add(ip)
		}
	})
	for _, g := range n.NATGateways {
		c.once("NAT gateway", g.ID)
		c.m.nat[g.ID] = g
		if g.Interface == "" {
			continue
		}
		if c.m.interfaces[g.Interface] == nil {
			c.fault("NAT gateway %s: the network has no interface %q", g.ID, g.Interface)
		}
		c.m.natIDs[g.Interface] = true
	}
}

// table compiles a route table: every route's prefixes, by priority, each of
// which takes what those before it left.
func (c *compiler) table(t RouteTable, own *netipx.IPSet) *table {
	type candidate struct {
		prefix netip.Prefix
		class  int
		route  int
	}
	var candidates []candidate
	local := new(netipx.IPSet)
	for i, r := range t.Routes {
		where := fmt.Sprintf("route table %s, route %d", t.ID, i+1)
		prefixes, class := []netip.Prefix{r.Destination}, 0
		switch {
		case r.PrefixList != "":
			c.list(where, r.PrefixList)
			prefixes, class = c.prefixes[r.PrefixList], 1
		case r.Propagated:
			class = 2
		}
		set := c.set(where, prefixes...)
		switch r.Kind {
		case Local:
			local = union(local, set)
		case ToTransitGateway, ToPeering, ToVPNGateway:
			b := c.m.behind[r.Target]
			if b == nil {
				b = &connected{kind: r.Kind, set: new(netipx.IPSet)}
				c.m.behind[r.Target] = b
			}
			b.set = union(b.set, set)
		case ToInternetGateway, ToEgressOnlyGateway, ToNATGateway, ToInterface, ToGatewayEndpoint, Other:
		default:
			c.fault("%s: %q is no kind of target", where, r.Kind)
		}
		for _, p := range prefixes {
			candidates = append(candidates, candidate{p, class, i})
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.prefix.Bits(), a.prefix.Bits()), cmp.Compare(a.class, b.class))
	})
	local = intersection(local, own)
	out := &table{id: t.ID, rest: setOf(ipv4, ipv6)}
	for _, k := range candidates {
		if !k.prefix.IsValid() {
			continue // a fault already
		}
		r := t.Routes[k.route]
		want := setOf(k.prefix)
		if r.Propagated {
			want = difference(want, local)
		}
		mine := intersection(want, out.rest)
		if empty(mine) {
			continue
		}
		out.rest = difference(out.rest, mine)
		to := r.Target
		if to == "" {
			to = string(r.Kind)
		}
		out.areas = append(out.areas, area{mine, r, Step{Kind: StepRoute, Object: t.ID, Entry: k.prefix.Masked().String() + " to " + to}})
	}
	return out
}

// find is the area of an address, or nil.
func (t *table) find(ip netip.Addr) *area {
	for i := range t.areas {
		if t.areas[i].set.Contains(ip) {
			return &t.areas[i]
		}
	}
	return nil
}

func (c *compiler) acl(a ACL) *acl {
	entries := slices.Clone(a.Entries)
	slices.SortStableFunc(entries, func(x, y ACLEntry) int { return cmp.Compare(x.Number, y.Number) })
	out := &acl{id: a.ID}
	for _, e := range entries {
		f := filter{name: fmt.Sprint("in ", e.Number), allow: e.Allow}
		to := &out.in
		if e.Egress {
			f.name, to = fmt.Sprint("out ", e.Number), &out.out
		}
		where := fmt.Sprintf("network ACL %s, entry %s", a.ID, f.name)
		c.once("entry", a.ID+" "+f.name)
		f.what, f.peers = c.traffic(where, e.Traffic), c.set(where, e.CIDR)
		*to = append(*to, f)
	}
	return out
}

func (c *compiler) group(g SecurityGroup) *group {
	out := &group{id: g.ID}
	for i, r := range g.Rules {
		where := fmt.Sprintf("security group %s, rule %s", g.ID, cmp.Or(r.ID, fmt.Sprint(i+1)))
		f := filter{name: r.ID, allow: true, what: c.traffic(where, r.Traffic), group: r.Group}
		switch {
		case r.CIDR.IsValid() && r.PrefixList == "" && r.Group == "":
			f.peers = setOf(r.CIDR)
		case !r.CIDR.IsValid() && r.PrefixList != "" && r.Group == "":
			f.peers = c.list(where, r.PrefixList)
		case !r.CIDR.IsValid() && r.PrefixList == "" && r.Group != "":
		default:
			c.fault("%s: it must have exactly one of prefix, prefix list and group", where)
		}
		if r.Egress {
			out.out = append(out.out, f)
		} else {
			out.in = append(out.in, f)
		}
	}
	return out
}

// traffic are the ranges of some traffic.
func (c *compiler) traffic(where string, t Traffic) traffic16 {
	if t.Protocol == -1 {
		return traffic16{Range{0, 255}, All}
	}
	if t.Protocol < 0 || t.Protocol > 255 {
		c.fault("%s: there is no protocol %d", where, t.Protocol)
		return traffic16{}
	}
	protocols := Range{uint16(t.Protocol), uint16(t.Protocol)}
	switch t.Protocol {
	case tcp, udp:
		if t.From == -1 {
			return traffic16{protocols, All}
		}
		if t.From < 0 || t.To > 65535 || t.From > t.To {
			c.fault("%s: there are no ports %d to %d", where, t.From, t.To)
			return traffic16{}
		}
		return traffic16{protocols, Range{uint16(t.From), uint16(t.To)}}
	case icmp, icmp6:
		switch {
		case t.From == -1:
			return traffic16{protocols, All}
		case t.From < 0 || t.From > 255 || t.To < -1 || t.To > 255:
			c.fault("%s: there is no ICMP type %d with code %d", where, t.From, t.To)
			return traffic16{}
		case t.To == -1:
			return traffic16{protocols, Range{uint16(t.From) << 8, uint16(t.From)<<8 | 255}}
		}
		n := uint16(t.From)<<8 | uint16(t.To)
		return traffic16{protocols, Range{n, n}}
	}
	return traffic16{protocols, All}
}
