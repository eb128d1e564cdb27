package image

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/poolhouse/poolhouse/bundle/fault"
)

// saved is an image in manifest.json, as docker save writes it.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// list reads manifest.json.
func (c *Collector) list(f *file) (list []saved, place string) {
	place = fault.Inside(c.place, "manifest.json")
	if !c.decode(f, place, &list) {
		return nil, place
	}
	if len(list) == 0 {
		c.b.Add(place, again, "lists no image")
	}
	if len(list) > maxManifests {
		c.b.Add(place, "split it", "lists more than %d images", maxManifests)
		return nil, place
	}
	return list, place
}

// saved reads the images of an archive without manifests. That which a push
// makes is made here: the layers as they are stored.
func (c *Collector) saved(f *file) []Image {
	list, place := c.list(f)
	var images []Image
	for _, s := range list {
		if !c.b.Items(place, 1+len(s.Layers)+len(s.RepoTags)) {
			break
		}
		conf := c.find(s.Config)
		if conf == nil {
			c.b.Add(place, again, "names the configuration %s, which is not there", fault.Quoted(s.Config))
			continue
		}
		var (
			p      = Platform{Config: conf.digest, Size: conf.size, Layers: []Layer{}}
			made   = document{SchemaVersion: 2, MediaType: ociManifest, Config: &descriptor{MediaType: ociConfig, Digest: conf.digest, Size: conf.size}, Layers: []descriptor{}}
			layers []*file
			blobs  = []Blob{{conf.digest, conf.size, conf.name}}
			sizes  = map[string]int64{conf.digest: conf.size}
		)
		for _, name := range s.Layers {
			l := c.find(name)
			if l == nil {
				c.b.Add(place, again, "names the layer %s, which is not there", fault.Quoted(name))
				break
			}
			layers = append(layers, l)
			sizes[l.digest] = l.size
			p.Size += l.size
			p.Layers = append(p.Layers, Layer{l.digest, l.diffID, l.compression, l.size, l.name})
			blobs = append(blobs, Blob{l.digest, l.size, l.name})
			made.Layers = append(made.Layers, descriptor{MediaType: mediaType(l.compression), Digest: l.digest, Size: l.size})
		}
		if len(layers) < len(s.Layers) || !c.configuration(&p, conf, layers, false) {
			continue
		}
		text, err := made.encode()
		if err != nil {
			c.b.Add(place, again, "can't be made a manifest: %v", err)
			continue
		}
		p.Digest, p.Size = digestOf(text), p.Size+int64(len(text))
		image := Image{Names: c.tags(s, place), Digest: p.Digest, Made: true, MediaType: ociManifest, Size: int64(len(text)), Platforms: []Platform{p}}
		for _, n := range sizes {
			image.Size += n
		}
		image.add(Manifest{Digest: p.Digest, MediaType: ociManifest, Text: text, Blobs: blobs})
		images = append(images, image)
	}
	return images
}

// encode is a manifest as a push sends it: the same for the same content.
func (d document) encode() ([]byte, error) {
	return json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        *descriptor  `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{d.SchemaVersion, d.MediaType, d.Config, d.Layers})
}

func (c *Collector) tags(s saved, place string) []string {
	names := []string{}
	for _, name := range s.RepoTags {
		if _, ok := Parse(name); !ok {
			c.b.Add(place, again, "calls an image %s, which is no name of an image", fault.Quoted(name))
			continue
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// compare holds manifest.json to index.json where an archive has both, as docker
// save writes it since version 25: programs differ in which they read. Names that
// only manifest.json has are added.
func (c *Collector) compare(f *file, images []Image) {
	list, place := c.list(f)
	for _, s := range list {
		conf := c.find(s.Config)
		i := slices.IndexFunc(images, func(i Image) bool {
			return slices.ContainsFunc(i.Platforms, func(p Platform) bool { return conf != nil && p.Config == conf.digest && c.same(p.Layers, s.Layers) })
		})
		if i < 0 {
			c.b.Add(place, again, "has an image, %s, that index.json does not have with the same layers", fault.Quoted(fmt.Sprint(s.RepoTags)))
			continue
		}
		for _, name := range c.tags(s, place) {
			if !slices.ContainsFunc(images[i].Names, func(n string) bool { return equal(n, name) }) {
				images[i].Names = append(images[i].Names, name)
			}
		}
	}
}

func (c *Collector) same(layers []Layer, names []string) bool {
	return slices.EqualFunc(layers, names, func(l Layer, name string) bool {
		f := c.find(name)
		return f != nil && f.digest == l.Digest
	})
}

// equal tells whether two names are of the same image.
func equal(a, b string) bool {
	x, _ := Parse(a)
	y, _ := Parse(b)
	return x.Same(y) && x.Tag == y.Tag
}
