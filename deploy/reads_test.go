package deploy_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// readsOf are the reads of a create and a delete, and how often each is made. Those
// that come before a run holds its lease are not among them: nothing was begun.
func readsOf(t *testing.T) (reads map[string]int, resources int) {
	reads = map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		var mu sync.Mutex
		w := newWorld(t, a, sandbox.Options{Fresh: true, OnCall: func(c sandbox.Call) {
			mu.Lock()
			defer mu.Unlock()
			if awsapi.Reads("", c.Operation) && c.Operation != "GetParameter" && c.Operation != "GetCallerIdentity" {
				reads[c.Service+" "+c.Operation]++
			}
		}})
		w.create(a)
		resources = len(ids(w))
		w.destroy(a)
	})
	return reads, resources
}

// TestL26NoFailedReadDecides has every read of a create and a delete fail, each
// from a call on that is drawn, more often in a row than the SDK repeats it:
// throttled, by an error of the service or by a connection that is cut. What
// comes of the commands is what comes of them without. POOLHOUSE_FULL draws more.
func TestL26NoFailedReadDecides(t *testing.T) {
	t.Parallel()
	reads, resources := readsOf(t)
	if len(reads) < 40 {
		t.Fatalf("only %d kinds of reads: %v", len(reads), slices.Sorted(maps.Keys(reads)))
	}
	lives := uint64(2)
	if os.Getenv("POOLHOUSE_FULL") != "" {
		lives = 40
	}
	for seed := range lives {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				draw := rand.New(rand.NewPCG(seed, 26))
				var day strings.Builder
				day.WriteString("faults:\n")
				for n, read := range slices.Sorted(maps.Keys(reads)) {
					service, operation, _ := strings.Cut(read, " ")
					call := fmt.Sprintf("service: %s, operation: %s", service, operation)
					kind := []string{"throttle: {" + call + "}", "error: {" + call + ", status: 500}", "cut: {" + call + "}"}[draw.IntN(3)]
					// Each run has its share of calls, whose number depends on pauses.
					at := 1 + draw.IntN(max(1, reads[read]*2/3))
					fmt.Fprintf(&day, "  - {id: f%d, when: {call: {%s, number: %d}}, times: %d, %s}\n", n, call, at, 11+draw.IntN(20), kind)
				}
				a := example(t, "evaluation")
				f := broken(t, a, a, seed, rehearse.Faults{Name: "day.yaml", Source: []byte(day.String())})
				f.create(a)
				if got := len(ids(f.world)); got != resources {
					t.Errorf("create made %d resources, without faults %d", got, resources)
				}
				if d := f.destroy(a); d.Outcome != deploy.Clean {
					t.Errorf("delete ends %s: %+v", d.Outcome, d.Blockers)
				}
				happened := 0
				for _, tally := range f.faults.Tallies() {
					if tally.Times > 10 {
						happened++
					}
				}
				if said := strings.Count(f.steps(), "can't be looked at for now, which decides nothing"); happened < len(reads)*9/10 || said == 0 {
					t.Errorf("%d of %d reads failed for long, %d were told", happened, len(reads), said)
				}
				if t.Failed() {
					t.Logf("%s%s", day.String(), f.story())
				}
			})
		})
	}
}

// TestL26TheLeaseIsTakenPatiently: who the caller is and who holds the lease can't be
// read, and the lease can't be written, more often in a row than the SDK repeats
// it: the run says so, and does its work when they can.
func TestL26TheLeaseIsTakenPatiently(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"GetCallerIdentity", "GetParametersByPath", "PutParameter"} {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				calls := 0
				w := newWorld(t, a, sandbox.Options{Fresh: true, Intercept: func(_ *http.Request, _, op string) error {
					if op != operation || calls == 40 {
						return nil
					}
					if calls++; after {
						return &sandbox.Fault{After: true} // it is carried out, and the answer is lost
					}
					return &account.Error{Code: "InternalServerError", Message: "it is broken", Status: http.StatusInternalServerError}
				}})
				w.seen = func(e deploy.Event) {
					if s, ok := e.(deploy.Step); ok && strings.Contains(s.Text, "can't be looked at for now") {
						w.seen = nil
					}
				}
				_, err := deploy.Recover(t.Context(), deploy.RecoverOptions{Target: w.target(a)})
				if !errors.Is(err, deploy.ErrAbsent) {
					t.Errorf("%s: %v, want that there is nothing to recover", operation, err)
				}
				if w.seen != nil || calls < 40 {
					t.Errorf("%s: failed %d times, and nothing was told", operation, calls)
				}
				if left := w.leases(a.LeasePath()); left != nil {
					t.Errorf("%s: left: %v", operation, left)
				}
			})
		}
	}
}

// TestL26AReadThatNeverSucceedsIsNamed: what can't be seen for half an hour ends
// the run, which says what that was; the next one goes on.
func TestL26AReadThatNeverSucceedsIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		f := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults:
  - {id: never, for: 40m, when: {call: {service: rds, operation: DescribeDBInstances}}, throttle: {service: rds, operation: DescribeDBInstances}}`)})
		start := time.Now()
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: f.target(a)})
		if err == nil || awsapi.Code(err) == "" || !strings.Contains(err.Error(), "lose sight of the answer of rds:DescribeDBInstances") {
			t.Errorf("create: %v", err)
		}
		if took := time.Since(start); took < 30*time.Minute || took > 80*time.Minute {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Hour)
		f.create(a)
		if p, err := deploy.MakePlan(t.Context(), f.target(a)); err != nil || !p.Empty() {
			t.Errorf("afterwards: %v", errors.Join(err, errors.New("or changes pending")))
		}
	})
}

// TestL26StatusTellsWhatItCouldNotSee: a look at something beside the stacks that
// fails is told and stops nothing.
func TestL26StatusTellsWhatItCouldNotSee(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true, Intercept: func(_ *http.Request, service, operation string) error {
			if service == "ssm" && operation == "GetParametersByPath" {
				return &account.Error{Code: "InvalidFilterKey", Message: "it is broken", Status: http.StatusBadRequest}
			}
			return nil
		}})
		s, err := deploy.Look(t.Context(), w.target(a))
		if err != nil || s.Phase != deploy.Missing || !strings.Contains(s.LeaseUnknown, "InvalidFilterKey") {
			t.Errorf("status: %+v, %v", s, err)
		}
	})
}
