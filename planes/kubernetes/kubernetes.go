// Package kubernetes is the control plane of one Kubernetes cluster on loopback:
// etcd, kube-apiserver, kube-scheduler and the controllers of
// kube-controller-manager, in one process, with nodes that are told to it. A
// node that pods run on has a kubelet, in a process of its own, and a container
// runtime, see packages kubelet and cri. What pods find by names and at the addresses
// of services is package network's.
//
// Invariants: RBAC decides, and whoever has no credentials gets nothing but the
// three health checks, as on EKS; keys and tokens are in the folder of the
// cluster alone, readable by its user alone. Nothing that a pod is or says reaches
// an address of this machine.
//
// Limits: the components keep state that belongs to their process, so that
// [Serve] can be called once in one. Pods whose processes can't run, on this
// machine or because they ask for what isn't modelled, are bound to nodes, say why
// in their status, and are never ready. What pods have written goes with the
// process.
package kubernetes

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Config is what a control plane is told.
type Config struct {
	// Certificate and Key, as PEM, are what the API shows, and Authority is who
	// signed them. One of the certificate's names is "kubernetes".
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	Authority   string `json:"authority"`
	// SigningKey signs the tokens of service accounts: an RSA or ECDSA key as
	// PEM. Issuer is the URL that they are from.
	SigningKey string `json:"signingKey"`
	Issuer     string `json:"issuer"`
	// Services is the range of addresses of services: "10.100.0.0/16".
	Services string `json:"services"`
	// Token opens the API as a member of system:masters, and the control.
	Token string `json:"token"`
	// Webhook is asked about tokens that the cluster doesn't know, and about
	// what RBAC doesn't allow; nil leaves it out.
	Webhook *Webhook `json:"webhook,omitempty"`
	// Pods is what runs the processes of pods; nil runs none.
	Pods *Pods `json:"pods,omitempty"`
}

// Webhook answers TokenReviews at URL/authenticate, and SubjectAccessReviews at
// URL/authorize, for who shows its token. At URL/login it says as whom a node,
// {"node": NAME}, pulls images: {"user", "password"}. Authority, as PEM, signed its
// certificate: without TLS it would be shown no token.
type Webhook struct {
	URL       string `json:"url"`
	Token     string `json:"token"`
	Authority string `json:"authority"`
}

func (c Config) check() error {
	var errs []error
	for name, v := range map[string]string{"certificate": c.Certificate, "key": c.Key, "authority": c.Authority, "signing key": c.SigningKey, "issuer": c.Issuer, "token": c.Token} {
		if v == "" {
			errs = append(errs, fmt.Errorf("a cluster needs a %s", name))
		}
	}
	if _, err := netip.ParsePrefix(c.Services); err != nil {
		errs = append(errs, fmt.Errorf("read the range of services: %w", err))
	}
	if strings.ContainsAny(c.Token, " \",\n") {
		errs = append(errs, errors.New("a token has neither blanks, commas nor quotes"))
	}
	if w := c.Webhook; w != nil && (!strings.HasPrefix(w.URL, "https://") || w.Token == "" || w.Authority == "") {
		errs = append(errs, errors.New("a webhook needs an https URL, a token and an authority"))
	}
	if c.Pods != nil {
		errs = append(errs, c.Pods.check())
	}
	return errors.Join(errs...)
}

// The names of the addresses that a control plane answers at: the API with TLS,
// and the control without.
const (
	API     = "api"
	Control = "control"
)

// Options describe a control plane.
type Options struct {
	Config
	// Dir is the folder of its data, which becomes the working directory.
	// Temporary tells that nothing of it is needed later.
	Dir       string
	Temporary bool
	// Listen are loopback addresses to listen on, by name; a name that isn't
	// here takes a free port.
	Listen map[string]string
	// Ready is told the addresses once the cluster can be used.
	Ready func(addresses map[string]string) error
}

// endWithin is how long the API may take to answer what it has begun with.
const endWithin = 3 * time.Second

// Serve runs a control plane until the context ends. It is called once in a
// process.
func Serve(ctx context.Context, o Options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	if err := name(); err != nil {
		return err
	}
	// Sockets are named relative to it: whole paths may be too long for one.
	if err := os.Chdir(o.Dir); err != nil {
		return err
	}
	api, err := listen(ctx, o.Listen[API])
	if err != nil {
		return err
	}
	control, err := listen(ctx, o.Listen[Control])
	if err != nil {
		return errors.Join(err, api.Close())
	}
	signs, err := newAuthority()
	if err != nil {
		return errors.Join(err, api.Close(), control.Close())
	}
	if err := o.write(api.Addr().String(), signs); err != nil {
		return errors.Join(err, api.Close(), control.Close())
	}
	// What nodes had is of a process that is over, also of nodes that are gone.
	if err := os.RemoveAll(nodesFolder); err != nil {
		return errors.Join(err, api.Close(), control.Close())
	}
	store, err := openStore(o.Temporary)
	if err != nil {
		return errors.Join(err, api.Close(), control.Close())
	}
	defer store.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pods, err := openPods(ctx, o.Config)
	if err != nil {
		return errors.Join(err, api.Close(), control.Close())
	}
	kubelets := newKubelets(o.Config, api.Addr().String(), signs, pods)
	defer func() { err = errors.Join(err, kubelets.close()) }()
	if err := serveEgress(ctx, kubelets.dial); err != nil {
		return errors.Join(err, api.Close(), control.Close())
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := runAPI(ctx, o.Config, api); err != nil && ctx.Err() == nil {
			cancel(fmt.Errorf("kube-apiserver: %w", err))
		}
	}()
	defer func() {
		cancel(nil)
		select {
		case <-served:
		case <-time.After(endWithin):
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	client, err := o.client(api.Addr().String())
	if err != nil {
		return errors.Join(err, control.Close())
	}
	if err := await(ctx, client); err != nil {
		return errors.Join(err, control.Close())
	}
	for name, run := range map[string]func(context.Context) error{"kube-scheduler": runScheduler, "kube-controller-manager": runControllers} {
		go func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		}()
	}
	if err := awaitControllers(ctx, client); err != nil {
		return errors.Join(err, control.Close())
	}
	if err := o.identify(ctx, client, signs); err != nil {
		return errors.Join(err, control.Close())
	}
	answered, err := pods.answer(ctx, client, o.Config, api.Addr().String(), cancel)
	if err != nil {
		return errors.Join(err, control.Close())
	}
	if answered != nil {
		// Its listeners are the pods' runtime's, which ends after it.
		defer func() {
			cancel(nil)
			<-answered
		}()
	}
	nodes := newNodes(client, kubelets)
	go nodes.run(ctx)
	server := &http.Server{Handler: known(o.Token, nodes.handler(ctx)), ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() {
		_ = server.Close() // nothing is kept of what it is told
	})()
	if err := o.Ready(map[string]string{API: api.Addr().String(), Control: control.Addr().String()}); err != nil {
		return errors.Join(err, control.Close())
	}
	if err := server.Serve(control); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return context.Cause(ctx)
}

// listen listens on a loopback address: the one asked for, or some.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s is no loopback address with a port", address)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// client speaks to the API as its administrator.
func (c Config) client(address string) (*kubernetes.Clientset, error) {
	return kubernetes.NewForConfig(&rest.Config{
		Host: "https://" + address, BearerToken: c.Token, UserAgent: "poolhouse-plane-kubernetes", QPS: -1,
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
		TLSClientConfig: rest.TLSClientConfig{CAData: []byte(c.Authority), ServerName: serverName},
	})
}

// await returns when the API is ready, with the namespaces that all clusters
// have.
func await(ctx context.Context, client *kubernetes.Clientset) error {
	return until(ctx, func() error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			_, err = client.CoreV1().Namespaces().Get(ctx, meta.NamespaceDefault, meta.GetOptions{})
		}
		if err == nil {
			_, err = client.CoreV1().Namespaces().Get(ctx, leases, meta.GetOptions{})
		}
		return err
	})
}

// awaitControllers returns when the controllers work: the first pods need what
// they make.
func awaitControllers(ctx context.Context, client *kubernetes.Clientset) error {
	return until(ctx, func() error {
		_, err := client.CoreV1().ServiceAccounts(meta.NamespaceDefault).Get(ctx, "default", meta.GetOptions{})
		return err
	})
}

// until looks until there is no error, or the context ends: the error is why, and what the
// last look before said.
func until(ctx context.Context, look func() error) error {
	var last error
	for {
		err := look()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if last == nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w; before, it was: %v", context.Cause(ctx), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// known lets those in who have the token.
func known(token string, h http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "the control is for the sandbox alone", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
