package bundle_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
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
