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
	"github.com/poolhouse/poolhouse/transfer"
)

// still is a connection on which nothing moves any more.
func still(r *http.Request) error {
	<-r.Context().Done()
	return r.Context().Err()
}

// hanging is the body of an answer of which nothing more comes.
type hanging struct{ r *http.Request }

func (h hanging) Read([]byte) (int, error) { return 0, still(h.r) }

// trip is a round trip by a function.
type trip func(r *http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestStandsStill has a connection stand still in the middle of a part or a file, before
// an answer and in one. It is given up soon, and what was on its way is sent again.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	f := files{"a": {6 * mebi, 1}, "c": {10, 3}}
	path := archived(t, "m.tar", f)
	in := func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if _, err := io.CopyN(io.Discard, r.Body, 5); err != nil {
			return nil, err
		}
		return nil, still(r)
	}
	before := func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r) // it was carried out
		if err != nil {
			return nil, err
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		return nil, still(r)
	}
	within := func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		resp.Body, resp.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("<"), hanging{r})), -1
		return resp, nil
	}
	for name, tt := range map[string]struct {
		operation, key string
		stands         func(next http.RoundTripper, r *http.Request) (*http.Response, error)
		want           time.Duration
	}{
		"in a part":             {"UploadPart", "/a", in, 2 * time.Minute},
		"in a file":             {"PutObject", "/c", in, 2 * time.Minute},
		"after a part":          {"UploadPart", "/a", before, time.Minute},
		"after a file":          {"PutObject", "/c", before, time.Minute},
		"before a look":         {"HeadObject", models.Marker, before, time.Minute},
		"in a listing":          {"ListObjectsV2", "", within, 2 * time.Minute},
		"in the end of a file":  {"CompleteMultipartUpload", "/a", within, 2 * time.Minute},
		"after the end of file": {"CompleteMultipartUpload", "/a", before, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false)
				next := w.way.next
				var stood atomic.Int64
				w.way.next = trip(func(r *http.Request) (*http.Response, error) {
					if c := callOf(r); c.operation == tt.operation && strings.HasSuffix(c.key, tt.key) && stood.Add(1) == 1 {
						return tt.stands(next, r)
					}
					return next.RoundTrip(r)
				})
				m := transfer.NewMeter(clock.Real{}, nil)
				began := time.Now()
				if _, err := w.Push(t.Context(), models.PushOptions{Source: path, Name: "m", Meter: m}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != tt.want || stood.Load() < 2 {
					t.Errorf("%d calls in %v, want %v", stood.Load(), took, tt.want)
				}
				if s := m.State(); s.Moved != f.size() {
					t.Errorf("%d bytes count as moved, of %d", s.Moved, f.size())
				}
				w.way.next = next
				w.holds(t, "m", f)
			})
		})
	}
}
