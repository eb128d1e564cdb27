package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// TestL06ProtectionByHandIsFoundFirst: somebody protects a stack, the database and
// a load balancer of a deployment whose profile protects nothing. A deletion names
// all of it before it touches anything, and leaves all as it is if it may not lift
// it; status says it too.
func TestL06ProtectionByHandIsFoundFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		c := w.target(a).AWS
		db, balancer := a.DatabaseName(), w.find("AWS::ElasticLoadBalancingV2::LoadBalancer")[0].ID
		_, err1 := c.RDS.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &db, DeletionProtection: new(true), ApplyImmediately: new(true)})
		_, err2 := c.ELB.ModifyLoadBalancerAttributes(t.Context(), &elasticloadbalancingv2.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: &balancer, Attributes: []elbtypes.LoadBalancerAttribute{{Key: new("deletion_protection.enabled"), Value: new("true")}},
		})
		_, err3 := c.CloudFormation.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: new(a.StackName("network")), EnableTerminationProtection: new(true)})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		s, err := deploy.Look(t.Context(), w.target(a))
		if want := []deploy.Protection{{Stack: architecture.Network, Of: "stack"}}; err != nil || !slices.Equal(s.Besides, want) || len(s.Unprotected) > 0 {
			t.Errorf("status: %+v, %+v, %v", s.Besides, s.Unprotected, err)
		}
		for _, typ := range []string{"AWS::EKS::Cluster", "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::RDS::DBInstance"} {
			for _, r := range w.find(typ) {
				if in := r.Tags["aws:cloudformation:stack-name"]; !slices.Contains([]string{a.StackName("database"), a.StackName("cluster"), a.StackName("edge")}, in) {
					t.Errorf("%s %s is in stack %q, where a deletion doesn't look", typ, r.ID, in)
				}
			}
		}
		before := testkit.Dump(w.box.Account())
		refuse := errors.New("no")
		var asked []deploy.Protection
		o := deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData, Lift: func(_ context.Context, all []deploy.Protection) error {
			asked = append(asked, all...)
			return refuse
		}}
		if _, err := deploy.Delete(t.Context(), o); !errors.Is(err, refuse) {
			t.Fatalf("refused: %v", err)
		}
		want := []deploy.Protection{
			{Stack: architecture.Database, Of: "resource", Type: "AWS::RDS::DBInstance", ID: db},
			{Stack: architecture.Edge, Of: "resource", Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", ID: balancer},
			{Stack: architecture.Network, Of: "stack"},
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked to lift %+v, want %+v", asked, want)
		}
		if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
			t.Errorf("a deletion that was refused changed:\n%s", diff)
		}
		refuse, asked = nil, nil
		d, err := deploy.Delete(t.Context(), o)
		if err != nil || !slices.Equal(asked, want) {
			t.Fatalf("lifted: %+v, %v", asked, err)
		}
		for _, id := range []string{db, balancer} {
			if !strings.Contains(w.steps(), "lifting the deletion protection of "+map[string]string{db: "AWS::RDS::DBInstance ", balancer: "AWS::ElasticLoadBalancingV2::LoadBalancer "}[id]+id) {
				t.Errorf("it is not said that the protection of %s goes:\n%s", id, w.steps())
			}
		}
		w.clean(d)
	})
}

// TestL06ProtectionOfAControllersBalancer: a controller made a load balancer that is
// protected. A deletion asks for that too before it touches anything, and says that it
// lifts it.
func TestL06ProtectionOfAControllersBalancer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Database.DeletionProtection = false })
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.controllers(a, w.create(a).Outputs)
		before := testkit.Dump(w.box.Account())
		refuse := errors.New("no")
		var asked []deploy.Protection
		o := deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData, Lift: func(_ context.Context, all []deploy.Protection) error {
			asked = append(asked, all...)
			return refuse
		}}
		if _, err := deploy.Delete(t.Context(), o); !errors.Is(err, refuse) {
			t.Fatalf("refused: %v", err)
		}
		balancer := w.one("AWS::ElasticLoadBalancingV2::LoadBalancer", func(r *account.Resource) bool { return r.Tags["elbv2.k8s.aws/cluster"] != "" }).ID
		want := []deploy.Protection{{Of: "resource", Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", ID: balancer}}
		if !slices.Equal(asked, want) {
			t.Errorf("asked to lift %+v, want %+v", asked, want)
		}
		if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
			t.Errorf("a deletion that was refused changed:\n%s", diff)
		}
		refuse, asked = nil, nil
		d, err := deploy.Delete(t.Context(), o)
		if err != nil || !slices.Equal(asked, want) {
			t.Fatalf("lifted: %+v, %v", asked, err)
		}
		if !strings.Contains(w.steps(), "lifting the deletion protection of AWS::ElasticLoadBalancingV2::LoadBalancer "+balancer) {
			t.Errorf("it is not said that the protection goes:\n%s", w.steps())
		}
		w.clean(d)
	})
}

// TestL06ProtectionThatComesAfterTheQuestion: somebody protects a stack and the
// database once a deletion has asked. It asks for that too before it lifts it, and
// leaves it if it may not.
func TestL06ProtectionThatComesAfterTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Database.DeletionProtection = false })
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		c, db, keys := w.target(a).AWS, a.DatabaseName(), a.StackName(architecture.Keys)
		protect := func(name string) {
			if _, err := c.CloudFormation.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: &name, EnableTerminationProtection: new(true)}); err != nil {
				t.Error(err)
			}
		}
		protect(keys)
		refuse := errors.New("no")
		var asked [][]deploy.Protection
		o := deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData, Lift: func(_ context.Context, all []deploy.Protection) error {
			if asked = append(asked, all); len(asked) > 1 {
				return refuse
			}
			protect(a.StackName(architecture.Identity))
			return nil
		}}
		late := []deploy.Protection{{Stack: architecture.Identity, Of: "stack"}}
		if _, err := deploy.Delete(t.Context(), o); !errors.Is(err, refuse) || len(asked) != 2 || !slices.Equal(asked[1], late) {
			t.Errorf("asked for %+v, and then %v", asked, err)
		}
		s, err := deploy.Look(t.Context(), w.target(a))
		there := func(l deploy.StackStatus) bool { return l.Status != "absent" }
		if err != nil || !slices.Contains(s.Besides, late[0]) || !slices.Contains(s.Besides, deploy.Protection{Stack: architecture.Keys, Of: "stack"}) || !slices.ContainsFunc(s.Stacks, there) {
			t.Errorf("afterwards: %+v, %v", s, err)
		}
		asked = nil
		o.Lift = func(_ context.Context, all []deploy.Protection) error {
			if asked = append(asked, all); len(asked) == 1 {
				_, err := c.RDS.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &db, DeletionProtection: new(true), ApplyImmediately: new(true)})
				time.Sleep(time.Hour)
				return err
			}
			return nil
		}
		d, err := deploy.Delete(t.Context(), o)
		late = []deploy.Protection{{Stack: architecture.Database, Of: "resource", Type: "AWS::RDS::DBInstance", ID: db}}
		if err != nil || len(asked) != 2 || !slices.Equal(asked[1], late) {
			t.Fatalf("asked for %+v, and then %v", asked, err)
		}
		w.clean(d)
	})
}

// TestL11HalfDoneProtection kills a create while it switches protection on, and a
// delete while it lifts it, after some of their calls. Status names what lacks
// protection, and the next create or delete says it and converges.
func TestL11HalfDoneProtection(t *testing.T) {
	t.Parallel()
	for _, after := range []int{1, 6} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Database.DeletionProtection = true })
				left := -1
				var kill context.CancelCauseFunc
				w := newWorld(t, a, sandbox.Options{Fresh: true, OnCall: func(c sandbox.Call) {
					if c.Operation == "UpdateTerminationProtection" && left > 0 {
						if left--; left == 0 {
							kill(errKilled)
						}
					}
				}})
				killed := func() context.Context {
					ctx, k := context.WithCancelCause(t.Context())
					left, kill = after, k
					return ctx
				}
				half := func(when string) {
					t.Helper()
					time.Sleep(time.Hour) // CloudFormation goes on
					s, err := deploy.Look(t.Context(), w.target(a))
					if err != nil || s.Phase != deploy.Complete || len(s.Unprotected) == 0 || s.Next != "create" {
						t.Errorf("%s, status: %+v, next %q, %v", when, s.Unprotected, s.Next, err)
					}
					w.events = nil
				}
				if _, err := deploy.Create(killed(), deploy.CreateOptions{Target: w.target(a)}); !errors.Is(err, errKilled) {
					t.Fatalf("the create ended with %v", err)
				}
				half("after the create")
				w.create(a)
				if open := w.unprotected(a); open != nil || !strings.Contains(w.steps(), "some stacks lack protection that others have") {
					t.Errorf("after the next create, %q is not protected:\n%s", open, w.steps())
				}
				if s, err := deploy.Look(t.Context(), w.target(a)); err != nil || len(s.Unprotected) > 0 || s.Next != "" {
					t.Errorf("status of what is protected: %+v, %q, %v", s, s.Next, err)
				}

				var first, then []deploy.Protection
				o := deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData, Lift: func(_ context.Context, all []deploy.Protection) error {
					first = append(first, all...)
					return nil
				}}
				if _, err := deploy.Delete(killed(), o); !errors.Is(err, errKilled) {
					t.Fatalf("the delete ended with %v", err)
				}
				half("after the delete")
				o.Lift = func(_ context.Context, all []deploy.Protection) error {
					then = append(then, all...)
					return nil
				}
				d, err := deploy.Delete(t.Context(), o)
				if err != nil || len(then) == 0 || len(then) >= len(first) {
					t.Fatalf("the next delete lifts %+v of %+v, %v", then, first, err)
				}
				if !strings.Contains(w.steps(), "some protection is lifted already") {
					t.Errorf("that some was lifted is not said:\n%s", w.steps())
				}
				w.clean(d)
			})
		})
	}
}
