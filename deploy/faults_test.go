package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// trial is a deployment in an account that is broken by plan.
type trial struct {
	*world
	faults *fault.Injector
	// runs are how commands ended, in order: "create: why it failed".
	runs []string
}

// broken is a world in which a file of faults is at work.
func broken(t *testing.T, a, next *architecture.Architecture, seed uint64, files ...rehearse.Faults) *trial {
	t.Helper()
	plan, err := rehearse.ParseFaults(files, a.Config.Region, a, next)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, a, sandbox.Options{Fresh: true, Seed: seed})
	f := &trial{world: w, faults: fault.New(plan, fault.Options{Seed: seed, Sleep: clock.Real{}.Sleep})}
	w.box.Break(f.faults)
	return f
}

// attempts is how often a command is repeated before it is given up.
const attempts = 6

// persist runs a command as people do: again when it failed, after some minutes
// or with new credentials. Every failure has to say what failed and name it.
func (f *trial) persist(command string, run func(context.Context) error) error {
	f.t.Helper()
	var err error
	for range attempts {
		if err = run(f.t.Context()); err == nil {
			f.runs = append(f.runs, command+": done")
			return nil
		}
		f.runs = append(f.runs, fmt.Sprintf("%s: %.300v", command, err))
		f.explained(command, err)
		if awsapi.IsExpired(err) && f.faults.SignIn() {
			continue
		}
		time.Sleep(10 * time.Minute)
	}
	return fmt.Errorf("%s did not converge in %d runs: %w", command, attempts, err)
}

// explained holds an error to what users need: which stack or resource, or which
// call to which service, and what AWS says of it.
func (f *trial) explained(command string, err error) {
	f.t.Helper()
	var failed *stack.Error
	switch {
	case errors.As(err, &failed):
		if failed.Stack == "" || failed.Cause.LogicalID == "" && failed.Reason == "" {
			f.t.Errorf("%s: the failure of stack %q names no cause: %v", command, failed.Stack, err)
		}
		if root := failed.Root(); root.Known == "" || root.Document == "" {
			f.t.Errorf("%s: the catalogue of failures lacks %s: %s", command, root.Type, root.Reason)
		}
	case awsapi.IsExpired(err), awsapi.IsUnreachable(err):
	case awsapi.Code(err) != "":
		if !strings.Contains(err.Error(), ": operation error ") {
			f.t.Errorf("%s: the failed call does not say what it was for: %v", command, err)
		}
	default:
		f.t.Errorf("%s: neither a stack nor a call is to blame: %v", command, err)
	}
}

// life takes the deployment through its life under faults.
func (f *trial) life(a, next *architecture.Architecture) error {
	f.t.Helper()
	make := func(a *architecture.Architecture) func(context.Context) error {
		first := a != next
		return func(ctx context.Context) error {
			o := deploy.CreateOptions{Target: f.target(a)}
			if first {
				if _, err := deploy.Create(ctx, o); err != nil {
					return err
				}
			} else if _, err := deploy.Update(ctx, o); err != nil {
				return err
			}
			// What others did meanwhile is drift, and for the next run.
			p, err := deploy.MakePlan(ctx, f.target(a))
			if err != nil {
				return err
			}
			if !p.Empty() {
				first = false
				_, err = deploy.Update(ctx, deploy.CreateOptions{Target: f.target(a), Shown: p})
			}
			return err
		}
	}
	if err := f.persist("create", make(a)); err != nil {
		return err
	}
	if err := f.persist("update", make(next)); err != nil {
		return err
	}
	kept := map[string]deploy.Kept{}
	var all *deploy.Deleted
	err := f.persist("delete", func(ctx context.Context) error {
		d, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: f.target(next), Data: deploy.DestroyData})
		if d != nil {
			for _, k := range d.Kept {
				kept[k.Type+" "+k.ID] = k
			}
			all = d
		}
		if errors.Is(err, deploy.ErrAbsent) && len(f.runs) > 0 {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if all == nil {
		all = &deploy.Deleted{}
	}
	all.Kept = slices.Collect(maps.Values(kept))
	f.clean(all)
	return nil
}

// story is what happened, for a failed test.
func (f *trial) story() string {
	var b strings.Builder
	for _, t := range f.faults.Tallies() {
		fmt.Fprintf(&b, "fault %s: %d times, first: %s\n", t.ID, t.Times, t.What)
	}
	for _, r := range f.runs {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// TestBadDays takes a deployment through the bad days of examples/faults: all
// that is foretold happens, and it converges all the same. What AWS documents
// as a matter of time no command fails of.
func TestBadDays(t *testing.T) {
	files, err := filepath.Glob("../examples/faults/*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files of faults, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if detectingRaces && name != "busy-account" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				src, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				a := example(t, "evaluation")
				next := changed(t, a)
				f := broken(t, a, next, 1, rehearse.Faults{Name: file, Source: src})
				if err := f.life(a, next); err != nil {
					t.Errorf("%v\n%s", err, f.story())
				}
				if (name == "slow-iam" || name == "leaked-interfaces") && len(f.runs) > 3 {
					t.Errorf("a command was repeated:\n%s", f.story())
				}
				for _, tally := range f.faults.Tallies() {
					if tally.Times == 0 || strings.Contains(tally.What, "which fails") {
						t.Errorf("fault %s never happened, or failed itself: %s", tally.ID, tally.What)
					}
				}
				t.Logf("\n%s", f.story())
			})
		})
	}
}

// randomDay draws faults that end, so that a deployment has to converge.
func randomDay(resources []fault.Resource) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		minutes := func(most int) string { return fmt.Sprintf("%dm", rapid.IntRange(1, most).Draw(t, "minutes")) }
		service := func() string {
			return rapid.SampledFrom([]string{"cloudformation", "iam", "kms", "s3", "ec2", "eks", "rds", "*"}).Draw(t, "service")
		}
		fail := func() string {
			// Any error of the catalogue, at any resource that it happens to.
			for {
				e := rapid.SampledFrom(fault.Catalogue()).Draw(t, "error")
				on := e.On
				if len(on) == 0 {
					on = []string{"create", "update", "delete", "rollback"}
				}
				op := rapid.SampledFrom(on).Draw(t, "operation")
				r := rapid.SampledFrom(resources).Draw(t, "resource")
				if ok, err := filepath.Match(e.Types, r.Type); e.Types != "" && (err != nil || !ok) {
					continue
				}
				return fmt.Sprintf("times: %d, fail: {stack: %s, resource: %s, on: [%s], error: %s, late: %v}",
					rapid.IntRange(1, 2).Draw(t, "times"), r.Stack, r.LogicalID, op, e.Name, rapid.Bool().Draw(t, "late"))
			}
		}
		kinds := []func() string{
			fail, fail, fail, fail,
			func() string {
				return fmt.Sprintf("share: 0.%d, for: %s, throttle: {service: '%s'}", rapid.IntRange(1, 9).Draw(t, "share"), minutes(30), service())
			},
			func() string {
				return fmt.Sprintf("share: 0.%d, for: %s, error: {service: '%s', status: %d}", rapid.IntRange(1, 5).Draw(t, "share"), minutes(20), service(), rapid.SampledFrom([]int{500, 503}).Draw(t, "status"))
			},
			func() string {
				return fmt.Sprintf("share: 0.%02d, cut: {service: '%s', carriedOut: %v}", rapid.IntRange(1, 10).Draw(t, "share"), service(), rapid.Bool().Draw(t, "carried out"))
			},
			func() string {
				return fmt.Sprintf("share: 0.%02d, slow: {service: '%s', by: %s, carriedOut: %v}", rapid.IntRange(1, 10).Draw(t, "share"), service(), minutes(3), rapid.Bool().Draw(t, "carried out"))
			},
			func() string { return fmt.Sprintf("when: {after: %s}, expire: {}", minutes(60)) },
			func() string {
				return fmt.Sprintf("for: %s, capacity: {zone: %s}", minutes(40), rapid.SampledFrom([]string{"us-east-1a", "us-east-1b", "'*'"}).Draw(t, "zone"))
			},
			func() string {
				return fmt.Sprintf("for: %s, quota: {name: %s, value: 0}", minutes(20), rapid.SampledFrom([]string{"vpcs", "elastic-ips", "load-balancers", "rds-instances", "eks-clusters", "kms-keys", "iam-roles"}).Draw(t, "quota"))
			},
			func() string {
				return fmt.Sprintf("interfaces: {of: %s, stay: %s}", rapid.SampledFrom([]string{"eks", "rds", "load-balancers", "endpoints", "nat-gateways", "instances"}).Draw(t, "of"), rapid.SampledFrom([]string{"2m", "10m", "20m", "forever"}).Draw(t, "stay"))
			},
			func() string { return "propagation: {takes: 1m}" },
			func() string {
				r := rapid.SampledFrom(resources).Draw(t, "resource")
				return fmt.Sprintf("when: {resource: {stack: %s, type: 'AWS::CloudFormation::Stack', status: CREATE_COMPLETE}, after: %s}, inFlight: {stack: %s}", r.Stack, minutes(10), r.Stack)
			},
		}
		var b strings.Builder
		b.WriteString("faults:\n")
		for n := range rapid.IntRange(1, 4).Draw(t, "faults") {
			fmt.Fprintf(&b, "  - {id: f%d, %s}\n", n, rapid.SampledFrom(kinds).Draw(t, "kind")())
		}
		return b.String()
	})
}

// TestRandomDays takes a deployment through days drawn at random: whatever ends
// is got over, every failure says what it was, and nothing is left in the end.
// POOLHOUSE_FULL draws more of them.
func TestRandomDays(t *testing.T) {
	days := 2
	if os.Getenv("POOLHOUSE_FULL") != "" {
		days = 40
	}
	if detectingRaces {
		days = 1
	}
	a := example(t, "evaluation")
	next := changed(t, a)
	stacks, err := templates.All(next)
	if err != nil {
		t.Fatal(err)
	}
	var resources []fault.Resource
	for _, s := range stacks {
		for _, r := range s.Template.Resources() {
			resources = append(resources, fault.Resource{Stack: s.StackName, LogicalID: string(r.ID), Type: r.Type})
		}
	}
	gen := randomDay(resources)
	for seed := range days {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				day := gen.Example(seed)
				f := broken(t, a, next, uint64(seed)+1, rehearse.Faults{Name: "day.yaml", Source: []byte(day)})
				if err := f.life(a, next); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Logf("seed %d:\n%s%s", seed, day, f.story())
				}
			})
		})
	}
}
