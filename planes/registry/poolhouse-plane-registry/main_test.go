package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEndsWithItsInput runs the program: it says where it answers, and removes
// its folder at its input's end.
func TestEndsWithItsInput(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	in, write := io.Pipe()
	read, out := io.Pipe()
	code := make(chan int, 1)
	go func() { code <- run(in, out) }()
	fmt.Fprintf(write, `{"config": {"password": "a", "secret": "b"}, "dir": %q, "temporary": true}`+"\n", dir)
	var r ready
	line, err := bufio.NewReader(read).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, &r); err != nil || !strings.HasPrefix(r.Addresses["registry"], "127.0.0.1:") {
		t.Errorf("it says %s, %v", line, err)
	}
	write.Close()
	if got := <-code; got != 0 {
		t.Errorf("its code is %d", got)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
}

func TestSaysWhyItCannotStart(t *testing.T) {
	for input, want := range map[string]string{
		"":       "read what to be: EOF",
		"what\n": "read what to be: invalid character",
		`{"dir": "/dev/null/x", "config": {"password": "a", "secret": "b"}}` + "\n": "not a directory",
	} {
		var out strings.Builder
		if code := run(strings.NewReader(input), &out); code != 1 || !strings.Contains(out.String(), want) {
			t.Errorf("%q: code %d, it says %s", input, code, out.String())
		}
	}
}
