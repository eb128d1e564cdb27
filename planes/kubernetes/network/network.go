// Package network is what pods find beside each other: the addresses of services,
// the cluster's DNS, and what of the world leads somewhere.
//
// The address of a service is answered for as long as it has an endpoint that is
// ready, and refused otherwise, as kube-proxy has it. DNS follows the specification
// of Kubernetes, with what CoreDNS does besides on EKS: names of pods by their
// addresses. Of other names, those that lead somewhere get an address each, out of
// a range that nobody has; the others don't exist.
//
// Limits: what a service's endpoint sees is called by the node, not by the pod that
// called the service. Node ports, load balancers and external addresses of services
// are not answered; network policies are not modelled. IPv4 only.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Service is one of the cluster.
type Service struct {
	Namespace, Name string
	// Address is the cluster's for it. A headless service has none.
	Address netip.Addr
	// External is the name that the service is another name of, if it is one.
	External string
	// Sticky has a caller get to the same endpoint for as long as the endpoints are
	// the same.
	Sticky    bool
	Ports     []Port
	Endpoints []Endpoint
	// Host is an address of this machine that answers for the service, instead of
	// endpoints: the API's.
	Host string
}

// Port is one of a service, or of an endpoint, which has it under the same name.
type Port struct {
	Name string
	// Protocol is "tcp" or "udp".
	Protocol string
	Number   uint16
}

// Endpoint is one that is ready.
type Endpoint struct {
	Address netip.Addr
	// Hostname is the pod's own below the service, if it has one.
	Hostname string
	Ports    []Port
}

// Pods is the network of pods.
type Pods interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Outside is what of the world leads somewhere.
type Outside interface {
	// Leads are the ports of TCP at which a name, lower case and without a dot at
	// its end, leads somewhere; none if it doesn't. It is the same for ever.
	Leads(name string) []uint16
	// Call connects to a port of a name that does.
	Call(ctx context.Context, name string, port uint16) (net.Conn, error)
}

// Options describe a network.
type Options struct {
	Pods Pods
	// DNS is the address of the cluster's: that of the service kube-dns, whose
	// endpoints are not asked.
	DNS netip.Addr
	// Domain is the cluster's, "cluster.local".
	Domain string
	// Outside may be nil: then nothing leads there.
	Outside Outside
}

// Network answers pods until it is closed. It is safe for concurrent use.
type Network struct {
	opts   Options
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	world  world

	mu       sync.Mutex
	closed   bool
	services map[string]Service // by namespace/name
	running  map[listen]*front
}

// listen is what is listened to.
type listen struct {
	protocol string
	at       netip.AddrPort
}

// New starts a network without services.
func New(ctx context.Context, o Options) (*Network, error) {
	n := &Network{opts: o, services: map[string]Service{}, running: map[listen]*front{}}
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.serveDNS(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("answer pods: %w", err), n.Close())
	}
	return n, nil
}

// Close ends it, and the connections that go through it.
func (n *Network) Close() error {
	n.cancel()
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.work.Wait()
	return nil
}

// Set has the network be of these services. What was called already stays
// connected. An error names all ports that can't be listened to; the others are.
func (n *Network) Set(ctx context.Context, services []Service) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("the network is closed")
	}
	n.services = map[string]Service{}
	want := map[listen]backend{}
	for _, s := range services {
		n.services[s.Namespace+"/"+s.Name] = s
		if !s.Address.Is4() || s.Address == n.opts.DNS {
			continue
		}
		for _, p := range s.Ports {
			b := backend{sticky: s.Sticky, host: s.Host, to: s.reach(p)}
			if p.Protocol != "tcp" && p.Protocol != "udp" || b.host == "" && len(b.to) == 0 {
				continue
			}
			want[listen{p.Protocol, netip.AddrPortFrom(s.Address, p.Number)}] = b
		}
	}
	for l, f := range n.running {
		if _, ok := want[l]; !ok {
			f.end()
			delete(n.running, l)
		}
	}
	var errs []error
	for l, b := range want {
		if f := n.running[l]; f != nil {
			f.set(b)
			continue
		}
		f, err := n.open(ctx, l, b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n.running[l] = f
	}
	return errors.Join(errs...)
}

// reach are the addresses behind a port of a service.
func (s Service) reach(p Port) (to []netip.AddrPort) {
	for _, e := range s.Endpoints {
		for _, q := range e.Ports {
			if q.Name == p.Name && q.Protocol == p.Protocol && e.Address.Is4() {
				to = append(to, netip.AddrPortFrom(e.Address, q.Number))
			}
		}
	}
	return to
}
