package cli_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/rehearse"
)

// TestRehearseKubernetes has the platform's pods run in a copy of a rehearsal's account:
// each where it belongs, and kept from where it doesn't by the scheduler and by the API
// server. They answer by the deployment's hosts, through its load balancers, until the
// copy is deleted while its Kubernetes answers.
func TestRehearseKubernetes(t *testing.T) {
	for _, name := range []string{"POOLHOUSE_PLANE_KUBERNETES", "POOLHOUSE_PODS", "POOLHOUSE_RELEASES", "POOLHOUSE_PLANE_REGISTRY", "POOLHOUSE_PLANE_POSTGRES", "POOLHOUSE_PLANE_OIDC"} {
		if os.Getenv(name) == "" {
			t.Skip(name + " names no program: .ci/run kubernetes builds those that it takes, 10 minutes or more once, and runs this test")
		}
	}
	for _, tc := range []struct {
		example string
		kinds   []string
		tainted []string
		without string
		// releases are how many there are, and gpus what is on GPU nodes, with the GPUs
		// that it asks for.
		releases int
		gpus     map[string]int64
	}{
		{"production", []string{"core", "interface", "web-assistant"}, []string{"interface", "web-assistant"}, "s3", 5, map[string]int64{}},
		{"gpu-inference", []string{"core", "gpu", "interface", "web-assistant"}, []string{"gpu", "interface", "web-assistant"}, "s3,postgres,oidc", 6, map[string]int64{"inference": 1, "nvidia-device-plugin": 0}},
	} {
		t.Run(tc.example, func(t *testing.T) {
			began := time.Now()
			var out, errs bytes.Buffer
			if code := cli.Run(t.Context(), []string{"rehearse", "--kubernetes", "--without", tc.without, "--output", "json", "../../examples/" + tc.example + ".yaml"}, cli.Streams{Out: &out, Err: &errs}); code != cli.Done {
				t.Fatalf("exit code %d: %s%s", code, &out, &errs)
			}
			t.Logf("%.1fs of the wall", time.Since(began).Seconds())
			var report struct{ Pods *rehearse.Pods }
			if err := json.Unmarshal(out.Bytes(), &report); err != nil || report.Pods == nil {
				t.Fatalf("no pods: %v in %s", err, &out)
			}
			p := report.Pods
			if len(p.Releases) != tc.releases || len(p.NotDeployed()) > 0 || slices.ContainsFunc(p.Releases, func(r cluster.Revision) bool { return r.Status != "deployed" || r.Ready != r.Pods }) {
				t.Errorf("releases: %+v", p.Releases)
			}
			if len(p.Ran) < 5 || len(p.NotRun()) > 0 || slices.ContainsFunc(p.Ran, func(one rehearse.Pod) bool { return !one.Ready || !strings.Contains(one.Image, "@sha256:") }) {
				t.Errorf("pods: %+v", p.Ran)
			}
			gpus := map[string]int64{}
			for _, one := range p.Ran {
				if one.Kind == "gpu" || one.GPUs > 0 {
					gpus[one.Workload] = one.GPUs
				}
			}
			if !maps.Equal(gpus, tc.gpus) {
				t.Errorf("on GPU nodes are %v, want %v", gpus, tc.gpus)
			}
			if len(p.Zones()) < 2 {
				t.Errorf("all pods are in %v", p.Zones())
			}
			if p.Uninstalled != tc.releases {
				t.Errorf("%d releases were uninstalled", p.Uninstalled)
			}
			reached(t, p, tc.without == "s3")
			says := map[string]string{}
			for _, a := range p.Apart {
				says[a.Pods+" to "+a.Nodes] = a.Says
			}
			want := map[string]string{}
			for _, from := range tc.kinds {
				for _, to := range tc.kinds {
					dedicated := []string{"interface", "web-assistant"}
					switch {
					case from == to:
					case to == "core", slices.Contains(dedicated, from) && slices.Contains(dedicated, to):
						// There is no taint, or one that both tolerate.
						want[from+" to "+to] = "didn't match Pod's node affinity/selector"
					default:
						want[from+" to "+to] = "untolerated taint"
					}
				}
			}
			for _, to := range tc.tainted {
				want["other to "+to] = "untolerated taint"
			}
			for way, reason := range want {
				if !strings.Contains(says[way], reason) {
					t.Errorf("a pod of %s: the scheduler says %q, not %q", way, says[way], reason)
				}
			}
			if len(says) != len(want) {
				t.Errorf("%d ways are barred, want %d: %v", len(says), len(want), says)
			}
			for _, r := range p.Refused {
				if !strings.Contains(r.Says, "violates PodSecurity \"restricted:latest\"") {
					t.Errorf("a pod that %s is refused by %q", r.What, r.Says)
				}
			}
			if len(p.Refused) == 0 || len(p.Refused)%7 != 0 {
				t.Errorf("%d unsafe pods are refused", len(p.Refused))
			}
		})
	}
}

// reached looks at what was answered by the hosts, from which pods, and what these said.
// Whole is where there are servers of rows and of users.
func reached(t *testing.T, p *rehearse.Pods, whole bool) {
	t.Helper()
	for i, name := range []string{"web-assistant", "interface", "admin-console"} {
		if len(p.Entries) != 3 {
			t.Fatalf("hosts: %+v", p.Entries)
		}
		e := p.Entries[i]
		if len(e.Bound) != 2 || slices.ContainsFunc(e.Bound, func(pod string) bool { return !strings.HasPrefix(pod, name+"-") }) {
			t.Errorf("%s: bound are %v", e.Host, e.Bound)
		}
		open, answers := name == "interface", name == "interface" || whole
		if open && e.Status != 200 || !open && (e.Status != 302 || !strings.HasPrefix(e.Leads, "https://login.")) {
			t.Errorf("%s answers %d and leads to %q", e.Host, e.Status, e.Leads)
		}
		if answers != slices.Contains(e.Bound, e.Pod) || answers != (e.LeftOut == "") || !open && answers != (e.User != "") {
			t.Errorf("%s: %+v", e.Host, e)
		}
		if !answers && e.LeftOut != "nobody signed in (--without oidc)" {
			t.Errorf("%s: %+v", e.Host, e)
		}
	}
	said := map[string]map[string]rehearse.Check{}
	for _, one := range p.Told {
		said[one.Component] = map[string]rehearse.Check{}
		for _, c := range one.Checks {
			said[one.Component][c.Check] = c
		}
	}
	for check, want := range map[string]string{
		"identity":            "assumed-role/",
		"bucket of audit":     "an object was written and read in poolside-audit-123456789012-us-east-1, encrypted by arn:aws:kms:",
		"bucket of telemetry": "an object was written and read",
		"application key":     "encrypted and decrypted by arn:aws:kms:",
		"database":            " as poolside_app, over TLSv1.",
	} {
		c := said["core-api"][check]
		switch {
		case check == "database" && !whole:
			if c.OK || c.LeftOut != "databases hold no rows here (--without postgres)" {
				t.Errorf("the database without rows: %+v", c)
			}
		case !c.OK || !strings.Contains(c.Says, want):
			t.Errorf("%s of core-api: %+v", check, c)
		}
	}
	if whole && len(said) != 4 || !whole && len(said) != 2 {
		t.Errorf("components that report: %v", said)
	}
}

// TestRehearseWithoutBundle: where there is no bundle and no checkout, and where flags
// don't go together, nothing begins.
func TestRehearseWithoutBundle(t *testing.T) {
	t.Parallel()
	try := func(args ...string) (int, string) {
		t.Helper()
		var errs bytes.Buffer
		code := cli.Run(t.Context(), append([]string{"rehearse", "../../examples/evaluation.yaml"}, args...), cli.Streams{Out: &bytes.Buffer{}, Err: &errs})
		return code, strings.Join(strings.Fields(errs.String()), " ")
	}
	for _, tc := range []struct{ args, want string }{
		{"--bundle b.tar.gz --values a=b", "--bundle is of Kubernetes, and without --kubernetes there is none"},
		{"--bundle b.tar.gz --values a=b", "--values is of a bundle's charts, and without --kubernetes none is installed"},
		{"--kubernetes --keep", "--kubernetes goes without --keep"},
		{"--kubernetes --record x", "--kubernetes goes without --record and --policies"},
	} {
		if code, said := try(strings.Fields(tc.args)...); code != cli.Usage || !strings.Contains(said, tc.want) {
			t.Errorf("%s: exit code %d: %s", tc.args, code, said)
		}
	}
}

// TestRehearseElsewhere: outside of a checkout it is said what stands in for the sample.
func TestRehearseElsewhere(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("../../examples/evaluation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PLANE_KUBERNETES", "PODS", "PLANE_REGISTRY", "RELEASES"} {
		t.Setenv("POOLHOUSE_"+name, program)
	}
	t.Chdir(dir)
	if err := os.WriteFile("deployment.yaml", text, 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	code := cli.Run(t.Context(), []string{"rehearse", "--kubernetes", "deployment.yaml"}, cli.Streams{Out: &bytes.Buffer{}, Err: &errs})
	if said := strings.Join(strings.Fields(errs.String()), " "); code != cli.Usage || !strings.Contains(said, "no checkout of poolhouse is here") || !strings.Contains(said, "--bundle FILE") {
		t.Errorf("exit code %d: %s", code, said)
	}
	t.Setenv("POOLHOUSE_PODS", dir+"/none")
	t.Setenv("POOLHOUSE_RELEASES", dir+"/none")
	errs.Reset()
	code = cli.Run(t.Context(), []string{"rehearse", "--kubernetes", "deployment.yaml"}, cli.Streams{Out: &bytes.Buffer{}, Err: &errs})
	if said := errs.String(); code == cli.Done || !strings.Contains(said, "POOLHOUSE_PODS") || !strings.Contains(said, "POOLHOUSE_RELEASES") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
