// Package resolver answers DNS queries on a loopback address for the names that
// an account has: the records of its hosted zones, as Route 53's name servers
// answer for them, the names of its load balancers, and the endpoints of its
// databases.
//
// Invariants: an answer is the account's at the time of the query, and
// authoritative; a name that isn't there is told apart from one that has other
// records only; nothing is ever asked elsewhere: what the account doesn't have
// is refused, with the reason as an extended error where the client understands
// those. What listens does so on loopback addresses. No query, however broken,
// does harm.
//
// Limits: no recursion, no DNSSEC, no zone transfer, no ANY. Records of types
// DS, HTTPS, NAPTR, SPF, SSHFP, SVCB and TLSA are refused as not implemented.
// Zones that nothing delegates to are not reached, as in the public DNS.
package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// How long a client on TCP may take for a query or to read its answer, and how
// many queries are answered at a time.
// https://www.rfc-editor.org/rfc/rfc7766#section-6.2.3
const (
	patience = 10 * time.Second
	sideways = 64
)

// Options say what a resolver answers.
type Options struct {
	// PrivateZones has private hosted zones answered as well, as from within
	// their VPCs, in place of public ones of the same name.
	PrivateZones bool
	// Address is where the named load balancer or database is; nil means
	// 127.0.0.1. It is called while the account is held, and must not ask it.
	Address func(name string) netip.Addr
}

func (o *Options) address(name string) netip.Addr {
	if o.Address != nil {
		return o.Address(name)
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// Server is a resolver that listens. It is safe for concurrent use.
type Server struct {
	account *account.Account
	opts    Options
	udp     net.PacketConn
	tcp     net.Listener
	slots   chan struct{}
	work    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	ended bool
}

// Listen answers queries on a loopback address and port, by UDP and TCP; port 0
// takes a free one. The server ends with [Server.Close].
func Listen(ctx context.Context, address string, a *account.Account, o Options) (*Server, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen for DNS queries: %w", err)
	}
	if !at.Addr().IsLoopback() {
		return nil, fmt.Errorf("listen for DNS queries on %s: it is no loopback address", address)
	}
	s := &Server{account: a, opts: o, slots: make(chan struct{}, sideways), conns: map[net.Conn]bool{}}
	var listen net.ListenConfig
	// A port that is free by one protocol may be taken by the other.
	for range 20 {
		if s.tcp, err = listen.Listen(ctx, "tcp", at.String()); err != nil {
			return nil, fmt.Errorf("listen for DNS queries: %w", err)
		}
		if s.udp, err = listen.ListenPacket(ctx, "udp", s.tcp.Addr().String()); err == nil {
			break
		}
		err = errors.Join(err, s.tcp.Close())
		if at.Port() != 0 {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen for DNS queries: %w", err)
	}
	s.work.Go(s.datagrams)
	s.work.Go(s.streams)
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() netip.AddrPort { return s.tcp.Addr().(*net.TCPAddr).AddrPort() }

// Close ends the server, and returns when nothing of it runs any more.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.ended
	s.ended = true
	for c := range s.conns {
		_ = c.Close() // its client is told by that
	}
	s.mu.Unlock()
	if again {
		s.work.Wait()
		return nil
	}
	err := errors.Join(s.tcp.Close(), s.udp.Close())
	s.work.Wait()
	return err
}

func (s *Server) datagrams() {
	buf := make([]byte, 65535)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // a client that is gone
		}
		query := append([]byte(nil), buf[:n]...)
		s.slots <- struct{}{}
		s.work.Go(func() {
			defer func() { <-s.slots }()
			if out := s.answer(query, false); out != nil {
				_, _ = s.udp.WriteTo(out, from) // the client asks again
			}
		})
	}
}

func (s *Server) streams() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		s.mu.Lock()
		late := s.ended
		s.conns[c] = true
		s.mu.Unlock()
		if late {
			_ = c.Close()
			return
		}
		s.slots <- struct{}{}
		s.work.Go(func() {
			defer func() { <-s.slots }()
			s.stream(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

// stream answers the queries of one connection, in order.
func (s *Server) stream(c net.Conn) {
	for {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		out := s.answer(query, true)
		if out == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

// answer is the answer to a query, or nil for what deserves none.
func (s *Server) answer(query []byte, stream bool) []byte {
	return Answer(query, stream, func(q Question) Result {
		var out Result
		err := s.account.Do(func(tx *account.Tx) error {
			tx.Reads()
			out = look(tx, &s.opts, q)
			return nil
		})
		if err != nil {
			return Result{Code: serverFailure, Why: "the account can't be asked"}
		}
		return out
	})
}
