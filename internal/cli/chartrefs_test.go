package cli_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// TestChartReferences makes a bundle of a chart that a registry has, with the credentials
// of docker's file; what is wrong with references is said before anything is asked for.
func TestChartReferences(t *testing.T) {
	t.Parallel()
	d := newDistribution(t, "first")
	files, err := samplebundle.Tar(map[string][]byte{"acme/Chart.yaml": []byte("apiVersion: v2\nname: acme\nversion: 1.0.0\n")})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err2 := z.Write(files)
	if err := errors.Join(err, err2, z.Close()); err != nil {
		t.Fatal(err)
	}
	d.stored["/v2/charts/acme/blobs/"+sumOf(packed.Bytes())] = packed.Bytes()
	manifest := fmt.Appendf(nil, `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": %q, "size": 2}, "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": %q, "size": %d}]}`,
		sumOf([]byte("{}")), sumOf(packed.Bytes()), packed.Len())
	d.tag("/v2/charts/acme/manifests/1.0.0", manifest)
	dir := t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte("user:first"))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, d.host(), auth), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, charts ...string) string {
		t.Helper()
		args := []string{"bundle", "build", "acme.tar.gz", "--name", "acme", "--version", "1.0.0"}
		for _, c := range charts {
			args = append(args, "--chart", c)
		}
		cmd := exec.CommandContext(t.Context(), "poolhouse", args...)
		cmd.Dir = dir
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") }), "DOCKER_CONFIG="+dir, "HOME="+dir, "AWS_PROFILE=nobody")
		said, err := cmd.CombinedOutput()
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("%v: %v, want exit code %d: %s", charts, err, want, said)
		}
		return strings.Join(strings.Fields(string(said)), " ")
	}
	name := "oci://" + d.host() + "/charts/acme:1.0.0"
	said := run(2, name+"@sha256:1", "https://user:hush@charts.example.com/b-1.tgz", "https://charts.example.com/c-1.tgz")
	for _, want := range []string{"is no chart of a registry", `"https://charts.example.com/b-1.tgz" is no chart of a web server`, `"https://charts.example.com/c-1.tgz" has no digest`} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	if strings.Contains(said, "hush") {
		t.Errorf("a password is told: %s", said)
	}
	if said := run(2, "oci://"+d.host()+"/charts/acme:2.0.0"); !strings.Contains(said, "is not in the registry") {
		t.Errorf("a version that isn't there: %s", said)
	}
	if said := run(0, name+"@"+sumOf(manifest)); !strings.Contains(said, "made acme.tar.gz: 1 chart") {
		t.Errorf("it says %s", said)
	}
	for _, left := range []string{"acme.tar.gz.charts", "acme.tar.gz.pulled"} {
		if _, err := os.Stat(filepath.Join(dir, left)); err == nil {
			t.Errorf("%s is left", left)
		}
	}
	inspect := exec.CommandContext(t.Context(), "poolhouse", "bundle", "inspect", filepath.Join(dir, "acme.tar.gz"))
	text, err := inspect.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "charts/acme-1.0.0.tgz") || !strings.Contains(string(text), sumOf(packed.Bytes())) {
		t.Errorf("inspect: %v, %s", err, text)
	}
}
