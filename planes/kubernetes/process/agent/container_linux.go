package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// allCapabilities is more than any kernel has: what it doesn't know it doesn't give.
const allCapabilities = 41

// start starts a container, and stays with it.
func (a *agent) start(link *order.Link, o order.Start, streams []*os.File) error {
	p, err := a.find(o.Sandbox)
	if err != nil {
		return answer(link, err)
	}
	c := &container{Identity: o.Identity, ended: make(chan struct{})}
	s := order.Stage{Start: o, Single: a.single, Shared: filepath.Join(p.dir, shared)}
	s.Mounts = append(append([]order.Mount{}, p.files...), o.Mounts...)
	p.mu.Lock()
	p.last++
	c.scratch = filepath.Join(p.dir, strconv.Itoa(p.last))
	p.mu.Unlock()
	s.Scratch = c.scratch
	sys := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Setsid: true}
	pids := p.pids
	if pids != nil {
		sys.Cloneflags = unix.CLONE_NEWNS
	}
	for _, dir := range []string{"", root, upper, work} {
		if err := os.MkdirAll(filepath.Join(c.scratch, dir), 0o755); err != nil {
			return answer(link, err)
		}
	}
	return a.life(link, p, c, s, pids, streams, sys)
}

// errEnded tells that a container is there no more.
var errEnded = errors.New("the container has ended")

// exec starts a command in a container, and stays with it.
func (a *agent) exec(link *order.Link, o order.Exec, streams []*os.File) error {
	p, err := a.find(o.Sandbox)
	if err != nil {
		return answer(link, err)
	}
	p.mu.Lock()
	var in *container
	for child, c := range p.running {
		if child.pid == o.Process && c.mounts != nil && !c.over {
			in = c
		}
	}
	c := &container{in: in, ended: make(chan struct{})}
	if in == nil {
		err = errEnded
	} else {
		if in.in != nil {
			c.in = in.in
		}
		c.Identity = in.Identity
		// They are the container's to close, which may end meanwhile.
		var errs [2]error
		c.mounts, errs[0] = again(in.mounts)
		c.pids, errs[1] = again(in.pids)
		err = errors.Join(errs[:]...)
	}
	p.mu.Unlock()
	if err != nil {
		return answer(link, err)
	}
	s := order.Stage{Enter: true, Single: a.single, Start: order.Start{Sandbox: o.Sandbox, Identity: c.Identity, Command: o.Command}}
	return a.life(link, p, c, s, c.pids, streams, &syscall.SysProcAttr{Setsid: true})
}

// again opens what is open once more.
func again(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// life is that of a process from its start to its end, which the runtime is told.
func (a *agent) life(link *order.Link, p *pod, c *container, s order.Stage, pids *os.File, streams []*os.File, sys *syscall.SysProcAttr) error {
	child, terminal, err := a.begin(p, c, s, pids, streams, sys)
	if child == nil {
		return errors.Join(answer(link, err), c.remove())
	}
	told := reply(err)
	if err == nil && len(s.Args) > 0 {
		told.Process = child.pid
	}
	var out []*os.File
	if terminal != nil {
		out = append(out, terminal)
	}
	if err := errors.Join(link.Send(told, out...), closeAll(out)); err != nil {
		told.Error = err.Error() // nobody waits for it
	}
	if told.Process == 0 || told.Error != "" {
		err = child.signal(syscall.SIGKILL)
	} else {
		go func() {
			for {
				var s order.Signal
				if _, err := link.Receive(&s); err != nil {
					s.Signal = syscall.SIGKILL // it is taken back
				}
				if child.signal(s.Signal) != nil || s.Signal == syscall.SIGKILL {
					return
				}
			}
		}()
	}
	<-child.done
	err = errors.Join(err, p.sweep(c), c.remove())
	p.mu.Lock()
	delete(p.running, child)
	p.mu.Unlock()
	close(c.ended)
	if told.Process != 0 && told.Error == "" {
		exit := order.Exit{Code: child.status.ExitStatus()}
		if child.status.Signaled() {
			exit = order.Exit{Signal: child.status.Signal()}
		}
		err = errors.Join(err, link.Send(exit))
	}
	return err
}

// begin forks a stage and sees it through until it is what it shall be. What it
// returns runs even if there is an error.
func (a *agent) begin(p *pod, c *container, s order.Stage, pids *os.File, streams []*os.File, sys *syscall.SysProcAttr) (forked *child, terminal *os.File, err error) {
	near, far, err := order.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer near.Close()
	files := []*os.File{a.nulls, a.nulls, a.nulls}
	copy(files, streams)
	files = append(files, far)
	p.mu.Lock()
	switch {
	case p.closed || p.net == nil:
		err = fmt.Errorf("sandbox %s is closed", p.id)
	case c.in != nil && c.in.over:
		err = errEnded
	default:
		err = apart(func() (err error) {
			if err := p.join(pids); err != nil {
				return err
			}
			forked, err = a.fork(a.program, asStage, files, sys)
			return err
		})
	}
	if forked != nil {
		p.running[forked] = c
	}
	if err == nil && !s.Enter {
		// They are found as long as it waits for what to be: later it may have ended.
		err = c.find(forked.pid)
	}
	p.mu.Unlock()
	if err := errors.Join(err, far.Close()); err != nil {
		return forked, nil, err
	}
	if s.Enter {
		err = near.Send(s, c.mounts)
	} else {
		err = near.Send(s)
	}
	for err == nil {
		var r order.Reply
		var got []*os.File
		if got, err = near.Receive(&r); err == nil && r.Error != "" {
			err = &refusal{r}
		}
		if len(got) > 0 {
			terminal = got[0]
		}
	}
	if !errors.Is(err, io.EOF) {
		return forked, terminal, err
	}
	// It has become the container's program, or has died.
	return forked, terminal, nil
}

// find opens the namespaces of a process.
func (c *container) find(pid int) error {
	for name, into := range map[string]**os.File{"mnt": &c.mounts, "pid": &c.pids} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err != nil {
			return err
		}
		*into = f
	}
	return nil
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// remove removes what is left of a process.
func (c *container) remove() error {
	err := closeAll([]*os.File{c.mounts, c.pids})
	if c.scratch != "" {
		err = errors.Join(err, os.RemoveAll(c.scratch))
	}
	return err
}
