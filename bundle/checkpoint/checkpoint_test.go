package checkpoint_test

import (
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle/checkpoint"
)

func TestNameOf(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"/a/m-1.0.tar": "m-1.0", "m.tar.gz": "m", "m.tgz": "m", "m.tar.zst": "m", "/a/m-1.0/": "m-1.0", "m.bin": "m.bin",
		`C:\a\m.tar`: "m", "m.gz": "m.gz", "checkpoints/a/m.tar": "m", "s3://staging/m/": "m",
	} {
		if got := checkpoint.NameOf(source); got != want {
			t.Errorf("%s is %s, want %s", source, got, want)
		}
		if got := checkpoint.IsArchive(source); got != (strings.Contains(source, ".tar") || strings.HasSuffix(source, ".tgz")) {
			t.Errorf("%s is an archive: %v", source, got)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"laguna-xs-2.2": true, "a": true, "a_b.c-1": true, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false, "": false, "-a": false, "a.": false, "a b": false, "a/b": false, "..": false, "ä": false, "a\n": false} {
		if err := checkpoint.CheckName(name); (err == nil) != want || err != nil && !strings.Contains(err.Error(), "is no name of a checkpoint") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
