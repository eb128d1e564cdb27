package reach

import "net/netip"

// Network is a VPC as EC2 describes it. Ids are opaque, and unique among things
// of a kind. It is not changed by this package.
type Network struct {
	ID               string
	CIDRs            []netip.Prefix // IPv4 and IPv6
	Subnets          []Subnet
	RouteTables      []RouteTable
	ACLs             []ACL
	SecurityGroups   []SecurityGroup
	PrefixLists      []PrefixList
	Interfaces       []Interface
	InternetGateways []InternetGateway
	NATGateways      []NATGateway
}

// Subnet has the route table and the network ACL that apply to it, explicitly
// associated or by default.
type Subnet struct {
	ID, Zone        string
	CIDRs           []netip.Prefix
	RouteTable, ACL string
}

// RouteTable is a list of routes in any order, the local ones among them.
type RouteTable struct {
	ID     string
	Routes []Route
	// Gateways are the internet and virtual private gateways whose incoming
	// traffic the table directs.
	Gateways []string
}

// Route sends a destination, which is a prefix or the id of a prefix list, to a
// target.
type Route struct {
	Destination netip.Prefix
	PrefixList  string
	Kind        TargetKind
	Target      string // its id, none if local
	// Blackhole: the target is gone, or can't take traffic.
	Blackhole  bool
	Propagated bool
}

// TargetKind is what a route leads to.
type TargetKind string

// The kinds of targets. Other is one that this package does not follow, such as
// an endpoint of a Gateway Load Balancer.
const (
	Local               TargetKind = "local"
	ToInternetGateway   TargetKind = "internet gateway"
	ToEgressOnlyGateway TargetKind = "egress-only internet gateway"
	ToNATGateway        TargetKind = "NAT gateway"
	ToInterface         TargetKind = "network interface"
	ToTransitGateway    TargetKind = "transit gateway"
	ToPeering           TargetKind = "peering connection"
	ToVPNGateway        TargetKind = "virtual private gateway"
	ToGatewayEndpoint   TargetKind = "gateway endpoint"
	Other               TargetKind = "other"
)

// Traffic is a protocol with its ports, in the terms of EC2's security group
// rules: protocol -1 is all; ports of TCP (6) and UDP (17) are From to To, or all
// if From is -1; for ICMP (1 and 58) From is the type and To the code, -1 being
// all. For other protocols both are ignored.
type Traffic struct {
	Protocol int
	From, To int
}

// ACL is a network ACL; what no entry matches is denied.
type ACL struct {
	ID      string
	Entries []ACLEntry // in any order
}

// ACLEntry allows or denies traffic from (or, with Egress, to) addresses. The
// lowest number that matches decides.
type ACLEntry struct {
	Number  int
	Egress  bool
	Allow   bool
	Traffic Traffic
	CIDR    netip.Prefix
}

// SecurityGroup is a set of rules that allow.
type SecurityGroup struct {
	ID    string
	Rules []Rule
}

// Rule allows traffic from (or, with Egress, to) one peer: a prefix, a prefix
// list or a group.
type Rule struct {
	ID         string
	Egress     bool
	Traffic    Traffic
	CIDR       netip.Prefix
	PrefixList string
	// Group may be one that the network does not have: of a VPC behind a peering
	// connection or transit gateway. Anything behind such a gateway is taken to
	// be its member.
	Group string
}

// PrefixList is a managed prefix list, of a customer or of AWS.
type PrefixList struct {
	ID       string
	Prefixes []netip.Prefix
}

// Interface is a network interface. Without groups nothing filters it, as with
// load balancers that have none.
type Interface struct {
	ID, Subnet  string
	Description string
	Addresses   []Address
	Groups      []string
	// SourceDestCheck drops what is neither from nor to the interface's own
	// addresses.
	SourceDestCheck bool
}

// Address is a private IPv4 address with the public one that is mapped to it, if
// any; or an IPv6 address, which is its own public one.
type Address struct {
	IP, Public netip.Addr
}

// InternetGateway is one that is attached to the VPC, or was.
type InternetGateway struct {
	ID       string
	Attached bool
}

// NATGateway is an available NAT gateway. It is public if its interface has a
// public address. Interface is empty for a regional one, which is in no subnet.
type NATGateway struct {
	ID, Interface string
}

// Place is where a connection starts or ends: [Internet], [Behind], [At] or [In].
type Place interface{ place() string }

type (
	// Internet is every public address that is not the VPC's own. Ranges that
	// only documentation uses count as public.
	Internet struct{}
	// Behind is what some route leads to by a transit gateway, a peering
	// connection or a virtual private gateway, without the VPC's own addresses.
	Behind struct{ Gateway string }
	// At is a network interface.
	At struct{ Interface string }
	// In is a host that could be added to a subnet: at any address that no
	// interface has, without a public address and without a security group.
	In struct{ Subnet string }
)

func (Internet) place() string { return "the internet" }
func (b Behind) place() string { return "what is behind " + b.Gateway }
func (a At) place() string     { return a.Interface }
func (i In) place() string     { return "a host in " + i.Subnet }
