package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/cluster"
)

// connected is what cluster connect prints for machines.
type connected struct {
	Way        string `json:"way"`
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
}

func (a *app) clusterConnectCommand() *cobra.Command {
	var file, listen, path string
	c := &cobra.Command{
		Use:   "connect -f FILE --kubeconfig PATH",
		Short: "Keep a way to a private Kubernetes API open",
		Long: "connect finds the way to the Kubernetes API, as create does: direct, through a proxy, or\n" +
			"by a Session Manager session. It listens on a loopback address, passes what comes\n" +
			"there on by that way, and writes a kubeconfig that leads to it, until it is\n" +
			"interrupted. TLS is between kubectl and the API, and tokens are each caller's own.\n" +
			"A file that is there is replaced if it is a kubeconfig of this cluster and no other.",
		Example: "  poolhouse cluster connect -f deployment.yaml --kubeconfig kubeconfig",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			var faults []error
			if file == "" {
				faults = append(faults, errors.New("-f is missing: name the deployment's file"))
			}
			if path == "" {
				faults = append(faults, errors.New("--kubeconfig is missing: name the file to write"))
			}
			if err := usage(faults); err != nil {
				return err
			}
			t, err := a.clusterOf(ctx, file)
			if err != nil {
				return err
			}
			if err := usage(ours(path, t.Architecture.ClusterName())); err != nil {
				return err
			}
			r, err := routeTo(ctx, t, file)
			if err != nil {
				return err
			}
			return errors.Join(a.connectBy(ctx, r, listen, path, func() (cluster.KubeconfigOptions, error) { return kubeconfigFor(t, r, file) }), r.Close())
		},
	}
	fileFlag(c, &file)
	c.Flags().StringVar(&path, "kubeconfig", "", "the kubeconfig to write (required)")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "loopback address and port; port 0 takes a free one")
	return c
}

// ours says why a cluster's kubeconfig can't be written to a file, if so: it would
// replace something else, or files can't be written there.
func ours(path, name string) []error {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return []error{fmt.Errorf("--kubeconfig: %w", err)}
	case !cluster.KubeconfigOf(text, name):
		return []error{fmt.Errorf("--kubeconfig %s: the file is there, and holds something else than a kubeconfig of %s alone: name another file, or remove it", path, name)}
	}
	if err := writable(path); err != nil {
		return []error{fmt.Errorf("--kubeconfig: %w: name a file in a folder that is there and that you may write to", err)}
	}
	return nil
}

// connectBy passes connections on by a route until the context ends.
func (a *app) connectBy(ctx context.Context, r *cluster.Route, listen, path string, direct func() (cluster.KubeconfigOptions, error)) error {
	l, err := loopback(ctx, "listen", listen)
	if err != nil {
		return err
	}
	o, err := direct()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	at, err := url.Parse(r.Endpoint)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	o.Server, o.ServerName = "https://"+l.Addr().String(), at.Hostname()
	text, err := cluster.Kubeconfig(o)
	if err == nil {
		err = writeFile(path, 0o600, func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	out := connected{r.String(), o.Server, path}
	if err := a.print(out, func() {
		fmt.Fprintf(a.Out, "The Kubernetes API of %s answers at %s, %s.\nIn another shell:\n\n  KUBECONFIG=%s kubectl get nodes\n\nCtrl-C ends it.\n", o.Name, out.Server, out.Way, quoted(path))
	}); err != nil {
		return errors.Join(err, l.Close())
	}
	return r.Forward(ctx, l, func(err error) { fmt.Fprintln(a.Err, err) })
}
