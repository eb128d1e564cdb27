package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Listed is a manifest that an index lists.
type Listed struct{ Digest, MediaType string }

// Lists reads what a manifest names: an index other manifests, and another one
// files, each once, the configuration last. An error is that it is none of those that
// can be moved, and says what it is instead.
func Lists(mediaType string, text []byte) (manifests []Listed, blobs []Blob, err error) {
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, nil, fmt.Errorf("is not the JSON document that it should be: %w", err)
	}
	files := slices.Clone(doc.Layers)
	switch mediaType {
	case ociIndex, dockerIndex:
		if len(doc.Manifests) == 0 {
			return nil, nil, errors.New("lists no manifest")
		}
		files = doc.Manifests
	case ociManifest, dockerManifest:
		if doc.Config == nil {
			return nil, nil, errors.New("names no configuration")
		}
		files = append(files, *doc.Config)
	default:
		return nil, nil, fmt.Errorf("is a manifest of the unknown type %q", mediaType)
	}
	switch {
	case doc.MediaType != "" && doc.MediaType != mediaType:
		return nil, nil, fmt.Errorf("is of type %q and comes as %q", doc.MediaType, mediaType)
	case len(files) > maxManifests:
		return nil, nil, fmt.Errorf("lists more than %d images or layers", maxManifests)
	}
	seen := map[string]bool{}
	for _, d := range files {
		switch {
		case !Valid(d.Digest):
			return nil, nil, fmt.Errorf("names a file by %q, which is no digest of SHA-256", d.Digest)
		case d.Size < 0:
			return nil, nil, fmt.Errorf("says that %s has %d bytes", d.Digest, d.Size)
		// https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers
		case strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign."):
			return nil, nil, fmt.Errorf("has the layer %s, which registries do not hand out", d.Digest)
		case seen[d.Digest]:
		case mediaType == ociIndex || mediaType == dockerIndex:
			manifests = append(manifests, Listed{d.Digest, d.MediaType})
		default:
			blobs = append(blobs, Blob{Digest: d.Digest, Size: d.Size, File: d.Digest})
		}
		seen[d.Digest] = true
	}
	return manifests, blobs, nil
}
