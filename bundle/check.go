package bundle

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/checkpoint"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// Checked says what of a bundle was compared with what, and what could not be,
// since the bundle does not say it.
func (c *Contents) Checked() (checked, unchecked []string) {
	checked = []string{"images: configurations and layers with their digests", "charts: the images that they name with those that are there"}
	unchecked = []string{}
	for _, s := range []struct {
		done    bool
		yes, no string
	}{
		{c.Described, "charts, images and checkpoints with " + Description, "there is no " + Description + " to compare names and versions with"},
		{c.Summed, "every file with " + Sums, "there is no " + Sums + " to compare every file with"},
		{c.Sealed, "the archive with the digest beside it", "there is no digest beside it to compare the whole with"},
	} {
		if s.done {
			checked = append(checked, s.yes)
			continue
		}
		unchecked = append(unchecked, s.no)
	}
	for _, h := range c.Charts {
		if n := len(h.NotRendered); n > 0 {
			unchecked = append(unchecked, fmt.Sprintf("%s: references that templates make, %d, which are not rendered", h.File, n))
		}
	}
	for _, p := range c.Checkpoints {
		if !p.There {
			unchecked = append(unchecked, "checkpoint "+p.Name+": it lies beside the bundle")
		}
	}
	return checked, unchecked
}

// check compares the parts of a bundle with each other, and with what it says of
// itself.
func (r *reader) check() {
	if r.sums != nil {
		r.out.Summed = true
		r.checkSums()
	}
	if r.manifest != nil {
		r.out.Described = true
		if m := parseManifest(r.manifest, r.b.List); m != nil {
			r.out.Name, r.out.Version = m.Name, m.Version
			r.compare(m)
		}
	} else {
		r.checkNames()
	}
	r.twice()
	r.out.damaged = r.b.Len() > 0
	r.out.shelf = newShelf(r.out.Images)
	for _, c := range r.out.Charts {
		for _, ref := range c.Images {
			if _, there := r.out.shelf.find(ref); !there {
				m := r.out.shelf.missing(c, ref)
				r.out.Missing = append(r.out.Missing, m)
				r.b.Add(m.Place, m.Fix, "names the image %s, %s", m.Image, m.Reason)
			}
		}
	}
}

// checkNames holds checkpoints to the names that their archives give them, where no
// bundle.yaml gives others: each has a folder of its own.
func (r *reader) checkNames() {
	const fix = "rename the file, or name the checkpoint in " + Description + ": poolhouse bundle build --checkpoints"
	files := map[string]string{}
	for _, c := range r.out.Checkpoints {
		other, known := files[c.Name]
		switch err := checkpoint.CheckName(c.Name); {
		case err != nil:
			r.b.Add(c.File, fix, "has a name that gives none to a checkpoint: %v", err)
		case known:
			r.b.Add(c.File, fix, "is a second checkpoint %s, as %s is", c.Name, other)
		}
		files[c.Name] = c.File
	}
}

var sumForm = regexp.MustCompile(`^([0-9a-f]{64}) [ *](.+)$`)

// sumLine reads a line as sha256sum writes it.
func sumLine(line string) (sum, name string, ok bool) {
	m := sumForm.FindStringSubmatch(line)
	if m == nil {
		return "", "", false
	}
	return m[1], strings.TrimPrefix(m[2], "./"), true
}

// checkSums holds every file to the list of digests, and the list to the files.
func (r *reader) checkSums() {
	const fix = "fetch or make the bundle again"
	listed := map[string]bool{}
	n := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(string(r.sums), "\n"), "\n") {
		n++
		place := fmt.Sprintf("%s:%d", Sums, n)
		sum, name, ok := sumLine(line)
		f, there := r.out.files[name]
		switch {
		case !ok:
			r.b.Add(place, fix, "is no line of sha256sum")
		case listed[name]:
			r.b.Add(place, fix, "has %s a second time", fault.Quoted(name))
		case !there:
			r.b.Add(place, fix, "has %s, which is not in the bundle", fault.Quoted(name))
		case f.Digest != "sha256:"+sum:
			r.b.Add(name, fix, "is not what %s says: its digest is %s", Sums, f.Digest)
		}
		listed[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(r.out.files)) {
		if !listed[name] && name != Sums {
			r.b.Add(name, fix, "is not in %s", Sums)
		}
	}
}

// twice refuses names that stand for two different things.
func (r *reader) twice() {
	charts := map[string]string{}
	for _, c := range r.out.Charts {
		key := c.Name + " " + c.Version
		if other, ok := charts[key]; ok {
			r.b.Add(c.File, "keep one of the two", "is the chart %s, as %s is", key, other)
		}
		charts[key] = c.File
	}
	type named struct{ file, digest string }
	images := map[string]named{}
	for _, i := range r.out.Images {
		for _, name := range i.Names {
			ref, _ := image.Parse(name)
			key := ref.String()
			if other, ok := images[key]; ok && other.digest != i.Digest {
				r.b.Add(i.File, "keep one of the two", "has another image %s than %s has", name, other.file)
			}
			images[key] = named{i.File, i.Digest}
		}
	}
}
