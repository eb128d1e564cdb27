package testkit_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
)

// Rates are medians, and are compared round by round: a machine that becomes slow makes
// no way slower than another one.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m testkit.Turns
		first := map[string]int{}
		load := 1
		for n, l := range []int{1, 10, 100} {
			load = l
			begun := false
			way := func(name string, d time.Duration) func() error {
				return func() error {
					if !begun {
						begun = true
						first[name]++
					}
					time.Sleep(d * time.Duration(load))
					return nil
				}
			}
			if err := m.Round(80, map[string]func() error{"a": way("a", time.Second), "b": way("b", 2*time.Second), "c": way("c", 4*time.Second)}); err != nil {
				t.Fatal(n, err)
			}
		}
		if m.Rate("a") != 8 || m.Rate("b") != 4 || m.Of("b", "a") != 0.5 || m.Of("a", "c") != 4 || m.Rate("d") != 0 || m.Of("a", "d") != 0 {
			t.Errorf("a %v, b %v, %v, %v", m.Rate("a"), m.Rate("b"), m.Of("b", "a"), m.Of("a", "c"))
		}
		if len(first) != 3 {
			t.Errorf("%v began", first)
		}
		if text := m.String(); !strings.Contains(text, "8 MiB/s of 1 8 80\n") {
			t.Errorf("it says\n%s", text)
		}
		broken := errors.New("broken")
		if err := m.Round(1, map[string]func() error{"a": func() error { return broken }}); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "a: ") {
			t.Errorf("%v", err)
		}
	})
}
