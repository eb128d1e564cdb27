// Package kubelet is Kubernetes' own kubelet, for a node that is no machine: it
// does for the pods of its node all that a kubelet does, by a container runtime
// that it is told, and leaves the machine that it runs on alone. It is a process
// of its own, since a kubelet ends only with its process.
//
// Invariants: nothing outside of its folder is written, and nothing mounted.
// Only who shows a certificate of the authority given may ask its server.
//
// Limits: the node itself is somebody else's, who registers it and renews its
// lease. Limits of resources are not enforced, nothing is evicted for lack of
// them, and images are kept. Pods that [podspec.Unfit] says can't run are not
// looked at. Secrets and memory-backed folders are in the folder, not in memory.
package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	remote "k8s.io/cri-client/pkg"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/core/install" // what events are about
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/kubelet"
	config "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/v1beta1"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig"
	"k8s.io/kubernetes/pkg/kubelet/server"
	"k8s.io/kubernetes/pkg/kubelet/server/stats"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/poolhouse/poolhouse/planes/kubernetes/podspec"
)

// Options describe a kubelet. They are written to its standard input.
type Options struct {
	// Node is whose pods it runs; the node is there.
	Node string `json:"node"`
	// Dir is its folder, from the working directory, with the sockets Runtime
	// and Server in it: of the container runtime, and where it answers itself.
	Dir string `json:"dir"`
	// API is the address of the API, whose certificate is of Authority and for
	// the name ServerName, and Token lets in.
	API        string `json:"api"`
	Authority  string `json:"authority"`
	ServerName string `json:"serverName"`
	Token      string `json:"token"`
	// Certificate and Key are what the server shows, Clients is the authority of
	// who may ask it, all as PEM.
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	Clients     string `json:"clients"`
	// Address is the node's, DNS that of the cluster's, "" if it has none.
	Address string `json:"address"`
	DNS     string `json:"dns"`
	// Memory, in bytes, and CPUs are what the node has.
	Memory uint64 `json:"memory"`
	CPUs   int    `json:"cpus"`
}

// The sockets in the folder of a kubelet.
const (
	Runtime = "cri.sock"
	Server  = "kubelet.sock"
)

// domain is the cluster's.
const domain = "cluster.local"

// Main is a process that is a kubelet, told by in what to be. It returns when in
// ends or the context does.
func Main(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := json.NewDecoder(in)
	var o Options
	if err := lines.Decode(&o); err != nil {
		return fmt.Errorf("read what to be: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return o.run(ctx)
}

func (o Options) run(ctx context.Context) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	// It may be that the kernel's log can't be read, as in a user namespace.
	if err := utilfeature.DefaultMutableFeatureGate.Set(string(features.KubeletInUserNamespace) + "=true"); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: "https://" + o.API, BearerToken: o.Token, UserAgent: "kubelet", QPS: -1,
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
		TLSClientConfig: rest.TLSClientConfig{CAData: []byte(o.Authority), ServerName: o.ServerName},
	})
	if err != nil {
		return err
	}
	c, err := o.configuration(dir)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(legacyscheme.Scheme, core.EventSource{Component: server.ComponentKubelet, Host: o.Node})
	broadcaster.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: client.CoreV1().Events("")})
	d := o.dependencies(dir, client, recorder)
	if d.RemoteRuntimeService, err = remote.NewRemoteRuntimeService(ctx, c.ContainerRuntimeEndpoint, c.RuntimeRequestTimeout.Duration, d.TracerProvider, false); err != nil {
		return fmt.Errorf("reach the container runtime: %w", err)
	}
	if d.RemoteImageService, err = remote.NewRemoteImageService(ctx, c.ContainerRuntimeEndpoint, c.RuntimeRequestTimeout.Duration, d.TracerProvider, false); err != nil {
		return fmt.Errorf("reach the container runtime: %w", err)
	}
	kubelet.ContainerLogsDir = filepath.Join(dir, "containers")
	const (
		oldEnough  = time.Minute
		deadPerPod = 1
		dead       = -1 // any
		images     = 50
	)
	k, err := kubelet.NewMainKubelet(ctx, c, d, &kubeletconfig.ContainerRuntimeOptions{}, o.Node, types.NodeName(o.Node), []net.IP{net.ParseIP(o.Address)}, "", "",
		filepath.Join(dir, "certificates"), dir, c.PodLogsDir, "", "", false, nil, nil, "", false, false, meta.Duration{Duration: oldEnough}, deadPerPod, dead, nil, images, false)
	if err != nil {
		return fmt.Errorf("make the kubelet: %w", err)
	}
	if err := settle(k); err != nil {
		return fmt.Errorf("make the kubelet: %w", err)
	}
	k.StartGarbageCollection(ctx)
	served := make(chan error, 1)
	s, err := o.server(ctx, dir, k, c, recorder)
	if err != nil {
		return err
	}
	go func() { served <- s.serve() }()
	go k.Run(ctx, seen(ctx, d.PodConfig.Updates()))
	select {
	case err := <-served:
		return fmt.Errorf("the kubelet's server: %w", err)
	case <-ctx.Done():
		return s.Close()
	}
}

// settled is how long a kubelet counts as running when it starts. Its node joined minutes
// ago by the account's time. One that counts as new has each probe of its first pods wait
// for a random part of its period, against the rush after a restart.
const settled = time.Hour

// settle has a kubelet count as settled. It knows no option for that.
// https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/kubelet/prober/worker.go
func settle(k *kubelet.Kubelet) error {
	probes := reflect.ValueOf(k).Elem().FieldByName("probeManager")
	if !probes.IsValid() || probes.Kind() != reflect.Interface || probes.Elem().Kind() != reflect.Pointer {
		return errors.New("its probes are not where they were")
	}
	start := probes.Elem().Elem().FieldByName("start")
	if !start.IsValid() || start.Type() != reflect.TypeFor[time.Time]() {
		return errors.New("the start of its probes is not where it was")
	}
	at := (*time.Time)(start.Addr().UnsafePointer())
	*at = at.Add(-settled)
	return nil
}

// configuration is a kubelet's own with its defaults, and what is different here.
func (o Options) configuration(dir string) (*config.KubeletConfiguration, error) {
	var versioned kubeletv1beta1.KubeletConfiguration
	v1beta1.SetDefaults_KubeletConfiguration(&versioned)
	schemes, _, err := scheme.NewSchemeAndCodecs()
	if err != nil {
		return nil, err
	}
	c := &config.KubeletConfiguration{}
	if err := schemes.Convert(&versioned, c, nil); err != nil {
		return nil, err
	}
	// By way of the working directory, since a socket's name is short.
	c.ContainerRuntimeEndpoint = "unix:///proc/self/cwd/" + filepath.ToSlash(filepath.Join(o.Dir, Runtime))
	c.PodLogsDir = filepath.Join(dir, "logs")
	c.ResolverConfig = filepath.Join(dir, "resolv.conf")
	c.ClusterDomain = domain
	if o.DNS != "" {
		c.ClusterDNS = []string{o.DNS}
	}
	c.CgroupsPerQOS, c.EnforceNodeAllocatable, c.FailCgroupV1 = false, nil, false
	c.MakeIPTablesUtilChains, c.FailSwapOn = false, false
	c.LocalStorageCapacityIsolation, c.EvictionHard = false, nil
	c.EnableControllerAttachDetach = false
	const whole = 100
	c.ImageGCHighThresholdPercent, c.ImageMaximumGCAge.Duration = whole, 0
	c.VolumeStatsAggPeriod.Duration = -1
	c.EnableSystemLogHandler, c.EnableProfilingHandler, c.EnableDebugFlagsHandler = false, false, false
	// One after the other would have pods wait for the images of others.
	c.SerializeImagePulls = false
	return c, os.WriteFile(c.ResolverConfig, nil, 0o600)
}

// seen are the updates as the kubelet shall see them.
func seen(ctx context.Context, from <-chan kubetypes.PodUpdate) <-chan kubetypes.PodUpdate {
	to := make(chan kubetypes.PodUpdate)
	go func() {
		for u := range from {
			pods := u.Pods
			u.Pods = nil
			for _, p := range pods {
				if podspec.Unfit(p) == "" {
					u.Pods = append(u.Pods, podspec.Seen(p))
				}
			}
			// One without pods still tells that the source is known.
			select {
			case to <- u:
			case <-ctx.Done():
				return
			}
		}
	}()
	return to
}

// served is the server that the API asks for logs, and to run commands.
type served struct {
	*http.Server
	listener net.Listener
}

func (o Options) server(ctx context.Context, dir string, k *kubelet.Kubelet, c *config.KubeletConfiguration, recorder record.EventRecorderLogger) (*served, error) {
	pair, err := tls.X509KeyPair([]byte(o.Certificate), []byte(o.Key))
	if err != nil {
		return nil, fmt.Errorf("read the kubelet's certificate: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM([]byte(o.Clients)) {
		return nil, errors.New("read the authority of the kubelet's clients: no certificate is in it")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", filepath.Join(o.Dir, Server))
	if err != nil {
		return nil, err
	}
	handler := server.NewServer(ctx, k, stats.NewResourceAnalyzer(ctx, k, c.VolumeStatsAggPeriod.Duration, recorder), nil, nil, nil, c)
	return &served{listener: l, Server: &http.Server{
		Handler: &handler, ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients},
	}}, nil
}

func (s *served) serve() error { return s.ServeTLS(s.listener, "", "") }
