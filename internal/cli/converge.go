package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

type (
	planFunc     func(context.Context, deploy.Target) (*deploy.Plan, error)
	convergeFunc func(context.Context, deploy.CreateOptions) (*deploy.Result, error)
)

// converge plans, asks and carries out: create and update alike.
func (a *app) converge(cmd *cobra.Command, path string, yes, keepDrift bool, allowed guard.Allowed, makePlan planFunc, do convergeFunc) error {
	ctx, verb := cmd.Context(), cmd.Name()
	t, account, err := a.target(ctx, path)
	if err != nil {
		return err
	}
	t.KeepDrift, t.Allow = keepDrift, allowed
	plan, err := makePlan(ctx, t)
	if err != nil {
		return err
	}
	if a.output != "json" {
		view.Plan(a.Err, plan, a.verbose)
	}
	if !plan.Empty() {
		if a.output != "json" && os.Getenv("AWS_ENDPOINT_URL") == "" {
			// At an endpoint of its own, it is a sandbox.
			view.Placeholders(a.Err, t.Architecture.Config.Placeholders())
		}
		if err := a.confirm(ctx, yes, fmt.Sprintf("%s %s in %s, account %s?", capital(verb), plan.Deployment, plan.Region, account)); err != nil {
			return err
		}
	}
	t.Expected = plan.Expected
	var res *deploy.Result
	err = a.watch(ctx, &t, verb, path, plan, func() (err error) {
		res, err = do(ctx, deploy.CreateOptions{Target: t, Drift: plan.Drift()})
		return err
	})
	var pending *deploy.PendingError
	if errors.As(err, &pending) {
		if a.output != "json" {
			view.Result(a.Out, t.Architecture, res)
		}
		var unreachable *cluster.UnreachableError
		if !errors.As(err, &unreachable) {
			return hinted{err, fmt.Sprintf("nothing is lost; repeat: poolhouse %s %s", verb, path)}
		}
		return hinted{err, fmt.Sprintf("go on from inside: on a machine in the VPC that carries the security group of the nodes, or whose address is in cluster.api.allowCidrs, run: poolhouse %s %s", verb, path)}
	}
	if err != nil {
		return err
	}
	if res.Complete && !plan.Empty() {
		fmt.Fprintf(a.Err, "%s is complete and was left as it is; to change it to what the file says: poolhouse update %s\n", plan.Deployment, path)
	}
	v := struct {
		Deployment string                                       `json:"deployment"`
		Region     string                                       `json:"region"`
		Account    string                                       `json:"account"`
		Changes    int                                          `json:"changes"`
		Seconds    float64                                      `json:"seconds"`
		Outputs    map[architecture.StackName]map[string]string `json:"outputs"`
		Records    []deploy.Record                              `json:"records"`
		Kubernetes *cluster.Route                               `json:"kubernetes"`
	}{plan.Deployment, plan.Region, account, res.Changes, res.Took.Seconds(), res.Outputs, view.Records(res.Outputs), res.Kubernetes}
	return a.print(v, func() { view.Result(a.Out, t.Architecture, res) })
}

// watch runs an operation with its events shown. An interrupt says what AWS is
// still doing.
func (a *app) watch(ctx context.Context, t *deploy.Target, verb, path string, plan *deploy.Plan, run func() error) error {
	var live view.Live
	switch {
	case a.output == "json":
		live = view.NewJSONLines(a.Err)
	case view.Terminal(a.Err) && !a.verbose:
		live = view.NewTree(a.Err, verb+" "+t.Architecture.Config.Name, t.AWS.Clock, plan)
	case a.verbose:
		live = view.NewLines(a.Err, view.Everything, t.AWS.Clock)
	default:
		live = view.NewLines(a.Err, view.Progress, t.AWS.Clock)
	}
	moving := map[architecture.StackName]bool{}
	var one sync.Mutex
	t.Emit = func(e deploy.Event) {
		one.Lock()
		defer one.Unlock()
		switch e := e.(type) {
		case deploy.StackStarted:
			moving[e.Stack] = true
		case deploy.StackFinished:
			if e.Err != nil && (ctx.Err() != nil || awsapi.IsExpired(e.Err)) {
				// The look at it ended, not the stack's operation.
				return
			}
			delete(moving, e.Stack)
		}
		live.Event(e)
	}
	a.patience.begin(t.Emit)
	err := run()
	a.patience.end()
	live.Close()
	if wasInterrupted(ctx, err) {
		return a.stopped(ctx, *t, verb, path, moving)
	}
	return err
}
