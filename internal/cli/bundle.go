package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/transfer"
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
func (a *app) reading(ctx context.Context, name string, total int64, read func(progress func(int64)) error) error {
	v := view.NewReading(ctx, a.Err, a.output == "json", a.Terminal(a.Err), a.Clock)
	defer v.Close()
	i := v.Meter().Start("reading "+name, total)
	err := read(i.Move)
	i.End(err)
	return err
}

// readBundle reads a bundle, with its layers or without. What is none is an error.
func (a *app) readBundle(cmd *cobra.Command, name string, skim bool) (c *bundle.Contents, err error) {
	size, err := bundle.SizeOnDisk(name)
	if info, found := os.Stat(name); err != nil || found == nil && skim && info.IsDir() {
		size = -1 // reading it says what is wrong, or how much is read
	}
	err = a.reading(cmd.Context(), name, size, func(progress func(int64)) error {
		c, err = bundle.Read(cmd.Context(), name, bundle.Options{Progress: progress, Skim: skim})
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
			c, err := a.readBundle(cmd, args[0], false)
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
			c, err := a.readBundle(cmd, args[0], false)
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
		limit       string
		pull, given []string
	)
	c := &cobra.Command{
		Use:   "build BUNDLE",
		Short: "Make a bundle",
		Long: "build makes a bundle, .tar.gz or .tar, from charts, images and scripts that are there\n" +
			"as files, and images that registries have, and writes its digest beside it. The same\n" +
			"content gives the same bytes. A bundle that verify would find fault with is not made.\n\n" +
			"Images are pulled with all their platforms, into the folder BUNDLE.pulled, which goes\n" +
			"when the bundle is made. After an error, an interrupt or a kill the same command goes\n" +
			"on with what is there; while one makes a bundle, another of the same name is refused.\n" +
			"A tag stands for what it stands for now; bundle.yaml says its digest. Names and\n" +
			"credentials are as with images mirror.\n\n" +
			"Charts are files and folders too, or references: oci://HOST/REPOSITORY:VERSION, with\n" +
			"@sha256:... if it is to be that manifest, or https://HOST/NAME-VERSION.tgz with\n" +
			"#sha256=... of the file. They are fetched into the folder BUNDLE.charts.",
		Example: "  poolhouse bundle build acme.tar.gz --name acme --version 1.2.0 --chart platform/ \\\n    --image core-api.tar --image web-assistant-layout/ --checkpoints checkpoints.yaml\n" +
			"  poolhouse bundle build acme.tar.gz --name acme --version 1.2.0 --chart platform/ \\\n    --pull registry.example.com/acme/core-api:v1.2.0 --pull docker.io/library/postgres:16",
		Args: oneBundle, ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			var missing []error
			for _, flag := range []string{"name", "version"} {
				if !cmd.Flags().Changed(flag) {
					missing = append(missing, fmt.Errorf("--%s is missing", flag))
				}
			}
			names, faults := references(pull)
			missing = append(missing, faults...)
			o.Charts = nil
			var charts []images.Chart
			for _, text := range given {
				if !images.IsChart(text) {
					o.Charts = append(o.Charts, text)
					continue
				}
				one, err := images.ParseChart(text)
				if err != nil {
					missing = append(missing, err)
				}
				charts = append(charts, one)
			}
			bound, err := a.limited(limit)
			if err != nil {
				missing = append(missing, err)
			}
			if limit != "" && len(pull)+len(charts) == 0 {
				missing = append(missing, errors.New("--limit is of what is pulled: name images by --pull, or charts by reference"))
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
			made, err := a.build(cmd, args, o, names, charts, bound)
			if err != nil {
				return err
			}
			return a.print(made, func() { view.BundleMade(a.Out, made) })
		},
	}
	c.Flags().StringVar(&o.Name, "name", "", "name of the bundle")
	c.Flags().StringVar(&o.Version, "version", "", "version of the bundle")
	c.Flags().StringArrayVar(&given, "chart", nil, "packed chart, chart's folder, or reference by oci:// or https://; may be given several times")
	c.Flags().StringArrayVar(&o.Images, "image", nil, "archive of docker save, or OCI layout as archive or folder; may be given several times")
	c.Flags().StringArrayVar(&pull, "pull", nil, "image of a registry, by REGISTRY/REPOSITORY:TAG or @DIGEST; may be given several times")
	c.Flags().StringVar(&limit, "limit", "", "how fast to pull at most, for example 50MB/s or 200Mbit/s")
	c.Flags().StringArrayVar(&o.Scripts, "script", nil, "script; may be given several times")
	c.Flags().StringVar(&checkpoints, "checkpoints", "", "YAML file that describes checkpoints, as bundle.yaml does")
	// Its error says that there is no such flag.
	_ = c.MarkFlagFilename("checkpoints", "yaml", "yml")
	return c
}

// build makes a bundle, of images and charts too that are elsewhere.
func (a *app) build(cmd *cobra.Command, args []string, o bundle.BuildOptions, names []image.Reference, charts []images.Chart, limit *transfer.Limit) (made *bundle.Contents, err error) {
	ctx := cmd.Context()
	dir := args[0] + ".pulled"
	if len(names)+len(charts) > 0 {
		release, busy := occupy(args[0]+".lock", a.Clock.Now())
		if held, is := errors.AsType[*occupiedError](busy); is {
			return nil, hinted{&usageError{fmt.Errorf("%s is being made: %s", args[0], held)}, "wait until that has ended and repeat the command, or give this bundle another name"}
		}
		if busy != nil {
			return nil, &usageError{busy}
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	v := view.NewReading(ctx, a.Err, a.output == "json", a.Terminal(a.Err), a.Clock)
	defer v.Close()
	fetched := args[0] + ".charts"
	if len(charts) > 0 {
		paths, err := a.fetch(ctx, fetched, charts, v.Meter(), limit)
		if wasInterrupted(ctx, err) {
			return nil, &transferStoppedError{"interrupted; no bundle is made, and charts that were fetched stay in " + fetched, repeated(cmd, args), ErrInterrupted}
		}
		if err != nil {
			return nil, login(faultsOf("what the bundle is made from", err))
		}
		o.Charts = append(o.Charts, paths...)
	}
	var total int64
	for _, source := range slices.Concat(o.Charts, o.Images, o.Scripts) {
		// What can't be looked at is a fault when it is read.
		size, _ := bundle.SizeOnDisk(source)
		total += 2 * size // it is read twice
	}
	item := v.Meter().Start("reading what the bundle is made from", total)
	o.Progress = item.Move
	if len(names) > 0 {
		web, err := awsapi.Web(layerTime)
		if err != nil {
			return nil, err
		}
		o.Pull = func(ctx context.Context) (string, error) {
			from := func(host string) *registry.Client {
				return registry.New(host, web, a.Clock, registry.Docker(host))
			}
			err := images.Pull(ctx, dir, names, from, images.PullOptions{Meter: v.Meter(), Limit: limit})
			if err != nil {
				return "", err
			}
			size, err := bundle.SizeOnDisk(dir)
			item.Expect(total + 2*size)
			return dir, err
		}
	}
	made, err = bundle.Build(ctx, args[0], o)
	item.End(err)
	var kept []string
	if len(names) > 0 {
		kept = append(kept, dir)
	}
	if len(charts) > 0 {
		kept = append(kept, fetched)
	}
	switch {
	case err == nil:
		var gone []error
		for _, folder := range kept {
			gone = append(gone, os.RemoveAll(folder))
		}
		if err := errors.Join(gone...); err != nil {
			return nil, fmt.Errorf("remove what was pulled for the bundle, which is made: %w", err)
		}
	case wasInterrupted(ctx, err) && len(names)+len(charts) > 0:
		return nil, &transferStoppedError{"interrupted; no bundle is made, and what was pulled stays in " + strings.Join(kept, " and "), repeated(cmd, args), ErrInterrupted}
	}
	err = login(faultsOf("what the bundle is made from", err))
	_, faulty := errors.AsType[*bundleError](err)
	if _, absent := os.Stat(dir); err != nil && !faulty && !registry.IsDenied(err) && len(names) > 0 && absent == nil {
		err = hinted{err, "mend the cause and repeat the command: it goes on with what was pulled, which stays in " + dir}
	}
	return made, err
}

// fetch brings charts that are elsewhere to disk.
func (a *app) fetch(ctx context.Context, dir string, charts []images.Chart, meter *transfer.Meter, limit *transfer.Limit) ([]string, error) {
	web, err := awsapi.Web(layerTime)
	if err != nil {
		return nil, err
	}
	return images.PullCharts(ctx, dir, charts, images.ChartOptions{
		From: func(host string) *registry.Client { return registry.New(host, web, a.Clock, registry.Docker(host)) },
		Web:  web, Clock: a.Clock, Meter: meter, Limit: limit,
	})
}

// faultsOf makes faults an error that names what they are of.
func faultsOf(name string, err error) error {
	var faults fault.Faults
	if errors.As(err, &faults) {
		return &bundleError{name, faults}
	}
	return err
}
