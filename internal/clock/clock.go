// Package clock makes time a value: everything that waits takes a [Clock], so
// that tests run on virtual time and rehearsals faster than reality.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells and passes time.
type Clock interface {
	// Now is the present.
	Now() time.Time
	// Sleep waits for d, or returns the context's error when it ends first.
	Sleep(ctx context.Context, d time.Duration) error
	// Wall is how long d lasts on the wall, for waits that others do.
	Wall(d time.Duration) time.Duration
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

// Wall implements [Clock].
func (Real) Wall(d time.Duration) time.Duration { return d }

// Scaled runs fast while somebody sleeps on it and nobody holds it, and at the
// wall's speed otherwise. So computing and real transfers take the time they
// take, and only waiting for simulated operations is shortened. It is safe for
// concurrent use.
type Scaled struct {
	speed float64

	mu       sync.Mutex
	virtual  time.Time // at the moment wall
	wall     time.Time
	sleepers int
	holds    int
	changed  chan struct{} // closed when the rate changes or time is skipped
}

// NewScaled returns a clock that starts now; speed is the factor by which
// waiting is shortened and must be at least 1.
func NewScaled(speed float64) *Scaled {
	now := time.Now()
	return &Scaled{speed: max(speed, 1), virtual: now, wall: now, changed: make(chan struct{})}
}

// rate is how fast time runs. The caller holds mu.
func (s *Scaled) rate() float64 {
	if s.sleepers > 0 && s.holds == 0 {
		return s.speed
	}
	return 1
}

// settle moves the base to the present. The caller holds mu.
func (s *Scaled) settle() {
	wall := time.Now()
	s.virtual = s.virtual.Add(time.Duration(float64(wall.Sub(s.wall)) * s.rate()))
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
	return sync.OnceFunc(func() { s.adjust(func() { s.holds-- }) })
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
	s.adjust(func() { s.sleepers++ })
	defer s.adjust(func() { s.sleepers-- })
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.mu.Lock()
		s.settle()
		left, rate, changed := until.Sub(s.virtual), s.rate(), s.changed
		s.mu.Unlock()
		if left <= 0 {
			return nil
		}
		t := time.NewTimer(time.Duration(float64(left)/rate) + 1)
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

// Wall implements [Clock].
func (s *Scaled) Wall(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.speed)
}
