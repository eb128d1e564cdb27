package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) initCommand() *cobra.Command {
	var o config.Options
	var profile string
	var force bool
	c := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a deployment.yaml to start from",
		Long: "init writes a commented deployment.yaml, or another file, or standard output if\n" +
			"the file is -. It is valid as it stands; lines marked \"change\" hold samples.",
		Example: "  poolhouse init --name poolside --region eu-central-1 --domain poolside.example.com\n" +
			"  poolhouse init --profile production production.yaml",
		GroupID: "file", ValidArgsFunction: yamlFiles,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("init writes one file, and %q is another", args[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			path := "deployment.yaml"
			if len(args) == 1 {
				path = args[0]
			}
			o.Profile = config.Profile(profile)
			src, err := config.Init(o)
			if err != nil {
				return err
			}
			return a.writeInit(path, src, force)
		},
	}
	c.Flags().StringVar(&o.Name, "name", "", "name of the deployment")
	c.Flags().StringVar(&o.Region, "region", "", "AWS region")
	c.Flags().StringVar(&profile, "profile", "", "evaluation or production")
	c.Flags().StringVar(&o.Domain, "domain", "", "host name of web users; api. and admin. lie below it")
	c.Flags().StringVar(&o.Account, "account", "", "id of the AWS account")
	c.Flags().StringVar(&o.AllowCIDR, "allow", "", "range that may connect, such as 203.0.113.0/24")
	c.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return c
}

func (a *app) writeInit(path string, src []byte, force bool) error {
	if path == "-" {
		if _, err := a.Out.Write(src); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
		return nil
	}
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, mode, 0o644)
	if errors.Is(err, os.ErrExist) {
		return hinted{&usageError{fmt.Errorf("%s exists already", path)}, "name another file, or overwrite it with --force"}
	}
	if err != nil {
		return hinted{&usageError{fmt.Errorf("write %s: %s", path, rootOf(err))}, "check the path and its permissions"}
	}
	_, err = f.Write(src)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	var marked []int
	for i, line := range strings.Split(string(src), "\n") {
		if strings.Contains(line, "# change") {
			marked = append(marked, i+1)
		}
	}
	v := struct {
		File string `json:"file"`
		// Marked are the numbers of the lines that hold samples.
		Marked []int `json:"marked"`
	}{path, marked}
	return a.print(v, func() { printInit(a.Out, path, len(marked)) })
}

func printInit(w io.Writer, path string, marked int) {
	fmt.Fprintf(w, "wrote %s; %s marked \"change\"\n", path, view.Count(marked, "line"))
	fmt.Fprintf(w, "next: change them, then poolhouse validate %s\n", quoted(path))
}
