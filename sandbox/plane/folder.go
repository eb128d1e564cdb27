package plane

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// folder is where a server's data are.
type folder struct {
	path      string
	temporary bool
	owner     *os.File // locked while this process has a temporary folder
}

// prefix is what temporary folders are known by.
const prefix = "poolhouse-plane-"

// openFolder makes the folder of that path, or a temporary one for "". It
// removes temporary ones whose owner, and whose server, died at once.
func openFolder(name, path string) (*folder, error) {
	if path != "" {
		return &folder{path: path}, os.MkdirAll(path, 0o700)
	}
	if err := sweep(os.TempDir(), time.Now().Add(-time.Minute)); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp("", prefix+name+"-")
	if err != nil {
		return nil, err
	}
	f := &folder{path: path, temporary: true}
	if f.owner, err = os.Create(filepath.Join(path, "owner")); err == nil {
		_, err = hold(f.owner)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *folder) close() error {
	if !f.temporary {
		return nil
	}
	err := os.RemoveAll(f.path)
	if f.owner != nil {
		err = errors.Join(err, f.owner.Close())
	}
	return err
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
		owner, err := os.Open(filepath.Join(path, "owner"))
		if errors.Is(err, fs.ErrNotExist) {
			_ = os.RemoveAll(path)
			continue
		}
		if err != nil {
			continue
		}
		if free, err := hold(owner); free && err == nil {
			_ = os.RemoveAll(path)
		}
		_ = owner.Close()
	}
	return nil
}
