package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
)

type entry struct {
	h    tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(body)), Mode: 0o644}, body}
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// walk reads an archive and returns the names and contents, and the faults.
func walk(t testing.TB, body []byte, l archive.Limits, o archive.Options) (map[string]string, fault.Faults) {
	t.Helper()
	return collect(t, l, func(b *archive.Budget, visit archive.Visit) error {
		_, err := archive.Stream(bytes.NewReader(body), b, o, visit)
		return err
	})
}

func collect(t testing.TB, l archive.Limits, walk func(*archive.Budget, archive.Visit) error) (map[string]string, fault.Faults) {
	t.Helper()
	b := archive.NewBudget(t.Context(), l)
	got := map[string]string{}
	err := walk(b, func(m archive.Member, r io.Reader) error {
		body, err := io.ReadAll(r)
		got[m.Name] = string(body) + m.Link
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, b.Faults()
}

func onDisk(t testing.TB, body []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(name, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// hostile are archives with what they are refused for, and the files of them
// that are read all the same.
func hostile(t testing.TB) []struct {
	name   string
	body   []byte
	reason string
	read   string
} {
	good := file("charts/good", "good")
	special := func(kind byte, name, link string) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o644}, ""}
	}
	pax := func(records map[string]string) entry {
		e := file("charts/pax", "pax")
		e.h.PAXRecords, e.h.Format = records, tar.FormatPAX
		return e
	}
	whole := pack(t, good)
	broken := bytes.Clone(whole)
	broken[10] ^= 1
	lying := bytes.Clone(whole)
	copy(lying[124:], "77777777777\x00") // 8 GiB
	checksum(lying)
	long := strings.Repeat("n", 600)
	endless := bytes.Repeat(longName(t), 5000)
	sparse := pack(t, file("charts/sparse", "x"))
	sparse[156] = 'S'
	copy(sparse[257:], "ustar  \x00")
	copy(sparse[386:], "00000000000\x0000000000001\x00")
	copy(sparse[483:], "77777777777\x00") // 8 GiB of which one byte is there
	checksum(sparse)
	sparser := bytes.Replace(pack(t, pax(map[string]string{"ABC.sparse.size": "999999999"}), good), []byte("ABC.sparse"), []byte("GNU.sparse"), 1)
	unknown := pack(t, file("charts/odd", "x"), good)
	unknown[156] = 'M'
	checksum(unknown)
	zipped := gz(t, whole)
	damaged := bytes.Clone(zipped)
	damaged[len(damaged)-5] ^= 1
	return []struct {
		name   string
		body   []byte
		reason string
		read   string
	}{
		{"up", pack(t, file("../outside", "x"), good), "leads out of the archive", "charts/good"},
		{"up within", pack(t, file("charts/../../outside", "x"), good), "leads out of the archive", "charts/good"},
		{"absolute", pack(t, file("/etc/passwd", "x"), good), "is an absolute path", "charts/good"},
		{"drive", pack(t, file("C:/x", "x"), good), "is an absolute path", "charts/good"},
		{"backslash", pack(t, file(`charts\..\x`, "x"), good), "has a backslash", "charts/good"},
		{"symbolic link", pack(t, special(tar.TypeSymlink, "charts/link", "good"), good), `is a symbolic link, to "good"`, "charts/good"},
		{"hard link", pack(t, good, special(tar.TypeLink, "charts/link", "charts/good")), "is a hard link", "charts/good"},
		{"device", pack(t, special(tar.TypeChar, "charts/null", ""), good), "is a device file", "charts/good"},
		{"block device", pack(t, special(tar.TypeBlock, "charts/disk", ""), good), "is a device file", "charts/good"},
		{"pipe", pack(t, special(tar.TypeFifo, "charts/pipe", ""), good), "is a named pipe", "charts/good"},
		{"twice", pack(t, good, file("charts/good", "other")), "is there twice", "charts/good"},
		{"twice by dots", pack(t, good, file("./charts//good", "other")), "is there twice", "charts/good"},
		{"case", pack(t, good, file("charts/GOOD", "other")), "differs from charts/good in case only", "charts/good"},
		{"case of folder", pack(t, good, file("Charts/other", "other")), "differs from charts in case only", "charts/good"},
		{"case beyond ASCII", pack(t, file("charts/k", "x"), file("charts/\u212a", "x")), "differs from charts/k in case only", "charts/k"},
		{"file and folder", pack(t, good, file("charts/good/below", "x")), "is both a file and a folder", "charts/good"},
		{"control", pack(t, file("charts/\x1b[31m", "x"), good), "has control characters", "charts/good"},
		{"direction", pack(t, file("charts/\u202egnp.x", "x"), good), "has control characters", "charts/good"},
		{"not UTF-8", pack(t, file("charts/\xff", "x"), good), "not UTF-8", "charts/good"},
		{"long", pack(t, file("charts/"+long, "x"), good), "is too long", "charts/good"},
		{"deep", pack(t, file(strings.Repeat("d/", 30)+"x", "x"), good), "too many folders deep", "charts/good"},
		{"global header", pack(t, entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "evil"}}, ""}, good), "has a global header", "charts/good"},
		{"sparse", sparse, "is a sparse file", ""},
		{"sparse in PAX", sparser, "is a sparse file", "charts/good"},
		{"other PAX", pack(t, pax(map[string]string{"VENDOR.x": "1"}), good), "", "charts/good charts/pax"},
		{"unknown type", unknown, "is of the unknown type", "charts/good"},
		{"header", broken, "has a header that is damaged", ""},
		{"size", lying, "ends early", ""},
		{"cut in a file", whole[:515], "ends early", ""},
		{"cut before the end", whole[:1024], "ends early", "charts/good"},
		{"cut in the end", whole[:1536], "ends early", "charts/good"},
		{"goes on", append(bytes.Clone(whole), pack(t, file("evil", "x"))...), "goes on after its end", "charts/good"},
		{"zeros", append(bytes.Clone(whole), make([]byte, 2<<20)...), "of zeros after its end", "charts/good"},
		{"endless headers", endless, "bytes of headers before one file", ""},
		{"gzip cut", zipped[:len(zipped)-9], "ends early", "charts/good"},
		{"gzip checksum", damaged, "is damaged: not valid gzip", "charts/good"},
		{"gzip goes on", append(bytes.Clone(zipped), "more, which is no gzip"...), "is damaged: not valid gzip", "charts/good"},
		{"no archive", []byte("hello"), "is no tar archive", ""},
		{"empty", nil, "is no tar archive", ""},
		{"zip", append([]byte("PK\x03\x04"), make([]byte, 600)...), "is no tar archive", ""},
	}
}

// longName is a header that holds the name of the next, which never comes.
func longName(t testing.TB) []byte {
	body := pack(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "./././@LongLink", Size: 400}, strings.Repeat("n", 400)})[:1024]
	body[156] = 'L'
	copy(body[257:], "ustar  \x00")
	checksum(body)
	return body
}

// checksum corrects the sum of a header. https://www.gnu.org/software/tar/manual/html_node/Standard.html
func checksum(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block[:512] {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
}

func TestHostile(t *testing.T) {
	t.Parallel()
	for _, c := range hostile(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, faults := walk(t, c.body, archive.Default(), archive.Options{})
			if c.reason == "" && len(faults) > 0 || c.reason != "" && (len(faults) != 1 || !strings.Contains(faults[0].Reason, c.reason)) {
				t.Errorf("faults are %v, want %q", faults, c.reason)
			}
			for _, f := range faults {
				if f.Fix == "" {
					t.Errorf("%v has no next step", f)
				}
			}
			for _, name := range strings.Fields(c.read) {
				if _, ok := got[name]; !ok {
					t.Errorf("%s was not read", name)
				}
				delete(got, name)
			}
			for name := range got {
				if c.reason != "ends early" && c.reason != "is damaged: not valid gzip" {
					t.Errorf("%q was read", name)
				}
			}
		})
	}
}

// All faults are found at once.
func TestAllFaults(t *testing.T) {
	t.Parallel()
	var entries []entry
	for i := range 150 {
		entries = append(entries, file(fmt.Sprintf("../%d", i), "x"))
	}
	_, faults := walk(t, pack(t, entries...), archive.Default(), archive.Options{})
	if len(faults) != 101 || !strings.Contains(faults[100].Reason, "has 50 more faults") {
		t.Errorf("%d faults, the last %v", len(faults), faults[len(faults)-1])
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	many := pack(t, file("a", strings.Repeat("a", 3000)), file("b", "b"), file("c", "c"))
	bomb := gz(t, pack(t, file("zeros", strings.Repeat("\x00", 4<<20))))
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(pack(t, file("zeros", strings.Repeat("\x00", 4<<20))))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	wide := bytes.Clone(z.Bytes())
	wide[4], wide[5] = 0, 0xf8 // no size given; a window of 2^41 bytes
	for _, c := range []struct {
		name   string
		body   []byte
		limit  func(*archive.Limits)
		reason string
	}{
		{"members", many, func(l *archive.Limits) { l.Members = 2 }, "holds more than 2 files"},
		{"bytes", many, func(l *archive.Limits) { l.Bytes = 2000 }, "unpacks to more than 2000 bytes in all"},
		{"ratio", bomb, func(l *archive.Limits) { l.RatioFrom, l.Ratio = 1<<20, 50 }, "unpacks to more than 50 times its size"},
		{"ratio of zstd", z.Bytes(), func(l *archive.Limits) { l.RatioFrom, l.Ratio = 1<<20, 50 }, "unpacks to more than 50 times its size"},
		{"window", wide, func(*archive.Limits) {}, "needs a window of more than"},
		{"names", many, func(l *archive.Limits) { l.Names = 2 }, "has names of more than 2 bytes"},
		{"none", many, func(l *archive.Limits) { l.Members, l.Names = 3, 3 }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := archive.Default()
			c.limit(&l)
			_, faults := walk(t, c.body, l, archive.Options{})
			if c.reason == "" && len(faults) > 0 || c.reason != "" && (len(faults) != 1 || !strings.Contains(faults[0].Reason, c.reason)) {
				t.Errorf("faults are %v, want %q", faults, c.reason)
			}
		})
	}
}

// Links of an archive that may have some are followed by name, and lead nowhere
// else.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := func(name, to string) entry {
		return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, ""}
	}
	got, faults := walk(t, pack(t,
		link("a/layer.tar", "../b/layer.tar"), link("out", "../x"), link("abs", "/etc/passwd"), file("b/layer.tar", "b")),
		archive.Default(), archive.Options{Links: true})
	if d := cmp.Diff(map[string]string{"a/layer.tar": "b/layer.tar", "b/layer.tar": "b"}, got); d != "" {
		t.Error(d)
	}
	if len(faults) != 2 {
		t.Error(faults)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	for name, body := range map[string]string{filepath.Join(dir, "b"): "b", filepath.Join(dir, "a"): "a", secret: "secret"} {
		if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Symlink(secret, filepath.Join(dir, "link")),
		os.Symlink("/etc", filepath.Join(dir, "folder")),
		os.Symlink("b", filepath.Join(dir, "within")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644),
		os.WriteFile(filepath.Join(dir, "A"), nil, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	got, faults := collect(t, archive.Default(), func(b *archive.Budget, visit archive.Visit) error {
		_, err := archive.Walk(dir, b, archive.Options{}, visit)
		return err
	})
	if d := cmp.Diff(map[string]string{"A": "", "b": "b"}, got); d != "" {
		t.Error(d)
	}
	if len(faults) != 5 {
		t.Error(faults)
	}
}

// What changes while it is read is found.
func TestFolderChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := archive.NewBudget(t.Context(), archive.Default())
	_, err := archive.Walk(dir, b, archive.Options{}, func(_ archive.Member, r io.Reader) error {
		if err := os.Truncate(name, 3); err != nil {
			return err
		}
		_, err := io.ReadAll(r)
		return err
	})
	if err != nil || len(b.Faults()) != 1 || !strings.Contains(b.Faults()[0].Reason, "changed while it was read") {
		t.Errorf("%v, %v", b.Faults(), err)
	}
}

// A visitor's error ends the reading and comes back; so does the context's end.
func TestErrors(t *testing.T) {
	t.Parallel()
	name := onDisk(t, pack(t, file("a", "a"), file("b", "b")))
	stop := errors.New("stop")
	b := archive.NewBudget(t.Context(), archive.Default())
	n := 0
	if _, err := archive.Walk(name, b, archive.Options{}, func(archive.Member, io.Reader) error { n++; return stop }); !errors.Is(err, stop) || n != 1 || b.Len() > 0 {
		t.Errorf("%v after %d files, %v", err, n, b.Faults())
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	b = archive.NewBudget(ctx, archive.Default())
	if _, err := archive.Walk(name, b, archive.Options{}, func(archive.Member, io.Reader) error { cancel(stop); return nil }); !errors.Is(err, stop) || b.Len() > 0 {
		t.Errorf("%v, %v", err, b.Faults())
	}
}

// FuzzWalk: no bytes make the reader fail, read without end, or visit a name that
// leads out.
func FuzzWalk(f *testing.F) {
	for _, c := range hostile(f) {
		if len(c.body) < 64<<10 {
			f.Add(c.body)
			f.Add(gz(f, c.body))
		}
	}
	l := archive.Default()
	l.Bytes, l.RatioFrom = 8<<20, 1<<20
	f.Fuzz(func(t *testing.T, body []byte) {
		got, _ := walk(t, body, l, archive.Options{Links: true})
		for name := range got {
			if !filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00\n") {
				t.Errorf("visited %q", name)
			}
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	content := make([]byte, 64<<20)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	plain := pack(b, file("layer", string(content)))
	for _, c := range []struct {
		name string
		body []byte
	}{{"tar", plain}, {"tar.gz", gz(b, plain)}} {
		b.Run(c.name, func(b *testing.B) {
			name := onDisk(b, c.body)
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				budget := archive.NewBudget(b.Context(), archive.Default())
				if _, err := archive.Walk(name, budget, archive.Options{}, func(_ archive.Member, r io.Reader) error {
					_, err := io.Copy(io.Discard, r)
					return err
				}); err != nil || budget.Len() > 0 {
					b.Fatal(err, budget.Faults())
				}
			}
		})
	}
}
