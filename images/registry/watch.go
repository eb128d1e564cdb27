package registry

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

const (
	// answerTime is how long the registry may take to begin its answer, and layerTime
	// how long if it has to look at a whole layer first.
	answerTime = time.Minute
	layerTime  = 10 * time.Minute
	// stallTime is how long the network may take no byte of a body, or give none.
	stallTime = 2 * time.Minute
)

// errStalled is that a connection is there and nothing moves on it.
var errStalled = errors.New("the connection stands still")

// watch ends a request that stands still. It is safe for concurrent use.
type watch struct {
	clock clock.Clock
	end   context.CancelCauseFunc

	mu  sync.Mutex
	due time.Time // zero while nobody waits for the network
}

// watched is a context that ends with [errStalled] when what was allowed last is over.
// It has to be ended.
func watched(ctx context.Context, c clock.Clock, allowed time.Duration) (context.Context, *watch) {
	w := &watch{clock: c}
	ctx, w.end = context.WithCancelCause(ctx)
	w.allow(allowed)
	go w.look(ctx)
	return ctx, w
}

// allow gives the network so much time from now on; zero is any time.
func (w *watch) allow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.due = (time.Time{}); d > 0 {
		w.due = w.clock.Now().Add(d)
	}
}

func (w *watch) look(ctx context.Context) {
	for {
		w.mu.Lock()
		wait := answerTime
		if !w.due.IsZero() {
			wait = min(wait, w.due.Sub(w.clock.Now()))
		}
		w.mu.Unlock()
		if wait <= 0 {
			w.end(errStalled)
			return
		}
		if w.clock.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// sending is the body of a request. The time that its source takes doesn't count.
type sending struct {
	r     io.Reader
	left  int64
	watch *watch
	// after is how long the answer may take when all is sent.
	after time.Duration
	// begun: some of it was read.
	begun atomic.Bool
}

// Read implements [io.Reader].
func (s *sending) Read(p []byte) (int, error) {
	s.begun.Store(true)
	s.watch.allow(0)
	n, err := s.r.Read(p)
	if s.left -= int64(n); s.left > 0 && err == nil {
		s.watch.allow(stallTime)
	} else {
		s.watch.allow(s.after)
	}
	return n, err
}

// receiving is the body of an answer. The time between two reads doesn't count.
type receiving struct {
	io.ReadCloser
	ctx   context.Context
	watch *watch
}

// Read implements [io.Reader].
func (r *receiving) Read(p []byte) (int, error) {
	r.watch.allow(stallTime)
	defer r.watch.allow(0)
	n, err := r.ReadCloser.Read(p)
	if err != nil && errors.Is(context.Cause(r.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

// Close implements [io.Closer], and ends the watch.
func (r *receiving) Close() error {
	err := r.ReadCloser.Close()
	r.watch.end(context.Canceled)
	return err
}
