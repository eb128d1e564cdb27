package images_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// bare is a real registry with nothing before it, and what is sent to it.
type bare struct {
	address, user, password string
	client                  *registry.Client
	server                  *plane.Server

	mu   sync.Mutex
	sent int64
}

// openBare starts a registry. Any repository is there.
func openBare(t testing.TB) *bare {
	t.Helper()
	return openBareAs(t, plane.Options{Program: server.Program(t, "registry")}, clock.Real{})
}

// openBareAs starts a registry by a program of one's own, for a client with a clock.
func openBareAs(t testing.TB, o plane.Options, c clock.Clock) *bare {
	t.Helper()
	b := &bare{user: "bare", password: "bare"}
	o.Name, o.Config = "registry", map[string]string{"password": b.password, "secret": "uploads"}
	b.server = server.Run(t, o)
	b.address = b.server.Address("registry")
	b.client = b.at(b.address, c)
	return b
}

// at is the way to the registry by an address.
func (b *bare) at(address string, c clock.Clock) *registry.Client {
	// It doesn't ask who calls, so that is said without being asked.
	return registry.New(address, &http.Client{Transport: b}, c, func(context.Context, bool) (registry.Credentials, error) {
		return registry.Credentials{}, nil
	})
}

// RoundTrip implements [http.RoundTripper].
func (b *bare) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(b.user, b.password)
	if r.Method == http.MethodPatch {
		b.mu.Lock()
		b.sent += r.ContentLength
		b.mu.Unlock()
	}
	return http.DefaultTransport.RoundTrip(r)
}

// arrived are the bytes of layers that were sent so far.
func (b *bare) arrived() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent
}

// mebi is a mebibyte.
const mebi = 1 << 20

// large is an image of layers of one size, each with a beginning of its own before
// the same bytes.
type large struct {
	layers []string // digests
	same   []byte
	// size is how many bytes follow the beginning: the same ones, and then zeros.
	size int64
}

const beginning = 8

// layer reads a layer.
func (l *large) layer(n int) io.Reader {
	first := binary.BigEndian.AppendUint64(nil, uint64(n)+1)
	rest := l.size - int64(len(l.same))
	return io.MultiReader(bytes.NewReader(first), bytes.NewReader(l.same), io.LimitReader(zeros{}, rest))
}

// zeros are as many as are read.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// newLarge makes layers of so many bytes of noise and zeros.
func newLarge(t testing.TB, layers int, noise, size int64) *large {
	t.Helper()
	l := &large{same: make([]byte, noise), size: size}
	if _, err := rand.NewChaCha8([32]byte{1}).Read(l.same); err != nil {
		t.Fatal(err)
	}
	for n := range layers {
		sum := sha256.New()
		if _, err := io.Copy(sum, l.layer(n)); err != nil {
			t.Fatal(err)
		}
		l.layers = append(l.layers, fmt.Sprintf("sha256:%x", sum.Sum(nil)))
	}
	return l
}

// write writes the image into a folder as an OCI layout. Zeros take no room on disk.
func (l *large) write(t testing.TB, dir, name string) {
	t.Helper()
	type object = map[string]any
	blob := func(digest string, body io.Reader, size int64) {
		t.Helper()
		out, err := os.Create(filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, body)
		if err := errors.Join(err, out.Truncate(size), out.Close()); err != nil {
			t.Fatal(err)
		}
	}
	text := func(mediaType string, v any) object {
		t.Helper()
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		blob(digestOf(body), strings.NewReader(string(body)), int64(len(body)))
		return object{"mediaType": mediaType, "digest": digestOf(body), "size": len(body)}
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	const prefix = "application/vnd.oci.image."
	layers := []object{}
	for n, digest := range l.layers {
		blob(digest, io.LimitReader(l.layer(n), beginning+int64(len(l.same))), beginning+l.size)
		layers = append(layers, object{"mediaType": prefix + "layer.v1.tar", "digest": digest, "size": beginning + l.size})
	}
	config := text(prefix+"config.v1+json", object{"architecture": "amd64", "os": "linux", "rootfs": object{"type": "layers", "diff_ids": l.layers}})
	manifest := text(prefix+"manifest.v1+json", object{"schemaVersion": 2, "mediaType": prefix + "manifest.v1+json", "config": config, "layers": layers})
	manifest["annotations"] = object{"org.opencontainers.image.ref.name": name}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": []object{manifest}})
	if err != nil {
		t.Fatal(err)
	}
	for file, body := range map[string][]byte{"index.json": index, "oci-layout": []byte(`{"imageLayoutVersion": "1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(dir, file), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
