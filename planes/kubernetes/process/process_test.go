package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process/agent"
)

// The test's binary is poolhouse-pods too, and a plane that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent", "stage", "pause":
			os.Exit(agent.Main(os.Args[1:]))
		case "plane":
			os.Exit(plane(os.Args[2:]))
		}
	}
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// guestAt names the variable that says where the guest is, if it isn't to be built.
const guestAt = "POOLHOUSE_TEST_GUEST"

var built struct {
	sync.Once
	dir string
	err error
}

// guest is the program that runs in containers, without a library.
func guest(t testing.TB) string {
	t.Helper()
	if at := os.Getenv(guestAt); at != "" {
		return at
	}
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "guest-"); built.err != nil {
			return
		}
		c := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(built.dir, "guest"), "./testdata/guest")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	ok(t, built.err)
	return filepath.Join(built.dir, "guest")
}

// image is the unpacked files of an image, with the guest in it.
func image(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "image")
	for _, dir := range []string{"bin", "etc"} {
		ok(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	// TempDir's is for its user alone.
	ok(t, os.Chmod(root, 0o755))
	put(t, filepath.Join(root, "bin/guest"), guest(t))
	return root
}

// put copies a program.
func put(t testing.TB, to, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	ok(t, err)
	ok(t, os.WriteFile(to, text, 0o755))
}

// world is a runtime and an image.
type world struct {
	t testing.TB
	*process.Runtime
	dir, root string
}

func open(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "runtime, of: tests"), root: image(t)}
	var log bytes.Buffer
	r, err := process.New(t.Context(), process.Options{Dir: w.dir, Program: os.Args[0], Log: &log})
	ok(t, err)
	w.Runtime = r
	t.Cleanup(func() {
		ok(t, r.Close())
		if left, err := filepath.Glob(filepath.Join(w.dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("what is left: %v %v", left, err)
		}
		if log.Len() > 0 {
			t.Errorf("the agent says: %s", &log)
		}
	})
	if err := r.Can(); err != nil {
		t.Skip(err)
	}
	return w
}

var pods atomic.Int32

// pod is a sandbox with an address of its own.
func (w *world) pod(o process.SandboxOptions) (*process.Sandbox, netip.Addr) {
	w.t.Helper()
	n := pods.Add(1)
	if o.ID == "" {
		o.ID = fmt.Sprintf("pod-%d", n)
	}
	if o.Hostname == "" {
		o.Hostname = o.ID
	}
	o.Address = netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	s, err := w.Sandbox(w.t.Context(), o)
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, s.Close()) })
	return s, o.Address
}

// container is one that runs the guest.
func (w *world) container(args ...string) process.Container {
	return process.Container{Name: "c", Root: w.root, Command: process.Command{Args: append([]string{"/bin/guest"}, args...)}}
}

// output is what something writes, for whoever waits for it.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until something was written.
func (o *output) await(t testing.TB, what string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		o.mu.Lock()
		if strings.Contains(o.text.String(), what) {
			o.mu.Unlock()
			return
		}
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("no %q in %q", what, o)
		}
	}
}

// run runs a container to its end, and returns what it wrote.
func run(t testing.TB, s *process.Sandbox, c process.Container) (string, process.Exit) {
	t.Helper()
	var out output
	c.Stdout, c.Stderr = &out, &out
	p, err := s.Start(t.Context(), c)
	ok(t, err)
	exit := p.Wait()
	return out.String(), exit
}

// stay starts a container that stays, once it is there.
func stay(t testing.TB, s *process.Sandbox, c process.Container) (*process.Process, *output) {
	t.Helper()
	var out output
	c.Stdout, c.Stderr = &out, &out
	p, err := s.Start(t.Context(), c)
	ok(t, err)
	out.await(t, "here")
	return p, &out
}

// identity is who a process says it is that is to be somebody: without root there is but
// one user.
func identity(asked string) string {
	if os.Getuid() != 0 {
		return "0 0 []"
	}
	return asked
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestCommand: arguments, environment, user, directory, host name and streams are
// what was asked for.
func TestCommand(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{Hostname: "web-0", Hosts: []byte("10.1.2.3 web-0\n"), Resolver: []byte("nameserver 172.20.0.10\n")})
	c := w.container("env")
	c.Env = []string{"A=1", "B=two words"}
	out, exit := run(t, s, c)
	want(t, "environment", out, "A=1\nB=two words\n")
	want(t, "exit", exit, process.Exit{})
	c = w.container("id")
	c.User, c.Dir = process.User{UID: 1234, GID: 56, Groups: []uint32{7, 8}}, "/srv/app"
	out, _ = run(t, s, c)
	want(t, "identity", out, "1 "+identity("1234 56 [7 8]")+" web-0 /srv/app\n")
	out, _ = run(t, s, w.container("id"))
	want(t, "root's identity", out, "1 0 0 [] web-0 /\n")
	out, _ = run(t, s, w.container("read", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname"))
	want(t, "files", out, "10.1.2.3 web-0\nnameserver 172.20.0.10\nweb-0\n")
	c = w.container("echo")
	c.Stdin = strings.NewReader("through")
	out, _ = run(t, s, c)
	want(t, "input", out, "through")
	c = w.container("say", "this")
	var stdout, stderr output
	c.Stdout, c.Stderr = &stdout, &stderr
	p, err := s.Start(t.Context(), c)
	ok(t, err)
	p.Wait()
	want(t, "streams", stdout.String()+stderr.String(), "this\nthis\n")
	c = w.container("id")
	c.Args[0], c.Env = "guest", []string{"PATH=/nowhere:/bin"}
	out, _ = run(t, s, c)
	want(t, "looked up in PATH", out, "1 0 0 [] web-0 /\n")
}

// TestExits: codes and signals come through, of what ends and of what is ended.
func TestExits(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{})
	_, exit := run(t, s, w.container("exit", "42"))
	want(t, "exit", exit, process.Exit{Code: 42})
	p, out := stay(t, s, w.container("stay"))
	ok(t, p.Signal(15))
	want(t, "exit by a handler", p.Wait(), process.Exit{Code: 7})
	want(t, "output", out, "here\ngone\n")
	p, _ = stay(t, s, w.container("stay"))
	ok(t, p.Signal(9))
	want(t, "killed", p.Wait(), process.Exit{Signal: 9})
	want(t, "its status", p.Wait().Status(), 137)
	ok(t, p.Signal(9))
	p, _ = stay(t, s, w.container("stay"))
	ok(t, s.Close())
	want(t, "closed", p.Wait(), process.Exit{Signal: 9})
	if _, err := s.Start(t.Context(), w.container("id")); err == nil {
		t.Error("a container starts in a sandbox that is closed")
	}
}

// TestRefused: what can't be executed says why, and whether that is for good.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{})
	text, err := os.ReadFile(guest(t))
	ok(t, err)
	other := slices.Clone(text)
	other[18], other[19] = 243, 0 // RISC-V
	ok(t, os.WriteFile(filepath.Join(w.root, "bin/other"), other, 0o755))
	ok(t, os.WriteFile(filepath.Join(w.root, "bin/plain"), text, 0o644))
	ok(t, os.WriteFile(filepath.Join(w.root, "bin/script"), []byte("#!/bin/sh\n"), 0o755))
	put(t, filepath.Join(w.root, "bin/dynamic"), "/bin/true")
	for program, c := range map[string]struct {
		why  string
		code int
	}{
		"/bin/other":   {"/bin/other is built for another architecture than this machine's", 0},
		"/bin/dynamic": {"/bin/dynamic is linked dynamically, and its loader /lib", 0},
		"/bin/plain":   {"permission denied", 126},
		"/bin/none":    {"no such file", 127},
		"/bin/script":  {"no such file", 127},
		"none":         {`"none": executable file not found in $PATH`, 127},
	} {
		_, err := s.Start(t.Context(), process.Container{Name: "c", Root: w.root, Command: process.Command{Args: []string{program}}})
		var start *process.StartError
		switch why, not := process.NotRun(err); {
		case c.code == 0 && (!not || !strings.Contains(why, c.why)):
			t.Errorf("%s: %v", program, err)
		case c.code != 0 && (!errors.As(err, &start) || start.Code != c.code || !strings.Contains(start.Why, c.why)):
			t.Errorf("%s: %v, %+v", program, err, start)
		}
	}
	c := w.container("id")
	c.Add = []string{"SYS_ADMIN", "NET_RAW", "MKNOD"}
	_, err = s.Start(t.Context(), c)
	if why, not := process.NotRun(err); !not || !strings.Contains(why, "SYS_ADMIN, MKNOD") {
		t.Errorf("capabilities: %v", err)
	}
	c = w.container("id")
	c.Mounts = []process.Mount{{Source: "/none", Target: "/x"}}
	if _, err = s.Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "/none at /x") {
		t.Errorf("a mount of nothing: %v", err)
	}
	if _, err := w.Sandbox(t.Context(), process.SandboxOptions{ID: "../x"}); err == nil {
		t.Error("a sandbox's name leads out")
	}
}

// TestConfined: a container sees nothing of the machine, and changes nothing of it.
func TestConfined(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{})
	p, _ := stay(t, s, w.container("stay"))
	out, _ := run(t, s, w.container("list", "/*"))
	want(t, "files", out, "[/bin /dev /etc /proc /sys /tmp]\n")
	out, _ = run(t, s, w.container("list", "/proc/[0-9]*"))
	want(t, "processes", out, "[/proc/1]\n")
	out, _ = run(t, s, w.container("list", "/dev/*"))
	want(t, "devices", out, "[/dev/fd /dev/full /dev/mqueue /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero]\n")
	out, _ = run(t, s, w.container("status"))
	for _, line := range []string{"CapEff:\t00000000800425fb", "CapBnd:\t00000000800425fb", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in %s", line, out)
		}
	}
	c := w.container("status")
	c.User.UID = 1000
	out, _ = run(t, s, c)
	uid, _, _ := strings.Cut(identity("1000"), " ")
	for _, line := range []string{"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "Uid:\t" + uid + "\t" + uid + "\t" + uid} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in %s", line, out)
		}
	}
	for _, args := range [][]string{
		{"device", "/tmp/null"},
		{"mount"},
		{"write", "/proc/sysrq-trigger", "h"},
		{"write", "/proc/sys/kernel/hostname", "mine"},
		{"write", "/sys/kernel/mm/transparent_hugepage/enabled", "never"},
	} {
		if out, exit := run(t, s, w.container(args...)); exit.Code != 1 {
			t.Errorf("%v: %v %s", args, exit, out)
		}
	}
	out, exit := run(t, s, w.container("write", "/etc/made", "by a container"))
	want(t, "a container writes", out+fmt.Sprint(exit.Code), "written\n0")
	if _, err := os.Stat(filepath.Join(w.root, "etc/made")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has written into its image: %v", err)
	}
	if _, exit := run(t, s, w.container("read", "/etc/made")); exit.Code != 1 {
		t.Error("another container has its files")
	}
	c = w.container("write", "/etc/made", "x")
	c.ReadOnly = true
	out, exit = run(t, s, c)
	if exit.Code != 1 || !strings.Contains(out, "read-only file system") {
		t.Errorf("a root that is read only: %v %s", exit, out)
	}
	ok(t, p.Signal(9))
	p.Wait()
}

// TestMounts: files and folders of the machine are where they shall be, whatever
// links an image has, and below a volume no link leads out of it.
func TestMounts(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{})
	out := filepath.Join(t.TempDir(), "outside")
	ok(t, os.MkdirAll(out, 0o755))
	ok(t, os.Symlink(out, filepath.Join(w.root, "link")))
	ok(t, os.Symlink("../../../../../../etc", filepath.Join(w.root, "up")))
	volume := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(volume, "file"), []byte("content"), 0o644))
	ok(t, os.Mkdir(filepath.Join(volume, "folder"), 0o755))
	ok(t, os.Symlink("/etc", filepath.Join(volume, "bad")))
	ok(t, os.Symlink("folder", filepath.Join(volume, "good")))
	c := w.container("read", "/a/b/file", "/etc/one", "/up/two", "/link/three")
	c.Mounts = []process.Mount{
		{Source: volume, Target: "/a/b"},
		{Source: filepath.Join(volume, "file"), Target: "/etc/one", ReadOnly: true},
		{Source: filepath.Join(volume, "file"), Target: "/up/two"},
		{Source: volume, Sub: "file", Target: "/link/three"},
	}
	text, _ := run(t, s, c)
	want(t, "mounted", text, "contentcontentcontentcontent")
	if found, err := os.ReadDir(out); err != nil || len(found) > 0 {
		t.Errorf("a link of the image leads out: %v %v", found, err)
	}
	c.Args = []string{"/bin/guest", "write", "/etc/one", "x"}
	if text, exit := run(t, s, c); exit.Code != 1 || !strings.Contains(text, "read-only") {
		t.Errorf("a mount that is read only: %v %s", exit, text)
	}
	c.Args = []string{"/bin/guest", "write", "/a/b/new", "x"}
	_, exit := run(t, s, c)
	want(t, "writing into a volume", exit.Code, 0)
	if got, err := os.ReadFile(filepath.Join(volume, "new")); err != nil || string(got) != "x" {
		t.Errorf("%q %v", got, err)
	}
	for sub, can := range map[string]bool{"good": true, "bad": false, "../": false, "none": false} {
		c := w.container("list", "/v/*")
		c.Mounts = []process.Mount{{Source: volume, Sub: sub, Target: "/v"}}
		c.Stdout = io.Discard
		p, err := s.Start(t.Context(), c)
		if (err == nil) != can {
			t.Errorf("below a volume, %s: %v", sub, err)
		}
		if err == nil {
			p.Wait()
		}
	}
}

// TestShared: containers of a pod share /dev/shm and, if they are told to, their
// processes.
func TestShared(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{SharePids: true})
	p, _ := stay(t, s, w.container("stay"))
	_, exit := run(t, s, w.container("write", "/dev/shm/x", "shared"))
	want(t, "writing into memory", exit.Code, 0)
	out, _ := run(t, s, w.container("read", "/dev/shm/x"))
	want(t, "memory", out, "shared")
	out, _ = run(t, s, w.container("list", "/proc/[0-9]*"))
	want(t, "processes", len(strings.Fields(out)), 3) // pause, that which stays, this
	ok(t, s.Close())
	want(t, "closed", p.Wait(), process.Exit{Signal: 9})
}

// TestLeft: what a container leaves in processes that it shares ends with it, as does what
// commands beside it leave; those leave it in the container that goes on.
func TestLeft(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{SharePids: true})
	are := func(when string, others int) {
		t.Helper()
		for late := time.Now().Add(20 * time.Second); ; {
			out, _ := run(t, s, w.container("list", "/proc/[0-9]*"))
			got := len(strings.Fields(out)) - 2 // pause, which may be about to reap, and this
			if got == others {
				return
			}
			if time.Now().After(late) {
				t.Fatalf("%s: %d processes are there, want %d", when, got, others)
			}
		}
	}
	stays, _ := stay(t, s, w.container("stay"))
	_, exit := run(t, s, w.container("leave"))
	want(t, "leaving a process", exit.Code, 0)
	are("a container has left a process", 1)
	beside, err := stays.Exec(t.Context(), process.Command{Args: []string{"/bin/guest", "leave"}})
	ok(t, err)
	want(t, "leaving a process beside", beside.Wait().Code, 0)
	are("a command has left a process", 2)
	var out output
	beside, err = stays.Exec(t.Context(), process.Command{Args: []string{"/bin/guest", "stay"}, Stdout: &out})
	ok(t, err)
	out.await(t, "here")
	ok(t, stays.Signal(9))
	want(t, "the container", stays.Wait(), process.Exit{Signal: 9})
	want(t, "the command beside it", beside.Wait(), process.Exit{Signal: 9})
	are("the container has ended", 0)
	if _, err := stays.Exec(t.Context(), process.Command{Args: []string{"/bin/guest", "id"}}); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("in a container that has ended: %v", err)
	}
}

// TestUnwanted: nothing is left of a sandbox that nobody waits for any more, nor of one
// that can't be made: its name and its address are free at once.
func TestUnwanted(t *testing.T) {
	t.Parallel()
	w := open(t)
	_, taken := w.pod(process.SandboxOptions{})
	o := process.SandboxOptions{ID: "unwanted", Address: netip.MustParseAddr("10.9.9.9")}
	for i := range 20 {
		gone, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			cancel()
		} else {
			go cancel() // while it is made, or later
		}
		s, err := w.Sandbox(gone, o)
		if err == nil && i%2 == 1 {
			ok(t, s.Close())
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("a sandbox that nobody waits for: %v", err)
		}
		cancel()
		twin := o
		twin.Address = taken
		if _, err := w.Sandbox(t.Context(), twin); err == nil || !strings.Contains(err.Error(), "another pod") {
			t.Errorf("an address that is taken: %v", err)
		}
		s, err = w.Sandbox(t.Context(), o)
		if err != nil {
			t.Fatalf("what nobody waited for is left: %v", err)
		}
		ok(t, s.Close())
	}
}

// TestExec: a command runs beside the first, as the same user, and ends with it.
func TestExec(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{Hostname: "h"})
	c := w.container("stay")
	c.User = process.User{UID: 1000, GID: 100, Groups: []uint32{5}}
	c.Mounts = []process.Mount{{Source: t.TempDir(), Target: "/only"}}
	p, _ := stay(t, s, c)
	var out output
	e, err := p.Exec(t.Context(), process.Command{Args: []string{"guest", "id"}, Env: []string{"PATH=/bin"}, Dir: "/only", Stdout: &out})
	ok(t, err)
	want(t, "exit", e.Wait(), process.Exit{})
	fields := strings.SplitN(out.String(), " ", 2)
	want(t, "identity", fields[1], identity("1000 100 [5]")+" h /only\n")
	e, err = p.Exec(t.Context(), process.Command{Args: []string{"/bin/guest", "exit", "3"}})
	ok(t, err)
	want(t, "exit", e.Wait(), process.Exit{Code: 3})
	var start *process.StartError
	if _, err := p.Exec(t.Context(), process.Command{Args: []string{"nothing"}}); !errors.As(err, &start) || start.Code != 127 {
		t.Errorf("a program that isn't there: %v", err)
	}
	var status output
	e, err = p.Exec(t.Context(), process.Command{Args: []string{"/bin/guest", "status"}, Stdout: &status})
	ok(t, err)
	e.Wait()
	for _, line := range []string{"CapEff:\t0000000000000000", "CapBnd:\t00000000800425fb", "NoNewPrivs:\t1"} {
		if !strings.Contains(status.String(), line) {
			t.Errorf("no %q in %s", line, &status)
		}
	}
	var long output
	e, err = p.Exec(t.Context(), process.Command{Args: []string{"/bin/guest", "stay"}, Stdout: &long})
	ok(t, err)
	long.await(t, "here")
	ok(t, p.Signal(9))
	p.Wait()
	want(t, "with the container", e.Wait(), process.Exit{Signal: 9})
	if _, err := p.Exec(t.Context(), process.Command{Args: []string{"/bin/guest", "id"}}); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("in a container that has ended: %v", err)
	}
}

// TestTerminal: a process has a terminal, of the size that it is told.
func TestTerminal(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{})
	c := w.container("terminal")
	c.User.UID = 1000
	in, say := io.Pipe()
	var out output
	c.Stdin, c.Stdout, c.TTY = in, &out, true
	p, err := s.Start(t.Context(), c)
	ok(t, err)
	out.await(t, "what?")
	ok(t, p.Resize(100, 40))
	_, err = io.WriteString(say, "hello\n")
	ok(t, err)
	want(t, "exit", p.Wait(), process.Exit{})
	want(t, "terminal", out.String(), "what?\r\nhello\r\nyou said hello\r\n")
	ok(t, say.Close())
}

// TestNetwork: pods reach each other and what listens to them, and nothing else.
func TestNetwork(t *testing.T) {
	t.Parallel()
	w := open(t)
	a, atA := w.pod(process.SandboxOptions{})
	b, atB := w.pod(process.SandboxOptions{})
	stay(t, b, w.container("serve", ":80"))
	stay(t, b, w.container("packets", ":53"))
	stay(t, b, w.container("serve", "127.0.0.1:81"))
	call := func(s *process.Sandbox, network, address string) string {
		t.Helper()
		out, exit := run(t, s, w.container("call", network, address, "hello"))
		if exit.Code != 0 {
			return "refused"
		}
		return out
	}
	want(t, "a pod calls another", call(a, "tcp", atB.String()+":80"), atA.String()+" hello\n")
	want(t, "by packets", call(a, "udp", atB.String()+":53"), atA.String()+" hello\n")
	want(t, "itself", call(b, "tcp", atB.String()+":80"), atB.String()+" hello\n")
	want(t, "itself at home", call(b, "tcp", "127.0.0.1:81"), "127.0.0.1 hello\n")
	want(t, "another at home", call(a, "tcp", atB.String()+":81"), "refused")
	want(t, "a port where nobody is", call(a, "tcp", atB.String()+":82"), "refused")
	want(t, "an address of nobody", call(a, "tcp", "192.0.2.1:443"), "refused")

	l, err := w.Listen(t.Context(), "tcp4", "172.20.0.1:443")
	ok(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
			fmt.Fprintf(c, "service %s at %s\n", from.Addr(), c.LocalAddr())
			c.Close()
		}
	}()
	want(t, "a service", call(a, "tcp", "172.20.0.1:443"), fmt.Sprintf("service %s at 172.20.0.1:443\n", atA))
	want(t, "another port of it", call(a, "tcp", "172.20.0.1:444"), "refused")
	packets, err := w.ListenPacket(t.Context(), "udp4", "172.20.0.10:53")
	ok(t, err)
	defer packets.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			packets.WriteTo([]byte("answer to "+string(b[:n])), from)
		}
	}()
	want(t, "a service of packets", call(a, "udp", "172.20.0.10:53"), "answer to hello\n")

	ask := func(network, address string, dial func(context.Context, string, string) (c interface {
		io.ReadWriteCloser
	}, err error),
	) string {
		t.Helper()
		c, err := dial(t.Context(), network, address)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		if _, err := io.WriteString(c, "hi\n"); err != nil {
			return err.Error()
		}
		text := make([]byte, 100)
		n, err := c.Read(text)
		if err != nil {
			return err.Error()
		}
		return string(text[:n])
	}
	fromNode := func(ctx context.Context, n, a string) (interface{ io.ReadWriteCloser }, error) {
		return w.Dial(ctx, n, a)
	}
	inside := func(ctx context.Context, n, a string) (interface{ io.ReadWriteCloser }, error) {
		return b.Dial(ctx, n, a)
	}
	want(t, "the node calls", ask("tcp4", atB.String()+":80", fromNode), "169.254.1.1 hi\n")
	want(t, "the node calls by packets", ask("udp4", atB.String()+":53", fromNode), "169.254.1.1 hi\n")
	want(t, "inside", ask("tcp4", "127.0.0.1:81", inside), "127.0.0.1 hi\n")
	for _, bad := range []string{"localhost:80", "10.0.0.1", "[::1]:80"} {
		if c, err := w.Dial(t.Context(), "tcp4", bad); err == nil {
			t.Errorf("%s can be called", bad)
			c.Close()
		}
	}
	if _, err := w.Sandbox(t.Context(), process.SandboxOptions{ID: "twin", Address: atA}); err == nil || !strings.Contains(err.Error(), "another pod") {
		t.Errorf("an address that is taken: %v", err)
	}
	ok(t, a.Close())
	again, err := w.Sandbox(t.Context(), process.SandboxOptions{ID: "again", Address: atA})
	ok(t, err)
	ok(t, again.Close())
}
