// Package transfer measures and limits the moving of bytes: images to a
// registry, checkpoints to a bucket.
//
// A [Meter] counts by named items, such as an image or a checkpoint, and says at
// any time how far all of it is, how fast it goes and how long it will take. A
// [Limit] is a bandwidth that whatever moves at the same time shares. Both go by
// a clock, are safe for concurrent use, and start nothing in the background; a nil
// one counts nothing, and limits nothing. [Do] ends requests that stand still, and
// [Resume] reads on where an answer broke.
package transfer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// Status is what became of an item.
type Status string

// The statuses.
const (
	Moving  Status = "moving"
	Done    Status = "done"
	Skipped Status = "skipped" // everything was there already
	Failed  Status = "failed"
	// Interrupted is what views make of an item that failed since it was ended from
	// outside.
	Interrupted Status = "interrupted"
)

// Bytes count an item, or all of them.
type Bytes struct {
	// Total is how many there are, and Known whether that is all of them: more
	// may be found.
	Total int64 `json:"totalBytes"`
	Known bool  `json:"totalKnown"`
	// Moved were moved, and Skipped needn't be: they were there.
	Moved   int64 `json:"movedBytes"`
	Skipped int64 `json:"skippedBytes"`
}

// Left is how many bytes are yet to be moved, as far as is known.
func (b Bytes) Left() int64 { return max(b.Total-b.Moved-b.Skipped, 0) }

// Progress is how far one item is. As an event it says that one began, or how it
// ended.
type Progress struct {
	Time time.Time `json:"time"`
	Item string    `json:"item"`
	Bytes
	Status Status `json:"status"`
	// Error is why it failed.
	Error string `json:"error,omitempty"`
}

// State is how far all items of a meter are.
type State struct {
	Time time.Time `json:"time"`
	Bytes
	// Rate is how many bytes a second were moved of late: in the last ten seconds, or
	// since the start if that is shorter.
	Rate float64 `json:"bytesPerSecond"`
	// Remaining is how long it takes at this rate; negative if nobody knows.
	Remaining time.Duration `json:"remainingNanoseconds"`
	// Items are those that move, in the order in which they began. Done counts
	// those that ended well, skipped ones included, and Failed the others.
	Items  []Progress `json:"items"`
	Done   int        `json:"done"`
	Failed int        `json:"failed"`
}

// Idle tells that no item moves.
func (s State) Idle() bool { return len(s.Items) == 0 }

const (
	// window is how far back a rate looks.
	window = 10 * time.Second
	// slot is how finely.
	slot = time.Second / 2
)

// Meter counts bytes by items. Make one with [NewMeter].
type Meter struct {
	clock clock.Clock
	emit  func(Progress)

	mu      sync.Mutex
	items   []*Item // those that move
	ended   Bytes   // of those that ended
	done    int
	failed  int
	expect  int64 // announced, and of no item yet
	unknown int   // items that are announced without their sizes
	started time.Time
	slots   []moved
}

// moved is what was moved from a time on, for a slot.
type moved struct {
	at time.Time
	n  int64
}

// NewMeter returns a meter. Emit, which may be nil, is told when an item begins
// and ends, one at a time; it must not call the meter.
func NewMeter(c clock.Clock, emit func(Progress)) *Meter {
	if emit == nil {
		emit = func(Progress) {}
	}
	return &Meter{clock: c, emit: emit}
}

// Item is one thing that is moved. A nil item counts nothing.
type Item struct {
	meter *Meter
	name  string
	Bytes // guarded by the meter's mutex
	read  bool
	over  bool
}

// Start begins an item. Total is how many bytes it has; negative if that is not
// known yet.
func (m *Meter) Start(name string, total int64) *Item { return m.begin(&Item{name: name}, total) }

// Read is [Meter.Start] of an item that is read where it lies, to see what is in it.
// Its bytes count while that goes on; once it has ended, nothing of it was moved.
func (m *Meter) Read(name string, total int64) *Item {
	return m.begin(&Item{name: name, read: true}, total)
}

func (m *Meter) begin(i *Item, total int64) *Item {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	if m.started.IsZero() {
		m.started = now
	}
	i.meter, i.Bytes = m, Bytes{Total: max(total, 0), Known: total >= 0}
	m.items = append(m.items, i)
	m.emit(i.progress(now, Moving, nil))
	return i
}

// Expect announces bytes of items that will begin later, so that the total is
// right from the start; a negative number takes some back, as an item begins.
func (m *Meter) Expect(n int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expect += n
}

// ExpectUnknown announces items that will begin later and whose sizes nobody knows yet, so
// that nothing passes for the total until they do; a negative number takes some back.
func (m *Meter) ExpectUnknown(items int) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unknown += items
}

func (i *Item) progress(at time.Time, s Status, err error) Progress {
	p := Progress{Time: at, Item: i.name, Bytes: i.Bytes, Status: s}
	if err != nil {
		p.Error = err.Error()
	}
	return p
}

// change changes an item that has not ended.
func (i *Item) change(f func(now time.Time)) {
	if i == nil {
		return
	}
	i.meter.mu.Lock()
	defer i.meter.mu.Unlock()
	if !i.over {
		f(i.meter.clock.Now())
	}
}

// Expect says how many bytes an item has, once that is known or changes.
func (i *Item) Expect(total int64) {
	i.change(func(time.Time) { i.Total, i.Known = total, true })
}

// Move counts bytes that were moved. A negative number takes back what must be
// moved again.
func (i *Item) Move(n int64) {
	i.change(func(now time.Time) {
		i.Moved += n
		if !i.Known {
			i.Total = max(i.Total, i.Moved+i.Skipped)
		}
		i.meter.rate(now, n)
	})
}

// Skip counts bytes that need not be moved. A negative number takes back those that must
// be after all.
func (i *Item) Skip(n int64) {
	i.change(func(time.Time) {
		i.Skipped += n
		if !i.Known {
			i.Total = max(i.Total, i.Moved+i.Skipped)
		}
	})
}

// End ends an item: done, skipped if nothing had to be moved, or failed. What
// comes after is not counted.
func (i *Item) End(err error) {
	i.change(func(now time.Time) {
		m := i.meter
		i.over = true
		m.items = slices.DeleteFunc(m.items, func(o *Item) bool { return o == i })
		s := Done
		switch {
		case err != nil:
			s = Failed
		case i.Moved == 0 && i.Skipped > 0:
			s = Skipped
		}
		if s != Failed {
			// That is all there was.
			i.Known, i.Total = true, i.Moved+i.Skipped
		}
		m.count(i, s)
		m.emit(i.progress(now, s, err))
	})
}

// count adds an item that ended so to the others. The caller holds mu.
func (m *Meter) count(i *Item, s Status) {
	switch {
	case i.read:
		return
	case s == Failed:
		m.failed++
	default:
		m.done++
	}
	m.ended.Total += i.Moved + i.Skipped
	m.ended.Moved += i.Moved
	m.ended.Skipped += i.Skipped
}

// rate notes what was moved. The caller holds mu.
func (m *Meter) rate(now time.Time, n int64) {
	at := now.Truncate(slot)
	if last := len(m.slots) - 1; last >= 0 && !m.slots[last].at.Before(at) {
		m.slots[last].n += n
	} else {
		m.slots = append(m.slots, moved{at, n})
	}
	m.slots = slices.DeleteFunc(m.slots, func(s moved) bool { return !s.at.After(now.Add(-window)) })
}

// State is how far all items are.
func (m *Meter) State() State {
	if m == nil {
		return State{Remaining: -1}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	s := State{Time: now, Bytes: m.ended, Done: m.done, Failed: m.failed, Remaining: -1, Items: []Progress{}}
	s.Known, s.Total = m.unknown == 0, s.Total+m.expect
	for _, i := range m.items {
		s.Items = append(s.Items, i.progress(now, Moving, nil))
		s.Total += i.Total
		s.Moved += i.Moved
		s.Skipped += i.Skipped
		s.Known = s.Known && i.Known
	}
	var n int64
	from := m.started
	if since := now.Add(-window); since.After(from) {
		from = since
	}
	for _, slot := range m.slots {
		if slot.at.After(now.Add(-window)) {
			n += slot.n
		}
	}
	if over := now.Sub(from); over > 0 && n > 0 {
		s.Rate = float64(n) / over.Seconds()
	}
	switch {
	case !s.Known:
	case s.Left() == 0:
		s.Remaining = 0
	case s.Rate > 0:
		s.Remaining = time.Duration(min(float64(s.Left())/s.Rate, float64(longest/time.Second)) * float64(time.Second))
	}
	return s
}

// longest is what remains at most, so that it fits.
const longest = 1000 * time.Hour

// Watch shows the state every so often until the context ends. It does not make a
// [clock.Scaled] run fast.
func (m *Meter) Watch(ctx context.Context, every time.Duration, show func(State)) {
	if m == nil {
		return
	}
	for clock.Linger(ctx, m.clock, every) == nil {
		show(m.State())
	}
}
