package bundle

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/chart"
	"github.com/poolhouse/poolhouse/bundle/checkpoint"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// Options are how a bundle is read.
type Options struct {
	// Limits bound what is read; the zero Limits are [archive.Default].
	Limits archive.Limits
	// Progress, if not nil, is told how many bytes were read from disk, each time
	// some were. With Side above 1 several goroutines call it at the same time.
	Progress func(n int64)
	// Side is how many files of a folder [Contents.Blobs] reads side by side; 0 is one.
	Side int
	// Skim has [Read] take layers of layouts at the word of their names: their bytes are
	// not compared, and where nothing else needs them not read. Charts, manifests,
	// configurations and lists are read and compared as ever, and so is what there is
	// another digest of, in SHA256SUMS for an image's archive or beside the bundle for
	// all of it. It is for who compares each layer when it is used; a layer's DiffID is
	// then empty where it is compressed.
	Skim bool
}

// budget is a whole one.
func (o Options) budget(ctx context.Context) *archive.Budget {
	if o.Limits == (archive.Limits{}) {
		o.Limits = archive.Default()
	}
	b := archive.NewBudget(ctx, o.Limits)
	b.Progress = o.Progress
	return b
}

// Read reads a bundle. What is wrong with it is in the contents' faults, which
// have all that could be read; an error is that of the context alone.
func Read(ctx context.Context, name string, o Options) (*Contents, error) {
	r := newReader(o.budget(ctx))
	r.out.Path, r.out.Skimmed, r.options.Skim = name, o.Skim, o.Skim
	want, err := seal(name)
	if err != nil {
		r.b.Add("", "remove "+name+SumSuffix+", or write it with: sha256sum", "has a digest beside it that can't be read: %v", err)
	}
	sum := sha256.New()
	var options archive.Options
	if want != "" {
		options.Raw = sum
	}
	r.out.Format, err = archive.Walk(name, r.b, options, r.visit)
	if err != nil {
		return nil, err
	}
	if want != "" {
		r.out.Sealed = true
		if got := hex.EncodeToString(sum.Sum(nil)); got != want {
			r.b.Add("", "fetch the bundle again", "is not what the file beside it says: its digest is %s, not %s", got, want)
		}
	}
	r.finish()
	return r.contents(), nil
}

// seal is the digest in the file beside an archive; empty if there is none.
func seal(name string) (string, error) {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return "", nil
	}
	f, err := os.Open(name + SumSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	sum, of, ok := sumLine(strings.TrimSuffix(string(text), "\n"))
	if !ok || of != filepath.Base(name) {
		return "", fmt.Errorf("it is not the one line of sha256sum for %s", filepath.Base(name))
	}
	return sum, nil
}

// reader takes in a bundle's files.
type reader struct {
	b        *archive.Budget
	options  image.Options
	out      *Contents
	charts   map[string]*chart.Collector
	layouts  map[string]*image.Collector
	manifest []byte
	sums     []byte
}

func newReader(b *archive.Budget) *reader {
	return &reader{
		b: b, charts: map[string]*chart.Collector{}, layouts: map[string]*image.Collector{},
		out: &Contents{
			Charts: []Chart{}, Images: []Image{}, Checkpoints: []Checkpoint{}, Scripts: []File{}, Unknown: []File{}, Missing: []Missing{},
			files: map[string]File{},
		},
	}
}

// visit takes in a file; it is an [archive.Visit].
func (r *reader) visit(m archive.Member, in io.Reader) error {
	digest, known, err := r.take(m, in)
	if err != nil {
		return err
	}
	f := File{m.Name, m.Size, digest}
	r.out.files[m.Name] = f
	r.out.Files++
	r.out.Size += m.Size
	switch {
	case strings.HasPrefix(m.Name, "scripts/"):
		r.out.Scripts = append(r.out.Scripts, f)
	case strings.HasPrefix(m.Name, "checkpoints/"):
		r.out.Checkpoints = append(r.out.Checkpoints, Checkpoint{Name: checkpoint.NameOf(m.Name), File: m.Name, Size: f.Size, Digest: f.Digest, There: true})
	case !known:
		r.out.Unknown = append(r.out.Unknown, f)
	}
	return nil
}

// take reads a file, and computes its digest.
func (r *reader) take(m archive.Member, in io.Reader) (digest string, known bool, err error) {
	if dir, name, ok := layout(m.Name); ok && strings.HasPrefix(m.Name, "containers/") {
		c := r.layouts[dir]
		if c == nil {
			c = image.NewCollector(dir, r.b, r.options)
			r.layouts[dir] = c
		}
		m.Name = name
		err = c.Add(m, in)
		return c.Digest(name), true, err
	}
	sum := sha256.New()
	tee := io.TeeReader(in, sum)
	if known, err = r.file(m, tee); err == nil {
		_, err = io.Copy(io.Discard, tee)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), known, err
}

// file hands a file on to who knows it.
func (r *reader) file(m archive.Member, in io.Reader) (known bool, err error) {
	switch top, rest, _ := strings.Cut(m.Name, "/"); {
	case m.Name == Description:
		r.manifest, err = r.keep(m, in)
		return true, err
	case m.Name == Sums:
		r.sums, err = r.keep(m, in)
		return true, err
	case top == "charts":
		return r.chart(m, rest, in)
	case top == "containers":
		return r.image(m, in)
	}
	return false, nil
}

func (r *reader) keep(m archive.Member, in io.Reader) ([]byte, error) {
	text, err := r.b.Keep(m.Size, in)
	if err == nil && text == nil {
		r.b.Add(m.Name, "make the bundle with: poolhouse bundle build", "is too large")
	}
	if text == nil {
		text = []byte{}
	}
	return text, err
}

func (r *reader) chart(m archive.Member, rest string, in io.Reader) (bool, error) {
	folder, name, inside := strings.Cut(rest, "/")
	if inside {
		c := r.charts[folder]
		if c == nil {
			c = chart.NewCollector("charts/"+folder, r.b)
			r.charts[folder] = c
		}
		m.Name = name
		return true, c.Add(m, in)
	}
	if !strings.HasSuffix(folder, ".tgz") && !strings.HasSuffix(folder, ".tar.gz") {
		return false, nil
	}
	c, ok, err := chart.Read(in, m.Name, r.b)
	if ok {
		r.out.Charts = append(r.out.Charts, Chart{m.Name, c})
	}
	return true, r.b.Settle(err)
}

func (r *reader) image(m archive.Member, in io.Reader) (bool, error) {
	head := bufio.NewReaderSize(in, 4096)
	first, err := head.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !archive.IsTar(first) && archive.Of(first) == archive.None {
		return false, nil
	}
	images, known, err := image.Read(head, m.Name, r.b, r.options)
	for _, i := range images {
		r.out.Images = append(r.out.Images, Image{m.Name, i})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, head)
	}
	return known, r.b.Settle(err)
}

// layout splits the name of a file of an OCI layout.
func layout(name string) (dir, within string, ok bool) {
	if i := strings.Index(name, "/blobs/"); i >= 0 {
		return name[:i], name[i+1:], true
	}
	switch dir, file := path.Split(name); file {
	case "index.json", "oci-layout":
		return strings.TrimSuffix(dir, "/"), file, true
	}
	return "", "", false
}

// finish works out what the files make, and what is wrong with it.
func (r *reader) finish() {
	for folder, c := range r.charts {
		if made, ok := c.Chart(); ok {
			r.out.Charts = append(r.out.Charts, Chart{"charts/" + folder, made})
		}
	}
	for dir, c := range r.layouts {
		for _, i := range c.Images() {
			r.out.Images = append(r.out.Images, Image{dir, i})
		}
	}
	r.sort()
	if len(r.out.Charts)+len(r.out.Images) == 0 && r.b.Len() == 0 {
		r.b.Add("", "name a bundle with the folders charts and containers at its top", "holds neither charts nor images%s", r.hint())
	}
	r.check()
}

// hint names the folder that a bundle lies in, if it lies in one.
func (r *reader) hint() string {
	for name := range r.out.files {
		if parts := strings.Split(name, "/"); len(parts) > 2 && (parts[1] == "charts" || parts[1] == "containers") {
			return "; there are some below " + parts[0]
		}
	}
	return ""
}

func (r *reader) sort() {
	slices.SortFunc(r.out.Charts, func(a, b Chart) int { return cmp.Compare(a.File, b.File) })
	slices.SortStableFunc(r.out.Images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.File, b.File), slices.Compare(a.Names, b.Names), cmp.Compare(a.Digest, b.Digest))
	})
	byName := func(a, b File) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(r.out.Scripts, byName)
	slices.SortFunc(r.out.Unknown, byName)
	slices.SortFunc(r.out.Checkpoints, func(a, b Checkpoint) int { return cmp.Compare(a.File, b.File) })
}

func (r *reader) contents() *Contents {
	r.out.Faults = r.b.Faults()
	if r.out.Faults == nil {
		r.out.Faults = fault.Faults{}
	}
	return r.out
}
