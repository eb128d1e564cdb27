package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// source is where the layers of a plan's images come from.
type source interface {
	// layers hands out those that are wanted. What can't be read of one is told to
	// lost, if the others can; an error ends the push. Visit may be called from
	// several goroutines.
	layers(ctx context.Context, wanted func(digest string) bool, visit func(b image.Blob, r io.Reader) error, lost func(digest string, err error)) error
	// other is the error of a layer that has other bytes than its digest says.
	other(b image.Blob) error
}

// bundled is a bundle as a source.
type bundled struct{ contents *bundle.Contents }

func (s bundled) layers(ctx context.Context, wanted func(string) bool, visit func(image.Blob, io.Reader) error, lost func(string, error)) error {
	return s.contents.Blobs(ctx, bundle.Options{Side: uploads}, wanted, func(b image.Blob, r io.Reader) error {
		err := visit(b, r)
		if damaged, is := errors.AsType[*damagedError](err); is {
			lost(b.Digest, damaged)
			return nil // the other layers may be whole
		}
		return err
	})
}

// other is a layer that isn't any more what it was when the bundle was read, or never
// was what its name says.
func (s bundled) other(b image.Blob) error {
	if s.contents.Skimmed {
		return &damagedError{b.Digest, strings.Join(s.places(b), " or ")}
	}
	return fmt.Errorf("layer %s %w: push the bundle again when nobody writes to it", b.Digest, errChanged)
}

// places are where the bundle has a layer.
func (s bundled) places(b image.Blob) (list []string) {
	for _, i := range s.contents.Images {
		for _, m := range i.Manifests {
			if place := fault.Inside(i.File, b.File); slices.Contains(m.Blobs, b) && !slices.Contains(list, place) {
				list = append(list, place)
			}
		}
	}
	return list
}

var errChanged = errors.New("changed since the bundle was read")

// damagedError is that a layer of a bundle has other bytes than its name says.
type damagedError struct{ digest, place string }

func (e *damagedError) Error() string {
	return fmt.Sprintf("layer %s is damaged, or was changed while it was pushed: %s has other bytes; fetch or make the bundle again, and see all that is wrong with it by: poolhouse bundle verify", e.digest, e.place)
}
