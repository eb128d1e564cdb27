package models

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
)

// limits are those of checkpoints: fewer files than a bundle may have, and more
// bytes.
func limits() archive.Limits {
	l := archive.Default()
	l.Bytes = 16 << 40
	return l
}

// source is an archive or a folder that can be read from its beginning again.
type source struct {
	path   string
	folder bool
	// stream opens an archive that is no file; nil is the file's.
	stream func(context.Context) (io.ReadCloser, error)
	// size is how many bytes its files have, or about; negative if nobody knows.
	size int64
	// digest is what it should have, or "".
	digest string
	// beside is the file that the digest is from, or "".
	beside string
	// remote is where it lies in S3, or nil.
	remote *remote
	// stale says that the archive was written after that file: the digest is what it
	// should have, and nobody knows whether it has.
	stale bool
}

// open looks at what a checkpoint is to be made of. Without a digest that an
// archive should have, a file beside it with the ending .sha256 may say so.
func open(o PushOptions) (*source, error) {
	path, digest := o.Source, o.Digest
	if digest != "" && !sum.MatchString(digest) {
		return nil, fmt.Errorf("%q is no digest: write sha256: and 64 hexadecimal digits", digest)
	}
	if strings.HasPrefix(path, scheme) {
		r, err := parseRemote(path)
		if err != nil {
			return nil, err
		}
		s := &source{path: path, remote: r, size: -1, digest: digest}
		if r.archive() {
			s.stream = r.open
		}
		return s, nil
	}
	if o.Open != nil {
		return &source{path: path, stream: o.Open, size: -1, digest: digest}, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file or directory: name a tar archive, a folder, or their address in S3", path)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the checkpoint: %w", err)
	}
	s := &source{path: path, folder: info.IsDir(), size: -1, digest: digest}
	if s.folder {
		return s, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("look at the checkpoint: %w", err)
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err == nil && archive.Of(head) == archive.None {
		// Headers and padding are little beside what they stand before.
		s.size = info.Size()
	}
	if digest != "" {
		return s, nil
	}
	return s, s.besides(info)
}

// besides takes the digest from the file beside an archive, if there is one: from
// the line that names the archive, or the only one, if that names nothing.
func (s *source) besides(info os.FileInfo) error {
	path := s.path + ".sha256"
	beside, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the digest of the checkpoint: %w", err)
	}
	defer beside.Close()
	written, err := beside.Stat()
	if err != nil {
		return fmt.Errorf("read the digest of the checkpoint: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(beside, maxBeside+1))
	if err != nil {
		return fmt.Errorf("read the digest of the checkpoint: %w", err)
	}
	if len(text) > maxBeside {
		return fmt.Errorf("%s has more than %d bytes: write what sha256sum prints into it, or remove it", path, maxBeside)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range lines {
		digest, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		name = strings.TrimPrefix(strings.TrimSpace(name), "*") // of a file read as bytes
		if sum.MatchString(digest) && (filepath.Base(name) == filepath.Base(s.path) || name == "" && len(lines) == 1) {
			s.digest, s.beside, s.stale = "sha256:"+hexOf(digest), path, info.ModTime().After(written.ModTime())
			return nil
		}
	}
	return fmt.Errorf("%s holds no digest of %s: write what sha256sum prints into it, or remove it", path, filepath.Base(s.path))
}

// changed is the fault of a source that is not what it was when it was looked at.
func changed(place string) fault.Fault {
	return fault.Fault{Place: place, Reason: "changed while it was read", Fix: "repeat the command when nobody changes it"}
}

// maxBeside is how long a file of digests beside an archive may be.
const maxBeside = 64 << 10

// CheckSource refuses a source, or a digest, that can't be right. It reads no more
// than its beginning.
func CheckSource(o PushOptions) error {
	_, err := open(o)
	return err
}

// read visits the files of a source in their order, and returns its digest: that
// of an archive's bytes; of a folder, that of the names, sizes and bytes of its
// files. What is wrong with it is an error of the kind [fault.Faults].
func (s *source) read(ctx context.Context, visit archive.Visit) (string, error) {
	if s.remote != nil && s.stream == nil {
		got, err := s.remote.read(ctx, visit)
		if err == nil && s.digest != "" && hexOf(s.digest) != hexOf(got) {
			err = fault.Faults{{Place: s.path, Reason: fmt.Sprintf("has the digest %s, and should have %s", got, s.digest), Fix: "correct the digest, or name another source"}}
		}
		return got, err
	}
	b := archive.NewBudget(ctx, limits())
	h := sha256.New()
	o := archive.Options{Place: s.path}
	files := 0
	each := func(m archive.Member, r io.Reader) error {
		files++
		if m.Name == Marker {
			b.Add(fault.Inside(s.path, m.Name), "leave it out: it is written when all of the checkpoint is there", "has the name of the marker")
			return nil
		}
		if s.folder {
			note(h, m)
			r = io.TeeReader(r, h)
		}
		if err := visit(m, r); err != nil {
			return err
		}
		// What the visitor has left counts too.
		_, err := io.Copy(io.Discard, r)
		return err
	}
	if !s.folder {
		o.Raw = h
	}
	if err := s.walk(ctx, b, o, each); err != nil {
		return "", err
	}
	if files == 0 && len(b.Faults()) == 0 {
		b.Add(s.path, "name the archive or the folder that holds the checkpoint's files", "holds no files")
	}
	if f := b.Faults(); len(f) > 0 {
		for i := range f {
			if f[i].Reason == "is no tar archive" {
				f[i].Fix = "name a tar archive, plain or compressed by gzip or zstd, or a folder"
			}
		}
		return "", f
	}
	got := digestOf(h.Sum(nil))
	if s.digest != "" && hexOf(s.digest) != hexOf(got) {
		says, fix := "", "fetch it again, or correct the digest"
		if s.beside != "" {
			says, fix = ", as "+s.beside+" says", "fetch it again, or write that file anew: sha256sum prints what it should hold"
		}
		return "", fault.Faults{{Place: s.path, Reason: fmt.Sprintf("has the digest %s, and should have %s%s", got, s.digest, says), Fix: fix}}
	}
	return got, nil
}

// names are those of the files of a source that is not read for them, and how many bytes
// they have; nil for an archive.
func (s *source) names(ctx context.Context) (names map[string]bool, total int64, err error) {
	names = map[string]bool{}
	visit := func(m archive.Member, _ io.Reader) error {
		names[m.Name] = true
		total += m.Size
		return nil
	}
	switch {
	case s.stream != nil || s.remote == nil && !s.folder:
		return nil, 0, nil
	case s.remote != nil:
		_, err = s.remote.read(ctx, visit)
		return names, total, err
	}
	b := archive.NewBudget(ctx, limits())
	if err := s.walk(ctx, b, archive.Options{Place: s.path}, visit); err != nil {
		return nil, 0, err
	}
	if f := b.Faults(); len(f) > 0 {
		return nil, 0, f
	}
	return names, total, nil
}

// walk visits the files of an archive or a folder.
func (s *source) walk(ctx context.Context, b *archive.Budget, o archive.Options, visit archive.Visit) (err error) {
	if s.stream == nil {
		_, err := archive.Walk(s.path, b, o, visit)
		return err
	}
	r, err := s.stream(ctx)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	raw := io.TeeReader(r, o.Raw)
	if _, err := archive.Stream(raw, b, o, visit); err != nil || len(b.Faults()) > 0 {
		return err
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return fmt.Errorf("read %s to its end: %w", s.path, err)
	}
	return nil
}

// note writes a folder's file into its digest.
func note(h hash.Hash, m archive.Member) {
	// A hash takes everything.
	_, _ = fmt.Fprintf(h, "%s\x00", m.Name)
	_ = binary.Write(h, binary.BigEndian, m.Size)
}
