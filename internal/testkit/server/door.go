package server

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Entry is a request that came through a door.
type Entry struct {
	Method string
	URL    *url.URL
	Header http.Header
	// Bytes are those of its body that the server was given, and Status is what the
	// server answered; 0 if no answer of it came.
	Bytes  int64
	Status int
}

// Moment is where in the course of a request a cut comes.
type Moment string

// The moments of a request. One without a body has nothing within.
const (
	Before Moment = "before" // the server gets nothing of it
	Within Moment = "within" // the server gets half of its body
	After  Moment = "after"  // the server has answered, and its client isn't told
)

// Cut says when a door cuts everything off.
type Cut struct {
	// N is the request's number, from 0, among those that Counts takes.
	N      int
	Counts func(*http.Request) bool
	At     Moment
	// Do is called when it comes to that, before the connection is closed.
	Do func()
	// Spare has nothing cut off: Do is called, and all goes on.
	Spare bool
}

// Door stands before a server, on a port of its own, and counts what goes in. It is
// safe for concurrent use.
type Door struct {
	// URL is where it is.
	URL string

	t    testing.TB
	next *httputil.ReverseProxy
	busy Busy
	// knocked is the path of a request that the door answers itself, and drop closes
	// all connections.
	knocked string
	drop    func()

	mu      sync.Mutex
	entries []*Entry
	cut     *Cut
	seen    int
	shut    bool
	// opening counts how often it was opened after it was shut. Connections of before
	// lead nowhere.
	opening int
}

// errCut is that a door is shut.
var errCut = errors.New("the connection is cut")

// NewDoor makes one before a server on HTTP, by its address. It goes with the test.
func NewDoor(t testing.TB, address string) *Door {
	t.Helper()
	d := &Door{t: t, knocked: "/" + rand.Text()}
	way := &http.Transport{MaxIdleConnsPerHost: 32}
	d.next = &httputil.ReverseProxy{
		Transport: way,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // which signatures are over
		},
		ModifyResponse: d.answered,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // the server closes the connection
		},
	}
	s := httptest.NewUnstartedServer(d)
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		d.mu.Lock()
		defer d.mu.Unlock()
		return context.WithValue(ctx, opening{}, d.opening)
	}
	s.Start()
	d.URL, d.drop = s.URL, s.CloseClientConnections
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		way.CloseIdleConnections()
	})
	return d
}

// CutOff has the door cut everything off at a moment, once. What comes later is not let
// in, until [Door.Take].
func (d *Door) CutOff(c Cut) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut, d.seen = &c, 0
}

// Take waits until nobody is in the door and the server has answered what came to it
// whole, opens the door again, and returns what came since it was last called. Whoever is
// cut off has to be gone, or to go by itself.
func (d *Door) Take() []Entry {
	d.t.Helper()
	d.mu.Lock()
	shut := d.shut
	d.mu.Unlock()
	if shut {
		d.knock()
	}
	d.busy.Wait()
	if shut {
		// A request of who is gone may be on its way through the connection still.
		d.mu.Lock()
		d.opening++
		d.mu.Unlock()
		d.drop()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Entry
	for _, e := range d.entries {
		out = append(out, *e)
	}
	d.entries, d.cut, d.shut = nil, nil, false
	return out
}

// Part has nobody let in any more who came before, though the door was never shut, and
// waits until nobody is in it. Whoever came before has to be gone.
func (d *Door) Part() {
	d.t.Helper()
	d.knock()
	d.mu.Lock()
	d.opening++
	d.mu.Unlock()
	d.drop()
	d.busy.Wait()
}

// opening is what a connection's context has the opening by of which it is.
type opening struct{}

// knock returns once all connections are accepted that were made before: they are, in
// that order.
func (d *Door) knock() {
	d.t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(d.URL + d.knocked)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
		d.t.Fatalf("knock: %s, %v", resp.Status, err)
	}
}

// entering is a request on its way through.
type entering struct {
	io.ReadCloser
	d *Door
	e *Entry
	// size is the body's, and left how much of it goes in before everything is cut off;
	// negative for all of it.
	size, left int64
	late       bool // it is cut off after the answer
}

// key is what a request's context has its entering by.
type key struct{}

// ServeHTTP implements [http.Handler].
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == d.knocked {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	d.mu.Lock()
	if d.shut || r.Context().Value(opening{}) != d.opening {
		d.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	defer d.busy.Begin()()
	in := &entering{ReadCloser: r.Body, d: d, e: &Entry{Method: r.Method, URL: r.URL, Header: r.Header.Clone()}, size: r.ContentLength, left: -1}
	d.entries = append(d.entries, in.e)
	now := false
	if c := d.cut; c != nil && c.Counts(r) {
		now = d.seen == c.N
		d.seen++
	}
	moment := Moment("")
	if now {
		if moment = d.cut.At; moment == Within && r.ContentLength <= 0 {
			moment = Before
		}
	}
	d.mu.Unlock()
	switch moment {
	case Before:
		if d.close() {
			panic(http.ErrAbortHandler)
		}
	case Within:
		in.left = r.ContentLength / 2
	case After:
		in.late = true
	}
	// What has come whole, the server works at, though its client is gone.
	ctx, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(r.Context()), key{}, in))
	defer cancel()
	r = r.WithContext(ctx)
	if r.ContentLength != 0 {
		r.Body = in
	}
	d.next.ServeHTTP(w, r)
}

// close cuts everything off, and tells whether it has.
func (d *Door) close() bool {
	d.mu.Lock()
	c := d.cut
	d.shut = !c.Spare
	d.mu.Unlock()
	c.Do()
	return !c.Spare
}

// Read implements [io.Reader].
func (in *entering) Read(p []byte) (int, error) {
	if in.left == 0 {
		in.left = -1
		if in.d.close() {
			return 0, errCut
		}
	}
	if in.left > 0 && int64(len(p)) > in.left {
		p = p[:in.left]
	}
	in.d.mu.Lock()
	all := in.e.Bytes == in.size
	in.d.mu.Unlock()
	if all {
		// The way to the server looks for the end once more, perhaps when the answer is
		// passed on already, which closes the body: it would take that for an error.
		return 0, io.EOF
	}
	n, err := in.ReadCloser.Read(p)
	if in.left > 0 {
		in.left -= int64(n)
	}
	in.d.mu.Lock()
	defer in.d.mu.Unlock()
	in.e.Bytes += int64(n)
	return n, err
}

// answered notes what the server answers. Nobody is told who is cut off.
func (d *Door) answered(resp *http.Response) error {
	in, _ := resp.Request.Context().Value(key{}).(*entering)
	d.mu.Lock()
	in.e.Status = resp.StatusCode
	shut := d.shut
	d.mu.Unlock()
	if in.late && d.close() || shut {
		return errCut
	}
	return nil
}
