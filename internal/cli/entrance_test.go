package cli_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/internal/cli"
)

func TestFaultsOfTargets(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), []string{
		"sandbox", "--listen", "127.0.0.1:0", "--target", "10.0.0.1:8443=10.0.0.2:1", "--target", "web=127.0.0.1:1", "--from", "home", "--without", "s4",
	}, cli.Streams{Out: &out, Err: &errs})
	if code != cli.Usage {
		t.Errorf("exit code %d, want %d", code, cli.Usage)
	}
	for _, want := range []string{"--target 10.0.0.1:8443=10.0.0.2:1 is not", "--target web=127.0.0.1:1 is not", "--from home is no IP address", "--without s4 is none of: ecr, kubernetes, oidc, postgres, s3"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q says nothing of %q", errs.String(), want)
		}
	}
}

// TestSandboxIsEnteredByNames asks AWS by one of its own names.
func TestSandboxIsEnteredByNames(t *testing.T) {
	t.Parallel()
	out, errs := watch("\n}\n"), watch("")
	r := command(t, cli.Streams{Out: out, Err: errs}, "sandbox", "--without", "s3,ecr", "--listen", "127.0.0.1:0", "-o", "json")
	r.until(t, out.seen, "the sandbox", errs)
	var e struct{ Proxy, Names, CA string }
	if err := json.Unmarshal([]byte(out.String()), &e); err != nil {
		t.Fatal(err)
	}
	read := func(c *http.Client, url string) string {
		t.Helper()
		resp, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(read(http.DefaultClient, e.CA))) {
		t.Fatalf("%s has no certificate", e.CA)
	}
	proxy, err := url.Parse(e.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	if got := read(&http.Client{Transport: transport}, "https://sts.us-east-1.amazonaws.com/"); !strings.Contains(got, "<Error") {
		t.Errorf("STS answers %q", got)
	}
}
