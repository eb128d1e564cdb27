package kubernetes

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// egressSocket is where the API asks for ways to nodes and pods, none of which
// this machine has an address of.
// https://kubernetes.io/docs/tasks/extend-kubernetes/setup-konnectivity/
const egressSocket = "egress.sock"

// egress is the configuration that has the API do so.
func egress() object {
	return object{"apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration", "egressSelections": []object{{
		"name": "cluster", "connection": object{"proxyProtocol": "HTTPConnect", "transport": object{"uds": object{"udsName": egressSocket}}},
	}}}
}

// dialler connects to an address of the cluster's network.
type dialler func(ctx context.Context, address string) (net.Conn, error)

// dialWithin is how long a connection may take to be made.
const dialWithin = 30 * time.Second

// connect answers CONNECT with connections of a dialler.
func connect(dial dialler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "connections are made by CONNECT", http.StatusMethodNotAllowed)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), dialWithin)
		defer cancel()
		far, err := dial(ctx, r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = far.Close() }() // both directions are over
		near, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer func() { _ = near.Close() }() // both directions are over
		if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			return
		}
		join(buffered, near, far)
	})
}

// join passes bytes on until both directions are over. What there is of the near
// side comes by in.
func join(in io.Reader, near, far net.Conn) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		pass(far, in)
	}()
	pass(near, far)
	<-sent
}

// pass copies, and tells the other side of the end.
func pass(to net.Conn, from io.Reader) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok {
		_ = to.Close() // the copy said what there was to say
		return
	}
	_ = half.CloseWrite() // it may be closed
}

// serveEgress answers the API until the context ends.
func serveEgress(ctx context.Context, dial dialler) error {
	if err := os.Remove(egressSocket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", egressSocket)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: connect(dial), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() {
		_ = s.Close() // the API ends as well
	})
	go func() { _ = s.Serve(l) }() // it ends with the context
	return nil
}
