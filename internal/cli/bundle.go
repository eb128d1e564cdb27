package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

// bundleError is what is wrong with a bundle, or with what one is made from.
type bundleError struct {
	name   string
	faults fault.Faults
}

func (e *bundleError) Error() string {
	return fmt.Sprintf("%s has %s", e.name, view.Count(len(e.faults), "fault"))
}

// listed are the faults as those of a file.
func (e *bundleError) listed() []config.Fault {
	out := []config.Fault{}
	for _, f := range e.faults {
		out = append(out, config.Fault{File: e.name, Path: f.Place, Reason: f.Reason, Fix: f.Fix})
	}
	return out
}

func (a *app) bundleCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "bundle",
		Short:   "Look at, check and make bundles of charts and images",
		GroupID: "bundle",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.bundleInspectCommand(), a.bundleVerifyCommand(), a.bundleBuildCommand())
	return c
}

// oneBundle takes the one argument of a command about a bundle.
func oneBundle(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("bundle %s takes one bundle, for example: poolhouse bundle %s bundle.tar.gz", cmd.Name(), cmd.Name())
	}
	return nil
}

// anyFile completes the argument of a command about a bundle: a file or a folder.
func anyFile(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// reading shows how far something is that reads files, once that takes long.
func (a *app) reading(name string, total int64, read func(progress func(int64)) error) error {
	v := view.NewReading(a.Err, a.output == "json", a.Terminal(a.Err), a.Clock)
	defer v.Close()
	i := v.Meter().Start("reading "+name, total)
	err := read(i.Move)
	i.End(err)
	return err
}

// readBundle reads a bundle. What is none is an error.
func (a *app) readBundle(cmd *cobra.Command, name string) (c *bundle.Contents, err error) {
	size, err := bundle.SizeOnDisk(name)
	if err != nil {
		size = -1 // reading it says what is wrong
	}
	err = a.reading(name, size, func(progress func(int64)) error {
		c, err = bundle.Read(cmd.Context(), name, bundle.Options{Progress: progress})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if c.Format == "" {
		return nil, &bundleError{name, c.Faults}
	}
	return c, nil
}

func (a *app) bundleInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect BUNDLE",
		Short: "List what is in a bundle",
		Long: "inspect lists the charts, images, checkpoints and scripts of a bundle, a folder or\n" +
			"an archive, with digests, sizes and platforms that are computed from its content,\n" +
			"and the images that its charts name. It unpacks nothing and looks at no account.\n" +
			"It exits with 3 if the bundle is damaged.",
		Args: oneBundle, ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.readBundle(cmd, args[0])
			if err != nil {
				return err
			}
			if err := a.print(c, func() { view.Bundle(a.Out, c) }); err != nil {
				return err
			}
			if c.Damaged() {
				return silent{Pending}
			}
			return nil
		},
	}
}

// bundleVerification is what bundle verify prints for machines.
type bundleVerification struct {
	Bundle string `json:"bundle"`
	Whole  bool   `json:"whole"`
	// Checked and Unchecked are what was compared with what, and what could not be.
	Checked   []string     `json:"checked"`
	Unchecked []string     `json:"unchecked"`
	Faults    fault.Faults `json:"faults"`
}

func (a *app) bundleVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check that a bundle is whole",
		Long: "verify compares every file of a bundle with the digests that the bundle says, every\n" +
			"layer of its images with what it unpacks to, and the images that its charts name\n" +
			"with those that are there. All faults are listed, each with its place and what to\n" +
			"do. It exits with 3 if there are any.",
		Args: oneBundle, ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.readBundle(cmd, args[0])
			if err != nil {
				return err
			}
			v := bundleVerification{Bundle: args[0], Whole: len(c.Faults) == 0, Faults: c.Faults}
			v.Checked, v.Unchecked = c.Checked()
			if err := a.print(v, func() { view.BundleVerification(a.Out, c) }); err != nil {
				return err
			}
			if !v.Whole {
				return silent{Pending}
			}
			return nil
		},
	}
}

func (a *app) bundleBuildCommand() *cobra.Command {
	var (
		o           bundle.BuildOptions
		checkpoints string
	)
	c := &cobra.Command{
		Use:   "build BUNDLE",
		Short: "Make a bundle",
		Long: "build makes a bundle, .tar.gz or .tar, from charts, images and scripts that are there\n" +
			"as files, and writes its digest beside it. The same content gives the same bytes.\n" +
			"A bundle that verify would find fault with is not made.",
		Example: "  poolhouse bundle build acme.tar.gz --name acme --version 1.2.0 --chart platform/ \\\n    --image core-api.tar --image web-assistant-layout/ --checkpoints checkpoints.yaml",
		Args:    oneBundle, ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			var missing []error
			for _, flag := range []string{"name", "version"} {
				if !cmd.Flags().Changed(flag) {
					missing = append(missing, fmt.Errorf("--%s is missing", flag))
				}
			}
			if err := usage(missing); err != nil {
				return err
			}
			if checkpoints != "" {
				text, err := os.ReadFile(checkpoints)
				if err != nil {
					return &usageError{fmt.Errorf("read checkpoints: %w", err)}
				}
				if o.Checkpoints, err = bundle.ParseCheckpoints(text, checkpoints); err != nil {
					return faultsOf("what the bundle is made from", err)
				}
			}
			if err := writable(args[0]); err != nil {
				return &usageError{err}
			}
			var (
				made  *bundle.Contents
				total int64
				err   error
			)
			for _, source := range slices.Concat(o.Charts, o.Images, o.Scripts) {
				// What can't be looked at is a fault when it is read.
				size, _ := bundle.SizeOnDisk(source)
				total += 2 * size // it is read twice
			}
			err = a.reading("what the bundle is made from", total, func(progress func(int64)) error {
				o.Progress = progress
				made, err = bundle.Build(cmd.Context(), args[0], o)
				return err
			})
			if err != nil {
				return faultsOf("what the bundle is made from", err)
			}
			return a.print(made, func() { view.BundleMade(a.Out, made) })
		},
	}
	c.Flags().StringVar(&o.Name, "name", "", "name of the bundle")
	c.Flags().StringVar(&o.Version, "version", "", "version of the bundle")
	c.Flags().StringArrayVar(&o.Charts, "chart", nil, "packed chart or chart's folder; may be given several times")
	c.Flags().StringArrayVar(&o.Images, "image", nil, "archive of docker save, or OCI layout as archive or folder; may be given several times")
	c.Flags().StringArrayVar(&o.Scripts, "script", nil, "script; may be given several times")
	c.Flags().StringVar(&checkpoints, "checkpoints", "", "YAML file that describes checkpoints, as bundle.yaml does")
	// Its error says that there is no such flag.
	_ = c.MarkFlagFilename("checkpoints", "yaml", "yml")
	return c
}

// faultsOf makes faults an error that names what they are of.
func faultsOf(name string, err error) error {
	var faults fault.Faults
	if errors.As(err, &faults) {
		return &bundleError{name, faults}
	}
	return err
}
