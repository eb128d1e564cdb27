package rehearse

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// A request in flight holds the clock at the wall's pace, once: the product's
// own client holds it for its requests, the server for everybody else's. A
// simulated service that is slow passes simulated time.
func TestRequestsHoldTheClock(t *testing.T) {
	for _, tt := range []struct {
		name   string
		held   bool // by its client
		slow   bool
		passes time.Duration // in a second of the wall
	}{
		{"somebody's", false, false, time.Second},
		{"the product's", true, false, 100 * time.Second},
		{"a slow answer", false, true, 100 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clock.NewScaled(100)
				go func() { _ = c.Sleep(t.Context(), 1000*time.Hour) }()
				synctest.Wait()
				var passed time.Duration
				h := Holding(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					before := c.Now()
					if tt.slow {
						if err := c.SleepHeld(r.Context(), 100*time.Second); err != nil {
							t.Error(err)
						}
					} else {
						time.Sleep(time.Second)
					}
					passed = c.Now().Sub(before).Round(time.Second)
				}), c)
				req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
				if tt.held {
					req.Header.Set(heldHeader, "true")
				}
				wall := time.Now()
				h.ServeHTTP(httptest.NewRecorder(), req)
				if took := time.Since(wall).Round(time.Millisecond); took != time.Second || passed != tt.passes {
					t.Errorf("%v passed in %v, want %v in a second", passed, took, tt.passes)
				}
				before := c.Now()
				time.Sleep(time.Second)
				if got := c.Now().Sub(before).Round(time.Second); got != 100*time.Second {
					t.Errorf("afterwards %v pass in a second, want 100s", got)
				}
			})
		})
	}
}
