package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/cfn/eks"
)

// gpu is the node groups for inference. A capacity reservation binds them to
// the zone that it is in, which is one of the recorded zones; if it is none of
// those with private subnets, the group has no subnet and EKS refuses it.
//
// Nodes of a capacity block exist only in its window. The desired size is 0 by
// default then, and has to be 0 when the window ends and whenever the group is
// updated: who runs the deployment sets it for the window, by the parameter or
// in EKS.
// https://docs.aws.amazon.com/eks/latest/userguide/capacity-blocks-mng.html
func gpu(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.GPU)
	nodeGroups(t, a, a.GPUGroups)
	return t
}

// reserve binds a launch template to the group's capacity reservation.
func reserve(data *ec2.LaunchTemplateData, g architecture.NodeGroup) {
	r := g.Group.Reservation
	if r.ID == "" {
		return
	}
	data.CapacityReservationSpecification = &ec2.CapacityReservationSpecification{
		CapacityReservationTarget: &ec2.CapacityReservationTarget{CapacityReservationId: cfn.V(r.ID)},
	}
	if r.CapacityBlock {
		data.InstanceMarketOptions = &ec2.InstanceMarketOptions{MarketType: cfn.V("capacity-block")}
	}
}

// onReservation changes what a node group on reserved capacity does otherwise.
// There is no instance to spare: at an update a node goes before the next one
// comes, and a repair would wait for capacity that isn't there.
func onReservation(ng *eks.Nodegroup, g architecture.NodeGroup) {
	ng.UpdateConfig.UpdateStrategy = cfn.V("MINIMAL")
	ng.NodeRepairConfig = nil
	if g.Group.Reservation.CapacityBlock {
		ng.CapacityType = cfn.V("CAPACITY_BLOCK")
	}
}

// reservedZones are conditions, by zone: that the group's reservation is there.
func reservedZones(t *cfn.Template, a *architecture.Architecture, g architecture.NodeGroup) []cfn.Cond {
	if g.Zone != architecture.AnyZone {
		return nil
	}
	var out []cfn.Cond
	for _, s := range a.PrivateSubnets() {
		out = append(out, t.Condition("ReservedInZone"+number(s.Zone), cfn.Equals(zoneID(t, s.Zone), cfn.V(g.Group.Reservation.ZoneID))))
	}
	return out
}

// reservedSubnets is the private subnet in the zone of the reservation.
func reservedSubnets(t *cfn.Template, a *architecture.Architecture, here []cfn.Cond) cfn.List[string] {
	var out []cfn.Value[string]
	for _, s := range a.PrivateSubnets() {
		out = append(out, cfn.If(here[s.Zone], subnetID(t, architecture.Private, s.Zone), cfn.NoValue[string]()))
	}
	return cfn.ListOf(out...)
}
