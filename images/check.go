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
	type want struct {
		ref                chart.Reference
		repository, digest string
	}
	var (
		l     fault.List
		wants []want
	)
	const push = "push the bundle's images: poolhouse images push"
	for _, h := range c.Charts {
		for _, ref := range h.Images {
			asked, _ := image.Parse(ref.Image)
			i, there := c.Named(ref)
			r, known := g.of(asked)
			switch {
			case !there:
				l.Add(ref.Place, "add its archive: poolhouse bundle build --image", "names the image %s, which is not in the bundle", ref.Image)
			case !known:
				l.Add(ref.Place, "add "+last(asked)+" to registry.repositories in deployment.yaml, and update the deployment", "names the image %s, and the deployment has no repository for it", ref.Image)
			case !r.There || g.Client == nil:
				l.Add(ref.Place, "create or update the deployment: its stack storage makes the repositories", "names the image %s, whose repository %s does not exist", ref.Image, r.Name)
			default:
				w := want{ref, r.Name, i.Digest}
				if asked.Digest != "" {
					w.digest = asked.Digest
				}
				wants = append(wants, w)
			}
		}
	}
	lacking := make([]bool, len(wants))
	var mu sync.Mutex
	err := each(ctx, len(wants), func(n int) error {
		is, err := g.Client.Digest(ctx, wants[n].repository, wants[n].digest)
		mu.Lock()
		defer mu.Unlock()
		lacking[n] = is != wants[n].digest
		return err
	})
	if err != nil {
		return nil, err
	}
	for n, w := range wants {
		if lacking[n] {
			l.Add(w.ref.Place, push, "names the image %s, which %s does not have: %s", w.ref.Image, w.repository, w.digest)
		}
	}
	return slices.Clip(l.Faults()), nil
}
