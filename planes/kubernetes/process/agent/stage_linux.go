package agent

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// stage makes of this process what the agent says: a container's, by execve. It
// tells the agent why, if it can't.
func stage() error {
	runtime.LockOSThread()
	link, err := order.Open(os.NewFile(connection, "agent"))
	if err != nil {
		return err
	}
	var s order.Stage
	files, err := link.Receive(&s)
	if err != nil {
		return err
	}
	err = forgetKeys()
	switch {
	case err != nil:
	case s.Enter:
		err = enterContainer(files)
	default:
		err = makeContainer(s)
	}
	if err == nil && len(s.Args) > 0 {
		err = become(link, s)
	}
	return link.Send(reply(err))
}

// forgetKeys gives the thread a session keyring of its own, so that it has none of the
// keys of who started the sandbox. Where a process may not ask for keys at all, it gets at
// none either.
func forgetKeys() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) // no name, an empty one is refused
	if err != nil && err != unix.ENOSYS && err != unix.EPERM {
		return os.NewSyscallError("keyctl", err)
	}
	return nil
}

// enterContainer puts the process into the container of the open mount namespace.
func enterContainer(files []*os.File) error {
	if len(files) != 1 {
		return fmt.Errorf("%d files come with the order to enter a container", len(files))
	}
	// A container may not look at what is not in it yet.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	// Other threads see other files for a moment, until they end.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return enter(files[0], unix.CLONE_NEWNS)
}

// become executes the command, with the user's privileges. It returns if it can't.
func become(link *order.Link, s order.Stage) error {
	if s.TTY {
		if err := terminal(link, s.UID, s.Single); err != nil {
			return fmt.Errorf("open a terminal: %w", err)
		}
	}
	dir := s.Dir
	if dir == "" {
		dir = "/"
	}
	unix.Umask(0o022)
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("change to the working directory: %w", err)
	}
	program, err := lookUp(s.Args[0], s.Env)
	if err != nil {
		return err
	}
	if err := privileges(s); err != nil {
		return err
	}
	err = syscall.Exec(program, s.Args, s.Env)
	return diagnose(program, err)
}

// terminal makes the standard streams a new terminal, whose other end the agent
// gets.
func terminal(link *order.Link, uid uint32, single bool) error {
	main, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(int(main.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return os.NewSyscallError("unlock", err)
	}
	n, err := unix.IoctlGetInt(int(main.Fd()), unix.TIOCGPTN)
	if err != nil {
		return os.NewSyscallError("ptsname", err)
	}
	own, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if !single {
		if err := own.Chown(int(uid), -1); err != nil {
			return err
		}
	}
	if err := unix.IoctlSetInt(int(own.Fd()), unix.TIOCSCTTY, 0); err != nil {
		return os.NewSyscallError("take the terminal", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(int(own.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup", err)
		}
	}
	return errors.Join(link.Send(order.Reply{}, main), main.Close(), own.Close())
}

// defaultPath is where programs are looked for if the environment doesn't say.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookUp finds a program as shells do.
func lookUp(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	dirs := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			dirs = v
		}
	}
	missing := &refusal{order.Reply{Error: fmt.Sprintf("exec: %q: executable file not found in $PATH", name), Code: notFound}}
	if name == "" {
		return "", missing
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		if dir == "" {
			dir = "."
		}
		at := path.Join(dir, name)
		if !strings.HasPrefix(at, "/") {
			at = "./" + at
		}
		if i, err := os.Stat(at); err == nil && i.Mode().IsRegular() && i.Mode()&0o111 != 0 {
			return at, nil
		}
	}
	return "", missing
}

// The codes of programs that can't be executed, as shells have them.
const (
	notExecutable = 126
	notFound      = 127
)

// diagnose says why a program could not be executed.
func diagnose(program string, err error) error {
	r := order.Reply{Error: fmt.Sprintf("exec %s: %v", program, err), Code: notExecutable}
	if errors.Is(err, fs.ErrNotExist) {
		r.Code = notFound
	}
	if r.Code != notFound && !errors.Is(err, unix.ENOEXEC) {
		return &refusal{r}
	}
	f, open := elf.Open(program)
	if open != nil {
		return &refusal{r} // it isn't there, or a script whose interpreter isn't
	}
	if own, known := machines[runtime.GOARCH]; known && f.Machine != own {
		return never("%s is built for another architecture than this machine's %s: %s", program, runtime.GOARCH, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > unix.PathMax {
			continue
		}
		text := make([]byte, p.Filesz)
		if _, err := p.ReadAt(text, 0); err == nil && r.Code == notFound {
			return never("%s is linked dynamically, and its loader %s is not in the image", program, strings.TrimRight(string(text), "\x00"))
		}
	}
	return &refusal{r}
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// privileges makes the thread that of the user, with no more than the capabilities,
// for ever. Other threads end with execve.
func privileges(s order.Stage) error {
	for i := range allCapabilities {
		if s.Capabilities&(1<<i) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(i), 0, 0, 0); err != nil && err != unix.EINVAL {
			return os.NewSyscallError("drop capabilities", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return os.NewSyscallError("clear capabilities", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("give up new privileges", err)
	}
	if !s.Single {
		groups := append([]uint32{}, s.Groups...)
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); e != 0 {
			return os.NewSyscallError("setgroups", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(s.GID), uintptr(s.GID), uintptr(s.GID)); e != 0 {
			return os.NewSyscallError("setresgid", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(s.UID), uintptr(s.UID), uintptr(s.UID)); e != 0 {
			return os.NewSyscallError("setresuid", e)
		}
	}
	// Without new privileges, execve gives root what it has and no more; others have
	// nothing.
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var own [2]unix.CapUserData
	if s.UID == 0 {
		for i := range own {
			own[i].Effective = uint32(s.Capabilities >> (32 * i))
			own[i].Permitted = own[i].Effective
		}
	}
	if err := unix.Capset(&head, &own[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	return nil
}
