// Package traffic is the data plane of a sandbox's load balancers: it serves
// what the account says of them, with real connections.
//
// A server takes connections by name and port, see [Server.Door], and leads each
// request by listener and rule to a redirect, a fixed response, sign-on or a
// target. What the account says is looked at again twice a second, as AWS needs
// some seconds, too, to have a change everywhere.
//
// Invariants: time is the wall's, since clients and targets are real; what is
// written, dates of logs and ends of sessions, goes by the account's clock.
// Nothing listens by itself. An answer of the load balancer's own is one that AWS
// documents, but for 501 with the code NotModelled.
//
// Limits: one node for each load balancer. Idle clients are cut between requests
// only, slow ones in the middle of one are not; cipher suites are Go's. Mutual
// TLS, stickiness, gRPC and HTTP/2 to targets, slow start, WAF and zones aren't
// modelled.
package traffic

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// Options say what a server stands on. All functions must be safe for concurrent
// use.
type Options struct {
	// View asks the account. Required.
	View func() (elbv2.View, error)
	// Certificate issues one for names. Required.
	Certificate func(names ...string) (*tls.Certificate, error)
	// Dial connects to an address of a VPC, host:port. Required.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Carries tells whether something real stands behind an address of a VPC;
	// where nothing does, health is what the account says. It may change. Nil means
	// everywhere.
	Carries func(address string) bool
	// Fails tells whether health checks of a target group fail, whatever its targets
	// say, by the group's ARN. Nil is never.
	Fails func(arn string) bool
	// SignOn carries out authenticate-oidc. Required where rules have it.
	SignOn SignOn
	// Deliver writes a log file into a bucket, in the name of a load balancer.
	// Nil keeps no logs.
	Deliver func(bucket, key string, body []byte, balancer string) error
	// From is where clients are, for security groups and headers. The zero value
	// has them come from the first range that the security groups let in.
	From netip.Addr
	// Now is the account's clock. Required.
	Now func() time.Time
	// Hold is called when a request comes, and what it returns when it is over.
	// May be nil.
	Hold func() (release func())
	// Report is told of what nobody else is told: logs that can't be delivered,
	// an account that can't be asked. May be nil.
	Report func(error)
}

// refresh is how often the account is asked.
const refresh = time.Second / 2

// Server carries the traffic of all load balancers of an account. It is safe for
// concurrent use.
type Server struct {
	opts Options
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu        sync.Mutex
	balancers map[string]*balancer // by ARN
	groups    map[string]*group    // by ARN
	names     map[string]*balancer
	failed    string // the last error reported
}

// New returns a server that knows of nothing before [Server.Refresh].
func New(o Options) *Server {
	if o.Carries == nil {
		o.Carries = func(string) bool { return true }
	}
	if o.Fails == nil {
		o.Fails = func(string) bool { return false }
	}
	if o.Hold == nil {
		o.Hold = func() func() { return func() {} }
	}
	if o.Report == nil {
		o.Report = func(error) {}
	}
	s := &Server{opts: o, balancers: map[string]*balancer{}, groups: map[string]*group{}, names: map[string]*balancer{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Run keeps the server up to date, and delivers logs, until Close.
func (s *Server) Run() {
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		if err := s.Refresh(); err != nil && s.ctx.Err() == nil {
			s.report(err)
		}
		s.deliver(false)
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// report tells an error once, however often it comes in a row.
func (s *Server) report(err error) {
	s.mu.Lock()
	again := s.failed == err.Error()
	s.failed = err.Error()
	s.mu.Unlock()
	if !again {
		s.opts.Report(err)
	}
}

// Refresh looks at the account and follows it.
func (s *Server) Refresh() error {
	v, err := s.opts.View()
	if err != nil {
		return fmt.Errorf("look at the load balancers: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return net.ErrClosed
	}
	for arn, g := range v.Groups {
		if s.groups[arn] == nil {
			s.groups[arn] = s.newGroup()
		}
		s.groups[arn].follow(g)
	}
	for arn, g := range s.groups {
		if _, ok := v.Groups[arn]; !ok {
			g.stop()
			delete(s.groups, arn)
		}
	}
	found := map[string]bool{}
	s.names = map[string]*balancer{}
	for _, x := range v.Balancers {
		found[x.ARN] = true
		b := s.balancers[x.ARN]
		if b == nil {
			b = s.newBalancer(v)
			s.balancers[x.ARN] = b
		}
		b.follow(x, s.groups)
		for _, n := range x.Names {
			s.names[n] = b
		}
	}
	for arn, b := range s.balancers {
		if !found[arn] {
			b.close()
			delete(s.balancers, arn)
			s.work.Go(func() {
				if err := b.deliver(s.opts.Now(), true); err != nil {
					s.report(err)
				}
			})
		}
	}
	return nil
}

// Names are the names that lead to a load balancer.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.names))
}

// Door is what takes a connection to a name at a port, or nil if the name is no
// load balancer's. A load balancer without a listener there refuses, as does one
// whose security groups don't let the client in.
func (s *Server) Door(name string, port int) func(net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.names[name]
	if b == nil {
		if _, parent, ok := strings.Cut(name, "."); ok {
			b = s.names["*."+parent]
		}
	}
	if b == nil {
		return nil
	}
	return func(conn net.Conn) {
		if err := b.take(conn, port); err != nil {
			_ = conn.Close()
		}
	}
}

// Targets is the health of the targets of a group that something real stands
// behind, and of those that were deregistered and still have requests, by id:port.
func (s *Server) Targets(arn string) map[string]account.Health {
	s.mu.Lock()
	g := s.groups[arn]
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	return g.found()
}

// Close cuts all connections, delivers what is logged and waits until all ended.
func (s *Server) Close() error {
	s.mu.Lock()
	s.stop()
	for _, b := range s.balancers {
		b.close()
	}
	for _, g := range s.groups {
		g.stop()
	}
	s.mu.Unlock()
	s.work.Wait()
	s.deliver(true)
	return nil
}
