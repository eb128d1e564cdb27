package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
)

func (a *app) updateCommand() *cobra.Command {
	var yes, keep bool
	var allowed func() guard.Allowed
	c := &cobra.Command{
		Use:     "update FILE",
		Short:   "Change the deployment to what the file says",
		Long:    "update changes what differs, makes what is missing and deletes what the file no\nlonger has, and puts back what was changed outside of CloudFormation. What would lose\ndata, lower protection, shut people out or change too much at once is refused\nbefore anything is changed, with the flag that allows it if there is one.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.converge(cmd, args[0], yes, keep, allowed(), deploy.MakePlan, deploy.Update)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	allowed = allowFlags(c)
	c.Flags().BoolVar(&keep, "keep-drift", false, "leave alone what was changed outside of CloudFormation, and do not look for it")
	return c
}
