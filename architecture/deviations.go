package architecture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/config"
)

// The ids of all deviations. They are stable: reasons in configurations and
// entries in Parameter Store go by them. What the reference itself offers as a
// choice (two zones or three, self-managed NAT, enterprise DNS, no GPU) is none.
const (
	MergedInterfaceNodes = "merged-interface-nodes"
	SingleZoneNodes      = "single-zone-nodes"
	SingleNAT            = "single-nat"
	NoNAT                = "no-nat"
	InternalWeb          = "internal-web"
	SingleAZDatabase     = "single-az-database"
	DistantDatabase      = "distant-database"
	NoSSO                = "no-sso"
	ExistingNetwork      = "existing-network"
	CentralEgress        = "central-egress"
)

// DeviationIDs are the ids of all deviations.
func DeviationIDs() []string {
	return []string{MergedInterfaceNodes, SingleZoneNodes, SingleNAT, NoNAT, InternalWeb, SingleAZDatabase, DistantDatabase, NoSSO, ExistingNetwork, CentralEgress}
}

// deviate fills in Deviations. A reason for an id that there is none of is a
// fault, as is a deviation without a reason in production.
func (a *Architecture) deviate() config.Faults {
	c := a.Config
	add := func(when bool, id, path, format string, args ...any) {
		if when {
			a.Deviations = append(a.Deviations, Deviation{id, path, fmt.Sprintf(format, args...), c.Deviations[id]})
		}
	}
	var merged, lone []string
	for _, g := range c.Compute {
		if slices.Contains(g.Also, config.Interface) {
			merged = append(merged, string(g.Role))
		}
		if g.Role != config.GPU && g.Desired < 2 {
			lone = append(lone, string(g.Role))
		}
	}
	add(merged != nil, MergedInterfaceNodes, "compute["+first(merged)+"].also",
		"API clients share the nodes of %s, so the load of one slows the other", strings.Join(merged, " and "))
	add(lone != nil, SingleZoneNodes, "compute["+first(lone)+"].desired",
		"the %s nodes are in one zone, and stop with it", strings.Join(lone, " and "))
	own, mode := !c.Network.Exists(), c.Network.NAT.Mode
	add(!own, ExistingNetwork, "network.existing",
		"the network was there before: its subnets, routes, network ACLs and way out are as its owner has them")
	add(own && (mode == config.NATSingleGateway || mode == config.NATSingleInstance), SingleNAT, "network.nat.mode",
		"one NAT serves all zones: when its zone fails, none of them reaches the internet")
	add(own && mode == config.NATNone && c.Network.CentralEgress(), CentralEgress, "network.nat.mode",
		"there is no NAT: the private subnets reach the internet through the transit gateway, as the network behind it lets them")
	add(c.Network.Isolated(), NoNAT, "network.nat.mode",
		"there is no NAT: nothing in the private subnets reaches the internet, the identity provider and metering included")
	add(c.Access.Web.Scheme == config.SchemeInternal, InternalWeb, "access.web.scheme",
		"the web load balancer is in the private subnets, not the public ones, and is reached from connected networks only")
	add(!c.Database.MultiAZ, SingleAZDatabase, "database.multiAz",
		"the database is in one zone: when that fails, it is restored from a backup")
	add(!c.Database.MultiAZ && !a.coreIn(c.Database.PreferredZone-1), DistantDatabase, "database.preferredZone",
		"no core node is in the database's zone, so every query crosses zones")
	add(!c.Access.SSO.Enabled, NoSSO, "access.sso.enabled",
		"the load balancers do not ask for single sign-on; the application alone does")

	var faults config.Faults
	for id := range c.Deviations {
		if !slices.Contains(DeviationIDs(), id) {
			faults = append(faults, c.Fault("deviations."+id, "is no deviation", "write one of "+strings.Join(DeviationIDs(), ", ")))
		}
	}
	for _, d := range a.Deviations {
		if c.Profile == config.Production && strings.TrimSpace(d.Reason) == "" {
			faults = append(faults, c.Fault(d.Path, "differs from the reference architecture without a reason: "+d.What,
				"follow the reference, or give the reason under deviations: "+d.ID))
		}
	}
	return faults
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// coreIn says whether core nodes start in a zone.
func (a *Architecture) coreIn(zone int) bool {
	return slices.ContainsFunc(a.NodeGroups, func(g NodeGroup) bool {
		return g.Role == config.Core && g.Zone == zone && g.Size > 0
	})
}
