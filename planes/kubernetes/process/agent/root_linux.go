package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// devices are those that every container has.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// links are in /dev.
var links = map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}

// masked are paths that tell of the machine or change it, and are empty in a
// container; fixed are those that can be read only. A kernel may not have all.
// https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md
var (
	masked = []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"}
	fixed  = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// makeContainer makes the mounts of a container in this process's own namespace,
// and changes into them. What has to be found on the machine is opened before;
// whatever is named in the container is looked up when nothing else is there any
// more, so that no link in an image leads out of it.
func makeContainer(s order.Stage) error {
	unix.Umask(0)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("part from the machine's mounts: %w", err)
	}
	var sources []*os.File
	for _, m := range s.Mounts {
		f, err := source(m)
		if err != nil {
			return fmt.Errorf("mount %s at %s: %w", filepath.Join(m.Source, m.Sub), m.Target, err)
		}
		sources = append(sources, f)
	}
	nodes := make([]*os.File, len(devices))
	var err error
	for i, d := range devices {
		if nodes[i], err = clone(unix.AT_FDCWD, "/dev/"+d, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return fmt.Errorf("open device %s: %w", d, err)
		}
	}
	kernel, err := kernelFiles(s.Single)
	if err != nil {
		return err
	}
	memory, err := clone(unix.AT_FDCWD, s.Shared, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("open /dev/shm: %w", err)
	}
	if err := overlay(s); err != nil {
		return fmt.Errorf("mount the image: %w", err)
	}
	if err := pivot(); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := system(s.Single, kernel, nodes, memory); err != nil {
		return err
	}
	for i, m := range s.Mounts {
		if err := attach(sources[i], m.Target); err != nil {
			return fmt.Errorf("mount %s at %s: %w", filepath.Join(m.Source, m.Sub), m.Target, err)
		}
	}
	if dir := s.Dir; dir != "" {
		if _, err := place(dir, true); err != nil {
			return fmt.Errorf("make the working directory: %w", err)
		}
	}
	if s.ReadOnly {
		if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return fmt.Errorf("make the root read only: %w", err)
		}
	}
	return nil
}

// clone is a mount of its own of a path's, attached nowhere yet.
func clone(at int, path string, attributes uint64) (*os.File, error) {
	const how = unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	fd, err := unix.OpenTree(at, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|how)
	if err != nil {
		return nil, &fs.PathError{Op: "open_tree", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.MountSetattr(fd, "", how, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "mount_setattr", Path: path, Err: err}, f.Close())
	}
	return f, nil
}

// kernelFiles are new mounts of /proc and /sys, attached nowhere yet: in a user namespace,
// Linux lets who sees those of the machine make them, and no one else. Where it doesn't
// let a sole user have /sys, that is empty.
// https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
func kernelFiles(single bool) (map[string]*os.File, error) {
	const safe = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	out := map[string]*os.File{}
	for _, k := range []struct {
		kind, at   string
		attributes int
	}{{"proc", "/proc", safe}, {"sysfs", "/sys", safe | unix.MOUNT_ATTR_RDONLY}} {
		f, err := made(k.kind, k.attributes)
		if single && k.kind == "sysfs" && errors.Is(err, unix.EPERM) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", k.at, err)
		}
		out[k.at] = f
	}
	return out, nil
}

// made is a new mount of a kind, attached nowhere yet.
func made(kind string, attributes int) (*os.File, error) {
	how, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(how)
	if err := unix.FsconfigCreate(how); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(how, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), kind), nil
}

// source is what a mount shows.
func source(m order.Mount) (*os.File, error) {
	attributes := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if m.ReadOnly {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	if m.Sub == "" {
		return clone(unix.AT_FDCWD, m.Source, attributes)
	}
	top, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: m.Source, Err: err}
	}
	defer unix.Close(top)
	fd, err := unix.Openat2(top, m.Sub, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, &fs.PathError{Op: "open below the volume", Path: m.Sub, Err: err}
	}
	defer unix.Close(fd)
	return clone(fd, "", attributes)
}

// overlay mounts the image at the folder root in the scratch folder, which becomes
// the working directory, such that what is written goes beside it. Where that
// folder's file system can't, it goes to memory.
func overlay(s order.Stage) error {
	lower, err := unix.Open(s.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: s.Root, Err: err}
	}
	defer unix.Close(lower)
	if err := os.Chdir(s.Scratch); err != nil {
		return err
	}
	// Names are relative, and the image has none: options can't hold all characters.
	options := fmt.Sprintf("lowerdir=/proc/self/fd/%d,upperdir=%s,workdir=%s", lower, upper, work)
	if s.Single {
		options += ",userxattr"
	}
	mount := func() error {
		return unix.Mount("overlay", root, "overlay", unix.MS_NODEV|unix.MS_NOSUID, options)
	}
	err = mount()
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := unix.Mount("tmpfs", s.Scratch, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	if err := os.Chdir(s.Scratch); err != nil {
		return err
	}
	for _, dir := range []string{root, upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return mount()
}

// pivot makes the folder root the root, and nothing else.
func pivot() error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	return os.Chdir("/")
}

// system mounts what every container has.
func system(single bool, kernel map[string]*os.File, nodes []*os.File, memory *os.File) error {
	pts := "newinstance,ptmxmode=0666,mode=0620"
	if !single {
		pts += ",gid=5" // tty, by old custom
	}
	for _, at := range []string{"/proc", "/sys"} {
		_, err := place(at, true)
		if f := kernel[at]; err == nil && f != nil {
			err = attach(f, at)
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	const safe = unix.MS_NOSUID | unix.MS_NOEXEC
	for _, m := range []struct {
		kind, at string
		flags    uintptr
		options  string
	}{
		// Devices that a container makes itself are none.
		{"tmpfs", "/dev", safe | unix.MS_NODEV, "mode=755,size=64k"},
		{"devpts", "/dev/pts", safe, pts},
		{"mqueue", "/dev/mqueue", safe | unix.MS_NODEV, ""},
	} {
		at, err := place(m.at, true)
		if err != nil {
			return err
		}
		if err := unix.Mount(m.kind, at, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for i, d := range devices {
		if err := attach(nodes[i], "/dev/"+d); err != nil {
			return fmt.Errorf("mount device %s: %w", d, err)
		}
	}
	if err := attach(memory, "/dev/shm"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	for name, to := range links {
		if err := os.Symlink(to, "/dev/"+name); err != nil {
			return err
		}
	}
	if err := os.Mkdir("/tmp", 0o1777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, path := range masked {
		if err := mask(path); err != nil {
			return fmt.Errorf("mask %s: %w", path, err)
		}
	}
	for _, path := range fixed {
		f, err := clone(unix.AT_FDCWD, path, unix.MOUNT_ATTR_RDONLY)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = attach(f, path)
		}
		if err != nil {
			return fmt.Errorf("make %s read only: %w", path, err)
		}
	}
	return nil
}

// mask hides a file or a folder, if it is there.
func mask(path string) error {
	i, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if i.IsDir() {
		return unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0")
	}
	f, err := clone(unix.AT_FDCWD, os.DevNull, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return err
	}
	return attach(f, path)
}

// attach mounts what was cloned at a path, which is made if it isn't there, and
// closes it.
func attach(f *os.File, at string) error {
	i, err := f.Stat()
	if err != nil {
		return err
	}
	if at, err = place(at, i.IsDir()); err != nil {
		return err
	}
	if err := unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return errors.Join(os.NewSyscallError("move_mount", err), f.Close())
	}
	return f.Close()
}

// mostLinks is how many links a path may lead over, Linux's own limit.
const mostLinks = 40

// place is where a path leads to, over links of the image that need not lead to
// anything yet: it is made. Nothing but the container is there any more, so that
// they can't lead out of it.
func place(at string, folder bool) (string, error) {
	at = path.Clean("/" + at)
	for links := 0; ; {
		done, next := "", ""
		for rest := at; rest != "" && next == ""; {
			var name string
			name, rest, _ = strings.Cut(strings.TrimPrefix(rest, "/"), "/")
			here := done + "/" + name
			i, err := os.Lstat(here)
			switch {
			case errors.Is(err, fs.ErrNotExist) && (rest != "" || folder):
				err = os.Mkdir(here, 0o755)
			case errors.Is(err, fs.ErrNotExist):
				var made *os.File
				if made, err = os.OpenFile(here, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
					err = made.Close()
				}
			case err == nil && i.Mode()&fs.ModeSymlink != 0:
				if next, err = os.Readlink(here); err == nil && !path.IsAbs(next) {
					next = path.Join("/", done, next)
				}
				next = path.Join("/", next, rest)
			}
			if err != nil {
				return "", err
			}
			done = here
		}
		if next == "" {
			return done, nil
		}
		if links++; links > mostLinks {
			return "", &fs.PathError{Op: "follow", Path: at, Err: unix.ELOOP}
		}
		at = next
	}
}
