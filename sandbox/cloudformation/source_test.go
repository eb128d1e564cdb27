package cloudformation

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Templates that were read are kept up to a bound, and what is refused isn't.
func TestMemoryOfTemplates(t *testing.T) {
	t.Parallel()
	var m memory
	read := func(n int) string {
		return fmt.Sprintf("Description: d%d\n", n) + network + "# " + strings.Repeat("x", maxMemory/10) + "\n"
	}
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			first, err := m.parse(read(n))
			if err != nil {
				t.Error(err)
				return
			}
			if again, err := m.parse(read(n)); err != nil || again.Body != first.Body {
				t.Errorf("read again: %v", err)
			}
		})
	}
	all.Wait()
	if m.bytes > maxMemory || len(m.kept) == 0 || len(m.kept) > 10 {
		t.Errorf("keeps %d templates of %d bytes", len(m.kept), m.bytes)
	}
	one, _ := m.parse(read(1))
	if two, _ := m.parse(read(1)); one != two {
		t.Error("a template is read twice")
	}
	if _, err := m.parse("Resources: 1"); err == nil || m.kept["Resources: 1"] != nil {
		t.Errorf("a refused template: %v", err)
	}
}
