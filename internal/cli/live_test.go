package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"

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

// running is a command line that goes on until it is interrupted.
type running struct {
	interrupt func()
	ended     chan struct{}
	code      int // once it has ended
}

// command runs a command line; the test outlives it.
func command(t *testing.T, s cli.Streams, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &running{interrupt: func() { cancel(cli.ErrInterrupted) }, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.code = cli.Run(ctx, args, s)
	}()
	t.Cleanup(func() {
		cancel(context.Canceled)
		<-r.ended
	})
	return r
}

// wait is until the command has ended, and its exit code.
func (r *running) wait() int {
	<-r.ended
	return r.code
}

// until waits for what a command says, for as long as it runs.
func (r *running) until(t *testing.T, said <-chan struct{}, what string, out *watched) {
	t.Helper()
	select {
	case <-said:
	case <-r.ended:
		select {
		case <-said: // with its last words
		default:
			t.Fatalf("exit code %d before %s:\n%s", r.code, what, out)
		}
	}
}

// useSandbox starts the sandbox command and leads clients there.
func useSandbox(t *testing.T, args ...string) *running {
	t.Helper()
	out, errs := watch("\n}\n"), watch("")
	r := command(t, cli.Streams{Out: out, Err: errs}, append([]string{"sandbox", "--without", "s3,ecr", "--listen", "127.0.0.1:0", "-o", "json"}, args...)...)
	r.until(t, out.seen, "the sandbox", errs)
	var e rehearse.Endpoint
	if err := json.Unmarshal([]byte(out.String()), &e); err != nil {
		t.Fatal(err)
	}
	for _, v := range e.Environment {
		t.Setenv(v.Name, v.Value)
	}
	return r
}

func TestSandboxServesUntilInterrupted(t *testing.T) {
	box := useSandbox(t, "--region", "eu-central-1")
	var out, errs bytes.Buffer
	if got := cli.Run(t.Context(), []string{"list"}, cli.Streams{Out: &out, Err: &errs}); got != cli.Done {
		t.Errorf("list: exit code %d: %s", got, errs.String())
	}
	if want := "There is no deployment in eu-central-1.\n"; out.String() != want {
		t.Errorf("list: got %q, want %q", out.String(), want)
	}
	box.interrupt()
	if got := box.wait(); got != cli.Done {
		t.Errorf("the sandbox ended with exit code %d, want %d", got, cli.Done)
	}
}

// TestL31InterruptSaysWhatGoesOn interrupts a creation once CloudFormation is at
// work, and one before it is.
func TestL31InterruptSaysWhatGoesOn(t *testing.T) {
	for _, tt := range []struct{ when, event, want string }{
		{"at once", "keys         create, about", "error: interrupted; "},
		{"at work", "CREATE_IN_PROGRESS", "error: interrupted; AWS goes on with what it has begun: "},
	} {
		t.Run(tt.when, func(t *testing.T) {
			useSandbox(t, "--speed", "20", "--fresh", "--without", "oidc,postgres", "--for", "../../examples/evaluation.yaml")
			args, verbose := []string{"create", "--yes", "../../examples/evaluation.yaml"}, ""
			if tt.event == "CREATE_IN_PROGRESS" {
				args, verbose = append(args, "--verbose"), "-v "
			}
			out, errs := &bytes.Buffer{}, watch(tt.event)
			r := command(t, cli.Streams{Out: out, Err: errs, Clock: clock.NewScaled(20)}, args...)
			r.until(t, errs.seen, "the event", errs)
			r.interrupt()
			if got := r.wait(); got != cli.Failed {
				t.Errorf("exit code %d, want %d", got, cli.Failed)
			}
			text := errs.String()
			if out.Len() > 0 {
				t.Errorf("standard output holds %q", out)
			}
			for _, want := range []string{
				tt.want,
				"hint: poolhouse status ../../examples/evaluation.yaml shows what goes on; to go on watching:\n  " + "poolhouse create " + verbose + "-y ../../examples/evaluation.yaml\n",
			} {
				if i := strings.Index(text, "error: "); i < 0 || !strings.Contains(text[i:], want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			if strings.Contains(text, "create failed") {
				t.Errorf("an interrupted look is shown as a failure:\n%s", text)
			}
			var status bytes.Buffer
			if got := cli.Run(t.Context(), []string{"status", "../../examples/evaluation.yaml"}, cli.Streams{Out: &status, Err: errs}); got != cli.Done || strings.Contains(status.String(), "at work:") {
				t.Errorf("after the interrupt, exit code %d and the status:\n%s", got, status.String())
			}
		})
	}
}

func TestKeptRehearsalCanBeUsed(t *testing.T) {
	out, errs := watch("Ctrl-C ends it"), watch("")
	r := command(t, cli.Streams{Out: out, Err: errs}, "rehearse", "--keep", "../../examples/evaluation.yaml")
	r.until(t, out.seen, "the rehearsal", errs)
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
	r.interrupt()
	if c := r.wait(); c != cli.Done {
		t.Errorf("exit code %d, want %d: %s", c, cli.Done, errs)
	}
}
