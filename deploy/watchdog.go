package deploy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// How long a deletion may take, and how long nothing may move in it. Production
// takes half an hour; a last snapshot of a large database takes longest.
const (
	DefaultDeadline = 6 * time.Hour
	DefaultStall    = time.Hour
)

// watchdog is the clock of a deletion. Who sleeps on it when the deadline is
// over, or when nothing has moved for too long, gets an [OverdueError] instead:
// all waiting in a deletion is done here, so it can't go on for ever.
type watchdog struct {
	clock.Clock
	deadline, stall time.Duration

	guard       sync.Mutex
	start, last time.Time
	// explained is until when sleeps on this clock account for the time.
	explained time.Time
	seen      map[string]string
}

func newWatchdog(c clock.Clock, deadline, stall time.Duration) *watchdog {
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	if stall <= 0 {
		stall = DefaultStall
	}
	now := c.Now()
	return &watchdog{Clock: c, deadline: deadline, stall: stall, start: now, last: now, explained: now, seen: map[string]string{}}
}

// OverdueError says that a deletion took too long.
type OverdueError struct {
	// After is how long it took, and Still how long nothing had moved.
	After, Still time.Duration
	// Stalled tells that nothing moved; otherwise the deadline was over.
	Stalled bool
}

func (e *OverdueError) Error() string {
	if e.Stalled {
		return fmt.Sprintf("nothing has moved for %s", e.Still.Round(time.Second))
	}
	return fmt.Sprintf("the deadline is over after %s", e.After.Round(time.Second))
}

// Sleep implements [clock.Clock]. Only the time that is slept here counts as
// stillness: not that in which the run waited for credentials or the machine was
// suspended.
func (w *watchdog) Sleep(ctx context.Context, d time.Duration) error {
	w.skip(d)
	if err := w.overdue(); err != nil {
		return err
	}
	defer w.skip(0)
	return w.Clock.Sleep(ctx, d)
}

// bound gives a context that ends with the [OverdueError] once one is due: for work that
// doesn't sleep on this clock. Stop is for when the work is over.
func (w *watchdog) bound(ctx context.Context) (bounded context.Context, stop func()) {
	bounded, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		var err error
		for err == nil {
			err = w.Sleep(bounded, slow)
		}
		cancel(err)
	})
	return bounded, func() {
		cancel(nil)
		watching.Wait()
	}
}

// skip leaves out the time until now that no sleep accounts for. The next sleep
// takes as long as said.
func (w *watchdog) skip(next time.Duration) {
	w.guard.Lock()
	defer w.guard.Unlock()
	now := w.Clock.Now()
	if gap := now.Sub(w.explained); gap > 0 {
		if w.last = w.last.Add(gap); w.last.After(now) {
			w.last = now
		}
	}
	if until := now.Add(next); until.After(w.explained) {
		w.explained = until
	}
}

// mark returns a function that takes back what counted as progress since.
func (w *watchdog) mark() (back func()) {
	w.guard.Lock()
	defer w.guard.Unlock()
	last := w.last
	return func() {
		w.guard.Lock()
		defer w.guard.Unlock()
		w.last = last
	}
}

func (w *watchdog) overdue() error {
	w.guard.Lock()
	defer w.guard.Unlock()
	now := w.Clock.Now()
	e := &OverdueError{After: now.Sub(w.start), Still: now.Sub(w.last)}
	if e.Stalled = e.Still >= w.stall; e.Stalled || e.After >= w.deadline {
		return e
	}
	return nil
}

// progress notes that something moved.
func (w *watchdog) progress() {
	w.guard.Lock()
	defer w.guard.Unlock()
	w.last = w.Clock.Now()
}

// sees notes the state of something that is waited for: another one than before
// is progress.
func (w *watchdog) sees(what, state string) {
	w.guard.Lock()
	defer w.guard.Unlock()
	if was, ok := w.seen[what]; !ok || was != state {
		w.last = w.Clock.Now()
	}
	w.seen[what] = state
}
