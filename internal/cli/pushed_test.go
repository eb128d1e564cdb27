package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
)

// TestImagesBesideCreate creates a deployment with a bundle: its images are in the
// registry when it ends, by ECR's own name and with TLS; another push finds nothing
// to do, and what the charts lack is said by list.
func TestImagesBesideCreate(t *testing.T) {
	t.Parallel()
	if os.Getenv("POOLHOUSE_PLANE_REGISTRY") == "" {
		t.Skip("POOLHOUSE_PLANE_REGISTRY names no program: go -C planes/registry build -o DIR ./poolhouse-plane-registry, then POOLHOUSE_PLANE_REGISTRY=DIR/poolhouse-plane-registry")
	}
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "evaluation.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file, packed := filepath.Join(dir, "deployment.yaml"), filepath.Join(dir, "sample.tar.gz")
	sources, err := samplebundle.Write(filepath.Join(dir, "sources"), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Build(t.Context(), packed, sources); err != nil {
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
	run := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "poolhouse", args...)
		cmd.Env = env
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("poolhouse %s: %v\n%s%s", strings.Join(args, " "), err, &o, &e)
		}
		return o.String(), e.String()
	}
	says := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("it says nothing of %q:\n%s", want, text)
			}
		}
	}
	out, _ := run(0, "plan", file, "--bundle", packed)
	says(out, "images: 3 of 3 to push")
	_, stderr := run(2, "images", "push", "-f", file, packed)
	says(stderr, "does not exist yet", "create or update the deployment first")
	out, _ = run(3, "images", "list", "-f", file, packed)
	says(out, "images that charts name and that are not there", "core-api")
	// The Kubernetes API is not there to be reached.
	create := exec.CommandContext(t.Context(), "poolhouse", "create", "-y", file, "--no-charts", "--bundle", packed)
	create.Env = env
	said, err := create.CombinedOutput()
	if err != nil && create.ProcessState.ExitCode() != 3 {
		t.Fatalf("create: %v\n%s", err, said)
	}
	says(string(said), "images: 3 of 3 to push", "moving images", "images are there after")
	out, _ = run(0, "images", "list", "-f", file, packed)
	says(out, "images: all 3 are there", "ok: every image that the charts name is there")
	out, stderr = run(0, "images", "push", "-f", file, packed, "-o", "json")
	var done struct {
		Images []struct {
			Repository, Digest string
			Whole              bool
		}
		SendBytes int
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil || len(done.Images) != 3 || !done.Images[0].Whole || done.SendBytes != 0 {
		t.Errorf("%v: %s", err, out)
	}
	says(stderr, `"event":"TransferProgress"`, `"status":"skipped"`)

	// Nothing is looked up twice.
	at, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	door := server.NewDoor(t, at.Host)
	env = append(env, "AWS_ENDPOINT_URL="+door.URL)
	for _, command := range []string{"push", "list"} {
		run(0, "images", command, "-f", file, packed)
		asked := map[string]int{}
		for _, e := range door.Take() {
			if service, operation, _ := strings.Cut(e.Header.Get("X-Amz-Target"), "."); strings.HasPrefix(service, "AmazonEC2ContainerRegistry") {
				asked[operation]++
			}
		}
		if d := cmp.Diff(map[string]int{"DescribeRepositories": 1, "GetAccountSetting": 1, "GetAuthorizationToken": 1}, asked); d != "" {
			t.Errorf("images %s asks ECR (-want +got):\n%s", command, d)
		}
	}
	env = env[:len(env)-1]

	// A registry that nobody vouches for keeps no stack from its work. The run fails,
	// says so once, and prints what the stacks have come to.
	for i, v := range env {
		if strings.HasPrefix(v, "AWS_CA_BUNDLE=") {
			env[i] = "AWS_CA_BUNDLE="
		}
	}
	spaced := filepath.Join(dir, "sample it's.tar.gz")
	if err := os.Rename(packed, spaced); err != nil {
		t.Fatal(err)
	}
	out, stderr = run(1, "create", "-y", file, "--no-charts", "--limit", "1GB/s", "--bundle", spaced)
	stderr = strings.Join(strings.Fields(stderr), " ")
	says(stderr, "images could not be compared: ", "by AWS_CA_BUNDLE", "poolhouse images push --limit 1GB/s -f "+file+" '"+filepath.Join(dir, `sample it'\''s.tar.gz'`))
	says(out, "is complete", "Delegate poolside.example.com")
	if _, said, _ := strings.Cut(stderr, "error: "); strings.Count(said, "the transfer of images: ") != 1 {
		t.Errorf("it is said %d times:\n%s", strings.Count(said, "the transfer of images: "), said)
	}
	_, stderr = run(2, "create", "-y", file, "--limit", "1GB/s")
	says(stderr, "without --bundle nothing is")
}
