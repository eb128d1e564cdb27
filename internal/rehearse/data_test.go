package rehearse

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// What servers do that follow the account is waited for, at the wall's pace and
// for so long: then the last error says why it isn't so, as it does when the
// rehearsal ends before.
func TestServersAreWaitedFor(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	for name, tt := range map[string]struct {
		tries int // until it is so; 0 is never
		stops time.Duration
		after time.Duration
		want  []error
	}{
		"at once": {tries: 1},
		"later":   {tries: 11, after: 500 * time.Millisecond},
		"never":   {after: patience + 50*time.Millisecond, want: []error{errNotYet}},
		"stopped": {stops: 20 * time.Second, after: 20 * time.Second, want: []error{errNotYet, stopped}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.stops > 0 {
					time.AfterFunc(tt.stops, func() { cancel(stopped) })
				}
				r := &run{clock: clock.NewScaled(1000)}
				go func() { _ = r.clock.Sleep(t.Context(), 1000*time.Hour) }() // an operation that takes AWS time
				synctest.Wait()
				wall, simulated, tried := time.Now(), r.clock.Now(), 0
				err := r.eventually(ctx, func() error {
					if tried++; tried == tt.tries {
						return nil
					}
					return fmt.Errorf("try %d: %w", tried, errNotYet)
				})
				if got := time.Since(wall); got != tt.after {
					t.Errorf("it took %s, want %s", got, tt.after)
				}
				if got := r.clock.Now().Sub(simulated); got != tt.after {
					t.Errorf("the account's clock went on by %s, want %s", got, tt.after)
				}
				if (err == nil) != (tt.want == nil) {
					t.Error(err)
				}
				for _, want := range tt.want {
					if !errors.Is(err, want) {
						t.Errorf("got %v, want %v", err, want)
					}
				}
			})
		})
	}
}

var errNotYet = errors.New("not yet")
