package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// TestPack gives charts as Helm takes them, of a folder and of an archive, and nothing
// that was changed meanwhile.
func TestPack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, err := samplebundle.Write(filepath.Join(dir, "sources"), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "sample.tar.gz")
	if _, err := bundle.Build(t.Context(), name, o); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "folder")
	if err := os.CopyFS(filepath.Join(folder, "charts", "sample-platform"), os.DirFS(o.Charts[0])); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{name, folder} {
		c, err := bundle.Read(t.Context(), path, bundle.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range c.Charts {
			body, err := c.Pack(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.Pack(t.Context(), h)
			if err != nil || !bytes.Equal(body, again) {
				t.Errorf("%s is packed in two ways, %v", h.File, err)
			}
			files := packedFiles(t, body)
			if h.Name != "sample-platform" {
				continue
			}
			want := []string{"sample-platform/Chart.yaml", "sample-platform/templates/core-api.yaml", "sample-platform/templates/web-assistant.yaml", "sample-platform/values.yaml"}
			if d := cmp.Diff(want, slices.Sorted(maps.Keys(files))); d != "" {
				t.Errorf("%s of %s: %s", h.File, path, d)
			}
			if !strings.Contains(files[want[0]], "name: sample-platform") {
				t.Errorf("%s holds %q", want[0], files[want[0]])
			}
		}
	}
	c, err := bundle.Read(t.Context(), folder, bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "charts", "sample-platform", "values.yaml"), []byte("a: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pack(t.Context(), c.Charts[0]); err == nil || !strings.Contains(err.Error(), "charts/sample-platform/values.yaml in "+folder+" has changed since it was read") {
		t.Errorf("changed: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(folder, "charts")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pack(t.Context(), c.Charts[0]); err == nil || !strings.Contains(err.Error(), "no longer in the bundle") {
		t.Errorf("gone: %v", err)
	}
}

func packedFiles(t *testing.T, body []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}
