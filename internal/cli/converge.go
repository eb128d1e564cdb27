package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
	var plan *deploy.Plan
	var res *deploy.Result
	for n := 1; ; n++ {
		// What is carried out is what was shown; if that is another by then, it is
		// shown anew.
		if plan, err = a.agreed(ctx, t, verb, account, yes, makePlan); err != nil {
			return err
		}
		t.Expected = plan.Expected
		err = a.watch(ctx, &t, verb, path, plan, func() (err error) {
			res, err = do(ctx, deploy.CreateOptions{Target: t, Shown: plan})
			return err
		})
		stale := outdatedOnly(err)
		if stale == nil || n == showings || ctx.Err() != nil {
			break
		}
		a.outdated(stale)
	}
	var pending *deploy.PendingError
	if a.output != "json" && err != nil && usable(res, err) {
		view.Result(a.Out, t.Architecture, res)
	}
	if errors.As(err, &pending) {
		var unreachable *cluster.UnreachableError
		if !errors.As(err, &unreachable) {
			return hinted{err, "nothing is lost; repeat: " + a.again}
		}
		return hinted{err, "go on from inside: on a machine in the VPC that carries the security group of the nodes, or whose address is in cluster.api.allowCidrs, run: " + a.again}
	}
	if err != nil {
		return err
	}
	if res.Complete && !plan.Empty() {
		fmt.Fprintf(a.Err, "%s is complete and was left as it is; to change it to what the file says: poolhouse update %s\n", plan.Deployment, quoted(path))
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
		Releases   []cluster.Applied                            `json:"releases,omitempty"`
	}{plan.Deployment, plan.Region, account, res.Changes, res.Took.Seconds(), res.Outputs, view.Records(res.Outputs), res.Kubernetes, res.Releases}
	return a.print(v, func() {
		view.Result(a.Out, t.Architecture, res)
		if len(res.Releases) > 0 {
			view.Applied(a.Out, res.Releases)
		}
	})
}

// usable tells that a run that ended with an error has made the AWS side complete, so
// that what came of that is worth telling.
func usable(res *deploy.Result, err error) bool {
	if res == nil {
		return false
	}
	var pending *deploy.PendingError
	// The API is looked for once all else is done.
	return res.Kubernetes != nil || errors.As(err, &pending) || nothingBut[*deploy.TransferError](err)
}

// showings is how often a plan is shown that is out of date when it is carried out.
const showings = 3

// agreed makes a plan, shows it and asks.
func (a *app) agreed(ctx context.Context, t deploy.Target, verb, account string, yes bool, makePlan planFunc) (*deploy.Plan, error) {
	plan, err := a.planned(ctx, t, makePlan)
	if err != nil {
		return nil, err
	}
	if a.output != "json" {
		view.Plan(a.Err, plan, a.verbose)
	}
	if plan.Empty() {
		return plan, nil
	}
	if a.output != "json" && os.Getenv("AWS_ENDPOINT_URL") == "" {
		// At an endpoint of its own, it is a sandbox.
		view.Placeholders(a.Err, t.Architecture.Config.Placeholders())
	}
	return plan, a.confirm(ctx, yes, fmt.Sprintf("%s %s in %s, account %s?", capital(verb), plan.Deployment, plan.Region, account))
}

// planned makes a plan, and says what it waits for meanwhile.
func (a *app) planned(ctx context.Context, t deploy.Target, makePlan planFunc) (*deploy.Plan, error) {
	defer a.telling(&t)()
	return makePlan(ctx, t)
}

// telling has it said what a look waits for, until what it returns is called.
func (a *app) telling(t *deploy.Target) (done func()) {
	var live view.Live = view.NewLines(a.Err, view.Results, t.AWS.Clock)
	if a.output == "json" {
		live = view.NewJSONLines(a.Err)
	}
	t.Emit = live.Event
	return live.Close
}

// outdatedOnly is the error of what is no longer as it was shown, if there is no
// other: who reads on must not miss what failed beside it.
func outdatedOnly(err error) *deploy.StaleError {
	var stale *deploy.StaleError
	if errors.As(err, &stale) && nothingBut[*deploy.StaleError](err) {
		return stale
	}
	return nil
}

// nothingBut tells that all errors that an error is made of are of one kind.
func nothingBut[E error](err error) bool {
	if _, is := err.(E); is {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !nothingBut[E](err) })
	case interface{ Unwrap() error }:
		return nothingBut[E](e.Unwrap())
	}
	return false
}

// every are the errors of a type that an error wraps, but for what they wrap.
func every[E error](err error) []E {
	if e, is := err.(E); is {
		return []E{e}
	}
	var all []E
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = append(all, every[E](err)...)
		}
	case interface{ Unwrap() error }:
		all = every[E](e.Unwrap())
	}
	return all
}

// outdated says what has changed since it was shown.
func (a *app) outdated(e *deploy.StaleError) {
	if a.output == "json" {
		return
	}
	fmt.Fprintln(a.Err, "Something else is to be done by now than was shown; nothing else was done than that:")
	for _, c := range e.Changed {
		fmt.Fprintln(a.Err, view.Wrap("  ", "    ", c))
	}
	fmt.Fprintln(a.Err)
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
		return a.stopped(ctx, *t, path, moving)
	}
	return err
}
