package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// pod is what the containers of a sandbox share.
type pod struct {
	id, dir string
	net     *os.File
	ipc     *os.File
	uts     *os.File
	// pids is the pid namespace that pause is process 1 of; nil if containers have
	// their own.
	pids  *os.File
	pause *child
	link  string // the interface on the agent's side
	files []order.Mount

	mu      sync.Mutex
	closed  bool
	last    int // number of a folder of a container
	running map[*child]*container
}

// container is what is known of a process: that of a container, or one beside it. Its
// namespaces and over are held by the pod's lock.
type container struct {
	order.Identity
	mounts, pids *os.File   // its namespaces
	in           *container // that it is beside; nil if it is a container's own
	over         bool       // its process has ended
	scratch      string
	ended        chan struct{} // closed when nothing of it is left
}

// The names of files of a sandbox, in its folder.
const (
	shared = "shm"
	root   = "root"
	upper  = "upper"
	work   = "work"
)

// sharedSize is that of /dev/shm, as container runtimes have it.
const sharedSize = "64m"

// escape has a pattern mean a path.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// sandbox makes one.
func (a *agent) sandbox(o order.Sandbox) (err error) {
	p := &pod{id: o.ID, dir: filepath.Join(a.dir, o.ID), running: map[*child]*container{}}
	// Nobody who finds it starts anything in it, or closes it, before it is whole.
	p.mu.Lock()
	a.mu.Lock()
	_, taken := a.pods[o.ID]
	if !taken {
		a.pods[o.ID] = p
	}
	a.mu.Unlock()
	if taken {
		return fmt.Errorf("there is a sandbox %s", o.ID)
	}
	err = a.fill(p, o)
	p.mu.Unlock()
	if err != nil {
		return errors.Join(err, a.close(o.ID))
	}
	return nil
}

func (a *agent) fill(p *pod, o order.Sandbox) error {
	// What holds secrets of a pod is seen by the runtime's user alone; containers
	// get at what is theirs by mounts.
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	for path, text := range map[string][]byte{"/etc/hosts": o.Hosts, "/etc/resolv.conf": o.Resolver, "/etc/hostname": []byte(o.Hostname + "\n")} {
		if text == nil {
			continue
		}
		at := filepath.Join(p.dir, filepath.Base(path))
		if err := os.WriteFile(at, text, 0o644); err != nil {
			return err
		}
		p.files = append(p.files, order.Mount{Source: at, Target: path})
	}
	at := filepath.Join(p.dir, shared)
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("shm", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size="+sharedSize); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	err := apart(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
			return os.NewSyscallError("sethostname", err)
		}
		var err error
		for name, into := range map[string]**os.File{"net": &p.net, "ipc": &p.ipc, "uts": &p.uts} {
			if *into, err = os.Open("/proc/thread-self/ns/" + name); err != nil {
				return err
			}
		}
		return a.plug(p, o.Address)
	})
	if err != nil {
		return fmt.Errorf("make the namespaces of a pod: %w", err)
	}
	if o.SharePids {
		p.pause, err = a.fork(a.program, asPause, []*os.File{a.nulls, os.Stderr, os.Stderr}, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Setsid: true})
		if err != nil {
			return err
		}
		p.pids, err = os.Open(fmt.Sprintf("/proc/%d/ns/pid", p.pause.pid))
	}
	return err
}

// join puts the thread into the pod's namespaces; what it forks is in its pid
// namespace too, if there is one.
func (p *pod) join(pids *os.File) error {
	errs := []error{enter(p.net, unix.CLONE_NEWNET), enter(p.ipc, unix.CLONE_NEWIPC), enter(p.uts, unix.CLONE_NEWUTS)}
	if pids != nil {
		errs = append(errs, enter(pids, unix.CLONE_NEWPID))
	}
	return errors.Join(errs...)
}

// find is a sandbox that there is.
func (a *agent) find(id string) (*pod, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.pods[id]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("there is no sandbox %s", id)
}

// close ends what runs in a sandbox, and removes it.
func (a *agent) close(id string) error {
	p, err := a.find(id)
	if err != nil {
		return nil // as is wanted
	}
	p.mu.Lock()
	p.closed = true
	var ends []chan struct{}
	var errs []error
	for c, of := range p.running {
		errs = append(errs, c.signal(syscall.SIGKILL))
		ends = append(ends, of.ended)
	}
	p.mu.Unlock()
	for _, end := range ends {
		<-end
	}
	if p.pause != nil {
		errs = append(errs, p.pause.signal(syscall.SIGKILL))
		<-p.pause.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	errs = append(errs, a.unplug(p))
	for _, f := range []**os.File{&p.net, &p.ipc, &p.uts, &p.pids} {
		if *f != nil {
			errs = append(errs, (*f).Close())
			*f = nil
		}
	}
	if err := unix.Unmount(filepath.Join(p.dir, shared), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("unmount /dev/shm: %w", err))
	}
	errs = append(errs, os.RemoveAll(p.dir))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pods[id] == p {
		delete(a.pods, id)
	}
	return errors.Join(errs...)
}
