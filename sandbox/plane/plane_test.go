package plane

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain makes this program the child of its own tests, and their parent.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		os.Exit(answerAs(os.Args[2]))
	}
	if len(os.Args) == 2 && os.Args[1] == "parent" {
		os.Exit(parent())
	}
	os.Exit(m.Run())
}

// answerAs is a server of lines: each is added to a file, and the whole file is
// the answer. As "mute" it never answers, as "broken" it says why it can't, as
// "environment" what its environment is.
func answerAs(kind string) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	in := bufio.NewReader(os.Stdin)
	var s Start
	if line, err := in.ReadBytes('\n'); err != nil || json.Unmarshal(line, &s) != nil {
		return 2
	}
	if s.Temporary && os.MkdirAll(s.Dir, 0o700) != nil {
		return 2
	}
	fmt.Fprintln(os.Stderr, "child of", s.Dir)
	if kind == "environment" {
		fmt.Printf("{\"error\": %q}\n", strings.Join(os.Environ(), " "))
		return 1
	}
	if kind == "broken" {
		fmt.Println(`{"error": "the disk is full"}`)
		return 1
	}
	if kind == "gone" {
		return 3
	}
	address := s.Listen["lines"]
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Printf("{\"error\": %q}\n", err)
		return 1
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				for lines := bufio.NewScanner(c); lines.Scan(); {
					f, err := os.OpenFile(filepath.Join(s.Dir, "lines"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
					if err != nil {
						return
					}
					fmt.Fprintf(f, "%s ", lines.Text())
					_ = f.Close()
					text, _ := os.ReadFile(filepath.Join(s.Dir, "lines"))
					fmt.Fprintf(c, "%s\n", text)
				}
			}()
		}
	}()
	fmt.Printf("{\"addresses\": {\"lines\": %q}}\n", l.Addr())
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	}()
	select {
	case <-ended:
	case <-term:
	}
	if s.Temporary {
		_ = os.RemoveAll(s.Dir)
	}
	return 0
}

// parent runs a server and says how to find it, until it is killed.
func parent() int {
	s, err := Run(context.Background(), options("answer"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(s.Process(), s.Address("lines"), s.folder.path)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func options(kind string) Options {
	return Options{Name: "test", Program: os.Args[0], Args: []string{"child", kind}}
}

func run(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial connects, if need be as soon as the server is there again.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-retry.C {
		c, err := net.Dial("tcp", address)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func say(t *testing.T, c net.Conn, line string) string {
	t.Helper()
	fmt.Fprintln(c, line)
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(got)
}

func TestServerEndsWithItsFolder(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	o := options("answer")
	o.Log = &log
	s := run(t, o)
	c := dial(t, s.Address("lines"))
	if got := say(t, c, "a"); got != "a" {
		t.Errorf("it answers %q", got)
	}
	dir, pid := s.folder.path, s.Process()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	gone(t, pid, s.Address("lines"), dir)
	if !strings.Contains(log.String(), "child of "+dir) {
		t.Errorf("the log is %q", log.String())
	}
}

// gone tells what a server has left behind.
func gone(t *testing.T, pid int, address, dir string) {
	t.Helper()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
		t.Errorf("process %d: %v", pid, err)
	}
	// Another process may have the port by now.
	if c, err := net.Dial("tcp", address); err == nil {
		fmt.Fprintln(c, "z")
		if got, err := bufio.NewReader(c).ReadString('\n'); err == nil && strings.HasPrefix(got, "a ") {
			t.Errorf("%s still answers", address)
		}
		_ = c.Close()
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder %s: %v", dir, err)
	}
}

// zombie tells that a process has ended and nobody has asked how.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestKilledServerComesBackWithItsData(t *testing.T) {
	t.Parallel()
	o := options("answer")
	o.Dir = filepath.Join(t.TempDir(), "data")
	died, held := make(chan error, 1), make(chan struct{})
	o.Died = func(err error) { died <- err }
	o.Hold = func(ctx context.Context) {
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
	s := run(t, o)
	address, pid := s.Address("lines"), s.Process()
	say(t, dial(t, address), "a")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-died; err == nil || !strings.Contains(err.Error(), "test ended: signal: killed") {
		t.Errorf("it died of %v", err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Error("it answers while its restart is held")
	}
	close(held)
	if got := say(t, dial(t, address), "b"); got != "a b" {
		t.Errorf("it answers %q", got)
	}
	if s.Process() == pid || s.Address("lines") != address {
		t.Errorf("process %d at %s, before %d at %s", s.Process(), s.Address("lines"), pid, address)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(o.Dir, "lines")); err != nil || string(got) != "a b " {
		t.Errorf("left in its folder: %q, %v", got, err)
	}
}

func TestKilledParentLeavesNothing(t *testing.T) {
	t.Parallel()
	p := exec.Command(os.Args[0], "parent")
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	var pid int
	var address, dir string
	if _, err := fmt.Fscan(out, &pid, &address, &dir); err != nil {
		t.Fatal(err)
	}
	c := dial(t, address)
	say(t, c, "a")
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	// The connection lasts as long as the process.
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the server outlives its parent")
	}
	// Its process's files are closed one after the other.
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for end := time.Now().Add(5 * time.Second); syscall.Kill(pid, 0) == nil && !zombie(pid) && time.Now().Before(end); {
		<-retry.C
	}
	gone(t, pid, address, dir)
}

func TestServerThatCannotStart(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"broken": "the disk is full",
		"gone":   "exit status 3: child of ",
	} {
		s, err := Run(t.Context(), options(kind))
		if err == nil {
			_ = s.Close()
			t.Fatalf("%s: it runs", kind)
		}
		if got := err.Error(); !strings.HasPrefix(got, "start test (") || !strings.Contains(got, want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	o := options("answer")
	o.Program = filepath.Join(t.TempDir(), "none")
	if _, err := Run(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a program: %v", err)
	}
}

// A child gets neither proxies nor credentials of who runs its parent.
func TestEnvironmentIsSmall(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.example.com")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("PATH", "/bin")
	_, err := Run(t.Context(), options("environment"))
	if err == nil || !strings.Contains(err.Error(), "PATH=/bin") || strings.Contains(err.Error(), "HTTPS_PROXY") || strings.Contains(err.Error(), "AWS_") {
		t.Errorf("got %v", err)
	}
}

func TestSweepLeavesWhatIsOwned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"poolhouse-plane-s3-owned", "poolhouse-plane-s3-left", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	owned := &folder{path: filepath.Join(dir, "poolhouse-plane-s3-owned"), temporary: true}
	if err := owned.own(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(owned.disown)
	left := func() (out []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	if err := sweep(dir, time.Now().Add(-time.Hour)); err != nil || len(left()) != 3 {
		t.Errorf("what is new is swept: %v, %v", left(), err)
	}
	if err := sweep(dir, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"other", "poolhouse-plane-s3-owned"}, left()); d != "" {
		t.Error(d)
	}
}
