package image_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

func tarball(t testing.TB, content map[string][]byte) []byte {
	t.Helper()
	body, err := samplebundle.Tar(content)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func read(t testing.TB, body []byte) ([]image.Image, fault.Faults) {
	t.Helper()
	b := archive.NewBudget(t.Context(), archive.Default())
	images, ok, err := image.Read(bytes.NewReader(body), "x.tar", b, image.Options{})
	if err := b.Settle(err); err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Fatal("is no archive")
	}
	return images, b.Faults()
}

var programs = map[string][]byte{"amd64": []byte("a program"), "arm64": []byte("another program")}

func layout(t testing.TB, c samplebundle.Compression) map[string][]byte {
	t.Helper()
	content, err := samplebundle.Layout("web", programs, c)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func saved(t testing.TB) map[string][]byte {
	t.Helper()
	content, err := samplebundle.Saved("api", programs["amd64"])
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// brief is what is compared of images.
func brief(images []image.Image) (out []string) {
	for _, i := range images {
		s := strings.Join(i.Names, ",")
		for _, p := range i.Platforms {
			s += " " + p.Platform
			for _, l := range p.Layers {
				s += "/" + string(l.Compression)
			}
		}
		out = append(out, s)
	}
	return out
}

func TestRead(t *testing.T) {
	t.Parallel()
	both := layout(t, samplebundle.Gzipped)
	one := saved(t)
	legacy := maps.Clone(one)
	for name, body := range one { // docker save since version 25
		if strings.HasSuffix(name, "/layer.tar") {
			legacy["blobs/sha256/"+strings.TrimSuffix(name, "/layer.tar")] = body
		}
	}
	// An archive with both lists, of the same layers.
	twofold := layout(t, samplebundle.Stored)
	maps.Copy(twofold, one)
	for _, c := range []struct {
		name    string
		content map[string][]byte
		want    []string
	}{
		{"both lists", twofold, []string{"poolhouse-sample/web:v1.0.0,poolhouse-sample/api:v1.0.0 linux/amd64// linux/arm64//"}},
		{"saved", one, []string{"poolhouse-sample/api:v1.0.0 linux/amd64//"}},
		{"saved with more", legacy, []string{"poolhouse-sample/api:v1.0.0 linux/amd64//"}},
		{"stored", layout(t, samplebundle.Stored), []string{"poolhouse-sample/web:v1.0.0 linux/amd64// linux/arm64//"}},
		{"gzip", both, []string{"poolhouse-sample/web:v1.0.0 linux/amd64/gzip/gzip linux/arm64/gzip/gzip"}},
		{"zstd", layout(t, samplebundle.Zstandard), []string{"poolhouse-sample/web:v1.0.0 linux/amd64/zstd/zstd linux/arm64/zstd/zstd"}},
	} {
		got, faults := read(t, tarball(t, c.content))
		if d := cmp.Diff(c.want, brief(got)); d != "" || len(faults) > 0 {
			t.Errorf("%s: %v\n%s", c.name, faults, d)
		}
	}
}

// The digest of an image is that of its index, whichever way it comes, and that
// of an image without a manifest is the same for the same content.
func TestDigest(t *testing.T) {
	t.Parallel()
	content := layout(t, samplebundle.Gzipped)
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(content["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, tarball(t, content))
	if got[0].Digest != index.Manifests[0].Digest || got[0].Made || len(got[0].Digests()) != 3 {
		t.Errorf("%+v", got[0])
	}
	first, _ := read(t, tarball(t, saved(t)))
	again, _ := read(t, tarball(t, saved(t)))
	if first[0].Digest != again[0].Digest || !first[0].Made || first[0].Digests() != nil {
		t.Errorf("%+v", first[0])
	}
}

// Links of docker save lead to the layers that images share.
func TestSharedLayers(t *testing.T) {
	t.Parallel()
	content := saved(t)
	b := archive.NewBudget(t.Context(), archive.Default())
	c := image.NewCollector("x.tar", b, image.Options{})
	n := 0
	for name, body := range content {
		if strings.HasSuffix(name, "/layer.tar") {
			n++
			moved := strings.Replace(name, "/layer.tar", "/other.tar", 1)
			add(t, c, archive.Member{Name: name, Link: moved}, nil)
			name = moved
		}
		add(t, c, archive.Member{Name: name, Size: int64(len(body))}, body)
	}
	if got := brief(c.Images()); n != 2 || len(got) != 1 || b.Len() > 0 {
		t.Errorf("%v, %v", got, b.Faults())
	}
	loop := image.NewCollector("x.tar", b, image.Options{})
	add(t, loop, archive.Member{Name: "a", Link: "b"}, nil)
	add(t, loop, archive.Member{Name: "b", Link: "a"}, nil)
	list := []byte(`[{"Config":"a"}]`)
	add(t, loop, archive.Member{Name: "manifest.json", Size: int64(len(list))}, list)
	if got := loop.Images(); len(got) > 0 || b.Len() != 1 {
		t.Errorf("%v, %v", got, b.Faults())
	}
}

func add(t *testing.T, c *image.Collector, m archive.Member, body []byte) {
	t.Helper()
	if err := c.Add(m, bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

// replace changes a text in the file whose name or content has a mark.
func replace(content map[string][]byte, mark, from, to string) map[string][]byte {
	for name, body := range content {
		if (strings.Contains(name, mark) || bytes.Contains(body, []byte(mark))) && bytes.Contains(body, []byte(from)) {
			content[name] = bytes.Replace(body, []byte(from), []byte(to), 1)
		}
	}
	return content
}

func without(content map[string][]byte, mark string) map[string][]byte {
	for name, body := range content {
		if strings.Contains(name, mark) || bytes.Contains(body, []byte(mark)) {
			delete(content, name)
		}
	}
	return content
}

// docker is a layout of Docker's types, whose layers are not what they are listed
// as.
func docker(t testing.TB) map[string][]byte {
	content := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	blob := func(mediaType, text string) string {
		sum := samplebundle.Digest([]byte(text))
		content["blobs/sha256/"+sum] = []byte(text)
		d, err := json.Marshal(map[string]any{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(text)})
		if err != nil {
			t.Fatal(err)
		}
		return string(d)
	}
	layer := blob("application/vnd.docker.image.rootfs.diff.tar.gzip", "not gzip")
	config := blob("application/vnd.docker.container.image.v1+json", `{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:`+samplebundle.Digest([]byte("not gzip"))+`"]}}`)
	manifest := blob("application/vnd.docker.distribution.manifest.v2+json", `{"schemaVersion":2,"config":`+config+`,"layers":[`+layer+`]}`)
	content["index.json"] = []byte(`{"schemaVersion":2,"manifests":[` + manifest + `]}`)
	return content
}

func TestFaults(t *testing.T) {
	t.Parallel()
	clash := layout(t, samplebundle.Gzipped) // whose layers are not those of the other
	maps.Copy(clash, saved(t))
	for _, c := range []struct {
		name    string
		content map[string][]byte
		want    string
	}{
		{"nothing", map[string][]byte{"a": []byte("a")}, "has neither index.json nor manifest.json"},
		{"index alone", map[string][]byte{"index.json": []byte(`{}`)}, "no oci-layout"},
		{"version", replace(layout(t, samplebundle.Stored), "oci-layout", "1.0.0", "2.0.0"), "unknown version"},
		{"empty index", map[string][]byte{"index.json": []byte(`{}`), "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}, "lists no image"},
		{"no JSON", replace(layout(t, samplebundle.Stored), "index.json", `{"`, `{`), "is not the JSON document"},
		{"blob", replace(layout(t, samplebundle.Stored), "ustar", "a program", "A program"), "is not what its name says"},
		{"missing", without(layout(t, samplebundle.Stored), "diff_ids"), "which is not there"},
		{"size", replace(layout(t, samplebundle.Stored), "index.json", `"size":`, `"size":1`), "bytes; it has"},
		{"digest", replace(layout(t, samplebundle.Stored), "index.json", `sha256:`, `sha512:`), "is no digest of SHA-256"},
		{"type", replace(layout(t, samplebundle.Stored), "index.json", `"mediaType":"application/vnd.oci.image.index.v1+json","size"`, `"mediaType":"text/plain","size"`), "and listed as"},
		{"compression", replace(layout(t, samplebundle.Gzipped), `"layers":`, "tar+gzip", "tar+zstd"), "is not what its name says"},
		{"compression of docker", docker(t), "is not compressed like that"},
		{"both", clash, "that index.json does not have"},
		{"diff id", replace(saved(t), "diff_ids", `"sha256:`, `"sha256:0`), "and the configuration says"},
		{"layers", replace(saved(t), "diff_ids", `["sha256:`, `["x","sha256:`), "is about 3 layers"},
		{"config", replace(saved(t), "manifest.json", `"Config":"`, `"Config":"x`), "names the configuration"},
		{"layer", replace(saved(t), "manifest.json", `"Layers":["`, `"Layers":["x`), "names the layer"},
		{"tag", replace(saved(t), "manifest.json", `poolhouse-sample/api`, `Poolhouse Sample`), "no name of an image"},
		{"empty list", map[string][]byte{"manifest.json": []byte(`[]`)}, "lists no image"},
	} {
		_, faults := read(t, tarball(t, c.content))
		found := false
		for _, f := range faults {
			found = found || strings.Contains(f.Reason, c.want)
			if f.Fix == "" || !strings.HasPrefix(f.Place, "x.tar") {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if !found {
			t.Errorf("%s: faults are %v, want %q", c.name, faults, c.want)
		}
	}
}

// A byte of an image that is changed is found: every file of a layout but what
// index.json says besides digests is held by a digest.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	content, err := samplebundle.Layout("web", map[string][]byte{"amd64": programs["amd64"]}, samplebundle.Gzipped)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range content {
		if !strings.HasPrefix(name, "blobs/") {
			continue
		}
		for i := range body {
			changed := maps.Clone(content)
			changed[name] = bytes.Clone(body)
			changed[name][i] ^= 1
			if _, faults := read(t, tarball(t, changed)); len(faults) == 0 {
				t.Fatalf("byte %d of %s changed, and nothing was found", i, name)
			}
		}
	}
}

// What is kept of images is bounded, whatever a few bytes say.
func TestItems(t *testing.T) {
	t.Parallel()
	l := archive.Default()
	l.Items = 5
	for name, body := range map[string][]byte{"saved": tarball(t, saved(t)), "layout": tarball(t, layout(t, samplebundle.Stored))} {
		b := archive.NewBudget(t.Context(), l)
		if _, _, err := image.Read(bytes.NewReader(body), "x.tar", b, image.Options{}); err != nil {
			t.Fatal(err)
		}
		tooMany := b.Len() == 1 && strings.Contains(b.Faults()[0].Reason, "is beyond 5 images")
		if tooMany != (name == "layout") { // six for two platforms, four for one
			t.Errorf("%s: %v", name, b.Faults())
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	const sum = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, c := range []struct{ name, registry, repository, tag string }{
		{"nginx", "", "nginx", ""},
		{"nginx:1.27", "", "nginx", "1.27"},
		{"a/b:c", "", "a/b", "c"},
		{"quay.io/a/b:c", "quay.io", "a/b", "c"},
		{"localhost/a", "localhost", "a", ""},
		{"host:5000/a__b/c-d" + sum, "host:5000", "a__b/c-d", ""},
		{"123456789012.dkr.ecr.eu-west-1.amazonaws.com/x:1" + sum, "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "x", "1"},
	} {
		got, ok := image.Parse(c.name)
		if !ok || got.Registry != c.registry || got.Repository != c.repository || got.Tag != c.tag || got.String() != c.name {
			t.Errorf("%s: %+v %v", c.name, got, ok)
		}
	}
	for _, bad := range []string{"", "UPPER", "a b", "a//b", "a:", "a@sha256:0", "a:b:c", "-a", "a/", "/a", "{{ .x }}", "a_-b", "ho_st.x/a", "a:" + strings.Repeat("x", 129)} {
		if got, ok := image.Parse(bad); ok {
			t.Errorf("%q is %+v", bad, got)
		}
	}
	same := func(a, b string) bool {
		x, _ := image.Parse(a)
		y, _ := image.Parse(b)
		return x.Same(y)
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"nginx", "docker.io/library/nginx", true},
		{"a/b", "quay.io/a/b", true},
		{"ghcr.io/a/b", "quay.io/a/b", false},
		{"a/b", "a/c", false},
		{"index.docker.io/a/b", "docker.io/a/b", true},
		{"quay.io/library/nginx", "nginx", false},
	} {
		if same(c.a, c.b) != c.want || same(c.b, c.a) != c.want {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.want)
		}
	}
}

// FuzzSaved: no manifest.json makes the reader fail.
func FuzzSaved(f *testing.F) {
	content := saved(f)
	f.Add(content["manifest.json"], []byte("layer"))
	f.Add([]byte(`[{"Config":"c","Layers":["l","l"]}]`), []byte(`{"rootfs":{"diff_ids":["x","y"]}}`))
	f.Fuzz(func(t *testing.T, list, other []byte) {
		files := maps.Clone(content)
		files["manifest.json"], files["l"], files["c"] = list, other, other
		read(t, tarball(t, files))
	})
}

// FuzzLayout: no index.json and no manifest make the reader fail.
func FuzzLayout(f *testing.F) {
	content := layout(f, samplebundle.Gzipped)
	for name, body := range content {
		if name == "index.json" || bytes.HasPrefix(body, []byte(`{"config"`)) || bytes.HasPrefix(body, []byte(`{"manifests"`)) {
			f.Add(content["index.json"], body)
		}
	}
	f.Fuzz(func(t *testing.T, index, blob []byte) {
		files := maps.Clone(content)
		files["index.json"] = index
		sum := samplebundle.Digest(blob)
		files["blobs/sha256/"+sum] = blob
		// An index that lists the blob, so that it is read as each kind.
		for _, kind := range []string{"manifest", "index"} {
			list, err := json.Marshal(map[string]any{"manifests": []any{map[string]any{
				"mediaType": "application/vnd.oci.image." + kind + ".v1+json", "digest": "sha256:" + sum, "size": len(blob),
			}}})
			if err != nil {
				t.Fatal(err)
			}
			with := maps.Clone(files)
			with["index.json"] = list
			read(t, tarball(t, with))
		}
		read(t, tarball(t, files))
	})
}

// FuzzArchive: no bytes make the reader fail.
func FuzzArchive(f *testing.F) {
	f.Add(tarball(f, saved(f)))
	f.Add(tarball(f, layout(f, samplebundle.Zstandard)))
	l := archive.Default()
	l.Bytes, l.RatioFrom = 8<<20, 1<<20
	f.Fuzz(func(t *testing.T, body []byte) {
		b := archive.NewBudget(t.Context(), l)
		if _, _, err := image.Read(bytes.NewReader(body), "x.tar", b, image.Options{}); b.Settle(err) != nil {
			t.Error(err)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	program := make([]byte, 16<<20)
	for i := range program {
		program[i] = byte(i * i >> 8)
	}
	for _, c := range []struct {
		name string
		how  samplebundle.Compression
	}{{"stored", samplebundle.Stored}, {"gzip", samplebundle.Gzipped}, {"zstd", samplebundle.Zstandard}} {
		content, err := samplebundle.Layout("web", map[string][]byte{"amd64": program}, c.how)
		if err != nil {
			b.Fatal(err)
		}
		body := tarball(b, content)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(program)))
			for b.Loop() {
				budget := archive.NewBudget(b.Context(), archive.Default())
				if _, _, err := image.Read(io.Reader(bytes.NewReader(body)), "x.tar", budget, image.Options{}); err != nil || budget.Len() > 0 {
					b.Fatal(err, budget.Faults())
				}
			}
		})
	}
}
