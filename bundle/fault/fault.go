// Package fault is what can be wrong with a bundle: a place, a reason and a next
// step. Readers of bundles go on after a fault where they can, so that all of
// them are reported at once.
package fault

import (
	"fmt"
	"slices"
	"strings"
)

// most is how many faults a [List] keeps. A hostile bundle can hold a million.
const most = 100

// Fault is one thing that is wrong with a bundle.
type Fault struct {
	// Place is a file of the bundle, with what lies in it after " > ":
	// containers/core.tar > manifest.json. It is empty for the whole.
	Place string `json:"place"`
	// Reason says what is wrong, Fix what to do about it.
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// String is one line, without the fix.
func (f Fault) String() string {
	if f.Place == "" {
		return "the bundle " + f.Reason
	}
	return f.Place + ": " + f.Reason
}

// Faults are everything that is wrong with a bundle, as an error.
type Faults []Fault

var _ error = Faults{}

// Error is two lines a fault: what is wrong, and what to do.
func (fs Faults) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.String() + "\n  fix: " + f.Fix)
	}
	return b.String()
}

// List takes faults down. The zero List is ready; it is not for concurrent use.
type List struct {
	faults  Faults
	dropped int
}

// Add takes one fault down. The reason is formatted.
func (l *List) Add(place, fix, reason string, args ...any) {
	if len(args) > 0 {
		reason = fmt.Sprintf(reason, args...)
	}
	f := Fault{Place: place, Reason: reason, Fix: fix}
	switch {
	case slices.Contains(l.faults, f):
	case len(l.faults) >= most:
		l.dropped++
	default:
		l.faults = append(l.faults, f)
	}
}

// Len is how many faults there are, with those that were not kept.
func (l *List) Len() int { return len(l.faults) + l.dropped }

// Faults are the faults in the order in which they were found; the last says how
// many were not kept.
func (l *List) Faults() Faults {
	fs := slices.Clone(l.faults)
	if l.dropped > 0 {
		fs = append(fs, Fault{"", fmt.Sprintf("has %d more faults", l.dropped), "correct these first"})
	}
	return fs
}

// Inside is the place of something within a place.
func Inside(place, within string) string {
	if place == "" {
		return within
	}
	return place + " > " + within
}

// Quoted shows a text that others wrote, cut to a length that fits a line.
func Quoted(s string) string {
	if r := []rune(s); len(r) > 80 {
		s = string(r[:77]) + "..."
	}
	return fmt.Sprintf("%q", s)
}
