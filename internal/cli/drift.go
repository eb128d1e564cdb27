package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/drift"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) driftCommand() *cobra.Command {
	return &cobra.Command{
		Use: "drift FILE", Short: "Show what was changed behind the deployment's back, by whom, and what update does about it",
		Long:    "drift compares the account with what was deployed: resources that somebody changed or\ndeleted outside of CloudFormation, who it may have been as far as CloudTrail says, and\nwhat poolhouse update would do about each. The exit code is 3 if there is drift. It\nchanges nothing.",
		GroupID: "look", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, _, err := a.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			r, err := drift.Look(cmd.Context(), drift.Options{Target: t})
			if err != nil {
				return err
			}
			if err := a.print(r, func() { view.Drift(a.Out, r, args[0]) }); err != nil {
				return err
			}
			if !r.Empty() {
				return silent{Pending}
			}
			return nil
		},
	}
}
