package images

import (
	"context"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Move pushes the images of a bundle to a deployment whose repositories exist, and
// then checks that the registry has every image that the bundle's charts name. It
// returns what it found to do. What is missing in the end is an error of kind
// [fault.Faults].
func Move(ctx context.Context, a *architecture.Architecture, c *awsapi.Clients, b *bundle.Contents, o PushOptions) (*Plan, error) {
	g, err := Open(ctx, a, c)
	if err != nil {
		return nil, err
	}
	p, err := Prepare(ctx, g, b, false)
	if err != nil {
		return nil, err
	}
	if err := p.Push(ctx, o); err != nil {
		return p, err
	}
	missing, err := g.Check(ctx, b)
	if err == nil && len(missing) > 0 {
		err = missing
	}
	return p, err
}
