package images

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// Plan is what a push does: which image goes where, and what of it is there.
type Plan struct {
	Images []Image `json:"images"`
	// Send is how many bytes go to the registry, Mount how many needn't since
	// another repository of it has or gets them, and There how many are where they
	// belong.
	Send  int64 `json:"sendBytes"`
	Mount int64 `json:"mountBytes"`
	There int64 `json:"thereBytes"`

	source   source
	registry *Registry
	pushed   bool // and all of it is there
	// lacks are the repositories that lack a layer or configuration, by digest;
	// somewhere says that one has it, and has which one has it in an image.
	lacks     map[string][]string
	somewhere map[string]bool
	has       map[string]string
}

// Image is an image of a bundle in a repository.
type Image struct {
	// File is where the bundle has it, or the name of one that is mirrored.
	File       string `json:"file"`
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	// Tags are those that it gets, and Lacks those of them that it doesn't have. What
	// the bundle names by its digest alone gets none.
	Tags  []string `json:"tags"`
	Lacks []string `json:"lacks"`
	// Whole tells that its manifest is there, with all that it names.
	Whole bool `json:"whole"`
	// Size is how many bytes its layers and configurations have, and Send how many
	// of these are not yet in the repository.
	Size int64 `json:"size"`
	Send int64 `json:"sendBytes"`

	image image.Image
	blobs []image.Blob // each once
}

// Name is an image's for people.
func (i *Image) Name() string {
	if len(i.Tags) == 0 {
		return i.Repository + "@" + i.Digest
	}
	return i.Repository + ":" + i.Tags[0]
}

// Complete tells that nothing is to be done for an image.
func (i *Image) Complete() bool { return i.Whole && len(i.Lacks) == 0 }

// Empty tells that everything is there.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Images, func(i Image) bool { return !i.Complete() })
}

// side is how many questions are asked side by side.
const side = 8

// Prepare works out what a push of a bundle's images does. It only reads. All that
// stands in the way is an error of kind [fault.Faults]: what is wrong with the
// bundle, images that no repository is for, tags that another image has and that
// can't be moved. Repositories that don't exist yet are empty if they may be absent,
// and else faults.
func Prepare(ctx context.Context, g *Registry, c *bundle.Contents, absent bool) (*Plan, error) {
	if len(c.Faults) > 0 {
		return nil, c.Faults
	}
	return prepare(ctx, g, bundled{c}, c.Images, nil, absent)
}

// prepare is [Prepare] for images from anywhere. Near are further repositories of the
// registry that have a layer in an image, by its digest.
func prepare(ctx context.Context, g *Registry, from source, list []bundle.Image, near map[string]string, absent bool) (*Plan, error) {
	p := &Plan{Images: []Image{}, source: from, registry: g, lacks: map[string][]string{}, somewhere: map[string]bool{}, has: map[string]string{}}
	for digest, repository := range near {
		p.somewhere[digest], p.has[digest] = true, repository
	}
	var l fault.List
	p.assign(list, absent, &l)
	if l.Len() > 0 {
		return nil, l.Faults()
	}
	if err := p.lookForTags(ctx, &l); err != nil {
		return nil, err
	}
	if l.Len() > 0 {
		return nil, l.Faults()
	}
	return p, p.lookForLayers(ctx)
}

// assign finds a repository for each image.
func (p *Plan) assign(list []bundle.Image, absent bool, l *fault.List) {
	at := map[[2]string]int{}
	owner := map[[2]string]*Image{}
	for _, i := range list {
		if len(i.Names) == 0 {
			l.Add(i.File, "save it with its name, for example with: docker save NAME:TAG", "has the image %s without a name, so no repository is known for it", i.Digest)
		}
		for _, name := range i.Names {
			ref, _ := image.Parse(name)
			r, ok := p.registry.of(ref)
			switch {
			case !ok:
				l.Add(i.File, "add "+last(ref)+" to registry.repositories in deployment.yaml, and update the deployment", "has the image %s, and the deployment has no repository for it", name)
				continue
			case !r.There && !absent:
				l.Add(i.File, "create or update the deployment first: its stack storage makes the repositories", "has the image %s, whose repository %s does not exist yet", name, r.Name)
				continue
			}
			key := [2]string{r.Name, i.Digest}
			n, known := at[key]
			if !known {
				n = len(p.Images)
				at[key] = n
				p.Images = append(p.Images, newImage(i, r.Name))
			}
			to := &p.Images[n]
			short, tagged := tagOf(ref)
			if !tagged {
				continue
			}
			if !slices.Contains(to.Tags, short) {
				to.Tags = append(to.Tags, short)
			}
			tag := [2]string{r.Name, short}
			if other := owner[tag]; other != nil && other.Digest != i.Digest {
				l.Add(i.File, "leave one of the two out, or give it a repository of its own by a longer name in registry.repositories", "has the image %s, which goes to %s:%s as another one in %s does", name, r.Name, tag[1], other.File)
			}
			copied := *to
			owner[tag] = &copied
		}
	}
	slices.SortStableFunc(p.Images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Digest, b.Digest))
	})
}

func newImage(i bundle.Image, repository string) Image {
	out := Image{File: i.File, Repository: repository, Digest: i.Digest, Tags: []string{}, Lacks: []string{}, image: i.Image}
	seen := map[string]bool{}
	for _, m := range i.Manifests {
		for _, b := range m.Blobs {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				out.blobs = append(out.blobs, b)
				out.Size += b.Size
			}
		}
	}
	return out
}

// repository is one by its name.
func (g *Registry) repository(name string) Repository {
	for _, r := range g.Repositories {
		if r.Name == name {
			return r
		}
	}
	return Repository{}
}

// lookForTags finds out which tags there are, and which images.
func (p *Plan) lookForTags(ctx context.Context, l *fault.List) error {
	var mu sync.Mutex
	return each(ctx, len(p.Images), func(n int) error {
		i := &p.Images[n]
		r := p.registry.repository(i.Repository)
		if !r.There {
			i.Lacks = slices.Clone(i.Tags)
			return nil
		}
		for _, tag := range i.Tags {
			is, err := p.registry.Client.Digest(ctx, r.Name, tag)
			if err != nil {
				return err
			}
			switch {
			case is == i.Digest:
				i.Whole = true
			case is != "" && !r.Mutable:
				mu.Lock()
				l.Add(i.File, "give the image a tag of its own; what has a tag is not exchanged", "has the image %s:%s, and there it is another one, whose tag can't be moved: %s, not %s", r.Name, tag, is, i.Digest)
				mu.Unlock()
			default:
				i.Lacks = append(i.Lacks, tag)
			}
		}
		if i.Whole {
			return nil
		}
		is, err := p.registry.Client.Digest(ctx, r.Name, i.Digest)
		i.Whole = is == i.Digest
		return err
	})
}

// lookForLayers finds out which layers there are, and adds up what is to be done.
func (p *Plan) lookForLayers(ctx context.Context) error {
	type question struct{ digest, repository string }
	there, sizes := map[question]bool{}, map[string]int64{}
	var questions []question
	for n := range p.Images {
		i := &p.Images[n]
		for _, b := range i.blobs {
			sizes[b.Digest] = b.Size
			q := question{b.Digest, i.Repository}
			_, asked := there[q]
			switch {
			case i.Whole:
				there[q] = true
			case !asked:
				there[q] = false
				if p.registry.repository(i.Repository).There {
					questions = append(questions, q)
				}
			}
		}
	}
	var mu sync.Mutex
	err := each(ctx, len(questions), func(n int) error {
		q := questions[n]
		mu.Lock()
		known := there[q]
		mu.Unlock()
		if known {
			return nil
		}
		is, err := p.registry.Client.Layer(ctx, q.repository, q.digest, sizes[q.digest])
		mu.Lock()
		defer mu.Unlock()
		there[q] = is
		return err
	})
	if err != nil {
		return err
	}
	counted := map[question]bool{}
	for n := range p.Images {
		i := &p.Images[n]
		for _, b := range i.blobs {
			q := question{b.Digest, i.Repository}
			if !there[q] {
				i.Send += b.Size
			}
			if i.Whole {
				p.has[b.Digest] = i.Repository
			}
			if counted[q] {
				continue
			}
			counted[q] = true
			if there[q] {
				p.There += b.Size
				p.somewhere[b.Digest] = true
				continue
			}
			p.lacks[b.Digest] = append(p.lacks[b.Digest], i.Repository)
		}
	}
	for digest, repositories := range p.lacks {
		sends := len(repositories)
		if !p.registry.Alone {
			sends = 1
			if p.somewhere[digest] {
				sends = 0
			}
		}
		p.Send += int64(sends) * sizes[digest]
		p.Mount += int64(len(repositories)-sends) * sizes[digest]
	}
	return nil
}

// each does n things, some side by side. After an error, which is what it returns,
// nothing more is begun.
func each(ctx context.Context, n int, do func(int) error) error {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
		next   int
	)
	for range min(n, side) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= n || failed != nil || ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					failed = cmp.Or(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("look at the registry: %w", context.Cause(ctx))
	}
	return failed
}
