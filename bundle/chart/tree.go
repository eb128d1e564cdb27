package chart

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/fault"
)

// meta is what is read of Chart.yaml.
type meta struct {
	Name, Version, AppVersion string
	// Images are those of Artifact Hub's annotation.
	Images []Reference
}

// tree is a chart with the charts in it.
type tree struct {
	meta      meta
	values    *value
	templates map[string][]byte // by place
	// within are charts by the names under which values are passed to them.
	within map[string]*tree
}

var (
	// https://helm.sh/docs/chart_best_practices/conventions/
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?$`)
	// https://semver.org, with the v that Helm allows.
	versionForm = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

// tree reads the chart in a folder of this one's files.
func (c *Collector) tree(dir, place string) (*tree, bool) {
	at := fault.Inside(place, "Chart.yaml")
	text, ok := c.files[dir+"Chart.yaml"]
	if !ok {
		c.b.Add(place, "put charts in as packed files or folders with a Chart.yaml", "has no Chart.yaml, so it is no chart")
		return nil, false
	}
	doc := c.parse(text, at)
	if doc == nil {
		return nil, false
	}
	t := &tree{templates: map[string][]byte{}, within: map[string]*tree{}}
	t.meta = meta{Name: doc.text("name"), Version: doc.text("version"), AppVersion: doc.text("appVersion")}
	if !nameForm.MatchString(t.meta.Name) {
		c.b.Add(at, "correct the chart", "has no usable name: %s", fault.Quoted(t.meta.Name))
		ok = false
	}
	if !versionForm.MatchString(t.meta.Version) {
		c.b.Add(at, "correct the chart", "has no usable version: %s", fault.Quoted(t.meta.Version))
		ok = false
	}
	if !ok {
		return nil, false
	}
	t.meta.Images = c.annotated(doc, at)
	if text, ok := c.files[dir+"values.yaml"]; ok {
		t.values = c.parse(text, fault.Inside(place, "values.yaml"))
	}
	for name, text := range c.files {
		if rest, ok := strings.CutPrefix(name, dir+"templates/"); ok {
			t.templates[fault.Inside(place, "templates/"+rest)] = text
		}
	}
	found := c.inner(dir, place)
	for _, d := range doc.get("dependencies").items() {
		name, alias := d.text("name"), d.text("alias")
		sub := found[name]
		if sub == nil {
			c.b.Add(at, "fetch it with: helm dependency update", "depends on the chart %s, which is not in its folder charts", fault.Quoted(name))
			continue
		}
		if alias != "" {
			t.within[alias] = sub
			continue
		}
		t.within[name] = sub
	}
	for name, sub := range found { // a chart that is there is installed, named or not
		if !slices.Contains(slices.Collect(maps.Values(t.within)), sub) {
			t.within[name] = sub
		}
	}
	return t, true
}

// inner are the charts within a chart, by name.
func (c *Collector) inner(dir, place string) map[string]*tree {
	found := map[string]*tree{}
	add := func(t *tree, ok bool) {
		if ok {
			found[t.meta.Name] = t
		}
	}
	for name := range c.files {
		rest, ok := strings.CutPrefix(name, dir+"charts/")
		folder, file, _ := strings.Cut(rest, "/")
		if ok && file == "Chart.yaml" && strings.Count(name, "/charts/") < maxDepth {
			sub := dir + "charts/" + folder + "/"
			add(c.tree(sub, fault.Inside(place, "charts/"+folder)))
		}
	}
	for _, p := range c.packed {
		if path.Dir(p.name) == dir+"charts" {
			add(p.tree("", p.place))
		}
	}
	return found
}
