package cri

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLog: lines, parts of long lines, both streams, a last line without an end, and a
// file that is moved away.
func TestLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "0.log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	out, errs := &stream{log: l, name: "stdout"}, &stream{log: l, name: "stderr"}
	var seen bytes.Buffer
	detach := l.attach(&attached{out: &seen})
	long := strings.Repeat("x", mostLine)
	write := func(s *stream, text string) {
		t.Helper()
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%d, %v of %d", n, err, len(text))
		}
	}
	write(out, "one\ntw")
	write(errs, "bad\n")
	write(out, "o\n\n")
	write(out, long+"y\n"+long+"\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	detach()
	write(out, "late")
	out.flush()
	errs.flush()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	write(out, "lost\n")
	stamp := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z `)
	for name, want := range map[string]string{
		path + ".1": "stdout F one\nstderr F bad\nstdout F two\nstdout F \nstdout P " + long + "\nstdout F y\nstdout F " + long + "\n",
		path:        "stdout F late\n",
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stamp.ReplaceAllString(string(text), ""); got != want {
			t.Errorf("%s:\n%.200q, not\n%.200q", filepath.Base(name), got, want)
		}
		if n := len(stamp.FindAllString(string(text), -1)); n != strings.Count(want, "\n") {
			t.Errorf("%s: %d times", filepath.Base(name), n)
		}
	}
	if seen.String() != "one\ntwo\n\n"+long+"y\n"+long+"\n" {
		t.Errorf("who is attached sees %.100q", seen.String())
	}
}
