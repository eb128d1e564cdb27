package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/internal/cli/export"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) exportCommand() *cobra.Command {
	var to string
	var force bool
	c := &cobra.Command{
		Use:   "export FILE --to DIR",
		Short: "Write templates and parameters for deploying by hand",
		Long: "export writes one CloudFormation template for each stack, its parameters, and a\n" +
			"README with the order and the commands of the AWS CLI. It looks at no account.\n" +
			"It writes into a new or empty folder, or over an earlier export.",
		GroupID: "file", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			if to == "" {
				return &usageError{errors.New("export needs a folder to write to: --to DIR")}
			}
			arch, err := load(args[0])
			if err != nil {
				return err
			}
			set, err := export.Make(arch)
			if err != nil {
				return err
			}
			foreign, err := set.Foreign(to)
			if err != nil {
				return hinted{&usageError{err}, "check the path and its permissions"}
			}
			if foreign != "" && !force {
				return hinted{&usageError{fmt.Errorf("%s was not written by export", foreign)}, "name another folder, or overwrite what has the same name with --force"}
			}
			stale, err := set.Write(to)
			if err != nil {
				return err
			}
			for _, name := range stale {
				fmt.Fprintf(a.Err, "%s is of an earlier export and not part of this one\n", name)
			}
			v := struct {
				Folder string   `json:"folder"`
				Files  []string `json:"files"`
				Stale  []string `json:"stale"`
			}{to, set.Names(), append([]string{}, stale...)}
			return a.print(v, func() {
				fmt.Fprintf(a.Out, "wrote %s to %s\nnext: %s\n", view.Count(len(v.Files), "file"), to, "read README.md there")
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "folder to write to")
	c.Flags().BoolVar(&force, "force", false, "write into a folder that holds other files")
	return c
}
