package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// Sandbox is what the containers of a pod share: network, host name, IPC, and
// /dev/shm. It is safe for concurrent use.
type Sandbox struct {
	runtime *Runtime
	id      string
}

// Dial calls an address in the pod's own network namespace, its loopback
// interface above all.
func (s *Sandbox) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return s.runtime.dial(ctx, order.Address{Sandbox: s.id, Network: network, Address: address})
}

// Start starts a container. The context bounds the start, not the container's
// life. Errors are [NotRunError], [StartError], and others that another try may
// not meet.
func (s *Sandbox) Start(ctx context.Context, c Container) (*Process, error) {
	if len(c.Args) == 0 {
		return nil, fmt.Errorf("start container %s: no command", c.Name)
	}
	bits, err := capabilities(c.Add, c.Drop)
	if err != nil {
		return nil, err
	}
	o := &order.Start{
		Sandbox: s.id, Root: c.Root, ReadOnly: c.ReadOnly, Command: command(c.Command),
		Identity: order.Identity{UID: c.User.UID, GID: c.User.GID, Groups: c.User.Groups, Capabilities: bits},
	}
	for _, m := range c.Mounts {
		o.Mounts = append(o.Mounts, order.Mount(m))
	}
	p, err := s.start(ctx, order.Order{Start: o}, c.Command)
	if err != nil {
		return nil, fmt.Errorf("start container %s: %w", c.Name, err)
	}
	return p, nil
}

func command(c Command) order.Command {
	return order.Command{Args: c.Args, Env: c.Env, Dir: c.Dir, TTY: c.TTY}
}

// Close kills what runs in the sandbox, and removes it. To close it twice does no
// harm.
func (s *Sandbox) Close() error {
	l, _, _, err := s.runtime.give(context.Background(), order.Order{Close: s.id})
	if _, gone := NotRun(err); gone {
		return nil // with the runtime
	}
	if err != nil {
		return fmt.Errorf("close sandbox %s: %w", s.id, err)
	}
	return l.Close()
}

// Process is a container's first process, or one that was started beside it. It is
// safe for concurrent use.
type Process struct {
	sandbox  *Sandbox
	number   int
	link     *order.Link
	terminal *os.File // nil without
	done     chan struct{}
	exit     Exit
}

// streams are a process's standard files, and what goes on between these and who
// started it.
type streams struct {
	own  []*os.File // ours, to close once they were handed over
	pass []*os.File // handed over, in order
	out  sync.WaitGroup
	// readers are the ends that output is read from.
	readers []*os.File
}

// input makes what a process reads.
func (s *streams) input(r io.Reader) error {
	if f, ok := r.(*os.File); ok && f != nil {
		s.pass = append(s.pass, f)
		return nil
	}
	if r == nil {
		f, err := os.Open(os.DevNull)
		s.own, s.pass = append(s.own, f), append(s.pass, f)
		return err
	}
	near, far, err := os.Pipe()
	if err != nil {
		return err
	}
	s.own, s.pass = append(s.own, near), append(s.pass, near)
	go func() {
		_, _ = io.Copy(far, r) // who reads may end at any time
		_ = far.Close()        // which tells that it is over
	}()
	return nil
}

// output makes what a process writes to.
func (s *streams) output(w io.Writer) error {
	if f, ok := w.(*os.File); ok && f != nil {
		s.pass = append(s.pass, f)
		return nil
	}
	if w == nil {
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		s.own, s.pass = append(s.own, f), append(s.pass, f)
		return err
	}
	near, far, err := os.Pipe()
	if err != nil {
		return err
	}
	s.own, s.pass = append(s.own, far), append(s.pass, far)
	s.copy(w, near)
	return nil
}

// copy writes what can be read, until its end.
func (s *streams) copy(w io.Writer, r *os.File) {
	s.readers = append(s.readers, r)
	s.out.Go(func() {
		// A terminal whose process is gone is read with EIO. A writer that fails
		// must not keep the process waiting.
		_, _ = io.Copy(w, r)
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close() // it was read to its end
	})
}

// drainWithin is how long output may come once the process has ended: what else
// holds the streams may live on.
const drainWithin = 2 * time.Second

func (s *streams) close() error {
	var errs []error
	for _, f := range s.own {
		errs = append(errs, f.Close())
	}
	s.own = nil
	return errors.Join(errs...)
}

// start starts a process and follows it.
func (s *Sandbox) start(ctx context.Context, o order.Order, c Command) (*Process, error) {
	var std streams
	var err error
	if !c.TTY {
		err = errors.Join(std.input(c.Stdin), std.output(c.Stdout), std.output(c.Stderr))
	}
	if err != nil {
		return nil, errors.Join(err, std.close())
	}
	l, reply, files, err := s.runtime.give(ctx, o, std.pass...)
	if err := errors.Join(err, std.close()); err != nil {
		return nil, err
	}
	p := &Process{sandbox: s, number: reply.Process, link: l, done: make(chan struct{})}
	if c.TTY {
		if len(files) != 1 {
			return nil, errors.Join(fmt.Errorf("%d terminals came instead of one", len(files)), l.Close())
		}
		if err := p.open(files[0], &std, c); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	go p.follow(&std)
	return p, nil
}

// open connects the terminal.
func (p *Process) open(f *os.File, std *streams, c Command) error {
	// So that reading can be broken off.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	p.terminal = os.NewFile(uintptr(fd), "terminal")
	out := c.Stdout
	if out == nil {
		out = io.Discard
	}
	std.copy(out, p.terminal)
	if c.Stdin != nil {
		go func() {
			_, _ = io.Copy(p.terminal, c.Stdin) // the terminal may end at any time
		}()
	}
	return nil
}

// follow waits for the process's end.
func (p *Process) follow(std *streams) {
	defer close(p.done)
	var exit order.Exit
	if _, err := p.link.Receive(&exit); err != nil {
		// The agent is gone, and everything that it started with it.
		exit = order.Exit{Signal: syscall.SIGKILL}
	}
	p.exit = Exit(exit)
	_ = p.link.Close() // it has said all
	for _, f := range std.readers {
		_ = f.SetReadDeadline(time.Now().Add(drainWithin)) // what is closed needs none
	}
	std.out.Wait()
}

// Done is closed once the process has ended, and its output was written.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for that, and says how it ended.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Signal sends a signal; to a process that has ended, it does nothing. As Linux has
// it, the first process of a container is met by SIGKILL, SIGSTOP, and what it
// handles.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.link.Send(order.Signal{Signal: s})
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// Exec starts another command in the container of this process, as its user.
func (p *Process) Exec(ctx context.Context, c Command) (*Process, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("exec: no command")
	}
	out, err := p.sandbox.start(ctx, order.Order{Exec: &order.Exec{Sandbox: p.sandbox.id, Process: p.number, Command: command(c)}}, c)
	if err != nil {
		return nil, fmt.Errorf("exec %s: %w", c.Args[0], err)
	}
	return out, nil
}

// Resize tells the size of the terminal of a process that has one.
func (p *Process) Resize(columns, rows uint16) error {
	if p.terminal == nil {
		return errors.New("the process has no terminal")
	}
	raw, err := p.terminal.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
	return errors.Join(err, set)
}
