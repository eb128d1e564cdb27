package entrance

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/front"
)

// slow is a door whose server may be slow.
func slow(d front.Door, faults func() *fault.Injector, server string) front.Door {
	return func(conn net.Conn) { d(newLagging(conn, faults, server)) }
}

// lagging is a connection on which what the server sends is late. What follows
// something that was read is an answer.
type lagging struct {
	net.Conn
	faults func() *fault.Injector
	server string
	asked  atomic.Bool
	ctx    context.Context
	cancel context.CancelFunc
}

func newLagging(conn net.Conn, faults func() *fault.Injector, server string) *lagging {
	c := &lagging{Conn: conn, faults: faults, server: server}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *lagging) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.asked.Store(true)
	}
	return n, err
}

// most is how much is sent at once on a slow connection.
const most = 16 << 10

func (c *lagging) Write(p []byte) (sent int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), most)]
		if err := c.faults().Lag(c.ctx, c.server, len(part), c.asked.Swap(false)); err != nil {
			return sent, err
		}
		n, err := c.Conn.Write(part)
		if sent += n; err != nil {
			return sent, err
		}
		p = p[n:]
	}
	return sent, nil
}

func (c *lagging) Close() error {
	c.cancel()
	return c.Conn.Close()
}
