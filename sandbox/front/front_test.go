package front_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/front"
)

// served is a front on two loopback ports, with one site that says by what name
// it was asked.
func served(t *testing.T) (a *front.Authority, f *front.Front, way, proxy string) {
	t.Helper()
	a, err := front.NewAuthority(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	site := front.NewSite(a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %v", r.Host, r.TLS != nil)
	}))
	f = front.New(func(name string, port int) (front.Door, error) {
		if !strings.HasSuffix(name, ".example.com") {
			return nil, fmt.Errorf("no hosted zone of the account has %s", name)
		}
		return site.Door(name, port), nil
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "home") }))
	listen := func(serve func(net.Listener) error) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = serve(l) }()
		return l.Addr().String()
	}
	way, proxy = listen(f.Serve), listen(f.ServeProxy)
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), site.Close()); err != nil {
			t.Error(err)
		}
	})
	return a, f, way, proxy
}

func get(t *testing.T, transport *http.Transport, url string) (string, error) {
	t.Helper()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body), nil
}

func TestNamesLeadToDoors(t *testing.T) {
	t.Parallel()
	a, f, way, proxy := served(t)
	trust := &tls.Config{RootCAs: a.Pool()}
	direct := func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", way) }
	through := http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	for name, transport := range map[string]*http.Transport{
		"by server name":  {DialContext: direct, TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true},
		"by the proxy":    {Proxy: through, TLSClientConfig: trust},
		"in this process": {DialContext: f.Dial, TLSClientConfig: trust},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for url, want := range map[string]string{
				"https://chat.example.com/": "200 chat.example.com true", "https://Api.example.com/": "200 Api.example.com true", "http://chat.example.com/": "200 chat.example.com false",
			} {
				if got, err := get(t, transport.Clone(), url); err != nil || got != want {
					t.Errorf("%s: %q, %v, want %q", url, got, err, want)
				}
			}
		})
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	t.Parallel()
	a, _, way, proxy := served(t)
	trust := &tls.Config{RootCAs: a.Pool()}
	direct := func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", way) }
	through := http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	const reason = "no hosted zone of the account has example.org"
	for _, transport := range []*http.Transport{{DialContext: direct}, {Proxy: through}} {
		if got, err := get(t, transport, "http://example.org/"); err != nil || !strings.HasPrefix(got, "502 ") || !strings.Contains(got, reason) {
			t.Errorf("plain: %q, %v, want 502 and the reason", got, err)
		}
	}
	if got, err := get(t, &http.Transport{DialContext: direct, TLSClientConfig: trust}, "https://example.org/"); err == nil {
		t.Errorf("by server name: %q", got)
	}
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 502 ") || !strings.Contains(string(answer), reason) {
		t.Errorf("CONNECT: %q, %v, want 502 and the reason", answer, err)
	}
}

func TestProxyHasAHome(t *testing.T) {
	t.Parallel()
	_, _, _, proxy := served(t)
	if got, err := get(t, &http.Transport{}, "http://"+proxy+"/"); err != nil || got != "200 home" {
		t.Errorf("%q, %v, want 200 home", got, err)
	}
}

func TestClosedFrontTakesNoConnections(t *testing.T) {
	t.Parallel()
	_, f, way, proxy := served(t)
	direct := func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", way) }
	// Both serve once they have answered.
	for address, transport := range map[string]*http.Transport{"chat.example.com": {DialContext: direct}, proxy: {}} {
		if got, err := get(t, transport, "http://"+address+"/"); err != nil || !strings.HasPrefix(got, "200 ") {
			t.Fatalf("%s: %q, %v", address, got, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{way, proxy} {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("%s takes connections", address)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("serving after the end: %v", err)
	}
}

func TestAuthorityIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	open := func() *front.Authority {
		t.Helper()
		a, err := front.OpenAuthority(dir, clock)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first, second := open(), open()
	if string(first.PEM()) != string(second.PEM()) {
		t.Error("the authority is another one the second time")
	}
	c, err := second.Certificate("chat.example.com", "*.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chat.example.com", "api.example.com"} {
		if err := c.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if d := c.Leaf.NotAfter.Sub(now); d > 398*24*time.Hour {
		t.Errorf("a certificate is for %s, which browsers refuse", d)
	}
	again, err := second.Certificate("chat.example.com", "*.example.com")
	if err != nil || again != c {
		t.Errorf("a certificate is issued twice: %v", err)
	}
	now = now.AddDate(0, 0, 397)
	if renewed, err := second.Certificate("chat.example.com", "*.example.com"); err != nil || renewed == c {
		t.Errorf("a certificate that ends soon is not renewed: %v", err)
	}
	for _, name := range []string{front.FileCertificate, "ca-key.pem"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want it to be its owner's alone", name, info.Mode(), err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, front.FileCertificate), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := front.OpenAuthority(dir, clock); err == nil {
		t.Error("a damaged authority is taken")
	}
}
