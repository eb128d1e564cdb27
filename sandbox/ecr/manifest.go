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

// whole refuses a manifest that names what is not in the repository.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
func (l *uploads) whole(tx *account.Tx, repo *account.Resource, media string, m manifest) error {
	if l.layers == nil {
		return nil
	}
	if media == "" && m.SchemaVersion == 2 {
		media = MediaImage
	}
	if m.SchemaVersion != 2 || !slices.Contains([]string{MediaImage, mediaIndex, mediaDocker, mediaList}, media) {
		return account.Errorf("InvalidParameterException", "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'the sandbox knows manifests of schema 2 of OCI and Docker, not of version %d and type %q'", m.SchemaVersion, media)
	}
	if err := keyWorks(tx, repo); err != nil {
		return err
	}
	var layers, images []string
	for _, d := range m.blobs() {
		if tx.Get(TypeLayer, repo.ID+"@"+d.Digest) == nil {
			layers = append(layers, d.Digest)
		}
	}
	for _, d := range m.Manifests {
		if tx.Get(TypeImage, repo.ID+"@"+d.Digest) == nil {
			images = append(images, d.Digest)
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

// referenced tells whether a list in the repository has an image, which then
// can't be deleted.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html
func referenced(tx *account.Tx, repo, i *account.Resource) bool {
	digest := props.Str(i.Data, "digest")
	return slices.ContainsFunc(images(tx, repo.ID), func(other *account.Resource) bool {
		return other != i && slices.ContainsFunc(manifestOf(other).Manifests, func(d descriptor) bool { return d.Digest == digest })
	})
}

// remove removes an image, with the layers that no other in the repository has.
func remove(tx *account.Tx, repo, i *account.Resource) {
	tx.Drop(TypeImage, i.ID)
	gone := manifestOf(i).blobs()
	if len(gone) == 0 {
		return
	}
	kept := map[string]bool{}
	for _, other := range images(tx, repo.ID) {
		for _, d := range manifestOf(other).blobs() {
			kept[d.Digest] = true
		}
	}
	for _, d := range gone {
		if !kept[d.Digest] {
			tx.Drop(TypeLayer, repo.ID+"@"+d.Digest)
		}
	}
}
