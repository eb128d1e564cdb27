package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/sandbox"
)

// TestL09StatusSaysWhatIsBeingDeleted: a database, a cluster and a stack that
// somebody deletes at the moment are named, though the stacks are whole by their
// status, and the deployment doesn't count as complete.
func TestL09StatusSaysWhatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		look := func(c *awsapi.Clients) *deploy.Status {
			t.Helper()
			to := w.target(a)
			if c != nil {
				to.AWS = c
			}
			s, err := deploy.Look(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := look(nil); s.Phase != deploy.Complete || s.Going != nil {
			t.Errorf("of a deployment that is whole: %s, %v", s.Phase, s.Going)
		}
		api := w.target(a).AWS
		edge, id := a.StackName(architecture.Edge), a.DatabaseName()
		if _, err := api.RDS.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &id, DeletionProtection: new(false), ApplyImmediately: new(true)}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.RDS.DeleteDBInstance(t.Context(), &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, FinalDBSnapshotIdentifier: new("last")}); err != nil {
			t.Fatal(err)
		}
		if s := look(nil); s.Phase != deploy.InMotion || !slices.Equal(s.Going, []string{"database " + id}) {
			t.Errorf("a database goes: %s, %v", s.Phase, s.Going)
		}
		if _, err := api.CloudFormation.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: &edge, EnableTerminationProtection: new(false)}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &edge}); err != nil {
			t.Fatal(err)
		}
		deleting := w.through(a, func(to http.RoundTripper, r *http.Request) (*http.Response, error) {
			resp, err := to.RoundTrip(r)
			if err != nil || r.URL.Path != "/clusters/"+a.ClusterName() {
				return resp, err
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return nil, err
			}
			body = bytes.ReplaceAll(body, []byte(`"ACTIVE"`), []byte(`"DELETING"`))
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			return resp, nil
		})
		if s := look(deleting); s.Phase != deploy.InMotion || !slices.Equal(s.Going, []string{"stack " + edge, "cluster " + a.ClusterName(), "database " + id}) {
			t.Errorf("all go: %s, %v", s.Phase, s.Going)
		}
		hidden := w.through(a, func(to http.RoundTripper, r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/clusters/"+a.ClusterName() {
				return answer(r, http.StatusForbidden, "application/json", `{"__type":"AccessDeniedException","message":"not allowed there"}`), nil
			}
			return to.RoundTrip(r)
		})
		if s := look(hidden); !slices.Contains(s.Going, "database "+id) || !strings.Contains(s.GoingUnknown, "not allowed there") {
			t.Errorf("what can't be seen: %v, %q", s.Going, s.GoingUnknown)
		}
	})
}

// TestL31WhatGoesBesideStacks: a deletion is stopped while the database goes, before its
// stack is in motion. What goes on in AWS is the database.
func TestL31WhatGoesBesideStacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.database(a)
		ctx, stop := context.WithCancelCause(t.Context())
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, "deleting database ") {
				stop(errKilled)
			}
		}
		if _, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData}); !errors.Is(err, errKilled) {
			t.Fatalf("the delete ended with %v", err)
		}
		moving, going, err := deploy.Moving(t.Context(), w.target(a))
		if err != nil || len(moving) > 0 || !slices.Equal(going, []string{"database " + a.DatabaseName()}) {
			t.Errorf("moving %q, going %q, %v", moving, going, err)
		}
	})
}
