package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/upgrade"
)

// oldAndNew are the example evaluation a version behind, and with the next one.
func oldAndNew(t *testing.T) (from, to *architecture.Architecture) {
	t.Helper()
	from, to = example(t, "evaluation"), example(t, "evaluation")
	from.Config.Cluster.Version, to.Config.Cluster.Version = "1.34", "1.35"
	return from, to
}

// kubernetes are the versions of control plane, add-ons and node groups.
func (w *world) kubernetes() map[string]string {
	got := map[string]string{}
	for _, c := range w.find(eks.TypeCluster) {
		got["control plane"] = props.Str(c.Data, "version")
	}
	for _, a := range w.find(eks.TypeAddon) {
		got[props.Str(a.Props, "AddonName")] = props.Str(a.Data, "version")
	}
	for _, n := range w.find(eks.TypeNodegroup) {
		got["nodes"] += props.Str(n.Data, "version") + " "
	}
	return got
}

const bake = 10 * time.Minute

func (w *world) upgrade(a *architecture.Architecture) (*upgrade.Plan, error) {
	w.t.Helper()
	return deploy.Upgrade(w.t.Context(), deploy.UpgradeOptions{Target: w.target(a), Bake: bake})
}

// TestL12Upgrade: the control plane rises alone, is watched, then add-ons and node
// groups follow one after another; nothing is left to do then, neither for an upgrade
// nor for an update.
func TestL12Upgrade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		w := newWorld(t, from, sandbox.Options{})
		w.create(from)
		before := w.kubernetes()
		plan, err := deploy.PlanUpgrade(t.Context(), deploy.UpgradeOptions{Target: w.target(to), Bake: bake})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, w.kubernetes()); diff != "" {
			t.Errorf("the plan changed something: %s", diff)
		}
		if plan.From != "1.34" || plan.To != "1.35" || plan.Bake != bake || plan.Stage() != upgrade.ControlPlane || len(plan.Of(upgrade.Nodes)) == 0 {
			t.Errorf("plan %+v", plan)
		}
		w.events = nil
		start := time.Now()
		if _, err := w.upgrade(to); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if low, high := plan.Expected*7/10, plan.Expected*2; took < low || took > high {
			t.Errorf("took %v, and %v was predicted", took, plan.Expected)
		}
		var order []string
		var watched, next time.Time // when watching began, and what came after it
		for _, e := range w.events {
			if s, ok := e.(deploy.Step); ok && (strings.HasPrefix(s.Text, "changing the ") || strings.HasPrefix(s.Text, "watching ")) {
				what, _, _ := strings.Cut(strings.TrimPrefix(s.Text, "changing the "), " from ")
				what, _, _ = strings.Cut(what, " for ")
				order = append(order, what)
				switch {
				case strings.HasPrefix(s.Text, "watching "):
					watched = s.Time
				case !watched.IsZero() && next.IsZero():
					next = s.Time
				}
			}
		}
		want := []string{"control plane", "watching the control plane", "add-on kube-proxy"}
		for _, c := range plan.Of(upgrade.Nodes) {
			want = append(want, c.Name)
		}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("stages (-want +got):\n%s", diff)
		}
		if baked := next.Sub(watched); baked < bake || baked > bake+time.Minute {
			t.Errorf("the control plane was watched for %v, want %v", baked, bake)
		}
		after := w.kubernetes()
		if after["control plane"] != "1.35" || after["kube-proxy"] != "v1.35.3-eksbuild.2" || strings.Contains(after["nodes"], "1.34") {
			t.Errorf("in the end: %v", after)
		}
		if after["vpc-cni"] != before["vpc-cni"] || after["coredns"] != before["coredns"] {
			t.Errorf("what will do was changed: %v, was %v", after, before)
		}
		again, err := w.upgrade(to)
		if err != nil || !again.Empty() {
			t.Errorf("again: %+v, %v", again, err)
		}
		w.emptyPlan(to)
		w.clean(w.destroy(to))
	})
}

// TestUpgradeIsRefused: everything that speaks against an upgrade is said at once,
// and nothing is changed.
func TestUpgradeIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		w := newWorld(t, from, sandbox.Options{})
		w.create(from)
		before := w.kubernetes()
		to.Config.Cluster.Version = "1.36"
		to.Config.Cluster.AddonVersions = map[string]string{"coredns": "v1.0.0-eksbuild.1"}
		to.Config.Database.BackupDays++
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, c := range tx.List(eks.TypeCluster) {
				c.Data["issues"] = []any{map[string]any{"code": "Ec2SecurityGroupNotFound", "message": "a group is gone", "resourceIds": []any{}}}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		plan, err := deploy.PlanUpgrade(t.Context(), deploy.UpgradeOptions{Target: w.target(to), Bake: bake, Asked: "1.35"})
		var refused *deploy.RefusedError
		if !errors.As(err, &refused) || !refused.Untouched {
			t.Fatalf("got %v", err)
		}
		for _, want := range []string{
			"the command says --to 1.35", "EKS takes one minor version at a time", "which EKS does not have for Kubernetes 1.36",
			"shares an operation with nothing else, and the file changes", "a group is gone",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not said: %v", want, err)
			}
		}
		if len(plan.Refusals) != len(refused.Refusals) {
			t.Errorf("the plan has %d refusals, the error %d", len(plan.Refusals), len(refused.Refusals))
		}
		if _, err := w.upgrade(to); !errors.As(err, &refused) {
			t.Errorf("carried out: %v", err)
		}
		if diff := cmp.Diff(before, w.kubernetes()); diff != "" {
			t.Errorf("changed: %s", diff)
		}
	})
}

// TestInsightsKeepAnUpgrade: an insight with an error refuses it, unless that is
// allowed.
func TestInsightsKeepAnUpgrade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		w := newWorld(t, from, sandbox.Options{})
		w.create(from)
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, a := range tx.List(eks.TypeAddon) {
				if props.Str(a.Props, "AddonName") == "kube-proxy" {
					a.Data["version"] = "v1.31.14-eksbuild.9"
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		o := deploy.UpgradeOptions{Target: w.target(to), Bake: bake}
		var refused *deploy.RefusedError
		if _, err := deploy.PlanUpgrade(t.Context(), o); !errors.As(err, &refused) || len(refused.Refusals) != 1 || refused.Refusals[0].Flag != upgrade.DespiteInsights || !strings.Contains(err.Error(), "kube-proxy version skew") {
			t.Errorf("got %v", err)
		}
		o.Allow = guard.Allowed{upgrade.DespiteInsights: true}
		if _, err := deploy.PlanUpgrade(t.Context(), o); err != nil {
			t.Errorf("allowed: %v", err)
		}
	})
}

// TestL11UpgradeGoesOn: an upgrade that is killed at any stage keeps updates away,
// shows where it stands, and goes on by the same command; a deletion takes all away.
func TestL11UpgradeGoesOn(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"changing the control plane", "watching the control plane", "changing the add-on", "changing the node group"} {
		for _, then := range []string{"goes on", "is deleted"} {
			t.Run(at+" "+then, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					from, to := oldAndNew(t)
					w := newWorld(t, from, sandbox.Options{})
					w.create(from)
					killed := errors.New("killed")
					ctx, kill := context.WithCancelCause(t.Context())
					w.seen = func(e deploy.Event) {
						if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, at) {
							time.AfterFunc(time.Minute, func() { kill(killed) })
						}
					}
					if _, err := deploy.Upgrade(ctx, deploy.UpgradeOptions{Target: w.target(to), Bake: bake}); !errors.Is(err, killed) {
						t.Fatalf("not killed: %v", err)
					}
					w.seen = nil
					s, err := deploy.Look(t.Context(), w.target(to))
					if err != nil || s.Upgrade == nil || s.Upgrade.From != "1.34" || s.Upgrade.To != "1.35" {
						t.Fatalf("status %+v, %v", s, err)
					}
					var refused *deploy.RefusedError
					if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(to)}); !errors.As(err, &refused) || !strings.Contains(err.Error(), fmt.Sprintf("at its stage %q", s.Upgrade.Stage)) {
						t.Errorf("update in between: %v", err)
					}
					if then == "goes on" {
						if _, err := w.upgrade(to); err != nil {
							t.Fatal(err)
						}
						if got := w.kubernetes(); got["control plane"] != "1.35" || strings.Contains(got["nodes"], "1.34") || got["kube-proxy"] != "v1.35.3-eksbuild.2" {
							t.Errorf("in the end: %v", got)
						}
						w.emptyPlan(to)
					}
					w.clean(w.destroy(to))
				})
			})
		}
	}
}

// TestUpgradeAddons: what is not pinned gets its newest version, what is pinned stays,
// and nothing is left to do then.
func TestUpgradeAddons(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := oldAndNew(t)
		a.Config.Cluster.AddonVersions = map[string]string{"metrics-server": "v0.8.0-eksbuild.2"}
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		o := deploy.UpgradeOptions{Target: w.target(a), Addons: true}
		p, err := deploy.Upgrade(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		got := w.kubernetes()
		for name, want := range map[string]string{
			"vpc-cni": "v1.22.4-eksbuild.3", "aws-ebs-csi-driver": "v1.63.1-eksbuild.1", "metrics-server": "v0.8.0-eksbuild.2",
			"coredns": "v1.13.2-eksbuild.3", "kube-proxy": "v1.34.5-eksbuild.4", "control plane": "1.34",
		} {
			if got[name] != want {
				t.Errorf("%s is %s, want %s", name, got[name], want)
			}
		}
		if len(p.Of(upgrade.Addons)) != 2 || p.Bake != 0 {
			t.Errorf("plan %+v", p)
		}
		if again, err := deploy.PlanUpgrade(t.Context(), o); err != nil || !again.Empty() {
			t.Errorf("again: %+v, %v", again, err)
		}
		w.emptyPlan(a)
	})
}

// TestL24BudgetsKeepNodes: budgets that allow no disruption are listed, and named by the
// error of a node group whose update EKS gave up because of them. Once they allow it,
// the same command goes on.
func TestL24BudgetsKeepNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := oldAndNew(t)
		api := kubernetes.New(nil)
		w, door := withKubernetes(t, from, listed, api)
		w.create(from)
		api.Put("/api/v1/nodes/one", `{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}`)
		const budget = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/"
		api.Put(budget+"tight", `{"status": {"disruptionsAllowed": 0, "expectedPods": 1}}`)
		api.Put(budget+"idle", `{"status": {"disruptionsAllowed": 0, "expectedPods": 0}}`)
		api.Put(budget+"loose", `{"status": {"disruptionsAllowed": 1, "expectedPods": 2}}`)
		target := w.target(to)
		target.Machine = w.from(door, func() eks.Caller { return eks.Caller{Internet: netip.MustParseAddr(listed)} })
		o := deploy.UpgradeOptions{Target: target, Bake: bake}
		plan, err := deploy.PlanUpgrade(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"PodDisruptionBudget tight in shop"}, plan.Budgets); diff != "" {
			t.Errorf("budgets (-want +got):\n%s", diff)
		}
		w.breakNext(to, `faults: [{id: budget, times: 1, fail: {type: "AWS::EKS::Nodegroup", on: [update], late: true, code: PodEvictionFailure, message: "Reached max retries while trying to evict pods from nodes in node group"}}]`)
		_, err = deploy.Upgrade(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "nodes wait for budgets with no allowed disruption: PodDisruptionBudget tight in shop") {
			t.Fatalf("got %v", err)
		}
		if got := w.kubernetes(); got["control plane"] != "1.35" || !strings.Contains(got["nodes"], "1.34") {
			t.Errorf("after the failure: %v", got)
		}
		api.Put(budget+"tight", `{"status": {"disruptionsAllowed": 1, "expectedPods": 2}}`)
		start := time.Now()
		if _, err = deploy.Upgrade(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got := w.kubernetes(); strings.Contains(got["nodes"], "1.34") {
			t.Errorf("in the end: %v", got)
		}
		if took := time.Since(start); took > plan.Expected {
			t.Errorf("to go on took %v, the whole %v", took, plan.Expected)
		}
	})
}
