package stack_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL25OthersChangeAStackMeanwhile has somebody else work on a stack while a
// run makes its change ready, at each moment of it: the run changes nothing.
func TestL25OthersChangeAStackMeanwhile(t *testing.T) {
	for _, tt := range []struct {
		name string
		// at is the operation after whose answer they come in, or "" for
		// between the reading of the changes and their execution.
		at   string
		does func(t *testing.T, w *world)
		want []byte
	}{
		{"update before the change set", "DescribeStacks", func(t *testing.T, w *world) { w.apply(t, group(60)) }, group(60)},
		{"update after the change set", "CreateChangeSet", func(t *testing.T, w *world) { w.apply(t, group(60)) }, group(60)},
		{"update after the review", "", func(t *testing.T, w *world) { w.apply(t, group(60)) }, group(60)},
		{"made anew before the change set", "DescribeStacks", remake, group(5)},
		{"made anew after the review", "", remake, group(5)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			armed, inner := false, t
			var w *world
			o := sandbox.Options{OnCall: func(c sandbox.Call) {
				if armed && c.Operation == tt.at {
					armed = false
					tt.does(inner, w)
				}
			}}
			bubble(t, o, func(t *testing.T, run *world) {
				inner = t
				run.apply(t, group(30))
				w = &world{box: run.box, Driver: &stack.Driver{CFN: cloudformation.NewFromConfig(testkit.Config(run.box)), Clock: clock.Real{}}}
				armed = tt.at != ""
				_, err := run.Apply(t.Context(), stack.Spec{Name: "s", Template: group(90)}, func([]stack.Change) error {
					if tt.at == "" {
						tt.does(t, w)
					}
					return nil
				})
				var changed *stack.ChangedError
				if !errors.As(err, &changed) || changed.Stack != "s" {
					// A stack that is gone can't have a change set.
					if err == nil || tt.name != "made anew before the change set" {
						t.Errorf("got %v, want a refusal", err)
					}
				}
				body, err := run.Template(t.Context(), "s")
				if err != nil || string(body) != string(tt.want) {
					t.Errorf("the stack is now %s, %v; want %s", body, err, tt.want)
				}
				if n := run.openChangeSets(t); n != 0 {
					t.Errorf("%d change sets are left", n)
				}
			})
		})
	}
}

func remake(t *testing.T, w *world) {
	t.Helper()
	if err := w.Delete(t.Context(), "s", stack.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.apply(t, group(5))
}

// TestL34AStackDeletedUnderARun deletes a stack while a run makes it: the run
// fails with a reason and a next step, and the command repeated makes it.
func TestL34AStackDeletedUnderARun(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		other := cloudformation.NewFromConfig(testkit.Config(w.box))
		deleted := false
		w.Emit = func(e stack.Event) {
			if e.IsStack() || deleted {
				return
			}
			deleted = true
			if _, err := other.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &e.Stack}); err != nil {
				t.Error(err)
			}
		}
		_, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: group(30)}, nil)
		var failed *stack.Error
		if !errors.As(err, &failed) || failed.Status != types.StackStatusDeleteComplete || failed.Reason == "" {
			t.Fatalf("got %v, want a reason", err)
		}
		if root := failed.Root(); root.Known != "deleted-meanwhile" || !strings.Contains(root.Next, "repeat the command") {
			t.Errorf("%+v", root)
		}
		w.apply(t, group(30))
	})
}

// TestL26LostAnswerOfAnExecution loses the answer to the one call that begins a
// change: its repetition is refused, and the change is followed all the same.
func TestL26LostAnswerOfAnExecution(t *testing.T) {
	lost := 0
	bubble(t, sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
		if operation == "ExecuteChangeSet" && lost < 2 {
			lost++
			return &sandbox.Fault{After: true}
		}
		return nil
	}}, func(t *testing.T, w *world) {
		start := time.Now()
		if out := w.apply(t, group(30)); out.State.Status != types.StackStatusCreateComplete {
			t.Errorf("%+v", out.State)
		}
		if lost != 2 || time.Since(start) > 5*time.Minute {
			t.Errorf("%d answers lost, %v taken", lost, time.Since(start))
		}
	})
}

// late is a CloudFormation that refuses an execution as if its first call's answer
// had been lost, and shows no event of it for a while.
type late struct {
	inner         http.RoundTripper
	refused, hide int
}

func (l *late) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := l.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.Contains(body, []byte("<ExecuteChangeSetResponse")) && l.refused == 0:
		l.refused++
		res.StatusCode = http.StatusBadRequest
		body = []byte("<ErrorResponse><Error><Code>InvalidChangeSetStatus</Code><Message>cannot be executed</Message></Error></ErrorResponse>")
	case bytes.Contains(body, []byte("<DescribeStackEventsResponse")) && l.hide > 0:
		l.hide--
		body = []byte("<DescribeStackEventsResponse><DescribeStackEventsResult><StackEvents/></DescribeStackEventsResult></DescribeStackEventsResponse>")
	}
	res.ContentLength = int64(len(body))
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// TestL26LostAnswerBeforeEventsShow: the call that begins a change is refused when
// it is repeated, and no event tells of it yet. The change set does, and the change
// is followed.
func TestL26LostAnswerBeforeEventsShow(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		client := testkit.Client(w.box)
		l := &late{inner: client.Transport, hide: 2}
		client.Transport = l
		cfg := testkit.Config(w.box)
		cfg.HTTPClient = client
		w.Driver = &stack.Driver{CFN: cloudformation.NewFromConfig(cfg), Clock: clock.Real{}}
		if out := w.apply(t, group(30)); out.State.Status != types.StackStatusCreateComplete || l.refused != 1 {
			t.Errorf("refused %d times; %+v", l.refused, out.State)
		}
	})
}

// TestL26LostAnswerOfAChangeSet loses the answers to the call that makes a change
// set: its repetition is known by its token and gives the one that was made, for
// a stack that is new, and where an older change set had to make room for it.
func TestL26LostAnswerOfAChangeSet(t *testing.T) {
	deletes, lost, calls := 0, 0, map[string]int{}
	bubble(t, sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
		if operation == "CreateChangeSet" && lost < 2 && calls["DeleteChangeSet"] == deletes {
			lost++
			return &sandbox.Fault{After: true}
		}
		return nil
	}, OnCall: func(c sandbox.Call) { calls[c.Operation]++ }}, func(t *testing.T, w *world) {
		for n, older := range []int{0, 1} {
			deletes, lost = older, 0
			clear(calls)
			body := group([]int{30, 60}[n])
			if out := w.apply(t, body); stack.ConditionOf(out.State.Status) != stack.Whole {
				t.Errorf("%+v", out.State)
			}
			if lost != 2 || calls["DeleteChangeSet"] != deletes {
				t.Errorf("%d answers lost, %d change sets deleted; want 2 and %d", lost, calls["DeleteChangeSet"], deletes)
			}
			if now, err := w.Template(t.Context(), "s"); err != nil || string(now) != string(body) {
				t.Errorf("the stack is %s, %v", now, err)
			}
		}
	})
}
