package bundle_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// inFolder are the sample's images in a folder.
func inFolder(t *testing.T) *bundle.Contents {
	t.Helper()
	dir := t.TempDir()
	o, err := samplebundle.Write(filepath.Join(dir, "sources"), func(architecture string) ([]byte, error) { return []byte(architecture), nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range o.Images {
		to := filepath.Join(dir, "b", "containers", filepath.Base(s))
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(s, to)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := bundle.Read(t.Context(), filepath.Join(dir, "b"), bundle.Options{})
	if err != nil || len(c.Faults) > 0 {
		t.Fatal(err, c.Faults)
	}
	return c
}

// Files of a folder are read side by side, each by one alone.
func TestBlobsSideBySide(t *testing.T) {
	t.Parallel()
	c := inFolder(t)
	all := func(string) bool { return true }
	once := map[string]int{}
	if err := c.Blobs(t.Context(), bundle.Options{}, all, func(b image.Blob, _ io.Reader) error {
		once[b.Digest]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const side = 3
	var (
		mu     sync.Mutex
		inside sync.WaitGroup
		first  int
	)
	// The first ones wait for each other, which ends only if they are read side by side.
	inside.Add(side)
	got := map[string]int{}
	if err := c.Blobs(t.Context(), bundle.Options{Side: side}, all, func(b image.Blob, r io.Reader) error {
		mu.Lock()
		got[b.Digest]++
		waits := first < side
		first++
		mu.Unlock()
		if waits {
			inside.Done()
			inside.Wait()
		}
		_, err := io.Copy(io.Discard, r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for digest, n := range once {
		if got[digest] != n || len(got) != len(once) {
			t.Errorf("%s came %d times, not %d", digest, got[digest], n)
		}
	}
}

// An error ends the reading of all, and what is wrong with a file doesn't keep the
// others from being read.
func TestBlobsErrors(t *testing.T) {
	t.Parallel()
	c := inFolder(t)
	all := func(string) bool { return true }
	broken := errors.New("broken")
	for _, side := range []int{1, 4} {
		if err := c.Blobs(t.Context(), bundle.Options{Side: side}, all, func(image.Blob, io.Reader) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("%d side by side: %v", side, err)
		}
	}
	name := filepath.Join(c.Path, c.Images[0].File)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, side := range []int{1, 4} {
		var mu sync.Mutex
		came := map[string]bool{}
		err := c.Blobs(t.Context(), bundle.Options{Side: side}, all, func(b image.Blob, r io.Reader) error {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			came[b.Digest] = true
			return nil
		})
		faults, ok := errors.AsType[fault.Faults](err)
		if !ok || len(faults) != 1 {
			t.Errorf("%d side by side: %v", side, err)
		}
		for _, i := range c.Images[1:] {
			for _, m := range i.Manifests {
				for _, b := range m.Blobs {
					if !came[b.Digest] {
						t.Errorf("%d side by side: %s of %s did not come", side, b.Digest, i.File)
					}
				}
			}
		}
	}
}
