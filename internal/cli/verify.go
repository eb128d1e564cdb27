package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	var (
		list    bool
		level   string
		only    []string
		skip    []string
		reports []string
	)
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Look at the account and say whether it conforms",
		Long: "verify looks at what stands in the account, through the services' own APIs, and\n" +
			"holds it against the reference architecture and the security baseline. It writes\n" +
			"nothing. What is wrong is named with what was seen, where it came from and how to\n" +
			"put it right. It exits with 3 if a required check fails or could not look.\n\n" +
			"--only and --skip take ids of checks, which --list prints; an id that ends in *\n" +
			"stands for all that begin so. A skipped check needs a reason, which is reported:\n" +
			"--skip 'waf*=our firewall is in front'.",
		GroupID:           "look",
		ValidArgsFunction: yamlFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			if list {
				return noArgs(cmd, args)
			}
			return file(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := verifyOptions(level, only, skip)
			if err != nil {
				return err
			}
			if list {
				checks := o.Chosen()
				return a.print(checks, func() { view.Checks(a.Out, checks) })
			}
			for _, name := range reports {
				if !slices.Contains(view.ReportFormats(), filepath.Ext(name)) {
					return &usageError{fmt.Errorf("--report %s: the name of a report ends in %s", name, strings.Join(view.ReportFormats(), ", "))}
				}
			}
			for _, name := range reports {
				if err := writable(name); err != nil {
					return hinted{&usageError{err}, "name a file in a folder that is there and that you may write to"}
				}
			}
			t, _, err := a.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			o.Architecture, o.AWS = t.Architecture, t.AWS
			rep, err := verify.Run(cmd.Context(), o)
			var absent *verify.AbsentError
			if errors.As(err, &absent) {
				return hinted{err, "poolhouse create " + quoted(args[0]) + " makes it; poolhouse list shows the deployments of a region"}
			}
			if err != nil {
				return err
			}
			for _, name := range reports {
				if err := writeReport(name, rep); err != nil {
					return err
				}
			}
			if err := a.print(rep, func() { view.Verified(a.Out, rep, a.verbose) }); err != nil {
				return err
			}
			if !rep.Conforms() {
				return silent{Pending}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&list, "list", false, "print the checks, and look at no account")
	c.Flags().StringVar(&level, "level", string(verify.Advised), "leave out what is below: required or advised")
	c.Flags().StringSliceVar(&only, "only", nil, "only these checks")
	c.Flags().StringArrayVar(&skip, "skip", nil, "leave a check out, as ID=REASON; may be repeated")
	c.Flags().StringSliceVar(&reports, "report", nil, "also write the report to a file, as its ending says: .html, .md or .json")
	return c
}

// verifyOptions reads the flags of verify and reports all that is wrong with
// them.
func verifyOptions(level string, only, skip []string) (verify.Options, error) {
	o := verify.Options{Level: verify.Level(level), Only: only, Skip: map[string]string{}}
	var errs []error
	if o.Level != verify.Required && o.Level != verify.Advised {
		errs = append(errs, fmt.Errorf("--level is required or advised, not %q", level))
	}
	for _, s := range skip {
		id, reason, ok := strings.Cut(s, "=")
		if !ok || strings.TrimSpace(reason) == "" {
			errs = append(errs, fmt.Errorf("--skip %s gives no reason: write --skip '%s=why'", s, id))
			continue
		}
		o.Skip[id] = reason
	}
	if err := o.Known(); err != nil {
		errs = append(errs, fmt.Errorf("%w; poolhouse verify --list prints them", err))
	}
	return o, usage(errs)
}

// writeReport writes a report in the form that the file's ending names.
func writeReport(name string, rep *verify.Report) error {
	return writeFile(name, 0o644, func(w io.Writer) error { return view.VerifyReport(w, rep, filepath.Ext(name)) })
}
