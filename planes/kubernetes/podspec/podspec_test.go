package podspec

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

func TestUnfit(t *testing.T) {
	t.Parallel()
	yes := true
	with := func(change func(*core.PodSpec)) *core.Pod {
		p := &core.Pod{Spec: core.PodSpec{Containers: []core.Container{{Name: "c"}}}}
		change(&p.Spec)
		return p
	}
	volume := func(v core.VolumeSource) *core.Pod {
		return with(func(s *core.PodSpec) { s.Volumes = []core.Volume{{Name: "v", VolumeSource: v}} })
	}
	for want, p := range map[string]*core.Pod{
		"": with(func(s *core.PodSpec) {
			s.ShareProcessNamespace = &yes
			s.Volumes = []core.Volume{
				{Name: "a", VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{Medium: core.StorageMediumMemory}}},
				{Name: "b", VolumeSource: core.VolumeSource{Projected: &core.ProjectedVolumeSource{}}},
				{Name: "c", VolumeSource: core.VolumeSource{Secret: &core.SecretVolumeSource{}}},
				{Name: "d", VolumeSource: core.VolumeSource{ConfigMap: &core.ConfigMapVolumeSource{}}},
				{Name: "e", VolumeSource: core.VolumeSource{DownwardAPI: &core.DownwardAPIVolumeSource{}}},
			}
		}),
		"pods of windows": with(func(s *core.PodSpec) { s.OS = &core.PodOS{Name: core.Windows} }),
		"hostNetwork":     with(func(s *core.PodSpec) { s.HostNetwork = true }),
		"hostPID":         with(func(s *core.PodSpec) { s.HostPID = true }),
		"hostUsers":       with(func(s *core.PodSpec) { no := false; s.HostUsers = &no }),
		"runtime classes": with(func(s *core.PodSpec) { name := "gvisor"; s.RuntimeClassName = &name }),
		"container i: privileged": with(func(s *core.PodSpec) {
			s.InitContainers = []core.Container{{Name: "i", SecurityContext: &core.SecurityContext{Privileged: &yes}}}
		}),
		"container c: block devices":             with(func(s *core.PodSpec) { s.Containers[0].VolumeDevices = []core.VolumeDevice{{}} }),
		"container c: ports of a node":           with(func(s *core.PodSpec) { s.Containers[0].Ports = []core.ContainerPort{{HostPort: 80}} }),
		"volume v: a folder of a node":           volume(core.VolumeSource{HostPath: &core.HostPathVolumeSource{}}),
		"volume v: what a persistentVolumeClaim": volume(core.VolumeSource{PersistentVolumeClaim: &core.PersistentVolumeClaimVolumeSource{}}),
		"volume v: a volume of a CSI driver":     volume(core.VolumeSource{CSI: &core.CSIVolumeSource{}}),
		"volume v: an emptyDir of huge pages":    volume(core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{Medium: core.StorageMediumHugePages}}),
		"volume v: its kind":                     volume(core.VolumeSource{NFS: &core.NFSVolumeSource{}}),
	} {
		got := Unfit(p)
		if (want == "") != (got == "") || !strings.Contains(got, want) || got != "" && !strings.HasSuffix(got, "not modelled by the sandbox") {
			t.Errorf("%+v is unfit for %q, not for %q", p.Spec, got, want)
		}
	}
}

// TestSeen: calls over the network come back from the commands that they became, also
// through what the kubelet does to commands; the rest of the pod is as it was.
func TestSeen(t *testing.T) {
	t.Parallel()
	ports := []core.ContainerPort{{Name: "web", ContainerPort: 8080}}
	get := &core.HTTPGetAction{Path: "/$(HOME)?a=$$b", Port: intstr.FromString("web"), HTTPHeaders: []core.HTTPHeader{{Name: "X", Value: "$(X) \\ \"é\""}}}
	tcp, rpc := &core.TCPSocketAction{Port: intstr.FromInt32(80)}, &core.GRPCAction{Port: 90}
	exec := &core.ExecAction{Command: []string{"sh", "-c", "$(HOME)"}}
	p := &core.Pod{Spec: core.PodSpec{Containers: []core.Container{{
		Name: "c", Ports: ports,
		StartupProbe: &core.Probe{ProbeHandler: core.ProbeHandler{HTTPGet: get}, FailureThreshold: 7}, ReadinessProbe: &core.Probe{ProbeHandler: core.ProbeHandler{TCPSocket: tcp}}, LivenessProbe: &core.Probe{ProbeHandler: core.ProbeHandler{GRPC: rpc}},
		Lifecycle: &core.Lifecycle{PostStart: &core.LifecycleHandler{HTTPGet: get}, PreStop: &core.LifecycleHandler{Exec: exec}},
	}}}}
	before := p.DeepCopy()
	seen := Seen(p)
	if diff := cmp.Diff(before, p); diff != "" {
		t.Errorf("the pod itself changed:\n%s", diff)
	}
	c := seen.Spec.Containers[0]
	read := func(e *core.ExecAction, expand bool) Call {
		t.Helper()
		if e == nil {
			t.Fatal("it is no command")
		}
		var args []string
		for _, a := range e.Command {
			if expand {
				a = expansion.Expand(a, func(name string) string { return "[" + name + "]" })
			}
			args = append(args, a)
		}
		call, ok := Command(args)
		if !ok {
			t.Errorf("%q is no call", args)
		}
		return call
	}
	for i, x := range []struct{ got, want Call }{
		{read(c.StartupProbe.Exec, true), Call{HTTPGet: get, Ports: ports}},
		{read(c.ReadinessProbe.Exec, true), Call{TCPSocket: tcp, Ports: ports}},
		{read(c.LivenessProbe.Exec, true), Call{GRPC: rpc, Ports: ports}},
		{read(c.Lifecycle.PostStart.Exec, false), Call{HTTPGet: get, Hook: true, Ports: ports}},
	} {
		if diff := cmp.Diff(x.want, x.got); diff != "" {
			t.Errorf("call %d:\n%s", i, diff)
		}
	}
	if c.StartupProbe.FailureThreshold != 7 || c.Lifecycle.PreStop.Exec == nil || c.Lifecycle.PreStop.Exec.Command[0] != "sh" {
		t.Errorf("what was no call changed: %+v", c)
	}
	for _, args := range [][]string{nil, {"sh"}, {command}, {command, "x", "y"}, {command, "{"}} {
		if _, ok := Command(args); ok {
			t.Errorf("%q is taken for a call", args)
		}
	}
}

// TestProbe: what is called answers, badly or not at all, in a kubelet's words.
func TestProbe(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "host %s, %s", r.Host, r.UserAgent()) })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	plain, secret := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer plain.Close()
	defer secret.Close()
	rpc := grpc.NewServer()
	checks := health.NewServer()
	checks.SetServingStatus("sick", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	grpc_health_v1.RegisterHealthServer(rpc, checks)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = rpc.Serve(l) }()
	defer rpc.Stop()
	at := map[string]string{"10.0.0.5:80": plain.Listener.Addr().String(), "10.0.0.5:443": secret.Listener.Addr().String(), "10.0.0.5:90": l.Addr().String()}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		to, ok := at[address]
		if !ok {
			return nil, fmt.Errorf("dial %s: connection refused", address)
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	get := func(path string, port int32, scheme core.URIScheme) Call {
		return Call{HTTPGet: &core.HTTPGetAction{Path: path, Port: intstr.FromInt32(port), Scheme: scheme}}
	}
	hook := get("/bad", 80, "")
	hook.Hook = true
	named := get("/ok", 0, "")
	named.HTTPGet.Port, named.Ports = intstr.FromString("web"), []core.ContainerPort{{Name: "web", ContainerPort: 80}}
	sick := "sick"
	for _, tt := range []struct {
		name string
		call Call
		ok   bool
		said string
	}{
		{"http", get("/ok", 80, ""), true, "host 10.0.0.5:80, kube-probe/"},
		{"https", get("/ok", 443, core.URISchemeHTTPS), true, "host 10.0.0.5:443"},
		{"name of a port", named, true, "host 10.0.0.5:80"},
		{"503", get("/bad", 80, ""), false, "HTTP probe failed with statuscode: 503"},
		{"refused", get("/ok", 81, ""), false, "connection refused"},
		{"slow", get("/slow", 80, ""), false, "context deadline exceeded"},
		{"hook that is answered", hook, true, ""},
		{"tcp", Call{TCPSocket: &core.TCPSocketAction{Port: intstr.FromInt32(80)}}, true, ""},
		{"tcp refused", Call{TCPSocket: &core.TCPSocketAction{Port: intstr.FromInt32(81)}}, false, "connection refused"},
		{"no such port", Call{TCPSocket: &core.TCPSocketAction{Port: intstr.FromString("x")}}, false, `"x"`},
		{"grpc", Call{GRPC: &core.GRPCAction{Port: 90}}, true, "service healthy"},
		{"grpc, sick", Call{GRPC: &core.GRPCAction{Port: 90, Service: &sick}}, false, `service unhealthy (responded with "NOT_SERVING")`},
		{"grpc, nobody", Call{GRPC: &core.GRPCAction{Port: 91}}, false, "timeout: health rpc did not complete within"},
		{"none", Call{}, false, "the call is none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, said := Probe(t.Context(), dial, tt.call, "10.0.0.5", 500*time.Millisecond)
			if ok != tt.ok || !strings.Contains(said, tt.said) {
				t.Errorf("%v, %q, want %v, %q", ok, said, tt.ok, tt.said)
			}
		})
	}
}
