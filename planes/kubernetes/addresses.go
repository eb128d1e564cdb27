package kubernetes

import (
	"fmt"
	"net/netip"
	"sync"
)

// addresses are those of the pods of a cluster, by the ranges of the nodes'
// subnets. VPC CNI takes them for a node from its subnet, and so does this: from
// the end of it, so that interfaces, which the account gives addresses from its
// beginning, don't get in the way. It is safe for concurrent use.
type addresses struct {
	mu    sync.Mutex
	taken map[netip.Addr]bool
	next  map[netip.Prefix]netip.Addr
}

// without is the range of pods whose node's subnet isn't told.
var without = netip.MustParsePrefix("100.64.0.0/16")

func newAddresses() *addresses {
	return &addresses{taken: map[netip.Addr]bool{}, next: map[netip.Prefix]netip.Addr{}}
}

// keep has no pod get an address, which is a node's.
func (a *addresses) keep(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken[ip] = true
}

// take finds an address in a range, the one that was longest free first. Those
// that AWS keeps of a subnet, the first four and the last, stay out.
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
func (a *addresses) take(in netip.Prefix) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in = in.Masked()
	first, end := in.Addr(), last(in)
	for range 4 {
		first = first.Next()
	}
	ip, ok := a.next[in]
	if !ok || ip.Compare(first) < 0 {
		ip = end.Prev()
	}
	for at := ip; ; {
		if at.Compare(first) < 0 {
			at = end.Prev()
		}
		if at.Compare(first) < 0 {
			break
		}
		if !a.taken[at] {
			a.taken[at], a.next[in] = true, at.Prev()
			return at, nil
		}
		if at = at.Prev(); at == ip || at.Compare(first) < 0 && ip == end.Prev() {
			break
		}
	}
	return netip.Addr{}, fmt.Errorf("subnet %s has no free address for a pod", in)
}

func (a *addresses) free(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.taken, ip)
}

// last is a range's last address.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

// has tells that an address is a pod's, or a node's.
func (a *addresses) has(ip netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken[ip]
}
