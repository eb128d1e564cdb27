package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// Runtime runs containers. It is safe for concurrent use.
type Runtime struct {
	dir     string
	command *exec.Cmd
	control *order.Link
	// done is closed when the agent has ended.
	done chan struct{}

	mu  sync.Mutex
	can error
}

// readyWithin is how long an agent may take to begin.
const readyWithin = 30 * time.Second

// endWithin is how long an agent may take to end by itself.
const endWithin = 10 * time.Second

// sandboxes is the folder of what sandboxes keep.
const sandboxes = "sandboxes"

// New starts a runtime. Where the machine can't run containers, it is there all
// the same, and [Runtime.Can] says why it can't.
func New(ctx context.Context, o Options) (*Runtime, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("open a runtime: %q is no whole path", o.Dir)
	}
	dir := filepath.Join(o.Dir, sandboxes)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open a runtime: %w", err)
	}
	r := &Runtime{dir: dir, done: make(chan struct{})}
	if err := r.begin(ctx, o); err != nil {
		r.fail(err)
		return r, nil
	}
	if err := r.probe(ctx); err != nil {
		r.fail(fmt.Errorf("try to run a container: %w", err))
	}
	return r, nil
}

// fail remembers why nothing can run.
func (r *Runtime) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.can == nil {
		r.can = &NotRunError{Why: err.Error()}
	}
}

// Can returns why no process of a pod can run on this machine: a [NotRunError], or
// nil.
func (r *Runtime) Can() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.can
}

// begin starts the agent.
func (r *Runtime) begin(ctx context.Context, o Options) error {
	near, far, err := order.Pair()
	if err != nil {
		close(r.done)
		return err
	}
	r.control = near
	r.command = exec.Command(o.Program, "agent", r.dir)
	// It needs nothing of what this process was told.
	r.command.Env = []string{}
	r.command.ExtraFiles = []*os.File{far}
	r.command.Stdout, r.command.Stderr = o.Log, o.Log
	sys := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true,
	}
	if os.Geteuid() != 0 {
		sys.Cloneflags |= unix.CLONE_NEWUSER
		sys.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	r.command.SysProcAttr = sys
	err = r.command.Start()
	if err := errors.Join(err, far.Close()); err != nil {
		close(r.done)
		return fmt.Errorf("start poolhouse-pods in namespaces: %w", err)
	}
	go func() {
		err := r.command.Wait()
		r.fail(fmt.Errorf("poolhouse-pods has ended (%v), and everything that ran with it", err))
		close(r.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	_, _, err = receive(ctx, near)
	return err
}

// receive reads the answer to an order. It closes the link if there is an error.
func receive(ctx context.Context, l *order.Link) (reply order.Reply, files []*os.File, err error) {
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close() // the read fails
	})
	files, err = l.Receive(&reply)
	switch {
	case !stop() && ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, io.EOF):
		err = errors.New("poolhouse-pods ended meanwhile")
	case err == nil && reply.NotRun:
		err = &NotRunError{Why: reply.Error}
	case err == nil && reply.Code != 0:
		err = &StartError{Code: reply.Code, Why: reply.Error}
	case err == nil && reply.Error != "":
		err = errors.New(reply.Error)
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close() // nobody gets it
		}
		files = nil
		_ = l.Close() // takes the order back
	}
	return reply, files, err
}

// give gives the agent an order, and returns the answer and the connection.
func (r *Runtime) give(ctx context.Context, o order.Order, with ...*os.File) (l *order.Link, reply order.Reply, files []*os.File, err error) {
	if err := r.Can(); err != nil {
		return nil, reply, nil, err
	}
	l, far, err := order.Pair()
	if err != nil {
		return nil, reply, nil, err
	}
	if err := errors.Join(r.control.Send(struct{}{}, far), far.Close(), l.Send(o, with...)); err != nil {
		return nil, reply, nil, errors.Join(fmt.Errorf("tell poolhouse-pods: %w", err), l.Close())
	}
	reply, files, err = receive(ctx, l)
	return l, reply, files, err
}

// probe makes all of a container but its process.
func (r *Runtime) probe(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	top, err := os.MkdirTemp(r.dir, "probe-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	const id = "probe"
	s, err := r.Sandbox(ctx, SandboxOptions{ID: id, Hostname: id, Address: netip.MustParseAddr("169.254.1.2")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	l, _, _, err := r.give(ctx, order.Order{Start: &order.Start{Sandbox: id, Root: top}})
	if err != nil {
		return err
	}
	return l.Close()
}

// Close ends everything that runs, and removes the folder's contents.
func (r *Runtime) Close() error {
	r.fail(errors.New("the runtime is closed"))
	var err error
	if r.control != nil {
		// The agent ends with it, and its namespaces with the agent.
		if err = r.control.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	select {
	case <-r.done:
	case <-time.After(endWithin):
		err = errors.Join(err, errors.New("poolhouse-pods didn't end by itself"), r.command.Process.Kill())
		<-r.done
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// Sandbox makes the namespaces of a pod. Nothing is left of them if there is an error, as
// when the context has ended.
func (r *Runtime) Sandbox(ctx context.Context, o SandboxOptions) (*Sandbox, error) {
	if o.ID == "" || strings.Trim(o.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return nil, fmt.Errorf("make a sandbox: %q is no name for one", o.ID)
	}
	// The answer is waited for in any case, so that what nobody wants any more is known,
	// and its address free again.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWithin)
	defer cancel()
	l, _, _, err := r.give(within, order.Order{Sandbox: &order.Sandbox{ID: o.ID, Hostname: o.Hostname, Address: o.Address, Hosts: o.Hosts, Resolver: o.Resolver, SharePids: o.SharePids}})
	if err != nil {
		return nil, fmt.Errorf("make sandbox %s: %w", o.ID, err)
	}
	s := &Sandbox{runtime: r, id: o.ID}
	if err := errors.Join(l.Close(), ctx.Err()); err != nil {
		return nil, errors.Join(fmt.Errorf("make sandbox %s: %w", o.ID, err), s.Close())
	}
	return s, nil
}

// Listen listens in the cluster's network, where every address that is not a pod's
// is the runtime's own: pods that call it are accepted here. The network is "tcp4".
func (r *Runtime) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	f, err := r.socket(ctx, order.Order{Listen: &order.Address{Network: network, Address: address}})
	if err != nil {
		return nil, fmt.Errorf("listen to pods at %s: %w", address, err)
	}
	l, err := net.FileListener(f)
	return l, errors.Join(err, f.Close())
}

// ListenPacket is [Runtime.Listen] for "udp4".
func (r *Runtime) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	f, err := r.socket(ctx, order.Order{Listen: &order.Address{Network: network, Address: address}})
	if err != nil {
		return nil, fmt.Errorf("listen to pods at %s: %w", address, err)
	}
	c, err := net.FilePacketConn(f)
	return c, errors.Join(err, f.Close())
}

// Dial calls a pod from the cluster's network, as its node does: "tcp4", "udp4".
// The context bounds the time until it answers.
func (r *Runtime) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return r.dial(ctx, order.Address{Network: network, Address: address})
}

func (r *Runtime) dial(ctx context.Context, at order.Address) (net.Conn, error) {
	f, err := r.socket(ctx, order.Order{Dial: &at})
	if err != nil {
		return nil, fmt.Errorf("call a pod: %w", err)
	}
	c, err := net.FileConn(f)
	return c, errors.Join(err, f.Close())
}

// socket is the one that an order is answered by.
func (r *Runtime) socket(ctx context.Context, o order.Order) (*os.File, error) {
	l, _, files, err := r.give(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil || len(files) != 1 {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		return nil, errors.Join(err, fmt.Errorf("%d sockets came instead of one", len(files)))
	}
	return files[0], nil
}
