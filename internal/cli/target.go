package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// accessError says that there is no way to the account. Nothing was touched.
type accessError struct {
	region string
	err    error
}

func (e *accessError) Error() string { return e.err.Error() }
func (e *accessError) Unwrap() error { return e.err }

// target reads a configuration and opens the way to its account. It returns
// the account's id too.
func (a *app) target(ctx context.Context, path string) (deploy.Target, string, error) {
	arch, err := load(path)
	if err != nil {
		return deploy.Target{}, "", err
	}
	a.file = quoted(path)
	clients, who, err := a.connect(ctx, arch.Config.Region, arch.Config)
	if err != nil {
		return deploy.Target{}, "", err
	}
	account := aws.ToString(who.Account)
	if err := sameAccount(arch.Config, account); err != nil {
		return deploy.Target{}, "", err
	}
	return deploy.Target{Architecture: arch, AWS: clients, Machine: machine(arch.Config), DNS: publicDNS(), Holder: a.holder(aws.ToString(who.Arn), path)}, account, nil
}

// publicDNS is what this machine asks, or nil with endpoints of one's own: what
// is behind them, such as a sandbox, is not in the public DNS.
func publicDNS() deploy.Resolver {
	if os.Getenv("AWS_ENDPOINT_URL") != "" {
		return nil
	}
	return net.DefaultResolver
}

// machine is this one, as the ways to the Kubernetes API see it. A proxy that is
// spoken to by TLS may have a certificate of the file's authorities.
func machine(c *config.Config) *cluster.Machine {
	m := &cluster.Machine{}
	if certs := c.Trust.Certificates(); len(certs) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		for _, cert := range certs {
			roots.AddCert(cert)
		}
		m.Roots = roots
	}
	return m
}

// connect makes clients for a region, the environment's if it is empty, and
// proves that they get an answer: what is wrong with endpoint, region or
// credentials shows here, soon and before anything is done. The configuration,
// if there is one, names the proxy and the authorities for the calls.
func (a *app) connect(ctx context.Context, region string, c *config.Config) (*awsapi.Clients, *sts.GetCallerIdentityOutput, error) {
	o := awsapi.Options{Region: region, Clock: a.Clock}
	if a.Terminal(a.In) {
		o.Expired = a.patience.wait(a.Clock)
	}
	if c != nil {
		o.Proxy, o.NoProxy, o.CABundle = c.Proxy.URL, c.Proxy.NoProxy, c.Trust.Bundle()
	}
	clients, err := awsapi.New(ctx, o)
	if err != nil {
		return nil, nil, &accessError{region, err}
	}
	out, err := clients.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.Options) { o.RetryMaxAttempts = 3 })
	if err != nil {
		return nil, nil, &accessError{clients.Region, fmt.Errorf("ask who the caller is: %w", err)}
	}
	return clients, out, nil
}

// sameAccount refuses credentials for another account than the one that the
// file's own resources are in.
func sameAccount(c *config.Config, account string) error {
	for _, r := range []struct{ path, arn string }{
		{"permissionBoundary", c.PermissionBoundary},
		{"serviceRole", c.ServiceRole},
		{"certificate.arn", c.Certificate.ARN},
		{"access.sso.web.secretArn", c.Access.SSO.Web.SecretARN},
		{"access.sso.admin.secretArn", c.Access.SSO.Admin.SecretARN},
	} {
		parts := strings.SplitN(r.arn, ":", 6)
		if len(parts) == 6 && !slices.Contains([]string{"", "aws", account}, parts[4]) {
			f := c.Fault(r.path, fmt.Sprintf("is in account %s, and the credentials are for account %s", parts[4], account),
				"use credentials for account "+parts[4]+", for example by AWS_PROFILE, or correct the file")
			return config.Faults{f}
		}
	}
	return nil
}
