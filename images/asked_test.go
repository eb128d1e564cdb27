package images_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// asking counts what is asked on its way: operations of ECR, and what the registry is
// asked for by who has a token.
type asking struct {
	next http.RoundTripper
	is   func(*http.Request) bool

	mu       sync.Mutex
	ecr      map[string]int
	registry map[string]int
}

// RoundTrip implements [http.RoundTripper].
func (a *asking) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case !a.is(r):
		a.ecr[operation]++
	case r.Header.Get("Authorization") != "" && (r.Method == http.MethodHead || r.Method == http.MethodGet):
		a.registry[r.Method+" "+r.URL.Path]++
	}
	a.mu.Unlock()
	return a.next.RoundTrip(r)
}

// TestAsksOnce counts what a push asks, from the opening of the registry to the check of
// what the charts name: nothing twice, and of what is there nothing but its tags.
func TestAsksOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "IMMUTABLE")
		c := sample(t, "b.tar", 1000)
		push := func() *asking {
			t.Helper()
			a := &asking{next: w, is: w.there.Is, ecr: map[string]int{}, registry: map[string]int{}}
			g, err := images.Open(t.Context(), w.arch, w.there.Clients(t, a))
			if err != nil {
				t.Fatal(err)
			}
			p, err := images.Prepare(t.Context(), g, c, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Move(t.Context(), c, images.PushOptions{Clock: clock.Real{}}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(map[string]int{"DescribeRepositories": 1, "GetAccountSetting": 1, "GetAuthorizationToken": 1}, a.ecr); d != "" {
				t.Errorf("ECR is asked (-want +got):\n%s", d)
			}
			return a
		}
		manifests, layers := 0, 0
		for asked, n := range push().registry {
			switch {
			case n > 1:
				t.Errorf("%d times: %s", n, asked)
			case strings.Contains(asked, "/manifests/"):
				manifests++
			default:
				layers++
			}
		}
		places := 0
		for _, i := range c.Images {
			blobs := map[string]bool{}
			for _, m := range i.Manifests {
				for _, b := range m.Blobs {
					blobs[b.Digest] = true
				}
			}
			places += len(blobs)
		}
		// By its tag and by its digest.
		if manifests != 2*len(c.Images) || layers != places {
			t.Errorf("%d manifests of %d images are asked for, and %d layers at %d places", manifests, len(c.Images), layers, places)
		}
		want := map[string]int{}
		for _, i := range w.plan(c).Images {
			want["HEAD /v2/"+i.Repository+"/manifests/"+i.Tags[0]] = 1
		}
		if d := cmp.Diff(want, push().registry); d != "" || len(want) != 3 {
			t.Errorf("the registry is asked again (-want +got):\n%s", d)
		}
	})
}
