package images_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/images"
)

// A layer that is not any more what it was when the bundle was read is not
// completed, and an archive that was cut since is refused; both name it.
func TestChanged(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for name, change := range map[string]func([]byte) []byte{
			"changed since the bundle was read": func(b []byte) []byte {
				i := bytes.Index(b, []byte("nonroot:x"))
				if size > 1000 { // in the middle of a large layer
					i = len(b) / 2
				}
				b[i] ^= 1
				return b
			},
			"ends early": func(b []byte) []byte { return b[:len(b)/2] },
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				c := sample(t, "folder", size)
				at := filepath.Join(c.Path, "containers", "core-api.tar")
				body, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, change(body), 0o600); err != nil {
					t.Fatal(err)
				}
				_, err = w.push(t.Context(), c)
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%d bytes: %s is not said: %v", size, name, err)
				}
				if got := w.visible(); slices.Contains(got, "core-api") {
					t.Errorf("%s is there", got)
				}
			})
		}
	}
}

// A file that is gone since the bundle was read, or is another one, is named with
// each layer that is missing by it, and the other images get there.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for name, change := range map[string]func(t *testing.T, at string) error{
			"removed": func(_ *testing.T, at string) error { return os.Remove(at) },
			"another": func(t *testing.T, at string) error {
				other := sample(t, "folder", 500)
				return os.Rename(filepath.Join(other.Path, "containers", "core-api.tar"), at)
			},
			"empty": func(_ *testing.T, at string) error { return os.WriteFile(at, make([]byte, 1024), 0o600) },
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				c := sample(t, "folder", size)
				if err := change(t, filepath.Join(c.Path, "containers", "core-api.tar")); err != nil {
					t.Fatal(err)
				}
				_, err := w.push(t.Context(), c)
				faults, ok := errors.AsType[fault.Faults](err)
				if !ok || len(faults) == 0 || !strings.HasPrefix(faults[0].Place, "containers/core-api.tar > ") || !strings.Contains(faults[0].Reason, "sha256:") || faults[0].Fix == "" {
					t.Errorf("%s, %d bytes: the error is %v", name, size, err)
				}
				failed, ok := errors.AsType[*images.PushError](err)
				if !ok || len(failed.Failures) != 1 || !strings.Contains(failed.Error(), "core-api:v1.0.0") {
					t.Errorf("%s, %d bytes: the error is %v", name, size, err)
				}
				if got := w.visible(); slices.Contains(got, "core-api") || len(got) != 2 {
					t.Errorf("%s, %d bytes: there are %v", name, size, got)
				}
			})
		}
	}
}
