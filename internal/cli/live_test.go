package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
)

// watched is a stream that tells when a text was written to it.
type watched struct {
	mu   sync.Mutex
	all  bytes.Buffer
	text string
	seen chan struct{}
}

func watch(text string) *watched { return &watched{text: text, seen: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := strings.Contains(w.all.String(), w.text)
	w.all.Write(p)
	if !before && strings.Contains(w.all.String(), w.text) {
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// command runs a command line that goes on until it is interrupted.
func command(t *testing.T, s cli.Streams, args ...string) (interrupt func(), code <-chan int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan int, 1)
	go func() { done <- cli.Run(ctx, args, s) }()
	t.Cleanup(func() { cancel(context.Canceled) })
	return func() { cancel(cli.ErrInterrupted) }, done
}

func within(t *testing.T, c <-chan struct{}, what string, out *watched) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("waited in vain for %s:\n%s", what, out)
	}
}

// useSandbox starts the sandbox command and leads clients there.
func useSandbox(t *testing.T, args ...string) (interrupt func(), code <-chan int) {
	t.Helper()
	out, errs := watch("\n}\n"), watch("")
	interrupt, code = command(t, cli.Streams{Out: out, Err: errs}, append([]string{"sandbox", "--listen", "127.0.0.1:0", "-o", "json"}, args...)...)
	within(t, out.seen, "the sandbox", errs)
	var e rehearse.Endpoint
	if err := json.Unmarshal([]byte(out.String()), &e); err != nil {
		t.Fatal(err)
	}
	for _, v := range e.Environment {
		t.Setenv(v.Name, v.Value)
	}
	return interrupt, code
}

func TestSandboxServesUntilInterrupted(t *testing.T) {
	interrupt, code := useSandbox(t, "--region", "eu-central-1")
	var out, errs bytes.Buffer
	if got := cli.Run(t.Context(), []string{"list"}, cli.Streams{Out: &out, Err: &errs}); got != cli.Done {
		t.Errorf("list: exit code %d: %s", got, errs.String())
	}
	if want := "There is no deployment in eu-central-1.\n"; out.String() != want {
		t.Errorf("list: got %q, want %q", out.String(), want)
	}
	interrupt()
	if got := <-code; got != cli.Done {
		t.Errorf("the sandbox ended with exit code %d, want %d", got, cli.Done)
	}
}

func TestInterruptSaysWhatGoesOn(t *testing.T) {
	useSandbox(t, "--speed", "20", "--fresh", "--for", "../../examples/evaluation.yaml")
	out, errs := &bytes.Buffer{}, watch("keys         create, about")
	interrupt, code := command(t, cli.Streams{Out: out, Err: errs, Clock: clock.NewScaled(20)}, "create", "--yes", "../../examples/evaluation.yaml")
	within(t, errs.seen, "the first stack", errs)
	interrupt()
	if got := <-code; got != cli.Failed {
		t.Errorf("exit code %d, want %d", got, cli.Failed)
	}
	text := errs.String()
	if out.Len() > 0 {
		t.Errorf("standard output holds %q", out)
	}
	for _, want := range []string{
		"error: interrupted; AWS goes on with what it has begun: keys",
		"hint: poolhouse status ../../examples/evaluation.yaml shows what goes on; to go on watching:\n  poolhouse create ../../examples/evaluation.yaml\n",
	} {
		if i := strings.Index(text, "error: "); i < 0 || !strings.Contains(text[i:], want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "create failed") {
		t.Errorf("an interrupted look is shown as a failure:\n%s", text)
	}
}

func TestKeptRehearsalCanBeUsed(t *testing.T) {
	out, errs := watch("Ctrl-C ends it"), watch("")
	interrupt, code := command(t, cli.Streams{Out: out, Err: errs}, "rehearse", "--keep", "../../examples/evaluation.yaml")
	within(t, out.seen, "the rehearsal", errs)
	for line := range strings.Lines(out.String()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			name, value, _ := strings.Cut(v, "=")
			t.Setenv(name, value)
		}
	}
	var got bytes.Buffer
	if c := cli.Run(t.Context(), []string{"status", "../../examples/evaluation.yaml"}, cli.Streams{Out: &got, Err: io.Discard}); c != cli.Done {
		t.Errorf("status: exit code %d", c)
	}
	if want := "poolside in us-east-1: complete\n"; !strings.HasPrefix(got.String(), want) {
		t.Errorf("status: got %q, want it to begin with %q", got.String(), want)
	}
	interrupt()
	if c := <-code; c != cli.Done {
		t.Errorf("exit code %d, want %d: %s", c, cli.Done, errs)
	}
}
