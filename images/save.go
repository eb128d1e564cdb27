package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/transfer"
)

// part is what a file's name ends with until it is whole.
const part = ".part"

// tidy removes from a folder what an earlier run pulled and this one does not want. A
// folder that holds anything but files of a form, in folders of its own, is refused and
// left as it is.
func tidy(root *os.Root, folders []string, form *regexp.Regexp, wanted func(name string) bool) error {
	var (
		faults fault.List
		old    []string
	)
	err := fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (name == "." || slices.Contains(folders, name)):
		case !e.Type().IsRegular() || !form.MatchString(strings.TrimSuffix(name, part)):
			faults.Add(fault.Quoted(filepath.Join(root.Name(), name)), "move it away, or name another bundle: the folder is for what is pulled, and goes when the bundle is made", "is nothing that was pulled")
			if e.IsDir() {
				return fs.SkipDir
			}
		case !wanted(name):
			old = append(old, name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at %s, where it is pulled to: %w", root.Name(), err)
	}
	if faults.Len() > 0 {
		return faults.Faults()
	}
	for _, name := range old {
		if err := root.Remove(name); err != nil {
			return fmt.Errorf("remove what was pulled: %w", err)
		}
	}
	return nil
}

// goal is what a file has to be.
type goal struct {
	name, digest string
	// size is -1 if it isn't known, and then most is the largest that it may be.
	size, most int64
}

func digestOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// bound is how many bytes the file may have.
func (g goal) bound() int64 {
	if g.size >= 0 {
		return g.size
	}
	return g.most
}

// there tells whether a file is there whole.
func (g goal) there(ctx context.Context, root *os.Root) (bool, error) {
	f, err := root.Open(g.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	wrong, err := g.compare(transfer.Reader(ctx, f, nil, nil), io.Discard)
	return err == nil && wrong == nil, errors.Join(err, f.Close())
}

// compare copies a file, and says how it differs from what it has to be.
func (g goal) compare(from io.Reader, to io.Writer) (*wrongError, error) {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), io.LimitReader(from, g.bound()+1))
	if err != nil {
		return nil, err
	}
	const fix = "compare the reference with what its publisher says"
	switch got := digestOf(sum.Sum(nil)); {
	case n > g.bound():
		return &wrongError{fmt.Sprintf("has more than %d bytes", g.bound()), fix}, nil
	case n < g.size:
		return &wrongError{fmt.Sprintf("has %d bytes instead of %d", n, g.size), fix}, nil
	case got != g.digest:
		return &wrongError{fmt.Sprintf("has the digest %s instead of %s", got, g.digest), fix}, nil
	}
	return nil, nil
}

// save writes a file that gets its name once it is whole. It is compared when it is
// looked for again, so nothing waits here until it is on the disk. What isn't what it
// has to be is a [wrongError].
func (g goal) save(root *os.Root, from io.Reader) error {
	f, err := root.OpenFile(g.name+part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write to %s: %w", root.Name(), err)
	}
	wrong, err := g.compare(from, f)
	if wrong != nil {
		err = wrong
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, root.Remove(g.name+part))
	}
	return root.Rename(g.name+part, g.name)
}

// wrongError is that what was found isn't what was asked for.
type wrongError struct{ reason, fix string }

func (e *wrongError) Error() string { return e.reason }
