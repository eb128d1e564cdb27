package images_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/poolhouse/poolhouse/internal/testkit/repositories"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	sandboximages "github.com/poolhouse/poolhouse/sandbox/images"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// openStore starts a server that holds layers for a sandbox.
func openStore(t testing.TB, o plane.Options) *sandboximages.Store {
	t.Helper()
	s, err := sandboximages.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newWorldStored is newWorld with layers in a real server.
func newWorldStored(t testing.TB, s *sandboximages.Store) *world {
	t.Helper()
	return newWorldOf(t, repositories.Options{Mutability: "IMMUTABLE", Layers: s, Get: func(r *http.Request, digest string) (*http.Response, error) {
		return s.Get(r.Context(), r.Method, digest, r.Header)
	}})
}

// TestPlane pushes to a registry whose layers are in a real server: as a whole,
// killed in the middle and gone on with. Bytes are counted where they arrive.
func TestPlane(t *testing.T) {
	t.Parallel()
	s := openStore(t, plane.Options{Program: server.Program(t, "registry")})
	open := func() *world { return newWorldStored(t, s) }
	c := sample(t, "b.tar.gz", 3<<20)
	w := open()
	p := w.plan(c)
	if _, err := w.push(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if w.sent != p.Send {
		t.Errorf("%d bytes came, not %d", w.sent, p.Send)
	}
	w.everything(c)

	killed := errors.New("killed")
	w = open()
	ctx, cancel := context.WithCancelCause(t.Context())
	w.meddle = func(n int, _ *http.Request) (int, int) {
		if n < 14 {
			return 0, 0
		}
		cancel(killed)
		return 0, 1 << 20
	}
	if _, err := w.push(ctx, c); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	w.meddle = nil
	w.visible()
	before, left := w.sent, w.plan(c).Send
	if left == 0 || left >= p.Send {
		t.Errorf("killed in the middle, %d of %d bytes are left", left, p.Send)
	}
	if _, err := w.push(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if w.sent-before != left {
		t.Errorf("%d bytes came, not the %d that were missing", w.sent-before, left)
	}
	w.everything(c)
}
