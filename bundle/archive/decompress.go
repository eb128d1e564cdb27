package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a stream is compressed.
type Compression string

// The compressions that are read.
const (
	None Compression = ""
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Format is what a bundle lies in.
type Format string

// The formats of bundles.
const (
	Folder  Format = "folder"
	Plain   Format = "tar"
	TarGzip Format = "tar.gz"
	TarZstd Format = "tar.zst"
)

var formats = map[Compression]Format{None: Plain, Gzip: TarGzip, Zstd: TarZstd}

// window is the largest window of zstd for which memory is given. RFC 8878 asks
// for 8 MiB at least, which is what zstd -19 takes.
// https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1.2
const window = 32 << 20

// Of tells by the first bytes how something is compressed.
func Of(head []byte) Compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	}
	return None
}

// Unpacked is what comes out of a decompressor.
type Unpacked struct {
	*bufio.Reader
	close func()
}

// Close gives memory back. It does not close what is read from.
func (s *Unpacked) Close() {
	if s.close != nil {
		s.close()
	}
}

// Decompress finds out how a stream is compressed and returns what comes out.
// What is not compressed comes out as it is.
func Decompress(r io.Reader, b *Budget, place string) (*Unpacked, Compression, error) {
	in := &meter{r: r}
	br := bufio.NewReaderSize(in, 64<<10)
	head, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, None, err
	}
	c := Of(head)
	out := &inflated{b: b, in: in, place: place, what: c}
	var release func()
	switch c {
	case None:
		return &Unpacked{Reader: br}, None, nil
	case Gzip:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, c, out.failed(err)
		}
		out.r = z
	case Zstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, c, out.failed(err)
		}
		out.r, release = z, z.Close
	}
	return &Unpacked{bufio.NewReaderSize(out, 64<<10), release}, c, nil
}

// meter counts what goes into a decompressor, and remembers its error.
type meter struct {
	r   io.Reader
	n   int64
	err error
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}

// inflated is what comes out of a decompressor, bounded.
type inflated struct {
	r     io.Reader
	b     *Budget
	in    *meter
	n     int64
	place string
	what  Compression
}

func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	i.n += int64(n)
	if i.n > i.b.RatioFrom && i.n > i.in.n*i.b.Ratio {
		return n, stop(i.place, "look at what made it before you use it", "unpacks to more than %d times its size", i.b.Ratio)
	}
	if spent := i.b.spend(i.place, n); spent != nil {
		return n, spent
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = i.failed(err)
	}
	return n, err
}

// failed is an error of a decompressor: that of what goes in, or a fault.
func (i *inflated) failed(err error) error {
	switch {
	case i.in.err != nil:
		return i.in.err
	case context.Cause(i.b.ctx) != nil:
		return context.Cause(i.b.ctx)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return cut(i.place)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return stop(i.place, "compress it with zstd -19 or less, without --long", "needs a window of more than %d bytes to unpack", window)
	}
	return stop(i.place, "fetch or make the archive again", "is damaged: not valid %s", i.what)
}
