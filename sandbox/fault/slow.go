package fault

import (
	"context"
	"net"
	"sync/atomic"
)

// Lagging is a connection on which what is sent is late: late passes the time by
// which so many bytes are, which begin an answer if something was read before. It
// ends with an error, or when the connection is closed, which its context tells.
func Lagging(conn net.Conn, late func(ctx context.Context, bytes int, begin bool) error) net.Conn {
	c := &lagging{Conn: conn, late: late}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

type lagging struct {
	net.Conn
	late   func(ctx context.Context, bytes int, begin bool) error
	asked  atomic.Bool
	ctx    context.Context
	cancel context.CancelFunc
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
		if err := c.late(c.ctx, len(part), c.asked.Swap(false)); err != nil {
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
