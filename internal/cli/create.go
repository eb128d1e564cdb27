package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
)

func (a *app) createCommand() *cobra.Command {
	var yes bool
	var allowed func() guard.Allowed
	c := &cobra.Command{
		Use:     "create FILE",
		Short:   "Create the deployment, or go on creating it",
		Long:    "create makes what the file describes. After an error, an interrupt or a kill the\nsame command goes on where it stopped. A complete deployment is left as it is.\n\nWhen the AWS side is complete, the way to the Kubernetes API is looked for. If\nthere is none from here, create ends with exit code 3 and says how to go on from\ninside the VPC.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.converge(cmd, args[0], yes, false, allowed(), deploy.PlanCreate, deploy.Create)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	allowed = allowFlags(c)
	return c
}
