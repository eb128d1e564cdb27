package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

func (a *app) clusterCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "cluster",
		Short:   "Reach the deployment's Kubernetes, and install a bundle's charts there",
		GroupID: "cluster",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.clusterApplyCommand(), a.clusterStatusCommand(), a.clusterHistoryCommand(), a.clusterUninstallCommand(),
		a.clusterKubeconfigCommand(), a.clusterConnectCommand(), a.clusterTokenCommand())
	return c
}

// clusterOf opens the way to the account of a deployment whose cluster is meant.
func (a *app) clusterOf(ctx context.Context, file string) (deploy.Target, error) {
	if file == "" {
		return deploy.Target{}, usage([]error{errors.New("-f is missing: name the deployment's file")})
	}
	t, _, err := a.target(ctx, file)
	return t, err
}

// routeTo finds the way to the Kubernetes API of a deployment. The caller closes it.
func routeTo(ctx context.Context, t deploy.Target, file string) (*cluster.Route, error) {
	r, err := deploy.FindRoute(ctx, t)
	if awsapi.IsNotFound(err) {
		err = hinted{err, "poolhouse create " + quoted(file) + " makes the cluster"}
	}
	return r, err
}

// execCredential is what clients of Kubernetes take tokens from.
// https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
type execCredential struct {
	APIVersion string               `json:"apiVersion"`
	Kind       string               `json:"kind"`
	Status     execCredentialStatus `json:"status"`
}

type execCredentialStatus struct {
	Expires time.Time `json:"expirationTimestamp"`
	Token   string    `json:"token"`
}
