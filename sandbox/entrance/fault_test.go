package entrance_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// troubled is an account with an entrance, where faults begin when they are told.
type troubled struct {
	t      *testing.T
	box    *sandbox.Sandbox
	client *http.Client

	mu    sync.Mutex
	slept []time.Duration
}

func trouble(t *testing.T) *troubled {
	t.Helper()
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 40<<10)) }))
	t.Cleanup(local.Close)
	idpServer := httptest.NewServer(provider(t))
	t.Cleanup(idpServer.Close)
	box, e, client, _ := served(t, local.Listener.Addr().String(), idpServer.Listener.Addr().String())
	w := &troubled{t: t, box: box, client: client}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// begin has a fault begin.
func (w *troubled) begin(text string) {
	w.t.Helper()
	k, err := sandbox.Known(w.box.Region())
	if err != nil {
		w.t.Fatal(err)
	}
	plan, err := fault.Parse("faults.yaml", []byte("faults: [{id: a, "+text+"}]"), k)
	if err != nil {
		w.t.Fatal(err)
	}
	w.box.Break(fault.New(plan, fault.Options{Sleep: func(_ context.Context, d time.Duration) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.slept = append(w.slept, d)
		return nil
	}}))
	// Connections that were made before know nothing of it.
	w.client.CloseIdleConnections()
}

// get is a status, with the error if there is none.
func (w *troubled) get(url string) (int, string) {
	w.t.Helper()
	resp, err := w.client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Clients refuse a certificate that is over, for another name or of an authority
// that they don't know, and only that: what is right stays right.
func TestWrongCertificates(t *testing.T) {
	t.Parallel()
	w := trouble(t)
	for wrong, want := range map[string]string{
		"expired": "certificate has expired", "name": "certificate is valid for another.invalid, not " + host, "authority": "certificate signed by unknown authority",
	} {
		w.begin("certificate: {host: " + host + ", wrong: " + wrong + "}")
		if status, got := w.get("https://" + host + "/"); status != 0 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %q, want %q", wrong, status, got, want)
		}
		if status, got := w.get("https://" + idp + "/userinfo"); status != 200 {
			t.Errorf("%s: the provider, which is all right: %d %s", wrong, status, got)
		}
		if n := w.box.Faults().Tallies()[0].Times; n != 1 {
			t.Errorf("%s happened %d times", wrong, n)
		}
	}
	w.begin("certificate: {host: other.example.com, wrong: expired}")
	if status, got := w.get("https://" + host + "/"); status != 200 {
		t.Errorf("in the end: %d %.200s", status, got)
	}
}

// callback is where a user comes back to from the provider.
func (w *troubled) callback() string {
	w.t.Helper()
	w.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/oauth2/idpresponse" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	defer func() { w.client.CheckRedirect = nil }()
	resp, err := w.client.Get("https://" + host + "/")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("Location")
}

// A load balancer that can't reach the provider's token endpoint, or doesn't trust
// it, answers the user's return with 500; once it can, users sign in.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-500-issues
func TestProviderFails(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"down": "crash: {server: provider}", "expired": "certificate: {host: " + idp + ", wrong: expired}", "unknown": "certificate: {host: " + idp + ", wrong: authority}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := trouble(t)
			back := w.callback()
			w.begin(text)
			if status, body := w.get(back); status != http.StatusInternalServerError {
				t.Errorf("the return is answered with %d %.200s", status, body)
			}
			if status, body := w.get("https://" + idp + "/userinfo"); status == 200 {
				t.Errorf("the user's browser gets to the provider: %.200s", body)
			}
			w.begin("certificate: {host: none, wrong: expired}")
			if status, body := w.get("https://" + host + "/"); status != 200 {
				t.Errorf("in the end: %d %.200s", status, body)
			}
		})
	}
}

// What happens to the identity provider doesn't happen to ECR's registry, nor the
// other way round; the registry can be slow, and show a wrong certificate.
func TestRegistryFails(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		registry, provider int
		late               time.Duration
	}{
		"crash: {server: provider}":                             {200, 0, 0},
		"crash: {server: ecr}":                                  {200, 200, 0}, // its layers are away
		"lag: {server: ecr, delay: 20s}":                        {200, 200, 20 * time.Second},
		"lag: {server: provider, delay: 7s}":                    {200, 200, 7 * time.Second},
		"certificate: {host: '*.dkr.ecr.*', wrong: authority}":  {0, 200, 0},
		"certificate: {host: " + idp + ", wrong: authority}":    {200, 0, 0},
		"certificate: {host: 'none.example.com', wrong: name}":  {200, 200, 0},
		"lag: {server: load-balancer, delay: 3s, rate: 100000}": {200, 200, 0},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			w := trouble(t)
			w.begin(text)
			if status, body := w.get("https://" + registry + "/v2/"); status != want.registry || status == 200 && body != "layers" {
				t.Errorf("the registry answers %d %.100s", status, body)
			}
			isLate := func() (late bool) {
				w.mu.Lock()
				defer w.mu.Unlock()
				late = slices.Contains(w.slept, want.late)
				w.slept = nil
				return late
			}
			if got, expected := isLate(), strings.Contains(text, "lag: {server: ecr"); got != expected {
				t.Errorf("the registry is late: %v", got)
			}
			if status, body := w.get("https://" + idp + "/userinfo"); status != want.provider {
				t.Errorf("the provider answers %d %.100s", status, body)
			}
			if got, expected := isLate(), strings.Contains(text, "lag: {server: provider"); got != expected {
				t.Errorf("the provider is late: %v", got)
			}
		})
	}
}

// A slow load balancer begins each answer late, and sends so many bytes a second.
func TestSlowLoadBalancer(t *testing.T) {
	t.Parallel()
	w := trouble(t)
	w.client.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
	if status, body := w.get("https://" + host + "/"); status != 200 {
		t.Fatalf("%d %.200s", status, body)
	}
	w.begin("lag: {server: load-balancer, delay: 20s, rate: 1000}")
	if status, body := w.get("https://" + host + "/"); status != 200 || len(body) != 40<<10 {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var all time.Duration
	late := 0
	for _, d := range w.slept {
		all += d
		if d >= 20*time.Second {
			late++
		}
	}
	// The handshake has one answer or two, and the page one.
	if late < 2 || late > 4 {
		t.Errorf("%d answers were late: %v", late, w.slept)
	}
	if sent := all - time.Duration(late)*20*time.Second; sent < 40*time.Second || sent > 50*time.Second {
		t.Errorf("40 KiB at 1000 bytes a second took %s", sent)
	}
}
