package images_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// A bundle in each of its forms gets there by its digests, every layer once, and a
// second push sends nothing.
func TestPush(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for _, name := range []string{"folder", "b.tar", "b.tar.gz"} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				c := sample(t, name, size)
				p := w.plan(c)
				if p.Empty() || p.Send < int64(size) || p.Mount == 0 || len(p.Images) != 3 {
					t.Errorf("%s: planned %+v", name, p)
				}
				state, err := w.push(t.Context(), c)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if w.sent != p.Send || state.Moved != p.Send || state.Done != 3 || state.Left() != 0 || state.Moved+state.Skipped != state.Total {
					t.Errorf("%s: %d bytes came, %d were planned, and the meter says %+v\n%s", name, w.sent, p.Send, state, strings.Join(w.writes, "\n"))
				}
				w.everything(c)
				w.writes, w.sent = nil, 0
				if state, err := w.push(t.Context(), c); err != nil || len(w.writes) > 0 || state.Moved != 0 || state.Done != 3 {
					t.Errorf("%s: the second push: %v, %q, %+v", name, err, w.writes, state)
				}
				if faults, err := w.plan(c).Check(t.Context(), c); err != nil || len(faults) > 0 {
					t.Errorf("%s: the charts miss %v, %v", name, faults, err)
				}
			})
		}
	}
}

// Where the registry mounts nothing, as ECR does unless it is told to, every layer
// goes once to each repository: whether that is known or turns out on the way.
func TestWithoutMounts(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		for _, size := range []int{1000, 3 << 20} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				if known {
					w.mounts("DISABLED")
				}
				mounts := w.registry
				w.registry = http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "mount=", "other=")
					mounts.ServeHTTP(out, r)
				})
				c := sample(t, "b.tar.gz", size)
				p := w.plan(c)
				if _, err := w.push(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if known != (p.Mount == 0) || w.sent != p.Send+p.Mount {
					t.Errorf("known %v: %d bytes came, not %d and %d", known, w.sent, p.Send, p.Mount)
				}
				w.everything(c)
			})
		}
	}
}

// Manifests that the registry does not take for a long time are put in a later pass,
// and no layer is sent again to where it is.
func TestManifestsComeLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "IMMUTABLE")
		c := sample(t, "b.tar", 1000)
		p := w.plan(c)
		begun := time.Now()
		w.meddle = func(_ int, r *http.Request) (int, int) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && time.Since(begun) < 3*time.Minute {
				return http.StatusServiceUnavailable, 0
			}
			return 0, 0
		}
		state, err := w.push(t.Context(), c)
		if err != nil || state.Done != 3 || w.sent > p.Send+p.Mount || state.Moved+state.Skipped != state.Total {
			t.Fatalf("%v, %+v, %d bytes of %d", err, state, w.sent, p.Send)
		}
		w.meddle = nil
		w.everything(c)
	})
}

// An image that is named by its digest alone gets no tag.
func TestNamedByDigest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "IMMUTABLE")
		c := sample(t, "b.tar", 1000)
		for n := range c.Images {
			i := &c.Images[n]
			name, _, _ := strings.Cut(i.Names[0], ":"+samplebundle.Version)
			i.Names = []string{name + "@" + i.Digest}
		}
		p, err := images.Prepare(t.Context(), w.open(), c, false)
		if err != nil || p.Empty() {
			t.Fatalf("%+v, %v", p, err)
		}
		for range 2 {
			if _, err := w.push(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if p = w.plan(c); !p.Empty() {
			t.Errorf("after the push there is more to do: %+v", p)
		}
		g := w.open()
		for _, i := range p.Images {
			w.whole(g, i.Repository, i.Digest)
			if tag, err := g.Client.Digest(t.Context(), i.Repository, "latest"); err != nil || tag != "" {
				t.Errorf("latest is %q, %v", tag, err)
			}
		}
	})
}
