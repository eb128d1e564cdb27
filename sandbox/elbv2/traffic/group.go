package traffic

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// patience is how long a load balancer waits for a connection to a target, and
// for TLS on it.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
const patience = 10 * time.Second

// group is a target group at work.
type group struct {
	server    *Server
	transport *http.Transport
	idle      atomic.Int64 // the load balancer's idle timeout, a time.Duration

	mu      sync.Mutex
	view    elbv2.Group
	targets map[string]*target // by id:port
	order   []*target          // as registered
	turn    int
}

// target is one that is registered, or was and still has requests.
type target struct {
	elbv2.Target
	health account.Health
	// passed and failed count checks in a row.
	passed, failed int
	requests       int
	// draining tells that it is deregistered; cut ends what is left of it. Carried
	// tells that something real stood behind it when it was registered.
	draining, carried bool
	ctx               context.Context
	cut               context.CancelFunc
	unwatch           context.CancelFunc // ends its health checks
}

func (t *target) address() string { return net.JoinHostPort(t.Address, strconv.Itoa(t.Port)) }

func (s *Server) newGroup() *group {
	g := &group{server: s, targets: map[string]*target{}}
	g.idle.Store(int64(time.Minute))
	g.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return g.dial(ctx, address) },
		// "The load balancer does not validate these certificates."
		// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-routing-configuration
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10},
		TLSHandshakeTimeout: patience, DisableCompression: true, MaxIdleConnsPerHost: 64, MaxResponseHeaderBytes: 32 << 10,
		// A nil map would bring HTTP/2.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	return g
}

// dial connects to a target, with a connection that is cut when nothing went
// over it for the idle timeout.
func (g *group) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(g.server.ctx, cancel)()
	conn, err := g.server.opts.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &idling{conn, time.Duration(g.idle.Load())}, nil
}

// idling is a connection whose reads and writes end after a time without any.
type idling struct {
	net.Conn
	after time.Duration
}

func (c *idling) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.after)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *idling) Write(p []byte) (int, error) {
	// What is written counts for both directions, as a connection that is
	// upgraded may only write.
	if err := c.SetDeadline(time.Now().Add(c.after)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// follow takes over what the account says.
func (g *group) follow(v elbv2.Group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wasUsed := g.view.Used
	g.view = v
	named := map[string]bool{}
	order := g.order[:0:0]
	for _, t := range v.Targets {
		named[t.Key()] = true
		old := g.targets[t.Key()]
		if old != nil && !old.draining && old.Address == t.Address && wasUsed == v.Used && old.carried == g.server.opts.Carries(old.address()) {
			order = append(order, old)
			continue
		}
		if old != nil {
			old.cut()
		}
		order = append(order, g.register(t))
	}
	g.order = order
	for key, t := range g.targets {
		if !named[key] && !t.draining {
			g.deregister(key, t)
		}
	}
}

// register begins with a target. The mutex is held.
func (g *group) register(v elbv2.Target) *target {
	t := &target{Target: v, health: account.Health{State: "initial", Reason: "Elb.RegistrationInProgress", Description: "Target registration is in progress"}}
	t.ctx, t.cut = context.WithCancel(g.server.ctx)
	watch, unwatch := context.WithCancel(t.ctx)
	t.unwatch, t.carried = unwatch, g.server.opts.Carries(t.address())
	g.targets[v.Key()] = t
	switch {
	case !g.view.Used:
		t.health = account.Health{State: "unused", Reason: "Target.NotInUse", Description: "Target group is not configured to receive traffic from the load balancer"}
	case t.carried:
		g.server.work.Go(func() { g.watch(watch, t) })
	}
	return t
}

// deregister lets a target end its requests for as long as the delay says, and
// forgets it at once if it has none. The mutex is held.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay
func (g *group) deregister(key string, t *target) {
	t.unwatch()
	if t.requests == 0 {
		t.cut()
		delete(g.targets, key)
		return
	}
	t.draining = true
	t.health = account.Health{State: "draining", Reason: "Target.DeregistrationInProgress", Description: "Target deregistration is in progress"}
	stop := time.AfterFunc(g.view.Deregistration, t.cut)
	context.AfterFunc(t.ctx, func() { stop.Stop() })
}

// stop ends the group with all its connections.
func (g *group) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, t := range g.targets {
		t.cut()
		delete(g.targets, key)
	}
	g.order = nil
	g.transport.CloseIdleConnections()
}

// pick chooses a target for a request: a healthy one, or any if none is. The
// release is called when the request is over. It is nil without targets.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
func (g *group) pick() (t *target, release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var fit []*target
	for _, t := range g.order {
		if t.health.State == "healthy" || !g.server.opts.Carries(t.address()) {
			fit = append(fit, t)
		}
	}
	if len(fit) == 0 {
		fit = g.order
	}
	if len(fit) == 0 {
		return nil, nil
	}
	g.turn++
	t = fit[g.turn%len(fit)]
	if g.view.LeastOutstanding {
		for i := range fit {
			if o := fit[(g.turn+i)%len(fit)]; o.requests < t.requests {
				t = o
			}
		}
	}
	t.requests++
	return t, func() { g.release(t) }
}

func (g *group) release(t *target) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.requests--
	if t.draining && t.requests == 0 {
		t.cut()
		if g.targets[t.Key()] == t {
			delete(g.targets, t.Key())
		}
	}
}

// found is what is known of targets, by id:port.
func (g *group) found() map[string]account.Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]account.Health{}
	for key, t := range g.targets {
		if g.server.opts.Carries(t.address()) {
			out[key] = t.health
		}
	}
	return out
}
