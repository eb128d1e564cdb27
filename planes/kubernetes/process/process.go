// Package process runs the processes of pods on this machine: each container in
// namespaces of its own, with the unpacked files of an image as its root, in a
// network of pods that nothing outside of it reaches or is reached from.
//
// One process, the agent (the program poolhouse-pods), holds all namespaces of a
// runtime and starts what runs in them. It is told over a socket, and is process 1
// of a pid namespace: when the runtime's process ends, however it does, so do the
// agent and everything that it started, and with them every mount and interface,
// none of which the machine's other processes ever saw.
//
// The network: a pod has an interface with its address, and routes everything to
// the network namespace of the agent, which knows the addresses of pods and takes
// all others as its own. So pods reach each other on any port and protocol, and
// what is not a pod's address, those of services and of the world, is answered by
// listeners of [Runtime.Listen], or refused at once.
//
// Invariants: a container sees no file but those of its image, its mounts, and
// the devices that every container has; it gets no capability that reaches out of
// its namespaces, and gains none later; nothing of it is left on the disk once its
// sandbox is closed, or another runtime was made in the same folder.
//
// Limits: Linux only. Limits of memory and CPU, seccomp profiles of others, user
// namespaces, sysctls and devices are not modelled. Without root, all processes have
// the one user that there is, which calls itself root in there whatever number is asked
// for, and those that ask for another have no capabilities; where Linux lets ordinary
// users make no user namespaces, nothing runs: see [Runtime.Can].
package process

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
)

// Options describe a runtime.
type Options struct {
	// Dir is a folder of the runtime's own, as a whole path. What a former runtime
	// left in it is removed.
	Dir string
	// Program is the path of poolhouse-pods.
	Program string
	// Log takes what the agent has to say. May be nil.
	Log io.Writer
}

// SandboxOptions describe what the containers of a pod share.
type SandboxOptions struct {
	// ID names the sandbox: a pod's UID. It is unique in a runtime, and fit to be
	// a file's name.
	ID string
	// Hostname is what the pod calls itself; /etc/hostname says so too.
	Hostname string
	// Address is the pod's own in the cluster's network, IPv4. Without one, the pod
	// has its loopback interface only.
	Address netip.Addr
	// Hosts and Resolver are the contents of /etc/hosts and /etc/resolv.conf. What
	// is nil is left as the image has it.
	Hosts, Resolver []byte
	// SharePids has all containers in one pid namespace.
	SharePids bool
}

// Container is one to start.
type Container struct {
	// Name is unique among the containers of the sandbox that run.
	Name string
	// Root is the folder with the unpacked files of the image. It is shared, and
	// never written to: what a container writes goes with it.
	Root string
	// ReadOnly keeps the container from writing to its root; its mounts have their
	// own say.
	ReadOnly bool
	// Mounts are what it sees besides, in this order.
	Mounts []Mount
	User   User
	// Add and Drop change the capabilities of root in the container, named without
	// CAP_; "ALL" can be dropped. To start with they are those of containerd but
	// for MKNOD and AUDIT_WRITE, which reach out of namespaces. Adding one that
	// does is a [NotRunError].
	Add, Drop []string
	Command
}

// Command is what runs in a container.
type Command struct {
	// Args are the program and its arguments. A program without a slash is looked
	// up in the PATH of Env, in the container.
	Args []string
	// Env is the whole environment, "NAME=value".
	Env []string
	// Dir is the working directory, "/" if empty. A container makes it if it isn't
	// there.
	Dir string
	// Stdin is read until it ends or the process does; without one the process
	// reads nothing. A *os.File is handed to the process itself.
	Stdin io.Reader
	// Stdout and Stderr take what is written, and are not written to any more once
	// [Process.Wait] returned; nil discards. A *os.File is handed to the process
	// itself. With TTY, everything goes to Stdout.
	Stdout, Stderr io.Writer
	// TTY has the process run on a terminal of its own.
	TTY bool
}

// Mount shows a file or a folder of this machine in a container.
type Mount struct {
	// Source is a whole path. Sub, if not empty, is a path below it, which no
	// symbolic link leads out of: the sources of subPath are written by pods.
	Source, Sub string
	// Target is a whole path in the container; what leads there is made if it
	// isn't there.
	Target   string
	ReadOnly bool
}

// User is who runs, by numbers: what names mean is for the image to say.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// Exit is how a process ended.
type Exit struct {
	// Code is what it returned; Signal is what ended it, if one did.
	Code   int
	Signal syscall.Signal
}

// Status is the code as shells and Kubernetes show it: 128 and the signal's
// number if one ended the process.
func (e Exit) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

// NotRunError says why something can't run on this machine, whoever asks: another
// architecture, a loader that its image lacks, privileges that aren't given. To
// try again is of no use.
type NotRunError struct{ Why string }

func (e *NotRunError) Error() string { return "process not run: " + e.Why }

// NotRun is why something can't run here, if err says so.
func NotRun(err error) (why string, ok bool) {
	var e *NotRunError
	if errors.As(err, &e) {
		return e.Why, true
	}
	return "", false
}

// StartError says why a container's or exec's program could not be started, though
// others could be: it isn't there, or may not be executed. Code is what shells and
// Kubernetes call that: 127 and 126.
type StartError struct {
	Code int
	Why  string
}

func (e *StartError) Error() string { return e.Why }

// All platforms have the same.
var _ interface {
	Can() error
	Sandbox(context.Context, SandboxOptions) (*Sandbox, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	Close() error
} = (*Runtime)(nil)
