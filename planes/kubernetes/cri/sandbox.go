package cri

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// sandbox is what the containers of a pod share. All but ready is fixed.
type sandbox struct {
	id      string
	config  *cri.PodSandboxConfig
	created time.Time
	address netip.Addr
	made    *process.Sandbox
	ready   bool // held by the service's lock
}

// RunPodSandbox implements the interface.
func (s *Service) RunPodSandbox(ctx context.Context, r *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	id, err := newID()
	if err != nil {
		return nil, err
	}
	address, err := s.opts.Address()
	if err != nil {
		return nil, failed("find an address for the pod: %w", err)
	}
	made, err := s.opts.Processes.Sandbox(ctx, process.SandboxOptions{
		ID: id, Hostname: r.Config.GetHostname(), Address: address, Resolver: resolver(r.Config.GetDnsConfig()),
		SharePids: r.Config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetPid() == cri.NamespaceMode_POD,
	})
	if err != nil {
		s.opts.Free(address)
		return nil, failed("%w", err)
	}
	b := &sandbox{id: id, config: r.Config, created: time.Now(), address: address, made: made, ready: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sandboxes[id] = b
	return &cri.RunPodSandboxResponse{PodSandboxId: id}, nil
}

// resolver is the content of /etc/resolv.conf.
func resolver(c *cri.DNSConfig) []byte {
	if c == nil {
		return nil
	}
	var b strings.Builder
	if len(c.Searches) > 0 {
		b.WriteString("search " + strings.Join(c.Searches, " ") + "\n")
	}
	for _, server := range c.Servers {
		b.WriteString("nameserver " + server + "\n")
	}
	if len(c.Options) > 0 {
		b.WriteString("options " + strings.Join(c.Options, " ") + "\n")
	}
	return []byte(b.String())
}

// StopPodSandbox implements the interface.
func (s *Service) StopPodSandbox(_ context.Context, r *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	s.mu.Lock()
	b := s.sandboxes[r.PodSandboxId]
	s.mu.Unlock()
	if b == nil {
		return &cri.StopPodSandboxResponse{}, nil
	}
	return &cri.StopPodSandboxResponse{}, s.stop(b)
}

func (s *Service) stop(b *sandbox) error {
	if err := b.made.Close(); err != nil {
		return failed("end the sandbox: %w", err)
	}
	s.mu.Lock()
	was := b.ready
	b.ready = false
	var list []*container
	for _, c := range s.containers {
		if c.sandbox == b {
			list = append(list, c)
		}
	}
	s.mu.Unlock()
	for _, c := range list {
		c.await()
	}
	if was {
		s.opts.Free(b.address)
	}
	return nil
}

// RemovePodSandbox implements the interface.
func (s *Service) RemovePodSandbox(_ context.Context, r *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	s.mu.Lock()
	b := s.sandboxes[r.PodSandboxId]
	s.mu.Unlock()
	if b == nil {
		return &cri.RemovePodSandboxResponse{}, nil
	}
	if err := s.stop(b); err != nil {
		return nil, err
	}
	s.mu.Lock()
	var list []*container
	for id, c := range s.containers {
		if c.sandbox == b {
			list = append(list, c)
			delete(s.containers, id)
		}
	}
	delete(s.sandboxes, b.id)
	s.mu.Unlock()
	var errs []error
	for _, c := range list {
		errs = append(errs, c.log.Close())
	}
	return &cri.RemovePodSandboxResponse{}, errors.Join(errs...)
}

func (b *sandbox) state() cri.PodSandboxState {
	if b.ready {
		return cri.PodSandboxState_SANDBOX_READY
	}
	return cri.PodSandboxState_SANDBOX_NOTREADY
}

// PodSandboxStatus implements the interface.
func (s *Service) PodSandboxStatus(_ context.Context, r *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	b, err := s.sandbox(r.PodSandboxId)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{
		Id: b.id, Metadata: b.config.Metadata, State: b.state(), CreatedAt: b.created.UnixNano(),
		Network: &cri.PodSandboxNetworkStatus{Ip: b.address.String()},
		Linux:   &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: b.config.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
		Labels:  b.config.Labels, Annotations: b.config.Annotations,
	}}, nil
}

// ListPodSandbox implements the interface.
func (s *Service) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &cri.ListPodSandboxResponse{}
	f := r.GetFilter()
	for _, b := range s.sandboxes {
		if f.GetId() != "" && f.GetId() != b.id || f.GetState() != nil && f.GetState().State != b.state() || !matches(b.config.Labels, f.GetLabelSelector()) {
			continue
		}
		out.Items = append(out.Items, &cri.PodSandbox{Id: b.id, Metadata: b.config.Metadata, State: b.state(), CreatedAt: b.created.UnixNano(), Labels: b.config.Labels, Annotations: b.config.Annotations})
	}
	return out, nil
}
