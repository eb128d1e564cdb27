package deploy_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// killedWhen runs a command until the database's stack is of a status, which the
// command never learns.
func (w *world) killedWhen(a *architecture.Architecture, status cfntypes.StackStatus, command func(context.Context, deploy.Target) error) {
	w.t.Helper()
	w.killedWith(a, architecture.Database, status, command)
}

// killedWith is killedWhen, of another stack.
func (w *world) killedWith(a *architecture.Architecture, name architecture.StackName, status cfntypes.StackStatus, command func(context.Context, deploy.Target) error) {
	w.t.Helper()
	ctx, kill := context.WithCancelCause(w.t.Context())
	defer kill(nil)
	target := w.target(a)
	target.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		res, err := next.RoundTrip(r)
		for _, st := range w.find("cloudformation:stack") {
			if strings.Contains(st.ID, "/"+a.StackName(name)+"/") && st.Status == string(status) {
				kill(errKilled)
			}
		}
		return res, err
	})
	if err := command(ctx, target); !errors.Is(err, errKilled) {
		w.t.Fatalf("the command was to be killed while the stack %s is %s, and ended with %v", name, status, err)
	}
}

// databaseStack is the status of the database's stack.
func (w *world) databaseStack(a *architecture.Architecture) cfntypes.StackStatus {
	w.t.Helper()
	api := w.target(a).AWS
	st, err := (&stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}).Describe(w.t.Context(), a.StackName(architecture.Database))
	if err != nil {
		w.t.Fatal(err)
	}
	return st.Status
}

// TestL04CreateWhileTheDatabasesStackGoes: a delete was killed while the stack of
// the database is deleted, whose rows are in its last snapshot by then. Create
// doesn't take that stack for one that stands: it refuses to begin empty, and plans
// to restore the snapshot if the file names it.
func TestL04CreateWhileTheDatabasesStackGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.database(a)
		w.killedWhen(a, cfntypes.StackStatusDeleteInProgress, func(ctx context.Context, to deploy.Target) error {
			_, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: to, Data: deploy.SnapshotData})
			return err
		})
		if st := w.databaseStack(a); st != cfntypes.StackStatusDeleteInProgress {
			t.Fatalf("the stack is %s", st)
		}
		last := w.lastSnapshot()
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		if got := paths(t, err); len(got) != 1 || got[0] != "database.snapshot start-empty" || !strings.Contains(err.Error(), last) {
			t.Errorf("create: %v", err)
		}
		restoring := became(t, a, func(c *config.Config) { c.Database.Snapshot = last })
		p, err := deploy.PlanCreate(t.Context(), w.target(restoring))
		if err != nil || p.Database == nil || p.Database.Snapshot != last {
			t.Fatalf("a plan that restores: %+v, %v", p, err)
		}
		at := slices.IndexFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Stack == architecture.Database })
		if s := p.Stacks[at]; s.Action != deploy.CreateStack || s.Status != string(cfntypes.StackStatusDeleteInProgress) || len(s.Changes) != len(localDatabase(t, restoring)) {
			t.Errorf("the stack is planned as %+v", s)
		}
		if st := w.databaseStack(a); st != cfntypes.StackStatusDeleteInProgress {
			t.Errorf("the stack is %s", st)
		}
	})
}

// TestL04CreateAfterARestorationThatFailed: a creation from a snapshot was killed
// while it made the database, which then fails. A creation from a file that doesn't
// name the snapshot took it for one that stands, and doesn't make it again empty.
func TestL04CreateAfterARestorationThatFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.database(a)
		w.delete(a, deploy.SnapshotData)
		last := w.lastSnapshot()
		restoring := became(t, a, func(c *config.Config) { c.Database.Snapshot = last })
		w.breakNext(a, `faults: [{id: db, times: 1, fail: {stack: poolside-database, resource: Database, error: ServiceUnavailable, late: true}}]`)
		w.killedWhen(restoring, cfntypes.StackStatusCreateInProgress, func(ctx context.Context, to deploy.Target) error {
			_, err := deploy.Create(ctx, deploy.CreateOptions{Target: to})
			return err
		})
		if st := w.databaseStack(a); st != cfntypes.StackStatusCreateInProgress {
			t.Fatalf("the stack is %s", st)
		}
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		var refused *deploy.RefusedError
		if !errors.As(err, &refused) || refused.Untouched || !strings.Contains(err.Error(), "would begin empty although a deletion kept its data ("+last+")") {
			t.Errorf("create: %v", err)
		}
		if n := len(w.find("AWS::RDS::DBInstance")); n != 0 {
			t.Errorf("%d instances", n)
		}
		w.create(restoring)
		if got := w.find("AWS::RDS::DBInstance"); len(got) != 1 || got[0].Props["DBSnapshotIdentifier"] != last {
			t.Errorf("restored: %+v", got)
		}
	})
}

// lastSnapshot is the one snapshot that a deletion has left.
func (w *world) lastSnapshot() string {
	w.t.Helper()
	var last []string
	for _, s := range w.find("rds:snapshot") {
		if strings.HasPrefix(s.ID, "poolside-final-") && s.Status == "available" {
			last = append(last, s.ID)
		}
	}
	if len(last) != 1 {
		w.t.Fatalf("last snapshots: %q", last)
	}
	return last[0]
}

// localDatabase are the changes that make the stack of the database.
func localDatabase(t *testing.T, a *architecture.Architecture) []stack.Change {
	t.Helper()
	p, err := deploy.PlanOffline(a)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Stack == architecture.Database })
	return p.Stacks[at].Changes
}
