// Package repositories is a deployment's repositories for tests: in the ECR of a sandbox,
// with its registry, and layers in memory or where a test has them.
//
// It opens no socket, so it works inside testing/synctest.
package repositories

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/images"
)

// Memory holds layers in place of a server.
type Memory struct {
	mu      sync.Mutex
	uploads [][]byte
	layers  map[string][]byte
}

var _ ecr.Layers = (*Memory)(nil)

// Begin implements [ecr.Layers].
func (m *Memory) Begin(context.Context) (ecr.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uploads = append(m.uploads, nil)
	return ecr.Upload{At: strconv.Itoa(len(m.uploads) - 1)}, nil
}

// Append implements [ecr.Layers].
func (m *Memory) Append(_ context.Context, u ecr.Upload, part io.Reader) (ecr.Upload, error) {
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

// Complete implements [ecr.Layers].
func (m *Memory) Complete(_ context.Context, u ecr.Upload, digest string) error {
	n, err := strconv.Atoi(u.At)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if fmt.Sprintf("sha256:%x", sha256.Sum256(m.uploads[n])) != digest {
		return ecr.ErrOtherDigest
	}
	m.layers[digest] = m.uploads[n]
	return nil
}

// Size is how many bytes the layers have that are there whole.
func (m *Memory) Size() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, body := range m.layers {
		n += int64(len(body))
	}
	return n
}

// get hands a layer out.
func (m *Memory) get(r *http.Request, digest string) (*http.Response, error) {
	m.mu.Lock()
	body := m.layers[digest]
	m.mu.Unlock()
	out := httptest.NewRecorder()
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(body))
	return out.Result(), nil
}

// Options say what repositories are like.
type Options struct {
	// Mutability is that of their tags; "" leaves it to ECR.
	Mutability string
	// Layers hold layers, and Get hands them out; nil have them in memory.
	Layers ecr.Layers
	Get    func(r *http.Request, digest string) (*http.Response, error)
}

// Repositories are those of a deployment.
type Repositories struct {
	Architecture *architecture.Architecture
	Box          *sandbox.Sandbox
	// Registry is what answers for their content.
	Registry *images.Registry
	// Memory holds the layers, unless others do.
	Memory *Memory
}

// Open makes the repositories that a file of configuration names. They are empty.
func Open(t testing.TB, file string, o Options) *Repositories {
	t.Helper()
	c, err := config.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &Repositories{}
	if r.Architecture, err = architecture.New(c); err != nil {
		t.Fatal(err)
	}
	if o.Layers == nil {
		r.Memory = &Memory{layers: map[string][]byte{}}
		o.Layers, o.Get = r.Memory, r.Memory.get
	}
	r.Box = testkit.Sandbox(t, sandbox.Options{Region: c.Region, Now: time.Now, Layers: o.Layers})
	if r.Registry, err = images.New(images.Options{Account: r.Box.Account(), Call: r.Box.Call, Get: o.Get}); err != nil {
		t.Fatal(err)
	}
	for _, short := range c.Registry.Repositories {
		is := map[string]any{"RepositoryName": r.Architecture.RepositoryName(short)}
		if o.Mutability != "" {
			is["ImageTagMutability"] = o.Mutability
		}
		testkit.MustCreate(t, r.Box, ecr.TypeRepository, is)
	}
	return r
}

// Clients are those of the account, by a way of the test's, which may be [Repositories]
// itself.
func (r *Repositories) Clients(t testing.TB, way http.RoundTripper) *awsapi.Clients {
	t.Helper()
	p := r.Box.Principals()[0]
	c, err := awsapi.New(t.Context(), awsapi.Options{
		Region: r.Box.Region(), Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: way},
		Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Is tells that a request is for the registry, not for the account.
func (r *Repositories) Is(q *http.Request) bool {
	return q.URL.Host == r.Registry.Host() || q.URL.Host == r.Registry.DownloadHost()
}

// RoundTrip implements [http.RoundTripper]: it leads to the registry or to the account.
func (r *Repositories) RoundTrip(q *http.Request) (*http.Response, error) {
	if r.Is(q) {
		return testkit.Transport{Handler: r.Registry}.RoundTrip(q)
	}
	return testkit.Transport{Handler: r.Box}.RoundTrip(q)
}
