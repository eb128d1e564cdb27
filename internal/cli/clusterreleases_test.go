package cli_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// TestClusterReleasesKubernetes installs the sample bundle in a deployment's cluster,
// whose API and scheduler are real: by the caller's access entry, images from the
// deployment's registry, pods on the nodes of their kind.
func TestClusterReleasesKubernetes(t *testing.T) {
	for _, name := range []string{"POOLHOUSE_PLANE_KUBERNETES", "POOLHOUSE_RELEASES", "POOLHOUSE_PLANE_REGISTRY"} {
		if os.Getenv(name) == "" {
			t.Skip(name + " names no program: .ci/run kubernetes builds those that it takes, 10 minutes or more once, and runs this test")
		}
	}
	dir := t.TempDir()
	file, sample := filepath.Join(dir, "deployment.yaml"), filepath.Join(dir, "sample.tar.gz")
	text, err := os.ReadFile("../../examples/evaluation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("deployment.yaml", string(text))
	o, err := samplebundle.Write(filepath.Join(dir, "sources"), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Build(t.Context(), sample, o); err != nil {
		t.Fatal(err)
	}
	e, env := serveSandbox(t, "--without", "s3,postgres,oidc", "--for", file)
	ca := filepath.Join(dir, "ca.pem")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.CA, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close(), os.WriteFile(ca, pem, 0o600)); err != nil {
		t.Fatal(err)
	}
	env = append(env, "HTTPS_PROXY="+e.Proxy, "AWS_CA_BUNDLE="+ca)
	env = append(env, "POOLHOUSE_RELEASES="+os.Getenv("POOLHOUSE_RELEASES"))
	none := write("none.yaml", "coreApi: {replicas: 0}\nwebAssistant: {replicas: 0}\n")
	idle := write("idle.yaml", "replicas: 0\n")
	run := func(want int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		c := exec.CommandContext(t.Context(), "poolhouse", args...)
		c.Env, c.Stdout, c.Stderr = env, &out, &errs
		var ended *exec.ExitError
		if err := c.Run(); err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		if code := c.ProcessState.ExitCode(); code != want {
			t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, want, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	has := func(text, want string) {
		t.Helper()
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	run(cli.Done, "create", "--yes", file)

	// What is not in the registry is not installed.
	_, said := run(cli.Usage, "cluster", "apply", "--yes", "-f", file, sample)
	has(said, "release sample-platform, Deployment core-api, container core-api: names the image poolhouse-sample/core-api:v1.0.0, which")
	run(cli.Done, "images", "push", "-f", file, sample)
	text2, _ := run(cli.Done, "cluster", "apply", "--dry-run", "-f", file, sample)
	has(text2, "node-role.poolhouse/web-assistant: \"true\"")
	has(text2, "kind: StorageClass")
	quiet := []string{"--values", "sample-platform=" + none, "--values", "sample-inference=" + idle}
	apply := append([]string{"cluster", "apply", "--yes", "-f", file}, quiet...)
	text2, _ = run(cli.Done, append(apply, sample)...)
	has(text2, "installed poolhouse-foundation in kube-system, revision 1")
	has(text2, "installed sample-platform in poolside, revision 1")
	text2, _ = run(cli.Done, append(apply, sample)...)
	has(text2, "unchanged sample-platform in poolside, revision 1")

	// What a chart refuses is the caller's mistake.
	broken := write("broken.yaml", "image: none\n")
	_, said = run(cli.Usage, "cluster", "apply", "--yes", "-f", file, "--values", "sample-inference="+broken, sample)
	has(said, "release sample-inference: can't be rendered")
	_, said = run(cli.Usage, "cluster", "uninstall", "--yes", "-f", file, "poolhouse-foundation")
	has(said, "it holds the namespaces of all releases")

	// No pod runs in a sandbox, which is said, and what is there stays.
	_, said = run(cli.Failed, "cluster", "apply", "--yes", "--timeout", "5s", "-f", file, sample)
	has(said, "process not run")
	has(said, "it was rolled back to revision 1")
	text2, _ = run(cli.Done, "cluster", "history", "-f", file, "sample-inference")
	has(text2, "failed")
	text2, _ = run(cli.Done, "cluster", "status", "-f", file)
	has(text2, "sample-inference poolside 3 deployed 0/0 sample-inference-1.0.0")
	_, said = run(cli.Failed, "cluster", "history", "-f", file, "nothing")
	has(said, "release nothing: is not there")

	text2, _ = run(cli.Done, "cluster", "uninstall", "--yes", "-f", file)
	has(text2, "removed poolhouse-foundation in kube-system")
	text2, _ = run(cli.Done, "cluster", "status", "-f", file)
	has(text2, "there is no release in ")
}
