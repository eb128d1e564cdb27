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

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images"
)

// A layer that is not any more what it was when the bundle was read is not
// completed, and is named; an archive that was cut since is refused, with the file that
// the cut is in.
func TestChanged(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for _, cut := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				c := sample(t, "folder", size)
				at := filepath.Join(c.Path, "containers", "core-api.tar")
				body, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				// In the middle of the layer that only this image has.
				own := coreLayer(c)
				i := bytes.Index(body, []byte(own.File)) + 512 + int(own.Size)/2
				want := "layer " + own.Digest + " changed since the bundle was read"
				if body[i] ^= 1; cut {
					body, want = body[:i], "containers/core-api.tar > "+own.File+": ends early"
				}
				if err := os.WriteFile(at, body, 0o600); err != nil {
					t.Fatal(err)
				}
				_, err = w.push(t.Context(), c)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%d bytes: it is not said that %s: %v", size, want, err)
				}
				if got := w.visible(); slices.Contains(got, "core-api") {
					t.Errorf("%s is there", got)
				}
				w.lacks(own.Digest, own.Size)
			})
		}
	}
}

// A file that is gone since the bundle was read, or is another one, is named with one
// of the layers that are missing by it, and the other images get there.
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
				core := slices.IndexFunc(c.Images, func(i bundle.Image) bool { return i.File == "containers/core-api.tar" })
				faults, ok := errors.AsType[fault.Faults](err)
				if !ok || len(faults) != 1 || faults[0].Fix == "" || !slices.ContainsFunc(c.Images[core].Manifests[0].Blobs, func(b image.Blob) bool {
					return faults[0].Place == "containers/core-api.tar > "+b.File && strings.Contains(faults[0].Reason, b.Digest)
				}) {
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
