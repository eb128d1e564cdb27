package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) listCommand() *cobra.Command {
	var region string
	c := &cobra.Command{
		Use: "list", Short: "List the deployments of an account and region",
		GroupID: "look", Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			clients, _, err := a.connect(cmd.Context(), region, nil)
			if err != nil {
				return err
			}
			list, err := deploy.List(cmd.Context(), clients)
			if err != nil {
				return err
			}
			if list == nil {
				list = []deploy.Listed{}
			}
			return a.print(list, func() { view.List(a.Out, clients.Region, list) })
		},
	}
	c.Flags().StringVar(&region, "region", "", "AWS region; the environment's by default")
	return c
}
