package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
)

// world is a deployment and a sandbox to put it into, on the bubble's clock.
type world struct {
	t   *testing.T
	box *sandbox.Sandbox
	t0  []byte // the account as it was found
	ops chain.Recorder

	mu     sync.Mutex
	events []deploy.Event
	seen   func(deploy.Event) // is told of each event; may be nil
	// listen has the events of resources told too, which costs most of the time.
	listen bool
}

func example(t *testing.T, name string) *architecture.Architecture {
	t.Helper()
	c, err := config.LoadFile(filepath.Join("..", "examples", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newWorld(t *testing.T, a *architecture.Architecture, o sandbox.Options) *world {
	t.Helper()
	o.Region, o.Now = a.Config.Region, time.Now
	w := &world{t: t}
	o.OnOperation = w.ops.Add
	w.box = testkit.Sandbox(t, o)
	if _, err := rehearse.Given(w.box, a); err != nil {
		t.Fatal(err)
	}
	w.t0 = testkit.Dump(w.box.Account())
	return w
}

func (w *world) target(a *architecture.Architecture) deploy.Target {
	w.t.Helper()
	p := w.box.Principals()[0]
	clients, err := awsapi.New(w.t.Context(), awsapi.Options{
		Region: a.Config.Region, Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(w.box),
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return deploy.Target{Architecture: a, AWS: clients, Terse: !w.listen, Holder: alone(), Emit: func(e deploy.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
		if w.seen != nil {
			w.seen(e)
		}
	}}
}

// allowing is a target with flags for what is refused without them.
func (w *world) allowing(a *architecture.Architecture, flags ...guard.Flag) deploy.Target {
	w.t.Helper()
	t := w.target(a)
	t.Allow = guard.Allowed{}
	for _, f := range flags {
		t.Allow[f] = true
	}
	return t
}

// alone is a run after which no other one is alive.
func alone() lease.Holder {
	return lease.Holder{Host: "test", Machine: "test", PID: 1, Command: "test", Alive: func(int) bool { return false }}
}

func (w *world) create(a *architecture.Architecture) *deploy.Result {
	w.t.Helper()
	res, err := deploy.Create(w.t.Context(), deploy.CreateOptions{Target: w.target(a)})
	if err != nil {
		w.t.Fatalf("create: %v", err)
	}
	return res
}

func (w *world) update(a *architecture.Architecture) *deploy.Result {
	w.t.Helper()
	res, err := deploy.Update(w.t.Context(), deploy.CreateOptions{Target: w.target(a)})
	if err != nil {
		w.t.Fatalf("update: %v", err)
	}
	return res
}

func (w *world) destroy(a *architecture.Architecture) *deploy.Deleted {
	w.t.Helper()
	res, err := deploy.Delete(w.t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
	if err != nil {
		w.t.Fatalf("delete: %v", err)
	}
	return res
}

func (w *world) emptyPlan(a *architecture.Architecture) {
	w.t.Helper()
	p, err := deploy.MakePlan(w.t.Context(), w.target(a))
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	for _, s := range p.Stacks {
		if s.Drift != nil {
			w.t.Errorf("what was just made has drifted: stack %s: %+v", s.Stack, s.Drift.Resources)
		}
		if s.Action != deploy.NoChange {
			w.t.Errorf("plan of what was just made: %s stack %s: %+v", s.Action, s.Stack, s.Changes)
		}
	}
}

// failures are those of resources that were told of.
func (w *world) failures() string {
	var b strings.Builder
	for _, e := range w.events {
		if r, ok := e.(deploy.ResourceEvent); ok && r.Failed() {
			fmt.Fprintf(&b, "%s %s %s: %s\n", r.Stack, r.LogicalID, r.Status, r.Reason)
		}
	}
	return b.String()
}

// clean checks that nothing is left but what the deletion named, and, once
// AWS's own windows are over, nothing at all.
func (w *world) clean(d *deploy.Deleted) {
	w.t.Helper()
	named := map[string]bool{}
	for _, k := range d.Kept {
		named[k.Type+" "+k.ID] = true
	}
	if diff := w.left(func(name string) bool { return named[name] }); diff != "" {
		w.t.Errorf("the account after delete, without what it named:\n%s", diff)
	}
	// The longest window is that of deleted stacks' records.
	time.Sleep(91 * 24 * time.Hour)
	forever := map[string]bool{}
	for _, k := range d.Kept {
		if k.Until.IsZero() {
			forever[k.Type+" "+k.ID] = true
		}
	}
	if diff := w.left(func(name string) bool { return forever[name] }); diff != "" {
		w.t.Errorf("the account when AWS's windows are over:\n%s", diff)
	}
}

// left is what the account has now and did not have, or the other way round,
// without what except names. Service-linked roles and the records of deleted
// stacks are the account's own.
func (w *world) left(except func(name string) bool) string {
	filter := func(dump []byte) []byte {
		var out bytes.Buffer
		var held []string
		flush := func() {
			if len(held) == 0 {
				return
			}
			name := strings.TrimSpace(held[0])
			gone := strings.HasPrefix(name, "cloudformation:stack ") && slices.Contains(held, "  status DELETE_COMPLETE\n")
			if !gone && !except(name) && !strings.Contains(name, "AWSServiceRoleFor") {
				out.WriteString(strings.Join(held, ""))
			}
			held = nil
		}
		for line := range strings.Lines(string(dump)) {
			if !strings.HasPrefix(line, " ") {
				flush()
			}
			held = append(held, line)
		}
		flush()
		return out.Bytes()
	}
	return testkit.DiffDumps(filter(w.t0), filter(testkit.Dump(w.box.Account())))
}

// changed is the configuration with a real change in several stacks.
func changed(t *testing.T, a *architecture.Architecture) *architecture.Architecture {
	t.Helper()
	c := *a.Config
	c.Compute = slices.Clone(c.Compute)
	for i := range c.Compute {
		if c.Compute[i].Role == config.Core {
			c.Compute[i].Max += 3
		}
	}
	c.Database.BackupDays = max(c.Database.BackupDays, 14)
	c.Database.MaxStorageGiB += 200
	c.Registry.Repositories = append(slices.Clone(c.Registry.Repositories), "extra")
	c.Cluster.LogRetentionDays = 90
	c.Network.FlowLogs.RetentionDays = 90
	c.Access.Web.AllowCIDRs = append(slices.Clone(c.Access.Web.AllowCIDRs), "198.51.100.128/25")
	c.Tags = maps.Clone(c.Tags)
	next, err := architecture.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

var examples = []string{"evaluation", "production", "self-managed-nat", "enterprise-dns", "gpu-inference", "minimal-egress", "private-cluster", "existing-network"}

// TestLifecycle takes every example through its life: create, empty plan,
// update, empty plan, delete in the reverse order of L03, the account as it was
// found; one of them in an account that was in use before.
func TestLifecycle(t *testing.T) {
	for _, name := range examples {
		if detectingRaces && !slices.Contains([]string{"evaluation", "production", "existing-network"}, name) {
			continue
		}
		for _, used := range []bool{false, true} {
			if used && name != "evaluation" {
				continue
			}
			t.Run(fmt.Sprintf("%s/used=%v", name, used), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					a := example(t, name)
					w := newWorld(t, a, sandbox.Options{Fresh: !used})
					w.listen = true // as people do, which makes for a better pace
					start := time.Now()
					w.create(a)
					created := w.pace("create", a, start)
					w.emptyPlan(a)
					if res := w.create(a); !res.Complete || res.Changes != 0 {
						t.Errorf("a second create: complete %v, %d changes; want nothing to do", res.Complete, res.Changes)
					}
					next := changed(t, a)
					if res := w.update(next); res.Changes < 5 {
						t.Errorf("the update changed %d resources, want at least 5", res.Changes)
					}
					w.emptyPlan(next)
					start = time.Now()
					d := w.destroy(next)
					deleted := w.pace("delete", next, start)
					w.dependentsFirst(next, start)
					w.clean(d)
					t.Logf("%s; %s", created, deleted)
				})
			})
		}
	}
}

// TestPromotion turns the evaluation example into production in place.
func TestPromotion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		before := ids(w)
		next := promoted(t, "../examples/evaluation.yaml")
		w.update(next)
		w.emptyPlan(next)
		for id := range before {
			if !ids(w)[id] {
				t.Errorf("the promotion lost %s", id)
			}
		}
		w.clean(w.destroy(next))
	})
}

// ids are the resources that a promotion must keep.
func ids(w *world) map[string]bool {
	keep := []string{"AWS::KMS::Key", "AWS::S3::Bucket", "AWS::RDS::DBInstance", "AWS::EKS::Cluster", "AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::ECR::Repository", "AWS::Route53::HostedZone"}
	m := map[string]bool{}
	for _, r := range w.box.Account().Resources() {
		if slices.Contains(keep, r.Type) {
			m[r.Type+" "+r.ID] = true
		}
	}
	return m
}

var errKilled = errors.New("killed")

// killed runs f and ends its context after a while, as a kill would: no later
// call leaves the process. It reports whether f was still running.
func killed(t *testing.T, after time.Duration, f func(context.Context) error) bool {
	t.Helper()
	ctx, kill := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(after, func() { kill(errKilled) })
	defer timer.Stop()
	err := f(ctx)
	if err != nil && !errors.Is(err, errKilled) {
		t.Fatalf("the killed run ended with %v", err)
	}
	return err != nil
}

// promoted is a file with its profile turned into production.
func promoted(t *testing.T, path string) *architecture.Architecture {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(path, bytes.Replace(src, []byte("profile: evaluation"), []byte("profile: production"), 1))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
