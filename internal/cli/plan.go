package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) planCommand() *cobra.Command {
	var offline, code, keep bool
	var from string
	var allowed func() guard.Allowed
	c := &cobra.Command{
		Use:     "plan FILE",
		Short:   "Show what create or update would do",
		Long:    "plan compares the file with the account: what is created, changed, replaced and\ndeleted, by stack, resource and property, how long it takes and why, and what was\nchanged outside of CloudFormation and will be put back. It changes nothing, and\nsays what create and update would refuse. With --offline it needs no account and plans as if nothing were there.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if offline && from != "" {
				return usage([]error{errors.New("--bundle is compared with the account, and --offline looks at none")})
			}
			var moves *images.Plan
			if from != "" {
				t, contents, err := a.imagesOf(cmd, args[0], from, false)
				if err != nil {
					return err
				}
				if moves, err = imagesPlan(cmd.Context(), t, contents, true); err != nil {
					return err
				}
			}
			plan, planned := a.plan(cmd.Context(), args[0], offline, keep, allowed())
			var refused *deploy.RefusedError
			if planned != nil && !errors.As(planned, &refused) {
				return planned
			}
			all := struct {
				*deploy.Plan
				Images *images.Plan `json:"images,omitempty"`
			}{plan, moves}
			if err := a.print(all, func() {
				view.Plan(a.Out, plan, a.verbose)
				if moves != nil {
					fmt.Fprintln(a.Out)
					view.ImagesPlan(a.Out, moves)
				}
			}); err != nil {
				return err
			}
			if refused != nil {
				return silent{Usage}
			}
			if code && (!plan.Empty() || len(plan.Unprotected) > 0 || moves != nil && !moves.Empty()) {
				return silent{Pending}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&offline, "offline", false, "look at no account")
	c.Flags().BoolVar(&keep, "keep-drift", false, "leave alone what was changed outside of CloudFormation, and do not look for it")
	c.Flags().BoolVar(&code, "exit-code", false, "exit with 3 if there are changes")
	c.Flags().StringVar(&from, "bundle", "", "bundle whose images would be pushed")
	allowed = allowFlags(c)
	return c
}

func (a *app) plan(ctx context.Context, path string, offline, keep bool, allowed guard.Allowed) (*deploy.Plan, error) {
	if offline {
		arch, err := load(path)
		if err != nil {
			return nil, err
		}
		return deploy.PlanOffline(arch)
	}
	t, _, err := a.target(ctx, path)
	if err != nil {
		return nil, err
	}
	t.KeepDrift, t.Allow = keep, allowed
	defer a.telling(&t)()
	return deploy.MakePlan(ctx, t)
}
