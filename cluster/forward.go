package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// acceptAgain is the time between two tries to accept a connection.
const acceptAgain = 100 * time.Millisecond

// Forward passes what connects to a listener on to the API, by a route, byte for
// byte: TLS is between the client and the API. It closes the listener, and returns
// nil when the context has ended and all connections are closed. A connection for
// which the route has no answer is closed, and told. That none can be accepted, for
// want of file descriptors for example, is told once, and tried again.
func (r *Route) Forward(ctx context.Context, l net.Listener, told func(error)) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(ctx, func() {
		_ = l.Close() // it accepts no more, whatever it says
	})()
	var all sync.WaitGroup
	defer all.Wait()
	refused := false
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			if ctx.Err() != nil {
				return nil
			}
			end()
			return fmt.Errorf("accept a connection: %w", err)
		}
		if err != nil {
			if !refused {
				told(fmt.Errorf("accept a connection: %w", err))
			}
			refused = true
			select {
			case <-ctx.Done():
			case <-time.After(acceptAgain):
			}
			continue
		}
		refused = false
		all.Go(func() {
			api, err := r.dial(ctx)
			if err != nil {
				_ = client.Close() // it gets no answer
				if ctx.Err() == nil {
					told(fmt.Errorf("connect to the Kubernetes API by %s: %w", r, err))
				}
				return
			}
			join(ctx, client, api)
		})
	}
}

// join passes bytes both ways until one side ends or the context does.
func join(ctx context.Context, a, b net.Conn) {
	// What one side has to say after the other has closed is of no more use.
	shut := sync.OnceFunc(func() {
		_ = a.Close()
		_ = b.Close()
	})
	defer context.AfterFunc(ctx, shut)()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // its end is that of the connection
			shut()
		})
	}
	both.Wait()
}
