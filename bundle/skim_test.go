package bundle_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

func skim(t testing.TB, name string) (c *bundle.Contents, read int64) {
	t.Helper()
	var n atomic.Int64
	c, err := bundle.Read(t.Context(), name, bundle.Options{Skim: true, Progress: func(i int64) { n.Add(i) }})
	if err != nil {
		t.Fatal(err)
	}
	return c, n.Load()
}

// sameButUnpacked compares contents but for what compressed layers unpack to.
var sameButUnpacked = cmp.Options{
	cmpopts.IgnoreUnexported(bundle.Contents{}),
	cmpopts.IgnoreFields(bundle.Contents{}, "Skimmed"),
	cmp.Comparer(func(a, b image.Layer) bool {
		if a.Compression != archive.None {
			a.DiffID, b.DiffID = "", ""
		}
		return a == b
	}),
}

// big is a program whose layers don't compress.
func big(architecture string) ([]byte, error) {
	body := make([]byte, 1<<20)
	// By their second letters the two architectures differ.
	for i, x := 0, uint32(architecture[1]); i < len(body); i++ {
		x = x*1664525 + 1013904223
		body[i] = byte(x >> 24)
	}
	return body, nil
}

// Of a whole bundle in any form, skimming says what reading says. In a folder it reads
// nothing of the layers of layouts.
func TestSkim(t *testing.T) {
	t.Parallel()
	o, err := samplebundle.Write(t.TempDir(), big)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.tar", "b.tar.gz", "folder"} {
		path := filepath.Join(t.TempDir(), "b.tar")
		if name != "folder" {
			path = filepath.Join(t.TempDir(), name)
		}
		if _, err := bundle.Build(t.Context(), path, o); err != nil {
			t.Fatal(err)
		}
		if name == "folder" {
			path = folder(t, unpacked(t, path))
		}
		full := read(t, path)
		got, n := skim(t, path)
		if d := cmp.Diff(full, got, sameButUnpacked); d != "" || len(got.Faults) > 0 || !got.Skimmed || full.Skimmed {
			t.Errorf("%s: %v\n%s", name, got.Faults, d)
		}
		var passed int64
		for _, i := range got.Images {
			if i.File != "containers/inference" {
				continue
			}
			for _, p := range i.Platforms {
				for _, l := range p.Layers {
					if l.DiffID != "" {
						t.Errorf("%s: %s was unpacked", name, l.File)
					}
					passed += l.Size
				}
			}
		}
		// Of a file that is passed over its beginning is looked at.
		if most := got.Size - passed + 8*64<<10; name == "folder" && (n > most || passed < 2<<20) {
			t.Errorf("%d bytes of %d were read, of which %d are layers of the layout", n, got.Size, passed)
		}
	}
}

// Skimming finds what is wrong with a bundle in a folder but for the bytes of layers in
// layouts: whatever else changes, and layers that are gone or have another size.
func TestSkimFinds(t *testing.T) {
	t.Parallel()
	name, _ := sample(t, "b.tar")
	content := unpacked(t, name)
	dir := folder(t, content)
	whole, _ := skim(t, dir)
	layers := map[string]bool{}
	for _, i := range whole.Images {
		for _, p := range i.Platforms {
			for _, l := range p.Layers {
				layers[i.File+"/"+l.File] = true
			}
		}
	}
	passed := 0
	for file, body := range content {
		at := filepath.Join(dir, filepath.FromSlash(file))
		for i := 0; i < len(body); i += max(1, len(body)/6) {
			changed := bytes.Clone(body)
			changed[i] ^= 1
			if err := os.WriteFile(at, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			// What doesn't begin as it did may be no compressed layer any more.
			if c, _ := skim(t, dir); (len(c.Faults) > 0) == layers[file] && (i >= 4 || !layers[file]) {
				t.Errorf("byte %d of %s changed: %v", i, file, c.Faults)
			}
		}
		if layers[file] {
			passed++
		}
		for what, change := range map[string]func() error{
			"longer":  func() error { return os.WriteFile(at, append(bytes.Clone(body), 0), 0o644) },
			"shorter": func() error { return os.WriteFile(at, body[:len(body)-1], 0o644) },
			"gone":    func() error { return os.Remove(at) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			// The list without its last line's end is the same, and without it there is none.
			if c, _ := skim(t, dir); len(c.Faults) == 0 && (what == "longer" || file != bundle.Sums) {
				t.Errorf("%s is %s, and nothing was found", file, what)
			}
		}
		if err := os.WriteFile(at, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if passed != 3 { // the layers of two platforms, of which they share one
		t.Errorf("%d layers were passed over", passed)
	}
}

// An archive with a digest beside it is compared with that as a whole, and an image's
// archive with its line in SHA256SUMS, whatever lies in them.
func TestSkimCompares(t *testing.T) {
	t.Parallel()
	changedBytes(t, func(name string) *bundle.Contents {
		c, _ := skim(t, name)
		return c
	})

	// One that is whole in itself, with other layers.
	name, _ := sample(t, "b.tar")
	content := unpacked(t, name)
	other, err := samplebundle.Layout("web-assistant", map[string][]byte{"amd64": []byte("another"), "arm64": []byte("program")}, samplebundle.Gzipped)
	if err == nil {
		content["containers/web-assistant.tar"], err = samplebundle.Tar(other)
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(content, bundle.Description)
	if c, _ := skim(t, folder(t, content)); !strings.Contains(c.Faults.Error(), "containers/web-assistant.tar: is not what SHA256SUMS says") {
		t.Errorf("another image: %v", c.Faults)
	}
}

// A file whose name in blobs/ is no digest is read, and found to be at fault as ever.
func TestSkimReadsWhatHasNoDigest(t *testing.T) {
	t.Parallel()
	layer := append([]byte{0x1f, 0x8b}, make([]byte, 600)...)
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`)
	saved, err := samplebundle.Tar(map[string][]byte{
		"config.json":      config,
		"blobs/sha256/foo": layer,
		"manifest.json":    []byte(`[{"Config":"config.json","RepoTags":["web-assistant:v1"],"Layers":["blobs/sha256/foo"]}]`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := skim(t, folder(t, map[string][]byte{"containers/web-assistant.tar": saved})); !strings.Contains(c.Faults.Error(), "blobs/sha256/foo") {
		t.Errorf("a layer of no digest: %v", c.Faults)
	}
}
