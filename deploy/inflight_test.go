package deploy_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL09OperationsOfOthersAreAwaited: while somebody else's update of cluster
// and database is under way, an update of ours waits for it and says so, and
// then succeeds at the first attempt.
func TestL09OperationsOfOthersAreAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		next := became(t, a, func(c *config.Config) {
			c.Cluster.Logs = c.Cluster.Logs[1:]
			c.Database.StorageGiB += 20
		})
		w.breakNext(a, `faults:
  - {id: cluster, when: {after: 1s}, for: 40m, inFlight: {cluster: poolside}}
  - {id: database, when: {after: 1s}, for: 30m, inFlight: {database: "${poolside-database/Database}"}}
`)
		time.Sleep(time.Minute)
		start := time.Now()
		w.events = nil
		w.update(next)
		told := map[architecture.StackName]string{}
		for _, e := range w.events {
			switch e := e.(type) {
			case deploy.Step:
				if strings.Contains(e.Text, "waiting for an operation under way: ") {
					told[e.Stack] = e.Text
				}
			case deploy.StackFinished:
				if e.Err != nil {
					t.Errorf("stack %s failed on the way: %v", e.Stack, e.Err)
				}
			}
		}
		if len(told) != 2 || !strings.Contains(told["cluster"], "cluster poolside is ") || !strings.Contains(told["database"], "database poolside is ") {
			t.Errorf("what it waits for: %q", told)
		}
		if took := time.Since(start); took < 35*time.Minute || took > 2*time.Hour {
			t.Errorf("it took %s", took)
		}
		w.emptyPlan(next)
	})
}

// TestL09UpdatesOfOthersAreAwaitedByName: somebody else has begun an update of
// the cluster or of a node group when ours, or a delete, comes to it: it names
// what it waits for, and succeeds at the first attempt.
func TestL09UpdatesOfOthersAreAwaitedByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		colleague, cluster := w.target(a).AWS.EKS, a.ClusterName()
		group := w.find("AWS::EKS::Nodegroup")[0].ID
		group = group[strings.Index(group, "/")+1:]
		nodes := func(most int32) string {
			t.Helper()
			out, err := colleague.UpdateNodegroupConfig(t.Context(), &eks.UpdateNodegroupConfigInput{
				ClusterName: &cluster, NodegroupName: &group, ScalingConfig: &ekstypes.NodegroupScalingConfig{MaxSize: &most},
			})
			if err != nil {
				t.Fatal(err)
			}
			return "node group " + group + " is UPDATING: ConfigUpdate (" + *out.Update.Id + ")"
		}
		logs := func(on bool) string {
			t.Helper()
			out, err := colleague.UpdateClusterConfig(t.Context(), &eks.UpdateClusterConfigInput{Name: &cluster, Logging: &ekstypes.Logging{
				ClusterLogging: []ekstypes.LogSetup{{Enabled: &on, Types: []ekstypes.LogType{ekstypes.LogTypeScheduler}}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			return "cluster " + cluster + " is UPDATING: LoggingUpdate (" + *out.Update.Id + ")"
		}
		awaited := func(verb string, want ...string) {
			t.Helper()
			for _, what := range want {
				if !strings.Contains(w.steps(), "waiting for an operation under way: "+what) {
					t.Errorf("%s did not wait for: %s\n%s", verb, what, w.steps())
				}
			}
			for _, e := range w.events {
				if e, ok := e.(deploy.StackFinished); ok && e.Err != nil {
					t.Errorf("%s: stack %s failed on the way: %v", verb, e.Stack, e.Err)
				}
			}
			w.events = nil
		}
		update := func(next *architecture.Architecture) {
			t.Helper()
			if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next), Drift: map[architecture.StackName]*stack.Drift{}}); err != nil {
				t.Fatal(err)
			}
		}
		w.events = nil

		what := logs(!slices.Contains(a.Config.Cluster.Logs, "scheduler"))
		next := became(t, a, func(c *config.Config) { c.Cluster.Logs = []string{"api"} })
		update(next)
		awaited("the update of the cluster", what)

		what = nodes(9)
		next = became(t, next, func(c *config.Config) {
			for i := range c.Compute {
				c.Compute[i].Max = 8
			}
		})
		update(next)
		awaited("the update of the nodes", what)

		both := []string{logs(true), nodes(9)}
		d := w.destroy(next)
		awaited("the delete", both...)
		w.clean(d)
	})
}
