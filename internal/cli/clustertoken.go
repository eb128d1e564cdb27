package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

func (a *app) clusterTokenCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "token -f FILE",
		Short: "Print a token for the Kubernetes API, as kubectl takes it",
		Long: "token signs a token for the deployment's cluster with the AWS credentials at hand and\n" +
			"prints it as an ExecCredential, always as JSON. It is good for 14 minutes. The file\n" +
			"of cluster kubeconfig has kubectl run this command.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.clusterOf(cmd.Context(), file)
			if err != nil {
				return err
			}
			token, err := deploy.Tokens(t)(cmd.Context())
			if err != nil {
				return err
			}
			return view.JSON(a.Out, execCredential{
				APIVersion: "client.authentication.k8s.io/v1", Kind: "ExecCredential",
				Status: execCredentialStatus{token.Expires.UTC().Truncate(time.Second), token.Value},
			})
		},
	}
	fileFlag(c, &file)
	return c
}
