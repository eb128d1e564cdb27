package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/poolhouse/poolhouse/bundle/archive"
)

// What changes between the time when it is looked at and the time when it is
// written ends the build, and nothing is left of it.
func TestSourceChanges(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"AFTER!", "longer than before", "short", ""} {
		dir := t.TempDir()
		script := filepath.Join(dir, "script.sh")
		if err := os.WriteFile(script, []byte("before"), 0o644); err != nil {
			t.Fatal(err)
		}
		b := archive.NewBudget(t.Context(), archive.Default())
		list := sources(BuildOptions{Scripts: []string{script}, Limits: archive.Default()}, b)
		r := newReader(b)
		if err := list[0].read(b, r.visit); err != nil || b.Len() > 0 {
			t.Fatal(err, b.Faults())
		}
		if err := os.WriteFile(script, []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
		w := &writer{ctx: t.Context(), files: r.out.files, own: map[string][]byte{Sums: sums(r.out.files)}}
		if err := w.archive(filepath.Join(dir, "b.tar"), false, list, archive.Default()); !errors.Is(err, ErrChanged) {
			t.Errorf("%q: %v", after, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%q: %v is left, %v", after, left, err)
		}
	}
}
