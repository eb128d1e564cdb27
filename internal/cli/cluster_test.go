package cli_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// kubeconfig is what a client reads of one.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server     string `yaml:"server"`
			ServerName string `yaml:"tls-server-name"`
			Authority  string `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			Exec struct {
				Args []string `yaml:"args"`
			} `yaml:"exec"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// version asks the API that a kubeconfig leads to for its version, with a token if
// there is one.
func (k *kubeconfig) version(t *testing.T, token string) string {
	t.Helper()
	c := k.Clusters[0].Cluster
	authority, err := base64.StdEncoding.DecodeString(c.Authority)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(authority) {
		t.Fatalf("no authority: %v", err)
	}
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: c.ServerName, MinVersion: tls.VersionTLS12}}
	defer way.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Server+"/version", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := way.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestCluster reaches a deployment's Kubernetes by a kubeconfig, and by a connection
// that is kept open, with the tokens of the command that both name.
func TestCluster(t *testing.T) {
	const speed = 3000
	useSandbox(t, "--speed", "3000", "--fresh", "--without", "oidc,postgres,kubernetes", "--for", "../../examples/evaluation.yaml")
	file := "../../examples/evaluation.yaml"
	run := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := cli.Run(t.Context(), args, cli.Streams{Out: &out, Err: &errs, Clock: clock.NewScaled(speed)}); code != cli.Done {
			t.Fatalf("%v: exit code %d: %s", args, code, errs.String())
		}
		return out.String()
	}
	read := func(text string) *kubeconfig {
		t.Helper()
		var k kubeconfig
		if err := yaml.Unmarshal([]byte(text), &k); err != nil || len(k.Clusters) != 1 || len(k.Users) != 1 {
			t.Fatalf("%v in\n%s", err, text)
		}
		return &k
	}
	run("create", "--yes", file)
	direct := read(run("cluster", "kubeconfig", "-f", file))
	exec := direct.Users[0].User.Exec.Args
	whole, err := filepath.Abs(file)
	if err != nil || !slices.Equal(exec, []string{"cluster", "token", "-f", whole}) {
		t.Fatalf("tokens are made by %q, %v", exec, err)
	}
	var credential struct {
		Status struct {
			Token   string
			Expires time.Time `json:"expirationTimestamp"`
		}
	}
	if err := json.Unmarshal([]byte(run(exec...)), &credential); err != nil || !strings.HasPrefix(credential.Status.Token, "k8s-aws-v1.") || credential.Status.Expires.IsZero() {
		t.Fatalf("%v in %+v", err, credential)
	}
	if got := direct.version(t, credential.Status.Token); !strings.Contains(got, `"gitVersion"`) {
		t.Errorf("directly the API answers %s", got)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	// A file of somebody else's is refused and left, one of this cluster's replaced.
	const theirs = "apiVersion: v1\nkind: Config\nclusters: []\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(theirs)
	var refusal bytes.Buffer
	code := cli.Run(t.Context(), []string{"cluster", "connect", "-f", file, "--kubeconfig", path}, cli.Streams{Out: io.Discard, Err: &refusal, Clock: clock.NewScaled(speed)})
	if got := strings.Join(strings.Fields(refusal.String()), " "); code != cli.Usage || !strings.Contains(got, "the file is there, and holds something else") {
		t.Errorf("exit code %d: %s", code, got)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != theirs {
		t.Errorf("of the file is left %q, %v", text, err)
	}
	write(run("cluster", "kubeconfig", "-f", file))
	out, errs := watch("\n}\n"), watch("")
	r := command(t, cli.Streams{Out: out, Err: errs}, "cluster", "connect", "-f", file, "--kubeconfig", path, "-o", "json")
	r.until(t, out.seen, "the connection", errs)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	kept := read(string(text))
	if c := kept.Clusters[0].Cluster; c.Server == direct.Clusters[0].Cluster.Server || c.ServerName == "" {
		t.Errorf("the connection leads to %s as %q", c.Server, c.ServerName)
	}
	if got := kept.version(t, credential.Status.Token); !strings.Contains(got, `"gitVersion"`) {
		t.Errorf("by the connection the API answers %s", got)
	}
	r.interrupt()
	if code := r.wait(); code != cli.Done || errs.String() != "" {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
