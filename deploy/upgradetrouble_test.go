package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	awseks "github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/wire"
	"github.com/poolhouse/poolhouse/upgrade"
)

// ail has the cluster report an issue, or none.
func (w *world) ail(ill bool) {
	if err := w.box.Account().Do(func(tx *account.Tx) error {
		for _, c := range tx.List(eks.TypeCluster) {
			delete(c.Data, "issues")
			if ill {
				c.Data["issues"] = []any{map[string]any{"code": "Ec2SecurityGroupNotFound", "message": "a group is gone", "resourceIds": []any{}}}
			}
		}
		return nil
	}); err != nil {
		w.t.Error(err)
	}
}

// killedAt upgrades, and kills that when a step begins with a text.
func (w *world) killedAt(a *architecture.Architecture, at string) {
	w.t.Helper()
	killed := errors.New("killed")
	ctx, kill := context.WithCancelCause(w.t.Context())
	w.seen = func(e deploy.Event) {
		if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, at) {
			kill(killed)
		}
	}
	if _, err := deploy.Upgrade(ctx, deploy.UpgradeOptions{Target: w.target(a), Bake: bake}); !errors.Is(err, killed) {
		w.t.Fatalf("not killed: %v", err)
	}
	w.seen = nil
	if i := w.find("AWS::SSM::Parameter"); !slices.ContainsFunc(i, func(r *account.Resource) bool { return r.ID == a.UpgradePath() && r.Tags[deploy.Tag] == a.Name() }) {
		w.t.Errorf("no record with the deployment's tag: %s is not among %d parameters", a.UpgradePath(), len(i))
	}
}

// recorded is the record of an upgrade, or "".
func (w *world) recorded(a *architecture.Architecture) string {
	w.t.Helper()
	path := a.UpgradePath()
	out, err := w.target(a).AWS.SSM.GetParameter(w.t.Context(), &ssm.GetParameterInput{Name: &path})
	var none *ssmtypes.ParameterNotFound
	if errors.As(err, &none) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.Parameter.Value
}

// record writes one.
func (w *world) record(a *architecture.Architecture, u deploy.Upgrading) {
	w.t.Helper()
	path := a.UpgradePath()
	text, err := json.Marshal(u)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.target(a).AWS.SSM.PutParameter(w.t.Context(), &ssm.PutParameterInput{Name: &path, Value: new(string(text)), Type: ssmtypes.ParameterTypeString}); err != nil {
		w.t.Fatal(err)
	}
}

// TestBakeBeginsAnew: after a bake that ended in trouble the same command watches for
// all of the time again.
func TestBakeBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		w := newWorld(t, from, sandbox.Options{})
		w.create(from)
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, "watching the control plane") {
				time.AfterFunc(2*time.Minute, func() { w.ail(true) })
			}
		}
		if _, err := w.upgrade(to); err == nil || !strings.Contains(err.Error(), "a group is gone") {
			t.Fatalf("watched in spite of trouble: %v", err)
		}
		w.ail(false)
		var watched, next time.Time
		w.seen = func(e deploy.Event) {
			s, ok := e.(deploy.Step)
			switch {
			case !ok:
			case strings.HasPrefix(s.Text, "watching the control plane"):
				watched = s.Time
			case strings.HasPrefix(s.Text, "changing the add-on") && next.IsZero():
				next = s.Time
			}
		}
		if _, err := w.upgrade(to); err != nil {
			t.Fatal(err)
		}
		if took := next.Sub(watched); watched.IsZero() || took < bake {
			t.Errorf("watched for %v after trouble, want %v", took, bake)
		}
	})
}

// TestAnotherUpgradeWaits: what is left of an upgrade comes before another one, which
// can't take its bake for its own; one whose control plane never changed is given up.
func TestAnotherUpgradeWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		w := newWorld(t, from, sandbox.Options{})
		w.create(from)

		w.killedAt(to, "changing the control plane")
		if got := w.kubernetes()["control plane"]; got != "1.34" || w.recorded(from) == "" {
			t.Fatalf("killed before it changed: %s, record %q", got, w.recorded(from))
		}
		p, err := w.upgrade(from)
		if err != nil || !p.Empty() || w.recorded(from) != "" {
			t.Fatalf("given up: %+v, %v, record %q", p, err, w.recorded(from))
		}
		w.emptyPlan(from)

		w.killedAt(to, "changing the node group")
		further := example(t, "evaluation")
		further.Config.Cluster.Version = "1.36"
		var refused *deploy.RefusedError
		if _, err := w.upgrade(further); !errors.As(err, &refused) || !strings.Contains(err.Error(), "the upgrade to 1.35 is not over") {
			t.Errorf("another one in between: %v", err)
		}
		if _, err := w.upgrade(to); err != nil {
			t.Fatal(err)
		}
		if p, err = deploy.PlanUpgrade(t.Context(), deploy.UpgradeOptions{Target: w.target(further), Bake: bake}); err != nil || p.Bake != bake {
			t.Errorf("another one afterwards: %+v, %v", p, err)
		}
	})
}

// TestKubernetesThatIsNotSeen: an API that refuses to tell nodes and budgets keeps no
// upgrade; one that doesn't answer is said in the plan, and is trouble while the new
// control plane is watched.
func TestKubernetesThatIsNotSeen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fails func(http.ResponseWriter)
		note  string
		ends  string // the error; "" is none
	}{
		"refused": {
			func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
			"budgets of pods were not looked at: list the budgets: GET /apis/policy/v1/poddisruptionbudgets: 403", "",
		},
		"no answer": {
			func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
			"budgets of pods were not looked at: list the budgets: GET /apis/policy/v1/poddisruptionbudgets: no answer",
			"the Kubernetes API is not well: list the nodes: GET /api/v1/nodes: no answer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				from, to := oldAndNew(t)
				api := kubernetes.New(nil)
				var fails atomic.Bool
				w, door := withKubernetes(t, from, listed, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if fails.Load() && (r.URL.Path == "/api/v1/nodes" || strings.HasPrefix(r.URL.Path, "/apis/policy/")) {
						tc.fails(w)
						return
					}
					api.ServeHTTP(w, r)
				}))
				w.create(from)
				fails.Store(true)
				target := w.target(to)
				target.Machine = w.from(door, func() eks.Caller { return eks.Caller{Internet: netip.MustParseAddr(listed)} })
				o := deploy.UpgradeOptions{Target: target, Bake: bake}
				p, err := deploy.PlanUpgrade(t.Context(), o)
				if err != nil || !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, tc.note) }) {
					t.Fatalf("plan: %+v, %v", p, err)
				}
				_, err = deploy.Upgrade(t.Context(), o)
				if got := w.kubernetes()["nodes"]; tc.ends == "" {
					if err != nil || strings.Contains(got, "1.34") {
						t.Errorf("nodes run %s: %v", got, err)
					}
				} else if err == nil || !strings.Contains(err.Error(), tc.ends) || strings.Contains(got, "1.35") {
					t.Errorf("nodes run %s: %v", got, err)
				}
			})
		})
	}
}

// TestNodeGroupsAreUpdatedAlone: each node group is updated once, by its own change
// set, and keeps the size that it has then.
func TestNodeGroupsAreUpdatedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		w := newWorld(t, from, sandbox.Options{})
		w.create(from)
		groups := w.find(eks.TypeNodegroup)
		if len(groups) < 2 {
			t.Fatalf("%d node groups", len(groups))
		}
		api := w.target(from).AWS.EKS
		scale := func(r *account.Resource, size int32) {
			cluster, name, _ := strings.Cut(r.ID, "/")
			if _, err := api.UpdateNodegroupConfig(context.WithoutCancel(t.Context()), &awseks.UpdateNodegroupConfigInput{
				ClusterName: &cluster, NodegroupName: &name, ScalingConfig: &ekstypes.NodegroupScalingConfig{DesiredSize: &size},
			}); err != nil {
				t.Errorf("scale %s: %v", name, err)
			}
		}
		first, last := groups[0], groups[len(groups)-1]
		scale(last, 2)
		time.Sleep(10 * time.Minute)
		var start time.Time // of the stage of nodes
		w.seen = func(e deploy.Event) {
			s, ok := e.(deploy.Step)
			switch {
			case !ok:
			case strings.HasPrefix(s.Text, "watching the control plane"):
				time.AfterFunc(time.Minute, func() { scale(first, 2) })
			case strings.HasPrefix(s.Text, "changing the node group") && start.IsZero():
				start = s.Time
			}
		}
		if _, err := w.upgrade(to); err != nil {
			t.Fatal(err)
		}
		updates := map[string]int{}
		for _, o := range w.ops.Between(start, time.Now()) {
			if o.Type == eks.TypeNodegroup && o.LogicalID != "" {
				updates[o.LogicalID]++
			}
		}
		for id, n := range updates {
			if n != 1 {
				t.Errorf("node group %s was updated %d times, want once", id, n)
			}
		}
		if len(updates) != len(groups) {
			t.Errorf("updated %v, want each of %d groups", updates, len(groups))
		}
		for _, g := range []*account.Resource{first, last} {
			cluster, name, _ := strings.Cut(g.ID, "/")
			out, err := api.DescribeNodegroup(t.Context(), &awseks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &name})
			if err != nil {
				t.Fatal(err)
			}
			if size := *out.Nodegroup.ScalingConfig.DesiredSize; size != 2 {
				t.Errorf("node group %s has %d nodes, want 2", name, size)
			}
		}
	})
}

// TestNothingUnaskedIsChanged: that templates become the file's again is in the plan,
// and a run whose plan is empty makes no change set.
func TestNothingUnaskedIsChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		var quiet atomic.Bool
		w := newWorld(t, from, sandbox.Options{Intercept: func(_ *http.Request, _, op string) error {
			if quiet.Load() && strings.HasSuffix(op, "ChangeSet") && op != "DescribeChangeSet" {
				t.Errorf("unasked: %s", op)
			}
			return nil
		}})
		w.create(from)
		// It is killed as the last stage begins.
		killed := errors.New("killed")
		ctx, kill := context.WithCancelCause(t.Context())
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.StackStarted); ok && s.Stack == architecture.Parameters {
				kill(killed)
			}
		}
		if _, err := deploy.Upgrade(ctx, deploy.UpgradeOptions{Target: w.target(to), Bake: bake}); !errors.Is(err, killed) {
			t.Fatalf("not killed: %v", err)
		}
		w.seen = nil
		o := deploy.UpgradeOptions{Target: w.target(to), Bake: bake}
		p, err := deploy.PlanUpgrade(t.Context(), o)
		if err != nil || len(p.Changes) != 1 || p.Changes[0].Stage != upgrade.Templates || p.Changes[0].Stack != architecture.Parameters || p.Bake != 0 {
			t.Fatalf("what is left: %+v, %v", p, err)
		}
		if _, err := deploy.Upgrade(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		quiet.Store(true)
		if p, err = deploy.Upgrade(t.Context(), o); err != nil || !p.Empty() {
			t.Errorf("again: %+v, %v", p, err)
		}
	})
}

// TestRecordWhoseAnswerIsLost: the first answer to each write of a parameter is lost,
// that of the record of an upgrade among them. The upgrade goes on.
func TestRecordWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		var writes atomic.Int64
		begun := false
		w := newWorld(t, from, sandbox.Options{Intercept: func(_ *http.Request, service, operation string) error {
			if begun && service == "ssm" && operation == "PutParameter" && writes.Add(1)%2 == 1 {
				return &wire.Fault{After: true}
			}
			return nil
		}})
		w.create(from)
		begun = true
		if _, err := w.upgrade(to); err != nil || writes.Load() < 4 { // of the lease, and of the record
			t.Errorf("%d writes, and the upgrade ended with %v", writes.Load(), err)
		}
	})
}

// TestRecordWithoutACluster: the record of an upgrade whose deployment is gone keeps
// nothing, and goes with the next creation or deletion.
func TestRecordWithoutACluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := oldAndNew(t)
		w := newWorld(t, a, sandbox.Options{})
		under := deploy.Upgrading{From: "1.34", To: "1.35", Stage: upgrade.Nodes, Began: time.Now()}
		w.record(a, under)
		if s, err := deploy.Look(t.Context(), w.target(a)); err != nil || s.Upgrade != nil || s.Next != "create" {
			t.Errorf("status: %+v, %v", s, err)
		}
		if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData}); !errors.Is(err, deploy.ErrAbsent) {
			t.Errorf("delete: %v", err)
		}
		if got := w.recorded(a); got != "" {
			t.Errorf("after the deletion: %s", got)
		}
		w.record(a, under)
		w.create(a)
		if got := w.recorded(a); got != "" {
			t.Errorf("after the creation: %s", got)
		}
		w.emptyPlan(a)
	})
}

// TestStatusLeadsOnWithAnUpgrade: as long as an upgrade is under way create is refused,
// and status leads to what isn't.
func TestStatusLeadsOnWithAnUpgrade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		w := newWorld(t, from, sandbox.Options{})
		w.create(from)
		w.killedAt(to, "changing the node group")
		edge, api := from.StackName(architecture.Edge), w.target(from).AWS.CloudFormation
		if _, err := api.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: &edge, EnableTerminationProtection: new(false)}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &edge}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		s, err := deploy.Look(t.Context(), w.target(to))
		if err != nil || s.Phase == deploy.Complete || s.Next != "upgrade kubernetes -f" {
			t.Errorf("phase %s, next %q, %v", s.Phase, s.Next, err)
		}
	})
}
