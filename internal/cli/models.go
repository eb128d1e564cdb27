package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle/checkpoint"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/models"
)

func (a *app) modelsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "models",
		Short: "Push checkpoints of models to the deployment's bucket, list, verify and remove them",
		Long: "models keeps checkpoints in the deployment's bucket of models, in the vendor's layout:\n" +
			"models/checkpoints/NAME/ and, once all of it is there, the marker .checkpoint-complete.",
		GroupID: "bundle",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.modelsPushCommand(), a.modelsListCommand(), a.modelsVerifyCommand(), a.modelsRemoveCommand())
	return c
}

// fileFlag is how commands about models and images name the deployment.
func fileFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "file", "f", "", "the deployment's file (required)")
	// Its error says that there is no such flag.
	_ = c.MarkFlagFilename("file", "yaml", "yml")
}

// oneOf takes the one argument of a command about a checkpoint.
func oneOf(what, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("models %s takes %s, for example: poolhouse models %s -f deployment.yaml %s", cmd.Name(), what, cmd.Name(), example)
		}
		return nil
	}
}

// models opens the bucket of a deployment's models.
func (a *app) models(ctx context.Context, file string) (*models.Store, error) {
	if file == "" {
		return nil, usage([]error{errors.New("-f is missing: name the deployment's file")})
	}
	t, _, err := a.target(ctx, file)
	if err != nil {
		return nil, err
	}
	out, err := deploy.Outputs(ctx, t)
	if err != nil {
		return nil, err
	}
	bucket := out[architecture.Storage]["ModelsBucketName"]
	if bucket == "" {
		return nil, hinted{fmt.Errorf("%s has no bucket of models yet: its stack %s is not complete", t.Architecture.Config.Name, architecture.Storage), "poolhouse create " + quoted(file) + " makes it"}
	}
	return models.Open(ctx, t.AWS, bucket)
}

// moved shows a transfer while it runs. An interrupt, or credentials that have
// ended, say how to go on.
func (a *app) moved(ctx context.Context, resume string, run func(v *view.Transfer) error) error {
	v := view.NewTransfer(ctx, a.Err, a.output == "json", a.Terminal(a.Err), a.Clock)
	a.patience.begin(func(e deploy.Event) {
		if s, ok := e.(deploy.Step); ok {
			v.Say(s.Time, "%s", s.Text)
		}
	})
	err := run(v)
	a.patience.end()
	v.Close()
	switch {
	case wasInterrupted(ctx, err):
		return &transferStoppedError{"interrupted; what was sent stays, and the checkpoint is not marked as complete", resume, ErrInterrupted}
	case awsapi.IsExpired(err):
		return &transferStoppedError{"paused: the AWS credentials have expired", "sign in again, for example by aws sso login, and repeat: " + resume, err}
	}
	return err
}

// transferStoppedError is a transfer that is gone on with by the same command.
type transferStoppedError struct {
	what, resume string
	err          error
}

func (e *transferStoppedError) Error() string { return e.what }
func (e *transferStoppedError) Unwrap() error { return e.err }

func (a *app) modelsPushCommand() *cobra.Command {
	var (
		o           models.PushOptions
		file, limit string
	)
	c := &cobra.Command{
		Use:   "push -f FILE SOURCE",
		Short: "Push a checkpoint from a tar archive, a folder or S3",
		Long: "push sends the files of a checkpoint straight to the deployment's bucket of models, in\n" +
			"parts that are sent side by side; nothing is unpacked to disk. What an interrupted push\n" +
			"has sent is not sent again. A checkpoint that is there from the same source costs a\n" +
			"HEAD of its marker and a listing for each 1,000 files, which sees what was changed or\n" +
			"removed since. A checkpoint of another source is replaced: its marker goes first.\n\n" +
			"A source in S3 is an archive, s3://BUCKET/KEY.tar, which is fetched, or the objects\n" +
			"below a prefix, s3://BUCKET/PREFIX/, which S3 copies by itself where it can.\n\n" +
			"The digest that the archive should have is that of --digest, or of a file beside it\n" +
			"with the ending .sha256, as sha256sum writes it.",
		Example: "  poolhouse models push -f deployment.yaml laguna-xs-2.2.tar\n  poolhouse models push -f deployment.yaml --limit 200Mbit/s --name laguna-xs-2.2 weights/\n  poolhouse models push -f deployment.yaml s3://acme-staging/models/laguna-xs-2.2/",
		Args:    oneOf("one tar archive, folder or address in S3", "laguna-xs-2.2.tar"), ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			o.Source = args[0]
			if o.Name == "" {
				o.Name = checkpoint.NameOf(o.Source)
			}
			var faults []error
			if err := checkpoint.CheckName(o.Name); err != nil {
				faults = append(faults, fmt.Errorf("%w; --name gives it another", err))
			}
			var err error
			if o.Limit, err = a.limited(limit); err != nil {
				faults = append(faults, err)
			}
			if err := models.CheckSource(o); err != nil {
				faults = append(faults, err)
			}
			if err := usage(faults); err != nil {
				return err
			}
			store, err := a.models(ctx, file)
			if err != nil {
				return err
			}
			var (
				p       *models.Pushed
				stopped *models.StoppedError
			)
			if err := a.moved(ctx, repeated(cmd, args), func(v *view.Transfer) (err error) {
				o.Meter = v.Meter()
				o.Say = func(text string) { v.Say(a.Clock.Now(), "%s", text) }
				p, err = store.Push(ctx, o)
				errors.As(err, &stopped)
				return err
			}); err != nil {
				if interrupted, is := errors.AsType[*transferStoppedError](err); is && errors.Is(err, ErrInterrupted) {
					interrupted.what = interruptedPush(stopped)
				}
				var broken fault.Faults
				if errors.As(err, &broken) {
					return newSourceError(o.Source, broken)
				}
				if _, is := errors.AsType[*models.OthersError](err); is {
					return hinted{err, "move them elsewhere, or have them removed too: " + repeated(cmd, args) + " --delete-others"}
				}
				return permitted(err)
			}
			return a.print(p, func() { view.Pushed(a.Out, p) })
		},
	}
	fileFlag(c, &file)
	c.Flags().StringVar(&o.Name, "name", "", "name of the checkpoint (default: that of the source, without its ending)")
	c.Flags().StringVar(&o.Digest, "digest", "", "digest that the archive should have: sha256:...")
	c.Flags().StringVar(&limit, "limit", "", "how fast to send at most, for example 50MB/s or 200Mbit/s")
	c.Flags().BoolVar(&o.DeleteOthers, "delete-others", false, "remove also files of the checkpoint's folder that no push has recorded")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "look at source and bucket, and change nothing")
	return c
}

// interruptedPush says what an interrupted push has done; nil is nothing.
func interruptedPush(s *models.StoppedError) string {
	switch {
	case s != nil && s.Changed:
		return "interrupted; what was sent stays, and the checkpoint is not marked as complete"
	case s != nil && s.Sent > 0:
		return "interrupted; the parts that were sent stay, and what is there is as it was"
	}
	return "interrupted; nothing was sent, and what is there is as it was"
}

// sourceError is a checkpoint's source that is damaged. Some of it may have been
// sent by then.
type sourceError struct{ *bundleError }

func (e *sourceError) Unwrap() error { return e.bundleError }

// newSourceError names the source once, not in each fault's place.
func newSourceError(source string, faults fault.Faults) error {
	for i, f := range faults {
		if rest, ok := strings.CutPrefix(f.Place, source); ok {
			faults[i].Place = strings.TrimPrefix(rest, " > ")
		}
	}
	return &sourceError{&bundleError{source, faults}}
}

func (a *app) modelsListCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "list -f FILE",
		Short: "List the checkpoints in the deployment's bucket",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.models(cmd.Context(), file)
			if err != nil {
				return err
			}
			list, err := store.List(cmd.Context())
			if err != nil {
				return permitted(err)
			}
			return a.print(list, func() { view.Checkpoints(a.Out, store.Bucket, list) })
		},
	}
	fileFlag(c, &file)
	return c
}

func (a *app) modelsVerifyCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "verify -f FILE NAME",
		Short: "Compare a checkpoint in the bucket with what was recorded when it was pushed",
		Long: "verify compares each file of a checkpoint with what was recorded when it was pushed:\n" +
			"its size, and the checksum that S3 keeps of the whole object. It downloads nothing.\n" +
			"It exits with 3 if anything differs.",
		Args: oneOf("the name of one checkpoint", "laguna-xs-2.2"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkpoint.CheckName(args[0]); err != nil {
				return &usageError{err}
			}
			store, err := a.models(cmd.Context(), file)
			if err != nil {
				return err
			}
			v, err := store.Verify(cmd.Context(), args[0])
			if err != nil {
				return absent(err, file)
			}
			if err := a.print(v, func() { view.CheckpointVerification(a.Out, v) }); err != nil {
				return err
			}
			if !v.Whole {
				return silent{Pending}
			}
			return nil
		},
	}
	fileFlag(c, &file)
	return c
}

// absent says of a checkpoint that is not there what there is.
func absent(err error, file string) error {
	if models.Gone(err) {
		return hinted{err, "poolhouse models list -f " + file + " lists those that there are"}
	}
	return permitted(err)
}

// permitted says of a call that was denied what it takes.
func permitted(err error) error {
	if awsapi.IsDenied(err) {
		return hinted{err, "it takes the permission " + awsapi.Permission(err) + ", and with the bucket's key also kms:GenerateDataKey and kms:Decrypt; docs/guides/models.md lists them all; then repeat the command"}
	}
	return err
}

func (a *app) modelsRemoveCommand() *cobra.Command {
	var (
		file        string
		yes, dryRun bool
	)
	c := &cobra.Command{
		Use:   "remove -f FILE NAME",
		Short: "Remove a checkpoint for good, with all versions of its files",
		Long: "remove removes a checkpoint for good: its marker first, then all versions of its files\n" +
			"and what unfinished uploads have sent. It says what that frees and asks before.",
		Args: oneOf("the name of one checkpoint", "laguna-xs-2.2"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := checkpoint.CheckName(args[0]); err != nil {
				return &usageError{err}
			}
			store, err := a.models(ctx, file)
			if err != nil {
				return err
			}
			r, err := store.Removable(ctx, args[0])
			if err != nil {
				return absent(err, file)
			}
			v := view.NewRemoved(r, dryRun)
			if dryRun {
				return a.print(v, func() { view.CheckpointRemoved(a.Out, v) })
			}
			if err := a.confirm(ctx, yes, view.RemoveCheckpoint(v)); err != nil {
				return err
			}
			if r, err = store.Remove(ctx, args[0]); err != nil {
				if wasInterrupted(ctx, err) {
					what := "interrupted; nothing was removed"
					if _, is := errors.AsType[*models.PartlyRemovedError](err); is {
						what = "interrupted; the checkpoint is partly removed"
					}
					return &transferStoppedError{what, repeated(cmd, args), ErrInterrupted}
				}
				return permitted(err)
			}
			v = view.NewRemoved(r, false)
			return a.print(v, func() { view.CheckpointRemoved(a.Out, v) })
		},
	}
	fileFlag(c, &file)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed, and change nothing")
	return c
}
