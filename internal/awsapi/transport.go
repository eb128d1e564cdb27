package awsapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"golang.org/x/net/http/httpproxy"
)

// ProxyError says that an HTTP proxy refused to lead to AWS.
type ProxyError struct {
	// Proxy is its host and port, Status what it answered, and Host where it
	// should have led.
	Proxy  string
	Status string
	Host   string
}

func (e *ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s refuses to connect to %s: %s", e.Proxy, e.Host, e.Status)
}

// IsProxy tells that a proxy stands in the way: it refused, or did not answer.
func IsProxy(err error) bool {
	var refused *ProxyError
	var op *net.OpError
	return errors.As(err, &refused) || errors.As(err, &op) && op.Op == "proxyconnect"
}

// answerTime is how long a service may take to begin its answer; what takes
// longer is given up and repeated. The SDK has no such bound, and a connection
// that hangs would hang the command. It is the AWS CLI's default.
// https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-options.html
const answerTime = time.Minute

// client is the SDK's HTTP client with the options' proxy and authorities, each
// unless the environment has its own: HTTPS_PROXY, NO_PROXY and AWS_CA_BUNDLE
// win, even if they are empty. Loopback addresses are never asked through a
// proxy.
func (o Options) client() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.ResponseHeaderTimeout = answerTime
		t.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			return &ProxyError{Proxy: proxy.Host, Status: resp.Status, Host: req.Host}
		}
		way := httpproxy.FromEnvironment()
		if o.Proxy != "" && !set("HTTPS_PROXY", "https_proxy") {
			way.HTTPSProxy = o.Proxy
			if !set("NO_PROXY", "no_proxy") {
				way.NoProxy = strings.Join(o.NoProxy, ",")
			}
		}
		choose := way.ProxyFunc()
		t.Proxy = func(req *http.Request) (*url.URL, error) { return choose(req.URL) }
		if o.CABundle != "" && !set("AWS_CA_BUNDLE") {
			roots, err := x509.SystemCertPool()
			if err != nil {
				roots = x509.NewCertPool()
			}
			roots.AppendCertsFromPEM([]byte(o.CABundle))
			if t.TLSClientConfig == nil {
				t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			t.TLSClientConfig.RootCAs = roots
		}
	})
}

// set tells whether the environment has one of the variables.
func set(names ...string) bool {
	for _, n := range names {
		if _, ok := os.LookupEnv(n); ok {
			return true
		}
	}
	return false
}

// Web is an HTTP client that reaches other hosts as the services are reached: by
// the same proxy, with the same authorities. It signs nothing. Answer is how long
// a host may take to begin its answer.
func (c *Clients) Web(answer time.Duration) *http.Client { return web(c.cfg.HTTPClient, answer) }

// Web is [Clients.Web] for who needs no account: by the proxy and with the
// authorities of the environment. It reads none of the SDK's files.
func Web(answer time.Duration) (*http.Client, error) {
	client := Options{}.client()
	if file := os.Getenv("AWS_CA_BUNDLE"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the authorities of AWS_CA_BUNDLE: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read the authorities of AWS_CA_BUNDLE: %s holds no certificate in PEM", file)
		}
		client = client.WithTransportOptions(func(t *http.Transport) {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
		})
	}
	return web(client, answer), nil
}

func web(is aws.HTTPClient, answer time.Duration) *http.Client {
	if w, ok := is.(watched); ok {
		is = w.next // who asks for a client watches it by other times
	}
	if s, ok := is.(sender); ok {
		is = s.next
	}
	switch is := is.(type) {
	case *http.Client:
		return is
	case *awshttp.BuildableClient:
		t := is.GetTransport()
		t.ResponseHeaderTimeout = answer
		// Uploads side by side want connections of their own, so there is no HTTP/2.
		t.ForceAttemptHTTP2, t.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.NextProtos = []string{"http/1.1"}
		t.WriteBufferSize, t.ReadBufferSize, t.MaxIdleConnsPerHost = 256<<10, 256<<10, 16
		return &http.Client{Transport: t}
	}
	return &http.Client{Transport: doer{is}}
}

// doer is a client of the SDK's as a transport.
type doer struct{ aws.HTTPClient }

// RoundTrip implements [http.RoundTripper].
func (d doer) RoundTrip(r *http.Request) (*http.Response, error) { return d.Do(r) }
