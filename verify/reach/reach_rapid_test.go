package reach_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/verify/reach"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// blocks are what routes, rules and entries of random networks name.
var blocks = prefixes("0.0.0.0/0", "10.0.0.0/16", "10.0.0.0/24", "10.0.1.0/24", "10.0.1.0/25", "10.0.2.0/24",
	"10.1.0.0/16", "172.16.0.0/12", "198.51.100.0/24", "198.51.100.128/25", "203.0.113.7/32", "::/0",
	"2001:db8:1::/56", "2001:db8:1:1::/64", "2001:db8:2::/48")

var (
	anyBlock   = rapid.OneOf(rapid.SampledFrom(blocks), rapid.SampledFrom(prefixes("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.0.8/29", "10.0.1.8/29")))
	anyTraffic = rapid.Custom(func(t *rapid.T) reach.Traffic {
		p := rapid.SampledFrom([]int{-1, -1, 6, 6, 6, 17, 1, 58, 50}).Draw(t, "protocol")
		switch p {
		case 6, 17:
			return rapid.SampledFrom([]reach.Traffic{
				{Protocol: p, From: -1, To: -1},
				{Protocol: p, From: 0, To: 65535},
				{Protocol: p, From: 443, To: 443},
				{Protocol: p, From: 5432, To: 5432},
				{Protocol: p, From: 1024, To: 65535},
				{Protocol: p, From: 400, To: 32767},
			}).Draw(t, "ports")
		case 1, 58:
			return rapid.SampledFrom([]reach.Traffic{
				{Protocol: p, From: -1, To: -1},
				{Protocol: p, From: 8, To: -1},
				{Protocol: p, From: 0, To: 0},
				{Protocol: p, From: 128, To: 0},
				{Protocol: p, From: 129, To: -1},
				{Protocol: p, From: 3, To: 4},
			}).Draw(t, "type")
		}
		return reach.Traffic{Protocol: p}
	})
)

// chance is true in so many of a hundred cases.
func chance(t *rapid.T, percent int, label string) bool {
	return rapid.IntRange(1, 100).Draw(t, label) <= percent
}

func drawNetwork(t *rapid.T) reach.Network {
	n := reach.Network{ID: "vpc", CIDRs: prefixes("10.0.0.0/16")}
	// Some networks stop little, so that much gets to where rules are rarer.
	wide := rapid.SampledFrom([]int{20, 60, 100}).Draw(t, "wide")
	v6 := chance(t, 30, "v6")
	if v6 {
		n.CIDRs = append(n.CIDRs, prefixes("2001:db8:1::/56")...)
	}
	subnets := rapid.IntRange(2, 4).Draw(t, "subnets")
	tables := rapid.IntRange(1, 3).Draw(t, "tables")
	acls := rapid.IntRange(1, 3).Draw(t, "acls")
	groups := rapid.IntRange(1, 3).Draw(t, "groups")
	interfaces := rapid.IntRange(3, 6).Draw(t, "interfaces")
	for i := range subnets {
		s := reach.Subnet{
			ID:         fmt.Sprint("subnet-", i),
			CIDRs:      prefixes(fmt.Sprintf("10.0.%d.0/24", i)),
			RouteTable: fmt.Sprint("rtb-", rapid.IntRange(0, tables-1).Draw(t, "table")),
			ACL:        fmt.Sprint("acl-", rapid.IntRange(0, acls-1).Draw(t, "acl")),
		}
		if v6 {
			s.CIDRs = append(s.CIDRs, prefixes(fmt.Sprintf("2001:db8:1:%d::/64", i))...)
		}
		n.Subnets = append(n.Subnets, s)
	}
	n.PrefixLists = []reach.PrefixList{
		{ID: "pl-1", Prefixes: prefixes("198.51.100.0/24", "10.1.2.0/24", "2001:db8:2::/48")},
		{ID: "pl-2", Prefixes: prefixes("203.0.113.0/24")},
	}
	if chance(t, 90, "gateway") {
		n.InternetGateways = []reach.InternetGateway{{ID: "igw-1", Attached: chance(t, 90, "attached")}}
	}
	for i := range tables {
		n.RouteTables = append(n.RouteTables, drawTable(t, fmt.Sprint("rtb-", i), v6, interfaces))
	}
	if chance(t, 10, "edge") {
		n.RouteTables = append(n.RouteTables, reach.RouteTable{ID: "rtb-edge", Gateways: []string{"igw-1"}, Routes: []reach.Route{
			{Destination: netip.MustParsePrefix("10.0.0.0/16"), Kind: reach.Local},
			{Destination: netip.MustParsePrefix("10.0.1.0/24"), Kind: reach.ToInterface, Target: "eni-0"},
		}})
	}
	for i := range acls {
		a := reach.ACL{ID: fmt.Sprint("acl-", i)}
		for _, egress := range []bool{false, true} {
			for j := range rapid.IntRange(0, 4).Draw(t, "entries") {
				a.Entries = append(a.Entries, reach.ACLEntry{
					Number: 100 - j, Egress: egress, Allow: chance(t, 60, "allow"),
					Traffic: anyTraffic.Draw(t, "traffic"), CIDR: anyBlock.Draw(t, "cidr"),
				})
			}
			if chance(t, 60+wide*2/5, "open") {
				a.Entries = append(a.Entries,
					reach.ACLEntry{Number: 200, Egress: egress, Allow: true, Traffic: reach.Traffic{Protocol: -1}, CIDR: netip.MustParsePrefix("0.0.0.0/0")},
					reach.ACLEntry{Number: 201, Egress: egress, Allow: true, Traffic: reach.Traffic{Protocol: -1}, CIDR: netip.MustParsePrefix("::/0")})
			}
		}
		n.ACLs = append(n.ACLs, a)
	}
	for i := range groups {
		g := reach.SecurityGroup{ID: fmt.Sprint("sg-", i)}
		for j := range rapid.IntRange(0, 5).Draw(t, "rules") {
			r := reach.Rule{ID: fmt.Sprint("sgr-", i, "-", j), Egress: rapid.Bool().Draw(t, "egress"), Traffic: anyTraffic.Draw(t, "traffic")}
			switch rapid.IntRange(0, 5).Draw(t, "peer") {
			case 0:
				r.PrefixList = rapid.SampledFrom([]string{"pl-1", "pl-2"}).Draw(t, "list")
			case 1, 2:
				r.Group = fmt.Sprint("sg-", rapid.IntRange(0, groups).Draw(t, "group")) // the last is of elsewhere
			default:
				r.CIDR = anyBlock.Draw(t, "cidr")
			}
			g.Rules = append(g.Rules, r)
		}
		for _, egress := range []bool{false, true} {
			if chance(t, wide, "all") {
				g.Rules = append(g.Rules, reach.Rule{
					ID: fmt.Sprint("sgr-", i, "-", egress), Egress: egress,
					Traffic: reach.Traffic{Protocol: -1}, CIDR: rapid.SampledFrom(prefixes("0.0.0.0/0", "0.0.0.0/0", "::/0", "10.0.0.0/8")).Draw(t, "wide cidr"),
				})
			}
		}
		n.SecurityGroups = append(n.SecurityGroups, g)
	}
	for i := range interfaces {
		s := rapid.IntRange(0, subnets-1).Draw(t, "subnet")
		e := reach.Interface{ID: fmt.Sprint("eni-", i), Subnet: fmt.Sprint("subnet-", s), SourceDestCheck: chance(t, 30, "check")}
		a := reach.Address{IP: netip.AddrFrom4([4]byte{10, 0, byte(s), byte(10 + i)})}
		if chance(t, 50, "public") {
			a.Public = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		}
		e.Addresses = append(e.Addresses, a)
		if chance(t, 20, "second") {
			e.Addresses = append(e.Addresses, reach.Address{IP: netip.AddrFrom4([4]byte{10, 0, byte(s), byte(200 + i)})})
		}
		if v6 {
			e.Addresses = append(e.Addresses, reach.Address{IP: netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%d::%d", s, i+1))})
		}
		for g := range groups {
			if chance(t, 50, "member") {
				e.Groups = append(e.Groups, fmt.Sprint("sg-", g))
			}
		}
		n.Interfaces = append(n.Interfaces, e)
	}
	if chance(t, 80, "nat") {
		i := rapid.IntRange(0, interfaces-1).Draw(t, "nat interface")
		n.NATGateways = []reach.NATGateway{{ID: "nat-1", Interface: n.Interfaces[i].ID}}
		n.Interfaces[i].Groups, n.Interfaces[i].SourceDestCheck = nil, false
		if chance(t, 10, "regional") {
			n.NATGateways[0].Interface = ""
		}
	}
	return n
}

func drawTable(t *rapid.T, id string, v6 bool, interfaces int) reach.RouteTable {
	table := reach.RouteTable{ID: id}
	local := prefixes("10.0.0.0/16")
	if v6 {
		local = append(local, prefixes("2001:db8:1::/56")...)
	}
	used := map[string]bool{}
	for _, p := range local {
		table.Routes = append(table.Routes, reach.Route{Destination: p, Kind: reach.Local})
		used[p.String()] = true
	}
	add := func(r reach.Route) {
		// There is one static route for a destination, and one propagated.
		key := r.Destination.String() + r.PrefixList
		if r.Propagated {
			key += " propagated"
		}
		if !used[key] {
			used[key] = true
			table.Routes = append(table.Routes, r)
		}
	}
	eni := func() string { return fmt.Sprint("eni-", rapid.IntRange(0, interfaces).Draw(t, "target")) } // the last is gone
	def := []reach.Route{
		{Kind: reach.ToInternetGateway, Target: "igw-1"},
		{Kind: reach.ToInternetGateway, Target: "igw-1"},
		{Kind: reach.ToNATGateway, Target: "nat-1"},
		{Kind: reach.ToInterface, Target: eni()},
		{Kind: reach.ToNATGateway, Target: "nat-1"},
		{Kind: reach.ToInterface, Target: eni()},
		{Kind: reach.ToTransitGateway, Target: "tgw-1"},
		{Kind: reach.Other, Target: "vpce-2"},
	}
	if chance(t, 90, "default") {
		r := rapid.SampledFrom(def).Draw(t, "default route")
		r.Destination = netip.MustParsePrefix("0.0.0.0/0")
		add(r)
	}
	if v6 {
		r := rapid.SampledFrom([]reach.Route{
			{Kind: reach.ToInternetGateway, Target: "igw-1"},
			{Kind: reach.ToEgressOnlyGateway, Target: "eigw-1"},
			{Kind: reach.ToInterface, Target: eni()},
			{Kind: reach.ToNATGateway, Target: "nat-1"},
		}).Draw(t, "default route")
		r.Destination = netip.MustParsePrefix("::/0")
		add(r)
	}
	if chance(t, 30, "endpoint") {
		add(reach.Route{PrefixList: "pl-2", Kind: reach.ToGatewayEndpoint, Target: "vpce-1"})
	}
	for range rapid.IntRange(0, 4).Draw(t, "routes") {
		r := rapid.SampledFrom([]reach.Route{
			{Kind: reach.ToInternetGateway, Target: "igw-1"},
			{Kind: reach.ToInterface},
			{Kind: reach.ToInterface},
			{Kind: reach.ToInterface},
			{Kind: reach.ToInterface},
			{Kind: reach.ToTransitGateway, Target: "tgw-1"},
			{Kind: reach.ToPeering, Target: "pcx-1"},
			{Kind: reach.ToVPNGateway, Target: "vgw-1", Propagated: true},
			{Kind: reach.ToNATGateway, Target: "nat-1"},
		}).Draw(t, "route")
		if r.Kind == reach.ToInterface {
			r.Target = eni()
		}
		r.Destination = anyBlock.Draw(t, "destination")
		if chance(t, 15, "by list") && !r.Propagated {
			r.Destination, r.PrefixList = netip.Prefix{}, "pl-1"
		}
		r.Blackhole = chance(t, 10, "blackhole")
		add(r)
	}
	return table
}

// bounds are the addresses that a network could tell apart from their neighbours,
// and these.
func bounds(n reach.Network) []netip.Addr {
	seen := map[netip.Addr]bool{}
	add := func(ips ...netip.Addr) {
		for _, ip := range ips {
			if ip.IsValid() {
				seen[ip] = true
			}
		}
	}
	all := slices.Concat(blocks, prefixes("100.64.0.0/10", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "2000::/3", "10.1.2.0/24", "203.0.113.0/24"))
	for _, s := range n.Subnets {
		all = append(all, s.CIDRs...)
	}
	for _, p := range all {
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 1 << (7 - i%8)
		}
		end, _ := netip.AddrFromSlice(last)
		add(p.Addr(), p.Addr().Prev(), end, end.Next())
	}
	for _, e := range n.Interfaces {
		for _, a := range e.Addresses {
			add(a.IP, a.IP, a.IP.Next(), a.Public)
		}
	}
	var out []netip.Addr
	for ip := range seen {
		out = append(out, ip)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

var (
	somePorts = []int{0, 1, 399, 400, 442, 443, 444, 1023, 1024, 5431, 5432, 5433, 32767, 32768, 65534, 65535}
	someTypes = []int{
		0, 1, 255, 3 * 256, 3*256 + 4, 3*256 + 5, 8*256 - 1, 8 * 256, 8*256 + 1, 8*256 + 255, 9 * 256,
		128*256 - 1, 128 * 256, 128*256 + 1, 128*256 + 255, 129 * 256, 129*256 + 255, 130 * 256, 65535,
	}
	someProtocols = []int{0, 1, 1, 2, 6, 6, 6, 6, 17, 17, 18, 50, 58, 58, 255}
)

// TestAgainstWalker compares the sets with single packets in random networks.
func TestAgainstWalker(t *testing.T) {
	t.Parallel()
	for i := range 3 {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, againstWalker)
		})
	}
}

func againstWalker(t *rapid.T) {
	n := drawNetwork(t)
	m, err := reach.Compile(n)
	if err != nil {
		t.Fatal(err)
	}
	var places []reach.Place
	for _, id := range m.Interfaces() {
		places = append(places, reach.At{Interface: id}, reach.At{Interface: id})
	}
	places = append(places, reach.Internet{}, reach.Internet{}, reach.In{Subnet: "subnet-0"}, reach.In{Subnet: "subnet-1"})
	for _, g := range m.Gateways() {
		places = append(places, reach.Behind{Gateway: g})
	}
	w := walker{n}
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	ips := bounds(n)
	for range 8 {
		from := rapid.SampledFrom(places).Draw(t, "from")
		to := rapid.SampledFrom(places).Draw(t, "to")
		a, err := m.Between(from, to)
		if err != nil {
			continue // no question about the VPC
		}
		var sources, destinations []netip.Addr
		for _, ip := range ips {
			if w.sends(from, ip) {
				sources = append(sources, ip)
			}
			if w.receives(to, ip) {
				destinations = append(destinations, ip)
			}
		}
		// Now and then an address that the question is not about.
		pickIP := func(list []netip.Addr) netip.Addr {
			if len(list) == 0 || random.IntN(50) == 0 {
				list = ips
			}
			return list[random.IntN(len(list))]
		}
		pick := func(list []int) int { return list[random.IntN(len(list))] }
		for range 500 {
			p := packet{
				proto: pick(someProtocols), src: pickIP(sources), dst: pickIP(destinations),
				sport: pick(somePorts), dport: pick(somePorts),
			}
			if p.proto == 1 || p.proto == 58 {
				p.dport = pick(someTypes)
			}
			compare(t, w, a, p)
		}
	}
}

// compare checks that an answer and the walker agree on a packet.
func compare(t *rapid.T, w walker, a reach.Answer, p packet) {
	var found []reach.Outcome
	for _, o := range a.Outcomes {
		if o.Protocols.Contains(uint16(p.proto)) && o.Ports.Contains(uint16(p.dport)) && o.Clients.Contains(uint16(p.sport)) &&
			o.Sources.Contains(p.src) && o.Destinations.Contains(p.dst) {
			found = append(found, o)
		}
	}
	want, asked := w.walk(a.From, a.To, p)
	switch {
	case !asked && len(found) > 0:
		t.Fatalf("%+v is not from %v to %v, but is in %s", p, a.From, a.To, found[0])
	case !asked:
	case len(found) != 1:
		t.Fatalf("%+v from %v to %v is in %d outcomes, want 1: %v", p, a.From, a.To, len(found), found)
	default:
		if got := (fate{found[0].Verdict, found[0].Reason, found[0].At.Object}); got != want {
			t.Fatalf("%+v from %v to %v: got %s, want %s\n%s", p, a.From, a.To, got, want, found[0])
		}
	}
}
