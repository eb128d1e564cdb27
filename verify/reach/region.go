package reach

import (
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"
)

// Range is the numbers from From to To, both included.
type Range struct{ From, To uint16 }

// All is every port. Ephemeral are the ports that clients come from by
// themselves, of any operating system that AWS names:
// https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports
var (
	All       = Range{0, 65535}
	Ephemeral = Range{1024, 65535}
)

const (
	icmp, tcp, udp, icmp6 = 1, 6, 17, 58
	// Echo requests and the replies to them, by type.
	echo, echoReply, echo6, echoReply6 = 8, 0, 128, 129
)

// Contains tells that a number is in the range.
func (r Range) Contains(n uint16) bool { return r.From <= n && n <= r.To }

func (r Range) String() string {
	if r.From == r.To {
		return fmt.Sprint(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

func (r Range) meet(o Range) (Range, bool) {
	m := Range{max(r.From, o.From), min(r.To, o.To)}
	return m, m.From <= m.To
}

// Region is a set of connections: all combinations of its parts.
type Region struct {
	// Protocols are IANA's numbers, up to 255.
	Protocols Range
	// Ports are those that are connected to; for ICMP, 256 times the type plus
	// the code. Protocols that have none have all of them.
	Ports Range
	// Clients are the ports that are connected from, which answers go to. What
	// is neither TCP nor UDP has all of them.
	Clients Range
	// Sources and Destinations are private addresses of what is in the VPC, and
	// the addresses that the VPC sees of what is not. In a question, nil is any.
	Sources, Destinations *netipx.IPSet
}

// TCP is connections to a port, from anywhere and from any port.
func TCP(port uint16) Region {
	return Region{Protocols: Range{tcp, tcp}, Ports: Range{port, port}, Clients: All}
}

// Everything is every connection.
func Everything() Region { return Region{Protocols: Range{0, 255}, Ports: All, Clients: All} }

// String is like "tcp 5432 from 0.0.0.0/0 to 10.0.1.4/32".
func (r Region) String() string {
	text := r.Service() + " from " + addresses(r.Sources)
	if r.Clients != All {
		text += " port " + r.Clients.String()
	}
	return text + " to " + addresses(r.Destinations)
}

// Service is what is reached, without addresses: "tcp 5432".
func (r Region) Service() string {
	var b strings.Builder
	switch {
	case r.Protocols == Range{0, 255}:
		b.WriteString("all protocols")
	case r.Protocols == Range{tcp, tcp}:
		b.WriteString("tcp")
	case r.Protocols == Range{udp, udp}:
		b.WriteString("udp")
	case r.Protocols == Range{icmp, icmp}:
		b.WriteString("icmp")
	case r.Protocols == Range{icmp6, icmp6}:
		b.WriteString("icmpv6")
	default:
		b.WriteString("protocol " + r.Protocols.String())
	}
	if r.Ports != All {
		if r.Protocols == (Range{icmp, icmp}) || r.Protocols == (Range{icmp6, icmp6}) {
			b.WriteString(" type " + Range{r.Ports.From >> 8, r.Ports.To >> 8}.String())
			if code := (Range{r.Ports.From & 255, r.Ports.To & 255}); code != (Range{0, 255}) {
				b.WriteString(" code " + code.String())
			}
		} else {
			b.WriteString(" " + r.Ports.String())
		}
	}
	return b.String()
}

// addresses names a set, by its complement if that is shorter.
func addresses(s *netipx.IPSet) string {
	if s == nil {
		return "anywhere"
	}
	prefixes := s.Prefixes()
	if len(prefixes) > 8 && !s.OverlapsPrefix(ipv6) {
		if rest := difference(setOf(ipv4), s).Prefixes(); len(rest) < len(prefixes) {
			return "all but " + join(rest)
		}
	}
	return join(prefixes)
}

func join(prefixes []netip.Prefix) string {
	names := make([]string, len(prefixes))
	for i, p := range prefixes {
		names[i] = p.String()
	}
	return strings.Join(names, " ")
}

// cut is the region's part that is within another, if there is one, and the
// parts that are not, disjoint. Nil sets of the other are any.
func (r Region) cut(o Region) (in Region, ok bool, out []Region) {
	in = r
	for _, side := range []struct {
		own   *Range
		other Range
	}{
		{&in.Protocols, o.Protocols}, {&in.Ports, o.Ports}, {&in.Clients, o.Clients},
	} {
		whole := *side.own
		m, ok := whole.meet(side.other)
		if !ok {
			return Region{}, false, []Region{r}
		}
		if whole.From < m.From {
			*side.own = Range{whole.From, m.From - 1}
			out = append(out, in)
		}
		if whole.To > m.To {
			*side.own = Range{m.To + 1, whole.To}
			out = append(out, in)
		}
		*side.own = m
	}
	for _, side := range []struct {
		own   **netipx.IPSet
		other *netipx.IPSet
	}{
		{&in.Sources, o.Sources}, {&in.Destinations, o.Destinations},
	} {
		if side.other == nil {
			continue
		}
		whole := *side.own
		m, rest := split(whole, side.other)
		if m == nil {
			return Region{}, false, []Region{r}
		}
		if rest != nil {
			*side.own = rest
			out = append(out, in)
		}
		*side.own = m
	}
	return in, true, out
}

// Without are the parts of a region that are in none of others, disjoint.
func (r Region) Without(others ...Region) []Region {
	rest := []Region{r}
	for _, o := range others {
		rest = less(rest, o)
	}
	return rest
}

// less are the parts of regions that are not in another.
func less(regions []Region, o Region) []Region {
	var out []Region
	for _, r := range regions {
		_, _, rest := r.cut(o)
		out = append(out, rest...)
	}
	return out
}

// merge is the union of two disjoint regions, if that is a region.
func (r Region) merge(o Region) (Region, bool) {
	differ := 0
	for _, side := range []struct{ own, other *Range }{
		{&r.Protocols, &o.Protocols}, {&r.Ports, &o.Ports}, {&r.Clients, &o.Clients},
	} {
		if *side.own == *side.other {
			continue
		}
		if differ++; differ > 1 {
			return Region{}, false
		}
		low, high := *side.own, *side.other
		if high.From < low.From {
			low, high = high, low
		}
		if int(low.To)+1 != int(high.From) {
			return Region{}, false
		}
		*side.own = Range{low.From, high.To}
	}
	for _, side := range []struct{ own, other **netipx.IPSet }{
		{&r.Sources, &o.Sources}, {&r.Destinations, &o.Destinations},
	} {
		if *side.own == *side.other || (*side.own).Equal(*side.other) {
			continue
		}
		if differ++; differ > 1 {
			return Region{}, false
		}
		*side.own = union(*side.own, *side.other)
	}
	return r, true
}

var (
	ipv4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	ipv6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// build makes a set. The builder errs only on invalid addresses, which Compile
// refuses.
func build(f func(*netipx.IPSetBuilder)) *netipx.IPSet {
	var b netipx.IPSetBuilder
	f(&b)
	s, err := b.IPSet()
	if err != nil {
		return new(netipx.IPSet)
	}
	return s
}

func setOf(prefixes ...netip.Prefix) *netipx.IPSet {
	return build(func(b *netipx.IPSetBuilder) {
		for _, p := range prefixes {
			b.AddPrefix(p)
		}
	})
}

func single(ip netip.Addr) *netipx.IPSet { return setOf(netip.PrefixFrom(ip, ip.BitLen())) }

func union(a, b *netipx.IPSet) *netipx.IPSet {
	return build(func(s *netipx.IPSetBuilder) { s.AddSet(a); s.AddSet(b) })
}

func difference(a, b *netipx.IPSet) *netipx.IPSet {
	return build(func(s *netipx.IPSetBuilder) { s.AddSet(a); s.RemoveSet(b) })
}

func intersection(a, b *netipx.IPSet) *netipx.IPSet {
	return build(func(s *netipx.IPSetBuilder) { s.AddSet(a); s.Intersect(b) })
}

func empty(s *netipx.IPSet) bool { return len(s.Ranges()) == 0 }

// split is the part of a set within another and the part without; nil if empty.
func split(a, by *netipx.IPSet) (in, out *netipx.IPSet) {
	if !a.Overlaps(by) {
		return nil, a
	}
	inside := true
	for _, r := range a.Ranges() {
		if !by.ContainsRange(r) {
			inside = false
			break
		}
	}
	if inside {
		return a, nil
	}
	return intersection(a, by), difference(a, by)
}
