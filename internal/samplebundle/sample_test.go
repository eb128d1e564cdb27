package samplebundle_test

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"testing"

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
