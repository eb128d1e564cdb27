package registry_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/images/registry"
)

// Credentials are found as docker finds them: in its file, and by the programs that
// are named there. What it says of one registry is told to no other.
func TestDocker(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	helper := `#!/bin/sh
read host
case "$host" in
helped.example.com) echo '{"Username": "helped", "Secret": "s3cret"}' ;;
token.example.com) echo '{"Username": "<token>", "Secret": "identity"}' ;;
broken.example.com) echo "s3cret, and no JSON" ;;
failing.example.com) echo "s3cret"; exit 1 ;;
*) echo "credentials not found in native keychain"; exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	pair := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	config := fmt.Sprintf(`{
	"auths": {
		"registry.example.com": {"auth": %q},
		"plain.example.com:5000": {"username": "plain", "password": "pass:word"},
		"https://schemed.example.com/": {"auth": %q},
		"identity.example.com": {"auth": %q, "identitytoken": "identity"},
		"https://index.docker.io/v1/": {"auth": %q},
		"spoilt.example.com": {"auth": "not base64"}
	},
	"credHelpers": {"helped.example.com": "test", "broken.example.com": "test", "failing.example.com": "test", "bad.example.com": "../sh"},
	"credsStore": "test"
}`, pair("user:pass:word"), pair("schemed:word"), pair("00000000-0000-0000-0000-000000000000:"), pair("hub:word"))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]registry.Credentials{
		"registry.example.com":      {User: "user", Password: "pass:word"},
		"registry.example.com:5000": {},
		"example.com":               {},
		"sub.registry.example.com":  {},
		"plain.example.com:5000":    {User: "plain", Password: "pass:word"},
		"plain.example.com":         {},
		"schemed.example.com":       {User: "schemed", Password: "word"},
		"identity.example.com":      {User: "00000000-0000-0000-0000-000000000000", Identity: "identity"},
		"registry-1.docker.io":      {User: "hub", Password: "word"},
		"helped.example.com":        {User: "helped", Password: "s3cret"},
		"token.example.com":         {Identity: "identity"},
		"evil-docker.io":            {},
	} {
		got, err := registry.Docker(host)(t.Context(), false)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", host, got, err, want)
		}
	}
	for host, want := range map[string]string{
		"spoilt.example.com":  "spoilt.example.com",
		"broken.example.com":  "docker-credential-test",
		"failing.example.com": "docker-credential-test",
		"bad.example.com":     "no name of a credential helper",
	} {
		if _, err := registry.Docker(host)(t.Context(), false); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error is %v", host, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Docker("registry.example.com")(t.Context(), false); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("a broken file: %v", err)
	}
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, "none"))
	if got, err := registry.Docker("registry.example.com")(t.Context(), false); err != nil || got != (registry.Credentials{}) {
		t.Errorf("without a file: %+v, %v", got, err)
	}
}

// A token service is asked with the credentials of its registry, and only by TLS: for
// each scope once while its token is good, and again when the registry refuses it.
// With an identity token it is asked by a form.
func TestTokens(t *testing.T) {
	t.Parallel()
	for _, who := range []registry.Credentials{{User: "user", Password: "password"}, {Identity: "identity"}, {}} {
		granted := 0
		h := &hosts{}
		h.by = map[string]http.HandlerFunc{
			"registry.example.com": func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", granted) {
					w.Header().Set("Www-Authenticate", `Bearer realm="https://tokens.example.com/token?a=b",service="registry.example.com",scope="ignored"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
			},
			"tokens.example.com": func(w http.ResponseWriter, r *http.Request) {
				granted++
				if q := r.URL.Query(); who.Identity == "" && (q.Get("a") != "b" || q.Get("service") != "registry.example.com" || q.Get("scope") != "repository:core:pull,push") {
					t.Errorf("the token service was asked for %q", r.URL.RawQuery)
				}
				fmt.Fprintf(w, `{"access_token": "token-%d", "expires_in": 3600}`, granted)
			},
		}
		c := h.client(who)
		for range 3 {
			if is, err := c.Layer(t.Context(), "core", digest, 0); err != nil || !is {
				t.Fatal(is, err)
			}
		}
		if granted != 1 {
			t.Errorf("%+v: %d tokens were asked for", who, granted)
		}
		granted++ // the registry knows the token no more
		if is, err := c.Layer(t.Context(), "core", digest, 0); err != nil || !is {
			t.Errorf("after the token was refused: %v, %v", is, err)
		}
		for _, came := range h.came {
			secret := strings.Contains(came, "Basic ") || strings.Contains(came, "refresh_token=identity")
			if host, _, _ := strings.Cut(came, " "); secret && host != "tokens.example.com" || host == "tokens.example.com" && secret != (who != registry.Credentials{}) {
				t.Errorf("%+v: there came %q", who, came)
			}
		}
	}
}

// Credentials go nowhere without TLS, whatever the registry says of its realm; nor
// do they if a registry of this machine names one elsewhere.
func TestRealmWithoutTLS(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"registry.example.com", "127.0.0.1:5000", "localhost:5000", "127.0.0.1.example.com"} {
		for _, realm := range []string{"http://tokens.example.com/token", "http://127.0.0.1.example.com/token", "tokens.example.com/token", "ftp://tokens.example.com/", "://", ""} {
			h := &hosts{by: map[string]http.HandlerFunc{host: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="s"`, realm))
				w.WriteHeader(http.StatusUnauthorized)
			}}}
			c := h.clientOf(host, registry.Credentials{User: "user", Password: "password"})
			if _, err := c.Layer(t.Context(), "core", digest, 0); err == nil || !strings.Contains(err.Error(), "no token service with TLS") {
				t.Errorf("%s, %s: the error is %v", host, realm, err)
			}
			if len(h.came) != 1 || strings.Contains(h.came[0], "Basic") {
				t.Errorf("%s, %s: there came %q", host, realm, h.came)
			}
		}
	}
}
