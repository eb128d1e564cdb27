package awsapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// secure serves a sandbox by TLS, with a certificate for a host of which no
// resolver knows, signed by an authority of its own.
func secure(t *testing.T, box *sandbox.Sandbox, host string) (address, bundle string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(c, parent *x509.Certificate) []byte {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corporate"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root := sign(ca, ca)
	leaf := sign(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{host}}, ca)
	server := httptest.NewUnstartedServer(box)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients who don't believe it
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}))
}

// connector is an HTTP proxy that knows one address for every host.
type connector struct {
	to     string
	status int // its refusal

	mu    sync.Mutex
	asked []string
}

func (c *connector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, r.Method+" "+r.Host)
	c.mu.Unlock()
	if c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	to, err := net.Dial("tcp", c.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	w.WriteHeader(http.StatusOK)
	from, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	if buf.Flush() != nil {
		return
	}
	go func() { _, _ = io.Copy(to, buf) }()
	_, _ = io.Copy(from, to)
}

func (c *connector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

// TestOwnProxyAndAuthority holds what the file says against what the environment
// says: real TLS by real proxies, on loopback.
func TestOwnProxyAndAuthority(t *testing.T) {
	const host = "aws.sandbox.invalid"
	box := testkit.Sandbox(t, sandbox.Options{})
	address, bundle := secure(t, box, host)
	dir := t.TempDir()
	file := filepath.Join(dir, "bundle.pem")
	if err := os.WriteFile(file, []byte(bundle), 0o600); err != nil {
		t.Fatal(err)
	}
	const none = "-" // not in the environment
	const bad = "certificate signed by unknown authority"
	for _, tc := range []struct {
		name             string
		options          awsapi.Options // Proxy "own" stands for a proxy that works
		https, no, trust string         // of the environment; "own" and "other" stand for proxies
		own, other       int            // how often each proxy is asked
		fails            string
	}{
		{"the file's", awsapi.Options{Proxy: "own", CABundle: bundle}, none, none, none, 1, 0, ""},
		{"no authority", awsapi.Options{Proxy: "own"}, none, none, none, 1, 0, bad},
		{"the environment's proxy wins", awsapi.Options{Proxy: "own", CABundle: bundle}, "other", none, none, 0, 1, ""},
		{"an empty one too", awsapi.Options{Proxy: "own", CABundle: bundle}, "", none, none, 0, 0, "lookup aws.sandbox.invalid"},
		{"the file's exceptions", awsapi.Options{Proxy: "own", NoProxy: []string{".sandbox.invalid"}, CABundle: bundle}, none, none, none, 0, 0, "lookup aws.sandbox.invalid"},
		{"the environment's exceptions", awsapi.Options{Proxy: "own", CABundle: bundle}, none, "sandbox.invalid", none, 0, 0, "lookup aws.sandbox.invalid"},
		{"the environment's exceptions win", awsapi.Options{Proxy: "own", NoProxy: []string{".sandbox.invalid"}, CABundle: bundle}, none, "", none, 1, 0, ""},
		{"the environment's authority", awsapi.Options{Proxy: "own"}, none, none, file, 1, 0, ""},
		{"the environment's authority wins", awsapi.Options{Proxy: "own", CABundle: bundle}, none, none, "", 1, 0, bad},
	} {
		t.Run(tc.name, func(t *testing.T) {
			own, other := &connector{to: address}, &connector{to: address}
			urls := map[string]string{}
			for name, p := range map[string]*connector{"own": own, "other": other} {
				server := httptest.NewServer(p)
				t.Cleanup(server.Close)
				urls[name] = server.URL
			}
			bare(t)
			for name, value := range map[string]string{"HTTPS_PROXY": tc.https, "NO_PROXY": tc.no, "AWS_CA_BUNDLE": tc.trust} {
				if u, ok := urls[value]; ok {
					value = u
				}
				if value != none {
					t.Setenv(name, value)
				}
			}
			o := tc.options
			o.Endpoint, o.Proxy = "https://"+host, urls[o.Proxy]
			got := identify(t, box, o)
			if tc.fails == "" && got != nil || tc.fails != "" && (got == nil || !strings.Contains(got.Error(), tc.fails)) {
				t.Errorf("got %v, want %q", got, tc.fails)
			}
			if own.count() != tc.own || other.count() != tc.other {
				t.Errorf("the file's proxy was asked %v, the other %v; want %d and %d", own.asked, other.asked, tc.own, tc.other)
			}
		})
	}
}

// bare takes out of the environment what would win.
func bare(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "") // restored at the end
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

// identify makes one call with the standard chain's credentials.
func identify(t *testing.T, box *sandbox.Sandbox, o awsapi.Options) error {
	t.Helper()
	p := box.Principals()[0]
	t.Setenv("AWS_ACCESS_KEY_ID", p.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", p.SecretAccessKey)
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	o.Region = box.Region()
	c, err := awsapi.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.Options) { o.RetryMaxAttempts = 1 })
	return err
}

func TestLoopbackHasNoProxy(t *testing.T) {
	bare(t)
	box := testkit.Sandbox(t, sandbox.Options{})
	server := httptest.NewTLSServer(box)
	defer server.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	// Nothing listens there.
	if err := identify(t, box, awsapi.Options{Endpoint: server.URL, Proxy: "http://127.0.0.1:1", CABundle: string(bundle)}); err != nil {
		t.Error(err)
	}
}

func TestProxyRefuses(t *testing.T) {
	box := testkit.Sandbox(t, sandbox.Options{})
	bare(t)
	p := &connector{status: http.StatusProxyAuthRequired}
	server := httptest.NewServer(p)
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	o := awsapi.Options{Endpoint: "https://aws.sandbox.invalid", Proxy: server.URL}
	err := identify(t, box, o)
	var refused *awsapi.ProxyError
	if !errors.As(err, &refused) || !awsapi.IsProxy(err) {
		t.Fatalf("got %v", err)
	}
	if refused.Status != "407 Proxy Authentication Required" || refused.Proxy != at || refused.Host != "aws.sandbox.invalid:443" {
		t.Errorf("got %+v", refused)
	}
	if n := p.count(); n != 1 {
		t.Errorf("the proxy was asked %d times", n)
	}
	server.Close()
	if err := identify(t, box, o); !awsapi.IsProxy(err) {
		t.Errorf("a proxy that is not there: %v", err)
	}
}

// doing is an HTTP client of the SDK's.
type doing func(*http.Request) (*http.Response, error)

func (f doing) Do(r *http.Request) (*http.Response, error) { return f(r) }

// An answer that comes before net/http has looked at the end of the body is not lost:
// the body, which the SDK has closed by then, still ends without an error.
func TestBodyAfterItsAnswer(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	var sent io.Reader
	c, err := awsapi.New(t.Context(), awsapi.Options{
		Region: box.Region(), Endpoint: testkit.Endpoint, Credentials: testkit.Config(box).Credentials,
		HTTPClient: doing(func(r *http.Request) (*http.Response, error) {
			sent = r.Body
			return testkit.Client(box).Do(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, sent); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
