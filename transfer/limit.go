package transfer

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// Limit is a bandwidth. Make one with [NewLimit].
type Limit struct {
	clock clock.Clock
	rate  int64

	mu sync.Mutex
	// next is when the next byte may go.
	next time.Time
}

// NewLimit returns a limit in bytes a second; nil, which is none, for 0 or less.
func NewLimit(c clock.Clock, bytesPerSecond int64) *Limit {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &Limit{clock: c, rate: bytesPerSecond}
}

const (
	// idle is how long a bandwidth that was not used may be caught up on.
	idle = time.Second / 10
	// piece is how much goes at once.
	piece = 32 << 10
)

// Wait returns when n more bytes may go, or with the context's error. They count
// as gone either way.
func (l *Limit) Wait(ctx context.Context, n int) error {
	if l == nil || n <= 0 {
		return nil
	}
	l.mu.Lock()
	now := l.clock.Now()
	at := l.next
	if least := now.Add(-idle); at.Before(least) {
		at = least
	}
	l.next = at.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	l.mu.Unlock()
	if at.After(now) {
		return l.clock.Sleep(ctx, at.Sub(now))
	}
	return nil
}

// Reader reads from another as fast as the limit allows, and counts what it reads
// as moved; limit and item may be nil. Reading ends with the context.
func Reader(ctx context.Context, r io.Reader, i *Item, l *Limit) io.Reader {
	return &reader{ctx: ctx, r: r, item: i, limit: l}
}

type reader struct {
	ctx   context.Context
	r     io.Reader
	item  *Item
	limit *Limit
}

func (r *reader) Read(p []byte) (int, error) {
	if r.limit != nil && len(p) > piece {
		p = p[:piece]
	}
	n, err := r.r.Read(p)
	r.item.Move(int64(n))
	if waited := r.limit.Wait(r.ctx, n); waited != nil {
		return n, waited
	}
	return n, err
}

// ParseRate reads a bandwidth, in bytes a second, as people write it: 50MB/s,
// 1.5 GiB, 800kbit/s, 1000000. Units of bits end in bit or bps.
func ParseRate(s string) (int64, error) {
	refuse := func(reason string) (int64, error) {
		return 0, fmt.Errorf("%q %s: write for example 50MB/s, 200Mbit/s or 1GiB/s", s, reason)
	}
	text := strings.ToLower(strings.TrimSpace(s))
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(text)
	}
	value, err := strconv.ParseFloat(text[:end], 64)
	if err != nil {
		return refuse("is no bandwidth")
	}
	unit := strings.TrimSpace(text[end:])
	if written := strings.TrimSuffix(strings.TrimSpace(s), "/s"); len(unit) > 1 && strings.HasSuffix(written, "b") {
		return refuse("may be bytes or bits")
	}
	if rest, ok := strings.CutSuffix(unit, "bps"); ok {
		unit = rest + "bit"
	}
	unit = strings.TrimSuffix(unit, "/s")
	bits := false
	if rest, ok := strings.CutSuffix(unit, "bit"); ok {
		unit, bits = rest, true
	} else {
		unit = strings.TrimSuffix(unit, "b")
	}
	factor, ok := map[string]float64{
		"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
		"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
	}[unit]
	if !ok {
		return refuse("has an unknown unit")
	}
	if bits {
		factor /= 8
	}
	value *= factor
	if value < 1 || value > math.MaxInt64/2 {
		return refuse("is out of range")
	}
	return int64(value), nil
}
