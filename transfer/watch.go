package transfer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// stallTime is how long the network may take no byte of a body, or give none.
const stallTime = 2 * time.Minute

// ErrStalled is that a connection is there and nothing moves on it. The same may
// succeed later.
var ErrStalled net.Error = stalledError{}

type stalledError struct{}

func (stalledError) Error() string { return "the connection stands still" }

// Timeout implements [net.Error].
func (stalledError) Timeout() bool { return true }

// Temporary implements [net.Error].
func (stalledError) Temporary() bool { return true }

// Do makes a request by a function such as [http.Client.Do], and ends it with
// [ErrStalled] once it stands still: when the network takes no byte of the request's
// body for two minutes, or gives none of the answer's, or when no answer begins within
// the time given after all was sent. What the source of a body takes, and who reads the
// answer, does not count. Nor does a [clock.Clock]: the network takes real time, also
// where waiting is shortened. The body runs once, and the answer's has to be closed.
func Do(r *http.Request, answer time.Duration, do func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	ctx, end := context.WithCancelCause(r.Context())
	w := &watch{timer: time.AfterFunc(answer, func() { end(ErrStalled) })}
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body, r.GetBody = &sending{ReadCloser: r.Body, watch: w, left: r.ContentLength, answer: answer}, nil
	}
	resp, err := do(r)
	w.answered()
	if err != nil {
		err = stalled(ctx, err)
		end(nil)
		return nil, err
	}
	resp.Body = &receiving{ReadCloser: resp.Body, watch: w, ctx: ctx, end: end}
	return resp, nil
}

// stalled is the error of a request, or why it was ended.
func stalled(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), ErrStalled) {
		return ErrStalled
	}
	return err
}

// watch is the time that is left to the network.
type watch struct {
	timer *time.Timer

	mu sync.Mutex
	// over: the answer has begun, and what is still sent counts no more.
	over bool
}

// allow gives the network so much time from now on; zero is any time.
func (w *watch) allow(d time.Duration) {
	if d == 0 {
		w.timer.Stop()
		return
	}
	w.timer.Reset(d)
}

// sends is [watch.allow] for a body that is sent.
func (w *watch) sends(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.allow(d)
	}
}

func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.allow(0)
}

// sending is the body of a request.
type sending struct {
	io.ReadCloser
	watch *watch
	// left is how many bytes are to be read; of an unknown number it is not above 0.
	left   int64
	answer time.Duration
}

// Read implements [io.Reader].
func (s *sending) Read(p []byte) (int, error) {
	s.watch.sends(0)
	n, err := s.ReadCloser.Read(p)
	known := s.left > 0
	s.left -= int64(n)
	if err == nil && (s.left > 0 || !known) {
		s.watch.sends(stallTime)
	} else {
		s.watch.sends(s.answer)
	}
	return n, err
}

// receiving is the body of an answer.
type receiving struct {
	io.ReadCloser
	watch *watch
	ctx   context.Context
	end   context.CancelCauseFunc
}

// Read implements [io.Reader].
func (r *receiving) Read(p []byte) (int, error) {
	r.watch.allow(stallTime)
	defer r.watch.allow(0)
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = stalled(r.ctx, err)
	}
	return n, err
}

// Close implements [io.Closer], and ends the watch.
func (r *receiving) Close() error {
	err := r.ReadCloser.Close()
	r.watch.allow(0)
	r.end(nil)
	return err
}
