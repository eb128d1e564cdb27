package server

import "sync"

// Busy counts what is at work somewhere. More may begin while somebody waits for its end,
// which a [sync.WaitGroup] forbids. The zero value is ready.
type Busy struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed once nothing is at work; nil if nobody waits
}

// Begin counts one more, until what it returns is called.
func (b *Busy) Begin() (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	return b.end
}

func (b *Busy) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n--; b.n == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// Wait returns once nothing is at work.
func (b *Busy) Wait() {
	b.mu.Lock()
	if b.n == 0 {
		b.mu.Unlock()
		return
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	<-idle
}
