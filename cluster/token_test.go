package cluster_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// TestToken has STS say who has signed a token, for the cluster that it is for and
// for no other.
func TestToken(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	before := time.Now()
	token, err := cluster.NewToken(t.Context(), sts.NewPresignClient(sts.NewFromConfig(testkit.Config(box))), clock.Real{}, "prod")
	if err != nil {
		t.Fatal(err)
	}
	if got := token.Expires.Sub(before); got < 14*time.Minute || got > 15*time.Minute {
		t.Errorf("expires after %v", got)
	}
	encoded, ok := strings.CutPrefix(token.Value, "k8s-aws-v1.")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil {
		t.Fatalf("%s is no token of EKS: %v", token.Value, err)
	}
	signed, err := url.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if q := signed.Query(); q.Get("X-Amz-Expires") != "60" || !strings.Contains(q.Get("X-Amz-SignedHeaders"), "x-k8s-aws-id") {
		t.Errorf("signed as %s", signed)
	}
	for name, want := range map[string]int{"prod": http.StatusOK, "test": http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signed.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-k8s-aws-id", name)
		resp, err := testkit.Client(box).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Errorf("for %s STS answers %d %s, %v", name, resp.StatusCode, body, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	got, err := cluster.Kubeconfig(cluster.KubeconfigOptions{
		Name: "prod", Server: "https://127.0.0.1:8443", ServerName: "api.example.com", Authority: []byte("pem"), Proxy: "http://proxy.example.com:3128",
		Command: []string{"/bin/poolhouse", "cluster", "token", "-f", "/etc/deployment.yaml"}, Environment: [][2]string{{"AWS_PROFILE", "prod"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "testdata/kubeconfig.yaml", got)
	if _, err := cluster.Kubeconfig(cluster.KubeconfigOptions{Name: "prod"}); err == nil {
		t.Error("there is a kubeconfig without a command")
	}
	text := string(got)
	context := text[strings.Index(text, "contexts:"):]
	for text, want := range map[string]bool{
		text:                 true,
		"":                   false,
		"not: [a kubeconfig": false,
		strings.Replace(text, "kind: Config", "kind: List", 1):                                        false,
		strings.ReplaceAll(text, "- name: prod", "- name: test"):                                      false,
		strings.Replace(text, "current-context:", "- name: mine\n  context: {}\ncurrent-context:", 1): false,
		strings.Replace(text, "contexts:\n", "- name: mine\n  user: {}\ncontexts:\n", 1):              false,
		strings.TrimSuffix(text, context):                                                             false,
	} {
		if cluster.KubeconfigOf([]byte(text), "prod") != want {
			t.Errorf("that it is a kubeconfig of prod alone is to be %v:\n%s", want, text)
		}
	}
}
