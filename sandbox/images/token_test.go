package images_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/sandbox"
)

// forged is a password with the data key or the payload changed.
func forged(t *testing.T, password string, change func(token map[string]any, payload []byte) []byte) string {
	t.Helper()
	var token map[string]any
	pair, err := base64.StdEncoding.DecodeString(password)
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(string(bytes.TrimPrefix(pair, []byte("AWS:"))))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &token); err != nil {
		t.Fatal(err)
	}
	payload, _ := token["payload"].(string)
	decoded, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	token["payload"] = base64.StdEncoding.EncodeToString(change(token, decoded))
	if text, err = json.Marshal(token); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString([]byte("AWS:" + base64.StdEncoding.EncodeToString(text)))
}

// Only the account makes tokens: one whose holder, date or proof was changed is
// none.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		w.image("app", "v1", "layer text")
		own := w.password
		time.Sleep(13 * time.Hour)
		same := func(_ map[string]any, payload []byte) []byte { return payload }
		replaced := func(from, to string) func(map[string]any, []byte) []byte {
			return func(_ map[string]any, payload []byte) []byte {
				if !bytes.Contains(payload, []byte(from)) {
					t.Fatalf("the payload %s has no %q", payload, from)
				}
				return bytes.Replace(payload, []byte(from), []byte(to), 1)
			}
		}
		for name, tt := range map[string]struct {
			password string
			status   int
		}{
			"expired":      {forged(t, own, same), http.StatusForbidden},
			"later date":   {forged(t, own, replaced(`"x":"20`, `"x":"21`)), http.StatusUnauthorized},
			"other holder": {forged(t, own, replaced("Administrator", "Somebodyelse1")), http.StatusUnauthorized},
			"no proof":     {forged(t, own, func(k map[string]any, p []byte) []byte { delete(k, "datakey"); return p }), http.StatusUnauthorized},
			"other user":   {base64.StdEncoding.EncodeToString([]byte("AWZ:x")), http.StatusUnauthorized},
		} {
			w.password = tt.password
			if got := w.ask(http.MethodGet, "/v2/app/manifests/v1", "").Code; got != tt.status {
				t.Errorf("%s: status %d, want %d", name, got, tt.status)
			}
		}
		w.login()
		w.wants(w.ask(http.MethodGet, "/v2/app/manifests/v1", ""), http.StatusOK)
	})
}
