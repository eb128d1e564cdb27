package images

import (
	"context"
	"slices"
	"sync"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/chart"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// Check finds the images that the charts of a bundle name and the registry does not
// have, each by its digest, in the repository that it belongs to. It only reads, and asks
// for none of which the plan knows, or its push, whether it is there.
func (p *Plan) Check(ctx context.Context, c *bundle.Contents) (fault.Faults, error) {
	var refs []chart.Reference
	for _, h := range c.Charts {
		refs = append(refs, h.Images...)
	}
	_, faults, err := p.registry.locate(ctx, c, refs, p.known)
	return faults, err
}

// known tells whether a repository has a manifest, if that is known.
func (p *Plan) known(repository, digest string) (there, known bool) {
	for _, i := range p.Images {
		if i.Repository != repository {
			continue
		}
		whole := i.Whole || p.pushed
		switch {
		case digest == i.Digest:
			return whole, true
		case whole && slices.ContainsFunc(i.image.Manifests, func(m image.Manifest) bool { return m.Digest == digest }):
			return true, true
		}
	}
	return false, false
}

// Locate finds by which names the images that charts name are pulled from the
// registry: by digest, from the repository that each belongs to. What the bundle or
// the registry doesn't have is a fault. It only reads.
func (g *Registry) Locate(ctx context.Context, c *bundle.Contents, refs []chart.Reference) (map[string]string, fault.Faults, error) {
	return g.locate(ctx, c, refs, func(string, string) (bool, bool) { return false, false })
}

// locate is [Registry.Locate] that asks only for what isn't known.
func (g *Registry) locate(ctx context.Context, c *bundle.Contents, refs []chart.Reference, known func(repository, digest string) (there, known bool)) (map[string]string, fault.Faults, error) {
	type want struct {
		ref        chart.Reference
		repository Repository
		digest     string
	}
	var (
		l     fault.List
		wants []want
	)
	const push = "push the bundle's images: poolhouse images push"
	for _, ref := range refs {
		asked, _ := image.Parse(ref.Image)
		i, there := c.Named(ref)
		r, known := g.of(asked)
		switch {
		case !there:
			l.Add(ref.Place, "add its archive by --image, or the image by --pull: poolhouse bundle build", "names the image %s, which is not in the bundle", ref.Image)
		case !known:
			l.Add(ref.Place, "add "+last(asked)+" to registry.repositories in deployment.yaml, and update the deployment", "names the image %s, and the deployment has no repository for it", ref.Image)
		case !r.There || g.Client == nil:
			l.Add(ref.Place, "create or update the deployment: its stack storage makes the repositories", "names the image %s, whose repository %s does not exist", ref.Image, r.Name)
		default:
			w := want{ref, r, i.Digest}
			if asked.Digest != "" {
				w.digest = asked.Digest
			}
			wants = append(wants, w)
		}
	}
	lacking, asks := map[place]bool{}, []place{}
	for _, w := range wants {
		at := place{w.digest, w.repository.Name}
		if _, is := lacking[at]; is {
			continue
		}
		there, sure := known(at.repository, at.digest)
		if lacking[at] = !there; !sure {
			asks = append(asks, at)
		}
	}
	var mu sync.Mutex
	err := each(ctx, len(asks), func(n int) error {
		at := asks[n]
		is, err := g.Client.Digest(ctx, at.repository, at.digest)
		mu.Lock()
		defer mu.Unlock()
		lacking[at] = is != at.digest
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	at := map[string]string{}
	for _, w := range wants {
		at[w.ref.Image] = w.repository.URI + "@" + w.digest
		if lacking[place{w.digest, w.repository.Name}] {
			l.Add(w.ref.Place, push, "names the image %s, which %s does not have: %s", w.ref.Image, w.repository.Name, w.digest)
		}
	}
	return at, slices.Clip(l.Faults()), nil
}
