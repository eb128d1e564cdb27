package rows

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// TestRelay has clients come to servers by a relay: what servers say is late by as
// much as it should be, connections end with the relay or with what stands behind
// it, and one that is as it was stays.
func TestRelay(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				lines := bufio.NewScanner(conn)
				for lines.Scan() && lines.Text() != "end" {
					if _, err := fmt.Fprintf(conn, "%s it is\n", lines.Text()); err != nil {
						break
					}
				}
				_ = conn.Close()
			})
		}
	})
	defer serving.Wait()
	defer server.Close()
	// Ports of this address are nobody else's, so one that was free stays so.
	free, err := net.Listen("tcp", "127.77.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(free.Addr().String())
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	var late []string
	d := &Databases{relays: map[string]*relay{}, told: map[string]bool{}, opts: Options{
		Report: func(err error) { t.Error(err) },
		Lag: func(_ context.Context, instance string, bytes int, begin bool) error {
			mu.Lock()
			defer mu.Unlock()
			late = append(late, fmt.Sprint(instance, " ", bytes, " ", begin))
			return nil
		},
	}}
	want := func() map[string]*relay {
		return map[string]*relay{"endpoint": {instance: "db", at: at, to: netip.MustParseAddrPort(server.Addr().String())}}
	}
	dial := func() (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	ask := func(conn net.Conn, said *bufio.Reader, text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text+"\n"); err != nil {
			t.Error(err)
		}
		if got, err := said.ReadString('\n'); err != nil || got != text+" it is\n" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	ends := func(said *bufio.Reader) {
		t.Helper()
		if text, err := io.ReadAll(said); len(text) > 0 || errors.Is(err, net.ErrClosed) {
			t.Errorf("it goes on: %q, %v", text, err)
		}
	}

	d.open(want())
	conn, said := dial()
	defer conn.Close()
	ask(conn, said, "late")
	d.close(want())
	d.open(want())
	ask(conn, said, "later")
	if got := fmt.Sprint(late); got != "[db 11 true db 12 true]" {
		t.Errorf("late was %s", got)
	}
	if _, err := io.WriteString(conn, "end\n"); err != nil {
		t.Error(err)
	}
	ends(said)

	other, said := dial()
	defer other.Close()
	ask(other, said, "open")
	d.close(nil)
	ends(said)
	if conn, err := net.Dial("tcp", at.String()); err == nil {
		_ = conn.Close()
		t.Error("a relay that was closed answers")
	}
}

// TestRelayAcceptsAgain: a relay that can't accept a connection says so, and accepts
// the next one.
func TestRelayAcceptsAgain(t *testing.T) {
	t.Parallel()
	var at [2]net.Listener
	for i := range at {
		var err error
		if at[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		defer at[i].Close()
	}
	full := errors.New("too many open files")
	r := &relay{instance: "db", to: netip.MustParseAddrPort(at[1].Addr().String()), listener: &failing{at[0], []error{full}}}
	failed := make(chan error, 1)
	ctx, end := context.WithCancel(t.Context())
	r.carries.Go(func() {
		r.accept(ctx, func(context.Context, string, int, bool) error { return nil }, func(err error) { failed <- err })
	})
	if err := <-failed; !errors.Is(err, full) {
		t.Errorf("it says %v", err)
	}
	client, err := net.Dial("tcp", at[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := at[1].Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	end()
	_ = at[0].Close() // it only listens
	r.carries.Wait()
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
