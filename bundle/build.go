package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.yaml.in/yaml/v3"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
)

// BuildOptions say what a bundle is made from.
type BuildOptions struct {
	Name, Version string
	// Charts are packed charts or folders, Images archives or OCI layouts,
	// Scripts files. Each keeps the last part of its path as its name.
	Charts, Images, Scripts []string
	// Pull, if not nil, brings further images to disk as an OCI layout, and returns its
	// path. It is called once, when nothing was found wrong with what is there, and has
	// to leave the layout alone until [Build] returns.
	Pull func(ctx context.Context) (layout string, err error)
	// Checkpoints are descriptions of what is delivered beside the bundle.
	Checkpoints []Checkpoint
	Limits      archive.Limits
	// Progress, if not nil, is told how many bytes were read from disk, each time
	// some were. Every source is read twice.
	Progress func(n int64)
}

// ErrChanged is that a source was not the same when it was read again.
var ErrChanged = errors.New("changed while the bundle was made")

// Build writes a bundle, as .tar.gz or .tar by its name, and a file with its
// digest beside it. The same content gives the same bytes: files are sorted, and
// times, owners and modes fixed. The bundle appears whole or not at all, and only
// if nothing is wrong with it; a [fault.Faults] is all that is. What an earlier build of
// the same name left beside it when it was killed is removed.
func Build(ctx context.Context, name string, o BuildOptions) (*Contents, error) {
	if o.Limits == (archive.Limits{}) {
		o.Limits = archive.Default()
	}
	b := Options{Limits: o.Limits, Progress: o.Progress}.budget(ctx)
	compress := strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
	if !compress && !strings.HasSuffix(name, ".tar") {
		b.Add("", "name it so that it ends with .tar.gz or .tar", "can't be written to %s", fault.Quoted(name))
	}
	checkCheckpoints(o.Checkpoints, "the checkpoints", b.List)
	if err := clearParts(name); err != nil {
		return nil, err
	}
	sources := sources(o, b)
	r := newReader(b)
	for _, s := range sources {
		if s.target == pulled {
			continue
		}
		if err := s.read(b, r.visit); err != nil {
			return nil, err
		}
	}
	if o.Pull != nil {
		if err := r.pull(ctx, sources, o); err != nil {
			return nil, err
		}
	}
	r.finish()
	manifest, err := encode(r.out.Manifest(o.Name, o.Version, o.Checkpoints))
	if err != nil {
		return nil, err
	}
	parseManifest(manifest, b.List)
	if b.Len() > 0 {
		return nil, b.Faults()
	}
	r.add(Description, manifest)
	r.add(Sums, sums(r.out.files))
	w := &writer{ctx: ctx, progress: o.Progress, files: r.out.files, own: map[string][]byte{Description: manifest, Sums: sums(r.out.files)}}
	if err := w.archive(name, compress, sources, o.Limits); err != nil {
		return nil, err
	}
	out := r.contents()
	out.Path, out.Format = name, archive.Plain
	if compress {
		out.Format = archive.TarGzip
	}
	out.Name, out.Version, out.Described, out.Summed, out.Sealed = o.Name, o.Version, true, true, true
	out.Checkpoints = append(out.Checkpoints, o.Checkpoints...)
	return out, nil
}

// pull has the images pulled that are to be, and takes them in. Nothing is pulled for
// a bundle that could not be made.
func (r *reader) pull(ctx context.Context, sources []input, o BuildOptions) error {
	manifest, err := encode(r.out.Manifest(o.Name, o.Version, o.Checkpoints))
	if err != nil {
		return err
	}
	parseManifest(manifest, r.b.List)
	if r.b.Len() > 0 {
		return r.b.Faults()
	}
	s := &sources[slices.IndexFunc(sources, func(s input) bool { return s.target == pulled })]
	if s.path, err = o.Pull(ctx); err != nil {
		return err
	}
	return s.read(r.b, r.visit)
}

// add counts a file of the bundle's own.
func (r *reader) add(name string, text []byte) {
	sum := sha256.Sum256(text)
	if name != Sums {
		r.out.files[name] = File{name, int64(len(text)), "sha256:" + hex.EncodeToString(sum[:])}
	}
	r.out.Files++
	r.out.Size += int64(len(text))
}

func encode(m *Manifest) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Made by poolhouse bundle build. poolhouse bundle verify compares it with the files.\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(m), enc.Close()); err != nil {
		return nil, fmt.Errorf("write %s: %w", Description, err)
	}
	return b.Bytes(), nil
}

// sums is the list of digests, as sha256sum -c reads it.
func sums(files map[string]File) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "%s  %s\n", strings.TrimPrefix(files[name].Digest, "sha256:"), name)
	}
	return b.Bytes()
}

// input is a file or folder that goes into a bundle.
type input struct {
	path   string
	target string
}

// pulled is where the images lie that were pulled: one layout, in which layers that
// they share lie once.
const pulled = "containers/images"

// sources are the files and folders with their names in the bundle, in the order
// of these.
func sources(o BuildOptions, b *archive.Budget) []input {
	var out []input
	seen := map[string]string{}
	if o.Pull != nil {
		seen[archive.Fold(pulled)] = "the layout of images that are pulled"
		out = append(out, input{target: pulled})
	}
	for _, part := range []struct {
		folder string
		paths  []string
	}{{"charts", o.Charts}, {"containers", o.Images}, {"scripts", o.Scripts}} {
		for _, p := range part.paths {
			target := path.Join(part.folder, filepath.Base(filepath.Clean(p)))
			if _, reason, fix := o.Limits.Clean(target); reason != "" {
				b.Add(fault.Quoted(target), fix, "%s", reason)
				continue
			}
			if other, ok := seen[archive.Fold(target)]; ok {
				b.Add(p, "rename one of the two", "has the name of %s", other)
				continue
			}
			seen[archive.Fold(target)] = p
			out = append(out, input{p, target})
		}
	}
	slices.SortFunc(out, func(a, b input) int { return cmp.Compare(a.target, b.target) })
	return out
}

// read visits the files of an input under their names in the bundle.
func (s input) read(b *archive.Budget, visit archive.Visit) error {
	return archive.Files(s.path, b, archive.Options{Place: s.target}, func(m archive.Member, r io.Reader) error {
		m.Name = path.Join(s.target, m.Name)
		return visit(m, r)
	})
}

// writer writes a bundle whose files are known by digest.
type writer struct {
	ctx      context.Context
	progress func(int64)
	files    map[string]File
	own      map[string][]byte
	tar      *tar.Writer
}

// archive writes a bundle whole or not at all.
func (w *writer) archive(name string, compress bool, sources []input, l archive.Limits) (err error) {
	f, err := newPart(name)
	if err != nil {
		return unwritten(name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreAbsent(os.Remove(f.Name())))
		}
		err = errors.Join(err, f.Close()) // and its lock is free
	}()
	sum := sha256.New()
	if err := errors.Join(w.write(io.MultiWriter(f, sum), compress, sources, l), f.Chmod(0o644), f.Sync()); err != nil {
		return unwritten(name, err)
	}
	// Without a digest for a moment rather than with one of another bundle.
	if err := ignoreAbsent(os.Remove(name + SumSuffix)); err != nil {
		return unwritten(name+SumSuffix, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return unwritten(name, err)
	}
	line := fmt.Sprintf("%s  %s\n", hex.EncodeToString(sum.Sum(nil)), filepath.Base(name))
	return unwritten(name+SumSuffix, os.WriteFile(name+SumSuffix, []byte(line), 0o644))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func unwritten(name string, err error) error {
	if err == nil {
		return nil
	}
	if p, is := errors.AsType[*fs.PathError](err); is {
		err = p.Err
	}
	return fmt.Errorf("write %s: %w", name, err)
}

func (w *writer) write(to io.Writer, compress bool, sources []input, l archive.Limits) error {
	if !compress {
		return w.all(to, sources, l)
	}
	z := gzip.NewWriter(to)
	return errors.Join(w.all(z, sources, l), z.Close())
}

// all writes all files: SHA256SUMS and bundle.yaml first, which sort before the
// folders.
func (w *writer) all(to io.Writer, sources []input, l archive.Limits) error {
	w.tar = tar.NewWriter(to)
	for _, name := range slices.Sorted(maps.Keys(w.own)) {
		if err := w.file(archive.Member{Name: name, Size: int64(len(w.own[name]))}, bytes.NewReader(w.own[name])); err != nil {
			return err
		}
	}
	written := len(w.own)
	for _, s := range sources {
		b := Options{Limits: l, Progress: w.progress}.budget(w.ctx)
		err := s.read(b, func(m archive.Member, r io.Reader) error {
			written++
			return w.file(m, r)
		})
		if err != nil {
			return err
		}
		if b.Len() > 0 {
			return b.Faults()
		}
	}
	if written != len(w.files)+1 { // SHA256SUMS does not list itself
		return fmt.Errorf("the sources %w", ErrChanged)
	}
	return w.tar.Close()
}

// file writes one file, which has to be what it was.
func (w *writer) file(m archive.Member, r io.Reader) error {
	known, listed := w.files[m.Name]
	if m.Name != Sums && (!listed || known.Size != m.Size) {
		return fmt.Errorf("%s %w", m.Name, ErrChanged)
	}
	mode := int64(0o644)
	if strings.HasPrefix(m.Name, "scripts/") {
		mode = 0o755
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: m.Name, Size: m.Size, Mode: mode, ModTime: time.Unix(0, 0)}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.tar, sum), io.LimitReader(r, m.Size))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", m.Name, err)
	case m.Name == Sums:
		return nil
	case n != m.Size, "sha256:"+hex.EncodeToString(sum.Sum(nil)) != known.Digest:
		return fmt.Errorf("%s %w", m.Name, ErrChanged)
	}
	return nil
}
