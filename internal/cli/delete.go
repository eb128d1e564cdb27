package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) deleteCommand() *cobra.Command {
	var yes bool
	var data string
	c := &cobra.Command{
		Use:   "delete FILE",
		Short: "Delete the deployment",
		Long: "delete removes the deployment in the reverse order of its making and ends by\n" +
			"saying what is left and why. It asks for the deployment's name to be typed.\n\n" +
			"--data says what becomes of the data:\n" +
			"  keep      keys, storage, database and network stay; create goes on from them\n" +
			"  snapshot  keys and storage stay, and a snapshot of the database\n" +
			"  destroy   nothing stays\n" +
			"The production profile has no default.",
		GroupID: "life", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.delete(cmd, args[0], yes, data)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for the name")
	c.Flags().StringVar(&data, "data", "", "keep, snapshot or destroy (evaluation: destroy)")
	return c
}

func (a *app) delete(cmd *cobra.Command, path string, yes bool, data string) error {
	ctx := cmd.Context()
	arch, err := load(path)
	if err != nil {
		return err
	}
	name := arch.Config.Name
	if data == "" && arch.Config.Profile == config.Evaluation {
		data = string(deploy.DestroyData)
	}
	fate, ok := map[deploy.Data]string{
		deploy.KeepData:     "Keys, storage, database and network stay.",
		deploy.SnapshotData: "Keys and storage stay, and a snapshot of the database.",
		deploy.DestroyData:  "Its data is destroyed.",
	}[deploy.Data(data)]
	switch {
	case data == "":
		return hinted{&usageError{fmt.Errorf("what becomes of the data of %s? --data is missing", name)}, "add --data keep, snapshot or destroy; poolhouse delete --help says what each one leaves"}
	case !ok:
		return hinted{&usageError{fmt.Errorf("--data is keep, snapshot or destroy, not %q", data)}, "poolhouse delete --help says what each one leaves"}
	}
	t, account, err := a.target(ctx, path)
	if err != nil {
		return err
	}
	status, err := deploy.Look(ctx, t)
	if err != nil {
		return err
	}
	if status.Phase != deploy.Missing {
		if a.output != "json" {
			status.Next = ""
			view.Status(a.Err, status, path)
		}
		what := fmt.Sprintf("This deletes %s in %s, account %s. %s", name, status.Region, account, fate)
		if err := a.confirmName(ctx, yes, name, what); err != nil {
			return err
		}
	}
	var res *deploy.Deleted
	err = a.watch(ctx, &t, "delete", path, nil, func() (err error) {
		res, err = deploy.Delete(ctx, deploy.DeleteOptions{Target: t, Data: deploy.Data(data)})
		return err
	})
	if err != nil {
		return err
	}
	v := struct {
		Deployment string        `json:"deployment"`
		Outcome    string        `json:"outcome"`
		Seconds    float64       `json:"seconds"`
		Kept       []deploy.Kept `json:"kept"`
	}{name, "clean", res.Took.Seconds(), res.Kept}
	if len(res.Kept) > 0 {
		v.Outcome = "retained"
	}
	return a.print(v, func() { view.Deleted(a.Out, name, res) })
}
