package controlplane

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestAway: a control plane that isn't there is away, one that takes a call and
// doesn't answer isn't.
func TestAway(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	// Ports of this address are nobody else's, so one that was left stays so.
	l, err := net.Listen("tcp", "127.77.1.2:0")
	if err := errors.Join(err, s.Listener.Close()); err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	s.Start()
	defer s.Close()
	call := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := direct.Do(req)
		if err == nil {
			_ = res.Body.Close() // it is none of interest
		}
		return err
	}
	if err := call(); err == nil || away(err) {
		t.Errorf("a call that isn't answered: %v, away %v", err, away(err))
	}
	s.Close()
	if err := call(); !away(err) {
		t.Errorf("nobody is there: %v", err)
	}
	if away(nil) {
		t.Error("who answers is away")
	}
}
