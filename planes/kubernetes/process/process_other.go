//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
)

// Runtime runs nothing here: see [Runtime.Can].
type Runtime struct{}

// New returns a runtime that can't run anything.
func New(context.Context, Options) (*Runtime, error) { return &Runtime{}, nil }

// Can says that nothing can run.
func (r *Runtime) Can() error {
	return &NotRunError{Why: fmt.Sprintf("pods are processes of Linux, and this is %s", runtime.GOOS)}
}

// Close does nothing.
func (r *Runtime) Close() error { return nil }

// Sandbox returns the error of [Runtime.Can], as all of these do.
func (r *Runtime) Sandbox(context.Context, SandboxOptions) (*Sandbox, error) { return nil, r.Can() }

// Listen is refused.
func (r *Runtime) Listen(context.Context, string, string) (net.Listener, error) { return nil, r.Can() }

// ListenPacket is refused.
func (r *Runtime) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, r.Can()
}

// Dial is refused.
func (r *Runtime) Dial(context.Context, string, string) (net.Conn, error) { return nil, r.Can() }

var errNone = errors.New("there is no sandbox on this machine")

// Sandbox isn't made here.
type Sandbox struct{}

// Dial is refused.
func (s *Sandbox) Dial(context.Context, string, string) (net.Conn, error) { return nil, errNone }

// Start is refused.
func (s *Sandbox) Start(context.Context, Container) (*Process, error) { return nil, errNone }

// Close does nothing.
func (s *Sandbox) Close() error { return nil }

// Process isn't started here.
type Process struct{}

// Done is closed.
func (p *Process) Done() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Wait returns at once.
func (p *Process) Wait() Exit { return Exit{} }

// Signal is refused.
func (p *Process) Signal(syscall.Signal) error { return errNone }

// Exec is refused.
func (p *Process) Exec(context.Context, Command) (*Process, error) { return nil, errNone }

// Resize is refused.
func (p *Process) Resize(uint16, uint16) error { return errNone }
