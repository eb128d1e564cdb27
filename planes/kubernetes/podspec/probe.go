package podspec

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	core "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/probe"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
)

// command begins the commands that probes and hooks over the network become.
const command = "kubelet-probe"

// Call is a probe or a hook that goes over the network.
type Call struct {
	HTTPGet   *core.HTTPGetAction   `json:"httpGet,omitempty"`
	TCPSocket *core.TCPSocketAction `json:"tcpSocket,omitempty"`
	GRPC      *core.GRPCAction      `json:"grpc,omitempty"`
	Hook      bool                  `json:"hook,omitempty"`
	// Ports are the container's, which names of ports are of.
	Ports []core.ContainerPort `json:"ports,omitempty"`
}

// Seen is a pod as the kubelet of a node sees it, a copy. A kubelet calls pods
// from its own network, which here leads to none of them: so that the pod's own
// network is called from instead, such probes and hooks are commands, which
// [Command] reads.
func Seen(p *core.Pod) *core.Pod {
	p = p.DeepCopy()
	for _, list := range [][]core.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			c := &list[i]
			for _, x := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
				if x == nil || x.HTTPGet == nil && x.TCPSocket == nil && x.GRPC == nil {
					continue
				}
				call := Call{HTTPGet: x.HTTPGet, TCPSocket: x.TCPSocket, GRPC: x.GRPC, Ports: c.Ports}
				// The kubelet expands $(NAME) in commands of probes, of hooks not.
				x.ProbeHandler = core.ProbeHandler{Exec: call.exec(func(s string) string { return strings.ReplaceAll(s, "$", "$$") })}
			}
			if c.Lifecycle == nil {
				continue
			}
			for _, h := range []*core.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
				if h != nil && h.HTTPGet != nil {
					call := Call{HTTPGet: h.HTTPGet, Hook: true, Ports: c.Ports}
					h.HTTPGet, h.Exec = nil, call.exec(func(s string) string { return s })
				}
			}
		}
	}
	return p
}

func (c Call) exec(escape func(string) string) *core.ExecAction {
	text, err := json.Marshal(c)
	if err != nil {
		// What came as JSON goes as JSON.
		return &core.ExecAction{Command: []string{command, err.Error()}}
	}
	return &core.ExecAction{Command: []string{command, escape(string(text))}}
}

// Command reads a command that [Seen] wrote; false if it is another.
func Command(args []string) (c Call, ok bool) {
	if len(args) != 2 || args[0] != command {
		return c, false
	}
	return c, json.Unmarshal([]byte(args[1]), &c) == nil
}

// Dial connects from within a pod's network.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// mostBody is how much a hook reads of an answer.
const mostBody = 10 << 10

// Probe makes a call of the pod with an address, and says how that went in a
// kubelet's words. 0 as timeout is none. Hosts of the machine can't be reached:
// a call goes nowhere but where the pod itself can call.
func Probe(ctx context.Context, dial Dial, c Call, ip string, timeout time.Duration) (ok bool, said string) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	container := &core.Container{Ports: c.Ports}
	switch {
	case c.HTTPGet != nil:
		return c.http(ctx, dial, container, ip, timeout)
	case c.TCPSocket != nil:
		port, err := probe.ResolveContainerPort(c.TCPSocket.Port, container)
		if err != nil {
			return false, err.Error()
		}
		if c.TCPSocket.Host != "" {
			ip = c.TCPSocket.Host
		}
		conn, err := dial(ctx, "tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
		if err != nil {
			return false, err.Error()
		}
		_ = conn.Close() // it was there
		return true, ""
	case c.GRPC != nil:
		return c.grpc(ctx, dial, ip, timeout)
	}
	return false, "the call is none"
}

func (c Call) http(ctx context.Context, dial Dial, container *core.Container, ip string, timeout time.Duration) (bool, string) {
	what := "probe"
	if c.Hook {
		what = "lifecycle"
	}
	req, err := httpprobe.NewRequestForHTTPGetAction(c.HTTPGet, container, ip, what)
	if err != nil {
		return false, err.Error()
	}
	req = req.WithContext(ctx)
	way := &http.Transport{
		// Kubelets don't verify certificates.
		// https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#http-probes
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true, DisableCompression: true, DialContext: dial,
	}
	client := &http.Client{Timeout: timeout, Transport: way, CheckRedirect: httpprobe.RedirectChecker(false)}
	if !c.Hook {
		result, said, err := httpprobe.DoHTTPProbe(req, client)
		if err != nil {
			return false, err.Error()
		}
		return result == probe.Success || result == probe.Warning, said
	}
	res, err := client.Do(req)
	if err != nil {
		return false, err.Error()
	}
	// A hook has done its work when it is answered, whatever the answer is.
	_, _ = io.CopyN(io.Discard, res.Body, mostBody)
	_ = res.Body.Close()
	return true, ""
}

// grpc asks for the health of a service.
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
func (c Call) grpc(ctx context.Context, dial Dial, ip string, timeout time.Duration) (bool, string) {
	address := net.JoinHostPort(ip, strconv.Itoa(int(c.GRPC.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, at string) (net.Conn, error) { return dial(ctx, "tcp", at) }))
	if err != nil {
		return false, fmt.Sprintf("error: failed to connect service at %q: %v", address, err)
	}
	defer func() { _ = conn.Close() }() // it was asked
	service := ""
	if c.GRPC.Service != nil {
		service = *c.GRPC.Service
	}
	res, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	switch code := status.Code(err); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), code == codes.DeadlineExceeded:
		return false, fmt.Sprintf("timeout: health rpc did not complete within %v", timeout)
	case code == codes.Unimplemented:
		return false, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + status.Convert(err).Message()
	case err != nil:
		return false, fmt.Sprintf("error: health rpc probe failed: %v", err)
	case res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return false, fmt.Sprintf("service unhealthy (responded with %q)", res.GetStatus().String())
	}
	return true, "service healthy"
}
