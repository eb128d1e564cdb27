package templates

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestGPU(t *testing.T) {
	t.Parallel()
	reservation := config.Reservation{ID: "cr-0123456789abcdef0", ZoneID: "euc1-az2"}
	block := reservation
	block.CapacityBlock = true
	zones := "if(ReservedInZone1,${NetworkPrivateSubnet1Id},${AWS::NoValue})," +
		"if(ReservedInZone2,${NetworkPrivateSubnet2Id},${AWS::NoValue})," +
		"if(ReservedInZone3,${NetworkPrivateSubnet3Id},${AWS::NoValue})"
	for name, test := range map[string]struct {
		group    config.NodeGroup
		ids      []string
		subnets  string
		capacity string
		desired  string
		min      any
		target   any
		market   any
		strategy any
	}{
		"on demand": {
			config.NodeGroup{Desired: 1, Max: 2},
			[]string{"GpuZone1", "GpuZone2"},
			"${NetworkPrivateSubnet1Id}", "ON_DEMAND", "1", 0.0, nil, nil, nil,
		},
		"reserved": {
			config.NodeGroup{Min: 1, Desired: 2, Max: 2, Reservation: reservation},
			[]string{"GpuReserved"},
			zones, "ON_DEMAND", "2", 1.0, "cr-0123456789abcdef0", nil, "MINIMAL",
		},
		// Outside its window no node of a block can start.
		"capacity block": {
			config.NodeGroup{Min: 1, Desired: 2, Max: 2, Reservation: block},
			[]string{"GpuReserved"},
			zones, "CAPACITY_BLOCK", "0", 0.0, "cr-0123456789abcdef0", "capacity-block", "MINIMAL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, withGPU(test.group)), architecture.GPU)
			if diff := cmp.Diff(test.ids, d.ofType("AWS::EKS::Nodegroup")); diff != "" {
				t.Fatalf("node groups (-want +got):\n%s", diff)
			}
			g := d.properties(t, test.ids[0], "AWS::EKS::Nodegroup")
			data := at(d.properties(t, "GpuLaunchTemplate", "AWS::EC2::LaunchTemplate"), "LaunchTemplateData")
			for what, pair := range map[string][2]any{
				"image":       {"AL2023_x86_64_NVIDIA", g["AmiType"]},
				"taints":      {`[{"Effect":"NO_SCHEDULE","Key":"nvidia.com/gpu","Value":"true"}]`, mustJSON(g["Taints"])},
				"subnets":     {test.subnets, text(g["Subnets"])},
				"capacity":    {test.capacity, g["CapacityType"]},
				"min":         {test.min, at(g, "ScalingConfig", "MinSize")},
				"desired":     {test.desired, d.Parameters[test.ids[0]+"DesiredSize"]["Default"]},
				"reservation": {test.target, at(data, "CapacityReservationSpecification", "CapacityReservationTarget", "CapacityReservationId")},
				"market":      {test.market, at(data, "InstanceMarketOptions", "MarketType")},
				"type":        {"p5e.48xlarge", at(data, "InstanceType")},
				"strategy":    {test.strategy, at(g, "UpdateConfig", "UpdateStrategy")},
				"repair":      {test.target == nil, g["NodeRepairConfig"] != nil},
			} {
				if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			for zone := 1; test.target != nil && zone <= 3; zone++ {
				want := fmt.Sprintf(`{"Fn::Equals":[{"Ref":"NetworkZone%dId"},"euc1-az2"]}`, zone)
				if got := text(d.Conditions[fmt.Sprintf("ReservedInZone%d", zone)]); got != want {
					t.Errorf("zone %d: condition %s, want %s", zone, got, want)
				}
			}
		})
	}
}
