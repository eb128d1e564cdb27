package deploy_test

import (
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// lines are a plan's changes: "cluster update Cluster Logging drift".
func lines(p *deploy.Plan) []string {
	var out []string
	for _, s := range p.Stacks {
		for _, c := range s.Changes {
			if len(c.Properties) == 0 {
				out = append(out, strings.TrimSpace(string(s.Stack)+" "+string(c.Action)+" "+c.LogicalID+" "+mark(c.Drift)))
			}
			for _, x := range c.Properties {
				out = append(out, strings.TrimSpace(string(s.Stack)+" "+string(c.Action)+" "+c.LogicalID+" "+x.Path+" "+x.Before+" -> "+x.After+" "+mark(x.Drift)))
			}
		}
	}
	return out
}

func mark(drift bool) string {
	if drift {
		return "drift"
	}
	return ""
}

func (w *world) plan(a *architecture.Architecture, keep bool) *deploy.Plan {
	w.t.Helper()
	t := w.target(a)
	t.KeepDrift = keep
	p, err := deploy.MakePlan(w.t.Context(), t)
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return p
}

func (w *world) one(typ string, match func(*account.Resource) bool) *account.Resource {
	w.t.Helper()
	for _, r := range w.box.Account().Resources() {
		if r.Type == typ && (match == nil || match(r)) {
			return r
		}
	}
	w.t.Fatalf("there is no %s", typ)
	return nil
}

// TestDriftOfTheCluster: EKS takes one kind of change at a time, also when drift
// is put right, and the number of nodes is for others to decide.
func TestDriftOfTheCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		c := w.target(a).AWS.EKS
		cluster := w.one("AWS::EKS::Cluster", nil)
		group := w.one("AWS::EKS::Nodegroup", func(r *account.Resource) bool { return r.LogicalID == "CoreZone1" })
		for _, in := range []*eks.UpdateClusterConfigInput{
			{Name: &cluster.ID, ResourcesVpcConfig: &ekstypes.VpcConfigRequest{EndpointPublicAccess: new(true), PublicAccessCidrs: []string{"0.0.0.0/0"}}},
			{Name: &cluster.ID, Logging: &ekstypes.Logging{ClusterLogging: []ekstypes.LogSetup{{Enabled: new(false), Types: ekstypes.LogType("").Values()}}}},
		} {
			if _, err := c.UpdateClusterConfig(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if _, err := c.UpdateNodegroupConfig(t.Context(), &eks.UpdateNodegroupConfigInput{
			ClusterName: &cluster.ID, NodegroupName: new(strings.TrimPrefix(group.ID, cluster.ID+"/")), ScalingConfig: &ekstypes.NodegroupScalingConfig{DesiredSize: aws.Int32(2)},
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)

		if kept := w.plan(a, true); slices.ContainsFunc(kept.Stacks, func(s deploy.StackPlan) bool {
			return s.Drift != nil || s.Stack == architecture.Cluster && s.Action != deploy.NoChange
		}) || kept.Drift() != nil {
			t.Errorf("with drift kept, the plan has %q", lines(kept))
		}
		p := w.plan(a, false)
		got := slices.DeleteFunc(lines(p), func(l string) bool { return !strings.HasSuffix(l, " drift") })
		for _, l := range got {
			if !strings.HasPrefix(l, "cluster update Cluster ") {
				t.Errorf("the plan has %s", l)
			}
		}
		if all := strings.Join(got, "\n"); !strings.Contains(all, "PublicAccessCidrs.0 0.0.0.0/0 -> 203.0.113.0/24") || !strings.Contains(all, "Logging") {
			t.Errorf("the plan leaves out what drifted:\n%s", all)
		}
		if i := slices.IndexFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Stack == architecture.Nodes }); p.Stacks[i].Action != deploy.NoChange || p.Stacks[i].Drift != nil {
			t.Errorf("a scaled node group is planned: %+v", p.Stacks[i])
		}
		res := w.update(a)
		if res.Changes < 2 {
			t.Errorf("%d changes, want at least two", res.Changes)
		}
		after := w.one("AWS::EKS::Cluster", nil)
		if diff := cmp.Diff(cluster.Props, after.Props); diff != "" || after.ID != cluster.ID {
			t.Errorf("the cluster, -before +after:\n%s", diff)
		}
		if g := w.one("AWS::EKS::Nodegroup", func(r *account.Resource) bool { return r.ID == group.ID }); !strings.Contains(cmp.Diff(group.Props, g.Props), "DesiredSize") {
			t.Errorf("the node group went back to its former size: %v", g.Props["ScalingConfig"])
		}
		w.emptyPlan(a)
		w.clean(w.destroy(a))
	})
}

// TestDriftOfVersions: a cluster that was upgraded is never asked to go back, and
// the file is asked to follow.
func TestDriftOfVersions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		var sets int
		w := newWorld(t, a, sandbox.Options{OnCall: func(c sandbox.Call) {
			if c.Operation == "CreateChangeSet" {
				sets++
			}
		}})
		w.create(a)
		c := w.target(a).AWS.EKS
		cluster := w.one("AWS::EKS::Cluster", nil)
		if _, err := c.UpdateClusterVersion(t.Context(), &eks.UpdateClusterVersionInput{Name: &cluster.ID, Version: new("1.36")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := c.UpdateClusterConfig(t.Context(), &eks.UpdateClusterConfigInput{
			Name: &cluster.ID, Logging: &ekstypes.Logging{ClusterLogging: []ekstypes.LogSetup{{Enabled: new(false), Types: ekstypes.LogType("").Values()}}},
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		sets = 0
		_, planned := deploy.MakePlan(t.Context(), w.target(a))
		_, updated := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		for verb, err := range map[string]error{"plan": planned, "update": updated} {
			var fs config.Faults
			if !errors.As(err, &fs) || len(fs) != 1 || fs[0].Path != "cluster.version" || fs[0].Reason != "is 1.35 in the file, and the cluster runs 1.36; EKS can't go back" || fs[0].Fix != `write "1.36"` {
				t.Errorf("%s: got %v, want that the file is behind", verb, err)
			}
		}
		if sets > 0 {
			t.Errorf("%d change sets were made before the refusal", sets)
		}
		// With drift kept, nothing is asked of the cluster.
		if p := w.plan(a, true); !p.Empty() {
			t.Errorf("with drift kept, the plan has %q", lines(p))
		}
		// What update would revert is known all the same, as if the file followed.
		p, err := deploy.PlanReverts(t.Context(), w.target(a))
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(lines(p), "\n"); strings.Contains(all, "1.36 -> 1.35") || !strings.Contains(all, "cluster update Cluster Logging") {
			t.Errorf("reverts:\n%s", all)
		}

		a.Config.Cluster.Version = "1.36"
		next, err := architecture.New(a.Config)
		if err != nil {
			t.Fatal(err)
		}
		w.update(next)
		after := w.one("AWS::EKS::Cluster", nil)
		if after.ID != cluster.ID || after.Props["Version"] != "1.36" || cmp.Diff(cluster.Props["Logging"], after.Props["Logging"]) != "" {
			t.Errorf("after the update: %v", after.Props)
		}
		w.emptyPlan(next)
	})
}

// TestDriftThatLostData: what held data and was deleted is not made again,
// empty, without being asked for.
func TestDriftThatLostData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		clients := w.target(a).AWS
		key := w.one("AWS::KMS::Key", func(r *account.Resource) bool { return r.LogicalID == "ApplicationKey" })
		if _, err := clients.KMS.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &key.ID}); err != nil {
			t.Fatal(err)
		}
		bucket := w.one("AWS::S3::Bucket", func(r *account.Resource) bool { return r.LogicalID == "TelemetryBucket" })
		if _, err := clients.S3.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &bucket.ID}); err != nil {
			t.Fatal(err)
		}
		_, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		var refused *deploy.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "re-create ApplicationKey (AWS::KMS::Key)") {
			t.Fatalf("got %v, want a refusal", err)
		}
		// The remedy for a key that waits for its end is not a new one.
		if _, err := clients.KMS.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: &key.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err := clients.KMS.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &key.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(a, guard.Replace)}); err != nil {
			t.Fatalf("update: %v", err)
		}
		w.emptyPlan(a)
		w.one("AWS::S3::Bucket", func(r *account.Resource) bool { return r.ID == bucket.ID })
		w.one("AWS::S3::BucketPolicy", func(r *account.Resource) bool { return r.ID == bucket.ID })
	})
}

// TestKnownDriftIsNotLookedForAgain: an update goes by what its plan has found.
func TestKnownDriftIsNotLookedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		looks := 0
		w := newWorld(t, a, sandbox.Options{OnCall: func(c sandbox.Call) {
			if c.Operation == "DetectStackDrift" {
				looks++
			}
		}})
		w.create(a)
		if looks != 0 {
			t.Errorf("create looked for drift %d times", looks)
		}
		key := w.one("AWS::KMS::Key", func(r *account.Resource) bool { return r.LogicalID == "ApplicationKey" })
		if _, err := w.target(a).AWS.KMS.DisableKeyRotation(t.Context(), &kms.DisableKeyRotationInput{KeyId: &key.ID}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		p := w.plan(a, false)
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("the plan took %v", took)
		}
		if diff := cmp.Diff([]string{"keys update ApplicationKey EnableKeyRotation false -> true drift"}, slices.DeleteFunc(lines(p), func(l string) bool { return !strings.HasSuffix(l, " drift") })); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		planned := looks
		res, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a), Shown: p})
		if err != nil || res.Changes == 0 || looks != planned || planned != len(p.Stacks) || len(slices.Collect(maps.Keys(p.Drift()))) != planned {
			t.Errorf("%v; %+v; %d looks for the plan of %d stacks, %d more for the update", err, res, planned, len(p.Stacks), looks-planned)
		}
		if key := w.one("AWS::KMS::Key", func(r *account.Resource) bool { return r.ID == key.ID }); key.Props["EnableKeyRotation"] != true {
			t.Error("rotation is still off")
		}
	})
}

// TestDriftUnknown: who may not look for drift can plan and update all the same.
func TestDriftUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Intercept: deny("DetectStackDrift")})
		w.create(a)
		// Buckets and database may be gone: that all is there can't be said.
		if res := w.create(a); res.Complete || res.Changes != 0 {
			t.Errorf("a second create: complete %v, %d changes", res.Complete, res.Changes)
		}
		p := w.plan(a, false)
		if !p.Empty() || !strings.Contains(p.DriftUnknown, "not authorized") {
			t.Errorf("empty %v, unknown %q", p.Empty(), p.DriftUnknown)
		}
		w.update(a)
		if !slices.ContainsFunc(w.events, func(e deploy.Event) bool {
			s, ok := e.(deploy.Step)
			return ok && strings.Contains(s.Text, "not authorized")
		}) {
			t.Error("the update does not say that drift is unknown")
		}
	})
}

// TestDriftOfABusyStack: that stacks can't be looked at ends nothing, and the
// others are known.
func TestDriftOfABusyStack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		code string
		most int64 // of the looks that fail
		want string
	}{
		"one fails":     {"ValidationError", 1, `^stack poolside-[a-z]+: not now$`},
		"one is late":   {"InternalFailure", 1, `^$`},
		"all throttled": {"Throttling", 1 << 40, `^stack poolside-[a-z]+: not now \(one of \d+ stacks\)$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				var failed atomic.Int64
				w := newWorld(t, a, sandbox.Options{Intercept: func(_ *http.Request, _, op string) error {
					if op == "DetectStackDrift" && failed.Add(1) <= tc.most {
						return &account.Error{Code: tc.code, Message: "not now", Status: http.StatusBadRequest}
					}
					return nil
				}})
				w.create(a)
				p := w.plan(a, false)
				known := len(p.Stacks)
				if tc.want != "^$" {
					known -= int(min(tc.most, int64(known)))
				}
				if !regexp.MustCompile(tc.want).MatchString(p.DriftUnknown) || len(p.Drift()) != known {
					t.Errorf("unknown: %q; %d stacks known, want %d", p.DriftUnknown, len(p.Drift()), known)
				}
				failed.Store(0)
				w.update(a)
			})
		})
	}
}

// TestDriftWithoutCredentials ends at once.
func TestDriftWithoutCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Intercept: func(_ *http.Request, _, op string) error {
			if op == "DetectStackDrift" {
				return &account.Error{Code: "ExpiredToken", Message: "expired", Status: http.StatusForbidden}
			}
			return nil
		}})
		w.create(a)
		if _, err := deploy.MakePlan(t.Context(), w.target(a)); testkit.Code(err) != "ExpiredToken" {
			t.Errorf("got %v, want that the credentials have expired", err)
		}
	})
}

// deny refuses an operation to everybody.
func deny(operation string) func(*http.Request, string, string) error {
	return func(_ *http.Request, _, op string) error {
		if op == operation {
			return &account.Error{Code: "AccessDenied", Message: "User is not authorized to perform: " + op, Status: http.StatusForbidden}
		}
		return nil
	}
}
