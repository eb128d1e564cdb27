package registry_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// trickle is a body that gives a byte each minute, for ever.
type trickle struct{ r *http.Request }

func (t trickle) Read(p []byte) (int, error) {
	select {
	case <-t.r.Context().Done():
		return 0, t.r.Context().Err()
	case <-time.After(time.Minute):
		p[0] = ' '
		return 1, nil
	}
}

// TestTokenService has a token service stand still, trickle and answer without end.
func TestTokenService(t *testing.T) {
	t.Parallel()
	const token = `{"token": "secret"}`
	for name, tt := range map[string]struct {
		answer func(r *http.Request) (*http.Response, error)
		// passes says that it answers well the second time.
		passes bool
		want   string
		took   time.Duration // without pauses
	}{
		"no answer":             {func(r *http.Request) (*http.Response, error) { return nil, still(r) }, false, "log in to registry.example.com: the connection stands still", 7 * time.Minute},
		"in an answer":          {func(r *http.Request) (*http.Response, error) { return say(r, http.StatusOK, hanging{r}), nil }, false, "stands still", 7 * 2 * time.Minute},
		"by a byte each minute": {func(r *http.Request) (*http.Response, error) { return say(r, http.StatusOK, trickle{r}), nil }, false, "stands still", 7 * 2 * time.Minute},
		"in a refusal":          {func(r *http.Request) (*http.Response, error) { return say(r, http.StatusForbidden, trickle{r}), nil }, false, "answers 403", 2 * time.Minute},
		"an answer without end": {func(r *http.Request) (*http.Response, error) { return say(r, http.StatusOK, endless{}), nil }, false, "answers with more than 1048576 bytes", 0},
		"no token": {func(r *http.Request) (*http.Response, error) {
			return say(r, http.StatusOK, strings.NewReader("{}")), nil
		}, false, "answers with no token", 0},
		"no answer once": {func(r *http.Request) (*http.Response, error) { return nil, still(r) }, true, "", time.Minute},
		"broken in an answer once": {func(r *http.Request) (*http.Response, error) {
			return say(r, http.StatusOK, io.MultiReader(strings.NewReader(token[:5]), cutOff{})), nil
		}, true, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				web := &http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
					if r.URL.Host == "tokens.example.com" {
						if asked++; tt.passes && asked > 1 {
							return say(r, http.StatusOK, strings.NewReader(token)), nil
						}
						return tt.answer(r)
					}
					if r.Header.Get("Authorization") == "Bearer secret" {
						return say(r, http.StatusOK, http.NoBody), nil
					}
					resp := say(r, http.StatusUnauthorized, http.NoBody)
					resp.Header.Set("Www-Authenticate", `Bearer realm="https://tokens.example.com/token",service="registry.example.com"`)
					return resp, nil
				})}
				c := registry.New("registry.example.com", web, clock.Real{}, func(context.Context, bool) (registry.Credentials, error) { return registry.Credentials{}, nil })
				began := time.Now()
				_, err := c.Layer(t.Context(), "core", digest, 0)
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				// All pauses together are a minute and a half.
				if took := time.Since(began); took < tt.took || took > tt.took+2*time.Minute {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// cutOff is a connection that breaks.
type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
