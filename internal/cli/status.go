package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/inventory"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status FILE", Short: "Show what there is of the deployment, and what goes on",
		GroupID: "look", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, _, err := a.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s, err := deploy.Look(cmd.Context(), t)
			if err != nil {
				return err
			}
			found, err := inventory.Read(cmd.Context(), t.AWS, t.Architecture)
			if err != nil {
				return err
			}
			s.Add(found)
			return a.print(s, func() { view.Status(a.Out, s, quoted(args[0])) })
		},
	}
}
