package rows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// relay stands before an instance's server and passes on what that says, as late
// as it may be.
type relay struct {
	instance string
	at, to   netip.AddrPort

	listener net.Listener
	cancel   context.CancelFunc
	carries  sync.WaitGroup
}

// close ends the relays that aren't wanted as they are.
func (d *Databases) close(want map[string]*relay) {
	for endpoint, r := range d.relays {
		if w := want[endpoint]; w != nil && w.instance == r.instance && w.at == r.at && w.to == r.to {
			continue
		}
		delete(d.relays, endpoint)
		r.cancel()
		_ = r.listener.Close() // it only listens
		r.carries.Wait()
	}
}

// open begins the relays that are wanted and aren't there.
func (d *Databases) open(want map[string]*relay) {
	for endpoint, r := range want {
		if d.relays[endpoint] != nil {
			continue
		}
		var ctx context.Context
		ctx, r.cancel = context.WithCancel(context.Background())
		var err error
		if r.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", r.at.String()); err != nil {
			r.cancel()
			d.tell("", fmt.Errorf("listen for database %s: %w", r.instance, err))
			continue
		}
		d.relays[endpoint] = r
		r.carries.Go(func() {
			r.accept(ctx, d.opts.Lag, func(err error) { d.tell("", fmt.Errorf("accept for database %s: %w", r.instance, err)) })
		})
	}
}

// acceptAgain is how long a relay that could not accept a connection waits.
const acceptAgain = 100 * time.Millisecond

// accept carries connections until the listener is closed.
func (r *relay) accept(ctx context.Context, lag func(ctx context.Context, instance string, bytes int, begin bool) error, failed func(error)) {
	for {
		conn, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			failed(err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptAgain):
			}
			continue
		}
		client := fault.Lagging(conn, func(ctx context.Context, bytes int, begin bool) error { return lag(ctx, r.instance, bytes, begin) })
		r.carries.Go(func() { r.carry(ctx, client) })
	}
}

// carry carries what client and server say to each other, until one ends.
func (r *relay) carry(ctx context.Context, client net.Conn) {
	server, err := new(net.Dialer).DialContext(ctx, "tcp", r.to.String())
	if err != nil {
		_ = client.Close() // the server is down
		return
	}
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	var ways sync.WaitGroup
	for _, way := range [][2]net.Conn{{server, client}, {client, server}} {
		ways.Go(func() {
			// That one is gone is what the other sees.
			_, _ = io.Copy(way[0], way[1])
			cancel()
		})
	}
	<-ended.Done()
	_, _ = client.Close(), server.Close()
	ways.Wait()
}
