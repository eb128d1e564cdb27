package releases_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	scheduling "k8s.io/api/scheduling/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"

	"github.com/poolhouse/poolhouse/releases"
)

var update = flag.Bool("update", false, "rewrite golden files")

// folder is a chart of the repository's, packed.
func folder(t *testing.T, name string) []byte {
	t.Helper()
	files := map[string]string{}
	dir := os.DirFS("../charts/" + name)
	err := fs.WalkDir(dir, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(dir, path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, name, files)
}

// filled are the charts of ours as an example's deployment has them: the module that this
// one lies in writes them.
func filled(t *testing.T, file string) (list []releases.Release) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i].Chart = folder(t, list[i].Name)
	}
	return list
}

// lint is the objects of one deployment, and what is wrong with them.
type lint struct {
	faults   []string
	pods     []workload
	services map[string]core.Service
	budgets  []policy.PodDisruptionBudget
	accounts map[string]core.ServiceAccount
	classes  map[string]bool
	maps     map[string]bool
	secrets  map[string]bool
	bindings []binding
	external []externalSecret
	stores   map[string]bool
}

type workload struct {
	kind, namespace, name string
	replicas              int32
	template              core.PodTemplateSpec
	selector              *meta.LabelSelector
}

// The kinds of others, as far as charts of ours use them.
// https://external-secrets.io/latest/api/externalsecret/
// https://external-secrets.io/latest/provider/aws-secrets-manager/
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/spec/
type (
	externalSecret struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			RefreshInterval string `json:"refreshInterval"`
			SecretStoreRef  struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			} `json:"secretStoreRef"`
			Target struct {
				Name           string `json:"name"`
				CreationPolicy string `json:"creationPolicy"`
			} `json:"target"`
			Data []struct {
				SecretKey string `json:"secretKey"`
				RemoteRef struct {
					Key      string `json:"key"`
					Property string `json:"property"`
				} `json:"remoteRef"`
			} `json:"data"`
		} `json:"spec"`
	}
	secretStore struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			Provider struct {
				AWS struct {
					Service string `json:"service"`
					Region  string `json:"region"`
				} `json:"aws"`
			} `json:"provider"`
		} `json:"spec"`
	}
	binding struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			TargetGroupARN string `json:"targetGroupARN"`
			TargetType     string `json:"targetType"`
			ServiceRef     struct {
				Name string `json:"name"`
				Port string `json:"port"`
			} `json:"serviceRef"`
		} `json:"spec"`
	}
)

func (l *lint) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// take reads an object as strictly as the API does, and knows each kind.
func (l *lint) take(namespace string, text []byte) {
	var head struct {
		meta.TypeMeta `json:",inline"`
		Metadata      meta.ObjectMeta `json:"metadata"`
	}
	if err := strict.Unmarshal(text, &head); err != nil {
		l.fault("an object can't be read: %v", err)
		return
	}
	at := head.Kind + " " + head.Metadata.Name
	into := func(o any) {
		if err := strict.UnmarshalStrict(text, o); err != nil {
			l.fault("%s: %v", at, err)
		}
	}
	name := head.Metadata.Name
	switch head.APIVersion + " " + head.Kind {
	case "apps/v1 Deployment":
		var d apps.Deployment
		into(&d)
		l.pods = append(l.pods, workload{head.Kind, namespace, name, *d.Spec.Replicas, d.Spec.Template, d.Spec.Selector})
	case "batch/v1 Job":
		var j batch.Job
		into(&j)
		if j.Spec.ActiveDeadlineSeconds == nil || j.Spec.BackoffLimit == nil {
			l.fault("%s: has no end", at)
		}
		l.pods = append(l.pods, workload{head.Kind, namespace, name, 1, j.Spec.Template, nil})
	case "v1 Service":
		var s core.Service
		into(&s)
		l.services[name] = s
	case "v1 ServiceAccount":
		var a core.ServiceAccount
		into(&a)
		l.accounts[namespace+"/"+name] = a
	case "v1 ConfigMap":
		into(&core.ConfigMap{})
		l.maps[name] = true
	case "policy/v1 PodDisruptionBudget":
		var b policy.PodDisruptionBudget
		into(&b)
		l.budgets = append(l.budgets, b)
	case "scheduling.k8s.io/v1 PriorityClass":
		into(&scheduling.PriorityClass{})
		l.classes[name] = true
	case "external-secrets.io/v1 ExternalSecret":
		var e externalSecret
		into(&e)
		l.external = append(l.external, e)
		for _, d := range e.Spec.Data {
			if !strings.HasPrefix(d.RemoteRef.Key, "arn:aws:secretsmanager:") || d.RemoteRef.Property != d.SecretKey {
				l.fault("%s: takes %+v", at, d)
			}
		}
		l.secrets[e.Spec.Target.Name] = len(e.Spec.Data) > 0
	case "external-secrets.io/v1 SecretStore":
		var s secretStore
		into(&s)
		l.stores[name] = s.Spec.Provider.AWS.Service == "SecretsManager" && s.Spec.Provider.AWS.Region == "us-east-1"
	case "elbv2.k8s.aws/v1beta1 TargetGroupBinding":
		var b binding
		into(&b)
		l.bindings = append(l.bindings, b)
	default:
		l.fault("%s: is of a kind that no chart of ours has", at)
	}
}

// restricted are Kubernetes' rules for the hardest of its standards, as far as they go
// beyond what strict reading shows, and ours.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func (l *lint) restricted(at string, s *core.PodSpec) {
	p := s.SecurityContext
	switch {
	case p == nil || p.RunAsNonRoot == nil || !*p.RunAsNonRoot || p.RunAsUser == nil || *p.RunAsUser == 0:
		l.fault("%s: may run as root", at)
	case p.SeccompProfile == nil || p.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault:
		l.fault("%s: has no seccomp profile", at)
	}
	if s.HostNetwork || s.HostPID || s.HostIPC || s.AutomountServiceAccountToken == nil {
		l.fault("%s: has namespaces of the node, or leaves the API's token open", at)
	}
	for _, v := range s.Volumes {
		switch {
		case v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil:
		case v.ConfigMap != nil && l.maps[v.ConfigMap.Name]:
		case v.Secret != nil && (l.secrets[v.Secret.SecretName] || v.Secret.SecretName == "own-tls"):
		default:
			l.fault("%s: volume %s is of another kind, without a limit, or of what isn't there", at, v.Name)
		}
	}
	for _, c := range append(slices.Clone(s.InitContainers), s.Containers...) {
		x := c.SecurityContext
		switch {
		case x == nil || x.AllowPrivilegeEscalation == nil || *x.AllowPrivilegeEscalation || x.Privileged != nil:
			l.fault("%s: container %s may gain privileges", at, c.Name)
		case x.Capabilities == nil || !slices.Equal(x.Capabilities.Drop, []core.Capability{"ALL"}) || len(x.Capabilities.Add) > 0:
			l.fault("%s: container %s keeps capabilities", at, c.Name)
		case x.ReadOnlyRootFilesystem == nil || !*x.ReadOnlyRootFilesystem:
			l.fault("%s: container %s may write to its image", at, c.Name)
		case c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero():
			l.fault("%s: container %s asks for nothing, or has no limit of memory", at, c.Name)
		case c.Resources.Requests.Memory().Cmp(*c.Resources.Limits.Memory()) > 0:
			l.fault("%s: container %s asks for more memory than it may have", at, c.Name)
		}
		for _, e := range c.Env {
			if upper := strings.ToUpper(e.Name); strings.Contains(upper, "PASSWORD") || strings.Contains(upper, "TOKEN") {
				l.fault("%s: container %s has a secret %s in its environment", at, c.Name, e.Name)
			}
		}
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(s.Volumes, func(v core.Volume) bool { return v.Name == m.Name }) {
				l.fault("%s: container %s mounts %s, which isn't there", at, c.Name, m.Name)
			}
		}
	}
}

func (l *lint) check() {
	for _, w := range l.pods {
		at, s := w.kind+" "+w.name, &w.template.Spec
		l.restricted(at, s)
		if _, ok := l.accounts[w.namespace+"/"+s.ServiceAccountName]; !ok {
			l.fault("%s: there is no service account %s/%s", at, w.namespace, s.ServiceAccountName)
		}
		if !slices.ContainsFunc(keys(s.NodeSelector), func(k string) bool { return strings.HasPrefix(k, "node-role.poolhouse/") }) {
			l.fault("%s: goes to any node", at)
		}
		if w.kind == "Job" {
			continue
		}
		if !l.classes[s.PriorityClassName] {
			l.fault("%s: there is no priority class %q", at, s.PriorityClassName)
		}
		l.deployment(at, w)
	}
	for _, e := range l.external {
		if !l.stores[e.Spec.SecretStoreRef.Name] || e.Spec.SecretStoreRef.Kind != "SecretStore" {
			l.fault("ExternalSecret %s: there is no store %+v", e.Name, e.Spec.SecretStoreRef)
		}
	}
	for _, b := range l.bindings {
		s, ok := l.services[b.Spec.ServiceRef.Name]
		if !ok || !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == b.Spec.ServiceRef.Port && p.Port == 8443 }) {
			l.fault("TargetGroupBinding %s: there is no port %+v", b.Name, b.Spec.ServiceRef)
		}
		if b.Spec.TargetType != "ip" || !strings.HasPrefix(b.Spec.TargetGroupARN, "arn:aws:elasticloadbalancing:") {
			l.fault("TargetGroupBinding %s: %+v", b.Name, b.Spec)
		}
	}
}

// deployment are the rules for what lasts: probes, an end that load balancers hear of, one
// budget that can be drained, zones, a service that finds it.
func (l *lint) deployment(at string, w workload) {
	s, labels := &w.template.Spec, w.template.Labels
	matches := func(selector *meta.LabelSelector) bool {
		if selector == nil || len(selector.MatchLabels) == 0 {
			return false
		}
		for k, v := range selector.MatchLabels {
			if labels[k] != v {
				return false
			}
		}
		return true
	}
	if !matches(w.selector) {
		l.fault("%s: does not select its own pods", at)
	}
	for _, c := range s.Containers {
		if c.StartupProbe == nil || c.ReadinessProbe == nil || c.LivenessProbe == nil {
			l.fault("%s: container %s lacks a probe", at, c.Name)
		}
		if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil || c.Lifecycle.PreStop.Sleep.Seconds < 1 || c.Lifecycle.PreStop.Sleep.Seconds >= *s.TerminationGracePeriodSeconds {
			l.fault("%s: container %s ends before load balancers know", at, c.Name)
		}
	}
	n := 0
	for _, b := range l.budgets {
		if matches(b.Spec.Selector) {
			if n++; b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntValue() != 1 || b.Spec.MinAvailable != nil {
				l.fault("%s: its budget may block a drain", at)
			}
		}
	}
	if n != 1 {
		l.fault("%s: has %d budgets", at, n)
	}
	if !slices.ContainsFunc(s.TopologySpreadConstraints, func(c core.TopologySpreadConstraint) bool {
		return c.TopologyKey == "topology.kubernetes.io/zone" && c.MaxSkew == 1 && matches(c.LabelSelector)
	}) {
		l.fault("%s: is not spread over zones", at)
	}
	v, ok := l.services[w.name]
	if !ok || v.Spec.Type != "" || !matches(&meta.LabelSelector{MatchLabels: v.Spec.Selector}) {
		l.fault("%s: has no service of its name", at)
		return
	}
	for _, p := range v.Spec.Ports {
		if !slices.ContainsFunc(s.Containers[0].Ports, func(c core.ContainerPort) bool { return c.Name == p.TargetPort.StrVal }) {
			l.fault("%s: its service leads to no port %s", at, p.TargetPort.StrVal)
		}
	}
}

func keys[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

// linted are all objects of an example's deployment.
func linted(t *testing.T, example string, rendered []releases.Rendered) *lint {
	t.Helper()
	l := &lint{services: map[string]core.Service{}, accounts: map[string]core.ServiceAccount{}, classes: map[string]bool{}, maps: map[string]bool{}, secrets: map[string]bool{}, stores: map[string]bool{}}
	foundation, err := os.ReadFile("../cluster/manifests/testdata/" + example + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(foundation) {
		var a core.ServiceAccount
		if json.Unmarshal(line, &a) == nil && a.Kind == "ServiceAccount" {
			l.accounts[a.Namespace+"/"+a.Name] = a
		}
	}
	for _, r := range rendered {
		docs := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(r.Manifest)))
		buffer := make([]byte, 1<<20)
		for {
			n, err := docs.Read(buffer)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if text := bytes.TrimSpace(buffer[:n]); len(text) > 0 {
				l.take(r.Namespace, text)
			}
		}
	}
	l.check()
	return l
}

// Every object of the charts of ours, for every example, is read as strictly as the API
// does and keeps our rules; what three of them consist of is held to golden files.
func TestChartsOfOurs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../charts/testdata/*.json")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		example := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			list := read[[]releases.Rendered](t, ask(t.Context(), t, releases.Request{Operation: releases.Render, Releases: filled(t, file)}))
			l := linted(t, example, list)
			for _, f := range l.faults {
				t.Error(f)
			}
			gpu := example == "gpu-inference"
			if n := map[bool]int{true: 7, false: 6}[gpu]; len(l.pods) != n || len(l.bindings) != 3 || !l.secrets["database"] {
				t.Errorf("%d workloads, want %d, %d bindings, secrets %v", len(l.pods), n, len(l.bindings), l.secrets)
			}
			for _, w := range l.pods {
				want := map[string]string{"web-assistant": "web-assistant", "interface": "interface", "inference": "gpu"}[w.name]
				if want == "" {
					want = "core"
				}
				if _, ok := w.template.Spec.NodeSelector["node-role.poolhouse/"+want]; !ok {
					t.Errorf("%s goes to %v", w.name, w.template.Spec.NodeSelector)
				}
			}
			if !slices.Contains([]string{"production", "evaluation", "gpu-inference"}, example) {
				return
			}
			var b strings.Builder
			for _, r := range list {
				fmt.Fprintf(&b, "# release %s in %s\n%s", r.Name, r.Namespace, r.Manifest)
			}
			golden := strings.TrimSuffix(file, ".json") + ".manifest.yaml"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != b.String() {
				t.Errorf("%s differs: go test ./... -run TestChartsOfOurs -update writes it anew", golden)
			}
		})
	}
}

// What others bring can be switched off, and certificates be given.
func TestChartsOfOursWithValues(t *testing.T) {
	t.Parallel()
	off := map[string]any{"enabled": false}
	for name, tt := range map[string]struct {
		over             map[string]any
		has, hasNot, bad []string
	}{
		"nothing of others": {map[string]any{"externalSecrets": off, "targetGroupBindings": off}, []string{"kind: Deployment"}, []string{"external-secrets.io", "elbv2.k8s.aws"}, nil},
		"certificates":      {map[string]any{"trust": map[string]any{"certificates": "-----BEGIN CERTIFICATE-----\n"}, "tls": map[string]any{"secretName": "own-tls"}}, []string{"name: trust-database-setup", "value: /etc/ssl/certs:/etc/poolhouse/trust", "secretName: own-tls"}, nil, nil},
		"no sign-on":        {map[string]any{"signOn": map[string]any{"webSecretArn": "", "adminSecretArn": ""}}, nil, []string{"sign-on", "SIGN_ON_SECRET"}, nil},
		"environment":       {map[string]any{"coreApi": map[string]any{"env": map[string]any{"LIMIT": 3, "ON": true}, "apiToken": true}}, []string{"name: LIMIT\n          value: \"3\"", "name: \"ON\"\n          value: \"true\"", "automountServiceAccountToken: true"}, nil, nil},
		"a typo":            {map[string]any{"coreAPI": map[string]any{"replicas": 3}}, nil, nil, []string{"coreAPI"}},
		"no database":       {map[string]any{"database": map[string]any{"masterSecretArn": "secret"}}, nil, nil, []string{"masterSecretArn"}},
		"no target group":   {map[string]any{"targetGroups": map[string]any{"web": ""}}, nil, nil, []string{"targetGroups.web is the ARN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := filled(t, "../charts/testdata/production.json")
			platform := &list[len(list)-1]
			for k, v := range tt.over {
				below, _ := platform.Values[k].(map[string]any)
				if below == nil {
					below = map[string]any{}
					platform.Values[k] = below
				}
				for k, v := range v.(map[string]any) {
					below[k] = v
				}
			}
			a := ask(t.Context(), t, releases.Request{Operation: releases.Render, Releases: list})
			if tt.bad != nil {
				for _, want := range tt.bad {
					if !a.refused || !strings.Contains(fmt.Sprint(a.problems), want) {
						t.Errorf("no %q in %+v", want, a.problems)
					}
				}
				return
			}
			out := read[[]releases.Rendered](t, a)
			text := out[len(out)-1].Manifest
			for _, want := range tt.has {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			for _, not := range tt.hasNot {
				if strings.Contains(text, not) {
					t.Errorf("%q is in\n%s", not, text)
				}
			}
			if name == "certificates" {
				for _, f := range linted(t, "production", out).faults {
					t.Error(f)
				}
			}
		})
	}
}
