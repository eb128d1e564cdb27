package controlplane

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// Addresses of the subnets of a cluster's nodes lead to its pods, but for those of the
// nodes; and only where pods run.
func TestPodsAreCarried(t *testing.T) {
	t.Parallel()
	c := &Clusters{running: map[string]*running{}}
	with, without, starting := &running{pods: true, server: &plane.Server{}}, &running{server: &plane.Server{}}, &running{pods: true}
	c.place(with, eks.ControlPlane{Nodes: []eks.Node{{Subnet: "10.0.0.0/24", InternalIP: "10.0.0.9"}, {Subnet: "10.0.1.0/24"}, {Subnet: "none"}}})
	c.place(without, eks.ControlPlane{Nodes: []eks.Node{{Subnet: "10.0.2.0/24"}}})
	c.place(starting, eks.ControlPlane{Nodes: []eks.Node{{Subnet: "10.0.3.0/24"}}})
	c.running["a"], c.running["b"], c.running["c"] = with, without, starting
	for address, want := range map[string]bool{
		"10.0.0.200:8443": true, "10.0.1.1:80": true, "10.0.0.9:8443": false, "10.0.2.1:80": false, "10.0.3.1:80": false, "192.0.2.1:80": false, "10.0.0.200": false, "name:80": false,
	} {
		if got := c.Carries(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if _, err := c.Dial(t.Context(), "10.0.2.1:80"); err == nil || err.Error() != "no pod runs at 10.0.2.1:80" {
		t.Errorf("got %v", err)
	}
	// Nodes of two clusters share a subnet: both are asked, always in the same order.
	shared := &running{cluster: "shared", pods: true, server: &plane.Server{}}
	c.place(shared, eks.ControlPlane{Nodes: []eks.Node{{Subnet: "10.0.0.0/24"}}})
	c.running["0"], with.cluster = shared, "first"
	for range 20 {
		if got := c.holders("10.0.0.200:80"); len(got) != 2 || got[0] != shared || got[1] != with {
			t.Fatalf("got %v", got)
		}
	}
	if _, err := c.Dial(t.Context(), "10.0.0.200:80"); err == nil || !strings.Contains(err.Error(), "in cluster shared: ") || !strings.Contains(err.Error(), "in cluster first: ") {
		t.Errorf("got %v", err)
	}
	delete(c.running, "0")
	delete(with.hosts, netip.MustParseAddr("10.0.0.9"))
	if !c.Carries("10.0.0.9:8443") {
		t.Error("the address of a node that went is no pod's")
	}
}

// A connection to a pod is led on by the control plane, by its token; what that refuses
// is said, and one that doesn't answer is not waited for.
func TestConnectToPods(t *testing.T) {
	t.Parallel()
	r := &running{token: "own"}
	control := func(answer func(net.Conn, *http.Request)) net.Conn {
		near, far := net.Pipe()
		go func() {
			req, err := http.ReadRequest(bufio.NewReader(far))
			if err != nil {
				t.Error(err)
				return
			}
			answer(far, req)
		}()
		return near
	}
	conn, err := r.connect(t.Context(), control(func(far net.Conn, req *http.Request) {
		if req.Method != http.MethodConnect || req.URL.Path != "/" || req.Host != "10.0.0.5:8443" || req.Header.Get("Authorization") != "Bearer own" {
			t.Errorf("asked %s %s %v", req.Method, req.Host, req.Header)
		}
		_, _ = io.WriteString(far, "HTTP/1.1 200 Connection established\r\n\r\nfirst") // the pod speaks at once
		_ = far.Close()
	}), "10.0.0.5:8443")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || string(text) != "first" {
		t.Errorf("%q %v", text, err)
	}
	_, err = r.connect(t.Context(), control(func(far net.Conn, _ *http.Request) {
		_, _ = io.WriteString(far, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\nno pod")
	}), "10.0.0.5:8443")
	if err == nil || !strings.Contains(err.Error(), "502 Bad Gateway: no pod") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errLate)
	defer cancel()
	if _, err = r.connect(ctx, control(func(net.Conn, *http.Request) {}), "10.0.0.5:8443"); !errors.Is(err, errLate) {
		t.Errorf("got %v", err)
	}
}

var errLate = errors.New("late")
