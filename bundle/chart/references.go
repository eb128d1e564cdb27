package chart

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/image"
)

// Reference is an image that a chart names.
type Reference struct {
	// Image is the name, with tag and digest as far as they are given.
	Image string `json:"image"`
	// Place is where it stands.
	Place string `json:"place"`
	// Assumed: no tag is given, and Image has the chart's appVersion, which most
	// templates take then. What this one takes is not known, since it was not
	// rendered.
	Assumed bool `json:"assumed,omitempty"`
}

func compare(a, b Reference) int {
	return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Place, b.Place))
}

// maxReferences is how many images a chart may name.
const maxReferences = 5000

// finder takes references down.
type finder struct{ chart *Chart }

// full tells whether a chart names more than any does.
func (f *finder) full() bool { return len(f.chart.Images)+len(f.chart.NotRendered) > maxReferences }

// references are those of a chart and of those within it. over are the values
// that the chart around it passes to it.
func (t *tree) references(f *finder, over *value) {
	values := over.over(t.values)
	f.chart.Images = append(f.chart.Images, t.meta.Images...)
	// What is passed on to charts within counts there, over their own values.
	f.walk(values, "", t.meta.AppVersion, t.within)
	for _, place := range slices.Sorted(maps.Keys(t.templates)) {
		f.template(t.templates[place], place)
	}
	for _, name := range slices.Sorted(maps.Keys(t.within)) {
		t.within[name].references(f, values.get(name))
	}
}

// walk looks for the shapes in which values name images.
func (f *finder) walk(v *value, key, version string, skip map[string]*tree) {
	if v == nil || f.full() {
		return
	}
	if f.shape(v, key, version) {
		return
	}
	for _, item := range v.list {
		f.walk(item, key, version, nil)
	}
	for _, k := range v.keys {
		if skip[k] == nil {
			f.walk(v.fields[k], k, version, nil)
		}
	}
}

// imageKey tells whether a key is one of an image: image, initImage.
func imageKey(key string) bool { return key == "image" || strings.HasSuffix(key, "Image") }

// shape takes down what a value names, in one of the usual ways: one text, or
// registry, repository or name, tag and digest apart.
func (f *finder) shape(v *value, key, version string) bool {
	if v.fields == nil {
		if !imageKey(key) || v.scalar == "" || key != "image" && !strings.ContainsAny(v.scalar, ":/@") {
			return false
		}
		f.take(v.scalar, v.place(), false)
		return true
	}
	repository, tag, digest := v.text("repository"), v.text("tag"), v.text("digest")
	_, tagged := v.fields["tag"]
	_, digested := v.fields["digest"]
	if repository == "" && imageKey(key) && (tagged || digested) {
		repository = v.text("name")
	}
	if repository == "" || strings.Contains(repository, "://") || !imageKey(key) && !tagged && !digested {
		return false
	}
	if registry := v.text("registry"); registry != "" {
		repository = registry + "/" + repository
	}
	name, assumed := repository, false
	if given, ok := image.Parse(repository); tag == "" && digest == "" && ok && given.Tag == "" && given.Digest == "" && version != "" {
		tag, assumed = version, true
	}
	if tag != "" {
		name += ":" + tag
	}
	if digest != "" {
		name += "@" + digest
	}
	f.take(name, v.place(), assumed)
	return true
}

// literal is a reference without anything that a template has to fill in.
func literal(name, place string) (Reference, bool) {
	r, ok := image.Parse(name)
	return Reference{Image: r.String(), Place: place}, ok
}

func (f *finder) take(name, place string, assumed bool) {
	if strings.Contains(name, "{{") {
		f.chart.NotRendered = append(f.chart.NotRendered, place)
		return
	}
	r, ok := literal(strings.TrimSpace(name), place)
	if !ok {
		f.chart.NotRendered = append(f.chart.NotRendered, place)
		return
	}
	r.Assumed = assumed
	f.chart.Images = append(f.chart.Images, r)
}

// imageLine is a line of a template that sets the image of a container.
var imageLine = regexp.MustCompile(`^\s*(?:-\s+)?["']?image["']?:\s*(\S.*?)\s*$`)

// template looks for images in a template's lines.
func (f *finder) template(text []byte, place string) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for n := 1; lines.Scan() && !f.full(); n++ {
		m := imageLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		name := m[1]
		if !strings.Contains(name, "{{") {
			name, _, _ = strings.Cut(name, " #")
		}
		f.take(strings.Trim(strings.TrimSpace(name), `"',`), fmt.Sprintf("%s:%d", place, n), false)
	}
}
