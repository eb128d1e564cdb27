package cli_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// TestChartsInterrupted interrupts bundle build while it fetches the second of two charts,
// and then while it pulls an image after them: each time it says so once, what stays and
// how to go on, and the next run fetches what was not there.
func TestChartsInterrupted(t *testing.T) {
	t.Parallel()
	d := newDistribution(t, "first")
	var charts []string
	blobs := map[string]string{} // the paths of what is handed out, by what it is
	for _, name := range []string{"one", "two"} {
		files, err := samplebundle.Tar(map[string][]byte{name + "/Chart.yaml": fmt.Appendf(nil, "apiVersion: v2\nname: %s\nversion: 1.0.0\n", name)})
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, wrote := z.Write(files)
		if err := errors.Join(err, wrote, z.Close()); err != nil {
			t.Fatal(err)
		}
		blobs[name] = "/v2/charts/" + name + "/blobs/" + sumOf(packed.Bytes())
		d.stored[blobs[name]] = packed.Bytes()
		d.tag("/v2/charts/"+name+"/manifests/1.0.0", fmt.Appendf(nil, `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": %q, "size": 2}, "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": %q, "size": %d}]}`,
			sumOf([]byte("{}")), sumOf(packed.Bytes()), packed.Len()))
	}
	layer := bytes.Repeat([]byte("layer"), 1000)
	config := fmt.Appendf(nil, `{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [%q]}}`, sumOf(layer))
	blobs["layer"] = "/v2/acme/core/blobs/" + sumOf(layer)
	d.stored[blobs["layer"]] = layer
	d.stored["/v2/acme/core/blobs/"+sumOf(config)] = config
	d.tag("/v2/acme/core/manifests/v1", fmt.Appendf(nil, `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": %q, "size": %d}, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": %q, "size": %d}]}`,
		sumOf(config), len(config), sumOf(layer), len(layer)))
	var (
		mu   sync.Mutex
		held string // the path that is not handed out
		got  []string
		stop func()
	)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.Header.Get("Authorization") == "Bearer good" {
			mu.Lock()
			for name, path := range blobs {
				if r.URL.Path == path {
					got = append(got, name)
				}
			}
			holds, interrupt := r.URL.Path == held, stop
			mu.Unlock()
			if holds {
				interrupt()
				<-r.Context().Done()
				return
			}
		}
		d.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	host := strings.TrimPrefix(front.URL, "http://")
	for _, name := range []string{"one", "two"} {
		charts = append(charts, "--chart", "oci://"+host+"/charts/"+name+":1.0.0")
	}
	v := &victims{t: t, dir: t.TempDir()}
	auth := base64.StdEncoding.EncodeToString([]byte("user:first"))
	if err := os.WriteFile(filepath.Join(v.dir, "config.json"), fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, host, auth), 0o600); err != nil {
		t.Fatal(err)
	}
	v.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + v.dir, "DOCKER_CONFIG=" + v.dir}
	args := slices.Concat([]string{"bundle", "build", "acme.tar", "--name", "acme", "--version", "1"}, charts, []string{"--pull", host + "/acme/core:v1"})
	for _, c := range []struct{ held, asked, stays string }{
		{"two", "one two", "interrupted; no bundle is made, and charts that were fetched stay in acme.tar.charts"},
		{"layer", "two layer", "interrupted; no bundle is made, and what was pulled stays in acme.tar.pulled and acme.tar.charts"},
		{"", "layer", ""},
	} {
		cmd, o, e := v.command(nil, args...)
		mu.Lock()
		got, held = nil, blobs[c.held]
		send, run := signalled(cmd)
		stop = func() { send(os.Interrupt) }
		mu.Unlock()
		err := run()
		text := strings.Join(strings.Fields(e.String()), " ")
		mu.Lock()
		asked := strings.Join(got, " ")
		mu.Unlock()
		if asked != c.asked {
			t.Errorf("%s: asked for %s, not for %s", c.held, asked, c.asked)
		}
		if c.held == "" {
			if err != nil || !strings.Contains(o.String(), "made acme.tar: 2 charts, 1 image") {
				t.Errorf("in the end: %v\n%s%s", err, o, e)
			}
			continue
		}
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 || strings.Count(text, "interrupted") != 1 || strings.Contains(text, "failed") || strings.Contains(text, "canceled") {
			t.Errorf("%s: %v\n%s%s", c.held, err, o, e)
		}
		for _, want := range []string{"error: " + c.stays, "hint: it goes on where it stopped: poolhouse bundle build --chart oci://" + host + "/charts/one:1.0.0 "} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: it says nothing of %q:\n%s", c.held, want, text)
			}
		}
		if _, err := os.Stat(filepath.Join(v.dir, "acme.tar.charts", "one-1.0.0.tgz")); err != nil {
			t.Errorf("%s: %v", c.held, err)
		}
	}
	left, err := os.ReadDir(v.dir)
	if names := fmt.Sprint(left); err != nil || strings.Contains(names, "acme.tar.charts") || strings.Contains(names, "acme.tar.pulled") || strings.Contains(names, "acme.tar.lock") {
		t.Errorf("%s is left, %v", names, err)
	}
}
