package registry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/images/registry"
)

// A registry that leads whoever is not signed in to a page has nothing, and stores
// nothing, though the page is answered with 200.
func TestPageIsNoAnswer(t *testing.T) {
	t.Parallel()
	const page = "<html>Sign in</html>"
	signIn := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	}
	for name, to := range map[string]string{"of another host": "https://sign-in.example.com/", "of its own": "/sign-in"} {
		for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect} {
			// Writes are led there, or what is asked for is; the other is answered.
			for _, leads := range []bool{true, false} {
				h := &hosts{by: map[string]http.HandlerFunc{
					"registry.example.com": func(w http.ResponseWriter, r *http.Request) {
						reads := r.Method == http.MethodGet || r.Method == http.MethodHead
						switch {
						case r.URL.Path == "/sign-in":
							signIn(w, r)
						case reads || leads:
							http.Redirect(w, r, to, status)
						default:
							w.Header().Set("Location", "/upload")
							w.WriteHeader(http.StatusAccepted)
						}
					},
					"sign-in.example.com": signIn,
				}}
				c := h.client(registry.Credentials{})
				if is, err := c.Layer(t.Context(), "core", digest, int64(len(page))+1); err != nil || is {
					t.Errorf("%d to a page %s: the layer is there: %v, %v", status, name, is, err)
				}
				if !leads {
					continue
				}
				_, err := c.Begin(t.Context(), "core", digest, "")
				refused(t, "begin a layer", status, err)
				refused(t, "put a manifest", status, c.Put(t.Context(), "core", "v1", registry.Manifest{Digest: digest, Text: []byte("{}")}))
			}
		}
	}
}

// An upload that is led to a page while it is sent, or when it is completed, has stored
// nothing.
func TestUploadIsLedToPage(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		h := &hosts{by: map[string]http.HandlerFunc{
			"registry.example.com": func(w http.ResponseWriter, r *http.Request) {
				switch r.Method {
				case method, http.MethodHead:
					http.Redirect(w, r, "https://sign-in.example.com/", http.StatusFound)
				default:
					w.Header().Set("Location", "/upload")
					w.WriteHeader(http.StatusAccepted)
				}
			},
			"sign-in.example.com": func(http.ResponseWriter, *http.Request) {},
		}}
		c := h.client(registry.Credentials{})
		u, err := c.Begin(t.Context(), "core", digest, "")
		if err != nil {
			t.Fatal(err)
		}
		refused(t, "send a layer by "+method, http.StatusFound, c.Send(t.Context(), u, 1, strings.NewReader("x")))
	}
}

func refused(t *testing.T, what string, status int, err error) {
	t.Helper()
	if e, is := errors.AsType[*registry.Error](err); !is || e.Status != status || registry.IsTransient(err) {
		t.Errorf("%s: %v", what, err)
	}
}

// A registry that keeps its layers elsewhere, and leads there, has those of their size.
func TestLayerIsElsewhere(t *testing.T) {
	t.Parallel()
	h := &hosts{by: map[string]http.HandlerFunc{
		"registry.example.com": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://storage.example.com/blob", http.StatusTemporaryRedirect)
		},
		"storage.example.com": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "7") },
	}}
	for size, want := range map[int64]bool{7: true, 8: false} {
		if is, err := h.client(registry.Credentials{}).Layer(t.Context(), "core", digest, size); err != nil || is != want {
			t.Errorf("%d bytes: %v, %v", size, is, err)
		}
	}
}
