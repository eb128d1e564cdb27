package rehearse

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// Edit is one value that the update changes in the file.
type Edit struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Change derives the update of a rehearsal from a file, of which the
// configuration was read: of evaluation its promotion to production, of
// production a change over several stacks. The result went through the same
// checks as any file.
func Change(name string, src []byte, c *config.Config) (*architecture.Architecture, []Edit, error) {
	var f file
	if err := yaml.UnmarshalWithOptions(src, &f.root, yaml.UseOrderedMap()); err != nil {
		return nil, nil, fmt.Errorf("derive the update: %w", err)
	}
	if c.Profile == config.Evaluation {
		return f.promote(name, c)
	}
	f.grow(c)
	a, err := f.load(name)
	return a, f.edits, err
}

// file is a deployment.yaml that is being edited: its keys in order, without
// comments.
type file struct {
	root  yaml.MapSlice
	edits []Edit
}

func (f *file) load(name string) (*architecture.Architecture, error) {
	src, err := yaml.Marshal(f.root)
	if err != nil {
		return nil, fmt.Errorf("derive the update: %w", err)
	}
	c, err := config.Parse(name, src)
	if err != nil {
		return nil, fmt.Errorf("derive the update: %w", err)
	}
	a, err := architecture.New(c)
	if err != nil {
		return nil, fmt.Errorf("derive the update: %w", err)
	}
	return a, nil
}

// set changes a value at a dotted path; before is what held until now.
func (f *file) set(path string, before, after any) {
	f.root = put(f.root, strings.Split(path, "."), after)
	f.edits = append(f.edits, Edit{path, show(before), show(after)})
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func put(m yaml.MapSlice, path []string, v any) yaml.MapSlice {
	for i := range m {
		if m[i].Key == path[0] {
			m[i].Value = within(m[i].Value, path[1:], v)
			return m
		}
	}
	return append(m, yaml.MapItem{Key: path[0], Value: within(nil, path[1:], v)})
}

func within(old any, path []string, v any) any {
	if len(path) == 0 {
		return v
	}
	m, _ := old.(yaml.MapSlice)
	return put(m, path, v)
}

// group is a node group's entry in compute, which is made if need be.
func (f *file) group(role config.Role, values yaml.MapSlice) {
	var list []any
	for _, item := range f.root {
		if item.Key == "compute" {
			list, _ = item.Value.([]any)
		}
	}
	for i, entry := range list {
		m, _ := entry.(yaml.MapSlice)
		if slices.ContainsFunc(m, func(item yaml.MapItem) bool { return item.Key == "role" && item.Value == string(role) }) {
			for _, v := range values {
				m = put(m, []string{fmt.Sprint(v.Key)}, v.Value)
			}
			list[i] = m
			f.root = put(f.root, []string{"compute"}, list)
			return
		}
	}
	list = append(list, append(yaml.MapSlice{{Key: "role", Value: string(role)}}, values...))
	f.root = put(f.root, []string{"compute"}, list)
}

// reason stands for the one that the user would give.
const reason = "no reason yet: this is a rehearsal"

// promote makes an evaluation a production: the profile, a second
// administrator, the zones as they are, and reasons for what still differs
// from the reference.
func (f *file) promote(name string, c *config.Config) (*architecture.Architecture, []Edit, error) {
	f.set("profile", c.Profile, config.Production)
	f.set("network.zones", nil, c.Network.Zones)
	f.edits[len(f.edits)-1].Before = show(c.Network.Zones)
	if n := len(c.Cluster.Administrators); n < 2 {
		list := slices.Clone(c.Cluster.Administrators)
		for i := n; i < 2; i++ {
			list = append(list, fmt.Sprintf("arn:%s:iam::%s:role/rehearsal-%d", c.Partition(), ownAccount(c), i))
		}
		f.set("cluster.administrators", c.Cluster.Administrators, list)
	}
	a, err := f.load(name)
	var faults config.Faults
	if errors.As(err, &faults) {
		// What the file still has of its own may differ from the reference.
		// Reasons for what doesn't are no fault.
		all := &file{root: slices.Clone(f.root)}
		for _, id := range architecture.DeviationIDs() {
			if c.Deviations[id] == "" {
				all.set("deviations."+id, "", reason)
			}
		}
		if a, err = all.load(name); err == nil {
			for _, d := range a.Deviations {
				if c.Deviations[d.ID] == "" {
					f.edits = append(f.edits, Edit{"deviations." + d.ID, show(""), show(reason)})
				}
			}
		}
	}
	return a, f.edits, err
}

// ownAccount is the account that a configuration names, or the sandbox's own.
func ownAccount(c *config.Config) string {
	for _, arn := range arns(c) {
		if id := accountOf(arn); id != "" {
			return id
		}
	}
	return defaultAccount
}

// grow changes what a production changes in its life, in several stacks: more
// storage and nodes, longer retention, another range and repository.
func (f *file) grow(c *config.Config) {
	repositories := append(slices.Clone(c.Registry.Repositories), "rehearsal")
	f.set("registry.repositories", c.Registry.Repositories, repositories)

	size := c.Database.StorageGiB + c.Database.StorageGiB/4 + 1
	f.set("database.storageGiB", c.Database.StorageGiB, size)
	if most := size + size/5; c.Database.MaxStorageGiB < most {
		f.set("database.maxStorageGiB", c.Database.MaxStorageGiB, most)
	}

	web := append(slices.Clone(c.Access.Web.AllowCIDRs), "192.0.2.0/24")
	f.set("access.web.allowCidrs", c.Access.Web.AllowCIDRs, web)

	f.set("cluster.logRetentionDays", c.Cluster.LogRetentionDays, longer(c.Cluster.LogRetentionDays))
	if c.Network.FlowLogs.Enabled {
		f.set("network.flowLogs.retentionDays", c.Network.FlowLogs.RetentionDays, longer(c.Network.FlowLogs.RetentionDays))
	}
	if c.Backups.Enabled {
		f.set("backups.retentionDays", c.Backups.RetentionDays, c.Backups.RetentionDays+7)
	}
	if c.WAF.Enabled && c.WAF.RateLimit > 0 {
		f.set("waf.rateLimit", c.WAF.RateLimit, c.WAF.RateLimit*2)
	}
	for i := range c.Compute {
		g := &c.Compute[i]
		if g.Role != config.Core {
			continue
		}
		low, high := g.Desired+1, max(g.Max, g.Desired+1)
		f.group(g.Role, yaml.MapSlice{{Key: "min", Value: low}, {Key: "desired", Value: low}, {Key: "max", Value: high}})
		f.edits = append(f.edits, Edit{"compute[core].min", show(g.Min), show(low)}, Edit{"compute[core].desired", show(g.Desired), show(low)})
		if high != g.Max {
			f.edits = append(f.edits, Edit{"compute[core].max", show(g.Max), show(high)})
		}
	}
}

// longer is the next retention that CloudWatch Logs takes.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
func longer(days int) int {
	for _, d := range []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653} {
		if d > days {
			return d
		}
	}
	return days
}
