package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/upgrade"
)

func (a *app) upgradeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "upgrade",
		Short:   "Change the Kubernetes version, or the add-ons, stage by stage",
		GroupID: "life",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.upgradeKubernetesCommand(), a.upgradeAddonsCommand())
	return c
}

// bakeTime is how long a new control plane is watched unless the command says.
const bakeTime = 10 * time.Minute

func (a *app) upgradeKubernetesCommand() *cobra.Command {
	var file string
	var yes, dry, despite bool
	var o deploy.UpgradeOptions
	c := &cobra.Command{
		Use:   "kubernetes -f FILE",
		Short: "Change the Kubernetes version to the file's: control plane, add-ons, nodes",
		Long: "kubernetes changes the version of the control plane alone, watches it for a time, then\n" +
			"changes the add-ons that have to be others, one after another, and node groups last,\n" +
			"one after another. The file decides the version: one minor version at a time, and the\n" +
			"file changes nothing else. What speaks against it is said at once, before anything is\n" +
			"changed: EKS's insights, nodes that are too old, add-ons that EKS doesn't have for it.\n" +
			"Budgets that allow no disruption are listed, since nodes wait for them. Where it\n" +
			"stands is kept in Parameter Store: the same command goes on after anything, update is\n" +
			"refused until it is over, and status shows it.",
		Example: "  poolhouse upgrade kubernetes -f deployment.yaml --dry-run\n  poolhouse upgrade kubernetes -f deployment.yaml --bake 30m",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Bake < 0 {
				return usage([]error{fmt.Errorf("--bake is %s: no time is less than none", o.Bake)})
			}
			o.Allow = guard.Allowed{upgrade.DespiteInsights: despite}
			return a.upgrade(cmd.Context(), file, yes, dry, o)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the deployment's file")
	c.Flags().StringVar(&o.Asked, "to", "", "the version that is meant; refused unless the file says the same")
	c.Flags().DurationVar(&o.Bake, "bake", bakeTime, "how long the new control plane is watched before anything follows")
	c.Flags().BoolVar(&despite, string(upgrade.DespiteInsights), false, "begin although EKS's insights have errors")
	upgradeFlags(c, &yes, &dry)
	return c
}

func (a *app) upgradeAddonsCommand() *cobra.Command {
	var file string
	var yes, dry bool
	c := &cobra.Command{
		Use:   "addons -f FILE",
		Short: "Change the EKS add-ons to their newest versions, or those that the file pins",
		Long: "addons changes EKS's add-ons to the versions that the file pins, and those that it\n" +
			"doesn't pin to the newest that EKS has for the Kubernetes version that runs, one after\n" +
			"another. Nothing else changes, and no version goes back.",
		Example: "  poolhouse upgrade addons -f deployment.yaml --dry-run",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.upgrade(cmd.Context(), file, yes, dry, deploy.UpgradeOptions{Addons: true})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the deployment's file")
	upgradeFlags(c, &yes, &dry)
	return c
}

func upgradeFlags(c *cobra.Command, yes, dry *bool) {
	c.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(dry, "dry-run", false, "show what is left to do, and change nothing")
}

// upgrade plans, asks and carries out.
func (a *app) upgrade(ctx context.Context, file string, yes, dry bool, o deploy.UpgradeOptions) error {
	if file == "" {
		return usage([]error{errors.New("-f is missing: name the deployment's file")})
	}
	t, account, err := a.target(ctx, file)
	if err != nil {
		return err
	}
	t.Allow = o.Allow
	o.Target = t
	plan, err := a.upgradePlan(ctx, o)
	if err != nil {
		return err
	}
	if dry {
		return a.print(plan, func() { view.Upgrade(a.Out, plan) })
	}
	if a.output != "json" {
		view.Upgrade(a.Err, plan)
	}
	if !plan.Empty() {
		if err := a.confirm(ctx, yes, fmt.Sprintf("Upgrade %s in %s, account %s?", plan.Deployment, t.AWS.Region, account)); err != nil {
			return err
		}
	}
	o.Target.Expected, o.Shown = plan.Expected, plan
	var done *upgrade.Plan
	err = a.watch(ctx, &o.Target, "upgrade", file, progressOf(t, plan), func() (err error) {
		done, err = deploy.Upgrade(ctx, o)
		return err
	})
	var stale *deploy.StaleError
	if errors.As(err, &stale) {
		return hinted{err, "look at it again: " + a.again}
	}
	if err != nil {
		return err
	}
	return a.print(done, func() { fmt.Fprintf(a.Out, "%s runs Kubernetes %s.\n", done.Deployment, done.To) })
}

// upgradePlan makes a plan, and says what it waits for meanwhile.
func (a *app) upgradePlan(ctx context.Context, o deploy.UpgradeOptions) (*upgrade.Plan, error) {
	defer a.telling(&o.Target)()
	return deploy.PlanUpgrade(ctx, o)
}

// progressOf is an upgrade as the view of a run's stacks has it.
func progressOf(t deploy.Target, p *upgrade.Plan) *deploy.Plan {
	out := &deploy.Plan{Deployment: p.Deployment, Region: t.AWS.Region, Expected: p.Expected}
	at := map[architecture.StackName]int{}
	for _, c := range p.Changes {
		i, ok := at[c.Stack]
		if !ok {
			i = len(out.Stacks)
			at[c.Stack] = i
			out.Stacks = append(out.Stacks, deploy.StackPlan{Stack: c.Stack, Name: t.Architecture.StackName(c.Stack), Action: deploy.UpdateStack})
		}
		out.Stacks[i].Expected += c.Expected
	}
	return out
}
