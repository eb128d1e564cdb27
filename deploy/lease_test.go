package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
)

// leases are the parameters of the lease that the account has.
func (w *world) leases(path string) (names []string) {
	for _, r := range w.box.Account().Resources() {
		if strings.HasPrefix(r.ID, path+"/") {
			names = append(names, r.ID)
		}
	}
	return names
}

// TestL25OneRunAtATime has others come while a deployment is created: whatever
// they want to change is refused, and what they want to know is told. The lease
// is there as long as the work is, with the deployment's tags.
func TestL25OneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		mine := w.target(a)
		mine.Holder = lease.Holder{Host: "laptop", PID: 7, Command: "poolhouse create acme.yaml"}
		theirs := w.target(a)
		theirs.Emit, theirs.Holder = nil, lease.Holder{Host: "runner", PID: 7, Command: "poolhouse delete acme.yaml", Alive: func(int) bool { return false }}
		others := map[string]func(context.Context) error{
			"create": func(ctx context.Context) error {
				_, err := deploy.Create(ctx, deploy.CreateOptions{Target: theirs})
				return err
			},
			"update": func(ctx context.Context) error {
				_, err := deploy.Update(ctx, deploy.CreateOptions{Target: theirs})
				return err
			},
			"delete": func(ctx context.Context) error {
				_, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: theirs, Data: deploy.DestroyData})
				return err
			},
		}
		done := make(chan error, 1)
		go func() {
			_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: mine})
			done <- err
		}()
		refused := 0
		for working := true; working; {
			select {
			case err := <-done:
				if working = false; err != nil {
					t.Fatal(err)
				}
				continue
			case <-time.After(7 * time.Minute):
			}
			for verb, do := range others {
				var held *lease.HeldError
				if err := do(t.Context()); !errors.As(err, &held) {
					t.Fatalf("%s meanwhile: %v, want a refusal", verb, err)
				}
				refused++
				if !strings.Contains(held.Owner, ":assumed-role/Administrator/") || held.Host != "laptop" || held.PID != 7 || held.Command != "poolhouse create acme.yaml" || time.Until(held.Expires) < 0 {
					t.Errorf("%s is refused because of %+v", verb, held.Held)
				}
			}
			s, err := deploy.Look(t.Context(), theirs)
			if err != nil || s.Lease == nil || s.Lease.Host != "laptop" {
				t.Errorf("the status says of the work: %+v, %v", s.Lease, err)
			}
			names := w.leases(a.LeasePath())
			if len(names) != 1 {
				t.Fatalf("parameters of the lease: %v", names)
			}
			for _, r := range w.box.Account().Resources() {
				if r.ID == names[0] && r.Tags[deploy.Tag] != a.Config.Name {
					t.Errorf("%s has the tags %v", r.ID, r.Tags)
				}
			}
			// A plan changes nothing, and waits for what is in motion.
			if _, err := deploy.MakePlan(t.Context(), theirs); err != nil {
				t.Errorf("a plan meanwhile: %v", err)
			}
		}
		if refused < 3 {
			t.Errorf("%d runs were refused", refused)
		}
		if names := w.leases(a.LeasePath()); names != nil {
			t.Errorf("after the work there is %v", names)
		}
		if s, err := deploy.Look(t.Context(), theirs); err != nil || s.Lease != nil {
			t.Errorf("the status says of the work that is over: %+v, %v", s.Lease, err)
		}
	})
}

// TestL25LostRunStops takes the lease from a run in the middle of its work, as
// one does that took it for dead. From the moment that it knows, no call of it
// changes anything.
func TestL25LostRunStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		var mu sync.Mutex // calls come side by side
		var taken time.Time
		var late []string
		w := newWorld(t, a, sandbox.Options{Fresh: true, OnCall: func(c sandbox.Call) {
			service := map[string]string{"cloudformation": "CloudFormation", "ssm": "SSM", "sts": "STS"}[c.Service]
			mu.Lock()
			defer mu.Unlock()
			if !taken.IsZero() && time.Since(taken) > lease.TTL/3+time.Second && !awsapi.Reads(service, c.Operation) {
				late = append(late, fmt.Sprintf("%v after it: %s %s", time.Since(taken), c.Service, c.Operation))
			}
		}})
		target := w.target(a)
		w.seen = func(e deploy.Event) {
			mu.Lock()
			first := taken.IsZero()
			mu.Unlock()
			if f, ok := e.(deploy.StackFinished); !ok || f.Err != nil || !first {
				return
			}
			value, err := json.Marshal(map[string]any{"owner": "arn:aws:iam::123456789012:user/bob", "host": "runner", "pid": 8, "run": "another", "ttlSeconds": lease.TTL.Seconds()})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			taken = time.Now()
			mu.Unlock()
			_, err = target.AWS.SSM.PutParameter(t.Context(), &ssm.PutParameterInput{Name: new(a.LeasePath() + "/2"), Type: types.ParameterTypeString, Value: new(string(value))})
			if err != nil {
				t.Error(err)
			}
		}
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target})
		var lost *lease.LostError
		if !errors.As(err, &lost) || lost.To.Host != "runner" {
			t.Fatalf("got %v, want that the lease is lost", err)
		}
		if len(late) > 0 {
			t.Errorf("calls that write, after the lease was lost: %v", late)
		}
		if names := w.leases(a.LeasePath()); len(names) != 2 {
			t.Errorf("parameters of the lease: %v; want both, of which the higher one is another's", names)
		}
		// When the other one is over too, the work goes on.
		time.Sleep(lease.TTL)
		w.seen = nil
		mu.Lock()
		taken = time.Time{}
		mu.Unlock()
		w.create(a)
		if names := w.leases(a.LeasePath()); names != nil {
			t.Errorf("after the work there is %v", names)
		}
	})
}

// TestL25NothingIsLeftOfALease has runs that end early, or find nothing to do.
func TestL25NothingIsLeftOfALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a)}); !errors.Is(err, deploy.ErrAbsent) {
			t.Errorf("update of nothing: %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		w.seen = func(e deploy.Event) {
			if _, ok := e.(deploy.StackStarted); ok {
				stop()
			}
		}
		if _, err := deploy.Create(ctx, deploy.CreateOptions{Target: w.target(a)}); !errors.Is(err, context.Canceled) {
			t.Errorf("an interrupted create: %v", err)
		}
		if names := w.leases(a.LeasePath()); names != nil {
			t.Errorf("there is %v", names)
		}
	})
}

// TestL25StatusTellsWhatIsWaitedFor has runs die elsewhere that had begun to delete
// a stack: a deletion, and an update of a file that has no GPU nodes any more. Until
// nothing that they sent can arrive the status and a recovery show who that was and
// until when others are refused.
func TestL25StatusTellsWhatIsWaitedFor(t *testing.T) {
	for verb, do := range map[string]func(context.Context, deploy.Target) error{
		"delete": func(ctx context.Context, target deploy.Target) error {
			_, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: target, Data: deploy.DestroyData})
			return err
		},
		"update": func(ctx context.Context, target deploy.Target) error {
			_, err := deploy.Update(ctx, deploy.CreateOptions{Target: target})
			return err
		},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "gpu-inference")
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				w.create(a)
				c := *a.Config
				c.Compute = slices.DeleteFunc(slices.Clone(c.Compute), func(g config.NodeGroup) bool { return g.Role == config.GPU })
				next, err := architecture.New(&c)
				if err != nil {
					t.Fatal(err)
				}
				ctx, kill := context.WithCancelCause(t.Context())
				target := w.allowing(next, slices.Collect(maps.Keys(guard.Flags()))...)
				target.Holder = lease.Holder{Host: "laptop", Machine: "1", PID: 7, Command: "poolhouse " + verb, Run: "laptop-7"}
				target.AWS = w.through(a, func(to http.RoundTripper, r *http.Request) (*http.Response, error) {
					if err := ctx.Err(); err != nil {
						return nil, err
					}
					var sent []byte
					if r.Body != nil {
						var err error
						if sent, err = io.ReadAll(r.Body); err != nil {
							return nil, err
						}
						r.Body = io.NopCloser(bytes.NewReader(sent))
					}
					if strings.Contains(string(sent), "Action=DeleteStack&") {
						defer kill(errKilled)
					}
					return to.RoundTrip(r)
				})
				if err := do(ctx, target); !errors.Is(err, errKilled) {
					t.Fatalf("the %s was to be killed, and ended with %v", verb, err)
				}
				at := func(what string) (*deploy.Status, *deploy.Recovery) {
					t.Helper()
					target := w.target(next)
					s, err := deploy.Look(t.Context(), target)
					if err != nil {
						t.Fatal(err)
					}
					r, err := deploy.PlanRecovery(t.Context(), deploy.RecoverOptions{Target: target})
					if err != nil {
						t.Fatal(err)
					}
					if (s.Lease == nil) != (r.Lease == nil) || !s.LeaseFree.Equal(r.LeaseFree) {
						t.Errorf("%s the status has the lease %+v, a recovery %+v", what, s.Lease, r.Lease)
					}
					return s, r
				}
				s, _ := at("at first")
				if s.Lease == nil {
					t.Fatal("at first there is no lease")
				}
				ends := s.Lease.Expires
				time.Sleep(time.Until(ends.Add(-time.Minute)))
				if s, _ := at("before it ends"); s.Lease == nil || s.Lease.Ended {
					t.Errorf("before it ends the lease is %+v", s.Lease)
				}
				time.Sleep(time.Until(ends.Add(time.Minute)))
				s, _ = at("when it has ended")
				if s.Lease == nil || !s.Lease.Ended || s.Lease.Host != "laptop" {
					t.Fatalf("when it has ended the lease is %+v", s.Lease)
				}
				other := w.target(next)
				other.Holder = lease.Holder{Host: "runner", Machine: "2", PID: 1}
				_, err = deploy.Create(t.Context(), deploy.CreateOptions{Target: other})
				var held *lease.HeldError
				if !errors.As(err, &held) || !held.Until.Equal(s.LeaseFree) {
					t.Errorf("a creation meanwhile: %v, want a refusal until %v", err, s.LeaseFree)
				}
				time.Sleep(time.Until(s.LeaseFree.Add(2 * time.Second)))
				if s, _ := at("when nothing may arrive"); s.Lease != nil {
					t.Errorf("when nothing may arrive the lease is %+v", s.Lease)
				}
			})
		})
	}
}
