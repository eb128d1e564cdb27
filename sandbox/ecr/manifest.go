package ecr

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The media types of what an image consists of, and of lists of images.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html
const (
	MediaImage  = "application/vnd.oci.image.manifest.v1+json"
	mediaIndex  = "application/vnd.oci.image.index.v1+json"
	mediaDocker = "application/vnd.docker.distribution.manifest.v2+json"
	mediaList   = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// manifest is as much of an image's manifest, or of a list of them, as there is
// to look at.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
	Manifests     []descriptor `json:"manifests"`
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

func parseManifest(text string) (m manifest, err error) {
	err = json.Unmarshal([]byte(text), &m)
	return m, err
}

// manifestOf is an image's, which was looked at when it came.
func manifestOf(i *account.Resource) manifest {
	m, _ := parseManifest(props.Str(i.Data, "manifest"))
	return m
}

// blobs are what an image consists of, apart from layers that are fetched from
// where they come from.
// https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers
func (m manifest) blobs() []descriptor {
	var out []descriptor
	for _, d := range append([]descriptor{m.Config}, m.Layers...) {
		if d.Digest != "" && !strings.Contains(d.MediaType, "foreign") && !strings.Contains(d.MediaType, "nondistributable") {
			out = append(out, d)
		}
	}
	return out
}

// whole refuses a manifest that names what is not in the repository: images, and
// layers where they are held.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
func (l *uploads) whole(tx *account.Tx, repo *account.Resource, media string, m manifest) error {
	var layers, images []string
	for _, d := range m.Manifests {
		if tx.Get(TypeImage, repo.ID+"@"+d.Digest) == nil {
			images = append(images, d.Digest)
		}
	}
	if l.layers != nil {
		if media == "" && m.SchemaVersion == 2 {
			media = MediaImage
		}
		if m.SchemaVersion != 2 || !slices.Contains([]string{MediaImage, mediaIndex, mediaDocker, mediaList}, media) {
			return account.Errorf("InvalidParameterException", "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'the sandbox knows manifests of schema 2 of OCI and Docker, not of version %d and type %q'", m.SchemaVersion, media)
		}
		if err := keyWorks(tx, repo); err != nil {
			return err
		}
		for _, d := range m.blobs() {
			if tx.Get(TypeLayer, repo.ID+"@"+d.Digest) == nil {
				layers = append(layers, d.Digest)
			}
		}
	}
	switch {
	case len(layers) > 0:
		return account.Errorf("LayersNotFoundException", "Layers with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist", strings.Join(layers, ", "), repo.ID, tx.AccountID())
	case len(images) > 0:
		return account.Errorf("ReferencedImagesNotFoundException", "Images with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist", strings.Join(images, ", "), repo.ID, tx.AccountID())
	}
	return nil
}

// size is that of what an image consists of, for a list that of its largest.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html
func size(tx *account.Tx, repo, i *account.Resource) int64 {
	m := manifestOf(i)
	var sum, largest int64
	for _, d := range append([]descriptor{m.Config}, m.Layers...) {
		sum += max(d.Size, 0)
	}
	seen := map[string]bool{}
	for _, d := range m.Manifests {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		// A list names images only, and no list.
		if part := tx.Get(TypeImage, repo.ID+"@"+d.Digest); part != nil && len(manifestOf(part).Manifests) == 0 {
			largest = max(largest, size(tx, repo, part))
		}
	}
	if sum = max(sum, largest); sum == 0 {
		return int64(len(props.Str(i.Data, "manifest")))
	}
	return sum
}

// refers counts an image's manifest in for each layer and image that it names, or
// out again, and returns the layers that none has any more. Layers have "images",
// and images the "lists" that have them.
func refers(tx *account.Tx, repo *account.Resource, m manifest, by int) (unused []*account.Resource) {
	seen := map[string]bool{}
	count := func(typ, what string, d descriptor) *account.Resource {
		r := tx.Get(typ, repo.ID+"@"+d.Digest)
		if seen[d.Digest] || r == nil {
			return nil
		}
		seen[d.Digest] = true
		r.Data[what] = max(props.Int(r.Data, 0, what)+by, 0)
		return r
	}
	for _, d := range m.blobs() {
		layer := count(TypeLayer, "images", d)
		switch {
		case layer == nil:
		case props.Int(layer.Data, 0, "images") == 0:
			unused = append(unused, layer)
		case props.Str(layer.Data, "media") == "":
			layer.Data["media"] = d.MediaType
		}
	}
	for _, d := range m.Manifests {
		count(TypeImage, "lists", d)
	}
	return unused
}

// referenced tells whether a list in the repository has an image, which then
// can't be deleted.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html
func referenced(i *account.Resource) bool { return props.Int(i.Data, 0, "lists") > 0 }

// remove removes an image, with the layers that no other in the repository has.
func remove(tx *account.Tx, repo, i *account.Resource) {
	tx.Drop(TypeImage, i.ID)
	for _, layer := range refers(tx, repo, manifestOf(i), -1) {
		tx.Drop(TypeLayer, layer.ID)
	}
}
