package deploy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/preflight"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// lookAtNetwork finds out which zones the deployment has, and whether the
// network that the configuration names will do. A deployment stays in the
// network that it was made in.
func (a *applying) lookAtNetwork(ctx context.Context) error {
	c := a.Architecture.Config
	var o preflight.Options
	if net := a.states[architecture.Network]; net.Exists() {
		for i := range a.Architecture.Zones {
			if id := net.Parameters[templates.ZoneIDParameter+strconv.Itoa(i+1)]; id != "" {
				a.zones = append(a.zones, preflight.Zone{ID: id})
			}
		}
		if err := stands(net, a.Architecture).Err(); err != nil {
			return err
		}
		o.Begun = stack.ConditionOf(net.Status) != stack.Stillborn
		o.VPC = net.Outputs["VpcId"]
	}
	found, err := preflight.Network(ctx, a.AWS, a.Architecture, o)
	if err != nil {
		return err
	}
	a.advice = found.Advice
	if c.Network.Exists() {
		a.zones = found.Zones
	}
	if len(a.zones) < a.Architecture.Zones {
		ids, err := pickZones(ctx, a.AWS, a.Architecture.Zones, a.Architecture.ReservedZoneIDs())
		if err != nil {
			return err
		}
		a.zones = nil
		for _, id := range ids {
			a.zones = append(a.zones, preflight.Zone{ID: id})
		}
	}
	return nil
}

// stands are the faults of a configuration that wants the deployment elsewhere
// than it stands.
func stands(net *stack.State, a *architecture.Architecture) config.Faults {
	faults := moves(net, a)
	if !a.Config.Network.Exists() { // its zones follow from its subnets
		faults = append(faults, shrinks(net, a.Config)...)
	}
	return faults
}

// moves refuses another network than the deployment stands in: nothing in a VPC
// can move to another one, nor a cluster, database or node group to other
// subnets. Public subnets, which only load balancers have, can change, and a
// private subnet in another zone can be added.
func moves(net *stack.State, a *architecture.Architecture) config.Faults {
	if stack.ConditionOf(net.Status) == stack.Stillborn {
		return nil
	}
	c := a.Config
	var faults config.Faults
	fault := func(path, fix, format string, args ...any) {
		faults = append(faults, c.Fault(path, fmt.Sprintf(format, args...), fix))
	}
	const stays = "a deployment stays in its network; for another one, make another deployment"
	keys := map[architecture.Tier]string{architecture.ControlPlane: "controlPlaneSubnetIds", architecture.Private: "privateSubnetIds"}
	had, existed := net.Parameters[templates.VPCParameter]
	switch vpc := c.Network.Existing.VPCID; {
	case existed && vpc == "":
		fault("network", "name it under network.existing: "+stays, "is to be the deployment's own, which stands in %s, a network that was there", had)
	case !existed && vpc != "":
		fault("network.existing", "remove it: "+stays, "is to be %s, and the deployment stands in a VPC of its own", vpc)
	case existed && vpc != had:
		fault("network.existing.vpcId", "write "+had+": "+stays, "is %s, and the deployment stands in %s", vpc, had)
	case existed:
		for _, s := range slices.Concat(a.ControlPlaneSubnets(), a.PrivateSubnets()) {
			key := keys[s.Tier]
			was, ok := net.Parameters[templates.SubnetParameter(s)]
			switch {
			case ok && was != s.ID:
				fault(fmt.Sprintf("network.existing.%s[%d]", key, s.Zone), "write "+was+": "+stays, "is %s, and the deployment stands in %s", s.ID, was)
			case !ok && s.Tier == architecture.ControlPlane:
				fault(fmt.Sprintf("network.existing.%s[%d]", key, s.Zone), "remove it: EKS keeps the zones that it was created with", "is %s, in a zone that the cluster was created without", s.ID)
			}
		}
		for _, tier := range []architecture.Tier{architecture.ControlPlane, architecture.Private} {
			fewer := architecture.Subnet{Tier: tier, Zone: len(a.Tier(tier))}
			if was, ok := net.Parameters[templates.SubnetParameter(fewer)]; ok {
				fault("network.existing."+keys[tier], "list "+was+" too: "+stays, "lacks %s, which the deployment stands in", was)
			}
		}
	case len(net.Outputs) > 0 && net.Outputs[templates.PodRangeOutput] != c.Network.PodCIDR:
		was := net.Outputs[templates.PodRangeOutput]
		if was == "" {
			fault("network.podCidr", "remove it: "+stays, "is %s, and the deployment was made without a range for pods", c.Network.PodCIDR)
		} else {
			fault("network.podCidr", "write "+was+": "+stays, "is %q, and the deployment's pods are in %s", c.Network.PodCIDR, was)
		}
	}
	return faults
}

// shrinks refuses fewer zones than there are subnets for: nodes, database and
// endpoints stand in them, and belong to later stacks, so the network's update
// would leave the subnets behind, which hold the VPC in the end.
func shrinks(net *stack.State, c *config.Config) config.Faults {
	most := 0
	for had := range net.Outputs {
		number, ok := strings.CutSuffix(strings.TrimPrefix(had, "PrivateSubnet"), "Id")
		if n, err := strconv.Atoi(number); ok && err == nil {
			most = max(most, n)
		}
	}
	if most <= c.Network.Zones {
		return nil
	}
	return config.Faults{c.Fault("network.zones", fmt.Sprintf("is %d and the deployment stands in %d: zones can be added, not given up", c.Network.Zones, most), fmt.Sprintf("write %d", most))}
}
