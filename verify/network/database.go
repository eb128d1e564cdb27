package network

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
)

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
