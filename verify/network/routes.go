package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

func noBlackHoles(l *account.Look, r *check.Recorder) error {
	tables, err := l.RouteTables()
	if err != nil {
		return err
	}
	if l.Given() {
		if tables, err = ourTables(l); err != nil {
			return err
		}
	}
	for _, t := range tables {
		var dead []string
		for _, route := range t.Routes {
			if route.State == types.RouteStateBlackhole {
				_, target := vpc.TargetOf(route)
				dead = append(dead, vpc.DestinationOf(route)+" to "+target)
			}
		}
		saw := fmt.Sprintf("%d routes, all active", len(t.Routes))
		if len(dead) > 0 {
			saw = "black holes: " + strings.Join(dead, ", ")
		}
		r.Saw(len(dead) == 0, aws.ToString(t.RouteTableId), saw, "ec2:DescribeRouteTables", "active routes only", fixNetwork(l))
	}
	return nil
}

// ourTables are the route tables of planned subnets, each once.
func ourTables(l *account.Look) ([]types.RouteTable, error) {
	p, err := l.Places()
	if err != nil {
		return nil, err
	}
	var out []types.RouteTable
	for _, s := range p.Subnets {
		if !slices.ContainsFunc(out, func(t types.RouteTable) bool {
			return aws.ToString(t.RouteTableId) == aws.ToString(s.Table.RouteTableId)
		}) {
			out = append(out, s.Table)
		}
	}
	return out, nil
}

// configured tells whether the configuration has a route.
func configured(n config.Network, route types.Route) bool {
	to, target := vpc.DestinationOf(route), ""
	if _, target = vpc.TargetOf(route); target == "" {
		return false
	}
	if target == n.TransitGateway.ID && slices.Contains(n.TransitGateway.CIDRs, to) {
		return true
	}
	return slices.ContainsFunc(n.Routes, func(r config.Route) bool { return r.CIDR == to && r.Target == target })
}

// reachedFromOutside tells whether internal load balancers serve clients beyond
// the VPC, in connected networks.
func reachedFromOutside(a *architecture.Architecture) bool {
	for _, e := range []config.Endpoint{a.Config.Access.Web, a.Config.Access.Admin} {
		if e.Scheme == config.SchemeInternal && slices.ContainsFunc(e.AllowCIDRs, func(cidr string) bool {
			p, err := netip.ParsePrefix(cidr)
			return err != nil || p.Bits() < a.VPC().Bits() || !a.VPC().Contains(p.Addr())
		}) {
			return true
		}
	}
	return false
}

func onlyGateway(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "its owner decides on internet gateways and what it is connected to")
		return nil
	}
	gateways, err := internetGateways(l)
	if err != nil {
		return err
	}
	tables, err := l.RouteTables()
	if err != nil {
		return err
	}
	if len(gateways) == 0 {
		r.Missing("internet gateway of the VPC", "ec2:DescribeInternetGateways", check.FixUpdate)
	}
	for _, g := range gateways {
		owner := account.Tag(g.Tags, architecture.DeploymentTag)
		r.Saw(owner == l.Arch.Name(), aws.ToString(g.InternetGatewayId), fmt.Sprintf("attached, deployment %q", owner), "ec2:DescribeInternetGateways",
			"the deployment's own", "detach it, and run poolhouse update")
	}
	c := l.Arch.Config
	connected := reachedFromOutside(l.Arch) || len(c.Cluster.API.AllowCIDRs) > 0 || c.Proxy.URL != ""
	for _, t := range tables {
		var others []string
		for _, route := range t.Routes {
			switch kind, target := vpc.TargetOf(route); kind {
			case reach.ToTransitGateway, reach.ToPeering, reach.ToVPNGateway, reach.ToEgressOnlyGateway, reach.Other:
				if !configured(c.Network, route) {
					others = append(others, vpc.DestinationOf(route)+" to "+target)
				}
			}
		}
		id := aws.ToString(t.RouteTableId)
		switch {
		case len(others) == 0:
			r.Saw(true, id, "no route to another network but configured ones", "ec2:DescribeRouteTables", "", "")
		default:
			r.Saw(connected, id, "other networks: "+strings.Join(others, ", "), "ec2:DescribeRouteTables", "no route to another network, since no client comes from one",
				"delete the routes; or, if clients come from there, put their ranges into access.web.allowCidrs and make its scheme internal")
		}
	}
	return nil
}

func publicRoutes(l *account.Look, r *check.Recorder) error {
	p, err := l.Places()
	if err != nil {
		return err
	}
	if l.Given() && len(l.Arch.PublicSubnets()) == 0 {
		r.NA(theirs, "there are no public subnets, since load balancers are internal")
		return nil
	}
	behind := func(types.RouteTable, string) string { return "" }
	if l.Given() {
		if behind, err = firewalls(l); err != nil {
			return err
		}
	}
	for _, s := range p.Tier(architecture.Public) {
		saw, ok := "no default route", false
		for _, route := range s.Table.Routes {
			if aws.ToString(route.DestinationCidrBlock) == "0.0.0.0/0" {
				kind, target := vpc.TargetOf(route)
				saw = fmt.Sprintf("0.0.0.0/0 to %s, %s", target, route.State)
				by := behind(s.Table, target)
				if by != "" {
					saw += ", and from there to the internet gateway by " + by
				}
				ok = (kind == reach.ToInternetGateway || by != "") && route.State == types.RouteStateActive
			}
		}
		r.Saw(ok, s.SubnetID, saw, "ec2:DescribeRouteTables", "0.0.0.0/0 to the internet gateway, active", fixNetwork(l))
	}
	return nil
}

// firewalls returns a function that tells, of the endpoint of a firewall that a
// table leads to, which other table leads on to an internet gateway of the VPC:
// that of the endpoint's subnets, or any if the endpoint can't be seen; "" if
// none, or if the target is no such endpoint.
// https://docs.aws.amazon.com/network-firewall/latest/developerguide/arch-igw-ngw.html
func firewalls(l *account.Look) (func(from types.RouteTable, target string) string, error) {
	tables, err := l.RouteTables()
	if err != nil {
		return nil, err
	}
	gateways, err := internetGateways(l)
	if err != nil {
		return nil, err
	}
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return nil, err
	}
	return func(from types.RouteTable, target string) string {
		return leadsOn(tables, gateways, endpoints, aws.ToString(from.RouteTableId), target)
	}, nil
}

func leadsOn(tables []types.RouteTable, gateways []types.InternetGateway, endpoints []types.VpcEndpoint, from, target string) string {
	if !strings.HasPrefix(target, "vpce-") {
		return ""
	}
	candidates := tables
	for _, e := range endpoints {
		if aws.ToString(e.VpcEndpointId) != target {
			continue
		}
		candidates = nil
		for _, s := range e.SubnetIds {
			candidates = append(candidates, vpc.TableOf(tables, s))
		}
	}
	for _, t := range candidates {
		id := aws.ToString(t.RouteTableId)
		if id == from {
			continue // traffic would come back to the endpoint
		}
		for _, route := range vpc.DefaultRoutes(t) {
			kind, to := vpc.TargetOf(route)
			attached := slices.ContainsFunc(gateways, func(g types.InternetGateway) bool { return aws.ToString(g.InternetGatewayId) == to })
			if kind == reach.ToInternetGateway && attached && route.State == types.RouteStateActive {
				return id
			}
		}
	}
	return ""
}
