package model_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
)

// file is a deployment.yaml as nested maps.
type file map[string]any

// read is the file of an example.
func read(t *testing.T, name string) file {
	t.Helper()
	src, err := os.ReadFile("../../examples/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := file{}
	if err := yaml.Unmarshal(src, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// with is the file with another value at a path; nil leaves the key out.
func (f file) with(path string, value any) file {
	out := maps.Clone(f)
	if out == nil {
		out = file{}
	}
	key, rest, deeper := strings.Cut(path, ".")
	switch {
	case deeper:
		below, _ := out[key].(map[string]any)
		out[key] = map[string]any(file(below).with(rest, value))
	case value == nil:
		delete(out, key)
	default:
		out[key] = value
	}
	return out
}

// group is the file with values of the node group of a role.
func (f file) group(role config.Role, values map[string]any) file {
	groups, _ := f["compute"].([]any)
	groups = slices.Clone(groups)
	i := slices.IndexFunc(groups, func(g any) bool { m, _ := g.(map[string]any); return m["role"] == string(role) })
	if i < 0 {
		i, groups = len(groups), append(groups, map[string]any{"role": string(role)})
	}
	g := maps.Clone(groups[i].(map[string]any))
	maps.Copy(g, values)
	groups[i] = g
	return f.with("compute", groups)
}

// means is what the file means; an error if it is not valid.
func (f file) means() (*architecture.Architecture, error) {
	src, err := yaml.Marshal(map[string]any(f))
	if err != nil {
		return nil, err
	}
	c, err := config.Parse("model.yaml", src)
	if err != nil {
		return nil, err
	}
	return architecture.New(c)
}

// edit changes a file. What is refused, whatever flags are given, loses data or
// gives up what the deployment stands in.
type edit struct {
	name    string
	refused bool
	// make returns nil where there is nothing to change.
	make func(r *rand.Rand, c *config.Config, f file) file
}

// one draws one of some values.
func one[T any](r *rand.Rand, some ...T) T { return some[r.IntN(len(some))] }

// edits are what an update may be about, and what guards refuse.
func edits() []edit {
	type change = func(r *rand.Rand, c *config.Config, f file) file
	own := func(then change) change {
		return func(r *rand.Rand, c *config.Config, f file) file {
			if c.Network.Exists() {
				return nil
			}
			return then(r, c, f)
		}
	}
	days := []int{30, 60, 90, 180, 365}
	accepted := map[string]change{
		"more nodes": func(r *rand.Rand, c *config.Config, f file) file {
			g := c.Compute[r.IntN(len(c.Compute))]
			return f.group(g.Role, map[string]any{"max": g.Max + 1 + r.IntN(2)})
		},
		"other nodes": func(r *rand.Rand, c *config.Config, f file) file {
			return f.group(one(r, config.Core, config.WebAssistant), map[string]any{
				"instanceTypes": []any{one(r, "m7i.2xlarge", "m7i.4xlarge")}, "diskGiB": one(r, 100, 120, 150), "labels": map[string]any{"wave": fmt.Sprint(r.IntN(9))},
			})
		},
		"a group apart": func(r *rand.Rand, c *config.Config, f file) file {
			if len(c.Compute) > 2 {
				return nil
			}
			return f.group(config.WebAssistant, map[string]any{"also": []any{}}).group(config.Interface, map[string]any{"max": 5})
		},
		"GPU nodes": func(r *rand.Rand, c *config.Config, f file) file {
			if slices.ContainsFunc(c.Compute, func(g config.NodeGroup) bool { return g.Role == config.GPU }) {
				groups := slices.DeleteFunc(slices.Clone(f["compute"].([]any)), func(g any) bool { m, _ := g.(map[string]any); return m["role"] == string(config.GPU) })
				if len(groups) == 0 {
					return f.with("compute", nil)
				}
				return f.with("compute", groups)
			}
			return f.group(config.GPU, map[string]any{"instanceTypes": []any{"g6.xlarge"}, "max": 2})
		},
		"NAT": own(func(r *rand.Rand, c *config.Config, f file) file {
			if c.Network.NAT.Mode == config.NATNone {
				return nil
			}
			mode := one(r, config.NATGatewayPerZone, config.NATSingleGateway, config.NATInstancePerZone, config.NATSingleInstance)
			f = f.with("network.nat.mode", string(mode))
			if mode == config.NATGatewayPerZone || mode == config.NATSingleGateway {
				f = f.with("network.nat.instanceType", nil)
			}
			return f
		}),
		"a zone more": own(func(_ *rand.Rand, c *config.Config, f file) file {
			if c.Network.Zones == 3 {
				return nil
			}
			return f.with("network.zones", 3)
		}),
		"class of the database": func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("database.instanceClass", one(r, "db.m7g.large", "db.m7g.xlarge", "db.m7g.2xlarge"))
		},
		"standby of the database": func(_ *rand.Rand, c *config.Config, f file) file {
			return f.with("database.multiAz", !c.Database.MultiAZ)
		},
		"storage of the database": func(_ *rand.Rand, c *config.Config, f file) file {
			return f.with("database.maxStorageGiB", c.Database.MaxStorageGiB+100)
		},
		"version of the database": func(_ *rand.Rand, c *config.Config, f file) file {
			if c.Database.Version != "17" {
				return nil
			}
			return f.with("database.version", "18")
		},
		"backups of the database": func(r *rand.Rand, _ *config.Config, f file) file { return f.with("database.backupDays", 7+r.IntN(29)) },
		"monitoring": func(_ *rand.Rand, c *config.Config, f file) file {
			return f.with("database.monitoringSeconds", 60-c.Database.MonitoringSeconds)
		},
		"backups": func(_ *rand.Rand, c *config.Config, f file) file {
			return f.with("backups.enabled", !c.Backups.Enabled)
		},
		"the time of backups": func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("backups.schedule", fmt.Sprintf("cron(%d 4 * * ? *)", 10*r.IntN(6))).with("backups.enabled", true)
		},
		"a repository more": func(r *rand.Rand, c *config.Config, f file) file {
			return f.with("registry.repositories", append(slices.Clone(c.Registry.Repositories), fmt.Sprintf("extra-%d", r.IntN(1000))))
		},
		"versions of objects": func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("storage.models.noncurrentDays", 30+r.IntN(60))
		},
		"logs of the cluster": func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("cluster.logRetentionDays", one(r, days...))
		},
		"kinds of logs": func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("cluster.logs", one(r, []any{"audit"}, []any{"api", "audit", "authenticator"}))
		},
		"flow logs": own(func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("network.flowLogs.retentionDays", one(r, days...))
		}),
		"endpoints": own(func(r *rand.Rand, c *config.Config, f file) file {
			if c.Network.NAT.Mode == config.NATNone {
				return nil
			}
			return f.with("network.endpoints", one(r, []any{"kms"}, []any{"ecr.api", "ecr.dkr", "logs"}, []any{"ssm", "sts", "secretsmanager"}))
		}),
		"who gets in": func(r *rand.Rand, c *config.Config, f file) file {
			return f.with("access.web.allowCidrs", []any{c.Access.Web.AllowCIDRs[0], fmt.Sprintf("198.51.100.%d/32", r.IntN(256))})
		},
		"entrance of administrators": func(_ *rand.Rand, c *config.Config, f file) file {
			if c.Network.Exists() || c.Network.NAT.Mode == config.NATNone {
				return nil
			}
			if c.Access.Admin.Scheme == config.SchemeInternal {
				return f.with("access.admin.scheme", config.SchemeInternetFacing).with("access.admin.allowCidrs", []any{"203.0.113.7/32"})
			}
			return f.with("access.admin.scheme", config.SchemeInternal)
		},
		"name of the API": func(r *rand.Rand, c *config.Config, f file) file {
			if c.Certificate.ARN != "" { // which is for the names that it was made for
				return nil
			}
			_, domain, _ := strings.Cut(c.Access.API.Host, ".")
			return f.with("access.api.host", one(r, "api.", "ide.")+domain)
		},
		"the client": func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("access.sso.web.clientId", fmt.Sprintf("client-%d", r.IntN(9)))
		},
		"ranges of the API": func(r *rand.Rand, c *config.Config, f file) file {
			return f.with("cluster.publicAccessCidrs", []any{fmt.Sprintf("203.0.113.%d/32", r.IntN(256))})
		},
		"the firewall": func(_ *rand.Rand, c *config.Config, f file) file { return f.with("waf.enabled", !c.WAF.Enabled) },
		"an administrator": func(r *rand.Rand, c *config.Config, f file) file {
			return f.with("cluster.administrators", append(slices.Clone(c.Cluster.Administrators[:2]), fmt.Sprintf("arn:aws:iam::123456789012:role/%s", one(r, "night", "day"))))
		},
		"the boundary": func(r *rand.Rand, _ *config.Config, f file) file {
			return f.with("permissionBoundary", one(r, "arn:aws:iam::123456789012:policy/boundary", "arn:aws:iam::123456789012:policy/wider"))
		},
		"tags": func(r *rand.Rand, _ *config.Config, f file) file { return f.with("tags.team", fmt.Sprint(r.IntN(100))) },
	}
	refused := map[string]change{
		"a repository less": func(_ *rand.Rand, c *config.Config, f file) file {
			return f.with("registry.repositories", c.Registry.Repositories[1:])
		},
		"a zone less": own(func(_ *rand.Rand, c *config.Config, f file) file {
			if c.Network.Zones == 2 {
				return nil
			}
			return f.with("network.zones", 2)
		}),
		"another range": own(func(_ *rand.Rand, _ *config.Config, f file) file { return f.with("network.cidr", "10.96.0.0/16") }),
		"another bucket": func(_ *rand.Rand, _ *config.Config, f file) file {
			return f.with("storage.models.name", "models-elsewhere")
		},
		"range of services": func(_ *rand.Rand, _ *config.Config, f file) file {
			return f.with("cluster.serviceCidr", "172.21.0.0/16")
		},
		"less storage": func(_ *rand.Rand, c *config.Config, f file) file {
			return f.with("database.storageGiB", c.Database.StorageGiB-10)
		},
		"older nodes": func(_ *rand.Rand, _ *config.Config, f file) file { return f.with("cluster.version", "1.34") },
		"another network": func(_ *rand.Rand, c *config.Config, f file) file {
			if !c.Network.Exists() {
				return nil
			}
			return f.with("network.existing.vpcId", "vpc-0aaaaaaaaaaaaaaa0")
		},
		"a subnet less": func(_ *rand.Rand, c *config.Config, f file) file {
			if !c.Network.Exists() {
				return nil
			}
			return f.with("network.existing.privateSubnetIds", c.Network.Existing.PrivateSubnetIDs[:2])
		},
		"no zone": func(_ *rand.Rand, c *config.Config, f file) file {
			if c.DNS.Mode != config.DNSCreateZone {
				return nil
			}
			return f.with("dns.mode", "existing-zone").with("dns.zone", nil).with("dns.zoneId", "Z0123456789ABCDEFGHIJ")
		},
	}
	var all []edit
	for _, name := range slices.Sorted(maps.Keys(accepted)) {
		all = append(all, edit{name, false, accepted[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		all = append(all, edit{name, true, refused[name]})
	}
	return all
}

// explained is a file that gives reasons for all that may differ from the reference.
func (f file) explained() file {
	for _, id := range architecture.DeviationIDs() {
		f = f.with("deviations."+id, "the model wants it so")
	}
	return f
}

// shareOfEdits is which part of the edits is made alone when it is not all of them.
const shareOfEdits = 0.06

// TestEdits makes each edit of each example by itself: what is accepted leaves
// nothing to do, and what is refused leaves everything as it was.
func TestEdits(t *testing.T) {
	var accepted, refused atomic.Int64
	t.Run("of", func(t *testing.T) {
		for _, example := range life.Examples() {
			for _, e := range edits() {
				name := example + "/" + e.name
				if !life.Wanted(name, shareOfEdits) {
					continue
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					life.Bubble(t, time.Time{}, func(t *testing.T) {
						switch made := edited(t, example, e); {
						case made && e.refused:
							refused.Add(1)
						case made:
							accepted.Add(1)
						}
					})
					if t.Failed() {
						t.Log(life.Repeat(t, "deploy/model", name))
					}
				})
			}
		}
	})
	t.Logf("seed %d: %d edits were accepted, and %d refused", life.Seed(), accepted.Load(), refused.Load())
}

// edited makes one edit of a deployment, if the example has something for it.
func edited(t *testing.T, example string, e edit) (made bool) {
	r := rand.New(rand.NewPCG(life.Seed(), 1))
	m := newModel(t, example, r)
	next := m.edited(e)
	if next == nil {
		return false
	}
	m.create(m.is, false, done)
	if e.refused {
		m.refusal(next)
	} else {
		m.update(next, false)
	}
	m.invariants()
	m.end()
	return true
}
