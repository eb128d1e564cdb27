package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A kubelet that ended unasked is started again after a pause. One that has ended at once,
// within so long of its start, so many times in a row is given up.
const (
	again  = time.Second
	atOnce = 10 * time.Second
	tries  = 5
)

// gaveUp tells that a kubelet is not started again.
type gaveUp struct{ last error }

// Error implements [error].
func (e *gaveUp) Error() string {
	return fmt.Sprintf("its kubelet ended within %s of its start %d times in a row, and is not started again: %v", atOnce, tries, e.last)
}

// keep runs something again and again until the context ends, and tells of each end.
func keep(ctx context.Context, run func(context.Context) error, tell func(error)) error {
	for quick := 0; ; {
		began := time.Now()
		err := run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if quick++; time.Since(began) >= atOnce {
			quick = 0
		}
		if quick == tries {
			return &gaveUp{err}
		}
		tell(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// lastWords keeps the end of what a process writes. It is safe for concurrent use.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

// mostWords is how much is kept, in bytes.
const mostWords = 1 << 10

// Write implements [io.Writer].
func (l *lastWords) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	l.text = append([]byte(nil), l.text[max(0, len(l.text)-mostWords):]...)
	return len(b), nil
}

// String are the whole lines among them.
func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(l.text)
	if _, rest, ok := strings.Cut(text, "\n"); ok && len(text) == mostWords {
		text = rest
	}
	return strings.TrimSpace(text)
}
