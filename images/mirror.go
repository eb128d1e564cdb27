package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images/registry"
)

// Below is a registry as a goal of [Mirror]: each image goes to the repository of its
// own name below a path, which may be empty. Mutable lets tags be moved there, if the
// registry does.
func Below(c *registry.Client, path string, names []image.Reference, mutable bool) *Registry {
	g := &Registry{Client: c}
	for _, ref := range names {
		name := ref.Path()
		if path != "" {
			name = path + "/" + name
		}
		g.Repositories = append(g.Repositories, Repository{Name: name, Short: ref.Path(), There: true, Mutable: mutable})
	}
	return g
}

// Remote is where a registry has an image: a name without a registry is Docker Hub's.
func Remote(ref image.Reference) (host, repository string) {
	switch ref.Host() {
	case "", "docker.io":
		repository = ref.Path()
		if !strings.Contains(repository, "/") {
			repository = "library/" + repository
		}
		return "registry-1.docker.io", repository
	}
	return ref.Registry, ref.Repository
}

// maxManifests is how many manifests an image may have, maxDepth how deep its indexes
// may lie in one another, and maxDocuments how many bytes the manifests of all images
// may have, as in a bundle.
const (
	maxManifests = 1000
	maxDepth     = 4
	maxDocuments = 32 << 20
)

// Mirror works out what it takes to bring images from other registries into this
// one, with all their platforms. From is the way to a registry by its host. It only
// reads. What stands in the way is an error of kind [fault.Faults], as [Prepare] has
// it.
func Mirror(ctx context.Context, g *Registry, names []image.Reference, from func(host string) *registry.Client) (*Plan, error) {
	m, list, err := find(ctx, names, from)
	if err != nil {
		return nil, err
	}
	// A layer of the same registry is mounted from where it is.
	near := map[string]string{}
	for digest, o := range m.origins {
		if g.Client != nil && o.client.Host() == g.Client.Host() {
			near[digest] = o.repository
		}
	}
	return prepare(ctx, g, m, list, near, false)
}

// find reads what images of other registries consist of. What is wrong with them is an
// error of kind [fault.Faults].
func find(ctx context.Context, names []image.Reference, from func(host string) *registry.Client) (*mirrored, []bundle.Image, error) {
	m := &mirrored{origins: map[string]origin{}}
	clients := map[string]*registry.Client{}
	for _, ref := range names {
		host, _ := Remote(ref)
		if clients[host] == nil {
			clients[host] = from(host)
		}
	}
	list := make([]bundle.Image, len(names))
	if err := each(ctx, len(names), func(n int) (err error) {
		host, repository := Remote(names[n])
		list[n], err = m.read(ctx, names[n], clients[host], repository)
		return err
	}); err != nil {
		return nil, nil, err
	}
	if m.faults.Len() > 0 {
		return nil, nil, m.faults.Faults()
	}
	return m, list, nil
}

// origin is where a layer comes from.
type origin struct {
	blob       image.Blob
	client     *registry.Client
	repository string
}

// mirrored are images of other registries as a source.
type mirrored struct {
	mu      sync.Mutex
	faults  fault.List
	origins map[string]origin // by digest
	// documents is how many bytes the manifests have that were read.
	documents int
}

func (m *mirrored) fault(ref image.Reference, fix, reason string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.Add(ref.String(), fix, reason, args...)
}

// errFaulty is that an image was left, since it has a fault.
var errFaulty = errors.New("the image has a fault")

// read reads what an image consists of.
func (m *mirrored) read(ctx context.Context, ref image.Reference, c *registry.Client, repository string) (bundle.Image, error) {
	i := bundle.Image{File: ref.String(), Image: image.Image{Names: []string{ref.String()}}}
	seen := map[string]bool{}
	var down func(reference string, depth int) (registry.Manifest, error)
	down = func(reference string, depth int) (registry.Manifest, error) {
		what, err := c.Manifest(ctx, repository, reference)
		switch {
		case registry.IsNotFound(err) && depth == 0:
			m.fault(ref, "correct the name, or the tag or digest", "is not there: %v", err)
			return what, errFaulty
		case registry.IsNotFound(err):
			m.fault(ref, "have whoever pushed it push it again, with all its platforms", "lists the manifest %s, which is not there", reference)
			return what, errFaulty
		case err != nil:
			return what, err
		case seen[what.Digest]:
			return what, nil
		}
		if seen[what.Digest] = true; len(seen) > maxManifests || depth > maxDepth {
			m.fault(ref, "name its parts by their digests", "lists too many manifests, or lists within lists")
			return what, errFaulty
		}
		if !m.keep(what) {
			m.fault(ref, "name fewer images at once, and look at who made them", "has manifests that are, with those of the images before it, larger than %d bytes", maxDocuments)
			return what, errFaulty
		}
		manifests, blobs, err := image.Lists(what.MediaType, what.Text)
		if err != nil {
			m.fault(ref, "have it made anew with a current docker, podman or skopeo", "%s %v", what.Digest, err)
			return what, errFaulty
		}
		for _, l := range manifests {
			if _, err := down(l.Digest, depth+1); err != nil {
				return what, err
			}
		}
		for _, b := range blobs {
			if !m.put(origin{b, c, repository}) {
				m.fault(ref, "have it made anew", "says that %s has %d bytes, and another manifest has another number", b.Digest, b.Size)
				return what, errFaulty
			}
		}
		i.Manifests = append(i.Manifests, image.Manifest{Digest: what.Digest, MediaType: what.MediaType, Text: what.Text, Blobs: blobs})
		return what, nil
	}
	reference, tagged := tagOf(ref)
	if !tagged || ref.Digest != "" {
		reference = ref.Digest
	}
	top, err := down(reference, 0)
	i.Digest, i.MediaType = top.Digest, top.MediaType
	if errors.Is(err, errFaulty) {
		err = nil
	}
	return i, err
}

// keep tells whether there is room for a manifest.
func (m *mirrored) keep(what registry.Manifest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.documents += len(what.Text)
	return m.documents <= maxDocuments
}

// put takes down where a layer comes from; false if it is known with another size.
func (m *mirrored) put(o origin) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, is := m.origins[o.blob.Digest]
	if !is {
		m.origins[o.blob.Digest] = o
	}
	return !is || known.blob.Size == o.blob.Size
}

// layers implements [source]. Several are read side by side.
func (m *mirrored) layers(ctx context.Context, wanted func(string) bool, visit func(image.Blob, io.Reader) error, lost func(string, error)) error {
	var due []origin
	for _, digest := range slices.Sorted(maps.Keys(m.origins)) {
		if wanted(digest) {
			due = append(due, m.origins[digest])
		}
	}
	return each(ctx, len(due), func(n int) error {
		o := due[n]
		in := &late{open: func() (io.ReadCloser, error) { return o.client.Fetch(ctx, o.repository, o.blob.Digest) }}
		err := visit(o.blob, in)
		if in.err != nil {
			err = in.err
		}
		if err != nil && ctx.Err() == nil {
			lost(o.blob.Digest, err)
			err = nil
		}
		return errors.Join(err, in.Close())
	})
}

// other is a layer that the registry hands out otherwise than it should.
func (m *mirrored) other(b image.Blob) error {
	o := m.origins[b.Digest]
	return fmt.Errorf("%s hands out other bytes for layer %s of %s; have the image pushed there again", o.client.Host(), b.Digest, o.repository)
}

// late is opened when it is first read, which may be never.
type late struct {
	open func() (io.ReadCloser, error)
	in   io.ReadCloser
	err  error // why it can't be read
}

// Read implements [io.Reader].
func (l *late) Read(p []byte) (int, error) {
	if l.in == nil && l.err == nil {
		l.in, l.err = l.open()
	}
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// Close implements [io.Closer].
func (l *late) Close() error {
	if l.in == nil {
		return nil
	}
	return l.in.Close()
}
