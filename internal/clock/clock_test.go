package clock

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
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

// A simulated service that is slow is waited for by a client that holds the
// clock: its time passes fast all the same, and the hold is there again after it.
func TestScaledSleepHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewScaled(100)
		for _, held := range []bool{true, false} {
			var release func()
			if held {
				release = c.Hold()
			}
			start, wall := c.Now(), time.Now()
			if err := c.SleepHeld(t.Context(), 100*time.Second); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(wall).Round(time.Millisecond); took != time.Second {
				t.Errorf("held %v: 100s took %v, want 1s", held, took)
			}
			if got := c.Now().Sub(start).Round(time.Second); got != 100*time.Second {
				t.Errorf("held %v: %v passed, want 100s", held, got)
			}
			if held {
				done := make(chan time.Duration)
				wall := time.Now()
				go func() {
					_ = c.Sleep(t.Context(), 2*time.Second)
					done <- time.Since(wall)
				}()
				if took := (<-done).Round(time.Millisecond); took != 2*time.Second {
					t.Errorf("held again, 2s took %v", took)
				}
				release()
			}
		}
		// Another holder's hold stays.
		one, two := c.Hold(), c.Hold()
		wall := time.Now()
		if err := c.SleepHeld(t.Context(), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(wall).Round(time.Millisecond); took != 2*time.Second {
			t.Errorf("held by another, 2s took %v", took)
		}
		one()
		two()
		// A client that gives up releases before its service notices.
		ctx, cancel := context.WithCancel(t.Context())
		release := c.Hold()
		go func() { _ = c.SleepHeld(ctx, time.Hour) }()
		synctest.Wait()
		release()
		cancel()
		synctest.Wait()
		wall = time.Now()
		if err := c.Sleep(t.Context(), 100*time.Second); err != nil || time.Since(wall).Round(time.Millisecond) != time.Second {
			t.Errorf("after all holds, 100s took %v: %v", time.Since(wall), err)
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

// A sleeper that wakes up late, on a busy machine, has no more time passed fast
// than it asked for: the clock is fast up to the first sleeper's time, and on when
// that one is awake.
func TestScaledIsFastNoLongerThanSomebodySleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewScaled(100)
		start := c.Now()
		for _, until := range []time.Duration{50 * time.Second, 100 * time.Second} {
			// They sleep on, whatever the clock says.
			at := start.Add(until)
			c.adjust(func() { c.sleepers = append(c.sleepers, &at) })
		}
		for _, tt := range []struct {
			wall, want time.Duration
			wakes      bool
		}{
			{500 * time.Millisecond, 50 * time.Second, false},
			{time.Second, 51 * time.Second, false},
			{490 * time.Millisecond, 100 * time.Second, true},
			{time.Minute, 160 * time.Second, false},
		} {
			if tt.wakes {
				c.adjust(func() { c.sleepers = c.sleepers[1:] })
			}
			time.Sleep(tt.wall)
			if got := c.Now().Sub(start).Round(time.Millisecond); got != tt.want {
				t.Errorf("after %v more: passed %v, want %v", tt.wall, got, tt.want)
			}
		}
	})
}

// Sleeps that are shorter than a timer can be are waited for together.
func TestScaledShortSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewScaled(100_000)
		start, wall, waits := c.Now(), time.Now(), 0
		for range 1000 {
			before := time.Now()
			if err := c.Sleep(t.Context(), 10*time.Second); err != nil { // 0.1 ms
				t.Fatal(err)
			}
			if time.Now().After(before) {
				waits++
			}
		}
		if took := time.Since(wall).Round(time.Millisecond); took < 95*time.Millisecond || took > 105*time.Millisecond {
			t.Errorf("10,000s at speed 100,000 took %v, want 100ms", took)
		}
		if got := c.Now().Sub(start); got < 10_000*time.Second || got > 10_001*time.Second {
			t.Errorf("passed %v, want 10,000s", got)
		}
		if waits > 100 {
			t.Errorf("waited %d times", waits)
		}
		// A clock that is held is at the wall's pace, however short the sleep.
		defer c.Hold()()
		wall = time.Now()
		if err := c.Sleep(t.Context(), 100*time.Microsecond); err != nil || time.Since(wall) < 100*time.Microsecond {
			t.Errorf("held, 100µs took %v: %v", time.Since(wall), err)
		}
	})
}

// Who lingers sees time pass as it does, and does not make it pass.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewScaled(100)
		done := make(chan time.Duration)
		linger := func(d time.Duration) {
			wall := time.Now()
			if err := Linger(t.Context(), c, d); err != nil {
				t.Error(err)
			}
			done <- time.Since(wall).Round(time.Millisecond)
		}
		go linger(100 * time.Second)
		if got := <-done; got != 100*time.Second {
			t.Errorf("alone, 100s took %v", got)
		}
		go linger(150 * time.Second)
		synctest.Wait()
		if err := c.Sleep(t.Context(), 100*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != 51*time.Second {
			t.Errorf("while somebody slept for 100s at speed 100, 150s took %v, want 51s", got)
		}
		go linger(2 * time.Second)
		synctest.Wait()
		c.Skip(time.Hour)
		if got := <-done; got != 0 {
			t.Errorf("after a skip, 2s took %v", got)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("interrupted")
		cancel(reason)
		for _, c := range []Clock{c, Real{}} {
			if err := Linger(ctx, c, time.Hour); !errors.Is(err, reason) {
				t.Errorf("got %v, want the cause of the context's end", err)
			}
		}
	})
}

// A patient clock is slow while what woke up computes, but not for ever.
func TestScaledIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewScaled(100)
		var computes atomic.Bool
		c.Patient(computes.Load)
		go func() { _ = c.Sleep(t.Context(), 1000*time.Hour) }()
		synctest.Wait()
		for name, event := range map[string]func(){
			"a sleeper woke up": func() {
				if err := c.Sleep(t.Context(), 100*time.Second); err != nil {
					t.Fatal(err)
				}
			},
			"a hold is over": func() { c.Hold()() },
		} {
			for _, tt := range []struct {
				computes    bool
				least, most time.Duration // that pass in five milliseconds
			}{
				{true, 5 * time.Millisecond, 5 * time.Millisecond},
				{false, 450 * time.Millisecond, 500 * time.Millisecond},
			} {
				computes.Store(tt.computes)
				event()
				before := c.Now()
				time.Sleep(5 * time.Millisecond)
				if got := c.Now().Sub(before).Round(time.Millisecond); got < tt.least || got > tt.most {
					t.Errorf("%s, computing %v: in 5ms pass %v, want %v to %v", name, tt.computes, got, tt.least, tt.most)
				}
				time.Sleep(time.Second)
				before = c.Now()
				time.Sleep(time.Second)
				if got := c.Now().Sub(before).Round(time.Second); got != 100*time.Second {
					t.Errorf("%s, computing %v: a second later %v pass in a second", name, tt.computes, got)
				}
			}
		}
	})
}

// What computes is seen, and what waits is not.
func TestComputing(t *testing.T) {
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			runtime.Gosched()
		}
	}()
	for range 100 {
		if !Computing() {
			t.Error("a goroutine that computes is not seen")
		}
	}
	stop.Store(true)
	<-done
	for n := 0; Computing(); n++ {
		if n == 10_000 {
			t.Fatal("something computes for ever")
		}
		time.Sleep(time.Millisecond)
	}
}
