package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
)

func (a *app) planCommand() *cobra.Command {
	var offline, code bool
	c := &cobra.Command{
		Use:     "plan FILE",
		Short:   "Show what create or update would do",
		Long:    "plan compares the file with the account: what is created, changed, replaced and\ndeleted, by stack, resource and property, how long it takes and why. It changes\nnothing. With --offline it needs no account and plans as if nothing were there.",
		GroupID: "life",
		Args:    file,
	}
	c.Flags().BoolVar(&offline, "offline", false, "look at no account")
	c.Flags().BoolVar(&code, "exit-code", false, "exit with 3 if there are changes")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		arch, err := load(args[0])
		if err != nil {
			return err
		}
		var plan *deploy.Plan
		if offline {
			plan, err = deploy.PlanOffline(arch)
		} else {
			var t deploy.Target
			if t, err = a.target(cmd.Context(), args[0]); err == nil {
				plan, err = deploy.MakePlan(cmd.Context(), t)
			}
		}
		if err != nil {
			return err
		}
		if err := a.print(plan, func() { printPlan(a.Out, plan, a.verbose) }); err != nil {
			return err
		}
		if code && !plan.Empty() {
			return silent{Pending}
		}
		return nil
	}
	return c
}
