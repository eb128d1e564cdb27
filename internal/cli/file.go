package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writable tells, before work begins, whether its result can be written to a
// file: the folder is there and takes new files, and the file is no folder.
func writable(name string) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is no file", name)
	}
	f, err := part(name)
	if err != nil {
		return unwritten(name, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writeFile writes a file whole or not at all.
func writeFile(name string, mode fs.FileMode, write func(io.Writer) error) error {
	f, err := part(name)
	if err != nil {
		return unwritten(name, err)
	}
	defer os.Remove(f.Name()) // it has another name by then, unless something failed
	err = errors.Join(write(f), f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return unwritten(name, err)
}

// part is a new file beside one, to be renamed.
func part(name string) (*os.File, error) { return os.CreateTemp(filepath.Dir(name), ".poolhouse-*") }

// unwritten names the file that was to be written, not its part.
func unwritten(name string, err error) error {
	if err == nil {
		return nil
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("write %s: %w", name, err)
}
