package samplebundle_test

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// The program of the images is a static one for Linux. It is built for this
// machine's architecture, whose standard library is likely to be built already.
func TestBuild(t *testing.T) {
	t.Parallel()
	program, err := samplebundle.Build(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, program, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("needs %v", libraries)
	}
}

// The platform's bundle is whole, and its charts name the images that are in it.
func TestWritePlatform(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, err := samplebundle.WritePlatform(filepath.Join(dir, "sources"), samplebundle.Stub, []byte("roots\n"), "amd64", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "platform.tar.gz")
	c, err := bundle.Build(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range c.Charts {
		if len(h.Images) == 0 {
			t.Errorf("%s names no image", h.Name)
		}
		for _, i := range h.Images {
			names = append(names, i.Image)
		}
	}
	slices.Sort(names)
	if d := cmp.Diff([]string{"poolhouse-sample/core-api:" + samplebundle.PlatformVersion, "poolhouse-sample/inference:" + samplebundle.PlatformVersion}, slices.Compact(names)); d != "" {
		t.Error(d)
	}
}
