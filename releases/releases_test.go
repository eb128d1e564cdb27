package releases_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/releases"
)

// packed is a chart of files by name.
func packed(t *testing.T, name string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	all := map[string]string{"Chart.yaml": "apiVersion: v2\nname: " + name + "\nversion: 1.0.0\n"}
	maps.Copy(all, files)
	for _, file := range slices.Sorted(maps.Keys(all)) {
		body := all[file]
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name + "/" + file, Size: int64(len(body)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// answer is what the program says to a request.
type answer struct {
	events   []string
	problems []releases.Problem
	result   json.RawMessage
	refused  bool
}

func ask(ctx context.Context, t *testing.T, r releases.Request) (a answer) {
	t.Helper()
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := releases.Serve(ctx, bytes.NewReader(line), &out); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&out)
	for d.More() {
		var m releases.Message
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if m.Event != nil {
			a.events = append(a.events, m.Event.Release+" "+m.Event.Text)
			continue
		}
		a.problems, a.result, a.refused = m.Problems, m.Result, m.Refused
	}
	return a
}

// read takes a result; problems end the test.
func read[T any](t *testing.T, a answer) (out T) {
	t.Helper()
	if len(a.problems) > 0 {
		t.Fatalf("problems: %+v", a.problems)
	}
	if err := json.Unmarshal(a.result, &out); err != nil {
		t.Fatalf("%v in %s", err, a.result)
	}
	return out
}

const workloads = `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Values.name }}}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      initContainers:
        - {name: init, image: "acme/init:1"}
      containers:
        - name: main
          image: "{{ .Values.image }}"
          resources: {limits: {{ toJson .Values.limits }}}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: nightly
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          nodeSelector: {pool/own: "true"}
          containers: [{name: main, image: "acme/main:1"}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: b}}
  template:
    metadata: {labels: {app: b}}
    spec:
      containers: [{name: main, image: "acme/main:1"}]
`

const hook = `apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "acme/main:1"}]
`

func places() []releases.Place {
	return []releases.Place{
		{Marker: "pool/", Resource: "nvidia.com/gpu", Selector: map[string]string{"pool/gpu": "true"}, Tolerations: []releases.Toleration{{Key: "nvidia.com/gpu", Operator: "Equal", Value: "true", Effect: "NoSchedule"}}},
		{Marker: "pool/", Workloads: []string{"web-*"}, Selector: map[string]string{"pool/web": "true"}, Tolerations: []releases.Toleration{{Key: "dedicated", Operator: "Exists", Effect: "NoSchedule"}}},
		{Marker: "pool/", Selector: map[string]string{"pool/core": "true"}},
	}
}

// Images are pulled by digest, hooks' too, and pods go to the nodes that they are for,
// unless the chart has decided.
func TestRender(t *testing.T) {
	t.Parallel()
	images := map[string]string{"acme/main:1": "r/main@sha256:1", "acme/init:1": "r/init@sha256:2"}
	for _, tt := range []struct {
		name, workload string
		limits         map[string]any
		want           []string
	}{
		{"core", "core-api", map[string]any{"cpu": "1"}, []string{`pool/core: "true"`, "image: r/main@sha256:1", "image: r/init@sha256:2"}},
		{"by name", "web-assistant", nil, []string{`pool/web: "true"`, "key: dedicated"}},
		{"by resource", "web-model", map[string]any{"nvidia.com/gpu": 1}, []string{`pool/gpu: "true"`, "value: \"true\""}},
		{"asks for none", "model", map[string]any{"nvidia.com/gpu": 0}, []string{`pool/core: "true"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := releases.Release{
				Name: "acme", Namespace: "poolside", Images: images, Places: places(),
				Chart:  packed(t, "acme", map[string]string{"templates/w.yaml": workloads, "templates/hook.yaml": hook, "templates/NOTES.txt": "read me"}),
				Values: map[string]any{"name": tt.workload, "image": "acme/main:1", "limits": tt.limits},
			}
			list := read[[]releases.Rendered](t, ask(t.Context(), t, releases.Request{Operation: releases.Render, Releases: []releases.Release{r}}))
			if len(list) != 1 || len(list[0].Images) != 5 {
				t.Fatalf("rendered %+v", list)
			}
			text := list[0].Manifest
			for _, want := range append(tt.want, `pool/own: "true"`, "name: migrate") {
				if !strings.Contains(text, want) {
					t.Errorf("no %s in\n%s", want, text)
				}
			}
			// The cron job selects nodes itself, and the daemon set is for all.
			if n := strings.Count(text, "nodeSelector:"); n != 3 {
				t.Errorf("%d selectors in\n%s", n, text)
			}
			if strings.Contains(text, "image: acme/") {
				t.Errorf("an image of the chart is left in\n%s", text)
			}
		})
	}
}

const listed = `apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: List
    items:
      - apiVersion: v1
        kind: Pod
        metadata: {name: one}
        spec: {containers: [{name: main, image: "acme/main:1"}], volumes: [{name: data, image: {reference: "acme/init:1"}}, {name: none, emptyDir: {}}]}
---
apiVersion: apps/v1
kind: DeploymentList
metadata: {annotations: {helm.sh/hook: pre-install}}
items:
  - metadata: {name: two}
    spec: {template: {spec: {containers: [{name: main, image: "acme/main:1"}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: three}
data: {items: "[]"}
`

// Lists are their items, as Kubernetes takes them, and volumes may be images.
func TestRenderLists(t *testing.T) {
	t.Parallel()
	r := releases.Release{Name: "acme", Chart: packed(t, "acme", map[string]string{"templates/a.yaml": listed}), Places: places(), Images: map[string]string{"acme/main:1": "r/main@sha256:1", "acme/init:1": "r/init@sha256:2"}}
	one := read[[]releases.Rendered](t, ask(t.Context(), t, releases.Request{Operation: releases.Render, Releases: []releases.Release{r}}))[0]
	for want, n := range map[string]int{
		"image: r/main@sha256:1": 2, "reference: r/init@sha256:2": 1, ": acme/main": 0, "kind: Deployment\n": 1, "apiVersion: apps/v1": 1, "List": 0,
		"helm.sh/hook: pre-install": 1, "name: three": 1, "pool/core: \"true\"": 2, "postrenderer": 0,
	} {
		if got := strings.Count(one.Manifest, want); got != n {
			t.Errorf("%d times %q, want %d, in\n%s", got, want, n, one.Manifest)
		}
	}
	r.Images = map[string]string{} // none, not all
	a := ask(t.Context(), t, releases.Request{Operation: releases.Render, Releases: []releases.Release{r}})
	if len(a.problems) != 3 || !strings.Contains(fmt.Sprint(a.problems), "release acme, Pod one, volume data") || !a.refused {
		t.Errorf("without images: %+v", a)
	}
}

// A schema has all that it refers to: Helm would fetch it, or open a file.
func TestSchemas(t *testing.T) {
	t.Parallel()
	check := func(file, schema string) []releases.Problem {
		chart := packed(t, "acme", map[string]string{file: schema, "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n"})
		return ask(t.Context(), t, releases.Request{Operation: releases.Render, Releases: []releases.Release{{Name: "acme", Chart: chart, Values: map[string]any{"sub": map[string]any{"a": "b"}}}}}).problems
	}
	for schema, want := range map[string]string{
		`{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"$ref": "#/definitions/a"}}, "definitions": {"a": {}}}`: "",
		`{"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"$ref": {"type": "string"}}}`:                            "",
		`{"properties": {"a": {"anyOf": [{"$ref": "file:///etc/passwd"}]}}}`:                                                                 `refers to "file:///etc/passwd"`,
		`{"$dynamicRef": "https://example.com/a#b"}`:                                                                                         `refers to "https://example.com/a#b"`,
		`{"$ref": "other.json"}`:                            `refers to "other.json"`,
		`{"$schema": "http://json-schema.org.example.com"}`: `refers to "http://json-schema.org.example.com"`,
		`{`: "can't be read",
	} {
		for _, file := range []string{"values.schema.json", "charts/sub/values.schema.json"} {
			if got := check(file, schema); want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0].Reason, want) || !strings.Contains(got[0].Place, "values.schema.json of chart")) {
				t.Errorf("%s %s: got %+v, want %s", file, schema, got, want)
			}
		}
	}
}

// All that is wrong with all releases is said at once, with place and next step.
func TestRenderProblems(t *testing.T) {
	t.Parallel()
	chart := func(template string) []byte {
		return packed(t, "acme", map[string]string{"templates/a.yaml": template})
	}
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: other/image:1}]}\n"
	list := []releases.Release{
		{Name: "image", Chart: chart(pod), Images: map[string]string{"acme/main:1": "x"}},
		{Name: "template", Chart: chart("a: {{ required \"name it\" .Values.name }}")},
		{Name: "bytes", Chart: []byte("no chart")},
		{Name: "escape", Chart: packed(t, "../acme", nil)},
		{Name: "dependency", Chart: packed(t, "acme", map[string]string{"Chart.yaml": "apiVersion: v2\nname: acme\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.0.0, repository: https://charts.example.com}]\n"})},
		{Name: "files", Chart: chart(`a: {{ (.Files.Get "/etc/hostname") | quote }}{{ env "HOME" }}`)},
		{Name: "version", Chart: packed(t, "acme", map[string]string{"Chart.yaml": "apiVersion: v2\nname: acme\nversion: 1.0.0\nkubeVersion: <1.0.0\n"})},
		{Name: "schema", Chart: packed(t, "acme", map[string]string{"values.schema.json": `{"type": "object", "properties": {"replicas": {"type": "integer"}}}`}), Values: map[string]any{"replicas": "many"}},
	}
	a := ask(t.Context(), t, releases.Request{Operation: releases.Render, Releases: list})
	want := []string{
		"release image, Pod p, container c: names the image \"other/image:1\"",
		"release template: can't be rendered: ",
		"release bytes: has a chart that Helm can't read",
		"release escape: has a chart that Helm can't read",
		"release dependency: has a chart that lacks what it depends on: redis",
		"release files: can't be rendered: ",
		"release version: can't be rendered: ",
		"release schema: can't be rendered: ",
	}
	if len(a.problems) != len(want) || !a.refused {
		t.Fatalf("problems: %+v", a.problems)
	}
	for i, p := range a.problems {
		if got := p.Place + ": " + p.Reason; !strings.HasPrefix(got, want[i]) || p.Next == "" {
			t.Errorf("got %s (%s), want %s", got, p.Next, want[i])
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	if a := ask(t.Context(), t, releases.Request{Operation: "explode"}); len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, `"explode"`) {
		t.Errorf("got %+v", a)
	}
	for _, request := range []string{"{", `{"operation": "status", "plugins": true}`} {
		var out bytes.Buffer
		if err := releases.Serve(t.Context(), strings.NewReader(request), &out); err != nil || !strings.Contains(out.String(), "can't be read") {
			t.Errorf("%s: got %s, %v", request, out.String(), err)
		}
	}
	// Without an API everything that needs one says so.
	for _, o := range []releases.Operation{releases.Apply, releases.Status, releases.History, releases.Uninstall} {
		a := ask(t.Context(), t, releases.Request{Operation: o, Socket: t.TempDir() + "/none", Releases: []releases.Release{{Name: "acme", Chart: packed(t, "acme", nil)}}})
		if len(a.problems) != 1 || a.refused || !strings.Contains(fmt.Sprint(a.problems), "no such file") {
			t.Errorf("%s: got %+v", o, a)
		}
	}
}
