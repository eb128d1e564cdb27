package verify_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify"
)

// TestBaselinePage holds docs/security.md to the promises that checks answer.
func TestBaselinePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(page), "<!-- baseline -->\n")
	text, _, ended := strings.Cut(text, "<!-- end of baseline -->")
	if !ok || !ended {
		t.Fatal("docs/security.md has no baseline")
	}
	want, topic := "| Id | Promise |\n|---|---|\n", ""
	for _, p := range verify.Baseline() {
		lead := ""
		if p.Topic != topic {
			lead = "**" + p.Topic + ".** "
		}
		topic = p.Topic
		want += fmt.Sprintf("| %s | %s%s |\n", p.ID, lead, p.Says)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(text, "\n")); diff != "" {
		t.Errorf("docs/security.md (-want +got):\n%s", diff)
	}
}

// TestCoverage has a check for every row of the reference and every promise of
// the baseline, but for those that say why nobody can check them.
func TestCoverage(t *testing.T) {
	t.Parallel()
	answered := map[string]bool{}
	seen := map[string]bool{}
	for _, c := range verify.Checks() {
		if seen[c.ID] {
			t.Errorf("two checks are called %s", c.ID)
		}
		seen[c.ID] = true
		if c.Proves == "" || c.Level == "" || len(c.Rows) == 0 {
			t.Errorf("%s does not say what it proves, for which level and rows", c.ID)
		}
		for _, r := range c.Rows {
			answered[r] = true
		}
	}
	ids := map[string]bool{"N1": true}
	for _, r := range architecture.Reference() {
		ids[r.ID] = true
		if !answered[r.ID] && r.ID != "N1" {
			t.Errorf("no check answers row %s: %s", r.ID, r.Asks)
		}
	}
	for _, p := range verify.Baseline() {
		ids[p.ID] = true
		if answered[p.ID] == (p.Note != "") {
			t.Errorf("promise %s (%s) is answered by a check: %v, but its note is %q", p.ID, p.Says, answered[p.ID], p.Note)
		}
	}
	for _, r := range slices.Sorted(func(yield func(string) bool) {
		for r := range answered {
			if !yield(r) {
				return
			}
		}
	}) {
		if !ids[r] {
			t.Errorf("a check answers %s, which is no row and no promise", r)
		}
	}
	if least := 70; len(seen) < least {
		t.Errorf("there are %d checks, fewer than %d", len(seen), least)
	}
}
