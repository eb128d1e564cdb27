package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
)

func (a *app) createCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:     "create FILE",
		Short:   "Create the deployment, or go on creating it",
		Long:    "create makes what the file describes. After an error, an interrupt or a kill the\nsame command goes on where it stopped. A complete deployment is left as it is.",
		GroupID: "life",
		Args:    file,
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return a.converge(cmd, args[0], "create", yes, false, deploy.Create)
	}
	return c
}

func (a *app) updateCommand() *cobra.Command {
	var yes, replace bool
	c := &cobra.Command{
		Use:     "update FILE",
		Short:   "Change the deployment to what the file says",
		Long:    "update changes what differs, makes what is missing and deletes what the file no\nlonger has. An update that would lose data is refused.",
		GroupID: "life",
		Args:    file,
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&replace, "allow-replace", false, "let resources that hold data be replaced or removed")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return a.converge(cmd, args[0], "update", yes, replace, deploy.Update)
	}
	return c
}

type convergeFunc func(context.Context, deploy.CreateOptions) (*deploy.Result, error)

// converge plans, asks and carries out: create and update alike.
func (a *app) converge(cmd *cobra.Command, path, verb string, yes, replace bool, do convergeFunc) error {
	ctx := cmd.Context()
	t, err := a.target(ctx, path)
	if err != nil {
		return err
	}
	plan, err := deploy.MakePlan(ctx, t)
	if err != nil {
		return err
	}
	if a.output != "json" {
		printPlan(a.Err, plan, a.verbose)
	}
	if !plan.Empty() {
		if err := a.confirm(yes, fmt.Sprintf("%s %s in %s?", title(verb), plan.Deployment, plan.Region)); err != nil {
			return err
		}
	}
	var res *deploy.Result
	err = a.watch(ctx, &t, verb, plan, func() (err error) {
		res, err = do(ctx, deploy.CreateOptions{Target: t, AllowReplace: replace})
		return err
	})
	if err != nil {
		return err
	}
	if res.Complete && !plan.Empty() {
		fmt.Fprintf(a.Err, "%s is complete and was left as it is; poolhouse update changes it to what the file says\n", plan.Deployment)
	}
	return a.printResult(t, res)
}
