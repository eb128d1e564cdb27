package front

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/poolhouse/poolhouse/sandbox/pipe"
)

// Site is a door with a handler behind it: TLS with a certificate for the name
// that the client asked for, but at port 80. It is safe for concurrent use.
type Site struct {
	authority *Authority
	plain     *pipe.Listener
	conns     pipe.Cutter
	server    *http.Server
}

// NewSite returns a site that serves until Close.
func NewSite(a *Authority, h http.Handler) *Site {
	s := &Site{authority: a, plain: pipe.New(), server: &http.Server{Handler: h, ReadHeaderTimeout: patience, ErrorLog: quiet()}}
	go func() {
		// It ends with Close, which has no error to tell.
		_ = s.server.Serve(s.plain)
	}()
	return s
}

// Door is the site under a name, at a port.
func (s *Site) Door(name string, port int) Door {
	return func(conn net.Conn) {
		conn = s.conns.Hold(conn)
		if port != 80 {
			conn = tls.Server(conn, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return s.authority.Certificate(name)
			}})
		}
		if s.plain.Put(conn) != nil {
			_ = conn.Close()
		}
	}
}

// quiet is a log for what servers say of clients that went away: nobody has to
// know.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// Close ends the site and its connections.
func (s *Site) Close() error {
	s.conns.Cut()
	return s.server.Close()
}
