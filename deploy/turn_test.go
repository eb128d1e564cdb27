package deploy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL04ABlockedDeleteNamesEveryStack: a deletion that its deadline ended names
// every stack that is left: what it is at, or which others must go before it; and
// the command that goes on, with more time.
func TestL04ABlockedDeleteNamesEveryStack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData, Deadline: 5 * time.Minute})
		var overdue *deploy.OverdueError
		if !errors.As(err, &overdue) || d == nil || d.Outcome != deploy.Blocked {
			t.Fatalf("with a deadline of five minutes: %+v, %v", d, err)
		}
		moving := map[string]bool{}
		var named []string
		for _, b := range d.Blockers {
			if b.Type == "AWS::CloudFormation::Stack" {
				named = append(named, string(b.Stack))
				moving[b.ID] = strings.HasSuffix(b.Reason, "_IN_PROGRESS") || strings.Contains(b.Reason, "the deadline is over")
			}
		}
		slices.Sort(named)
		left := w.stacks(a)
		slices.Sort(left)
		if !slices.Equal(named, left) || len(named) < 4 {
			t.Errorf("blockers name the stacks %q, and %q are left", named, left)
		}
		at := 0
		for _, b := range d.Blockers {
			switch {
			case b.Type != "AWS::CloudFormation::Stack":
			case moving[b.ID]:
				at++
				if !strings.Contains(b.Next, "poolhouse delete FILE --data destroy") || !strings.Contains(b.Next, "--deadline 10m0s") {
					t.Errorf("what it was at goes on with %q", b.Next)
				}
			case !strings.Contains(b.Reason, "its turn never came") || !strings.Contains(b.Next, "repeat the delete"):
				t.Errorf("a stack that waited: %+v", b)
			default:
				for _, before := range strings.Split(strings.TrimPrefix(b.Holder, "stack "), ", ") {
					if _, ok := moving[before]; !ok {
						t.Errorf("stack %s waits for %q, which is not named", b.ID, before)
					}
				}
			}
		}
		if at == 0 {
			t.Errorf("nothing was under way: %+v", d.Blockers)
		}
		w.clean(w.destroy(a))
	})
}

// TestL04AKeptStackThatIsBrokenIsABlocker: a deletion that keeps a stack whose
// rollback failed is not over: it says what the stack needs, and with which
// command. One that is in motion is awaited.
func TestL04AKeptStackThatIsBrokenIsABlocker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults:
  - {id: update, times: 1, fail: {stack: poolside-storage, resource: TelemetryBucket, on: [update], error: InternalFailure, late: true}}
  - {id: back, times: 1, fail: {stack: poolside-storage, resource: ModelsBucket, on: [rollback], error: InternalFailure}}`)})
		body := func(value string) *string {
			b := strings.Replace(parameters, `"Value":"x"`, `"Value":"`+value+`"`, 1)
			b = strings.Replace(b, `"P":`, `"ModelsBucket":`, 1)
			b = strings.TrimSuffix(b, "}}") + `,"TelemetryBucket":{"Type":"AWS::SSM::Parameter","DependsOn":"ModelsBucket","Properties":{"Type":"String","Value":"` + value + `","Name":"/poolhouse/poolside/b"}}}}`
			return &b
		}
		w.stack(a, architecture.Storage, *body("x"))
		name := a.StackName(architecture.Storage)
		api := w.target(a).AWS.CloudFormation
		change := func(value string) {
			t.Helper()
			if _, err := api.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: &name, TemplateBody: body(value)}); err != nil {
				t.Fatal(err)
			}
		}
		change("y")
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.KeepData})
		var blocked *deploy.BlockedError
		if !errors.As(err, &blocked) || d.Outcome != deploy.Blocked || len(d.Blockers) != 1 {
			t.Fatalf("with a stack whose rollback failed: %+v, %v", d, err)
		}
		if b := d.Blockers[0]; b.ID != name || !strings.Contains(b.Reason, "it is to stay, and is UPDATE_ROLLBACK_FAILED") || !strings.Contains(b.Next, "poolhouse recover FILE") {
			t.Errorf("the blocker is %+v", b)
		}
		if !strings.Contains(w.steps(), "waiting for stack "+name+", which is to stay") {
			t.Errorf("the stack in motion was not awaited:\n%s", w.steps())
		}
		if _, err := deploy.Recover(t.Context(), deploy.RecoverOptions{Target: w.target(a)}); err != nil {
			t.Fatal(err)
		}
		change("z")
		if d := w.delete(a, deploy.KeepData); d.Outcome != deploy.Retained || len(d.Blockers) > 0 {
			t.Errorf("with a stack that came to rest: %+v", d)
		}
		if s, err := deploy.Look(t.Context(), w.target(a)); err != nil || s.Phase == deploy.InMotion {
			t.Errorf("the delete did not wait: %+v, %v", s, err)
		}
	})
}

// TestL09DeletionsOfOthersAreAwaited: somebody deletes the database, and a node
// group, when the turn of their stacks has come in an update. It waits, changes
// neither stack, and says what is gone.
func TestL09DeletionsOfOthersAreAwaited(t *testing.T) {
	t.Parallel()
	for _, of := range []architecture.StackName{architecture.Database, architecture.Nodes} {
		t.Run(string(of), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				w.create(a)
				next := became(t, a, func(c *config.Config) {
					c.Database.StorageGiB += 20
					for i := range c.Compute {
						c.Compute[i].Max++
					}
				})
				what := "database " + a.DatabaseName()
				group := w.find("AWS::EKS::Nodegroup")[0].ID
				group = group[strings.Index(group, "/")+1:]
				w.seen = func(e deploy.Event) {
					if s, ok := e.(deploy.StackStarted); !ok || s.Stack != of {
						return
					}
					api := w.target(a).AWS
					var err error
					if of == architecture.Database {
						_, err = api.RDS.DeleteDBInstance(t.Context(), &rds.DeleteDBInstanceInput{DBInstanceIdentifier: new(a.DatabaseName()), SkipFinalSnapshot: new(true)})
					} else {
						what = "node group " + group
						_, err = api.EKS.DeleteNodegroup(t.Context(), &eks.DeleteNodegroupInput{ClusterName: new(a.ClusterName()), NodegroupName: &group})
					}
					if err != nil {
						t.Error(err)
					}
					w.seen = nil
				}
				_, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next), Drift: map[architecture.StackName]*stack.Drift{}})
				var failed *stack.Error
				if err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), what+" was deleted meanwhile") {
					t.Errorf("got %v, want that %s was deleted", err, what)
				}
				if !strings.Contains(strings.ToLower(w.steps()), strings.ToLower(what)+" is deleting") {
					t.Errorf("the deletion was not awaited:\n%s", w.steps())
				}
				for _, r := range append(w.find("AWS::RDS::DBInstance"), w.find("AWS::EKS::Nodegroup")...) {
					if what == "database "+r.ID || strings.HasSuffix(what, group) && strings.HasSuffix(r.ID, group) {
						t.Errorf("%s is %s still", r.ID, r.Status)
					}
				}
			})
		})
	}
}
