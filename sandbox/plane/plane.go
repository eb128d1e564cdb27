// Package plane runs the servers that hold what an account's data planes hold:
// objects, images, rows. Each is a program of a module of its own, which the
// core neither links nor knows, and a child of this process.
//
// A child is told what to be by one line on its standard input, a [Start], and
// says by one line on its standard output, a [Ready], where it answers. It
// listens on loopback only. It ends when its standard input does, or on SIGTERM,
// and removes a temporary folder before, which it has made itself: so neither
// outlives its parent, however that ended. Its standard error is its log. Of the
// parent's environment it gets what finds programs and folders: neither credentials
// nor proxies, which would come between it and what answers on loopback.
//
// A child that ends unasked is started again, with the same folder and at the
// same addresses.
//
// Limits: children are started on Unix systems only.
package plane

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Start is what a child reads first.
type Start struct {
	// Config is the server's own configuration.
	Config any `json:"config,omitempty"`
	// Dir is the folder of its data, which is there; but if it is Temporary, the
	// child makes it unless it is there, and removes it at the end.
	Dir       string `json:"dir"`
	Temporary bool   `json:"temporary,omitempty"`
	// Listen are the addresses that it had before, by name; a name that isn't
	// here takes a free port of 127.0.0.1.
	Listen map[string]string `json:"listen,omitempty"`
}

// Ready is what a child says once it answers, or that it can't.
type Ready struct {
	// Addresses are where it answers, by name: {"s3": "127.0.0.1:40123"}.
	Addresses map[string]string `json:"addresses,omitempty"`
	Error     string            `json:"error,omitempty"`
}

// Options describe a server to run.
type Options struct {
	// Name is what people call it: "s3".
	Name string
	// Program is the executable, and Args are its arguments.
	Program string
	Args    []string
	Config  any
	// Dir is the folder that keeps its data, made if it isn't there; "" means
	// one that goes with the server.
	Dir string
	// Within is how long it may take to answer; 0 is a minute.
	Within time.Duration
	// Log takes the server's log. May be nil.
	Log io.Writer
	// Hold is waited for before a server that died is started again: it returns
	// when that may be, or when the context ends. May be nil.
	Hold func(context.Context)
	// Died is told why a server ended unasked. It must be safe for concurrent
	// use. May be nil.
	Died func(error)
}

// How long a server may take to answer, and to end.
const (
	readyWithin = time.Minute
	endWithin   = 30 * time.Second
)

// Server is a child and what is needed to start it again. It is safe for
// concurrent use.
type Server struct {
	opts   Options
	folder *folder
	start  Start
	cancel context.CancelFunc
	done   chan struct{} // closed once no child runs and none will

	mu    sync.Mutex
	child *child // nil while none runs
	err   error
}

// Run starts a server and returns once it answers. It runs until [Server.Close]
// or until the context ends.
func Run(ctx context.Context, o Options) (*Server, error) {
	f, err := openFolder(o.Name, o.Dir)
	if err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", o.Name, err)
	}
	s := &Server{opts: o, folder: f, start: Start{Config: o.Config, Dir: f.path, Temporary: f.temporary}, done: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	first := make(chan error, 1)
	go s.supervise(ctx, first)
	if err := <-first; err != nil {
		s.cancel()
		<-s.done
		return nil, errors.Join(err, s.err)
	}
	return s, nil
}

// Address is where the server answers, by a name that it gave; it stays the
// same.
func (s *Server) Address(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start.Listen[name]
}

// Addresses are where the server answers, by the names that it gave.
func (s *Server) Addresses() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.start.Listen)
}

// Process is the id of the process that runs now, or 0.
func (s *Server) Process() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return 0
	}
	return s.child.cmd.Process.Pid
}

// Kill ends the running process at once, as a crash would; the server is
// started again.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return nil
	}
	return s.child.cmd.Process.Kill()
}

// Close ends the server, and removes its folder if that was temporary.
func (s *Server) Close() error {
	s.cancel()
	<-s.done
	return s.err
}

// supervise keeps a child running until the context ends. The children's parent
// is a thread that lives as long: Linux ends them with it.
func (s *Server) supervise(ctx context.Context, first chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	pause := 50 * time.Millisecond
	for began := false; ; began = true {
		c, err := s.launch(ctx)
		if !began {
			first <- err
		}
		if err == nil {
			pause = 50 * time.Millisecond
			err = s.watch(ctx, c)
		}
		if !began && c == nil || ctx.Err() != nil {
			s.err = errors.Join(s.err, s.folder.close())
			return
		}
		if s.opts.Died != nil {
			s.opts.Died(err)
		}
		if s.opts.Hold != nil {
			s.opts.Hold(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// launch starts a child and waits until it answers.
func (s *Server) launch(ctx context.Context) (*child, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := startChild(s.opts, s.start)
	if err != nil {
		return nil, fmt.Errorf("start %s (%s): %w", s.opts.Name, s.opts.Program, err)
	}
	select {
	case r := <-c.ready:
		if r.Error != "" {
			err = errors.New(r.Error)
			break
		}
		if err = s.folder.own(); err != nil {
			break
		}
		s.mu.Lock()
		s.child, s.start.Listen = c, maps.Clone(r.Addresses)
		s.mu.Unlock()
		return c, nil
	case <-c.ended:
		err = c.why()
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(cmp.Or(s.opts.Within, readyWithin)):
		err = fmt.Errorf("it does not answer after %s", cmp.Or(s.opts.Within, readyWithin))
	}
	return nil, errors.Join(fmt.Errorf("start %s (%s): %w", s.opts.Name, s.opts.Program, err), c.end())
}

// watch returns when the child has ended: by itself, with why, or because it
// was asked to.
func (s *Server) watch(ctx context.Context, c *child) error {
	var err error
	select {
	case <-c.ended:
		err = fmt.Errorf("%s ended: %w", s.opts.Name, c.why())
	case <-ctx.Done():
		s.err = c.end()
	}
	s.mu.Lock()
	s.child = nil
	s.mu.Unlock()
	return err
}

// child is a process.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan Ready
	ended chan struct{}
	err   error // of the process, once it has ended
	log   *tail
}

// inherited are the variables of the environment that a child gets.
var inherited = []string{"PATH", "HOME", "TMPDIR", "TZ", "POOLHOUSE_POSTGRES"}

// environment is a child's.
func environment() []string {
	out := []string{} // nil would be all
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+value)
		}
	}
	return out
}

func startChild(o Options, start Start) (*child, error) {
	line, err := json.Marshal(start)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(o.Program, o.Args...), ready: make(chan Ready, 1), ended: make(chan struct{}), log: &tail{next: o.Log}}
	c.cmd.Env, c.cmd.Stderr = environment(), c.log
	apart(c.cmd)
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.stdin = in
	go func() {
		// A child that has ended doesn't read: that is told by its end.
		_, _ = in.Write(append(line, '\n'))
		lines := bufio.NewReader(out)
		if text, err := lines.ReadBytes('\n'); err == nil {
			var r Ready
			if err := json.Unmarshal(text, &r); err != nil {
				r.Error = fmt.Sprintf("it says %.100q, not where it answers", text)
			}
			c.ready <- r
		}
		_, _ = io.Copy(io.Discard, lines)
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// why is the reason that a process ended for, with the end of its log.
func (c *child) why() error {
	err := c.err
	if err == nil {
		err = errors.New("it left by itself")
	}
	if text := c.log.String(); text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// end asks the process to end, and ends it if it doesn't.
func (c *child) end() error {
	err := c.stdin.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	select {
	case <-c.ended:
		return err
	case <-time.After(endWithin):
	}
	if killed := c.cmd.Process.Kill(); killed != nil && !errors.Is(killed, os.ErrProcessDone) {
		return errors.Join(err, killed)
	}
	<-c.ended
	return errors.Join(err, fmt.Errorf("process %d did not end within %s and was killed", c.cmd.Process.Pid, endWithin))
}

// tail passes a log on and keeps its end.
type tail struct {
	next io.Writer
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 2000
	t.text = append(t.text, b...)
	if n := len(t.text) - most; n > 0 {
		t.text = append([]byte{}, t.text[n:]...)
	}
	if t.next == nil {
		return len(b), nil
	}
	return t.next.Write(b)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
