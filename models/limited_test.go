package models_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/transfer"
)

// arriving counts the bytes of files as a server reads them.
type arriving struct {
	next http.RoundTripper
	n    atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (a *arriving) RoundTrip(r *http.Request) (*http.Response, error) {
	if c := callOf(r); r.Body != nil && (c.operation == "UploadPart" || c.operation == "PutObject") && strings.HasPrefix(c.key, models.Prefix) {
		r = r.Clone(r.Context())
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, a), r.Body}
	}
	return a.next.RoundTrip(r)
}

// Write implements [io.Writer].
func (a *arriving) Write(p []byte) (int, error) {
	a.n.Add(int64(len(p)))
	return len(p), nil
}

// within checks that no more bytes came in a time than a rate allows, in bytes a second.
// What wasn't used for a tenth of a second may be caught up on, and each of eight uploads
// has read a piece when it waits.
func (a *arriving) within(t *testing.T, rate int64, took time.Duration) {
	t.Helper()
	const pieces = 8 * 32 << 10
	if n := a.n.Load(); took < lasts(n-pieces, rate)-time.Second/10 {
		t.Errorf("%d bytes by %d bytes a second came in %s", n, rate, took)
	}
}

// lasts is how long bytes take at a rate in bytes a second.
func lasts(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// What is pushed goes no faster than the limit, at any time and all files together, and
// not slower either: of an archive, a folder, and an archive in S3. Without one it takes
// no time.
func TestPushLimited(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}, "b": {2 * mebi, 2}, "c": {10, 3}}
	packed := archived(t, "m.tar", f)
	for _, source := range []string{packed, unpacked(t, f), "s3://" + staging + "/m.tar"} {
		for _, rate := range []int64{0, mebi} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorldOf(t, sandbox.Options{Now: time.Now})
				w.staged(t, "", nil)
				w.stage(t, "m.tar", bytesOf(t, packed), nil)
				way := &arriving{next: w.way.next}
				w.way.next = way
				began, over := time.Now(), make(chan struct{})
				if rate > 0 {
					go func() {
						for {
							select {
							case <-over:
								return
							case <-time.After(time.Second / 4):
								way.within(t, rate, time.Since(began))
							}
						}
					}()
				}
				got, err := w.Push(t.Context(), models.PushOptions{Source: source, Limit: transfer.NewLimit(clock.Real{}, rate)})
				close(over)
				took := time.Since(began)
				if err != nil || got.Sent != f.size() || way.n.Load() != f.size() {
					t.Fatalf("%s: %d bytes came, of %d: %+v, %v", source, way.n.Load(), f.size(), got, err)
				}
				if rate == 0 {
					if took > 0 {
						t.Errorf("%s: without a limit it took %s", source, took)
					}
					return
				}
				way.within(t, rate, took)
				if most := lasts(f.size(), rate) + time.Second; took > most {
					t.Errorf("%s: %d bytes by %d bytes a second took %s", source, f.size(), rate, took)
				}
			})
		}
	}
}
