// Package pipe is a listener that is handed its connections, for servers that
// live in the process of who calls them.
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
