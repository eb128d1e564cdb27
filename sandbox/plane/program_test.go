package plane

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProgramIsFound(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("GOCACHE") == "" {
		// What is compiled stays where it is.
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOCACHE", filepath.Join(cache, "go-build"))
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("GOFLAGS", "")
	t.Setenv("POOLHOUSE_PLANE_TOY", "")
	t.Chdir(dir)
	_, err := Program(t.Context(), "toy", nil)
	if err == nil || !strings.Contains(err.Error(), "go install github.com/poolhouse/poolhouse/planes/toy/poolhouse-plane-toy@latest makes it") {
		t.Errorf("without one: %v", err)
	}
	installed := write(t, filepath.Join(dir, "bin", "poolhouse-plane-toy"), "#!/bin/sh\n", 0o755)
	t.Setenv("PATH", filepath.Dir(installed)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if got, err := Program(t.Context(), "toy", nil); err != nil || got != installed {
		t.Errorf("in PATH: %s, %v", got, err)
	}

	top := filepath.Join(dir, "checkout")
	write(t, filepath.Join(top, "go.mod"), "module github.com/poolhouse/poolhouse\n", 0o644)
	write(t, filepath.Join(top, "planes", "toy", "go.mod"), "module github.com/poolhouse/poolhouse/planes/toy\n\ngo 1.26\n", 0o644)
	source := filepath.Join(top, "planes", "toy", "poolhouse-plane-toy", "main.go")
	write(t, source, "package main\n\nfunc main() {}\n", 0o644)
	write(t, filepath.Join(top, "cmd", "x"), "", 0o644)
	t.Chdir(filepath.Join(top, "cmd"))
	if got, err := Find(t.Context(), "planes/toy", "poolhouse-plane-toy", nil); err != nil || got != installed {
		t.Errorf("in PATH before a checkout: %s, %v", got, err)
	}
	builds := 0
	find := func() string {
		got, err := Program(t.Context(), "toy", func(string) { builds++ })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(got); err != nil {
			t.Error(err)
		}
		return got
	}
	first := find()
	if again := find(); again != first || builds != 1 || !strings.HasPrefix(first, filepath.Join(dir, "cache")) {
		t.Errorf("in a checkout: %s, then %s, built %d times", first, again, builds)
	}
	write(t, source, "package main\n\nfunc main() { println() }\n", 0o644)
	if changed := find(); changed == first || builds != 2 {
		t.Errorf("of changed sources: %s, built %d times", changed, builds)
	}
	write(t, source, "package main\n\nfunc main() { no }\n", 0o644)
	if _, err := Program(t.Context(), "toy", nil); err == nil || !strings.Contains(err.Error(), "undefined: no") {
		t.Errorf("of broken sources: %v", err)
	}

	t.Setenv("POOLHOUSE_PLANE_TOY", installed)
	if got, err := Program(t.Context(), "toy", nil); err != nil || got != installed {
		t.Errorf("by the variable: %s, %v", got, err)
	}
	t.Setenv("POOLHOUSE_PLANE_TOY", filepath.Join(dir, "none"))
	if _, err := Program(t.Context(), "toy", nil); err == nil || !strings.Contains(err.Error(), "POOLHOUSE_PLANE_TOY") {
		t.Errorf("by a variable that names none: %v", err)
	}
}

// The programs of the data planes keep to the protocol in the same words: each is a
// module of its own, and one that they shared could only be replaced by a folder,
// which go install refuses.
func TestProgramsAreAlike(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../planes/*/poolhouse-plane-*/main.go")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	// A program may be another one too, by its argument.
	another := regexp.MustCompile(`\tif len\(os\.Args\) == 2 [^\n]*\n\t\tos\.Exit\([^\n]*\n\t\}\n`)
	first := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, text, ok := bytes.Cut(text, []byte("\nfunc main() {\n"))
		name := filepath.Base(filepath.Dir(filepath.Dir(file)))
		// What is the server's own: its configuration, and how it is served.
		own := regexp.MustCompile(`(?s)\tConfig [^\n]*\n|\terr = ` + name + `\.Serve\(.*?\n\t\}\)\n|\terr = ` + name + `\.Serve\(.*?\n\t\}\}\)\n`)
		if !ok || len(own.FindAll(text, -1)) != 2 {
			t.Fatalf("%s has no main, or not one configuration and one server", file)
		}
		rest := another.ReplaceAllString(own.ReplaceAllString(string(text), ""), "")
		if first == "" {
			first = rest
		}
		if d := cmp.Diff(first, rest); d != "" {
			t.Errorf("%s differs from %s:\n%s", file, files[0], d)
		}
	}
}
