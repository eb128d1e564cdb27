package images_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/images"
)

// ECR takes no layer of 0 bytes, though a bundle may have one: that is said at once,
// with what to do, and the other images get there.
func TestEmptyLayer(t *testing.T) {
	t.Parallel()
	dir := filepath.Dir(sample(t, "b", 1000).Path)
	core := filepath.Join(dir, "b", "containers", "core-api")
	if err := errors.Join(os.RemoveAll(core+".tar"), os.MkdirAll(filepath.Join(core, "blobs", "sha256"), 0o700)); err != nil {
		t.Fatal(err)
	}
	// All that is left of the layer's beginning is nothing.
	empty := &large{layers: []string{digestOf(nil)}, size: -beginning}
	empty.write(t, core, "poolhouse-sample/core-api:v1.0.0")
	c, err := bundle.Read(t.Context(), filepath.Join(dir, "b"), bundle.Options{})
	if err != nil || len(c.Faults) > 0 {
		t.Fatal(err, c.Faults)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "IMMUTABLE")
		start := time.Now()
		_, err := w.push(t.Context(), c)
		failed, ok := errors.AsType[*images.PushError](err)
		if !ok || len(failed.Failures) != 1 || !strings.Contains(err.Error(), digestOf(nil)) || !strings.Contains(err.Error(), "it takes no empty layer") {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it was tried for %v", took)
		}
		if got := w.visible(); len(got) != 2 {
			t.Errorf("there are %v", got)
		}
	})
}
