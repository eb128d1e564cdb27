package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// Gateway is a socket in a folder of its own, which this user alone can open. Whoever
// connects speaks to the Kubernetes API by a route, as the caller: the gateway adds the
// token and speaks TLS, so that a program behind it needs no credentials.
type Gateway struct {
	// Socket is its path.
	Socket string

	server *http.Server
	folder string
	away   *http.Transport
	ended  chan error
}

// tokens are a source of tokens that makes one only when the last one ends.
type tokens struct {
	fresh func(context.Context) (Token, error)
	clock clock.Clock

	mu   sync.Mutex
	last Token
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.Value == "" || !t.clock.Now().Before(t.last.Expires) {
		next, err := t.fresh(ctx)
		if err != nil {
			return "", err
		}
		t.last = next
	}
	return t.last.Value, nil
}

// signed adds the token to requests.
type signed struct {
	tokens *tokens
	next   http.RoundTripper
}

// tokenError is that there is no token: to ask again doesn't help.
type tokenError struct{ error }

func (e tokenError) Unwrap() error { return e.error }

// RoundTrip implements [http.RoundTripper].
func (s signed) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := s.tokens.get(req.Context())
	if err != nil {
		return nil, tokenError{err}
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	return s.next.RoundTrip(req)
}

// Caller speaks to the API by the route as the caller, with tokens that are made when
// they are needed. Done closes its idle connections.
func (r *Route) Caller(c clock.Clock, fresh func(context.Context) (Token, error)) (way http.RoundTripper, done func()) {
	t := r.Transport()
	return signed{&tokens{fresh: fresh, clock: c}, t}, t.CloseIdleConnections
}

// OpenGateway opens a gateway by a route, with tokens that are made when they are
// needed. Close it before the route.
func OpenGateway(r *Route, c clock.Clock, fresh func(context.Context) (Token, error)) (*Gateway, error) {
	at, err := url.Parse(r.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("open a gateway to %s: %w", r.Endpoint, err)
	}
	folder, err := os.MkdirTemp("", "poolhouse-")
	if err != nil {
		return nil, fmt.Errorf("open a gateway to %s: %w", r.Endpoint, err)
	}
	g := &Gateway{Socket: filepath.Join(folder, "api"), folder: folder, away: r.Transport(), ended: make(chan error, 1)}
	l, err := net.Listen("unix", g.Socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a gateway to %s: %w", r.Endpoint, err), os.RemoveAll(folder))
	}
	proxy := &httputil.ReverseProxy{
		// Watches are answered bit by bit.
		FlushInterval: -1,
		Transport:     signed{&tokens{fresh: fresh, clock: c}, g.away},
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(at)
			p.Out.Host = at.Host
		},
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			// Clients of Kubernetes ask again where they are told when. What makes an
			// object may have been done before the answer was lost.
			if token := (tokenError{}); !errors.As(err, &token) && req.Method != http.MethodPost {
				w.Header().Set("Retry-After", "1")
			}
			http.Error(w, "no answer from the Kubernetes API by "+r.String()+": "+innermost(err).Error(), http.StatusBadGateway)
		},
	}
	g.server = &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { g.ended <- g.server.Serve(l) }()
	return g, nil
}

// Close ends the gateway with all that goes through it, and removes its folder.
func (g *Gateway) Close() error {
	err := g.server.Close()
	if served := <-g.ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	g.away.CloseIdleConnections()
	if err = errors.Join(err, os.RemoveAll(g.folder)); err != nil {
		return fmt.Errorf("close the gateway to the Kubernetes API: %w", err)
	}
	return nil
}
