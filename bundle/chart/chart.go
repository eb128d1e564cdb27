// Package chart reads Helm charts, packed or as folders, as far as a bundle needs
// to know them: name, version, dependencies, and the images that their values and
// templates name. Nothing is rendered; where a template makes a reference, that
// is said. The format:
// https://helm.sh/docs/topics/charts/
package chart

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
)

// Chart is what is known of a chart.
type Chart struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	AppVersion string `json:"appVersion,omitempty"`
	// Digest is that of the packed file; of a folder that of the sorted list of
	// its files as sha256sum prints it.
	Digest string `json:"digest"`
	// Images are those that values and templates name, the charts within it
	// included.
	Images []Reference `json:"images"`
	// NotRendered are places where a template makes a reference, out of values
	// that are read here or of what only an installation knows.
	NotRendered []string `json:"notRendered"`
}

// maxDepth is how deep charts may lie in charts.
const maxDepth = 4

// Collector takes in the files of one chart, and then says what it is.
type Collector struct {
	place string
	b     *archive.Budget
	// name and depth are of a chart within another.
	name  string
	depth int
	// files are the documents of the chart by name, and sums the digests of all.
	files map[string][]byte
	sums  map[string]string
	// packed are charts within it that are packed.
	packed []*Collector
}

// NewCollector returns a collector for the chart in one place.
func NewCollector(place string, b *archive.Budget) *Collector {
	return &Collector{place: place, b: b, files: map[string][]byte{}, sums: map[string]string{}}
}

// Read reads a packed chart. An error is for [archive.Budget.Settle].
func Read(r io.Reader, place string, b *archive.Budget) (Chart, bool, error) {
	sum := sha256.New()
	c := NewCollector(place, b)
	tee := io.TeeReader(r, sum)
	if err := c.unpack(tee); err != nil {
		return Chart{}, false, err
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return Chart{}, false, err
	}
	chart, ok := c.Chart()
	chart.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return chart, ok, nil
}

// unpack takes in a packed chart, which has one folder at its top.
func (c *Collector) unpack(r io.Reader) error {
	in, compression, err := archive.Decompress(r, c.b, c.place)
	if err != nil {
		return err
	}
	defer in.Close()
	if compression != archive.Gzip {
		c.b.Add(c.place, "pack it with: helm package", "is no packed chart: not compressed with gzip")
		return nil
	}
	top := ""
	return archive.Tar(in, c.b, archive.Options{Place: c.place}, func(m archive.Member, r io.Reader) error {
		folder, rest, ok := strings.Cut(m.Name, "/")
		if !ok || top != "" && top != folder {
			c.b.Add(fault.Inside(c.place, m.Name), "pack it with: helm package", "does not lie in the one folder of the chart")
			return nil
		}
		top, m.Name = folder, rest
		return c.Add(m, r)
	})
}

// Add takes in a file; it is an [archive.Visit].
func (c *Collector) Add(m archive.Member, r io.Reader) error {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	var err error
	switch {
	case document(m.Name):
		if c.files[m.Name], err = c.b.Keep(m.Size, in); err == nil && c.files[m.Name] == nil && m.Size > 0 {
			c.b.Add(fault.Inside(c.place, m.Name), "look at what made it", "is too large for a file of a chart")
		}
	case packed(m.Name):
		err = c.within(m.Name, in)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	c.sums[m.Name] = hex.EncodeToString(sum.Sum(nil))
	return err
}

// within takes in a packed chart of this one.
func (c *Collector) within(name string, r io.Reader) error {
	inner := NewCollector(fault.Inside(c.place, name), c.b)
	if inner.name, inner.depth = name, c.depth+1; inner.depth > maxDepth {
		c.b.Add(inner.place, "unpack some of them", "lies more than %d charts deep", maxDepth)
		return nil
	}
	if err := inner.unpack(r); err != nil {
		return c.b.Settle(err)
	}
	c.packed = append(c.packed, inner)
	return nil
}

// packed tells whether a file is a packed chart within its folder.
func packed(name string) bool {
	dir, file := path.Split(name)
	return (dir == "charts/" || strings.HasSuffix(dir, "/charts/")) && strings.HasSuffix(file, ".tgz")
}

// document tells whether a file is read: what describes a chart, its values and
// its templates.
func document(name string) bool {
	dir, file := path.Split(name)
	switch {
	case file == "Chart.yaml", file == "values.yaml":
		return dir == "" || strings.HasPrefix(dir, "charts/")
	case dir == "templates/", strings.HasPrefix(dir, "templates/"), strings.Contains(dir, "/templates/"):
		return slices.Contains([]string{".yaml", ".yml", ".tpl", ".json"}, path.Ext(file))
	}
	return false
}

// Chart is what the files make. It is not ok if there is no chart in them. Call it
// once, after the last file.
func (c *Collector) Chart() (Chart, bool) {
	defer c.forget()
	t, ok := c.tree("", c.place)
	if !ok {
		return Chart{}, false
	}
	out := Chart{Name: t.meta.Name, Version: t.meta.Version, AppVersion: t.meta.AppVersion, Images: []Reference{}, NotRendered: []string{}}
	f := finder{chart: &out}
	t.references(&f, nil)
	if f.full() {
		c.b.Add(c.place, "look at what made it", "names more than %d images", maxReferences)
		return Chart{}, false
	}
	if !c.b.Items(c.place, 1+len(out.Images)+len(out.NotRendered)) {
		return Chart{}, false
	}
	slices.SortFunc(out.Images, compare)
	out.Images = slices.CompactFunc(out.Images, func(a, b Reference) bool { return a.Image == b.Image })
	slices.Sort(out.NotRendered)
	out.NotRendered = slices.Compact(out.NotRendered)
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.sums)) {
		fmt.Fprintf(&list, "%s  %s\n", c.sums[name], name)
	}
	sum := sha256.Sum256([]byte(list.String()))
	out.Digest = "sha256:" + hex.EncodeToString(sum[:])
	return out, true
}

// forget gives the memory of documents back.
func (c *Collector) forget() {
	for name, text := range c.files {
		c.b.Forget(text)
		delete(c.files, name)
	}
	for _, p := range c.packed {
		p.forget()
	}
}
