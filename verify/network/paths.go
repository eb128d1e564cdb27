package network

import (
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
