package deploy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// paths are what a refusal names, with the flags that allow it.
func paths(t *testing.T, err error) []string {
	t.Helper()
	var refused *deploy.RefusedError
	if !errors.As(err, &refused) || !refused.Untouched {
		t.Fatalf("got %v, want a refusal before anything is written", err)
	}
	var all []string
	for _, r := range refused.Refusals {
		if r.Fix == "" || r.Line == 0 || r.Stack == "" {
			t.Errorf("a refusal without place or next step: %+v", r)
		}
		all = append(all, strings.TrimSpace(r.Path+" "+string(r.Flag)))
	}
	return all
}

// TestRefusedBeforeTheFirstWrite: everything that a file is refused for is said
// at once, by plan, update and a create that goes on, and nothing is written.
func TestRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		next := became(t, a, func(c *config.Config) {
			c.Cluster.Version = "1.36"
			c.Database.BackupDays = 1
			c.Network.CIDR = "10.99.0.0/16"
			c.Registry.Repositories = c.Registry.Repositories[1:]
		})
		want := []string{"cluster.version allow-mixed", "database.backupDays allow-lower", "network.cidr", "registry.repositories allow-replace"}
		before := testkit.Dump(w.box.Account())
		p, planned := deploy.MakePlan(t.Context(), w.target(next))
		_, updated := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next)})
		for verb, err := range map[string]error{"plan": planned, "update": updated} {
			got := paths(t, err)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", verb, diff)
			}
		}
		if p == nil || len(p.Refusals) != len(want) {
			t.Errorf("the plan does not hold its refusals: %+v", p)
		}
		if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
			t.Errorf("the refusal changed the account:\n%s", diff)
		}
		if _, err := w.target(a).AWS.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: new(a.StackName("parameters"))}); err != nil {
			t.Fatal(err)
		}
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(next)})
		if got := paths(t, err); len(got) != len(want) {
			t.Errorf("a create that goes on is refused for %v, want %v", got, want)
		}
		// What no flag allows is left.
		_, err = deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(next, guard.Replace, guard.Lower, guard.Mixed)})
		if diff := cmp.Diff([]string{"network.cidr"}, paths(t, err)); diff != "" {
			t.Errorf("with every flag (-want +got):\n%s", diff)
		}
	})
}

// TestForeignStacksAreLeftAlone: a stack of our name without our tag, or with
// another deployment's, is never adopted, changed or deleted.
func TestForeignStacksAreLeftAlone(t *testing.T) {
	t.Parallel()
	for name, tag := range map[string]string{"without a tag": "", "another deployment's": "other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				client := w.target(a).AWS.CloudFormation
				in := &cloudformation.CreateStackInput{
					StackName:    new(a.StackName("storage")),
					TemplateBody: new(`{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{}}}}`),
				}
				if tag != "" {
					in.Tags = []types.Tag{{Key: new(deploy.Tag), Value: &tag}}
				}
				made, err := client.CreateStack(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				status := func() string {
					out, err := client.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: made.StackId})
					if err != nil || len(out.Stacks) != 1 {
						t.Fatalf("%+v, %v", out, err)
					}
					return string(out.Stacks[0].StackStatus)
				}
				for status() != "CREATE_COMPLETE" {
					time.Sleep(time.Second)
				}
				before := testkit.Dump(w.box.Account())
				_, err = deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
				if got := paths(t, err); len(got) != 1 || got[0] != "name" || !strings.Contains(err.Error(), *made.StackId) {
					t.Errorf("create: %v", err)
				}
				if _, err := deploy.MakePlan(t.Context(), w.target(a)); err == nil {
					t.Error("the plan is not refused")
				}
				if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData}); !errors.Is(err, deploy.ErrAbsent) {
					t.Errorf("delete: %v, want ErrAbsent", err)
				}
				if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
					t.Errorf("the account changed:\n%s", diff)
				}
			})
		})
	}
}

// TestForeignStackBesideOurs: deletion takes our stacks, leaves the one of
// somebody else that has a name of ours, and names it. One that only begins like
// ours and has our tag is in nobody's way.
func TestForeignStackBesideOurs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		client := w.target(a).AWS.CloudFormation
		stray := a.StackName("mine")
		stands := func() {
			t.Helper()
			out, err := client.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: &stray})
			if err != nil || len(out.Stacks) != 1 || out.Stacks[0].StackStatus != types.StackStatusCreateComplete {
				t.Errorf("stack %s: %+v, %v", stray, out, err)
			}
		}
		if _, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{
			StackName: &stray, TemplateBody: new(`{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{}}}}`),
			Tags: []types.Tag{{Key: new(deploy.Tag), Value: &a.Config.Name}},
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		w.create(a)
		stands()
		if p := w.plan(a, true); !p.Empty() || !slices.Equal(p.NotOurs, []string{stray}) {
			t.Errorf("the plan: empty %v, not ours %v", p.Empty(), p.NotOurs)
		}
		if s, err := deploy.Look(t.Context(), w.target(a)); err != nil || s.Phase != deploy.Complete || !slices.Equal(s.NotOurs, []string{stray}) {
			t.Errorf("status: %+v, %v", s, err)
		}
		name := a.StackName("parameters")
		if _, err := client.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		made, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{
			StackName: &name, TemplateBody: new(`{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{}}}}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		_, err = deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		if got := paths(t, err); len(got) != 1 || got[0] != "name" {
			t.Errorf("update: %v", err)
		}
		w.events = nil
		if done := w.destroy(a); done.Outcome != deploy.Clean {
			t.Errorf("the deletion ends %+v", done)
		}
		stands()
		if got := w.stacks(a); len(got) != 0 {
			t.Errorf("stacks that are left: %v", got)
		}
		out, err := client.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: made.StackId})
		if err != nil || len(out.Stacks) != 1 || out.Stacks[0].StackStatus != types.StackStatusCreateComplete {
			t.Errorf("the stack of somebody else: %+v, %v", out, err)
		}
		for _, stays := range []string{*made.StackId, ":stack/" + stray + "/"} {
			if !slices.ContainsFunc(w.events, func(e deploy.Event) bool {
				s, ok := e.(deploy.Step)
				return ok && strings.Contains(s.Text, stays)
			}) {
				t.Errorf("the stack that stays is not named: %s", stays)
			}
		}
	})
}

// TestL27ABoundaryReplacesNothing: a setting that reaches every role changes the
// cluster's too, whose ARN CloudFormation then calls unknown. That is no loss.
func TestL27ABoundaryReplacesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		next := became(t, a, func(c *config.Config) { c.PermissionBoundary = "arn:aws:iam::123456789012:policy/boundary" })
		p, err := deploy.MakePlan(t.Context(), w.target(next))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(lines(p), func(l string) bool { return strings.HasPrefix(l, "cluster may-replace Cluster RoleArn ") }) {
			t.Errorf("the plan does not show what depends on the role: %q", lines(p))
		}
	})
}
