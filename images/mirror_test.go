package images_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// upstream is a registry that asks for a token of a token service, and holds the
// images of a bundle.
type upstream struct {
	names     []image.Reference
	manifests map[string]image.Manifest // by repository and tag or digest
	layers    map[string][]byte

	mu sync.Mutex
	// given are the bytes of layers that were handed out, and asked the requests.
	given int64
	asked []string
	// whole: it gives no parts of layers.
	whole bool
	// broken is the digest of a layer whose answers break before their first byte.
	broken string
	// cut, if not nil, is after how many bytes an answer with a layer breaks; 0 is
	// not at all.
	cut func(digest, span string) int
}

const upstreamHost = "registry.example.com"

func newUpstream(t *testing.T, c *bundle.Contents) *upstream {
	t.Helper()
	u := &upstream{manifests: map[string]image.Manifest{}, layers: map[string][]byte{}}
	for _, i := range c.Images {
		ref, ok := image.Parse(i.Names[0])
		if !ok {
			t.Fatal(i.Names)
		}
		ref.Registry, ref.Repository = upstreamHost, "acme/"+ref.Path()
		u.names = append(u.names, ref)
		for n, m := range i.Manifests {
			u.manifests[ref.Repository+" "+m.Digest] = m
			if n == len(i.Manifests)-1 {
				u.manifests[ref.Repository+" "+ref.Tag] = m
			}
		}
	}
	if err := c.Blobs(t.Context(), bundle.Options{}, func(d string) bool { return u.layers[d] == nil }, func(b image.Blob, r io.Reader) (err error) {
		u.layers[b.Digest], err = io.ReadAll(r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return u
}

// breaking is a body that ends too early.
type breaking struct{ r io.Reader }

func (b breaking) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return n, err
}

// RoundTrip implements [http.RoundTripper].
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Range"))
	out := httptest.NewRecorder()
	answer := func() (*http.Response, error) {
		resp := out.Result()
		resp.Request = r
		return resp, nil
	}
	if r.URL.Host == "tokens.example.com" {
		if user, password, _ := r.BasicAuth(); user != "user" || password != "secret" {
			out.WriteHeader(http.StatusUnauthorized)
			return answer()
		}
		fmt.Fprintf(out, `{"token": %q, "expires_in": 300}`, r.URL.Query().Get("scope"))
		return answer()
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/v2/")
	repository, what, layer := strings.Cut(rest, "/blobs/")
	if !layer {
		repository, what, _ = strings.Cut(rest, "/manifests/")
	}
	if r.Header.Get("Authorization") != "Bearer repository:"+repository+":pull" {
		out.Header().Set("Www-Authenticate", `Bearer realm="https://tokens.example.com/token",service="registry.example.com"`)
		out.WriteHeader(http.StatusUnauthorized)
		return answer()
	}
	m, is := u.manifests[repository+" "+what]
	body := u.layers[what]
	if layer && body == nil || !layer && !is {
		out.WriteHeader(http.StatusNotFound)
		return answer()
	}
	if !layer {
		out.Header().Set("Content-Type", m.MediaType)
		if _, err := out.Write(m.Text); err != nil {
			return nil, err
		}
		return answer()
	}
	cut := 0
	if u.cut != nil {
		cut = u.cut(what, r.Header.Get("Range"))
	}
	if u.whole {
		r.Header.Del("Range")
	}
	http.ServeContent(out, r, "", time.Time{}, strings.NewReader(string(body)))
	resp, err := answer()
	resp.ContentLength = int64(out.Body.Len())
	in := io.Reader(resp.Body)
	if cut > 0 || what == u.broken {
		in = breaking{io.LimitReader(in, int64(cut))}
	}
	resp.Body = io.NopCloser(&given{in, u})
	return resp, err
}

// given counts the bytes of layers that are handed out.
type given struct {
	r io.Reader
	u *upstream
}

func (g *given) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	g.u.mu.Lock()
	g.u.given += int64(n)
	g.u.mu.Unlock()
	return n, err
}

// from is the way to the registry for who has its password.
func (u *upstream) from(host string) *registry.Client {
	return registry.New(host, &http.Client{Transport: u}, clock.Real{}, func(context.Context, bool) (registry.Credentials, error) {
		return registry.Credentials{User: "user", Password: "secret"}, nil
	})
}

// mirror brings the registry's images to a deployment.
func (w *world) mirror(ctx context.Context, u *upstream) (*images.Plan, transfer.State, error) {
	w.t.Helper()
	p, err := images.Mirror(ctx, w.open(), u.names, u.from)
	if err != nil {
		return nil, transfer.State{}, err
	}
	m := transfer.NewMeter(clock.Real{}, nil)
	err = p.Push(ctx, images.PushOptions{Clock: clock.Real{}, Meter: m})
	return p, m.State(), err
}

// Images of another registry get to the deployment with all their platforms and by
// their digests, each layer read and sent once; a second time nothing is read or
// written.
func TestMirror(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		c := sample(t, "b.tar", size)
		synctest.Test(t, func(t *testing.T) {
			w, u := newWorld(t, "IMMUTABLE"), newUpstream(t, c)
			p, state, err := w.mirror(t.Context(), u)
			if err != nil {
				t.Fatal(err)
			}
			if p.Send < int64(size) || w.sent != p.Send || u.given != p.Send || state.Moved != p.Send || state.Done != 3 {
				t.Errorf("%d bytes were planned, %d came, %d were read, and the meter says %+v\n%s", p.Send, w.sent, u.given, state, strings.Join(w.writes, "\n"))
			}
			w.everything(c)
			w.writes, u.given = nil, 0
			if p, state, err := w.mirror(t.Context(), u); err != nil || !p.Empty() || len(w.writes) > 0 || u.given > 0 || state.Done != 3 {
				t.Errorf("the second time: %v, %q, %d bytes read, %+v", err, w.writes, u.given, state)
			}
		})
	}
}

// A layer whose reading breaks is gone on with where it broke, also by a registry
// that knows no parts; nothing is sent or read twice.
func TestMirrorSourceBreaks(t *testing.T) {
	t.Parallel()
	c := sample(t, "b.tar", 3<<20)
	for _, whole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, u := newWorld(t, "IMMUTABLE"), newUpstream(t, c)
			const after = 500
			breaks := 0
			u.whole, u.cut = whole, func(digest, span string) int {
				if span == "" && len(u.layers[digest]) > after {
					breaks++
					return after
				}
				return 0
			}
			p, _, err := w.mirror(t.Context(), u)
			if err != nil {
				t.Fatal(err)
			}
			read := p.Send
			if whole {
				read += int64(breaks) * after
			}
			if breaks < 3 || u.given != read || w.sent != p.Send {
				t.Errorf("with %d breaks %d bytes were read and %d sent, of %d", breaks, u.given, w.sent, p.Send)
			}
			w.everything(c)
		})
	}
}

// A mirror that is killed at any of its writing requests leaves nothing half-done to
// see, and the next one sends again at most what was on its way.
func TestMirrorKilled(t *testing.T) {
	t.Parallel()
	c := sample(t, "b.tar", 3<<20)
	var requests int
	var total, biggest int64
	synctest.Test(t, func(t *testing.T) {
		w, u := newWorld(t, "IMMUTABLE"), newUpstream(t, c)
		p, _, err := w.mirror(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		requests, total = len(w.writes), p.Send
		for _, body := range u.layers {
			biggest = max(biggest, int64(len(body)))
		}
	})
	killed := errors.New("killed")
	for at := range requests {
		if detectingRaces && at%3 > 0 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			w, u := newWorld(t, "IMMUTABLE"), newUpstream(t, c)
			ctx, cancel := context.WithCancelCause(t.Context())
			w.meddle = func(n int, _ *http.Request) (int, int) {
				if n < at {
					return 0, 0
				}
				cancel(killed)
				return 0, 1 << 20
			}
			if _, _, err := w.mirror(ctx, u); !errors.Is(err, killed) {
				t.Fatalf("killed at %d: %v", at, err)
			}
			w.meddle = nil
			w.visible()
			there := w.layers.Size()
			before, read := w.sent, u.given
			// Four layers at most are on their way.
			if before-there > uploads*biggest || before < there {
				t.Errorf("killed at %d: %d bytes were sent, and %d are there", at, before, there)
			}
			p, _, err := w.mirror(t.Context(), u)
			if err != nil {
				t.Fatalf("after a kill at %d: %v", at, err)
			}
			if again, missing := w.sent-before, total-there; again != missing || p.Send != missing || u.given-read != missing {
				t.Errorf("after a kill at %d: %d bytes were planned, %d sent and %d read, and %d were missing", at, p.Send, again, u.given-read, missing)
			}
			w.everything(c)
		})
	}
}

// What can't be read of one image is told with its name, and the others get there.
func TestMirrorLacks(t *testing.T) {
	t.Parallel()
	c := sample(t, "b.tar", 3<<20)
	core := coreLayer(c).Digest
	for reason, spoil := range map[string]func(u *upstream){
		"answers 404": func(u *upstream) { delete(u.layers, core) },
		"hands out other bytes for layer " + core: func(u *upstream) {
			u.layers[core] = slices.Clone(u.layers[core])
			u.layers[core][7] ^= 1
		},
		errCut.Error(): func(u *upstream) {
			u.broken = core
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, u := newWorld(t, "IMMUTABLE"), newUpstream(t, c)
			spoil(u)
			start := time.Now()
			_, _, err := w.mirror(t.Context(), u)
			if took := time.Since(start); took > time.Second != (u.broken != "") {
				t.Errorf("%s: it was tried for %v", reason, took)
			}
			failed, is := errors.AsType[*images.PushError](err)
			if !is || len(failed.Failures) != 1 || !strings.HasSuffix(failed.Failures[0].Image, "/core-api:v1.0.0") || !strings.Contains(err.Error(), core) || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s: the error is %v", reason, err)
			}
			if got := w.visible(); slices.Contains(got, "core-api") || len(got) != 2 {
				t.Errorf("%s: there are %v", reason, got)
			}
		})
	}
}

// What stands in the way is said before anything is sent, all of it.
func TestMirrorRefuses(t *testing.T) {
	t.Parallel()
	c := sample(t, "b.tar", 1000)
	synctest.Test(t, func(t *testing.T) {
		w, u := newWorld(t, "IMMUTABLE"), newUpstream(t, c)
		if _, _, err := w.mirror(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		w.writes = nil
		core := slices.IndexFunc(u.names, func(r image.Reference) bool { return strings.HasSuffix(r.Repository, "/core-api") })
		other := u.names[(core+1)%3]
		// The tag stands for another image now.
		u.manifests[u.names[core].Repository+" "+u.names[core].Tag] = u.manifests[other.Repository+" "+other.Tag]
		for _, b := range []string{other.Repository, u.names[core].Repository} {
			for key, m := range u.manifests {
				if _, digest, _ := strings.Cut(key, " "); digest == m.Digest {
					u.manifests[b+" "+digest] = m
				}
			}
		}
		_, _, err := w.mirror(t.Context(), u)
		var faults fault.Faults
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), "whose tag can't be moved") || faults[0].Place != u.names[core].String() {
			t.Errorf("a tag of another image: %v", err)
		}
		u.manifests[other.Repository+" old"] = image.Manifest{MediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws", Text: []byte(`{"schemaVersion": 1}`)}
		old, none, lost := other, other, other
		old.Tag, none.Repository, lost.Repository = "old", "acme/none", "acme/elsewhere"
		u.names = []image.Reference{old, none, lost}
		_, _, err = w.mirror(t.Context(), u)
		if !errors.As(err, &faults) || len(faults) != 3 || !strings.Contains(err.Error(), "unknown type") || strings.Count(err.Error(), "is not there") != 2 {
			t.Errorf("images that can't be moved: %v", err)
		}
		if len(w.writes) > 0 {
			t.Errorf("there was written %q", w.writes)
		}
	})
}

// A mirror into repositories that are not there says for each image what to do, and
// names the layer once.
func TestMirrorNowhere(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		c := sample(t, "b.tar", size)
		synctest.Test(t, func(t *testing.T) {
			w, u := newWorld(t, "IMMUTABLE"), newUpstream(t, c)
			p, err := images.Mirror(t.Context(), images.Below(w.open().Client, "none", u.names, false), u.names, u.from)
			if err != nil {
				t.Fatal(err)
			}
			err = p.Push(t.Context(), images.PushOptions{Clock: clock.Real{}})
			failed, ok := errors.AsType[*images.PushError](err)
			if !ok || len(failed.Failures) != 3 || w.sent > 0 {
				t.Fatalf("%d bytes came: %v", w.sent, err)
			}
			for _, f := range failed.Failures {
				repository, _, _ := strings.Cut(f.Image, ":")
				if text := f.Err.Error(); !strings.HasSuffix(text, "; make the repository "+repository+" there first") || strings.Count(text, "sha256:") != 1 {
					t.Errorf("%s: %s", f.Image, text)
				}
			}
		})
	}
}

// TestMirrorBareServer mirrors to a registry with nothing before it, from there to
// another path of it, and back to a deployment.
func TestMirrorBareServer(t *testing.T) {
	t.Parallel()
	b := openBare(t)
	c := sample(t, "b.tar", 3<<20)
	u := newUpstream(t, c)
	mirror := func(path string, names []image.Reference, from func(string) *registry.Client) *images.Plan {
		t.Helper()
		p, err := images.Mirror(t.Context(), images.Below(b.client, path, names, false), names, from)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Push(t.Context(), images.PushOptions{Clock: clock.Real{}}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := mirror("", u.names, u.from); p.Send == 0 || b.sent != p.Send {
		t.Errorf("%d bytes came, not %d", b.sent, p.Send)
	}
	b.sent = 0
	if p := mirror("", u.names, u.from); !p.Empty() || b.sent > 0 {
		t.Errorf("the second time %d bytes came", b.sent)
	}
	// Within the registry all is mounted.
	here := slices.Clone(u.names)
	for n := range here {
		here[n].Registry = b.client.Host()
	}
	if p := mirror("copies", here, func(string) *registry.Client { return b.client }); p.Empty() || p.Send > 0 || p.Mount == 0 || b.sent > 0 {
		t.Errorf("within the registry %d bytes came, of %+v", b.sent, p)
	}
	w := newWorld(t, "IMMUTABLE")
	u.names = here
	p, err := images.Mirror(t.Context(), w.open(), here, func(string) *registry.Client { return b.client })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Push(t.Context(), images.PushOptions{Clock: clock.Real{}}); err != nil {
		t.Fatal(err)
	}
	w.everything(c)
}
