package templates

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/sns"
	"github.com/poolhouse/poolhouse/config"
)

// variants are architectures that have every part between them.
func variants(t *testing.T) map[string]*architecture.Architecture {
	t.Helper()
	return map[string]*architecture.Architecture{
		"production":     planned(t, withGPU(config.NodeGroup{Max: 1})),
		"self-managed":   planned(t, natMode(config.NATInstancePerZone)),
		"minimal egress": planned(t, natMode(config.NATNone), internalWeb("10.0.0.0/8"), func(c *config.Config) { c.Deviations[architecture.NoNAT] = "nothing leaves" }),
		"boundary":       planned(t, func(c *config.Config) { c.PermissionBoundary = "arn:aws:iam::123456789012:policy/boundary" }),
	}
}

// wide is a statement that allows much: a pattern for all actions of a service,
// all resources, or everybody. Each has its reason.
var wide = []struct {
	stack, resource, sid string // patterns of package path
	why                  string
}{
	{"keys", "*Key", "Account", "the account root's statement, without which IAM policies can't grant the key; * is the key"},
	{"keys", "VolumesKey", "AutoScaling*", "* is the key"},
	{"keys", "LogsKey", "*", "* is the key"},
	{"endpoints", "S3Endpoint", "OwnBuckets", "any bucket of this account, by its own principals"},
	{"endpoints", "S3Endpoint", "AwsContent", "URLs that ECR signs have no principal of ours; AWS's own buckets only"},
	{"endpoints", "*Endpoint", "OwnAccount", "what principals of this account may do is for their policies"},
	{"endpoints", "StsEndpoint", "ServiceAccounts", "callers have no principal yet; roles of this account only"},
	{"identity", "*", "*", "actions that AWS can't scope, held by TestPoliciesAreScoped"},
	{"cluster", "*", "*", "actions that AWS can't scope, held by TestPoliciesAreScoped"},
}

// TestPoliciesAreNarrow looks at every policy in every template.
func TestPoliciesAreNarrow(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	count := 0
	var walk func(v any, f func(object))
	walk = func(v any, f func(object)) {
		switch x := v.(type) {
		case object:
			if _, ok := x["Statement"]; ok {
				list, _ := x["Statement"].([]any)
				for _, s := range list {
					f(s.(object))
				}
			}
			for _, item := range x {
				walk(item, f)
			}
		case []any:
			for _, item := range x {
				walk(item, f)
			}
		}
	}
	for name, a := range variants(t) {
		stacks, err := All(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stacks {
			for id, r := range parsed(t, s.Body).Resources {
				walk(any(r.Properties), func(st object) {
					count++
					if st["Effect"] != "Allow" {
						return
					}
					sid := text(st["Sid"])
					reason := ""
					for _, action := range texts(st["Action"]) {
						if action == "*" || strings.HasSuffix(action, ":*") {
							reason = "action " + action
						}
					}
					if slices.Contains(texts(st["Resource"]), "*") {
						reason = "resource *"
					}
					if st["Principal"] == "*" || text(at(st, "Principal", "AWS")) == "*" {
						reason = "principal *"
					}
					if reason == "" {
						return
					}
					for i, w := range wide {
						if match(t, w.stack, string(s.Name)) && match(t, w.resource, id) && match(t, w.sid, sid) {
							seen[i] = true
							return
						}
					}
					t.Errorf("%s: %s of %s, statement %q, has %s without a reason in the table", name, id, s.Name, sid, reason)
				})
			}
		}
	}
	if count < 50 {
		t.Errorf("%d statements: the test looks at nothing", count)
	}
	for i, w := range wide {
		if !seen[i] {
			t.Errorf("nothing needs the reason %q for %s %s", w.why, w.stack, w.resource)
		}
	}
}

func match(t *testing.T, pattern, s string) bool {
	t.Helper()
	ok, err := path.Match(pattern, s)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestPermissionBoundaryReachesEveryRole looks at every role in every template.
func TestPermissionBoundaryReachesEveryRole(t *testing.T) {
	t.Parallel()
	a := planned(t, natMode(config.NATInstancePerZone), func(c *config.Config) { c.PermissionBoundary = "arn:aws:iam::123456789012:policy/boundary" })
	everyRole(t, a, func(stack architecture.StackName, id string, role object) {
		if role["PermissionsBoundary"] != "arn:aws:iam::123456789012:policy/boundary" {
			t.Errorf("%s of %s has the boundary %v", id, stack, role["PermissionsBoundary"])
		}
		if name := text(role["RoleName"]); len(name) > 64 {
			t.Errorf("%s of %s has a name of %d characters", id, stack, len(name))
		}
	})
}

// TestNames holds that what has a Name tag elsewhere in AWS has one here.
func TestNames(t *testing.T) {
	t.Parallel()
	nameless := map[string]string{
		"AWS::ECR::Repository": "has a name of its own, and there are many",
	}
	for variant, a := range variants(t) {
		for _, name := range []architecture.StackName{architecture.Keys, architecture.DNS, architecture.Storage, architecture.Network, architecture.Endpoints, architecture.Certificate} {
			if !a.Has(name) {
				continue
			}
			s, _ := a.Stack(name)
			out, err := build(a, s)
			if err != nil {
				t.Fatal(err)
			}
			d := parsed(t, out.Body)
			for _, r := range out.Template.Resources() {
				if !taggable(r.Type) || nameless[r.Type] != "" {
					continue
				}
				tags := d.Resources[string(r.ID)].Properties["Tags"]
				if r.Type == "AWS::Route53::HostedZone" {
					tags = d.Resources[string(r.ID)].Properties["HostedZoneTags"]
				}
				if text(at(tags, 0, "Key")) != "Name" || !strings.HasPrefix(text(at(tags, 0, "Value")), "poolside-") {
					if r.Type == "AWS::IAM::Role" {
						continue // has a name of its own
					}
					t.Errorf("%s: %s of %s has no name: %v", variant, r.ID, name, tags)
				}
			}
		}
	}
}

// taggable says whether a type takes stack tags.
func taggable(typ string) bool {
	switch typ {
	case "AWS::EC2::LaunchTemplate", "AWS::IAM::InstanceProfile", "AWS::KMS::Alias", "AWS::S3::BucketPolicy",
		"AWS::EC2::EIPAssociation", "AWS::EC2::NetworkAclEntry", "AWS::EC2::Route", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
		"AWS::EC2::SubnetNetworkAclAssociation", "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCGatewayAttachment":
		return false
	}
	return true
}

// TestExplicitTags looks at what CloudFormation hands no stack tags to.
func TestExplicitTags(t *testing.T) {
	t.Parallel()
	few := func(c *config.Config) { c.Tags = map[string]string{"owner": "platform"} }
	many := func(c *config.Config) {
		c.Tags = map[string]string{}
		for i := range 40 {
			c.Tags[fmt.Sprintf("tag-%02d", i)] = strings.Repeat("v", i)
		}
	}
	for name, change := range map[string]func(*config.Config){"few": few, "many": many} {
		a := planned(t, natMode(config.NATInstancePerZone), withGPU(config.NodeGroup{Max: 1}), change)
		stacks, err := All(a)
		if err != nil {
			t.Fatal(err)
		}
		looked := 0
		for _, s := range stacks {
			d := parsed(t, s.Body)
			resolved := func(v any) string {
				got := text(v)
				if p, ok := d.Parameters[strings.Trim(got, "${}")]; ok && strings.HasPrefix(got, "${") {
					return text(p["Default"])
				}
				return got
			}
			check := func(what string, list any, full bool) {
				looked++
				got := map[string]string{}
				items, _ := list.([]any)
				for _, tag := range items {
					got[resolved(at(tag, "Key"))] = resolved(at(tag, "Value"))
				}
				if got["Name"] == "" || got[architecture.DeploymentTag] != "poolside" {
					t.Errorf("%s: %s of %s has the tags %v", name, what, s.Name, got)
				}
				for key, value := range a.Tags {
					if full && got[key] != value {
						t.Errorf("%s: %s of %s has the tag %s = %q, want %q", name, what, s.Name, key, got[key], value)
					}
				}
			}
			for _, id := range d.ofType("AWS::AutoScaling::AutoScalingGroup") {
				check(id, d.Resources[id].Properties["Tags"], name == "few")
			}
			for _, id := range d.ofType("AWS::EC2::LaunchTemplate") {
				p := d.Resources[id].Properties
				check(id, at(p, "TagSpecifications", 0, "Tags"), name == "few")
				specs, _ := at(p, "LaunchTemplateData", "TagSpecifications").([]any)
				volume := false
				for _, spec := range specs {
					kind := text(at(spec, "ResourceType"))
					volume = volume || kind == "volume"
					check(id+" "+kind, at(spec, "Tags"), name == "few" || kind == "instance" || kind == "volume")
				}
				if !volume {
					t.Errorf("volumes of %s have no tags", id)
				}
			}
		}
		if looked < 20 {
			t.Errorf("%d sets of tags: the test looks at nothing", looked)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	topic := func(input func(*cfn.Template) cfn.Value[string]) *cfn.Template {
		tmpl := cfn.New("test")
		tmpl.Add("Topic", sns.Topic{DisplayName: input(tmpl)})
		return tmpl
	}
	provider := topic(func(*cfn.Template) cfn.Value[string] { return cfn.V("name") })
	provider.Output("Name", cfn.V("name"))
	for _, tc := range []struct {
		name          string
		stack, output string
		after         []architecture.StackName
		want          string
	}{
		{"fits", "keys", "Name", []architecture.StackName{architecture.Keys}, ""},
		{"fits over another stack", "keys", "Name", []architecture.StackName{architecture.Network}, ""},
		{"not before", "keys", "Name", nil, "does not come before"},
		{"no output", "keys", "Nmae", []architecture.StackName{architecture.Keys}, "no output of keys"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			consumer := topic(func(tmpl *cfn.Template) cfn.Value[string] { return tmpl.Input(tc.stack, tc.output) })
			errs := check([]Stack{
				{Name: architecture.Keys, Template: provider, Outputs: provider.Outputs()},
				{Name: architecture.Network, After: []architecture.StackName{architecture.Keys}},
				{Name: architecture.Cluster, After: tc.after, Template: consumer, Inputs: consumer.Inputs()},
			})
			switch {
			case tc.want == "" && len(errs) > 0:
				t.Errorf("got %v", errs)
			case tc.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tc.want)):
				t.Errorf("got %v, want one that says %q", errs, tc.want)
			}
		})
	}
}

func TestAllReportsEveryFault(t *testing.T) {
	t.Parallel()
	a := planned(t)
	a.Stacks = append(a.Stacks, architecture.Stack{Name: "other"}, architecture.Stack{Name: "another"})
	_, err := All(a)
	if err == nil {
		t.Fatal("stacks without a template pass")
	}
	for _, want := range []string{"template other: not modelled", "template another: not modelled"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestStack(t *testing.T) {
	t.Parallel()
	stacks, err := All(planned(t))
	if err != nil {
		t.Fatal(err)
	}
	again, err := All(planned(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range stacks {
		if string(s.Body) != string(again[i].Body) {
			t.Errorf("%s has other bytes the second time", s.Name)
		}
		for _, p := range s.Parameters {
			d := parsed(t, s.Body).Parameters[p.Name]
			if value, ok := d["Default"]; ok != p.HasDefault || ok && value != p.Default {
				t.Errorf("%s: %+v, and the template says %v", s.Name, p, d)
			}
			if p.Name == ProtectionParameter && p.Default != "false" {
				t.Errorf("%s is protected while it is made", s.Name)
			}
		}
	}
	network := stacks[slices.IndexFunc(stacks, func(s Stack) bool { return s.Name == architecture.Network })]
	var names []string
	for _, p := range network.Parameters {
		names = append(names, p.Name)
	}
	if want := []string{"ZoneId1", "ZoneId2", "ZoneId3"}; !slices.Equal(names, want) || network.StackName != "poolside-network" {
		t.Errorf("%s has the parameters %v, want %v", network.StackName, names, want)
	}
}
