package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
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
	const speed = 3000
	out, errs := watch("\n}\n"), watch("")
	box := command(t, cli.Streams{Out: out, Err: errs}, "sandbox", "--without", "s3,oidc,postgres", "--listen", "127.0.0.1:0", "-o", "json", "--speed", "3000", "--fresh", "--for", "../../examples/evaluation.yaml")
	box.until(t, out.seen, "the sandbox", errs)
	var e rehearse.Endpoint
	if err := json.Unmarshal([]byte(out.String()), &e); err != nil {
		t.Fatal(err)
	}
	for _, v := range e.Environment {
		t.Setenv(v.Name, v.Value)
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
	none := write("none.yaml", "coreApi: {replicas: 0}\nwebAssistant: {replicas: 0}\n")
	idle := write("idle.yaml", "replicas: 0\n")
	run := func(want int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := cli.Run(t.Context(), args, cli.Streams{Out: &out, Err: &errs, Clock: clock.NewScaled(speed)}); code != want {
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

	// No pod runs in a sandbox, which is said, and what is there stays.
	_, said = run(cli.Failed, "cluster", "apply", "--yes", "--timeout", "5s", "-f", file, sample)
	has(said, "process not run")
	has(said, "it was rolled back to revision 1")
	text2, _ = run(cli.Done, "cluster", "history", "-f", file, "sample-platform")
	has(text2, "failed")
	text2, _ = run(cli.Done, "cluster", "status", "-f", file)
	has(text2, "sample-platform poolside 3 deployed 0/0 sample-platform-1.0.0")
	_, said = run(cli.Failed, "cluster", "history", "-f", file, "nothing")
	has(said, "release nothing: is not there")

	text2, _ = run(cli.Done, "cluster", "uninstall", "--yes", "-f", file)
	has(text2, "removed poolhouse-foundation in kube-system")
	text2, _ = run(cli.Done, "cluster", "status", "-f", file)
	has(text2, "there is no release in ")
}
