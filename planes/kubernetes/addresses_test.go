package kubernetes

import (
	"net/netip"
	"strings"
	"testing"
)

// TestAddresses: pods get all addresses of a subnet but AWS's and the nodes', from its
// end, and none twice.
func TestAddresses(t *testing.T) {
	t.Parallel()
	a := newAddresses()
	in := netip.MustParsePrefix("10.0.1.5/28")
	a.keep(netip.MustParseAddr("10.0.1.14"))
	take := func() string {
		ip, err := a.take(in)
		if err != nil {
			return err.Error()
		}
		return ip.String()
	}
	var got []string
	for range 11 {
		got = append(got, take())
	}
	if text := strings.Join(got, " "); text != "10.0.1.13 10.0.1.12 10.0.1.11 10.0.1.10 10.0.1.9 10.0.1.8 10.0.1.7 10.0.1.6 10.0.1.5 10.0.1.4 subnet 10.0.1.0/28 has no free address for a pod" {
		t.Errorf("got %s", text)
	}
	for _, ip := range []string{"10.0.1.13", "10.0.1.4", "10.0.1.8"} {
		a.free(netip.MustParseAddr(ip))
	}
	// What was freed last is not what comes next: others may still know it.
	if got := take() + " " + take() + " " + take() + " " + take(); got != "10.0.1.13 10.0.1.8 10.0.1.4 subnet 10.0.1.0/28 has no free address for a pod" {
		t.Errorf("then %s", got)
	}
	if !a.has(netip.MustParseAddr("10.0.1.8")) || a.has(netip.MustParseAddr("10.0.1.3")) {
		t.Error("it doesn't know what is taken")
	}
	if got := func() string { _, err := a.take(netip.MustParsePrefix("10.0.2.0/30")); return err.Error() }(); got != "subnet 10.0.2.0/30 has no free address for a pod" {
		t.Errorf("of a tiny one %s", got)
	}
}
