// Package archive reads folders and tar archives that others made, one file
// after the other. Nothing is unpacked and nothing is held in memory; what a file
// holds is for who asks for it.
//
// Archives are hostile. Refused are names that lead out, that are taken twice or
// differ in case only, or that hold control characters; links, devices and
// pipes; sparse files; archives that end early or go on after their end; and
// whatever has more files, bytes or headers than [Limits] allow, or unpacks to
// far more than it is. A refused file is passed over, so that all faults are
// found at once; reading ends where the rest can't be trusted.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/poolhouse/poolhouse/bundle/fault"
)

// Limits bound what is read. They hold for an archive and all that lies in it.
type Limits struct {
	// Members is how many files and folders there may be.
	Members int
	// Bytes is how many bytes there may be: those of a folder's files or of an archive,
	// unpacked if it is compressed, and those that compressed files in it unpack to. What
	// lies in an archive within is counted once.
	Bytes int64
	// Ratio is how many bytes may come out of one that goes into a
	// decompressor, once more than RatioFrom came out.
	Ratio, RatioFrom int64
	// Headers is how many bytes of headers may stand before one file.
	Headers int64
	// Name is how long a name may be, Depth how many folders deep, and Names how
	// many bytes all names may have.
	Name, Depth, Names int
	// Documents is how many bytes of documents are kept in memory, and Document
	// how many of one.
	Documents, Document int64
	// Items is how many images, layers and references there may be.
	Items int
}

// Default are the limits for bundles: 1 TiB in 50,000 files. The images of a
// deployment have some 20 GB.
func Default() Limits {
	return Limits{
		Members: 50_000, Bytes: 1 << 40,
		Ratio: 300, RatioFrom: 256 << 20,
		Headers: 4 << 20,
		Name:    512, Depth: 24, Names: 8 << 20,
		Documents: 32 << 20, Document: 4 << 20,
		Items: 100_000,
	}
}

// Budget is what is left of limits, and where faults go. An archive and those
// that lie in it share one. It is not for concurrent use.
type Budget struct {
	Limits
	*fault.List
	// Progress, if not nil, is told how many bytes were read from disk, each time
	// some were.
	Progress func(n int64)
	ctx      context.Context

	members, names   int
	items            int
	bytes, documents int64
}

// NewBudget returns a whole budget. Reading ends with the context.
func NewBudget(ctx context.Context, l Limits) *Budget {
	return &Budget{Limits: l, List: &fault.List{}, ctx: ctx}
}

// Member is a file of an archive or a folder.
type Member struct {
	// Name is the path from the top, with slashes, cleaned.
	Name string
	Size int64
	// Executable is whether its owner may run it.
	Executable bool
	// Link is the member that a link stands for, if [Options.Links] allows any.
	Link string
}

// Visit looks at a file. It may read as much of it as it likes, and returns an
// error to end the reading; an error of the reader it hands on as it is.
type Visit func(m Member, r io.Reader) error

// Options say what an archive may hold.
type Options struct {
	// Place names the archive in faults; a file of it stands behind.
	Place string
	// Links allows symbolic links to files of the same archive, as docker save
	// made them for layers that images share. They are followed by name only.
	Links bool
	// Raw, if not nil, is written every byte of an archive as it lies on disk.
	Raw io.Writer
}

// sourceError is a fault of what is read, which ends the reading. Where it arises
// it is taken down as a fault.
type sourceError struct {
	fault.Fault
	// taken is whether it was.
	taken bool
}

func (e *sourceError) Error() string { return e.Fault.String() }

// broken tells whether an error is one of what was read, for which there is a
// fault, and not one of who reads.
func broken(err error) bool {
	_, is := errors.AsType[*sourceError](err)
	return is
}

// Walk visits every file of a folder, by name, or of a tar archive, in its order.
// What is wrong with it goes to the budget's faults. An error is the visitor's,
// or the context's.
func Walk(path string, b *Budget, o Options, visit Visit) (Format, error) {
	info, err := os.Stat(path)
	if err != nil {
		b.unreadable(o.Place, err)
		return "", nil
	}
	if info.IsDir() {
		return Folder, b.settle(walkFolder(path, b, o, visit))
	}
	if !info.Mode().IsRegular() {
		b.Add(o.Place, "name a folder or an archive", "is neither a file nor a folder")
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		b.unreadable(o.Place, err)
		return "", nil
	}
	defer f.Close()
	if o.Raw == nil {
		return Stream(f, b, o, visit)
	}
	raw := io.TeeReader(f, o.Raw)
	format, err := Stream(raw, b, o, visit)
	if err != nil {
		return format, err
	}
	_, err = io.Copy(io.Discard, &source{r: raw, b: b, place: o.Place})
	return format, b.settle(err)
}

// Stream is [Walk] on the bytes of an archive, compressed or not.
func Stream(r io.Reader, b *Budget, o Options, visit Visit) (Format, error) {
	src, c, err := Decompress(&source{r: r, b: b, place: o.Place}, b, o.Place)
	if err != nil {
		return "", b.settle(err)
	}
	defer src.Close()
	head, err := src.Peek(blockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", b.settle(err)
	}
	if !IsTar(head) {
		b.Add(o.Place, "name a folder, or an archive made by: poolhouse bundle build", "is no tar archive")
		return "", nil
	}
	var in io.Reader = src
	if c == None { // else what comes out is spent
		in = &counted{r: src, b: b, place: o.Place}
	}
	return formats[c], b.settle(Tar(in, b, o, visit))
}

// settle takes an error of what is read down as a fault and returns others.
func (b *Budget) settle(err error) error {
	if e, is := errors.AsType[*sourceError](err); is {
		if !e.taken {
			e.taken = true
			b.Add(e.Place, e.Fix, "%s", e.Reason)
		}
		return nil
	}
	return err
}

// Settle is for a visitor that reads an archive within an archive: a fault that
// is the inner one's is taken down, and the outer goes on after it.
func (b *Budget) Settle(err error) error { return b.settle(err) }

// stop is an error for a fault after which the rest can't be read.
func stop(place, fix, reason string, args ...any) error {
	return &sourceError{Fault: fault.Fault{Place: place, Reason: fmt.Sprintf(reason, args...), Fix: fix}}
}

func (b *Budget) unreadable(place string, err error) {
	reason := err
	if p, is := errors.AsType[*os.PathError](err); is {
		reason = p.Err
	}
	b.Add(place, "check the path and its permissions", "can't be read: %v", reason)
}

// source reads what an archive is read from: its errors are the archive's, unless
// the context has ended.
type source struct {
	r     io.Reader
	b     *Budget
	place string
}

func (s *source) Read(p []byte) (int, error) {
	if err := context.Cause(s.b.ctx); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if s.b.Progress != nil && n > 0 {
		s.b.Progress(int64(n))
	}
	if err != nil && !errors.Is(err, io.EOF) && !broken(err) && context.Cause(s.b.ctx) == nil {
		err = stop(s.place, "check the disk or network it lies on, and repeat the command", "can't be read: %v", err)
	}
	return n, err
}

// Keep reads a document of a known size into memory, if there is room for it; else
// it returns nil and leaves the reader alone. [Budget.Forget] makes room.
func (b *Budget) Keep(size int64, r io.Reader) ([]byte, error) {
	if size > b.Document || size > b.Documents-b.documents {
		return nil, nil
	}
	text, err := io.ReadAll(io.LimitReader(r, size))
	b.documents += int64(len(text))
	return text, err
}

// Forget is for a document that is no longer needed.
func (b *Budget) Forget(text []byte) { b.documents -= int64(len(text)) }

// spend takes bytes off the budget, where they come from: a file, or a decompressor.
func (b *Budget) spend(place string, n int) error {
	b.bytes += int64(n)
	if b.bytes > b.Bytes {
		return stop(place, "look at what made it before you use it", "unpacks to more than %d bytes in all", b.Bytes)
	}
	return nil
}

// Items takes things that are kept, such as an image's layers, off the budget. It
// is false, with a fault taken down, if there are too many.
func (b *Budget) Items(place string, n int) bool {
	if b.items += n; b.items > b.Limits.Items {
		b.Add(place, "look at what made it before you use it", "is beyond %d images, layers and references in all", b.Limits.Items)
		return false
	}
	return true
}

// member takes a file or folder off the budget.
func (b *Budget) member(place string) error {
	b.members++
	if b.members > b.Members {
		return stop(place, "look at what made it before you use it", "holds more than %d files and folders", b.Members)
	}
	return nil
}
