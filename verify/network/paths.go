package network

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

// model is the VPC for questions about paths.
func model(l *account.Look) (*reach.Model, error) {
	return account.Facts[networkFacts](l).modelFact.Get(func() (*reach.Model, error) {
		its, err := l.VPC()
		if err != nil {
			return nil, err
		}
		if _, err := l.VPCID(); err != nil {
			return nil, err
		}
		d := vpc.Description{VPC: *its}
		for _, read := range []func() error{
			func() (err error) { d.Subnets, err = l.Subnets(); return err },
			func() (err error) { d.Tables, err = l.RouteTables(); return err },
			func() (err error) { d.ACLs, err = l.NetworkACLs(); return err },
			func() (err error) { d.Groups, err = l.SecurityGroups(); return err },
			func() (err error) { d.Rules, err = l.GroupRules(); return err },
			func() (err error) { d.Interfaces, err = l.NetworkInterfaces(); return err },
			func() (err error) { d.IGWs, err = internetGateways(l); return err },
			func() (err error) { d.NATs, err = l.NatGateways(); return err },
		} {
			if err := read(); err != nil {
				return nil, err
			}
		}
		for _, id := range d.ListIDs() {
			list := reach.PrefixList{ID: id}
			var bad error
			err := account.Pages(l, "prefix list "+id, ec2.NewGetManagedPrefixListEntriesPaginator(l.AWS.EC2, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id}),
				func(o *ec2.GetManagedPrefixListEntriesOutput) {
					for _, e := range o.Entries {
						p, err := netip.ParsePrefix(aws.ToString(e.Cidr))
						if err != nil {
							bad = fmt.Errorf("read prefix list %s: %w", id, err)
						}
						list.Prefixes = append(list.Prefixes, p)
					}
				})
			if err == nil {
				err = bad
			}
			if err != nil {
				return nil, err
			}
			d.Lists = append(d.Lists, list)
		}
		n, err := d.Network()
		if err != nil {
			return nil, err
		}
		return reach.Compile(n)
	})
}

// between answers what one place can open to another, which several checks ask
// of the same places.
func between(l *account.Look, from, to reach.Place) (reach.Answer, error) {
	return account.Facts[networkFacts](l).betweenFacts.Get(fmt.Sprintf("%#v to %#v", from, to), func() (reach.Answer, error) {
		m, err := model(l)
		if err != nil {
			return reach.Answer{}, err
		}
		return m.Between(from, to)
	})
}

// fromInternet answers, by interface, what the internet can open to it.
func fromInternet(l *account.Look) (map[string]reach.Answer, error) {
	return account.Facts[networkFacts](l).exposedFact.Get(func() (map[string]reach.Answer, error) {
		m, err := model(l)
		if err != nil {
			return nil, err
		}
		out := map[string]reach.Answer{}
		for _, a := range m.FromInternet() {
			if at, ok := a.To.(reach.At); ok {
				out[at.Interface] = a
			}
		}
		return out, nil
	})
}

// nameOf is an interface for people.
func nameOf(e types.NetworkInterface) string {
	if d := aws.ToString(e.Description); d != "" {
		return aws.ToString(e.NetworkInterfaceId) + " (" + d + ")"
	}
	return aws.ToString(e.NetworkInterfaceId)
}

// unreached notes for an interface that nothing on the internet reaches a region
// of it.
func unreached(l *account.Look, r *check.Recorder, e types.NetworkInterface, ask reach.Region) error {
	answers, err := fromInternet(l)
	if err != nil {
		return err
	}
	a := answers[aws.ToString(e.NetworkInterfaceId)]
	reached := a.Reached(ask)
	if len(reached) == 0 {
		saw := "no way in"
		if stopped := a.Stopped(ask); len(stopped) > 0 {
			saw += ": " + string(stopped[0].Reason)
		}
		r.Saw(true, nameOf(e), saw, reachAPI, "", "")
		return nil
	}
	for _, o := range reached {
		r.Saw(false, nameOf(e), reachedBy(o), reachAPI, "no way in from the internet", check.FixReach, trail(o)...)
	}
	return nil
}

// reachedBy says what gets through, and the rule that lets it: the last of a
// security group on the way there, or the last step.
func reachedBy(o reach.Outcome) string {
	return fmt.Sprintf("%s to %s, let through by %s", o.Verdict, o.Service(), letThrough(o))
}

func letThrough(o reach.Outcome) string {
	by := "nothing that stops it"
	for _, s := range o.Trail {
		if !s.Answering && (s.Kind == reach.StepGroup || !strings.HasPrefix(by, string(reach.StepGroup))) {
			by = s.String()
		}
	}
	return by
}

// trail is how an outcome comes about.
func trail(o reach.Outcome) []string {
	steps := []string{o.Region.String()}
	for _, s := range o.Trail {
		steps = append(steps, s.String())
	}
	return steps
}

// noWayIn is a check that nothing on the internet reaches a tier.
func noWayIn(t architecture.Tier) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		p, err := l.Places()
		if err != nil {
			return err
		}
		interfaces, err := l.NetworkInterfaces()
		if err != nil {
			return err
		}
		subnets := p.Tier(t)
		if t == architecture.Private {
			subnets = append(subnets, p.Tier(architecture.Pods)...)
		}
		for _, s := range subnets {
			saw, ok := "no route to an internet gateway", true
			for _, route := range s.Table.Routes {
				if kind, target := vpc.TargetOf(route); kind == reach.ToInternetGateway {
					saw, ok = vpc.DestinationOf(route)+" to "+target, false
				}
			}
			r.Saw(ok, s.SubnetID, saw, "ec2:DescribeRouteTables", "no route to an internet gateway", fixNetwork(l))
			for _, e := range interfaces {
				if aws.ToString(e.SubnetId) == s.SubnetID {
					if err := unreached(l, r, e, reach.Everything()); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
}

func inGroup(e types.NetworkInterface, id string) bool {
	return id != "" && slices.ContainsFunc(e.Groups, func(g types.GroupIdentifier) bool { return aws.ToString(g.GroupId) == id })
}

// nodeInterfaces are the interfaces of the cluster's nodes by the roles that the
// node serves, which its security groups tell.
func nodeInterfaces(l *account.Look) (map[config.Role][]types.NetworkInterface, error) {
	instances, err := l.VPCInstances()
	if err != nil {
		return nil, err
	}
	interfaces, err := l.NetworkInterfaces()
	if err != nil {
		return nil, err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return nil, err
	}
	nodes := map[string]bool{}
	for _, i := range instances {
		if account.Tag(i.Tags, "eks:cluster-name") == l.Arch.ClusterName() {
			nodes[aws.ToString(i.InstanceId)] = true
		}
	}
	out := map[config.Role][]types.NetworkInterface{}
	for _, e := range interfaces {
		if e.Attachment == nil || !nodes[aws.ToString(e.Attachment.InstanceId)] {
			continue
		}
		for _, role := range []config.Role{config.Core, config.WebAssistant, config.Interface, config.GPU} {
			if inGroup(e, aws.ToString(ours["nodes-"+string(role)].GroupId)) {
				out[role] = append(out[role], e)
			}
		}
	}
	return out, nil
}

// databaseInterfaces are those that RDS has in the VPC, by its description of
// them: of one instance, or of two with Multi-AZ.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html
func databaseInterfaces(l *account.Look) ([]types.NetworkInterface, error) {
	interfaces, err := l.NetworkInterfaces()
	if err != nil {
		return nil, err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return nil, err
	}
	var out []types.NetworkInterface
	for _, e := range interfaces {
		// In a given network others may have databases.
		if l.Given() && !inGroup(e, aws.ToString(ours["database"].GroupId)) {
			continue
		}
		if aws.ToString(e.Description) == "RDSNetworkInterface" {
			out = append(out, e)
		}
	}
	return out, nil
}

func nodesUnreachable(l *account.Look, r *check.Recorder) error {
	nodes, err := nodeInterfaces(l)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, role := range slices.Sorted(maps.Keys(nodes)) {
		for _, e := range nodes[role] {
			if id := aws.ToString(e.NetworkInterfaceId); !seen[id] {
				seen[id] = true
				if err := unreached(l, r, e, reach.Everything()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func databaseUnreachable(l *account.Look, r *check.Recorder) error {
	targets, err := databaseInterfaces(l)
	if err != nil {
		return err
	}
	for _, e := range targets {
		if err := unreached(l, r, e, reach.TCP(architecture.PostgresPort)); err != nil {
			return err
		}
	}
	return nil
}

func at(e types.NetworkInterface) reach.At {
	return reach.At{Interface: aws.ToString(e.NetworkInterfaceId)}
}

func databaseReachedByCore(l *account.Look, r *check.Recorder) error {
	m, err := model(l)
	if err != nil {
		return err
	}
	targets, err := databaseInterfaces(l)
	if err != nil {
		return err
	}
	interfaces, err := l.NetworkInterfaces()
	if err != nil {
		return err
	}
	nodes, err := nodeInterfaces(l)
	if err != nil {
		return err
	}
	subnets, err := l.Subnets()
	if err != nil {
		return err
	}
	type source struct {
		name  string
		place reach.Place
	}
	var sources []source
	core := map[string]bool{}
	for _, e := range nodes[config.Core] {
		core[aws.ToString(e.NetworkInterfaceId)] = true
	}
	database := map[string]bool{}
	for _, e := range targets {
		database[aws.ToString(e.NetworkInterfaceId)] = true
	}
	for _, e := range interfaces {
		if id := aws.ToString(e.NetworkInterfaceId); !core[id] && !database[id] {
			sources = append(sources, source{nameOf(e), at(e)})
		}
	}
	for _, s := range subnets {
		sources = append(sources, source{"a host without a group in " + aws.ToString(s.SubnetId), reach.In{Subnet: aws.ToString(s.SubnetId)}})
	}
	for _, g := range m.Gateways() {
		sources = append(sources, source{"what is behind " + g, reach.Behind{Gateway: g}})
	}
	for _, target := range targets {
		apart := 0
		in := map[string][]string{} // names of sources, by what lets them in
		ways := map[string][]string{}
		for _, s := range sources {
			a, err := between(l, s.place, at(target))
			if err != nil {
				return err
			}
			reached := a.Reached(reach.TCP(architecture.PostgresPort))
			if len(reached) == 0 {
				apart++
				continue
			}
			by := reachedBy(reached[0])
			if in[by] == nil {
				ways[by] = trail(reached[0])
			}
			in[by] = append(in[by], s.name)
		}
		for _, by := range account.SortedKeys(in) {
			r.Saw(false, nameOf(target), fmt.Sprintf("%s, for %s", by, some(in[by])), reachAPI, "reached by core nodes only", check.FixReach, ways[by]...)
		}
		r.Saw(true, nameOf(target), fmt.Sprintf("%d other places have no way to it", apart), reachAPI, "", "")
	}
	return nil
}

// some names the first of a list, and how many there are.
func some(names []string) string {
	const most = 2
	if len(names) <= most {
		return strings.Join(names, " and ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func webNodesApart(l *account.Look, r *check.Recorder) error {
	targets, err := databaseInterfaces(l)
	if err != nil {
		return err
	}
	nodes, err := nodeInterfaces(l)
	if err != nil {
		return err
	}
	for _, role := range []config.Role{config.WebAssistant, config.Interface} {
		for _, e := range nodes[role] {
			for _, target := range targets {
				a, err := between(l, at(e), at(target))
				if err != nil {
					return err
				}
				ask := reach.TCP(architecture.PostgresPort)
				reached, saw := a.Reached(ask), fmt.Sprintf("%s: no way to %s", role, nameOf(target))
				var way []string
				if len(reached) > 0 {
					saw, way = fmt.Sprintf("%s: %s", role, reachedBy(reached[0])), trail(reached[0])
				} else if stopped := a.Stopped(ask); len(stopped) > 0 {
					saw += ": " + string(stopped[0].Reason)
				}
				r.Saw(len(reached) == 0, nameOf(e), saw, reachAPI, "no way to "+nameOf(target), check.FixReach, way...)
			}
		}
	}
	return nil
}

// covers notes that a place can open connections to a port of another from every
// port that clients come from by themselves.
func covers(l *account.Look, r *check.Recorder, name string, from, to reach.Place, port uint16, what string) error {
	a, err := between(l, from, to)
	if err != nil {
		return err
	}
	ask := reach.TCP(port)
	ask.Clients = reach.Ephemeral
	if a.Covers(ask) {
		r.Saw(true, name, fmt.Sprintf("reaches %s on %d", what, port), reachAPI, "", "")
		return nil
	}
	saw := "no address to reach"
	for _, v := range []reach.Verdict{reach.Blocked, reach.Opaque, reach.OneWay} {
		for _, o := range a.Outcomes {
			if part, ok := o.Within(ask); ok && o.Verdict == v {
				saw = fmt.Sprintf("%s is %s: %s: %s", part.Region, v, part.At, part.Reason)
			}
		}
	}
	r.Saw(false, name, saw, reachAPI, fmt.Sprintf("reaches %s on %d", what, port), check.FixReach)
	return nil
}

func nodesReachDatabase(l *account.Look, r *check.Recorder) error {
	targets, err := databaseInterfaces(l)
	if err != nil {
		return err
	}
	nodes, err := nodeInterfaces(l)
	if err != nil {
		return err
	}
	for _, e := range nodes[config.Core] {
		for _, target := range targets {
			if err := covers(l, r, nameOf(e), at(e), at(target), architecture.PostgresPort, nameOf(target)); err != nil {
				return err
			}
		}
	}
	return nil
}

// balanced are the roles that each load balancer serves.
var balanced = map[string][]config.Role{"web": {config.WebAssistant, config.Interface}, "admin": {config.Core}}

func loadBalancersReachPods(l *account.Look, r *check.Recorder) error {
	interfaces, err := l.NetworkInterfaces()
	if err != nil {
		return err
	}
	nodes, err := nodeInterfaces(l)
	if err != nil {
		return err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	for _, part := range account.SortedKeys(balanced) {
		group := aws.ToString(ours["alb-"+part].GroupId)
		for _, e := range interfaces {
			// Elastic Load Balancing describes its interfaces so.
			if !strings.HasPrefix(aws.ToString(e.Description), "ELB app/") || !inGroup(e, group) {
				continue
			}
			for _, role := range balanced[part] {
				for _, node := range nodes[role] {
					if err := covers(l, r, nameOf(e), at(e), at(node), architecture.PodPort, string(role)+" node "+nameOf(node)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// leaves is what a host in a subnet reaches the internet on 443 by, or "". Where
// that is a gateway to other networks, what those do with it is not known.
func leaves(l *account.Look, subnet string) (string, error) {
	a, err := between(l, reach.In{Subnet: subnet}, reach.Internet{})
	if err != nil {
		return "", err
	}
	ask := reach.TCP(443)
	ask.Clients = reach.Ephemeral
	for _, o := range a.Reached(ask) {
		if o.Way == reach.WayGatewayEndpoint || o.Verdict == reach.OneWay {
			continue
		}
		return o.String(), nil
	}
	return "", nil
}

// byConfigured tells whether traffic goes by something that the configuration has
// routes to.
func byConfigured(n config.Network, o reach.Outcome) bool {
	targets := []string{n.TransitGateway.ID}
	for _, r := range n.Routes {
		targets = append(targets, r.Target)
	}
	return slices.ContainsFunc(append(slices.Clone(o.Trail), o.At), func(s reach.Step) bool {
		return s.Object != "" && slices.Contains(targets, s.Object)
	})
}

func privateEgress(l *account.Look, r *check.Recorder) error {
	p, err := l.Places()
	if err != nil {
		return err
	}
	n := l.Arch.Config.Network
	none := account.NATCount(l.Arch) == 0
	for _, s := range p.Tier(architecture.Private) {
		if l.Given() || n.CentralEgress() {
			by, err := leaves(l, s.SubnetID)
			if err != nil {
				return err
			}
			r.Saw(by != "" || l.Arch.Config.Proxy.URL != "", s.SubnetID, "the way out is "+cmp.Or(by, "not there"), reachAPI, "a way to the internet on 443, or proxy in the configuration", fixNetwork(l))
			continue
		}
		if !none {
			if err := covers(l, r, s.SubnetID, reach.In{Subnet: s.SubnetID}, reach.Internet{}, 443, "the internet"); err != nil {
				return err
			}
			continue
		}
		a, err := between(l, reach.In{Subnet: s.SubnetID}, reach.Internet{})
		if err != nil {
			return err
		}
		// A gateway endpoint leads to its service and nowhere else.
		out := slices.DeleteFunc(a.Reached(reach.Everything()), func(o reach.Outcome) bool {
			return o.Way == reach.WayGatewayEndpoint || byConfigured(n, o)
		})
		saw := "no way out but to S3 by its endpoint"
		var way []string
		if len(out) > 0 {
			saw = reachedBy(out[0])
			way = trail(out[0])
		}
		r.Saw(len(out) == 0, s.SubnetID, saw, reachAPI, "no way out, since network.nat.mode is none", check.FixReach, way...)
	}
	return nil
}

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
