package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/poolhouse/poolhouse/planes/kubernetes/podspec"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// dial connects to a pod.
func (s *Service) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return s.opts.Processes.Dial(ctx, "tcp4", address)
}

// mostOutput is how much of a command's output is kept.
const mostOutput = 16 << 20

// ExecSync implements the interface. Commands that stand for calls over the
// network are these calls.
func (s *Service) ExecSync(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	c, run, err := s.running(r.ContainerId)
	if err != nil {
		return nil, err
	}
	timeout := time.Duration(r.Timeout) * time.Second
	if call, ok := podspec.Command(r.Cmd); ok {
		ok, said := podspec.Probe(ctx, s.dial, call, c.sandbox.address.String(), timeout)
		out := &cri.ExecSyncResponse{Stdout: []byte(said)}
		if !ok {
			out.ExitCode = 1
		}
		return out, nil
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var out, errs limited
	p, err := run.Exec(ctx, process.Command{Args: r.Cmd, Env: c.start.Env, Dir: c.start.Dir, Stdout: &out, Stderr: &errs})
	if e := (*process.StartError)(nil); errors.As(err, &e) {
		return &cri.ExecSyncResponse{Stderr: []byte(e.Why), ExitCode: int32(e.Code)}, nil
	}
	if err != nil {
		return nil, failed("%w", err)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		err := p.Signal(syscall.SIGKILL)
		<-p.Done()
		return nil, status.Error(codes.DeadlineExceeded, errors.Join(fmt.Errorf("the command took longer than %s", timeout), err).Error())
	}
	return &cri.ExecSyncResponse{Stdout: out.Bytes(), Stderr: errs.Bytes(), ExitCode: int32(p.Wait().Status())}, nil
}

// limited keeps the beginning of what is written.
type limited struct{ bytes.Buffer }

// Write implements [io.Writer].
func (l *limited) Write(b []byte) (int, error) {
	if room := mostOutput - l.Len(); len(b) > room {
		_, _ = l.Buffer.Write(b[:room]) // it never fails
		return len(b), nil
	}
	return l.Buffer.Write(b)
}

// running is a container that runs, with its process.
func (s *Service) running(id string) (*container, *process.Process, error) {
	c, err := s.container(id)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state() != cri.ContainerState_CONTAINER_RUNNING {
		return nil, nil, status.Error(codes.FailedPrecondition, "container "+id+" does not run")
	}
	return c, c.run, nil
}

// Exec implements the interface.
func (s *Service) Exec(_ context.Context, r *cri.ExecRequest) (*cri.ExecResponse, error) {
	if _, _, err := s.running(r.ContainerId); err != nil {
		return nil, err
	}
	return s.stream.GetExec(r)
}

// Attach implements the interface.
func (s *Service) Attach(_ context.Context, r *cri.AttachRequest) (*cri.AttachResponse, error) {
	if _, _, err := s.running(r.ContainerId); err != nil {
		return nil, err
	}
	return s.stream.GetAttach(r)
}

// PortForward implements the interface.
func (s *Service) PortForward(_ context.Context, r *cri.PortForwardRequest) (*cri.PortForwardResponse, error) {
	if _, err := s.sandbox(r.PodSandboxId); err != nil {
		return nil, err
	}
	return s.stream.GetPortForward(r)
}

// streams are what clients do in containers while they are connected.
type streams struct{ *Service }

var _ streaming.Runtime = streams{}

// Exec implements [streaming.Runtime].
func (s streams) Exec(ctx context.Context, id string, args []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	c, run, err := s.running(id)
	if err != nil {
		return err
	}
	cmd := process.Command{Args: args, Env: c.start.Env, Dir: c.start.Dir, TTY: tty, Stdin: in}
	// A writer that is nil isn't one.
	if out != nil {
		cmd.Stdout = out
	}
	if errs != nil {
		cmd.Stderr = errs
	}
	p, err := run.Exec(ctx, cmd)
	if e := (*process.StartError)(nil); errors.As(err, &e) {
		return utilexec.CodeExitError{Err: e, Code: e.Code}
	}
	if err != nil {
		return err
	}
	go sizes(p, resize)
	select {
	case <-p.Done():
	case <-ctx.Done():
		// Nobody is there any more to whom it could answer.
		if err := p.Signal(syscall.SIGKILL); err != nil {
			return err
		}
		<-p.Done()
	}
	if code := p.Wait().Status(); code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// sizes follows the size of a terminal until the process ends.
func sizes(p *process.Process, resize <-chan remotecommand.TerminalSize) {
	for {
		select {
		case size, ok := <-resize:
			if !ok {
				return
			}
			_ = p.Resize(size.Width, size.Height) // one without a terminal has no size
		case <-p.Done():
			return
		}
	}
}

// Attach implements [streaming.Runtime].
func (s streams) Attach(ctx context.Context, id string, in io.Reader, out, errs io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
	c, run, err := s.running(id)
	if err != nil {
		return err
	}
	a := &attached{}
	if out != nil {
		a.out = out
	}
	if errs != nil {
		a.err = errs
	}
	defer c.log.attach(a)()
	if in != nil && c.stdin != nil {
		go func() {
			_, err := io.Copy(c.stdin, in)
			if c.config.StdinOnce || err != nil {
				_ = c.stdin.CloseWithError(err) // it never fails
			}
		}()
	}
	go sizes(run, resize)
	select {
	case <-c.over:
	case <-ctx.Done():
	}
	return nil
}

// PortForward implements [streaming.Runtime].
func (s streams) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	b, err := s.sandbox(id)
	if err != nil {
		return err
	}
	conn, err := b.made.Dial(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(conn, stream) // the other direction tells
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // it may be closed
		}
	}()
	_, err = io.Copy(stream, conn)
	err = errors.Join(err, stream.Close(), conn.Close())
	<-sent
	return err
}
