package testkit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Turns measures ways of doing the same by turns, each once in a round, so that what else
// goes on meets all of them. The zero value is ready.
type Turns struct {
	rounds int
	rates  map[string][]float64 // in MiB/s, by round
}

// Round does each way once, in another order than the round before, and takes down how
// fast it moved so many MiB.
func (t *Turns) Round(mib float64, ways map[string]func() error) error {
	if t.rates == nil {
		t.rates = map[string][]float64{}
	}
	names := slices.Sorted(maps.Keys(ways))
	for i := range names {
		name := names[(i+t.rounds)%len(names)]
		began := time.Now()
		if err := ways[name](); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		t.rates[name] = append(t.rates[name], mib/time.Since(began).Seconds())
	}
	t.rounds++
	return nil
}

// Names are those of the ways that were measured.
func (t *Turns) Names() []string { return slices.Sorted(maps.Keys(t.rates)) }

// Rate is the median of a way's rates, in MiB/s; 0 if it was not measured.
func (t *Turns) Rate(name string) float64 { return median(t.rates[name]) }

// Of is the median of what a way's rate was of another's in the same round; 0 if one was
// not measured.
func (t *Turns) Of(name, other string) float64 {
	var list []float64
	for i, rate := range t.rates[name] {
		if i < len(t.rates[other]) {
			list = append(list, rate/t.rates[other][i])
		}
	}
	return median(list)
}

// String is a line for each way: its rates from the least to the most.
func (t *Turns) String() string {
	var b strings.Builder
	for _, name := range t.Names() {
		fmt.Fprintf(&b, "%-14s %.0f MiB/s of", name, t.Rate(name))
		for _, rate := range slices.Sorted(slices.Values(t.rates[name])) {
			fmt.Fprintf(&b, " %.0f", rate)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
