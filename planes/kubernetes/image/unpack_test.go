package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is a header and what its file holds.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
}

func folder(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

func symlink(name, to string) entry {
	return entry{tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink, Mode: 0o777}, ""}
}

func link(name, to string) entry {
	return entry{tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink, Mode: 0o644}, ""}
}

func pack(t testing.TB, entries []entry) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// place is a folder to unpack into, beside one that nothing may reach.
func place(t testing.TB) (u *unpacker, root, outside string) {
	t.Helper()
	top := t.TempDir()
	root, outside = filepath.Join(top, "root"), filepath.Join(top, "outside")
	for _, dir := range []string{root, outside} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return newUnpacker(r), root, outside
}

// names are all files below a folder, with their contents and links.
func names(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		text := "/"
		switch e.Type() {
		case 0:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(b)
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text = "-> " + to
		}
		rel, err := filepath.Rel(root, path)
		out[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLayers: layers add, change and take away what those below have.
func TestLayers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		layers [][]entry
		want   map[string]string
	}{
		"files":                   {[][]entry{{file("./a", "1"), file("/b/c", "2"), symlink("d", "b")}}, map[string]string{"a": "1", "b": "/", "b/c": "2", "d": "-> b"}},
		"changed":                 {[][]entry{{file("a", "1")}, {file("a", "2")}}, map[string]string{"a": "2"}},
		"removed":                 {[][]entry{{file("a", "1"), file("d/x", "1")}, {file(".wh.a", ""), file(".wh.d", "")}}, map[string]string{}},
		"removed, nothing there":  {[][]entry{{file("a/b", "1")}, {file("x/.wh.y", ""), file("a/b/.wh.y", "")}}, map[string]string{"a": "/", "a/b": "1"}},
		"removed and made again":  {[][]entry{{file("d/x", "1")}, {file("d/y", "2"), file(".wh.d", "")}}, map[string]string{"d": "/", "d/y": "2"}},
		"emptied":                 {[][]entry{{file("d/x", "1"), file("d/e/z", "1")}, {file("d/y", "2"), file("d/.wh..wh..opq", ""), file("d/e/new", "3")}}, map[string]string{"d": "/", "d/y": "2", "d/e": "/", "d/e/new": "3"}},
		"a file where a folder":   {[][]entry{{file("d/x", "1")}, {file("d", "2")}}, map[string]string{"d": "2"}},
		"a folder where a file":   {[][]entry{{file("d", "1")}, {folder("d"), file("d/x", "2")}}, map[string]string{"d": "/", "d/x": "2"}},
		"a folder where a link":   {[][]entry{{folder("e"), symlink("d", "e")}, {folder("d"), file("d/x", "2")}}, map[string]string{"e": "/", "d": "/", "d/x": "2"}},
		"through a link":          {[][]entry{{folder("run"), symlink("var/run", "/run")}, {file("var/run/x", "1")}}, map[string]string{"run": "/", "run/x": "1", "var": "/", "var/run": "-> /run"}},
		"through a link, up":      {[][]entry{{folder("a/b"), symlink("a/b/c", "../../../../e")}, {file("a/b/c/x", "1")}}, map[string]string{"a": "/", "a/b": "/", "a/b/c": "-> ../../../../e", "e": "/", "e/x": "1"}},
		"two names":               {[][]entry{{file("a", "1"), link("b", "a"), link("c/d", "/b")}, {file("a", "2")}}, map[string]string{"a": "2", "b": "1", "c": "/", "c/d": "1"}},
		"a name for itself":       {[][]entry{{file("a", "1"), link("a", "./a")}}, map[string]string{"a": "1"}},
		"devices":                 {[][]entry{{{tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, ""}, {tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, ""}, file("a", "1")}}, map[string]string{"a": "1"}},
		"old file systems' names": {[][]entry{{file(".wh..wh.plnk", ""), file("a", "1")}}, map[string]string{"a": "1"}},
		"the root":                {[][]entry{{folder("./"), folder("/"), file("a", "1")}}, map[string]string{"a": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, root, _ := place(t)
			var err error
			for _, l := range c.layers {
				err = errors.Join(err, u.layer(pack(t, l)))
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, names(t, root)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestEscapes: no entry reaches what is not the image's.
func TestEscapes(t *testing.T) {
	t.Parallel()
	_, _, outside := place(t)
	for name, layers := range map[string][][]entry{
		"up":                     {{file("../outside/x", "bad")}},
		"up, inside":             {{file("a/../../outside/x", "bad")}},
		"whole":                  {{file(outside+"/x", "bad")}},
		"a link":                 {{symlink("l", outside), file("l/x", "bad")}},
		"a link up":              {{symlink("l", "../outside"), file("l/x", "bad")}},
		"a link of links":        {{symlink("l", "m/outside"), symlink("m", ".."), file("l/x", "bad")}},
		"a link's file":          {{symlink("l", outside+"/secret"), file("l", "bad")}},
		"a link's folder":        {{symlink("l", outside), folder("l"), file("l/x", "bad")}},
		"another layer's link":   {{symlink("l", outside)}, {file("l/secret", "bad"), file("l/.wh.secret", "")}},
		"whiteout up":            {{file("../outside/.wh.secret", "")}},
		"whiteout of all above":  {{file(".wh...", "")}},
		"whiteout of all":        {{file(".wh..", "")}},
		"a name":                 {{link("x", "../outside/secret"), file("x", "bad")}},
		"a name by a link":       {{symlink("l", "../outside"), link("x", "l/secret")}},
		"a name of a link":       {{symlink("l", outside+"/secret"), link("x", "l"), file("x", "bad")}},
		"emptied, through links": {{symlink("l", outside)}, {file("l/.wh..wh..opq", "")}},
	} {
		u, root, outside := place(t)
		for _, l := range layers {
			_ = u.layer(pack(t, l)) // refused or kept inside, as it likes
		}
		if d := cmp.Diff(map[string]string{"secret": "secret"}, names(t, outside)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		for path, text := range names(t, root) {
			if text == "secret" {
				t.Errorf("%s: %s has what is outside", name, path)
			}
		}
	}
}

// TestRefused: what no builder writes is refused, with its name.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, e := range map[string][]entry{
		"up":              {file("../x", "")},
		"link up":         {link("a", "../../etc/shadow")},
		"links in circle": {symlink("a", "b"), symlink("b", "a"), file("a/x", "")},
		"a file as root":  {file(".", "")},
		"below a file":    {file("a", ""), file("a/b", "")},
		"nothing's name":  {link("a", "none")},
	} {
		u, _, _ := place(t)
		if err := u.layer(pack(t, e)); err == nil || !strings.Contains(err.Error(), `unpack "`+e[len(e)-1].Name+`"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	u, _, _ := place(t)
	if err := u.layer(strings.NewReader(strings.Repeat("x", 2000))); err == nil {
		t.Error("what is no archive is taken")
	}
}

// TestLimits: what is too much is not unpacked to its end.
func TestLimits(t *testing.T) {
	t.Parallel()
	u, root, _ := place(t)
	u.left = limits{bytes: 10, entries: 100}
	if err := u.layer(pack(t, []entry{file("a", "12345"), file("b", "12345"), file("c", "1")})); !errors.Is(err, errTooMuch) {
		t.Errorf("bytes: %v", err)
	}
	if n := len(names(t, root)["c"]); n > 1 {
		t.Errorf("%d bytes too many", n)
	}
	u, _, _ = place(t)
	u.left.entries = 2
	if err := u.layer(pack(t, []entry{file("a", ""), file("b", ""), file("c", "")})); !errors.Is(err, errTooMuch) {
		t.Errorf("entries: %v", err)
	}
}

// TestOwners: files have their owners, and no bits that run them as another.
func TestOwners(t *testing.T) {
	t.Parallel()
	u, root, _ := place(t)
	e := file("a", "")
	e.Uid, e.Gid, e.Mode = 1000, 50, 0o4755
	d := folder("d")
	d.Uid, d.Mode = 7, 0o1777
	if err := u.layer(pack(t, []entry{e, d})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode     fs.FileMode
		uid, gid uint32
	}{"a": {0o755, 1000, 50}, "d": {fs.ModeDir | fs.ModeSticky | 0o777, 7, 0}} {
		i, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if i.Mode() != want.mode {
			t.Errorf("%s: %v, want %v", name, i.Mode(), want.mode)
		}
		if own := i.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (own.Uid != want.uid || own.Gid != want.gid) {
			t.Errorf("%s: %d %d, want %+v", name, own.Uid, own.Gid, want)
		}
	}
}

// FuzzLayer: whatever the archives, nothing outside is read or changed.
func FuzzLayer(f *testing.F) {
	for _, l := range [][]entry{
		{file("a", "1"), link("b", "a"), symlink("c", "../outside"), file("c/x", "2")},
		{folder("d"), file("d/.wh..wh..opq", ""), file(".wh.a", "")},
	} {
		f.Add(pack(f, l).Bytes(), pack(f, l).Bytes())
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		u, root, outside := place(t)
		u.left = limits{bytes: 1 << 20, entries: 100}
		for _, text := range [][]byte{one, two} {
			_ = u.layer(bytes.NewReader(text)) // it may well be no archive
		}
		if d := cmp.Diff(map[string]string{"secret": "secret"}, names(t, outside)); d != "" {
			t.Error(d)
		}
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
				t.Errorf("%s is %v", path, e.Type())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
