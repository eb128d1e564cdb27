package releases_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"helm.sh/helm/v4/pkg/release/common"
	rel "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"

	"github.com/poolhouse/poolhouse/releases"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const token = "the-tests-own"

// config is what a control plane is told: a certificate for the name kubernetes, its
// authority, and a key of service accounts.
func config(t *testing.T) (c map[string]any, authority []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"kubernetes"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	ok(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	ok(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	ok(t, err)
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	ok(t, err)
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return map[string]any{
		"certificate": text("CERTIFICATE", leafDER), "key": text("PRIVATE KEY", keyDER), "authority": text("CERTIFICATE", caDER),
		"signingKey": text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signing)), "issuer": "https://oidc.example.com", "services": "10.100.0.0/16", "token": token,
	}, []byte(text("CERTIFICATE", caDER))
}

// cluster starts a real control plane, without nodes, and returns a socket on which
// whoever connects is its administrator, and a client.
func cluster(t *testing.T) (socket string, admin *kubernetes.Clientset) {
	t.Helper()
	program := os.Getenv("POOLHOUSE_PLANE_KUBERNETES")
	if program == "" {
		t.Skip("POOLHOUSE_PLANE_KUBERNETES names no program: go -C planes/kubernetes build -o DIR ./poolhouse-plane-kubernetes, which takes 10 minutes or more once, then POOLHOUSE_PLANE_KUBERNETES=DIR/poolhouse-plane-kubernetes")
	}
	told, authority := config(t)
	dir := filepath.Join(t.TempDir(), "state")
	ok(t, os.Mkdir(dir, 0o700))
	c := exec.Command(program)
	var said bytes.Buffer
	c.Stderr = &said
	in, err := c.StdinPipe()
	ok(t, err)
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), c.Wait()); err != nil {
			t.Errorf("the control plane: %v", err)
		}
	})
	ok(t, json.NewEncoder(in).Encode(map[string]any{"config": told, "dir": dir, "temporary": true}))
	var ready struct {
		Addresses map[string]string
		Error     string
	}
	if err := json.NewDecoder(out).Decode(&ready); err != nil || ready.Error != "" {
		t.Fatalf("%v %s\n%s", err, ready.Error, &said)
	}
	at := &url.URL{Scheme: "https", Host: ready.Addresses["api"]}
	admin, err = kubernetes.NewForConfig(&rest.Config{Host: at.String(), BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: authority}})
	ok(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	folder, err := os.MkdirTemp("", "poolhouse-")
	ok(t, err)
	socket = filepath.Join(folder, "api")
	l, err := net.Listen("unix", socket)
	ok(t, err)
	away := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: &httputil.ReverseProxy{
		FlushInterval: -1, Transport: away, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(at)
			p.Out.Header.Set("Authorization", "Bearer "+token)
		},
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		ok(t, server.Close())
		<-served
		away.CloseIdleConnections()
		ok(t, os.RemoveAll(folder))
	})
	return socket, admin
}

// loses is a socket before another, behind which what writes to a path gets no
// further: once a release is marked with a status, or from the beginning.
func loses(t *testing.T, socket, path, after string) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "poolhouse-")
	ok(t, err)
	l, err := net.Listen("unix", filepath.Join(folder, "api"))
	ok(t, err)
	away := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Transport: away, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: "kubernetes"})
	}}
	var mu sync.Mutex
	armed, lost := after == "", false
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			mu.Lock()
			lose := armed && !lost && strings.HasSuffix(r.URL.Path, path)
			lost = lost || lose
			armed = armed || bytes.Contains(body, []byte(after))
			mu.Unlock()
			if lose {
				http.Error(w, "lost", http.StatusInternalServerError)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if !lost {
			t.Error("nothing was lost")
		}
		ok(t, server.Close())
		<-served
		away.CloseIdleConnections()
		ok(t, os.RemoveAll(folder))
	})
	return filepath.Join(folder, "api")
}

const namespaceOf = `apiVersion: v1
kind: Namespace
metadata: {name: {{ .Values.namespace }}, labels: {pod-security.kubernetes.io/enforce: restricted}}
`

const deployment = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: {{ .Values.level | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: core-api}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: core-api}}
  template:
    metadata: {labels: {app: core-api}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: core-api
          image: acme/core-api:1
          securityContext: {allowPrivilegeEscalation: {{ .Values.escalate }}, capabilities: {drop: [ALL]}}
`

const webhook = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: {{ .Release.Namespace }}-guard}
webhooks:
  - name: guard.example.com
    admissionReviewVersions: [v1]
    sideEffects: None
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}}
    clientConfig: {service: {namespace: {{ .Release.Namespace }}, name: guard, path: /}}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [replicationcontrollers]}]
---
apiVersion: v1
kind: Service
metadata: {name: guard}
spec: {ports: [{port: 443}]}
`

const neverReady = `apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-never, namespace: kube-system}
spec: {containers: [{name: a, image: b}]}
`

// fixture is a namespace of a test in a cluster.
type fixture struct {
	t         *testing.T
	socket    string
	namespace string
	admin     *kubernetes.Clientset
}

func (f fixture) values(replicas int, level string) map[string]any {
	return map[string]any{"replicas": replicas, "level": level, "escalate": false}
}

func (f fixture) releases(values map[string]any) []releases.Release {
	return []releases.Release{
		{Name: f.namespace + "-base", Namespace: "kube-system", Chart: packed(f.t, "base", map[string]string{"templates/a.yaml": namespaceOf}), Values: map[string]any{"namespace": f.namespace}},
		{Name: "platform", Namespace: f.namespace, Chart: packed(f.t, "platform", map[string]string{"templates/a.yaml": deployment}), Values: values, Images: map[string]string{"acme/core-api:1": "r/core-api@sha256:" + strings.Repeat("0", 64)}, Places: places()},
	}
}

func (f fixture) apply(timeout int, list []releases.Release) answer {
	f.t.Helper()
	return ask(f.t.Context(), f.t, releases.Request{Operation: releases.Apply, Socket: f.socket, Run: "run", Timeout: timeout, Releases: list})
}

func (f fixture) actions(a answer) (list []string) {
	f.t.Helper()
	for _, one := range read[[]releases.Applied](f.t, a) {
		list = append(list, one.Action)
	}
	return list
}

// history are the revisions of the platform, by status.
func (f fixture) history() (list []string) {
	f.t.Helper()
	for _, r := range read[[]releases.Revision](f.t, ask(f.t.Context(), f.t, releases.Request{Operation: releases.History, Socket: f.socket, Releases: []releases.Release{{Name: "platform", Namespace: f.namespace}}})) {
		list = append(list, r.Status)
	}
	return list
}

func (f fixture) level() string {
	f.t.Helper()
	c, err := f.admin.CoreV1().ConfigMaps(f.namespace).Get(f.t.Context(), "settings", meta.GetOptions{})
	ok(f.t, err)
	return c.Data["level"]
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReleasesKubernetes has a real API server take releases: each subtest in a namespace of its
// own.
func TestReleasesKubernetes(t *testing.T) {
	socket, admin := cluster(t)
	run := func(name string, test func(t *testing.T, f fixture)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fixture{t, socket, name, admin})
		})
	}

	// A release is installed, left alone when nothing differs, upgraded, and removed
	// with what it stands on.
	run("life", func(t *testing.T, f fixture) {
		list := f.releases(f.values(0, "low"))
		same(t, f.actions(f.apply(60, list)), []string{"installed", "installed"})
		d, err := admin.AppsV1().Deployments(f.namespace).Get(t.Context(), "core-api", meta.GetOptions{})
		ok(t, err)
		if pod := d.Spec.Template.Spec; pod.NodeSelector["pool/core"] != "true" || !strings.HasPrefix(pod.Containers[0].Image, "r/core-api@sha256:") {
			t.Errorf("pods are %+v", pod)
		}
		same(t, f.actions(f.apply(60, list)), []string{"unchanged", "unchanged"})
		same(t, f.actions(f.apply(60, f.releases(f.values(0, "high")))), []string{"unchanged", "upgraded"})
		if f.level() != "high" {
			t.Errorf("level %s", f.level())
		}
		same(t, f.history(), []string{"superseded", "deployed"})
		a := ask(t.Context(), t, releases.Request{Operation: releases.Uninstall, Socket: socket, Timeout: 60, Releases: []releases.Release{{Name: f.namespace + "-base"}}})
		same(t, f.actions(a), []string{"removed"})
		if _, err := admin.CoreV1().Namespaces().Get(t.Context(), f.namespace, meta.GetOptions{}); err == nil {
			t.Error("its namespace is there")
		}
		if a := ask(t.Context(), t, releases.Request{Operation: releases.Uninstall, Socket: socket, Releases: []releases.Release{{Name: "nothing"}}}); len(a.problems) != 1 {
			t.Errorf("an unknown release: %+v", a)
		}
	})

	// What does not become ready is taken back, and says why: to what worked, or away.
	run("rollback", func(t *testing.T, f fixture) {
		a := f.apply(3, f.releases(f.values(1, "low")))
		if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "no nodes available to schedule pods") || !strings.Contains(a.problems[0].Reason, "it was removed") {
			t.Errorf("first: %+v", a.problems)
		}
		same(t, f.actions(f.apply(60, f.releases(f.values(0, "low")))), []string{"unchanged", "installed"})
		a = f.apply(3, f.releases(f.values(1, "high")))
		if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "it was rolled back to revision 1") {
			t.Errorf("then: %+v", a.problems)
		}
		if f.level() != "low" {
			t.Errorf("level %s", f.level())
		}
		same(t, f.history(), []string{"superseded", "failed", "deployed"})
	})

	run("gone", gone)

	// A pod that breaks the restricted standard is refused, and named.
	run("refused", func(t *testing.T, f fixture) {
		values := f.values(1, "low")
		values["escalate"] = true
		a := f.apply(3, f.releases(values))
		if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, `violates PodSecurity "restricted:latest"`) {
			t.Errorf("got %+v", a.problems)
		}
	})

	// L25: what a run that is over has left pending is repaired; what another client is
	// at is left alone until it must be over.
	run("repair", func(t *testing.T, f fixture) {
		list := f.releases(f.values(0, "low"))
		same(t, f.actions(f.apply(60, list)), []string{"installed", "installed"})
		store := storage.Init(driver.NewSecrets(admin.CoreV1().Secrets(f.namespace)))
		one, err := store.Last("platform")
		ok(t, err)
		r := one.(*rel.Release)
		for _, stuck := range []common.Status{common.StatusPendingUpgrade, common.StatusPendingRollback, common.StatusPendingInstall, common.StatusUninstalling} {
			r.Info.Status = stuck
			ok(t, store.Update(r))
			a := f.apply(60, list)
			same(t, f.actions(a), []string{"unchanged", "upgraded"})
			if want := "platform was left " + stuck.String(); !slices.ContainsFunc(a.events, func(e string) bool { return strings.HasPrefix(e, want) }) {
				t.Errorf("no event %q in %q", want, a.events)
			}
			one, err = store.Last("platform")
			ok(t, err)
			r = one.(*rel.Release)
		}
		labels := r.Labels
		r.Info.Status, r.Info.LastDeployed, r.Labels = common.StatusPendingUpgrade, time.Now(), map[string]string{"poolhouse/run": ""}
		ok(t, store.Update(r))
		if a := f.apply(60, list); len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "is pending-upgrade for 0s by another client of Helm") {
			t.Errorf("another client's: %+v", a.problems)
		}
		r.Info.LastDeployed, r.Labels = time.Now().Add(-time.Hour), labels
		ok(t, store.Update(r))
		same(t, f.actions(f.apply(60, list)), []string{"unchanged", "upgraded"})
	})

	// Helm marks the revision that was there as superseded before it marks the new one as
	// deployed. What is lost between the two takes nothing away.
	run("lost", func(t *testing.T, f fixture) {
		same(t, f.actions(f.apply(60, f.releases(f.values(0, "low")))), []string{"installed", "installed"})
		losing := f
		losing.socket = loses(t, f.socket, "/secrets/sh.helm.release.v1.platform.v2", "superseded")
		a := losing.apply(60, f.releases(f.values(0, "high")))
		if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "it was rolled back to revision 1") {
			t.Fatalf("got %+v", a)
		}
		if f.level() != "low" {
			t.Errorf("level %s", f.level())
		}
		same(t, f.actions(f.apply(60, f.releases(f.values(0, "high")))), []string{"unchanged", "upgraded"})

		// Killed there, and then an upgrade that fails.
		store := storage.Init(driver.NewSecrets(admin.CoreV1().Secrets(f.namespace)))
		one, err := store.Last("platform")
		ok(t, err)
		r := one.(*rel.Release)
		r.Info.Status = common.StatusPendingUpgrade
		ok(t, store.Update(r))
		a = f.apply(3, f.releases(f.values(1, "higher")))
		if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "it was rolled back to revision 3") {
			t.Fatalf("got %+v", a)
		}
		if f.level() != "low" {
			t.Errorf("level %s", f.level())
		}
		// What can't be begun is only said.
		blocked := f
		blocked.socket = loses(t, f.socket, "/secrets", "")
		if a := blocked.apply(60, f.releases(f.values(0, "high"))); len(a.problems) != 1 || strings.Contains(a.problems[0].Reason, "rolled back") || strings.Contains(a.problems[0].Reason, "removed") {
			t.Errorf("got %+v", a)
		}
		same(t, f.history(), []string{"superseded", "pending-upgrade", "superseded", "failed", "failed", "deployed"})
	})

	// What holds namespaces is not removed once there was a revision of it.
	run("held", func(t *testing.T, f fixture) {
		base := f.releases(nil)[:1]
		same(t, f.actions(f.apply(60, base)), []string{"installed"})
		store := storage.Init(driver.NewSecrets(admin.CoreV1().Secrets("kube-system")))
		one, err := store.Last(f.namespace + "-base")
		ok(t, err)
		r := one.(*rel.Release)
		r.Info.Status = common.StatusFailed
		ok(t, store.Update(r))
		broken := packed(t, "base", map[string]string{"templates/a.yaml": namespaceOf, "templates/b.yaml": neverReady})
		base[0].Chart = broken
		a := f.apply(3, base)
		if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "it was left as it is: no revision of it has worked") {
			t.Fatalf("got %+v", a)
		}
		if _, err := admin.CoreV1().Namespaces().Get(t.Context(), f.namespace, meta.GetOptions{}); err != nil {
			t.Error(err)
		}
	})

	// Nor is its first revision: the namespace may have been there before, marked as its
	// own, with what it held.
	run("adopted", func(t *testing.T, f fixture) {
		base := f.releases(nil)[:1]
		_, err := admin.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{
			Name: f.namespace, Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"},
			Annotations: map[string]string{"meta.helm.sh/release-name": base[0].Name, "meta.helm.sh/release-namespace": base[0].Namespace},
		}}, meta.CreateOptions{})
		ok(t, err)
		_, err = admin.CoreV1().ConfigMaps(f.namespace).Create(t.Context(), &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "theirs"}}, meta.CreateOptions{})
		ok(t, err)
		base[0].Chart = packed(t, "base", map[string]string{"templates/a.yaml": namespaceOf, "templates/b.yaml": neverReady})
		a := f.apply(3, base)
		if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "it was left as it is: no revision of it has worked") {
			t.Errorf("got %+v", a)
		}
		if _, err := admin.CoreV1().ConfigMaps(f.namespace).Get(t.Context(), "theirs", meta.GetOptions{}); err != nil {
			t.Error(err)
		}
	})

	// What only an upgrade renders is looked at before anything is begun.
	run("upgrade", func(t *testing.T, f fixture) {
		list := f.releases(f.values(0, "low"))
		same(t, f.actions(f.apply(60, list)), []string{"installed", "installed"})
		list[1].Chart = packed(t, "platform", map[string]string{"templates/a.yaml": deployment, "templates/b.yaml": `{{ if .Release.IsUpgrade }}{{ fail "only then" }}{{ end }}`})
		a := f.apply(60, list)
		if len(a.problems) != 1 || !a.refused || !strings.Contains(a.problems[0].Reason, "only then") || len(a.events) > 0 {
			t.Errorf("got %+v", a)
		}
		d, err := admin.AppsV1().Deployments(f.namespace).Get(t.Context(), "core-api", meta.GetOptions{})
		ok(t, err)
		if m := d.ManagedFields[0].Manager; m != "poolhouse" {
			t.Errorf("its fields are of %s", m)
		}
	})

	// L17: nothing is begun after a webhook before its service has an endpoint.
	run("barrier", func(t *testing.T, f fixture) {
		guard := releases.Release{Name: "guard", Namespace: f.namespace, Chart: packed(t, "guard", map[string]string{"templates/a.yaml": webhook})}
		list := slices.Insert(f.releases(f.values(0, "low")), 1, guard)
		for range 2 { // the second time it is there already
			a := f.apply(2, list)
			if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "the service barrier/guard of its webhooks has no endpoint that is ready") {
				t.Fatalf("without an endpoint: %+v", a)
			}
			if slices.ContainsFunc(a.events, func(e string) bool { return strings.HasPrefix(e, "platform ") }) {
				t.Errorf("the next release was begun: %q", a.events)
			}
		}
		ready := true
		_, err := admin.DiscoveryV1().EndpointSlices(f.namespace).Create(t.Context(), &discovery.EndpointSlice{
			ObjectMeta:  meta.ObjectMeta{Name: "guard", Labels: map[string]string{discovery.LabelServiceName: "guard"}},
			AddressType: discovery.AddressTypeIPv4,
			Endpoints:   []discovery.Endpoint{{Addresses: []string{"10.0.0.1"}, Conditions: discovery.EndpointConditions{Ready: &ready}}},
		}, meta.CreateOptions{})
		ok(t, err)
		same(t, f.actions(f.apply(60, list)), []string{"unchanged", "unchanged", "installed"})
	})

	// A release is waited for until its pods are ready. Nothing runs here, so the test
	// says that they are.
	run("ready", func(t *testing.T, f fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		played := make(chan struct{})
		go func() {
			defer close(played)
			for ctx.Err() == nil {
				pods, err := admin.CoreV1().Pods(f.namespace).List(ctx, meta.ListOptions{})
				for i := 0; err == nil && i < len(pods.Items); i++ {
					p := &pods.Items[i]
					p.Status.Phase, p.Status.Conditions = core.PodRunning, []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}}
					_, err = admin.CoreV1().Pods(f.namespace).UpdateStatus(ctx, p, meta.UpdateOptions{})
				}
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		}()
		same(t, f.actions(f.apply(60, f.releases(f.values(2, "low")))), []string{"installed", "installed"})
		cancel()
		<-played
		for _, r := range read[[]releases.Revision](t, ask(t.Context(), t, releases.Request{Operation: releases.Status, Socket: socket})) {
			if r.Namespace == f.namespace && (r.Ready != 2 || r.Pods != 2 || len(r.Waits) > 0 || r.Status != "deployed") {
				t.Errorf("status %+v", r)
			}
		}
	})
}
