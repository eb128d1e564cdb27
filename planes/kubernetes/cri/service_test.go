package cri

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A runtime that closes waits for a sandbox that is being made, so that its address is
// given back.
func TestClose(t *testing.T) {
	t.Parallel()
	none, err := process.New(t.Context(), process.Options{Dir: t.TempDir(), Program: "/none"})
	ok(t, err)
	asked, answer, free := make(chan struct{}), make(chan struct{}), make(chan netip.Addr, 1)
	s := New(Options{
		Processes: none, Free: func(a netip.Addr) { free <- a },
		Address: func() (netip.Addr, error) {
			close(asked)
			<-answer
			return netip.MustParseAddr("10.0.0.9"), nil
		},
	})
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	ok(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ok(t, err)
	called := make(chan error, 1)
	go func() {
		_, err := cri.NewRuntimeServiceClient(conn).RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: &cri.PodSandboxConfig{}})
		called <- err
	}()
	<-asked
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := <-called; err == nil {
		t.Error("the kubelet is answered")
	}
	close(answer)
	ok(t, <-closed)
	select {
	case <-free:
	default:
		t.Error("closed, and the address is taken")
	}
	ok(t, <-served)
	ok(t, conn.Close())
	ok(t, none.Close())
}
