package clock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestScaledRunsFastOnlyWhileSleeping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewScaled(100)
		start := c.Now()

		time.Sleep(time.Second)
		if got := c.Now().Sub(start); got != time.Second {
			t.Errorf("nobody sleeps: passed %v, want 1s", got)
		}

		wall := time.Now()
		if err := c.Sleep(t.Context(), 100*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(wall).Round(time.Millisecond); got != time.Second {
			t.Errorf("100s at speed 100 took %v of wall time, want 1s", got)
		}

		release := c.Hold()
		done := make(chan time.Duration)
		wall = time.Now()
		go func() {
			_ = c.Sleep(t.Context(), 101*time.Second)
			done <- time.Since(wall).Round(time.Millisecond)
		}()
		time.Sleep(time.Second)
		release()
		release() // a second release changes nothing
		if got := <-done; got != 2*time.Second {
			t.Errorf("held for one second, then 100s at speed 100: %v of wall time, want 2s", got)
		}
	})
}

func TestScaledSkipWakesSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewScaled(1)
		done := make(chan error)
		wall := time.Now()
		go func() { done <- c.Sleep(t.Context(), time.Hour) }()
		synctest.Wait()
		c.Skip(time.Hour)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(wall); took > time.Millisecond {
			t.Errorf("the sleeper woke after %v, want at once", took)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	reason := errors.New("interrupted")
	for name, c := range map[string]Clock{"real": Real{}, "scaled": NewScaled(2)} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(reason)
			for _, d := range []time.Duration{time.Hour, 0, -time.Second} {
				if err := c.Sleep(ctx, d); !errors.Is(err, reason) {
					t.Errorf("sleep %v: got %v, want the cause of the context's end", d, err)
				}
			}
		})
	}
}
