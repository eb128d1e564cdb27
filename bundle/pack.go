package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/poolhouse/poolhouse/bundle/archive"
)

// MostChart is how many bytes a chart's files may have, packed or not: as many as Helm
// reads.
const MostChart = 100 << 20

// Pack is a chart of the bundle as one packed file, that it is or that is made of its
// folder. What is read is what was there when the bundle was read, or it is an error.
func (c *Contents) Pack(ctx context.Context, h Chart) ([]byte, error) {
	if f, packed := c.files[h.File]; packed {
		if f.Size > MostChart {
			return nil, fmt.Errorf("pack the chart %s: it has %d bytes, more than %d", h.File, f.Size, MostChart)
		}
		r, err := c.Open(ctx, h.File)
		if err != nil {
			return nil, fmt.Errorf("pack the chart %s: %w", h.File, err)
		}
		body, err := io.ReadAll(io.LimitReader(r, MostChart+1))
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("pack the chart %s: %w", h.File, err)
		}
		return body, c.same(f, body)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	total, found := int64(0), 0
	budget := archive.NewBudget(ctx, archive.Default())
	_, err := archive.Walk(c.Path, budget, archive.Options{}, func(m archive.Member, in io.Reader) error {
		inside, ok := strings.CutPrefix(m.Name, h.File+"/")
		if !ok {
			return nil
		}
		if total += m.Size; total > MostChart {
			return fmt.Errorf("it has more than %d bytes", MostChart)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		found++
		if err := c.same(c.files[m.Name], body); err != nil {
			return err
		}
		const mode = 0o644
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(h.Name, inside), Size: int64(len(body)), Mode: mode, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		_, err = t.Write(body)
		return err
	})
	if err == nil && found == 0 {
		err = errors.New("it is no longer in the bundle")
	}
	if err == nil && len(budget.Faults()) > 0 {
		err = budget.Faults()
	}
	if err = errors.Join(err, t.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("pack the chart %s: %w", h.File, err)
	}
	return b.Bytes(), nil
}

// same compares what was read now with what was there before.
func (c *Contents) same(f File, body []byte) error {
	sum := sha256.Sum256(body)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != f.Digest {
		return fmt.Errorf("%s in %s has changed since it was read: it has the digest %s, not %s", f.Name, c.Path, got, f.Digest)
	}
	return nil
}
