package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
)

func (a *app) clusterKubeconfigCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "kubeconfig -f FILE",
		Short: "Print a kubeconfig for the deployment's cluster",
		Long: "kubeconfig finds the way to the Kubernetes API, as create does, and prints a kubeconfig\n" +
			"that takes it: direct, or through a proxy. It holds no secret: kubectl runs\n" +
			"poolhouse cluster token for a token, and needs no AWS CLI. Where only a session leads\n" +
			"there, or a proxy that wants a password, poolhouse cluster connect keeps a way open.",
		Example: "  poolhouse cluster kubeconfig -f deployment.yaml > kubeconfig\n  KUBECONFIG=kubeconfig kubectl get nodes",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.clusterOf(cmd.Context(), file)
			if err != nil {
				return err
			}
			r, err := routeTo(cmd.Context(), t, file)
			if err != nil {
				return err
			}
			if err := r.Close(); err != nil {
				return fmt.Errorf("close the route to the Kubernetes API: %w", err)
			}
			proxy, err := proxyFor(r, file)
			if err != nil {
				return err
			}
			o, err := kubeconfigFor(t, r, file)
			if err != nil {
				return err
			}
			o.Proxy = proxy
			text, err := cluster.Kubeconfig(o)
			if err != nil {
				return err
			}
			out := struct {
				Kubeconfig string `json:"kubeconfig"`
			}{string(text)}
			return a.print(out, func() { fmt.Fprint(a.Out, out.Kubeconfig) })
		},
	}
	fileFlag(c, &file)
	return c
}

// proxyFor is the proxy by which clients take a route themselves, or "".
func proxyFor(r *cluster.Route, file string) (string, error) {
	hint := "keep a way open: poolhouse cluster connect -f " + quoted(file) + " --kubeconfig kubeconfig"
	switch {
	case r.Way == architecture.WaySession:
		return "", hinted{errors.New("only a session leads to the Kubernetes API, and it ends with this command"), hint}
	case r.Way == architecture.WayProxy && r.Login:
		return "", hinted{fmt.Errorf("the way to the Kubernetes API is by the proxy %s with a user and password, which a kubeconfig is not to hold", r.Via), hint}
	case r.Way == architecture.WayProxy:
		return r.Via, nil
	}
	return "", nil
}

// kubeconfigFor is how clients reach a deployment's cluster directly. Tokens are made
// by this program, of the file where it lies now and with the AWS profile of now.
func kubeconfigFor(t deploy.Target, r *cluster.Route, file string) (o cluster.KubeconfigOptions, err error) {
	program, err := os.Executable()
	if err != nil {
		return o, fmt.Errorf("find this program: %w", err)
	}
	if file, err = filepath.Abs(file); err != nil {
		return o, fmt.Errorf("find the file: %w", err)
	}
	o = cluster.KubeconfigOptions{
		Name: t.Architecture.ClusterName(), Server: r.Endpoint, Authority: r.Authority,
		Command: []string{program, "cluster", "token", "-f", file},
	}
	if profile := os.Getenv("AWS_PROFILE"); profile != "" {
		o.Environment = [][2]string{{"AWS_PROFILE", profile}}
	}
	return o, nil
}
