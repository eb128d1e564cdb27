package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/planes/kubernetes/kubelet"
)

// TestKeep: what ends at once is given up after some tries, with its last error; what has
// run for some time in between begins anew, and the context ends it without an error.
func TestKeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		long := map[int]bool{3: true} // the runs that last
		runs, told := 0, 0
		began := time.Now()
		err := keep(t.Context(), func(context.Context) error {
			if runs++; long[runs] {
				time.Sleep(atOnce)
			}
			return fmt.Errorf("the end of run %d", runs)
		}, func(err error) {
			if told++; err.Error() != fmt.Sprintf("the end of run %d", told) {
				t.Errorf("told %d: %v", told, err)
			}
		})
		if _, ok := errors.AsType[*gaveUp](err); !ok || !strings.Contains(err.Error(), "5 times in a row") || !strings.Contains(err.Error(), "the end of run 8") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); runs != 8 || told != 7 || took != atOnce+7*again {
			t.Errorf("%d runs in %s, %d told", runs, took, told)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = keep(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, func(err error) { t.Errorf("told %v", err) })
		if err != nil {
			t.Errorf("ended with its context: %v", err)
		}
	})
}

// TestKubeletEnds: a kubelet that ends is an error with how it ended and its last words;
// a node whose kubelet was given up says so as long as it is there, and goes without a
// further word.
func TestKubeletEnds(t *testing.T) {
	t.Chdir(t.TempDir())
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho loading\necho \"$1: no such runtime\" >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	k := newKubelets(Config{}, "", nil, &pods{})
	k.program = program
	err := k.process(t.Context(), kubelet.Options{Dir: "n"})
	if want := "exit status 3: loading\nkubelet: no such runtime"; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	ended := make(chan struct{})
	close(ended)
	k.running["n"] = &running{done: ended, cancel: func() {}, err: &gaveUp{err}}
	for range 2 {
		if err := k.start(t.Context(), Node{Name: "n"}); err == nil || !strings.Contains(err.Error(), "is not started again") || !strings.Contains(err.Error(), "no such runtime") {
			t.Errorf("got %v", err)
		}
	}
	if err := k.stop("n"); err != nil {
		t.Errorf("it has said so: %v", err)
	}
}

// TestLastWords: of a long text, the last whole lines are kept.
func TestLastWords(t *testing.T) {
	t.Parallel()
	var l lastWords
	for i := range 1000 {
		fmt.Fprintf(&l, "line %d\n", i)
	}
	got := l.String()
	if lines := strings.Split(got, "\n"); len(got) > mostWords || lines[len(lines)-1] != "line 999" || lines[0] != fmt.Sprintf("line %d", 1000-len(lines)) {
		t.Errorf("got %q", got)
	}
}

// TestUntil: when the context ends, why it did comes with what the last look said.
func TestUntil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the API has ended")
		looks := 0
		err := until(ctx, func() error {
			if looks++; looks == 3 {
				cancel(why)
				return ctx.Err()
			}
			return errors.New("connection refused")
		})
		if !errors.Is(err, why) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
		if err := until(t.Context(), func() error { return nil }); err != nil {
			t.Error(err)
		}
	})
}
