package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// limits are how much an image may unpack to.
type limits struct {
	bytes   int64
	entries int
}

// most is far more than images for a sandbox hold.
var most = limits{bytes: 32 << 30, entries: 2_000_000}

// errTooMuch is what archives get that never end.
var errTooMuch = errors.New("the image is larger than any that is unpacked here")

// The names that say what a layer takes away from those below.
// https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	reserved = ".wh..wh."
)

// unpacker unpacks an image's layers into a folder, one after the other.
type unpacker struct {
	root *os.Root
	left limits
	// owner is whether files can be given to their owners.
	owner bool
	// written are the paths that the present layer has written.
	written map[string]bool
	// folders are those whose mode is set when the layer is done, so that it can be
	// written into them.
	folders map[string]fs.FileMode
}

func newUnpacker(root *os.Root) *unpacker {
	return &unpacker{root: root, left: most, owner: os.Geteuid() == 0}
}

// layer unpacks one on top of what is there. An error leaves the folder of no use.
func (u *unpacker) layer(r io.Reader) error {
	u.written, u.folders = map[string]bool{}, map[string]fs.FileMode{}
	// Headers count too: those of nothing could go on for ever.
	archive := tar.NewReader(io.LimitReader(r, most.bytes))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the layer: %w", err)
		}
		if u.left.entries--; u.left.entries < 0 {
			return errTooMuch
		}
		if err := u.entry(h, archive); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
	for name, mode := range u.folders {
		if err := u.root.Chmod(name, mode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpack %q: %w", name, err)
		}
	}
	return nil
}

// local is the name of an entry below the root, "." for that itself. Names that
// lead out of it are refused: no builder of images writes any.
func local(name string) (string, error) {
	name = strings.TrimLeft(name, "/")
	if name == "" {
		return ".", nil
	}
	if strings.Contains(name, "\x00") || !filepath.IsLocal(name) {
		return "", errors.New("it leads out of the image")
	}
	return path.Clean(name), nil
}

// entry unpacks one.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := local(h.Name)
	if err != nil {
		return err
	}
	dir, base := path.Split(name)
	if dir, err = follow(u.root, path.Clean(dir)); err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteout) {
		return u.take(dir, base)
	}
	if name != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	at := path.Join(dir, base)
	mode := h.FileInfo().Mode()
	// Bits that run programs as another user have no effect in containers, and shall
	// have none here.
	mode = mode.Perm() | mode&fs.ModeSticky
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.folder(at, mode)
	case tar.TypeReg:
		if err = u.clear(at); err == nil {
			err = u.file(at, content)
		}
	case tar.TypeSymlink:
		if err = u.clear(at); err == nil {
			err = u.root.Symlink(h.Linkname, at)
		}
	case tar.TypeLink:
		return u.hardLink(h.Linkname, at)
	default:
		return nil // devices and the like
	}
	if err != nil {
		return err
	}
	u.written[at] = true
	if u.owner {
		if h.Uid < 0 || h.Gid < 0 {
			return errors.New("it belongs to a negative number")
		}
		if err := u.root.Lchown(at, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeReg {
		// Changing the owner clears bits.
		if err := u.root.Chmod(at, mode); err != nil {
			return err
		}
		return u.root.Chtimes(at, h.ModTime, h.ModTime)
	}
	return nil
}

// folder makes one, or keeps the one that is there.
func (u *unpacker) folder(at string, mode fs.FileMode) error {
	if !u.owner {
		mode |= 0o700 // so that it can be removed again
	}
	i, err := u.root.Lstat(at)
	if err != nil || !i.IsDir() {
		if err := u.clear(at); err != nil {
			return err
		}
		if err := u.root.Mkdir(at, 0o755); err != nil {
			return err
		}
	}
	u.folders[at] = mode
	return nil
}

// clear makes room for an entry.
func (u *unpacker) clear(at string) error {
	if at == "." {
		return errors.New("the image's root is a folder")
	}
	delete(u.folders, at)
	return u.root.RemoveAll(at)
}

// file writes one.
func (u *unpacker) file(at string, content io.Reader) error {
	f, err := u.root.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(content, u.left.bytes+1))
	if u.left.bytes -= n; u.left.bytes < 0 && err == nil {
		err = errTooMuch
	}
	return errors.Join(err, f.Close())
}

// hardLink makes another name of a file.
func (u *unpacker) hardLink(to, at string) error {
	name, err := local(to)
	if err != nil {
		return fmt.Errorf("link to %q: %w", to, err)
	}
	dir, base := path.Split(name)
	if dir, err = follow(u.root, path.Clean(dir)); err != nil {
		return err
	}
	old := path.Join(dir, base)
	if old == at {
		return nil
	}
	if err := u.clear(at); err != nil {
		return err
	}
	if err := u.root.Link(old, at); err != nil {
		return err
	}
	u.written[at] = true
	return nil
}

// take takes away what lower layers have: the file that a name stands for, or all
// that a folder has of them.
func (u *unpacker) take(dir, base string) error {
	switch name := strings.TrimPrefix(base, whiteout); {
	case base == opaque:
		return u.lower(dir)
	case strings.HasPrefix(base, reserved):
		return nil // of a file system that nobody has any more
	case name == "" || name == "." || name == "..":
		return errors.New("it takes nothing away that has a name")
	default:
		return u.remove(path.Join(dir, name))
	}
}

// remove removes what the present layer hasn't written.
func (u *unpacker) remove(at string) error {
	i, err := u.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	if !i.IsDir() {
		if u.written[at] {
			return nil
		}
		return u.root.Remove(at)
	}
	if err := u.lower(at); err != nil || u.written[at] {
		return err
	}
	// Something of the layer may be in it.
	if err := u.root.Remove(at); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// lower removes what is in a folder that the present layer hasn't written.
func (u *unpacker) lower(dir string) error {
	f, err := u.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := u.remove(path.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// mostLinks is how many links a path may lead over, Linux's own limit.
const mostLinks = 40

// follow is where a path leads to when the image is the root of all: links that
// begin with a slash begin there, and none leads higher. What isn't there is named
// as it is.
func follow(root *os.Root, name string) (string, error) {
	at, rest := ".", name
	for links := 0; rest != ""; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		if first == "" || first == "." {
			continue
		}
		if first == ".." {
			at = path.Dir(at) // that of "." is "."
			continue
		}
		here := path.Join(at, first)
		i, err := root.Lstat(here)
		if errors.Is(err, fs.ErrNotExist) {
			at = here
			continue
		}
		if err != nil {
			return "", err
		}
		if i.Mode()&fs.ModeSymlink == 0 {
			at = here
			continue
		}
		if links++; links > mostLinks {
			return "", &fs.PathError{Op: "follow", Path: name, Err: syscall.ELOOP}
		}
		to, err := root.Readlink(here)
		if err != nil {
			return "", err
		}
		if path.IsAbs(to) {
			at = "."
		}
		rest = to + "/" + rest
	}
	return at, nil
}
