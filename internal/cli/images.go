package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/transfer"
)

func (a *app) imagesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "images",
		Short:   "Push the images of a bundle to the deployment's repositories, list and mirror them",
		GroupID: "bundle",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.imagesPushCommand(), a.imagesListCommand(), a.imagesMirrorCommand())
	return c
}

// oneImages takes the one argument of a command about a bundle's images.
func oneImages(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("images %s takes one bundle, for example: poolhouse images %s -f deployment.yaml bundle.tar.gz", cmd.Name(), cmd.Name())
	}
	return nil
}

// imagesOf reads a bundle, which it may skim, and opens the way to where its images go.
// A bundle with faults is an error.
func (a *app) imagesOf(cmd *cobra.Command, file, name string, skim bool) (deploy.Target, *bundle.Contents, error) {
	if file == "" {
		return deploy.Target{}, nil, usage([]error{errors.New("-f is missing: name the deployment's file")})
	}
	t, _, err := a.target(cmd.Context(), file)
	if err != nil {
		return t, nil, err
	}
	c, err := a.usedBundle(cmd, name, skim)
	return t, c, err
}

// wholeBundle reads a bundle that is to be used, and compares all of it.
func (a *app) wholeBundle(cmd *cobra.Command, name string) (*bundle.Contents, error) {
	return a.usedBundle(cmd, name, false)
}

// usedBundle is [app.wholeBundle] that can leave layers to the registry that compares
// them when they are sent, or has them.
func (a *app) usedBundle(cmd *cobra.Command, name string, skim bool) (*bundle.Contents, error) {
	c, err := a.readBundle(cmd, name, skim)
	if err == nil && len(c.Faults) > 0 {
		err = &bundleError{name, c.Faults}
	}
	return c, err
}

// imagesPlan is what a push of a bundle's images would do. Repositories need not
// be there yet if they may be absent.
func imagesPlan(ctx context.Context, t deploy.Target, c *bundle.Contents, absent bool) (*images.Plan, error) {
	g, err := images.Open(ctx, t.Architecture, t.AWS)
	if err != nil {
		return nil, err
	}
	p, err := images.Prepare(ctx, g, c, absent)
	return p, faultsOf(c.Path, err)
}

func (a *app) imagesPushCommand() *cobra.Command {
	var (
		file, limit string
		dry         bool
	)
	c := &cobra.Command{
		Use:   "push -f FILE BUNDLE",
		Short: "Push a bundle's images to the deployment's repositories",
		Long: "push reads a bundle, a folder or an archive, and sends the images that are not there\n" +
			"yet to the deployment's ECR repositories, by digest. Layers that are there are not\n" +
			"sent, and nothing is unpacked to disk. Each image goes to the repository of\n" +
			"registry.repositories that its name ends with. What can't be pushed is refused before\n" +
			"anything is sent; a layer that is damaged is refused when it arrives, and its image is\n" +
			"not put. After an error, an interrupt or a kill the same command goes on.",
		Example: "  poolhouse images push -f deployment.yaml acme.tar.gz\n  poolhouse images push -f deployment.yaml --limit 200Mbit/s acme.tar.gz",
		Args:    oneImages, ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			o := images.PushOptions{Clock: a.Clock}
			var err error
			if o.Limit, err = a.limited(limit); err != nil {
				return usage([]error{err})
			}
			t, contents, err := a.imagesOf(cmd, file, args[0], true)
			if err != nil {
				return err
			}
			plan, err := imagesPlan(ctx, t, contents, false)
			if err != nil {
				return err
			}
			if dry {
				return a.print(plan, func() { view.ImagesPlan(a.Out, plan) })
			}
			if err := a.imagesMoved(ctx, repeated(cmd, args), func(v *view.Transfer) error {
				o.Meter = v.Meter()
				return plan.Move(ctx, contents, o)
			}); err != nil {
				return err
			}
			return a.print(plan, func() { view.ImagesPushed(a.Out, plan) })
		},
	}
	fileFlag(c, &file)
	c.Flags().StringVar(&limit, "limit", "", "how fast to send at most, for example 50MB/s or 200Mbit/s")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be sent, and send nothing")
	return c
}

// imagesMoved shows a transfer of images while it runs.
func (a *app) imagesMoved(ctx context.Context, resume string, run func(v *view.Transfer) error) error {
	err := a.moved(ctx, resume, run)
	if stopped, is := errors.AsType[*transferStoppedError](err); is && errors.Is(err, ErrInterrupted) {
		stopped.what = "interrupted; what was sent stays, and no image can be seen that isn't whole"
	}
	if err != nil {
		return hinted{err, "images that are there are whole; to go on: " + resume}
	}
	return nil
}

// imagesState is what images list prints for machines.
type imagesState struct {
	*images.Plan
	// Missing are the images that the bundle's charts name and that are not there.
	Missing fault.Faults `json:"missing"`
}

func (a *app) imagesListCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "list -f FILE BUNDLE",
		Short: "List a bundle's images, and which of them the deployment's repositories have",
		Long: "list compares the images of a bundle with the deployment's repositories, by digest, and\n" +
			"names those that the bundle's charts need and that are not there. It exits with 3 if\n" +
			"any is missing.",
		Args: oneImages, ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, contents, err := a.imagesOf(cmd, file, args[0], true)
			if err != nil {
				return err
			}
			s := imagesState{Missing: fault.Faults{}}
			if s.Plan, err = imagesPlan(cmd.Context(), t, contents, true); err != nil {
				return err
			}
			missing, err := s.Check(cmd.Context(), contents)
			if err != nil {
				return err
			}
			s.Missing = append(s.Missing, missing...)
			if err := a.print(s, func() { view.ImagesState(a.Out, s.Plan, s.Missing) }); err != nil {
				return err
			}
			if len(s.Missing) > 0 || !s.Empty() {
				return silent{Pending}
			}
			return nil
		},
	}
	fileFlag(c, &file)
	return c
}

// limited is a limit of what is sent by the value of its flag; nil without one.
func (a *app) limited(flag string) (*transfer.Limit, error) {
	if flag == "" {
		return nil, nil
	}
	rate, err := transfer.ParseRate(flag)
	if err != nil {
		return nil, fmt.Errorf("--limit %w", err)
	}
	return transfer.NewLimit(a.Clock, rate), nil
}

// pushing is the command line that pushes by itself what a command pushes beside the
// stacks, for a shell.
func pushing(cmd *cobra.Command, file, bundle string) string {
	words := []string{"poolhouse images push"}
	for _, name := range []string{"limit", "output"} {
		if f := cmd.Flag(name); f != nil && f.Changed {
			words = append(words, "--"+name, quoted(f.Value.String()))
		}
	}
	words = append(words, "-f", quoted(file))
	if strings.HasPrefix(bundle, "-") {
		words = append(words, "--")
	}
	return strings.Join(append(words, quoted(bundle)), " ")
}

// beside has a run push the images of a bundle beside its stacks.
func (a *app) beside(t deploy.Target, resume string, contents *bundle.Contents, limit *transfer.Limit) deploy.Transfer {
	return deploy.Transfer{
		Name: "images", After: []architecture.StackName{architecture.Storage},
		Resume: resume,
		Move: func(ctx context.Context, c *awsapi.Clients, _ map[architecture.StackName]map[string]string, m *transfer.Meter) error {
			g, err := images.Open(ctx, t.Architecture, c)
			if err != nil {
				return err
			}
			p, err := images.Prepare(ctx, g, contents, false)
			if err != nil {
				return err
			}
			return p.Move(ctx, contents, images.PushOptions{Clock: c.Clock, Meter: m, Limit: limit})
		},
	}
}
