package images

import (
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// chunkSize is how many bytes go from the reader to the uploads at once, and
	// chunks how many such are held in memory by all.
	chunkSize = 1 << 20
	chunks    = 48
)

// pool lends out memory.
type pool struct{ free chan []byte }

func newPool() *pool {
	p := &pool{make(chan []byte, chunks)}
	for range chunks {
		p.free <- nil // made when it is first needed
	}
	return p
}

// chunk is a piece of a layer, on its way to one or more uploads.
type chunk struct {
	data []byte
	pool *pool
	full []byte

	mu   sync.Mutex
	uses int
}

// lend waits for memory.
func (p *pool) lend(ctx context.Context) (*chunk, error) {
	select {
	case full := <-p.free:
		if full == nil {
			full = make([]byte, chunkSize)
		}
		return &chunk{pool: p, full: full, uses: 1}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *chunk) use(n int) {
	c.mu.Lock()
	c.uses += n
	over := c.uses == 0
	c.mu.Unlock()
	if over {
		c.pool.free <- c.full
	}
}

// errGone is that whoever read from a queue doesn't any more.
var errGone = errors.New("the upload has ended")

// queue hands the chunks of a layer to one upload. It is safe for a writer and a
// reader.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	chunks  []*chunk
	at      int // within the first
	end     error
	gone    bool
}

func newQueue() *queue {
	q := &queue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// put adds a chunk; false if nobody reads any more.
func (q *queue) put(c *chunk) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return false
	}
	c.use(1)
	q.chunks = append(q.chunks, c)
	q.changed.Broadcast()
	return true
}

// finish says that nothing more comes, and why: io.EOF if that was all.
func (q *queue) finish(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end = err
	q.changed.Broadcast()
}

// leave gives everything back; nothing is read any more.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
	for _, c := range q.chunks {
		c.use(-1)
	}
	q.chunks = nil
	q.changed.Broadcast()
}

// Read implements [io.Reader].
func (q *queue) Read(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.chunks) == 0 && q.end == nil && !q.gone {
		q.changed.Wait()
	}
	switch {
	case q.gone:
		return 0, errGone
	case len(q.chunks) == 0:
		return 0, q.end
	}
	c := q.chunks[0]
	n := copy(p, c.data[q.at:])
	if q.at += n; q.at == len(c.data) {
		q.chunks, q.at = q.chunks[1:], 0
		c.use(-1)
	}
	return n, nil
}

var _ io.Reader = (*queue)(nil)
