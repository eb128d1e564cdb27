package reach_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/poolhouse/poolhouse/verify/reach"
)

// production is a VPC of the size that a production deployment has: nine subnets
// in three tiers, an ACL for each tier, 15 groups, 40 interfaces, three NAT
// gateways.
func production() reach.Network {
	n := reach.Network{
		ID: "vpc-1", CIDRs: prefixes("10.0.0.0/16"),
		InternetGateways: []reach.InternetGateway{{ID: "igw-1", Attached: true}},
		PrefixLists:      []reach.PrefixList{{ID: "pl-s3", Prefixes: prefixes("3.5.0.0/19", "16.15.176.0/20", "18.34.0.0/19", "52.216.0.0/15", "54.231.0.0/16")}},
	}
	tiers := []string{"public", "control", "private"}
	for i, tier := range tiers {
		a := reach.ACL{ID: "acl-" + tier}
		for k, t := range []reach.Traffic{ports(6, 443, 443), ports(6, 80, 80), ports(6, 1024, 65535), ports(17, 1024, 65535), ports(1, 8, -1)} {
			for _, egress := range []bool{false, true} {
				a.Entries = append(a.Entries, entry(200+k, egress, true, t, "0.0.0.0/0"))
			}
		}
		for k := range 3 {
			for _, egress := range []bool{false, true} {
				a.Entries = append(a.Entries, entry(100+k, egress, true, everything, fmt.Sprintf("10.0.%d.0/24", 16*i+k)))
			}
		}
		n.ACLs = append(n.ACLs, a)
		for zone := range 3 {
			table := fmt.Sprintf("rtb-%s-%d", tier, zone)
			n.Subnets = append(n.Subnets, reach.Subnet{
				ID: fmt.Sprintf("subnet-%s-%d", tier, zone), CIDRs: prefixes(fmt.Sprintf("10.0.%d.0/24", 16*i+zone)), RouteTable: table, ACL: a.ID,
			})
			routes := []reach.Route{{Destination: cidr("10.0.0.0/16"), Kind: reach.Local}}
			switch tier {
			case "public":
				routes = append(routes, reach.Route{Destination: cidr("0.0.0.0/0"), Kind: reach.ToInternetGateway, Target: "igw-1"})
			case "private":
				routes = append(routes,
					reach.Route{Destination: cidr("0.0.0.0/0"), Kind: reach.ToNATGateway, Target: fmt.Sprint("nat-", zone)},
					reach.Route{PrefixList: "pl-s3", Kind: reach.ToGatewayEndpoint, Target: "vpce-s3"})
			}
			n.RouteTables = append(n.RouteTables, reach.RouteTable{ID: table, Routes: routes})
		}
	}
	for g := range 15 {
		s := reach.SecurityGroup{ID: fmt.Sprint("sg-", g), Rules: []reach.Rule{
			{ID: fmt.Sprintf("sgr-%d-out", g), Egress: true, Traffic: ports(6, 443, 443), CIDR: cidr("0.0.0.0/0")},
		}}
		for k := range 6 {
			s.Rules = append(s.Rules,
				reach.Rule{ID: fmt.Sprintf("sgr-%d-in-%d", g, k), Traffic: ports(6, 5432+k, 5432+k), Group: fmt.Sprint("sg-", (g+k)%15)},
				reach.Rule{ID: fmt.Sprintf("sgr-%d-out-%d", g, k), Egress: true, Traffic: ports(6, 5432+k, 5432+k), Group: fmt.Sprint("sg-", (g+k)%15)})
		}
		if g < 3 {
			s.Rules = append(s.Rules, reach.Rule{ID: fmt.Sprintf("sgr-%d-web", g), Traffic: ports(6, 443, 443), CIDR: cidr("198.51.100.0/24")})
		}
		n.SecurityGroups = append(n.SecurityGroups, s)
	}
	for i := range 40 {
		s := i % 9
		a := reach.Address{IP: netip.AddrFrom4([4]byte{10, 0, byte(16*(s/3) + s%3), byte(10 + i)})}
		if s < 3 {
			a.Public = netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		}
		n.Interfaces = append(n.Interfaces, reach.Interface{
			ID: fmt.Sprint("eni-", i), Subnet: n.Subnets[s].ID, Addresses: []reach.Address{a}, SourceDestCheck: true,
			Groups: []string{fmt.Sprint("sg-", i%15), fmt.Sprint("sg-", (i+7)%15)},
		})
	}
	for zone := range 3 {
		e := &n.Interfaces[zone]
		e.Groups, e.SourceDestCheck = nil, false
		n.NATGateways = append(n.NATGateways, reach.NATGateway{ID: fmt.Sprint("nat-", zone), Interface: e.ID})
	}
	return n
}

func BenchmarkCompile(b *testing.B) {
	n := production()
	for b.Loop() {
		if _, err := reach.Compile(n); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFromInternet asks for all 40 interfaces.
func BenchmarkFromInternet(b *testing.B) {
	m, err := reach.Compile(production())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if len(m.FromInternet()) != 40 {
			b.Fatal("not all interfaces")
		}
	}
}

// BenchmarkBetween asks for all 1560 pairs of interfaces.
func BenchmarkBetween(b *testing.B) {
	m, err := reach.Compile(production())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, from := range m.Interfaces() {
			for _, to := range m.Interfaces() {
				if from != to {
					if _, err := m.Between(reach.At{Interface: from}, reach.At{Interface: to}); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	}
}

// BenchmarkOut asks for the way from all 40 interfaces to the internet.
func BenchmarkOut(b *testing.B) {
	m, err := reach.Compile(production())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, from := range m.Interfaces() {
			if _, err := m.Between(reach.At{Interface: from}, reach.Internet{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
