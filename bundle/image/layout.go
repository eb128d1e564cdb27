package image

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
)

// Media types of manifests.
const (
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociLayer       = "application/vnd.oci.image.layer.v1.tar"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// Bounds of what an index may list, and how deep.
const (
	maxManifests = 1000
	maxDepth     = 4
	maxReads     = 10_000
)

// descriptor points to a file by its digest.
// https://github.com/opencontainers/image-spec/blob/main/descriptor.md
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

func (p platform) String() string {
	if p.OS == "" || p.OS == "unknown" {
		return ""
	}
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// document is a manifest or an index.
type document struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
	Config        *descriptor  `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// config is what is read of an image's configuration.
type config struct {
	platform
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

const again = "save the image again and make the bundle from that"

// layout reads the images that index.json lists.
func (c *Collector) layout(index *file) []Image {
	place := fault.Inside(c.place, "index.json")
	var version struct {
		Version string `json:"imageLayoutVersion"`
	}
	if f := c.files["oci-layout"]; f == nil {
		c.b.Add(c.place, again, "has index.json and no oci-layout, so it is no whole OCI layout")
	} else if at := fault.Inside(c.place, "oci-layout"); c.decode(f, at, &version) && !strings.HasPrefix(version.Version, "1.") {
		c.b.Add(at, "save the image as an OCI layout of version 1", "is an OCI layout of the unknown version %s", fault.Quoted(version.Version))
	}
	top, ok := c.document(index, place)
	if !ok {
		return nil
	}
	if len(top.Manifests) == 0 {
		c.b.Add(place, again, "lists no image")
	}
	var images []Image
	for _, d := range top.Manifests {
		name := nameOf(d.Annotations)
		if i := slices.IndexFunc(images, func(i Image) bool { return i.Digest == d.Digest }); i >= 0 {
			if name != "" && !slices.Contains(images[i].Names, name) {
				images[i].Names = append(images[i].Names, name)
			}
			continue
		}
		image := Image{Names: []string{}, Digest: d.Digest, Platforms: []Platform{}}
		if name != "" {
			image.Names = append(image.Names, name)
		}
		sizes := map[string]int64{}
		c.listed = map[string]bool{}
		if c.read(&image, d, place, 0, sizes) {
			for _, n := range sizes {
				image.Size += n
			}
			images = append(images, image)
		}
	}
	return images
}

// nameOf is the name that a layout gives an image. containerd notes the whole
// name; others note it, or its tag alone, as reference.
// https://github.com/opencontainers/image-spec/blob/main/annotations.md
func nameOf(annotations map[string]string) string {
	if name := annotations["io.containerd.image.name"]; name != "" {
		if _, ok := Parse(name); ok {
			return name
		}
	}
	name := annotations["org.opencontainers.image.ref.name"]
	if r, ok := Parse(name); ok && (r.Tag != "" || r.Registry != "") {
		return name
	}
	return ""
}

// read reads a manifest or an index with all that it lists.
func (c *Collector) read(image *Image, d descriptor, from string, depth int, sizes map[string]int64) bool {
	if c.reads++; c.reads > maxReads {
		c.b.Add(c.place, "split it", "lists more than %d manifests", maxReads)
		return false
	}
	f := c.resolve(d, from)
	if f == nil {
		return false
	}
	place := fault.Inside(c.place, f.name)
	doc, ok := c.document(f, place)
	if !ok {
		return false
	}
	if doc.MediaType != "" && doc.MediaType != d.MediaType {
		c.b.Add(place, again, "is of type %s and listed as %s", fault.Quoted(doc.MediaType), fault.Quoted(d.MediaType))
		return false
	}
	if depth == 0 {
		image.MediaType = d.MediaType
	}
	sizes[d.Digest] = f.size
	switch d.MediaType {
	case ociIndex, dockerIndex:
		if depth >= maxDepth {
			c.b.Add(place, "split it", "lists too many manifests, or lists within lists")
			return false
		}
		if c.listed[d.Digest] {
			return true
		}
		c.listed[d.Digest] = true
		if len(doc.Manifests) == 0 {
			c.b.Add(place, again, "lists no manifest")
		}
		for _, m := range doc.Manifests {
			c.read(image, m, place, depth+1, sizes)
		}
		image.add(Manifest{Digest: d.Digest, MediaType: d.MediaType, Text: f.text})
		return true
	case ociManifest, dockerManifest:
		if len(image.Platforms) >= maxManifests {
			c.b.Add(place, "split it", "is one of more than %d manifests of an image", maxManifests)
			return false
		}
		p, blobs, ok := c.manifest(doc, d, place, sizes)
		if ok {
			image.Platforms = append(image.Platforms, p)
			image.add(Manifest{Digest: d.Digest, MediaType: d.MediaType, Text: f.text, Blobs: blobs})
		}
		return ok
	}
	c.b.Add(place, "save the image with a current docker, podman or skopeo", "is a manifest of the unknown type %s", fault.Quoted(d.MediaType))
	return false
}

// manifest checks one manifest with its configuration and layers.
func (c *Collector) manifest(doc *document, d descriptor, place string, sizes map[string]int64) (p Platform, blobs []Blob, ok bool) {
	p = Platform{Digest: d.Digest, Layers: []Layer{}}
	if d.Platform != nil {
		p.Platform = d.Platform.String()
	}
	if doc.Config == nil {
		c.b.Add(place, again, "names no configuration")
		return p, nil, false
	}
	if !c.b.Items(place, 1+len(doc.Layers)) {
		return p, nil, false
	}
	var layers []*file
	for _, l := range doc.Layers {
		f := c.resolve(l, place)
		if f == nil {
			return p, nil, false
		}
		if is, says := f.compression, compressionOf(l.MediaType); says != nil && is != *says {
			c.b.Add(fault.Inside(c.place, f.name), again, "is listed as %s and is not compressed like that", fault.Quoted(l.MediaType))
		}
		layers = append(layers, f)
		sizes[f.digest] = f.size
		p.Size += f.size
		p.Layers = append(p.Layers, Layer{f.digest, f.diffID, f.compression, f.size, f.name})
		blobs = append(blobs, Blob{f.digest, f.size, f.name})
	}
	f := c.resolve(*doc.Config, place)
	if f == nil {
		return p, nil, false
	}
	sizes[f.digest] = f.size
	p.Config, p.Size = f.digest, p.Size+f.size+d.Size
	blobs = append(blobs, Blob{f.digest, f.size, f.name})
	if t := doc.Config.MediaType; t != ociConfig && t != dockerConfig {
		return p, blobs, true // not an image that runs: a chart, a signature
	}
	ok = c.configuration(&p, f, layers, d.Platform != nil)
	return p, blobs, ok
}

// configuration compares a configuration with the layers that it is about.
func (c *Collector) configuration(p *Platform, f *file, layers []*file, listed bool) bool {
	place := fault.Inside(c.place, f.name)
	if f.config == nil {
		f.config = &parsed[config]{}
		f.config.ok = c.decode(f, place, &f.config.value)
	}
	if !f.config.ok {
		return false
	}
	conf := &f.config.value
	own := conf.String()
	switch {
	case !listed:
		p.Platform = own
	case p.Platform == "": // an attestation: https://docs.docker.com/build/metadata/attestations/attestation-storage/
		return true
	case own != p.Platform && !strings.HasPrefix(p.Platform, own+"/") && !strings.HasPrefix(own, p.Platform+"/"):
		c.b.Add(place, again, "is for %s and listed as %s", fault.Quoted(own), fault.Quoted(p.Platform))
	}
	if len(conf.RootFS.DiffIDs) != len(layers) {
		c.b.Add(place, again, "is about %d layers, and the manifest has %d", len(conf.RootFS.DiffIDs), len(layers))
		return false
	}
	for i, l := range layers {
		if l.diffID != "" && l.diffID != conf.RootFS.DiffIDs[i] {
			c.b.Add(fault.Inside(c.place, l.name), again, "unpacks to %s, and the configuration says %s", l.diffID, fault.Quoted(conf.RootFS.DiffIDs[i]))
		}
	}
	return true
}

// resolve is the file that a descriptor points to, if it is there and whole.
func (c *Collector) resolve(d descriptor, from string) *file {
	if !Valid(d.Digest) {
		c.b.Add(from, again, "names a file by %s, which is no digest of SHA-256", fault.Quoted(d.Digest))
		return nil
	}
	f := c.blob(d.Digest)
	switch {
	case f == nil:
		c.b.Add(from, "save the image with all its platforms, for example with: skopeo copy --all", "names %s, which is not there", d.Digest)
		return nil
	case f.digest != d.Digest:
		return nil // the file has its fault
	case f.size != d.Size:
		c.b.Add(from, again, "says that %s has %d bytes; it has %d", d.Digest, d.Size, f.size)
		return nil
	}
	return f
}

// parsed is what a file holds as JSON, read once however often it is listed.
type parsed[T any] struct {
	value T
	ok    bool
}

// document reads a manifest or an index, once.
func (c *Collector) document(f *file, place string) (*document, bool) {
	if f.document == nil {
		f.document = &parsed[document]{}
		doc := &f.document.value
		f.document.ok = c.decode(f, place, doc)
		if len(doc.Manifests) > maxManifests || len(doc.Layers) > maxManifests {
			c.b.Add(place, "split it", "lists more than %d images or layers", maxManifests)
			*f.document = parsed[document]{}
		}
	}
	return &f.document.value, f.document.ok
}

// decode reads a document that was kept.
func (c *Collector) decode(f *file, place string, into any) bool {
	if f.text == nil {
		c.b.Add(place, again, "is no JSON document, or too large for one")
		return false
	}
	if err := json.Unmarshal(f.text, into); err != nil {
		c.b.Add(place, again, "is not the JSON document that it should be: %v", err)
		return false
	}
	return true
}

// compressionOf is how a layer of a media type is compressed; nil if the type is
// of none that runs.
func compressionOf(mediaType string) *archive.Compression {
	base, suffix, _ := strings.Cut(mediaType, "+")
	c := archive.Compression(suffix)
	switch base {
	case ociLayer, "application/vnd.docker.image.rootfs.diff.tar":
		return &c
	case "application/vnd.docker.image.rootfs.diff.tar.gzip":
		c = archive.Gzip
		return &c
	}
	return nil
}

// mediaType is the type of a layer as it is stored.
func mediaType(c archive.Compression) string {
	if c == archive.None {
		return ociLayer
	}
	return ociLayer + "+" + string(c)
}
