package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/poolhouse/poolhouse/planes/kubernetes/image"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive is a layer of headers, whose files hold their link's name.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		ok(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		ok(t, err)
	}
	ok(t, w.Close())
	return b.Bytes()
}

// build is an image of layers.
func build(t testing.TB, c v1.Config, platform v1.Platform, layers ...[]byte) v1.Image {
	t.Helper()
	var img v1.Image = empty.Image
	for _, text := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
		ok(t, err)
		img, err = mutate.AppendLayers(img, l)
		ok(t, err)
	}
	file, err := img.ConfigFile()
	ok(t, err)
	file = file.DeepCopy()
	file.Config, file.OS, file.Architecture = c, platform.OS, platform.Architecture
	img, err = mutate.ConfigFile(img, file)
	ok(t, err)
	return img
}

var own = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}

const host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

// world is a store before a registry that wants to know who asks.
type world struct {
	*image.Store
	t     *testing.T
	dir   string
	calls atomic.Int32
	// spoil changes what the registry answers. May be nil.
	spoil func(path string, body []byte) []byte
	opts  image.Options
}

// open starts both. The store reaches the registry by whatever name it asks.
func open(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "images")}
	images := registry.New(registry.Logger(discard))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.calls.Add(1)
		if user, password, _ := r.BasicAuth(); user != "AWS" || password != "secret" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(rw, "who?", http.StatusUnauthorized)
			return
		}
		if w.spoil == nil || r.Method != http.MethodGet {
			images.ServeHTTP(rw, r)
			return
		}
		answer := httptest.NewRecorder()
		images.ServeHTTP(answer, r)
		body := w.spoil(r.URL.Path, answer.Body.Bytes())
		for k, v := range answer.Header() {
			rw.Header()[k] = v
		}
		rw.Header().Set("Content-Length", fmt.Sprint(len(body)))
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(body)
	}))
	t.Cleanup(server.Close)
	w.opts = image.Options{
		Dir: w.dir,
		Transport: trip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" || r.URL.Host != host {
				return nil, fmt.Errorf("asked %s", r.URL)
			}
			there := r.Clone(r.Context())
			there.URL.Scheme, there.URL.Host = "http", server.Listener.Addr().String()
			res, err := http.DefaultTransport.RoundTrip(there)
			if err == nil {
				res.Request = r
			}
			return res, err
		}),
		Login: func(_ context.Context, registry string) (string, string, error) {
			if registry != host {
				return "", "", errors.New("who is " + registry)
			}
			return "AWS", "secret", nil
		},
	}
	w.reopen()
	return w
}

func (w *world) reopen() {
	w.t.Helper()
	s, err := image.New(w.opts)
	ok(w.t, err)
	w.Store = s
}

// basic is who pushes.
type basic struct{}

func (basic) Authorization() (*authn.AuthConfig, error) {
	return &authn.AuthConfig{Username: "AWS", Password: "secret"}, nil
}

var discard = log.New(io.Discard, "", 0)

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// push pushes an image or an index, and returns its reference by digest.
func (w *world) push(repository string, what remote.Taggable) string {
	w.t.Helper()
	tag, err := name.ParseReference(host + "/" + repository + ":v1")
	ok(w.t, err)
	login := remote.WithAuth(basic{})
	ok(w.t, remote.Push(tag, what, remote.WithTransport(w.opts.Transport), login))
	d, err := remote.Get(tag, remote.WithTransport(w.opts.Transport), login)
	ok(w.t, err)
	return host + "/" + repository + "@" + d.Digest.String()
}

// TestPull: an image is unpacked by what its layers say, once.
func TestPull(t *testing.T) {
	t.Parallel()
	w := open(t)
	ref := w.push("team/app", build(t, v1.Config{
		Entrypoint: []string{"/bin/app"}, Cmd: []string{"serve"}, Env: []string{"A=1"}, User: "app", WorkingDir: "/srv", StopSignal: "SIGINT", Volumes: map[string]struct{}{"/data": {}},
	}, own,
		archive(t, tar.Header{Name: "bin/app", Linkname: "program"}, tar.Header{Name: "etc/old", Linkname: "old"}),
		archive(t, tar.Header{Name: "etc/.wh.old"}, tar.Header{Name: "etc/new", Linkname: "new", Mode: 0o600}),
	))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := w.Pull(t.Context(), ref); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	before := w.calls.Load()
	got, err := w.Pull(t.Context(), ref)
	ok(t, err)
	if n := w.calls.Load() - before; n > 0 {
		t.Errorf("%d calls for an image that is there", n)
	}
	_, digest, _ := strings.Cut(ref, "@")
	want := image.Image{
		Reference: ref, Digest: digest, Root: got.Root,
		Config: image.Config{Entrypoint: []string{"/bin/app"}, Cmd: []string{"serve"}, Env: []string{"A=1"}, User: "app", WorkingDir: "/srv", StopSignal: "SIGINT", Volumes: []string{"/data"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"bin": "drwxr-xr-x", "bin/app": "-rwxr-xr-x program", "etc": "drwxr-xr-x", "etc/new": "-rw------- new"}, tree(t, got.Root)); d != "" {
		t.Error(d)
	}
	byTag, err := w.Pull(t.Context(), host+"/team/app:v1")
	ok(t, err)
	if byTag.Root != got.Root {
		t.Errorf("the same image lies in %s and %s", got.Root, byTag.Root)
	}
	if _, there := w.Has(host + "/team/app:v1"); !there {
		t.Error("what was pulled isn't there")
	}
	if _, there := w.Has(host + "/team/app:v2"); there {
		t.Error("what wasn't pulled is there")
	}
	// What was cut short is not taken up.
	ok(t, os.MkdirAll(filepath.Join(w.dir, "part-1", "root"), 0o755))
	ok(t, os.WriteFile(filepath.Join(w.dir, "part-1", "config.json"), []byte("{}"), 0o600))
	ok(t, os.MkdirAll(filepath.Join(w.dir, "sha256-0123", "root"), 0o755))
	w.reopen()
	before = w.calls.Load()
	again, err := w.Pull(t.Context(), ref)
	ok(t, err)
	if d := cmp.Diff(got, again); d != "" || w.calls.Load() != before {
		t.Errorf("after a restart, %d calls: %s", w.calls.Load()-before, d)
	}
	found, err := os.ReadDir(w.dir)
	if err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
}

// TestPlatforms: of an index, the image for this machine is taken; what has none is
// not run.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	w := open(t)
	other := v1.Platform{OS: "linux", Architecture: "s390x"}
	text := archive(t, tar.Header{Name: "a", Linkname: "a"})
	mine, theirs := build(t, v1.Config{}, own, text), build(t, v1.Config{}, other, text)
	add := func(img v1.Image, p v1.Platform) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}}
	}
	ref := w.push("both", mutate.AppendManifests(empty.Index, add(theirs, other), add(mine, own)))
	got, err := w.Pull(t.Context(), ref)
	ok(t, err)
	if want, err := mine.Digest(); err != nil || got.Digest != want.String() {
		t.Errorf("%s, want %s, %v", got.Digest, want, err)
	}
	if _, there := w.Has(ref); !there {
		t.Error("an image that was named by its index isn't there")
	}
	for _, ref := range []string{w.push("theirs", theirs), w.push("index", mutate.AppendManifests(empty.Index, add(theirs, other)))} {
		_, err := w.Pull(t.Context(), ref)
		if why, not := process.NotRun(err); !not || !strings.Contains(why, "the image is for linux/s390x, and this machine is linux/"+runtime.GOARCH) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestSpoilt: what is not what its digest says is not unpacked, and nothing of it
// stays.
func TestSpoilt(t *testing.T) {
	t.Parallel()
	for kind, spoil := range map[string]func(string, []byte) []byte{
		"manifest": func(path string, b []byte) []byte {
			if strings.Contains(path, "/manifests/") {
				return append(b, ' ')
			}
			return b
		},
		"blob": func(path string, b []byte) []byte {
			if strings.Contains(path, "/blobs/") {
				return append(bytes.Clone(b[:len(b)-1]), b[len(b)-1]^1)
			}
			return b
		},
		"short blob": func(path string, b []byte) []byte {
			if strings.Contains(path, "/blobs/") {
				return b[:len(b)/2]
			}
			return b
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			ref := w.push("app", build(t, v1.Config{}, own, archive(t, tar.Header{Name: "a", Linkname: "a"})))
			w.spoil = spoil
			if i, err := w.Pull(t.Context(), ref); err == nil || !strings.Contains(err.Error(), ref) {
				t.Errorf("%v %v", i, err)
			}
			if found, err := os.ReadDir(w.dir); err != nil || len(found) > 0 {
				t.Errorf("%v %v", found, err)
			}
			w.spoil = nil
			_, err := w.Pull(t.Context(), ref)
			ok(t, err)
		})
	}
	w := open(t)
	for _, ref := range []string{host + "/none:v1", "elsewhere.example/a:v1", "not a reference", host + "/a@sha256:12"} {
		if i, err := w.Pull(t.Context(), ref); err == nil {
			t.Errorf("%s: %v", ref, i)
		}
	}
}

// TestUser: names and numbers of users are the image's.
func TestUser(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	ok(t, os.MkdirAll(filepath.Join(root, "real"), 0o755))
	ok(t, os.Symlink("/real", filepath.Join(root, "etc")))
	ok(t, os.WriteFile(filepath.Join(root, "real/passwd"), []byte("root:x:0:0::/:/bin/sh\napp:x:1000:100::/:\nbad\n"), 0o644))
	ok(t, os.WriteFile(filepath.Join(root, "real/group"), []byte("root:x:0:\nusers:x:100:app\nwheel:x:10:root,app\n"), 0o644))
	i := image.Image{Root: root}
	for user, want := range map[string]string{
		"": "0 0 [10]", "root": "0 0 [10]", "app": "1000 100 [10]", "1000": "1000 100 [10]", "app:wheel": "1000 10 []", "1000:7": "1000 7 []", "5": "5 0 []", "5:users": "5 100 []",
		"none": "", "app:none": "", "-1": "", "4294967295": "",
	} {
		uid, gid, groups, err := i.User(user)
		if got := fmt.Sprint(uid, gid, groups); want == "" && err == nil || want != "" && (err != nil || got != want) {
			t.Errorf("%q: %s %v, want %q", user, got, err, want)
		}
	}
	if uid, gid, groups, err := (image.Image{Root: t.TempDir()}).User("7:8"); uid != 7 || gid != 8 || groups != nil || err != nil {
		t.Errorf("without files: %d %d %v %v", uid, gid, groups, err)
	}
}

// tree are the files below a folder, with their modes, and contents or links.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	ok(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		text := i.Mode().String()
		switch {
		case i.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(b)
		case i.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + to
		}
		rel, err := filepath.Rel(root, path)
		out[rel] = text
		return err
	}))
	return out
}
