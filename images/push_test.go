package images_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	sandboximages "github.com/poolhouse/poolhouse/sandbox/images"
	"github.com/poolhouse/poolhouse/transfer"
)

// memory holds layers in place of the data plane.
type memory struct {
	mu      sync.Mutex
	uploads [][]byte
	layers  map[string][]byte
}

func (m *memory) Begin(context.Context) (ecr.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uploads = append(m.uploads, nil)
	return ecr.Upload{At: strconv.Itoa(len(m.uploads) - 1)}, nil
}

func (m *memory) Append(_ context.Context, u ecr.Upload, part io.Reader) (ecr.Upload, error) {
	body, err := io.ReadAll(part)
	n, bad := strconv.Atoi(u.At)
	if err := errors.Join(err, bad); err != nil {
		return u, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uploads[n] = append(m.uploads[n], body...)
	return ecr.Upload{At: u.At, Size: u.Size + int64(len(body))}, nil
}

func (m *memory) Complete(_ context.Context, u ecr.Upload, digest string) error {
	n, err := strconv.Atoi(u.At)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if digestOf(m.uploads[n]) != digest {
		return ecr.ErrOtherDigest
	}
	m.layers[digest] = m.uploads[n]
	return nil
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// world is a deployment's repositories in a sandbox, and what its registry sees.
type world struct {
	t        *testing.T
	arch     *architecture.Architecture
	box      *sandbox.Sandbox
	layers   *memory
	registry http.Handler
	host     string
	download string // where layers are fetched from
	clients  *awsapi.Clients

	mu sync.Mutex
	// writes are the requests that write, and sent how many bytes of layers came.
	writes []string
	sent   int64
	// meddle, if not nil, may answer a request in place of the registry: with a
	// status, or by cutting the connection after so many bytes of the body. Zero
	// leaves it alone. It is told the request's number, of those that write.
	meddle func(n int, r *http.Request) (status, cut int)
}

var errCut = errors.New("connection reset by peer")

// RoundTrip implements [http.RoundTripper].
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != w.host && r.URL.Host != w.download {
		return testkit.Transport{Handler: w.box}.RoundTrip(r)
	}
	var status, cut int
	w.mu.Lock()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.writes = append(w.writes, r.Method+" "+r.URL.Path)
		if w.meddle != nil {
			status, cut = w.meddle(len(w.writes)-1, r)
		}
	}
	w.mu.Unlock()
	if r.Body != nil && r.Method == http.MethodPatch {
		r = r.Clone(r.Context())
		r.Body = &metered{r.Body, w}
	}
	switch {
	case cut > 0:
		if r.Body != nil {
			if _, err := io.CopyN(io.Discard, r.Body, int64(cut)); err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			_ = r.Body.Close()
		}
		return nil, errCut
	case status > 0:
		if r.Body != nil {
			_ = r.Body.Close()
		}
		out := httptest.NewRecorder()
		out.WriteHeader(status)
		fmt.Fprintf(out, `{"errors": [{"code": "UNKNOWN", "message": "status %d"}]}`, status)
		resp := out.Result()
		resp.Request = r
		return resp, nil
	}
	return testkit.Transport{Handler: w.registry}.RoundTrip(r)
}

// metered counts the bytes of layers.
type metered struct {
	io.ReadCloser
	w *world
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.w.mu.Lock()
	m.w.sent += int64(n)
	m.w.mu.Unlock()
	return n, err
}

func newWorld(t *testing.T, mutability string) *world {
	t.Helper()
	m := &memory{layers: map[string][]byte{}}
	w := newWorldOn(t, mutability, m, func(r *http.Request, digest string) (*http.Response, error) {
		out := httptest.NewRecorder()
		http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(m.layers[digest]))
		return out.Result(), nil
	})
	w.layers = m
	return w
}

// newWorldOn is newWorld with layers that are held elsewhere.
func newWorldOn(t *testing.T, mutability string, layers ecr.Layers, get func(*http.Request, string) (*http.Response, error)) *world {
	t.Helper()
	c, err := config.LoadFile(filepath.Join("..", "examples", "evaluation.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, arch: a}
	w.box = testkit.Sandbox(t, sandbox.Options{Region: c.Region, Now: time.Now, Layers: layers})
	g, err := sandboximages.New(sandboximages.Options{Account: w.box.Account(), Call: w.box.Call, Get: get})
	if err != nil {
		t.Fatal(err)
	}
	w.registry, w.host, w.download = g, g.Host(), g.DownloadHost()
	for _, r := range c.Registry.Repositories {
		testkit.MustCreate(t, w.box, ecr.TypeRepository, map[string]any{"RepositoryName": a.RepositoryName(r), "ImageTagMutability": mutability})
	}
	p := w.box.Principals()[0]
	w.clients, err = awsapi.New(t.Context(), awsapi.Options{
		Region: c.Region, Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: w},
		Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.mounts("ENABLED")
	return w
}

// mounts has the account mount layers, or not.
func (w *world) mounts(value string) {
	w.t.Helper()
	if _, err := w.clients.ECR.PutAccountSetting(w.t.Context(), &sdk.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: &value}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() *images.Registry {
	w.t.Helper()
	g, err := images.Open(w.t.Context(), w.arch, w.clients)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

func (w *world) plan(c *bundle.Contents) *images.Plan {
	w.t.Helper()
	p, err := images.Prepare(w.t.Context(), w.open(), c, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// push pushes, and returns how far the meter came.
func (w *world) push(ctx context.Context, c *bundle.Contents) (transfer.State, error) {
	w.t.Helper()
	p, err := images.Prepare(ctx, w.open(), c, false)
	if err != nil {
		return transfer.State{}, err
	}
	m := transfer.NewMeter(clock.Real{}, nil)
	err = p.Push(ctx, images.PushOptions{Clock: clock.Real{}, Meter: m})
	return m.State(), err
}

// noise is a program whose layers don't compress, of so many bytes.
func noise(size int) samplebundle.Program {
	return func(architecture string) ([]byte, error) {
		body := make([]byte, size)
		_, err := rand.NewChaCha8(sha256.Sum256([]byte(architecture))).Read(body)
		return body, err
	}
}

// sample makes a bundle of images with layers of some size. The name's end says
// how it is packed; a folder has none.
func sample(t testing.TB, name string, size int) *bundle.Contents {
	t.Helper()
	dir := t.TempDir()
	o, err := samplebundle.Write(filepath.Join(dir, "sources"), noise(size))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if filepath.Ext(name) == "" {
		for folder, sources := range map[string][]string{"charts": o.Charts, "containers": o.Images} {
			for _, s := range sources {
				to := filepath.Join(path, folder, filepath.Base(s))
				if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(s, to)); err != nil {
					t.Fatal(err)
				}
			}
		}
	} else if _, err := bundle.Build(t.Context(), path, o); err != nil {
		t.Fatal(err)
	}
	c, err := bundle.Read(t.Context(), path, bundle.Options{})
	if err != nil || len(c.Faults) > 0 {
		t.Fatal(err, c.Faults)
	}
	return c
}

// visible checks that whatever can be seen is whole, and returns the images' names.
func (w *world) visible() (names []string) {
	w.t.Helper()
	g := w.open()
	for _, r := range g.Repositories {
		digest, err := g.Client.Digest(w.t.Context(), r.Name, samplebundle.Version)
		if err != nil {
			w.t.Fatal(err)
		}
		if digest != "" {
			names = append(names, r.Short)
			w.whole(g, r.Name, digest)
		}
	}
	return names
}

// whole checks an image with all that it names.
func (w *world) whole(g *images.Registry, repository, digest string) {
	w.t.Helper()
	m, err := g.Client.Manifest(w.t.Context(), repository, digest)
	if err != nil {
		w.t.Errorf("%s %s is named and is not there: %v", repository, digest, err)
		return
	}
	var doc struct {
		Config            *struct{ Digest string }
		Layers, Manifests []struct{ Digest string }
	}
	if err := json.Unmarshal(m.Text, &doc); err != nil {
		w.t.Fatal(err)
	}
	for _, d := range doc.Manifests {
		w.whole(g, repository, d.Digest)
	}
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	for _, d := range doc.Layers {
		in, err := g.Client.Fetch(w.t.Context(), repository, d.Digest)
		if err != nil {
			w.t.Errorf("%s: layer %s: %v", repository, d.Digest, err)
			continue
		}
		body, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil || digestOf(body) != d.Digest {
			w.t.Errorf("%s: layer %s came back as another one: %v", repository, d.Digest, err)
		}
	}
}

var all = []string{"core-api", "web-assistant", "inference"}

func (w *world) everything(c *bundle.Contents) {
	w.t.Helper()
	got := w.visible()
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(all))) {
		w.t.Errorf("there are %v, not %v", got, all)
	}
	if p := w.plan(c); !p.Empty() || p.Send != 0 {
		w.t.Errorf("after the push there is more to do: %+v", p)
	}
}

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
				if faults, err := w.open().Check(t.Context(), c); err != nil || len(faults) > 0 {
					t.Errorf("%s: the charts miss %v, %v", name, faults, err)
				}
			})
		}
	}
}

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
		for _, within := range []int{1, 1 << 20} {
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
				there := int64(0)
				w.layers.mu.Lock()
				for _, body := range w.layers.layers {
					there += int64(len(body))
				}
				w.layers.mu.Unlock()
				before := w.sent
				// Four layers at most are on their way.
				if before-there > 4*biggest {
					t.Errorf("killed at %d: %d bytes were sent, and %d are there", at, before, there)
				}
				if _, err := w.push(t.Context(), c); err != nil {
					t.Fatalf("after a kill at %d: %v", at, err)
				}
				if again := w.sent - before; again > p.Send-there {
					t.Errorf("after a kill at %d: %d bytes were sent, and %d were missing", at, again, p.Send-there)
				}
				w.everything(c)
			})
		}
	}
}

// Errors that pass are got over: each request that writes is once throttled,
// answered with an error of the server, or cut.
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
				seen := map[string]bool{}
				w.meddle = func(_ int, r *http.Request) (int, int) {
					key := r.Method + r.URL.Path
					if r.Method == http.MethodPatch || r.Method == http.MethodPut && strings.Contains(key, "/uploads/") {
						key = fmt.Sprint(r.Method, len(seen)%2) // every other one
					}
					if seen[key] {
						return 0, 0
					}
					seen[key] = true
					return trouble.status, trouble.cut
				}
				state, err := w.push(t.Context(), c)
				if err != nil {
					t.Fatalf("%s: %v", trouble.name, err)
				}
				if state.Moved+state.Skipped != state.Total || state.Done != 3 {
					t.Errorf("%s: the meter says %+v", trouble.name, state)
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

// A tag that another image has is not touched, and nothing is sent; one that can be
// moved is.
func TestTagOfAnother(t *testing.T) {
	t.Parallel()
	for _, mutability := range []string{"IMMUTABLE", "MUTABLE"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mutability)
			if _, err := w.push(t.Context(), sample(t, "b.tar", 1000)); err != nil {
				t.Fatal(err)
			}
			w.writes = nil
			c := sample(t, "b.tar", 2000)
			_, err := w.push(t.Context(), c)
			if mutability == "MUTABLE" {
				if err != nil {
					t.Fatal(err)
				}
				w.everything(c)
				return
			}
			var faults fault.Faults
			if !errors.As(err, &faults) || len(faults) != 3 || !strings.Contains(faults.Error(), "whose tag can't be moved") || len(w.writes) > 0 {
				t.Errorf("%v, after %q", err, w.writes)
			}
		})
	}
}

// What can't be pushed is said before anything is sent, all of it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := sample(t, "b.tar", 1000)
		refused := func(w *world, n int, text string) {
			t.Helper()
			_, err := w.push(t.Context(), c)
			var faults fault.Faults
			if !errors.As(err, &faults) || len(faults) != n || !strings.Contains(faults.Error(), text) || len(w.writes) > 0 {
				t.Errorf("%v, after %q", err, w.writes)
			}
			if missing, err := w.open().Check(t.Context(), c); err != nil || len(missing) == 0 {
				t.Errorf("the charts miss %v, %v", missing, err)
			}
		}
		w := newWorld(t, "IMMUTABLE")
		w.arch.Config.Registry.Repositories = []string{"core-api", "other"}
		refused(w, 2, "add inference to registry.repositories in deployment.yaml")
		w.arch.Config.Name = "another-one"
		w.arch.Config.Registry.Repositories = all
		refused(w, 3, "whose repository another-one/core-api does not exist yet")
		if p, err := images.Prepare(t.Context(), w.open(), c, true); err != nil || p.Send == 0 || p.There != 0 || p.Empty() {
			t.Errorf("before it exists the plan is %+v, %v", p, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "IMMUTABLE")
		c := sample(t, "b.tar", 1000)
		c.Faults = fault.Faults{{Place: "x", Reason: "is damaged", Fix: "fetch it again"}}
		if _, err := w.push(t.Context(), c); err == nil || !strings.Contains(err.Error(), "is damaged") || len(w.writes) > 0 {
			t.Errorf("%v, after %q", err, w.writes)
		}
	})
}

// A layer that is not any more what it was when the bundle was read is not
// completed, and an archive that was cut since is refused; both name it.
func TestChanged(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for name, change := range map[string]func([]byte) []byte{
			"changed since the bundle was read": func(b []byte) []byte {
				i := bytes.Index(b, []byte("nonroot:x"))
				if size > 1000 { // in the middle of a large layer
					i = len(b) / 2
				}
				b[i] ^= 1
				return b
			},
			"ends early": func(b []byte) []byte { return b[:len(b)/2] },
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				c := sample(t, "folder", size)
				at := filepath.Join(c.Path, "containers", "core-api.tar")
				body, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, change(body), 0o600); err != nil {
					t.Fatal(err)
				}
				_, err = w.push(t.Context(), c)
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%d bytes: %s is not said: %v", size, name, err)
				}
				if got := w.visible(); slices.Contains(got, "core-api") {
					t.Errorf("%s is there", got)
				}
			})
		}
	}
}

// A file that is gone since the bundle was read, or is another one, is named with
// each layer that is missing by it, and the other images get there.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		for name, change := range map[string]func(t *testing.T, at string) error{
			"removed": func(_ *testing.T, at string) error { return os.Remove(at) },
			"another": func(t *testing.T, at string) error {
				other := sample(t, "folder", 500)
				return os.Rename(filepath.Join(other.Path, "containers", "core-api.tar"), at)
			},
			"empty": func(_ *testing.T, at string) error { return os.WriteFile(at, make([]byte, 1024), 0o600) },
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				c := sample(t, "folder", size)
				if err := change(t, filepath.Join(c.Path, "containers", "core-api.tar")); err != nil {
					t.Fatal(err)
				}
				_, err := w.push(t.Context(), c)
				faults, ok := errors.AsType[fault.Faults](err)
				if !ok || len(faults) == 0 || !strings.HasPrefix(faults[0].Place, "containers/core-api.tar > ") || !strings.Contains(faults[0].Reason, "sha256:") || faults[0].Fix == "" {
					t.Errorf("%s, %d bytes: the error is %v", name, size, err)
				}
				failed, ok := errors.AsType[*images.PushError](err)
				if !ok || len(failed.Failures) != 1 || !strings.Contains(failed.Error(), "core-api:v1.0.0") {
					t.Errorf("%s, %d bytes: the error is %v", name, size, err)
				}
				if got := w.visible(); slices.Contains(got, "core-api") || len(got) != 2 {
					t.Errorf("%s, %d bytes: there are %v", name, size, got)
				}
			})
		}
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

// A registry that has no room for a layer is asked a few times, and then the image
// and the layer are named; the others get there.
func TestFull(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "IMMUTABLE")
			c := sample(t, "b.tar", size)
			core := ""
			for _, i := range c.Images {
				if i.Names[0] == samplebundle.Name("core-api") {
					core = i.Platforms[0].Layers[1].Digest
				}
			}
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
