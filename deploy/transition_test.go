package deploy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/sandbox"
)

// became is an architecture after a change of its configuration.
func became(t *testing.T, a *architecture.Architecture, change func(*config.Config)) *architecture.Architecture {
	t.Helper()
	c := *a.Config
	c.Compute = slices.Clone(c.Compute)
	change(&c)
	next, err := architecture.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestTransitions makes changes in which an update has the new beside the old
// for a while, or something used by a later stack to give up.
func TestTransitions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		example string
		change  func(*config.Config)
		allow   []guard.Flag
	}{
		"scheme, host and backups": {"production", func(c *config.Config) {
			c.Access.Admin.Scheme = config.SchemeInternetFacing
			c.Access.Admin.AllowCIDRs = []string{"203.0.113.7/32"}
			c.Access.API.Host = "ide." + c.DNS.Zone
			c.Backups.Enabled = false
		}, []guard.Flag{guard.Lower}},
		"no standby any more": {"production", func(c *config.Config) {
			c.Database.MultiAZ = false
			c.Deviations = map[string]string{architecture.SingleAZDatabase: "nobody works at night"}
		}, []guard.Flag{guard.Lower}},
		"no GPU nodes any more": {"gpu-inference", func(c *config.Config) {
			c.Compute = slices.DeleteFunc(c.Compute, func(g config.NodeGroup) bool { return g.Role == config.GPU })
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, test.example)
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				w.create(a)
				w.listen = true
				next := became(t, a, test.change)
				if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(next, test.allow...)}); err != nil {
					t.Fatalf("update: %v", err)
				}
				if f := w.failures(); f != "" {
					t.Errorf("the update went on over failures:\n%s", f)
				}
				w.emptyPlan(next)
				for _, r := range w.find("AWS::ElasticLoadBalancingV2::LoadBalancer") {
					if got := fmt.Sprint(r.Props["LoadBalancerAttributes"]); !strings.Contains(got, "Key:deletion_protection.enabled Value:true") {
						t.Errorf("%s is not protected: %s", r.ID, got)
					}
				}
				// It was made without a zone, and giving it one replaces it.
				if zone := w.find("AWS::RDS::DBInstance")[0].Props["AvailabilityZone"]; zone != nil {
					t.Errorf("the database is asked to be in %v", zone)
				}
				if n := len(w.find("AWS::CertificateManager::Certificate")); n != 1 {
					t.Errorf("%d certificates, want 1", n)
				}
				w.clean(w.destroy(next))
			})
		})
	}
}

// TestCallerComesToBeListed gives the one who created the deployment a place
// among its administrators, and takes it back.
func TestCallerComesToBeListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		without := became(t, example(t, "evaluation"), func(c *config.Config) { c.Cluster.Administrators = nil })
		w := newWorld(t, without, sandbox.Options{})
		id, err := w.target(without).AWS.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		with := became(t, without, func(c *config.Config) { c.Cluster.Administrators = []string{id.Principal} })
		w.create(without)
		for _, next := range []*architecture.Architecture{with, without} {
			w.update(next)
			var principals []string
			for _, e := range w.find("AWS::EKS::AccessEntry") {
				if e.Props["Type"] == "STANDARD" {
					principals = append(principals, fmt.Sprint(e.Props["PrincipalArn"]))
				}
			}
			if !slices.Equal(principals, []string{id.Principal}) {
				t.Errorf("access entries %v, want one of %s", principals, id.Principal)
			}
		}
	})
}

// TestZonesAreNotGivenUp refuses what would leave subnets behind that later
// stacks still use.
func TestZonesAreNotGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "production")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		next := became(t, a, func(c *config.Config) { c.Network.Zones = 2 })
		const want = "network.zones is 2 and the deployment stands in 3"
		if _, err := deploy.MakePlan(t.Context(), w.target(next)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("plan: %v", err)
		}
		before := ids(w)
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(next, guard.Replace)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("update: %v", err)
		}
		if diff := cmp.Diff(before, ids(w)); diff != "" {
			t.Errorf("the account after the refusal (-want +got):\n%s", diff)
		}
	})
}
