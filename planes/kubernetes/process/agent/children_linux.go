package agent

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// children are the processes that the agent started. As process 1 it reaps those
// of others too.
type children struct {
	sync.Mutex
	running map[int]*child
}

// child is a process that runs, or has ended. done is closed then.
type child struct {
	pid    int
	of     *children
	done   chan struct{}
	status syscall.WaitStatus
}

// fork starts the program once more, as what the argument says, with the files as
// its first.
func (c *children) fork(program *os.File, as string, files []*os.File, sys *syscall.SysProcAttr) (*child, error) {
	attr := &syscall.ProcAttr{Sys: sys}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	// Nobody reaps it before it is known.
	c.Lock()
	defer c.Unlock()
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), []string{"poolhouse-pods", as}, attr)
	if err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	out := &child{pid: pid, of: c, done: make(chan struct{})}
	if c.running == nil {
		c.running = map[int]*child{}
	}
	c.running[pid] = out
	return out, nil
}

// reap takes note of every process that ends, for ever.
func (c *children) reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	for ; ; <-ended {
		for c.one() {
		}
	}
}

// one reaps a process, if one has ended.
func (c *children) one() bool {
	c.Lock()
	defer c.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err == syscall.EINTR {
		return true
	}
	if err != nil || pid == 0 {
		return false
	}
	if known := c.running[pid]; known != nil {
		known.status = status
		delete(c.running, pid)
		close(known.done)
	}
	return true
}

// signal sends a signal to a process that hasn't ended: its number is nobody
// else's before it is reaped.
func (c *child) signal(s syscall.Signal) error {
	c.of.Lock()
	defer c.of.Unlock()
	if c.of.running[c.pid] != c {
		return nil
	}
	if err := syscall.Kill(c.pid, s); err != nil && err != syscall.ESRCH {
		return os.NewSyscallError("kill", err)
	}
	return nil
}

// apart does something on a thread that nothing else runs on before or after.
func apart(do func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A thread that is locked in the end ends with its goroutine.
		runtime.LockOSThread()
		err = do()
	}()
	<-done
	return err
}

// enter puts the thread into a namespace of a kind.
func enter(namespace *os.File, kind int) error {
	if err := unix.Setns(int(namespace.Fd()), kind); err != nil {
		return os.NewSyscallError("setns "+namespace.Name(), err)
	}
	return nil
}

// pause is process 1 of a pid namespace that containers share: it reaps, and ends
// when it is killed.
func pause() error {
	var c children
	c.reap()
	return nil
}
