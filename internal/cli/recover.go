package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) recoverCommand() *cobra.Command {
	var yes, dry bool
	var o deploy.RecoverOptions
	c := &cobra.Command{
		Use:   "recover FILE",
		Short: "Bring stacks out of a failure that create and update can't",
		Long: "recover shows what is stuck, why, and what it would do about it; then it asks, and\n" +
			"does it. A rollback that failed is continued: mend its cause first, or name the\n" +
			"resources to go on without. A deletion that failed is repeated. What is left of a\n" +
			"creation that failed is deleted, and so are change sets that a run left which is\n" +
			"over. Nothing that holds data is deleted or made again.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return a.recover(cmd, args[0], yes, dry, o) },
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&dry, "dry-run", false, "only show; the exit code is 3 if something is stuck")
	c.Flags().StringSliceVar(&o.Skip, "skip", nil, "continue a rollback without this resource, STACK/RESOURCE; can be repeated")
	c.Flags().StringSliceVar(&o.Retain, "retain", nil, "leave this resource behind when its stack is deleted, STACK/RESOURCE; can be repeated")
	c.Flags().BoolVar(&o.Force, "force", false, "leave behind whatever a repeated deletion can't delete: the last resort")
	return c
}

func (a *app) recover(cmd *cobra.Command, path string, yes, dry bool, o deploy.RecoverOptions) error {
	ctx := cmd.Context()
	t, account, err := a.target(ctx, path)
	if err != nil {
		return err
	}
	o.Target = t
	for n := 1; ; n++ {
		plan, err := a.planRecovery(ctx, o)
		if err != nil {
			if plan != nil && a.output != "json" {
				view.Recovery(a.Err, plan, quoted(path))
			}
			return err
		}
		if plan.Empty() || dry {
			if err := a.print(plan, func() { view.Recovery(a.Out, plan, quoted(path)) }); err != nil {
				return err
			}
			if !plan.Empty() {
				return silent{Pending}
			}
			return nil
		}
		if a.output != "json" {
			view.Recovery(a.Err, plan, quoted(path))
		}
		if err := plan.Err(); err != nil {
			return err
		}
		if err := a.confirm(ctx, yes, fmt.Sprintf("Recover %s in %s, account %s?", plan.Deployment, plan.Region, account)); err != nil {
			return err
		}
		o.Shown = plan
		err = a.watch(ctx, &t, "recover", path, nil, func() (err error) {
			o.Target = t
			plan, err = deploy.Recover(ctx, o)
			return err
		})
		if stale := outdatedOnly(err); stale != nil && n < showings && ctx.Err() == nil {
			a.outdated(stale)
			continue
		}
		if err != nil {
			return err
		}
		return a.print(plan, func() { view.Recovered(a.Out, plan, quoted(path)) })
	}
}

// planRecovery finds out what is stuck, and says what it waits for meanwhile.
func (a *app) planRecovery(ctx context.Context, o deploy.RecoverOptions) (*deploy.Recovery, error) {
	defer a.telling(&o.Target)()
	return deploy.PlanRecovery(ctx, o)
}
