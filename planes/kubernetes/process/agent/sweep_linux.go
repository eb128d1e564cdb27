package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// sweep ends what a container leaves in a pid namespace that others share, as container
// runtimes do; from one of its own, all goes with its first process. What has made itself
// another mount namespace is not found, and stays until the pod goes.
// https://github.com/containerd/containerd/blob/v2.1.0/cmd/containerd-shim-runc-v2/task/service.go
func (p *pod) sweep(c *container) error {
	p.mu.Lock()
	c.over = true // nothing is started in it any more
	shared := p.pids != nil && c.mounts != nil && c.in == nil
	var errs []error
	for other, of := range p.running {
		if shared && of.in == c {
			errs = append(errs, other.signal(syscall.SIGKILL)) // it may not have come in yet
		}
	}
	p.mu.Unlock()
	if shared {
		errs = append(errs, end(c.mounts))
	}
	return errors.Join(errs...)
}

// end kills the processes of a mount namespace, and waits until there are none.
func end(mounts *os.File) error {
	var of unix.Stat_t
	if err := unix.Fstat(int(mounts.Fd()), &of); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	for {
		found, err := within(of)
		for _, pidfd := range found {
			if e := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); e != nil && e != unix.ESRCH {
				err = errors.Join(err, os.NewSyscallError("pidfd_send_signal", e))
			}
		}
		for _, pidfd := range found {
			err = errors.Join(err, await(pidfd), os.NewSyscallError("close", unix.Close(pidfd)))
		}
		if err != nil || len(found) == 0 {
			return err
		}
	}
}

// within are the processes of a namespace, opened, so that none is taken for another that
// has got its number.
func within(of unix.Stat_t) (pidfds []int, err error) {
	list, err := os.ReadDir("/proc")
	errs := []error{err}
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // it is no process
		}
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			if err != unix.ESRCH {
				errs = append(errs, os.NewSyscallError("pidfd_open", err))
			}
			continue
		}
		var at unix.Stat_t
		path := fmt.Sprintf("/proc/%d/ns/mnt", pid)
		err = unix.Stat(path, &at)
		if err == nil && at.Dev == of.Dev && at.Ino == of.Ino {
			pidfds = append(pidfds, pidfd)
			continue
		}
		if err != nil && err != unix.ENOENT && err != unix.ESRCH {
			errs = append(errs, &fs.PathError{Op: "stat", Path: path, Err: err})
		}
		errs = append(errs, os.NewSyscallError("close", unix.Close(pidfd)))
	}
	return pidfds, errors.Join(errs...)
}

// await waits until a process has ended.
func await(pidfd int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}
