package entrance

import (
	"context"
	"net"

	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/front"
)

// slow is a door whose server may be slow.
func slow(d front.Door, faults func() *fault.Injector, server string) front.Door {
	return func(conn net.Conn) {
		d(fault.Lagging(conn, func(ctx context.Context, bytes int, begin bool) error { return faults().Lag(ctx, server, bytes, begin) }))
	}
}
