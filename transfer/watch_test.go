package transfer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/transfer"
)

// still is a connection on which nothing moves any more.
func still(r *http.Request) error {
	<-r.Context().Done()
	return r.Context().Err()
}

// hanging is a body of which nothing more comes.
type hanging struct{ r *http.Request }

func (h hanging) Read([]byte) (int, error) { return 0, still(h.r) }

// unhurried is a source that takes an hour for each byte.
type unhurried struct{ left int }

func (u *unhurried) Read(p []byte) (int, error) {
	if u.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Hour)
	u.left--
	p[0] = 'x'
	return 1, nil
}

// take reads so much of a request's body.
func take(r *http.Request, n int64) error {
	_, err := io.CopyN(io.Discard, r.Body, n)
	return err
}

func says(r *http.Request, body io.Reader) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Request: r}
}

// TestDo has connections stand still at each place, and be slow where they may.
func TestDo(t *testing.T) {
	t.Parallel()
	interrupted := errors.New("interrupted")
	for name, tt := range map[string]struct {
		body io.Reader
		size int64
		do   func(r *http.Request) (*http.Response, error)
		// interrupt is when it is interrupted, if it is.
		interrupt time.Duration
		want      error
		took      time.Duration
	}{
		"no answer": {do: func(r *http.Request) (*http.Response, error) { return nil, still(r) }, want: transfer.ErrStalled, took: time.Minute},
		"none of the body is taken": {body: strings.NewReader("0123456789"), size: 10, do: func(r *http.Request) (*http.Response, error) {
			return nil, still(r)
		}, want: transfer.ErrStalled, took: time.Minute},
		"in a body": {body: strings.NewReader("0123456789"), size: 10, do: func(r *http.Request) (*http.Response, error) {
			if err := take(r, 3); err != nil {
				return nil, err
			}
			return nil, still(r)
		}, want: transfer.ErrStalled, took: 2 * time.Minute},
		"in a body of unknown size": {body: strings.NewReader("0123456789"), size: -1, do: func(r *http.Request) (*http.Response, error) {
			if err := take(r, 3); err != nil {
				return nil, err
			}
			return nil, still(r)
		}, want: transfer.ErrStalled, took: 2 * time.Minute},
		"after a body": {body: strings.NewReader("0123456789"), size: 10, do: func(r *http.Request) (*http.Response, error) {
			if err := take(r, 10); err != nil {
				return nil, err
			}
			return nil, still(r)
		}, want: transfer.ErrStalled, took: time.Minute},
		"in an answer": {do: func(r *http.Request) (*http.Response, error) {
			return says(r, io.MultiReader(strings.NewReader("01"), hanging{r})), nil
		}, want: transfer.ErrStalled, took: 2 * time.Minute},
		"a slow source and a slow answer": {body: &unhurried{5}, size: 5, do: func(r *http.Request) (*http.Response, error) {
			if err := take(r, 5); err != nil {
				return nil, err
			}
			time.Sleep(59 * time.Second)
			return says(r, strings.NewReader("yes")), r.Context().Err()
		}, took: 5*time.Hour + 59*time.Second},
		"an interrupt": {do: func(r *http.Request) (*http.Response, error) { return nil, still(r) }, interrupt: time.Second, want: context.Canceled, took: time.Second},
		"an interrupt in an answer": {do: func(r *http.Request) (*http.Response, error) {
			return says(r, hanging{r}), nil
		}, interrupt: time.Second, want: context.Canceled, took: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				if tt.interrupt > 0 {
					time.AfterFunc(tt.interrupt, func() { stop(interrupted) })
				}
				r, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://example.com", tt.body)
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = tt.size
				began := time.Now()
				resp, err := transfer.Do(r, time.Minute, tt.do)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					if closed := resp.Body.Close(); closed != nil {
						t.Error(closed)
					}
				}
				if !errors.Is(err, tt.want) || time.Since(began) != tt.took {
					t.Errorf("%v after %v, want %v after %v", err, time.Since(began), tt.want, tt.took)
				}
				var timeout net.Error
				if errors.Is(tt.want, transfer.ErrStalled) && (!errors.As(err, &timeout) || !timeout.Timeout()) {
					t.Errorf("%v is no timeout", err)
				}
			})
		})
	}
}

// Who reads an answer slowly is waited for, also if the answer came before all was sent.
func TestDoWaitsForReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://example.com", strings.NewReader("0123456789"))
		if err != nil {
			t.Fatal(err)
		}
		var within context.Context
		resp, err := transfer.Do(r, time.Minute, func(r *http.Request) (*http.Response, error) {
			within = r.Context()
			time.AfterFunc(time.Second, func() {
				if err := take(r, 3); err != nil {
					t.Error(err)
				}
			})
			return says(r, strings.NewReader("0123456789")), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			time.Sleep(time.Hour)
			if n, err := resp.Body.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if within.Err() != nil {
			t.Error("it is over before it is closed")
		}
		if err := resp.Body.Close(); err != nil || within.Err() == nil {
			t.Errorf("it goes on after it was closed: %v", err)
		}
	})
}
