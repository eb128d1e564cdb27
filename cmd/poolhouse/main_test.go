package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// asProgram makes the test binary the program.
const asProgram = "POOLHOUSE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// said is what a process says, and lets wait for a text in it.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// process is the program at work.
type process struct {
	*exec.Cmd
	out, err *said
	ended    chan struct{}
}

// start runs the program with an account.
func start(t *testing.T, endpoint string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...), out: &said{more: make(chan struct{})}, err: &said{more: make(chan struct{})}, ended: make(chan struct{})}
	p.Stdout, p.Stderr = p.out, p.err
	p.Env = append(os.Environ(), asProgram+"=1", "AWS_ENDPOINT_URL="+endpoint, "AWS_ACCESS_KEY_ID="+sandbox.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+sandbox.SecretAccessKey, "AWS_EC2_METADATA_DISABLED=true")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		var exit *exec.ExitError
		if err := p.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	}()
	return p
}

// until waits for a text.
func (p *process) until(t *testing.T, text string) {
	t.Helper()
	for {
		p.err.mu.Lock()
		there, more := strings.Contains(p.err.text.String(), text), p.err.more
		p.err.mu.Unlock()
		if there {
			return
		}
		select {
		case <-more:
		case <-p.ended:
			if !strings.Contains(p.err.String(), text) {
				t.Fatalf("the process ended without saying %q:\n%s", text, p.err)
			}
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// end is the exit code, once there is one.
func (p *process) end() int {
	<-p.ended
	return p.ProcessState.ExitCode()
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// TestL31Signals sends signals to real processes: the first one ends the
// watching and gives the lease back, the second ends the process at once, and a
// killed one leaves its lease to the next on this machine. Whatever it is, the
// same command goes on.
func TestL31Signals(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "examples", "evaluation.yaml")
	began := time.Now()
	box := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return began.Add(30 * time.Since(began)) }})
	var hang atomic.Bool // no answer comes any more
	hanging, released := make(chan string, 100), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			hanging <- r.Header.Get("X-Amz-Target")
			<-released
		}
		box.ServeHTTP(w, r)
	}))
	defer server.Close()
	defer close(released)
	leases := func() (names []string) {
		for _, r := range box.Account().Resources() {
			if strings.Contains(r.ID, "/lease/") {
				names = append(names, r.ID)
			}
		}
		return names
	}
	create := func(text string) *process {
		t.Helper()
		p := start(t, server.URL, "create", "--yes", "--verbose", file)
		p.until(t, text)
		if n := leases(); len(n) != 1 {
			t.Errorf("at work there are the leases %v", n)
		}
		return p
	}

	p := create("CREATE_IN_PROGRESS")
	other := start(t, server.URL, "delete", "--yes", file)
	if got := other.end(); got != cli.Failed {
		t.Errorf("another run meanwhile: exit code %d, want %d", got, cli.Failed)
	}
	for _, want := range []string{
		"error: somebody else works on this deployment; nothing was changed", "owner: arn:aws:sts::123456789012:assumed-role/Administrator/sandbox",
		fmt.Sprintf(", process %d\n", p.Process.Pid), "command: poolhouse create " + file, "lease: until 20", "hint: poolhouse status " + file,
	} {
		if !strings.Contains(other.err.String(), want) {
			t.Errorf("another run meanwhile: no %q in:\n%s", want, other.err)
		}
	}
	p.signal(t, os.Interrupt)
	if got := p.end(); got != cli.Failed {
		t.Errorf("one signal: exit code %d, want %d", got, cli.Failed)
	}
	for _, want := range []string{"interrupted; AWS goes on with what it has begun: ", "to go on watching:\n  poolhouse create -v -y " + file} {
		if !strings.Contains(p.err.String(), want) {
			t.Errorf("one signal: no %q in:\n%s", want, p.err)
		}
	}
	if n := leases(); n != nil {
		t.Errorf("one signal: the leases %v are left", n)
	}

	p = create("  keys         ")
	p.signal(t, syscall.SIGKILL)
	p.end()
	if n := leases(); len(n) != 1 {
		t.Errorf("killed: there are the leases %v", n)
	}
	if s := start(t, server.URL, "status", file); s.end() != cli.Done || !strings.Contains(s.out.String(), "at work: ") || !strings.Contains(s.out.String(), "poolhouse create") {
		t.Errorf("killed: the status does not say who was at work:\n%s%s", s.out, s.err)
	}

	p = create("taking over from a run that is over:")
	hang.Store(true)
	p.signal(t, syscall.SIGTERM)
	for target := ""; !strings.HasSuffix(target, ".GetParametersByPath"); {
		select {
		case target = <-hanging: // the lease is to be given back
		case <-p.ended:
			t.Fatalf("the process ended without an answer:\n%s", p.err)
		}
	}
	p.signal(t, os.Interrupt)
	if got := p.end(); got != cli.Failed {
		t.Errorf("two signals: exit code %d, want %d", got, cli.Failed)
	}
	if strings.Contains(p.err.String(), "error: ") {
		t.Errorf("two signals: the process still had something to say:\n%s", p.err)
	}
	if n := leases(); !slices.Equal(n, []string{"/poolhouse/poolside/lease/2"}) {
		t.Errorf("two signals: there are the leases %v", n)
	}
}
