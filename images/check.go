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
// have, each by its digest, in the repository that it belongs to: nothing is to be
// installed before it finds none. It only reads.
func (g *Registry) Check(ctx context.Context, c *bundle.Contents) (fault.Faults, error) {
	var refs []chart.Reference
	for _, h := range c.Charts {
		refs = append(refs, h.Images...)
	}
	_, faults, err := g.Locate(ctx, c, refs)
	return faults, err
}

// Locate finds by which names the images that charts name are pulled from the
// registry: by digest, from the repository that each belongs to. What the bundle or
// the registry doesn't have is a fault. It only reads.
func (g *Registry) Locate(ctx context.Context, c *bundle.Contents, refs []chart.Reference) (map[string]string, fault.Faults, error) {
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
	lacking := make([]bool, len(wants))
	var mu sync.Mutex
	err := each(ctx, len(wants), func(n int) error {
		is, err := g.Client.Digest(ctx, wants[n].repository.Name, wants[n].digest)
		mu.Lock()
		defer mu.Unlock()
		lacking[n] = is != wants[n].digest
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	at := map[string]string{}
	for n, w := range wants {
		at[w.ref.Image] = w.repository.URI + "@" + w.digest
		if lacking[n] {
			l.Add(w.ref.Place, push, "names the image %s, which %s does not have: %s", w.ref.Image, w.repository.Name, w.digest)
		}
	}
	return at, slices.Clip(l.Faults()), nil
}
