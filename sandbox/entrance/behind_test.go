package entrance_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// pods have one that answers at an address of the VPC.
type pods struct{ at, local string }

func (p pods) Carries(address string) bool { return address == p.at }

func (p pods) Dial(ctx context.Context, address string) (net.Conn, error) {
	if address != p.at {
		return nil, fmt.Errorf("no pod has the address %s", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", p.local)
}

// A target that nothing stood behind is checked, and gets requests, once a pod does.
func TestPodsBehind(t *testing.T) {
	t.Parallel()
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a pod") }))
	defer pod.Close()
	idpServer := httptest.NewServer(provider(t))
	defer idpServer.Close()
	_, e, client, group := served(t, "", idpServer.Listener.Addr().String())
	get := func() (int, string) {
		t.Helper()
		resp, err := client.Get("https://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get(); status != http.StatusNotImplemented {
		t.Errorf("without a pod: %d %q", status, body)
	}
	e.Behind(pods{instance, pod.Listener.Addr().String()})
	if status, body := get(); status != http.StatusOK || body != "a pod" {
		t.Errorf("with a pod: %d %q", status, body)
	}
	for until := time.Now().Add(10 * time.Second); e.TargetHealth(group)[instance].State != "healthy" && time.Now().Before(until); {
		get() // which takes some time
	}
	if h := e.TargetHealth(group)[instance]; h.State != "healthy" {
		t.Errorf("the target's health is %v", h)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
