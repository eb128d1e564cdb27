package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/rehearse"
)

func (a *app) rehearseCommand() *cobra.Command {
	var o rehearse.Options
	c := &cobra.Command{
		Use:   "rehearse FILE",
		Short: "Play the whole life of the deployment in a sandbox",
		Long: "rehearse starts a simulated AWS account in this process and plays the deployment's\n" +
			"whole life in it: plan, create (killed half-way and resumed), plan again, update,\n" +
			"a change behind its back that verify must notice and update put right, the loss of\n" +
			"a zone, delete, and a comparison of the account with its start. It needs no account\n" +
			"and touches none. An evaluation is updated to a production, a production gets a change\n" +
			"over several stacks.",
		GroupID: "try", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Speed < 1 {
				return &usageError{fmt.Errorf("--speed is 1 or more, not %g", o.Speed)}
			}
			// LoadFile knows how to refuse what is no file; its bounds hold.
			if _, err := config.LoadFile(args[0]); err != nil {
				return err
			}
			src, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read file: %w", err)
			}
			o.Name, o.Source = args[0], src
			return a.rehearse(cmd.Context(), o)
		},
	}
	c.Flags().Float64Var(&o.Speed, "speed", rehearse.DefaultSpeed, "how much faster than AWS operations are")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "vary ids, durations and the moment of the kill; 0 means typical ones")
	c.Flags().BoolVar(&o.Keep, "keep", false, "leave the deployment standing, and the sandbox serving until Ctrl-C")
	return c
}

func (a *app) rehearse(ctx context.Context, o rehearse.Options) error {
	show := view.NewRehearsal(a.Err, a.output == "json", a.verbose)
	o.Emit = show.Event
	if o.Keep {
		serving := o.Emit
		o.Emit = func(e rehearse.Event) {
			serving(e)
			if s, ok := e.(rehearse.Serving); ok {
				// It is the result that is asked for, and comes before the end.
				if err := a.print(s.Endpoint, func() { view.Serving(a.Out, s.Endpoint) }); err != nil {
					fmt.Fprintln(a.Err, err)
				}
			}
		}
	}
	report, err := rehearse.Run(ctx, o)
	show.Close()
	if report == nil {
		return err
	}
	if !o.Keep || err != nil {
		if printed := a.print(report, func() { view.Report(a.Out, report) }); printed != nil {
			return printed
		}
	}
	if err != nil {
		return hinted{err, "only a sandbox was touched; --keep leaves it for a look, and --verbose shows every event"}
	}
	return nil
}
