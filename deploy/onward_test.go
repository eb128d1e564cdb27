package deploy_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// look is what a deployment is, once its stacks are at rest and its lease is free.
func (w *world) look(a *architecture.Architecture) *deploy.Status {
	w.t.Helper()
	time.Sleep(2 * time.Hour)
	s, err := deploy.Look(w.t.Context(), w.target(a))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// TestL31StatusOfADeletionThatWasBegun: what a killed delete has taken away is named, and
// nobody is sent back to create without a word. What create goes on from after a
// deletion that kept the data looks alike, and is not.
func TestL31StatusOfADeletionThatWasBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		for _, data := range []deploy.Data{deploy.DestroyData, deploy.KeepData} {
			w.killedWith(a, architecture.Nodes, cfntypes.StackStatusDeleteInProgress, func(ctx context.Context, target deploy.Target) error {
				_, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: target, Data: data})
				return err
			})
			s := w.look(a)
			if s.Phase != deploy.Incomplete || !slices.Contains(s.Deleted, architecture.Addons) || !slices.Contains(s.Deleted, architecture.Nodes) || slices.Contains(s.Deleted, architecture.Keys) || s.Next != "" {
				t.Errorf("%s, then %q: %v is deleted", s.Phase, s.Next, s.Deleted)
			}
			w.create(a)
			if s := w.look(a); s.Phase != deploy.Complete || s.Deleted != nil || s.Next != "" {
				t.Errorf("made again: %s, then %q: %v is deleted", s.Phase, s.Next, s.Deleted)
			}
		}
		w.delete(a, deploy.KeepData)
		for _, next := range []architecture.StackName{architecture.Cluster, architecture.Nodes} {
			if s := w.look(a); s.Phase != deploy.Incomplete || s.Deleted != nil || s.Next != "create" {
				t.Errorf("with data kept: %s, then %q: %v is deleted", s.Phase, s.Next, s.Deleted)
			}
			w.killedWith(a, next, cfntypes.StackStatusCreateInProgress, func(ctx context.Context, target deploy.Target) error {
				_, err := deploy.Create(ctx, deploy.CreateOptions{Target: target})
				return err
			})
		}
	})
}

// TestStatusOfWhatWasOffForAWhile: a stack that an update took away and that the file
// wants again is made, and nobody is offered a deletion.
func TestStatusOfWhatWasOffForAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[architecture.StackName]func(c *config.Config, on bool){
		architecture.Backup:      func(c *config.Config, on bool) { c.Backups.Enabled = on },
		architecture.SessionHost: func(c *config.Config, on bool) { c.Cluster.API.SessionHost = on },
	} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				with := became(t, example(t, "evaluation"), func(config *config.Config) { c(config, true) })
				without := became(t, with, func(config *config.Config) { c(config, false) })
				w := newWorld(t, with, sandbox.Options{})
				w.create(with)
				if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(without, guard.Lower)}); err != nil {
					t.Fatal(err)
				}
				if s := w.look(with); s.Phase != deploy.Incomplete || s.Deleted != nil || s.Next != "create" {
					t.Errorf("%s, then %q: %v is deleted", s.Phase, s.Next, s.Deleted)
				}
			})
		})
	}
}

// TestL31StatusOfADeletionThatFailed: delete is advised only where create would refuse,
// since what holds data still stands of a stack that was whole.
func TestL31StatusOfADeletionThatFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[architecture.StackName]struct{ resource, next string }{
		architecture.Addons:   {"CoreDns", "create"},
		architecture.Database: {"ParameterGroup", "delete"},
	} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{})
				w.create(a)
				id := a.StackName(name)
				w.breakNext(a, "faults: [{id: once, times: 1, fail: {stack: "+id+", resource: "+c.resource+", on: [delete], error: InternalFailure}}]")
				if _, err := w.target(a).AWS.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &id}); err != nil {
					t.Fatal(err)
				}
				if s := w.look(a); s.Phase != deploy.Failed || s.Next != c.next {
					t.Errorf("%s, then %q, not %q", s.Phase, s.Next, c.next)
				}
				if name != architecture.Addons {
					return
				}
				// What went before it is named, and create is not the only way.
				if err := (&stack.Driver{CFN: w.target(a).AWS.CloudFormation, Clock: w.target(a).AWS.Clock}).Delete(t.Context(), a.StackName(architecture.Parameters), stack.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				if s := w.look(a); s.Phase != deploy.Failed || s.Next != "" || !slices.Equal(s.Deleted, []architecture.StackName{architecture.Parameters}) {
					t.Errorf("%s, then %q: %v is deleted", s.Phase, s.Next, s.Deleted)
				}
			})
		})
	}
}

// TestStatusOfAFailedSurplusStack: a stack that the file doesn't have any more and that
// failed is not passed over; update deletes it.
func TestStatusOfAFailedSurplusStack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		name := a.StackName(architecture.Backup)
		if _, err := w.target(a).AWS.CloudFormation.CreateStack(t.Context(), &cloudformation.CreateStackInput{
			StackName: &name, Tags: []cfntypes.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}},
			TemplateBody: new(`{"Resources":{"P":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"x","Name":"aws-not-allowed"}}}}`),
		}); err != nil {
			t.Fatal(err)
		}
		s := w.look(a)
		if i := slices.IndexFunc(s.Stacks, func(l deploy.StackStatus) bool { return l.Stack == architecture.Backup }); i < 0 || stack.ConditionOf(cfntypes.StackStatus(s.Stacks[i].Status)) != stack.Stillborn || !s.Stacks[i].Surplus {
			t.Fatalf("%+v", s.Stacks)
		}
		if s.Phase != deploy.Failed || s.Next != "update" {
			t.Errorf("%s, then %q", s.Phase, s.Next)
		}
		w.update(a)
		if s := w.look(a); s.Phase != deploy.Complete || s.Next != "" {
			t.Errorf("after the update: %s, then %q", s.Phase, s.Next)
		}
	})
}
