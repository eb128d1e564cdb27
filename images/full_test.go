package images_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
)

// hasty is a clock on which nobody pauses before another attempt; what watches over
// connections waits for longer.
type hasty struct{ clock.Real }

func (h hasty) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 30*time.Second {
		return context.Cause(ctx)
	}
	return h.Real.Sleep(ctx, d)
}

// laid is a bundle of images that lies in a folder: by their names, the layers of each.
func laid(t testing.TB, content map[string]*large) *bundle.Contents {
	t.Helper()
	dir := t.TempDir()
	for name, l := range content {
		l.write(t, filepath.Join(dir, "containers", name), "acme/"+name+":v1")
	}
	c, err := bundle.Read(t.Context(), dir, bundle.Options{})
	if err != nil || len(c.Faults) > 0 {
		t.Fatal(err, c.Faults)
	}
	return c
}

// below are the repositories of images below a path of a bare registry, which makes them
// as it is asked.
func below(path string, content map[string]*large) (list []images.Repository) {
	for name := range content {
		list = append(list, images.Repository{Name: path + name, Short: name, There: true})
	}
	return list
}

// A server whose disk is full refuses what does not fit: the push ends with the names of
// the image and its layer, nothing half-done is to be seen, and once there is room the
// next one sends what had not arrived.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		layers     int
		size, room int64
	}{
		"streamed": {2, 4 * mebi, 6 * mebi},
		"small":    {6, mebi, 4 * mebi},
		"none":     {2, 4 * mebi, mebi},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := server.NewDisk(t, server.Program(t, "registry"), 64*mebi)
			b := openBareAs(t, d.Options, hasty{})
			content := map[string]*large{"huge": newLarge(t, c.layers, 1000, c.size)}
			bundled := laid(t, content)
			g := &images.Registry{Client: b.client, Repositories: below("", content)}
			prepare := func() *images.Plan {
				t.Helper()
				p, err := images.Prepare(t.Context(), g, bundled, false)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			p := prepare()
			empty := d.Fill(t, b.server.Process(), c.room)
			err := p.Push(t.Context(), images.PushOptions{Clock: hasty{}})
			failed, ok := errors.AsType[*images.PushError](err)
			if !ok || len(failed.Failures) != 1 || failed.Failures[0].Image != "huge:v1" || !strings.Contains(err.Error(), "layer sha256:") {
				t.Errorf("the error is %v", err)
			}
			if tag, err := b.client.Digest(t.Context(), "huge", "v1"); err != nil || tag != "" {
				t.Errorf("the tag is %q, %v", tag, err)
			}
			empty()
			left := prepare().Send
			if there := p.Send - left; there > c.room || left == 0 {
				t.Errorf("with room for %d bytes %d are there of %d", c.room, there, p.Send)
			}
			before := b.arrived()
			if err := prepare().Push(t.Context(), images.PushOptions{Clock: hasty{}}); err != nil {
				t.Fatal(err)
			}
			if sent := b.arrived() - before; sent != left {
				t.Errorf("%d bytes came then, not the %d that were missing", sent, left)
			}
			digest, err := b.client.Digest(t.Context(), "huge", "v1")
			if err != nil || digest == "" {
				t.Fatalf("the tag is %q, %v", digest, err)
			}
			whole(t, b.client, "huge", digest)
		})
	}
	t.Run("sandbox", func(t *testing.T) {
		t.Parallel()
		d := server.NewDisk(t, server.Program(t, "registry"), 64*mebi)
		s := openStore(t, d.Options)
		w := newWorldStored(t, s)
		w.clients.Clock = hasty{}
		c := sample(t, "b.tar", 3*mebi)
		p := w.plan(c)
		empty := d.Fill(t, s.Server().Process(), 7*mebi)
		err := p.Push(t.Context(), images.PushOptions{Clock: hasty{}})
		if failed, ok := errors.AsType[*images.PushError](err); !ok || len(failed.Failures) == 0 || !strings.Contains(err.Error(), "layer sha256:") {
			t.Errorf("the error is %v", err)
		}
		w.visible()
		empty()
		before, left := w.sent, w.plan(c).Send
		if left == 0 || left > p.Send {
			t.Errorf("%d of %d bytes are left", left, p.Send)
		}
		if _, err := w.push(t.Context(), c); err != nil || w.sent-before != left {
			t.Errorf("%d bytes came then, not the %d that were missing: %v", w.sent-before, left, err)
		}
		w.everything(c)
	})
}
