package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// away is the range of the addresses of names outside: that which is set aside for
// measurements, and which nothing in a VPC can have.
// https://www.rfc-editor.org/rfc/rfc2544
var away = netip.MustParsePrefix("198.18.0.0/15")

// mostNames is how many names outside are remembered: a pod may ask for names
// without end.
const mostNames = 4096

// errNames is what a name gets that is one too many.
var errNames = errors.New("more names outside were asked for than are remembered")

// world gives names outside addresses, for good, and answers there.
type world struct {
	mu        sync.Mutex
	last      netip.Addr
	addresses map[string]netip.Addr
}

// address is that of a name, if it leads somewhere.
func (n *Network) address(name string) (a netip.Addr, leads bool, err error) {
	if n.opts.Outside == nil {
		return a, false, nil
	}
	ports := n.opts.Outside.Leads(name)
	if len(ports) == 0 {
		return a, false, nil
	}
	w := &n.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if a, ok := w.addresses[name]; ok {
		return a, true, nil
	}
	if len(w.addresses) >= mostNames {
		return a, false, errNames
	}
	if w.addresses == nil {
		w.addresses, w.last = map[string]netip.Addr{}, away.Addr()
	}
	a = w.last.Next()
	var listeners []net.Listener
	for _, port := range ports {
		var l net.Listener
		if l, err = n.opts.Pods.Listen(n.ctx, "tcp4", netip.AddrPortFrom(a, port).String()); err != nil {
			break
		}
		listeners = append(listeners, l)
	}
	if err != nil {
		for _, l := range listeners {
			_ = l.Close() // nobody knows of it
		}
		return a, false, err
	}
	w.last, w.addresses[name] = a, a
	for i, l := range listeners {
		n.accept(n.ctx, l, func(ctx context.Context, c net.Conn) { n.leave(ctx, c, name, ports[i]) })
	}
	return a, true, nil
}

// leave passes a connection on to where a name outside leads.
func (n *Network) leave(ctx context.Context, c net.Conn, name string, port uint16) {
	dialling, cancel := context.WithTimeout(ctx, dialWithin)
	far, err := n.opts.Outside.Call(dialling, name, port)
	cancel()
	if err != nil {
		refuse(c)
		return
	}
	join(ctx, c, far)
}
