package cli

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// trouble is what goes wrong in a sandbox, as the servers behind it see it, which
// are there before it is.
type trouble struct {
	box atomic.Pointer[sandbox.Sandbox]
}

// hold waits as long as a server has to stay away.
func (t *trouble) hold(server string) func(context.Context) {
	return func(ctx context.Context) {
		for box := t.box.Load(); box != nil && box.Faults().Down(server); {
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// kill ends the process behind a server, if there is one. What goes wrong with
// that is said.
func (p *playground) kill(say io.Writer) func(server string) {
	servers := map[string]*plane.Server{fault.ServerProvider: p.visit.oidc}
	if p.planes.objects != nil {
		servers[fault.ServerS3] = p.planes.objects.Server()
	}
	if p.planes.images != nil {
		servers[fault.ServerECR] = p.planes.images.Server()
	}
	return func(server string) {
		if s := servers[server]; s != nil {
			if err := s.Kill(); err != nil {
				fmt.Fprintf(say, "The server %s can't be killed: %v\n", server, err)
			}
		}
	}
}
