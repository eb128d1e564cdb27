package images

import (
	"context"

	"github.com/poolhouse/poolhouse/bundle"
)

// Move is [Plan.Push] of a bundle's images, after which the registry has every image that
// the bundle's charts name: what it lacks in the end is an error of kind [fault.Faults].
func (p *Plan) Move(ctx context.Context, b *bundle.Contents, o PushOptions) error {
	if err := p.Push(ctx, o); err != nil {
		return err
	}
	missing, err := p.Check(ctx, b)
	if err == nil && len(missing) > 0 {
		err = missing
	}
	return err
}
