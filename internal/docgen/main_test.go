package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/cli"
)

func TestUpToDate(t *testing.T) {
	t.Parallel()
	top := filepath.Join("..", "..")
	files, err := generate(top)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("%s is not up to date: go generate ./internal/docgen writes it; -want +got:\n%s", name, diff)
		}
	}
}

// TestPicture holds the picture to being well formed.
func TestPicture(t *testing.T) {
	t.Parallel()
	b, err := picture(filepath.Join("..", "..", "examples", "production.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	elements := 0
	for dec := xml.NewDecoder(strings.NewReader(string(b))); ; elements++ {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if elements < 200 {
		t.Errorf("the picture has %d tokens only", elements)
	}
}

func TestProse(t *testing.T) {
	t.Parallel()
	got := prose("One paragraph\nof two lines:\n  keep      all stays\n  destroy   nothing stays\nAnother.")
	want := "One paragraph\nof two lines:\n\n- `keep`: all stays\n- `destroy`: nothing stays\n\nAnother."
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestReadmePlan holds the plan in README.md to what the program prints.
func TestReadmePlan(t *testing.T) {
	t.Parallel()
	top := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "$ poolhouse plan --offline examples/production.yaml\n")
	if !ok {
		t.Fatal("README.md shows no plan")
	}
	shown, _, _ := strings.Cut(rest, "```")
	var out, stderr bytes.Buffer
	if code := cli.Run(t.Context(), []string{"plan", "--offline", filepath.Join(top, "examples", "production.yaml")}, cli.Streams{Out: &out, Err: &stderr}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	for part := range strings.SplitSeq(shown, "...\n") {
		if !strings.Contains(out.String(), part) {
			t.Errorf("README.md shows what the program does not print:\n%s", part)
		}
	}
}

// TestDocumentedCommands holds command lines in the documents to commands and
// flags that exist.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	top := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(top, "docs", "guides", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, filepath.Join(top, "README.md"), filepath.Join(top, "CONTRIBUTING.md"), filepath.Join(top, "docs", "sandbox.md"), filepath.Join(top, "examples", "README.md"))
	line := regexp.MustCompile("(?m)(?:^|`)(?:poolhouse|go run \\./cmd/poolhouse) ([a-z][^`\n]*)")
	seen := 0
	for _, page := range pages {
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(src), -1) {
			seen++
			command, args, err := cli.Commands().Find(strings.Fields(m[1]))
			if err != nil || !command.HasParent() {
				t.Errorf("%s: there is no command poolhouse %s", page, m[1])
				continue
			}
			if err := command.ParseFlags(args); err != nil {
				t.Errorf("%s: poolhouse %s: %v", page, m[1], err)
			}
		}
	}
	if seen < 40 {
		t.Errorf("found %d command lines only", seen)
	}
}
