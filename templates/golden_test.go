package templates_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/templates"
)

// examples are the names of all examples.
func examples(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples (%v), want at least 6", len(files), err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	return files
}

// example is the configuration of an example, changed.
func example(t testing.TB, name string, change ...func(*config.Config)) *config.Config {
	t.Helper()
	c, err := config.LoadFile(filepath.Join("..", "examples", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// all are the templates of a configuration.
func all(t testing.TB, c *config.Config) []templates.Stack {
	t.Helper()
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	stacks, err := templates.All(a)
	if err != nil {
		t.Fatal(err)
	}
	return stacks
}

// TestGolden compares the bytes that are sent with those in testdata.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range all(t, example(t, name)) {
				testkit.Golden(t, filepath.Join("testdata", name, string(s.Name)+".json"), s.Body)
			}
		})
	}
}

// everything is the largest configuration.
func everything(t testing.TB) *config.Config {
	return example(t, "gpu-inference", func(c *config.Config) {
		c.Name, c.Region = strings.Repeat("n", 24), "ap-northeast-1"
		c.Network.CIDR, c.Network.NAT.Mode = "10.200.0.0/16", config.NATInstancePerZone
		for i := range c.Compute {
			c.Compute[i].InstanceTypes = []string{"m7i.4xlarge", "m7a.4xlarge", "m6i.4xlarge", "m6a.4xlarge"}
			c.Compute[i].Taints = []config.Taint{{Key: "example.com/dedicated", Value: "poolside", Effect: "NoSchedule"}}
			c.Compute[i].Labels = map[string]string{"example.com/team": "platform", "example.com/purpose": "poolside"}
		}
		gpu := &c.Compute[len(c.Compute)-1]
		gpu.Reservation = config.Reservation{}
		gpu.Min, gpu.Desired, gpu.Max = 3, 3, 3
		c.Network.Endpoints = []string{
			"autoscaling", "ec2", "ec2messages", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticloadbalancing", "events", "kms",
			"logs", "monitoring", "secretsmanager", "sns", "ssm", "ssmmessages", "sts", "xray",
		}
		c.PermissionBoundary = "arn:aws:iam::123456789012:policy/organisation/boundary-for-applications"
		c.DNS = config.DNS{Mode: config.DNSCreateZone, Zone: "poolside.example.com"}
		c.Registry.Repositories = nil
		for i := range 40 {
			c.Registry.Repositories = append(c.Registry.Repositories, fmt.Sprintf("platform/component-%02d", i))
		}
		c.Access.Web.AllowCIDRs, c.Access.Admin.AllowCIDRs = nil, nil
		for i := range 25 {
			c.Access.Web.AllowCIDRs = append(c.Access.Web.AllowCIDRs, fmt.Sprintf("198.51.%d.0/24", 100+i))
			c.Access.Admin.AllowCIDRs = append(c.Access.Admin.AllowCIDRs, fmt.Sprintf("203.0.113.%d/32", 100+i))
		}
		c.Tags = nil
		c.Profile = config.Production
	})
}

// tags are n tags with keys and values of so many characters.
func tags(n, key, value int) map[string]string {
	out := map[string]string{}
	for i := range n {
		k := fmt.Sprintf("tag-%02d-%s", i, strings.Repeat("k", max(key-7, 0)))
		out[k] = strings.Repeat("v", value)
	}
	return out
}

func TestSize(t *testing.T) {
	t.Parallel()
	const limit = 51_200
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
	}{
		{"no tags", nil},
		{"50 tags", func(c *config.Config) { c.Tags = tags(50, 12, 16) }},
		{"50 longer tags, usual allow-lists", func(c *config.Config) {
			c.Tags = tags(50, 20, 40)
			c.Access.Web.AllowCIDRs, c.Access.Admin.AllowCIDRs = c.Access.Web.AllowCIDRs[:5], c.Access.Admin.AllowCIDRs[:5]
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := everything(t)
			if tc.change != nil {
				tc.change(c)
			}
			for _, s := range all(t, c) {
				if len(s.Body) >= limit {
					t.Errorf("%s has %d bytes", s.Name, len(s.Body))
				}
				t.Logf("%s %d", s.Name, len(s.Body))
			}
		})
	}
}

func BenchmarkAll(b *testing.B) {
	c := everything(b)
	for b.Loop() {
		a, err := architecture.New(c)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := templates.All(a); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNetworkOptionsFit holds what the architecture lets through to the size
// of a template: as many routes as it takes beside the longest allow-lists.
func TestNetworkOptionsFit(t *testing.T) {
	t.Parallel()
	for _, mode := range []config.NATMode{config.NATGatewayPerZone, config.NATInstancePerZone, config.NATNone} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			most := 0
			for n := range 20 {
				c := everything(t)
				c.Network.NAT.Mode, c.Network.PodCIDR, c.Tags = mode, "100.64.0.0/16", tags(50, 20, 40)
				if c.Network.NAT.Announce = config.NATInstancePerZone; mode == config.NATInstancePerZone {
					c.Network.NAT.Announce = config.NATGatewayPerZone
				}
				c.Access.Web.AllowCIDRs, c.Access.Admin.AllowCIDRs = c.Access.Web.AllowCIDRs[:10], c.Access.Admin.AllowCIDRs[:10]
				c.Network.TransitGateway.ID = "tgw-0123456789abcdef0"
				for i := range n {
					c.Network.TransitGateway.CIDRs = append(c.Network.TransitGateway.CIDRs, fmt.Sprintf("10.%d.128.0/17", 100+i))
					c.Network.Routes = append(c.Network.Routes, config.Route{CIDR: fmt.Sprintf("192.168.%d.128/25", 100+i), Target: "pcx-0123456789abcdef0"})
				}
				c.Deviations = map[string]string{}
				for _, id := range architecture.DeviationIDs() {
					c.Deviations[id] = "because we chose so"
				}
				a, err := architecture.New(c)
				if err != nil {
					break
				}
				if _, err := templates.All(a); err != nil {
					t.Fatalf("with %d ranges each: %v", n, err)
				}
				most = n
			}
			want := map[config.NATMode]int{config.NATGatewayPerZone: 8, config.NATInstancePerZone: 0, config.NATNone: 8}[mode]
			if most < want {
				t.Errorf("%d ranges each are taken, want %d at least", most, want)
			}
			t.Logf("%d ranges each", most)
		})
	}
}
