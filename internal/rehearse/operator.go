package rehearse

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/datachannel"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/kubernetesapi"
)

// outside is where operators without a place of their own come from: an address
// for documentation.
const outside = "192.0.2.10"

// operator is who runs poolhouse, as the sandbox's network sees them: at an
// address that the configuration allows, if it allows any.
type operator struct {
	// internet is their address there, and connected the one in a network that
	// is connected to the VPC, if the configuration knows of such.
	internet, connected netip.Addr
}

func newOperator(a *architecture.Architecture) operator {
	o := operator{internet: netip.MustParseAddr(outside)}
	k := a.KubernetesAccess()
	if len(k.PublicCIDRs) > 0 {
		o.internet = someone(k.PublicCIDRs[0], o.internet)
	}
	if len(k.AllowCIDRs) > 0 {
		o.connected = someone(k.AllowCIDRs[0], netip.Addr{})
	}
	return o
}

// someone is an address in a range.
func someone(cidr string, otherwise netip.Addr) netip.Addr {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return otherwise
	}
	if a := p.Addr().Next(); p.Contains(a) {
		return a
	}
	return p.Addr()
}

// Doors are what answers outside of the AWS APIs of a sandbox, on loopback
// ports: the clusters' Kubernetes APIs and the data channels of sessions.
type Doors struct {
	API      *kubernetesapi.Server
	channels *datachannel.Server
}

// OpenDoors makes the doors of a sandbox that is to be made of the options,
// which it changes. A deployment's operator gets in as its configuration says;
// nil is nobody's.
func OpenDoors(ctx context.Context, o *sandbox.Options, a *architecture.Architecture) (*Doors, error) {
	from := netip.MustParseAddr(outside)
	if a != nil {
		from = newOperator(a).internet
	}
	d := &Doors{API: kubernetesapi.New(kubernetesapi.Options{From: from, Listen: true})}
	var err error
	d.channels, err = datachannel.New(ctx, func(ctx context.Context, instance, address string) (net.Conn, error) {
		return d.API.Dial(ctx, eks.Caller{Instance: instance}, address)
	})
	if err != nil {
		return nil, errors.Join(err, d.API.Close())
	}
	o.KubernetesEndpoint, o.SessionStream = d.API.Endpoint, d.channels.Stream
	return d, nil
}

// Attach says which sandbox they belong to.
func (d *Doors) Attach(box *sandbox.Sandbox) {
	d.API.Attach(box.Account())
	d.channels.Attach(box.Account())
}

// Hold has what goes through them hold a clock.
func (d *Doors) Hold(c *clock.Scaled) {
	d.API.Hold(c.Hold)
	d.channels.Hold(c.Hold)
}

// Reopen opens those again that a restored account says were there, and names
// those that can't be. Sessions don't outlast their process.
func (d *Doors) Reopen() []error { return d.API.Reopen() }

// Close shuts them.
func (d *Doors) Close() error { return errors.Join(d.API.Close(), d.channels.Close()) }

// place is an account with what leads to its clusters' Kubernetes APIs.
type place struct {
	box *sandbox.Sandbox
	api *kubernetesapi.Server
	// copied tells that it is a copy, whose clusters' public endpoints are those of the
	// original.
	copied bool
}

// place is that of the rehearsal's own account.
func (r *run) place() place { return place{box: r.box, api: r.doors.API} }

// machine is the machine of an operator: outside of the VPC, or in it. Its
// connections hold the clock, as those of the AWS clients do.
func (r *run) machine(c *clock.Scaled, at place, inside bool) *cluster.Machine {
	return &cluster.Machine{
		Getenv: func(string) string { return "" }, Plugin: r.opts.Plugin,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			release := c.Hold()
			conn, err := r.dial(ctx, at, network, address, inside)
			if err != nil {
				release()
				return nil, err
			}
			return &holding{conn, release}, nil
		},
	}
}

// holding is a connection that holds the clock until it is closed.
type holding struct {
	net.Conn
	release func()
}

// Close implements [net.Conn].
func (h *holding) Close() error {
	h.release()
	return h.Conn.Close()
}

// dial leads to what there is in the rehearsal: the API's door, from where the
// operator is, and the configuration's proxy to it.
func (r *run) dial(ctx context.Context, at place, network, address string, inside bool) (net.Conn, error) {
	is := false
	node := ""
	err := at.box.Account().Do(func(tx *account.Tx) error {
		is = eks.APIServer(tx, address) != nil
		for _, i := range tx.List("ec2:instance") {
			if i.Tags["Name"] == r.arch.CoreNodeName() && i.Status == "running" {
				node = i.ID
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	connected := r.operator.connected
	switch {
	case is && inside:
		return at.api.Dial(ctx, eks.Caller{Instance: node}, address)
	case is && connected.IsValid():
		return at.api.Dial(ctx, eks.Caller{Connected: connected}, address)
	case is && at.copied:
		return at.api.Dial(ctx, eks.Caller{Internet: r.operator.internet}, address)
	case r.proxyAddress() == address:
		return proxy(at.api, eks.Caller{Connected: connected})
	}
	// The public endpoint, and what listens on this machine.
	return new(net.Dialer).DialContext(ctx, network, address)
}

// proxyAddress is where the configuration says that the API's proxy is.
func (r *run) proxyAddress() string {
	u, err := url.Parse(r.arch.Config.Cluster.API.Proxy)
	if err != nil {
		return ""
	}
	return u.Host
}

// proxy is a connection to a proxy that serves only this one.
func proxy(api *kubernetesapi.Server, from eks.Caller) (net.Conn, error) {
	mine, theirs := net.Pipe()
	l := &single{conn: theirs, done: make(chan struct{})}
	server := &http.Server{Handler: api.Proxy(from), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		// It ends with the connection.
		_ = server.Serve(l)
	}()
	return &closing{Conn: mine, then: func() { _ = server.Close() }}, nil
}

// single is a listener with one connection.
type single struct {
	conn net.Conn
	once sync.Once
	done chan struct{}
}

// Accept implements [net.Listener].
func (s *single) Accept() (net.Conn, error) {
	if conn := s.conn; conn != nil {
		s.conn = nil
		return conn, nil
	}
	<-s.done
	return nil, net.ErrClosed
}

// Close implements [net.Listener].
func (s *single) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// Addr implements [net.Listener].
func (s *single) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// closing does something more when it is closed.
type closing struct {
	net.Conn
	then func()
}

// Close implements [net.Conn].
func (c *closing) Close() error {
	c.then()
	return c.Conn.Close()
}
