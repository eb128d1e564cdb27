package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) outputsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "outputs FILE", Short: "Print the outputs of the deployment's stacks",
		GroupID: "look", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, _, err := a.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out, err := deploy.Outputs(cmd.Context(), t)
			if err != nil {
				return err
			}
			return a.print(out, func() { view.Outputs(a.Out, out) })
		},
	}
}
