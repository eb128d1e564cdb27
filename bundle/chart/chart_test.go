package chart_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/chart"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// pack packs a chart of texts by name, with its name as folder.
func pack(t testing.TB, name string, texts map[string]string) string {
	t.Helper()
	content := map[string][]byte{}
	for file, text := range texts {
		content[name+"/"+file] = []byte(text)
	}
	body, err := samplebundle.Tar(content)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func read(t testing.TB, body string) (chart.Chart, bool, fault.Faults) {
	t.Helper()
	l := archive.Default()
	l.Bytes, l.RatioFrom = 32<<20, 1<<20
	b := archive.NewBudget(t.Context(), l)
	c, ok, err := chart.Read(strings.NewReader(body), "c.tgz", b)
	if err := b.Settle(err); err != nil {
		t.Fatal(err)
	}
	return c, ok, b.Faults()
}

const meta = "apiVersion: v2\nname: c\nversion: 1.2.3\nappVersion: v7\n"

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// shapes are the ways in which values name images.
const shapes = `
image: one/text:1
apart:
  image: {repository: two/apart, tag: 2.10, pullPolicy: Always}
registry:
  image: {registry: quay.io, repository: three/registry, tag: "3"}
digest:
  image: {repository: four/digest, digest: "` + digest + `"}
both:
  image: {repository: five/both, tag: v5, digest: "` + digest + `"}
untagged:
  image: {repository: six/untagged}
named:
  image: {name: seven/named, tag: v7.0}
initImage: eight/init:8
list:
  - image: nine/list:9
plain: {repository: ten/plain, tag: v10}
number:
  image: {repository: eleven/number, tag: 20240101}
anchor: &a
  image: {repository: twelve/anchor, tag: v12}
merged:
  <<: *a
filled: {image: "{{ .Values.x }}/y:1"}
git: {repository: "https://example.com/x.git", tag: v1}
helmRepository: {repository: not/an-image}
empty: {image: {repository: "", tag: ""}}
imagePullPolicy: Always
`

func images(c chart.Chart) (out []string) {
	for _, r := range c.Images {
		s := r.Image
		if r.Assumed {
			s += " assumed"
		}
		out = append(out, s)
	}
	return out
}

func TestShapes(t *testing.T) {
	t.Parallel()
	c, ok, faults := read(t, pack(t, "c", map[string]string{"Chart.yaml": meta, "values.yaml": shapes}))
	want := []string{
		"eight/init:8",
		"five/both:v5@" + digest,
		"four/digest@" + digest,
		"nine/list:9",
		"one/text:1",
		"quay.io/three/registry:3",
		"seven/named:v7.0",
		"six/untagged:v7 assumed",
		"ten/plain:v10",
		"twelve/anchor:v12",
		"two/apart:2.1", // as Helm has it: a number
	}
	if d := cmp.Diff(want, images(c)); d != "" || !ok || len(faults) > 0 {
		t.Errorf("%v %v\n%s", ok, faults, d)
	}
	// A number that Helm prints as 2.0240101e+07 is no tag.
	if d := cmp.Diff([]string{"c.tgz > values.yaml:20", "c.tgz > values.yaml:25"}, c.NotRendered); d != "" {
		t.Error(d)
	}
	if c.Name != "c" || c.Version != "1.2.3" || c.AppVersion != "v7" {
		t.Errorf("%+v", c)
	}
}

// Templates name images in lines of their own.
func TestTemplates(t *testing.T) {
	t.Parallel()
	c, _, faults := read(t, pack(t, "c", map[string]string{
		"Chart.yaml":           meta + "annotations:\n  artifacthub.io/images: |\n    - {name: a, image: annotated/a:1}\n",
		"templates/a.yaml":     "  - image: \"literal/a:1\"\n    image: {{ .Values.a }}\n    # image: commented/out:1\n    image: busybox:1.37 # why\n",
		"templates/NOTES.txt":  "image: notes/a:1",
		"templates/sub/b.yaml": "image: 'literal/b:1'",
	}))
	if d := cmp.Diff([]string{"annotated/a:1", "busybox:1.37", "literal/a:1", "literal/b:1"}, images(c)); d != "" || len(faults) > 0 {
		t.Errorf("%v\n%s", faults, d)
	}
	if d := cmp.Diff([]string{"c.tgz > templates/a.yaml:2"}, c.NotRendered); d != "" {
		t.Error(d)
	}
}

// A chart's values are laid over those of charts within it.
func TestWithin(t *testing.T) {
	t.Parallel()
	sub := "name: s\nversion: 0.1.0\nappVersion: v0\n"
	c, ok, faults := read(t, pack(t, "c", map[string]string{
		"Chart.yaml":              meta + "dependencies: [{name: s, version: 0.1.0}, {name: p, alias: q, version: 0.1.0}, {name: gone, version: 1}]\n",
		"values.yaml":             "s: {image: {tag: v9}}\nq: {image: {repository: over/laid}}\n",
		"charts/s/Chart.yaml":     sub,
		"charts/s/values.yaml":    "image: {repository: sub/s, tag: v1}\n",
		"charts/p-0.1.0.tgz":      pack(t, "p", map[string]string{"Chart.yaml": strings.Replace(sub, "name: s", "name: p", 1), "values.yaml": "image: {repository: sub/p, tag: v1}\n"}),
		"charts/s/charts/n-1.tgz": pack(t, "n", map[string]string{"Chart.yaml": strings.Replace(sub, "name: s", "name: n", 1), "values.yaml": "image: sub/n:1\n"}),
	}))
	if d := cmp.Diff([]string{"over/laid:v1", "sub/n:1", "sub/s:v9"}, images(c)); d != "" || !ok {
		t.Errorf("%v\n%s", faults, d)
	}
	if len(faults) != 1 || !strings.Contains(faults[0].Reason, `depends on the chart "gone"`) {
		t.Error(faults)
	}
}

// bomb is YAML in which each name stands for ten of the one before.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 x\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String()
}

func TestFaults(t *testing.T) {
	t.Parallel()
	deep := pack(t, "c", map[string]string{"Chart.yaml": meta})
	for range 6 {
		deep = pack(t, "c", map[string]string{"Chart.yaml": meta, "charts/c.tgz": deep})
	}
	with := func(name, text string) string {
		return pack(t, "c", map[string]string{"Chart.yaml": meta, name: text})
	}
	for _, c := range []struct{ name, body, want string }{
		{"not packed", "hello", "is no packed chart"},
		{"empty", "", "is no packed chart"},
		{"no Chart.yaml", pack(t, "c", map[string]string{"values.yaml": "a: 1"}), "has no Chart.yaml"},
		{"no name", pack(t, "c", map[string]string{"Chart.yaml": "version: 1.0.0"}), "has no usable name"},
		{"bad name", pack(t, "c", map[string]string{"Chart.yaml": "name: ../x\nversion: 1.0.0"}), "has no usable name"},
		{"no version", pack(t, "c", map[string]string{"Chart.yaml": "name: x"}), "has no usable version"},
		{"no YAML", with("values.yaml", "a: [b"), "is not valid YAML"},
		{"bomb", with("values.yaml", bomb()), "has more than 200000 values"},
		{"deep", deep, "charts deep"},
		{"large", with("values.yaml", "a: "+strings.Repeat("x", 5<<20)), "is too large"},
		{"many", with("values.yaml", "a:\n"+strings.Repeat("- image: a/b:1\n", 6000)), "names more than"},
		{"loop", with("values.yaml", "a: &a {b: *a}"), ""},
		{"top", string(gz(t, map[string][]byte{"a/Chart.yaml": []byte(meta), "b/x": nil})), "in the one folder"},
		{"annotation", pack(t, "c", map[string]string{"Chart.yaml": meta + "annotations: {artifacthub.io/images: '[{image: A B}]'}"}), "no name of an image"},
	} {
		_, _, faults := read(t, c.body)
		if c.want == "" {
			continue // it is enough that it ends
		}
		if len(faults) == 0 || !strings.Contains(faults.Error(), c.want) {
			t.Errorf("%s: faults are %v, want %q", c.name, faults, c.want)
		}
	}
}

func gz(t testing.TB, content map[string][]byte) []byte {
	t.Helper()
	body, err := samplebundle.Tar(content)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzChart: no texts make the reader fail.
func FuzzChart(f *testing.F) {
	f.Add(meta, shapes, "image: a/b:1")
	f.Add(meta+"dependencies: [{name: c}]", bomb(), "{{ image: x }}")
	f.Add(meta+"annotations: {artifacthub.io/images: '- image: x'}", "a: &a\n  <<: [*a, {b: 1}]\n", "")
	f.Fuzz(func(t *testing.T, meta, values, template string) {
		read(t, pack(t, "c", map[string]string{
			"Chart.yaml": meta, "values.yaml": values, "templates/a.yaml": template,
			"charts/d/Chart.yaml": meta, "charts/d/values.yaml": values,
		}))
	})
}

// FuzzPacked: no bytes make the reader fail.
func FuzzPacked(f *testing.F) {
	f.Add(pack(f, "c", map[string]string{"Chart.yaml": meta, "values.yaml": "image: a/b:1\n"}))
	f.Fuzz(func(t *testing.T, body string) { read(t, body) })
}

func BenchmarkValues(b *testing.B) {
	body := pack(b, "c", map[string]string{"Chart.yaml": meta, "values.yaml": strings.Repeat("- image: {repository: a/b, tag: v1, other: [1, 2, 3]}\n", 2000)})
	b.SetBytes(2000 * 54)
	for b.Loop() {
		read(b, body)
	}
}
