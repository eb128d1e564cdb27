package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// deleteFlags are the flags of delete.
type deleteFlags struct {
	yes             bool
	data            string
	manifest        string
	deadline, stall time.Duration
}

// check refuses what the flags can't be, all of it at once.
func (f deleteFlags) check() error {
	var faults []error
	if f.deadline <= 0 {
		faults = append(faults, fmt.Errorf("--deadline %s is no time to wait: write, for example, --deadline 6h", f.deadline))
	}
	if f.stall <= 0 {
		faults = append(faults, fmt.Errorf("--stall %s is no time to wait: write, for example, --stall 1h", f.stall))
	}
	if f.manifest != "" {
		if err := writable(f.manifest); err != nil {
			faults = append(faults, fmt.Errorf("%w: name a file in a folder that is there and that you may write to", err))
		}
	}
	return usage(faults)
}

func (a *app) deleteCommand() *cobra.Command {
	var f deleteFlags
	c := &cobra.Command{
		Use:   "delete FILE",
		Short: "Delete the deployment",
		Long: "delete removes the deployment in the reverse order of its making and ends by\n" +
			"saying what is left and why. What the cluster holds that owns load balancers and\n" +
			"volumes goes first, while its controllers run. It asks for the deployment's name to be typed, and\n" +
			"once more before it lifts protection against deletion; --yes answers both.\n\n" +
			"--data says what becomes of the data:\n" +
			"  keep      keys, storage, database and network stay; create goes on from them\n" +
			"  snapshot  keys and storage stay, and a snapshot of the database\n" +
			"  destroy   nothing stays\n" +
			"With keep and snapshot the volumes of claims stay too.\n" +
			"The production profile has no default: it asks at a terminal.\n\n" +
			"It ends clean or retained with exit code 0, and blocked with 1: then it names\n" +
			"what is left, what holds it, and the next command.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.delete(cmd, args[0], f)
		},
	}
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask for the name, nor before protection is lifted")
	c.Flags().StringVar(&f.data, "data", "", "keep, snapshot or destroy (evaluation: destroy)")
	c.Flags().StringVar(&f.manifest, "manifest", "", "file to write what stays to, as JSON")
	c.Flags().DurationVar(&f.deadline, "deadline", deploy.DefaultDeadline, "how long it may take at most")
	c.Flags().DurationVar(&f.stall, "stall", deploy.DefaultStall, "how long nothing may move before it gives up")
	return c
}

// fates are the choices of --data, and what they come to.
var fates = map[deploy.Data]string{
	deploy.KeepData:     "Keys, storage, database and network stay.",
	deploy.SnapshotData: "Keys and storage stay, and a snapshot of the database.",
	deploy.DestroyData:  "Its data is destroyed.",
}

// fate is what becomes of the data. Production has no default: people are
// asked, and programs have to say.
func (a *app) fate(ctx context.Context, c *config.Config, data string) (deploy.Data, error) {
	if data == "" && c.Profile == config.Evaluation {
		return deploy.DestroyData, nil
	}
	question := fmt.Sprintf("what becomes of the data of %s?", c.Name)
	if data == "" {
		if !a.Terminal(a.In) {
			return "", hinted{&usageError{fmt.Errorf("%s --data is missing", question)}, "add --data keep, snapshot or destroy; poolhouse delete --help says what each one leaves"}
		}
		for _, d := range []deploy.Data{deploy.KeepData, deploy.SnapshotData, deploy.DestroyData} {
			fmt.Fprintf(a.Err, "  %-9s %s\n", d, fates[d])
		}
		answer, err := a.ask(ctx, capital(question)+" Type keep, snapshot or destroy: ", question)
		if err != nil {
			return "", err
		}
		data = strings.ToLower(answer)
	}
	if fates[deploy.Data(data)] == "" {
		return "", hinted{&usageError{fmt.Errorf("--data is keep, snapshot or destroy, not %q", data)}, "poolhouse delete --help says what each one leaves"}
	}
	return deploy.Data(data), nil
}

func (a *app) delete(cmd *cobra.Command, path string, f deleteFlags) error {
	ctx := cmd.Context()
	arch, err := load(path)
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	name := arch.Config.Name
	data, err := a.fate(ctx, arch.Config, f.data)
	if err != nil {
		return err
	}
	program, err := plane.AtHand("releases", releasesProgram)
	if err != nil {
		return err
	}
	t, account, err := a.target(ctx, path)
	if err != nil {
		return err
	}
	status, err := deploy.Look(ctx, t)
	if err != nil {
		return err
	}
	found, err := inventory.Read(ctx, t.AWS, t.Architecture)
	if err != nil {
		return err
	}
	status.Add(found)
	// What could not be looked at may be there.
	if status.Phase != deploy.Missing || len(status.Outside) > 0 || len(status.Unknown) > 0 {
		if a.output != "json" {
			status.Next = ""
			view.Status(a.Err, status, quoted(path))
			if err := a.inCluster(ctx, t, status, data, program != ""); err != nil {
				return err
			}
		}
		what := fmt.Sprintf("This deletes %s in %s, account %s. %s", name, status.Region, account, fates[data])
		if err := a.confirmName(ctx, f.yes, name, what); err != nil {
			return err
		}
	}
	lift := func(ctx context.Context, all []deploy.Protection) error {
		if a.output != "json" {
			view.Protections(a.Err, all)
		}
		return a.confirm(ctx, f.yes, "Lift this protection?")
	}
	if t.Expected, err = deploy.DeleteTime(t.Architecture); err != nil {
		return err
	}
	var res *deploy.Deleted
	err = a.watch(ctx, &t, "delete", path, nil, func() (err error) {
		res, err = deploy.Delete(ctx, deploy.DeleteOptions{Target: t, Data: data, Deadline: f.deadline, Stall: f.stall, Lift: lift, Releases: program})
		return err
	})
	var blocked *deploy.BlockedError
	if err != nil && (res == nil || !errors.As(err, &blocked)) {
		return err
	}
	v := manifest{name, status.Region, account, data, res.Took.Seconds(), res}
	errs := []error{err, a.print(v, func() { view.Deleted(a.Out, name, quoted(path), res) })}
	if f.manifest != "" {
		errs = append(errs, v.write(f.manifest))
	}
	return errors.Join(errs...)
}

// contentsTime is how long a look into the cluster may take before it is asked for the
// deletion.
const contentsTime = time.Minute

// inCluster says what of the cluster goes before the stacks, or why that isn't known.
func (a *app) inCluster(ctx context.Context, t deploy.Target, s *deploy.Status, data deploy.Data, uninstalls bool) error {
	switch {
	case s.Kubernetes == nil:
		return nil
	case s.Kubernetes.Way == "":
		fmt.Fprintln(a.Err, "There is no route from here to its Kubernetes API: what controllers made in AWS is removed by its tags.")
		return nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, contentsTime, fmt.Errorf("no answer within %v", contentsTime))
	defer cancel()
	c, err := deploy.LookIntoCluster(bounded, t)
	switch {
	case err == nil:
		view.Contents(a.Err, c, data, releasesProgram, uninstalls)
	case ctx.Err() != nil:
		return err
	default:
		fmt.Fprintln(a.Err, view.Wrap("", "  ", "What its cluster holds can't be looked at, and what controllers made in AWS is removed by its tags: "+err.Error()))
	}
	return nil
}

// manifest is what a deletion came to, and what it left.
type manifest struct {
	Deployment string      `json:"deployment"`
	Region     string      `json:"region"`
	Account    string      `json:"account"`
	Data       deploy.Data `json:"data"`
	Seconds    float64     `json:"seconds"`
	*deploy.Deleted
}

func (m manifest) write(path string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write the manifest %s: %w", path, err)
	}
	return writeFile(path, 0o600, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}
