package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
