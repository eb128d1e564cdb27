package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/calibrate"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/templates"
)

func (a *app) calibrateCommand() *cobra.Command {
	var (
		list       bool
		region     string
		changeSets string
		only       []string
	)
	c := &cobra.Command{
		Use:   "calibrate",
		Short: "Compare a real account with the sandbox",
		Long: "calibrate asks a real account and a sandbox the same, by calls that read and by\n" +
			"dry runs, and prints each difference: where the sandbox lies. It changes nothing\n" +
			"and costs nothing. --list prints what it asks, and the IAM permissions that it\n" +
			"needs. It exits with 3 if there are differences.\n\n" +
			"--change-sets FILE also makes a change set for each stack of a deployment.yaml,\n" +
			"on stacks in review whose names begin with " + calibrate.StackPrefix + ", and\n" +
			"on those of its stacks that are there, and deletes them again. None is executed.",
		Example: "  poolhouse sandbox calibrate --list\n  poolhouse sandbox calibrate --region eu-central-1 --output json > differences.json",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := calibrate.Options{Only: only}
			if err := o.Known(); err != nil {
				return &usageError{fmt.Errorf("%w; poolhouse sandbox calibrate --list prints them", err)}
			}
			if changeSets != "" {
				var err error
				if err = reviewed(changeSets, &o); err != nil {
					return err
				}
			}
			if list {
				v := struct {
					Probes      []calibrate.Probe `json:"probes"`
					Permissions []string          `json:"permissions"`
				}{o.Chosen(), calibrate.Permissions(o.Chosen())}
				return a.print(v, func() { view.Probes(a.Out, v.Probes, v.Permissions) })
			}
			o.Account = func(ctx context.Context, guard func(*http.Request) error) (*awsapi.Clients, error) {
				clients, err := awsapi.New(ctx, awsapi.Options{Region: region, Clock: a.Clock, Guard: guard})
				if err != nil {
					return nil, &accessError{region, err}
				}
				return clients, nil
			}
			report, err := calibrate.Run(cmd.Context(), o)
			if err != nil {
				return &accessError{region, err}
			}
			if err := a.print(report, func() { view.Calibration(a.Out, report, a.verbose) }); err != nil {
				return err
			}
			if report.Differences() > 0 {
				return silent{Pending}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&list, "list", false, "print what is asked, and look at no account")
	c.Flags().StringVar(&region, "region", "", "AWS region; the environment's if it is left out")
	c.Flags().StringVar(&changeSets, "change-sets", "", "deployment.yaml whose stacks to make change sets for")
	c.Flags().StringSliceVar(&only, "only", nil, "only these probes; an id that ends in * stands for all that begin so")
	return c
}

// reviewed has change sets made of a deployment's templates, with values for
// their parameters that have the right form: change sets of new stacks don't
// look them up. And of its stacks, if it is there.
func reviewed(path string, o *calibrate.Options) error {
	arch, err := load(path)
	if err != nil {
		return err
	}
	stacks, err := templates.All(arch)
	if err != nil {
		return err
	}
	o.Deploy = func(ctx context.Context, box *sandbox.Sandbox, clients *awsapi.Clients) error {
		if _, err := rehearse.Given(box, arch); err != nil {
			return err
		}
		_, err := deploy.Create(ctx, deploy.CreateOptions{Target: deploy.Target{Architecture: arch, AWS: clients}})
		return err
	}
	for _, s := range stacks {
		t := calibrate.Template{Name: string(s.Name), Body: string(s.Body), Parameters: map[string]string{}}
		for _, p := range s.Parameters {
			if !p.HasDefault {
				t.Parameters[p.Name] = example(p.Name)
			}
		}
		for _, in := range s.Inputs {
			t.Parameters[in.Parameter] = example(in.Parameter)
		}
		o.Templates = append(o.Templates, t)
		o.Stacks = append(o.Stacks, s.StackName)
	}
	return nil
}

// example is a value of the form that a parameter's name promises.
func example(name string) string {
	if n, ok := strings.CutPrefix(name, templates.ZoneIDParameter); ok {
		return "{zone-id-" + n + "}"
	}
	if n, ok := strings.CutPrefix(name, templates.ZoneNameParameter); ok {
		return "{zone-name-" + n + "}"
	}
	const digits = "-0123456789abcdef0"
	for _, form := range []struct{ part, value string }{
		{"KeyArn", "arn:aws:kms:{region}:{account}:key/01234567-89ab-cdef-0123-456789abcdef"},
		{"BucketArn", "arn:aws:s3:::poolhouse-calibrate"},
		{"CertificateArn", "arn:aws:acm:{region}:{account}:certificate/01234567-89ab-cdef-0123-456789abcdef"},
		{"Arn", "arn:aws:iam::{account}:role/poolhouse-calibrate"},
		{"SecurityGroup", "sg" + digits},
		{"Subnet", "subnet" + digits},
		{"RouteTable", "rtb" + digits},
		{"Vpc", "vpc" + digits},
		{"Range", "10.0.0.0/16"},
		{"Cidr", "10.0.0.0/16"},
	} {
		if strings.Contains(name, form.part) {
			return form.value
		}
	}
	return "poolhouse-calibrate"
}
