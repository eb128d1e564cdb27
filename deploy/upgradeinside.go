package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/objects"
)

// errUnasked says that nobody wants the Kubernetes API asked.
var errUnasked = errors.New("this run looks for no way to the Kubernetes API")

// unready are the nodes that are not ready, as the Kubernetes API has them.
func (u *upgrading) unready(ctx context.Context) (names []string, err error) {
	err = u.ask(ctx, func(api *objects.Client) error {
		if names, err = api.Unready(ctx); err != nil {
			return fmt.Errorf("list the nodes: %w", err)
		}
		return nil
	})
	return names, err
}

// budgets are those that allow no disruption.
func (u *upgrading) budgets(ctx context.Context) (blocking []string, err error) {
	err = u.ask(ctx, func(api *objects.Client) error {
		list, err := api.Blocking(ctx)
		if err != nil {
			return fmt.Errorf("list the budgets: %w", err)
		}
		for _, b := range list {
			blocking = append(blocking, b.String())
		}
		return nil
	})
	return blocking, err
}

// ask asks the Kubernetes API. The error is [errUnasked] without a machine to ask from.
func (u *upgrading) ask(ctx context.Context, question func(*objects.Client) error) (err error) {
	if u.Machine == nil {
		return errUnasked
	}
	route, err := FindRoute(ctx, u.Target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, route.Close()) }()
	api, done := objectsOf(u.Target, route)
	defer done()
	return question(api)
}

// unanswered sorts why the Kubernetes API has not said what a bake asks: that it can't
// be seen from here, where no way leads there or the caller may not ask, or that it is
// in trouble. No way is trouble too where it answered before. What is neither is the
// error.
func unanswered(err error, before bool) (unseen, trouble string, _ error) {
	var none *objects.NoAnswerError
	var status *objects.StatusError
	var unreachable *cluster.UnreachableError
	switch {
	case err == nil:
		return "", "", nil
	case errors.Is(err, errUnasked), errors.As(err, &unreachable) && !before:
		return err.Error(), "", nil
	case errors.As(err, &status) && (status.Code == http.StatusForbidden || status.Code == http.StatusUnauthorized):
		return err.Error(), "", nil
	case errors.As(err, &none), errors.As(err, &status), errors.As(err, &unreachable):
		return "", err.Error(), nil
	}
	return "", "", err
}
