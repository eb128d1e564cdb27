package cli

import (
	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
)

func (a *app) updateCommand() *cobra.Command {
	var yes, replace, keep bool
	c := &cobra.Command{
		Use:     "update FILE",
		Short:   "Change the deployment to what the file says",
		Long:    "update changes what differs, makes what is missing and deletes what the file no\nlonger has, and puts back what was changed outside of CloudFormation. An update that\nwould lose data is refused.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.converge(cmd, args[0], yes, replace, keep, deploy.Update)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&replace, "allow-replace", false, "let resources that hold data be replaced, removed or, if somebody deleted them, made again")
	c.Flags().BoolVar(&keep, "keep-drift", false, "leave alone what was changed outside of CloudFormation, and do not look for it")
	return c
}
