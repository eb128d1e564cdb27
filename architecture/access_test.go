package architecture

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/testkit"
)

// TestNoProxy holds what goes around the proxy to a golden file, for
// configurations that differ in what there are endpoints for.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	through := func(c *config.Config) { c.Proxy.URL = "http://10.1.2.3:3128" }
	var out strings.Builder
	for _, tc := range []struct {
		name, example string
		change        func(*config.Config)
	}{
		{"no proxy", "production", func(*config.Config) {}},
		{"no NAT, a session host, own domains", "private-cluster", func(*config.Config) {}},
		{"NAT, few endpoints", "evaluation", through},
		{"pods in a range of their own", "evaluation", func(c *config.Config) {
			through(c)
			c.Network.PodCIDR = "100.64.0.0/16"
		}},
		{"pod identity, other words", "production", func(c *config.Config) {
			through(c)
			c.Region = "eu-central-1"
			c.Cluster.AddonVersions = map[string]string{"eks-pod-identity-agent": "v1.3.8-eksbuild.2"}
			c.Network.Endpoints = []string{"eks-auth", "sagemaker.runtime", "kms"}
			c.Proxy.NoProxy = []string{"localhost", "10.9.0.0/16"}
		}},
	} {
		a := mustNew(t, example(t, tc.example, tc.change))
		fmt.Fprintf(&out, "%s:\n", tc.name)
		for _, s := range a.NoProxy() {
			fmt.Fprintf(&out, "  %s\n", s)
		}
	}
	testkit.Golden(t, "testdata/no-proxy.txt", []byte(out.String()))
}

func TestProxyRanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		url    string
		port   int
		ranges string
	}{
		{"", 0, "[]"},
		{"http://10.1.2.3:3128", 3128, "[10.1.2.3/32]"},
		{"https://proxy.example.com:443", 443, "[10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10]"},
	} {
		a := mustNew(t, example(t, "production", func(c *config.Config) { c.Proxy.URL = tc.url }))
		if got := fmt.Sprint(a.ProxyRanges()); a.ProxyPort() != tc.port || got != tc.ranges {
			t.Errorf("%q: port %d at %s, want %d at %s", tc.url, a.ProxyPort(), got, tc.port, tc.ranges)
		}
	}
}

func TestKubernetesAccess(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		example string
		change  func(*config.Config)
		want    KubernetesAccess
	}{
		{"minimal-egress", func(*config.Config) {}, KubernetesAccess{Ways: []Way{WayDirect, WaySession}}},
		{"production", func(*config.Config) {}, KubernetesAccess{PublicCIDRs: []string{"203.0.113.0/24"}, Ways: []Way{WayDirect, WaySession}, Outside: true}},
		{"private-cluster", func(c *config.Config) { c.Cluster.API.Proxy = "http://10.1.1.1:3128" }, KubernetesAccess{
			AllowCIDRs: []string{"10.20.0.0/16"}, Proxy: "http://10.1.1.1:3128", SessionHost: true,
			Ways: []Way{WayDirect, WayProxy, WaySession}, Outside: true,
		}},
	} {
		got := mustNew(t, example(t, tc.example, tc.change)).KubernetesAccess()
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", tc.example, diff)
		}
	}
}

// TestSessionHostEndpoints: it brings its own, but not into a network that is
// there and may have them.
func TestSessionHostEndpoints(t *testing.T) {
	t.Parallel()
	host := func(c *config.Config) { c.Cluster.API.SessionHost = true }
	for _, tc := range []struct {
		name, example string
		endpoints     []string
		want          []string
		out           bool
	}{
		{"network of one's own", "evaluation", nil, []string{"ssm", "ssmmessages"}, false},
		{"existing network", "existing-network", nil, nil, true},
		{"existing network, one listed", "existing-network", []string{"ssm"}, []string{"ssm"}, true},
		{"existing network, both listed", "existing-network", []string{"ssmmessages", "ssm"}, []string{"ssm", "ssmmessages"}, false},
	} {
		a := mustNew(t, example(t, tc.example, func(c *config.Config) {
			host(c)
			c.Network.Endpoints = tc.endpoints
		}))
		if diff := cmp.Diff(tc.want, a.Endpoints); diff != "" {
			t.Errorf("%s: endpoints, -want +got:\n%s", tc.name, diff)
		}
		if got := a.SessionHostGoesOut(); got != tc.out {
			t.Errorf("%s: goes out %v, want %v", tc.name, got, tc.out)
		}
	}
	if mustNew(t, example(t, "existing-network", func(*config.Config) {})).SessionHostGoesOut() {
		t.Error("a session host that is not there goes out")
	}
}
