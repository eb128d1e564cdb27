package oracle

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// T is what is needed of a test.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Observe returns a hook for [wire.Options] that fails the test, when it ends,
// for each kind of fault that [Models.Check] finds; nil without models.
func Observe(t T) func(wire.Exchange) {
	t.Helper()
	ms := Load()
	if ms == nil {
		return nil
	}
	var mu sync.Mutex
	found := map[string]string{}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		var lines []string
		for _, f := range found {
			lines = append(lines, f)
		}
		slices.Sort(lines)
		for _, f := range lines {
			t.Errorf("oracle: %s", f)
		}
	})
	return func(x wire.Exchange) {
		for _, f := range ms.Check(x) {
			mu.Lock()
			if kind := kindOf(f); found[kind] == "" {
				found[kind] = f
			}
			mu.Unlock()
		}
	}
}

var varying = regexp.MustCompile(`\[[^\]]*\]|"[^"]*"`)

// kindOf is a fault without places in lists and without values.
func kindOf(f string) string {
	return strings.Join(strings.Fields(varying.ReplaceAllString(f, "")), " ")
}
