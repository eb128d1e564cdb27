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
	"sync"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// Blobs reads a bundle again, and hands out the files of its images that are
// wanted, in the order in which they lie there: layers and configurations. One
// that lies in several archives comes several times, as long as it is wanted. What
// visit reads is what is there now: it compares the digest. An error is visit's,
// the context's, or of kind [fault.Faults]. Of a folder, as many files are read side
// by side as the options say, and then wanted and visit are called from several
// goroutines.
func (c *Contents) Blobs(ctx context.Context, o Options, wanted func(digest string) bool, visit func(b image.Blob, r io.Reader) error) error {
	w := &blobs{from: c, options: o, wanted: wanted, visit: visit, places: map[string]map[string]image.Blob{}, taken: map[string]bool{}}
	for _, i := range c.Images {
		files := w.places[i.File]
		if files == nil {
			files = map[string]image.Blob{}
			w.places[i.File] = files
		}
		for _, m := range i.Manifests {
			for _, b := range m.Blobs {
				files[b.File] = b
			}
		}
	}
	side := 1
	if c.Format == archive.Folder {
		side = max(o.Side, 1)
	}
	within, stop := context.WithCancel(ctx)
	defer stop()
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		failed error
		faults fault.List
	)
	for range side {
		all.Go(func() {
			found, err := w.read(within)
			mu.Lock()
			defer mu.Unlock()
			for _, f := range found {
				faults.Add(f.Place, f.Fix, "%s", f.Reason)
			}
			if err != nil && failed == nil {
				failed = err
				stop()
			}
		})
	}
	all.Wait()
	if failed == nil && faults.Len() > 0 {
		return faults.Faults()
	}
	return failed
}

// blobs are the files of a bundle's images, while they are handed out.
type blobs struct {
	from    *Contents
	options Options
	wanted  func(digest string) bool
	visit   func(b image.Blob, r io.Reader) error
	// places are by archive or folder of a layout, and by the name within.
	places map[string]map[string]image.Blob

	mu    sync.Mutex
	taken map[string]bool // files of the bundle that somebody reads, or has read
}

// take tells whether a file is the caller's to read.
func (w *blobs) take(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.taken[name]
	w.taken[name] = true
	return !was
}

// read goes through the bundle once, and reads what nobody else does.
func (w *blobs) read(ctx context.Context) (fault.Faults, error) {
	b := w.options.budget(ctx)
	hand := func(in, name string, r io.Reader) error {
		blob, is := w.places[in][name]
		if !is || !w.wanted(blob.Digest) {
			return nil
		}
		return w.visit(blob, r)
	}
	_, err := archive.Walk(w.from.Path, b, archive.Options{}, func(m archive.Member, r io.Reader) error {
		if dir, name, ok := layout(m.Name); ok {
			if !w.take(m.Name) {
				return nil
			}
			return hand(dir, name, r)
		}
		for _, blob := range w.places[m.Name] {
			if w.wanted(blob.Digest) {
				if !w.take(m.Name) {
					return nil
				}
				return b.Settle(image.Files(bufio.NewReaderSize(r, 64<<10), m.Name, b, func(name string, r io.Reader) error { return hand(m.Name, name, r) }))
			}
		}
		return nil
	})
	return b.Faults(), err
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
