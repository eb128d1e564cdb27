// Package front is the one way into what a sandbox serves, by the names that
// things have on AWS: an authority that issues certificates for them, a listener
// that parts TLS by server name and plain HTTP by host, and an HTTP proxy that
// carries names to the same doors.
//
// Invariants: what listens does so where its caller says, which is a loopback
// address; a name leads to one door; a name that nobody knows is refused, by the
// proxy with 502 and the reason, and nothing is ever passed on to the network.
//
// Limits: TCP only. Who has no server name, or an address in its stead, has no
// door.
package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience is how long a client may take to say whom it wants.
const patience = 10 * time.Second

// Door is what answers behind a name. It takes the connection over and closes
// it, and returns when it has taken it, not when it has ended.
type Door func(conn net.Conn)

// Find returns the door of a name, in lower case, at a port, or says why there
// is none.
type Find func(name string, port int) (Door, error)

// Front leads connections to doors. It is safe for concurrent use.
type Front struct {
	find Find
	home http.Handler

	mu    sync.Mutex
	open  map[io.Closer]bool // listeners, servers
	ended bool
}

// New returns a front whose doors are found by a function, which must be safe
// for concurrent use. Home answers what the proxy is asked for itself.
func New(find Find, home http.Handler) *Front {
	return &Front{find: find, home: home, open: map[io.Closer]bool{}}
}

// keep notes what Close has to close, or closes it if it is too late.
func (f *Front) keep(c io.Closer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		_ = c.Close()
		return false
	}
	f.open[c] = true
	return true
}

// Close ends all listeners and the proxy. Connections that doors have taken are
// theirs.
func (f *Front) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	var errs []error
	for c := range f.open {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	clear(f.open)
	return errors.Join(errs...)
}

// Serve accepts connections until the listener is closed: TLS is led by server
// name to port 443, HTTP by its first request's host to port 80. A connection
// that leads nowhere is closed.
func (f *Front) Serve(l net.Listener) error {
	if !f.keep(l) {
		return net.ErrClosed
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept for the front: %w", err)
		}
		go f.lead(conn)
	}
}

func (f *Front) lead(conn net.Conn) {
	name, port, replayed, err := whom(conn)
	if err != nil {
		_ = conn.Close()
		return
	}
	door, err := f.find(name, port)
	if err != nil {
		if port == 80 {
			refuse(conn, err)
		}
		_ = conn.Close()
		return
	}
	door(replayed)
}

// refuse answers plain HTTP with the reason.
func refuse(conn net.Conn, reason error) {
	// The client may be gone.
	_ = (&http.Response{
		StatusCode: http.StatusBadGateway, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		Body: io.NopCloser(strings.NewReader(reason.Error() + "\n")), ContentLength: int64(len(reason.Error()) + 1), Close: true,
	}).Write(conn)
}

// recordTypeHandshake is the first byte of a TLS connection.
// https://www.rfc-editor.org/rfc/rfc8446#section-5.1
const recordTypeHandshake = 22

// whom reads as much of a connection as tells whom it is for, and returns one
// that begins with what was read.
func whom(conn net.Conn) (name string, port int, replayed net.Conn, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", 0, nil, err
	}
	read := &bytes.Buffer{}
	from := bufio.NewReader(io.TeeReader(conn, read))
	first, err := from.Peek(1)
	if err != nil {
		return "", 0, nil, err
	}
	if first[0] == recordTypeHandshake {
		port = 443
		hello := errors.New("the hello is known")
		err := tls.Server(silent{conn, from}, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name = h.ServerName
			return nil, hello
		}}).HandshakeContext(context.Background())
		if !errors.Is(err, hello) {
			return "", 0, nil, err
		}
	} else {
		port = 80
		r, err := http.ReadRequest(from)
		if err != nil {
			return "", 0, nil, err
		}
		name = r.Host
		if host, p, err := net.SplitHostPort(r.Host); err == nil {
			name = host
			if n, err := strconv.Atoi(p); err == nil && n == 443 {
				port = n // it says so itself
			}
		}
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return "", 0, nil, err
	}
	return strings.ToLower(name), port, &replay{conn, io.MultiReader(read, conn)}, nil
}

// silent is a connection that is read from elsewhere and says nothing.
type silent struct {
	net.Conn
	from io.Reader
}

func (s silent) Read(p []byte) (int, error)  { return s.from.Read(p) }
func (s silent) Write(p []byte) (int, error) { return len(p), nil }

// replay is a connection of which something was read before.
type replay struct {
	net.Conn
	from io.Reader
}

func (r *replay) Read(p []byte) (int, error) { return r.from.Read(p) }

// Dial connects to the door of an address, host:port, in this process.
func (f *Front) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	door, err := f.at(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	mine, theirs := net.Pipe()
	door(theirs)
	return mine, nil
}

func (f *Front) at(address string) (Door, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(p)
	if err != nil {
		return nil, fmt.Errorf("port %q is no number", p)
	}
	return f.find(strings.TrimSuffix(strings.ToLower(host), "."), port)
}
