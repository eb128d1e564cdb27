// Package cri is the container runtime of one node as kubelets know it, the
// Container Runtime Interface, made of the processes of package process and the
// images of package image.
//
// https://kubernetes.io/docs/concepts/containers/cri/
//
// Invariants: a node gets an image only if its registry lets that node have it,
// also if another node has it; a pod's address is its own while it has a sandbox.
//
// Limits: limits of resources are kept and not enforced, and there are no
// statistics. Probes and hooks over the network come as commands, see
// [podspec.Seen].
package cri

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"

	"github.com/poolhouse/poolhouse/planes/kubernetes/image"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// Options describe the runtime of a node.
type Options struct {
	Processes *process.Runtime
	Images    *image.Store
	// Context is that of what is done to pull an image. May be nil.
	Context func(context.Context) context.Context
	// Allowed returns why the node may not have an image, nil if it may. Nil lets
	// it have all.
	Allowed func(ctx context.Context, reference string) error
	// Address takes an address for a pod, and Free gives it back.
	Address func() (netip.Addr, error)
	Free    func(netip.Addr)
}

// The names of the runtime and the version of its interface.
const (
	runtimeName    = "poolhouse"
	runtimeVersion = "1.0.0"
	apiVersion     = "v1"
)

// Service is the runtime of a node. It is safe for concurrent use.
type Service struct {
	cri.UnimplementedRuntimeServiceServer
	opts   Options
	images *images
	server *grpc.Server
	stream streaming.Server

	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
}

// New makes a runtime.
func New(o Options) *Service {
	s := &Service{opts: o, images: &images{opts: o, known: map[string]image.Image{}, sizes: map[string]uint64{}}, server: grpc.NewServer(grpc.WaitForHandlers(true)), sandboxes: map[string]*sandbox{}, containers: map[string]*container{}}
	cri.RegisterRuntimeServiceServer(s.server, s)
	cri.RegisterImageServiceServer(s.server, s.images)
	return s
}

// Serve answers a kubelet until Close. Streams of commands are answered at a free
// port of the loopback address, each by a secret of its own that is good once.
func (s *Service) Serve(l net.Listener) error {
	port, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	c := streaming.DefaultConfig
	c.BaseURL = &url.URL{Scheme: "http", Host: port.Addr().String(), Path: "/"}
	if s.stream, err = streaming.NewServer(c, streams{s}); err != nil {
		return errors.Join(err, l.Close(), port.Close())
	}
	streamed := &http.Server{Handler: s.stream, ReadHeaderTimeout: time.Minute}
	go func() { _ = streamed.Serve(port) }() // it ends below
	return errors.Join(s.server.Serve(l), streamed.Close())
}

// Close ends everything that runs on the node. It waits for what is being started.
func (s *Service) Close() error {
	s.server.Stop()
	s.mu.Lock()
	list := s.sandboxes
	s.sandboxes, s.containers = map[string]*sandbox{}, map[string]*container{}
	s.mu.Unlock()
	var errs []error
	for _, b := range list {
		errs = append(errs, s.stop(b))
	}
	return errors.Join(errs...)
}

// Version implements the interface.
func (s *Service) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: runtimeName, RuntimeVersion: runtimeVersion, RuntimeApiVersion: apiVersion}, nil
}

// Status implements the interface: it is always in order.
func (s *Service) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	return &cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
			{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Status: true},
		}},
		RuntimeHandlers: []*cri.RuntimeHandler{{Features: &cri.RuntimeHandlerFeatures{}}},
	}, nil
}

// UpdateRuntimeConfig implements the interface; addresses of pods don't come from
// a range that the kubelet knows.
func (s *Service) UpdateRuntimeConfig(context.Context, *cri.UpdateRuntimeConfigRequest) (*cri.UpdateRuntimeConfigResponse, error) {
	return &cri.UpdateRuntimeConfigResponse{}, nil
}

// newID is a name for a sandbox or a container.
func newID() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}

func (s *Service) sandbox(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.sandboxes[id]; b != nil {
		return b, nil
	}
	return nil, status.Error(codes.NotFound, "there is no sandbox "+id)
}

func (s *Service) container(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		return c, nil
	}
	return nil, status.Error(codes.NotFound, "there is no container "+id)
}

// matches tells that labels have all of others.
func matches(labels, selector map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// failed is an error as the kubelet is told it.
func failed(format string, args ...any) error {
	return status.Error(codes.Unknown, fmt.Errorf(format, args...).Error())
}

// ListPodSandboxStats implements the interface: there are no statistics.
func (s *Service) ListPodSandboxStats(context.Context, *cri.ListPodSandboxStatsRequest) (*cri.ListPodSandboxStatsResponse, error) {
	return &cri.ListPodSandboxStatsResponse{}, nil
}

// ListContainerStats implements the interface: there are no statistics.
func (s *Service) ListContainerStats(context.Context, *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	return &cri.ListContainerStatsResponse{}, nil
}
