package awsapi_test

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// TestWeb reaches a host that speaks HTTP/2 too, with an authority of the options:
// by HTTP/1.1, so that uploads side by side have connections of their own.
func TestWeb(t *testing.T) {
	bare(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("it is signed")
		}
		if _, err := io.WriteString(w, r.Proto); err != nil {
			t.Error(err)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := awsapi.New(t.Context(), awsapi.Options{
		Region: "us-east-1", Endpoint: s.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})),
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Web(time.Minute).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || string(text) != "HTTP/1.1" {
		t.Errorf("%s, %v", text, err)
	}
}
