package releases

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/resource"
)

// thorough is Helm's client with a wait of ours for what is deleted. Helm's own asks
// watches, and ends once all that these have told of by then is gone: with one of two
// objects gone and the other not told of yet, it fails, or takes the other for gone.
type thorough struct {
	*kube.Client
	ctx context.Context
}

var (
	_ kube.Interface            = (*thorough)(nil)
	_ kube.InterfaceWaitOptions = (*thorough)(nil)
)

// waiting has Helm wait as it shall; its waits for what is deleted end with the context.
func waiting(ctx context.Context, c *action.Configuration) error {
	client, ok := c.KubeClient.(*kube.Client)
	if !ok {
		return fmt.Errorf("helm calls Kubernetes by a %T", c.KubeClient)
	}
	c.KubeClient = &thorough{client, ctx}
	return nil
}

// GetWaiter implements [kube.Interface].
func (c *thorough) GetWaiter(strategy kube.WaitStrategy) (kube.Waiter, error) {
	return c.GetWaiterWithOptions(strategy)
}

// GetWaiterWithOptions implements [kube.InterfaceWaitOptions].
func (c *thorough) GetWaiterWithOptions(strategy kube.WaitStrategy, options ...kube.WaitOption) (kube.Waiter, error) {
	w, err := c.Client.GetWaiterWithOptions(strategy, options...)
	if err != nil {
		return nil, err
	}
	return &waiter{w, c.ctx}, nil
}

// waiter is Helm's, but for what is deleted.
type waiter struct {
	kube.Waiter
	ctx context.Context
}

// lookWithin is the longest that one look may take.
const lookWithin = 30 * time.Second

// lookAgain is how long what is still there is left alone.
const lookAgain = 250 * time.Millisecond

// WaitForDelete implements [kube.Waiter]: it asks for each resource until it isn't there.
// One that can't be asked for counts as there. The error names the first that is left.
func (w *waiter) WaitForDelete(resources kube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	defer cancel()
	for _, r := range resources {
		for {
			left := there(w.ctx, r)
			if left == nil {
				break
			}
			select {
			case <-ctx.Done():
				if w.ctx.Err() != nil {
					return context.Cause(w.ctx)
				}
				return fmt.Errorf("%s %s is not gone after %v: %w", r.Mapping.GroupVersionKind.Kind, r.Name, timeout, left)
			case <-time.After(lookAgain):
			}
		}
	}
	return nil
}

// there tells why a resource counts as there; nil if it is gone. It looks for
// [lookWithin] at most.
func there(ctx context.Context, r *resource.Info) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	err := r.Client.Get().NamespaceIfScoped(r.Namespace, r.Mapping.Scope.Name() == meta.RESTScopeNameNamespace).
		Resource(r.Mapping.Resource.Resource).Name(r.Name).Do(ctx).Error()
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return errors.New("it waits for what it owns, or for a finalizer")
}
