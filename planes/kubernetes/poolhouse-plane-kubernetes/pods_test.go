package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/poolhouse/poolhouse/planes/kubernetes"
	"github.com/poolhouse/poolhouse/planes/kubernetes/podspec"
)

// host is ECR's, as the tests' registry is called.
const host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

// built builds a static program of this module.
func built(t *testing.T, at string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	c := exec.Command("go", "build", "-trimpath", "-o", out, at)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", at, err, text)
	}
	return out
}

// registry has one image, which runs a program, and lets those in who have the
// password of a node. It returns the image's reference.
func registry(t *testing.T, program string, cert tls.Certificate) (address, reference string) {
	t.Helper()
	text, err := os.ReadFile(program)
	ok(t, err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		text []byte
	}{{"app", 0o755, text}, {"etc/passwd", 0o644, []byte("nonroot:x:65532:65532::/:/app\n")}} {
		ok(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.text))}))
		_, err := w.Write(f.text)
		ok(t, err)
	}
	ok(t, w.Close())
	blobs := map[string][]byte{}
	blob := func(kind string, body []byte) map[string]any {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(body))
		blobs[digest] = body
		return map[string]any{"mediaType": kind, "digest": digest, "size": len(body)}
	}
	text2 := func(v any) []byte {
		t.Helper()
		text, err := json.Marshal(v)
		ok(t, err)
		return text
	}
	l := blob("application/vnd.oci.image.layer.v1.tar", layer.Bytes())
	config := blob("application/vnd.oci.image.config.v1+json", text2(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": []any{l["digest"]}},
		"config": map[string]any{"Entrypoint": []string{"/app"}, "Cmd": []string{"serve"}, "User": "nonroot", "Env": []string{"FROM=image", "WHO=image"}},
	}))
	const media = "application/vnd.oci.image.manifest.v1+json"
	manifest := blob(media, text2(map[string]any{"schemaVersion": 2, "mediaType": media, "config": config, "layers": []any{l}}))["digest"].(string)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok {
			w.Header().Set("Www-Authenticate", `Basic realm="https://`+host+`/",service="ecr.amazonaws.com"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if user != "AWS" || !strings.HasPrefix(password, "of ") || strings.HasSuffix(password, "poor") {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors": [{"code": "DENIED", "message": "not authorized to perform: ecr:BatchGetImage"}]}`)
			return
		}
		body, known := blobs[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
		switch {
		case r.URL.Path == "/v2/":
		case !known:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "Requested image not found"}]}`)
		default:
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", media)
				w.Header().Set("Docker-Content-Digest", manifest)
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), host + "/app@" + manifest
}

// runs is a cluster whose pods run, and the image that they run.
type runs struct {
	*cluster
	image string
}

func (k *runs) pod(name string, change func(*core.PodSpec)) {
	k.t.Helper()
	p := &core.Pod{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"name": name}}, Spec: core.PodSpec{
		ServiceAccountName: "app", Containers: []core.Container{{Name: "c", Image: k.image}},
	}}
	change(&p.Spec)
	_, err := k.admin.CoreV1().Pods("team").Create(k.t.Context(), p, meta.CreateOptions{})
	ok(k.t, err)
}

// until waits for a pod that something is true of; what it was last, its events, and why
// it was watched no longer are said if none becomes so.
func (k *runs) until(name string, is func(*core.Pod) bool) *core.Pod {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	w, err := k.admin.CoreV1().Pods("team").Watch(ctx, meta.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	ok(k.t, err)
	defer w.Stop()
	var last core.Pod
	var said []string
	for e := range w.ResultChan() {
		switch o := e.Object.(type) {
		case *core.Pod:
			if last = *o; is(o) {
				return o
			}
		default:
			said = append(said, fmt.Sprintf("the watch: %v", apierrors.FromObject(o)))
		}
	}
	if ctx.Err() == nil {
		said = append(said, "the watch ended early")
	}
	events, err := k.admin.CoreV1().Events("team").List(k.t.Context(), meta.ListOptions{FieldSelector: "involvedObject.name=" + name})
	ok(k.t, err)
	for _, e := range events.Items {
		said = append(said, e.Reason+": "+e.Message)
	}
	status, _ := json.MarshalIndent(last.Status, "", " ")
	k.t.Fatalf("pod %s never becomes so:\n%s\n%s", name, status, strings.Join(said, "\n"))
	return nil
}

func isReady(p *core.Pod) bool { return condition(p, core.PodReady).Status == core.ConditionTrue }

func (k *runs) logs(name string, o *core.PodLogOptions) string {
	k.t.Helper()
	text, err := k.admin.CoreV1().Pods("team").GetLogs(name, o).DoRaw(k.t.Context())
	ok(k.t, err)
	return string(text)
}

func (k *runs) rest() *rest.Config {
	return &rest.Config{Host: "https://" + k.at[kubernetes.API], BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(k.config.Authority)}}
}

// exec runs a command in a pod, as kubectl does: by WebSockets, or by SPDY.
func (k *runs) exec(name, stdin string, spdyOnly bool, args ...string) (string, error) {
	k.t.Helper()
	u := k.admin.CoreV1().RESTClient().Post().Resource("pods").Namespace("team").Name(name).SubResource("exec").
		VersionedParams(&core.PodExecOptions{Container: "c", Command: args, Stdin: stdin != "", Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	e, err := remotecommand.NewWebSocketExecutor(k.rest(), http.MethodGet, u.String())
	if spdyOnly {
		e, err = remotecommand.NewSPDYExecutor(k.rest(), http.MethodPost, u)
	}
	ok(k.t, err)
	var out, errs bytes.Buffer
	o := remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}
	if stdin != "" {
		o.Stdin = strings.NewReader(stdin)
	}
	err = e.StreamWithContext(k.t.Context(), o)
	return out.String() + errs.String(), err
}

// TestPods has pods run on a node, with what Kubernetes documents of them.
func TestPods(t *testing.T) {
	config, _ := identity(t)
	config.Webhook = hook(t)
	cert, authority := certificate(t, host)
	k := &runs{}
	var address string
	address, k.image = registry(t, built(t, "./testdata/app"), cert)
	config.Pods = &kubernetes.Pods{Program: built(t, "../poolhouse-pods"), Names: address, Authority: authority, Region: "us-east-1"}
	k.cluster = open(t, config)
	_, err := k.admin.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: "team"}}, meta.CreateOptions{})
	ok(t, err)
	_, err = k.admin.CoreV1().ServiceAccounts("team").Create(t.Context(), &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: "app", Annotations: map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/app"}}}, meta.CreateOptions{})
	ok(t, err)
	_, err = k.admin.CoreV1().ConfigMaps("team").Create(t.Context(), &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "settings"}, Data: map[string]string{"mode": "quick", "authority": authority}}, meta.CreateOptions{})
	ok(t, err)
	_, err = k.admin.CoreV1().Secrets("team").Create(t.Context(), &core.Secret{ObjectMeta: meta.ObjectMeta{Name: "keys"}, StringData: map[string]string{"key": "s3cret"}}, meta.CreateOptions{})
	ok(t, err)
	a := node("a", "us-east-1a")
	a.Subnet = "10.0.64.0/24"
	// Nothing is scheduled to it by itself.
	poor := node("poor", "us-east-1b")
	poor.Taints = []core.Taint{{Key: "poor", Effect: core.TaintEffectNoSchedule}}
	k.nodes(a, poor)
	for name, f := range map[string]func(*runs, *testing.T){
		"serves": (*runs).serves, "ends": (*runs).ends, "restarts": (*runs).restarts, "images": (*runs).images, "unfit": (*runs).unfit, "finds": (*runs).finds, "told to end": (*runs).toldToEnd,
	} {
		t.Run(name, func(t *testing.T) {
			c := *k.cluster
			c.t = t
			f(&runs{&c, k.image}, t)
		})
	}
	// A node that goes takes its pods with it.
	r := k.nodes(a, poor)
	if r.Pods["a"] == 0 || r.NotRun["a"] == 0 {
		t.Errorf("the report is %+v", r)
	}
	k.nodes(poor)
	for _, name := range []string{"web"} {
		if _, err := k.admin.CoreV1().Pods("team").Get(t.Context(), name, meta.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("pod %s of a node that is gone: %v", name, err)
		}
	}
}

// serves: a pod with variables, volumes and an identity, that becomes ready when its
// probe says so, whose log is read, in which commands run, and that is connected to.
func (k *runs) serves(t *testing.T) {
	k.pod("web", func(s *core.PodSpec) {
		s.NodeName = "a"
		c := &s.Containers[0]
		field := func(name, path string) core.EnvVar {
			return core.EnvVar{Name: name, ValueFrom: &core.EnvVarSource{FieldRef: &core.ObjectFieldSelector{FieldPath: path}}}
		}
		c.Env = []core.EnvVar{
			field("NODE", "spec.nodeName"), field("IP", "status.podIP"), field("POD", "metadata.name"),
			{Name: "WHO", Value: "pod"},
			{Name: "BOTH", Value: "$(WHO) on $(NODE)"},
			{Name: "READY", Value: "/scratch/ready"},
			{Name: "MODE", ValueFrom: &core.EnvVarSource{ConfigMapKeyRef: &core.ConfigMapKeySelector{LocalObjectReference: core.LocalObjectReference{Name: "settings"}, Key: "mode"}}},
			{Name: "KEY", ValueFrom: &core.EnvVarSource{SecretKeyRef: &core.SecretKeySelector{LocalObjectReference: core.LocalObjectReference{Name: "keys"}, Key: "key"}}},
			{Name: "CPU", ValueFrom: &core.EnvVarSource{ResourceFieldRef: &core.ResourceFieldSelector{Resource: "limits.cpu"}}},
		}
		c.EnvFrom = []core.EnvFromSource{{Prefix: "SET_", ConfigMapRef: &core.ConfigMapEnvSource{LocalObjectReference: core.LocalObjectReference{Name: "settings"}}}}
		c.Resources.Limits = core.ResourceList{core.ResourceCPU: resource.MustParse("2")}
		c.Ports = []core.ContainerPort{{Name: "http", ContainerPort: 8080}}
		c.ReadinessProbe = &core.Probe{ProbeHandler: core.ProbeHandler{HTTPGet: &core.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}}, PeriodSeconds: 1}
		mode, group, yes := int32(0o440), int64(2000), true
		s.SecurityContext = &core.PodSecurityContext{FSGroup: &group, RunAsNonRoot: &yes, RunAsUser: &[]int64{65532}[0]}
		c.SecurityContext = &core.SecurityContext{ReadOnlyRootFilesystem: &yes}
		s.Volumes = []core.Volume{
			{Name: "settings", VolumeSource: core.VolumeSource{ConfigMap: &core.ConfigMapVolumeSource{LocalObjectReference: core.LocalObjectReference{Name: "settings"}}}},
			{Name: "keys", VolumeSource: core.VolumeSource{Secret: &core.SecretVolumeSource{SecretName: "keys", DefaultMode: &mode}}},
			{Name: "scratch", VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{Medium: core.StorageMediumMemory}}},
		}
		c.VolumeMounts = []core.VolumeMount{{Name: "settings", MountPath: "/settings"}, {Name: "keys", MountPath: "/keys/one", SubPath: "key"}, {Name: "scratch", MountPath: "/scratch"}, {Name: "scratch", MountPath: "/part", SubPath: "a/b"}}
	})
	p := k.until("web", func(p *core.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Running != nil
	})
	if isReady(p) || p.Status.Phase != core.PodRunning || !strings.HasPrefix(p.Status.PodIP, "10.0.64.") {
		t.Errorf("before it is ready: %+v", p.Status)
	}
	if s := p.Status.ContainerStatuses[0]; s.ImageID != k.image || s.Started == nil || !*s.Started || s.RestartCount != 0 {
		t.Errorf("its container is %+v", s)
	}
	if _, err := k.exec("web", "", false, "/app", "write", "/scratch/ready", "yes"); err != nil {
		t.Errorf("it can't be made ready: %v", err)
	}
	k.until("web", isReady)
	env, err := k.exec("web", "", false, "/app", "env")
	ok(t, err)
	lines := strings.Split(strings.TrimSpace(env), "\n")
	for _, want := range []string{
		"NODE=a", "IP=" + p.Status.PodIP, "POD=web", "BOTH=pod on a", "MODE=quick", "KEY=s3cret", "CPU=2", "SET_mode=quick", "FROM=image", "WHO=pod", "HOSTNAME=web", "KUBERNETES_SERVICE_HOST=10.100.0.1",
		"AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app", "AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
	for _, tt := range []struct{ args, want string }{
		{"id", "65532 65532 [2000"},
		{"cat /keys/one", "s3cret"},
		{"cat /settings/mode", "quick"},
		{"write /scratch/x y", ""},
		{"cat /scratch/x", "y"},
		{"write /part/z 1", ""},
		{"cat /scratch/a/b/z", "1"},
		{"cat /etc/hosts", p.Status.PodIP + "\tweb"},
		{"cat /etc/resolv.conf", "nameserver 10.100.0.10"},
		{"cat /var/run/secrets/kubernetes.io/serviceaccount/namespace", "team"},
	} {
		out, err := k.exec("web", "", false, append([]string{"/app"}, strings.Fields(tt.args)...)...)
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v, %q, want %q", tt.args, err, out, tt.want)
		}
	}
	claims, err := k.exec("web", "", false, "/app", "cat", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token")
	ok(t, err)
	if text := claimsOf(t, claims); !strings.Contains(text, `"aud":["sts.amazonaws.com"]`) || !strings.Contains(text, "system:serviceaccount:team:app") || !strings.Contains(text, k.config.Issuer) {
		t.Errorf("the token says %s", text)
	}
	if out, err := k.exec("web", "", false, "/app", "write", "/x", "y"); err == nil || !strings.Contains(out, "read-only file system") {
		t.Errorf("the root is written to: %v, %s", err, out)
	}
	for _, spdyOnly := range []bool{false, true} {
		if out, err := k.exec("web", "in and out", spdyOnly, "/app", "copy"); err != nil || out != "in and out" {
			t.Errorf("copied, spdy %v: %q, %v", spdyOnly, out, err)
		}
	}
	if _, err := k.exec("web", "", true, "/app", "exit", "7"); exitCode(err) != 7 {
		t.Errorf("a command that ends with 7: %v", err)
	}
	if _, err := k.exec("web", "", false, "/none"); exitCode(err) != 127 {
		t.Errorf("a command that isn't there: %v", err)
	}
	if text := k.logs("web", &core.PodLogOptions{}); text != "serving\n" {
		t.Errorf("its log is %q", text)
	}
	if text := k.logs("web", &core.PodLogOptions{Timestamps: true}); !strings.HasSuffix(text, "Z serving\n") {
		t.Errorf("its log with times is %q", text)
	}
	k.forward(t)
	// Nobody else gets to the kubelet.
	if _, err := k.as("of-viewer").CoreV1().Pods("team").GetLogs("web", &core.PodLogOptions{}).DoRaw(t.Context()); !apierrors.IsForbidden(err) {
		t.Errorf("a log without permission: %v", err)
	}
}

func exitCode(err error) int {
	if e, ok := err.(utilexec.CodeExitError); ok {
		return e.Code
	}
	return -1
}

// forward connects to a pod's port, as kubectl port-forward does.
func (k *runs) forward(t *testing.T) {
	t.Helper()
	way, up, err := spdy.RoundTripperFor(k.rest())
	ok(t, err)
	u := k.admin.CoreV1().RESTClient().Post().Resource("pods").Namespace("team").Name("web").SubResource("portforward").URL()
	stop, begun := make(chan struct{}), make(chan struct{})
	var out, errs bytes.Buffer
	f, err := portforward.New(spdy.NewDialer(up, &http.Client{Transport: way}, http.MethodPost, u), []string{"0:8080"}, stop, begun, &out, &errs)
	ok(t, err)
	ended := make(chan error, 1)
	go func() { ended <- f.ForwardPorts() }()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("%v %s", err, &errs)
	}
	ports, err := f.GetPorts()
	ok(t, err)
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	ok(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ok(t, err)
	if !strings.HasPrefix(string(text), "Go-http-client") {
		t.Errorf("it answers %q", text)
	}
	close(stop)
	ok(t, <-ended)
}

// ends: init containers one after the other, then containers that end, well or badly.
func (k *runs) ends(t *testing.T) {
	shared := func(s *core.PodSpec) {
		s.RestartPolicy = core.RestartPolicyNever
		s.Volumes = []core.Volume{{Name: "v", VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{}}}}
		mount := []core.VolumeMount{{Name: "v", MountPath: "/v"}}
		s.InitContainers = []core.Container{
			{Name: "one", Image: k.image, Args: []string{"write", "/v/x", "from init"}, VolumeMounts: mount},
			{Name: "two", Image: k.image, Args: []string{"cat", "/v/x"}, VolumeMounts: mount},
		}
		s.Containers[0].VolumeMounts = mount
	}
	k.pod("well", func(s *core.PodSpec) {
		shared(s)
		s.Containers[0].Args = []string{"cat", "/v/x"}
	})
	k.until("well", func(p *core.Pod) bool { return p.Status.Phase == core.PodSucceeded })
	for _, c := range []string{"two", "c"} {
		if text := k.logs("well", &core.PodLogOptions{Container: c}); text != "from init\n" {
			t.Errorf("container %s says %q", c, text)
		}
	}
	k.pod("badly", func(s *core.PodSpec) {
		shared(s)
		s.Containers[0].Args = []string{"exit", "3", "all is lost"}
	})
	p := k.until("badly", func(p *core.Pod) bool { return p.Status.Phase == core.PodFailed })
	if e := p.Status.ContainerStatuses[0].State.Terminated; e == nil || e.ExitCode != 3 || e.Reason != "Error" || e.Message != "ended with 3" {
		t.Errorf("it ended so: %+v", p.Status.ContainerStatuses[0])
	}
	if text := k.logs("badly", &core.PodLogOptions{}); text != "all is lost\n" {
		t.Errorf("it said %q", text)
	}
}

// restarts: a container that ends, or isn't alive, is started again.
func (k *runs) restarts(t *testing.T) {
	k.pod("crashes", func(s *core.PodSpec) { s.Containers[0].Args = []string{"exit", "1", "again"} })
	k.pod("sick", func(s *core.PodSpec) {
		c := &s.Containers[0]
		c.LivenessProbe = &core.Probe{ProbeHandler: core.ProbeHandler{Exec: &core.ExecAction{Command: []string{"/app", "cat", "/none"}}}, PeriodSeconds: 1, FailureThreshold: 1}
	})
	p := k.until("crashes", func(p *core.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 1 && s[0].RestartCount >= 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	if e := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; e == nil || e.ExitCode != 1 {
		t.Errorf("its last end was %+v", p.Status.ContainerStatuses[0])
	}
	if text := k.logs("crashes", &core.PodLogOptions{Previous: true}); text != "again\n" {
		t.Errorf("it said before %q", text)
	}
	k.until("sick", func(p *core.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= 1
	})
	if text := k.logs("sick", &core.PodLogOptions{Previous: true}); text != "serving\ntold to end\n" {
		t.Errorf("what was not alive said %q", text)
	}
	events, err := k.admin.CoreV1().Events("team").List(t.Context(), meta.ListOptions{FieldSelector: "involvedObject.name=sick"})
	ok(t, err)
	for _, want := range []string{"Pulled", "Created", "Started", "Unhealthy", "Killing"} {
		if !slices.ContainsFunc(events.Items, func(e core.Event) bool { return e.Reason == want && e.Source.Host == "a" }) {
			t.Errorf("no event %s in %+v", want, events.Items)
		}
	}
}

// images that aren't there, or that the node may not have.
func (k *runs) images(t *testing.T) {
	waits := func(reason, message string) func(*core.Pod) bool {
		return func(p *core.Pod) bool {
			s := p.Status.ContainerStatuses
			return len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == reason && strings.Contains(s[0].State.Waiting.Message, message)
		}
	}
	k.pod("absent", func(s *core.PodSpec) {
		s.NodeName, s.Containers[0].Image = "a", host+"/app@sha256:"+strings.Repeat("0", 64)
	})
	k.pod("denied", func(s *core.PodSpec) { s.NodeName = "poor" })
	k.until("absent", waits("ErrImagePull", "MANIFEST_UNKNOWN: Requested image not found"))
	k.until("absent", waits("ImagePullBackOff", "Back-off pulling image"))
	// Another node has it, which changes nothing.
	k.until("denied", waits("ErrImagePull", "DENIED: not authorized to perform: ecr:BatchGetImage"))
}

// unfit pods say why they don't run.
func (k *runs) unfit(t *testing.T) {
	k.pod("unfit", func(s *core.PodSpec) {
		s.NodeName = "a"
		s.Volumes = []core.Volume{{Name: "v", VolumeSource: core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: "/"}}}}
	})
	p := k.until("unfit", func(p *core.Pod) bool { return condition(p, core.PodReady).Reason == podspec.NotRun })
	if w := p.Status.ContainerStatuses[0].State.Waiting; w == nil || w.Message != "process not run: volume v: a folder of a node (hostPath) is not modelled by the sandbox" {
		t.Errorf("its container is %+v", p.Status.ContainerStatuses[0])
	}
}

// toldToEnd: a pod that is deleted runs its hook, is told to end, and is gone.
func (k *runs) toldToEnd(t *testing.T) {
	k.pod("leaves", func(s *core.PodSpec) {
		c := &s.Containers[0]
		s.NodeName = "a"
		c.Lifecycle = &core.Lifecycle{PreStop: &core.LifecycleHandler{HTTPGet: &core.HTTPGetAction{Path: "/bye", Port: intstr.FromInt32(8080)}}}
	})
	k.until("leaves", isReady)
	stream, err := k.admin.CoreV1().Pods("team").GetLogs("leaves", &core.PodLogOptions{Follow: true}).Stream(t.Context())
	ok(t, err)
	defer stream.Close()
	ok(t, k.admin.CoreV1().Pods("team").Delete(t.Context(), "leaves", meta.DeleteOptions{}))
	text, err := io.ReadAll(stream)
	ok(t, err)
	if string(text) != "serving\ntold to end\n" {
		t.Errorf("it said %q", text)
	}
	for {
		_, err := k.admin.CoreV1().Pods("team").Get(t.Context(), "leaves", meta.GetOptions{})
		if apierrors.IsNotFound(err) {
			break
		}
		ok(t, err)
	}
}
