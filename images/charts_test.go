package images_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

const content = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// shelf is a registry and a web server that have what is put there, by path.
type shelf struct {
	mu    sync.Mutex
	has   map[string]string
	asked []string
	// answer, if not nil, answers instead, if it returns something.
	answer func(r *http.Request) *http.Response
	// broken is a host whose connections break.
	broken string
	// limit is how fast charts are pulled.
	limit *transfer.Limit
}

// RoundTrip implements [http.RoundTripper].
func (s *shelf) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.Host+r.URL.Path)
	if r.URL.Host == s.broken {
		return nil, io.ErrUnexpectedEOF
	}
	out := httptest.NewRecorder()
	if s.answer != nil {
		if resp := s.answer(r); resp != nil {
			resp.Request = r
			return resp, nil
		}
	}
	text, is := s.has[r.URL.Path]
	if !is {
		out.WriteHeader(http.StatusNotFound)
	}
	if strings.Contains(r.URL.Path, "/manifests/") {
		out.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	_, _ = out.WriteString(text) // a recorder takes all
	resp := out.Result()
	resp.Request = r
	return resp, nil
}

// put makes a chart of the registry, of a layer with a type and what its manifest says
// of it, and returns the manifest's digest.
func (s *shelf) put(name, version, layer, mediaType, digest string, size int) string {
	manifest := fmt.Sprintf(`{"schemaVersion": 2, "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": [{"mediaType": %q, "digest": "sha256:%s", "size": %d}]}`, mediaType, digest, size)
	s.has["/v2/charts/"+name+"/manifests/"+version] = manifest
	s.has["/v2/charts/"+name+"/manifests/sha256:"+sumOf(manifest)] = manifest
	s.has["/v2/charts/"+name+"/blobs/sha256:"+digest] = layer
	return "sha256:" + sumOf(manifest)
}

func (s *shelf) pull(t *testing.T, dir string, names ...string) ([]string, error) {
	t.Helper()
	var list []images.Chart
	for _, n := range names {
		c, err := images.ParseChart(n)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	web := &http.Client{Transport: s}
	return images.PullCharts(t.Context(), dir, list, images.ChartOptions{
		From: func(host string) *registry.Client {
			return registry.New(host, web, clock.Real{}, func(context.Context, bool) (registry.Credentials, error) { return registry.Credentials{}, nil })
		},
		Web: web, Clock: clock.Real{}, Limit: s.limit,
	})
}

// Charts of a registry and of a web server come to disk under their names, and those
// that are whole are not fetched again.
func TestPullCharts(t *testing.T) {
	t.Parallel()
	s := &shelf{has: map[string]string{"/stable/metrics-2.0.0.tgz": "metrics"}}
	digest := s.put("acme", "1.0.0", "acme", content, sumOf("acme"), 4)
	dir := filepath.Join(t.TempDir(), "charts")
	names := []string{"oci://registry.example.com/charts/acme:1.0.0@" + digest, "https://web.example.com/stable/metrics-2.0.0.tgz#sha256=" + sumOf("metrics")}
	want := map[string]string{"acme-1.0.0.tgz": "acme", "metrics-2.0.0.tgz": "metrics"}
	for range 2 {
		paths, err := s.pull(t, dir, names...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{filepath.Join(dir, "acme-1.0.0.tgz"), filepath.Join(dir, "metrics-2.0.0.tgz")}, paths); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(want, files(t, dir)); d != "" {
			t.Error(d)
		}
	}
	manifest := "registry.example.com/v2/charts/acme/manifests/" + digest
	if d := cmp.Diff([]string{manifest, "registry.example.com/v2/charts/acme/blobs/sha256:" + sumOf("acme"), "web.example.com/stable/metrics-2.0.0.tgz", manifest}, s.asked); d != "" {
		t.Errorf("asked for: %s", d)
	}
	// What was damaged, or cut off by a kill, is fetched again; what isn't asked for goes.
	for name, text := range map[string]string{"metrics-2.0.0.tgz": "metr", "other-1.0.0.tgz.part": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.pull(t, dir, names[1]); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"metrics-2.0.0.tgz": "metrics"}, files(t, dir)); d != "" {
		t.Error(d)
	}
}

// What isn't what was asked for never gets a chart's name.
func TestPullChartsRefuses(t *testing.T) {
	t.Parallel()
	const large = bundle.MostChart + 1
	for name, tt := range map[string]struct {
		change func(s *shelf)
		ask    string
		want   string
	}{
		"another file": {func(s *shelf) { s.has["/a-1.tgz"] = "other" }, "https://web.example.com/a-1.tgz#sha256=" + sumOf("a"), "has the digest sha256:" + sumOf("other") + " instead of"},
		"too large a file": {func(s *shelf) {
			s.answer = func(*http.Request) *http.Response {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{}), large))}
			}
		}, "https://web.example.com/a-1.tgz#sha256=" + sumOf("a"), "has more than 104857600 bytes"},
		"no such version": {func(*shelf) {}, "oci://registry.example.com/charts/acme:2", "is not in the registry"},
		"another layer":   {func(s *shelf) { s.put("acme", "2", "other", content, sumOf("acme"), 5) }, "oci://registry.example.com/charts/acme:2", "has the digest sha256:" + sumOf("other")},
		"another size":    {func(s *shelf) { s.put("acme", "2", "acme", content, sumOf("acme"), 3) }, "oci://registry.example.com/charts/acme:2", "has more than 3 bytes"},
		"a large layer":   {func(s *shelf) { s.put("acme", "2", "acme", content, sumOf("acme"), large) }, "oci://registry.example.com/charts/acme:2", "has 104857601 bytes by its manifest"},
		"an image":        {func(s *shelf) { s.put("acme", "2", "acme", "application/vnd.oci.image.layer.v1.tar", sumOf("acme"), 4) }, "oci://registry.example.com/charts/acme:2", "is no chart"},
		"no digest":       {func(s *shelf) { s.put("acme", "2", "acme", content, "../../x", 4) }, "oci://registry.example.com/charts/acme:2", "no digest of SHA-256"},
	} {
		s := &shelf{has: map[string]string{}}
		tt.change(s)
		dir := t.TempDir()
		_, err := s.pull(t, dir, tt.ask)
		var faults fault.Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
		for file := range files(t, dir) {
			t.Errorf("%s: there is %s", name, file)
		}
	}
	s := &shelf{has: map[string]string{}}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pull(t, dir, "oci://registry.example.com/charts/acme:2"); err == nil || !strings.Contains(err.Error(), "mine.txt") || len(s.asked) > 0 {
		t.Errorf("a folder of somebody else: %v, asked %v", err, s.asked)
	}
	if _, err := s.pull(t, t.TempDir(), "oci://a.example.com/charts/acme:2", "oci://b.example.com/charts/acme:2"); err == nil || !strings.Contains(err.Error(), "has the name of") {
		t.Errorf("two of a name: %v", err)
	}
}

// A web server that is busy is asked again; one that leads away from TLS isn't followed.
func TestPullChartsFromWeb(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{has: map[string]string{"/a-1.tgz": "a"}}
		busy := 3
		s.answer = func(r *http.Request) *http.Response {
			if busy--; busy >= 0 {
				return &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503 Service Unavailable", Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}}
			}
			return nil
		}
		const file = "https://web.example.com/a-1.tgz#sha256="
		if _, err := s.pull(t, t.TempDir(), file+sumOf("a")); err != nil || len(s.asked) != 4 {
			t.Errorf("busy: %v, asked %v", err, s.asked)
		}
		s.answer = func(*http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusFound, Status: "302 Found", Body: io.NopCloser(strings.NewReader("")), Header: http.Header{"Location": {"http://web.example.com/a-1.tgz"}}}
		}
		if _, err := s.pull(t, t.TempDir(), file+sumOf("a")); err == nil || !strings.Contains(err.Error(), "without TLS") {
			t.Errorf("without TLS: %v", err)
		}
		// Where a signed address fails, its host is named, and not what signs it.
		s.answer = func(r *http.Request) *http.Response {
			if r.URL.Host != "web.example.com" {
				return nil
			}
			return &http.Response{StatusCode: http.StatusFound, Status: "302 Found", Body: io.NopCloser(strings.NewReader("")), Header: http.Header{"Location": {"https://store.example.com/a-1.tgz?sig=secret"}}}
		}
		s.broken = "store.example.com"
		if _, err := s.pull(t, t.TempDir(), file+sumOf("a")); err == nil || !strings.Contains(err.Error(), "store.example.com: unexpected EOF") || strings.Contains(err.Error(), "secret") {
			t.Errorf("broken: %v", err)
		}
		s.answer = nil
		if _, err := s.pull(t, t.TempDir(), "https://web.example.com/none-1.tgz#sha256="+sumOf("a")); err == nil || !strings.Contains(err.Error(), "web.example.com answers 404") {
			t.Errorf("absent: %v", err)
		}
	})
}

// Charts are pulled no faster than the limit, of a registry and of a web server.
func TestPullChartsLimited(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 4<<20)
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{has: map[string]string{"/a-1.tgz": text}, limit: transfer.NewLimit(clock.Real{}, 1<<20)}
		s.put("acme", "1", text, content, sumOf(text), len(text))
		for _, name := range []string{"oci://registry.example.com/charts/acme:1", "https://web.example.com/a-1.tgz#sha256=" + sumOf(text)} {
			began := time.Now()
			if _, err := s.pull(t, t.TempDir(), name); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < 3*time.Second || took > 5*time.Second {
				t.Errorf("%s: 4 MiB by 1 MiB a second took %s", name, took)
			}
		}
	})
}

func TestParseChart(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("a", 64)
	for text, want := range map[string]string{
		"oci://registry.example.com/charts/acme:1.2.0":                           "",
		"oci://registry.example.com/charts/acme@sha256:" + digest:                "",
		"oci://127.0.0.1:5000/acme:1.2.0@sha256:" + digest:                       "",
		"https://charts.example.com/stable/acme-1.2.0.tgz#sha256=" + digest:      "",
		"oci://registry.example.com/charts/acme":                                 "is no chart of a registry",
		"oci://acme:1.2.0":                                                       "is no chart of a registry",
		"oci://registry.example.com/Charts/acme:1":                               "is no chart of a registry",
		"oci://registry.example.com/charts/acme:1@sha256:1":                      "is no chart of a registry",
		"http://charts.example.com/acme-1.2.0.tgz#sha256=" + digest:              "is no chart of a web server",
		"https://charts.example.com/acme-1.2.0.tgz":                              "has no digest",
		"https://charts.example.com/acme-1.2.0.tgz#sha256=" + digest[1:]:         "has no digest",
		"https://charts.example.com/acme-1.2.0.tgz?sig=secret#sha256=" + digest:  "is no chart of a web server",
		"https://user:secret@charts.example.com/acme-1.2.0.tgz#sha256=" + digest: "is no chart of a web server",
		"https://charts.example.com/#sha256=" + digest:                           "is no chart of a web server",
		"https://charts.example.com/.tgz#sha256=" + digest:                       "is no chart of a web server",
	} {
		if !images.IsChart(text) {
			t.Errorf("%s is taken for a path", text)
		}
		_, err := images.ParseChart(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("it is told: %v", err)
		}
	}
	for _, path := range []string{"platform/", "./oci:/x", "acme-1.0.0.tgz"} {
		if images.IsChart(path) {
			t.Errorf("%s is no path", path)
		}
	}
}
