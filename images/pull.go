package images

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/transfer"
)

// PullOptions say how images are pulled.
type PullOptions struct {
	// Limits bound what is pulled, by files and bytes; the zero Limits are
	// [archive.Default].
	Limits archive.Limits
	// Meter counts the bytes, and Limit bounds how fast layers are pulled; both may be
	// nil.
	Meter *transfer.Meter
	Limit *transfer.Limit
}

// Pull brings images of registries into a folder, with all their platforms, as one
// OCI layout that holds nothing else. Every file is compared with its digest and its
// size before it gets its name. A tag is asked for once, and what it stands for then is
// what the layout has. From is the way to a registry by its host.
//
// It can be repeated after any error, an interrupt or a kill: files that are whole are
// not pulled again. Files of images that are no longer asked for are removed; a folder
// that holds anything else is refused. What is wrong is an error of kind
// [fault.Faults]. Two must not pull into one folder at the same time.
func Pull(ctx context.Context, dir string, names []image.Reference, from func(host string) *registry.Client, o PullOptions) error {
	if o.Limits == (archive.Limits{}) {
		o.Limits = archive.Default()
	}
	found, list, err := find(ctx, names, from)
	if err != nil {
		return err
	}
	l := &layout{source: found, texts: map[string][]byte{}, limit: o.Limit}
	for _, i := range list {
		for _, m := range i.Manifests {
			l.texts[m.Digest] = m.Text
		}
	}
	if err := l.bounded(o.Limits); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, blobs), 0o700); err != nil {
		return fmt.Errorf("make a folder for images: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("make a folder for images: %w", err)
	}
	l.root = root
	return errors.Join(l.fill(ctx, list, o.Meter), root.Close())
}

// blobs is where a layout has its files.
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
const blobs = "blobs/sha256"

// layout is an OCI layout on its way to disk.
type layout struct {
	root   *os.Root
	source *mirrored
	// texts are manifests and indexes by digest; layers and configurations are the
	// source's origins.
	texts map[string][]byte
	size  int64
	limit *transfer.Limit
}

// bounded adds up what is to be pulled, before any of it is.
func (l *layout) bounded(limits archive.Limits) error {
	const look = "name fewer images at once, and look at who made them"
	var faults fault.List
	if n := len(l.source.origins) + len(l.texts); n > limits.Members {
		faults.Add("the images to pull", look, "have %d files, more than %d", n, limits.Members)
	}
	for _, text := range l.texts {
		l.size += int64(len(text))
	}
	for _, o := range l.source.origins {
		if o.blob.Size > limits.Bytes-l.size {
			faults.Add("the images to pull", look, "have more than %d bytes in all", limits.Bytes)
			break
		}
		l.size += o.blob.Size
	}
	if faults.Len() > 0 {
		return faults.Faults()
	}
	return nil
}

func (l *layout) fill(ctx context.Context, list []bundle.Image, meter *transfer.Meter) error {
	if err := tidy(l.root, []string{"blobs", blobs}, layoutForm, l.wants); err != nil {
		return err
	}
	item := meter.Start("pulling images", l.size)
	err := l.files(ctx, item)
	if err == nil {
		err = l.index(list)
	}
	item.End(err)
	return err
}

// layoutForm is what the files of a layout are called.
var layoutForm = regexp.MustCompile(`^(index\.json|oci-layout|` + blobs + `/[0-9a-f]{64})$`)

// wants tells whether a file is one of what is pulled.
func (l *layout) wants(name string) bool {
	hash, _ := strings.CutPrefix(name, blobs+"/")
	_, layer := l.source.origins["sha256:"+hash]
	return layer || l.texts["sha256:"+hash] != nil
}

// files pulls all files, several side by side. After an error none is begun.
func (l *layout) files(ctx context.Context, item *transfer.Item) error {
	for _, digest := range slices.Sorted(maps.Keys(l.texts)) {
		b := image.Blob{Digest: digest, Size: int64(len(l.texts[digest]))}
		if err := l.write(b, strings.NewReader(string(l.texts[digest]))); err != nil {
			return err
		}
		item.Move(b.Size)
	}
	due := slices.Sorted(maps.Keys(l.source.origins))
	return each(ctx, len(due), func(n int) error {
		o := l.source.origins[due[n]]
		there, err := l.goal(o.blob).there(ctx, l.root)
		if err != nil {
			return err
		}
		if there {
			item.Skip(o.blob.Size)
			return nil
		}
		in, err := o.client.Fetch(ctx, o.repository, o.blob.Digest)
		if err != nil {
			return err
		}
		return errors.Join(l.write(o.blob, transfer.Reader(ctx, in, item, l.limit)), in.Close())
	})
}

func (l *layout) goal(b image.Blob) goal {
	return goal{name: blobs + "/" + strings.TrimPrefix(b.Digest, "sha256:"), digest: b.Digest, size: b.Size}
}

// write writes a file that has no name before it is whole.
func (l *layout) write(b image.Blob, from io.Reader) error {
	err := l.goal(b).save(l.root, from)
	if _, other := errors.AsType[*wrongError](err); other {
		return l.source.other(b)
	}
	return err
}

// listed is an image in index.json.
type listed struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

// index writes what makes the files a layout: the same for the same images, in whatever
// order they were named.
func (l *layout) index(list []bundle.Image) error {
	entries := []listed{}
	for _, i := range list {
		ref, _ := image.Parse(i.Names[0])
		// Names as docker and containerd write them.
		annotations := map[string]string{}
		if tag, tagged := tagOf(ref); tagged {
			ref.Tag, ref.Digest = tag, ""
			annotations["org.opencontainers.image.ref.name"] = tag
		}
		annotations["io.containerd.image.name"] = ref.String()
		entries = append(entries, listed{i.MediaType, i.Digest, int64(len(l.texts[i.Digest])), annotations})
	}
	slices.SortFunc(entries, func(a, b listed) int {
		const name = "io.containerd.image.name"
		return cmp.Or(cmp.Compare(a.Annotations[name], b.Annotations[name]), cmp.Compare(a.Digest, b.Digest))
	})
	text, err := json.Marshal(struct {
		SchemaVersion int      `json:"schemaVersion"`
		MediaType     string   `json:"mediaType"`
		Manifests     []listed `json:"manifests"`
	}{2, "application/vnd.oci.image.index.v1+json", slices.CompactFunc(entries, func(a, b listed) bool {
		return a.Digest == b.Digest && maps.Equal(a.Annotations, b.Annotations)
	})})
	if err != nil {
		return err
	}
	return errors.Join(
		l.root.WriteFile("index.json", text, 0o600),
		l.root.WriteFile("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600),
	)
}
