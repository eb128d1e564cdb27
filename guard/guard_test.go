package guard_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// file is an example with texts replaced, as architecture.
func file(t *testing.T, name string, pairs ...string) *architecture.Architecture {
	t.Helper()
	path := filepath.Join("..", "examples", name+".yaml")
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i+1 < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is not in %s", pairs[i], name)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	c, err := config.Parse(path, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return architectureOf(t, c)
}

func architectureOf(t *testing.T, c *config.Config) *architecture.Architecture {
	t.Helper()
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// changed is an architecture after a change of its configuration.
func changed(t *testing.T, a *architecture.Architecture, change func(*config.Config)) *architecture.Architecture {
	t.Helper()
	c := *a.Config
	change(&c)
	return architectureOf(t, &c)
}

const caller = "arn:aws:iam::123456789012:role/creator"

func stacks(t *testing.T, a *architecture.Architecture) map[architecture.StackName]guard.Stack {
	t.Helper()
	all, err := templates.All(a)
	if err != nil {
		t.Fatal(err)
	}
	m := map[architecture.StackName]guard.Stack{}
	for _, s := range all {
		m[s.Name] = guard.Stack{Name: s.StackName, Body: s.Body, Parameters: map[string]string{templates.CallerParameter: caller}}
	}
	return m
}

func between(t *testing.T, before, after *architecture.Architecture) guard.Case {
	t.Helper()
	return guard.Case{Config: after.Config, Before: stacks(t, before), After: stacks(t, after), Caller: caller}
}

// brief is refusals as path, flag and resource.
func brief(all []guard.Refusal) []string {
	var out []string
	for _, r := range (guard.Allowed{}).Left(all) {
		out = append(out, strings.TrimSpace(r.Path+" "+string(r.Flag)))
	}
	slices.Sort(out)
	return out
}

func TestGuardsOfPlans(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		example string
		change  func(*config.Config)
		want    []string
	}{
		"nothing": {"production", func(*config.Config) {}, nil},
		"what protects as much": {"production", func(c *config.Config) {
			c.Database.StorageGiB += 100
			c.Storage.Audit.ObjectLock.Days *= 2
			c.Storage.Telemetry.ExpireDays *= 2
			c.Backups.RetentionDays++
			c.Network.Endpoints = nil
		}, nil},
		"a repository":             {"production", func(c *config.Config) { c.Registry.Repositories = c.Registry.Repositories[1:] }, []string{"registry.repositories allow-replace"}},
		"a bucket of another name": {"production", func(c *config.Config) { c.Storage.CodeDocs.Name = "another-name" }, []string{"storage.codeDocs.name allow-replace"}},
		"the network's range":      {"production", func(c *config.Config) { c.Network.CIDR = "10.90.0.0/16" }, []string{"network.cidr"}},
		"subnets":                  {"production", func(c *config.Config) { c.Network.Subnets.Private = 22 }, []string{"network.subnets.private"}},
		"the services' range":      {"production", func(c *config.Config) { c.Cluster.ServiceCIDR = "172.21.0.0/16" }, []string{"cluster.serviceCidr"}},
		"deletion protection":      {"production", func(c *config.Config) { c.Database.DeletionProtection = false }, []string{"database.deletionProtection allow-lower"}},
		"the standby": {"production", func(c *config.Config) {
			c.Database.MultiAZ = false
			c.Deviations = map[string]string{architecture.SingleAZDatabase: "nobody works at night"}
		}, []string{"database.multiAz allow-lower"}},
		"backups of the database": {"production", func(c *config.Config) { c.Database.BackupDays-- }, []string{"database.backupDays allow-lower"}},
		"recovery points":         {"production", func(c *config.Config) { c.Backups.RetentionDays-- }, []string{"backups.retentionDays allow-lower"}},
		"all backups":             {"production", func(c *config.Config) { c.Backups.Enabled = false }, []string{"backups.enabled allow-lower"}},
		"the firewall":            {"production", func(c *config.Config) { c.WAF.Enabled = false }, []string{"waf.enabled allow-lower"}},
		"object lock": {"production", func(c *config.Config) {
			c.Storage.Audit.ObjectLock = config.ObjectLock{Mode: config.LockOff}
		}, []string{"storage.audit.objectLock.days allow-lower", "storage.audit.objectLock.mode allow-lower"}},
		"expiry": {"production", func(c *config.Config) {
			c.Storage.Audit.ExpireDays = 3000
			c.Storage.Models.NoncurrentDays--
		}, []string{"storage.audit.expireDays allow-lower", "storage.models.noncurrentDays allow-lower"}},
		"Kubernetes alone":     {"production", func(c *config.Config) { c.Cluster.Version = "1.36" }, nil},
		"two versions at once": {"production", func(c *config.Config) { c.Cluster.Version = "1.37" }, []string{"cluster.version"}},
		"back":                 {"production", func(c *config.Config) { c.Cluster.Version = "1.34" }, []string{"cluster.version"}},
		"Kubernetes and its add-ons": {"production", func(c *config.Config) {
			c.Cluster.Version = "1.36"
			c.Cluster.AddonVersions = map[string]string{"coredns": "v1.13.1-eksbuild.1"}
		}, nil},
		"Kubernetes and logs": {"production", func(c *config.Config) {
			c.Cluster.Version = "1.36"
			c.Cluster.LogRetentionDays = 400
		}, []string{"cluster.version allow-mixed"}},
		"PostgreSQL alone":       {"production", func(c *config.Config) { c.Database.Version = "18" }, nil},
		"PostgreSQL's minor":     {"production", func(c *config.Config) { c.Database.Version, c.Database.StorageGiB = "17.6", 300 }, nil},
		"PostgreSQL back":        {"production", func(c *config.Config) { c.Database.Version = "16" }, []string{"database.version"}},
		"PostgreSQL and storage": {"production", func(c *config.Config) { c.Database.Version, c.Database.StorageGiB = "18", 300 }, []string{"database.version allow-mixed"}},
		"both versions": {
			"production", func(c *config.Config) { c.Database.Version, c.Cluster.Version = "18", "1.36" },
			[]string{"cluster.version allow-mixed", "database.version allow-mixed"},
		},
		"other administrators beside the caller": {"production", func(c *config.Config) {
			c.Cluster.Administrators = []string{"arn:aws:iam::123456789012:role/a", "arn:aws:iam::123456789012:role/b"}
		}, nil},
		"everything at once": {"production", func(c *config.Config) {
			c.Cluster.Version = "1.37"
			c.Database.BackupDays = 1
			c.Network.Subnets.Private = 22
			c.Registry.Repositories = c.Registry.Repositories[1:]
		}, []string{"cluster.version", "cluster.version allow-mixed", "database.backupDays allow-lower", "network.subnets.private", "registry.repositories allow-replace"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := file(t, tc.example)
			c := between(t, before, changed(t, before, tc.change))
			all := guard.Judge(c)
			if diff := cmp.Diff(tc.want, brief(all)); diff != "" {
				t.Errorf("refusals (-want +got):\n%s\n%v", diff, all)
			}
			for _, r := range all {
				if r.Fix == "" || r.Reason == "" || r.Line == 0 {
					t.Errorf("a refusal without place, reason or next step: %+v", r)
				}
			}
			if again := guard.Judge(c); !cmp.Equal(brief(all), brief(again)) {
				t.Errorf("judged again, it differs: %v", again)
			}
		})
	}
}

// TestLowerProfileIsRefused names everything that a production turned into an
// evaluation gives up, and the other way round nothing.
func TestLowerProfileIsRefused(t *testing.T) {
	t.Parallel()
	high := file(t, "production")
	low := file(t, "production", "profile: production", "profile: evaluation", "network:\n", "network:\n  zones: 3\n")
	low = changed(t, low, func(c *config.Config) {
		c.Database.StorageGiB, c.Database.MaxStorageGiB = high.Config.Database.StorageGiB, high.Config.Database.MaxStorageGiB
	})
	for _, r := range guard.Judge(between(t, low, high)) {
		t.Errorf("the promotion is refused: %s", r)
	}
	got := brief(guard.Judge(between(t, high, low)))
	for _, want := range []string{"profile", "database.deletionProtection", "database.multiAz", "database.backupDays", "waf.enabled", "backups.enabled", "storage.audit.objectLock.mode"} {
		if !slices.Contains(got, want+" allow-lower") {
			t.Errorf("%s is not refused: %v", want, got)
		}
	}
	if left := (guard.Allowed{guard.Lower: true}).Left(guard.Judge(between(t, high, low))); len(left) != 0 {
		t.Errorf("with the flag, it is still refused: %v", left)
	}
}

// TestL12RaisedOutside: what runs counts, not what was deployed.
func TestL12RaisedOutside(t *testing.T) {
	t.Parallel()
	before := file(t, "production")
	c := between(t, before, changed(t, before, func(c *config.Config) {
		c.Cluster.Version = "1.37"
		c.Cluster.LogRetentionDays = 400
	}))
	c.Running = "1.37"
	if !guard.Upgrades(c) {
		t.Error("it is not an upgrade of the template")
	}
	if got := guard.Judge(c); got != nil {
		t.Errorf("what runs already is refused: %v", got)
	}
}

// TestL12StorageDoesNotShrink: neither below what was asked for nor below what it
// has grown to by itself.
func TestL12StorageDoesNotShrink(t *testing.T) {
	t.Parallel()
	before := file(t, "production")
	was := before.Config.Database.StorageGiB
	for name, c := range map[string]struct {
		is, grown int
		refused   bool
	}{
		"less": {was - 10, 0, true}, "the same": {was, was + 500, false}, "more": {was + 50, 0, false},
		"less than it has grown to": {was + 50, was + 100, true}, "what it has grown to": {was + 100, was + 100, false},
	} {
		after := changed(t, before, func(cfg *config.Config) { cfg.Database.StorageGiB = c.is })
		between := between(t, before, after)
		between.StorageGiB = c.grown
		if got := guard.Resizes(between); got != (c.is != was) {
			t.Errorf("%s: changes the storage: %v", name, got)
		}
		got := brief(guard.Judge(between))
		if refused := slices.Contains(got, "database.storageGiB"); refused != c.refused {
			t.Errorf("%s: refused: %v (%v), want %v", name, refused, got, c.refused)
		}
	}
}

func TestL19LastAdministratorStays(t *testing.T) {
	t.Parallel()
	const a, b = "arn:aws:iam::123456789012:role/a", "arn:aws:iam::123456789012:role/b"
	base := file(t, "evaluation")
	having := func(principals ...string) *architecture.Architecture {
		return changed(t, base, func(c *config.Config) { c.Cluster.Administrators = principals })
	}
	for name, tc := range map[string]struct {
		before, after *architecture.Architecture
		creator, runs string
		want          string
	}{
		"the creator stays":              {having(a), having(b), caller, caller, ""},
		"nobody is left":                 {having(a), having(b), templates.NoCaller, a, "takes away everybody who administers the cluster now: " + a},
		"one is left":                    {having(a, b), having(b), templates.NoCaller, b, ""},
		"who runs it is locked out":      {having(a, b), having(b), templates.NoCaller, a, "takes away the access of " + a},
		"who runs it never had any":      {having(a, b), having(b), templates.NoCaller, caller, ""},
		"the creator comes to be listed": {having(), having(caller), caller, caller, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := between(t, tc.before, tc.after)
			c.Caller = tc.runs
			for _, m := range []map[architecture.StackName]guard.Stack{c.Before, c.After} {
				s := m[architecture.Cluster]
				s.Parameters = map[string]string{templates.CallerParameter: tc.creator}
				m[architecture.Cluster] = s
			}
			got := guard.Judge(c)
			if tc.want == "" && len(got) != 0 || tc.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0].Reason, tc.want) || got[0].Flag != "") {
				t.Errorf("got %v, want %q", got, tc.want)
			}
		})
	}
}

func TestL19OnlyWhoCanHaveAnEntryCreates(t *testing.T) {
	t.Parallel()
	a := file(t, "evaluation")
	for caller, refused := range map[string]bool{
		"arn:aws:iam::123456789012:role/x": false, "arn:aws:iam::123456789012:user/x": false,
		"arn:aws:iam::123456789012:root": true, "arn:aws:sts::123456789012:federated-user/x": true,
	} {
		got := guard.Judge(guard.Case{Config: a.Config, After: stacks(t, a), Caller: caller})
		if refused != (len(got) == 1 && got[0].Path == "cluster.administrators" && strings.Contains(got[0].Reason, caller)) || !refused && got != nil {
			t.Errorf("%s: %v", caller, got)
		}
	}
}

func TestChangesThatLoseData(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		change stack.Change
		want   string
	}{
		{stack.Change{LogicalID: "K", Type: "AWS::KMS::Key", Action: stack.Modify}, ""},
		{stack.Change{LogicalID: "K", Type: "AWS::KMS::Key", Action: stack.Add}, ""},
		{stack.Change{LogicalID: "L", Type: "AWS::Logs::LogGroup", Action: stack.Remove}, ""},
		{stack.Change{LogicalID: "K", Type: "AWS::KMS::Key", Action: stack.Replace}, "stack s: the update would lose data: replace K (AWS::KMS::Key)"},
		{stack.Change{LogicalID: "D", Type: "AWS::RDS::DBInstance", Action: stack.MayReplace}, "stack s: the update may lose data: replace D (AWS::RDS::DBInstance)"},
		{stack.Change{LogicalID: "D", Type: "AWS::RDS::DBInstance", Action: stack.MayReplace, Properties: []stack.Property{
			{Path: "MultiAZ", Recreates: "Conditionally"}, {Path: "AvailabilityZone", Before: "a", Recreates: "Conditionally"}, {Path: "DBInstanceClass", Recreates: "Never"},
		}}, ""},
		{stack.Change{LogicalID: "D", Type: "AWS::RDS::DBInstance", Action: stack.MayReplace, Properties: []stack.Property{
			{Path: "MultiAZ", Recreates: "Conditionally"}, {Path: "AvailabilityZone", Before: "a", After: "b", Recreates: "Conditionally"},
		}}, "stack s: the update may lose data: replace D (AWS::RDS::DBInstance)"},
		{
			stack.Change{LogicalID: "D", Type: "AWS::RDS::DBInstance", Action: stack.MayReplace, Properties: []stack.Property{{Path: "KmsKeyId", Recreates: "Always"}}},
			"stack s: the update may lose data: replace D (AWS::RDS::DBInstance)",
		},
		{
			stack.Change{LogicalID: "K", Type: "AWS::KMS::Key", Action: stack.MayReplace, Properties: []stack.Property{{Path: "MultiAZ", Recreates: "Conditionally"}}},
			"stack s: the update may lose data: replace K (AWS::KMS::Key)",
		},
		{stack.Change{LogicalID: "L", Type: "AWS::Logs::LogGroup", Action: stack.MayReplace}, ""},
		{stack.Change{LogicalID: "K", Type: "AWS::KMS::Key", Action: stack.Sync}, ""},
		{stack.Change{LogicalID: "K", Type: "AWS::KMS::Key", Action: stack.Add, Drift: true}, "stack s: the update would lose data: re-create K (AWS::KMS::Key), which somebody deleted"},
	} {
		got := ""
		for _, r := range guard.Lost("s", []stack.Change{tc.change}) {
			got = r.String()
		}
		if got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.change, got, tc.want)
		}
	}
}

// TestNamesThatStayLoseNothing: what takes the ARN of a role that is only modified
// keeps it, and what takes that of one that is replaced may not.
func TestNamesThatStayLoseNothing(t *testing.T) {
	t.Parallel()
	cluster := stack.Change{LogicalID: "Cluster", Type: "AWS::EKS::Cluster", Action: stack.MayReplace, Properties: []stack.Property{{Path: "RoleArn", Recreates: "Always", From: "Role.Arn"}}}
	for action, want := range map[stack.Action]bool{stack.Modify: false, stack.Replace: true, stack.MayReplace: true} {
		role := stack.Change{LogicalID: "Role", Type: "AWS::IAM::Role", Action: action}
		if got := guard.Loses(cluster, []stack.Change{role, cluster}); got != want {
			t.Errorf("with a role to %s: loses %v, want %v", action, got, want)
		}
	}
	if !guard.Loses(cluster, []stack.Change{cluster}) {
		t.Error("without a word about the role: loses nothing")
	}
}

// TestResumedPlansAreJudgedAlike: after a run was killed between any two stacks,
// what is left is refused for nothing new, and what is not refused at the start
// is never refused half-way.
func TestResumedPlansAreJudgedAlike(t *testing.T) {
	t.Parallel()
	high := file(t, "production")
	for name, change := range map[string]func(*config.Config){
		"Kubernetes alone": func(c *config.Config) { c.Cluster.Version = "1.36" },
		"PostgreSQL alone": func(c *config.Config) { c.Database.Version = "18" },
		"lower and mixed": func(c *config.Config) {
			c.Cluster.Version = "1.36"
			c.Database.BackupDays = 1
			c.WAF.Enabled = false
			c.Registry.Repositories = c.Registry.Repositories[1:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := changed(t, high, change)
			c := between(t, high, next)
			start := brief(guard.Judge(c))
			for _, s := range next.Stacks {
				c.Before[s.Name] = c.After[s.Name]
				for _, r := range brief(guard.Judge(c)) {
					if !slices.Contains(start, r) {
						t.Errorf("after stack %s, %s is refused, and was not at the start: %v", s.Name, r, start)
					}
				}
			}
			if left := guard.Judge(c); left != nil {
				t.Errorf("what is done is refused: %v", left)
			}
		})
	}
}
