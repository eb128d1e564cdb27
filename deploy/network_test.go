package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// edited is an example with texts replaced, as architecture.
func edited(t *testing.T, name string, pairs ...string) *architecture.Architecture {
	t.Helper()
	src, err := os.ReadFile("../examples/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i+1 < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is not in %s", pairs[i], name)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	c, err := config.Parse("deployment.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refused wants plan and update to refuse an architecture at a path, for a
// reason, and the account to stay as it is.
func (w *world) refused(a *architecture.Architecture, path, reason string) {
	w.t.Helper()
	before := testkit.Dump(w.box.Account())
	_, planned := deploy.MakePlan(w.t.Context(), w.target(a))
	_, updated := deploy.Update(w.t.Context(), deploy.CreateOptions{Target: w.target(a)})
	for verb, err := range map[string]error{"plan": planned, "update": updated} {
		var fs config.Faults
		if !errors.As(err, &fs) || len(fs) != 1 || fs[0].Path != path || !strings.Contains(fs[0].Reason, reason) || fs[0].Fix == "" {
			w.t.Errorf("%s: got %v, want %s: %s", verb, err, path, reason)
		}
	}
	if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
		w.t.Errorf("the refusal changed the account:\n%s", diff)
	}
}

const (
	thirdPrivate = ", subnet-0123456789abcdef6]"
	oldControl   = "subnet-0123456789abcdef1, "
	oldPrivate   = "subnet-0123456789abcdef4"
)

// TestDeploymentsStayInTheirNetwork refuses to move a deployment that stands in
// a network that was there, and adds a zone to it.
func TestDeploymentsStayInTheirNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		three := edited(t, "existing-network", "profile: production", "profile: evaluation")
		two := edited(t, "existing-network", "profile: production", "profile: evaluation", thirdPrivate, "]")
		w := newWorld(t, example(t, "existing-network"), sandbox.Options{Fresh: true})
		w.create(two)
		own := edited(t, "enterprise-dns", "profile: production", "profile: evaluation", "serviceRole: arn:aws:iam::123456789012:role/cloudformation\n", "")
		w.refused(own, "network", "is to be the deployment's own, which stands in vpc-0123456789abcdef0")
		evaluation := []string{"profile: production", "profile: evaluation", thirdPrivate, "]"}
		w.refused(edited(t, "existing-network", append(evaluation, "vpcId: vpc-0123456789abcdef0", "vpcId: vpc-0123456789abcdef9")...),
			"network.existing.vpcId", "is vpc-0123456789abcdef9, and the deployment stands in vpc-0123456789abcdef0")
		w.refused(edited(t, "existing-network", append(evaluation, oldPrivate, "subnet-0123456789abcdef6")...),
			"network.existing.privateSubnetIds[0]", "is subnet-0123456789abcdef6, and the deployment stands in subnet-0123456789abcdef4")
		w.refused(edited(t, "existing-network", append(evaluation, oldControl, "subnet-0123456789abcdef9, ")...),
			"network.existing.controlPlaneSubnetIds[0]", "is subnet-0123456789abcdef9")
		w.refused(edited(t, "existing-network", append(evaluation, ", subnet-0123456789abcdef3]", "]")...),
			"network.existing.controlPlaneSubnetIds", "lacks subnet-0123456789abcdef3, which the deployment stands in")

		w.update(three)
		w.emptyPlan(three)
		w.refused(two, "network.existing.privateSubnetIds", "lacks subnet-0123456789abcdef6, which the deployment stands in")
		w.clean(w.destroy(three))
	})
}

// TestFaultsStopBeforeAnythingIsTouched: a network that won't do is refused by
// every verb, the account unchanged.
func TestFaultsStopBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "existing-network")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		err := w.box.Account().Do(func(tx *account.Tx) error {
			tx.Get(ec2.TypeVPC, a.Config.Network.Existing.VPCID).Props["EnableDnsHostnames"] = false
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		before := testkit.Dump(w.box.Account())
		_, planned := deploy.MakePlan(t.Context(), w.target(a))
		_, created := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		for verb, err := range map[string]error{"plan": planned, "create": created} {
			var fs config.Faults
			if !errors.As(err, &fs) || len(fs) != 1 || fs[0].Path != "network.existing.vpcId" {
				t.Errorf("%s: got %v, want a fault of the VPC", verb, err)
			}
		}
		if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
			t.Errorf("the refusal changed the account:\n%s", diff)
		}
	})
}

// TestAdviceOnTheNetwork is part of the plan and of the events, and stops
// nothing.
func TestAdviceOnTheNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "existing-network")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		err := w.box.Account().Do(func(tx *account.Tx) error {
			tx.Get(ec2.TypeSubnet, oldPrivate).Tags = nil
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := deploy.MakePlan(t.Context(), w.target(a))
		if err != nil || len(p.Advice) != 1 || p.Advice[0].Path != "network.existing.privateSubnetIds[0]" {
			t.Errorf("advice is %+v, %v", p, err)
		}
	})
}

// needsCentralEgress has somebody take away the default routes to the transit gateway:
// nodes are not made, and no endpoint is missed where the gateway leads everywhere.
func (w *world) needsCentralEgress(a *architecture.Architecture) {
	w.t.Helper()
	for _, name := range []architecture.StackName{architecture.Addons, architecture.Nodes} {
		w.remove(a, name)
	}
	var routes []*account.Resource
	for _, r := range w.find("AWS::EC2::Route") {
		if key, _ := ec2.Target(r.Props); key == "TransitGatewayId" && props.Str(r.Attrs, "CidrBlock") == "0.0.0.0/0" {
			routes = append(routes, r)
		}
	}
	put := func(there bool) {
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, r := range routes {
				if there {
					tx.Put(r)
				} else {
					tx.Drop(r.Type, r.ID)
				}
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	put(false)
	_, err := deploy.Create(w.t.Context(), deploy.CreateOptions{Target: w.target(a)})
	var found *deploy.TopologyError
	if !errors.As(err, &found) || len(found.Reasons) != len(routes) || !strings.Contains(found.Reasons[0], "has no way out") {
		w.t.Errorf("without %d default routes: %v", len(routes), err)
	}
	put(true)
	w.create(a)
}

// TestOwnNetworkOptions takes a range for pods, a transit gateway and a peering
// route through their life: NAT gateways give way to central egress in place.
func TestOwnNetworkOptions(t *testing.T) {
	t.Parallel()
	const (
		cidr    = "  cidr: 10.80.0.0/16\n"
		pods    = cidr + "  podCidr: 100.64.0.0/16\n"
		transit = "  transitGateway: {id: tgw-0123456789abcdef0, cidrs: [10.0.0.0/8]}\n"
		central = "  transitGateway: {id: tgw-0123456789abcdef0, cidrs: [10.0.0.0/8, 0.0.0.0/0]}\n  nat: {mode: none}\n"
		reasons = "\ndeviations:\n  central-egress: All traffic leaves through the inspected egress network.\ndns:"
	)
	synctest.Test(t, func(t *testing.T) {
		a := edited(t, "production", cidr, pods+transit)
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.refusedAtFirst(edited(t, "production", cidr, pods+transit+"  routes: [{cidr: 192.168.0.0/16, target: pcx-0123456789abcdef0}]\n"))
		res := w.create(a)
		w.emptyPlan(a)
		w.refused(edited(t, "production", cidr, cidr+transit), "network.podCidr", `is "", and the deployment's pods are in 100.64.0.0/16`)
		w.refused(edited(t, "production", cidr, cidr+"  podCidr: 100.65.0.0/16\n"+transit), "network.podCidr", `is "100.65.0.0/16"`)

		var pcx string
		err := w.box.Account().Do(func(tx *account.Tx) error {
			r, _, err := tx.Create(ec2.TypeVPCPeeringConnection, map[string]any{"VpcId": res.Outputs[architecture.Network]["VpcId"], "PeerVpcId": "vpc-0fedcba9876543210"}, "somebody else", false)
			if err != nil {
				return err
			}
			pcx = r.ID
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		next := edited(t, "production", cidr, pods+central+"  routes: [{cidr: 192.168.0.0/16, target: "+pcx+"}]\n", "\ndns:", reasons)
		w.update(next)
		w.emptyPlan(next)
		got := map[string]int{}
		for _, r := range w.find("AWS::EC2::Route") {
			key, _ := ec2.Target(r.Props)
			got[fmt.Sprint(props.Str(r.Attrs, "CidrBlock"), " ", key)]++
		}
		for route, n := range map[string]int{
			"0.0.0.0/0 TransitGatewayId": 3, "0.0.0.0/0 GatewayId": 1, "10.0.0.0/8 TransitGatewayId": 4, "192.168.0.0/16 VpcPeeringConnectionId": 3,
		} {
			if got[route] != n {
				t.Errorf("%d routes %s, want %d: %v", got[route], route, n, got)
			}
		}
		if n := len(w.find("AWS::EC2::NatGateway")); n != 0 {
			t.Errorf("%d NAT gateways are left", n)
		}
		w.needsCentralEgress(next)
		err = w.box.Account().Do(func(tx *account.Tx) error {
			tx.Drop(ec2.TypeVPCPeeringConnection, pcx)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.clean(w.destroy(next))
	})
}

// refusedAtFirst wants a plan to refuse a route to what can't be connected yet.
func (w *world) refusedAtFirst(a *architecture.Architecture) {
	w.t.Helper()
	_, err := deploy.MakePlan(w.t.Context(), w.target(a))
	var fs config.Faults
	if !errors.As(err, &fs) || len(fs) != 1 || fs[0].Path != "network.routes[0].target" || !strings.Contains(fs[0].Fix, "by an update") {
		w.t.Errorf("got %v, want a fault of the route", err)
	}
}
