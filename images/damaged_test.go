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
	"github.com/poolhouse/poolhouse/images"
)

// skimmed is a bundle in a folder as a push reads it.
func skimmed(t testing.TB, path string) *bundle.Contents {
	t.Helper()
	c, err := bundle.Read(t.Context(), path, bundle.Options{Skim: true})
	if err != nil || len(c.Faults) > 0 || !c.Skimmed {
		t.Fatal(err, c.Faults)
	}
	return c
}

// layersOf are the layers of an image in a layout, by their paths.
func layersOf(c *bundle.Contents, file string) (paths []string) {
	for _, i := range c.Images {
		for _, p := range i.Platforms {
			for _, l := range p.Layers {
				if i.File == file {
					paths = append(paths, filepath.Join(c.Path, file, l.File))
				}
			}
		}
	}
	return paths
}

// What was not read before is compared where it is sent: a layer that is damaged is not
// there afterwards, and neither is its image; it is named, with what to do. The other
// images get there, and once the bundle is whole only what is missing is sent.
func TestDamagedBundle(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for _, mounts := range []string{"ENABLED", "DISABLED"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				w.mounts(mounts)
				path := sample(t, "folder", size).Path
				c := skimmed(t, path)
				at := layersOf(c, "containers/inference")[1]
				body, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				changed := bytes.Clone(body)
				changed[len(body)/2] ^= 1
				if err := os.WriteFile(at, changed, 0o600); err != nil {
					t.Fatal(err)
				}
				c = skimmed(t, path)
				_, err = w.push(t.Context(), c)
				failed, ok := errors.AsType[*images.PushError](err)
				if !ok || len(failed.Failures) != 1 || !strings.HasSuffix(failed.Failures[0].Image, "/inference:v1.0.0") {
					t.Errorf("%d bytes: the error is %v", size, err)
				}
				for _, want := range []string{"sha256:" + filepath.Base(at), "is damaged, or was changed while it was pushed: containers/inference > blobs/sha256/" + filepath.Base(at) + " has other bytes", "poolhouse bundle verify"} {
					if err == nil || strings.Count(err.Error(), want) != 1 {
						t.Errorf("%d bytes: it is not said once that %q: %v", size, want, err)
					}
				}
				got := w.visible()
				if slices.Sort(got); !slices.Equal(got, []string{"core-api", "web-assistant"}) {
					t.Errorf("%d bytes: there are %v", size, got)
				}
				w.lacks("sha256:"+filepath.Base(at), int64(len(body)))
				if err := os.WriteFile(at, body, 0o600); err != nil {
					t.Fatal(err)
				}
				before, left := w.sent, w.plan(c).Send
				if left != int64(len(body)) {
					t.Errorf("%d bytes: %d are left, and the layer has %d", size, left, len(body))
				}
				if _, err := w.push(t.Context(), c); err != nil || w.sent-before != left {
					t.Errorf("%d bytes: then %d came, of %d: %v", size, w.sent-before, left, err)
				}
				w.everything(c)
			})
		}
	}
}

// lacks checks that no repository has a layer.
func (w *world) lacks(digest string, size int64) {
	w.t.Helper()
	g := w.open()
	for _, r := range g.Repositories {
		if there, err := g.Client.Layer(w.t.Context(), r.Name, digest, size); err != nil || there {
			w.t.Errorf("%s has %s: %v, %v", r.Name, digest, there, err)
		}
	}
}
