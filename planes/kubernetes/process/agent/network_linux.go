package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// nodeAddress is the agent's own in the network of pods: who calls them from there.
var nodeAddress = netip.MustParseAddr("169.254.1.1")

// hardware is the address of both ends of every pair of interfaces: one takes what
// the other sends, without asking who has which.
var hardware = net.HardwareAddr{0x02, 0, 0, 0, 0, 1}

// everywhere is a range of all addresses.
var everywhere = netip.MustParsePrefix("0.0.0.0/0")

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func host(a netip.Addr) *net.IPNet { return network(netip.PrefixFrom(a, a.BitLen())) }

// loopback brings the loopback interface of the thread's namespace up.
func loopback() (netlink.Link, error) {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return nil, fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return lo, nil
}

// connect makes the agent's namespace the router of pods, to which all addresses
// but those of pods are its own.
func (a *agent) connect() (err error) {
	if a.net, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	lo, err := loopback()
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: host(nodeAddress)}); err != nil {
		return fmt.Errorf("add %s: %w", nodeAddress, err)
	}
	all := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: network(everywhere), Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Table: unix.RT_TABLE_MAIN}
	if err := netlink.RouteAdd(all); err != nil {
		return fmt.Errorf("take all addresses: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("forward between pods: %w", err)
	}
	return nil
}

// plug connects the thread's namespace, a pod's, to the agent's.
func (a *agent) plug(p *pod, address netip.Addr) error {
	if _, err := loopback(); err != nil {
		return err
	}
	// As containerd has it: nobody needs privileges for a port of a pod.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0); err != nil {
		return fmt.Errorf("open ports to all users: %w", err)
	}
	if !address.IsValid() {
		return nil
	}
	if !address.Is4() || address.IsLoopback() || address.IsMulticast() || address.IsUnspecified() || address == nodeAddress {
		return fmt.Errorf("%s is no address for a pod", address)
	}
	a.mu.Lock()
	name := a.name()
	p.link = name
	a.mu.Unlock()
	near := netlink.NewLinkAttrs()
	near.Name, near.HardwareAddr = name, hardware
	pair := &netlink.Veth{LinkAttrs: near, PeerName: "eth0", PeerHardwareAddr: hardware, PeerNamespace: netlink.NsFd(int(p.net.Fd()))}
	if err := a.net.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a pair of interfaces: %w", err)
	}
	link, err := a.net.LinkByName(name)
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: host(address), Src: nodeAddress.AsSlice(), Scope: unix.RT_SCOPE_LINK}
	err = errors.Join(a.net.LinkSetARPOff(link), a.net.LinkSetUp(link))
	if err == nil {
		err = a.net.RouteAdd(route)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("another pod has the address %s", address)
	}
	if err != nil {
		return fmt.Errorf("route to %s: %w", address, err)
	}
	own, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	err = errors.Join(netlink.LinkSetARPOff(own), netlink.AddrAdd(own, &netlink.Addr{IPNet: host(address)}), netlink.LinkSetUp(own))
	if err == nil {
		err = netlink.RouteAdd(&netlink.Route{LinkIndex: own.Attrs().Index, Dst: network(everywhere), Src: address.AsSlice(), Scope: unix.RT_SCOPE_LINK})
	}
	if err != nil {
		return fmt.Errorf("set up eth0: %w", err)
	}
	return nil
}

// name is one for an interface.
func (a *agent) name() string {
	a.links++
	return fmt.Sprintf("pod%d", a.links)
}

// unplug takes a pod's address back at once: its namespace may take its time.
func (a *agent) unplug(p *pod) error {
	if p.link == "" {
		return nil
	}
	link, err := a.net.LinkByName(p.link)
	if err == nil {
		err = a.net.LinkDel(link)
	}
	var none netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &none) {
		return fmt.Errorf("remove an interface: %w", err)
	}
	return nil
}

// file is what connections and listeners can give.
type file interface {
	File() (*os.File, error)
	Close() error
}

func listen(ctx context.Context, at order.Address) (file, error) {
	if at.Network == "udp4" {
		c, err := new(net.ListenConfig).ListenPacket(ctx, at.Network, at.Address)
		if err != nil {
			return nil, err
		}
		return c.(*net.UDPConn), nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, at.Network, at.Address)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func dial(ctx context.Context, at order.Address) (file, error) {
	c, err := new(net.Dialer).DialContext(ctx, at.Network, at.Address)
	if err != nil {
		return nil, err
	}
	return c.(file), nil
}

// socket opens a socket in a network namespace, and hands it over.
func (a *agent) socket(link *order.Link, at order.Address, open func(context.Context, order.Address) (file, error)) error {
	ctx, cancel := taken(link)
	defer cancel()
	s, err := a.opened(ctx, at, open)
	if err != nil {
		return answer(link, err)
	}
	f, err := s.File()
	if err := errors.Join(err, s.Close()); err != nil {
		return answer(link, err)
	}
	return errors.Join(link.Send(order.Reply{}, f), f.Close())
}

func (a *agent) opened(ctx context.Context, at order.Address, open func(context.Context, order.Address) (file, error)) (s file, err error) {
	switch at.Network {
	case "tcp4", "udp4":
	default:
		return nil, fmt.Errorf("the network is tcp4 or udp4, not %q", at.Network)
	}
	// Names would be looked up by whoever asks, elsewhere.
	if _, err := netip.ParseAddrPort(at.Address); err != nil {
		return nil, err
	}
	if at.Sandbox == "" {
		return open(ctx, at)
	}
	p, err := a.find(at.Sandbox)
	if err != nil {
		return nil, err
	}
	err = apart(func() (err error) {
		p.mu.Lock()
		if p.closed || p.net == nil {
			err = fmt.Errorf("sandbox %s is closed", at.Sandbox)
		} else {
			err = enter(p.net, unix.CLONE_NEWNET)
		}
		p.mu.Unlock()
		if err != nil {
			return err
		}
		s, err = open(ctx, at)
		return err
	})
	return s, err
}
