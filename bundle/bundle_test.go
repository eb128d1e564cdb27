package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// unpacked are the files of an archive.
func unpacked(t testing.TB, name string) map[string][]byte {
	t.Helper()
	content := map[string][]byte{}
	b := archive.NewBudget(t.Context(), archive.Default())
	if _, err := archive.Walk(name, b, archive.Options{}, func(m archive.Member, r io.Reader) error {
		body, err := io.ReadAll(r)
		content[m.Name] = body
		return err
	}); err != nil || b.Len() > 0 {
		t.Fatal(err, b.Faults())
	}
	return content
}

// folder writes files to a folder.
func folder(t testing.TB, content map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range content {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, body, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// as writes files as an archive.
func as(t testing.TB, content map[string][]byte) string {
	t.Helper()
	body, err := samplebundle.Tar(content)
	name := filepath.Join(t.TempDir(), "b.tar")
	if err := errors.Join(err, os.WriteFile(name, body, 0o644)); err != nil {
		t.Fatal(err)
	}
	return name
}

// The same content gives the same bytes, from wherever it comes and whenever.
func TestReproducible(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"b.tar", "b.tar.gz"} {
		first, _ := sample(t, name)
		again, _ := sample(t, name)
		a, err := os.ReadFile(first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two builds differ", name)
		}
	}
	first, _ := sample(t, "b.tar")
	f, err := os.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		want := int64(0o644)
		if strings.HasPrefix(h.Name, "scripts/") {
			want = 0o755
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname+h.Gname != "" || h.Mode != want {
			t.Errorf("%+v", h)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %v", names)
	}
}

// A folder and an archive of the same files are the same bundle; without
// bundle.yaml it is one in the vendor's layout.
func TestLayouts(t *testing.T) {
	t.Parallel()
	name, made := sample(t, "b.tar.gz")
	content := unpacked(t, name)
	got := read(t, folder(t, content))
	if d := cmp.Diff(made.Images, got.Images); d != "" || len(got.Faults) > 0 || got.Format != archive.Folder || got.Sealed {
		t.Errorf("%v %s\n%s", got.Faults, got.Format, d)
	}
	delete(content, bundle.Description)
	delete(content, bundle.Sums)
	content["pool/linux-amd64/pool"] = []byte("a program")
	content["checkpoints/m-1.0.tar"] = []byte("weights")
	got = read(t, as(t, content))
	if len(got.Faults) > 0 || got.Described || got.Summed || len(got.Charts) != 2 || len(got.Images) != 3 {
		t.Errorf("%+v", got)
	}
	if len(got.Unknown) != 1 || len(got.Scripts) != 1 || len(got.Checkpoints) != 1 || got.Checkpoints[0].Name != "m-1.0" {
		t.Errorf("%+v", got)
	}
}

// Whichever byte of a bundle changes, it is found: in a folder by the digests of
// files, in an archive by the digest beside it.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	name, _ := sample(t, "b.tar")
	content := unpacked(t, name)
	dir := folder(t, content)
	for file, body := range content {
		at := filepath.Join(dir, filepath.FromSlash(file))
		for i := 0; i < len(body); i += max(1, len(body)/6) {
			changed := bytes.Clone(body)
			changed[i] ^= 1
			if err := os.WriteFile(at, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			if c := read(t, dir); len(c.Faults) == 0 {
				t.Errorf("byte %d of %s changed, and nothing was found", i, file)
			}
		}
		if err := os.WriteFile(at, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if c := read(t, dir); len(c.Faults) > 0 {
		t.Fatal(c.Faults)
	}
	changedBytes(t, func(name string) *bundle.Contents { return read(t, name) })
}

// changedBytes has a reader find every change of a byte in an archive with a digest
// beside it; every fortieth or so is tried.
func changedBytes(t *testing.T, read func(name string) *bundle.Contents) {
	t.Helper()
	for _, ending := range []string{"b.tar", "b.tar.gz"} {
		name, _ := sample(t, ending)
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(body); i += max(1, len(body)/40) {
			changed := bytes.Clone(body)
			changed[i] ^= 1
			if err := os.WriteFile(name, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			if c := read(name); len(c.Faults) == 0 {
				t.Errorf("byte %d of %s changed, and nothing was found", i, ending)
			}
		}
	}
}

// Without the digest beside it, a change in an archive is found or has changed no
// file of it.
func TestUnsealed(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{"b.tar", "b.tar.gz"} {
		name, _ := sample(t, ending)
		want := unpacked(t, name)
		body, err := os.ReadFile(name)
		if err := errors.Join(err, os.Remove(name+bundle.SumSuffix)); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(body); i += max(1, len(body)/60) {
			changed := bytes.Clone(body)
			changed[i] ^= 1
			if err := os.WriteFile(name, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			if c := read(t, name); len(c.Faults) == 0 {
				if d := cmp.Diff(want, unpacked(t, name)); d != "" {
					t.Errorf("byte %d of %s changed, and nothing was found:\n%s", i, ending, d)
				}
			}
		}
	}
}

// What goes in comes out: charts and images of any names and sizes.
func TestBuildThenRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9]{0,12}`), 1, 3, rapid.ID).Draw(rt, "names")
		o := bundle.BuildOptions{Name: "b", Version: rapid.StringMatching(`[0-9]\.[0-9]+`).Draw(rt, "version")}
		var images, charts []string
		for _, n := range names {
			program := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(rt, "program")
			var content map[string][]byte
			how := rapid.SampledFrom([]string{"saved", "stored", "gzip", "zstd"}).Draw(rt, "how")
			c := map[string]samplebundle.Compression{"stored": samplebundle.Stored, "gzip": samplebundle.Gzipped, "zstd": samplebundle.Zstandard}[how]
			if how == "saved" {
				content, err = samplebundle.Saved(n, program)
			} else {
				content, err = samplebundle.Layout(n, map[string][]byte{"arm64": program}, c)
			}
			if err != nil {
				rt.Fatal(err)
			}
			body, err := samplebundle.Tar(content)
			at := filepath.Join(dir, n+".tar")
			if err := errors.Join(err, os.WriteFile(at, body, 0o644)); err != nil {
				rt.Fatal(err)
			}
			o.Images = append(o.Images, at)
			images = append(images, samplebundle.Name(n))
			chart := filepath.Join(dir, n)
			if err := errors.Join(os.MkdirAll(chart, 0o755),
				os.WriteFile(filepath.Join(chart, "Chart.yaml"), []byte("name: "+n+"\nversion: 1.0.0\n"), 0o644),
				os.WriteFile(filepath.Join(chart, "values.yaml"), []byte("image: "+samplebundle.Name(n)+"\n"), 0o644)); err != nil {
				rt.Fatal(err)
			}
			o.Charts = append(o.Charts, chart)
			charts = append(charts, n+" "+samplebundle.Name(n))
		}
		made, err := bundle.Build(context.Background(), filepath.Join(dir, "b.tar.gz"), o)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := bundle.Read(context.Background(), made.Path, bundle.Options{})
		if err != nil || len(got.Faults) > 0 {
			rt.Fatal(err, got.Faults)
		}
		var gotImages, gotCharts []string
		for _, i := range got.Images {
			gotImages = append(gotImages, i.Names...)
		}
		for _, c := range got.Charts {
			gotCharts = append(gotCharts, c.Name+" "+c.Images[0].Image)
		}
		slices.Sort(images)
		slices.Sort(charts)
		slices.Sort(gotImages)
		slices.Sort(gotCharts)
		if d := cmp.Diff(images, gotImages) + cmp.Diff(charts, gotCharts); d != "" || got.Version != o.Version {
			rt.Fatal(d)
		}
		if a, b := text(rt, made.Images), text(rt, got.Images); a != b {
			rt.Fatal(cmp.Diff(a, b))
		}
	})
}

func text(t interface{ Fatal(...any) }, v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each thing that can be wrong with a bundle is said, and nothing else.
func TestFaults(t *testing.T) {
	t.Parallel()
	name, _ := sample(t, "b.tar")
	whole := unpacked(t, name)
	platform := "charts/sample-platform/values.yaml"
	replace := func(file, from, to string) func(map[string][]byte) {
		return func(c map[string][]byte) {
			if !bytes.Contains(c[file], []byte(from)) {
				t.Fatalf("%s has no %q", file, from)
			}
			c[file] = bytes.Replace(c[file], []byte(from), []byte(to), 1)
		}
	}
	bare := func(c map[string][]byte) { delete(c, bundle.Sums); delete(c, bundle.Description) }
	unsummed := func(c map[string][]byte) { delete(c, bundle.Sums) }
	all := func(fs ...func(map[string][]byte)) func(map[string][]byte) {
		return func(c map[string][]byte) {
			for _, f := range fs {
				f(c)
			}
		}
	}
	sum := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name   string
		change func(map[string][]byte)
		want   []string
	}{
		{"image gone", all(bare, func(c map[string][]byte) { delete(c, "containers/core-api.tar") }), []string{"charts/sample-platform > values.yaml:5: names the image poolhouse-sample/core-api:v1.0.0, which is not in the bundle"}},
		{"other tag", all(bare, replace(platform, "tag: v1.0.0", "tag: v2.0.0")), []string{"values.yaml:5: names the image poolhouse-sample/core-api:v2.0.0, which is not"}},
		{"digest of an archive without", all(bare, replace(platform, "tag: v1.0.0", "tag: v1.0.0\n    digest: "+sum)), []string{"carries no digest to compare"}},
		{"other digest", all(bare, replace(platform, `tag: ""`, "tag: v1.0.0\n    digest: "+sum)), []string{"has another one of this name"}},
		{"file added", func(c map[string][]byte) { c["charts/README"] = nil }, []string{"charts/README: is not in SHA256SUMS"}},
		{"file gone", func(c map[string][]byte) { delete(c, "scripts/status.sh") }, []string{`has "scripts/status.sh", which is not in the bundle`}},
		{"sums", replace(bundle.Sums, "  bundle.yaml", " bundle.yaml"), []string{"SHA256SUMS:1: is no line of sha256sum", "bundle.yaml: is not in SHA256SUMS"}},
		{"unknown key", all(unsummed, replace(bundle.Description, "name: sample", "nome: sample")), []string{`bundle.yaml:3: is not valid: the key "nome" is not known`}},
		{"twice", all(unsummed, replace(bundle.Description, "name: sample", "name: sample\nname: sample")), []string{"bundle.yaml:4: is not valid"}},
		{"version of format", all(unsummed, replace(bundle.Description, "bundle/v1", "bundle/v2")), []string{"bundle.yaml > apiVersion: is"}},
		{"several", all(unsummed, replace(bundle.Description, "name: sample", "name: Sample"), replace(bundle.Description, `version: 1.0.0`, `version: "?"`)), []string{"bundle.yaml > name", "bundle.yaml > version"}},
		{"other version", all(unsummed, replace(bundle.Description, "    version: 1.0.0", "    version: 1.0.1")), []string{"bundle.yaml > charts[0]: differs"}},
		{"not listed", all(unsummed, func(c map[string][]byte) { c["charts/again-1.0.0.tgz"] = c["charts/sample-inference-1.0.0.tgz"] }), []string{"charts/again-1.0.0.tgz: is not in bundle.yaml", "is the chart sample-inference 1.0.0, as"}},
		{"listed", all(unsummed, func(c map[string][]byte) {
			delete(c, "containers/core-api.tar")
		}), []string{"bundle.yaml > images[0]: names", "names the image poolhouse-sample/core-api"}},
		{"checkpoint", all(unsummed, replace(bundle.Description, "file: sample-1.0.tar", "file: checkpoints/sample-1.0.tar")), []string{"bundle.yaml > checkpoints[0]: names"}},
		{"one name for two", all(bare, func(c map[string][]byte) {
			other, err := samplebundle.Saved("core-api", []byte("other"))
			if err != nil {
				t.Fatal(err)
			}
			if c["containers/other.tar"], err = samplebundle.Tar(other); err != nil {
				t.Fatal(err)
			}
		}), []string{"has another image poolhouse-sample/core-api:v1.0.0 than"}},
		{"nothing", func(c map[string][]byte) { clear(c); c["README"] = nil }, []string{"holds neither charts nor images"}},
		{"a folder too deep", func(c map[string][]byte) {
			for name, body := range maps.Clone(c) {
				delete(c, name)
				c[path.Join("v1", name)] = body
			}
		}, []string{"there are some below v1"}},
		{"no image", all(bare, func(c map[string][]byte) { c["containers/core-api.tar"] = []byte("hello") }), []string{"names the image poolhouse-sample/core-api"}},
		{"cut image", all(bare, func(c map[string][]byte) {
			c["containers/core-api.tar"] = c["containers/core-api.tar"][:2000]
		}), []string{"containers/core-api.tar", "names the image poolhouse-sample/core-api"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			content := maps.Clone(whole)
			c.change(content)
			for _, name := range []string{as(t, content), folder(t, content)} {
				got := read(t, name)
				said := ""
				for _, f := range got.Faults {
					said += f.String() + "\n"
					if f.Fix == "" {
						t.Errorf("%v has no next step", f)
					}
				}
				for _, want := range c.want {
					if !strings.Contains(said, want) {
						t.Errorf("faults are\n%swant %q", said, want)
					}
				}
				if len(c.want) != len(got.Faults) {
					t.Errorf("%d faults, want %d:\n%s", len(got.Faults), len(c.want), said)
				}
			}
		})
	}
}

// A bundle appears whole or not at all, and what was there stays.
func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	sources, err := samplebundle.Write(t.TempDir(), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		out    string
		change func(*bundle.BuildOptions)
		want   []string
	}{
		{"incomplete", "b.tar", func(o *bundle.BuildOptions) { o.Images = o.Images[1:] }, []string{"names the image poolhouse-sample/core-api"}},
		{"no source", "b.tar", func(o *bundle.BuildOptions) { o.Charts = append(o.Charts, "/nonexistent") }, []string{"can't be read"}},
		{"one name", "b.tar", func(o *bundle.BuildOptions) { o.Charts = append(o.Charts, o.Charts[0]) }, []string{"has the name of"}},
		{"name", "b.tar", func(o *bundle.BuildOptions) { o.Name = "../x" }, []string{"is no name"}},
		{"format", "b.zip", func(*bundle.BuildOptions) {}, []string{"can't be written to"}},
		{"all", "b.zip", func(o *bundle.BuildOptions) { o.Name, o.Version, o.Images = "", "", o.Images[1:] }, []string{"can't be written to", "is no name", "is no version", "names the image"}},
		{"checkpoint", "b.tar", func(o *bundle.BuildOptions) { o.Checkpoints = []bundle.Checkpoint{{Name: "a/b"}} }, []string{"is no name of a checkpoint"}},
		{"checkpoint elsewhere", "b.tar", func(o *bundle.BuildOptions) { o.Checkpoints = []bundle.Checkpoint{{Name: "a", File: "../a.tar"}} }, []string{`"../a.tar" lies neither in the bundle nor beside it`}},
		{"checkpoint anywhere", "b.tar", func(o *bundle.BuildOptions) { o.Checkpoints = []bundle.Checkpoint{{Name: "a", File: "/a.tar"}} }, []string{`"/a.tar" lies neither in the bundle nor beside it`}},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, c.out)
		if err := os.WriteFile(name, []byte("before"), 0o644); err != nil {
			t.Fatal(err)
		}
		o := sources
		c.change(&o)
		_, err := bundle.Build(t.Context(), name, o)
		faults, is := errors.AsType[fault.Faults](err)
		if !is {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(faults.Error(), want) {
				t.Errorf("%s: %v, want %q", c.name, faults, want)
			}
		}
		body, err := os.ReadFile(name)
		left, err2 := os.ReadDir(dir)
		if string(body) != "before" || len(left) != 1 || errors.Join(err, err2) != nil {
			t.Errorf("%s: %q and %v are left, %v", c.name, body, left, errors.Join(err, err2))
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bundle.Build(canceled, filepath.Join(t.TempDir(), "b.tar"), sources); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A digest beside an archive that is of another or unreadable is a fault.
func TestSeal(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "hello\n", strings.Repeat("0", 64) + "  other.tar\n", strings.Repeat("0", 64) + "  b.tar\n"} {
		name, _ := sample(t, "b.tar")
		if err := os.WriteFile(name+bundle.SumSuffix, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if c := read(t, name); len(c.Faults) != 1 {
			t.Errorf("%q: %v", text, c.Faults)
		}
	}
}

// FuzzManifest: no bundle.yaml makes the reader fail.
func FuzzManifest(f *testing.F) {
	name, _ := sample(f, "b.tar")
	f.Add(unpacked(f, name)[bundle.Description])
	f.Add([]byte("apiVersion: poolhouse/bundle/v1\nname: a\nversion: 1\nimages: [{file: a}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := bundle.ParseManifest(text)
		if faults, is := errors.AsType[fault.Faults](err); err != nil && (!is || len(faults) == 0) || (m == nil) == (err == nil) {
			t.Errorf("%v, %v", m, err)
		}
	})
}

// FuzzRead: no archive makes the reader fail, and skimming finds nothing wrong with one
// that has no fault.
func FuzzRead(f *testing.F) {
	name, _ := sample(f, "b.tar")
	body, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	l := archive.Default()
	l.Bytes, l.RatioFrom = 8<<20, 1<<20
	f.Fuzz(func(t *testing.T, body []byte) {
		at := filepath.Join(t.TempDir(), "b.tar")
		if err := os.WriteFile(at, body, 0o644); err != nil {
			t.Fatal(err)
		}
		full, err := bundle.Read(t.Context(), at, bundle.Options{Limits: l})
		if err != nil {
			t.Fatal(err)
		}
		skimmed, err := bundle.Read(t.Context(), at, bundle.Options{Limits: l, Skim: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(full.Faults) > 0 {
			return
		}
		if d := cmp.Diff(full, skimmed, sameButUnpacked); d != "" {
			t.Error(d)
		}
	})
}

// BenchmarkRead reads a bundle of 64 MB, as it is for images that are stored.
func BenchmarkRead(b *testing.B) {
	program := make([]byte, 32<<20)
	for i := range program {
		program[i] = byte(i * i >> 8)
	}
	o, err := samplebundle.Write(b.TempDir(), func(string) ([]byte, error) { return program, nil })
	if err != nil {
		b.Fatal(err)
	}
	for _, ending := range []string{"b.tar", "b.tar.gz"} {
		b.Run(ending, func(b *testing.B) {
			made, err := bundle.Build(b.Context(), filepath.Join(b.TempDir(), ending), o)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(made.Size)
			for b.Loop() {
				if c := read(b, made.Path); len(c.Faults) > 0 {
					b.Fatal(c.Faults)
				}
			}
		})
	}
}

// Example of a bundle's contents in a few words.
func ExampleRead() {
	dir, err := os.MkdirTemp("", "poolhouse-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	o, err := samplebundle.Write(dir, samplebundle.Stub)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := bundle.Build(context.Background(), filepath.Join(dir, "sample.tar"), o); err != nil {
		fmt.Println(err)
		return
	}
	c, err := bundle.Read(context.Background(), filepath.Join(dir, "sample.tar"), bundle.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Name, c.Version, len(c.Charts), "charts", len(c.Images), "images", len(c.Faults), "faults")
	// Output: sample 1.0.0 2 charts 3 images 0 faults
}
