package deploy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// TestL08OnlySleepIsStillness: time in which a run waits for credentials, or the
// machine is suspended, is no stillness, and time that is slept is; to take the
// same thing away again is no progress.
func TestL08OnlySleepIsStillness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatchdog(clock.Real{}, 48*time.Hour, time.Hour)
		sleep := func(d time.Duration) error {
			t.Helper()
			return w.Sleep(t.Context(), d)
		}
		if err := sleep(50 * time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour) // paused
		if err := sleep(5 * time.Minute); err != nil {
			t.Errorf("after a pause: %v", err)
		}
		w.Clock = suspended{}
		if err := sleep(time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := sleep(time.Minute); err != nil {
			t.Errorf("after the machine was suspended: %v", err)
		}
		w.Clock = clock.Real{}
		back := w.mark()
		w.progress()
		back()
		if err := sleep(10 * time.Minute); err != nil {
			t.Fatal(err)
		}
		var overdue *OverdueError
		if err := sleep(time.Minute); !errors.As(err, &overdue) || !overdue.Stalled {
			t.Errorf("after an hour of sleep: %v", err)
		}
	})
}

// TestL08WorkElsewhereEndsInTime: what doesn't wait here ends with the deadline, and
// the watch over it with the work.
func TestL08WorkElsewhereEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatchdog(clock.Real{}, 20*time.Minute, time.Hour)
		start := time.Now()
		ctx, stop := w.bound(t.Context())
		<-ctx.Done()
		var overdue *OverdueError
		if took := time.Since(start); !errors.As(context.Cause(ctx), &overdue) || overdue.Stalled || took > 21*time.Minute {
			t.Errorf("it ended after %v: %v", took, context.Cause(ctx))
		}
		stop()
		ctx, stop = newWatchdog(clock.Real{}, time.Hour, time.Hour).bound(t.Context())
		stop()
		if time.Since(start) > 21*time.Minute || !errors.Is(context.Cause(ctx), context.Canceled) {
			t.Errorf("the watch outlasts the work: %v", context.Cause(ctx))
		}
	})
}

// suspended sleeps for hours longer than it was asked to.
type suspended struct{ clock.Real }

func (s suspended) Sleep(ctx context.Context, d time.Duration) error {
	return s.Real.Sleep(ctx, d+3*time.Hour)
}
