package deploy_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// session are clients of a world whose credentials end at a time, which nobody
// renews but wait, if it is not nil.
func (w *world) session(ends time.Time, wait func(context.Context, error) error) *awsapi.Clients {
	w.t.Helper()
	p := w.box.Principals()[0]
	c, err := awsapi.New(w.t.Context(), awsapi.Options{
		Region: w.box.Region(), Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(w.box), Expired: wait,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey, SessionToken: p.SessionToken, Source: "test", CanExpire: !ends.IsZero(), Expires: ends}, nil
		}),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// TestL23ShortSessionIsSaidBefore plans and begins a creation that takes longer
// than its credentials last, and one that doesn't.
func TestL23ShortSessionIsSaidBefore(t *testing.T) {
	for _, ends := range []time.Duration{10 * time.Minute, 2 * time.Hour, 0} {
		synctest.Test(t, func(t *testing.T) {
			a := example(t, "evaluation")
			w := newWorld(t, a, sandbox.Options{Fresh: true})
			var until time.Time
			if ends > 0 {
				until = time.Now().Add(ends)
			}
			target := w.target(a)
			target.AWS = w.session(until, nil)
			p, err := deploy.MakePlan(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			short := ends == 10*time.Minute
			if s := p.Session; s == nil || s.Short != short || !s.Until.Equal(until) || time.Until(s.Done).Round(time.Minute) != p.Expected.Round(time.Minute) || s.Source != "test" {
				t.Errorf("of a session of %v the plan says %+v", ends, s)
			}
			target.Expected = p.Expected
			ctx, stop := context.WithCancel(t.Context())
			var said []deploy.SessionShort
			target.Emit = func(e deploy.Event) {
				switch e := e.(type) {
				case deploy.SessionShort:
					said = append(said, e)
				case deploy.StackStarted:
					stop()
				}
			}
			if _, err := deploy.Create(ctx, deploy.CreateOptions{Target: target}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if (len(said) == 1) != short {
				t.Errorf("of a session of %v it was said: %+v", ends, said)
			}
			for _, e := range said {
				for _, at := range []time.Time{e.Until, e.Done} {
					if !strings.Contains(e.String(), at.UTC().Format(time.RFC3339)) {
						t.Errorf("%q doesn't name %v", e, at)
					}
				}
			}
		})
	}
}

// TestL23ExpiredHalfWay ends the credentials at calls of a creation: the run
// pauses, and another one with new credentials goes on; or, if somebody is there
// to sign in, it waits and goes on itself.
func TestL23ExpiredHalfWay(t *testing.T) {
	for _, tt := range []struct {
		at    int64 // the call
		waits bool
	}{{6, false}, {150, false}, {60, true}, {200, true}} {
		synctest.Test(t, func(t *testing.T) {
			a := example(t, "evaluation")
			var calls, refused atomic.Int64
			var over atomic.Bool // somebody has signed in again
			w := newWorld(t, a, sandbox.Options{Fresh: true, Intercept: func(*http.Request, string, string) error {
				if calls.Add(1) < tt.at || over.Load() {
					return nil
				}
				refused.Add(1)
				return &account.Error{Code: "ExpiredToken", Message: "The security token included in the request is expired", Status: 403}
			}})
			target := w.target(a)
			if tt.waits {
				target.AWS = w.session(time.Time{}, func(context.Context, error) error {
					time.Sleep(17 * time.Minute) // longer than a lease lasts
					over.Store(true)
					return nil
				})
			}
			_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target})
			var paused *deploy.PausedError
			switch {
			case tt.waits && err != nil:
				t.Errorf("at call %d, with somebody there: %v", tt.at, err)
			case !tt.waits && (!errors.As(err, &paused) || paused.Deployment != a.Config.Name):
				t.Errorf("at call %d: %v, want a pause", tt.at, err)
			case refused.Load() == 0:
				t.Errorf("at call %d nothing was refused", tt.at)
			}
			over.Store(true)
			w.create(a)
			if n := w.leases(a.LeasePath()); n != nil {
				t.Errorf("at call %d: the leases %v are left", tt.at, n)
			}
			w.emptyPlan(a)
		})
	}
}
