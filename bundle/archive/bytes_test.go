package archive_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/poolhouse/poolhouse/bundle/archive"
)

// TestBytes holds the bound on bytes to what there is, whatever it lies in: each is
// counted once where it is read or unpacked, and not again in an archive within.
func TestBytes(t *testing.T) {
	t.Parallel()
	zst := func(body []byte) []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b)
		if err == nil {
			_, err = w.Write(body)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	files := []entry{file("a", strings.Repeat("a", 3000)), file("b", strings.Repeat("b", 500))}
	plain := pack(t, files...)
	within := pack(t, file("c", string(plain)), file("d", string(gz(t, plain))))
	for name, tt := range map[string]struct {
		body []byte
		want int
	}{
		"plain":       {plain, len(plain)},
		"gzip":        {gz(t, plain), len(plain)},
		"zstd":        {zst(plain), len(plain)},
		"in plain":    {within, len(within) + len(plain)},
		"in gzip":     {gz(t, within), len(within) + len(plain)},
		"in zstd":     {zst(within), len(within) + len(plain)},
		"of a folder": {nil, 3500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x")
			if tt.body == nil {
				path = t.TempDir()
				for _, f := range files {
					if err := os.WriteFile(filepath.Join(path, f.h.Name), []byte(f.body), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			} else if err := os.WriteFile(path, tt.body, 0o600); err != nil {
				t.Fatal(err)
			}
			for most, faulty := range map[int]bool{tt.want: false, tt.want - 1: true} {
				l := archive.Default()
				l.Bytes = int64(most)
				b := archive.NewBudget(t.Context(), l)
				_, err := archive.Walk(path, b, archive.Options{}, func(m archive.Member, r io.Reader) error {
					if m.Name != "c" && m.Name != "d" {
						_, err := io.Copy(io.Discard, r)
						return err
					}
					in, _, err := archive.Decompress(r, b, m.Name)
					if err != nil {
						return b.Settle(err)
					}
					defer in.Close()
					return b.Settle(archive.Tar(in, b, archive.Options{Place: m.Name}, func(_ archive.Member, r io.Reader) error {
						_, err := io.Copy(io.Discard, r)
						return err
					}))
				})
				if err != nil {
					t.Fatal(err)
				}
				faults := b.Faults()
				if faulty != (len(faults) > 0) || faulty && !strings.Contains(faults[0].Reason, "bytes in all") {
					t.Errorf("at most %d bytes: %v", most, faults)
				}
			}
		})
	}
}
