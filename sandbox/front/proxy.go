package front

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
)

// ServeProxy is an HTTP proxy, for HTTPS_PROXY and HTTP_PROXY, until the listener
// is closed. CONNECT leads to the door of a name at a port, a plain request to
// its port 80.
func (f *Front) ServeProxy(l net.Listener) error {
	plain := &httputil.ReverseProxy{
		// The request stays as the client made it.
		Rewrite:       func(*httputil.ProxyRequest) {},
		Transport:     &http.Transport{DialContext: f.Dial, DisableKeepAlives: true},
		FlushInterval: -1, ErrorLog: quiet(),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	server := &http.Server{ReadHeaderTimeout: patience, ErrorLog: quiet(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodConnect:
			f.connect(w, r)
		case r.URL.Scheme == "http" && r.URL.Host != "":
			plain.ServeHTTP(w, r)
		default:
			f.home.ServeHTTP(w, r)
		}
	})}
	if !f.keep(server) {
		return errors.Join(net.ErrClosed, l.Close())
	}
	return fmt.Errorf("serve the proxy: %w", server.Serve(l))
}

// connect hands the client's connection to the door that it asked for.
func (f *Front) connect(w http.ResponseWriter, r *http.Request) {
	door, err := f.at(r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	if buf.Reader.Buffered() > 0 {
		conn = &replay{conn, buf}
	}
	door(conn)
}
