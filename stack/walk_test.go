package stack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/stack"
)

// told answers looks at a stack, for a while or until it is changed, with a
// status of its own: the sandbox has no imports, nor what AWS adds some day.
type told struct {
	next   http.RoundTripper
	status string
	until  time.Time // zero is for good
	// executed ends it too: from then on the stack has another status.
	executed atomic.Bool
}

func (s *told) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := s.next.RoundTrip(req)
	if strings.Contains(string(body), "Action=ExecuteChangeSet&") {
		s.executed.Store(true)
	}
	over := s.executed.Load() || !s.until.IsZero() && time.Now().After(s.until)
	if err != nil || !strings.Contains(string(body), "Action=DescribeStacks&") || over {
		return resp, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	answer = bytes.ReplaceAll(answer, []byte("<StackStatus>CREATE_COMPLETE<"), []byte("<StackStatus>"+s.status+"<"))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
	return resp, nil
}

// walk is a world with two keys, whose stack can be brought into any status.
type walk struct {
	*world
	t             *testing.T
	first, second string
	keys          *kms.Client
}

func (w *walk) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *walk) breaks(faults string) {
	w.t.Helper()
	plan, err := fault.Parse("f", []byte("faults: ["+faults+"]"), fault.Known{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.box.Break(fault.New(plan, fault.Options{}))
}

func (w *walk) rest() {
	w.t.Helper()
	w.must(w.Rest(w.t.Context(), "s"))
}

func (w *walk) make(body []byte, noRollback bool) {
	w.t.Helper()
	w.must(w.CFN.CreateStack(w.t.Context(), &cloudformation.CreateStackInput{StackName: new("s"), TemplateBody: new(string(body)), DisableRollback: &noRollback}))
}

func (w *walk) change(body []byte, noRollback bool) {
	w.t.Helper()
	w.make(keyed(w.first, false), false)
	w.rest()
	w.must(w.CFN.UpdateStack(w.t.Context(), &cloudformation.UpdateStackInput{StackName: new("s"), TemplateBody: new(string(body)), DisableRollback: &noRollback}))
}

func (w *walk) remove() {
	w.t.Helper()
	w.make(keyed(w.first, false), false)
	w.rest()
	w.must(w.CFN.DeleteStack(w.t.Context(), &cloudformation.DeleteStackInput{StackName: new("s")}))
}

// until lets time pass until the stack has a status.
func (w *walk) until(id string, status types.StackStatus) {
	w.t.Helper()
	var last types.StackStatus
	for range 3000 {
		st, err := w.Describe(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if st != nil {
			if last = st.Status; last == status {
				return
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	w.t.Fatalf("the stack is %q, want %s", last, status)
}

// reach brings the stack into a status.
func (w *walk) reach(status types.StackStatus) {
	w.t.Helper()
	good, failing := keyed(w.first, false), keyed(w.second, true)
	const stays = `{id: stays, times: 1, fail: {resource: Group, on: [%s], error: InternalFailure}}`
	as := func() {
		w.make(good, false)
		w.rest()
		cfg := testkit.Config(w.box)
		tells := &told{next: testkit.Transport{Handler: w.box}, status: string(status)}
		if !strings.HasSuffix(tells.status, "_COMPLETE") {
			tells.until = time.Now().Add(3 * time.Second)
		}
		cfg.HTTPClient = &http.Client{Transport: tells}
		w.CFN = cloudformation.NewFromConfig(cfg)
	}
	switch status {
	case types.StackStatusReviewInProgress:
		w.must(w.CFN.CreateChangeSet(w.t.Context(), &cloudformation.CreateChangeSetInput{
			StackName: new("s"), ChangeSetName: new("poolhouse-apply"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: new(string(good)),
		}))
	case types.StackStatusCreateInProgress, types.StackStatusCreateComplete:
		w.make(good, false)
	case types.StackStatusCreateFailed:
		w.make(failing, true)
	case types.StackStatusRollbackInProgress, types.StackStatusRollbackComplete:
		w.make(failing, false)
	case types.StackStatusRollbackFailed:
		w.breaks(fmt.Sprintf(stays, "rollback"))
		w.make(failing, false)
	case types.StackStatusDeleteInProgress, types.StackStatusDeleteComplete:
		w.remove()
	case types.StackStatusDeleteFailed:
		w.breaks(fmt.Sprintf(stays, "delete"))
		w.remove()
	case types.StackStatusUpdateInProgress, types.StackStatusUpdateComplete, types.StackStatusUpdateCompleteCleanupInProgress:
		// A group of another name is a replacement, which is cleaned up after.
		w.change(bytes.ReplaceAll(good, []byte(`"LogGroupName":"group"`), []byte(`"LogGroupName":"other"`)), false)
	case types.StackStatusUpdateFailed:
		w.change(failing, true)
	case types.StackStatusUpdateRollbackInProgress, types.StackStatusUpdateRollbackComplete:
		w.change(failing, false)
	case types.StackStatusUpdateRollbackCompleteCleanupInProgress:
		// What the update made before it failed is cleaned up after.
		more := []byte(`"Bad":{"DependsOn":["Group","More"],`)
		body := bytes.Replace(failing, []byte(`"DependsOn":"Group",`), nil, 1)
		body = bytes.Replace(body, []byte(`"Bad":{`), append([]byte(`"More":{"Type":"AWS::Logs::LogGroup","DependsOn":"Group"},`), more...), 1)
		w.change(body, false)
	case types.StackStatusUpdateRollbackFailed:
		w.breaks(fmt.Sprintf(stays, "rollback"))
		w.change(failing, false)
	default:
		as()
		return
	}
	list, err := w.List(w.t.Context())
	if err != nil || len(list) != 1 {
		w.t.Fatalf("%d stacks, %v", len(list), err)
	}
	w.until(list[0].ID, status)
}

// TestL11EveryStatusHasItsNextStep brings a stack into every status that
// CloudFormation has, and into one that it doesn't have yet, and runs every verb
// on it: each ends as the table of rules says.
func TestL11EveryStatusHasItsNextStep(t *testing.T) {
	t.Parallel()
	statuses := append(types.StackStatus("").Values(), "SOMETHING_NEW_IN_AWS")
	for _, status := range statuses {
		for _, verb := range []string{"create", "update", "delete", "recover"} {
			t.Run(fmt.Sprintf("%s/%s", status, verb), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := &walk{world: newWorld(t, sandbox.Options{}), t: t}
					w.keys = kms.NewFromConfig(testkit.Config(w.box))
					w.first, w.second = w.key(t, w.keys), w.key(t, w.keys)
					w.reach(status)
					w.runs(status, verb)
				})
			})
		}
	}
}

// TestL12RecoverAsksBeforeItDeletes: what is left of a stack, by the time that it
// is at rest, is deleted only if that is not refused.
func TestL12RecoverAsksBeforeItDeletes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &walk{world: newWorld(t, sandbox.Options{}), t: t}
		w.keys = kms.NewFromConfig(testkit.Config(w.box))
		w.first, w.second = w.key(t, w.keys), w.key(t, w.keys)
		w.reach(types.StackStatusDeleteFailed)
		no := errors.New("no")
		_, err := w.Recover(t.Context(), "s", stack.RecoverOptions{Force: true, Clear: func(_ context.Context, st *stack.State, held []stack.Resource) error {
			if st.Status == types.StackStatusDeleteFailed && len(held) > 0 {
				return no
			}
			return nil
		}})
		if st, lookErr := w.Describe(t.Context(), "s"); !errors.Is(err, no) || lookErr != nil || st == nil || st.Status != types.StackStatusDeleteFailed {
			t.Errorf("%v; the stack is %+v, %v", err, st, lookErr)
		}
	})
}

// runs carries out a verb on a stack in a status.
func (w *walk) runs(status types.StackStatus, verb string) {
	w.t.Helper()
	ctx := w.t.Context()
	before, err := w.Describe(ctx, "s")
	if err != nil {
		w.t.Fatal(err)
	}
	condition := stack.ConditionOf(status)
	body := keyed(w.first, false)
	if verb == "update" {
		body = keyed(w.second, false)
	}
	switch verb {
	case "create", "update":
		_, err = w.Apply(ctx, stack.Spec{Name: "s", Template: body}, nil)
	case "delete":
		err = w.Delete(ctx, "s", stack.DeleteOptions{})
	case "recover":
		_, err = w.Recover(ctx, "s", stack.RecoverOptions{})
	}
	after, lookErr := w.Describe(ctx, "s")
	if lookErr != nil {
		w.t.Fatal(lookErr)
	}
	var failed *stack.Error
	if status == types.StackStatusImportRollbackFailed && verb != "delete" {
		if !errors.As(err, &failed) || failed.Status != status {
			w.t.Errorf("%v, want that it is stuck", err)
		}
		return
	}
	if err != nil {
		w.t.Fatal(err)
	}
	switch verb {
	case "delete":
		if after.Exists() || after != nil {
			w.t.Errorf("the stack is still there: %s", after.Status)
		}
	case "recover":
		gone := condition == stack.Absent || condition == stack.Stillborn || condition == stack.Undeleted
		if gone != (after == nil) && condition != stack.Moving {
			w.t.Errorf("the stack is %+v", after)
		}
		if after != nil && stack.ConditionOf(after.Status) != stack.Whole && stack.ConditionOf(after.Status) != stack.Stillborn {
			w.t.Errorf("the stack is %s", after.Status)
		}
	default:
		if after == nil || stack.ConditionOf(after.Status) != stack.Whole {
			w.t.Fatalf("the stack is %+v", after)
		}
		if got, err := w.Template(ctx, "s"); err != nil || !bytes.Equal(got, body) {
			w.t.Errorf("the template is %s, %v", got, err)
		}
		// L12: what could be updated was not made again.
		if before != nil && stack.Lasts(before.Status) && after.ID != before.ID {
			w.t.Errorf("%s was made again", before.Status)
		}
	}
}
