package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
)

// A file of a bundle is read from a folder and from archives, and not when the
// bundle has become another.
func TestOpen(t *testing.T) {
	t.Parallel()
	weights := bytes.Repeat([]byte("weights"), 1<<17)
	content := map[string][]byte{"scripts/a.sh": []byte("a"), "checkpoints/m-1.0.tar": weights, "scripts/z.sh": []byte("z")}
	dir := t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, "folder", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packed := filepath.Join(dir, "b.tar")
	if err := os.WriteFile(packed, tarOf(t, content), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "folder"), packed} {
		c, err := bundle.Read(t.Context(), path, bundle.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := c.Open(t.Context(), "checkpoints/m-1.0.tar")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, weights) || r.Close() != nil {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
		if _, err := c.Open(t.Context(), "checkpoints/other.tar"); err == nil || !strings.Contains(err.Error(), "checkpoints/other.tar is not in the bundle "+path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	c, err := bundle.Read(t.Context(), packed, bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, prepare := range map[string]func() context.Context{
		"canceled": func() context.Context { return ctx },
		"changed": func() context.Context {
			delete(content, "checkpoints/m-1.0.tar")
			if err := os.WriteFile(packed, tarOf(t, content), 0o644); err != nil {
				t.Fatal(err)
			}
			return t.Context()
		},
	} {
		r, err := c.Open(prepare(), "checkpoints/m-1.0.tar")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err == nil || len(got) > 0 {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

// tarOf is an archive of files, by name.
func tarOf(t *testing.T, content map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
