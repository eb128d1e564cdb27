package process_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// plane is a process that runs a container in a folder, from an image, with a word
// among its arguments, and stays until it is killed.
func plane(args []string) int {
	ctx := context.Background()
	r, err := process.New(ctx, process.Options{Dir: args[0], Program: os.Args[0], Log: os.Stderr})
	if err == nil {
		err = r.Can()
	}
	var s *process.Sandbox
	if err == nil {
		s, err = r.Sandbox(ctx, process.SandboxOptions{ID: "pod", Address: netip.MustParseAddr("10.0.0.1"), SharePids: args[3] == "shared"})
	}
	if err == nil {
		_, err = s.Start(ctx, process.Container{Name: "c", Root: args[1], Command: process.Command{Args: []string{"/bin/guest", "stay", args[2]}, Stdout: os.Stdout}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {}
}

// running are the processes with a word among their arguments.
func running(t *testing.T, word string) (list []string) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ok(t, err)
	for _, path := range found {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), word) {
			list = append(list, string(text))
		}
	}
	return list
}

// TestKilled: of a plane that is killed, no process stays, and the next leaves
// nothing of its files.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, pids := range []string{"own", "shared"} {
		t.Run(pids, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			dir := filepath.Join(t.TempDir(), "killed-"+pids)
			word := fmt.Sprintf("word-of-%d-%s", os.Getpid(), pids)
			c := exec.Command(os.Args[0], "plane", dir, w.root, word, pids)
			c.Stderr = os.Stderr
			out, err := c.StdoutPipe()
			ok(t, err)
			ok(t, c.Start())
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "here\n" {
				t.Fatalf("%q %v", line, err)
			}
			if n := len(running(t, word)); n != 2 {
				t.Errorf("%d processes run: the plane and the container should", n)
			}
			ok(t, c.Process.Kill())
			_ = c.Wait() // it was killed
			late := time.After(20 * time.Second)
			look := time.NewTicker(5 * time.Millisecond)
			defer look.Stop()
			for list := running(t, dir); len(list) > 0 || len(running(t, word)) > 0; list = running(t, dir) {
				select {
				case <-look.C:
				case <-late:
					t.Fatalf("these run on: %q %q", list, running(t, word))
				}
			}
			mounts, err := os.ReadFile("/proc/self/mounts")
			ok(t, err)
			if strings.Contains(string(mounts), dir) {
				t.Errorf("mounts stay: %s", mounts)
			}
			r, err := process.New(t.Context(), process.Options{Dir: dir, Program: os.Args[0]})
			ok(t, err)
			ok(t, r.Can())
			if left, err := filepath.Glob(filepath.Join(dir, "*", "*")); err != nil || len(left) > 0 {
				t.Errorf("files stay: %v %v", left, err)
			}
			ok(t, r.Close())
		})
	}
}

// TestAgentDies: what ran says that it was killed, and nothing more can run.
func TestAgentDies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := process.New(t.Context(), process.Options{Dir: dir, Program: os.Args[0]})
	ok(t, err)
	defer r.Close()
	if err := r.Can(); err != nil {
		t.Skip(err)
	}
	root := image(t)
	s, err := r.Sandbox(t.Context(), process.SandboxOptions{ID: "pod"})
	ok(t, err)
	var out output
	p, err := s.Start(t.Context(), process.Container{Name: "c", Root: root, Command: process.Command{Args: []string{"/bin/guest", "stay"}, Stdout: &out}})
	ok(t, err)
	out.await(t, "here")
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ok(t, err)
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "agent\x00"+dir) {
			var pid int
			_, err := fmt.Sscanf(path, "/proc/%d/", &pid)
			ok(t, err)
			agent, err := os.FindProcess(pid)
			ok(t, err)
			ok(t, agent.Kill())
		}
	}
	want(t, "exit", p.Wait(), process.Exit{Signal: 9})
	_, err = s.Start(t.Context(), process.Container{Name: "c", Root: root, Command: process.Command{Args: []string{"/bin/guest", "id"}}})
	if _, not := process.NotRun(err); !not && err == nil {
		t.Errorf("another container: %v", err)
	}
}

// TestCannot: a machine that can't says why, and refuses.
func TestCannot(t *testing.T) {
	t.Parallel()
	r, err := process.New(t.Context(), process.Options{Dir: t.TempDir(), Program: "/none"})
	ok(t, err)
	if why, not := process.NotRun(r.Can()); !not || !strings.Contains(why, "/none") {
		t.Errorf("%v", r.Can())
	}
	if _, err := r.Sandbox(t.Context(), process.SandboxOptions{ID: "a"}); err == nil {
		t.Error("a sandbox is made")
	}
	ok(t, r.Close())
}

// BenchmarkPods: how long a pod takes from nothing until its process has said a
// word, and until it is gone, many at a time.
func BenchmarkPods(b *testing.B) {
	w := open(b)
	var all sync.WaitGroup
	slots := make(chan struct{}, 10)
	b.ResetTimer()
	for range b.N {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			s, _ := w.pod(process.SandboxOptions{})
			p, _ := stay(b, s, w.container("stay"))
			ok(b, s.Close())
			p.Wait()
		})
	}
	all.Wait()
}
