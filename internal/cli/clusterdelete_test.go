package cli_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/poolhouse/poolhouse/internal/cli"
)

// theirs speaks to a cluster's API as its administrator.
type theirs struct {
	t     *testing.T
	way   *http.Transport
	at    string
	token string
}

func (c *theirs) do(method, path, body string) (status int, answer map[string]any) {
	c.t.Helper()
	status, text := c.text(method, path, body)
	if err := json.Unmarshal(text, &answer); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return status, answer
}

// text is do for what isn't answered by JSON.
func (c *theirs) text(method, path, body string) (status int, text []byte) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.at+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.way.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err = io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, text
}

func (c *theirs) make(path, body string) {
	c.t.Helper()
	if status, answer := c.do(http.MethodPost, path, body); status != http.StatusCreated {
		c.t.Fatalf("make %s: %d %v", path, status, answer["message"])
	}
}

// until looks until an object is as it should be.
func (c *theirs) until(path, what string, is func(map[string]any) bool) {
	c.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		if code, o := c.do(http.MethodGet, path, ""); is(o) {
			return
		} else if time.Now().After(deadline) {
			c.t.Fatalf("%s is not %s: %d %v", path, what, code, o)
		}
		<-time.After(time.Second) // the cluster is a process of its own
	}
}

// TestL01DeleteKubernetes deletes a deployment in whose cluster, whose API, scheduler
// and controllers are real, a Service has a load balancer and a claim of a StatefulSet a
// volume: by the API, and once more with the API standing still. Both ways leave nothing.
func TestL01DeleteKubernetes(t *testing.T) {
	plane := os.Getenv("POOLHOUSE_PLANE_KUBERNETES")
	if plane == "" {
		t.Skip("POOLHOUSE_PLANE_KUBERNETES names no program: .ci/run kubernetes builds it, 10 minutes or more once, and runs this test")
	}
	file := filepath.Join(t.TempDir(), "deployment.yaml")
	text, err := os.ReadFile("../../examples/evaluation.yaml")
	if err := errors.Join(err, os.WriteFile(file, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, env := serveSandbox(t, "--without", "s3,postgres,oidc,ecr", "--for", file)
	try := func(args ...string) (code int, said string) {
		t.Helper()
		var out bytes.Buffer
		c := exec.CommandContext(t.Context(), "poolhouse", args...)
		c.Env, c.Stdout, c.Stderr = env, &out, &out
		var ended *exec.ExitError
		if err := c.Run(); err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		return c.ProcessState.ExitCode(), out.String()
	}
	run := func(args ...string) string {
		t.Helper()
		code, said := try(args...)
		if code != cli.Done {
			t.Fatalf("%v: exit code %d: %s", args, code, said)
		}
		return said
	}
	for _, answers := range []bool{true, false} {
		untilReached(t, func() (int, string) { return try("create", "--yes", file) })
		inhabit(t, run, file)
		if !answers {
			standStill(t, plane)
		}
		said := strings.Join(strings.Fields(run("delete", "--yes", file)), " ")
		want := []string{"First goes what its cluster holds: 1 PersistentVolumeClaim, 1 Service", "deleting Service web in shop", "deleting StatefulSet db in shop", "controllers have removed what they made in AWS"}
		if !answers {
			want = []string{"There is no route from here to its Kubernetes API", "deleted AWS::ElasticLoadBalancing::LoadBalancer", "deleted volume vol-"}
		}
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("no %q in\n%s", w, said)
			}
		}
		if answers && strings.Contains(said, "which no stack has") {
			t.Errorf("something was left to the sweep by tags:\n%s", said)
		}
		status := run("status", "-o", "json", file)
		var left struct {
			Phase   string
			Outside []struct{ Type, ID, State string }
		}
		if err := json.Unmarshal([]byte(status), &left); err != nil || left.Phase != "absent" {
			t.Errorf("after it there is %s, %v", status, err)
		}
		for _, o := range left.Outside {
			if o.Type != "AWS::KMS::Key" { // which wait out their time
				t.Errorf("%s %s is left", o.Type, o.ID)
			}
		}
	}
}

// untilReached creates until the Kubernetes API is reached: a control plane may take a
// minute to answer on a machine that is busy.
func untilReached(t *testing.T, create func() (code int, said string)) {
	t.Helper()
	for range 12 {
		code, said := create()
		if code == cli.Done {
			return
		}
		if code != cli.Pending {
			t.Fatalf("create: exit code %d: %s", code, said)
		}
	}
	t.Fatal("the Kubernetes API is never reached")
}

// at is what an object has at a path of fields.
func at(o map[string]any, path ...string) any {
	var v any = o
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// administrator is who made the deployment's cluster.
func administrator(t *testing.T, run func(...string) string, file string) *theirs {
	t.Helper()
	var k kubeconfig
	if err := yaml.Unmarshal([]byte(run("cluster", "kubeconfig", "-f", file)), &k); err != nil || len(k.Clusters) != 1 {
		t.Fatalf("no kubeconfig: %v", err)
	}
	var credential struct{ Status struct{ Token string } }
	if err := json.Unmarshal([]byte(run("cluster", "token", "-f", file)), &credential); err != nil {
		t.Fatal(err)
	}
	authority, err := base64.StdEncoding.DecodeString(k.Clusters[0].Cluster.Authority)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(authority) {
		t.Fatalf("no authority: %v", err)
	}
	return &theirs{t, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}, k.Clusters[0].Cluster.Server, credential.Status.Token}
}

// inhabit has a Service get a load balancer, and a claim a volume.
func inhabit(t *testing.T, run func(...string) string, file string) {
	t.Helper()
	c := administrator(t, run, file)
	c.make("/api/v1/namespaces", `{"metadata": {"name": "shop"}}`)
	c.make("/api/v1/namespaces/shop/services", `{"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}}`)
	c.make("/apis/storage.k8s.io/v1/storageclasses", `{"metadata": {"name": "fast"}, "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete", "parameters": {"type": "gp3"}}`)
	c.make("/apis/apps/v1/namespaces/shop/statefulsets", `{"metadata": {"name": "db"}, "spec": {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
		"template": {"metadata": {"labels": {"app": "db"}}, "spec": {"tolerations": [{"operator": "Exists"}], "containers": [{"name": "c", "image": "none", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
		"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "8Gi"}}}}]}}`)
	c.until("/api/v1/namespaces/shop/services/web", "given a load balancer", func(o map[string]any) bool {
		list, _ := at(o, "status", "loadBalancer", "ingress").([]any)
		return len(list) > 0
	})
	c.until("/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0", "bound", func(o map[string]any) bool { return at(o, "status", "phase") == "Bound" })
}

// standStill stops the process of a program that the sandbox of this test has started,
// until the test ends.
func standStill(t *testing.T, program string) {
	t.Helper()
	parent := func(pid string) string {
		text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil {
			return ""
		}
		// The name, which is in brackets, may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		return fields[1]
	}
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, dir := range found {
		pid := filepath.Base(dir)
		if exe, err := os.Readlink(filepath.Join(dir, "exe")); err != nil || exe != program || parent(parent(pid)) != fmt.Sprint(os.Getpid()) {
			continue
		}
		var id int
		if _, err := fmt.Sscan(pid, &id); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(id, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		n++
		// It may have been killed with its cluster.
		t.Cleanup(func() { _ = syscall.Kill(id, syscall.SIGCONT) })
	}
	if n != 1 {
		t.Fatalf("%d control planes run, want 1", n)
	}
}
