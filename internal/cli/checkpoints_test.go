package cli

import (
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
)

// A checkpoint that lies nowhere is pushed later under its own name, whatever its archive
// is called.
func TestMissingCheckpoint(t *testing.T) {
	t.Parallel()
	const head = "the checkpoint m-1 lies neither in the bundle nor beside it"
	for file, want := range map[string]string{
		"":            head + "; push it later: poolhouse models push -f 'my file.yaml' --name m-1 ARCHIVE",
		"weights.tar": head + ", as weights.tar; push it later: poolhouse models push -f 'my file.yaml' --name m-1 weights.tar",
	} {
		if got := missing(bundle.Checkpoint{Name: "m-1", File: file}, "my file.yaml"); got != want {
			t.Errorf("%q: %s, want %s", file, got, want)
		}
	}
}
