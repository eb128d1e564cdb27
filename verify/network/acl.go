package network

import (
	"fmt"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

// needed are what a tier's ACL has to let in from the internet: clients of load
// balancers, the answers to connections from inside, and that a packet was too
// large for its path.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html
func needed(a *architecture.Architecture, t architecture.Tier) []reach.Region {
	tcp := func(from, to uint16) reach.Region {
		r := reach.TCP(from)
		r.Ports.To = to
		return r
	}
	answers := []reach.Region{tcp(1024, 65535), {Protocols: reach.Range{From: 1, To: 1}, Ports: reach.Range{From: 3<<8 | 4, To: 3<<8 | 4}, Clients: reach.All}}
	clients := []reach.Region{tcp(80, 80), tcp(443, 443)}
	access := a.Config.Access
	switch {
	case t == architecture.ControlPlane:
		return nil
	case t == architecture.Public && (access.Web.Scheme == config.SchemeInternetFacing || access.Admin.Scheme == config.SchemeInternetFacing),
		t == architecture.Private && reachedFromOutside(a):
		return append(answers, clients...)
	}
	return answers
}

// aclNoOpenPorts asks what would get past a subnet's ACL if it led straight to the
// internet and held a host with a public address and no security group.
func aclNoOpenPorts(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "its owner decides on network ACLs")
		return nil
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, s := range p.Subnets {
		id := aws.ToString(s.ACL.NetworkAclId)
		if key := id + " " + string(s.Tier); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		parse := &vpc.Parser{}
		n := reach.Network{
			ID: "probe", CIDRs: []netip.Prefix{s.CIDR}, ACLs: []reach.ACL{parse.ACL(s.ACL)},
			Subnets:          []reach.Subnet{{ID: s.SubnetID, CIDRs: []netip.Prefix{s.CIDR}, RouteTable: "probe", ACL: id}},
			RouteTables:      []reach.RouteTable{{ID: "probe", Routes: []reach.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Kind: reach.ToInternetGateway, Target: "probe"}}}},
			InternetGateways: []reach.InternetGateway{{ID: "probe", Attached: true}},
			Interfaces: []reach.Interface{{ID: "probe", Subnet: s.SubnetID, Addresses: []reach.Address{
				{IP: s.CIDR.Addr().Next(), Public: netip.AddrFrom4([4]byte{192, 0, 2, 1})},
			}}},
		}
		if parse.Err != nil {
			return parse.Err
		}
		m, err := reach.Compile(n)
		if err != nil {
			return err
		}
		want := needed(l.Arch, guarded(s.Tier))
		ok := true
		for _, o := range m.FromInternet()[0].Outcomes {
			if o.Verdict == reach.Blocked && !o.At.Answering {
				continue
			}
			for _, rest := range o.Region.Without(want...) {
				ok = false
				r.Saw(false, id, fmt.Sprintf("%s lets in %s", s.Tier, rest), "ec2:DescribeNetworkAcls", "only what the tier needs from the internet", check.FixUpdate)
			}
		}
		if ok {
			r.Saw(true, id, fmt.Sprintf("%s lets in from the internet only what it needs", s.Tier), "ec2:DescribeNetworkAcls", "", "")
		}
	}
	return nil
}
