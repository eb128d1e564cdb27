package traffic

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/pipe"
)

// balancer is a load balancer at work.
type balancer struct {
	server          *Server
	account, region string
	state           atomic.Pointer[state]
	log             accessLog

	mu     sync.Mutex
	ports  map[int]*port
	closed bool
}

// state is what a balancer goes by; it never changes.
type state struct {
	elbv2.Balancer
	groups map[string]*group
}

func (s *state) at(number int) *elbv2.Listener {
	i := slices.IndexFunc(s.Listeners, func(l elbv2.Listener) bool { return l.Port == number })
	if i < 0 {
		return nil
	}
	return &s.Listeners[i]
}

// port is the HTTP server behind a listener's port.
type port struct {
	in    *pipe.Listener
	http  *http.Server
	conns pipe.Cutter
}

func (s *Server) newBalancer(v elbv2.View) *balancer {
	return &balancer{server: s, account: v.AccountID, region: v.Region, ports: map[int]*port{}}
}

// follow takes over what the account says. The server's mutex is held.
func (b *balancer) follow(v elbv2.Balancer, groups map[string]*group) {
	st := &state{v, map[string]*group{}}
	for _, l := range v.Listeners {
		for _, r := range l.Rules {
			for _, a := range r.Actions {
				for _, w := range a.Forward {
					if g := groups[w.Group]; g != nil {
						st.groups[w.Group] = g
						g.idle.Store(int64(v.IdleTimeout))
					}
				}
			}
		}
	}
	b.state.Store(st)
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, p := range b.ports {
		if st.at(n) == nil {
			p.close()
			delete(b.ports, n)
		}
	}
}

func (p *port) close() {
	p.conns.Cut()
	_ = p.http.Close() // there is nothing left to fail
}

func (b *balancer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for n, p := range b.ports {
		p.close()
		delete(b.ports, n)
	}
}

// take gives a connection to the listener of a port.
func (b *balancer) take(conn net.Conn, number int) error {
	st := b.state.Load()
	l := st.at(number)
	if l == nil {
		return errors.New("no listener")
	}
	from := b.server.opts.From
	if !from.IsValid() && len(l.Sources) > 0 {
		from = someone(l.Sources[0])
	}
	if !slices.ContainsFunc(l.Sources, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return errors.New("the security groups let nobody in from there")
	}
	p := b.port(number)
	if p == nil {
		return net.ErrClosed
	}
	conn = p.conns.Hold(&placed{conn, &net.TCPAddr{IP: from.AsSlice(), Port: portOf(conn.RemoteAddr())}})
	if l.HTTPS {
		conn = tls.Server(conn, b.tls(st, l))
	}
	return p.in.Put(conn)
}

func (b *balancer) port(number int) *port {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	p := b.ports[number]
	if p != nil {
		return p
	}
	p = &port{in: pipe.New()}
	p.http = &http.Server{
		Handler:        http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.serve(w, r, number) }),
		MaxHeaderBytes: mostHeader, IdleTimeout: b.state.Load().IdleTimeout, ReadHeaderTimeout: b.state.Load().IdleTimeout,
		BaseContext: func(net.Listener) context.Context { return b.server.ctx },
		ErrorLog:    quiet(),
	}
	b.server.work.Go(func() {
		// It ends with close, which has no error to tell.
		_ = p.http.Serve(p.in)
	})
	b.ports[number] = p
	return p
}

// tls is how a listener speaks TLS. Without a server name, or with one that no
// certificate is for, clients get the default certificate.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html
func (b *balancer) tls(st *state, l *elbv2.Listener) *tls.Config {
	versions := map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}
	c := &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if len(l.Versions) > 0 {
		c.MinVersion, c.MaxVersion = versions[l.Versions[0]], versions[l.Versions[len(l.Versions)-1]]
	}
	if st.HTTP2 {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	c.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		i, _ := certificateFor(l, h.ServerName)
		if i < 0 {
			return nil, errors.New("the listener has no certificate")
		}
		return b.server.opts.Certificate(l.Certificates[i].Names...)
	}
	return c
}

// certificateFor is the index of a listener's certificate for a server name, and
// whether it is for it; -1 without any.
func certificateFor(l *elbv2.Listener, name string) (int, bool) {
	name = strings.ToLower(name)
	for i, c := range l.Certificates {
		if slices.ContainsFunc(c.Names, func(n string) bool {
			_, rest, _ := strings.Cut(name, ".")
			return strings.EqualFold(n, name) || strings.EqualFold(n, "*."+rest)
		}) {
			return i, true
		}
	}
	if len(l.Certificates) > 0 {
		return 0, false
	}
	return -1, false
}

// someone is an address in a range.
func someone(p netip.Prefix) netip.Addr {
	if a := p.Masked().Addr().Next(); p.Contains(a) {
		return a
	}
	return p.Addr()
}

// placed is a connection from another address than it is from.
type placed struct {
	net.Conn
	from net.Addr
}

func (p *placed) RemoteAddr() net.Addr { return p.from }

func portOf(a net.Addr) int {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.Port
	}
	return 0
}
