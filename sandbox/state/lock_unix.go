//go:build unix

package state

import (
	"errors"
	"os"
	"syscall"
)

// hold takes the lock of an open file for this process, or tells that another
// has it. The lock goes with the process, however that ends.
func hold(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
