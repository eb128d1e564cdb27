package network

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// backend is what a port of a service leads to.
type backend struct {
	sticky bool
	host   string
	to     []netip.AddrPort
}

// order are the addresses in the order that they are tried in for a caller.
func (b backend) order(caller netip.Addr) []netip.AddrPort {
	if len(b.to) == 0 {
		return nil
	}
	first := rand.IntN(len(b.to))
	if b.sticky {
		h := fnv.New32a()
		h.Write(caller.AsSlice())
		first = int(h.Sum32() % uint32(len(b.to)))
	}
	return append(append([]netip.AddrPort{}, b.to[first:]...), b.to[:first]...)
}

// front listens to a port of a service.
type front struct {
	end func()

	mu sync.Mutex
	backend
}

func (f *front) set(b backend) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backend = b
}

func (f *front) get() backend {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.backend
}

// The bounds of what one caller can hold: how long a connection to an endpoint may
// take, how long a caller of packets is remembered who sends none, and how many
// are.
const (
	dialWithin  = 10 * time.Second
	silentFor   = time.Minute
	mostCallers = 4096
	packetSize  = 1 << 16
)

// open starts to listen to a port.
func (n *Network) open(ctx context.Context, l listen, b backend) (*front, error) {
	own, cancel := context.WithCancel(n.ctx)
	f := &front{backend: b}
	if l.protocol == "udp" {
		c, err := n.opts.Pods.ListenPacket(ctx, "udp4", l.at.String())
		if err != nil {
			cancel()
			return nil, fmt.Errorf("answer for service address %s: %w", l.at, err)
		}
		context.AfterFunc(own, func() { _ = c.Close() }) // it ends the loop
		n.work.Go(func() { n.packets(own, c, f) })
		f.end = ending(cancel, c)
		return f, nil
	}
	listener, err := n.opts.Pods.Listen(ctx, "tcp4", l.at.String())
	if err != nil {
		cancel()
		return nil, fmt.Errorf("answer for service address %s: %w", l.at, err)
	}
	n.accept(own, listener, func(ctx context.Context, c net.Conn) { n.connect(ctx, c, f) })
	f.end = ending(cancel, listener)
	return f, nil
}

// ending ends what listens: nobody is answered any more when it returns.
func ending(cancel func(), l io.Closer) func() {
	return func() {
		cancel()
		_ = l.Close() // the context's end may have closed it
	}
}

// accept has connections answered until the context ends; those that are there
// then go on until the network's end.
func (n *Network) accept(ctx context.Context, l net.Listener, answer func(context.Context, net.Conn)) {
	context.AfterFunc(ctx, func() { _ = l.Close() }) // it ends the loop
	n.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil && ctx.Err() != nil {
				return
			}
			if err != nil {
				// Too many are open: some end.
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			n.work.Go(func() {
				defer context.AfterFunc(n.ctx, func() { _ = c.Close() })()
				defer func() { _ = c.Close() }() // both directions are over
				answer(n.ctx, c)
			})
		}
	})
}

// connect passes a connection on to an endpoint that takes it.
func (n *Network) connect(ctx context.Context, c net.Conn, f *front) {
	far, err := n.dial(ctx, "tcp4", c.RemoteAddr(), f.get())
	if err != nil {
		refuse(c)
		return
	}
	join(ctx, c, far)
}

// dial connects to what a caller gets.
func (n *Network) dial(ctx context.Context, network string, from net.Addr, b backend) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	if b.host != "" {
		return new(net.Dialer).DialContext(ctx, network, b.host)
	}
	caller, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return nil, err
	}
	err = errors.New("there is no endpoint")
	for _, to := range b.order(caller.Addr()) {
		var c net.Conn
		if c, err = n.opts.Pods.Dial(ctx, network, to.String()); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// refuse closes a connection such that its caller takes it for none.
func refuse(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed one way or the other
	}
	_ = c.Close() // nothing was sent
}

// join passes bytes on until both directions are over, or the context is.
func join(ctx context.Context, near, far net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = far.Close() })()
	defer func() { _ = far.Close() }() // both directions are over
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		pass(far, near)
	}()
	pass(near, far)
	<-sent
}

// pass copies, and tells the other side of the end.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok {
		// What is broken on one side is on both.
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = half.CloseWrite() // it may be closed
}

// packets passes packets on: each caller has a connection of its own to an
// endpoint.
func (n *Network) packets(ctx context.Context, c net.PacketConn, f *front) {
	var mu sync.Mutex
	callers := map[string]net.Conn{}
	b := make([]byte, packetSize)
	for {
		size, from, err := c.ReadFrom(b)
		if err != nil && ctx.Err() != nil {
			return
		}
		if err != nil {
			continue // what was sent before reached nobody
		}
		mu.Lock()
		far := callers[from.String()]
		full := len(callers) >= mostCallers
		mu.Unlock()
		if far == nil {
			if full {
				continue // as packets are lost
			}
			if far, err = n.dial(ctx, "udp4", from, f.get()); err != nil {
				continue
			}
			mu.Lock()
			callers[from.String()] = far
			mu.Unlock()
			n.work.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = far.Close() })()
				answers(c, from, far)
				mu.Lock()
				delete(callers, from.String())
				mu.Unlock()
			})
		}
		_ = far.SetReadDeadline(time.Now().Add(silentFor)) // it may have ended
		_, _ = far.Write(b[:size])                         // packets are lost
	}
}

// answers passes an endpoint's packets back until there are none for a while.
func answers(c net.PacketConn, to net.Addr, far net.Conn) {
	defer func() { _ = far.Close() }() // it was read
	b := make([]byte, packetSize)
	for {
		size, err := far.Read(b)
		if err != nil {
			return
		}
		_ = far.SetReadDeadline(time.Now().Add(silentFor)) // it may have ended
		if _, err := c.WriteTo(b[:size], to); err != nil {
			return
		}
	}
}
