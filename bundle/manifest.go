package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/poolhouse/poolhouse/bundle/checkpoint"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// APIVersion is the version of bundle.yaml that this package reads and writes.
const APIVersion = "poolhouse/bundle/v1"

// Manifest is bundle.yaml: what a bundle says is in it.
type Manifest struct {
	// Format of the file; always poolhouse/bundle/v1.
	APIVersion string `yaml:"apiVersion" jsonschema:"required,enum=poolhouse/bundle/v1"`
	// Name of the bundle.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$,maxLength=63"`
	// Version of the bundle.
	Version string `yaml:"version" jsonschema:"required,pattern=^[0-9A-Za-z][0-9A-Za-z.+_-]*$,maxLength=63"`
	// Helm charts.
	Charts []ManifestChart `yaml:"charts,omitempty"`
	// Images, each with its archive or layout.
	Images []ManifestImage `yaml:"images,omitempty"`
	// Checkpoints of models that belong to the bundle, in it
	// or beside it.
	Checkpoints []Checkpoint `yaml:"checkpoints,omitempty"`
}

// ManifestChart is a chart in bundle.yaml.
type ManifestChart struct {
	// The packed chart or the chart's folder.
	File string `yaml:"file" jsonschema:"required"`
	// Name of the chart.
	Name string `yaml:"name" jsonschema:"required"`
	// Version of the chart.
	Version string `yaml:"version" jsonschema:"required"`
	// Digest of the packed file; of a folder that of the sorted list of its files
	// as sha256sum prints it.
	Digest string `yaml:"digest" jsonschema:"required,pattern=^sha256:[a-f0-9]{64}$"`
}

// ManifestImage is an image in bundle.yaml.
type ManifestImage struct {
	// The archive or the folder of the layout.
	File string `yaml:"file" jsonschema:"required"`
	// Names of the image.
	Names []string `yaml:"names,omitempty"`
	// Digest of its manifest or index.
	Digest string `yaml:"digest" jsonschema:"required,pattern=^sha256:[a-f0-9]{64}$"`
	// Platforms it runs on.
	Platforms []string `yaml:"platforms,omitempty"`
	// Size of its files in bytes.
	Size int64 `yaml:"size" jsonschema:"required,minimum=0"`
}

// Checkpoint is a checkpoint of a model.
type Checkpoint struct {
	// Name of the checkpoint, with its version: that of its folder in the bucket
	// of models.
	Name string `json:"name" yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$,maxLength=128"`
	// The archive: in the bundle below checkpoints, else the name that it
	// has beside the bundle.
	File string `json:"file,omitempty" yaml:"file,omitempty"`
	// Size of the archive in bytes.
	Size int64 `json:"size,omitempty" yaml:"size,omitempty" jsonschema:"minimum=0"`
	// Digest of the archive.
	Digest string `json:"digest,omitempty" yaml:"digest,omitempty" jsonschema:"pattern=^sha256:[a-f0-9]{64}$"`
	// There: the archive is in the bundle.
	There bool `json:"there" yaml:"-"`
}

var (
	bundleName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	bundleVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,62}$`)
	yamlLine      = regexp.MustCompile(`^line (\d+): (.*)$`)
	yamlField     = regexp.MustCompile(`^field (.*) not found in type .*$`)
)

// maxEntries is how many charts, images or checkpoints bundle.yaml may have.
const maxEntries = 5000

const correct = "correct it, or make the bundle again with: poolhouse bundle build"

// parseManifest reads a bundle.yaml; nil if nothing could be read.
func parseManifest(text []byte, l *fault.List) *Manifest {
	var m Manifest
	if !decode(text, &m, Description, l) {
		return nil
	}
	add := func(path, reason string, args ...any) {
		l.Add(fault.Inside(Description, path), correct, reason, args...)
	}
	if max(len(m.Charts), len(m.Images), len(m.Checkpoints)) > maxEntries {
		l.Add(Description, correct, "has more than %d charts, images or checkpoints", maxEntries)
		return nil
	}
	if m.APIVersion != APIVersion {
		add("apiVersion", "is %s, not %s", fault.Quoted(m.APIVersion), APIVersion)
	}
	if !bundleName.MatchString(m.Name) {
		add("name", "%s is no name: small letters, digits, dots and dashes, 63 at most", fault.Quoted(m.Name))
	}
	if !bundleVersion.MatchString(m.Version) {
		add("version", "%s is no version: letters, digits and .+_-, 63 at most", fault.Quoted(m.Version))
	}
	for i, c := range m.Charts {
		if c.File == "" || c.Name == "" || c.Version == "" || !image.Valid(c.Digest) {
			add(fmt.Sprintf("charts[%d]", i), "needs a file, a name, a version and a digest of SHA-256")
		}
	}
	for i, e := range m.Images {
		if e.File == "" || !image.Valid(e.Digest) || e.Size < 0 {
			add(fmt.Sprintf("images[%d]", i), "needs a file, a digest of SHA-256 and a size")
		}
		for _, name := range e.Names {
			if _, ok := image.Parse(name); !ok {
				add(fmt.Sprintf("images[%d].names", i), "has %s, which is no name of an image", fault.Quoted(name))
			}
		}
	}
	checkCheckpoints(m.Checkpoints, Description, l)
	return &m
}

// ParseCheckpoints reads a file that has nothing but the checkpoints of a
// bundle.yaml. The error is all faults.
func ParseCheckpoints(text []byte, name string) ([]Checkpoint, error) {
	var (
		l   fault.List
		all struct {
			Checkpoints []Checkpoint `yaml:"checkpoints"`
		}
	)
	if decode(text, &all, name, &l) {
		checkCheckpoints(all.Checkpoints, name, &l)
	}
	if l.Len() > 0 {
		return nil, l.Faults()
	}
	return all.Checkpoints, nil
}

func checkCheckpoints(list []Checkpoint, file string, l *fault.List) {
	seen := map[string]bool{}
	for i, c := range list {
		place := fault.Inside(file, fmt.Sprintf("checkpoints[%d]", i))
		switch {
		case checkpoint.CheckName(c.Name) != nil:
			l.Add(place, correct, "%v", checkpoint.CheckName(c.Name))
		case seen[c.Name]:
			l.Add(place, correct, "is a second checkpoint %s", c.Name)
		case c.Digest != "" && !image.Valid(c.Digest):
			l.Add(place, correct, "%s is no digest of SHA-256", fault.Quoted(c.Digest))
		case c.Size < 0:
			l.Add(place, correct, "has a size below 0")
		case c.File != "" && !filepath.IsLocal(filepath.FromSlash(c.File)):
			l.Add(place, correct, "%s lies neither in the bundle nor beside it", fault.Quoted(c.File))
		}
		seen[c.Name] = true
	}
}

// decode reads strict YAML: every key is known and there once. An alias can't
// stand for more than it is worth: the decoder counts.
func decode(text []byte, into any, file string, l *fault.List) bool {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	err := dec.Decode(into)
	if err == nil {
		var more yaml.Node
		if again := dec.Decode(&more); !errors.Is(again, io.EOF) {
			l.Add(file, correct, "holds more than one YAML document")
			return false
		}
		return true
	}
	if errors.Is(err, io.EOF) {
		l.Add(file, correct, "is empty")
		return false
	}
	texts := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if all, is := errors.AsType[*yaml.TypeError](err); is {
		texts = all.Errors
	}
	for _, t := range texts {
		place := file
		if m := yamlLine.FindStringSubmatch(t); m != nil {
			place, t = file+":"+m[1], m[2]
		}
		if m := yamlField.FindStringSubmatch(t); m != nil {
			t = "the key " + fault.Quoted(m[1]) + " is not known"
		}
		l.Add(place, correct, "is not valid: %s", t)
	}
	return false
}

// Manifest is what bundle.yaml says of contents.
func (c *Contents) Manifest(name, version string, checkpoints []Checkpoint) *Manifest {
	m := &Manifest{APIVersion: APIVersion, Name: name, Version: version, Checkpoints: checkpoints}
	for _, c := range c.Charts {
		m.Charts = append(m.Charts, ManifestChart{c.File, c.Name, c.Version, c.Digest})
	}
	for _, i := range c.Images {
		e := ManifestImage{File: i.File, Names: i.Names, Digest: i.Digest, Size: i.Size}
		for _, p := range i.Platforms {
			if p.Platform != "" && !slices.Contains(e.Platforms, p.Platform) {
				e.Platforms = append(e.Platforms, p.Platform)
			}
		}
		m.Images = append(m.Images, e)
	}
	return m
}

// compare holds what bundle.yaml says to what is there, and takes its checkpoints
// over.
func (r *reader) compare(said *Manifest) {
	is := r.out.Manifest(said.Name, said.Version, nil)
	pair(r, "charts", said.Charts, is.Charts, func(c ManifestChart) string { return c.File })
	pair(r, "images", said.Images, is.Images, func(i ManifestImage) string { return i.File + " " + i.Digest })
	there := r.out.Checkpoints
	r.out.Checkpoints = append([]Checkpoint{}, said.Checkpoints...)
	for i, c := range r.out.Checkpoints {
		place := fault.Inside(Description, fmt.Sprintf("checkpoints[%d]", i))
		at := slices.IndexFunc(there, func(t Checkpoint) bool { return t.File == c.File })
		if at < 0 {
			if strings.HasPrefix(c.File, "checkpoints/") {
				r.b.Add(place, correct, "names %s, which is not in the bundle", fault.Quoted(c.File))
			}
			continue
		}
		t := there[at]
		if c.Digest != "" && c.Digest != t.Digest || c.Size != 0 && c.Size != t.Size {
			r.b.Add(place, correct, "says that %s has %d bytes and the digest %s; it has %d and %s", t.File, c.Size, c.Digest, t.Size, t.Digest)
		}
		r.out.Checkpoints[i].Digest, r.out.Checkpoints[i].Size, r.out.Checkpoints[i].There = t.Digest, t.Size, true
		there = slices.Delete(there, at, at+1)
	}
	for _, t := range there {
		r.b.Add(t.File, correct, "is not in %s", Description)
		r.out.Checkpoints = append(r.out.Checkpoints, t)
	}
}

// pair holds one list of bundle.yaml to what is there.
func pair[E any](r *reader, list string, said, is []E, key func(E) string) {
	for i, s := range said {
		place := fault.Inside(Description, fmt.Sprintf("%s[%d]", list, i))
		at := slices.IndexFunc(is, func(e E) bool { return key(e) == key(s) })
		switch {
		case at < 0:
			r.b.Add(place, correct, "names %s, which is not in the bundle", fault.Quoted(key(s)))
		case fmt.Sprint(said[i]) != fmt.Sprint(is[at]):
			r.b.Add(place, correct, "differs from what is in the bundle: %s, not %s", fmt.Sprint(is[at]), fmt.Sprint(s))
		}
	}
	for _, e := range is {
		if !slices.ContainsFunc(said, func(s E) bool { return key(s) == key(e) }) {
			file, _, _ := strings.Cut(key(e), " ")
			r.b.Add(file, correct, "is not in %s as it is: %s", Description, key(e))
		}
	}
}
