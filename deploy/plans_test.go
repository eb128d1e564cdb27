package deploy_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
)

// changeSets are those of the deployment's stacks that could still be executed.
func (w *world) changeSets(a *architecture.Architecture) (names []string) {
	w.t.Helper()
	cfn := w.target(a).AWS.CloudFormation
	for _, s := range a.Stacks {
		name := a.StackName(s.Name)
		out, err := cfn.ListChangeSets(w.t.Context(), &cloudformation.ListChangeSetsInput{StackName: &name})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, set := range out.Summaries {
			if set.ExecutionStatus == types.ExecutionStatusAvailable {
				names = append(names, name+"/"+aws.ToString(set.ChangeSetName))
			}
		}
	}
	return names
}

// TestL25PlansSideBySide has people plan at the same time, some moments apart:
// each reads its own change sets, and nothing is left of them.
func TestL25PlansSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		next := changed(t, a)
		want := w.plan(next, true)
		const people = 6
		plans, errs := make([]*deploy.Plan, people), make([]error, people)
		var all sync.WaitGroup
		for i := range people {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 700 * time.Millisecond)
				to := w.target(next)
				to.KeepDrift = true
				plans[i], errs[i] = deploy.MakePlan(t.Context(), to)
			})
		}
		all.Wait()
		for i, p := range plans {
			if errs[i] != nil {
				t.Errorf("plan %d: %v", i, errs[i])
			} else if diff := cmp.Diff(want, p, cmpopts.IgnoreUnexported(deploy.Plan{}, deploy.StackPlan{}), cmpopts.IgnoreFields(deploy.Plan{}, "Session")); diff != "" {
				t.Errorf("plan %d is another (-want +got):\n%s", i, diff)
			}
		}
		if left := w.changeSets(a); left != nil {
			t.Errorf("left: %v", left)
		}
	})
}

// TestL25PlanBesideAnUpdate begins a plan just before an update executes each of its
// change sets, in an account where, as in AWS, that deletes the other change sets of
// the stack: both succeed.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets-execute.html
func TestL25PlanBesideAnUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		next := changed(t, a)
		cfn := w.target(a).AWS.CloudFormation
		theirs := w.target(next)
		theirs.Emit, theirs.KeepDrift = nil, true
		var plans, swept atomic.Int64
		var all sync.WaitGroup
		mine := w.target(next)
		mine.KeepDrift = true
		mine.AWS = w.through(next, func(to http.RoundTripper, r *http.Request) (*http.Response, error) {
			if r.Body == nil {
				return to.RoundTrip(r)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if !strings.Contains(string(body), "Action=ExecuteChangeSet&") {
				return to.RoundTrip(r)
			}
			all.Go(func() {
				plans.Add(1)
				if _, err := deploy.MakePlan(t.Context(), theirs); err != nil {
					t.Errorf("plan beside the update: %v", err)
				}
			})
			time.Sleep(4200 * time.Millisecond) // their change sets are made, and not read yet
			resp, err := to.RoundTrip(r)
			for _, gone := range w.obsolete(cfn, a) {
				if _, err := cfn.DeleteChangeSet(t.Context(), &cloudformation.DeleteChangeSetInput{ChangeSetName: &gone}); err == nil {
					swept.Add(1)
				}
			}
			return resp, err
		})
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: mine}); err != nil {
			t.Errorf("update: %v", err)
		}
		all.Wait()
		if plans.Load() < 3 || swept.Load() == 0 {
			t.Errorf("%d plans, of which the update took %d change sets", plans.Load(), swept.Load())
		}
		w.emptyPlan(next)
	})
}

// obsolete are the change sets, by their ARNs, of stacks that have changed since.
func (w *world) obsolete(cfn *cloudformation.Client, a *architecture.Architecture) (ids []string) {
	for _, s := range a.Stacks {
		name := a.StackName(s.Name)
		out, err := cfn.ListChangeSets(w.t.Context(), &cloudformation.ListChangeSetsInput{StackName: &name})
		if err != nil {
			w.t.Error(err)
			continue
		}
		for _, set := range out.Summaries {
			if set.ExecutionStatus == types.ExecutionStatusObsolete {
				ids = append(ids, aws.ToString(set.ChangeSetId))
			}
		}
	}
	return ids
}
