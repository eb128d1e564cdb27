package stack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

// group is a template with one log group for each retention given.
func group(retention ...int) []byte {
	var resources []string
	for i, days := range retention {
		resources = append(resources, fmt.Sprintf(`"Group%d":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"group-%d","RetentionInDays":%d}}`, i, i, days))
	}
	return fmt.Appendf(nil, `{"Resources":{%s},"Outputs":{"First":{"Value":{"Ref":"Group0"}}}}`, strings.Join(resources, ","))
}

// world is a driver on a sandbox and what it emitted.
type world struct {
	*stack.Driver
	box    *sandbox.Sandbox
	events []stack.Event
}

func newWorld(t *testing.T, o sandbox.Options) *world {
	t.Helper()
	w := &world{box: testkit.Sandbox(t, o)}
	w.Driver = &stack.Driver{CFN: cloudformation.NewFromConfig(testkit.Config(w.box)), Clock: clock.Real{}, Emit: func(e stack.Event) { w.events = append(w.events, e) }}
	return w
}

// bubble runs f on virtual time.
func bubble(t *testing.T, o sandbox.Options, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t, o)) })
}

func (w *world) apply(t *testing.T, body []byte) *stack.Outcome {
	t.Helper()
	out, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: body, Tags: map[string]string{"owner": "test"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// preview is what a spec would change of the stack as it is.
func (w *world) preview(ctx context.Context, t *testing.T, spec stack.Spec) ([]stack.Change, error) {
	t.Helper()
	st, err := w.Describe(t.Context(), spec.Name)
	if err != nil {
		t.Fatal(err)
	}
	return w.Preview(ctx, spec, st)
}

func (w *world) status(t *testing.T) types.StackStatus {
	t.Helper()
	st, err := w.Describe(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	if st == nil {
		return ""
	}
	return st.Status
}

// openChangeSets counts those that could still be executed.
func (w *world) openChangeSets(t *testing.T) int {
	t.Helper()
	sets, err := w.CFN.ListChangeSets(t.Context(), &cloudformation.ListChangeSetsInput{StackName: new("s")})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range sets.Summaries {
		if s.ExecutionStatus == types.ExecutionStatusAvailable {
			n++
		}
	}
	return n
}

func TestApply(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		made := w.apply(t, group(30))
		if !made.Made || made.State.Status != types.StackStatusCreateComplete || made.State.Outputs["First"] != "group-0" || made.State.Tags["owner"] != "test" {
			t.Errorf("made: %+v of %+v", made, made.State)
		}
		if n := len(w.events); n == 0 || !w.events[n-1].IsStack() || w.events[n-1].Status != "CREATE_COMPLETE" {
			t.Errorf("events do not end with the stack's: %+v", w.events)
		}
		for i, e := range w.events[1:] {
			if e.Time.Before(w.events[i].Time) {
				t.Errorf("event %d comes before the one emitted ahead of it", i+1)
			}
		}
		if again := w.apply(t, group(30)); again.Made || len(again.Changes) != 0 {
			t.Errorf("the same again: %+v, want no change", again)
		}
		changed := w.apply(t, group(60, 30))
		want := []stack.Change{
			{LogicalID: "Group0", PhysicalID: "group-0", Type: "AWS::Logs::LogGroup", Action: stack.Modify, Properties: []stack.Property{{Path: "RetentionInDays", Before: "30", After: "60", Recreates: "Never"}}},
			{LogicalID: "Group1", Type: "AWS::Logs::LogGroup", Action: stack.Add},
		}
		if diff := cmp.Diff(want, changed.Changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if err := w.Delete(t.Context(), "s", stack.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := w.Delete(t.Context(), "s", stack.DeleteOptions{}); err != nil {
			t.Errorf("deleting what is gone: %v", err)
		}
		if s := w.status(t); s != "" {
			t.Errorf("after delete the stack is %s", s)
		}
	})
}

func TestPreviewLeavesNothing(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.apply(t, group(30))
		for range 2 {
			changes, err := w.preview(t.Context(), t, stack.Spec{Name: "s", Template: group(60), Tags: map[string]string{"owner": "test"}})
			if err != nil || len(changes) != 1 {
				t.Fatalf("preview: %+v, %v", changes, err)
			}
		}
		if n := w.openChangeSets(t); n != 0 {
			t.Errorf("%d change sets left", n)
		}
		if s := w.status(t); s != types.StackStatusCreateComplete {
			t.Errorf("the stack is %s", s)
		}
	})
}

func TestFailureNamesTheFirstCause(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		bad := []byte(`{"Resources":{
			"Good":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"good"}},
			"Bad":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"bad","KmsKeyId":"arn:aws:kms:us-east-1:123456789012:key/none"}}}}`)
		_, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: bad}, nil)
		var failed *stack.Error
		if !errors.As(err, &failed) {
			t.Fatalf("got %v, want a stack.Error", err)
		}
		if failed.Cause.LogicalID != "Bad" || !strings.Contains(failed.Cause.Reason, "KMS") || failed.Status != types.StackStatusRollbackComplete {
			t.Errorf("cause %+v, status %s", failed.Cause, failed.Status)
		}
		// A stack that never came to be is made anew.
		if made := w.apply(t, group(30)); !made.Made || made.State.Status != types.StackStatusCreateComplete {
			t.Errorf("after a failed creation: %+v", made)
		}
		// A failed update rolls back, and the next one goes on.
		_, err = w.Apply(t.Context(), stack.Spec{Name: "s", Template: bad, Tags: map[string]string{"owner": "test"}}, nil)
		if !errors.As(err, &failed) || failed.Status != types.StackStatusUpdateRollbackComplete {
			t.Errorf("failed update: %v", err)
		}
		if again := w.apply(t, group(60)); len(again.Changes) != 1 {
			t.Errorf("after a failed update: %+v", again.Changes)
		}
	})
}

func TestRefusedChangesAreNotExecuted(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.apply(t, group(30))
		no := errors.New("no")
		_, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: group(60)}, func([]stack.Change) error { return no })
		if !errors.Is(err, no) {
			t.Errorf("got %v, want the refusal", err)
		}
		if n := w.openChangeSets(t); n != 0 || w.status(t) != types.StackStatusCreateComplete {
			t.Errorf("after a refusal: %d change sets left, stack %s", n, w.status(t))
		}
	})
}

func TestInterruptStopsWatchingOnly(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		body := []byte(`{"Resources":{"Key":{"Type":"AWS::KMS::Key","Properties":{"KeyPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}}}}}`)
		reason := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(30*time.Second, func() { cancel(reason) })
		defer timer.Stop()
		_, err := w.Apply(ctx, stack.Spec{Name: "s", Template: body}, nil)
		if !errors.Is(err, reason) && !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want that it was interrupted", err)
		}
		if s := w.status(t); s != types.StackStatusCreateInProgress {
			t.Fatalf("after the interrupt the stack is %s, want it still being created", s)
		}
		// The next call waits for what goes on and makes nothing twice.
		out, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: body}, nil)
		if err != nil || out.Made || len(out.Changes) != 0 {
			t.Errorf("resumed: %+v, %v", out, err)
		}
	})
}

func TestReadsThatFailDecideNothing(t *testing.T) {
	var calls int
	o := sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
		if strings.HasPrefix(operation, "Describe") {
			if calls++; calls%3 != 0 {
				return &account.Error{Code: "InternalFailure", Message: "broken", Status: 500}
			}
		}
		return nil
	}}
	bubble(t, o, func(t *testing.T, w *world) {
		if out := w.apply(t, group(30)); out.State.Status != types.StackStatusCreateComplete {
			t.Errorf("the stack is %s", out.State.Status)
		}
	})
}

func TestAnotherRunsChangeSetIsReplaced(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		// What a run leaves that was killed between making and executing.
		_, err := w.CFN.CreateChangeSet(t.Context(), &cloudformation.CreateChangeSetInput{
			StackName: new("s"), ChangeSetName: new("poolhouse-apply"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: new(string(group(7))),
		})
		if err != nil {
			t.Fatal(err)
		}
		if out := w.apply(t, group(30)); !out.Made {
			t.Errorf("%+v, want the stack made", out)
		}
		if got := w.box.Account().Resources(); !strings.Contains(fmt.Sprint(retention(got)), "30") {
			t.Errorf("retention %v, want 30", retention(got))
		}
	})
}

func retention(all []*account.Resource) any {
	for _, r := range all {
		if r.Type == "AWS::Logs::LogGroup" {
			return r.Props["RetentionInDays"]
		}
	}
	return nil
}

// stale answers DescribeStacks, for a while after an operation was begun, as it
// was before.
type stale struct {
	next   http.RoundTripper
	before map[string][]byte // body by request
	until  time.Time
}

func (s *stale) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	form := string(body)
	if strings.Contains(form, "Action=ExecuteChangeSet") || strings.Contains(form, "Action=DeleteStack") {
		s.until = time.Now().Add(20 * time.Second)
	}
	resp, err := s.next.RoundTrip(req)
	if err != nil || !strings.Contains(form, "Action=DescribeStacks&") {
		return resp, err
	}
	old, ok := s.before[form]
	if ok && time.Now().Before(s.until) {
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(old)), int64(len(old))
		return resp, nil
	}
	if old, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		s.before[form] = old
	}
	resp.Body = io.NopCloser(bytes.NewReader(old))
	return resp, nil
}

func TestAnswersOfBeforeAreNoEnd(t *testing.T) {
	for _, heard := range []bool{true, false} {
		t.Run(fmt.Sprintf("heard=%v", heard), func(t *testing.T) {
			bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
				cfg := testkit.Config(w.box)
				cfg.HTTPClient = &http.Client{Transport: &stale{next: testkit.Transport{Handler: w.box}, before: map[string][]byte{}}}
				w.CFN = cloudformation.NewFromConfig(cfg)
				if !heard {
					w.Emit = nil
				}
				first := w.apply(t, group(30)).State
				// So that the ARN has an answer of before.
				if _, err := w.Describe(t.Context(), first.ID); err != nil {
					t.Fatal(err)
				}
				w.events = nil
				if out := w.apply(t, group(60)); out.State.Status != types.StackStatusUpdateComplete {
					t.Errorf("updated: the stack is %s", out.State.Status)
				}
				if n := len(w.events); heard && (n == 0 || w.events[n-1].Status != "UPDATE_COMPLETE") {
					t.Errorf("the update's last event is missing: %+v", w.events)
				}
				if err := w.Delete(t.Context(), "s", stack.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				if st, err := w.Describe(t.Context(), first.ID); err != nil || st.Status != types.StackStatusDeleteComplete {
					t.Errorf("deleted: the stack is %s (%v)", st.Status, err)
				}
			})
		})
	}
}

// TestEndIsSeenSoon has a stack's long operation end: who listens knows it a
// moment later, however long it took.
func TestEndIsSeenSoon(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.apply(t, []byte(`{"Resources":{"Key":{"Type":"AWS::KMS::Key","Properties":{"KeyPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":{"Fn::Sub":"arn:aws:iam::${AWS::AccountId}:root"}},"Action":"kms:*","Resource":"*"}]}}},"Alias":{"Type":"AWS::KMS::Alias","Properties":{"AliasName":"alias/x","TargetKeyId":{"Ref":"Key"}}}}}`))
		end := w.events[len(w.events)-1].Time
		if late := time.Since(end); late > 2*time.Second || time.Since(w.events[0].Time) < 3*time.Minute {
			t.Errorf("the end of %v was seen %v later", end.Sub(w.events[0].Time), late)
		}
	})
}

// TestNobodyListens: events are read once an operation, whatever time it takes.
func TestNobodyListens(t *testing.T) {
	var mu sync.Mutex
	calls := map[string]int{}
	count := func(c sandbox.Call) {
		mu.Lock()
		defer mu.Unlock()
		calls[c.Operation]++
	}
	bubble(t, sandbox.Options{OnCall: count}, func(t *testing.T, w *world) {
		w.Emit = nil
		key := w.key(t, kms.NewFromConfig(testkit.Config(w.box)))
		w.apply(t, keyed(key, false))
		w.apply(t, group(60))
		if err := w.Delete(t.Context(), "s", stack.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if n := calls["DescribeStackEvents"]; n != 2 || calls["DescribeStacks"] < 8 {
			t.Errorf("events were read %d times in %v, want once for each operation that leaves a stack", n, calls)
		}
	})
}

// fast is a clock that is ahead of CloudFormation's.
type fast struct{ clock.Real }

func (fast) Now() time.Time { return time.Now().Add(time.Hour) }

func TestClockThatIsAhead(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.Clock = fast{}
		_, err := w.CFN.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: new("s"), TemplateBody: new(string(group(7)))})
		if err != nil {
			t.Fatal(err)
		}
		st, err := w.Rest(t.Context(), "s")
		if err != nil || st.Status != types.StackStatusCreateComplete {
			t.Fatalf("at rest: %+v, %v", st, err)
		}
		if n := len(w.events); n == 0 || !w.events[n-1].IsStack() || w.events[n-1].Status != "CREATE_COMPLETE" {
			t.Errorf("events while waiting: %+v", w.events)
		}
	})
}

// keyed is a log group under a key, and one that can't be made after it.
func keyed(key string, bad bool) []byte {
	more := ""
	if bad {
		more = `,"Bad":{"Type":"AWS::Logs::LogGroup","DependsOn":"Group","Properties":{"LogGroupName":"bad","KmsKeyId":"arn:aws:kms:us-east-1:123456789012:key/none"}}`
	}
	return fmt.Appendf(nil, `{"Resources":{"Group":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"group","KmsKeyId":%q}}%s}}`, key, more)
}

// key makes a KMS key that CloudWatch Logs may use.
func (w *world) key(t *testing.T, c *kms.Client) string {
	t.Helper()
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root","Service":"logs.us-east-1.amazonaws.com"},"Action":"kms:*","Resource":"*"}]}`
	out, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.Arn
}

func TestFailedRollbackIsContinued(t *testing.T) {
	for _, mended := range []bool{true, false} {
		t.Run(fmt.Sprintf("mended=%v", mended), func(t *testing.T) {
			bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
				keys := kms.NewFromConfig(testkit.Config(w.box))
				first, second := w.key(t, keys), w.key(t, keys)
				w.apply(t, keyed(first, false))
				if _, err := keys.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &first}); err != nil {
					t.Fatal(err)
				}
				_, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: keyed(second, true)}, nil)
				var failed *stack.Error
				if !errors.As(err, &failed) || failed.Status != types.StackStatusUpdateRollbackFailed {
					t.Fatalf("got %v, want a rollback that failed", err)
				}
				if diff := cmp.Diff([]string{"Group"}, failed.Skip); diff != "" || failed.Cause.LogicalID != "Bad" {
					t.Errorf("cause %+v; to skip (-want +got):\n%s", failed.Cause, diff)
				}
				if mended {
					if _, err := keys.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &first}); err != nil {
						t.Fatal(err)
					}
				}
				out, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: keyed(second, false), Tags: map[string]string{"owner": "test"}}, nil)
				switch {
				case mended && (err != nil || out.State.Status != types.StackStatusUpdateComplete || out.Made):
					t.Errorf("with the cause mended: %+v, %v", out, err)
				case !mended && (!errors.As(err, &failed) || failed.Status != types.StackStatusUpdateRollbackFailed || failed.Cause.LogicalID != "Group" || len(failed.Skip) != 1):
					t.Errorf("with the cause still there: %v", err)
				}
			})
		})
	}
}

func TestRefusalNamesWhatTheChecksFound(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		if _, err := cloudwatchlogs.NewFromConfig(testkit.Config(w.box)).CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new("group-0")}); err != nil {
			t.Fatal(err)
		}
		_, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: group(30)}, nil)
		var failed *stack.Error
		if !errors.As(err, &failed) {
			t.Fatalf("got %v, want a stack.Error", err)
		}
		if failed.Cause.LogicalID != "Group0" || !strings.Contains(failed.Cause.Reason, "already exists") || failed.Status != "" {
			t.Errorf("cause %+v, status %q", failed.Cause, failed.Status)
		}
	})
}

func TestInterruptedPreviewLeavesNothing(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		w.apply(t, group(30))
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Second, cancel)
		defer timer.Stop()
		if _, err := w.preview(ctx, t, stack.Spec{Name: "s", Template: group(60)}); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want that it was interrupted", err)
		}
		time.Sleep(time.Minute) // until CloudFormation would have made it
		if n := w.openChangeSets(t); n != 0 {
			t.Errorf("%d change sets left", n)
		}
	})
}

func TestLostSight(t *testing.T) {
	blind := false
	o := sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
		if blind = blind || operation == "ExecuteChangeSet"; blind && strings.HasPrefix(operation, "Describe") {
			return &account.Error{Code: "InternalFailure", Message: "broken", Status: 500}
		}
		return nil
	}}
	bubble(t, o, func(t *testing.T, w *world) {
		start := time.Now()
		_, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: group(30)}, nil)
		if err == nil || !strings.Contains(err.Error(), "lose sight") {
			t.Errorf("got %v, want that it is lost sight of", err)
		}
		if took := time.Since(start); took < 30*time.Minute || took > time.Hour {
			t.Errorf("it took %v to give up", took)
		}
	})
}

// TestLostAnswers cuts the connection before or after each call that writes:
// the calls are repeated, and nothing is made twice.
func TestLostAnswers(t *testing.T) {
	for _, operation := range []string{"CreateChangeSet", "ExecuteChangeSet", "DeleteChangeSet", "DeleteStack"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/after=%v", operation, after), func(t *testing.T) {
				cut := map[string]bool{}
				o := sandbox.Options{Intercept: func(_ *http.Request, _, op string) error {
					if op != operation || cut[op] {
						return nil
					}
					cut[op] = true
					return &sandbox.Fault{After: after}
				}}
				bubble(t, o, func(t *testing.T, w *world) {
					w.apply(t, group(30))
					if changes, err := w.preview(t.Context(), t, stack.Spec{Name: "s", Template: group(60), Tags: map[string]string{"owner": "test"}}); err != nil || len(changes) != 1 {
						t.Errorf("preview: %+v, %v", changes, err)
					}
					w.apply(t, group(60))
					if err := w.Delete(t.Context(), "s", stack.DeleteOptions{}); err != nil {
						t.Error(err)
					}
					if !cut[operation] {
						t.Errorf("%s was never called", operation)
					}
				})
			})
		}
	}
}

// TestL25StaleChangeSets: change sets that others only read are theirs until they
// are old, by CloudFormation's clock; one to be executed belongs to who holds the
// lease, and is the caller's to delete.
func TestL25StaleChangeSets(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		if _, err := w.CFN.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: new("s"), TemplateBody: new(string(group(30)))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Rest(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"poolhouse-plan-1", "poolhouse-apply", "theirs"} {
			if _, err := w.CFN.CreateChangeSet(t.Context(), &cloudformation.CreateChangeSetInput{StackName: new("s"), ChangeSetName: &name, TemplateBody: new(string(group(60)))}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(31 * time.Minute)
		for _, want := range [][]string{{"poolhouse-apply"}, nil} {
			st, err := w.Describe(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := w.StaleChangeSets(t.Context(), st); err != nil || !slices.Equal(got, want) {
				t.Errorf("stale: %v, %v; want %v", got, err, want)
			}
			if _, err := w.Recover(t.Context(), "s", stack.RecoverOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.openChangeSets(t); n != 2 {
			t.Errorf("%d change sets are left, want that of a plan and theirs", n)
		}
		time.Sleep(31 * time.Minute)
		if _, err := w.Recover(t.Context(), "s", stack.RecoverOptions{}); err != nil {
			t.Fatal(err)
		}
		if n := w.openChangeSets(t); n != 1 {
			t.Errorf("%d change sets are left, want theirs", n)
		}
	})
}
