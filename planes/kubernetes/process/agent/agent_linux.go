// Package agent is what runs in the program poolhouse-pods: the agent, which holds
// the namespaces of a runtime's pods and starts what runs in them; and the stage,
// which a process goes through before it becomes a container's.
//
// Namespaces belong to threads. What has to be done in those of a pod is done on a
// thread that is given up afterwards, so that no other work gets onto it.
//
// Invariants: the agent ends with the connection to its runtime, and everything in
// its pid namespace with it. A stage runs a copy of the program in memory, so that
// nobody in a container can reach the machine's.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/order"
)

// The arguments of the program: the agent with the folder of the sandboxes, and
// the others, which the agent alone starts.
const (
	asAgent = "agent"
	asStage = "stage"
	asPause = "pause"
)

// connection is the number of the open socket to who started the program.
const connection = 3

// Main runs the program, and returns its exit code. A program that is not started
// by a runtime says so.
func Main(args []string) int {
	err := errors.New("poolhouse-pods is started by poolhouse-plane-kubernetes, and does nothing by itself")
	switch {
	case len(args) == 2 && args[0] == asAgent:
		err = run(args[1])
	case len(args) == 1 && args[0] == asStage:
		err = stage()
	case len(args) == 1 && args[0] == asPause:
		err = pause()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// agent is process 1 of a runtime's pid namespace.
type agent struct {
	dir string
	// program is a copy of the executable that can't be written to, and single
	// whether its user namespace has but one user.
	program *os.File
	single  bool
	net     *netlink.Handle
	nulls   *os.File // open for both
	children

	mu    sync.Mutex
	pods  map[string]*pod
	links int // interfaces that were named
}

// run is the agent. It ends with the connection.
func run(dir string) (err error) {
	control, err := order.Open(os.NewFile(connection, "control"))
	if err != nil {
		return fmt.Errorf("open the connection to the runtime: %w", err)
	}
	a := &agent{dir: dir, pods: map[string]*pod{}}
	if err := a.open(); err != nil {
		return control.Send(order.Reply{Error: err.Error(), NotRun: true})
	}
	go a.reap()
	if err := control.Send(order.Reply{}); err != nil {
		return err
	}
	for {
		var none struct{}
		files, err := control.Receive(&none)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from the runtime: %w", err)
		}
		for _, f := range files {
			go a.serve(f)
		}
	}
}

// open sets up the agent's own namespaces.
func (a *agent) open() (err error) {
	if os.Getpid() != 1 {
		return errors.New("the agent is not process 1 of a pid namespace")
	}
	a.program, err = sealed()
	if err != nil {
		return fmt.Errorf("copy the program into memory: %w", err)
	}
	if a.single, err = single(); err != nil {
		return err
	}
	if a.nulls, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return err
	}
	// What the machine unmounts goes from here too, and nothing goes back.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("part from the machine's mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// What a runtime that was killed left may belong to users of its containers.
	left, err := filepath.Glob(filepath.Join(escape(a.dir), "*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return fmt.Errorf("remove what another runtime left: %w", err)
	}
	return a.connect()
}

// sealed is a copy of the program's executable that nobody can change.
func sealed() (*os.File, error) {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("poolhouse-pods", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	to := os.NewFile(uintptr(fd), "poolhouse-pods")
	if _, err := io.Copy(to, from); err != nil {
		return nil, errors.Join(err, to.Close())
	}
	if _, err := unix.FcntlInt(to.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return nil, errors.Join(os.NewSyscallError("seal", err), to.Close())
	}
	return to, nil
}

// single is whether the user namespace has but one user.
func single() (bool, error) {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false, err
	}
	var inside, outside, count uint32
	if _, err := fmt.Sscan(string(text), &inside, &outside, &count); err != nil {
		return false, fmt.Errorf("read /proc/self/uid_map: %w", err)
	}
	return count == 1, nil
}

// serve carries out an order.
func (a *agent) serve(f *os.File) {
	link, err := order.Open(f)
	if err != nil {
		return // there is nobody to tell
	}
	defer link.Close()
	var o order.Order
	files, err := link.Receive(&o)
	defer func() {
		for _, f := range files {
			_ = f.Close() // what was started has its own
		}
	}()
	if err != nil {
		return
	}
	switch {
	case o.Sandbox != nil:
		made := a.sandbox(*o.Sandbox)
		if err = answer(link, made); err != nil && made == nil {
			err = a.close(o.Sandbox.ID) // nobody waits for it any more
		}
	case o.Close != "":
		err = answer(link, a.close(o.Close))
	case o.Listen != nil:
		err = a.socket(link, *o.Listen, listen)
	case o.Dial != nil:
		err = a.socket(link, *o.Dial, dial)
	case o.Start != nil:
		err = a.start(link, *o.Start, files)
	case o.Exec != nil:
		err = a.exec(link, *o.Exec, files)
	default:
		err = answer(link, errors.New("an order of nothing"))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, err) // who gave the order is gone
	}
}

// refusal is an error that says more than its text.
type refusal struct{ order.Reply }

func (r *refusal) Error() string { return r.Reply.Error }

func never(format string, args ...any) error {
	return &refusal{order.Reply{Error: fmt.Sprintf(format, args...), NotRun: true}}
}

// reply tells of an error, or that there is none.
func reply(err error) order.Reply {
	var r *refusal
	switch {
	case err == nil:
		return order.Reply{}
	case errors.As(err, &r):
		return r.Reply
	}
	return order.Reply{Error: err.Error()}
}

func answer(link *order.Link, err error) error { return link.Send(reply(err)) }

// taken ends the context once the other end of a link is closed.
func taken(link *order.Link) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for {
			var s order.Signal
			if _, err := link.Receive(&s); err != nil {
				return
			}
		}
	}()
	return ctx, cancel
}
