package main

import (
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// service makes one whose endpoints are the pod of a name.
func (k *runs) service(name, pod string, change func(*core.ServiceSpec)) {
	k.t.Helper()
	s := &core.Service{ObjectMeta: meta.ObjectMeta{Name: name}, Spec: core.ServiceSpec{
		Selector: map[string]string{"name": pod}, Ports: []core.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	change(&s.Spec)
	_, err := k.admin.CoreV1().Services("team").Create(k.t.Context(), s, meta.CreateOptions{})
	ok(k.t, err)
}

// finds: a pod calls another by the names of services, the API by its own name and
// address with its token, and AWS by AWS's names.
func (k *runs) finds(t *testing.T) {
	k.service("shop", "server", func(*core.ServiceSpec) {})
	k.service("rows", "server", func(s *core.ServiceSpec) { s.ClusterIP = core.ClusterIPNone })
	k.service("empty", "nobody", func(*core.ServiceSpec) {})
	k.pod("server", func(s *core.PodSpec) {
		s.Hostname, s.Subdomain = "rows-0", "rows"
	})
	k.pod("caller", func(s *core.PodSpec) {
		s.Volumes = []core.Volume{{Name: "settings", VolumeSource: core.VolumeSource{ConfigMap: &core.ConfigMapVolumeSource{LocalObjectReference: core.LocalObjectReference{Name: "settings"}}}}}
		s.Containers[0].VolumeMounts = []core.VolumeMount{{Name: "settings", MountPath: "/settings"}}
	})
	k.until("server", isReady)
	k.until("caller", isReady)
	const of, aws = "/var/run/secrets/kubernetes.io/serviceaccount/", "/settings/authority"
	const api = "/api/v1/namespaces/team/pods " + of + "ca.crt " + of + "token"
	const forbidden = `403 {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods is forbidden: User \"system:serviceaccount:team:app\"`
	for _, tt := range []struct{ args, want string }{
		{"http://shop/", "200 Go-http-client/1.1 asks shop\n"},
		{"http://shop.team.svc/", "200 Go-http-client/1.1 asks shop.team.svc\n"},
		{"http://shop.team.svc.cluster.local./", "200 Go-http-client/1.1 asks shop.team.svc.cluster.local.\n"},
		{"http://rows:8080/", "200 Go-http-client/1.1 asks rows:8080\n"},
		{"http://rows-0.rows:8080/", "200 Go-http-client/1.1 asks rows-0.rows:8080\n"},
		{"https://kubernetes.default.svc" + api, forbidden},
		{"https://10.100.0.1" + api, forbidden},
		{"https://" + host + "/v2/ " + aws, "401 \n"},
		{"http://empty/", "connection refused"},
		{"http://none/", "no such host"},
		{"https://example.com/", "no such host"},
	} {
		// Endpoints follow their pods, and services their endpoints, soon.
		out, end := "", time.Now().Add(time.Minute)
		for {
			out, _ = k.exec("caller", "", false, append([]string{"/app", "get"}, strings.Fields(tt.args)...)...)
			if strings.Contains(out, tt.want) || !time.Now().Before(end) {
				break
			}
		}
		if !strings.Contains(out, tt.want) {
			t.Errorf("%s: %q, want %q", tt.args, out, tt.want)
		}
	}
}
