// Package order is what a runtime and its agent say to each other, and an agent and
// the processes that are about to become containers: JSON and open files over
// sockets of this machine.
//
// An order is a connection. The runtime makes a pair of sockets, hands the agent
// one end over the control connection, writes an [Order] and reads a [Reply].
// Where the order starts a process, the connection then stays for as long as that
// lives: the runtime writes [Signal]s, the agent an [Exit] in the end. An end that
// is closed takes the order back.
package order

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
)

// Order is one of the fields.
type Order struct {
	Sandbox *Sandbox `json:",omitempty"`
	Close   string   `json:",omitempty"` // a sandbox, by its ID
	Listen  *Address `json:",omitempty"`
	Dial    *Address `json:",omitempty"`
	Start   *Start   `json:",omitempty"`
	Exec    *Exec    `json:",omitempty"`
}

// Sandbox makes one.
type Sandbox struct {
	ID, Hostname    string
	Address         netip.Addr
	Hosts, Resolver []byte
	SharePids       bool
}

// Address is one of a network: that of pods, or a sandbox's own.
type Address struct {
	Sandbox          string `json:",omitempty"`
	Network, Address string
}

// Start starts a container, whose standard streams come with it unless it has a
// terminal. Without arguments, all is prepared and nothing started.
type Start struct {
	Sandbox  string
	Root     string
	ReadOnly bool
	Mounts   []Mount
	Identity
	Command
}

// Identity is who a process is.
type Identity struct {
	UID, GID uint32
	Groups   []uint32
	// Capabilities are those that root has, by bits.
	Capabilities uint64
}

// Mount is a process.Mount.
type Mount struct {
	Source, Sub, Target string
	ReadOnly            bool
}

// Command is a process.Command without its streams.
type Command struct {
	Args, Env []string
	Dir       string
	TTY       bool
}

// Exec starts a command in the container whose process has a number.
type Exec struct {
	Sandbox string
	Process int
	Command
}

// Stage is what the agent tells a process that is about to become a container's, or
// to enter that of the open file that comes with it.
type Stage struct {
	Enter bool
	// Scratch is a folder for what the container writes. Shared is the sandbox's.
	Scratch, Shared string
	// Single is whether there is but one user.
	Single bool
	Start
}

// Reply answers an order. An open socket or terminal comes with it where one was
// asked for.
type Reply struct {
	Error string `json:",omitempty"`
	// NotRun is whether the error is this machine's, for good; Code, if not 0, that
	// of a program that can't be started.
	NotRun bool `json:",omitempty"`
	Code   int  `json:",omitempty"`
	// Process is the number of the process that was started.
	Process int `json:",omitempty"`
}

// Signal is sent to a process.
type Signal struct{ Signal syscall.Signal }

// Exit is how a process ended.
type Exit struct {
	Code   int
	Signal syscall.Signal
}

// most is how long a message may be: an environment is part of it.
const most = 32 << 20

// Link is an end of a connection. It may be written to concurrently, and read from
// by one.
type Link struct {
	conn *net.UnixConn
	mu   sync.Mutex
}

// Open makes a link of an open socket, which it takes over.
func Open(f *os.File) (*Link, error) {
	c, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a link over %s", c.LocalAddr().Network()), c.Close())
	}
	return &Link{conn: u}, nil
}

// Close closes this end.
func (l *Link) Close() error { return l.conn.Close() }

// Send writes a message with open files, which stay the caller's.
func (l *Link) Send(v any, files ...*os.File) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > most {
		return fmt.Errorf("%d bytes are more than the %d of a message", len(body), most)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if _, _, err := l.conn.WriteMsgUnix(head, rights, nil); err != nil {
		return err
	}
	_, err = l.conn.Write(body)
	return err
}

// mostFiles is how many may come with a message.
const mostFiles = 4

// Receive reads a message and the files that come with it, which are the caller's.
// It is io.EOF where the other end was closed.
func (l *Link) Receive(v any) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				_ = f.Close() // nobody gets it
			}
			files = nil
		}
	}()
	var head [4]byte
	rights := make([]byte, syscall.CmsgSpace(4*mostFiles))
	n, r, _, _, err := l.conn.ReadMsgUnix(head[:], rights)
	if err != nil {
		return nil, ended(err)
	}
	if files, err = open(rights[:r]); err != nil {
		return files, err
	}
	if n == 0 {
		return files, io.EOF
	}
	if _, err := io.ReadFull(l.conn, head[n:]); err != nil {
		return files, ended(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > most {
		return files, fmt.Errorf("a message of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(l.conn, body); err != nil {
		return files, ended(err)
	}
	return files, json.Unmarshal(body, v)
}

// ended is io.EOF for whatever says that the other end is gone.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return io.EOF
	}
	return err
}

// open are the files of control messages.
func open(rights []byte) (files []*os.File, err error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	for _, m := range messages {
		var fds []int
		if fds, err = syscall.ParseUnixRights(&m); err != nil {
			break
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, err
}
