package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/poolhouse/poolhouse/planes/kubernetes"
	"github.com/poolhouse/poolhouse/planes/kubernetes/podspec"
)

// The test's binary is the program too, and the parent of one.
func TestMain(m *testing.M) {
	switch os.Getenv("POOLHOUSE_TEST_AS") {
	case "plane":
		main()
	case "parent":
		os.Exit(parent())
	}
	os.Exit(m.Run())
}

// as runs this binary as something else.
func as(what string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "POOLHOUSE_TEST_AS="+what)
	return c
}

// parent starts a plane whose output is its own, passes it the first line, and
// stays until it is killed.
func parent() int {
	c := as("plane")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		line, _ := bufio.NewReader(os.Stdin).ReadBytes('\n')
		_, err = in.Write(line)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {}
}

const token = "the-sandboxs-own"

// identity is a certificate for the name kubernetes, its authority, and a key of
// service accounts.
func identity(t *testing.T) (c kubernetes.Config, signing *rsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ok(t, err)
	ca, err := x509.ParseCertificate(der)
	ok(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"kubernetes", "kubernetes.default.svc"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 100, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	ok(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	ok(t, err)
	signing, err = rsa.GenerateKey(rand.Reader, 2048)
	ok(t, err)
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return kubernetes.Config{
		Certificate: text("CERTIFICATE", leafDER), Key: text("PRIVATE KEY", keyDER), Authority: text("CERTIFICATE", der),
		SigningKey: text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signing)), Issuer: "https://oidc.eks.us-east-1.amazonaws.com/id/0123", Services: "10.100.0.0/16", Token: token,
	}, signing
}

// certificate is one for a name, and its own authority as PEM.
func certificate(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ok(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// claimsOf is what a token says.
func claimsOf(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	ok(t, err)
	return string(text)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cluster is a plane that runs in a process of its own.
type cluster struct {
	t      *testing.T
	config kubernetes.Config
	at     map[string]string
	dir    string
	admin  *client.Clientset
	end    func()
}

func open(t *testing.T, config kubernetes.Config) *cluster {
	t.Helper()
	k := &cluster{t: t, config: config, dir: filepath.Join(t.TempDir(), strings.Repeat("long", 30))}
	ok(t, os.Mkdir(k.dir, 0o700))
	c := as("plane")
	var log bytes.Buffer
	c.Stderr = &log
	in, err := c.StdinPipe()
	ok(t, err)
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	ended := false
	k.end = func() {
		if ended {
			return
		}
		ended = true
		if err := errors.Join(in.Close(), c.Wait()); err != nil {
			t.Errorf("it ended: %v\n%s", err, &log)
		} else if t.Failed() {
			const most = 40 << 10
			text := log.String()
			t.Logf("its log: %s", text[max(0, len(text)-most):])
		}
		if _, err := os.Stat(k.dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("its folder stays: %v", err)
		}
	}
	t.Cleanup(k.end)
	ok(t, json.NewEncoder(in).Encode(start{Config: config, Dir: k.dir, Temporary: true}))
	var r ready
	if err := json.NewDecoder(out).Decode(&r); err != nil || r.Error != "" {
		t.Fatalf("%v %s\n%s", err, r.Error, &log)
	}
	k.at = r.Addresses
	k.admin = k.as(token)
	return k
}

// as is a client with a token.
func (k *cluster) as(token string) *client.Clientset {
	k.t.Helper()
	c, err := client.NewForConfig(&rest.Config{Host: "https://" + k.at[kubernetes.API], BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(k.config.Authority)}})
	ok(k.t, err)
	return c
}

// nodes tells the control which nodes there are.
func (k *cluster) nodes(list ...kubernetes.Node) kubernetes.Report {
	k.t.Helper()
	body, err := json.Marshal(list)
	ok(k.t, err)
	status, text := k.put(token, string(body))
	var r kubernetes.Report
	if err := json.Unmarshal(text, &r); err != nil || status != http.StatusOK {
		k.t.Fatalf("%d %s", status, text)
	}
	return r
}

func (k *cluster) put(token, body string) (int, []byte) {
	k.t.Helper()
	req, err := http.NewRequestWithContext(k.t.Context(), http.MethodPut, "http://"+k.at[kubernetes.Control]+"/nodes", strings.NewReader(body))
	ok(k.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	ok(k.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ok(k.t, err)
	return res.StatusCode, text
}

// pod waits for a pod that something is true of.
func (k *cluster) pod(namespace, labels string, is func(*core.Pod) bool) *core.Pod {
	k.t.Helper()
	w, err := k.admin.CoreV1().Pods(namespace).Watch(k.t.Context(), meta.ListOptions{LabelSelector: labels})
	ok(k.t, err)
	defer w.Stop()
	for e := range w.ResultChan() {
		if p, ok := e.Object.(*core.Pod); ok && is(p) {
			return p
		}
	}
	k.t.Fatalf("no pod %s in %s is so", labels, namespace)
	return nil
}

func condition(p *core.Pod, kind core.PodConditionType) core.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return core.PodCondition{}
}

func node(name, zone string) kubernetes.Node {
	return kubernetes.Node{
		Name: name, ProviderID: "aws:///" + zone + "/i-" + name, Labels: map[string]string{core.LabelTopologyZone: zone}, Kubelet: "v1.33.0-eks-0", Image: "Amazon Linux 2023", Architecture: "amd64",
		Capacity: map[string]string{"cpu": "4", "memory": "16Gi", "pods": "58"}, Allocatable: map[string]string{"cpu": "3920m", "memory": "14Gi", "pods": "58"}, InternalIP: "10.0.0.1",
	}
}

func deployment(name string, labels map[string]string, requests core.ResourceList) *apps.Deployment {
	return &apps.Deployment{ObjectMeta: meta.ObjectMeta{Name: name}, Spec: apps.DeploymentSpec{
		Selector: &meta.LabelSelector{MatchLabels: labels},
		Template: core.PodTemplateSpec{ObjectMeta: meta.ObjectMeta{Labels: labels}, Spec: core.PodSpec{Containers: []core.Container{{Name: "c", Image: "registry.invalid/c:1", Resources: core.ResourceRequirements{Requests: requests, Limits: requests}}}}},
	}}
}

// hook answers reviews as a test wants.
func hook(t *testing.T) *kubernetes.Webhook {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r *http.Request, v any) {
		if r.Header.Get("Authorization") != "Bearer hook" {
			t.Errorf("the webhook is called by %q", r.Header.Get("Authorization"))
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("POST /authenticate", func(w http.ResponseWriter, r *http.Request) {
		var in authentication.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		if name, known := strings.CutPrefix(in.Spec.Token, "of-"); known {
			in.Status = authentication.TokenReviewStatus{Authenticated: true, User: authentication.UserInfo{Username: name, Groups: []string{name + "s"}, Extra: map[string]authentication.ExtraValue{"canonicalArn": {name}}}}
		}
		answer(w, r, in)
	})
	mux.HandleFunc("POST /authorize", func(w http.ResponseWriter, r *http.Request) {
		var in authorization.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		arn := in.Spec.Extra["canonicalArn"]
		in.Status.Allowed = len(arn) == 1 && arn[0] == "viewer" && in.Spec.ResourceAttributes != nil && in.Spec.ResourceAttributes.Verb == "list"
		answer(w, r, in)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Node string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		answer(w, r, map[string]string{"user": "AWS", "password": "of " + in.Node})
	})
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return &kubernetes.Webhook{URL: s.URL, Token: "hook", Authority: authority}
}

// TestCluster takes one cluster through its life: starting one takes seconds.
func TestCluster(t *testing.T) {
	config, signing := identity(t)
	config.Webhook = hook(t)
	k := open(t, config)
	_, err := k.admin.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: "team"}}, meta.CreateOptions{})
	ok(t, err)
	in := func(f func(*cluster, *testing.T)) func(*testing.T) {
		return func(t *testing.T) {
			c := *k
			c.t = t
			f(&c, t)
		}
	}
	t.Run("access", in((*cluster).access))
	t.Run("webhook", in((*cluster).webhook))
	t.Run("tokens", in(func(k *cluster, t *testing.T) { k.tokens(t, signing) }))
	t.Run("pods", in((*cluster).pods))
	t.Run("nodes", in((*cluster).changes))
	k.end()
	if _, err := net.Dial("tcp", k.at[kubernetes.API]); err == nil {
		t.Error("the API still answers")
	}
}

// access: whoever shows nothing gets health checks alone.
func (k *cluster) access(t *testing.T) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(k.config.Authority))
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer way.CloseIdleConnections()
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/healthz": 200, "/version": 401, "/api": 401, "/api/v1/nodes": 401, "/metrics": 401} {
		for _, header := range []string{"", "Bearer wrong"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+k.at[kubernetes.API]+path, nil)
			ok(t, err)
			if header != "" {
				req.Header.Set("Authorization", header)
				want = 401
			}
			res, err := way.RoundTrip(req)
			ok(t, err)
			ok(t, res.Body.Close())
			if res.StatusCode != want {
				t.Errorf("%s with %q: %d, want %d", path, header, res.StatusCode, want)
			}
		}
	}
	module, err := os.ReadFile("../go.mod")
	ok(t, err)
	v, err := k.admin.Discovery().ServerVersion()
	ok(t, err)
	if !strings.Contains(string(module), "\tk8s.io/kubernetes "+v.GitVersion+"\n") || !strings.HasPrefix(v.GitVersion, "v"+v.Major+"."+v.Minor+".") {
		t.Errorf("it says version %s, %s.%s, which go.mod doesn't", v.GitVersion, v.Major, v.Minor)
	}
	if status, text := k.put("wrong", "[]"); status != http.StatusUnauthorized {
		t.Errorf("the control without its token: %d %s", status, text)
	}
	if status, text := k.put(token, "{}"); status != http.StatusBadRequest {
		t.Errorf("the control without a list: %d %s", status, text)
	}
}

// webhook: it knows users, and allows what RBAC doesn't; RBAC goes on.
func (k *cluster) webhook(t *testing.T) {
	viewer, member := k.as("of-viewer"), k.as("of-member")
	_, err := viewer.CoreV1().Pods("team").List(t.Context(), meta.ListOptions{})
	ok(t, err)
	_, err = viewer.CoreV1().Pods("team").Get(t.Context(), "x", meta.GetOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `User "viewer" cannot get resource "pods"`) {
		t.Errorf("what the webhook doesn't allow: %v", err)
	}
	if _, err := member.CoreV1().Pods("team").List(t.Context(), meta.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("without a role: %v", err)
	}
	_, err = k.admin.RbacV1().RoleBindings("team").Create(t.Context(), &rbac.RoleBinding{
		ObjectMeta: meta.ObjectMeta{Name: "members"}, RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbac.Subject{{APIGroup: rbac.GroupName, Kind: "Group", Name: "members"}},
	}, meta.CreateOptions{})
	ok(t, err)
	// The authorizer follows the binding by a watch.
	for {
		_, err := member.CoreV1().Pods("team").List(t.Context(), meta.ListOptions{})
		if err == nil {
			break
		}
		if !apierrors.IsForbidden(err) {
			t.Fatal(err)
		}
	}
	if _, err := member.CoreV1().Pods("default").List(t.Context(), meta.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("elsewhere: %v", err)
	}
}

// tokens: service accounts' tokens are signed by the key given, by the issuer
// given.
func (k *cluster) tokens(t *testing.T, signing *rsa.PrivateKey) {
	_, err := k.admin.CoreV1().ServiceAccounts("team").Create(t.Context(), &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: "app"}}, meta.CreateOptions{})
	ok(t, err)
	r, err := k.admin.CoreV1().ServiceAccounts("team").CreateToken(t.Context(), "app", &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{Audiences: []string{"sts.amazonaws.com"}}}, meta.CreateOptions{})
	ok(t, err)
	parts := strings.Split(r.Status.Token, ".")
	if len(parts) != 3 {
		t.Fatalf("the token has %d parts", len(parts))
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub string
		Aud      []string
	}
	for i, into := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		ok(t, err)
		ok(t, json.Unmarshal(text, into))
	}
	if claims.Iss != k.config.Issuer || claims.Sub != "system:serviceaccount:team:app" || !slices.Equal(claims.Aud, []string{"sts.amazonaws.com"}) || header.Alg != "RS256" {
		t.Errorf("it says %+v %+v", header, claims)
	}
	ok(t, verify(&signing.PublicKey, parts))
	der, err := x509.MarshalPKIXPublicKey(signing.Public())
	ok(t, err)
	if want := keyID(der); header.Kid != want {
		t.Errorf("its key is %s, not %s", header.Kid, want)
	}
	if _, err := k.as(r.Status.Token).CoreV1().Pods("team").List(t.Context(), meta.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("with another audience: %v", err)
	}
}

// verify checks the signature of a token.
func verify(key *rsa.PublicKey, parts []string) error {
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
}

// keyID is what Kubernetes calls a public key.
func keyID(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pods are bound by the scheduler, and never ready.
func (k *cluster) pods(t *testing.T) {
	a, b := node("a", "us-east-1a"), node("b", "us-east-1b")
	b.Taints = []core.Taint{{Key: "dedicated", Value: "web", Effect: core.TaintEffectNoSchedule}}
	k.nodes(a, b)
	labels := map[string]string{"app": "one"}
	_, err := k.admin.AppsV1().Deployments("team").Create(t.Context(), deployment("one", labels, core.ResourceList{core.ResourceCPU: resource.MustParse("1")}), meta.CreateOptions{})
	ok(t, err)
	p := k.pod("team", "app=one", func(p *core.Pod) bool { return condition(p, core.PodReady).Reason == podspec.NotRun })
	if p.Spec.NodeName != "a" || p.Status.Phase != core.PodPending || condition(p, core.PodReady).Status != core.ConditionFalse || condition(p, core.PodScheduled).Status != core.ConditionTrue {
		t.Errorf("on node %s, status %+v", p.Spec.NodeName, p.Status)
	}
	if w := p.Status.ContainerStatuses[0].State.Waiting; w == nil || w.Reason != podspec.NotRun || !strings.HasPrefix(w.Message, "process not run: ") {
		t.Errorf("its container is %+v", p.Status.ContainerStatuses[0])
	}
	d, err := k.admin.AppsV1().Deployments("team").Get(t.Context(), "one", meta.GetOptions{})
	ok(t, err)
	if d.Status.ReadyReplicas != 0 {
		t.Errorf("%d replicas are ready", d.Status.ReadyReplicas)
	}
	gpu := core.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
	_, err = k.admin.AppsV1().Deployments("team").Create(t.Context(), deployment("gpu", map[string]string{"app": "gpu"}, gpu), meta.CreateOptions{})
	ok(t, err)
	p = k.pod("team", "app=gpu", func(p *core.Pod) bool { return condition(p, core.PodScheduled).Reason == core.PodReasonUnschedulable })
	for _, want := range []string{"0/2 nodes are available", "1 Insufficient nvidia.com/gpu", "1 node(s) had untolerated taint"} {
		if got := condition(p, core.PodScheduled).Message; !strings.Contains(got, want) {
			t.Errorf("the scheduler says %q, nothing of %q", got, want)
		}
	}
	// A node with what it wants takes it.
	g := node("g", "us-east-1a")
	g.Capacity["nvidia.com/gpu"], g.Allocatable["nvidia.com/gpu"] = "1", "1"
	k.nodes(a, b, g)
	k.pod("team", "app=gpu", func(p *core.Pod) bool { return p.Spec.NodeName == "g" })
	for _, name := range []string{"one", "gpu"} {
		ok(t, k.admin.AppsV1().Deployments("team").Delete(t.Context(), name, meta.DeleteOptions{}))
	}
}

// changes of nodes: labels, draining as budgets allow, removal.
func (k *cluster) changes(t *testing.T) {
	a, b := node("a", "us-east-1a"), node("b", "us-east-1b")
	a.Labels["team"] = "core"
	k.nodes(a, b)
	n, err := k.admin.CoreV1().Nodes().Get(t.Context(), "a", meta.GetOptions{})
	ok(t, err)
	if n.Labels["team"] != "core" || n.Labels[core.LabelHostname] != "a" || n.Spec.ProviderID != a.ProviderID || n.Status.Allocatable.Cpu().String() != "3920m" {
		t.Errorf("the node is %+v", n)
	}
	if _, err := k.admin.CoreV1().Nodes().Get(t.Context(), "g", meta.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a node that is gone: %v", err)
	}
	delete(a.Labels, "team")
	b.Draining = true
	k.nodes(a, b)
	if n, err = k.admin.CoreV1().Nodes().Get(t.Context(), "a", meta.GetOptions{}); err != nil || n.Labels["team"] != "" {
		t.Errorf("a label that is gone: %v, %v", n.Labels, err)
	}
	_, err = k.admin.AppsV1().Deployments("team").Create(t.Context(), deployment("moves", map[string]string{"app": "moves"}, core.ResourceList{core.ResourceCPU: resource.MustParse("1")}), meta.CreateOptions{})
	ok(t, err)
	k.pod("team", "app=moves", func(p *core.Pod) bool { return p.Spec.NodeName == "a" })
	a.Draining, b.Draining = true, false
	for k.nodes(a, b).Pods["a"] > 0 {
		// What is evicted is gone once its node has seen that.
	}
	n, err = k.admin.CoreV1().Nodes().Get(t.Context(), "a", meta.GetOptions{})
	ok(t, err)
	if !n.Spec.Unschedulable {
		t.Error("a node that is drained takes pods")
	}
	k.pod("team", "app=moves", func(p *core.Pod) bool { return p.Spec.NodeName == "b" })
	// Another machine takes the name of one that is gone.
	before, err := k.admin.CoreV1().Nodes().Get(t.Context(), "b", meta.GetOptions{})
	ok(t, err)
	b.ProviderID += "2"
	k.nodes(a, b)
	after, err := k.admin.CoreV1().Nodes().Get(t.Context(), "b", meta.GetOptions{})
	ok(t, err)
	if after.UID == before.UID || after.Spec.ProviderID != b.ProviderID {
		t.Errorf("the node of another machine is %s of %s, as before %s", after.UID, after.Spec.ProviderID, before.UID)
	}
	k.nodes()
	list, err := k.admin.CoreV1().Nodes().List(t.Context(), meta.ListOptions{})
	ok(t, err)
	if len(list.Items) != 0 {
		t.Errorf("%d nodes are left", len(list.Items))
	}
}

// TestParentKilled: neither the process nor its folder outlives a parent that is
// killed. Of what a process before had for nodes nothing is there once it answers.
func TestParentKilled(t *testing.T) {
	config, _ := identity(t)
	dir := filepath.Join(t.TempDir(), "state")
	left := filepath.Join(dir, "nodes", "gone", "pods")
	ok(t, os.MkdirAll(left, 0o700))
	c := as("parent")
	in, err := c.StdinPipe()
	ok(t, err)
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	ok(t, json.NewEncoder(in).Encode(start{Config: config, Dir: dir, Temporary: true}))
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	ok(t, err)
	if !strings.Contains(line, `"addresses"`) {
		t.Fatalf("it says %s", line)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of a node that went stays: %v", err)
	}
	ok(t, c.Process.Signal(syscall.SIGKILL))
	// The output ends with the last process that has it.
	_, err = io.Copy(io.Discard, lines)
	ok(t, err)
	_ = c.Wait() // it was killed
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder stays: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	whole, _ := identity(t)
	for want, change := range map[string]func(*kubernetes.Config){
		"a cluster needs a token":           func(c *kubernetes.Config) { c.Token = "" },
		"a cluster needs a certificate":     func(c *kubernetes.Config) { c.Certificate = "" },
		"read the range of services":        func(c *kubernetes.Config) { c.Services = "10.0.0.0" },
		"neither blanks, commas nor quotes": func(c *kubernetes.Config) { c.Token = "a b" },
		"a webhook needs an https URL":      func(c *kubernetes.Config) { c.Webhook = &kubernetes.Webhook{URL: "http://127.0.0.1"} },
	} {
		config := whole
		change(&config)
		c := as("plane")
		text, err := json.Marshal(start{Config: config, Dir: t.TempDir()})
		ok(t, err)
		c.Stdin = bytes.NewReader(append(text, '\n'))
		out, err := c.Output()
		var r ready
		if json.Unmarshal(out, &r) != nil || err == nil || !strings.Contains(r.Error, want) {
			t.Errorf("%s: %v, %s", want, err, out)
		}
	}
}
