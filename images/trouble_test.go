package images_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// uploads is how many layers are on their way at most.
const uploads = 4

// A push that is killed before, within or after any of its requests leaves nothing
// half-done to see, and the next one sends again at most what was on its way.
func TestKill(t *testing.T) {
	t.Parallel()
	var requests int
	var biggest int64
	c := sample(t, "b.tar", 3<<20)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "IMMUTABLE")
		if _, err := w.push(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		requests = len(w.writes)
		for _, i := range c.Images {
			for _, m := range i.Manifests {
				for _, b := range m.Blobs {
					biggest = max(biggest, b.Size)
				}
			}
		}
	})
	killed := errors.New("killed")
	for at := range requests {
		for n, within := range []int{1, 1 << 20} {
			if detectingRaces && (2*at+n)%3 > 0 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				ctx, cancel := context.WithCancelCause(t.Context())
				w.meddle = func(n int, _ *http.Request) (int, int) {
					if n < at {
						return 0, 0
					}
					cancel(killed)
					return 0, within
				}
				p := w.plan(c)
				if _, err := w.push(ctx, c); !errors.Is(err, killed) {
					t.Fatalf("killed at %d: %v", at, err)
				}
				w.meddle = nil
				w.visible()
				there := w.layers.Size()
				before := w.sent
				// Four layers at most are on their way.
				if before-there > uploads*biggest || before < there {
					t.Errorf("killed at %d: %d bytes were sent, and %d are there", at, before, there)
				}
				if _, err := w.push(t.Context(), c); err != nil {
					t.Fatalf("after a kill at %d: %v", at, err)
				}
				if again := w.sent - before; again != p.Send-there {
					t.Errorf("after a kill at %d: %d bytes were sent, and %d were missing", at, again, p.Send-there)
				}
				w.everything(c)
			})
		}
	}
}

// Errors that pass are got over: what begins, sends and completes each layer, and what puts
// each manifest, is once throttled, answered with an error of the server, or cut.
func TestTrouble(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		c := sample(t, "b.tar", size)
		for _, trouble := range []struct {
			name        string
			status, cut int
		}{
			{"throttled", http.StatusTooManyRequests, 0},
			{"error of the server", http.StatusInternalServerError, 0},
			{"unavailable", http.StatusServiceUnavailable, 0},
			{"cut at once", 0, 1},
			{"cut later", 0, 1 << 20},
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				seen, troubled := map[string]bool{}, map[string]int{}
				w.meddle = func(_ int, r *http.Request) (int, int) {
					// Where a layer goes is another address each time: it is known by its
					// size, and in the end by its digest.
					repository, _, _ := strings.Cut(r.URL.Path, "/blobs/uploads/")
					key := fmt.Sprint(r.Method, repository, r.ContentLength, r.URL.Query().Get("digest"), r.URL.Query().Get("mount"))
					if seen[key] {
						return 0, 0
					}
					seen[key] = true
					troubled[r.Method]++
					return trouble.status, trouble.cut
				}
				state, err := w.push(t.Context(), c)
				if err != nil {
					t.Fatalf("%s: %v", trouble.name, err)
				}
				if state.Moved+state.Skipped != state.Total || state.Done != 3 {
					t.Errorf("%s: the meter says %+v", trouble.name, state)
				}
				// Ten layers and configurations, some of one size, and seven manifests.
				if troubled[http.MethodPatch] < 7 || troubled[http.MethodPut] < 10+7 {
					t.Errorf("%s: only %v", trouble.name, troubled)
				}
				w.meddle = nil
				w.everything(c)
			})
		}
	}
}

// A token that ends on the way is replaced by another one.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "IMMUTABLE")
			c := sample(t, "b.tar", size)
			slow := map[string]bool{}
			w.meddle = func(_ int, r *http.Request) (int, int) {
				if !slow[r.Method] { // once for each kind of request, its token has ended
					slow[r.Method] = true
					w.mu.Unlock()
					time.Sleep(13 * time.Hour)
					w.mu.Lock()
				}
				return 0, 0
			}
			if _, err := w.push(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if len(slow) != 3 {
				t.Errorf("tokens ended at %v", slow)
			}
			w.everything(c)
		})
	}
}

// A repository that refuses what is mounted gets it sent; one that refuses
// everything costs its own image alone.
func TestDeniedInOneRepository(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for _, all := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				c := sample(t, "b.tar", size)
				denied := w.arch.RepositoryName("inference")
				w.meddle = func(_ int, r *http.Request) (int, int) {
					if r.Method == http.MethodPost && strings.Contains(r.URL.Path, denied) && (all || r.URL.Query().Get("mount") != "") {
						return http.StatusForbidden, 0
					}
					return 0, 0
				}
				_, err := w.push(t.Context(), c)
				if !all {
					if err != nil {
						t.Fatal(err)
					}
					w.everything(c)
					return
				}
				failed, ok := errors.AsType[*images.PushError](err)
				if !ok || len(failed.Failures) != 1 || !strings.Contains(failed.Failures[0].Image, denied) {
					t.Errorf("%d bytes: the error is %v", size, err)
				}
				if got := w.visible(); len(got) != 2 || slices.Contains(got, "inference") {
					t.Errorf("%d bytes: there are %v", size, got)
				}
			})
		}
	}
}

// A registry that has no room for a layer is asked a few times, and then the image
// and the layer are named; the others get there.
func TestFull(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "IMMUTABLE")
			c := sample(t, "b.tar", size)
			core := coreLayer(c).Digest
			w.meddle = func(_ int, r *http.Request) (int, int) {
				if r.Method == http.MethodPut && r.URL.Query().Get("digest") == core {
					return http.StatusInternalServerError, 0
				}
				return 0, 0
			}
			_, err := w.push(t.Context(), c)
			var failed *images.PushError
			if !errors.As(err, &failed) || len(failed.Failures) != 1 || !strings.HasSuffix(failed.Failures[0].Image, "/core-api:v1.0.0") || !strings.Contains(err.Error(), core) {
				t.Errorf("the error is %v", err)
			}
			if got := w.visible(); slices.Contains(got, "core-api") || len(got) != 2 {
				t.Errorf("there are %v", got)
			}
			w.meddle = nil
			if _, err := w.push(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			w.everything(c)
		})
	}
}

// flipped is a body whose first byte is another one.
type flipped struct {
	io.ReadCloser
	done bool
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		f.done = true
		p[0] ^= 1
	}
	return n, err
}

// damages has the registry get pieces of layers damaged, and call the layers by a code
// what they aren't.
func (w *world) damages(code string, damaged func(*http.Request) bool) {
	var mu sync.Mutex
	begun := map[string]bool{} // by where an upload goes on
	next := w.registry
	w.registry = http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if r.Method == http.MethodPatch && damaged(r) {
			begun[r.URL.Path] = true
			r.Body = &flipped{ReadCloser: r.Body}
		}
		refused := r.Method == http.MethodPut && begun[r.URL.Path]
		mu.Unlock()
		answered := httptest.NewRecorder()
		next.ServeHTTP(answered, r)
		text := answered.Body.String()
		if refused {
			if answered.Code != http.StatusBadRequest || !strings.Contains(text, "BLOB_UPLOAD_INVALID") {
				w.t.Errorf("a damaged layer gets %d, %s", answered.Code, text)
			}
			text = strings.Replace(text, "BLOB_UPLOAD_INVALID", code, 1)
		}
		for k, v := range answered.Header() {
			out.Header()[k] = v
		}
		out.WriteHeader(answered.Code)
		if _, err := io.WriteString(out, text); err != nil {
			w.t.Error(err)
		}
	})
}

// A layer that arrives as another one, since it was damaged on its way, is not there;
// it is sent again. One that never arrives as it is costs its image alone.
func TestDamagedOnItsWay(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for _, code := range []string{"DIGEST_INVALID", "BLOB_UPLOAD_INVALID"} {
			for _, ever := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, "IMMUTABLE")
					c := sample(t, "b.tar", size)
					core := coreLayer(c)
					damaged := 0
					w.damages(code, func(r *http.Request) bool {
						if r.ContentLength != core.Size || damaged > 0 && !ever {
							return false
						}
						damaged++
						return true
					})
					_, err := w.push(t.Context(), c)
					if !ever {
						if err != nil || damaged != 1 {
							t.Errorf("%s, %d bytes: damaged %d times: %v", code, size, damaged, err)
						}
						w.everything(c)
						return
					}
					failed, ok := errors.AsType[*images.PushError](err)
					if !ok || len(failed.Failures) != 1 || !strings.HasSuffix(failed.Failures[0].Image, "/core-api:v1.0.0") || !strings.Contains(err.Error(), core.Digest) || !strings.Contains(err.Error(), code) {
						t.Errorf("%s, %d bytes: the error is %v", code, size, err)
					}
					if got := w.visible(); slices.Contains(got, "core-api") || len(got) != 2 {
						t.Errorf("%s, %d bytes: there are %v", code, size, got)
					}
				})
			}
		}
	}
}

// Where nothing is mounted a layer goes to two repositories side by side. What happens
// on the way to one says nothing of the other: each may refuse it once before it is
// compared with its digest, and once after, whatever other errors there were.
func TestDamagedOnItsWayToTwo(t *testing.T) {
	t.Parallel()
	program, err := noise(3 << 20)("amd64")
	if err != nil {
		t.Fatal(err)
	}
	content, err := samplebundle.Layout("core-api", map[string][]byte{"amd64": program}, samplebundle.Gzipped)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, body := range content {
		for _, image := range []string{"core-api", "web-assistant"} {
			to := filepath.Join(dir, "containers", image, filepath.FromSlash(name))
			body := bytes.ReplaceAll(body, []byte("core-api"), []byte(image))
			if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, body, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := bundle.Read(t.Context(), dir, bundle.Options{})
	if err != nil || len(c.Faults) > 0 || len(c.Images) != 2 {
		t.Fatal(err, c.Faults)
	}
	for _, code := range []string{"DIGEST_INVALID", "BLOB_UPLOAD_INVALID"} {
		for times := range 5 {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				w.mounts("DISABLED")
				seen, throttled := map[string]int{}, map[string]bool{}
				w.damages(code, func(r *http.Request) bool {
					repository, _, _ := strings.Cut(r.URL.Path, "/blobs/")
					if r.ContentLength < 3<<20 || seen[repository] == times {
						return false
					}
					seen[repository]++
					return true
				})
				w.meddle = func(_ int, r *http.Request) (int, int) {
					if repository, _, _ := strings.Cut(r.URL.Path, "/blobs/"); r.Method == http.MethodPost && !throttled[repository] {
						throttled[repository] = true
						return http.StatusTooManyRequests, 0
					}
					return 0, 0
				}
				_, err := w.push(t.Context(), c)
				if lost := code == "DIGEST_INVALID" && times > 2; !lost {
					if p := w.plan(c); err != nil || !p.Empty() || len(seen) != min(times, 1)*2 {
						t.Errorf("%s %d times: %v, of %v", code, times, err, seen)
					}
					return
				}
				failed, ok := errors.AsType[*images.PushError](err)
				if !ok || len(failed.Failures) != 2 || strings.Count(err.Error(), code) != 2 {
					t.Errorf("%s %d times: the error is %v", code, times, err)
				}
				if got := w.visible(); len(got) > 0 {
					t.Errorf("%s %d times: there are %v", code, times, got)
				}
			})
		}
	}
}

// When the caller's credentials end on the way, so that no other token can be got, the
// push ends with that. What is there is whole, and is not sent again by the next run.
func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "IMMUTABLE")
			c := sample(t, "b.tar", size)
			p := w.plan(c)
			w.meddle = func(_ int, r *http.Request) (int, int) {
				if r.Method == http.MethodPatch && !w.expired { // the first layer, on its way
					w.expired = true
					w.mu.Unlock()
					time.Sleep(13 * time.Hour)
					w.mu.Lock()
				}
				return 0, 0
			}
			_, err := w.push(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), "ExpiredToken") || !strings.Contains(err.Error(), "log in to "+w.host) {
				t.Errorf("%d bytes: the error is %v", size, err)
			}
			w.expired, w.meddle = false, nil
			w.visible()
			before, left := w.sent, w.plan(c).Send
			if there := w.layers.Size(); left == 0 || there == 0 || left != p.Send-there {
				t.Errorf("%d bytes: %d of %d are there, and %d are to be sent", size, there, p.Send, left)
			}
			if _, err := w.push(t.Context(), c); err != nil || w.sent-before != left {
				t.Errorf("%d bytes: %d bytes came, not the %d that were missing: %v", size, w.sent-before, left, err)
			}
			w.everything(c)
		})
	}
}
