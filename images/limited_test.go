package images_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// What is pushed goes no faster than the limit, at any time and all layers together, and
// not slower either: of an archive, a folder and another registry, by mounting layers and
// by sending them to each repository. Without one it takes no time.
func TestPushLimited(t *testing.T) {
	t.Parallel()
	bundled := func(c *bundle.Contents) func(*testing.T, *world) (*images.Plan, error) {
		return func(t *testing.T, w *world) (*images.Plan, error) {
			return images.Prepare(t.Context(), w.open(), c, false)
		}
	}
	archive, folder := sample(t, "b.tar", 3*mebi), sample(t, "folder", 3*mebi)
	for name, prepare := range map[string]func(*testing.T, *world) (*images.Plan, error){
		"archive":         bundled(archive),
		"archive, alone":  bundled(archive),
		"folder":          bundled(folder),
		"folder, skimmed": bundled(skimmed(t, folder.Path)),
		"registry": func(t *testing.T, w *world) (*images.Plan, error) {
			u := newUpstream(t, archive)
			return images.Mirror(t.Context(), w.open(), u.names, u.from)
		},
	} {
		for _, rate := range []int64{0, mebi} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "IMMUTABLE")
				if name == "archive, alone" {
					w.mounts("DISABLED")
				}
				p, err := prepare(t, w)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				over := make(chan struct{})
				if rate > 0 {
					go func() {
						for {
							select {
							case <-over:
								return
							case <-time.After(time.Second / 4):
								w.within(name, rate, time.Since(began))
							}
						}
					}()
				}
				err = p.Push(t.Context(), images.PushOptions{Clock: clock.Real{}, Limit: transfer.NewLimit(clock.Real{}, rate)})
				close(over)
				took := time.Since(began)
				if err != nil || w.sent != p.Send || w.sent < 15*mebi {
					t.Fatalf("%s: %d bytes came, of %d: %v", name, w.sent, p.Send, err)
				}
				if rate == 0 {
					if took > 0 {
						t.Errorf("%s: without a limit it took %s", name, took)
					}
					return
				}
				w.within(name, rate, took)
				if most := lasts(w.sent, rate) + time.Second; took > most {
					t.Errorf("%s: %d bytes by %d bytes a second took %s", name, w.sent, rate, took)
				}
			})
		}
	}
}

// lasts is how long bytes take at a rate in bytes a second.
func lasts(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// within checks that no more bytes came in a time than a rate allows, in bytes a second.
// What wasn't used for a tenth of a second may be caught up on, and each upload has read
// a piece when it waits.
func (w *world) within(name string, rate int64, took time.Duration) {
	w.t.Helper()
	const piece = 32 << 10
	w.mu.Lock()
	sent := w.sent
	w.mu.Unlock()
	if least := lasts(sent-uploads*piece, rate) - time.Second/10; took < least {
		w.t.Errorf("%s: %d bytes by %d bytes a second came in %s", name, sent, rate, took)
	}
}
