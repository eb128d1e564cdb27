package images_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/transfer"
)

// mebibytes is how large the image of TestLarge is. It is a package variable because
// the testing package parses flags before tests run; only tests link it.
var mebibytes = flag.Int64("mebibytes", 0, "size of the large image; 0 is 256, or 2048 where sweeps are complete, and 384 in benchmarks")

// TestLarge pushes an image to a registry that nothing stands before, and nobody else
// in its process: memory stays bounded, whatever the size. It is not parallel.
func TestLarge(t *testing.T) {
	server.Program(t, "registry") // without it nothing is to be done apart either
	if !testkit.Apart(t) {
		return
	}
	size := int64(256)
	if os.Getenv("POOLHOUSE_FULL") != "" {
		size = 2048
	}
	if *mebibytes > 0 {
		size = *mebibytes
	}
	b := openBare(t)
	// Eight layers, mostly of zeros, which take no room where the bundle lies.
	l := newLarge(t, 8, mebi, size*mebi/8)
	dir := t.TempDir()
	l.write(t, filepath.Join(dir, "containers", "large"), "acme/large:v1")
	g := &images.Registry{Client: b.client, Repositories: []images.Repository{{Name: "acme/large", Short: "large", There: true}}}
	push := func() transfer.State {
		t.Helper()
		c, err := bundle.Read(t.Context(), dir, bundle.Options{Skim: true})
		if err != nil || len(c.Faults) > 0 {
			t.Fatal(err, c.Faults)
		}
		p, err := images.Prepare(t.Context(), g, c, false)
		if err != nil {
			t.Fatal(err)
		}
		m := transfer.NewMeter(clock.Real{}, nil)
		if err := p.Push(t.Context(), images.PushOptions{Clock: clock.Real{}, Meter: m}); err != nil {
			t.Fatal(err)
		}
		return m.State()
	}
	began := time.Now()
	if s := push(); b.sent < size*mebi || s.Moved != b.sent {
		t.Errorf("%d bytes came of %d MiB, and the meter says %+v", b.sent, size, s)
	}
	t.Logf("%d MiB at %.0f MiB/s, %d MiB of memory", size, float64(size)/time.Since(began).Seconds(), testkit.Peak()>>20)
	if m := testkit.Peak(); m > 256*mebi {
		t.Errorf("it took %d MiB of memory", m>>20)
	}
	if s := push(); s.Moved != 0 || s.Done != 1 {
		t.Errorf("again: %+v", s)
	}
}
