package cli_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPullCommand makes bundles of an image that a registry has, with the credentials of
// docker's file. An interrupt is said once, and the same command goes on after it.
func TestPullCommand(t *testing.T) {
	t.Parallel()
	d := newDistribution(t, "first")
	layer := bytes.Repeat([]byte("layer"), 1000)
	config := fmt.Appendf(nil, `{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [%q]}}`, sumOf(layer))
	manifest := fmt.Appendf(nil, `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": %q, "size": %d}, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": %q, "size": %d}]}`,
		sumOf(config), len(config), sumOf(layer), len(layer))
	blobs := "/v2/acme/core/blobs/"
	for _, body := range [][]byte{config, layer} {
		d.stored[blobs+sumOf(body)] = body
	}
	d.tag("/v2/acme/core/manifests/v1", manifest)
	// slow is the same registry, which never hands a layer out.
	waits := make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == blobs+sumOf(layer) && r.Header.Get("Authorization") == "Bearer good" {
			waits <- struct{}{}
			<-r.Context().Done()
			return
		}
		d.ServeHTTP(w, r)
	}))
	t.Cleanup(slow.Close)
	slowHost := strings.TrimPrefix(slow.URL, "http://")

	dir := t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte("user:first"))
	file := fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}, %q: {"auth": %q}}}`, d.host(), auth, slowHost, auth)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(docker string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
		cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "poolhouse", args...)
		cmd.Dir = dir
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") }), "DOCKER_CONFIG="+docker, "HOME="+dir, "AWS_PROFILE=nobody")
		stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = stdout, stderr
		return cmd, stdout, stderr
	}
	run := func(want int, docker string, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd, o, e := command(docker, args...)
		if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("poolhouse %s: %v\n%s%s", strings.Join(args, " "), err, o, e)
		}
		return o.String(), strings.Join(strings.Fields(e.String()), " ")
	}
	says := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("it says nothing of %q:\n%s", want, text)
			}
		}
	}
	there := func(name string, want bool) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	build := func(name string, more ...string) []string {
		return append([]string{"bundle", "build", name, "--name", "acme", "--version", "1"}, more...)
	}
	name := d.host() + "/acme/core:v1"
	_, stderr := run(2, dir, build("b.tar.gz", "--pull", "no/Name", "--pull", name)...)
	says(stderr, `"no/Name" is no name of an image`)
	_, stderr = run(2, dir, build("b.tar.gz", "--limit", "fast")...)
	says(stderr, "--limit is of what is pulled")
	// Nothing is pulled for a bundle that can't be made of what is there.
	_, stderr = run(2, dir, build("b.zip", "--pull", "127.0.0.1:1/acme/core:v1", "--chart", "none.tgz", "--image", "some/images")...)
	says(stderr, "can't be written to", "charts/none.tgz", "has the name of the layout of images that are pulled")
	_, stderr = run(2, dir, build("b.tar.gz", "--pull", d.host()+"/acme/none:v1", "--pull", d.host()+"/acme/core:v2")...)
	says(stderr, d.host()+"/acme/none:v1: is not there", d.host()+"/acme/core:v2: is not there")
	_, stderr = run(1, filepath.Join(dir, "nobody"), build("b.tar.gz", "--pull", name)...)
	says(stderr, "log in to "+d.host(), "hint: log in to the registry, for example by docker login REGISTRY")
	there("b.tar.gz.pulled", false)

	d.mu.Lock()
	d.stored[blobs+sumOf(layer)] = layer[1:]
	d.mu.Unlock()
	_, stderr = run(1, dir, build("b.tar.gz", "--pull", name)...)
	says(stderr, d.host()+" hands out other bytes for layer "+sumOf(layer), "hint: mend the cause and repeat the command: it goes on with what was pulled, which stays in b.tar.gz.pulled")
	there("b.tar.gz", false)
	there("b.tar.gz.pulled", true)
	d.mu.Lock()
	d.stored[blobs+sumOf(layer)] = layer
	d.mu.Unlock()
	out, _ := run(0, dir, build("b.tar.gz", "--pull", name)...)
	says(out, "made b.tar.gz: 0 charts, 1 image", name, sumOf(manifest))
	there("b.tar.gz.pulled", false)
	run(0, dir, "bundle", "verify", "b.tar.gz")
	out, _ = run(0, dir, "bundle", "inspect", "-o", "json", "b.tar.gz")
	var contents struct {
		Images []struct {
			File, Digest string
			Names        []string
		}
	}
	if err := json.Unmarshal([]byte(out), &contents); err != nil || len(contents.Images) != 1 || contents.Images[0].Digest != sumOf(manifest) || contents.Images[0].File != "containers/images" || !slices.Equal(contents.Images[0].Names, []string{name}) {
		t.Errorf("%v: %s", err, out)
	}
	run(0, dir, build("c.tar.gz", "--limit", "100MB/s", "--pull", name+"@"+sumOf(manifest))...)
	first, err := os.ReadFile(filepath.Join(dir, "b.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(filepath.Join(dir, "c.tar.gz")); err != nil || !bytes.Equal(first, second) {
		t.Errorf("by its digest, the same image gives other bytes: %v", err)
	}

	interrupted := func(meanwhile func(), args ...string) string {
		t.Helper()
		cmd, o, e := command(dir, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-waits:
		case err := <-ended:
			t.Fatalf("it ended by itself: %v\n%s%s", err, o, e)
		}
		meanwhile()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		<-ended
		text := strings.Join(strings.Fields(e.String()), " ")
		if code := cmd.ProcessState.ExitCode(); code != 1 || strings.Contains(text, "failed") || strings.Count(text, "interrupted") != 1 {
			t.Errorf("after an interrupt, %d:\n%s%s", code, o, e)
		}
		return text
	}
	slowName := slowHost + "/acme/core:v1"
	says(interrupted(func() {
		_, stderr := run(2, dir, build("d.tar", "--pull", name)...)
		says(stderr, "error: d.tar is being made: process ", " is at it", "hint: wait until that has ended and repeat the command, or give this bundle another name")
		run(0, dir, build("e.tar", "--pull", name)...)
	}, build("d.tar", "--pull", slowName)...), "error: interrupted; no bundle is made, and what was pulled stays in d.tar.pulled", "hint: it goes on where it stopped: poolhouse bundle build --name acme --pull "+slowName+" --version 1 d.tar")
	there("d.tar", false)
	there("d.tar.pulled", true)
	there("d.tar.lock", false)
	says(interrupted(func() {}, "images", "mirror", "--to", d.host()+"/mirror", slowName), "error: interrupted; what was sent stays, and no image can be seen that isn't whole")
}
