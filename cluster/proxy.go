package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// proxyError says that a proxy is not a way.
type proxyError struct {
	proxy  string
	status string // its refusal, or ""
	err    error
}

func (e *proxyError) Error() string {
	if e.status != "" {
		return fmt.Sprintf("the proxy %s refuses: %s", e.proxy, e.status)
	}
	return fmt.Sprintf("the proxy %s: %v", e.proxy, e.err)
}

func (e *proxyError) Unwrap() error { return e.err }

// connect opens a connection to the API through an HTTP proxy.
// https://www.rfc-editor.org/rfc/rfc9110#name-connect
func (f *finder) connect(ctx context.Context, proxy *url.URL) (net.Conn, error) {
	fail := func(status string, err error) error { return &proxyError{proxy.Host, status, err} }
	address := proxy.Host
	if proxy.Port() == "" {
		port := map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
		address = net.JoinHostPort(proxy.Hostname(), port)
	}
	conn, err := f.Machine.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, fail("", err)
	}
	// Whatever ends the context ends the exchange.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	established := false
	defer func() {
		if !established {
			_ = conn.Close()
		}
	}()
	if proxy.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), RootCAs: f.Machine.Roots, MinVersion: tls.VersionTLS12, Time: f.Clock.Now})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fail("", err)
		}
		conn = secure
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: f.host}, Host: f.host, Header: http.Header{"User-Agent": {"poolhouse"}}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, fail("", err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, fail("", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fail(resp.Status, nil)
	}
	if !stop() {
		return nil, fail("", context.Cause(ctx))
	}
	established = true
	return &buffered{conn, r}, nil
}

// buffered is a connection of which something may have been read already.
type buffered struct {
	net.Conn
	r io.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
