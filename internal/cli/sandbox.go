package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
)

func (a *app) sandboxCommand() *cobra.Command {
	var o sandboxOptions
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a simulated AWS account to other clients",
		Long: "sandbox serves a simulated AWS account on a loopback address until it is\n" +
			"interrupted: for the AWS CLI, SDKs, other tools, and poolhouse itself. It prints\n" +
			"the environment variables to set. Nothing of it is kept.\n\n" +
			"With --for FILE the account is the one that a deployment.yaml is for: in its\n" +
			"region, with what the file names and does not make, such as the SSO secrets.",
		Example: "  poolhouse sandbox --speed 60 --for deployment.yaml\n  poolhouse sandbox --listen 127.0.0.1:0 --region eu-central-1",
		GroupID: "try", Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.regionSet = cmd.Flags().Changed("region")
			box, doors, err := o.sandbox(cmd.Context())
			if err != nil {
				return err
			}
			defer doors.Close()
			l, err := loopback(cmd.Context(), o.listen)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), l, box)
		},
	}
	c.Flags().StringVar(&o.listen, "listen", "127.0.0.1:4599", "loopback address and port; port 0 takes a free one")
	c.Flags().StringVar(&o.region, "region", "us-east-1", "AWS region")
	c.Flags().StringVar(&o.file, "for", "", "deployment.yaml whose account it is")
	c.Flags().Float64Var(&o.speed, "speed", 1, "how much faster than AWS operations are")
	c.Flags().Uint64Var(&o.seed, "seed", 0, "vary ids and durations; 0 means typical durations")
	c.Flags().BoolVar(&o.fresh, "fresh", false, "an account never used before: no service-linked roles, no default VPC")
	return c
}

type sandboxOptions struct {
	listen, region, file string
	regionSet            bool
	speed                float64
	seed                 uint64
	fresh                bool
}

// sandbox makes the account, with what a file presupposes.
func (o sandboxOptions) sandbox(ctx context.Context) (*sandbox.Sandbox, *rehearse.Doors, error) {
	switch {
	case o.speed < 1:
		return nil, nil, &usageError{fmt.Errorf("--speed is 1 or more, not %g", o.speed)}
	case !regionForm().MatchString(o.region):
		return nil, nil, &usageError{fmt.Errorf("--region %q is no AWS region", o.region)}
	case o.file != "" && o.regionSet:
		return nil, nil, &usageError{errors.New("the file given by --for names the region; leave --region out")}
	}
	began := time.Now()
	so := sandbox.Options{Region: o.region}
	var arch *architecture.Architecture
	if o.file != "" {
		var err error
		if arch, err = load(o.file); err != nil {
			return nil, nil, err
		}
		so = rehearse.SandboxOptions(arch)
	}
	so.Seed, so.Fresh = o.seed, o.fresh
	so.Now = func() time.Time { return began.Add(time.Duration(float64(time.Since(began)) * o.speed)) }
	doors, err := rehearse.OpenDoors(ctx, &so, arch)
	if err != nil {
		return nil, nil, err
	}
	box := sandbox.New(so)
	doors.Attach(box)
	if arch != nil {
		if _, err := rehearse.Given(box, arch); err != nil {
			return nil, nil, errors.Join(err, doors.Close())
		}
	}
	return box, doors, nil
}

// regionForm is how regions are named.
func regionForm() *regexp.Regexp { return regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d$`) }

// loopback listens on an address of this machine alone: whoever reaches the
// sandbox can use it, since its credentials are public.
func loopback(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, hinted{&usageError{fmt.Errorf("--listen %s is no loopback address with a port", address)}, "write 127.0.0.1:4599, or 127.0.0.1:0 for a free port"}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, hinted{&usageError{fmt.Errorf("listen on %s: %s", address, rootOf(err))}, "another sandbox may be running; --listen 127.0.0.1:0 takes a free port"}
	}
	return l, nil
}

// serve answers until the context ends.
func (a *app) serve(ctx context.Context, l net.Listener, box *sandbox.Sandbox) error {
	server := &http.Server{Handler: box, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		// Nothing is lost with a request that is cut off.
		_ = server.Close()
	})
	defer stop()
	endpoint := rehearse.NewEndpoint(box, "http://"+l.Addr().String())
	if err := a.print(endpoint, func() {
		fmt.Fprintf(a.Out, "A sandbox of AWS, account %s in %s, answers at %s.\nIn another shell:\n\n", endpoint.Account, endpoint.Region, endpoint.URL)
		view.Environment(a.Out, endpoint)
		fmt.Fprintln(a.Out, "\nCtrl-C ends it, and all that is in it.")
	}); err != nil {
		return errors.Join(err, server.Close(), l.Close())
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve sandbox: %w", err)
	}
	return nil
}
