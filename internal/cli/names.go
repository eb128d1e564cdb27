package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/resolver"
)

// names are the flags of the resolver that answers for an account's names.
type names struct {
	listen  string
	private bool
}

// open starts the resolver.
func (n names) open(ctx context.Context, a *account.Account, address func(name string) netip.Addr) (*resolver.Server, error) {
	at, err := netip.ParseAddrPort(n.listen)
	if err != nil || !at.Addr().IsLoopback() {
		return nil, hinted{&usageError{fmt.Errorf("--dns %s is no loopback address with a port", n.listen)}, "write 127.0.0.1:5353, or leave the flag out for a free port"}
	}
	r, err := resolver.Listen(ctx, at.String(), a, resolver.Options{PrivateZones: n.private, Address: address})
	if err != nil {
		return nil, hinted{&usageError{fmt.Errorf("--dns %s: %s", n.listen, rootOf(err))}, "leave the flag out for a free port"}
	}
	return r, nil
}

// printNames says where names are answered, for people.
func printNames(w io.Writer, at string) {
	host, port := cutPort(at)
	fmt.Fprintf(w, "\nNames of hosted zones, load balancers and databases are answered at %s:\n\n  dig @%s -p %s NAME\n", at, host, port)
}

// cutPort parts an address of a listener.
func cutPort(at string) (host, port string) {
	if a, err := netip.ParseAddrPort(at); err == nil {
		return a.Addr().String(), fmt.Sprint(a.Port())
	}
	return at, ""
}
