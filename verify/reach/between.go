package reach

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go4.org/netipx"
)

// Interfaces are the ids of all interfaces, sorted.
func (m *Model) Interfaces() []string { return slices.Clone(m.ids) }

// Gateways are the transit gateways, peering connections and virtual private
// gateways that some route leads to, sorted.
func (m *Model) Gateways() []string { return slices.Sorted(maps.Keys(m.behind)) }

// FromInternet answers for every interface, in order of their ids, what the
// internet can open to it.
func (m *Model) FromInternet() []Answer {
	answers := make([]Answer, 0, len(m.ids))
	for _, id := range m.ids {
		r := run{m: m}
		r.inbound("", m.internet, m.interfaces[id])
		answers = append(answers, Answer{Internet{}, At{id}, tidy(r.outcomes)})
	}
	return answers
}

// Between answers what becomes of every connection that one place could open to
// another. From the internet and what is behind a gateway it goes to an
// interface; from an interface or a subnet also to the internet and behind a
// gateway. It errs if the network has no such place, or both are the same.
func (m *Model) Between(from, to Place) (Answer, error) {
	for _, p := range []Place{from, to} {
		if err := m.check(p); err != nil {
			return Answer{}, err
		}
	}
	r := run{m: m}
	switch to := to.(type) {
	case At:
		target := m.interfaces[to.Interface]
		switch from := from.(type) {
		case Internet:
			r.inbound("", m.internet, target)
		case Behind:
			r.inbound(from.Gateway, byFamily(m.behind[from.Gateway].set), target)
		case At:
			if from == to {
				return Answer{}, fmt.Errorf("reach: a connection from %s to itself leaves no trace in the network", to.Interface)
			}
			r.across(m.node(from), target)
		case In:
			r.across(m.node(from), target)
		}
	case Internet, Behind:
		switch from.(type) {
		case At, In:
			r.outbound(m.node(from), to)
		default:
			return Answer{}, fmt.Errorf("reach: from %s to %s is not a question about the VPC", from.place(), to.place())
		}
	default:
		return Answer{}, fmt.Errorf("reach: %s can only be where connections start: ask for an interface in it", to.place())
	}
	return Answer{from, to, tidy(r.outcomes)}, nil
}

func (m *Model) check(p Place) error {
	ok, hint := true, ""
	switch p := p.(type) {
	case Internet:
	case Behind:
		_, ok = m.behind[p.Gateway]
		hint = "no route of the network leads to it"
	case At:
		_, ok = m.interfaces[p.Interface]
		hint = "the network has no such interface"
	case In:
		_, ok = m.subnets[p.Subnet]
		hint = "the network has no such subnet"
	default:
		return fmt.Errorf("reach: %T is no place", p)
	}
	if !ok {
		return fmt.Errorf("reach: %s: %s", p.place(), hint)
	}
	return nil
}

func byFamily(s *netipx.IPSet) map[bool]*netipx.IPSet {
	return map[bool]*netipx.IPSet{false: intersection(s, setOf(ipv4)), true: intersection(s, setOf(ipv6))}
}

// node is something in a subnet that sends: an interface, or a host without one.
type node struct {
	*subnet
	e         *Interface // nil if there is none
	addresses []Address  // of the interface
	space     *netipx.IPSet
}

func (m *Model) node(p Place) node {
	switch p := p.(type) {
	case At:
		return m.at(m.interfaces[p.Interface])
	case In:
		s := m.subnets[p.Subnet]
		return node{subnet: s, space: difference(s.space, m.taken)}
	}
	return node{}
}

func (m *Model) at(e *Interface) node {
	return node{subnet: m.subnets[e.Subnet], e: e, addresses: e.Addresses}
}

// same tells that two nodes are the same interface, or neither is one.
func (n node) same(o node) bool { return n.e == o.e }

// origin is where a node's connections may come from: one address with its public
// one, or all that a host could have of a family.
type origin struct {
	set    *netipx.IPSet
	v6     bool
	public bool
}

func (n node) origins() []origin {
	var out []origin
	if n.e == nil {
		for v6, set := range byFamily(n.space) {
			if !empty(set) {
				out = append(out, origin{set, v6, v6})
			}
		}
		slices.SortFunc(out, func(a, b origin) int {
			if a.v6 == b.v6 {
				return 0
			} else if b.v6 {
				return -1
			}
			return 1
		})
		return out
	}
	for _, a := range n.addresses {
		out = append(out, origin{single(a.IP), a.IP.Is6(), a.public()})
	}
	return out
}

func (a Address) public() bool {
	if a.IP.Is6() {
		return unicast.Contains(a.IP)
	}
	return a.Public.IsValid()
}

// lot is connections that have come as far as a trail.
type lot struct {
	Region
	trail []Step
	way   Way
}

func (l lot) with(r Region, steps ...Step) lot {
	l.Region = r
	l.trail = append(slices.Clip(l.trail), steps...)
	return l
}

// run collects the outcomes of a question. Lots pass its stages, each of which
// takes away what it stops.
type run struct {
	m         *Model
	answering bool // the lots have arrived, their answers are on the way
	outcomes  []Outcome
}

// begin is all connections from some addresses to others, by what kind of answer
// they get.
func begin(from, to *netipx.IPSet, way Way) []lot {
	if empty(from) || empty(to) {
		return nil
	}
	var lots []lot
	add := func(protocols Range, ports ...Range) {
		for _, p := range ports {
			lots = append(lots, lot{Region: Region{protocols, p, All, from, to}, way: way})
		}
	}
	next := uint16(0)
	for _, n := range []uint16{icmp, tcp, udp, icmp6} {
		if next < n {
			add(Range{next, n - 1}, All)
		}
		switch n {
		case icmp:
			add(Range{n, n}, Range{0, echo<<8 - 1}, Range{echo << 8, echo<<8 | 255}, Range{(echo + 1) << 8, 65535})
		case icmp6:
			add(Range{n, n}, Range{0, echo6<<8 - 1}, Range{echo6 << 8, echo6<<8 | 255}, Range{(echo6 + 1) << 8, 65535})
		default:
			add(Range{n, n}, All)
		}
		next = n + 1
	}
	add(Range{next, 255}, All)
	return lots
}

// answer is the region of the packets that answer a region that begin made, as
// ports that they go to, and whether there are any.
func (r Region) answer() (ports Range, fixed, any bool) {
	switch p := r.Protocols.From; {
	case p == tcp || p == udp:
		return r.Clients, false, true
	case p == icmp && r.Ports.From>>8 == echo:
		return Range{echoReply << 8, echoReply << 8}, true, true
	case p == icmp6 && r.Ports.From>>8 == echo6:
		return Range{echoReply6 << 8, echoReply6 << 8}, true, true
	case p == icmp || p == icmp6:
		return Range{}, false, false
	}
	return All, true, true
}

// stop ends lots. On the way back only TCP is stopped: what has no handshake has
// arrived, in one way.
func (r *run) stop(reason Reason, at Step, lots ...lot) {
	at.Answering = r.answering
	for _, l := range lots {
		o := Outcome{Region: l.Region, Verdict: Blocked, Reason: reason, At: at, Way: l.way, Trail: before(l.trail, at)}
		if r.answering && l.Protocols.From != tcp {
			o.Verdict = OneWay
		}
		r.outcomes = append(r.outcomes, o)
	}
}

// lose ends lots in something that is not described.
func (r *run) lose(at Step, lots ...lot) {
	at.Answering = r.answering
	for _, l := range lots {
		o := Outcome{Region: l.Region, Verdict: Opaque, Reason: NotFollowed, At: at, Way: l.way, Trail: before(l.trail, at)}
		r.outcomes = append(r.outcomes, o)
	}
}

// before is a trail without the step that it ends at.
func before(trail []Step, at Step) []Step {
	if n := len(trail); n > 0 && trail[n-1] == at {
		return trail[:n-1]
	}
	return trail
}

// done ends lots that are open.
func (r *run) done(lots []lot) {
	for _, l := range lots {
		r.outcomes = append(r.outcomes, Outcome{Region: l.Region, Verdict: Open, Way: l.way, Trail: l.trail})
	}
}

// arrived turns to the way back. What has no answers is open already.
func (r *run) arrived(lots []lot) []lot {
	var rest []lot
	for _, l := range lots {
		if _, _, any := l.answer(); any {
			rest = append(rest, l)
		} else {
			r.done([]lot{l})
		}
	}
	r.answering = true
	return rest
}

// pass adds a step that all lots take.
func (r *run) pass(lots []lot, s Step) []lot {
	s.Answering = r.answering
	out := make([]lot, len(lots))
	for i, l := range lots {
		out[i] = l.with(l.Region, s)
	}
	return out
}

// end is which of a region's sets a filter looks at.
type end bool

const (
	source      end = false
	destination end = true
)

// constraint is what of a lot's region a filter matches, going forward or, for
// answers, back.
func (r *run) constraint(l lot, f traffic16, peers *netipx.IPSet, side end) (Region, bool) {
	c := Region{Protocols: f.protocols, Ports: f.ports, Clients: All}
	if r.answering {
		c.Ports = All
		ports, fixed, _ := l.answer()
		if !fixed {
			c.Clients = f.ports
		} else if _, ok := ports.meet(f.ports); !ok {
			return Region{}, false
		}
	}
	if side == source {
		c.Sources = peers
	} else {
		c.Destinations = peers
	}
	return c, true
}

// acl passes lots through a subnet's network ACL, in or out; side says at which
// end the ACL finds the peer.
func (r *run) acl(lots []lot, a *acl, egress bool, side end) []lot {
	entries, name := a.in, "in *"
	if egress {
		entries, name = a.out, "out *"
	}
	step := func(entry string) Step {
		return Step{Kind: StepACL, Object: a.id, Entry: entry, Answering: r.answering}
	}
	var passed []lot
	for _, l := range lots {
		rest := []Region{l.Region}
		for _, e := range entries {
			if len(rest) == 0 {
				break
			}
			c, ok := r.constraint(l, e.what, e.peers, side)
			if !ok {
				continue
			}
			var after []Region
			for _, region := range rest {
				in, ok, out := region.cut(c)
				after = append(after, out...)
				switch {
				case ok && e.allow:
					passed = append(passed, l.with(in, step(e.name)))
				case ok:
					r.stop(DeniedByACL, step(e.name), l.with(in))
				}
			}
			rest = after
		}
		for _, region := range rest {
			r.stop(DeniedByACL, step(name), l.with(region))
		}
	}
	return passed
}

// peer is who a security group sees at the other end: an interface next to it,
// or something behind a gateway; else nobody that a group can refer to.
type peer struct {
	e       *Interface
	gateway TargetKind
}

// groups passes lots through the security groups of an interface.
func (r *run) groups(lots []lot, e *Interface, egress bool, side end, who peer) []lot {
	if e == nil || len(e.Groups) == 0 {
		return lots
	}
	var passed []lot
	for _, l := range lots {
		rest := []Region{l.Region}
		for _, id := range e.Groups {
			g := r.m.groups[id]
			rules := g.in
			if egress {
				rules = g.out
			}
			for _, rule := range rules {
				if rule.peers == nil && !r.member(who, rule.group) {
					continue
				}
				c, ok := r.constraint(l, rule.what, rule.peers, side)
				if !ok {
					continue
				}
				var after []Region
				for _, region := range rest {
					in, ok, out := region.cut(c)
					after = append(after, out...)
					if ok {
						passed = append(passed, l.with(in, Step{Kind: StepGroup, Object: id, Entry: rule.name}))
					}
				}
				rest = after
			}
		}
		direction := "in"
		if egress {
			direction = "out"
		}
		for _, region := range rest {
			r.stop(DeniedByGroup, Step{Kind: StepGroup, Object: strings.Join(e.Groups, " "), Entry: direction}, l.with(region))
		}
	}
	return passed
}

// member tells that a peer belongs to a group. Groups of other VPCs can be
// referred to across peering connections and transit gateways.
func (r *run) member(who peer, group string) bool {
	if who.e != nil {
		return slices.Contains(who.e.Groups, group)
	}
	known := r.m.groups[group] != nil
	return !known && (who.gateway == ToPeering || who.gateway == ToTransitGateway)
}

// routed hands the part of lots in each area of a table to what follows it, and
// stops what has no route or a dead one.
func (r *run) routed(lots []lot, t *table, side end, follow func(area, []lot)) {
	within := func(set *netipx.IPSet, step *Step) []lot {
		c := Region{Protocols: All, Ports: All, Clients: All, Sources: set}
		if side == destination {
			c.Sources, c.Destinations = nil, set
		}
		var out []lot
		for _, l := range lots {
			if in, ok, _ := l.cut(c); ok {
				if step == nil {
					out = append(out, l.with(in))
				} else {
					out = append(out, l.with(in, *step))
				}
			}
		}
		return out
	}
	was := r.answering
	for _, a := range t.areas {
		r.answering = was
		a.step.Answering = was
		if a.route.Blackhole {
			r.stop(Blackhole, a.step, within(a.set, nil)...)
		} else if part := within(a.set, &a.step); len(part) > 0 {
			follow(a, part)
		}
	}
	r.answering = was
	r.stop(NoRoute, Step{Kind: StepRoute, Object: t.id}, within(t.rest, nil)...)
}

// edge stops what a gateway's own route table does not hand on directly.
func (r *run) edge(lots []lot, gateway string, to *netipx.IPSet) []lot {
	t := r.m.edges[gateway]
	if t == nil {
		return lots
	}
	for _, ip := range to.Ranges() {
		if a := t.find(ip.From()); a == nil || a.route.Kind != Local || a.route.Blackhole {
			r.lose(Step{Kind: StepRoute, Object: t.id}, lots...)
			return nil
		}
	}
	return lots
}

// inbound answers what outside, by the internet gateway or another, can open to
// an interface.
func (r *run) inbound(gateway string, outside map[bool]*netipx.IPSet, target *Interface) {
	kind, way := ToInternetGateway, WayInternetGateway
	if gateway != "" {
		kind, way = r.m.behind[gateway].kind, WayConnected
	}
	t := r.m.at(target)
	itself := Step{Kind: StepAt, Object: target.ID}
	for _, o := range t.origins() {
		r.answering = false
		lots := begin(outside[o.v6], o.set, way)
		via := gateway
		if kind == ToInternetGateway {
			if !o.public {
				r.stop(NoPublicAddress, itself, lots...)
				continue
			}
			if via = r.m.gateway; via == "" {
				r.stop(NoInternetGateway, Step{Kind: StepVPC, Object: r.m.id}, lots...)
				continue
			}
		}
		lots = r.edge(lots, via, o.set)
		lots = r.pass(lots, Step{Kind: StepGateway, Object: via})
		if r.m.natIDs[target.ID] {
			r.stop(Unsolicited, itself, lots...)
			continue
		}
		lots = r.acl(lots, t.acl, false, source)
		lots = r.groups(lots, target, false, source, peer{gateway: kind})
		lots = r.arrived(lots)
		r.routed(lots, t.table, source, func(a area, lots []lot) {
			if a.route.Kind != kind || a.route.Target != via {
				r.stop(Asymmetric, a.step, lots...)
				return
			}
			r.done(r.acl(lots, t.acl, true, source))
		})
	}
}

// leg passes lots from one node to the next, through the ACLs of both subnets
// unless they are in the same one. For answers, the addresses change places.
func (r *run) leg(lots []lot, from, to node) []lot {
	if from.subnet == to.subnet {
		return lots
	}
	ahead, behind := destination, source
	if r.answering {
		ahead, behind = source, destination
	}
	lots = r.acl(lots, from.acl, true, ahead)
	return r.acl(lots, to.acl, false, behind)
}

// across answers what a node can open to an interface.
func (r *run) across(from node, target *Interface) {
	for _, o := range from.origins() {
		for _, a := range target.Addresses {
			if a.IP.Is6() == o.v6 {
				r.answering = false
				r.pair(from, o.set, r.m.at(target), a)
			}
		}
	}
}

func (r *run) pair(from node, origin *netipx.IPSet, target node, address Address) {
	lots := begin(origin, single(address.IP), WayLocal)
	path := []node{from}
	for {
		cur := path[len(path)-1]
		next := target
		var route *area
		if !cur.subnet.space.Contains(address.IP) {
			route = cur.table.find(address.IP)
			next = r.next(route, target)
		}
		neighbour := peer{}
		if next.e == target.e {
			neighbour.e = target.e
		}
		lots = r.groups(lots, cur.e, true, destination, neighbour)
		if !cur.subnet.space.Contains(address.IP) {
			if route == nil {
				r.stop(NoRoute, Step{Kind: StepRoute, Object: cur.table.id}, lots...)
				return
			}
			switch {
			case route.route.Blackhole:
				r.stop(Blackhole, route.step, lots...)
				return
			case next.e == nil && route.route.Kind == ToInterface:
				r.stop(NoTarget, route.step, lots...)
				return
			case next.e == nil:
				r.lose(route.step, lots...)
				return
			}
			for _, p := range path {
				if p.same(next) {
					r.stop(Loop, route.step, lots...)
					return
				}
			}
			lots = r.leg(r.pass(lots, route.step), cur, next)
		}
		path = append(path, next)
		neighbour = peer{}
		if len(path) == 2 {
			neighbour.e = from.e
		}
		if next.same(target) {
			if r.m.natIDs[target.e.ID] {
				r.stop(Unsolicited, Step{Kind: StepAt, Object: target.e.ID}, lots...)
				return
			}
			lots = r.groups(lots, target.e, false, source, neighbour)
			break
		}
		itself := Step{Kind: StepAt, Object: next.e.ID}
		if next.e.SourceDestCheck {
			r.stop(SourceDestCheck, itself, lots...)
			return
		}
		lots = r.pass(r.groups(lots, next.e, false, source, neighbour), itself)
	}
	lots = r.arrived(lots)
	for i := len(path) - 1; i > 0 && len(lots) > 0; i-- {
		lots = r.back(lots, path[i], path[i-1], i == 1)
	}
	r.done(lots)
}

// next is the node that a route within the VPC leads to; one without an interface
// if there is none.
func (r *run) next(a *area, target node) node {
	switch {
	case a == nil || a.route.Blackhole:
	case a.route.Kind == Local:
		return target
	case a.route.Kind == ToInterface:
		if e := r.m.interfaces[a.route.Target]; e != nil {
			return r.m.at(e)
		}
	}
	return node{}
}

// back passes answers from a node to the one that the connection came to it by;
// last if that is where it began.
func (r *run) back(lots []lot, at, to node, last bool) []lot {
	var passed, outside []lot
	for _, l := range lots {
		in, ok, out := l.cut(Region{Protocols: All, Ports: All, Clients: All, Sources: at.subnet.space})
		if ok {
			// Only the last node shares a subnet, and with it a route table, with
			// where the connection began: another's route would have led back.
			passed = append(passed, l.with(in))
		}
		for _, o := range out {
			outside = append(outside, l.with(o))
		}
	}
	r.routed(outside, at.table, source, func(a area, lots []lot) {
		ok := a.route.Kind == Local && last
		if a.route.Kind == ToInterface && to.e != nil {
			ok = a.route.Target == to.e.ID
		}
		if !ok {
			r.stop(Asymmetric, a.step, lots...)
			return
		}
		passed = append(passed, r.leg(lots, at, to)...)
	})
	return passed
}

// outbound answers what a node can open to the internet, or behind a gateway.
func (r *run) outbound(from node, to Place) {
	var gateway string
	outside := r.m.internet
	if b, ok := to.(Behind); ok {
		gateway = b.Gateway
		outside = byFamily(r.m.behind[gateway].set)
	}
	for _, o := range from.origins() {
		r.answering = false
		lots := begin(o.set, outside[o.v6], WayNone)
		who := peer{}
		if gateway != "" {
			who.gateway = r.m.behind[gateway].kind
		}
		lots = r.groups(lots, from.e, true, destination, who)
		r.routed(lots, from.table, destination, func(a area, lots []lot) {
			switch {
			case gateway != "" && a.route.Target == gateway:
				r.leave(lots, from, gateway, o, WayConnected)
			case gateway != "":
				r.stop(RoutedElsewhere, a.step, lots...)
			default:
				r.out(lots, a, from, o)
			}
		})
	}
}

// leave takes lots out of a node's subnet and their answers back into it, by a
// gateway that may have a route table.
func (r *run) leave(lots []lot, from node, gateway string, o origin, way Way) {
	for i := range lots {
		lots[i].way = way
	}
	lots = r.acl(lots, from.acl, true, destination)
	lots = r.edge(r.arrived(lots), gateway, o.set)
	r.done(r.acl(lots, from.acl, false, destination))
}

// out takes lots to the internet by a route.
func (r *run) out(lots []lot, a area, from node, o origin) {
	switch a.route.Kind {
	case ToInternetGateway:
		if a.route.Target != r.m.gateway {
			r.stop(NoInternetGateway, a.step, lots...)
			return
		}
		if !o.public {
			r.stop(NoPublicAddress, r.sender(from), lots...)
			return
		}
		r.leave(lots, from, a.route.Target, o, WayInternetGateway)
	case ToEgressOnlyGateway:
		if !o.public || !o.v6 {
			r.stop(NoPublicAddress, r.sender(from), lots...)
			return
		}
		r.leave(lots, from, "", o, WayEgressOnly)
	case ToGatewayEndpoint:
		r.leave(lots, from, "", o, WayGatewayEndpoint)
	case ToNATGateway:
		g, ok := r.m.nat[a.route.Target]
		switch {
		case !ok:
			r.stop(NoTarget, a.step, lots...)
		case o.v6 || g.Interface == "":
			r.lose(a.step, lots...)
		default:
			r.nat(lots, a, from, r.m.at(r.m.interfaces[g.Interface]), WayNATGateway)
		}
	case ToInterface:
		e := r.m.interfaces[a.route.Target]
		switch {
		case e == nil:
			r.stop(NoTarget, a.step, lots...)
		case e == from.e:
			r.stop(Loop, a.step, lots...)
		case o.v6:
			r.lose(a.step, lots...)
		default:
			r.nat(lots, a, from, r.m.at(e), WayNATInstance)
		}
	default:
		lots = r.acl(lots, from.acl, true, destination)
		r.lose(a.step, lots...)
	}
}

// sender is the step of where lots come from.
func (r *run) sender(from node) Step {
	if from.e == nil {
		return Step{Kind: StepSubnet, Object: from.subnet.id}
	}
	return Step{Kind: StepAt, Object: from.e.ID}
}

// nat takes lots to the internet by a NAT gateway or instance.
func (r *run) nat(lots []lot, a area, from, via node, way Way) {
	for i := range lots {
		lots[i].way = way
	}
	itself := Step{Kind: StepAt, Object: via.e.ID}
	lots = r.leg(lots, from, via)
	if way == WayNATGateway {
		var known []lot
		for _, l := range lots {
			switch l.Protocols.From {
			case icmp, tcp, udp:
				known = append(known, l)
			default:
				r.stop(NATProtocol, Step{Kind: StepGateway, Object: a.route.Target}, l)
			}
		}
		lots = known
		itself = Step{Kind: StepGateway, Object: a.route.Target}
	} else {
		if via.e.SourceDestCheck {
			r.stop(SourceDestCheck, itself, lots...)
			return
		}
		lots = r.groups(lots, via.e, false, source, peer{e: from.e})
		lots = r.groups(lots, via.e, true, destination, peer{})
	}
	lots = r.pass(lots, itself)
	public := slices.ContainsFunc(via.e.Addresses, func(a Address) bool { return a.IP.Is4() && a.public() })
	r.routed(lots, via.table, destination, func(b area, lots []lot) {
		switch {
		case b.route.Kind == ToInternetGateway && b.route.Target != r.m.gateway:
			r.stop(NoInternetGateway, b.step, lots...)
			return
		case b.route.Kind == ToInternetGateway && !public:
			r.stop(NoPublicAddress, itself, lots...)
			return
		case b.route.Kind == ToInterface && b.route.Target == via.e.ID:
			r.stop(Loop, b.step, lots...)
			return
		case b.route.Kind != ToInternetGateway:
			lots = r.acl(lots, via.acl, true, destination)
			r.lose(b.step, lots...)
			return
		}
		lots = r.acl(lots, via.acl, true, destination)
		lots = r.arrived(lots)
		for _, x := range via.e.Addresses {
			if x.IP.Is4() && x.public() {
				lots = r.edge(lots, r.m.gateway, single(x.IP))
			}
		}
		lots = r.masked(lots, via)
		r.done(r.back(lots, via, from, true))
	})
}

// masked passes answers into the subnet of a NAT, to the ports that it chose
// itself: a lot passes where some of them do.
func (r *run) masked(lots []lot, via node) []lot {
	var passed []lot
	for _, l := range lots {
		own := l
		own.Clients = Ephemeral
		inner := run{m: r.m, answering: true}
		open := inner.acl([]lot{own}, via.acl, false, destination)
		rest := []Region{l.Region}
		for _, o := range open {
			c := o.Region
			c.Clients = All
			for _, region := range rest {
				if in, ok, _ := region.cut(c); ok {
					passed = append(passed, l.with(in, o.trail[len(o.trail)-1]))
				}
			}
			rest = less(rest, c)
		}
		for _, o := range inner.outcomes {
			c := o.Region
			c.Clients = All
			for _, region := range rest {
				if in, ok, _ := region.cut(c); ok {
					r.stop(o.Reason, o.At, l.with(in))
				}
			}
			rest = less(rest, c)
		}
	}
	return passed
}
