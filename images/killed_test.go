package images_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
)

// writing tells requests that change a registry.
func writing(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// came are the bytes of layers that came through a door to a registry, and how many of
// them it took: those of layers that it said were there, by their sizes.
func came(entries []server.Entry, sizes map[string]int64) (all, taken int64) {
	for _, e := range entries {
		switch {
		case e.Method == http.MethodPatch:
			all += e.Bytes
		case e.Method == http.MethodPut && e.Status == http.StatusCreated:
			taken += sizes[e.URL.Query().Get("digest")] // none of a manifest
		}
	}
	return all, taken
}

// laidOut writes an image of two platforms into a folder as an OCI layout, with an index.
func laidOut(t *testing.T, dir, name string) {
	t.Helper()
	programs := map[string][]byte{}
	for _, platform := range []string{"amd64", "arm64"} {
		program, err := noise(100 << 10)(platform)
		if err != nil {
			t.Fatal(err)
		}
		programs[platform] = program
	}
	content, err := samplebundle.Layout("core-api", programs, samplebundle.Gzipped)
	if err != nil {
		t.Fatal(err)
	}
	for file, body := range content {
		to := filepath.Join(dir, filepath.FromSlash(file))
		body = bytes.ReplaceAll(body, []byte(samplebundle.Name("core-api")), []byte(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, body, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKillBareServer kills a push of a folder and of an archive within and after each
// request that writes, at a registry that nothing stands before but what counts there; one
// without a body before it. What can be seen is whole, and the next push sends only what
// the registry has not taken.
func TestKillBareServer(t *testing.T) {
	t.Parallel()
	b := openBare(t)
	streamed := newLarge(t, 2, 1000, 2*mebi+100<<10)
	content := map[string]*large{
		"a": streamed,
		"b": newLarge(t, 2, 1000, 100<<10),
		"c": streamed, // its layers are mounted
	}
	folder := t.TempDir()
	layouts := []string{}
	for name, l := range content {
		layouts = append(layouts, filepath.Join(folder, "containers", name))
		l.write(t, layouts[len(layouts)-1], "acme/"+name+":v1")
	}
	layouts = append(layouts, filepath.Join(folder, "containers", "d"))
	laidOut(t, layouts[len(layouts)-1], "acme/d:v1")
	content["d"] = nil // which is not one of those
	archive := filepath.Join(t.TempDir(), "b.tar")
	if _, err := bundle.Build(t.Context(), archive, bundle.BuildOptions{Name: "b", Version: "1", Images: layouts}); err != nil {
		t.Fatal(err)
	}
	bundles := map[string]*bundle.Contents{}
	for kind, path := range map[string]string{"folder": folder, "archive": archive} {
		c, err := bundle.Read(t.Context(), path, bundle.Options{})
		if err != nil || len(c.Faults) > 0 {
			t.Fatal(err, c.Faults)
		}
		bundles[kind] = c
	}
	sizes := map[string]int64{}
	for _, i := range bundles["folder"].Images {
		for _, m := range i.Manifests {
			for _, blob := range m.Blobs {
				sizes[blob.Digest] = blob.Size
			}
		}
	}
	open := func(t *testing.T, c *bundle.Contents, path string) (d *server.Door, push func(context.Context) (sent int64, err error), seen func() int) {
		d = server.NewDoor(t, b.address)
		g := &images.Registry{Client: b.at(strings.TrimPrefix(d.URL, "http://"), clock.Real{}), Repositories: below(path, content)}
		push = func(ctx context.Context) (int64, error) {
			t.Helper()
			p, err := images.Prepare(t.Context(), g, c, false)
			if err != nil {
				t.Fatal(err)
			}
			return p.Send, p.Push(ctx, images.PushOptions{Clock: clock.Real{}})
		}
		seen = func() (n int) {
			t.Helper()
			for name := range content {
				digest, err := b.client.Digest(t.Context(), path+name, "v1")
				if err != nil {
					t.Fatal(err)
				}
				if digest != "" {
					n++
					whole(t, b.client, path+name, digest)
				}
			}
			return n
		}
		return d, push, seen
	}
	d, push, seen := open(t, bundles["folder"], "whole/")
	total, err := push(t.Context())
	if err != nil || seen() != len(content) {
		t.Fatal(err)
	}
	n := 0
	entries := d.Take()
	for _, e := range entries {
		if writing(&http.Request{Method: e.Method}) {
			n++
		}
	}
	// Of eleven blobs that are sent a begin, a body and an end, three that are mounted,
	// five manifests and an index.
	if all, taken := came(entries, sizes); all != total || taken != total || n != 3*11+3+5+1 {
		t.Fatalf("%d requests write, %d bytes came and %d were taken, of %d", n, all, taken, total)
	}
	killed := errors.New("killed")
	for i := range 2 * n {
		kind, i := "folder", i
		if i >= n {
			kind, i = "archive", i-n
		}
		for _, at := range []server.Moment{server.Within, server.After} {
			t.Run(fmt.Sprintf("%s-%d-%s", kind, i, at), func(t *testing.T) {
				t.Parallel()
				d, push, seen := open(t, bundles[kind], fmt.Sprintf("%s-%d-%s/", kind, i, at))
				ctx, kill := context.WithCancelCause(t.Context())
				d.CutOff(server.Cut{N: i, Counts: writing, At: at, Do: func() { kill(killed) }})
				if _, err := push(ctx); !errors.Is(err, killed) {
					t.Fatal(err)
				}
				all, taken := came(d.Take(), sizes)
				// Four layers at most are on their way.
				if all-taken > uploads*(beginning+streamed.size) {
					t.Errorf("%d bytes came, and %d were taken", all, taken)
				}
				seen()
				planned, err := push(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				again, _ := came(d.Take(), sizes)
				if again > total-taken || again != planned {
					t.Errorf("%d bytes of %d were taken, and then %d came, where %d were planned", taken, total, again, planned)
				}
				if planned, err := push(t.Context()); err != nil || planned != 0 {
					t.Errorf("a third push: %d bytes, %v", planned, err)
				}
			})
		}
	}
}
