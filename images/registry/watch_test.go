package registry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// answers are round trips by a function.
type answers func(r *http.Request) (*http.Response, error)

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func say(r *http.Request, status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"/upload"}}, Body: io.NopCloser(body), Request: r}
}

// still is a connection on which nothing moves any more.
func still(r *http.Request) error {
	<-r.Context().Done()
	return r.Context().Err()
}

// hanging is the body of an answer that stops in its middle.
type hanging struct{ r *http.Request }

func (h hanging) Read([]byte) (int, error) { return 0, still(h.r) }

// slow is a source that takes its time for each byte.
type slow struct{ left int }

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Hour)
	s.left--
	p[0] = 'x'
	return 1, nil
}

// TestStall has connections stand still: before an answer, in the middle of a layer
// that is sent, and of one that is fetched. It is noticed soon, and may pass. What is
// only slow is waited for.
func TestStall(t *testing.T) {
	t.Parallel()
	open := func(f answers) *registry.Client {
		return registry.New("registry.example.com", &http.Client{Transport: f}, clock.Real{}, nil)
	}
	begin := func(t *testing.T, c *registry.Client) *registry.Upload {
		u, err := c.Begin(t.Context(), "core", digest, "")
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	ends := func(t *testing.T, what string, start time.Time, err error, least, most time.Duration) {
		t.Helper()
		if took := time.Since(start); err == nil || !registry.IsTransient(err) || !strings.Contains(err.Error(), "stands still") || took < least || took > most {
			t.Errorf("%s: %v after %v", what, err, took)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := open(func(r *http.Request) (*http.Response, error) { return nil, still(r) }).Layer(t.Context(), "core", digest, 0)
		// Seven times a minute, and the pauses.
		ends(t, "no answer", start, err, 7*time.Minute, 10*time.Minute)
	})
	synctest.Test(t, func(t *testing.T) {
		c := open(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch {
				if _, err := io.CopyN(io.Discard, r.Body, 3); err != nil {
					return nil, err
				}
				return nil, still(r)
			}
			return say(r, http.StatusAccepted, http.NoBody), nil
		})
		u, start := begin(t, c), time.Now()
		ends(t, "in a layer", start, c.Send(t.Context(), u, 10, strings.NewReader("0123456789")), 2*time.Minute, 4*time.Minute)
	})
	synctest.Test(t, func(t *testing.T) {
		c := open(func(r *http.Request) (*http.Response, error) { return say(r, http.StatusOK, hanging{r}), nil })
		start := time.Now()
		in, err := c.Fetch(t.Context(), "core", digest)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // who reads slowly may
		_, err = io.ReadAll(in)
		// Seven times two minutes, and the pauses.
		ends(t, "while it is fetched", start.Add(time.Hour), err, 14*time.Minute, 16*time.Minute)
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := open(func(r *http.Request) (*http.Response, error) {
			if r.Body != nil {
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					return nil, err
				}
				time.Sleep(9 * time.Minute)
				if err := r.Context().Err(); err != nil {
					return nil, err
				}
			}
			status := http.StatusAccepted
			if r.Method == http.MethodPut {
				status = http.StatusCreated
			}
			return say(r, status, http.NoBody), nil
		})
		if err := c.Send(t.Context(), begin(t, c), 5, &slow{5}); err != nil {
			t.Errorf("a slow source and a slow look at the layer: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		c := open(func(r *http.Request) (*http.Response, error) {
			cancel(interrupted)
			return nil, still(r)
		})
		if _, err := c.Layer(ctx, "core", digest, 0); !errors.Is(err, interrupted) || time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) > 0 {
			t.Errorf("an interrupt: %v", err)
		}
	})
}
