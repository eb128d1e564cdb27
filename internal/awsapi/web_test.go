package awsapi_test

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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
	get(t, c.Web(time.Minute), s.URL)
	get(t, c.Watched().Web(time.Minute), s.URL)
}

// get asks for the protocol by which a server was reached.
func get(t *testing.T, c *http.Client, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || string(text) != "HTTP/1.1" {
		t.Errorf("%s, %v", text, err)
	}
}

// TestWebWithoutAccount needs nothing of the SDK's files: they may be broken.
func TestWebWithoutAccount(t *testing.T) {
	bare(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.WriteString(w, r.Proto); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	broken, authority := filepath.Join(dir, "config"), filepath.Join(dir, "authority.pem")
	for name, text := range map[string][]byte{
		broken: []byte("[default\nregion"), authority: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", broken)
	t.Setenv("AWS_PROFILE", "nobody")
	t.Setenv("AWS_CA_BUNDLE", authority)
	c, err := awsapi.Web(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	get(t, c, s.URL)
	for name, want := range map[string]string{broken: broken + " holds no certificate", filepath.Join(dir, "none"): "no such file"} {
		t.Setenv("AWS_CA_BUNDLE", name)
		if _, err := awsapi.Web(time.Minute); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
