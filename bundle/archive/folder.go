package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/poolhouse/poolhouse/bundle/fault"
)

// Files visits every file of a folder, by name, or one file, whose name is then
// empty. What is wrong goes to the budget's faults.
func Files(path string, b *Budget, o Options, visit Visit) error {
	info, err := os.Stat(path)
	if err != nil {
		b.unreadable(o.Place, err)
		return nil
	}
	if info.IsDir() {
		return b.settle(walkFolder(path, b, o, visit))
	}
	// Who asks for a file by a link means what it leads to.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		b.unreadable(o.Place, err)
		return nil
	}
	dir, name := filepath.Split(path)
	root, err := os.OpenRoot(filepath.Clean(dir))
	if err != nil {
		b.unreadable(o.Place, err)
		return nil
	}
	defer root.Close()
	return visitFile(root, name, o.Place, b, func(m Member, r io.Reader) error {
		m.Name = ""
		return visit(m, r)
	})
}

// walkFolder visits the files of a folder, by name. The folder is a root that
// nothing leads out of, whatever is exchanged while it is read.
func walkFolder(dir string, b *Budget, o Options, visit Visit) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.unreadable(o.Place, err)
		return nil
	}
	defer root.Close()
	used := newNames(b, o.Place)
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		place := fault.Inside(o.Place, name)
		if err != nil {
			b.unreadable(place, err)
			return nil
		}
		if name == "." {
			return nil
		}
		if err := b.member(o.Place); err != nil {
			return err
		}
		clean, ok, err := used.take(name, e.IsDir())
		switch {
		case err != nil:
			return err
		case !ok && e.IsDir():
			return fs.SkipDir
		case !ok || e.IsDir():
			return nil
		}
		switch kind := e.Type(); {
		case kind&fs.ModeSymlink != 0:
			return symlink(root, clean, place, b, o, visit)
		case kind&fs.ModeNamedPipe != 0:
			b.Add(place, "leave it out", "is a named pipe")
			return nil
		case kind&fs.ModeDevice != 0:
			b.Add(place, "leave it out", "is a device file")
			return nil
		case !kind.IsRegular():
			b.Add(place, "leave it out", "is no file")
			return nil
		}
		return visitFile(root, clean, place, b, visit)
	})
}

func symlink(root *os.Root, name, place string, b *Budget, o Options, visit Visit) error {
	target, err := root.Readlink(name)
	if err != nil {
		b.unreadable(place, err)
		return nil
	}
	to := path.Join(path.Dir(name), target)
	if !o.Links || path.IsAbs(target) || !fs.ValidPath(to) {
		b.Add(place, "put the file itself in its place", "is a symbolic link, to %s", fault.Quoted(target))
		return nil
	}
	return visit(Member{Name: name, Link: to}, eof{})
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// visitFile opens without waiting, in case the file has become a pipe.
func visitFile(root *os.Root, name, place string, b *Budget, visit Visit) error {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		b.unreadable(place, err)
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		b.unreadable(place, err)
		return nil
	}
	if !info.Mode().IsRegular() {
		b.Add(place, "repeat the command when nobody changes the folder", "is no file any more")
		return nil
	}
	c := &counted{r: &source{r: f, b: b, place: place}, b: b, place: place}
	if err := visit(Member{Name: name, Size: info.Size(), Executable: info.Mode()&0o100 != 0}, c); err != nil {
		return b.settle(err)
	}
	if c.read > info.Size() || c.ended && c.read < info.Size() {
		b.Add(place, "repeat the command when nobody changes the folder", "changed while it was read")
	}
	return nil
}

// counted spends what is read of a file.
type counted struct {
	r     io.Reader
	b     *Budget
	place string
	read  int64
	ended bool
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	c.ended = c.ended || errors.Is(err, io.EOF)
	if spent := c.b.spend(c.place, n); spent != nil {
		return n, spent
	}
	return n, err
}
