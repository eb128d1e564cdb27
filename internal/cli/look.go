package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status FILE", Short: "Show what there is of the deployment, and what goes on", GroupID: "look", Args: file,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s, err := deploy.Look(cmd.Context(), t)
			if err != nil {
				return err
			}
			return a.print(s, func() { printStatus(a.Out, s) })
		},
	}
}

func (a *app) outputsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "outputs FILE", Short: "Print the outputs of the deployment's stacks", GroupID: "look", Args: file,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out, err := deploy.Outputs(cmd.Context(), t)
			if err != nil {
				return err
			}
			return a.print(out, func() { printOutputs(a.Out, t.Architecture, out) })
		},
	}
}

func (a *app) listCommand() *cobra.Command {
	var region string
	c := &cobra.Command{
		Use: "list", Short: "List the deployments of an account and region", GroupID: "look", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			clients, err := a.clients(cmd.Context(), region)
			if err != nil {
				return err
			}
			list, err := deploy.List(cmd.Context(), clients)
			if err != nil {
				return err
			}
			return a.print(list, func() { printList(a.Out, clients.Region, list) })
		},
	}
	c.Flags().StringVar(&region, "region", "", "AWS region; the environment's by default")
	return c
}
