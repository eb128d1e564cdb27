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
		{check: "transit-gateway-attached", example: example, also: []string{"configured-routes", "no-black-holes"}, by: func(w *wrecker) error {
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
		{check: "configured-routes", name: "another target", example: example, by: func(w *wrecker) error {
			return w.change(typeRoute, logical("PrivateRoute172x31x0x0x16Zone1"), func(tx *account.Tx, r *account.Resource) {
				delete(r.Props, "TransitGatewayId")
				r.Props["NatGatewayId"] = tx.Find(typeNAT, logical("NatGateway1")).ID
			})
		}},
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

// givenWrecks break a network that was there before.
func givenWrecks() []wreck {
	const example = "existing-network"
	subnet := func(id string) func(*account.Resource) bool {
		return func(r *account.Resource) bool { return r.ID == id }
	}
	const private, control = "subnet-0123456789abcdef4", "subnet-0123456789abcdef1"
	// route is the way out of the private subnets.
	route := func(r *account.Resource) bool {
		return r.Props["DestinationCidrBlock"] == "0.0.0.0/0" && r.Props["TransitGatewayId"] != nil
	}
	s3 := func(r *account.Resource) bool { return r.Props["VpcEndpointType"] == "Gateway" }
	toInternet := func(w *wrecker) error {
		return w.box.Account().Do(func(tx *account.Tx) error {
			gateway := tx.Find(typeIGW, anyOne)
			way := tx.Find(typeRoute, route)
			if gateway == nil || way == nil {
				return account.Errorf("NotThere", "no internet gateway or no way out")
			}
			delete(way.Props, "TransitGatewayId")
			way.Props["GatewayId"] = gateway.ID
			return nil
		})
	}
	return []wreck{
		{check: "vpc-there", name: "given", example: example, by: func(w *wrecker) error {
			return w.change(typeVPC, anyOne, func(_ *account.Tx, r *account.Resource) { r.Status = "pending" })
		}},
		{check: "vpc-dns", name: "given", example: example, by: func(w *wrecker) error {
			return w.change(typeVPC, anyOne, func(_ *account.Tx, r *account.Resource) { r.Props["EnableDnsHostnames"] = false })
		}},
		{check: "subnets-tiers", name: "given", example: example, by: func(w *wrecker) error {
			return w.change(typeSubnet, subnet(control), func(_ *account.Tx, r *account.Resource) { r.Status = "pending" })
		}},
		{check: "subnets-no-public-ip", name: "given", example: example, by: func(w *wrecker) error {
			return w.change(typeSubnet, subnet(private), func(_ *account.Tx, r *account.Resource) { r.Props["MapPublicIpOnLaunch"] = true })
		}},
		{check: "private-egress", name: "given", example: example, by: func(w *wrecker) error { return w.drop(typeRoute, route) }},
		{check: "endpoint-s3-gateway", name: "given", also: []string{"private-egress"}, example: example, by: steps(
			func(w *wrecker) error { return w.drop(typeRoute, route) },
			func(w *wrecker) error { return w.drop(typeEndpoint, s3) },
		)},
		{check: "private-no-way-in", name: "given", also: []string{"private-egress"}, example: "existing-public", by: toInternet},
		{check: "groups-name-groups", name: "given", example: example, by: func(w *wrecker) error {
			return w.letIn(w.group("NodesCore"), 8443, "10.0.0.0/8")
		}},
		{check: "no-open-ssh-rdp", name: "given", also: []string{"groups-name-groups", "nodes-no-ssh"}, example: example, by: func(w *wrecker) error {
			return w.letIn(w.group("NodesCore"), 22, "0.0.0.0/0")
		}},
		{check: "flow-logs", name: "given", example: "existing-public", by: func(w *wrecker) error { return w.drop(typeFlowLog, anyOne) }},
		{check: "public-routes-to-internet", name: "given", example: "existing-public", by: func(w *wrecker) error {
			return w.drop(typeRoute, func(r *account.Resource) bool { return r.Props["GatewayId"] != nil })
		}},
	}
}
