package services

import (
	"context"
	"errors"

	"k8s.io/client-go/kubernetes"

	"github.com/poolhouse/poolhouse/planes/kubernetes/network"
)

// Serve answers for the services of a cluster until the context ends, and returns
// when nothing is answered any more. Ready is closed once DNS answers.
func Serve(ctx context.Context, client kubernetes.Interface, api string, o network.Options, ready chan<- struct{}, report func(error)) error {
	n, err := network.New(ctx, o)
	if err != nil {
		return err
	}
	close(ready)
	err = Follow(ctx, client, api, n.Set, report)
	return errors.Join(err, n.Close())
}
