package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/rehearse"
)

func (a *app) rehearseCommand() *cobra.Command {
	var o rehearse.Options
	var faults faultFlags
	var record, policies string
	var without []string
	var people peopleFlags
	c := &cobra.Command{
		Use:   "rehearse FILE",
		Short: "Play the whole life of the deployment in a sandbox",
		Long: "rehearse starts a simulated AWS account in this process and plays the deployment's\n" +
			"whole life in it: plan, create (killed half-way and resumed), plan again, update,\n" +
			"a change behind its back that verify must notice and update put right, the loss of\n" +
			"a zone, delete, and a comparison of the account with its start. It needs no account\n" +
			"and touches none. An evaluation is updated to a production, a production gets a\n" +
			"change over several stacks. Where the sandbox's servers of objects, of rows and of\n" +
			"users are at hand, an object goes into each bucket and back, a row through a\n" +
			"failover and out of a snapshot, and users sign in through the load balancers, in a\n" +
			"copy of the account.\n\n" +
			"With --kubernetes a bundle's images are pushed and its charts installed in a copy of\n" +
			"the account, whose cluster has a real API server, scheduler and kubelets; the pods\n" +
			"run, as processes of this machine where it is Linux and lets them, and the hosts are\n" +
			"asked through the load balancers, over TLS. Where pods may go is asked of the\n" +
			"scheduler. Then the copy is deleted while its Kubernetes answers.\n" +
			"The bundle is that of --bundle, or in a checkout of poolhouse the sample of there.\n\n" +
			"With --record DIR the permissions that all of it takes are printed and written as\n" +
			"policies: for who runs poolhouse, and for the role that CloudFormation assumes if the\n" +
			"file names one. With --policies DIR these are all that the two may do.\n\n" +
			"With --faults FILE, the life goes on under faults: each command is run as people\n" +
			"run it, and repeated when it fails. The report says which faults happened, whether\n" +
			"all converged, and what it took.",
		Example: "  poolhouse rehearse deployment.yaml\n  poolhouse rehearse --faults bad-day.yaml --seed 7 deployment.yaml\n  poolhouse rehearse --record policies deployment.yaml\n  poolhouse rehearse --policies policies deployment.yaml",
		GroupID: "try", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Speed < 1 {
				return &usageError{fmt.Errorf("--speed is 1 or more, not %g", o.Speed)}
			}
			if o.Attempts < 1 {
				return &usageError{fmt.Errorf("--attempts is 1 or more, not %d", o.Attempts)}
			}
			if record != "" && (o.Keep || policies != "") {
				return &usageError{errors.New("--record goes without --keep and --policies: it takes a whole life, and all permissions")}
			}
			// LoadFile knows how to refuse what is no file; its bounds hold.
			loaded, err := config.LoadFile(args[0])
			if err != nil {
				return err
			}
			src, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read file: %w", err)
			}
			o.Name, o.Source = args[0], src
			if o.Faults, err = faults.sources(); err != nil {
				return err
			}
			for _, w := range without {
				if !slices.Contains(held, w) {
					return &usageError{fmt.Errorf("--without %s is none of: %s", w, strings.Join(held, ", "))}
				}
			}
			if err := people.check(o, record != "" || policies != ""); err != nil {
				return err
			}
			o.Servers = behind(without)
			if people.kubernetes {
				open, done, err := a.people(cmd, args[0], loaded, people, without)
				if err != nil {
					return err
				}
				o.Platform = open
				return errors.Join(a.rehearse(cmd.Context(), o, record), done())
			}
			o.Record = record != ""
			if policies != "" {
				if o.Policies, err = readPolicies(policies); err != nil {
					return err
				}
			}
			return a.rehearse(cmd.Context(), o, record)
		},
	}
	c.Flags().Float64Var(&o.Speed, "speed", rehearse.DefaultSpeed, "how much faster than AWS operations are")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "vary ids, durations and the moment of the kill; 0 means typical ones")
	c.Flags().BoolVar(&o.Keep, "keep", false, "leave the deployment standing, and the sandbox serving until Ctrl-C")
	c.Flags().IntVar(&o.Attempts, "attempts", rehearse.DefaultAttempts, "under faults, how often a command is run before it is given up")
	faults.register(c)
	c.Flags().StringVar(&record, "record", "", "folder to write the policies into that all of it takes")
	c.Flags().StringSliceVar(&without, "without", nil, "servers to leave out: "+strings.Join(held, ", "))
	people.register(c)
	c.Flags().StringVar(&policies, "policies", "", "folder of such policies, which are all that may be done")
	return c
}

// rehearse rehearses, and writes policies into a folder if it is given one.
func (a *app) rehearse(ctx context.Context, o rehearse.Options, record string) error {
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
	if err == nil && record != "" {
		if err := writePermissions(record, report.Permissions); err != nil {
			return err
		}
	}
	if !o.Keep || err != nil {
		printed := a.print(report, func() {
			view.Report(a.Out, report)
			if err == nil && record != "" {
				view.Permissions(a.Out, report.Permissions)
				fmt.Fprintf(a.Out, "\nThe policies are in %s.\n", record)
			}
		})
		if printed != nil {
			return printed
		}
	}
	if err != nil {
		return hinted{err, "only a sandbox was touched; --keep leaves it for a look, and --verbose shows every event"}
	}
	return nil
}
