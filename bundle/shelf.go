package bundle

import (
	"slices"

	"github.com/poolhouse/poolhouse/bundle/chart"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// shelf finds images as charts ask for them. Every name is read once.
type shelf struct {
	images []Image
	// digests and names lead to images, by their place in the list. A name stands
	// there in all forms by which it may be asked for, see [shelf.put].
	digests map[string]int
	names   map[asked]int
	// near are the images of a repository, in whatever registry.
	near map[string][]int
}

// asked is how an image is asked for. An empty registry is any, and so is a tag.
type asked struct{ registry, path, tag string }

func newShelf(images []Image) *shelf {
	s := &shelf{images: images, digests: map[string]int{}, names: map[asked]int{}, near: map[string][]int{}}
	for n, i := range images {
		for _, d := range i.Digests() {
			if _, is := s.digests[d]; !is {
				s.digests[d] = n
			}
		}
		for _, name := range i.Names {
			if ref, ok := image.Parse(name); ok {
				s.put(n, ref)
			}
		}
	}
	return s
}

// bare is the registry of a name that has none: it gets one when it is installed.
const bare = "-"

func (s *shelf) put(n int, ref image.Reference) {
	registries := []string{ref.Host(), ""}
	if ref.Registry == "" {
		registries[0] = bare
	}
	for _, registry := range registries {
		for _, tag := range []string{tagOf(ref), ""} {
			key := asked{registry, ref.Path(), tag}
			if _, is := s.names[key]; !is {
				s.names[key] = n
			}
		}
	}
	if near := s.near[ref.Path()]; !slices.Contains(near[max(len(near)-1, 0):], n) {
		s.near[ref.Path()] = append(near, n)
	}
}

func tagOf(ref image.Reference) string {
	if ref.Tag == "" {
		return "latest"
	}
	return ref.Tag
}

// find is the image that a chart's reference means.
func (s *shelf) find(ref chart.Reference) (Image, bool) {
	want, _ := image.Parse(ref.Image)
	if want.Digest != "" {
		n, ok := s.digests[want.Digest]
		return s.at(n, ok)
	}
	registries := []string{""} // of any registry, if it names none
	if want.Registry != "" {
		registries = []string{want.Host(), bare}
	}
	tags := []string{tagOf(want)}
	if ref.Assumed {
		tags = append(tags, "")
	}
	for _, tag := range tags {
		for _, registry := range registries {
			if n, ok := s.names[asked{registry, want.Path(), tag}]; ok {
				return s.at(n, true)
			}
		}
	}
	return Image{}, false
}

func (s *shelf) at(n int, ok bool) (Image, bool) {
	if !ok {
		return Image{}, false
	}
	return s.images[n], true
}

// nearest is how many images are looked at that come near one that is missing,
// and how many names of each.
const nearest = 100

// missing says why no image is what a chart's reference means.
func (s *shelf) missing(c Chart, ref chart.Reference) Missing {
	m := Missing{
		Chart: c.File, Image: ref.Image, Place: ref.Place,
		Reason: "which is not in the bundle",
		Fix:    "add its archive by --image, or the image by --pull: poolhouse bundle build",
	}
	want, _ := image.Parse(ref.Image)
	if want.Digest == "" {
		return m
	}
	near := s.near[want.Path()]
	for _, n := range near[:min(len(near), nearest)] {
		i := s.images[n]
		for _, name := range i.Names[:min(len(i.Names), nearest)] {
			is, _ := image.Parse(name)
			switch {
			case !is.Same(want):
			case i.Made:
				m.Reason = "and " + i.File + ", which has it by name, carries no digest to compare"
				m.Fix = "save the image as an OCI layout, for example with: skopeo copy --all docker://NAME oci-archive:FILE"
			case tagOf(is) == tagOf(want):
				m.Reason = "and " + i.File + " has another one of this name: " + i.Digest
				m.Fix = "put the image in that the chart asks for, or correct the digest in the chart"
			}
		}
	}
	return m
}

// Named is the image that a chart's reference means, if it is there.
func (c *Contents) Named(ref chart.Reference) (Image, bool) { return c.shelf.find(ref) }
