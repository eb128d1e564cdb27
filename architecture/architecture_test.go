package architecture

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/config"
)

// example is one of the examples, changed. The profile's defaults are in it.
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

func mustNew(t testing.TB, c *config.Config) *Architecture {
	t.Helper()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := mustNew(t, example(t, name)), mustNew(t, example(t, name))
			if diff := cmp.Diff(a, b, cmp.AllowUnexported(Architecture{}), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }), cmp.Comparer(func(x, y *config.Config) bool { return true })); diff != "" {
				t.Errorf("two runs differ:\n%s", diff)
			}
		})
	}
}

func TestSubnetPlan(t *testing.T) {
	t.Parallel()
	a := mustNew(t, example(t, "production"))
	var got []string
	for _, s := range a.Subnets {
		got = append(got, string(s.Tier)+" "+s.CIDR.String())
	}
	want := []string{
		"public 10.80.192.0/24", "public 10.80.193.0/24", "public 10.80.194.0/24",
		"control-plane 10.80.255.64/26", "control-plane 10.80.255.128/26", "control-plane 10.80.255.192/26",
		"private 10.80.0.0/19", "private 10.80.64.0/19", "private 10.80.128.0/19",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subnets, -want +got:\n%s", diff)
	}
}

// networks are ranges and sizes that the configuration allows.
func networks(t *rapid.T) (string, config.Subnets) {
	bits := rapid.IntRange(16, 20).Draw(t, "bits")
	base := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 255).Draw(t, "second")), byte(rapid.IntRange(0, 15).Draw(t, "third") << 4), 0})
	size := func(name string, low, high int) int {
		if rapid.Bool().Draw(t, name+" computed") {
			return 0
		}
		return rapid.IntRange(low, high).Draw(t, name)
	}
	return netip.PrefixFrom(base, bits).Masked().String(), config.Subnets{
		Public: size("public", 20, 27), ControlPlane: size("controlPlane", 24, 27), Private: size("private", 18, 24),
	}
}

func TestSubnetPlanProperties(t *testing.T) {
	t.Parallel()
	base := example(t, "evaluation")
	rapid.Check(t, func(t *rapid.T) {
		cidr, sizes := networks(t)
		plan := func(zones int) (*Architecture, error) {
			c := *base
			c.Network.CIDR, c.Network.Subnets, c.Network.Zones = cidr, sizes, zones
			return New(&c)
		}
		two, err := plan(2)
		if sizes == (config.Subnets{}) && err != nil {
			t.Fatalf("computed sizes do not fit %s: %v", cidr, err)
		}
		if err != nil {
			var faults config.Faults
			if !errors.As(err, &faults) || !strings.HasPrefix(faults[0].Path, "network.subnets.") {
				t.Fatalf("fault is not about subnets: %v", err)
			}
			return
		}
		three, err := plan(3)
		if err != nil {
			t.Fatalf("two zones fit into %s and three do not: %v", cidr, err)
		}
		for _, s := range two.Subnets {
			if !slices.Contains(three.Subnets, s) {
				t.Errorf("a third zone renumbers %v", s)
			}
		}
		for i, s := range three.Subnets {
			if !three.VPC().Overlaps(s.CIDR) || s.CIDR.Bits() < three.VPC().Bits() || s.CIDR != s.CIDR.Masked() {
				t.Errorf("%v is no subnet of %s", s, cidr)
			}
			for _, other := range three.Subnets[:i] {
				if s.CIDR.Overlaps(other.CIDR) {
					t.Errorf("%v overlaps %v", s, other)
				}
			}
			if s.Tier == ControlPlane && usable(s.CIDR.Bits()) < 16 {
				t.Errorf("%v has too few addresses", s)
			}
		}
		for _, tier := range []Tier{Public, ControlPlane, Private} {
			want := map[Tier]int{Public: 2, ControlPlane: 3, Private: 2}[tier]
			if got := len(two.Tier(tier)); got != want {
				t.Errorf("%d subnets in tier %s, want %d", got, tier, want)
			}
		}
		free, err := two.Free()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range free {
			n += 1 << (32 - p.Bits())
		}
		for _, s := range two.Subnets {
			n += 1 << (32 - s.CIDR.Bits())
		}
		if n != 1<<(32-two.VPC().Bits()) {
			t.Errorf("free ranges and subnets have %d addresses, the VPC has not", n)
		}
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		path   string
		reason string
	}{
		{"three zones in a region of two", func(c *config.Config) { c.Region = "us-west-1" }, "network.zones", "two zones only"},
		{"china", func(c *config.Config) { c.Region = "cn-north-1" }, "region", "not modelled"},
		{"no range", func(c *config.Config) { c.Network.CIDR = "10.80.0.0/8" }, "network.cidr", "/16 to /20"},
		{"host bits", func(c *config.Config) { c.Network.CIDR = "10.80.0.1/16" }, "network.cidr", "/16 to /20"},
		{"private too large", func(c *config.Config) { c.Network.CIDR, c.Network.Subnets.Private = "10.80.0.0/20", 20 }, "network.subnets.private", "do not fit"},
		{"private too small", func(c *config.Config) { c.Network.Subnets.Private = 24 }, "network.subnets.private", "may need 288"},
		{"control plane too small", func(c *config.Config) { c.Network.Subnets.ControlPlane = 28 }, "network.subnets.controlPlane", "11 usable"},
		{"no subnet", func(c *config.Config) { c.Network.Subnets.Private = 40 }, "network.subnets.private", "can't be a /40"},
		{"public too large", func(c *config.Config) { c.Network.CIDR, c.Network.Subnets.Public = "10.80.0.0/20", 23 }, "network.subnets.public", "need"},
		{"database in no zone", func(c *config.Config) { c.Network.Zones, c.Database.PreferredZone = 2, 3 }, "database.preferredZone", "without private subnets"},
		{"bucket name", func(c *config.Config) {
			c.Storage.Models.Name, c.Storage.Audit.Name = "one-bucket", "one-bucket"
		}, "storage.audit.name", "models too"},
		{"own tag", func(c *config.Config) { c.Tags = map[string]string{DeploymentTag: "other"} }, `tags["poolhouse:deployment"]`, "own tag"},
		{"sizes", func(c *config.Config) { c.Compute[0].Min = 9 }, "compute[core].desired", "not in order"},
		{"repositories alike", func(c *config.Config) { c.Registry.Repositories = []string{"core-api", "core_api"} }, "registry.repositories", "separators"},
		{"too many repositories", func(c *config.Config) {
			for i := range 80 {
				c.Registry.Repositories = append(c.Registry.Repositories, "image-"+strings.Repeat("x", i+1))
			}
		}, "registry.repositories", "template holds"},
		{"unknown deviation", func(c *config.Config) { c.Deviations = map[string]string{"no-ssh": "because it is so"} }, "deviations.no-ssh", "is no deviation"},
		{"deviation without reason", func(c *config.Config) { c.Database.MultiAZ = false }, "database.multiAz", "without a reason"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(example(t, "production", tc.change))
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want faults", err)
			}
			if len(faults) != 1 || faults[0].Path != tc.path || !strings.Contains(faults[0].Reason, tc.reason) || faults[0].Fix == "" || faults[0].Line == 0 {
				t.Errorf("got %#v, want one at %s that says %q", faults, tc.path, tc.reason)
			}
		})
	}
}

func TestExistingNetwork(t *testing.T) {
	t.Parallel()
	a := mustNew(t, example(t, "existing-network", func(c *config.Config) {
		c.Network.Zones, c.Network.Existing.PrivateSubnetIDs = 2, c.Network.Existing.PrivateSubnetIDs[:2]
	}))
	if a.Zones != 3 || a.VPC().String() != "10.40.0.0/16" || a.Has(Endpoints) || len(a.Endpoints) != 0 {
		t.Errorf("%d zones, %s, endpoints %v", a.Zones, a.VPC(), a.Endpoints)
	}
	want := []Subnet{
		{Tier: ControlPlane, Zone: 0, ID: "subnet-0123456789abcdef1"},
		{Tier: ControlPlane, Zone: 1, ID: "subnet-0123456789abcdef2"},
		{Tier: ControlPlane, Zone: 2, ID: "subnet-0123456789abcdef3"},
		{Tier: Private, Zone: 0, ID: "subnet-0123456789abcdef4"},
		{Tier: Private, Zone: 1, ID: "subnet-0123456789abcdef5"},
	}
	if !slices.Equal(a.Subnets, want) {
		t.Errorf("subnets are %+v", a.Subnets)
	}
	// Endpoints that the file lists, and no others.
	with := mustNew(t, example(t, "existing-network", func(c *config.Config) { c.Network.Endpoints = []string{"sts"} }))
	if !with.Has(Endpoints) || !slices.Equal(with.Endpoints, []string{"sts"}) {
		t.Errorf("endpoints are %v", with.Endpoints)
	}
	if got := []int{a.Addresses(ControlPlane, 0), a.Addresses(Public, 0), a.Addresses(Private, 0)}; !slices.Equal(got, []int{16, 8, 32 + 32*(3+5+5)}) {
		t.Errorf("needs %v addresses", got)
	}
}

func TestPodRange(t *testing.T) {
	t.Parallel()
	a := mustNew(t, example(t, "production", func(c *config.Config) {
		c.Network.PodCIDR = "100.64.0.0/16"
		c.Network.Subnets.Private = 24 // too small with pods in it
	}))
	var got []string
	for _, s := range a.PodSubnets() {
		got = append(got, s.CIDR.String())
	}
	if want := []string{"100.64.0.0/18", "100.64.64.0/18", "100.64.128.0/18"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, tc := range []struct {
		name, path, reason string
		change             func(*config.Config)
	}{
		{"overlap", "network.podCidr", "beside network.cidr", func(c *config.Config) { c.Network.PodCIDR = "10.80.128.0/17" }},
		{"few addresses", "network.podCidr", "may need 1920 addresses for its pods, and a /22 has 1019", func(c *config.Config) {
			c.Network.PodCIDR, c.Compute[0].Max = "100.64.0.0/20", 162
		}},
		{"many routes", "network.routes", "with 153 routes", func(c *config.Config) {
			for i := range 51 {
				c.Network.Routes = append(c.Network.Routes, config.Route{CIDR: fmt.Sprintf("192.168.%d.0/24", i), Target: "pcx-1"})
			}
		}},
	} {
		_, err := New(example(t, "production", tc.change))
		var faults config.Faults
		if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Path != tc.path || !strings.Contains(faults[0].Reason, tc.reason) {
			t.Errorf("%s: got %v, want one at %s that says %q", tc.name, err, tc.path, tc.reason)
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(example(t, "production", func(c *config.Config) {
		c.Network.Subnets.ControlPlane = 28
		c.Database.MultiAZ = false
		c.Access.SSO.Enabled = false
	}))
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) != 3 {
		t.Errorf("got %v, want three faults", err)
	}
}

func TestDeviations(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		example string
		change  func(*config.Config)
		want    map[string]string // id to path
	}{
		{"production", "production", nil, map[string]string{}},
		{"evaluation", "evaluation", nil, map[string]string{
			MergedInterfaceNodes: "compute[web-assistant].also",
			SingleNAT:            "network.nat.mode",
			SingleAZDatabase:     "database.multiAz",
		}},
		{"self-managed nat is a choice of the reference", "self-managed-nat", nil, map[string]string{}},
		{"gpu is a choice of the reference", "gpu-inference", nil, map[string]string{}},
		{"enterprise dns is a choice, internal is not", "enterprise-dns", nil, map[string]string{InternalWeb: "access.web.scheme"}},
		{"minimal egress", "minimal-egress", nil, map[string]string{InternalWeb: "access.web.scheme", NoNAT: "network.nat.mode"}},
		{"existing network", "existing-network", nil, map[string]string{InternalWeb: "access.web.scheme", ExistingNetwork: "network.existing"}},
		{"central egress", "production", func(c *config.Config) {
			c.Network.NAT.Mode = config.NATNone
			c.Network.TransitGateway = config.TransitGateway{ID: "tgw-1", CIDRs: []string{"0.0.0.0/0"}}
			c.Deviations = map[string]string{CentralEgress: "everything is inspected"}
		}, map[string]string{CentralEgress: "network.nat.mode"}},
		{"a transit gateway is none", "production", func(c *config.Config) {
			c.Network.TransitGateway = config.TransitGateway{ID: "tgw-1", CIDRs: []string{"10.0.0.0/8"}}
		}, map[string]string{}},
		{"two zones are a choice of the reference", "evaluation", func(c *config.Config) {
			c.Network.NAT.Mode, c.Database.MultiAZ = config.NATGatewayPerZone, true
		}, map[string]string{MergedInterfaceNodes: "compute[web-assistant].also"}},
		{"no sso", "evaluation", func(c *config.Config) {
			c.Network.NAT.Mode, c.Database.MultiAZ, c.Access.SSO.Enabled = config.NATInstancePerZone, true, false
		}, map[string]string{MergedInterfaceNodes: "compute[web-assistant].also", NoSSO: "access.sso.enabled"}},
		{"single instance", "evaluation", func(c *config.Config) {
			c.Network.NAT.Mode, c.Database.MultiAZ = config.NATSingleInstance, true
		}, map[string]string{MergedInterfaceNodes: "compute[web-assistant].also", SingleNAT: "network.nat.mode"}},
		{"one core node, database in the other zone", "evaluation", func(c *config.Config) {
			c.Compute[0].Min, c.Compute[0].Desired = 1, 1
			c.Database.PreferredZone = 2
		}, map[string]string{
			MergedInterfaceNodes: "compute[web-assistant].also",
			SingleNAT:            "network.nat.mode",
			SingleAZDatabase:     "database.multiAz",
			DistantDatabase:      "database.preferredZone",
			SingleZoneNodes:      "compute[core].desired",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := example(t, tc.example)
			if tc.change != nil {
				tc.change(c)
			}
			got := map[string]string{}
			for _, d := range mustNew(t, c).Deviations {
				if _, ok := got[d.ID]; ok {
					t.Errorf("%s is there twice", d.ID)
				}
				got[d.ID] = d.Path
				if d.What == "" || !slices.Contains(DeviationIDs(), d.ID) {
					t.Errorf("incomplete: %#v", d)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("deviations, -want +got:\n%s", diff)
			}
		})
	}
}

func TestReasonIsKept(t *testing.T) {
	t.Parallel()
	a := mustNew(t, example(t, "minimal-egress"))
	for _, d := range a.Deviations {
		if d.Reason == "" || d.Reason != a.Config.Deviations[d.ID] {
			t.Errorf("%s has the reason %q", d.ID, d.Reason)
		}
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	type group struct {
		key            string
		min, size, max int
	}
	groups := func(gs []NodeGroup) []group {
		var out []group
		for _, g := range gs {
			out = append(out, group{g.Key(), g.Min, g.Size, g.Max})
		}
		return out
	}
	for _, tc := range []struct {
		name   string
		config *config.Config
		want   []group
		gpu    []group
	}{
		{
			"evaluation", example(t, "evaluation"),
			[]group{{"CoreZone1", 1, 1, 2}, {"CoreZone2", 1, 1, 2}, {"WebAssistantZone1", 1, 1, 2}, {"WebAssistantZone2", 1, 1, 2}},
			nil,
		},
		{
			"remainders in the first zones", example(t, "evaluation", func(c *config.Config) {
				c.Compute[0].Min, c.Compute[0].Desired, c.Compute[0].Max = 1, 3, 5
				c.Compute[1].Min, c.Compute[1].Desired, c.Compute[1].Max = 0, 1, 1
			}),
			[]group{{"CoreZone1", 1, 2, 3}, {"CoreZone2", 0, 1, 2}, {"WebAssistantZone1", 0, 1, 1}},
			nil,
		},
		{
			"reservation", example(t, "gpu-inference"),
			[]group{
				{"CoreZone1", 1, 1, 2},
				{"CoreZone2", 1, 1, 2},
				{"CoreZone3", 1, 1, 2},
				{"WebAssistantZone1", 1, 1, 3},
				{"WebAssistantZone2", 1, 1, 3},
				{"WebAssistantZone3", 1, 1, 3},
				{"InterfaceZone1", 1, 1, 3},
				{"InterfaceZone2", 1, 1, 3},
				{"InterfaceZone3", 1, 1, 3},
			},
			[]group{{"GpuReserved", 0, 2, 2}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := mustNew(t, tc.config)
			if diff := cmp.Diff(tc.want, groups(a.NodeGroups), cmp.AllowUnexported(group{})); diff != "" {
				t.Errorf("node groups, -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tc.gpu, groups(a.GPUGroups), cmp.AllowUnexported(group{})); diff != "" {
				t.Errorf("gpu groups, -want +got:\n%s", diff)
			}
		})
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(2, 3).Draw(t, "zones")
		low := rapid.IntRange(0, 50).Draw(t, "low")
		high := rapid.IntRange(low, 60).Draw(t, "high")
		sum := 0
		for zone := range zones {
			sum += share(high, zones, zone)
			if share(low, zones, zone) > share(high, zones, zone) {
				t.Errorf("zone %d has more of %d than of %d", zone, low, high)
			}
		}
		if sum != high {
			t.Errorf("shares of %d are %d", high, sum)
		}
	})
}

func TestLabelsAndTaints(t *testing.T) {
	t.Parallel()
	merged := mustNew(t, example(t, "evaluation", func(c *config.Config) {
		c.Compute[1].Labels = map[string]string{"team": "tools"}
		c.Compute[1].Taints = []config.Taint{{Key: "dedicated", Value: "web", Effect: "NoSchedule"}}
	}))
	g := merged.NodeGroups[2]
	want := map[string]string{"team": "tools", "node-role.poolhouse/web-assistant": "true", "node-role.poolhouse/interface": "true"}
	if diff := cmp.Diff(want, g.Labels()); diff != "" {
		t.Errorf("labels, -want +got:\n%s", diff)
	}
	taints := []config.Taint{
		{Key: DedicatedTaint, Value: "web-assistant", Effect: "NoSchedule"},
		{Key: "dedicated", Value: "web", Effect: "NoSchedule"},
	}
	if diff := cmp.Diff(taints, g.Taints()); diff != "" {
		t.Errorf("taints, -want +got:\n%s", diff)
	}
	if core := merged.NodeGroups[0].Taints(); len(core) != 0 {
		t.Errorf("core nodes have the taints %v", core)
	}
	if !merged.Serves(config.Interface) || merged.Serves(config.GPU) {
		t.Error("merged nodes do not serve what they should")
	}
	gpu := mustNew(t, example(t, "gpu-inference"))
	if diff := cmp.Diff([]config.Taint{GPUTaint()}, gpu.GPUGroups[0].Taints()); diff != "" {
		t.Errorf("gpu taints, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"use1-az4"}, gpu.ReservedZoneIDs()); diff != "" {
		t.Errorf("reserved zones, -want +got:\n%s", diff)
	}
}

func TestNamesFit(t *testing.T) {
	t.Parallel()
	a := mustNew(t, example(t, "production", func(c *config.Config) {
		c.Name, c.Region = strings.Repeat("n", 24), "ap-northeast-1"
	}))
	for _, tc := range []struct {
		name  string
		limit int
	}{
		{a.LoadBalancerName("admin"), 32},
		{a.DatabaseName(), 63},
		{a.ClusterName(), 100},
		{a.StackName(Certificate), 128},
		{a.RoleName(RoleLoadBalancerController), 64},
		{a.KeyAlias(KeyApplication), 256},
	} {
		if len(tc.name) > tc.limit {
			t.Errorf("%s has %d characters, more than %d", tc.name, len(tc.name), tc.limit)
		}
	}
	for _, b := range a.Buckets {
		if b.Name == "" || !strings.Contains(b.Name, "${AWS::AccountId}") {
			t.Errorf("bucket %s is named %s", b.Purpose, b.Name)
		}
	}
	_, err := New(example(t, "production", func(c *config.Config) {
		c.Name, c.Region = strings.Repeat("n", 26), "ap-northeast-1"
	}))
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("a name of 26 characters passes: %v", err)
	}
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"name", "storage.codeDocs.name", "storage.telemetry.name"}, paths); diff != "" {
		t.Errorf("faults of a long name, -want +got:\n%s", diff)
	}
}

func TestStacks(t *testing.T) {
	t.Parallel()
	for name, absent := range map[string][]StackName{
		"production":      {GPU, SessionHost},
		"evaluation":      {GPU, Backup, SessionHost},
		"enterprise-dns":  {GPU, DNS, Certificate, SessionHost},
		"gpu-inference":   {DNS, SessionHost},
		"private-cluster": {GPU, DNS, Certificate},
	} {
		a := mustNew(t, example(t, name))
		seen := map[StackName]bool{}
		for _, s := range a.Stacks {
			for _, after := range s.After {
				if !seen[after] {
					t.Errorf("%s: %s comes before %s, which it follows", name, s.Name, after)
				}
			}
			seen[s.Name] = true
		}
		for _, s := range Catalogue() {
			if want := !slices.Contains(absent, s.Name); a.Has(s.Name) != want {
				t.Errorf("%s: has %s: %v, want %v", name, s.Name, !want, want)
			}
		}
	}
	for _, logs := range []bool{false, true} {
		c := *example(t, "existing-network")
		c.Network.FlowLogs.Enabled = logs
		network, _ := mustNew(t, &c).Stack(Network)
		if got := slices.Contains(network.After, Keys); got != logs {
			t.Errorf("a network that is there follows the keys: %v, want %v, as flow logs are", got, logs)
		}
	}
	catalogue := Catalogue()
	catalogue[0].Name = "changed"
	if Catalogue()[0].Name != Keys {
		t.Error("the catalogue can be changed from outside")
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	a := mustNew(t, example(t, "minimal-egress", func(c *config.Config) { c.Network.Endpoints = []string{"sts", "guardduty-data"} }))
	want := []string{
		"autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "elasticloadbalancing", "guardduty-data",
		"kms", "logs", "secretsmanager", "ssm", "ssmmessages", "sts",
	}
	if diff := cmp.Diff(want, a.Endpoints); diff != "" {
		t.Errorf("endpoints, -want +got:\n%s", diff)
	}
	if a := mustNew(t, example(t, "evaluation")); len(a.Endpoints) != 0 {
		t.Errorf("evaluation has the endpoints %v", a.Endpoints)
	}
}

func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	if _, ok := mustNew(t, example(t, "production")).Account(RoleInference); ok {
		t.Error("without GPU nodes there is a role for inference")
	}
	got, ok := mustNew(t, example(t, "gpu-inference")).Account(RoleInference)
	if want := (ServiceAccount{"poolside-models", "inference", "inference"}); !ok || got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A cluster autoscaler has a role where a node group has room: not where each has one
// size, but for a capacity block's, whose least is none.
func TestClusterAutoscalerAccount(t *testing.T) {
	t.Parallel()
	sized := func(name string, f func(*config.NodeGroup)) *Architecture {
		t.Helper()
		c := *example(t, name)
		c.Compute = slices.Clone(c.Compute)
		for i := range c.Compute {
			c.Compute[i].Min, c.Compute[i].Desired = c.Compute[i].Max, c.Compute[i].Max
			f(&c.Compute[i])
		}
		return mustNew(t, &c)
	}
	for name, test := range map[string]struct {
		a    *Architecture
		want bool
	}{
		"as in the example": {mustNew(t, example(t, "production")), true},
		"one size each":     {sized("gpu-inference", func(*config.NodeGroup) {}), false},
		"room in one zone": {sized("production", func(g *config.NodeGroup) {
			if g.Role == config.Core {
				g.Max++
			}
		}), true},
		"reservation": {sized("gpu-inference", func(g *config.NodeGroup) {
			if g.Role == config.GPU {
				g.Reservation = config.Reservation{ID: "cr-1", ZoneID: "use1-az4"}
			}
		}), false},
		"capacity block": {sized("gpu-inference", func(g *config.NodeGroup) {
			if g.Role == config.GPU {
				g.Reservation = config.Reservation{ID: "cr-1", ZoneID: "use1-az4", CapacityBlock: true}
			}
		}), true},
	} {
		got, ok := test.a.Account(RoleClusterAutoscaler)
		if want := (ServiceAccount{"kube-system", "cluster-autoscaler", "cluster-autoscaler"}); ok != test.want || ok && got != want {
			t.Errorf("%s: got %v, %t", name, got, ok)
		}
	}
}

func TestPromotionKeepsNames(t *testing.T) {
	t.Parallel()
	c := example(t, "evaluation")
	before := mustNew(t, c)
	promoted := *c
	promoted.Profile = config.Production
	promoted.Network.Zones = 3
	promoted.Network.NAT.Mode = config.NATGatewayPerZone
	promoted.Database.MultiAZ = true
	promoted.Deviations = map[string]string{MergedInterfaceNodes: "not yet apart"}
	after := mustNew(t, &promoted)
	if diff := cmp.Diff(before.Tags, after.Tags); diff != "" {
		t.Errorf("tags change:\n%s", diff)
	}
	if diff := cmp.Diff(before.Keys, after.Keys); diff != "" {
		t.Errorf("keys change:\n%s", diff)
	}
	for i, b := range before.Buckets {
		if after.Buckets[i].Name != b.Name {
			t.Errorf("bucket %s is renamed to %s", b.Name, after.Buckets[i].Name)
		}
	}
	for _, s := range before.Subnets {
		if !slices.Contains(after.Subnets, s) {
			t.Errorf("subnet %v is renumbered", s)
		}
	}
}

func TestTagsAreCopied(t *testing.T) {
	t.Parallel()
	c := example(t, "production")
	before := maps.Clone(c.Tags)
	a := mustNew(t, c)
	if diff := cmp.Diff(before, c.Tags); diff != "" {
		t.Errorf("the configuration's tags changed:\n%s", diff)
	}
	if a.Tags[DeploymentTag] != c.Name || a.Tags["cost-centre"] != "4711" {
		t.Errorf("tags are %v", a.Tags)
	}
}
