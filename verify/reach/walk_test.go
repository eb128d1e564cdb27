package reach_test

import (
	"fmt"
	"net/netip"

	"github.com/poolhouse/poolhouse/verify/reach"
)

// This file is a second opinion: it takes one packet at a time through a network,
// step by step, and its answer back. It shares the value types with the package
// and nothing else.

// packet is what travels. For ICMP, dport is 256 times the type plus the code.
type packet struct {
	proto        int
	src, dst     netip.Addr
	sport, dport int
}

// fate is where a packet or its answer ended.
type fate struct {
	verdict reach.Verdict
	reason  reach.Reason
	object  string
}

func (f fate) String() string { return fmt.Sprintf("%s (%s at %s)", f.verdict, f.reason, f.object) }

// dropped stops a walk.
type dropped struct {
	reason reach.Reason
	object string
}

type walker struct{ n reach.Network }

// walk is the fate of a packet, and false if it is not one that the question is
// about.
func (w walker) walk(from, to reach.Place, p packet) (fate, bool) {
	if !w.sends(from, p.src) || !w.receives(to, p.dst) {
		return fate{}, false
	}
	if p.src.Is4() != p.dst.Is4() {
		return fate{}, false
	}
	there, d := w.forward(from, to, p)
	if d != nil {
		if d.reason == reach.NotFollowed {
			return fate{reach.Opaque, d.reason, d.object}, true
		}
		return fate{reach.Blocked, d.reason, d.object}, true
	}
	answer := packet{proto: p.proto, src: p.dst, dst: p.src, sport: p.dport, dport: p.sport}
	icmp := p.proto == 1 || p.proto == 58
	if icmp {
		switch {
		case p.proto == 1 && p.dport/256 == 8:
			answer.dport = 0
		case p.proto == 58 && p.dport/256 == 128:
			answer.dport = 129 * 256
		default:
			return fate{verdict: reach.Open}, true
		}
	}
	d = w.backward(from, to, answer, there)
	switch {
	case d == nil:
		return fate{verdict: reach.Open}, true
	case d.reason == reach.NotFollowed:
		return fate{reach.Opaque, d.reason, d.object}, true
	case p.proto == 6:
		return fate{reach.Blocked, d.reason, d.object}, true
	}
	return fate{reach.OneWay, d.reason, d.object}, true
}

func (w walker) eni(id string) *reach.Interface {
	for i := range w.n.Interfaces {
		if w.n.Interfaces[i].ID == id {
			return &w.n.Interfaces[i]
		}
	}
	return nil
}

func (w walker) subnet(id string) reach.Subnet {
	for _, s := range w.n.Subnets {
		if s.ID == id {
			return s
		}
	}
	panic("no subnet " + id)
}

func inAny(ip netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

func (w walker) public(ip netip.Addr) bool {
	if inAny(ip, w.n.CIDRs) {
		return false
	}
	if ip.Is6() {
		return ip.As16()[0]>>5 == 1
	}
	b := ip.As4()
	switch {
	case b[0] == 0, b[0] == 10, b[0] == 127, b[0] >= 224,
		b[0] == 100 && b[1] >= 64 && b[1] < 128,
		b[0] == 169 && b[1] == 254,
		b[0] == 172 && b[1] >= 16 && b[1] < 32,
		b[0] == 192 && b[1] == 168,
		b[0] == 192 && b[1] == 0 && b[2] == 0,
		b[0] == 198 && (b[1] == 18 || b[1] == 19):
		return false
	}
	return true
}

// behind tells that some route sends an address to a gateway.
func (w walker) behind(gateway string, ip netip.Addr) bool {
	if inAny(ip, w.n.CIDRs) {
		return false
	}
	for _, t := range w.n.RouteTables {
		for _, r := range t.Routes {
			if r.Target == gateway && w.matches(r, ip) >= 0 {
				return true
			}
		}
	}
	return false
}

func (w walker) kind(gateway string) reach.TargetKind {
	for _, t := range w.n.RouteTables {
		for _, r := range t.Routes {
			if r.Target == gateway {
				return r.Kind
			}
		}
	}
	return ""
}

func (w walker) owner(ip netip.Addr) *reach.Interface {
	for i, e := range w.n.Interfaces {
		for _, a := range e.Addresses {
			if a.IP == ip {
				return &w.n.Interfaces[i]
			}
		}
	}
	return nil
}

func (w walker) sends(from reach.Place, src netip.Addr) bool {
	switch f := from.(type) {
	case reach.Internet:
		return w.public(src)
	case reach.Behind:
		return w.behind(f.Gateway, src)
	case reach.At:
		o := w.owner(src)
		return o != nil && o.ID == f.Interface
	case reach.In:
		return inAny(src, w.subnet(f.Subnet).CIDRs) && w.owner(src) == nil
	}
	return false
}

func (w walker) receives(to reach.Place, dst netip.Addr) bool {
	switch t := to.(type) {
	case reach.Internet:
		return w.public(dst)
	case reach.Behind:
		return w.behind(t.Gateway, dst)
	case reach.At:
		o := w.owner(dst)
		return o != nil && o.ID == t.Interface
	}
	return false
}

// matches is how many bits of a route's destination match an address; -1 if it
// does not.
func (w walker) matches(r reach.Route, ip netip.Addr) int {
	if r.PrefixList == "" {
		if r.Destination.Contains(ip) {
			return r.Destination.Bits()
		}
		return -1
	}
	best := -1
	for _, l := range w.n.PrefixLists {
		for _, p := range l.Prefixes {
			if l.ID == r.PrefixList && p.Contains(ip) {
				best = max(best, p.Bits())
			}
		}
	}
	return best
}

// route is the route that serves an address in a table.
func (w walker) route(table string, ip netip.Addr) (reach.Route, bool) {
	var routes []reach.Route
	for _, t := range w.n.RouteTables {
		if t.ID == table {
			routes = t.Routes
		}
	}
	local := false
	for _, r := range routes {
		local = local || r.Kind == reach.Local && w.matches(r, ip) >= 0
	}
	var best reach.Route
	score := -1
	for _, r := range routes {
		if r.Propagated && local {
			continue
		}
		bits := w.matches(r, ip)
		if bits < 0 {
			continue
		}
		rank := 2
		if r.PrefixList != "" {
			rank = 1
		} else if r.Propagated {
			rank = 0
		}
		if s := bits*3 + rank; s > score {
			best, score = r, s
		}
	}
	return best, score >= 0
}

// live is a route that isn't missing or dead.
func (w walker) live(table string, ip netip.Addr) (reach.Route, *dropped) {
	r, ok := w.route(table, ip)
	if !ok {
		return r, &dropped{reach.NoRoute, table}
	}
	if r.Blackhole {
		return r, &dropped{reach.Blackhole, table}
	}
	return r, nil
}

func covers(t reach.Traffic, proto, port int) bool {
	if t.Protocol == -1 {
		return true
	}
	if t.Protocol != proto {
		return false
	}
	switch proto {
	case 6, 17:
		return t.From == -1 || t.From <= port && port <= t.To
	case 1, 58:
		return t.From == -1 || t.From == port/256 && (t.To == -1 || t.To == port%256)
	}
	return true
}

func (w walker) acl(s reach.Subnet, egress bool, p packet) *dropped {
	for _, a := range w.n.ACLs {
		if a.ID != s.ACL {
			continue
		}
		number, allow := 1<<20, false
		for _, e := range a.Entries {
			ip := p.src
			if egress {
				ip = p.dst
			}
			if e.Egress == egress && e.Number < number && e.CIDR.Contains(ip) && covers(e.Traffic, p.proto, p.dport) {
				number, allow = e.Number, e.Allow
			}
		}
		if allow {
			return nil
		}
	}
	return &dropped{reach.DeniedByACL, s.ACL}
}

// sg asks an interface's security groups. The neighbour is who the packet comes
// from or goes to directly, if that is its own end; gateway is the kind of the
// gateway if its end is behind one.
func (w walker) sg(e *reach.Interface, egress bool, p packet, neighbour *reach.Interface, gateway reach.TargetKind) *dropped {
	if len(e.Groups) == 0 {
		return nil
	}
	ip := p.src
	if egress {
		ip = p.dst
	}
	names := ""
	for i, id := range e.Groups {
		if i > 0 {
			names += " "
		}
		names += id
		for _, g := range w.n.SecurityGroups {
			for _, r := range g.Rules {
				if g.ID != id || r.Egress != egress || !covers(r.Traffic, p.proto, p.dport) {
					continue
				}
				switch {
				case r.CIDR.IsValid():
					if r.CIDR.Contains(ip) {
						return nil
					}
				case r.PrefixList != "":
					for _, l := range w.n.PrefixLists {
						if l.ID == r.PrefixList && inAny(ip, l.Prefixes) {
							return nil
						}
					}
				case neighbour != nil:
					for _, member := range neighbour.Groups {
						if member == r.Group {
							return nil
						}
					}
				default:
					ours := false
					for _, x := range w.n.SecurityGroups {
						ours = ours || x.ID == r.Group
					}
					if !ours && (gateway == reach.ToPeering || gateway == reach.ToTransitGateway) {
						return nil
					}
				}
			}
		}
	}
	return &dropped{reach.DeniedByGroup, names}
}

func (w walker) igw() string {
	for _, g := range w.n.InternetGateways {
		if g.Attached {
			return g.ID
		}
	}
	return ""
}

func (w walker) isNAT(id string) bool {
	for _, g := range w.n.NATGateways {
		if g.Interface == id {
			return true
		}
	}
	return false
}

func (w walker) hasPublic(ip netip.Addr) bool {
	if ip.Is6() {
		return ip.As16()[0]>>5 == 1
	}
	e := w.owner(ip)
	if e == nil {
		return false
	}
	for _, a := range e.Addresses {
		if a.IP == ip {
			return a.Public.IsValid()
		}
	}
	return false
}

// edge asks the route table of a gateway about a packet for an address inside.
func (w walker) edge(gateway string, ip netip.Addr) *dropped {
	for _, t := range w.n.RouteTables {
		for _, g := range t.Gateways {
			if g != gateway {
				continue
			}
			if r, ok := w.route(t.ID, ip); !ok || r.Kind != reach.Local || r.Blackhole {
				return &dropped{reach.NotFollowed, t.ID}
			}
		}
	}
	return nil
}

// trace is what the devices on the way remember of a connection.
type trace struct {
	gateway    string             // by which it came in or went out
	appliances []*reach.Interface // in order
	nat        *reach.Interface
}

// first runs checks in order until one drops the packet.
func first(checks ...func() *dropped) *dropped {
	for _, c := range checks {
		if d := c(); d != nil {
			return d
		}
	}
	return nil
}

func (w walker) forward(from, to reach.Place, p packet) (trace, *dropped) {
	switch from := from.(type) {
	case reach.Internet, reach.Behind:
		return w.enter(from, p)
	case reach.At:
		e := w.eni(from.Interface)
		if _, inside := to.(reach.At); inside {
			return w.inside(e, w.subnet(e.Subnet), p)
		}
		return w.exit(e, w.subnet(e.Subnet), to, p)
	case reach.In:
		if _, inside := to.(reach.At); inside {
			return w.inside(nil, w.subnet(from.Subnet), p)
		}
		return w.exit(nil, w.subnet(from.Subnet), to, p)
	}
	panic("no such question")
}

func (w walker) enter(from reach.Place, p packet) (trace, *dropped) {
	target := w.owner(p.dst)
	t := trace{}
	var kind reach.TargetKind
	if b, ok := from.(reach.Behind); ok {
		t.gateway, kind = b.Gateway, w.kind(b.Gateway)
	} else {
		t.gateway = w.igw()
		if !w.hasPublic(p.dst) {
			return t, &dropped{reach.NoPublicAddress, target.ID}
		}
		if t.gateway == "" {
			return t, &dropped{reach.NoInternetGateway, w.n.ID}
		}
	}
	return t, first(
		func() *dropped { return w.edge(t.gateway, p.dst) },
		func() *dropped {
			if w.isNAT(target.ID) {
				return &dropped{reach.Unsolicited, target.ID}
			}
			return nil
		},
		func() *dropped { return w.acl(w.subnet(target.Subnet), false, p) },
		func() *dropped { return w.sg(target, false, p, nil, kind) },
	)
}

// cross takes a packet from one subnet to another.
func (w walker) cross(a, b reach.Subnet, p packet) *dropped {
	if a.ID == b.ID {
		return nil
	}
	if d := w.acl(a, true, p); d != nil {
		return d
	}
	return w.acl(b, false, p)
}

// inside takes a packet hop by hop to an interface. Each hop first finds out where
// to go, so that it knows its neighbour.
func (w walker) inside(sender *reach.Interface, here reach.Subnet, p packet) (trace, *dropped) {
	t := trace{}
	target := w.owner(p.dst)
	current, previous := sender, (*reach.Interface)(nil)
	visited := map[string]bool{}
	if sender != nil {
		visited[sender.ID] = true
	}
	for hop := 0; ; hop++ {
		next, neighbour := target, (*reach.Interface)(nil)
		var problem *dropped
		direct := inAny(p.dst, here.CIDRs)
		if !direct {
			var r reach.Route
			r, problem = w.live(here.RouteTable, p.dst)
			switch {
			case problem != nil:
				next = nil
			case r.Kind == reach.ToInterface:
				if next = w.eni(r.Target); next == nil {
					problem = &dropped{reach.NoTarget, here.RouteTable}
				} else if visited[next.ID] {
					problem = &dropped{reach.Loop, here.RouteTable}
				}
			case r.Kind != reach.Local:
				next, problem = nil, &dropped{reach.NotFollowed, here.RouteTable}
			}
		}
		if next == target {
			neighbour = target
		}
		if current != nil {
			if d := w.sg(current, true, p, neighbour, ""); d != nil {
				return t, d
			}
		}
		if problem != nil {
			return t, problem
		}
		if !direct {
			if d := w.cross(here, w.subnet(next.Subnet), p); d != nil {
				return t, d
			}
		}
		previous = nil
		if hop == 0 {
			previous = sender
		}
		if next == target {
			if w.isNAT(target.ID) {
				return t, &dropped{reach.Unsolicited, target.ID}
			}
			return t, w.sg(target, false, p, previous, "")
		}
		if next.SourceDestCheck {
			return t, &dropped{reach.SourceDestCheck, next.ID}
		}
		if d := w.sg(next, false, p, previous, ""); d != nil {
			return t, d
		}
		t.appliances = append(t.appliances, next)
		visited[next.ID] = true
		current, here = next, w.subnet(next.Subnet)
	}
}

func (w walker) exit(sender *reach.Interface, here reach.Subnet, to reach.Place, p packet) (trace, *dropped) {
	t := trace{}
	var kind reach.TargetKind
	behind, connected := to.(reach.Behind)
	if connected {
		kind = w.kind(behind.Gateway)
	}
	if sender != nil {
		if d := w.sg(sender, true, p, nil, kind); d != nil {
			return t, d
		}
	}
	name := here.ID
	if sender != nil {
		name = sender.ID
	}
	r, d := w.live(here.RouteTable, p.dst)
	if d != nil {
		return t, d
	}
	if connected {
		if r.Target != behind.Gateway {
			return t, &dropped{reach.RoutedElsewhere, here.RouteTable}
		}
		t.gateway = behind.Gateway
		return t, w.acl(here, true, p)
	}
	switch r.Kind {
	case reach.ToInternetGateway:
		t.gateway = r.Target
		if r.Target != w.igw() {
			return t, &dropped{reach.NoInternetGateway, here.RouteTable}
		}
		if !w.hasPublic(p.src) {
			return t, &dropped{reach.NoPublicAddress, name}
		}
		return t, w.acl(here, true, p)
	case reach.ToEgressOnlyGateway:
		if p.src.Is4() || !w.hasPublic(p.src) {
			return t, &dropped{reach.NoPublicAddress, name}
		}
		return t, w.acl(here, true, p)
	case reach.ToGatewayEndpoint:
		return t, w.acl(here, true, p)
	case reach.ToNATGateway:
		for _, g := range w.n.NATGateways {
			if g.ID != r.Target {
				continue
			}
			if p.src.Is6() || g.Interface == "" {
				return t, &dropped{reach.NotFollowed, here.RouteTable}
			}
			t.nat = w.eni(g.Interface)
			there := w.subnet(t.nat.Subnet)
			if d := w.cross(here, there, p); d != nil {
				return t, d
			}
			if p.proto != 1 && p.proto != 6 && p.proto != 17 {
				return t, &dropped{reach.NATProtocol, g.ID}
			}
			return w.masquerade(t, g.ID, there, p)
		}
		return t, &dropped{reach.NoTarget, here.RouteTable}
	case reach.ToInterface:
		t.nat = w.eni(r.Target)
		switch {
		case t.nat == nil:
			return t, &dropped{reach.NoTarget, here.RouteTable}
		case t.nat == sender:
			return t, &dropped{reach.Loop, here.RouteTable}
		case p.src.Is6():
			return t, &dropped{reach.NotFollowed, here.RouteTable}
		}
		there := w.subnet(t.nat.Subnet)
		if d := w.cross(here, there, p); d != nil {
			return t, d
		}
		if t.nat.SourceDestCheck {
			return t, &dropped{reach.SourceDestCheck, t.nat.ID}
		}
		if d := w.sg(t.nat, false, p, sender, ""); d != nil {
			return t, d
		}
		if d := w.sg(t.nat, true, p, nil, ""); d != nil {
			return t, d
		}
		return w.masquerade(t, t.nat.ID, there, p)
	}
	if d := w.acl(here, true, p); d != nil {
		return t, d
	}
	return t, &dropped{reach.NotFollowed, here.RouteTable}
}

// masquerade sends a packet on from a NAT.
func (w walker) masquerade(t trace, name string, there reach.Subnet, p packet) (trace, *dropped) {
	r, d := w.live(there.RouteTable, p.dst)
	if d != nil {
		return t, d
	}
	if r.Kind == reach.ToInterface && r.Target == t.nat.ID {
		return t, &dropped{reach.Loop, there.RouteTable}
	}
	if r.Kind == reach.ToInternetGateway {
		if r.Target != w.igw() {
			return t, &dropped{reach.NoInternetGateway, there.RouteTable}
		}
		if _, ok := w.face(t.nat); !ok {
			return t, &dropped{reach.NoPublicAddress, name}
		}
	}
	if d := w.acl(there, true, p); d != nil {
		return t, d
	}
	if r.Kind != reach.ToInternetGateway {
		return t, &dropped{reach.NotFollowed, there.RouteTable}
	}
	t.gateway = r.Target
	return t, nil
}

// face is a NAT's private address that has a public one.
func (w walker) face(e *reach.Interface) (netip.Addr, bool) {
	for _, a := range e.Addresses {
		if a.IP.Is4() && a.Public.IsValid() {
			return a.IP, true
		}
	}
	return netip.Addr{}, false
}

// backward takes the answer back.
func (w walker) backward(from, to reach.Place, p packet, t trace) *dropped {
	if _, inside := to.(reach.At); !inside {
		return w.reenter(from, p, t)
	}
	target := w.owner(p.src)
	here := w.subnet(target.Subnet)
	switch from.(type) {
	case reach.Internet, reach.Behind:
		r, d := w.live(here.RouteTable, p.dst)
		if d == nil && r.Target != t.gateway {
			d = &dropped{reach.Asymmetric, here.RouteTable}
		}
		if d != nil {
			return d
		}
		return w.acl(here, true, p)
	}
	// Back over the appliances, last first.
	for i := len(t.appliances); i >= 0; i-- {
		expected := w.owner(p.dst)
		there, last := reach.Subnet{}, i == 0
		if !last {
			expected = t.appliances[i-1]
		}
		if expected != nil {
			there = w.subnet(expected.Subnet)
		} else {
			there = w.home(p.dst)
		}
		if d := w.answer(here, there, expected, last, p); d != nil {
			return d
		}
		here = there
	}
	return nil
}

// home is the subnet of an address.
func (w walker) home(ip netip.Addr) reach.Subnet {
	for _, s := range w.n.Subnets {
		if inAny(ip, s.CIDRs) {
			return s
		}
	}
	panic("no subnet has " + ip.String())
}

// answer takes an answer from one subnet to an interface in another (nil if it is
// for a host without one).
func (w walker) answer(here, there reach.Subnet, expected *reach.Interface, last bool, p packet) *dropped {
	if inAny(p.dst, here.CIDRs) {
		if last {
			return nil
		}
		return &dropped{reach.Asymmetric, here.ID}
	}
	r, d := w.live(here.RouteTable, p.dst)
	if d != nil {
		return d
	}
	right := last && r.Kind == reach.Local || expected != nil && r.Kind == reach.ToInterface && r.Target == expected.ID
	if !right {
		return &dropped{reach.Asymmetric, here.RouteTable}
	}
	return w.cross(here, there, p)
}

// reenter takes an answer from outside back to what asked.
func (w walker) reenter(from reach.Place, p packet, t trace) *dropped {
	sender := w.owner(p.dst)
	home := w.home(p.dst)
	if t.nat == nil {
		if d := w.edge(t.gateway, p.dst); d != nil {
			return d
		}
		return w.acl(home, false, p)
	}
	there := w.subnet(t.nat.Subnet)
	for _, a := range t.nat.Addresses {
		if a.IP.Is4() && a.Public.IsValid() {
			if d := w.edge(t.gateway, a.IP); d != nil {
				return d
			}
		}
	}
	// The NAT may have chosen any port: try all that an ACL could tell apart.
	var d *dropped
	for _, port := range w.masks() {
		q := p
		if p.proto == 6 || p.proto == 17 {
			q.dport = port
		}
		if d = w.acl(there, false, q); d == nil {
			break
		}
	}
	if d != nil {
		return d
	}
	return w.answer(there, home, sender, true, p)
}

// masks are ports from 1024 that stand for all of them.
func (w walker) masks() []int {
	ports := []int{1024, 65535}
	for _, a := range w.n.ACLs {
		for _, e := range a.Entries {
			for _, p := range []int{e.Traffic.From, e.Traffic.To + 1, e.Traffic.From - 1, e.Traffic.To} {
				if p >= 1024 && p <= 65535 {
					ports = append(ports, p)
				}
			}
		}
	}
	return ports
}
