package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

// TestForward passes connections on, tells of those that the route has no answer
// for, and ends with its context, whatever is open.
func TestForward(t *testing.T) {
	t.Parallel()
	echo := func(c net.Conn) {
		_, _ = io.Copy(c, c)
		_ = c.Close()
	}
	lost := errors.New("no way")
	dials := make(chan error, 2)
	r := &Route{dial: func(context.Context) (net.Conn, error) {
		if err := <-dials; err != nil {
			return nil, err
		}
		mine, theirs := net.Pipe()
		go echo(theirs)
		return mine, nil
	}}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	told, ended := make(chan error, 1), make(chan error, 1)
	full := errors.New("too many open files")
	go func() { ended <- r.Forward(ctx, &failing{l, []error{full, full}}, func(err error) { told <- err }) }()
	if err := <-told; !errors.Is(err, full) {
		t.Errorf("told %v", err)
	}
	open := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	dials <- nil
	c := open()
	defer c.Close()
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	dials <- lost
	second := open()
	defer second.Close()
	if err := <-told; !errors.Is(err, lost) {
		t.Errorf("told %v", err)
	}
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a connection without a route is open")
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection is open after the end")
	}
}

// failing is a listener that first fails.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.Listener.Accept()
}
