package registry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// hosts answer by name, without a network, and take down what came.
type hosts struct {
	by map[string]http.HandlerFunc

	mu   sync.Mutex
	came []string // host, method, path, and who calls
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	h.mu.Lock()
	h.came = append(h.came, strings.Join([]string{r.URL.Host, r.Method, r.URL.Path, r.Header.Get("Authorization"), body}, " "))
	h.mu.Unlock()
	out := httptest.NewRecorder()
	h.by[r.URL.Host](out, r)
	resp := out.Result()
	resp.Request = r
	return resp, nil
}

func (h *hosts) client(who registry.Credentials) *registry.Client {
	return h.clientOf("registry.example.com", who)
}

func (h *hosts) clientOf(host string, who registry.Credentials) *registry.Client {
	return registry.New(host, &http.Client{Transport: h}, clock.Real{}, func(context.Context, bool) (registry.Credentials, error) { return who, nil })
}

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// A host that the registry leads to asks for credentials, and gets none: not of the
// registry's user, not of its token service, and not where it says that they go.
func TestForeignHostGetsNoCredentials(t *testing.T) {
	t.Parallel()
	asks := func(challenge string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Www-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	for _, who := range []registry.Credentials{{User: "user", Password: "password"}, {Identity: "identity"}} {
		for name, challenge := range map[string]string{
			"bearer": `Bearer realm="https://thief.example.com/token",service="registry.example.com"`,
			"basic":  `Basic realm="here"`,
		} {
			h := &hosts{by: map[string]http.HandlerFunc{
				"registry.example.com": func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.Method == http.MethodGet:
						http.Redirect(w, r, "https://storage.example.com/blob", http.StatusTemporaryRedirect)
					default:
						w.Header().Set("Location", "https://storage.example.com/upload")
						w.WriteHeader(http.StatusAccepted)
					}
				},
				"storage.example.com": asks(challenge),
				"thief.example.com": func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(w, `{"token": "stolen"}`)
				},
			}}
			c := h.client(who)
			if _, err := c.Fetch(t.Context(), "core", digest); !registry.IsDenied(err) {
				t.Errorf("%s: a layer behind the host: %v", name, err)
			}
			u, err := c.Begin(t.Context(), "core", digest, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Send(t.Context(), u, 1, strings.NewReader("x")); !registry.IsDenied(err) {
				t.Errorf("%s: an upload to the host: %v", name, err)
			}
			for _, came := range h.came {
				if strings.HasPrefix(came, "thief.") || strings.Contains(came, "Basic ") || strings.Contains(came, "Bearer ") || strings.Contains(came, "identity") {
					t.Errorf("%s: there came %q", name, came)
				}
			}
			if len(h.came) < 4 {
				t.Errorf("%s: there came only %q", name, h.came)
			}
		}
	}
}

// A token service that leads elsewhere is not followed.
func TestTokenServiceIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, who := range []registry.Credentials{{User: "user", Password: "password"}, {Identity: "identity"}} {
		h := &hosts{by: map[string]http.HandlerFunc{
			"registry.example.com": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Www-Authenticate", `Bearer realm="https://tokens.example.com/token",service="registry.example.com"`)
				w.WriteHeader(http.StatusUnauthorized)
			},
			"tokens.example.com": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://thief.example.com/token", http.StatusTemporaryRedirect)
			},
			"thief.example.com": func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"token": "stolen"}`)
			},
		}}
		if _, err := h.client(who).Layer(t.Context(), "core", digest, 0); err == nil || !strings.Contains(err.Error(), "307") {
			t.Errorf("the error is %v", err)
		}
		asked := false
		for _, came := range h.came {
			asked = asked || strings.HasPrefix(came, "tokens.")
			if strings.HasPrefix(came, "thief.") {
				t.Errorf("there came %q", came)
			}
		}
		if !asked {
			t.Errorf("the token service was not asked: %q", h.came)
		}
	}
}

// What writes asks the guard first, each time, and is not sent if it says no. What
// reads doesn't ask.
func TestGuard(t *testing.T) {
	t.Parallel()
	h := &hosts{by: map[string]http.HandlerFunc{"registry.example.com": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/upload")
		w.Header().Set("Docker-Content-Digest", digest)
		w.WriteHeader(map[string]int{http.MethodPost: http.StatusAccepted, http.MethodPatch: http.StatusAccepted, http.MethodPut: http.StatusCreated, http.MethodHead: http.StatusOK, http.MethodGet: http.StatusOK}[r.Method])
	}}}
	c := h.client(registry.Credentials{})
	lost := errors.New("the lease is lost")
	var after int
	c.Guard = func(context.Context) error {
		if after--; after < 0 {
			return lost
		}
		return nil
	}
	push := func() error {
		u, err := c.Begin(t.Context(), "core", digest, "")
		if err != nil {
			return err
		}
		if err := c.Send(t.Context(), u, 1, strings.NewReader("x")); err != nil {
			return err
		}
		return c.Put(t.Context(), "core", "v1", registry.Manifest{Digest: digest})
	}
	// The registry has a layer and a manifest that a look finds, so what was refused
	// at the end may be there; before that it is an error.
	for n := range 2 {
		after, h.came = n, nil
		if err := push(); !errors.Is(err, lost) || registry.IsTransient(err) || len(h.came) != n {
			t.Errorf("after %d: %v, and there came %q", n, err, h.came)
		}
	}
	after, h.came = 4, nil
	if err := push(); err != nil || len(h.came) != 4 {
		t.Errorf("%v, and there came %q", err, h.came)
	}
	after, h.came = 2, nil
	_ = push()
	for _, came := range h.came[2:] {
		if !strings.Contains(came, " HEAD ") {
			t.Errorf("after the guard said no there came %q", came)
		}
	}
	if there, err := c.Layer(t.Context(), "core", digest, 0); err != nil || !there {
		t.Errorf("reading: %v, %v", there, err)
	}
}

// What isn't trusted, and a redirection that leads on and on, is not tried again.
func TestFinal(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // that its client ends the handshake
	s.StartTLS()
	defer s.Close()
	c := registry.New("example.com", &http.Client{Transport: through{s}}, clock.Real{}, nil)
	if _, err := c.Layer(t.Context(), "core", digest, 0); err == nil || registry.IsTransient(err) || !strings.Contains(err.Error(), "AWS_CA_BUNDLE") {
		t.Errorf("an unknown authority: %v", err)
	}
	h := &hosts{by: map[string]http.HandlerFunc{"registry.example.com": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	}}}
	if _, err := h.client(registry.Credentials{}).Layer(t.Context(), "core", digest, 0); err == nil || registry.IsTransient(err) || len(h.came) != 5 {
		t.Errorf("around and around: %v after %d", err, len(h.came))
	}
}

// through leads every host to a server whose authority nobody knows.
type through struct{ *httptest.Server }

func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = t.Listener.Addr().String()
	return http.DefaultTransport.RoundTrip(r)
}
