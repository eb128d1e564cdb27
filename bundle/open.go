package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/poolhouse/poolhouse/bundle/archive"
)

// errFound ends a reading.
var errFound = errors.New("the file was read")

// Open reads one of the bundle's files, by its path in the bundle, from its
// beginning. An archive is read up to it, in the background, until the reader is
// closed or the context ends.
func (c *Contents) Open(ctx context.Context, file string) (io.ReadCloser, error) {
	if _, is := c.files[file]; !is {
		return nil, fmt.Errorf("%s is not in the bundle %s", file, c.Path)
	}
	if c.Format == archive.Folder {
		root, err := os.OpenRoot(c.Path)
		if err != nil {
			return nil, err
		}
		f, err := root.Open(filepath.FromSlash(file))
		return f, errors.Join(err, root.Close())
	}
	r, w := io.Pipe()
	go func() {
		b := archive.NewBudget(ctx, archive.Default())
		_, err := archive.Walk(c.Path, b, archive.Options{}, func(m archive.Member, in io.Reader) error {
			if m.Name != file {
				return nil
			}
			if _, err := io.Copy(w, in); err != nil {
				return err
			}
			return errFound
		})
		switch {
		case errors.Is(err, errFound):
			err = nil
		case err != nil:
		case len(b.Faults()) > 0:
			err = b.Faults()
		default:
			err = fmt.Errorf("%s is no longer in the bundle %s", file, c.Path)
		}
		w.CloseWithError(err)
	}()
	return r, nil
}
