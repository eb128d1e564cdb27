package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
)

// Collector takes in the files of one image archive or layout, and then says
// which images they make.
type Collector struct {
	place string
	b     *archive.Budget
	skim  bool
	files map[string]*file
	links map[string]string
	// listed are indexes within the index that is read, by digest, and reads how
	// many manifests and indexes were read.
	listed map[string]bool
	reads  int
}

// file is what is known of a file when it has run through.
type file struct {
	name        string
	size        int64
	digest      string
	diffID      string // of what it unpacks to
	compression archive.Compression
	text        []byte // of a document
	document    *parsed[document]
	config      *parsed[config]
}

// Options are how images are read.
type Options struct {
	// Skim passes over layers whose files have their digests in their names, as in
	// layouts: the name is taken at its word, and what they unpack to is not known.
	// Manifests and configurations are compared all the same. Whoever uses such a layer
	// then has to compare it with its digest.
	Skim bool
}

// NewCollector returns a collector for what lies in one place.
func NewCollector(place string, b *archive.Budget, o Options) *Collector {
	return &Collector{place: place, b: b, skim: o.Skim, files: map[string]*file{}, links: map[string]string{}}
}

// Read reads an archive, compressed or not. It is not ok if this is no archive. An
// error is for [archive.Budget.Settle].
func Read(r io.Reader, place string, b *archive.Budget, o Options) (images []Image, ok bool, err error) {
	in, _, err := archive.Decompress(r, b, place)
	if err != nil {
		return nil, true, err
	}
	defer in.Close()
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, true, err
	}
	if !archive.IsTar(head) {
		return nil, false, nil
	}
	c := NewCollector(place, b, o)
	if err := archive.Tar(in, b, archive.Options{Place: place, Links: true}, c.Add); err != nil {
		return nil, true, err
	}
	return c.Images(), true, nil
}

// Files hands out the files of an archive that [Read] has read before, compressed
// or not. An error is for [archive.Budget.Settle].
func Files(r io.Reader, place string, b *archive.Budget, visit func(name string, r io.Reader) error) error {
	in, _, err := archive.Decompress(r, b, place)
	if err != nil {
		return err
	}
	defer in.Close()
	return archive.Tar(in, b, archive.Options{Place: place, Links: true}, func(m archive.Member, r io.Reader) error {
		if m.Link != "" {
			return nil
		}
		return visit(m.Name, r)
	})
}

// Add takes in a file; it is an [archive.Visit].
func (c *Collector) Add(m archive.Member, r io.Reader) error {
	if m.Link != "" {
		c.links[m.Name] = m.Link
		return nil
	}
	place := fault.Inside(c.place, m.Name)
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(r, sum), 64<<10)
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f := &file{name: m.Name, size: m.Size}
	want, is := named(m.Name)
	skim := c.skim && is && Valid(want) // what has another name has to be read to know its digest
	switch trimmed := bytes.TrimLeft(head, " \t\r\n"); {
	case len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '['):
		if f.text, err = c.b.Keep(m.Size, in); err != nil {
			return err
		}
	case skim:
		f.compression = archive.Of(head)
	case archive.Of(head) != archive.None:
		if err := c.unpack(f, in, place); err != nil {
			return err
		}
	}
	if skim && f.text == nil {
		f.digest = want
	} else {
		if _, err := io.Copy(io.Discard, in); err != nil {
			return err
		}
		f.digest = digest(sum)
	}
	if f.compression == archive.None {
		f.diffID = f.digest
	}
	if is && want != f.digest {
		c.b.Add(place, "fetch or make the archive again", "is not what its name says: its digest is %s", f.digest)
	}
	c.files[m.Name] = f
	return nil
}

// Digest is that of a file which was taken in; empty for one that wasn't.
func (c *Collector) Digest(name string) string {
	if f := c.files[name]; f != nil {
		return f.digest
	}
	return ""
}

// unpack computes the digest of what a layer unpacks to. A damaged layer is a
// fault; the archive goes on after it.
func (c *Collector) unpack(f *file, r io.Reader, place string) error {
	unpacked := sha256.New()
	out, compression, err := archive.Decompress(r, c.b, place)
	if err == nil {
		_, err = io.Copy(unpacked, out)
		out.Close()
	}
	f.compression = compression
	if err != nil {
		return c.b.Settle(err)
	}
	f.diffID = digest(unpacked)
	return nil
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func digestOf(text []byte) string {
	h := sha256.New()
	h.Write(text)
	return digest(h)
}

// named is the digest that a file of a layout has in its name.
func named(name string) (string, bool) {
	algorithm, ok := strings.CutPrefix(name, "blobs/")
	if !ok {
		return "", false
	}
	algorithm, encoded, ok := strings.Cut(algorithm, "/")
	return algorithm + ":" + encoded, ok && algorithm == "sha256"
}

// blob is the file of a digest in a layout.
func (c *Collector) blob(digest string) *file {
	algorithm, encoded, _ := strings.Cut(digest, ":")
	return c.files["blobs/"+algorithm+"/"+encoded]
}

// find is a file by name, or that which a link of this name stands for.
func (c *Collector) find(name string) *file {
	for range 8 {
		if f := c.files[name]; f != nil {
			return f
		}
		to, is := c.links[name]
		if !is {
			return nil
		}
		name = to
	}
	return nil
}

// Images are what the files make, in the order of their names. Call it once,
// after the last file.
func (c *Collector) Images() (images []Image) {
	defer func() {
		kept := map[string]bool{}
		for _, i := range images {
			for _, m := range i.Manifests {
				kept[m.Digest] = true
			}
		}
		for _, f := range c.files {
			if !kept[f.digest] {
				c.b.Forget(f.text)
			}
			f.text, f.document, f.config = nil, nil, nil
		}
	}()
	index, list := c.files["index.json"], c.files["manifest.json"]
	switch {
	case index != nil:
		images = c.layout(index)
		if list != nil {
			c.compare(list, images)
		}
		return sorted(images)
	case list != nil:
		return sorted(c.saved(list))
	}
	c.b.Add(c.place, "put images as docker save or an OCI layout has them", "has neither index.json nor manifest.json, so it is no image archive")
	return nil
}
