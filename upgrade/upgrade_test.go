package upgrade_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/upgrade"
)

// facts are those of a whole deployment at 1.34, whose file says 1.35.
func facts() upgrade.Facts {
	c := &config.Config{Name: "n"}
	c.Cluster.Version = "1.35"
	at := func(s architecture.StackName, id string) upgrade.Place { return upgrade.Place{Stack: s, LogicalID: id} }
	return upgrade.Facts{
		Config: c, Running: "1.34", Deployed: "1.34", Cluster: at(architecture.Cluster, "Cluster"), Bake: time.Minute,
		Offered:  []upgrade.Version{{Name: "1.34", Status: "STANDARD_SUPPORT"}, {Name: "1.35", Status: "STANDARD_SUPPORT"}},
		Insights: []upgrade.Insight{{Name: "skew", Status: "PASSING"}},
		Addons: []upgrade.Addon{
			{Place: at(architecture.Cluster, "KubeProxy"), Name: "kube-proxy", Running: "v1.34.9-eksbuild.2", Offered: []string{"v1.35.9-eksbuild.2", "v1.35.10-eksbuild.1"}},
			{Place: at(architecture.Addons, "CoreDns"), Name: "coredns", Running: "v1.12.0-eksbuild.1", Offered: []string{"v1.13.0-eksbuild.1", "v1.12.0-eksbuild.1"}},
		},
		Groups: []upgrade.Group{{Place: at(architecture.Nodes, "CoreZone1"), Name: "CoreZone1", Running: "1.34", Deployed: "1.34", Nodes: 2}},
	}
}

// said are the changes and refusals of a plan in words, and whether it bakes.
func said(p *upgrade.Plan) (out []string) {
	for _, c := range p.Changes {
		out = append(out, string(c.Stage)+": "+c.String())
	}
	if p.Bake > 0 {
		out = append(out, "bake")
	}
	for _, r := range p.Refusals {
		out = append(out, "refused: "+r.String())
	}
	return out
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	const (
		rise  = "control plane: control plane from 1.34 to 1.35"
		proxy = "add-ons: add-on kube-proxy from v1.34.9-eksbuild.2 to v1.35.10-eksbuild.1"
		nodes = "nodes: node group CoreZone1 from 1.34 to 1.35"
	)
	whole := []string{rise, proxy, nodes, "bake"}
	for name, tc := range map[string]struct {
		change func(*upgrade.Facts)
		want   []string
	}{
		"whole": {func(*upgrade.Facts) {}, whole},
		"asked": {func(f *upgrade.Facts) { f.Asked = "1.35" }, whole},
		"another one asked": {
			func(f *upgrade.Facts) { f.Asked = "1.36" },
			append(append([]string{}, whole...), "refused: cluster.version is 1.35, and the command says --to 1.36: the file decides"),
		},
		"risen":             {func(f *upgrade.Facts) { f.Running, f.Deployed = "1.35", "1.35" }, []string{proxy, nodes, "bake"}},
		"raised by others":  {func(f *upgrade.Facts) { f.Running = "1.35" }, []string{"control plane: control plane from 1.35 to 1.35", proxy, nodes, "bake"}},
		"baked":             {func(f *upgrade.Facts) { f.Running, f.Deployed, f.Baked, f.Unfinished = "1.35", "1.35", true, "1.35" }, []string{proxy, nodes}},
		"another one baked": {func(f *upgrade.Facts) { f.Running, f.Deployed, f.Baked, f.Unfinished = "1.35", "1.35", true, "1.34" }, []string{proxy, nodes, "bake"}},
		"another one not over": {func(f *upgrade.Facts) { f.Baked, f.Unfinished = true, "1.34" }, append(append([]string{}, whole...),
			"refused: cluster.version is 1.35, and the upgrade to 1.34 is not over: its control plane has changed, and what follows has not")},
		"add-ons done": {func(f *upgrade.Facts) {
			f.Running, f.Deployed, f.Baked, f.Unfinished, f.Addons[0].Running = "1.35", "1.35", true, "1.35", "v1.35.10-eksbuild.1"
		}, []string{nodes}},
		"done": {func(f *upgrade.Facts) {
			f.Running, f.Deployed, f.Addons[0].Running, f.Groups[0].Running, f.Groups[0].Deployed = "1.35", "1.35", "v1.35.10-eksbuild.1", "1.35", "1.35"
		}, nil},
		"pinned": {func(f *upgrade.Facts) { f.Addons[1].Pinned = "v1.13.0-eksbuild.1" }, []string{rise, proxy, "add-ons: add-on coredns from v1.12.0-eksbuild.1 to v1.13.0-eksbuild.1", nodes, "bake"}},
		"everything wrong": {func(f *upgrade.Facts) {
			f.Config.Cluster.Version = "1.38"
			f.Insights[0] = upgrade.Insight{Name: "skew", Status: "ERROR", Reason: "too old"}
			f.Addons = []upgrade.Addon{
				{Name: "a", Running: "v2.0.0", Pinned: "v3.0.0", Offered: []string{"v2.0.0"}},
				{Name: "b", Running: "v2.0.0"},
				{Name: "c", Running: "v2.0.0", Offered: []string{"v1.0.0"}},
				{Name: "d", Running: "v2.0.0", Pinned: "v1.0.0", Offered: []string{"v1.0.0", "v2.0.0"}},
			}
			f.Groups = f.Groups[:1]
			f.Ill, f.Pending = []string{"node group g is DEGRADED"}, []string{"Vpc in stack n-network"}
		}, []string{
			"control plane: control plane from 1.34 to 1.38", "nodes: node group CoreZone1 from 1.34 to 1.38", "bake",
			"refused: cluster.version would go from 1.34 to 1.38: EKS takes one minor version at a time",
			"refused: cluster.version is 1.38, which EKS does not offer",
			"refused: cluster.version is 1.38, and the nodes of CoreZone1 run 1.34: kubelets may be 3 minor versions older than the control plane at most",
			"refused: cluster.version is 1.38, and EKS has an insight against it: skew: too old",
			"refused: cluster.version is 1.38, and an upgrade begins only where all is well: node group g is DEGRADED",
			"refused: cluster.addonVersions.a is v3.0.0, which EKS does not have for Kubernetes 1.38",
			"refused: cluster.version is 1.38, for which EKS has no version of the add-on b",
			"refused: cluster.version is 1.38, for which the newest version of the add-on c is v1.0.0, and v2.0.0 runs: an upgrade never goes back",
			"refused: cluster.addonVersions.d is v1.0.0, and v2.0.0 runs: an upgrade never goes back",
			"refused: cluster.version shares an operation with nothing else, and the file changes Vpc in stack n-network",
		}},
		"back": {func(f *upgrade.Facts) { f.Config.Cluster.Version, f.Addons, f.Groups = "1.33", nil, nil }, []string{
			"control plane: control plane from 1.34 to 1.33", "bake", "refused: cluster.version is 1.33, and the control plane runs 1.34: an upgrade never goes back",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := facts()
			tc.change(&f)
			p := upgrade.Kubernetes(f)
			if diff := cmp.Diff(tc.want, said(p)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			for _, r := range p.Refusals {
				if r.Fix == "" {
					t.Errorf("without a next step: %v", r)
				}
				if strings.Contains(r.Fix, "poolhouse ") && !strings.Contains(r.Fix, "FILE") {
					t.Errorf("a command without its file: %s", r.Fix)
				}
			}
			if p.Empty() != (len(tc.want) == 0) {
				t.Errorf("empty: %v", p.Empty())
			}
		})
	}
}

func TestOnlyAddons(t *testing.T) {
	t.Parallel()
	f := facts()
	p := upgrade.OnlyAddons(f)
	if got := strings.Join(said(p), "\n"); !strings.Contains(got, "refused: cluster.version is 1.35, and the control plane runs 1.34") {
		t.Errorf("a version that is yet to come: %s", got)
	}
	f.Config.Cluster.Version = "1.34"
	f.Addons[0].Offered, f.Addons[0].Pinned = []string{"v1.34.9-eksbuild.2", "v1.34.10-eksbuild.1"}, "v1.34.9-eksbuild.2"
	want := []string{"add-ons: add-on coredns from v1.12.0-eksbuild.1 to v1.13.0-eksbuild.1"}
	if diff := cmp.Diff(want, said(upgrade.OnlyAddons(f))); diff != "" {
		t.Errorf("one pinned, one not (-want +got):\n%s", diff)
	}
	f.Addons[1].Deployed = "v1.13.0-eksbuild.1"
	if got := strings.Join(said(upgrade.OnlyAddons(f)), "\n"); !strings.Contains(got, "was changed outside of CloudFormation") {
		t.Errorf("one that somebody took back: %s", got)
	}
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	f := facts()
	shown := upgrade.Kubernetes(f)
	f.Running, f.Deployed = "1.35", "1.35"
	if got := upgrade.Kubernetes(f).Differs(shown); got != nil {
		t.Errorf("less than was shown differs: %v", got)
	}
	f.Addons[0].Offered = append(f.Addons[0].Offered, "v1.35.11-eksbuild.1")
	if got := upgrade.Kubernetes(f).Differs(shown); len(got) != 1 {
		t.Errorf("another version than was shown: %v", got)
	}
}
