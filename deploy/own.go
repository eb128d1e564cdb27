package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/stack"
)

// routeToOwn is the way to the Kubernetes API of the cluster that a stack made. One
// that only bears its name is refused: the name was taken when the stack was made, or
// the stack's cluster is gone and somebody has made another.
func (r *run) routeToOwn(ctx context.Context, st *stack.State) (*cluster.Route, error) {
	endpoint, err := r.ownEndpoint(ctx, st)
	if err != nil {
		return nil, err
	}
	route, err := FindRoute(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	// EKS gives each cluster an address of its own.
	if route.Endpoint != endpoint {
		return nil, errors.Join(fmt.Errorf("cluster %s was made anew meanwhile: its contents stay", r.Architecture.ClusterName()), route.Close())
	}
	return route, nil
}

// ownEndpoint is where the API of a stack's cluster is. The cluster carries the
// stack's id, which nobody but CloudFormation can give.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-resource-tags.html
func (r *run) ownEndpoint(ctx context.Context, st *stack.State) (string, error) {
	name := r.Architecture.ClusterName()
	if !st.Exists() {
		return "", fmt.Errorf("the deployment has no stack of a cluster, and %s is not its own", name)
	}
	c, own, err := r.clusterOf(ctx, name, st)
	if err != nil {
		return "", fmt.Errorf("describe cluster %s: %w", name, err)
	}
	if !own {
		return "", fmt.Errorf("cluster %s is not the deployment's, though it has the name: stack %s did not make it; its contents stay", name, st.Name)
	}
	return aws.ToString(c.Endpoint), nil
}
