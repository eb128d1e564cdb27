package images_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/repositories"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/transfer"
)

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// world is a deployment's repositories in a sandbox, and what its registry sees.
type world struct {
	t        testing.TB
	arch     *architecture.Architecture
	box      *sandbox.Sandbox
	layers   *repositories.Memory
	there    *repositories.Repositories
	registry http.Handler
	host     string
	clients  *awsapi.Clients

	mu sync.Mutex
	// writes are the requests that write, and sent how many bytes of layers came.
	writes []string
	sent   int64
	// meddle, if not nil, may answer a request in place of the registry: with a
	// status, or by cutting the connection after so many bytes of the body. Zero
	// leaves it alone. It is told the request's number, of those that write.
	meddle func(n int, r *http.Request) (status, cut int)
	// expired: AWS takes the caller's credentials no more.
	expired bool
}

var errCut = errors.New("connection reset by peer")

// RoundTrip implements [http.RoundTripper].
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if !w.there.Is(r) {
		w.mu.Lock()
		expired := w.expired
		w.mu.Unlock()
		if expired {
			return answer(r, http.StatusBadRequest, `{"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"}`), nil
		}
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
		return answer(r, status, fmt.Sprintf(`{"errors": [{"code": "UNKNOWN", "message": "status %d"}]}`, status)), nil
	}
	return testkit.Transport{Handler: w.registry}.RoundTrip(r)
}

// answer answers a request with a text.
func answer(r *http.Request, status int, text string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r}
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

func newWorld(t testing.TB, mutability string) *world {
	t.Helper()
	return newWorldOf(t, repositories.Options{Mutability: mutability})
}

func newWorldOf(t testing.TB, o repositories.Options) *world {
	t.Helper()
	r := repositories.Open(t, filepath.Join("..", "examples", "evaluation.yaml"), o)
	w := &world{t: t, arch: r.Architecture, box: r.Box, layers: r.Memory, there: r, registry: r.Registry, host: r.Registry.Host()}
	w.clients = r.Clients(t, w)
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

// coreLayer is the layer that only the image core-api has.
func coreLayer(c *bundle.Contents) (l image.Blob) {
	for _, i := range c.Images {
		if i.Names[0] == samplebundle.Name("core-api") {
			l = i.Manifests[0].Blobs[2]
		}
	}
	return l
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
	whole(w.t, g.Client, repository, digest)
}

// whole checks an image of a registry with all that it names.
func whole(t testing.TB, c *registry.Client, repository, digest string) {
	t.Helper()
	m, err := c.Manifest(t.Context(), repository, digest)
	if err != nil {
		t.Errorf("%s %s is named and is not there: %v", repository, digest, err)
		return
	}
	var doc struct {
		Config            *struct{ Digest string }
		Layers, Manifests []struct{ Digest string }
	}
	if err := json.Unmarshal(m.Text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, d := range doc.Manifests {
		whole(t, c, repository, d.Digest)
	}
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	for _, d := range doc.Layers {
		in, err := c.Fetch(t.Context(), repository, d.Digest)
		if err != nil {
			t.Errorf("%s: layer %s: %v", repository, d.Digest, err)
			continue
		}
		body, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil || digestOf(body) != d.Digest {
			t.Errorf("%s: layer %s came back as another one: %v", repository, d.Digest, err)
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
