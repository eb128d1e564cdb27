package deploy_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/kubernetesapi"
)

// from is a machine at a place: its dials lead to the Kubernetes API as its
// packets would, and to nothing else. Those that are dropped wait in vain.
func (w *world) from(api *kubernetesapi.Server, place func() eks.Caller) *cluster.Machine {
	return &cluster.Machine{
		Getenv: func(string) string { return "" }, Plugin: "/nonexistent/plugin",
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := api.Dial(ctx, place(), address)
			if err != nil {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return conn, nil
		},
	}
}

// node is a place in the VPC: an instance with a name.
func (w *world) node(name string) func() eks.Caller {
	return func() eks.Caller {
		var c eks.Caller
		err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, i := range tx.List("ec2:instance") {
				if i.Tags["Name"] == name && i.Status == "running" {
					c.Instance = i.ID
				}
			}
			return nil
		})
		if err != nil {
			w.t.Error(err)
		}
		return c
	}
}

// withAPI is a world whose clusters' APIs answer.
func withAPI(t *testing.T, a *architecture.Architecture, internet string) (*world, *kubernetesapi.Server) {
	t.Helper()
	return withKubernetes(t, a, internet, nil)
}

// withKubernetes is withAPI with a handler for what a Kubernetes answers.
func withKubernetes(t *testing.T, a *architecture.Architecture, internet string, answers http.Handler) (*world, *kubernetesapi.Server) {
	t.Helper()
	api := kubernetesapi.New(kubernetesapi.Options{From: netip.MustParseAddr(internet), API: answers})
	t.Cleanup(func() {
		if err := api.Close(); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, a, sandbox.Options{Fresh: true, KubernetesEndpoint: api.Endpoint})
	api.Attach(w.box.Account())
	return w, api
}

// TestCreateStopsWithoutARoute: from outside, a private cluster is created to
// the end of the AWS side, protected, and waits; the same call from inside goes
// on and changes nothing.
func TestCreateStopsWithoutARoute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "minimal-egress")
		w, api := withAPI(t, a, "203.0.113.10")
		internet := func() eks.Caller { return eks.Caller{Internet: netip.MustParseAddr("203.0.113.10")} }
		target := w.target(a)
		target.Machine = w.from(api, internet)
		for range 2 { // as long as it is from outside
			start := time.Now()
			res, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target})
			var pending *deploy.PendingError
			var unreachable *cluster.UnreachableError
			if !errors.As(err, &pending) || !errors.As(err, &unreachable) {
				t.Fatalf("create from outside: %v", err)
			}
			if res == nil || len(res.Outputs) != len(a.Stacks) || res.Kubernetes != nil {
				t.Fatalf("create from outside: result %+v", res)
			}
			// Besides, it looks whether its stacks still have what holds data.
			if took := time.Since(start); res.Complete && (took < cluster.DefaultTimeout || took > cluster.DefaultTimeout+time.Minute) {
				t.Errorf("the second create took %v, want the one dial's %v and a look", took, cluster.DefaultTimeout)
			}
			if n := len(unreachable.Attempts); n != 2 || unreachable.Attempts[0].Error != "no answer within 10s" {
				t.Errorf("attempts: %+v", unreachable.Attempts)
			}
		}
		status, err := deploy.Look(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if status.Phase != deploy.Complete || status.Kubernetes == nil || status.Kubernetes.Way != "" || len(status.Kubernetes.Attempts) != 2 {
			t.Errorf("status from outside: %s, %+v", status.Phase, status.Kubernetes)
		}
		for _, s := range status.Stacks {
			if !s.Protected {
				t.Errorf("stack %s is not protected", s.Name)
			}
		}

		target.Machine = w.from(api, w.node(a.CoreNodeName()))
		res, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target})
		if err != nil {
			t.Fatalf("create from inside: %v", err)
		}
		if res.Changes != 0 || !res.Complete || res.Kubernetes == nil || res.Kubernetes.Way != architecture.WayDirect || !strings.HasPrefix(res.Kubernetes.Version, "v1.35.") {
			t.Errorf("create from inside: %d changes, route %+v", res.Changes, res.Kubernetes)
		}
		w.emptyPlan(a)
		w.clean(w.destroy(a))
	})
}

// TestClusterThatCannotBeAskedAbout: EKS that can't be asked about the way in does
// not undo what is complete.
func TestClusterThatCannotBeAskedAbout(t *testing.T) {
	t.Parallel()
	for code, waits := range map[string]bool{"AccessDeniedException": true, "ServerException": true, "ExpiredTokenException": false} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				fails := false
				w := newWorld(t, a, sandbox.Options{Intercept: func(_ *http.Request, _, op string) error {
					if op == "DescribeCluster" && fails {
						return &account.Error{Code: code, Message: "not now", Status: http.StatusBadRequest}
					}
					return nil
				}})
				w.create(a)
				fails = true
				target := w.target(a)
				target.Machine = &cluster.Machine{}
				res, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target})
				var pending *deploy.PendingError
				if errors.As(err, &pending) != waits || testkit.Code(err) != code || res == nil {
					t.Errorf("got %v, want that it waits: %v", err, waits)
				}
			})
		})
	}
}

// TestWaysIn holds who reaches the API, and by which way, to what the
// configuration and its security groups say.
func TestWaysIn(t *testing.T) {
	t.Parallel()
	at := func(s string) func() eks.Caller {
		return func() eks.Caller { return eks.Caller{Connected: netip.MustParseAddr(s)} }
	}
	internet := func(s string) func() eks.Caller {
		return func() eks.Caller { return eks.Caller{Internet: netip.MustParseAddr(s)} }
	}
	for name, tc := range map[string]struct {
		example string
		places  func(*world, *architecture.Architecture) map[string]func() eks.Caller
		reached map[string]bool
	}{
		"private": {
			example: "private-cluster",
			places: func(w *world, a *architecture.Architecture) map[string]func() eks.Caller {
				return map[string]func() eks.Caller{
					"listed network": at("10.20.1.1"), "other network": at("10.21.1.1"), "internet": internet("203.0.113.10"),
					"session host": w.node(a.SessionHostName()), "core node": w.node(a.CoreNodeName()),
				}
			},
			reached: map[string]bool{"listed network": true, "session host": true, "core node": true},
		},
		"public": {
			example: "evaluation",
			places: func(w *world, a *architecture.Architecture) map[string]func() eks.Caller {
				return map[string]func() eks.Caller{
					"listed address": internet("203.0.113.77"), "other address": internet("198.51.100.1"),
					"other network": at("10.20.1.1"), "core node": w.node(a.CoreNodeName()),
				}
			},
			reached: map[string]bool{"listed address": true, "core node": true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, tc.example)
				w, api := withAPI(t, a, "203.0.113.10")
				w.create(a)
				for place, caller := range tc.places(w, a) {
					target := w.target(a)
					target.Machine = w.from(api, caller)
					s, err := deploy.Look(t.Context(), target)
					if err != nil {
						t.Fatal(err)
					}
					if got := s.Kubernetes.Way == architecture.WayDirect; got != tc.reached[place] {
						t.Errorf("from %s: reached %v, want %v: %+v", place, got, tc.reached[place], s.Kubernetes.Attempts)
					}
				}
			})
		})
	}
}

// TestSessionHostComesAndGoes: it is a stack of its own, so switching it on and
// off touches nothing else but the endpoints it needs.
func TestSessionHostComesAndGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		c := *a.Config
		c.Cluster.API.SessionHost = true
		with, err := architecture.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		w.update(with)
		w.emptyPlan(with)
		if w.node(a.SessionHostName())().Instance == "" {
			t.Error("no session host runs")
		}
		w.update(a)
		w.emptyPlan(a)
		if w.node(a.SessionHostName())().Instance != "" {
			t.Error("the session host is still there")
		}
		w.clean(w.destroy(a))
	})
}
