package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
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
		GroupID: "life",
		Args:    file,
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for the name")
	c.Flags().StringVar(&data, "data", "", "keep, snapshot or destroy (evaluation: destroy)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		t, err := a.target(ctx, args[0])
		if err != nil {
			return err
		}
		cfg := t.Architecture.Config
		if data == "" && cfg.Profile == config.Evaluation {
			data = string(deploy.DestroyData)
		}
		switch deploy.Data(data) {
		case deploy.KeepData, deploy.SnapshotData, deploy.DestroyData:
		default:
			return hinted{&usageError{fmt.Errorf("--data is keep, snapshot or destroy, not %q", data)}, "poolhouse delete --help says what each one leaves"}
		}
		status, err := deploy.Look(ctx, t)
		if err != nil {
			return err
		}
		printStatus(a.Err, status)
		if status.Phase != deploy.Missing {
			if err := a.confirmName(yes, cfg.Name, data); err != nil {
				return err
			}
		}
		var res *deploy.Deleted
		err = a.watch(ctx, &t, "delete", nil, func() (err error) {
			res, err = deploy.Delete(ctx, deploy.DeleteOptions{Target: t, Data: deploy.Data(data)})
			return err
		})
		if err != nil {
			return err
		}
		return a.printDeleted(t, res)
	}
	return c
}

// confirmName asks for the deployment's name.
func (a *app) confirmName(yes bool, name, data string) error {
	if yes {
		return nil
	}
	if !terminal(a.In) {
		return hinted{&usageError{fmt.Errorf("nobody is there to type the name %s", name)}, "add --yes to delete without being asked"}
	}
	fmt.Fprintf(a.Err, "This deletes %s; its data: %s. Type the name to go on: ", name, data)
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the name: %w", err)
	}
	if strings.TrimSpace(answer) != name {
		fmt.Fprintln(a.Err, "that is another name; nothing was changed")
		return silent{Failed}
	}
	return nil
}
