package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// partOf is what the names of the files begin with that a bundle is written to until it
// is whole. Digits follow.
func partOf(name string) string { return "." + filepath.Base(name) + ".poolhouse-" }

var digits = regexp.MustCompile(`^[0-9]+$`)

// newPart makes such a file beside a bundle. It is locked as long as it is open, so that
// no other build takes it for what one that was killed has left. Where the disk knows no
// locks, none is taken for that.
func newPart(name string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(filepath.Dir(name), partOf(name)+"*")
		if err != nil {
			return nil, err
		}
		locked := lock(f)
		_, gone := os.Lstat(f.Name())
		if !errors.Is(locked, syscall.EWOULDBLOCK) && !errors.Is(gone, os.ErrNotExist) {
			return f, nil
		}
		// Another build was faster, and removes it.
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// clearParts removes what builds of a bundle left beside it that were killed.
func clearParts(name string) error {
	dir := filepath.Dir(name)
	// What can't be listed is told when it is written to, if that can't be either.
	there, _ := os.ReadDir(dir)
	for _, e := range there {
		rest, ours := strings.CutPrefix(e.Name(), partOf(name))
		if !ours || !digits.MatchString(rest) || !e.Type().IsRegular() {
			continue
		}
		if err := clearPart(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove what an earlier build of %s left: %w", name, err)
		}
	}
	return nil
}

// clearPart removes a file unless somebody has its lock, or it is somebody else's.
func clearPart(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	if lock(f) != nil {
		return f.Close()
	}
	return errors.Join(ignoreAbsent(os.Remove(path)), f.Close())
}

// lock takes the lock of a file without waiting. It goes with its process.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
