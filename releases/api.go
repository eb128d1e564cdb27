package releases

import (
	"context"
	"log/slog"
	"net"

	"helm.sh/helm/v4/pkg/action"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// api is the way to the Kubernetes API: a socket behind which who calls is known
// already. It implements the getter that Helm asks for clients.
type api struct {
	config    *rest.Config
	namespace string
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
}

// newAPI opens the way; no call is made. Nobody paces the calls: the API does.
func newAPI(socket, namespace string) (*api, error) {
	config := &rest.Config{
		Host: "http://kubernetes", QPS: -1, UserAgent: "poolhouse",
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(client)
	return &api{config, namespace, cached, restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

// ToRESTConfig implements Helm's getter.
func (a *api) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(a.config), nil }

// ToDiscoveryClient implements Helm's getter.
func (a *api) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return a.discovery, nil
}

// ToRESTMapper implements Helm's getter.
func (a *api) ToRESTMapper() (meta.RESTMapper, error) { return a.mapper, nil }

// ToRawKubeConfigLoader implements Helm's getter. It names the namespace; no file and
// no variable is read.
func (a *api) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: a.config.Host}
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", Namespace: a.namespace}
	c.CurrentContext = "c"
	return clientcmd.NewDefaultClientConfig(*c, &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: a.namespace}})
}

// clients are the typed clients.
func (a *api) clients() (*kubernetes.Clientset, error) { return kubernetes.NewForConfig(a.config) }

// helm is Helm's configuration for releases of a namespace; "" is all of them.
func (s *session) helm(namespace string) (*action.Configuration, error) {
	getter, err := newAPI(s.Socket, namespace)
	if err != nil {
		return nil, err
	}
	c := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	return c, c.Init(getter, namespace, "secret")
}
