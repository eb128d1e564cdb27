package bundle_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// TestBuildClears has a build find what one of the same name left when it was killed,
// what one that runs is writing, and what is somebody else's: only the first goes.
func TestBuildClears(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, err := samplebundle.Write(filepath.Join(t.TempDir(), "sources"), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "acme.tar")
	names := func() (list []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	var once sync.Once
	writing, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	running := o
	running.Progress = func(int64) {
		if len(names()) > 0 {
			once.Do(func() {
				close(writing)
				<-goOn
			})
		}
	}
	go func() {
		_, err := bundle.Build(t.Context(), name, running)
		ended <- err
	}()
	<-writing
	found := names()
	if len(found) != 1 || filepath.Ext(found[0]) == ".tar" {
		t.Fatalf("a build that runs has %q", found)
	}
	// A kill leaves what it had written, and nobody holds it.
	written, err := os.ReadFile(filepath.Join(dir, found[0]))
	if err != nil {
		t.Fatal(err)
	}
	others := []string{".acme.tar.poolhouse-", ".acme.tar.poolhouse-1a", ".acme.tar.gz.poolhouse-1", ".other.tar.poolhouse-1", ".poolhouse-1", "acme.tar.poolhouse-1"}
	for _, n := range append(slices.Clone(others), ".acme.tar.poolhouse-1", ".acme.tar.poolhouse-2") {
		if err := os.WriteFile(filepath.Join(dir, n), written, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, ".acme.tar.poolhouse-3"), 0o700), os.Symlink("acme.tar.poolhouse-1", filepath.Join(dir, ".acme.tar.poolhouse-4"))); err != nil {
		t.Fatal(err)
	}
	want := append(others, found[0], ".acme.tar.poolhouse-3", ".acme.tar.poolhouse-4", "acme.tar", "acme.tar.sha256")
	slices.Sort(want)
	if _, err := bundle.Build(t.Context(), name, o); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, names()); d != "" {
		t.Errorf("after the next build (-want +got):\n%s", d)
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Errorf("the one that ran: %v", err)
	}
	want = slices.DeleteFunc(want, func(n string) bool { return n == found[0] })
	if d := cmp.Diff(want, names()); d != "" {
		t.Errorf("after the one that ran (-want +got):\n%s", d)
	}
	if c := read(t, name); len(c.Faults) > 0 || !c.Sealed {
		t.Errorf("it made %v", c.Faults)
	}
}
