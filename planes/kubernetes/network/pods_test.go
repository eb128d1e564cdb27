package network_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/planes/kubernetes/network"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process/agent"
)

// The test's binary is poolhouse-pods too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "agent" || os.Args[1] == "stage") {
		os.Exit(agent.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// line is what is written up to the first end of a line.
type line struct {
	text strings.Builder
	done chan struct{}
}

func (l *line) Write(b []byte) (int, error) {
	before := strings.Contains(l.text.String(), "\n")
	l.text.Write(b)
	if !before && strings.Contains(l.text.String(), "\n") {
		close(l.done)
	}
	return len(b), nil
}

// TestInPods: processes of pods find each other by the names and addresses of
// services, and what of the world leads somewhere.
func TestInPods(t *testing.T) {
	t.Parallel()
	r, err := process.New(t.Context(), process.Options{Dir: filepath.Join(t.TempDir(), "runtime"), Program: os.Args[0], Log: os.Stderr})
	ok(t, err)
	t.Cleanup(func() { ok(t, r.Close()) })
	if err := r.Can(); err != nil {
		t.Skip(err)
	}
	root := filepath.Join(t.TempDir(), "image")
	ok(t, os.Mkdir(root, 0o755))
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(root, "guest"), "../process/testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	aws, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer aws.Close()
	go func() {
		for {
			c, err := aws.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "AWS")
			c.Close()
		}
	}()
	n, err := network.New(t.Context(), network.Options{Pods: r, DNS: at("172.20.0.10"), Domain: "cluster.local", Outside: network.AWS{At: aws.Addr().String()}})
	ok(t, err)
	t.Cleanup(func() { ok(t, n.Close()) })
	sandbox := func(id string, a netip.Addr) *process.Sandbox {
		s, err := r.Sandbox(t.Context(), process.SandboxOptions{
			ID: id, Hostname: id, Address: a, Resolver: []byte("search team.svc.cluster.local svc.cluster.local cluster.local\nnameserver 172.20.0.10\noptions ndots:5\n"),
		})
		ok(t, err)
		t.Cleanup(func() { ok(t, s.Close()) })
		return s
	}
	run := func(s *process.Sandbox, out *line, args ...string) *process.Process {
		p, err := s.Start(t.Context(), process.Container{Name: "c", Root: root, Command: process.Command{Args: append([]string{"/guest"}, args...), Stdout: out}})
		ok(t, err)
		return p
	}
	server := line{done: make(chan struct{})}
	s := sandbox("server", at("10.0.0.1"))
	run(s, &server, "serve", ":8080")
	<-server.done
	db := endpoint("10.0.0.1", "db-0")
	ok(t, n.Set(t.Context(), []network.Service{web(db), {Namespace: "team", Name: "db", Endpoints: []network.Endpoint{db}}}))
	client := sandbox("client", at("10.0.0.2"))
	for _, c := range []struct{ address, want string }{
		{"web:80", "169.254.1.1 hello\n"},
		{"web.team:80", "169.254.1.1 hello\n"},
		{"172.20.1.1:80", "169.254.1.1 hello\n"},
		{"db-0.db:8080", "10.0.0.2 hello\n"},
		{"sts.us-east-1.amazonaws.com:443", "AWS\n"},
		{"web:81", ""},
		{"none:80", ""},
		{"example.com:443", ""},
		{"db.rds.amazonaws.com:443", ""},
	} {
		out := line{done: make(chan struct{})}
		exit := run(client, &out, "call", "tcp", c.address, "hello").Wait()
		if got := out.text.String(); got != c.want || (exit.Code == 0) != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", c.address, got, exit, c.want)
		}
	}
}
