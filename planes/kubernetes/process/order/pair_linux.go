package order

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Pair is a connection: one end to use, the other to hand on.
func Pair() (near *Link, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	far = os.NewFile(uintptr(fds[1]), "far")
	near, err = Open(os.NewFile(uintptr(fds[0]), "near"))
	if err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}
