package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) createCommand() *cobra.Command {
	var yes bool
	var from string
	var allowed func() guard.Allowed
	c := &cobra.Command{
		Use:     "create FILE",
		Short:   "Create the deployment, or go on creating it",
		Long:    "create makes what the file describes. After an error, an interrupt or a kill the\nsame command goes on where it stopped. A complete deployment is left as it is.\n\nWhen the AWS side is complete, the way to the Kubernetes API is looked for. If\nthere is none from here, create ends with exit code 3 and says how to go on from\ninside the VPC.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return a.converge(cmd, args[0], yes, false, allowed(), deploy.PlanCreate, deploy.Create)
			}
			contents, err := a.wholeBundle(cmd, from)
			if err != nil {
				return err
			}
			checkpoints := checkpointsOf(contents)
			return a.converge(cmd, args[0], yes, false, allowed(), func(ctx context.Context, t deploy.Target) (*deploy.Plan, error) {
				p, err := imagesPlan(ctx, t, contents, true)
				if err != nil {
					return nil, err
				}
				if a.output != "json" {
					fmt.Fprintln(a.Err, view.ImagesSum(p))
					for _, c := range checkpoints.missing {
						fmt.Fprintln(a.Err, view.Wrap("", "  ", fmt.Sprintf("the checkpoint %s lies neither in the bundle nor as %s beside it; push it later: poolhouse models push -f %s %s", c.Name, c.File, args[0], c.File)))
					}
				}
				return deploy.PlanCreate(ctx, t)
			}, func(ctx context.Context, o deploy.CreateOptions) (*deploy.Result, error) {
				o.Transfers = append(o.Transfers, a.beside(o.Target, args[0], contents))
				if len(checkpoints.there) > 0 {
					o.Transfers = append(o.Transfers, checkpoints.beside(o.Target, "poolhouse create --bundle "+from+" "+args[0]))
				}
				return deploy.Create(ctx, o)
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&from, "bundle", "", "bundle whose images and checkpoints are pushed beside the stacks, as soon as there are repositories and buckets")
	allowed = allowFlags(c)
	return c
}
