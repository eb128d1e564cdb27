package architecture

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/config"
)

// The ports that cross security groups. Pods serve HTTPS to load balancers and
// to each other on one port (ours; the vendor publishes none); model servers
// are vLLM, on its own port.
// https://docs.poolside.ai/metrics/inference-metrics
const (
	PodPort      = 8443
	ModelPort    = 8080
	PostgresPort = 5432
)

// DatabaseAuthority is whose certificate PostgreSQL shows.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
const DatabaseAuthority = "rds-ca-rsa2048-g1"

// GPUTaint keeps other pods off GPU nodes; the vendor's charts tolerate it.
func GPUTaint() config.Taint {
	return config.Taint{Key: "nvidia.com/gpu", Value: "true", Effect: "NoSchedule"}
}

// planNodes fills in NodeGroups and GPUGroups: one per role and zone, sizes
// spread over the zones with the remainder in the first ones. A zone whose
// share of the maximum is none has no group.
func (a *Architecture) planNodes() config.Faults {
	c := a.Config
	var faults config.Faults
	for i := range c.Compute {
		g := &c.Compute[i]
		if g.Min > g.Desired || g.Desired > g.Max || g.Max < 1 {
			faults = append(faults, c.Fault("compute["+string(g.Role)+"].desired", "sizes are not in order", "write min <= desired <= max, max at least 1"))
			continue
		}
		if g.Role == config.GPU {
			a.GPUGroups = append(a.GPUGroups, gpuGroups(g, c.Network.Zones)...)
		} else {
			a.NodeGroups = append(a.NodeGroups, spreadGroup(g, c.Network.Zones)...)
		}
	}
	return faults
}

func gpuGroups(g *config.NodeGroup, zones int) []NodeGroup {
	if g.Reservation.ID != "" {
		return []NodeGroup{{Role: g.Role, Zone: AnyZone, Min: g.Min, Size: g.Desired, Max: g.Max, Group: g}}
	}
	return spreadGroup(g, zones)
}

func spreadGroup(g *config.NodeGroup, zones int) []NodeGroup {
	var out []NodeGroup
	for zone := range zones {
		n := NodeGroup{
			Role: g.Role, Zone: zone, Group: g,
			Min: share(g.Min, zones, zone), Size: share(g.Desired, zones, zone), Max: share(g.Max, zones, zone),
		}
		if n.Max > 0 {
			out = append(out, n)
		}
	}
	return out
}

// share is a zone's part of a total. It never falls when the total rises, so
// min <= desired <= max holds in each zone too.
func share(total, zones, zone int) int {
	n := total / zones
	if zone < total%zones {
		n++
	}
	return n
}

// Key names the node group in logical ids and parameters: "WebAssistantZone1".
func (g NodeGroup) Key() string {
	var b strings.Builder
	for word := range strings.SplitSeq(string(g.Role), "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	if g.Zone == AnyZone {
		return b.String() + "Reserved"
	}
	return b.String() + "Zone" + strconv.Itoa(g.Zone+1)
}

// Scales says whether a cluster autoscaler has room in the group's bounds. A capacity
// block's begin at no nodes, since there may be no window.
// https://docs.aws.amazon.com/eks/latest/userguide/capacity-blocks-mng.html
func (g NodeGroup) Scales() bool { return g.Min < g.Max || g.Group.Reservation.CapacityBlock }

// Roles are the roles that the nodes serve, the group's own first.
func (g NodeGroup) Roles() []config.Role {
	return append([]config.Role{g.Role}, g.Group.Also...)
}

// Labels are the nodes' Kubernetes labels: one for each role that they serve,
// and the configuration's.
func (g NodeGroup) Labels() map[string]string {
	out := maps.Clone(g.Group.Labels)
	if out == nil {
		out = map[string]string{}
	}
	if _, ok := out[AcceleratorLabel]; g.Role == config.GPU && !ok {
		out[AcceleratorLabel] = "nvidia"
	}
	for _, r := range g.Roles() {
		maps.Copy(out, LabelsFor(r))
	}
	return out
}

// PodNetworkLabel is the label of nodes that says which ENIConfig their pods'
// interfaces go by, where pods have a range of their own.
const PodNetworkLabel = "node-role.poolhouse/pod-network"

// AcceleratorLabel keeps a cluster autoscaler from taking a GPU node whose device plugin
// has not told of the GPUs yet for one without, and adding another.
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md#special-note-on-gpu-instances
const AcceleratorLabel = "k8s.amazonaws.com/accelerator"

// DedicatedTaint is the key of the taint that keeps other pods off the nodes of
// web-assistant and interface. Pods of these roles tolerate it with any value,
// since the roles may share nodes; the labels choose the nodes.
const DedicatedTaint = "node-role.poolhouse/dedicated"

// Taints are the nodes' Kubernetes taints: the role's own, which core nodes
// don't have, and the configuration's.
func (g NodeGroup) Taints() []config.Taint {
	var own config.Taint
	switch g.Role {
	case config.Core:
		return slices.Clone(g.Group.Taints)
	case config.GPU:
		own = GPUTaint()
	default:
		own = config.Taint{Key: DedicatedTaint, Value: string(g.Role), Effect: "NoSchedule"}
	}
	out := []config.Taint{own}
	for _, t := range g.Group.Taints {
		if t.Key != own.Key || t.Effect != own.Effect {
			out = append(out, t)
		}
	}
	return out
}

// LabelsFor select the nodes of a role, merged or not.
func LabelsFor(r config.Role) map[string]string {
	return map[string]string{"node-role.poolhouse/" + string(r): "true"}
}

// Serves says whether there are nodes for a role.
func (a *Architecture) Serves(r config.Role) bool {
	for _, groups := range [][]NodeGroup{a.NodeGroups, a.GPUGroups} {
		for _, g := range groups {
			if slices.Contains(g.Roles(), r) {
				return true
			}
		}
	}
	return false
}

// ReservedZoneIDs are the zone ids that creation must record, and first,
// because capacity reservations are there: the first zones have the private
// subnets. Sorted.
func (a *Architecture) ReservedZoneIDs() []string {
	var out []string
	for _, g := range a.GPUGroups {
		if g.Zone == AnyZone && g.Group.Reservation.ZoneID != "" {
			out = append(out, g.Group.Reservation.ZoneID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
