package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// occupant is who holds a lock file, as it says itself.
type occupant struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

func (o occupant) String() string {
	if o.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s since %s", o.PID, o.Host, o.Since.Local().Format("15:04:05"))
}

// occupiedError says who holds a lock file.
type occupiedError struct{ by occupant }

func (e *occupiedError) Error() string { return e.by.String() + " is at it" }

// occupy takes a lock file, so that one process at a time does what it stands for, and
// returns what gives it back. It doesn't wait: where another process has it, the error is
// an [occupiedError]. A lock goes with its process, however that ends; only the file may
// stay then.
func occupy(name string, now time.Time) (release func() error, err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	text, err := json.Marshal(occupant{os.Getpid(), host, now})
	if err != nil {
		return nil, unwritten(name, err)
	}
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o644)
		if err != nil {
			return nil, unwritten(name, err)
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			by := occupant{}
			if json.NewDecoder(io.LimitReader(f, 1<<10)).Decode(&by) != nil {
				by = occupant{} // it has not said so yet
			}
			return nil, errors.Join(&occupiedError{by}, f.Close())
		}
		mine := false
		if err == nil {
			mine, err = same(f, name)
		}
		if err == nil && mine {
			if err = f.Truncate(0); err == nil {
				_, err = f.WriteAt(text, 0)
			}
		}
		switch {
		case err != nil:
			return nil, errors.Join(unwritten(name, err), f.Close())
		case mine:
			return func() error { return errors.Join(os.Remove(name), f.Close()) }, nil
		}
		if err := f.Close(); err != nil {
			return nil, unwritten(name, err)
		}
	}
}

// same tells that an open file still has its name: whoever held it before removes it.
func same(f *os.File, name string) (bool, error) {
	is, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(is, named), err
}
