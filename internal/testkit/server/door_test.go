package server_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/poolhouse/poolhouse/internal/testkit/server"
)

// A door counts what the server is given, and cuts off at each moment of a request: that
// one and all that come later, until it is looked at.
func TestDoor(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	var (
		mu  sync.Mutex
		got []int // of each request that came whole or in part
	)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		got = append(got, len(body))
		mu.Unlock()
		if err == nil {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(behind.Close)
	d := server.NewDoor(t, strings.TrimPrefix(behind.URL, "http://"))
	put := func() error {
		req, err := http.NewRequest(http.MethodPut, d.URL+"/a?b=c", bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	for at, want := range map[server.Moment]struct {
		bytes  int64
		status int
	}{server.Before: {0, 0}, server.Within: {size / 2, 0}, server.After: {size, http.StatusAccepted}} {
		for _, spare := range []bool{true, false} {
			done := 0
			d.CutOff(server.Cut{N: 1, Counts: func(r *http.Request) bool { return r.Method == http.MethodPut }, At: at, Do: func() { done++ }, Spare: spare})
			for n, cut := range []bool{false, !spare, !spare} {
				if err := put(); (err != nil) != cut {
					t.Errorf("%s, request %d: %v", at, n, err)
				}
			}
			entries := d.Take()
			want := want
			if spare {
				want.bytes, want.status = size, http.StatusAccepted
			}
			if done != 1 || len(entries) < 2 || entries[0].Bytes != size || entries[0].Status != http.StatusAccepted || entries[1].Bytes != want.bytes || entries[1].Status != want.status || entries[1].URL.Path != "/a" {
				t.Errorf("%s: done %d times: %+v", at, done, entries)
			}
		}
		if err := put(); err != nil || len(d.Take()) != 1 {
			t.Errorf("%s: the door stays shut: %v", at, err)
		}
	}
	// What somebody left on the way before the door was opened again is let in by nobody.
	left, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	d.CutOff(server.Cut{Counts: func(*http.Request) bool { return true }, At: server.Before, Do: func() {}})
	if err := put(); err == nil {
		t.Error("the door isn't shut")
	}
	d.Take()
	_, _ = io.WriteString(left, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
	if text, _ := io.ReadAll(left); len(text) > 0 {
		t.Errorf("who came before is answered %q", text)
	}
	if entries := d.Take(); len(entries) > 0 {
		t.Errorf("who came before is let in: %+v", entries)
	}
	// And nobody who came before those parted that are there.
	if left, err = net.Dial("tcp", strings.TrimPrefix(d.URL, "http://")); err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	d.Part()
	_, _ = io.WriteString(left, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
	if text, _ := io.ReadAll(left); len(text) > 0 {
		t.Errorf("who came before is answered %q", text)
	}
	if err := put(); err != nil {
		t.Errorf("who comes after is not let in: %v", err)
	}
	if entries := d.Take(); len(entries) != 1 {
		t.Errorf("who came before is let in: %+v", entries)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, n := range got {
		if n != size && n > size/2 {
			t.Errorf("the server got %d bytes", n)
		}
	}
}
