package plane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// folder is where a server's data are. A temporary one is made by the server, once
// it can't end any more without removing it: so none is left by a parent that is
// killed in between.
type folder struct {
	path      string
	temporary bool
	owned     *os.File // locked while this process has a temporary folder
}

// prefix is what temporary folders are known by, and grace is how old those are
// that nobody may be about to own.
const (
	prefix = "poolhouse-plane-"
	grace  = 10 * time.Minute
)

// openFolder makes the folder of that path, or names a temporary one for "". It
// removes temporary ones whose owner, and whose server, died at once.
func openFolder(name, path string) (*folder, error) {
	if path != "" {
		return &folder{path: path}, os.MkdirAll(path, 0o700)
	}
	if err := sweep(os.TempDir(), time.Now().Add(-grace)); err != nil {
		return nil, err
	}
	path = filepath.Join(os.TempDir(), prefix+name+"-"+strconv.FormatUint(rand.Uint64(), 36))
	return &folder{path: path, temporary: true}, nil
}

// own keeps a temporary folder, which is there now, from other processes' sweeps. One
// that a server has made again is owned again.
func (f *folder) own() error {
	if !f.temporary {
		return nil
	}
	now, err := os.Open(f.path)
	if err != nil {
		return err
	}
	if f.owned != nil && same(f.owned, now) {
		return now.Close()
	}
	free, err := hold(now)
	if err == nil && !free {
		err = fmt.Errorf("%s is being removed by another process", f.path)
	}
	if err != nil {
		return errors.Join(err, now.Close())
	}
	f.disown()
	f.owned = now
	return nil
}

func same(a, b *os.File) bool {
	one, err := a.Stat()
	other, failed := b.Stat()
	return err == nil && failed == nil && os.SameFile(one, other)
}

func (f *folder) disown() {
	if f.owned != nil {
		_ = f.owned.Close() // nothing was written
		f.owned = nil
	}
}

func (f *folder) close() error {
	if !f.temporary {
		return nil
	}
	defer f.disown()
	return os.RemoveAll(f.path)
}

// sweep removes the temporary folders in one that nobody owns and that were made
// before a time; those of other users stay.
func sweep(dir string, before time.Time) error {
	found, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil || info.ModTime().After(before) {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if free, err := hold(f); free && err == nil {
			_ = os.RemoveAll(path)
		}
		_ = f.Close()
	}
	return nil
}
