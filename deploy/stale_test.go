package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL25WhatWasShownIsWhatIsDone: between the plan that people agree to and its
// execution somebody changes a stack, makes one, or changes what the update puts
// back. Nothing is done then that was not shown, and what is another is named; the
// next plan shows it.
func TestL25WhatWasShownIsWhatIsDone(t *testing.T) {
	t.Parallel()
	group := func(days int32) func(w *world, a *architecture.Architecture) {
		return func(w *world, a *architecture.Architecture) {
			name := "/aws/eks/" + a.ClusterName() + "/cluster"
			if _, err := w.target(a).AWS.Logs.PutRetentionPolicy(w.t.Context(), &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: &name, RetentionInDays: aws.Int32(days)}); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		before, meanwhile func(w *world, a *architecture.Architecture)
		says              string
	}{
		"another updates": {nil, func(w *world, a *architecture.Architecture) {
			w.update(became(w.t, a, func(c *config.Config) { c.Cluster.LogRetentionDays = 60 }))
		}, "stack poolside-cluster was changed"},
		"another drift":       {group(7), group(3), "RetentionInDays, which is 3 by now"},
		"a stack is deleted":  {nil, func(w *world, a *architecture.Architecture) { w.remove(a, architecture.Parameters) }, "stack poolside-parameters is gone"},
		"nobody does a thing": {group(7), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				w.create(a)
				if test.before != nil {
					test.before(w, a)
				}
				next := became(t, a, func(c *config.Config) { c.Tags = map[string]string{"cost": "center"} })
				if test.before != nil {
					next = a
				}
				p := w.plan(next, false)
				time.Sleep(time.Minute)
				if test.meanwhile != nil {
					test.meanwhile(w, a)
				}
				_, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next), Shown: p})
				var stale *deploy.StaleError
				if errors.As(err, &stale) != (test.says != "") || stale != nil && !strings.Contains(stale.Error(), test.says) {
					t.Errorf("update: %v, want that %q", err, test.says)
				}
				if again := w.plan(next, false); again.Empty() != (test.says == "") {
					t.Errorf("the next plan is empty: %t", again.Empty())
				} else if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next), Shown: again}); err != nil {
					t.Errorf("update by the next plan: %v", err)
				}
				w.emptyPlan(next)
			})
		})
	}
}

// remove deletes one of the deployment's stacks by hand.
func (w *world) remove(a *architecture.Architecture, name architecture.StackName) {
	w.t.Helper()
	api := w.target(a).AWS
	d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
	if err := d.Protect(w.t.Context(), a.StackName(name), false); err != nil {
		w.t.Fatal(err)
	}
	if err := d.Delete(w.t.Context(), a.StackName(name), stack.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// TestL25ARecoveryThatWasShown: what is stuck is another by the time that it is
// recovered; nothing is done before that is shown too.
func TestL25ARecoveryThatWasShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		stillborn := func(name architecture.StackName) {
			t.Helper()
			api := w.target(a).AWS
			id := a.StackName(name)
			d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
			if _, err := api.CloudFormation.CreateStack(t.Context(), &cloudformation.CreateStackInput{
				StackName: &id, Tags: []cfntypes.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}}, TemplateBody: new(`{"Resources":{"P":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"x","Name":"aws-not-allowed"}}}}`),
			}); err != nil {
				t.Fatal(err)
			}
			if st, err := d.Rest(t.Context(), id); err != nil || stack.ConditionOf(st.Status) != stack.Stillborn {
				t.Fatalf("%+v, %v", st, err)
			}
		}
		stillborn(architecture.Parameters)
		o := deploy.RecoverOptions{Target: w.target(a)}
		shown, err := deploy.PlanRecovery(t.Context(), o)
		if err != nil || len(shown.Stacks) != 1 {
			t.Fatalf("%+v, %v", shown, err)
		}
		stillborn(architecture.Edge)
		o.Shown = shown
		var stale *deploy.StaleError
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &stale) || !strings.Contains(err.Error(), "stack poolside-edge is ROLLBACK_COMPLETE by now") {
			t.Errorf("recover: %v", err)
		}
		if got := w.stacks(a); len(got) != 2 {
			t.Errorf("the stacks are %v", got)
		}
		if o.Shown, err = deploy.PlanRecovery(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		// A run that is over has left a change set on a stack that is in order.
		api := w.target(a).AWS
		d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
		const body = `{"Resources":{"P":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"%s","Name":"/one"}}}}`
		w.stack(a, architecture.Identity, fmt.Sprintf(body, "x"))
		st, err := d.Describe(t.Context(), a.StackName(architecture.Identity))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.CloudFormation.CreateChangeSet(t.Context(), &cloudformation.CreateChangeSetInput{
			StackName: &st.ID, ChangeSetName: new("poolhouse-apply"), TemplateBody: new(fmt.Sprintf(body, "y")),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &stale) || !strings.Contains(err.Error(), "stack poolside-identity has change sets that a run which is over has left: ") || strings.Contains(err.Error(), "_COMPLETE by now") {
			t.Errorf("recover: %v", err)
		}
		if o.Shown, err = deploy.PlanRecovery(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := deploy.Recover(t.Context(), o); err != nil {
			t.Errorf("recover: %v", err)
		}
	})
}
