package images_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// built makes a bundle of images that a registry has, and returns its bytes. What is
// pulled stays in the folder.
func built(t *testing.T, dir string, names []image.Reference, from func(string) *registry.Client) ([]byte, *bundle.Contents) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.tar")
	if _, err := bundle.Build(t.Context(), path, bundle.BuildOptions{Name: "pulled", Version: "1", Pull: func(ctx context.Context) (string, error) {
		return dir, images.Pull(ctx, dir, names, from, images.PullOptions{})
	}}); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bundle.Read(t.Context(), path, bundle.Options{})
	if err != nil || len(c.Faults) > 0 {
		t.Fatal(err, c.Faults)
	}
	return body, c
}

// A bundle is made of images that a real registry has, with the digests that it has
// them by: the same bytes each time, by tag, by digest, and in whatever order.
func TestPullBareServer(t *testing.T) {
	t.Parallel()
	b := openBare(t)
	u := newUpstream(t, sample(t, "b.tar", 3<<20))
	p, err := images.Mirror(t.Context(), images.Below(b.client, "", u.names, false), u.names, u.from)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Push(t.Context(), images.PushOptions{Clock: clock.Real{}}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	here := slices.Clone(u.names)
	for n := range here {
		here[n].Registry = b.client.Host()
		want[here[n].String()] = p.Images[slices.IndexFunc(p.Images, func(i images.Image) bool { return i.Repository == here[n].Repository })].Digest
	}
	from := func(string) *registry.Client { return b.client }
	first, c := built(t, filepath.Join(t.TempDir(), "pulled"), here, from)
	got, described := map[string]string{}, map[string]string{}
	for _, i := range c.Images {
		got[strings.Join(i.Names, " ")] = i.Digest
	}
	for _, i := range c.Manifest("pulled", "1", nil).Images {
		described[strings.Join(i.Names, " ")] = i.Digest
	}
	if !maps.Equal(got, want) || !maps.Equal(described, want) {
		t.Errorf("the bundle has %v, says %v, and the registry has %v", got, described, want)
	}
	slices.Reverse(here)
	if again, _ := built(t, filepath.Join(t.TempDir(), "pulled"), append(here, here[0]), from); !bytes.Equal(again, first) {
		t.Error("the same images in another order give other bytes")
	}
	// With its digest, a tag need not stand for it any more.
	core := slices.IndexFunc(here, func(r image.Reference) bool { return strings.HasSuffix(r.Repository, "/core-api") })
	pinned, digest := slices.Clone(here), want[here[core].String()]
	pinned[core].Digest = digest
	if again, _ := built(t, filepath.Join(t.TempDir(), "pulled"), pinned, from); !bytes.Equal(again, first) {
		t.Error("the same image by tag and digest gives other bytes")
	}
	pinned[core].Tag = ""
	_, c = built(t, filepath.Join(t.TempDir(), "pulled"), pinned, from)
	if !slices.ContainsFunc(c.Images, func(i bundle.Image) bool {
		return i.Digest == digest && slices.Equal(i.Names, []string{pinned[core].String()})
	}) {
		t.Errorf("by its digest alone %s gives %+v", pinned[core], c.Images)
	}
}

// pull pulls an upstream's images, and returns how far the meter came.
func (u *upstream) pull(ctx context.Context, dir string, o images.PullOptions) (transfer.State, error) {
	o.Meter = transfer.NewMeter(clock.Real{}, nil)
	err := images.Pull(ctx, dir, u.names, u.from, o)
	return o.Meter.State(), err
}

// files are a folder's, by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		body, err := os.ReadFile(name)
		out[strings.TrimPrefix(name, dir+"/")] = string(body)
		return err
	}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

// A pull goes no faster than its limit.
func TestPullLimited(t *testing.T) {
	t.Parallel()
	c := sample(t, "b.tar", 3<<20)
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(t, c)
		size := int64(0)
		for _, body := range u.layers {
			size += int64(len(body))
		}
		for _, rate := range []int64{0, mebi} {
			began := time.Now()
			if _, err := u.pull(t.Context(), filepath.Join(t.TempDir(), "pulled"), images.PullOptions{Limit: transfer.NewLimit(clock.Real{}, rate)}); err != nil {
				t.Fatal(err)
			}
			// What is read at once may go on credit.
			took, least := time.Since(began), time.Duration(float64(size-mebi)/mebi*float64(time.Second))
			if rate == 0 && took > 0 || rate > 0 && (took < least || took > least+5*time.Second) {
				t.Errorf("%d bytes by %d bytes a second took %s", size, rate, took)
			}
		}
	})
}

// A pull that is killed at any layer leaves nothing by a digest's name that isn't whole,
// and the next one reads only what is missing. What is damaged is read again, and what
// is not asked for any more goes.
func TestPullKilled(t *testing.T) {
	t.Parallel()
	c := sample(t, "b.tar", 3<<20)
	clean := filepath.Join(t.TempDir(), "clean")
	var requests int
	var want map[string]string
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(t, c)
		u.cut = func(string, string) int { requests++; return 0 }
		state, err := u.pull(t.Context(), clean, images.PullOptions{})
		if err != nil || state.Done != 1 || state.Moved <= u.given || requests != len(u.layers) {
			t.Fatalf("%d bytes were read by %d requests, and the meter says %+v: %v", u.given, requests, state, err)
		}
		want = files(t, clean)
	})
	killed := errors.New("killed")
	for at := range requests {
		synctest.Test(t, func(t *testing.T) {
			u, dir := newUpstream(t, c), filepath.Join(t.TempDir(), "pulled")
			ctx, cancel := context.WithCancelCause(t.Context())
			n := 0
			u.cut = func(string, string) int {
				if n++; n <= at {
					return 0
				}
				cancel(killed)
				return 100
			}
			if _, err := u.pull(ctx, dir, images.PullOptions{}); !errors.Is(err, killed) {
				t.Fatalf("killed at %d: %v", at, err)
			}
			missing := int64(0)
			got := files(t, dir)
			for name, body := range got {
				if digest, is := strings.CutPrefix(name, "blobs/sha256/"); is && digestOf([]byte(body)) != "sha256:"+digest {
					t.Errorf("killed at %d, there is %s of %d bytes", at, name, len(body))
				}
			}
			for digest, body := range u.layers {
				if _, there := got["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")]; !there {
					missing += int64(len(body))
				}
			}
			u.cut, u.given = nil, 0
			if _, err := u.pull(t.Context(), dir, images.PullOptions{}); err != nil || u.given != missing {
				t.Errorf("after a kill at %d, %d bytes were read and %d were missing: %v", at, u.given, missing, err)
			}
			if got := files(t, dir); !maps.Equal(got, want) {
				t.Errorf("after a kill at %d there are %v", at, slices.Sorted(maps.Keys(got)))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(t, c)
		core := coreLayer(c)
		blobs := filepath.Join(clean, "blobs", "sha256")
		if err := errors.Join(
			os.WriteFile(filepath.Join(blobs, strings.TrimPrefix(core.Digest, "sha256:")), make([]byte, core.Size), 0o600),
			os.WriteFile(filepath.Join(blobs, strings.Repeat("0", 64)), []byte("of another image"), 0o600),
			os.WriteFile(filepath.Join(blobs, strings.Repeat("1", 64)+".part"), []byte("begun"), 0o600),
		); err != nil {
			t.Fatal(err)
		}
		if state, err := u.pull(t.Context(), clean, images.PullOptions{}); err != nil || u.given != core.Size || state.Skipped == 0 {
			t.Errorf("%d bytes were read of a layer of %d that was damaged, %+v: %v", u.given, core.Size, state, err)
		}
		if got := files(t, clean); !maps.Equal(got, want) {
			t.Errorf("there are %v", slices.Sorted(maps.Keys(got)))
		}
	})
}

// What a registry says or hands out otherwise than it should is refused, with nothing
// of it by a digest's name; and so is a folder that holds other things.
func TestPullRefuses(t *testing.T) {
	t.Parallel()
	c := sample(t, "b.tar", 3<<20)
	core := coreLayer(c).Digest
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	layered := func(sizes ...int64) image.Manifest {
		layers := []map[string]any{}
		for n, size := range sizes {
			layers = append(layers, map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digestOf(fmt.Append(nil, n)), "size": size})
		}
		text, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "layers": layers, "config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": core, "size": len(sizes)}})
		if err != nil {
			t.Fatal(err)
		}
		return image.Manifest{Digest: digestOf(text), MediaType: mediaType, Text: text}
	}
	tagged := func(u *upstream, m image.Manifest) {
		u.names = u.names[:1]
		u.manifests[u.names[0].Repository+" "+u.names[0].Tag] = m
		u.manifests[u.names[0].Repository+" "+m.Digest] = m
	}
	for name, tt := range map[string]struct {
		spoil  func(u *upstream)
		limits archive.Limits
		faults int // 0 is an error that is none
		want   []string
	}{
		"tags that are not there": {func(u *upstream) {
			u.names[0].Tag, u.names[1].Repository = "v9", "acme/none"
		}, archive.Limits{}, 2, []string{"registry.example.com/acme/none:v1.0.0: is not there", ":v9: is not there", "correct the name, or the tag or digest"}},
		"a digest that is not there": {func(u *upstream) { u.names[0].Digest = digestOf(nil) }, archive.Limits{}, 1, []string{"@" + digestOf(nil) + ": is not there"}},
		"another manifest": {func(u *upstream) {
			u.names[0].Digest = digestOf(nil)
			u.manifests[u.names[0].Repository+" "+digestOf(nil)] = layered()
		}, archive.Limits{}, 0, []string{"the registry answers with another manifest"}},
		"other bytes": {func(u *upstream) {
			u.layers[core] = slices.Clone(u.layers[core])
			u.layers[core][7] ^= 1
		}, archive.Limits{}, 0, []string{"registry.example.com hands out other bytes for layer " + core}},
		"more bytes":  {func(u *upstream) { u.layers[core] = append(slices.Clone(u.layers[core]), 0) }, archive.Limits{}, 0, []string{"hands out other bytes for layer " + core}},
		"fewer bytes": {func(u *upstream) { u.layers[core] = u.layers[core][:1000] }, archive.Limits{}, 0, []string{"hands out other bytes for layer " + core}},
		"no layer":    {func(u *upstream) { delete(u.layers, core) }, archive.Limits{}, 0, []string{"fetch layer " + core, "the registry answers 404"}},
		"two sizes of a layer": {func(u *upstream) {
			u.names = u.names[:2]
			for n, m := range []image.Manifest{layered(1), layered(1, 2)} {
				u.manifests[u.names[n].Repository+" "+u.names[n].Tag] = m
			}
		}, archive.Limits{}, 1, []string{"and another manifest has another number"}},
		"too many bytes":       {func(u *upstream) { tagged(u, layered(1<<40)) }, archive.Limits{}, 1, []string{"have more than 1099511627776 bytes in all"}},
		"more than can be":     {func(u *upstream) { tagged(u, layered(math.MaxInt64, math.MaxInt64)) }, archive.Limits{}, 1, []string{"have more than 1099511627776 bytes in all"}},
		"too many files":       {func(*upstream) {}, archive.Limits{Members: 3, Bytes: 1 << 40}, 1, []string{"files, more than 3"}},
		"too many of the type": {func(u *upstream) { tagged(u, layered(make([]int64, 1000)...)) }, archive.Limits{}, 1, []string{"lists more than 1000"}},
		"manifests that fill the memory": {func(u *upstream) {
			list := []map[string]any{}
			padding := strings.Repeat(" ", 4<<20-1000)
			for n := range 9 {
				m := layered(1)
				m.Text = append(m.Text, padding[n:]...)
				m.Digest = digestOf(m.Text)
				u.manifests[u.names[0].Repository+" "+m.Digest] = m
				list = append(list, map[string]any{"mediaType": mediaType, "digest": m.Digest, "size": len(m.Text)})
			}
			text, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": list})
			if err != nil {
				t.Fatal(err)
			}
			tagged(u, image.Manifest{Digest: digestOf(text), MediaType: "application/vnd.oci.image.index.v1+json", Text: text})
		}, archive.Limits{}, 1, []string{"larger than 33554432 bytes"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			u, dir := newUpstream(t, c), filepath.Join(t.TempDir(), "pulled")
			tt.spoil(u)
			start := time.Now()
			_, err := u.pull(t.Context(), dir, images.PullOptions{Limits: tt.limits})
			if err == nil {
				t.Fatalf("%s: there is no error", name)
			}
			var faults fault.Faults
			if errors.As(err, &faults); len(faults) != tt.faults {
				t.Errorf("%s: there are %d faults: %v", name, len(faults), err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: it says nothing of %q: %v", name, want, err)
				}
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: what does not pass was tried for %v", name, took)
			}
			got := files(t, dir)
			if _, named := got["index.json"]; named || tt.faults > 0 && len(got) > 0 {
				t.Errorf("%s: there are %v", name, slices.Sorted(maps.Keys(got)))
			}
			for file, body := range got {
				if digest := strings.TrimPrefix(file, "blobs/sha256/"); digestOf([]byte(body)) != "sha256:"+digest {
					t.Errorf("%s: %s has other bytes", name, file)
				}
			}
		})
	}
	u := newUpstream(t, c)
	nobody := func(host string) *registry.Client {
		return registry.New(host, &http.Client{Transport: u}, clock.Real{}, func(context.Context, bool) (registry.Credentials, error) {
			return registry.Credentials{}, nil
		})
	}
	if err := images.Pull(t.Context(), filepath.Join(t.TempDir(), "pulled"), u.names, nobody, images.PullOptions{}); !registry.IsDenied(err) {
		t.Errorf("without credentials: %v", err)
	}
	// Nothing of a folder is removed that is somebody's.
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "letter.txt"), []byte("dear"), 0o600), os.Mkdir(filepath.Join(dir, "photos"), 0o700),
		os.WriteFile(filepath.Join(dir, "photos", "a"), []byte("a"), 0o600), os.Symlink("/etc/passwd", filepath.Join(dir, "oci-layout")),
		os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o700),
		os.WriteFile(filepath.Join(dir, "blobs", "sha256", strings.Repeat("0", 64)), []byte("of an image"), 0o600),
		os.WriteFile(filepath.Join(dir, "index.json"), []byte("{}"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	_, err := u.pull(t.Context(), dir, images.PullOptions{})
	var faults fault.Faults
	if !errors.As(err, &faults) || len(faults) != 3 || !strings.Contains(err.Error(), "letter.txt\": is nothing that was pulled") || u.given > 0 {
		t.Errorf("a folder with other things: %v", err)
	}
	if got := files(t, dir); !maps.Equal(got, before) {
		t.Errorf("there are %v", got)
	}
}
