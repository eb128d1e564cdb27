// Package clock makes time a value: everything that waits takes a [Clock], so
// that tests run on virtual time and rehearsals faster than reality.
package clock

import (
	"context"
	"runtime/metrics"
	"slices"
	"sync"
	"time"
)

// Clock tells and passes time.
type Clock interface {
	// Now is the present.
	Now() time.Time
	// Sleep waits for d, or returns the context's error when it ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// Real is the machine's clock; inside testing/synctest, the bubble's.
type Real struct{}

var (
	_ Clock = Real{}
	_ Clock = (*Scaled)(nil)
)

// Now implements [Clock].
func (Real) Now() time.Time { return time.Now() }

// Sleep implements [Clock].
func (Real) Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Scaled runs fast while somebody sleeps on it and nobody holds it, and at the
// wall's speed otherwise. So computing and real transfers take the time they
// take, and only waiting for simulated operations is shortened: when the first
// sleeper's time has come, it is not fast any more until that sleeper is awake,
// however late that is. It is safe for concurrent use.
type Scaled struct {
	speed float64
	busy  func() bool // see Patient

	mu       sync.Mutex
	virtual  time.Time // at the moment wall
	wall     time.Time
	sleepers []*time.Time // until when
	holds    int
	resting  bool          // until nothing computes
	changed  chan struct{} // closed when the rate changes or time is skipped
	owed     time.Duration // of the wall, by sleeps that were too short to wait for
}

// tick is what is waited for at least: timers and the scheduler take as long.
const tick = time.Millisecond

// NewScaled returns a clock that starts now; speed is the factor by which
// waiting is shortened and must be at least 1.
func NewScaled(speed float64) *Scaled {
	now := time.Now()
	return &Scaled{speed: max(speed, 1), virtual: now, wall: now, changed: make(chan struct{})}
}

// room is how much time can pass fast. The caller holds mu.
func (s *Scaled) room() time.Duration {
	if s.holds > 0 || s.resting || len(s.sleepers) == 0 {
		return 0
	}
	first := slices.MinFunc(s.sleepers, func(a, b *time.Time) int { return a.Compare(*b) })
	return max(first.Sub(s.virtual), 0)
}

// rate is how fast time runs. The caller holds mu.
func (s *Scaled) rate() float64 {
	if s.room() > 0 {
		return s.speed
	}
	return 1
}

// settle moves the base to the present. The caller holds mu.
func (s *Scaled) settle() {
	wall := time.Now()
	passed, room := wall.Sub(s.wall), s.room()
	if takes := time.Duration(float64(room) / s.speed); passed > takes {
		s.virtual = s.virtual.Add(room + passed - takes)
	} else {
		s.virtual = s.virtual.Add(time.Duration(float64(passed) * s.speed))
	}
	s.wall = wall
}

// adjust changes what the rate depends on and wakes the sleepers if it became
// another.
func (s *Scaled) adjust(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	before := s.rate()
	f()
	if s.rate() != before {
		s.wake()
	}
}

func (s *Scaled) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Now implements [Clock].
func (s *Scaled) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.virtual
}

// Hold keeps the clock at the wall's speed until release is called, once.
func (s *Scaled) Hold() (release func()) {
	s.adjust(func() { s.holds++ })
	return sync.OnceFunc(func() {
		s.adjust(func() {
			s.holds--
			s.rest()
		})
	})
}

// Patient has the clock stay at the wall's speed when a sleeper has woken up or a
// hold is over until nothing is computed in the process any more, as far as that
// comes soon: what they do next then takes no longer on a busy machine than it
// computes. Busy tells whether anything is; see [Computing].
func (s *Scaled) Patient(busy func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = busy
}

// looks is how often a patient clock looks at most, each a part of a tick after the
// other: a process that always computes is not waited for.
const looks = 40

// rest keeps the clock slow while something computes. The caller holds mu.
func (s *Scaled) rest() {
	if s.busy == nil || s.resting {
		return
	}
	s.resting = true
	go func() {
		for n := 0; n < looks && s.busy(); n++ {
			time.Sleep(tick / 4)
		}
		s.adjust(func() { s.resting = false })
	}()
}

// Computing tells whether a goroutine of the process, other than the caller, runs or
// is ready to.
func Computing() bool {
	at := []metrics.Sample{{Name: "/sched/goroutines/running:goroutines"}, {Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(at)
	return at[0].Value.Uint64()+at[1].Value.Uint64() > 1
}

// SleepHeld is [Scaled.Sleep] for somebody whom a holder of the clock waits for,
// as a client waits for a simulated service that is slow: one hold, if there is
// any, is lifted meanwhile.
func (s *Scaled) SleepHeld(ctx context.Context, d time.Duration) error {
	lifted := 0
	s.adjust(func() {
		if s.holds > 0 {
			lifted = 1
		}
		s.holds -= lifted
	})
	defer s.adjust(func() { s.holds += lifted })
	return s.Sleep(ctx, d)
}

// Skip moves the clock forward by d at once.
func (s *Scaled) Skip(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.virtual = s.virtual.Add(d)
	s.wake()
}

// Sleep implements [Clock].
func (s *Scaled) Sleep(ctx context.Context, d time.Duration) error {
	until := s.Now().Add(d)
	s.adjust(func() { s.sleepers = append(s.sleepers, &until) })
	defer s.adjust(func() {
		i := slices.Index(s.sleepers, &until)
		s.sleepers = slices.Delete(s.sleepers, i, i+1)
		s.rest()
	})
	return s.wait(ctx, until, true)
}

// wait returns when a time has come, however fast it comes. A sleeper's time may
// be made to come.
func (s *Scaled) wait(ctx context.Context, until time.Time, sleeper bool) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.mu.Lock()
		s.settle()
		left, rate, changed := until.Sub(s.virtual), s.rate(), s.changed
		first := left <= s.room()
		takes := time.Duration(float64(left)/rate) + 1
		if sleeper && first && left > 0 && rate > 1 && takes < tick && s.owed < tick {
			// Many short sleeps are waited for together.
			s.owed += takes
			s.virtual = until
			s.wake()
			left = 0
		}
		if sleeper && left > 0 && rate > 1 {
			takes += s.owed
			s.owed = 0
		}
		s.mu.Unlock()
		if left <= 0 {
			return nil
		}
		t := time.NewTimer(takes)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-changed:
			t.Stop()
		case <-t.C:
		}
	}
}

// Linger waits as Sleep does, for somebody whom nobody waits for: a [Scaled]
// clock does not run fast because of it.
func Linger(ctx context.Context, c Clock, d time.Duration) error {
	if s, ok := c.(*Scaled); ok {
		return s.wait(ctx, s.Now().Add(d), false)
	}
	return c.Sleep(ctx, d)
}
