package deploy_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
)

// TestL02ForeignThingsInTheNetwork: what GuardDuty puts into the VPC and what the
// network plugin leaves of nodes don't keep a network from being deleted.
func TestL02ForeignThingsInTheNetwork(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"evaluation", "existing-network"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, name)
				w := newWorld(t, a, sandbox.Options{Fresh: true, World: account.World{GuardDuty: name == "evaluation", LeakedInterfaces: true}})
				w.create(a)
				guarded := false
				for _, e := range w.find("AWS::EC2::VPCEndpoint") {
					guarded = guarded || strings.HasSuffix(e.Props["ServiceName"].(string), ".guardduty-data")
				}
				if guarded != (name == "evaluation") {
					t.Errorf("GuardDuty's endpoint is there: %t", guarded)
				}
				if name == "existing-network" {
					w.keepsTheirs(a)
				}
				w.clean(w.destroy(a))
				var steps []string
				for _, e := range w.events {
					if s, ok := e.(deploy.Step); ok {
						steps = append(steps, s.Text)
					}
				}
				all := strings.Join(steps, "\n")
				for part, want := range map[string]bool{"which was left behind: aws-K8S-": true, "which GuardDuty put into the VPC": guarded, "GuardDutyManagedSecurityGroup-": guarded} {
					if strings.Contains(all, part) != want {
						t.Errorf("steps say %q: %t, want %t\n%s", part, !want, want, all)
					}
				}
			})
		})
	}
}

// TestL02InterfacesComeLate: what the network plugin and a load balancer leave appears only
// once the stack of the network is being deleted, which waits for it in vain. One delete
// gets over that.
func TestL02InterfacesComeLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		group := w.one("AWS::EC2::SecurityGroup", func(r *account.Resource) bool { return r.LogicalID == "NodesSecurityGroup" })
		subnet := w.one("AWS::EC2::Subnet", func(r *account.Resource) bool { return r.LogicalID == "PrivateSubnet1" })
		came := false
		w.listen = true
		w.seen = func(e deploy.Event) {
			r, ok := e.(deploy.ResourceEvent)
			if came || !ok || r.Stack != architecture.Network || !r.IsStack() || r.Status != "DELETE_IN_PROGRESS" {
				return
			}
			came = true
			for description, tag := range map[string]string{"aws-K8S-i-0123456789abcdef0": "cluster.k8s.amazonaws.com/name", "ELB app/poolside/0123456789abcdef": ""} {
				p := map[string]any{"SubnetId": subnet.ID, "GroupSet": []any{group.ID}, "Description": description}
				if tag != "" {
					p["Tags"] = awsTags(tag, a.ClusterName())
				}
				testkit.MustCreate(t, w.box, ec2.TypeNetworkInterface, p)
			}
		}
		d := w.destroy(a)
		if !came {
			t.Error("the stack of the network was deleted unseen")
		}
		w.seen = nil
		w.clean(d)
	})
}

// TestL02LeakedInterfacesInANetworkThatStays: a deletion that keeps the data, and so the
// network, takes away what the network plugin leaves of nodes, and the cluster's
// security group, which that holds.
func TestL02LeakedInterfacesInANetworkThatStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true, World: account.World{LeakedInterfaces: true}})
		w.create(a)
		d := w.delete(a, deploy.KeepData)
		if d.Outcome != deploy.Retained {
			t.Errorf("outcome: %s", d.Outcome)
		}
		if !strings.Contains(w.steps(), "which no stack has: left behind, detached: aws-K8S-") {
			t.Errorf("the interfaces are not told:\n%s", w.steps())
		}
		for _, r := range append(w.find(ec2.TypeNetworkInterface), w.find("AWS::EC2::SecurityGroup")...) {
			if text := fmt.Sprint(r.Props, r.Tags); strings.Contains(text, "aws-K8S-") || strings.Contains(text, "eks-cluster-sg") {
				t.Errorf("%s %s is left: %s", r.Type, r.ID, text)
			}
		}
		w.clean(w.destroy(a))
	})
}

// keepsTheirs: a detached interface of somebody else's in a network that was
// there holds a security group of the deployment's, and isn't deleted for it. One
// that a load balancer left is.
func (w *world) keepsTheirs(a *architecture.Architecture) {
	w.t.Helper()
	group := w.one("AWS::EC2::SecurityGroup", func(r *account.Resource) bool { return strings.Contains(r.Owner, ":stack/") })
	put := func(description string) *account.Resource {
		return testkit.MustCreate(w.t, w.box, ec2.TypeNetworkInterface, map[string]any{
			"SubnetId": a.Config.Network.Existing.PrivateSubnetIDs[0], "GroupSet": []any{group.ID}, "Description": description,
		})
	}
	theirs, left := put("theirs"), put("ELB app/poolside/0123456789abcdef")
	_, err := deploy.Delete(w.t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
	if err == nil || !strings.Contains(err.Error(), group.ID+" has a dependent object") {
		w.t.Errorf("the delete went over what holds %s: %v", group.ID, err)
	}
	there := map[string]bool{}
	for _, r := range w.find(ec2.TypeNetworkInterface) {
		there[r.ID] = true
	}
	if !there[theirs.ID] || there[left.ID] {
		w.t.Errorf("theirs is there: %t, what a service left: %t", there[theirs.ID], there[left.ID])
	}
	testkit.Refused(w.t, testkit.Delete(w.box, ec2.TypeNetworkInterface, theirs.ID), "")
}
