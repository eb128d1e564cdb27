package bundle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// ErrEnough ends [Contents.Blobs] when nothing more is needed.
var ErrEnough = errors.New("nothing more is needed")

// Blobs reads a bundle again, and hands out the files of its images that are
// wanted, in the order in which they lie there: layers and configurations. One
// that lies in several archives comes several times, as long as it is wanted. What
// visit reads is what is there now: it compares the digest. An error is visit's,
// the context's, or of kind [fault.Faults].
func (c *Contents) Blobs(ctx context.Context, o Options, wanted func(digest string) bool, visit func(b image.Blob, r io.Reader) error) error {
	// By archive or folder of a layout, and by the name within.
	places := map[string]map[string]image.Blob{}
	for _, i := range c.Images {
		files := places[i.File]
		if files == nil {
			files = map[string]image.Blob{}
			places[i.File] = files
		}
		for _, m := range i.Manifests {
			for _, b := range m.Blobs {
				files[b.File] = b
			}
		}
	}
	b := o.budget(ctx)
	hand := func(in, name string, r io.Reader) error {
		blob, is := places[in][name]
		if !is || !wanted(blob.Digest) {
			return nil
		}
		return visit(blob, r)
	}
	_, err := archive.Walk(c.Path, b, archive.Options{}, func(m archive.Member, r io.Reader) error {
		if dir, name, ok := layout(m.Name); ok {
			return hand(dir, name, r)
		}
		for _, blob := range places[m.Name] {
			if wanted(blob.Digest) {
				return b.Settle(image.Files(bufio.NewReaderSize(r, 64<<10), m.Name, b, func(name string, r io.Reader) error { return hand(m.Name, name, r) }))
			}
		}
		return nil
	})
	if errors.Is(err, ErrEnough) {
		return nil
	}
	if err == nil && b.Len() > 0 {
		err = b.Faults()
	}
	return err
}

// SizeOnDisk is how many bytes an archive, or all files of a folder, have as they
// lie on disk.
func SizeOnDisk(name string) (int64, error) {
	var total int64
	err := filepath.WalkDir(name, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return err
	})
	if p, is := errors.AsType[*os.PathError](err); is {
		err = p.Err
	}
	if err != nil {
		return 0, fmt.Errorf("look at the size of %s: %w", name, err)
	}
	return total, nil
}
