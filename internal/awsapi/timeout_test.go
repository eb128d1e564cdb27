package awsapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A service that takes a request and never answers is given up after a while,
// so that the call is repeated.
func TestServiceThatNeverAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := Options{}.client().GetTransport()
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			mine, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			return mine, nil
		}
		start := time.Now()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://silent.invalid", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
			t.Error("there is an answer")
		}
		if took := time.Since(start); took != answerTime {
			t.Errorf("given up after %v, want %v", took, answerTime)
		}
	})
}
