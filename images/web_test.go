package images_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// fragile is a web server with one file, whose answers break.
type fragile struct {
	text string
	// whole has it know of no ranges.
	whole bool
	// answer gives the body from a byte on; nil is a server that never answers.
	answer func(r *http.Request, nth int, text string) io.Reader
	ranges []string
}

// RoundTrip implements [http.RoundTripper].
func (b *fragile) RoundTrip(r *http.Request) (*http.Response, error) {
	b.ranges = append(b.ranges, r.Header.Get("Range"))
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(b.text)), Request: r}
	text := b.text
	var at int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at); err == nil && !b.whole {
		text = text[at:]
		resp.StatusCode, resp.ContentLength = http.StatusPartialContent, int64(len(text))
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(b.text)-1, len(b.text)))
	}
	body := b.answer(r, len(b.ranges), text)
	if body == nil {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	resp.Body = io.NopCloser(body)
	return resp, nil
}

// cutOff is a connection that breaks.
type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// stuck is a connection that stands still.
type stuck struct{ r *http.Request }

func (s stuck) Read([]byte) (int, error) {
	<-s.r.Context().Done()
	return 0, s.r.Context().Err()
}

// TestPullChartsBroken has connections to a web server break, or stand still, in the
// middle of a chart: it is gone on with where it broke. If that is to no end, the error
// names the chart, and no part of it stays.
func TestPullChartsBroken(t *testing.T) {
	t.Parallel()
	const text = "0123456789ab"
	cut := func(_ *http.Request, nth int, text string) io.Reader {
		if nth < 3 {
			return io.MultiReader(strings.NewReader(text[:5]), cutOff{})
		}
		return strings.NewReader(text)
	}
	for name, tt := range map[string]struct {
		whole  bool
		answer func(r *http.Request, nth int, text string) io.Reader
		ranges []string
		most   time.Duration
		want   string
	}{
		"cut":                       {false, cut, []string{"", "bytes=5-", "bytes=10-"}, 10 * time.Second, ""},
		"cut by one without ranges": {true, cut, []string{"", "bytes=5-", "bytes=5-"}, 10 * time.Second, ""},
		"stuck": {false, func(r *http.Request, nth int, text string) io.Reader {
			if nth == 1 {
				return io.MultiReader(strings.NewReader(text[:3]), stuck{r})
			}
			return strings.NewReader(text)
		}, []string{"", "bytes=3-"}, 2*time.Minute + 10*time.Second, ""},
		"no answer": {false, func(_ *http.Request, nth int, text string) io.Reader {
			if nth == 1 {
				return nil
			}
			return strings.NewReader(text)
		}, []string{"", ""}, time.Minute + 10*time.Second, ""},
		"always cut": {false, func(_ *http.Request, nth int, text string) io.Reader {
			if nth == 1 {
				return io.MultiReader(strings.NewReader(text[:3]), cutOff{})
			}
			return cutOff{}
		}, []string{"", "bytes=3-", "bytes=3-", "bytes=3-", "bytes=3-", "bytes=3-", "bytes=3-"}, 3 * time.Minute, "fetch it from web.example.com: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &fragile{text: text, whole: tt.whole, answer: tt.answer}
				address := "https://web.example.com/a-1.tgz#sha256=" + sumOf(text)
				c, err := images.ParseChart(address)
				if err != nil {
					t.Fatal(err)
				}
				dir, began := t.TempDir(), time.Now()
				_, err = images.PullCharts(t.Context(), dir, []images.Chart{c}, images.ChartOptions{Web: &http.Client{Transport: b}, Clock: clock.Real{}})
				want := map[string]string{"a-1.tgz": text}
				if tt.want != "" {
					want = map[string]string{}
				}
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "pull the chart "+address+": "+tt.want) || !errors.Is(err, io.ErrUnexpectedEOF)) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				if d := cmp.Diff(want, files(t, dir)); d != "" {
					t.Error(d)
				}
				if d := cmp.Diff(tt.ranges, b.ranges); d != "" {
					t.Error(d)
				}
				if took := time.Since(began); took > tt.most {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
