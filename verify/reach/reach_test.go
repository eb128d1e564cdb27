package reach_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go4.org/netipx"

	"github.com/poolhouse/poolhouse/verify/reach"
)

func set(s string) *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix(s))
	out, err := b.IPSet()
	if err != nil {
		panic(err)
	}
	return out
}

func cidr(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func ports(protocol, from, to int) reach.Traffic {
	return reach.Traffic{Protocol: protocol, From: from, To: to}
}

var everything = reach.Traffic{Protocol: -1}

func entry(number int, egress, allow bool, traffic reach.Traffic, prefix string) reach.ACLEntry {
	return reach.ACLEntry{Number: number, Egress: egress, Allow: allow, Traffic: traffic, CIDR: cidr(prefix)}
}

// textbook is the VPC that every book draws: a public subnet with a web server
// and a NAT gateway, a private one with an application and a database that only
// the application's group reaches.
func textbook() reach.Network {
	open := []reach.ACLEntry{
		entry(100, false, true, everything, "0.0.0.0/0"), entry(100, true, true, everything, "0.0.0.0/0"),
	}
	return reach.Network{
		ID:    "vpc-1",
		CIDRs: prefixes("10.0.0.0/16"),
		Subnets: []reach.Subnet{
			{ID: "subnet-public", CIDRs: prefixes("10.0.0.0/24"), RouteTable: "rtb-public", ACL: "acl-public"},
			{ID: "subnet-private", CIDRs: prefixes("10.0.1.0/24"), RouteTable: "rtb-private", ACL: "acl-private"},
			{ID: "subnet-data", CIDRs: prefixes("10.0.2.0/24"), RouteTable: "rtb-private", ACL: "acl-data"},
		},
		RouteTables: []reach.RouteTable{
			{ID: "rtb-public", Routes: []reach.Route{
				{Destination: cidr("10.0.0.0/16"), Kind: reach.Local},
				{Destination: cidr("0.0.0.0/0"), Kind: reach.ToInternetGateway, Target: "igw-1"},
			}},
			{ID: "rtb-private", Routes: []reach.Route{
				{Destination: cidr("10.0.0.0/16"), Kind: reach.Local},
				{Destination: cidr("0.0.0.0/0"), Kind: reach.ToNATGateway, Target: "nat-1"},
			}},
		},
		ACLs: []reach.ACL{
			{ID: "acl-public", Entries: slices.Clone(open)},
			{ID: "acl-private", Entries: slices.Clone(open)},
			{ID: "acl-data", Entries: slices.Clone(open)},
		},
		SecurityGroups: []reach.SecurityGroup{
			{ID: "sg-web", Rules: []reach.Rule{
				{ID: "sgr-web-in", Traffic: ports(6, 443, 443), CIDR: cidr("0.0.0.0/0")},
				{ID: "sgr-web-out", Egress: true, Traffic: everything, CIDR: cidr("0.0.0.0/0")},
			}},
			{ID: "sg-app", Rules: []reach.Rule{
				{ID: "sgr-app-in", Traffic: ports(6, 8443, 8443), Group: "sg-web"},
				{ID: "sgr-app-out", Egress: true, Traffic: everything, CIDR: cidr("0.0.0.0/0")},
			}},
			{ID: "sg-data", Rules: []reach.Rule{{ID: "sgr-data-in", Traffic: ports(6, 5432, 5432), Group: "sg-app"}}},
		},
		Interfaces: []reach.Interface{
			{ID: "eni-web", Subnet: "subnet-public", Addresses: []reach.Address{{IP: ip("10.0.0.10"), Public: ip("203.0.113.10")}}, Groups: []string{"sg-web"}, SourceDestCheck: true},
			{ID: "eni-nat", Subnet: "subnet-public", Addresses: []reach.Address{{IP: ip("10.0.0.20"), Public: ip("203.0.113.20")}}},
			{ID: "eni-app", Subnet: "subnet-private", Addresses: []reach.Address{{IP: ip("10.0.1.10")}}, Groups: []string{"sg-app"}, SourceDestCheck: true},
			{ID: "eni-data", Subnet: "subnet-data", Addresses: []reach.Address{{IP: ip("10.0.2.10")}}, Groups: []string{"sg-data"}, SourceDestCheck: true},
		},
		InternetGateways: []reach.InternetGateway{{ID: "igw-1", Attached: true}},
		NATGateways:      []reach.NATGateway{{ID: "nat-1", Interface: "eni-nat"}},
	}
}

// The parts of the textbook's network, by place.
const (
	public, private, data = 0, 1, 2
	web, nat, app, db     = 0, 1, 2, 3
)

func route(n *reach.Network, table int, r reach.Route) {
	n.RouteTables[table].Routes = append(n.RouteTables[table].Routes, r)
}

// tcpFrom is TCP to a port, from an address.
func tcpFrom(port uint16, source string) reach.Region {
	r := reach.TCP(port)
	r.Sources = set(source)
	return r
}

func tcpTo(port uint16, destination string) reach.Region {
	r := reach.TCP(port)
	r.Destinations = set(destination)
	return r
}

func one(protocol, port uint16) reach.Region {
	return reach.Region{Protocols: reach.Range{From: protocol, To: protocol}, Ports: reach.Range{From: port, To: port}, Clients: reach.All}
}

var (
	internet = reach.Internet{}
	toWeb    = reach.At{Interface: "eni-web"}
	toNAT    = reach.At{Interface: "eni-nat"}
	toApp    = reach.At{Interface: "eni-app"}
	toData   = reach.At{Interface: "eni-data"}
)

func TestTextbook(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		change   func(*reach.Network)
		from, to reach.Place
		ask      reach.Region
		want     []string
	}{
		{
			name: "a web server is open", from: internet, to: toWeb, ask: tcpFrom(443, "8.8.8.8/32"),
			want: []string{"open: tcp 443 from 8.8.8.8/32 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]"},
		},
		{
			name: "a web server's other ports are closed", from: internet, to: toWeb, ask: tcpFrom(22, "8.8.8.8/32"),
			want: []string{"blocked: tcp 22 from 8.8.8.8/32 to 10.0.0.10/32: security group sg-web in: no rule of the security groups allows it [gateway igw-1, network ACL acl-public in 100]"},
		},
		{
			name: "a private database has no public address", from: internet, to: toData, ask: tcpFrom(5432, "8.8.8.8/32"),
			want: []string{"blocked: tcp 5432 from 8.8.8.8/32 to 10.0.2.10/32: interface eni-data: has no public address"},
		},
		{
			name: "an open database", from: internet, to: toData, ask: reach.TCP(5432),
			change: func(n *reach.Network) {
				n.Interfaces[db].Addresses[0].Public = ip("203.0.113.30")
				n.Subnets[data].RouteTable = "rtb-public"
				n.SecurityGroups[data].Rules[0] = reach.Rule{ID: "sgr-data-in", Traffic: ports(6, 5432, 5432), CIDR: cidr("0.0.0.0/0")}
			},
			want: []string{"open: tcp 5432 from all but 0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16 198.18.0.0/15 224.0.0.0/3 to 10.0.2.10/32 [gateway igw-1, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-data out 100 (answer)]"},
		},
		{
			name: "a public address behind a NAT route answers another way", from: internet, to: toData, ask: tcpFrom(5432, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.Interfaces[db].Addresses[0].Public = ip("203.0.113.30")
				n.SecurityGroups[data].Rules[0] = reach.Rule{ID: "sgr-data-in", Traffic: ports(6, 5432, 5432), CIDR: cidr("0.0.0.0/0")}
			},
			want: []string{"blocked: tcp 5432 from 8.8.8.8/32 to 10.0.2.10/32: route table rtb-private 0.0.0.0/0 to nat-1 (answer): the answer takes another way [gateway igw-1, network ACL acl-data in 100, security group sg-data sgr-data-in]"},
		},
		{
			name: "without a gateway attached", from: internet, to: toWeb, ask: tcpFrom(443, "8.8.8.8/32"),
			change: func(n *reach.Network) { n.InternetGateways[0].Attached = false },
			want:   []string{"blocked: tcp 443 from 8.8.8.8/32 to 10.0.0.10/32: VPC vpc-1: the VPC has no internet gateway attached"},
		},
		{
			name: "an ACL that forgets the ports of clients", from: internet, to: toWeb, ask: tcpFrom(443, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.ACLs[public].Entries = []reach.ACLEntry{
					entry(100, false, true, ports(6, 443, 443), "0.0.0.0/0"), entry(100, true, true, ports(6, 443, 443), "0.0.0.0/0"),
				}
			},
			want: []string{
				// Only who comes from port 443 gets answers.
				"open: tcp 443 from 8.8.8.8/32 port 443 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]",
				"blocked: tcp 443 from 8.8.8.8/32 port 0-442 to 10.0.0.10/32: network ACL acl-public out * (answer): denied by the network ACL [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer)]",
				"blocked: tcp 443 from 8.8.8.8/32 port 444-65535 to 10.0.0.10/32: network ACL acl-public out * (answer): denied by the network ACL [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer)]",
			},
		},
		{
			name: "a specific deny before an allow", from: internet, to: toWeb, ask: reach.Region{Protocols: reach.Range{From: 6, To: 6}, Ports: reach.Range{From: 443, To: 443}, Clients: reach.Ephemeral, Sources: set("198.51.100.0/24")},
			change: func(n *reach.Network) {
				n.ACLs[public].Entries = append(n.ACLs[public].Entries, entry(50, false, false, ports(6, 443, 443), "198.51.100.128/25"))
			},
			want: []string{
				"open: tcp 443 from 198.51.100.0/25 port 1024-65535 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]",
				"blocked: tcp 443 from 198.51.100.128/25 port 1024-65535 to 10.0.0.10/32: network ACL acl-public in 50: denied by the network ACL [gateway igw-1]",
			},
		},
		{
			name: "overlapping entries: the first decides each part", from: internet, to: toWeb,
			ask: reach.Region{Protocols: reach.Range{From: 6, To: 6}, Ports: reach.Range{From: 440, To: 446}, Clients: reach.Range{From: 5000, To: 5000}, Sources: set("8.8.8.8/32")},
			change: func(n *reach.Network) {
				n.SecurityGroups[0].Rules[0].Traffic = everything
				n.ACLs[public].Entries = append(n.ACLs[public].Entries,
					entry(10, false, true, ports(6, 442, 443), "0.0.0.0/0"), entry(20, false, false, ports(6, 441, 445), "8.0.0.0/8"))
			},
			want: []string{
				"open: tcp 440 from 8.8.8.8/32 port 5000 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]",
				"open: tcp 442-443 from 8.8.8.8/32 port 5000 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 10, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]",
				"open: tcp 446 from 8.8.8.8/32 port 5000 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]",
				"blocked: tcp 441 from 8.8.8.8/32 port 5000 to 10.0.0.10/32: network ACL acl-public in 20: denied by the network ACL [gateway igw-1]",
				"blocked: tcp 444-445 from 8.8.8.8/32 port 5000 to 10.0.0.10/32: network ACL acl-public in 20: denied by the network ACL [gateway igw-1]",
			},
		},
		{
			name: "a group reaches by reference", from: toApp, to: toData, ask: reach.TCP(5432),
			want: []string{"open: tcp 5432 from 10.0.1.10/32 to 10.0.2.10/32 [security group sg-app sgr-app-out, route table rtb-private 10.0.0.0/16 to local, network ACL acl-private out 100, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-private 10.0.0.0/16 to local (answer), network ACL acl-data out 100 (answer), network ACL acl-private in 100 (answer)]"},
		},
		{
			name: "another group does not", from: toWeb, to: toData, ask: reach.TCP(5432),
			want: []string{"blocked: tcp 5432 from 10.0.0.10/32 to 10.0.2.10/32: security group sg-data in: no rule of the security groups allows it [security group sg-web sgr-web-out, route table rtb-public 10.0.0.0/16 to local, network ACL acl-public out 100, network ACL acl-data in 100]"},
		},
		{
			name: "a host without a group does not", from: reach.In{Subnet: "subnet-data"}, to: toData, ask: tcpFrom(5432, "10.0.2.11/32"),
			want: []string{"blocked: tcp 5432 from 10.0.2.11/32 to 10.0.2.10/32: security group sg-data in: no rule of the security groups allows it"},
		},
		{
			name: "a subnet has no ACL inside", from: toApp, to: toData, ask: reach.TCP(5432),
			change: func(n *reach.Network) {
				n.ACLs[private].Entries = nil
				n.Interfaces[db].Subnet, n.Interfaces[db].Addresses[0].IP = "subnet-private", ip("10.0.1.20")
			},
			want: []string{"open: tcp 5432 from 10.0.1.10/32 to 10.0.1.20/32 [security group sg-app sgr-app-out, security group sg-data sgr-data-in]"},
		},
		{
			name: "an ACL between subnets stops the answers of one", from: toApp, to: toData, ask: reach.Region{Protocols: reach.Range{From: 6, To: 6}, Ports: reach.Range{From: 5432, To: 5432}, Clients: reach.Ephemeral},
			change: func(n *reach.Network) {
				n.ACLs[private].Entries[0] = entry(100, false, true, ports(6, 0, 1023), "10.0.0.0/16")
			},
			want: []string{"blocked: tcp 5432 from 10.0.1.10/32 port 1024-65535 to 10.0.2.10/32: network ACL acl-private in * (answer): denied by the network ACL [security group sg-app sgr-app-out, route table rtb-private 10.0.0.0/16 to local, network ACL acl-private out 100, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-private 10.0.0.0/16 to local (answer), network ACL acl-data out 100 (answer)]"},
		},
		{
			name: "UDP whose answers are stopped arrives all the same", from: toApp, to: toData, ask: func() reach.Region { r := one(17, 53); r.Clients = reach.Ephemeral; return r }(),
			change: func(n *reach.Network) {
				n.SecurityGroups[2].Rules[0].Traffic = ports(17, 53, 53)
				n.ACLs[private].Entries[0] = entry(100, false, true, ports(6, 0, 65535), "10.0.0.0/16")
			},
			want: []string{"one way: udp 53 from 10.0.1.10/32 port 1024-65535 to 10.0.2.10/32: network ACL acl-private in * (answer): denied by the network ACL [security group sg-app sgr-app-out, route table rtb-private 10.0.0.0/16 to local, network ACL acl-private out 100, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-private 10.0.0.0/16 to local (answer), network ACL acl-data out 100 (answer)]"},
		},
		{
			name: "echo, and its replies", from: internet, to: toWeb, ask: func() reach.Region { r := one(1, 8<<8); r.Sources = set("8.8.8.8/32"); return r }(),
			change: func(n *reach.Network) {
				n.SecurityGroups[0].Rules[0].Traffic = ports(1, 8, -1)
				n.ACLs[public].Entries[1] = entry(100, true, true, ports(1, 0, 0), "0.0.0.0/0")
			},
			want: []string{"open: icmp type 8 code 0 from 8.8.8.8/32 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-web-in, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]"},
		},
		{
			name: "all protocols include those without ports", from: toApp, to: toData, ask: reach.Region{Protocols: reach.Range{From: 50, To: 50}, Ports: reach.All, Clients: reach.All},
			change: func(n *reach.Network) { n.SecurityGroups[2].Rules[0].Traffic = everything },
			want:   []string{"open: protocol 50 from 10.0.1.10/32 to 10.0.2.10/32 [security group sg-app sgr-app-out, route table rtb-private 10.0.0.0/16 to local, network ACL acl-private out 100, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-private 10.0.0.0/16 to local (answer), network ACL acl-data out 100 (answer), network ACL acl-private in 100 (answer)]"},
		},
		{
			name: "a prefix list in a rule", from: internet, to: toWeb, ask: func() reach.Region { r := tcpFrom(443, "203.0.113.0/24"); r.Clients = reach.Ephemeral; return r }(),
			change: func(n *reach.Network) {
				n.PrefixLists = []reach.PrefixList{{ID: "pl-1", Prefixes: prefixes("203.0.113.64/26", "198.51.100.0/24")}}
				n.SecurityGroups[0].Rules[0] = reach.Rule{ID: "sgr-list", Traffic: ports(6, 443, 443), PrefixList: "pl-1"}
			},
			want: []string{
				"open: tcp 443 from 203.0.113.64/26 port 1024-65535 to 10.0.0.10/32 [gateway igw-1, network ACL acl-public in 100, security group sg-web sgr-list, route table rtb-public 0.0.0.0/0 to igw-1 (answer), network ACL acl-public out 100 (answer)]",
				"blocked: tcp 443 from 203.0.113.0/26 203.0.113.128/25 port 1024-65535 to 10.0.0.10/32: security group sg-web in: no rule of the security groups allows it [gateway igw-1, network ACL acl-public in 100]",
			},
		},
		{
			name: "NAT lets out", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			want: []string{"open: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32 [security group sg-app sgr-app-out, route table rtb-private 0.0.0.0/0 to nat-1, network ACL acl-private out 100, network ACL acl-public in 100, gateway nat-1, route table rtb-public 0.0.0.0/0 to igw-1, network ACL acl-public out 100, network ACL acl-public in 100 (answer), route table rtb-public 10.0.0.0/16 to local (answer), network ACL acl-public out 100 (answer), network ACL acl-private in 100 (answer)]"},
		},
		{
			name: "NAT lets nobody in", from: internet, to: toNAT, ask: tcpFrom(443, "8.8.8.8/32"),
			want: []string{"blocked: tcp 443 from 8.8.8.8/32 to 10.0.0.20/32: interface eni-nat: a NAT gateway takes no connections [gateway igw-1]"},
		},
		{
			name: "NAT in a private subnet does not let out", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.RouteTables[public].Routes = n.RouteTables[public].Routes[:1]
			},
			want: []string{"blocked: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32: route table rtb-public: no route [security group sg-app sgr-app-out, route table rtb-private 0.0.0.0/0 to nat-1, network ACL acl-private out 100, network ACL acl-public in 100, gateway nat-1]"},
		},
		{
			name: "NAT whose own ports an ACL stops", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.ACLs[public].Entries = append(n.ACLs[public].Entries, entry(10, false, false, ports(6, 1024, 65535), "0.0.0.0/0"))
			},
			want: []string{"blocked: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32: network ACL acl-public in 10 (answer): denied by the network ACL [security group sg-app sgr-app-out, route table rtb-private 0.0.0.0/0 to nat-1, network ACL acl-private out 100, network ACL acl-public in 100, gateway nat-1, route table rtb-public 0.0.0.0/0 to igw-1, network ACL acl-public out 100]"},
		},
		{
			name: "a NAT gateway that is gone", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			change: func(n *reach.Network) { n.RouteTables[private].Routes[1].Blackhole = true },
			want:   []string{"blocked: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32: route table rtb-private 0.0.0.0/0 to nat-1: the route's target is gone [security group sg-app sgr-app-out]"},
		},
		{
			name: "a NAT instance that checks", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.RouteTables[private].Routes[1] = reach.Route{Destination: cidr("0.0.0.0/0"), Kind: reach.ToInterface, Target: "eni-web"}
			},
			want: []string{"blocked: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32: interface eni-web: forwards nothing, for its source and destination check is on [security group sg-app sgr-app-out, route table rtb-private 0.0.0.0/0 to eni-web, network ACL acl-private out 100, network ACL acl-public in 100]"},
		},
		{
			name: "a NAT instance", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.RouteTables[private].Routes[1] = reach.Route{Destination: cidr("0.0.0.0/0"), Kind: reach.ToInterface, Target: "eni-web"}
				n.Interfaces[web].SourceDestCheck = false
				n.SecurityGroups[0].Rules[0].CIDR = cidr("10.0.1.0/24")
			},
			want: []string{"open: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32 [security group sg-app sgr-app-out, route table rtb-private 0.0.0.0/0 to eni-web, network ACL acl-private out 100, network ACL acl-public in 100, security group sg-web sgr-web-in, security group sg-web sgr-web-out, interface eni-web, route table rtb-public 0.0.0.0/0 to igw-1, network ACL acl-public out 100, network ACL acl-public in 100 (answer), route table rtb-public 10.0.0.0/16 to local (answer), network ACL acl-public out 100 (answer), network ACL acl-private in 100 (answer)]"},
		},
		{
			name: "no way out", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			change: func(n *reach.Network) { n.RouteTables[private].Routes = n.RouteTables[private].Routes[:1] },
			want:   []string{"blocked: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32: route table rtb-private: no route [security group sg-app sgr-app-out]"},
		},
		{
			name: "an endpoint is a way out to its service alone", from: toApp, to: internet, ask: func() reach.Region { r := tcpTo(443, "52.216.0.0/15"); r.Clients = reach.Ephemeral; return r }(),
			change: func(n *reach.Network) {
				n.PrefixLists = []reach.PrefixList{{ID: "pl-s3", Prefixes: prefixes("52.216.0.0/16")}}
				n.RouteTables[private].Routes[1] = reach.Route{PrefixList: "pl-s3", Kind: reach.ToGatewayEndpoint, Target: "vpce-1"}
			},
			want: []string{
				"open: tcp 443 from 10.0.1.10/32 port 1024-65535 to 52.216.0.0/16 [security group sg-app sgr-app-out, route table rtb-private 52.216.0.0/16 to vpce-1, network ACL acl-private out 100, network ACL acl-private in 100 (answer)]",
				"blocked: tcp 443 from 10.0.1.10/32 port 1024-65535 to 52.217.0.0/16: route table rtb-private: no route [security group sg-app sgr-app-out]",
			},
		},
		{
			name: "a transit gateway may be a way out", from: toApp, to: internet, ask: tcpTo(443, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.RouteTables[private].Routes[1] = reach.Route{Destination: cidr("0.0.0.0/0"), Kind: reach.ToTransitGateway, Target: "tgw-1"}
			},
			want: []string{"opaque: tcp 443 from 10.0.1.10/32 to 8.8.8.8/32: route table rtb-private 0.0.0.0/0 to tgw-1: what lies behind is not known [security group sg-app sgr-app-out, route table rtb-private 0.0.0.0/0 to tgw-1, network ACL acl-private out 100]"},
		},
		{
			name: "a peering connection by address", from: reach.Behind{Gateway: "pcx-1"}, to: toData, ask: reach.TCP(5432),
			change: func(n *reach.Network) {
				route(n, private, reach.Route{Destination: cidr("10.9.0.0/16"), Kind: reach.ToPeering, Target: "pcx-1"})
				n.SecurityGroups[2].Rules = append(n.SecurityGroups[2].Rules, reach.Rule{ID: "sgr-peer", Traffic: ports(6, 5432, 5432), CIDR: cidr("10.9.1.0/24")})
			},
			want: []string{
				"open: tcp 5432 from 10.9.1.0/24 to 10.0.2.10/32 [gateway pcx-1, network ACL acl-data in 100, security group sg-data sgr-peer, route table rtb-private 10.9.0.0/16 to pcx-1 (answer), network ACL acl-data out 100 (answer)]",
				"blocked: tcp 5432 from 10.9.0.0/24 10.9.2.0/23 10.9.4.0/22 10.9.8.0/21 10.9.16.0/20 10.9.32.0/19 10.9.64.0/18 10.9.128.0/17 to 10.0.2.10/32: security group sg-data in: no rule of the security groups allows it [gateway pcx-1, network ACL acl-data in 100]",
			},
		},
		{
			name: "a peering connection by a group of the other VPC", from: reach.Behind{Gateway: "pcx-1"}, to: toData, ask: reach.TCP(5432),
			change: func(n *reach.Network) {
				route(n, private, reach.Route{Destination: cidr("10.9.0.0/16"), Kind: reach.ToPeering, Target: "pcx-1"})
				n.SecurityGroups[2].Rules[0].Group = "sg-theirs"
			},
			want: []string{"open: tcp 5432 from 10.9.0.0/16 to 10.0.2.10/32 [gateway pcx-1, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-private 10.9.0.0/16 to pcx-1 (answer), network ACL acl-data out 100 (answer)]"},
		},
		{
			name: "a peering connection that only one subnet routes to", from: reach.Behind{Gateway: "pcx-1"}, to: toData, ask: reach.TCP(5432),
			change: func(n *reach.Network) {
				route(n, public, reach.Route{Destination: cidr("10.9.0.0/16"), Kind: reach.ToPeering, Target: "pcx-1"})
				n.SecurityGroups[2].Rules[0] = reach.Rule{ID: "sgr-peer", Traffic: ports(6, 5432, 5432), CIDR: cidr("10.0.0.0/8")}
			},
			want: []string{"blocked: tcp 5432 from 10.9.0.0/16 to 10.0.2.10/32: route table rtb-private 0.0.0.0/0 to nat-1 (answer): the answer takes another way [gateway pcx-1, network ACL acl-data in 100, security group sg-data sgr-peer]"},
		},
		{
			name: "a static route before a propagated one", from: toApp, to: reach.Behind{Gateway: "vgw-1"}, ask: tcpTo(443, "10.9.0.1/32"),
			change: func(n *reach.Network) {
				route(n, private, reach.Route{Destination: cidr("10.9.0.0/16"), Kind: reach.ToVPNGateway, Target: "vgw-1", Propagated: true})
				route(n, private, reach.Route{Destination: cidr("10.9.0.0/16"), Kind: reach.ToPeering, Target: "pcx-1"})
			},
			want: []string{"blocked: tcp 443 from 10.0.1.10/32 to 10.9.0.1/32: route table rtb-private 10.9.0.0/16 to pcx-1: the route leads elsewhere [security group sg-app sgr-app-out]"},
		},
		{
			name: "a propagated route within the VPC does not count", from: toApp, to: toData, ask: reach.TCP(5432),
			change: func(n *reach.Network) {
				route(n, private, reach.Route{Destination: cidr("10.0.2.0/24"), Kind: reach.ToVPNGateway, Target: "vgw-1", Propagated: true})
			},
			want: []string{"open: tcp 5432 from 10.0.1.10/32 to 10.0.2.10/32 [security group sg-app sgr-app-out, route table rtb-private 10.0.0.0/16 to local, network ACL acl-private out 100, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-private 10.0.0.0/16 to local (answer), network ACL acl-data out 100 (answer), network ACL acl-private in 100 (answer)]"},
		},
		{
			name: "an appliance between, and a reference that does not hold behind it", from: toApp, to: toData, ask: reach.TCP(5432),
			change: diverted(true, false),
			want:   []string{"blocked: tcp 5432 from 10.0.1.10/32 to 10.0.2.10/32: security group sg-data in: no rule of the security groups allows it [security group sg-app sgr-app-out, route table rtb-private 10.0.2.0/24 to eni-web, network ACL acl-private out 100, network ACL acl-public in 100, security group sg-web sgr-web-in, interface eni-web, security group sg-web sgr-web-out, route table rtb-public 10.0.0.0/16 to local, network ACL acl-public out 100, network ACL acl-data in 100]"},
		},
		{
			name: "an appliance between, and answers beside it", from: toApp, to: toData, ask: reach.TCP(5432),
			change: diverted(false, true),
			want:   []string{"blocked: tcp 5432 from 10.0.1.10/32 to 10.0.2.10/32: route table rtb-data 10.0.0.0/16 to local (answer): the answer takes another way [security group sg-app sgr-app-out, route table rtb-private 10.0.2.0/24 to eni-web, network ACL acl-private out 100, network ACL acl-public in 100, security group sg-web sgr-web-in, interface eni-web, security group sg-web sgr-web-out, route table rtb-public 10.0.0.0/16 to local, network ACL acl-public out 100, network ACL acl-data in 100, security group sg-data sgr-data-in]"},
		},
		{
			name: "an appliance both ways", from: toApp, to: toData, ask: reach.TCP(5432),
			change: diverted(true, true),
			want:   []string{"open: tcp 5432 from 10.0.1.10/32 to 10.0.2.10/32 [security group sg-app sgr-app-out, route table rtb-private 10.0.2.0/24 to eni-web, network ACL acl-private out 100, network ACL acl-public in 100, security group sg-web sgr-web-in, interface eni-web, security group sg-web sgr-web-out, route table rtb-public 10.0.0.0/16 to local, network ACL acl-public out 100, network ACL acl-data in 100, security group sg-data sgr-data-in, route table rtb-data 10.0.1.0/24 to eni-web (answer), network ACL acl-data out 100 (answer), network ACL acl-public in 100 (answer), route table rtb-public 10.0.0.0/16 to local (answer), network ACL acl-public out 100 (answer), network ACL acl-private in 100 (answer)]"},
		},
		{
			name: "two appliances, the second of which could answer directly", from: toApp, to: toData, ask: reach.Region{Protocols: reach.Range{From: 6, To: 6}, Ports: reach.Range{From: 5432, To: 5432}, Clients: reach.All},
			change: func(n *reach.Network) {
				diverted(true, true)(n)
				n.Interfaces = append(n.Interfaces, reach.Interface{ID: "eni-second", Subnet: "subnet-private", Addresses: []reach.Address{{IP: ip("10.0.1.30")}}})
				route(n, public, reach.Route{Destination: cidr("10.0.2.0/24"), Kind: reach.ToInterface, Target: "eni-second"})
				n.RouteTables[2].Routes[1].Target = "eni-second"
				n.Subnets[private].RouteTable, n.RouteTables[private].Routes[2].Destination = "rtb-private", cidr("10.0.2.10/32")
				// The second appliance is in the application's subnet: it sends on by a
				// table that leads to the first again.
			},
			want: []string{"blocked: tcp 5432 from 10.0.1.10/32 to 10.0.2.10/32: route table rtb-private 10.0.2.10/32 to eni-web: the route leads back [security group sg-app sgr-app-out, route table rtb-private 10.0.2.10/32 to eni-web, network ACL acl-private out 100, network ACL acl-public in 100, security group sg-web sgr-web-in, interface eni-web, security group sg-web sgr-web-out, route table rtb-public 10.0.2.0/24 to eni-second, network ACL acl-public out 100, network ACL acl-private in 100, interface eni-second]"},
		},
		{
			name: "IPv6 needs no mapped address", from: internet, to: toWeb, ask: tcpFrom(443, "2001:db8:9::1/128"),
			change: func(n *reach.Network) {
				withIPv6(n, reach.Route{Destination: cidr("::/0"), Kind: reach.ToInternetGateway, Target: "igw-1"})
			},
			want: []string{"open: tcp 443 from 2001:db8:9::1/128 to 2001:db8:1::10/128 [gateway igw-1, network ACL acl-public in 101, security group sg-web sgr-web-6, route table rtb-public ::/0 to igw-1 (answer), network ACL acl-public out 101 (answer)]"},
		},
		{
			name: "an egress-only gateway lets nobody in", from: internet, to: toWeb, ask: tcpFrom(443, "2001:db8:9::1/128"),
			change: func(n *reach.Network) {
				withIPv6(n, reach.Route{Destination: cidr("::/0"), Kind: reach.ToEgressOnlyGateway, Target: "eigw-1"})
			},
			want: []string{"blocked: tcp 443 from 2001:db8:9::1/128 to 2001:db8:1::10/128: route table rtb-public ::/0 to eigw-1 (answer): the answer takes another way [gateway igw-1, network ACL acl-public in 101, security group sg-web sgr-web-6]"},
		},
		{
			name: "a gateway's own routes that are not followed", from: internet, to: toWeb, ask: tcpFrom(443, "8.8.8.8/32"),
			change: func(n *reach.Network) {
				n.RouteTables = append(n.RouteTables, reach.RouteTable{ID: "rtb-edge", Gateways: []string{"igw-1"}, Routes: []reach.Route{
					{Destination: cidr("10.0.0.0/16"), Kind: reach.Local}, {Destination: cidr("10.0.0.0/24"), Kind: reach.Other, Target: "vpce-9"},
				}})
			},
			want: []string{"opaque: tcp 443 from 8.8.8.8/32 to 10.0.0.10/32: route table rtb-edge: what lies behind is not known"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := textbook()
			if tt.change != nil {
				tt.change(&n)
			}
			m, err := reach.Compile(n)
			if err != nil {
				t.Fatal(err)
			}
			a, err := m.Between(tt.from, tt.to)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range a.Outcomes {
				if o, ok := o.Within(tt.ask); ok {
					got = append(got, o.String())
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// diverted sends traffic for the database over the web server; group says that the
// database names addresses and not the application's group, back that answers take
// the same way.
func diverted(back, byAddress bool) func(*reach.Network) {
	return func(n *reach.Network) {
		n.Interfaces[web].SourceDestCheck = false
		n.SecurityGroups[0].Rules[0] = reach.Rule{ID: "sgr-web-in", Traffic: everything, Group: "sg-app"}
		route(n, private, reach.Route{Destination: cidr("10.0.2.0/24"), Kind: reach.ToInterface, Target: "eni-web"})
		n.RouteTables = append(n.RouteTables, reach.RouteTable{ID: "rtb-data", Routes: []reach.Route{{Destination: cidr("10.0.0.0/16"), Kind: reach.Local}}})
		n.Subnets[data].RouteTable = "rtb-data"
		if back {
			route(n, 2, reach.Route{Destination: cidr("10.0.1.0/24"), Kind: reach.ToInterface, Target: "eni-web"})
		}
		if byAddress {
			n.SecurityGroups[2].Rules[0] = reach.Rule{ID: "sgr-data-in", Traffic: ports(6, 5432, 5432), CIDR: cidr("10.0.1.0/24")}
		}
	}
}

func withIPv6(n *reach.Network, def reach.Route) {
	n.CIDRs = append(n.CIDRs, cidr("2001:db8:1::/56"))
	n.Subnets[public].CIDRs = append(n.Subnets[public].CIDRs, cidr("2001:db8:1::/64"))
	n.Interfaces[web].Addresses = append(n.Interfaces[web].Addresses, reach.Address{IP: ip("2001:db8:1::10")})
	n.SecurityGroups[0].Rules = append(n.SecurityGroups[0].Rules, reach.Rule{ID: "sgr-web-6", Traffic: ports(6, 443, 443), CIDR: cidr("::/0")})
	n.ACLs[public].Entries = append(n.ACLs[public].Entries,
		entry(101, false, true, everything, "::/0"), entry(101, true, true, everything, "::/0"))
	route(n, public, reach.Route{Destination: cidr("2001:db8:1::/56"), Kind: reach.Local})
	route(n, public, def)
}

func TestFromInternet(t *testing.T) {
	t.Parallel()
	m, err := reach.Compile(textbook())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range m.FromInternet() {
		for _, o := range a.Reached(reach.Everything()) {
			got = append(got, fmt.Sprint(a.To, " ", o.Protocols, " ", o.Ports))
		}
	}
	if diff := cmp.Diff([]string{"{eni-web} 6 443"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	n := textbook()
	n.ACLs[public].Entries = append(n.ACLs[public].Entries, entry(10, true, false, ports(6, 0, 1023), "0.0.0.0/0"))
	m, err := reach.Compile(n)
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Between(internet, toWeb)
	if err != nil {
		t.Fatal(err)
	}
	usual := reach.TCP(443)
	usual.Clients = reach.Ephemeral
	for _, tt := range []struct {
		name string
		ask  reach.Region
		want bool
	}{
		{"from the usual ports", usual, true},
		{"from any port", reach.TCP(443), false},
		{"another port", reach.TCP(80), false},
		{"from nowhere", tcpFrom(443, "10.0.0.0/8"), false},
	} {
		if got := a.Covers(tt.ask); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
	if got := a.Stopped(usual); len(got) > 0 {
		t.Errorf("stopped: %v", got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*reach.Network)
		want   string
	}{
		{"route table", func(n *reach.Network) { n.Subnets[0].RouteTable = "rtb-0" }, `no route table "rtb-0"`},
		{"ACL", func(n *reach.Network) { n.Subnets[0].ACL = "" }, `no network ACL ""`},
		{"group", func(n *reach.Network) { n.Interfaces[0].Groups = []string{"sg-0"} }, `no security group "sg-0"`},
		{"subnet", func(n *reach.Network) { n.Interfaces[0].Subnet = "x" }, `no subnet "x"`},
		{"prefix list", func(n *reach.Network) { route(n, 0, reach.Route{PrefixList: "pl-0", Kind: reach.Other}) }, "no prefix list pl-0"},
		{"target", func(n *reach.Network) { route(n, 0, reach.Route{Destination: cidr("::/0"), Kind: "x"}) }, `"x" is no kind of target`},
		{"destination", func(n *reach.Network) { route(n, 0, reach.Route{Kind: reach.Other}) }, "is not valid"},
		{"twice", func(n *reach.Network) { n.Interfaces[1].ID = "eni-web" }, `interface "eni-web"`},
		{"number twice", func(n *reach.Network) { n.ACLs[0].Entries[1].Egress = false }, `entry "acl-public in 100"`},
		{"address twice", func(n *reach.Network) { n.Interfaces[1].Addresses = n.Interfaces[0].Addresses }, "10.0.0.10 is of eni-web too"},
		{"address elsewhere", func(n *reach.Network) { n.Interfaces[0].Addresses[0].IP = ip("10.0.1.99") }, "is not in subnet-public"},
		{"subnet elsewhere", func(n *reach.Network) { n.Subnets[0].CIDRs = prefixes("10.1.0.0/24") }, "are not the VPC's"},
		{"subnets overlap", func(n *reach.Network) { n.Subnets[1].CIDRs = n.Subnets[0].CIDRs }, "are those of subnet-public too"},
		{"ports", func(n *reach.Network) { n.ACLs[0].Entries[0].Traffic = ports(6, 9, 8) }, "no ports 9 to 8"},
		{"ICMP", func(n *reach.Network) { n.ACLs[0].Entries[0].Traffic = ports(1, 300, -1) }, "no ICMP type 300"},
		{"protocol", func(n *reach.Network) { n.ACLs[0].Entries[0].Traffic.Protocol = 300 }, "no protocol 300"},
		{"rule without a peer", func(n *reach.Network) { n.SecurityGroups[0].Rules[0].CIDR = netip.Prefix{} }, "exactly one of"},
		{"NAT", func(n *reach.Network) { n.NATGateways[0].Interface = "eni-0" }, `no interface "eni-0"`},
	} {
		n := textbook()
		tt.change(&n)
		if _, err := reach.Compile(n); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	m, err := reach.Compile(textbook())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from, to reach.Place
		want     string
	}{
		{internet, internet, "not a question"},
		{internet, reach.In{Subnet: "subnet-public"}, "only be where connections start"},
		{toWeb, toWeb, "to itself"},
		{reach.Behind{Gateway: "tgw-1"}, toWeb, "no route"},
		{reach.At{Interface: "x"}, toWeb, "no such interface"},
		{reach.In{Subnet: "x"}, toWeb, "no such subnet"},
		{nil, toWeb, "is no place"},
	} {
		if _, err := m.Between(tt.from, tt.to); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("from %v to %v: %v, want %s", tt.from, tt.to, err, tt.want)
		}
	}
}
