// Package depcheck holds the module to what its documents say of it: which way
// imports go, what may be linked, and that every package says what it is.
//
// Limits: what is linked is looked up for this platform. That nothing under
// sandbox imports the product is for the sandbox's own tests.
package depcheck_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/poolhouse/poolhouse"

// pkg is what a folder's Go files say, tests apart.
type pkg struct {
	path    string // from the top of the module
	name    string
	doc     string
	imports []string
}

// top is the top of the module.
func top() string { return filepath.Join("..", "..") }

// all are the module's packages, without those that hold tests only. The files
// are read here, not by the go command, so that the test cache knows of them.
var all = sync.OnceValues(func() ([]pkg, error) {
	found := map[string]*pkg{}
	err := filepath.WalkDir(top(), func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if nested := err == nil && file != top(); nested || e.Name() == "testdata" || file != top() && strings.HasPrefix(e.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(top(), filepath.Dir(file))
		if err != nil {
			return err
		}
		p := found[dir]
		if p == nil {
			p = &pkg{path: filepath.ToSlash(dir), name: parsed.Name.Name}
			found[dir] = p
		}
		p.doc += parsed.Doc.Text()
		for _, i := range parsed.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			p.imports = append(p.imports, path)
		}
		return nil
	})
	var list []pkg
	for _, dir := range slices.Sorted(maps.Keys(found)) {
		list = append(list, *found[dir])
	}
	return list, err
})

func packages(t *testing.T) []pkg {
	t.Helper()
	list, err := all()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 40 {
		t.Fatalf("there are %d packages only", len(list))
	}
	return list
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(top(), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// within tells that a folder is another or lies below it.
func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// folders are the rows of the table in docs/architecture.md: what lies in one
// row may import what lies in it and in those below.
func folders(t *testing.T) [][]string {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "docs/architecture.md"), "| Folder | ")
	if !ok {
		t.Fatal("docs/architecture.md has no table of folders")
	}
	table, _, _ := strings.Cut(text, "\n\n")
	var rows [][]string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1); names != nil && strings.HasPrefix(line, "| `") {
			var row []string
			for _, n := range names {
				row = append(row, n[1])
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// row is the row that a package lies in: that of the longest folder, so that a
// folder and one in it can have rows of their own. It is -1 if there is none.
func row(rows [][]string, path string) int {
	best, length := -1, 0
	for i, folders := range rows {
		for _, f := range folders {
			if within(path, f) && len(f) > length {
				best, length = i, len(f)
			}
		}
	}
	return best
}

func TestDirection(t *testing.T) {
	t.Parallel()
	rows := folders(t)
	for _, p := range packages(t) {
		from := row(rows, p.path)
		if from < 0 {
			t.Errorf("docs/architecture.md has no row for %s", p.path)
			continue
		}
		for _, imported := range p.imports {
			path, ours := strings.CutPrefix(imported, module+"/")
			if to := row(rows, path); ours && to < from {
				t.Errorf("%s imports %s, which docs/architecture.md has above it", p.path, path)
			}
		}
	}
	for _, folders := range rows {
		for _, f := range folders {
			if _, err := os.Stat(filepath.Join(top(), f)); err != nil {
				t.Errorf("docs/architecture.md has a row for %s, which does not exist", f)
			}
		}
	}
}

// TestApart holds the product to not knowing the sandbox: it sees an endpoint.
func TestApart(t *testing.T) {
	t.Parallel()
	may := []string{"internal/cli", "internal/rehearse", "internal/calibrate", "internal/testkit", "deploy/sweep/life", "internal/docgen", "internal/accessgen", "sandbox"}
	used := map[string]bool{}
	for _, p := range packages(t) {
		for _, imported := range p.imports {
			if !within(imported, module+"/sandbox") {
				continue
			}
			i := slices.IndexFunc(may, func(folder string) bool { return within(p.path, folder) })
			if i < 0 {
				t.Errorf("%s imports %s", p.path, imported)
				continue
			}
			used[may[i]] = true
		}
	}
	if len(used) != len(may) {
		t.Errorf("of %v, only %v import the sandbox", may, slices.Sorted(maps.Keys(used)))
	}
}

// TestOwnLook holds package verify to looking at the account alone: what makes a
// deployment can't be asked whether it is right.
func TestOwnLook(t *testing.T) {
	t.Parallel()
	seen := false
	for _, p := range packages(t) {
		if !within(p.path, "verify") {
			continue
		}
		seen = true
		for _, imported := range p.imports {
			path, ours := strings.CutPrefix(imported, module+"/")
			for _, maker := range []string{"deploy", "stack", "templates", "cfn"} {
				if ours && within(path, maker) || strings.HasSuffix(imported, "/service/cloudformation") {
					t.Errorf("%s imports %s", p.path, imported)
				}
			}
		}
	}
	if !seen {
		t.Error("there is no package verify")
	}
}

// TestAreas holds the packages of checks to standing side by side: what two areas
// share is below both.
func TestAreas(t *testing.T) {
	t.Parallel()
	areas := map[string][]string{}
	for _, p := range packages(t) {
		if p.path != "verify" && within(p.path, "verify") && slices.Contains(p.imports, module+"/verify/check") {
			areas[p.path] = p.imports
		}
	}
	for path, imports := range areas {
		for _, imported := range imports {
			other, _ := strings.CutPrefix(imported, module+"/")
			if areas[other] != nil {
				t.Errorf("%s imports %s, which has checks of another area", path, other)
			}
		}
	}
	if len(areas) < 10 {
		t.Errorf("found %d areas only", len(areas))
	}
}

// TestPure holds the pure packages to values: no files, network, environment,
// clock, contexts, chance or AWS.
func TestPure(t *testing.T) {
	t.Parallel()
	pure := []string{"config", "architecture", "cfn", "templates", "cluster/manifests"}
	except := map[string]bool{
		"config os":   true, // LoadFile
		"config time": true, // parses times of day
	}
	impure := regexp.MustCompile(`^(os|net|time|context|syscall|unsafe|plugin|log|runtime|embed|path/filepath|math/rand|crypto/rand|io/ioutil)(/|$)`)
	values := []string{"net/netip", "net/url"}
	others := []string{"github.com/goccy/go-yaml", "go4.org/netipx"}
	seen := 0
	for _, p := range packages(t) {
		if !slices.ContainsFunc(pure, func(folder string) bool { return within(p.path, folder) }) {
			continue
		}
		seen++
		for _, imported := range p.imports {
			if except[p.path+" "+imported] || slices.Contains(values, imported) {
				continue
			}
			own, ours := strings.CutPrefix(imported, module+"/")
			foreign := !ours && strings.Contains(strings.Split(imported, "/")[0], ".")
			switch {
			case ours && !slices.ContainsFunc(pure, func(folder string) bool { return within(own, folder) }),
				foreign && !slices.ContainsFunc(others, func(m string) bool { return within(imported, m) }),
				impure.MatchString(imported):
				t.Errorf("%s is pure and imports %s", p.path, imported)
			}
		}
	}
	if seen < len(pure) {
		t.Errorf("looked at %d packages only", seen)
	}
}

// TestBundle holds bundles to being read from bytes alone: without AWS, network or
// programs of others, whoever wrote the bytes.
func TestBundle(t *testing.T) {
	t.Parallel()
	others := []string{"github.com/klauspost/compress", "go.yaml.in/yaml/v3"}
	seen := 0
	for _, p := range packages(t) {
		if !within(p.path, "bundle") {
			continue
		}
		seen++
		for _, imported := range p.imports {
			own, ours := strings.CutPrefix(imported, module+"/")
			foreign := !ours && strings.Contains(strings.Split(imported, "/")[0], ".")
			switch {
			case ours && !within(own, "bundle"),
				foreign && !slices.ContainsFunc(others, func(m string) bool { return within(imported, m) }),
				within(imported, "net"), within(imported, "os/exec"), imported == "unsafe":
				t.Errorf("%s imports %s", p.path, imported)
			}
		}
	}
	if seen < 5 {
		t.Errorf("looked at %d packages only", seen)
	}
}

// TestDoc holds every package to an opening comment in the usual form.
// https://go.dev/doc/comment
func TestDoc(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + filepath.Base(p.path) + " "
		}
		if !strings.HasPrefix(p.doc, want) {
			t.Errorf("%s opens with %.40q, not with %q", p.path, p.doc, want)
		}
	}
}

// output runs the go command at the top of the module.
func output(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = top()
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go %s: %s", strings.Join(args, " "), exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// requirements are the modules that go.mod requires and does not mark as
// indirect.
func requirements(t *testing.T) []string {
	t.Helper()
	read(t, "go.mod") // for the test cache
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(output(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range mod.Require {
		if !r.Indirect {
			list = append(list, r.Path)
		}
	}
	return list
}

// TestDependencies holds docs/dependencies.md to go.mod, and what it says of
// tests and generators to what is linked.
func TestDependencies(t *testing.T) {
	t.Parallel()
	direct := requirements(t)
	packages(t) // for the test cache
	linked := map[string]bool{}
	for path := range strings.Lines(string(output(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/poolhouse"))) {
		linked[strings.TrimSpace(path)] = true
	}
	explained := map[string]bool{}
	sections := strings.Split(read(t, "docs/dependencies.md"), "\n## ")
	for _, section := range sections {
		title, text, _ := strings.Cut(section, "\n")
		if title != "The product" && title != "Tests and generators only" {
			continue
		}
		for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(text, -1) {
			name, family := strings.CutSuffix(m[1], "/...")
			covers := func(path string) bool { return path == name || family && within(path, name) }
			found := false
			for _, path := range direct {
				if !covers(path) {
					continue
				}
				found, explained[path] = true, true
				if title != "The product" && linked[path] {
					t.Errorf("%s is for tests and generators, and is linked into the product", path)
				}
			}
			if !found {
				t.Errorf("docs/dependencies.md explains %s, which go.mod does not require directly", m[1])
			}
			if title == "The product" && !slices.ContainsFunc(slices.Collect(maps.Keys(linked)), covers) {
				t.Errorf("%s is not linked into the product", m[1])
			}
		}
	}
	for _, path := range direct {
		if !explained[path] {
			t.Errorf("go.mod requires %s, which docs/dependencies.md does not explain", path)
		}
	}
}

// TestLinks holds relative links in the documents to files and headings that
// exist.
func TestLinks(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*.md"} {
		found, err := filepath.Glob(filepath.Join(top(), filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	links := 0
	for _, page := range pages {
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(src), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, heading, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
			if file == "" {
				target = page
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
				continue
			}
			if heading != "" && !slices.Contains(headings(t, target), heading) {
				t.Errorf("%s links to %s, and %s has no such heading", page, m[1], target)
			}
		}
	}
	if links < 40 {
		t.Errorf("found %d links only", links)
	}
}

// headings are the names by which a page's headings can be linked to.
func headings(t *testing.T, page string) []string {
	t.Helper()
	src, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(src), -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		list = append(list, strings.ReplaceAll(name, " ", "-"))
	}
	return list
}
