package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

// serve runs a server, and returns where it is and how to end it.
func serve(t *testing.T, dir, address string) (string, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, served := make(chan string, 1), make(chan error, 1)
	go func() {
		served <- Serve(ctx, Options{Dir: dir, Address: address, Config: Config{Password: "word", Secret: "secret"}, Ready: func(a string) { ready <- a }})
	}()
	ended := false
	end := func() {
		if cancel(); !ended {
			ended = true
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	select {
	case a := <-ready:
		return a, end
	case err := <-served:
		ended = true
		t.Fatal(err)
		return "", nil
	}
}

func by(password string) crane.Option {
	return crane.WithAuth(&authn.Basic{Username: "poolhouse", Password: password})
}

// image is a random one, and its only layer's digest.
func image(t *testing.T) (v1.Image, string) {
	t.Helper()
	i, err := random.Image(10<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := i.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return i, d.String()
}

func sweepAt(t *testing.T, address string, keep ...string) int {
	t.Helper()
	body, err := json.Marshal(append([]string{}, keep...))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+SweepPath, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("poolhouse", "word")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct{ Swept int }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return out.Swept
}

// TestLayersOutlastTheServer pushes, ends the server and pulls from the next one
// at the same address; what is not to be kept is then swept.
func TestLayersOutlastTheServer(t *testing.T) {
	dir := t.TempDir()
	address, end := serve(t, dir, "")
	if swept := sweepAt(t, address); swept != 0 {
		t.Errorf("%d are swept of nothing", swept)
	}
	i, layer := image(t)
	name := address + "/" + Repository
	if err := crane.Push(i, name+":v1", by("word")); err != nil {
		t.Fatal(err)
	}
	if err := crane.Push(i, name+":v1", by("other")); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with another password: %v", err)
	}
	end()
	if again, _ := serve(t, dir, address); again != address {
		t.Errorf("it answers at %s, before at %s", again, address)
	}
	size := func() (int64, error) {
		l, err := crane.PullLayer(name+"@"+layer, by("word"))
		if err != nil {
			return 0, err
		}
		return l.Size()
	}
	if n, err := size(); err != nil || n == 0 {
		t.Errorf("the layer has %d bytes, %v", n, err)
	}
	// The image's configuration and manifest are blobs too.
	if swept := sweepAt(t, address, layer); swept != 2 {
		t.Errorf("%d are swept, not 2", swept)
	}
	if _, err := size(); err != nil {
		t.Errorf("what is kept is swept: %v", err)
	}
	if swept := sweepAt(t, address); swept != 1 {
		t.Errorf("%d are swept, not 1", swept)
	}
	if n, err := size(); err == nil {
		t.Errorf("what is swept has %d bytes", n)
	}
	if err := crane.Push(i, name+":v1", by("word")); err != nil {
		t.Errorf("what was swept can't come again: %v", err)
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "192.0.2.1:1", "localhost", ":0"} {
		err := Serve(t.Context(), Options{Dir: t.TempDir(), Address: address, Config: Config{Password: "a", Secret: "b"}, Ready: func(a string) { t.Errorf("it answers at %s", a) }})
		if want := fmt.Sprintf("%s is no loopback address with a port", address); err == nil || err.Error() != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// ask sends a request about an upload, with headers by name and value.
func ask(t *testing.T, method, path, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("poolhouse", "word")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp
}

// from is where an upload goes on after a request.
func from(t *testing.T, resp *http.Response) string {
	t.Helper()
	at, err := resp.Location()
	if err != nil {
		t.Fatal(resp.Status, err)
	}
	return at.String()
}

// TestLateRequest has a part that its client gave up reach the server after the
// next one: it must not take back what the next one brought.
func TestLateRequest(t *testing.T) {
	address, _ := serve(t, t.TempDir(), "")
	empty := from(t, ask(t, http.MethodPost, "http://"+address+"/v2/"+Repository+"/blobs/uploads/", ""))
	full := from(t, ask(t, http.MethodPatch, empty, "text", OffsetHeader, "0", TurnHeader, "2"))
	if resp := ask(t, http.MethodPatch, empty, "late", OffsetHeader, "0", TurnHeader, "1"); resp.StatusCode != http.StatusConflict {
		t.Errorf("a request that is late gets %s", resp.Status)
	}
	for _, turn := range []string{"", "0", "x"} {
		if resp := ask(t, http.MethodPatch, full, "x", OffsetHeader, "4", TurnHeader, turn); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("turn %q gets %s", turn, resp.Status)
		}
	}
	whole := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("text")))
	if resp := ask(t, http.MethodPut, full+"&digest="+whole, "", OffsetHeader, "4", TurnHeader, "3"); resp.StatusCode != http.StatusCreated {
		t.Errorf("the upload ends with %s", resp.Status)
	}
}

// TestRewoundUploadIsReadAgain has other bytes come after a part was taken back:
// the layer is what is there, not what was hashed of the part.
func TestRewoundUploadIsReadAgain(t *testing.T) {
	address, _ := serve(t, t.TempDir(), "")
	digest := func(text string) string { return fmt.Sprintf("&digest=sha256:%x", sha256.Sum256([]byte(text))) }
	empty := from(t, ask(t, http.MethodPost, "http://"+address+"/v2/"+Repository+"/blobs/uploads/", ""))
	four := from(t, ask(t, http.MethodPatch, empty, "text", OffsetHeader, "0", TurnHeader, "1"))
	ask(t, http.MethodPatch, empty, "other words", OffsetHeader, "0", TurnHeader, "2")
	five := from(t, ask(t, http.MethodPatch, four, "!", OffsetHeader, "4", TurnHeader, "3"))
	if resp := ask(t, http.MethodPut, five+digest("text!"), "", OffsetHeader, "5", TurnHeader, "4"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the digest of what isn't there gets %s", resp.Status)
	}
	if resp := ask(t, http.MethodPut, five+digest("othe!"), "", OffsetHeader, "5", TurnHeader, "5"); resp.StatusCode != http.StatusCreated {
		t.Errorf("the upload ends with %s", resp.Status)
	}
}
