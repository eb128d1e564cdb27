package kubernetes

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	cliflag "k8s.io/component-base/cli/flag"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controlleroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// serverName is the one that the components call the API by.
const serverName = "kubernetes"

// The files in the folder of a cluster.
const (
	certificateFile    = "apiserver.crt"
	keyFile            = "apiserver.key"
	authorityFile      = "ca.crt"
	signingFile        = "service-accounts.key"
	tokensFile         = "tokens.csv"
	kubeconfigFile     = "admin.kubeconfig"
	authenticationFile = "authentication.json"
	authenticateFile   = "authenticate.kubeconfig"
	authorizeFile      = "authorize.kubeconfig"
	egressFile         = "egress.json"
	kubeletsFile       = "kubelets.crt"
	askFile            = "kubelet-client.crt"
	askKeyFile         = "kubelet-client.key"
	storeSocket        = "unix://etcd.sock"
)

type object = map[string]any

// kubeconfig is a file that names a server and who calls it.
func kubeconfig(cluster object, token string) ([]byte, error) {
	return json.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "x",
		"clusters": []object{{"name": "x", "cluster": cluster}},
		"users":    []object{{"name": "x", "user": object{"token": token}}},
		"contexts": []object{{"name": "x", "context": object{"cluster": "x", "user": "x"}}},
	})
}

// write makes the files that the components read, in the working directory. The
// authority signs for kubelets, and for the API that asks them.
func (c Config) write(address string, a *authority) error {
	admin, err := kubeconfig(object{"server": "https://" + address, "certificate-authority": authorityFile, "tls-server-name": serverName}, c.Token)
	if err != nil {
		return err
	}
	// Nobody is anonymous but for health checks, as on EKS since 1.32.
	// https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions-standard.html
	authentication, err := json.Marshal(object{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"anonymous": object{"enabled": true, "conditions": []object{{"path": "/healthz"}, {"path": "/livez"}, {"path": "/readyz"}}},
	})
	if err != nil {
		return err
	}
	ways, err := json.Marshal(egress())
	if err != nil {
		return err
	}
	ask, askKey, err := a.issue(pkix.Name{CommonName: "kube-apiserver-kubelet-client"}, nil, nil, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		egressFile: ways, kubeletsFile: []byte(a.text), askFile: []byte(ask), askKeyFile: []byte(askKey),
		certificateFile: []byte(c.Certificate), keyFile: []byte(c.Key), authorityFile: []byte(c.Authority), signingFile: []byte(c.SigningKey),
		tokensFile: fmt.Appendf(nil, "%q,%q,%q,%q\n", c.Token, "poolhouse:sandbox", "poolhouse:sandbox", "system:masters"), kubeconfigFile: admin, authenticationFile: authentication,
	}
	if w := c.Webhook; w != nil {
		for file, path := range map[string]string{authenticateFile: "/authenticate", authorizeFile: "/authorize"} {
			if files[file], err = kubeconfig(object{"server": w.URL + path, "certificate-authority-data": []byte(w.Authority)}, w.Token); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// openStore starts etcd on a socket in the working directory.
func openStore(temporary bool) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir, c.LogLevel = "etcd", "error"
	// What is lost with the machine anyhow need not be on its disk.
	c.UnsafeNoFsync = temporary
	at := func(s string) ([]url.URL, error) {
		u, err := url.Parse(s)
		if err != nil {
			return nil, err
		}
		return []url.URL{*u}, nil
	}
	var errs [4]error
	c.ListenClientUrls, errs[0] = at(storeSocket)
	c.ListenPeerUrls, errs[1] = at("unix://peer.sock")
	// Nobody calls these: there is one member.
	c.AdvertiseClientUrls, errs[2] = at("http://127.0.0.1:1")
	c.AdvertisePeerUrls, errs[3] = at("http://127.0.0.1:1")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	const within = 30 * time.Second
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-time.After(within):
		err = fmt.Errorf("it is not ready after %s", within)
	}
	e.Close()
	return nil, fmt.Errorf("start etcd: %w", err)
}

// parse reads a component's flags.
func parse(sets cliflag.NamedFlagSets, args ...string) error {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, s := range sets.FlagSets {
		all.AddFlagSet(s)
	}
	return all.Parse(args)
}

// runAPI runs kube-apiserver.
func runAPI(ctx context.Context, c Config, l net.Listener) error {
	args := []string{
		"--etcd-servers=" + storeSocket, "--endpoint-reconciler-type=none", "--advertise-address=127.0.0.1", "--bind-address=127.0.0.1",
		"--tls-cert-file=" + certificateFile, "--tls-private-key-file=" + keyFile, "--cert-dir=certificates",
		"--service-account-issuer=" + c.Issuer, "--service-account-signing-key-file=" + signingFile, "--service-account-key-file=" + signingFile,
		"--api-audiences=https://kubernetes.default.svc", "--service-cluster-ip-range=" + c.Services,
		"--token-auth-file=" + tokensFile, "--authentication-config=" + authenticationFile,
		"--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false",
		// Nodes and pods have addresses of a network that is not this machine's;
		// services are left out on the way to pods.
		"--egress-selector-config-file=" + egressFile, "--enable-aggregator-routing=true", "--kubelet-preferred-address-types=Hostname",
		"--kubelet-certificate-authority=" + kubeletsFile, "--kubelet-client-certificate=" + askFile, "--kubelet-client-key=" + askKeyFile,
	}
	modes := "Node,RBAC"
	if c.Webhook != nil {
		// Whoever loses access has lost it at once: nothing is remembered.
		args = append(args, "--authentication-token-webhook-config-file="+authenticateFile, "--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=0s",
			"--authorization-webhook-config-file="+authorizeFile, "--authorization-webhook-version=v1", "--authorization-webhook-cache-authorized-ttl=0s", "--authorization-webhook-cache-unauthorized-ttl=0s")
		modes += ",Webhook"
	}
	s := apiserveroptions.NewServerRunOptions()
	if err := parse(s.Flags(), append(args, "--authorization-mode="+modes)...); err != nil {
		return err
	}
	s.Authentication.TokenSuccessCacheTTL = 0
	s.SecureServing.Listener, s.SecureServing.BindPort = l, l.Addr().(*net.TCPAddr).Port
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	completed, err := s.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return errors.Join(errs...)
	}
	return apiserver.Run(ctx, completed)
}

// runScheduler runs kube-scheduler, which listens nowhere.
func runScheduler(ctx context.Context) error {
	o := scheduleroptions.NewOptions()
	if err := parse(*o.Flags, "--kubeconfig="+kubeconfigFile, "--leader-elect=false", "--secure-port=0"); err != nil {
		return err
	}
	if err := o.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	config, s, err := scheduler.Setup(ctx, o)
	if err != nil {
		return err
	}
	return scheduler.Run(ctx, config, s)
}

// runControllers runs kube-controller-manager, which listens nowhere.
func runControllers(ctx context.Context) error {
	o, err := controlleroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	all, disabled, aliases := controllers.KnownControllers(), controllers.ControllersDisabledByDefault(), controllers.ControllerAliases()
	flags := o.Flags(all, disabled, aliases)
	err = parse(flags, "--kubeconfig="+kubeconfigFile, "--leader-elect=false", "--secure-port=0", "--root-ca-file="+authorityFile,
		"--service-account-private-key-file="+signingFile, "--controllers=*,-node-ipam-controller", "--allocate-node-cidrs=false",
		"--concurrent-gc-syncs=5", "--kube-api-qps=200", "--kube-api-burst=400")
	if err != nil {
		return err
	}
	o.ParsedFlags = &flags
	if err := o.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	config, err := o.Config(ctx, all, disabled, aliases)
	if err != nil {
		return err
	}
	return controllers.Run(ctx, config.Complete())
}
