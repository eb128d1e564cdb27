package rehearse

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
)

// with is an example, with what stands below cluster replaced.
func with(t *testing.T, example, cluster string) []byte {
	t.Helper()
	src, err := os.ReadFile("../../examples/" + example + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := strings.Replace(string(src), "  publicAccessCidrs: [203.0.113.0/24]\n", cluster, 1)
	if out == string(src) {
		t.Fatal("the example has no public endpoint")
	}
	return []byte(out)
}

// TestWaysToKubernetes rehearses clusters that are reached in different ways;
// from inside only when there is no other.
func TestWaysToKubernetes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, cluster string
		way           architecture.Way
		inside        bool
		failed        int // attempts
	}{
		{"public", "  publicAccessCidrs: [198.51.100.0/24]\n", architecture.WayDirect, false, 0},
		{"connected network", "  api: {allowCidrs: [10.20.0.0/16]}\n", architecture.WayDirect, false, 0},
		{"proxy", "  api: {allowCidrs: [10.20.0.0/16], proxy: 'http://proxy.example.com:3128'}\n", architecture.WayDirect, false, 0},
		{"none", "", architecture.WayDirect, true, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := Run(context.Background(), Options{Name: "f.yaml", Source: with(t, "evaluation", tc.cluster), Plugin: "/nonexistent/plugin"})
			if err != nil {
				t.Fatal(err)
			}
			steps := ""
			for _, s := range r.Steps {
				steps += string(s.Step) + " "
			}
			failed := 0
			for _, a := range r.Kubernetes.Attempts {
				if a.Error != "" {
					failed++
				}
			}
			if r.Kubernetes.Way != tc.way || strings.Contains(steps, string(StepInside)) != tc.inside || failed != tc.failed {
				t.Errorf("way %q, steps %s, attempts %+v", r.Kubernetes.Way, steps, r.Kubernetes.Attempts)
			}
		})
	}
}

// TestSessionManagerPlugin rehearses a private cluster whose API is reached by
// AWS's own plugin through the session host, and through a core node without
// one.
func TestSessionManagerPlugin(t *testing.T) {
	t.Parallel()
	plugin := os.Getenv("POOLHOUSE_SESSION_MANAGER_PLUGIN")
	if plugin == "" {
		t.Skip("POOLHOUSE_SESSION_MANAGER_PLUGIN names no session-manager-plugin: .ci/run plugin, then POOLHOUSE_SESSION_MANAGER_PLUGIN=$PWD/.cache/bin/session-manager-plugin")
	}
	for name, cluster := range map[string]string{
		"session host": "  api: {sessionHost: true}\n",
		"core node":    "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Run(context.Background(), Options{Name: "f.yaml", Source: with(t, "evaluation", cluster), Plugin: plugin})
			if err != nil {
				t.Fatal(err)
			}
			k := r.Kubernetes
			if k.Way != architecture.WaySession || !strings.HasPrefix(k.Via, "i-") || !strings.HasPrefix(k.Version, "v1.") {
				t.Errorf("got %+v", k)
			}
			if started, ended := r.Calls["ssm.StartSession"], r.Calls["ssm.TerminateSession"]; started == 0 || started != ended {
				t.Errorf("%d sessions were started, %d terminated", started, ended)
			}
		})
	}
}
