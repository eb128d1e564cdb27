package bundle_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample builds the sample bundle, with stubs for programs.
func sample(t testing.TB, name string) (string, *bundle.Contents) {
	t.Helper()
	o, err := samplebundle.Write(t.TempDir(), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(t.TempDir(), name)
	made, err := bundle.Build(t.Context(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	return name, made
}

func read(t testing.TB, name string) *bundle.Contents {
	t.Helper()
	c, err := bundle.Read(t.Context(), name, bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGolden holds what is said of the sample bundle to a file, and what building
// returned to what reading finds.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sample.tar", "sample.tar.gz"} {
		file, made := sample(t, name)
		found := read(t, file)
		if len(found.Faults) > 0 {
			t.Fatal(found.Faults)
		}
		as := func(c *bundle.Contents) string {
			copied := *c
			copied.Path, copied.Format = "sample", ""
			text, err := json.MarshalIndent(copied, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			return string(text) + "\n"
		}
		if d := cmp.Diff(as(made), as(found)); d != "" {
			t.Errorf("built and found (-built +found):\n%s", d)
		}
		golden := filepath.Join("testdata", "sample.json")
		if *update {
			if err := os.WriteFile(golden, []byte(as(found)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), as(found)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// Images are pulled last, once, when nothing is wrong with what is there: with no file,
// and not with the name or the version.
func TestPullsLast(t *testing.T) {
	t.Parallel()
	sources, err := samplebundle.Write(filepath.Join(t.TempDir(), "s"), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	build := func(change func(o *bundle.BuildOptions)) (calls int, made *bundle.Contents, err error) {
		o := sources
		o.Pull = func(context.Context) (string, error) {
			calls++
			return sources.Images[slices.IndexFunc(sources.Images, func(s string) bool { return filepath.Base(s) == "inference" })], nil
		}
		o.Images = slices.DeleteFunc(slices.Clone(o.Images), func(s string) bool { return filepath.Base(s) == "inference" })
		change(&o)
		made, err = bundle.Build(t.Context(), filepath.Join(t.TempDir(), "b.tar"), o)
		return calls, made, err
	}
	calls, made, err := build(func(*bundle.BuildOptions) {})
	if err != nil || calls != 1 || len(made.Images) != 3 || len(made.Faults) > 0 {
		t.Errorf("pulled %d times: %v", calls, err)
	}
	gone := errors.New("the registry is gone")
	for name, change := range map[string]func(o *bundle.BuildOptions){
		`"A" is no name`:                  func(o *bundle.BuildOptions) { o.Name, o.Version = "A", "" },
		"charts/none":                     func(o *bundle.BuildOptions) { o.Charts = append(slices.Clone(o.Charts), "none") },
		"images that are pulled":          func(o *bundle.BuildOptions) { o.Images = append(o.Images, "some/IMAGES") },
		"checkpoints[0]: \"\" is no name": func(o *bundle.BuildOptions) { o.Checkpoints = []bundle.Checkpoint{{}} },
	} {
		calls, _, err := build(change)
		if err == nil || calls > 0 || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: pulled %d times: %v", name, calls, err)
		}
	}
	if _, _, err := build(func(o *bundle.BuildOptions) {
		o.Pull = func(context.Context) (string, error) { return "", gone }
	}); !errors.Is(err, gone) {
		t.Errorf("a pull that fails: %v", err)
	}
}
