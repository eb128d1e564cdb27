// Package image reads container images from archives as docker save writes them
// and from OCI layouts, folders or archives, in one pass and in any order of
// their files. Layers run through; only manifests and configurations are kept.
//
// What is said of an image is computed from its content: the digest of every
// file, the digest of what every compressed layer unpacks to, sizes. All of it is
// compared with what the image says of itself. The formats:
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
// https://github.com/opencontainers/image-spec/blob/main/manifest.md
// https://github.com/moby/docker-image-spec/blob/main/v1.2.md
package image

import (
	"cmp"
	"slices"

	"github.com/poolhouse/poolhouse/bundle/archive"
)

// Image is an image of one platform, or an index of several.
type Image struct {
	// Names are what the archive calls it; there may be none.
	Names []string `json:"names"`
	// Digest is that of the manifest or index.
	Digest string `json:"digest"`
	// Made: the archive carries no manifest, as docker save's own format does
	// not. The digest is that of the manifest which a push makes of it.
	Made      bool   `json:"made,omitempty"`
	MediaType string `json:"mediaType"`
	// Size is how many bytes its files have, each counted once.
	Size int64 `json:"size"`
	// Platforms are its manifests.
	Platforms []Platform `json:"platforms"`
	// Manifests are what a push sends after the files: each manifest and index
	// once, after those that it lists; the image's own is the last.
	Manifests []Manifest `json:"-"`
}

// Manifest is a manifest or an index as it is stored.
type Manifest struct {
	Digest, MediaType string
	Text              []byte
	// Blobs are the files that a manifest names: layers and configuration.
	Blobs []Blob
}

// Blob is a layer or a configuration, with where the archive has it.
type Blob struct {
	Digest string
	Size   int64
	File   string
}

// add adds a manifest that is not there yet.
func (i *Image) add(m Manifest) {
	if !slices.ContainsFunc(i.Manifests, func(o Manifest) bool { return o.Digest == m.Digest }) {
		i.Manifests = append(i.Manifests, m)
	}
}

// Platform is one manifest of an image.
type Platform struct {
	// Platform is for example linux/arm64/v8; empty if the manifest is of
	// something that does not run, such as an attestation.
	Platform string `json:"platform,omitempty"`
	Digest   string `json:"digest"`
	// Config is the digest of the configuration, which Docker calls image id.
	Config string  `json:"config"`
	Size   int64   `json:"size"`
	Layers []Layer `json:"layers"`
}

// Layer is one layer of a platform.
type Layer struct {
	Digest string `json:"digest"`
	// DiffID is the digest of what it unpacks to.
	DiffID      string              `json:"diffID"`
	Compression archive.Compression `json:"compression,omitempty"`
	Size        int64               `json:"size"`
	// File is where the archive has it.
	File string `json:"-"`
}

// Digests are all digests by which an image may be asked for: its own and those
// of its manifests. One that was made counts for nobody else.
func (i Image) Digests() []string {
	if i.Made {
		return nil
	}
	out := []string{i.Digest}
	for _, p := range i.Platforms {
		if !slices.Contains(out, p.Digest) {
			out = append(out, p.Digest)
		}
	}
	return out
}

func sorted(images []Image) []Image {
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(slices.Compare(a.Names, b.Names), cmp.Compare(a.Digest, b.Digest))
	})
	return images
}
