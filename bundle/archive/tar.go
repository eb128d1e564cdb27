package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/fault"
)

const blockSize = 512

// trailing is how many zero bytes may follow the end of an archive: programs fill
// the last record, of 10 KiB with GNU tar unless told otherwise.
const trailing = 1 << 20

// IsTar tells by its first block whether something is a tar archive, in one of
// the formats with a magic number: POSIX and GNU.
func IsTar(head []byte) bool {
	return len(head) >= blockSize && bytes.HasPrefix(head[257:], []byte("ustar"))
}

// raw reads an archive's bytes. While headers are read there is a limit.
type raw struct {
	r       io.Reader
	b       *Budget
	place   string
	headers bool
	read    int64 // since the last file
}

func (r *raw) Read(p []byte) (int, error) {
	if err := context.Cause(r.b.ctx); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if r.headers {
		if r.read += int64(n); r.read > r.b.Headers {
			return n, stop(r.place, "look at what made it before you use it", "has more than %d bytes of headers before one file", r.b.Headers)
		}
	}
	return n, err
}

// Tar visits every file of a tar archive, in its order. Its bytes are off the budget
// already, as what was read or unpacked. An error is for [Budget.Settle].
func Tar(r io.Reader, b *Budget, o Options, visit Visit) error {
	in := &raw{r: r, b: b, place: o.Place}
	t := tar.NewReader(in)
	used := newNames(b, o.Place)
	for {
		in.headers, in.read = true, 0
		h, err := t.Next()
		in.headers = false
		if errors.Is(err, io.EOF) {
			return end(in, o.Place)
		}
		if err != nil {
			return damaged(err, o.Place)
		}
		if err := b.member(o.Place); err != nil {
			return err
		}
		m, ok, err := accept(h, used, b, o)
		if err != nil {
			return err
		}
		content := &content{r: t, archive: o.Place, place: fault.Inside(o.Place, clip(h.Name))}
		if ok {
			if err := visit(m, content); err != nil {
				return err
			}
		}
		// The rest is read here, so that the reader counts as headers nothing else.
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
	}
}

// accept says which file a header stands for. It is not ok if there is none to
// visit: folders, and what is refused.
func accept(h *tar.Header, used *names, b *Budget, o Options) (m Member, ok bool, err error) {
	place := fault.Inside(o.Place, fault.Quoted(h.Name))
	if h.Typeflag == tar.TypeXGlobalHeader {
		for key := range h.PAXRecords {
			if key != "comment" { // git archive notes a commit there
				b.Add(o.Place, "make the archive again without it", "has a global header that sets %s for all files", fault.Quoted(key))
			}
		}
		return m, false, nil
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			b.Add(place, "make the archive again without sparse files", "is a sparse file, whose size has nothing to do with its bytes")
			return m, false, nil
		}
	}
	folder := false
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir:
		folder = true
	case tar.TypeSymlink:
		if o.Links {
			break
		}
		b.Add(place, "put the file itself in its place", "is a symbolic link, to %s", fault.Quoted(h.Linkname))
		return m, false, nil
	case tar.TypeLink:
		b.Add(place, "put the file itself in its place", "is a hard link, to %s", fault.Quoted(h.Linkname))
		return m, false, nil
	case tar.TypeChar, tar.TypeBlock:
		b.Add(place, "leave it out", "is a device file")
		return m, false, nil
	case tar.TypeFifo:
		b.Add(place, "leave it out", "is a named pipe")
		return m, false, nil
	case tar.TypeGNUSparse:
		b.Add(place, "make the archive again without sparse files", "is a sparse file, whose size has nothing to do with its bytes")
		return m, false, nil
	default:
		b.Add(place, "leave it out", "is of the unknown type %s", fault.Quoted(string(rune(h.Typeflag))))
		return m, false, nil
	}
	name, ok, err := used.take(h.Name, folder)
	if err != nil || !ok || folder {
		return m, false, err
	}
	m = Member{Name: name, Size: h.Size, Executable: h.Mode&0o100 != 0}
	if h.Typeflag == tar.TypeSymlink {
		m.Link = path.Join(path.Dir(name), h.Linkname)
		if path.IsAbs(h.Linkname) || m.Link == ".." || strings.HasPrefix(m.Link, "../") {
			b.Add(place, "make the archive again", "is a link that leads out of the archive, to %s", fault.Quoted(h.Linkname))
			return m, false, nil
		}
	}
	return m, true, nil
}

// end checks what follows the last file: the two blocks of zeros that end an
// archive, without which it was cut, and nothing but zeros after them.
// https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
func end(in *raw, place string) error {
	if in.read < 2*blockSize {
		return cut(place)
	}
	buf := make([]byte, 32<<10)
	for total := 0; ; {
		n, err := in.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return stop(place, "make the archive again; what follows its end is not looked at by everybody", "goes on after its end")
		}
		if total += n; total > trailing {
			return stop(place, "make the archive again", "has more than %d bytes of zeros after its end", trailing)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return damaged(err, place)
		}
	}
}

func cut(place string) error {
	return stop(place, "fetch or make the archive again", "ends early: the archive was cut")
}

// damaged is an error of the tar reader as a fault; others it returns.
func damaged(err error, place string) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return cut(place)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return stop(place, "fetch or make the archive again", "has a header that is damaged")
	}
	return err
}

// content is what one file holds.
type content struct {
	r              io.Reader
	archive, place string
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damaged(err, c.place)
	}
	// What unpacks the archive knows of no files.
	if e, is := errors.AsType[*sourceError](err); is && e.Place == c.archive {
		e.Place = c.place
	}
	return n, err
}

// clip is a name that fits a place.
func clip(name string) string {
	if q := fault.Quoted(name); q != `"`+name+`"` {
		return q
	}
	return name
}
