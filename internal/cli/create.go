package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) createCommand() *cobra.Command {
	var yes bool
	var from, rate string
	var flags chartFlags
	var allowed func() guard.Allowed
	c := &cobra.Command{
		Use:     "create FILE",
		Short:   "Create the deployment, or go on creating it",
		Long:    "create makes what the file describes. After an error, an interrupt or a kill the\nsame command goes on where it stopped. A complete deployment is left as it is.\n\nWhen the AWS side is complete, the way to the Kubernetes API is looked for. If\nthere is none from here, create ends with exit code 3 and says how to go on from\ninside the VPC.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			limit, err := a.limited(rate)
			if err != nil {
				return usage([]error{err})
			}
			if err := flags.check(cmd, from); err != nil {
				return err
			}
			if from == "" && limit != nil {
				return usage([]error{errors.New("--limit is of what is pushed, and without --bundle nothing is")})
			}
			if from == "" {
				return a.converge(cmd, args[0], yes, false, allowed(), deploy.PlanCreate, deploy.Create)
			}
			contents, err := a.wholeBundle(cmd, from)
			if err != nil {
				return err
			}
			checkpoints := checkpointsOf(contents)
			install, err := a.chartsOf(cmd.Context(), flags, args[0], contents)
			if err != nil {
				return err
			}
			left := "" // said last, where it is seen
			defer func() {
				if left != "" {
					view.ReleaseEvent(a.Err, a.output == "json", "", left)
				}
			}()
			return a.converge(cmd, args[0], yes, false, allowed(), func(ctx context.Context, t deploy.Target) (*deploy.Plan, error) {
				p, err := imagesPlan(ctx, t, contents, true)
				var broken *bundleError
				switch {
				case errors.As(err, &broken) || ctx.Err() != nil:
					return nil, err
				case err != nil:
					// The stacks don't need the registry.
					t.Emit(deploy.Step{Time: t.AWS.Clock.Now(), Text: "images could not be compared: " + err.Error()})
				case a.output != "json":
					fmt.Fprintln(a.Err, view.ImagesSum(p))
				}
				for _, c := range checkpoints.missing {
					t.Emit(deploy.Step{Time: t.AWS.Clock.Now(), Text: missing(c, args[0])})
				}
				plan, err := deploy.PlanCreate(ctx, t)
				if err != nil || install == nil {
					return plan, err
				}
				if a.output != "json" {
					fmt.Fprintln(a.Err, view.Wrap("", "  ", install.announce()))
				}
				if plan.Empty() { // nothing else will be asked
					err = a.confirm(ctx, yes, "Install or upgrade them in "+t.Architecture.ClusterName()+"?")
				}
				return plan, err
			}, func(ctx context.Context, o deploy.CreateOptions) (*deploy.Result, error) {
				o.Transfers = append(o.Transfers, a.beside(o.Target, pushing(cmd, args[0], from), contents, limit))
				if len(checkpoints.there) > 0 {
					o.Transfers = append(o.Transfers, checkpoints.beside(a.again, limit))
				}
				if install != nil {
					if o.Holder.Run == "" {
						o.Holder.Run = rand.Text()
					}
					o.Install = a.install(install)
				}
				res, err := deploy.Create(ctx, o)
				if install != nil && err != nil {
					left = install.leftOut(res, err, from)
				}
				return res, err
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&from, "bundle", "", "bundle whose images and checkpoints are pushed beside the stacks, as soon as there are repositories and buckets")
	c.Flags().StringVar(&rate, "limit", "", "how fast to push at most, for example 50MB/s or 200Mbit/s")
	flags.add(c)
	allowed = allowFlags(c)
	return c
}
