package verify_test

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	sandboxec2 "github.com/poolhouse/poolhouse/sandbox/ec2"
)

func connectedWrecks() []wreck {
	const example = "connected"
	values := func(old, with string) func(*wrecker) error {
		return func(w *wrecker) error {
			return w.change(typeAddon, logical("VpcCni"), func(_ *account.Tx, r *account.Resource) {
				text, _ := r.Props["ConfigurationValues"].(string)
				r.Props["ConfigurationValues"] = strings.Replace(text, old, with, 1)
			})
		}
	}
	return []wreck{
		{check: "transit-gateway-attached", example: example, by: func(w *wrecker) error {
			return w.change(sandboxec2.TypeTransitGatewayAttachment, anyOne, func(_ *account.Tx, r *account.Resource) { r.Status = "pendingAcceptance" })
		}},
		{check: "transit-gateway-attached", name: "a zone less", example: example, by: func(w *wrecker) error {
			return w.change(sandboxec2.TypeTransitGatewayAttachment, anyOne, func(_ *account.Tx, r *account.Resource) {
				ids, _ := r.Props["SubnetIds"].([]any)
				r.Props["SubnetIds"] = ids[:2]
			})
		}},
		{check: "configured-routes", example: example, by: func(w *wrecker) error {
			return w.drop(typeRoute, logical("PrivateTransitRoute10x0x0x0x8Zone2"))
		}},
		{check: "configured-routes", name: "another range", also: []string{"igw-only-ours"}, example: example, by: set(typeRoute, "PrivateRoute172x31x0x0x16Zone1", map[string]any{"DestinationCidrBlock": "172.30.0.0/16"})},
		{check: "igw-only-ours", name: "a route to another network", example: example, by: func(w *wrecker) error {
			return w.make(typeRoute, map[string]any{"RouteTableId": w.ref(typeTable, "PrivateRouteTable1"), "DestinationCidrBlock": "192.168.0.0/16", "TransitGatewayId": "tgw-0123456789abcdef0"})
		}},
		{check: "pod-subnets", example: example, by: values(`"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG":"true"`, `"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG":"false"`)},
		{check: "pod-subnets", name: "another subnet", example: example, by: func(w *wrecker) error {
			return values(w.ref(typeSubnet, "PodsSubnet1"), w.ref(typeSubnet, "PrivateSubnet1"))(w)
		}},
		{check: "private-egress", name: "no way through the transit gateway", example: "central-egress", also: []string{"configured-routes"}, by: func(w *wrecker) error {
			return w.drop(typeRoute, logical("PrivateDefaultRoute1"))
		}},
	}
}
