package cri

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/poolhouse/poolhouse/planes/kubernetes/image"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// container is one of a pod's.
type container struct {
	id      string
	sandbox *sandbox
	config  *cri.ContainerConfig
	image   image.Image
	created time.Time
	log     *log
	start   process.Container
	// stdin is written by who is attached; nil if the container has none.
	stdin *io.PipeWriter

	mu       sync.Mutex
	run      *process.Process // nil before it started
	over     chan struct{}    // closed once it ended
	started  time.Time
	finished time.Time
	exit     int
	reason   string
	message  string
}

// CreateContainer implements the interface.
func (s *Service) CreateContainer(_ context.Context, r *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	b, err := s.sandbox(r.PodSandboxId)
	if err != nil {
		return nil, err
	}
	c := &container{sandbox: b, config: r.Config, created: time.Now(), over: make(chan struct{})}
	var known bool
	if c.image, known = s.images.get(r.Config.GetImage().GetImage()); !known {
		return nil, status.Error(codes.NotFound, "the node has no image "+r.Config.GetImage().GetImage())
	}
	if c.id, err = newID(); err != nil {
		return nil, err
	}
	if c.start, err = command(c.image, r.Config, r.SandboxConfig); err != nil {
		return nil, failed("%w", err)
	}
	c.start.Name = c.id
	if c.log, err = openLog(filepath.Join(r.SandboxConfig.GetLogDirectory(), r.Config.GetLogPath())); err != nil {
		return nil, failed("open the container's log: %w", err)
	}
	if r.Config.GetStdin() {
		c.start.Stdin, c.stdin = io.Pipe()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers[c.id] = c
	return &cri.CreateContainerResponse{ContainerId: c.id}, nil
}

// command is what is started for a container of an image, in a pod.
func command(i image.Image, c *cri.ContainerConfig, pod *cri.PodSandboxConfig) (process.Container, error) {
	sc := c.GetLinux().GetSecurityContext()
	out := process.Container{
		Root: i.Root, ReadOnly: sc.GetReadonlyRootfs(), Add: sc.GetCapabilities().GetAddCapabilities(), Drop: sc.GetCapabilities().GetDropCapabilities(),
		Command: process.Command{Dir: c.WorkingDir, TTY: c.Tty},
	}
	// The image's command is none of a container that has an entry point of its
	// own.
	// https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
	switch {
	case len(c.Command) > 0:
		out.Args = slices.Concat(c.Command, c.Args)
	case len(c.Args) > 0:
		out.Args = slices.Concat(i.Config.Entrypoint, c.Args)
	default:
		out.Args = slices.Concat(i.Config.Entrypoint, i.Config.Cmd)
	}
	if len(out.Args) == 0 {
		return out, errors.New("no command specified")
	}
	if out.Dir == "" {
		out.Dir = i.Config.WorkingDir
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + pod.GetHostname()}
	env = append(env, i.Config.Env...)
	for _, e := range c.Envs {
		env = append(env, e.Key+"="+string(e.Value))
	}
	out.Env = last(env)
	user := i.Config.User
	switch {
	case sc.GetRunAsUser() != nil:
		user = strconv.FormatInt(sc.RunAsUser.Value, 10)
	case sc.GetRunAsUsername() != "":
		user = sc.RunAsUsername
	}
	var err error
	if out.User.UID, out.User.GID, out.User.Groups, err = i.User(user); err != nil {
		return out, err
	}
	if sc.GetRunAsGroup() != nil {
		out.User.GID = uint32(sc.RunAsGroup.Value)
	}
	if sc.GetSupplementalGroupsPolicy() == cri.SupplementalGroupsPolicy_Strict {
		out.User.Groups = nil
	}
	for _, g := range sc.GetSupplementalGroups() {
		out.User.Groups = append(out.User.Groups, uint32(g))
	}
	for _, m := range c.Mounts {
		x := process.Mount{Target: m.ContainerPath, ReadOnly: m.Readonly}
		x.Source, x.Sub = volume(m.HostPath, pod.GetMetadata().GetUid())
		out.Mounts = append(out.Mounts, x)
	}
	return out, nil
}

// volume parts a path into the folder of a volume of a pod and what of it is meant,
// which pods may have written links to: /x/pods/UID/volumes/KIND/NAME and below.
func volume(path, uid string) (source, sub string) {
	_, in, ok := strings.Cut(path, "/pods/"+uid+"/volumes/")
	if parts := strings.SplitN(in, "/", 3); ok && len(parts) == 3 {
		return strings.TrimSuffix(path, "/"+parts[2]), parts[2]
	}
	return path, ""
}

// last leaves the last value of each variable.
func last(env []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, e := range slices.Backward(env) {
		name, _, _ := strings.Cut(e, "=")
		if !seen[name] {
			seen[name] = true
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// notStarted is the code of a container that could not be started.
const notStarted = 128

// StartContainer implements the interface.
func (s *Service) StartContainer(ctx context.Context, r *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state() != cri.ContainerState_CONTAINER_CREATED {
		return nil, failed("container %s was started before", c.id)
	}
	out, errs := &stream{log: c.log, name: "stdout"}, &stream{log: c.log, name: "stderr"}
	c.start.Stdout, c.start.Stderr = out, errs
	c.run, err = c.sandbox.made.Start(ctx, c.start)
	if err != nil {
		c.exit, c.reason, c.message, c.finished = notStarted, "StartError", err.Error(), time.Now()
		if e := (*process.StartError)(nil); errors.As(err, &e) {
			c.exit = e.Code
		}
		close(c.over)
		return nil, failed("%w", err)
	}
	c.started = time.Now()
	go func() {
		exit := c.run.Wait()
		out.flush()
		errs.flush()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.finished, c.exit, c.reason = time.Now(), exit.Status(), "Completed"
		if c.exit != 0 {
			c.reason = "Error"
		}
		close(c.over)
	}()
	return &cri.StartContainerResponse{}, nil
}

// await waits for the end of a container that was started.
func (c *container) await() {
	c.mu.Lock()
	started := c.run != nil
	c.mu.Unlock()
	if started {
		<-c.over
	}
}

// state is held by the container's lock.
func (c *container) state() cri.ContainerState {
	select {
	case <-c.over:
		return cri.ContainerState_CONTAINER_EXITED
	default:
	}
	if c.run != nil {
		return cri.ContainerState_CONTAINER_RUNNING
	}
	return cri.ContainerState_CONTAINER_CREATED
}

// StopContainer implements the interface: the container's signal, and SIGKILL when
// its time is over.
func (s *Service) StopContainer(ctx context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	c, err := s.container(r.ContainerId)
	if status.Code(err) == codes.NotFound {
		return &cri.StopContainerResponse{}, nil
	}
	c.mu.Lock()
	run := c.run
	c.mu.Unlock()
	if run == nil {
		return &cri.StopContainerResponse{}, nil
	}
	if r.Timeout > 0 {
		if err := run.Signal(c.stopSignal()); err != nil {
			return nil, failed("end container %s: %w", c.id, err)
		}
		wait := time.NewTimer(time.Duration(r.Timeout) * time.Second)
		defer wait.Stop()
		select {
		case <-c.over:
			return &cri.StopContainerResponse{}, nil
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-wait.C:
		}
	}
	if err := run.Signal(syscall.SIGKILL); err != nil {
		return nil, failed("kill container %s: %w", c.id, err)
	}
	select {
	case <-c.over:
		return &cri.StopContainerResponse{}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// stopSignal is what asks a container to end: its own, its image's, or SIGTERM.
func (c *container) stopSignal() syscall.Signal {
	name := c.image.Config.StopSignal
	if c.config.StopSignal != cri.Signal_RUNTIME_DEFAULT {
		name = c.config.StopSignal.String()
	}
	if n, err := strconv.Atoi(name); err == nil {
		return syscall.Signal(n)
	}
	if s := signals[strings.TrimPrefix(name, "SIG")]; s != 0 {
		return s
	}
	return syscall.SIGTERM
}

// signals are those that images name.
var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "ABRT": syscall.SIGABRT, "KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1,
	"USR2": syscall.SIGUSR2, "PIPE": syscall.SIGPIPE, "ALRM": syscall.SIGALRM, "TERM": syscall.SIGTERM, "WINCH": syscall.Signal(28),
}

// RemoveContainer implements the interface.
func (s *Service) RemoveContainer(ctx context.Context, r *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	c, err := s.container(r.ContainerId)
	if status.Code(err) == codes.NotFound {
		return &cri.RemoveContainerResponse{}, nil
	}
	if _, err := s.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c.id}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	delete(s.containers, c.id)
	s.mu.Unlock()
	if err := c.log.Close(); err != nil {
		return nil, failed("write the log of container %s: %w", c.id, err)
	}
	return &cri.RemoveContainerResponse{}, nil
}

// ReopenContainerLog implements the interface.
func (s *Service) ReopenContainerLog(_ context.Context, r *cri.ReopenContainerLogRequest) (*cri.ReopenContainerLogResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return nil, err
	}
	if err := c.log.Reopen(); err != nil {
		return nil, failed("open the log of container %s: %w", c.id, err)
	}
	return &cri.ReopenContainerLogResponse{}, nil
}

// UpdateContainerResources implements the interface: they are not enforced.
func (s *Service) UpdateContainerResources(_ context.Context, r *cri.UpdateContainerResourcesRequest) (*cri.UpdateContainerResourcesResponse, error) {
	_, err := s.container(r.ContainerId)
	return &cri.UpdateContainerResourcesResponse{}, err
}

// ContainerStatus implements the interface.
func (s *Service) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &cri.ContainerStatus{
		Id: c.id, Metadata: c.config.Metadata, State: c.state(), CreatedAt: c.created.UnixNano(), ExitCode: int32(c.exit), Reason: c.reason, Message: c.message,
		Image: &cri.ImageSpec{Image: c.config.GetImage().GetUserSpecifiedImage()}, ImageRef: pinned(c.image), ImageId: c.image.Digest,
		Labels: c.config.Labels, Annotations: c.config.Annotations, Mounts: c.config.Mounts, LogPath: c.log.path,
	}
	if !c.started.IsZero() {
		out.StartedAt = c.started.UnixNano()
	}
	if !c.finished.IsZero() {
		out.FinishedAt = c.finished.UnixNano()
	}
	return &cri.ContainerStatusResponse{Status: out}, nil
}

// ListContainers implements the interface.
func (s *Service) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &cri.ListContainersResponse{}
	f := r.GetFilter()
	for _, c := range s.containers {
		c.mu.Lock()
		state := c.state()
		c.mu.Unlock()
		if f.GetId() != "" && f.GetId() != c.id || f.GetState() != nil && f.GetState().State != state || f.GetPodSandboxId() != "" && f.GetPodSandboxId() != c.sandbox.id || !matches(c.config.Labels, f.GetLabelSelector()) {
			continue
		}
		out.Containers = append(out.Containers, &cri.Container{
			Id: c.id, PodSandboxId: c.sandbox.id, Metadata: c.config.Metadata, Image: c.config.Image, ImageRef: pinned(c.image), ImageId: c.image.Digest,
			State: state, CreatedAt: c.created.UnixNano(), Labels: c.config.Labels, Annotations: c.config.Annotations,
		})
	}
	return out, nil
}
