package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// behaviour is what the sandbox has of AWS, as the comment of the test that
// holds it says.
type behaviour struct {
	folder, text, test string
	links              []string
}

// behaviours are those of all tests below the sandbox whose comment names a
// document of AWS: its first paragraph is the behaviour.
func behaviours(top string) ([]behaviour, error) {
	var out []behaviour
	root := filepath.Join(top, "sandbox")
	link := regexp.MustCompile(`https://docs\.aws\.amazon\.com/\S*[^\s.,;:)]`)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			text := fn.Doc.Text()
			links := link.FindAllString(text, -1)
			if links == nil {
				continue
			}
			first, _, _ := strings.Cut(link.ReplaceAllString(text, ""), "\n\n")
			first = strings.Join(strings.Fields(first), " ")
			if !strings.HasSuffix(first, ".") || strings.HasPrefix(first, fn.Name.Name) {
				return fmt.Errorf("the comment of %s in %s names a document of AWS, so it must begin with the behaviour, in a sentence", fn.Name.Name, name)
			}
			out = append(out, behaviour{folder: filepath.ToSlash(folder), text: first, test: fn.Name.Name, links: links})
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b behaviour) int {
		return cmp.Or(cmp.Compare(a.folder, b.folder), cmp.Compare(a.text, b.text))
	})
	return out, err
}

// sandboxGuide is docs/sandbox.md with its tables made anew.
func sandboxGuide(top string) ([]byte, error) {
	name := filepath.Join(top, "docs", "sandbox.md")
	page, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	all, err := behaviours(top)
	if err != nil {
		return nil, err
	}
	const from, to = "<!-- behaviours -->\n", "<!-- end of behaviours -->"
	before, rest, ok := bytes.Cut(page, []byte(from))
	_, after, closed := bytes.Cut(rest, []byte(to))
	if !ok || !closed {
		return nil, fmt.Errorf("%s lacks the marks %s and %s", name, strings.TrimSpace(from), to)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(from)
	fmt.Fprintf(&b, "%d behaviours.\n", len(all))
	folder := ""
	for _, x := range all {
		if x.folder != folder {
			folder = x.folder
			title := folder
			if folder == "." {
				title = "the whole account"
			}
			fmt.Fprintf(&b, "\n### %s\n\n| Behaviour | AWS document | Test |\n|---|---|---|\n", title)
		}
		var links []string
		for _, l := range x.links {
			page, anchor, _ := strings.Cut(l, "#")
			label := strings.TrimSuffix(path.Base(page), ".html")
			if anchor != "" {
				label += " " + anchor
			}
			links = append(links, fmt.Sprintf("[%s](%s)", label, l))
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` |\n", strings.ReplaceAll(x.text, "|", `\|`), strings.Join(links, " "), x.test)
	}
	b.WriteString(to)
	b.Write(after)
	return b.Bytes(), nil
}
