// Package pipe is a listener that is handed its connections, for servers that
// live in the process of who calls them, and a way to cut such connections.
package pipe

import (
	"net"
	"sync"
)

// Listener is a net.Listener without a socket. It is safe for concurrent use.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

var _ net.Listener = (*Listener)(nil)

// New returns a listener that is open.
func New() *Listener { return &Listener{conns: make(chan net.Conn), done: make(chan struct{})} }

// Put hands a connection to whoever accepts next, and waits for it. It is
// [net.ErrClosed] after Close; the connection then stays the caller's.
func (l *Listener) Put(c net.Conn) error {
	select {
	case l.conns <- c:
		return nil
	case <-l.done:
		return net.ErrClosed
	}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Cutter cuts connections below TLS: in memory, where nothing is buffered, two
// ends that say goodbye at once would wait for each other. The zero value is
// ready; it is safe for concurrent use.
type Cutter struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	cut  bool
}

// Hold returns a connection that can be cut until it is closed. After Cut it is
// closed at once.
func (c *Cutter) Hold(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = conn.Close() // it is over for whoever has it
		return conn
	}
	if c.open == nil {
		c.open = map[net.Conn]bool{}
	}
	c.open[conn] = true
	return &held{conn, c}
}

// Cut closes all connections, also those to come.
func (c *Cutter) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn := range c.open {
		_ = conn.Close() // whoever has it is told by its end
	}
	clear(c.open)
}

// held is a connection that a cutter knows.
type held struct {
	net.Conn
	by *Cutter
}

func (h *held) Close() error {
	h.by.mu.Lock()
	delete(h.by.open, h.Conn)
	h.by.mu.Unlock()
	return h.Conn.Close()
}
