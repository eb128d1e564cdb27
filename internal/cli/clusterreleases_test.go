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

// installing is a sandbox with a Kubernetes behind its clusters, and poolhouse as its
// user runs it on a file of the folder.
type installing struct {
	t         *testing.T
	dir, file string
	env       []string
	proxy     string // the way to all names
	roots     []byte // of the sandbox's authority
}

// newInstalling is that of an example. It takes programs, and those that variables name.
func newInstalling(t *testing.T, example, without string, needs ...string) *installing {
	t.Helper()
	for _, name := range append([]string{"POOLHOUSE_PLANE_KUBERNETES", "POOLHOUSE_RELEASES", "POOLHOUSE_PLANE_REGISTRY"}, needs...) {
		if os.Getenv(name) == "" {
			t.Skip(name + " names no program: .ci/run kubernetes builds those that it takes, 10 minutes or more once, and runs this test")
		}
	}
	s := &installing{t: t, dir: t.TempDir()}
	text, err := os.ReadFile("../../examples/" + example)
	if err != nil {
		t.Fatal(err)
	}
	s.file = s.write("deployment.yaml", string(text))
	e, env := serveSandbox(t, "--without", without, "--for", s.file)
	s.proxy = e.Proxy
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.CA, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	s.roots, err = io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	s.env = append(env, "HTTPS_PROXY="+e.Proxy, "AWS_CA_BUNDLE="+s.write("ca.pem", string(s.roots)), "POOLHOUSE_RELEASES="+os.Getenv("POOLHOUSE_RELEASES"))
	return s
}

// write is a file in the folder.
func (s *installing) write(name, text string) string {
	s.t.Helper()
	name = filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// bundle is a bundle in the folder, of sources that a function writes.
func (s *installing) bundle(name string, sources func(dir string) (bundle.BuildOptions, error)) string {
	s.t.Helper()
	o, err := sources(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.dir, name+".tar.gz")
	if _, err := bundle.Build(s.t.Context(), path, o); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *installing) try(args ...string) (code int, out, errs string) {
	s.t.Helper()
	var o, e bytes.Buffer
	c := exec.CommandContext(s.t.Context(), "poolhouse", args...)
	c.Env, c.Stdout, c.Stderr = s.env, &o, &e
	var ended *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &ended) {
		s.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

func (s *installing) run(want int, args ...string) (string, string) {
	s.t.Helper()
	code, out, errs := s.try(args...)
	if code != want {
		s.t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, want, out, errs)
	}
	return out, errs
}

// create makes the deployment, until its Kubernetes API is reached.
func (s *installing) create() {
	s.t.Helper()
	untilReached(s.t, func() (int, string) {
		code, _, errs := s.try("create", "--yes", s.file)
		return code, errs
	})
}

func (s *installing) has(text, want string) {
	s.t.Helper()
	if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
		s.t.Errorf("no %q in\n%s", want, text)
	}
}

// TestClusterReleasesKubernetes installs the sample bundle in a deployment's cluster,
// whose API, scheduler and kubelets are real: by the caller's access entry, images from
// the deployment's registry, pods that run and are ready on the nodes of their kind.
func TestClusterReleasesKubernetes(t *testing.T) {
	s := newInstalling(t, "evaluation.yaml", "s3,postgres,oidc")
	file, write, run, has := s.file, s.write, s.run, s.has
	sample := s.bundle("sample", func(dir string) (bundle.BuildOptions, error) { return samplebundle.Write(dir, samplebundle.Build) })
	none := write("none.yaml", "coreApi: {replicas: 0}\nwebAssistant: {replicas: 0}\n")
	idle := write("idle.yaml", "replicas: 0\n")
	s.create()

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

	// All run: two pods of each of the platform's Deployments, one of inference's.
	run(cli.Done, "cluster", "apply", "--yes", "-f", file, sample)
	text2, _ = run(cli.Done, "cluster", "status", "-f", file)
	has(text2, "sample-platform poolside 2 deployed 4/4 sample-platform-1.0.0")
	has(text2, "sample-inference poolside 2 deployed 1/1 sample-inference-1.0.0")
	admin := administrator(t, func(args ...string) string {
		text, _ := run(cli.Done, args...)
		return text
	}, file)
	runsOn(t, admin)

	// What can't become ready is rolled back, and what is there stays.
	admin.make("/api/v1/namespaces/poolside/resourcequotas", `{"metadata": {"name": "full"}, "spec": {"hard": {"pods": "5"}}}`)
	more := write("more.yaml", "replicas: 2\n")
	_, said = run(cli.Failed, "cluster", "apply", "--yes", "--timeout", "5s", "-f", file, "--values", "sample-inference="+more, sample)
	has(said, "it was rolled back to revision 2")
	text2, _ = run(cli.Done, "cluster", "history", "-f", file, "sample-inference")
	has(text2, "failed")
	text2, _ = run(cli.Done, "cluster", "status", "-f", file)
	has(text2, "sample-inference poolside 4 deployed 1/1 sample-inference-1.0.0")
	_, said = run(cli.Failed, "cluster", "history", "-f", file, "nothing")
	has(said, "release nothing: is not there")

	text2, _ = run(cli.Done, "cluster", "uninstall", "--yes", "-f", file)
	has(text2, "removed poolhouse-foundation in kube-system")
	text2, _ = run(cli.Done, "cluster", "status", "-f", file)
	has(text2, "there is no release in ")

	// What creates the deployment installs the charts too, and what deletes it
	// uninstalls them, the last one first.
	_, said = run(cli.Usage, "create", "--yes", "--values", "sample-platform="+none, file)
	has(said, "--values is of a bundle's charts, and without --bundle there are none")
	_, said = run(cli.Usage, "create", "--yes", "--bundle", sample, "--values", "other="+none, file)
	has(said, "--values names the chart other, which the bundle doesn't have")
	text2, said = run(cli.Done, append(append([]string{"create", "--yes", "--bundle", sample}, quiet...), file)...)
	has(said, "3 releases are installed or upgraded: poolhouse-foundation, sample-inference, sample-platform.")
	has(text2, "installed sample-platform in poolside, revision 1")
	text2, _ = run(cli.Done, "status", file)
	has(text2, "release sample-platform in poolside: deployed, revision 1")
	_, said = run(cli.Done, "delete", "--yes", file)
	has(said, "3 releases")
	last := -1
	for _, name := range []string{"sample-platform", "sample-inference", "poolhouse-foundation"} {
		at := strings.Index(strings.Join(strings.Fields(said), " "), "uninstalled release "+name)
		if at <= last {
			t.Errorf("%s is uninstalled at %d, after what comes before it at %d:\n%s", name, at, last, said)
		}
		last = at
	}
}

// runsOn has each pod of the sample be of its kind's node, run the image of the
// deployment's registry by digest, and answer by its log and by its port.
func runsOn(t *testing.T, c *theirs) {
	t.Helper()
	_, nodes := c.do(http.MethodGet, "/api/v1/nodes", "")
	labels := map[any]any{}
	for _, n := range nodes["items"].([]any) {
		n := n.(map[string]any)
		labels[at(n, "metadata", "name")] = at(n, "metadata", "labels")
	}
	_, pods := c.do(http.MethodGet, "/api/v1/namespaces/poolside/pods", "")
	list := pods["items"].([]any)
	if len(list) != 5 {
		t.Errorf("there are %d pods, want 5", len(list))
	}
	for _, p := range list {
		p := p.(map[string]any)
		name := at(p, "metadata", "name").(string)
		app, want := at(p, "metadata", "labels", "app").(string), "core"
		if app == "web-assistant" {
			want = app
		}
		if got, _ := labels[at(p, "spec", "nodeName")].(map[string]any); got["node-role.poolhouse/"+want] != "true" {
			t.Errorf("pod %s is on a node that is no %s node: %v", name, want, got)
		}
		status := at(p, "status", "containerStatuses").([]any)[0].(map[string]any)
		if id, _ := status["imageID"].(string); status["ready"] != true || !strings.Contains(id, ".dkr.ecr.us-east-1.amazonaws.com/") || !strings.Contains(id, "@sha256:") {
			t.Errorf("pod %s: %v", name, status)
		}
		if code, text := c.text(http.MethodGet, "/api/v1/namespaces/poolside/pods/"+name+"/proxy/", ""); code != http.StatusOK || string(text) != app+"\n" {
			t.Errorf("pod %s answers %d %q", name, code, text)
		}
		if code, text := c.text(http.MethodGet, "/api/v1/namespaces/poolside/pods/"+name+"/log", ""); code != http.StatusOK || string(text) != "answers on :8080 as "+app+"\n" {
			t.Errorf("pod %s says %d %q", name, code, text)
		}
	}
}
