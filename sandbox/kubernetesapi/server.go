// Package kubernetesapi is the door of the Kubernetes APIs of a sandbox's
// clusters: a TLS server with the certificate of each cluster's own authority,
// which answers /version, /livez and /readyz, and 401 Unauthorized to all else.
// Who gets to it is what EKS and the security groups say.
//
// It has two sides. From outside, callers reach a cluster at a loopback address,
// by its public endpoint; from inside, by [Server.Dial], as a connected network
// or an instance does, or through [Server.Proxy].
//
// Invariants: a caller who is not admitted gets no byte. AWS drops such packets,
// so that connections time out; here they end at once, so that nobody waits.
//
// Limits: nothing but these answers, unless [Options.API] has others, or
// [Server.Behind] knows of a Kubernetes behind the cluster: then its API has the
// whole connection.
package kubernetesapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/pipe"
)

// Options say what is served.
type Options struct {
	// From is the address that callers outside come from.
	From netip.Addr
	// Listen opens a loopback port for each cluster; otherwise clusters keep
	// their usual endpoints, and only [Server.Dial] leads to them.
	Listen bool
	// API answers what this package doesn't, in the place of a Kubernetes. May be nil.
	API http.Handler
}

// Server serves the APIs of all clusters of an account. It is safe for
// concurrent use.
type Server struct {
	opts Options
	http *http.Server
	in   *pipe.Listener

	mu        sync.Mutex
	account   *account.Account
	listeners map[string]net.Listener // by cluster
	closed    bool
	hold      func() (release func())
	behind    func(ctx context.Context, cluster string) string
	ctx       context.Context // ends with Close
	close     context.CancelFunc
}

// Behind says where the Kubernetes of a cluster answers, with the certificate of
// [eks.Certificate], or "" if none runs. It may wait until it does; no clock is
// held meanwhile, nor by its connections.
func (s *Server) Behind(f func(ctx context.Context, cluster string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = f
}

// Hold has f called when a request comes, and what it returns when the request
// is answered: it is real, whatever the account's clock is.
func (s *Server) Hold(f func() (release func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = f
}

// New makes a server. Its Endpoint goes into the sandbox's options, and the
// account that comes of it to Attach.
func New(o Options) *Server {
	s := &Server{opts: o, in: pipe.New(), listeners: map[string]net.Listener{}}
	s.ctx, s.close = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.held), ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if v, ok := c.(*conn); ok {
				return context.WithValue(ctx, versionKey{}, v.version)
			}
			return ctx
		},
	}
	go func() {
		// It ends with Close, which has no error to tell.
		_ = s.http.Serve(s.in)
	}()
	return s
}

// held answers a request while the clock is held.
func (s *Server) held(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		defer hold()()
	}
	s.serve(w, r)
}

// Attach says whose clusters are served.
func (s *Server) Attach(a *account.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = a
}

// Reopen listens again where the clusters of an account that was restored have
// their endpoints. It names, with the reason, each that can't be had.
func (s *Server) Reopen() []error {
	s.mu.Lock()
	a := s.account
	s.mu.Unlock()
	if !s.opts.Listen || a == nil {
		return nil
	}
	at := map[string]string{}
	// The account calls Endpoint, so it isn't waited for with mu held.
	err := a.Do(func(tx *account.Tx) error {
		tx.Reads()
		at = eks.Endpoints(tx)
		return nil
	})
	if err != nil {
		return []error{err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var errs []error
	for _, cluster := range slices.Sorted(maps.Keys(at)) {
		if ip, _, ok := strings.Cut(at[cluster], ":"); !ok || ip != "127.0.0.1" || s.listeners[cluster] != nil {
			continue
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", at[cluster])
		if err != nil {
			errs = append(errs, fmt.Errorf("the Kubernetes API of cluster %s doesn't answer: %w", cluster, err))
			continue
		}
		s.listeners[cluster] = l
		go s.accept(l)
	}
	return errs
}

// Endpoint is the sandbox's KubernetesEndpoint. A cluster that is made again
// has the same address.
func (s *Server) Endpoint(cluster, usual string) string {
	if !s.opts.Listen {
		return usual
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listeners[cluster]
	if l == nil && !s.closed {
		var err error
		if l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
			return usual // nothing answers there
		}
		s.listeners[cluster] = l
		go s.accept(l)
	}
	if l == nil {
		return usual
	}
	return "https://" + l.Addr().String()
}

// accept takes connections from outside until the listener is closed.
func (s *Server) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.enter(conn, l.Addr().String())
	}
}

// enter serves a connection from outside, if it is admitted.
func (s *Server) enter(conn net.Conn, address string) {
	c, err := s.admit(eks.Caller{Internet: s.opts.From}, address)
	if err != nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			// Reset: no answer, and no orderly end.
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
		return
	}
	if beyond, err := s.through(s.ctx, c.name); err != nil {
		_ = conn.Close()
	} else if beyond != nil {
		defer context.AfterFunc(s.ctx, func() { _ = beyond.Close() })()
		join(conn, beyond)
	} else if s.in.Put(c.secure(conn)) != nil {
		_ = conn.Close()
	}
}

// through connects to the Kubernetes of a cluster; nil if none runs.
func (s *Server) through(ctx context.Context, cluster string) (net.Conn, error) {
	s.mu.Lock()
	behind := s.behind
	s.mu.Unlock()
	if behind == nil {
		return nil, nil
	}
	at := behind(ctx, cluster)
	if at == "" {
		return nil, ctx.Err()
	}
	return new(net.Dialer).DialContext(ctx, "tcp", at)
}

// join carries what two connections say to each other, until one ends.
func join(a, b net.Conn) {
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() { _, _ = io.Copy(way[0], way[1]); done <- struct{}{} }()
	}
	<-done
	_ = a.Close()
	_ = b.Close()
	<-done
}

// conn is a connection of one cluster's API.
type conn struct {
	net.Conn
	raw     net.Conn
	version string
}

// Close ends the connection without TLS's goodbye, for which both ends of a pipe
// would wait for each other.
func (c *conn) Close() error { return c.raw.Close() }

// versionKey is under which a connection's context has the cluster's version.
type versionKey struct{}

// admitted is the cluster that a caller gets to.
type admitted struct {
	name, version string
	cert          tls.Certificate
}

// secure makes a connection one of the cluster's API.
func (c admitted) secure(raw net.Conn) net.Conn {
	return &conn{tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{c.cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}), raw, c.version}
}

// admit tells to which cluster a caller gets, or says why to none.
func (s *Server) admit(from eks.Caller, address string) (admitted, error) {
	var out admitted
	s.mu.Lock()
	a := s.account
	s.mu.Unlock()
	if a == nil {
		return out, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	err := a.Do(func(tx *account.Tx) error {
		c := eks.APIServer(tx, address)
		if c == nil {
			return &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
		}
		if !eks.Admits(tx, c, from) {
			return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ETIMEDOUT}
		}
		out.name, out.version = c.ID, eks.Version(c)
		var err error
		out.cert, err = eks.Certificate(tx, c)
		return err
	})
	return out, err
}

// Dial connects to the API at an address, host:port, from where the caller is.
// Whoever is not admitted is told at once what a dial says after its time.
func (s *Server) Dial(ctx context.Context, from eks.Caller, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := s.admit(from, address)
	if err != nil {
		return nil, err
	}
	if beyond, err := s.through(ctx, c.name); beyond != nil || err != nil {
		return beyond, err
	}
	mine, theirs := net.Pipe()
	if err := s.in.Put(c.secure(theirs)); err != nil {
		_ = mine.Close()
		_ = theirs.Close()
		return nil, err
	}
	return mine, nil
}

// Proxy is an HTTP proxy that connects to APIs as the caller.
func (s *Server) Proxy(from eks.Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "this proxy knows CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		conn, err := s.Dial(r.Context(), from, r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer conn.Close()
		w.WriteHeader(http.StatusOK)
		client, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		if err := buf.Flush(); err != nil {
			return
		}
		done := make(chan struct{}, 2)
		go func() { _, _ = io.Copy(conn, buf); done <- struct{}{} }()
		go func() { _, _ = io.Copy(client, conn); done <- struct{}{} }()
		<-done
	})
}

// Close ends all listeners and connections.
func (s *Server) Close() error {
	s.close()
	s.mu.Lock()
	s.closed = true
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	clear(s.listeners)
	s.mu.Unlock()
	return errors.Join(append(errs, s.http.Close())...)
}

// serve answers as kube-apiserver does for callers without credentials.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case path == "/livez" || path == "/readyz" || path == "/healthz":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok")
	case path == "/version":
		answer(w, http.StatusOK, map[string]any{"gitVersion": fmt.Sprintf("v%v.0-eks-sandbox", r.Context().Value(versionKey{})), "platform": "linux/amd64"})
	case s.opts.API != nil:
		s.opts.API.ServeHTTP(w, r)
	default:
		answer(w, http.StatusUnauthorized, map[string]any{
			"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
			"message": fmt.Sprintf("Unauthorized: %s is not modelled by the sandbox, in which no Kubernetes runs", r.URL.Path),
			"reason":  "Unauthorized", "code": http.StatusUnauthorized,
		})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone.
	_ = json.NewEncoder(w).Encode(v)
}
