package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// distribution is a registry of this machine that wants a token of its token service,
// which wants a password.
type distribution struct {
	password string
	server   *httptest.Server

	mu     sync.Mutex
	stored map[string][]byte // by path without the host
	sent   int
}

func newDistribution(t *testing.T, password string) *distribution {
	d := &distribution{password: password, stored: map[string][]byte{}}
	d.server = httptest.NewServer(d)
	t.Cleanup(d.server.Close)
	return d
}

func (d *distribution) host() string { return strings.TrimPrefix(d.server.URL, "http://") }

func sumOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// ServeHTTP implements [http.Handler].
func (d *distribution) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.URL.Path == "/token" {
		if user, password, _ := r.BasicAuth(); user != "user" || password != d.password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"token": "good"}`)
		return
	}
	if r.Header.Get("Authorization") != "Bearer good" {
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, d.server.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	switch repository, upload, _ := strings.Cut(r.URL.Path, "/blobs/uploads/"); {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		body, is := d.stored[r.URL.Path]
		if !is {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Header().Set("Docker-Content-Digest", sumOf(body))
		_, _ = w.Write(body)
	case r.Method == http.MethodPost:
		w.Header().Set("Location", r.URL.Path+"1")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPatch:
		d.sent += len(body)
		d.stored[repository+"/blobs/"+sumOf(body)] = body
		w.WriteHeader(http.StatusAccepted)
	case upload != "":
		w.WriteHeader(http.StatusCreated)
	default:
		d.put(r.URL.Path, body)
		w.WriteHeader(http.StatusCreated)
	}
}

// has is what is stored by a path, and how many bytes of layers were sent so far.
func (d *distribution) has(path string) (body []byte, sent int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stored[path], d.sent
}

// tag puts a manifest there by hand.
func (d *distribution) tag(path string, body []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(path, body)
}

// put stores a manifest under a tag, and under its digest. The caller holds mu.
func (d *distribution) put(path string, body []byte) {
	d.stored[path] = body
	d.stored[path[:strings.LastIndexByte(path, '/')+1]+sumOf(body)] = body
}

// TestMirrorCommand mirrors an image from a registry to another with the credentials
// of docker's file, each registry with its own.
func TestMirrorCommand(t *testing.T) {
	t.Parallel()
	from, to := newDistribution(t, "first"), newDistribution(t, "second")
	config, layer := []byte(`{"architecture": "amd64", "os": "linux"}`), bytes.Repeat([]byte("layer"), 1000)
	manifest := fmt.Appendf(nil, `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": %q, "size": %d}, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": %q, "size": %d}]}`,
		sumOf(config), len(config), sumOf(layer), len(layer))
	for _, body := range [][]byte{config, layer} {
		from.stored["/v2/acme/core/blobs/"+sumOf(body)] = body
	}
	from.tag("/v2/acme/core/manifests/v1", manifest)

	dir := t.TempDir()
	pair := func(password string) string {
		return base64.StdEncoding.EncodeToString([]byte("user:" + password))
	}
	file := fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}, %q: {"auth": %q}}}`, from.host(), pair("first"), to.host(), pair("second"))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, docker string, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "poolhouse", append([]string{"images", "mirror"}, args...)...)
		// No account is needed: a profile that isn't there does no harm.
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") }), "DOCKER_CONFIG="+docker, "HOME="+dir, "AWS_PROFILE=nobody")
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("poolhouse images mirror %s: %v\n%s%s", strings.Join(args, " "), err, &o, &e)
		}
		return o.String(), strings.Join(strings.Fields(e.String()), " ")
	}
	says := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("it says nothing of %q:\n%s", want, text)
			}
		}
	}
	name, goal := from.host()+"/acme/core:v1", to.host()+"/mirror"
	_, stderr := run(2, dir)
	says(stderr, "images mirror takes names of images")
	_, stderr = run(2, dir, "no/Name", "--limit", "fast")
	says(stderr, "name the deployment's file by -f, or another registry by --to", `"no/Name" is no name of an image`, `"fast" is no bandwidth`)
	_, stderr = run(2, dir, "--to", "mirror", "-f", "deployment.yaml", name)
	says(stderr, "are two goals", `--to "mirror" is no registry`)
	_, stderr = run(2, dir, "--move-tags", "-f", "deployment.yaml", name)
	says(stderr, "--move-tags is for --to")
	_, stderr = run(1, filepath.Join(dir, "nobody"), "--to", goal, name)
	says(stderr, "log in to "+from.host(), "hint: log in to the registry, for example by docker login REGISTRY")
	out, _ := run(0, dir, "--to", goal, "--dry-run", name)
	says(out, "images: 1 of 1 to push, 5.0 KB to send")
	if _, sent := to.has(""); sent > 0 {
		t.Errorf("without any doing, %d bytes were sent", sent)
	}
	out, _ = run(0, dir, "--to", goal, name)
	says(out, "ok: 1 image there, 1 of them pushed now", "mirror/acme/core:v1", sumOf(manifest))
	from.mu.Lock()
	stored := maps.Clone(from.stored)
	from.mu.Unlock()
	for path, body := range stored {
		got, _ := to.has(strings.Replace(path, "/v2/", "/v2/mirror/", 1))
		if d := cmp.Diff(body, got); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	_, sent := to.has("")
	out, stderr = run(0, dir, "--to", goal, "-o", "json", name)
	var plan struct {
		Images []struct{ Repository, Digest string }
	}
	err := json.Unmarshal([]byte(out), &plan)
	if _, now := to.has(""); err != nil || len(plan.Images) != 1 || plan.Images[0].Digest != sumOf(manifest) || now != sent {
		t.Errorf("the second time: %v, %s, and %d bytes were sent", err, out, now-sent)
	}
	says(stderr, `"event":"TransferProgress"`, `"status":"skipped"`)

	// A tag that another image has is moved if that is asked for.
	from.tag("/v2/acme/core/manifests/v1", append(manifest, ' '))
	_, stderr = run(2, dir, "--to", goal, name)
	says(stderr, "whose tag can't be moved")
	run(0, dir, "--to", goal, "--move-tags", name)
	if got, _ := to.has("/v2/mirror/acme/core/manifests/v1"); sumOf(got) != sumOf(append(manifest, ' ')) {
		t.Errorf("the tag stands for %s", sumOf(got))
	}
}
