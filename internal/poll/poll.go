// Package poll waits for what AWS is doing, by looking at it again and again.
//
// A look that fails decides nothing: if the reason passes by itself it is
// repeated, with growing pauses, until a look succeeds or nothing was seen for
// [Blindness]. A look that fails for good ends the wait with its error, and what
// the caller may not look at is named by the permission it takes: it counts
// neither as there nor as gone. Pauses differ a little, so that many who wait
// don't ask AWS at the same moment. Nothing is printed; a wait tells what it sees.
package poll

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// Blindness is how long looks may fail before what is waited for is lost sight of.
const Blindness = 30 * time.Minute

const (
	// spread is by how much a pause differs from what was asked for, up or down.
	spread = 0.1
	// slowest is the longest pause between looks that fail, unless the wait's own
	// is longer.
	slowest = time.Minute
	// heartbeat is how often a wait that goes on tells what it sees.
	heartbeat = 5 * time.Minute
)

// Poller is who looks. It is safe for concurrent use.
type Poller struct {
	Clock clock.Clock
	// Seed draws by how much pauses differ.
	Seed uint64
}

// Wait is what is waited for, and how.
type Wait struct {
	// For names it, as in "the deletion of database x".
	For string
	// Pace is the pause after a look, given how long the wait has taken by then.
	Pace func(waited time.Duration) time.Duration
	// AtMost is how long is waited in all; 0 is as long as it takes.
	AtMost time.Duration
	// Next is what to do when that is over, or when it was lost sight of.
	Next string
	// Tell is told what goes on, in words: every few minutes what was seen last,
	// and at once why it can't be looked at. May be nil.
	Tell func(string)
}

// Error says that a wait ended without what it waited for.
type Error struct {
	For string
	// After is how long the wait took.
	After time.Duration
	// Seen is what was seen last; "" is nothing.
	Seen string
	// Err is why it could not be looked at any more; nil if the time was over.
	Err  error
	Next string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s is not over after %s", e.For, e.After.Round(time.Second))
	if e.Err != nil {
		s = "lose sight of " + e.For
	}
	if e.Seen != "" {
		s += "; last seen: " + e.Seen
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Next != "" {
		s += "; " + e.Next
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Until looks until a look says that it is over. A look is given how long the
// wait has taken, and says what it saw, in words. It may do things too, if they
// can be repeated.
//
// It returns nil; the context's cause when that ends; the clock's error when it
// lets nobody sleep any more; an [*Error] when the wait's time is over, or
// nothing could be seen for [Blindness]; or the error of a look that failed for
// good.
func (p Poller) Until(ctx context.Context, w Wait, look func(ctx context.Context, waited time.Duration) (over bool, seen string, err error)) error {
	start := p.Clock.Now()
	sighted, told := start, start
	last := ""
	failures := 0
	for n := uint64(0); ; n++ {
		over, seen, err := look(ctx, p.Clock.Now().Sub(start))
		now := p.Clock.Now()
		waited := now.Sub(start)
		pause := w.Pace(waited)
		switch {
		case err == nil && over:
			return nil
		case err == nil:
			sighted, failures, last = now, 0, seen
			if w.AtMost > 0 && waited >= w.AtMost {
				return &Error{For: w.For, After: waited, Seen: last, Next: w.Next}
			}
			if now.Sub(told) >= heartbeat && last != "" {
				told = now
				w.tell("waiting for %s, for %s by now: %s", w.For, waited.Round(time.Second), last)
			}
		case awsapi.IsDenied(err):
			return fmt.Errorf("to wait for %s takes the permission %s: %w", w.For, awsapi.Permission(err), err)
		case ctx.Err() != nil || !awsapi.Passes(err):
			return err
		case now.Sub(sighted) >= Blindness:
			return &Error{For: w.For, After: waited, Seen: last, Err: err, Next: w.Next}
		default:
			if failures == 0 {
				w.tell("%s can't be looked at for now, which decides nothing; looking again: %s", w.For, awsapi.Message(err))
			}
			failures++
			pause = max(pause, min(pause<<min(failures, 10), slowest))
		}
		if err := p.Pause(ctx, pause, w.For, n); err != nil {
			if ctx.Err() != nil || last == "" {
				return err
			}
			return fmt.Errorf("wait for %s, last seen: %s: %w", w.For, last, err)
		}
	}
}

func (w Wait) tell(format string, args ...any) {
	if w.Tell != nil {
		w.Tell(fmt.Sprintf(format, args...))
	}
}

// Pause sleeps for about so long: for the n-th time, of what the id names.
func (p Poller) Pause(ctx context.Context, pause time.Duration, id string, n uint64) error {
	return p.Clock.Sleep(ctx, p.jittered(pause, id, n))
}

// jittered is a pause with its spread: drawn by the seed, by what is waited for
// and by how often that was, so that a run can be repeated.
func (p Poller) jittered(pause time.Duration, id string, n uint64) time.Duration {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], p.Seed)
	binary.LittleEndian.PutUint64(b[8:], n)
	// A hash takes everything.
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(id))
	share := float64(h.Sum64()>>11) / (1 << 53) // from 0 to 1
	return time.Duration(float64(pause) * (1 + spread*(2*share-1)))
}

// Every is a steady pace.
func Every(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}
