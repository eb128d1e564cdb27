package config_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/config"
)

func TestExamplesLoad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if _, err := config.LoadFile(file); err != nil {
				t.Error(err)
			}
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// A certificate's lines are not for reading.
			readable := regexp.MustCompile(`(?s)-----BEGIN.*-----END`).ReplaceAll(src, nil)
			if n := bytes.Count(readable, []byte("\n")); n > 40 {
				t.Errorf("%d lines, want about 30", n)
			}
			if !bytes.HasPrefix(src, []byte("# ")) {
				t.Error("no comment at the top")
			}
			readme, err := os.ReadFile("../examples/README.md")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(readme, []byte("("+filepath.Base(file)+")")) {
				t.Error("README.md doesn't name it")
			}
		})
	}
}

// example is production.yaml, which tests change.
func example(t testing.TB, name string) string {
	t.Helper()
	src, err := os.ReadFile("../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

func parse(t testing.TB, src string) *config.Config {
	t.Helper()
	c, err := config.Parse("deployment.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func faults(t testing.TB, err error) config.Faults {
	t.Helper()
	var fs config.Faults
	if err != nil && !errors.As(err, &fs) {
		t.Fatalf("error is a %T, want Faults: %v", err, err)
	}
	for _, f := range fs {
		if f.Reason == "" || f.Fix == "" {
			t.Errorf("fault without reason or fix: %+v", f)
		}
	}
	return fs
}

// endless is a reader without end, which counts what is read.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "a: b\n"[(e.n+i)%5]
	}
	e.n += len(p)
	return len(p), nil
}

func TestLoadReadsNoMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	r := &endless{}
	_, err := config.Load("deployment.yaml", r)
	fs := faults(t, err)
	if len(fs) != 1 || fs[0].Reason != "is larger than 1 MiB" {
		t.Errorf("got %v", err)
	}
	if r.n > 2<<20 {
		t.Errorf("read %d bytes", r.n)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestLoadReportsReadErrors(t *testing.T) {
	t.Parallel()
	_, err := config.Load("deployment.yaml", broken{})
	if got := err.Error(); !strings.HasPrefix(got, "deployment.yaml: read file: unexpected EOF") {
		t.Error(got)
	}
}

func TestLoadFileFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge.yaml")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(100 << 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, reason string }{
		{"folder", dir, "is a folder, not a file"},
		{"missing", filepath.Join(dir, "none.yaml"), "there is no such file"},
		{"below a file", filepath.Join(huge, "x.yaml"), "read file: not a directory"},
		{"100 MB", huge, "is larger than 1 MiB"},
		{"no name", "", "there is no such file"},
	} {
		_, err := config.LoadFile(c.path)
		fs := faults(t, err)
		if len(fs) != 1 || fs[0].Reason != c.reason || fs[0].File != c.path {
			t.Errorf("%s: got %+v, want %q", c.name, fs, c.reason)
		}
	}
}

func TestHostileInputIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, mib/len(s)) }
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [*" + strings.Join(slices.Repeat([]string{p}, 9), ", *") + "]\n"
	}
	var deep strings.Builder
	for i := 0; deep.Len() < mib/2; i++ {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for _, c := range []struct{ name, src, reason string }{
		{"empty", "", "is empty"},
		{"comments alone", "# nothing\n\n# here\n", "is empty"},
		{"nothing", "---\n", "is empty"},
		{"null", "null\n", "is empty"},
		{"100 MB", strings.Repeat("a: b\n", 20<<20), "is larger than 1 MiB"},
		{"alias bomb", bomb, "has an anchor (&), which is not allowed"},
		{"alias", "name: *x\n", "has an alias (*), which is not allowed"},
		{"merge key", "<<: {name: x}\n", "has a merge key (<<), which is not allowed"},
		{"tag", "name: !!binary aGVsbG8=\n", "has a type tag (!), which is not allowed"},
		{"own tag", "name: !Sub x\n", "has a type tag (!), which is not allowed"},
		{"complex key", "? name\n: x\n", "has a complex key (?), which is not allowed"},
		{"directive", "%YAML 1.2\n---\nname: x\n", "has a YAML directive (%), which is not allowed"},
		{"two documents", "name: x\n---\nname: y\n", "holds more than one YAML document"},
		{"document after end", "name: x\n...\nname: y\n", "holds more than one YAML document"},
		{"binary", "\x7fELF\x02\x01\x01\x00\x00", "is not text in UTF-8"},
		{"NUL", "name: x\x00\n", "is not text in UTF-8"},
		{"UTF-16", "\xff\xfen\x00a\x00m\x00e\x00", "is not text in UTF-8"},
		{"Latin-1", "name: caf\xe9\n", "is not text in UTF-8"},
		{"list", "- name: x\n", "is a list, not keys and values"},
		{"text", "deployment\n", `is the text "deployment", not keys and values`},
		{"brackets", fill("["), "is nested too deeply"},
		{"braces", fill("{"), "is nested too deeply"},
		{"maps in lists", fill("[{a: "), "is nested too deeply"},
		{"dashes", fill("- "), "is nested too deeply"},
		{"indents", deep.String(), "is nested too deeply"},
		{"many keys", fill("abcdef: x\n"), "is too long for a deployment.yaml"},
		{"many items", "a:\n" + fill("- a\n")[:mib-8], "is too long for a deployment.yaml"},
		{"many brackets", "a: [" + fill("[],")[:mib-8], "is too long for a deployment.yaml"},
		{"no YAML", "name: [x\n", "is not valid YAML: "},
		{"tabs", "network:\n\tzones: 2\n", "is not valid YAML: "},
		{"two values", "name: a: b\n", "is not valid YAML: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := config.Parse("deployment.yaml", []byte(c.src))
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			fs := faults(t, err)
			if len(fs) != 1 || !strings.HasPrefix(fs[0].Reason, c.reason) {
				t.Errorf("got %v, want one fault %q", err, c.reason)
			}
			if n := len(err.Error()); n > 400 {
				t.Errorf("message of %d characters", n)
			}
		})
	}
}

// Long texts and comments cost time in a scanner that goes back over them.
func TestLargeFilesEndSoon(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, (mib-16)/len(s)) }
	for name, src := range map[string]string{
		"word":          fill("x"),
		"comments":      fill("#\n"),
		"lines":         fill("\n"),
		"spaces":        fill(" "),
		"tabs":          fill("\t"),
		"quotes":        "a: '" + fill("''"),
		"double quotes": "a: \"" + fill("\\\""),
		"folded quotes": "a: \"" + fill("x\n ") + "\"",
		"literal":       "a: |\n" + fill("  x\n"),
		"folded":        "a: >\n" + fill("  x\n\n"),
		"lines of text": "a: b\n" + fill("  c\n"),
		"colons":        fill("a: "),
		"commas":        "[" + fill(",") + "]",
		"returns":       fill("\r"),
		"letters":       fill("é"),
		"questions":     fill("? "),
		"pipes":         fill("|\n"),
		"documents":     fill("---\n"),
		"ends":          fill("...\n"),
		"keys in a map": "{" + fill("a: b, ") + "}",
		"percent":       fill("%"),
		"long comment":  "#" + fill("x"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			if _, err := config.Parse("deployment.yaml", []byte(src)); err == nil {
				t.Error("was taken")
			} else if n := len(err.Error()); n > 20_000 {
				t.Errorf("message of %d characters", n)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestFilesFromOtherEditors(t *testing.T) {
	t.Parallel()
	want := parse(t, example(t, "production.yaml"))
	for name, src := range map[string]string{
		"byte order mark": "\uFEFF" + example(t, "production.yaml"),
		"Windows lines":   strings.ReplaceAll(example(t, "production.yaml"), "\n", "\r\n"),
		"document marks":  "---\n" + example(t, "production.yaml") + "...\n",
	} {
		got := parse(t, src)
		if diff := cmp.Diff(want, got, ignoreSource); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

var ignoreSource = cmp.FilterPath(func(p cmp.Path) bool {
	return p.Last().String() == ".source"
}, cmp.Ignore())

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add([]byte(example(f, filepath.Base(file))))
	}
	for _, s := range []string{
		"", "a", "- a", "a: [", "{a: b", "a:\n- b\n c", "? a", "&a b", "*a", "!!str a", "a: |\n  b", "a: \"\\x", "---\n---", "compute: [{role: gpu}, 3]", "tags: {1: 2}", "\"\": x", "a: {b: {c: [[]]}}",
		"compute:\n- {role: core, also: [interface], taints: [{key: a}]}\n- role: core",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		start := time.Now()
		c, err := config.Parse("deployment.yaml", src)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if (c == nil) == (err == nil) {
			t.Errorf("got %v and %v", c, err)
		}
		// A carriage return ends a line too.
		lines := bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")) + 1
		for _, fault := range faults(t, err) {
			if fault.Line < 0 || fault.Line > lines+1 {
				t.Errorf("fault outside the file: %+v", fault)
			}
		}
	})
}
