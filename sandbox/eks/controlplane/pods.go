package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/eks"
)

// place takes down where the pods of a cluster are: VPC CNI gives them addresses of
// their nodes' subnets.
func (c *Clusters) place(r *running, p eks.ControlPlane) {
	var subnets []netip.Prefix
	hosts := map[netip.Addr]bool{}
	for _, n := range p.Nodes {
		if s, err := netip.ParsePrefix(n.Subnet); err == nil {
			subnets = append(subnets, s)
		}
		if a, err := netip.ParseAddr(n.InternalIP); err == nil {
			hosts[a] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.subnets, r.hosts = subnets, hosts
}

// holders are the clusters that run, and run pods, in a subnet of whose nodes an address
// is, in the order of their ids. They are several if nodes share subnets, or if subnets
// of VPCs have the same addresses.
func (c *Clusters) holders(address string) (list []*running) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.running)) {
		r := c.running[id]
		if r.server == nil || !r.pods || r.hosts[at.Addr()] {
			continue
		}
		if slices.ContainsFunc(r.subnets, func(s netip.Prefix) bool { return s.Contains(at.Addr()) }) {
			list = append(list, r)
		}
	}
	return list
}

// Carries tells whether an address of a VPC, host:port, is of a subnet in which pods of
// a cluster run. Whether a pod has it, Dial finds out.
func (c *Clusters) Carries(address string) bool { return len(c.holders(address)) > 0 }

// Dial connects to a pod by its address, host:port. Where pods of several clusters can
// have it, it is the first one's that answers: an address doesn't say of which VPC it is.
func (c *Clusters) Dial(ctx context.Context, address string) (net.Conn, error) {
	list := c.holders(address)
	if len(list) == 0 {
		return nil, fmt.Errorf("no pod runs at %s", address)
	}
	var errs []error
	for _, r := range list {
		conn, err := r.dial(ctx, address)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("reach the pod at %s in cluster %s: %w", address, r.cluster, err))
	}
	return nil, errors.Join(errs...)
}

// dial connects to an address of a cluster's pods.
func (r *running) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.server.Address("control"))
	if err != nil {
		return nil, err
	}
	far, err := r.connect(ctx, conn, address)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return far, nil
}

// connect has a control plane lead a connection on to an address.
func (r *running) connect(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // it ends what is waited for
	// By a path, which is what it knows requests by, and the host.
	_, err := fmt.Fprintf(conn, "CONNECT / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", address, r.token)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	if resp.StatusCode != http.StatusOK {
		const most = 4 << 10
		why, err := io.ReadAll(io.LimitReader(resp.Body, most))
		return nil, errors.Join(fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(why)), err, resp.Body.Close())
	}
	return &led{conn, in}, nil
}

// led is a connection of which some may have been read.
type led struct {
	net.Conn
	in *bufio.Reader
}

// Read implements [net.Conn].
func (l *led) Read(p []byte) (int, error) { return l.in.Read(p) }
