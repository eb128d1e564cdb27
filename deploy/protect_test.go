package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// unprotected is what could be deleted: resources, and stacks by their names.
func (w *world) unprotected(a *architecture.Architecture) []string {
	w.t.Helper()
	var open []string
	for _, typ := range []string{"AWS::RDS::DBInstance", "AWS::EKS::Cluster", "AWS::ElasticLoadBalancingV2::LoadBalancer"} {
		for _, r := range w.find(typ) {
			if fmt.Sprint(r.Props["DeletionProtection"]) != "true" && !strings.Contains(fmt.Sprint(r.Props["LoadBalancerAttributes"]), "Key:deletion_protection.enabled Value:true") {
				open = append(open, r.LogicalID)
			}
		}
	}
	s, err := deploy.Look(w.t.Context(), w.target(a))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, st := range s.Stacks {
		if !st.Protected {
			open = append(open, st.Name)
		}
	}
	slices.Sort(open)
	return open
}

// TestProtectionIsTheLastStep kills a create between its last stack and its
// protection, which the next create sees to; then somebody switches protection
// off, and the next create puts it back; then the file gives it up.
func TestProtectionIsTheLastStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Database.DeletionProtection = true })
		var mu sync.Mutex
		byName := 0
		w := newWorld(t, a, sandbox.Options{Fresh: true, Observe: func(x sandbox.Exchange) {
			if x.Operation != "SetStackPolicy" && x.Operation != "UpdateTerminationProtection" {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if form, err := url.ParseQuery(string(x.Body)); err != nil || !strings.HasPrefix(form.Get("StackName"), "arn:") {
				byName++
			}
		}})
		ctx, kill := context.WithCancelCause(t.Context())
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.StackStarted); ok && s.Action == deploy.ProtectStack {
				kill(errKilled)
			}
		}
		if _, err := deploy.Create(ctx, deploy.CreateOptions{Target: w.target(a)}); !errors.Is(err, errKilled) {
			t.Fatalf("the killed run ended with %v", err)
		}
		w.seen = nil
		all := []string{"AdminLoadBalancer", "Cluster", "Database", "WebLoadBalancer"}
		if open := w.unprotected(a); !slices.Equal(open[:min(len(open), 4)], all) {
			t.Errorf("before the last step, %v is unprotected", open)
		}
		if res := w.create(a); !res.Complete {
			t.Error("the next create found something else to do")
		}
		if open := w.unprotected(a); open != nil {
			t.Errorf("after the next create, not protected: %v", open)
		}
		if p := w.plan(a, true); p.Unprotected != nil {
			t.Errorf("a plan puts back %+v", p.Unprotected)
		}

		c := w.target(a).AWS
		db, cluster := w.find("AWS::RDS::DBInstance")[0].ID, w.find("AWS::EKS::Cluster")[0].ID
		balancer := w.find("AWS::ElasticLoadBalancingV2::LoadBalancer")[0].ID
		_, err1 := c.RDS.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &db, DeletionProtection: new(false), ApplyImmediately: new(true)})
		_, err2 := c.EKS.UpdateClusterConfig(t.Context(), &eks.UpdateClusterConfigInput{Name: &cluster, DeletionProtection: new(false)})
		_, err3 := c.ELB.ModifyLoadBalancerAttributes(t.Context(), &elasticloadbalancingv2.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: &balancer, Attributes: []elbtypes.LoadBalancerAttribute{{Key: new("deletion_protection.enabled"), Value: new("false")}},
		})
		_, err4 := c.CloudFormation.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: new(a.StackName("keys")), EnableTerminationProtection: new(false)})
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if open := w.unprotected(a); len(open) != 4 {
			t.Fatalf("somebody switched off: %v", open)
		}
		want := []deploy.Protection{
			{Stack: architecture.Keys, Of: "stack"},
			{Stack: architecture.Database, Of: "resource", Type: "AWS::RDS::DBInstance", ID: db},
			{Stack: architecture.Cluster, Of: "resource", Type: "AWS::EKS::Cluster", ID: cluster},
			{Stack: architecture.Edge, Of: "resource", Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", ID: balancer},
		}
		if p := w.plan(a, true); !p.Empty() || !slices.Equal(p.Unprotected, want) {
			t.Errorf("a plan, empty: %t, puts back %+v, want %+v", p.Empty(), p.Unprotected, want)
		}
		w.create(a)
		time.Sleep(time.Hour)
		if open := w.unprotected(a); open != nil {
			t.Errorf("not put back: %v", open)
		}
		w.emptyPlan(a)

		off := became(t, a, func(c *config.Config) { c.Database.DeletionProtection = false })
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.allowing(off, guard.Lower)}); err != nil {
			t.Fatal(err)
		}
		if open := w.unprotected(off); open != nil {
			t.Errorf("create of a complete deployment has lifted the protection of %v", open)
		}
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(off, guard.Lower)}); err != nil {
			t.Fatalf("update: %v\n%s", err, w.failures())
		}
		for _, s := range off.Stacks {
			all = append(all, off.StackName(s.Name))
		}
		slices.Sort(all)
		if open := w.unprotected(off); !slices.Equal(open, all) {
			t.Errorf("the file gives protection up, and %v is unprotected, want %v", open, all)
		}
		w.emptyPlan(off)
		w.clean(w.destroy(off))
		// Somebody's own call above went by name. Another stack of a name is another
		// stack, so the runs' go by ARN.
		if byName != 1 {
			t.Errorf("%d calls named a stack by its name, want the one of somebody else", byName)
		}
	})
}

// TestProtectionBesideWhatIsGone has somebody delete one of two load balancers and
// switch the protection of the other off: a plan tells of the other's all the same.
func TestProtectionBesideWhatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Database.DeletionProtection = true })
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		c := w.target(a).AWS
		var balancers []string
		for _, r := range w.find("AWS::ElasticLoadBalancingV2::LoadBalancer") {
			balancers = append(balancers, r.ID)
			_, err := c.ELB.ModifyLoadBalancerAttributes(t.Context(), &elasticloadbalancingv2.ModifyLoadBalancerAttributesInput{
				LoadBalancerArn: &r.ID, Attributes: []elbtypes.LoadBalancerAttribute{{Key: new("deletion_protection.enabled"), Value: new("false")}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(balancers) != 2 {
			t.Fatalf("load balancers: %v, want two", balancers)
		}
		for i, gone := range balancers {
			w := &world{t: t, box: testkit.Clone(t, w.box, time.Now)}
			if _, err := w.target(a).AWS.ELB.DeleteLoadBalancer(t.Context(), &elasticloadbalancingv2.DeleteLoadBalancerInput{LoadBalancerArn: &gone}); err != nil {
				t.Fatal(err)
			}
			want := deploy.Protection{Stack: architecture.Edge, Of: "resource", Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", ID: balancers[1-i]}
			if p := w.plan(a, true); !slices.Contains(p.Unprotected, want) {
				t.Errorf("with %s gone, a plan puts back %+v, want also %+v", gone, p.Unprotected, want)
			}
		}
	})
}
