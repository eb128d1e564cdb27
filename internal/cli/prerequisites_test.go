package cli_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
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
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// shop is a chart of a service that is bound to the load balancer of API clients, whose
// pods start once an external secret is there.
var shop = map[string]string{
	"Chart.yaml":  "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
	"values.yaml": "targetGroup: ''\nsecret: ''\nregion: ''\nreplicas: 1\nimage: {repository: poolhouse-sample/external-secrets, tag: v1.0.0}\n",
	"templates/shop.yaml": `
apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {name: aws}
spec: {provider: {aws: {service: SecretsManager, region: {{ .Values.region }}}}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: database}
spec:
  secretStoreRef: {kind: ClusterSecretStore, name: aws}
  data: [{secretKey: username, remoteRef: {key: "{{ .Values.secret }}", property: username}}]
---
apiVersion: elbv2.k8s.aws/v1beta1
kind: TargetGroupBinding
metadata: {name: shop}
spec: {targetGroupARN: "{{ .Values.targetGroup }}", targetType: ip, serviceRef: {name: shop, port: 443}}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: https, port: 443, targetPort: 8443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: shop
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          env:
            - {name: TLS_ADDRESS, value: ":8443"}
            - {name: NAME, valueFrom: {secretKeyRef: {name: database, key: username}}}
          readinessProbe: {httpGet: {path: /healthz, port: 8443, scheme: HTTPS}}
`,
}

// TestPrerequisitesKubernetes installs what charts stand on before them: a request over
// TLS to the load balancer gets to a pod of a service that is bound to it, and the pod
// has what an external secret gave it. Without the controllers neither follows.
func TestPrerequisitesKubernetes(t *testing.T) {
	for _, name := range []string{"POOLHOUSE_PLANE_KUBERNETES", "POOLHOUSE_RELEASES", "POOLHOUSE_PLANE_REGISTRY"} {
		if os.Getenv(name) == "" {
			t.Skip(name + " names no program: .ci/run kubernetes builds those that it takes, 10 minutes or more once, and runs this test")
		}
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, text := range shop {
		write("shop/"+name, text)
	}
	text, err := os.ReadFile("../../examples/evaluation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := write("deployment.yaml", string(text))
	values := "shop=" + write("values.yaml", "targetGroup: ${edge.ApiTargetGroupArn}\nsecret: ${database.ApplicationSecretArn}\nregion: us-east-1\n")
	build := func(name string, o bundle.BuildOptions) string {
		t.Helper()
		at := filepath.Join(dir, name+".tar.gz")
		o.Name, o.Version, o.Charts = name, "1.0.0", append(o.Charts, filepath.Join(dir, "shop"))
		if _, err := bundle.Build(t.Context(), at, o); err != nil {
			t.Fatal(err)
		}
		return at
	}
	var o bundle.BuildOptions
	if err := samplebundle.Prerequisites(filepath.Join(dir, "sources"), samplebundle.Build, &o, "amd64", "arm64"); err != nil {
		t.Fatal(err)
	}
	whole, bare := build("whole", o), build("bare", bundle.BuildOptions{Images: o.Images})

	e, env := serveSandbox(t, "--without", "s3,postgres,oidc", "--for", file)
	resp, err := http.Get(e.CA)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := io.ReadAll(resp.Body)
	ca := write("ca.pem", string(pem))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	env = append(env, "HTTPS_PROXY="+e.Proxy, "AWS_CA_BUNDLE="+ca, "POOLHOUSE_RELEASES="+os.Getenv("POOLHOUSE_RELEASES"))
	try := func(args ...string) (code int, out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		c := exec.CommandContext(t.Context(), "poolhouse", args...)
		c.Env, c.Stdout, c.Stderr = env, &o, &e
		var ended *exec.ExitError
		if err := c.Run(); err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		return c.ProcessState.ExitCode(), o.String(), e.String()
	}
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := try(args...)
		if code != want {
			t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, want, out, errs)
		}
		return strings.Join(strings.Fields(out+errs), " ")
	}
	untilReached(t, func() (int, string) {
		code, _, errs := try("create", "--yes", file)
		return code, errs
	})
	run(cli.Done, "images", "push", "-f", file, whole)

	// Without the charts that define them, the objects are refused and nothing is begun.
	said := run(cli.Usage, "cluster", "apply", "--yes", "-f", file, "--values", values, bare)
	for _, want := range []string{
		"release shop, ExternalSecret database: is of the kind ExternalSecret (external-secrets.io/v1), which neither the cluster has nor a chart of the bundle defines",
		"add the chart aws-load-balancer-controller, which defines it, to the bundle",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	if said := run(cli.Done, "cluster", "status", "-f", file); !strings.Contains(said, "there is no release in") {
		t.Errorf("begun: %s", said)
	}

	said = run(cli.Done, "cluster", "apply", "--yes", "-f", file, "--values", values, whole)
	last := 0
	for _, name := range []string{"poolhouse-foundation in kube-system", "aws-load-balancer-controller in kube-system", "external-secrets in external-secrets", "shop in poolside"} {
		at := strings.Index(said, "installed "+name)
		if at < last {
			t.Errorf("%s is installed at %d, after what comes before it at %d: %s", name, at, last, said)
		}
		last = at
	}

	pool := x509.NewCertPool()
	proxy, err := url.Parse(e.Proxy)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no way in: %v", err)
	}
	visitor := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}, Timeout: 30 * time.Second}
	answered := func() (int, string) {
		t.Helper()
		resp, err := visitor.Get("https://api.poolside.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(text))
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(3 * time.Minute); !is(); {
			if time.Now().After(deadline) {
				code, text := answered()
				t.Fatalf("it is not so that %s; the load balancer answers %d %s", what, code, text)
			}
			<-time.After(time.Second) // the sandbox is a process of its own
		}
	}
	admin := administrator(t, func(args ...string) string {
		_, out, _ := try(args...)
		return out
	}, file)
	_, secret := admin.do(http.MethodGet, "/api/v1/namespaces/poolside/secrets/database", "")
	if at(secret, "data", "username") == nil {
		t.Errorf("the secret is %v", secret)
	}
	until("a pod answers behind the load balancer", func() bool {
		code, text := answered()
		return code == http.StatusOK && text != "" && !strings.Contains(text, "<")
	})

	// Without its Deployment the controller does nothing: the pod that goes stays a
	// target, and the one that comes isn't one.
	const controller = "/apis/apps/v1/namespaces/kube-system/deployments/aws-load-balancer-controller"
	_, kept := admin.do(http.MethodGet, controller, "")
	if code, answer := admin.do(http.MethodDelete, controller, ""); code != http.StatusOK {
		t.Fatalf("delete the controller: %d %v", code, answer)
	}
	<-time.After(5 * time.Second) // a look that had begun is over
	if code, _ := admin.text(http.MethodDelete, "/api/v1/namespaces/poolside/pods?labelSelector=app%3Dshop", ""); code != http.StatusOK {
		t.Fatalf("delete the pod: %d", code)
	}
	admin.until("/apis/apps/v1/namespaces/poolside/deployments/shop", "ready with another pod", func(o map[string]any) bool { return at(o, "status", "readyReplicas") == 1.0 })
	until("the load balancer has lost the pod", func() bool { code, _ := answered(); return code != http.StatusOK })

	// With it again, it follows.
	again, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"name": "aws-load-balancer-controller", "labels": at(kept, "metadata", "labels"), "annotations": at(kept, "metadata", "annotations")}, "spec": kept["spec"],
	})
	if err != nil {
		t.Fatal(err)
	}
	admin.make("/apis/apps/v1/namespaces/kube-system/deployments", string(again))
	until("the load balancer finds the other pod", func() bool { code, _ := answered(); return code == http.StatusOK })

	said = run(cli.Done, "delete", "--yes", file)
	if !strings.Contains(said, "uninstalled release shop") {
		t.Errorf("delete: %s", said)
	}
}
