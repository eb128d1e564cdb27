package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/config"
)

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("deployment.yaml", []byte(`apiVersion: poolhouse/v1
name: Pool
region: us-east-1
profile: production
network:
  cidr: 10.0.0.0/16
  zones: "4"
  zoens: 3
cluster:
  serviceCidr: 10.0.0.0/16
  publicAccessCidrs: [0.0.0.0/0]
  publicAccessCidrs: []
compute:
  - role: core
    min: 7
  - role: gpus
access:
  web: {host: poolside.example.com}
  sso: {enabled: false}
`))
	var got []string
	for _, f := range faults(t, err) {
		got = append(got, fmt.Sprintf("%d %s", f.Line, f.Path))
	}
	want := []string{
		"1 dns.mode",
		"2 name",
		"7 network.zones",
		"8 network.zoens",
		"9 cluster.administrators",
		"10 cluster.serviceCidr",
		"11 cluster.publicAccessCidrs[0]",
		"12 cluster.publicAccessCidrs",
		"15 compute[core].min",
		"16 compute[1].role",
		"17 access.admin.host",
		"17 access.api.host",
		"18 access.web.allowCidrs",
		"19 access.sso.enabled",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s\n%v", diff, err)
	}
}

func TestFaultsPrintOneLineAndAFix(t *testing.T) {
	t.Parallel()
	fs := config.Faults{
		{File: "b.yaml", Line: 3, Column: 5, Path: "name", Reason: "is missing", Fix: "write one"},
		{File: "a.yaml", Line: 12, Column: 1, Path: "region", Reason: "is empty", Fix: "write one"},
		{File: "a.yaml", Reason: "is empty", Fix: "write it"},
		{File: "a.yaml", Line: 2, Column: 1, Path: "region", Reason: "is empty", Fix: "write one"},
		{File: "a.yaml", Line: 2, Column: 1, Path: "region", Reason: "is empty", Fix: "write one"},
	}
	want := `a.yaml: is empty
  fix: write it
a.yaml:2:1: region: is empty
  fix: write one
a.yaml:12:1: region: is empty
  fix: write one
b.yaml:3:5: name: is missing
  fix: write one`
	if diff := cmp.Diff(want, fs.Err().Error()); diff != "" {
		t.Error(diff)
	}
	if err := (config.Faults{}).Err(); err != nil {
		t.Errorf("no faults are the error %v", err)
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	c := parse(t, example(t, "gpu-inference.yaml"))
	line := func(text string) int {
		before, _, ok := strings.Cut(example(t, "gpu-inference.yaml"), text)
		if !ok {
			t.Fatalf("%q is not in the example", text)
		}
		return strings.Count(before, "\n") + 1
	}
	for _, p := range []struct {
		path   string
		line   int
		column int
	}{
		{"", 1, 1},
		{"name", line("name:"), 1},
		{"network.cidr", line("cidr:"), 3},
		{"network.zones", line("network:"), 1},
		{"compute[gpu].max", line("max:"), 5},
		{"compute[gpu].reservation.id", line("reservation:"), 19},
		{"compute[gpu].min", line("- role: gpu"), 5},
		{"compute[3].max", line("max:"), 5},
		{"compute[core].min", line("compute:"), 1},
		{"compute[0].min", line("compute:"), 1},
		{"cluster.administrators[1]", line("role/emergency"), 7},
		{"cluster.administrators[7]", line("administrators:"), 3},
		{`tags["cost centre"]`, 1, 1},
		{"deviations.no-nat", 1, 1},
	} {
		l, column := c.Position(p.path)
		if l != p.line || column != p.column {
			t.Errorf("%q stands at %d:%d, want %d:%d", p.path, l, column, p.line, p.column)
		}
	}
	got := c.Fault("deviations.no-nat", "is missing", "give a reason")
	want := config.Fault{File: "deployment.yaml", Line: 1, Column: 1, Path: "deviations.no-nat", Reason: "is missing", Fix: "give a reason"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if l, column := config.Default(config.Production).Position("name"); l != 0 || column != 0 {
		t.Errorf("a configuration without file has the position %d:%d", l, column)
	}
}

func TestPositionOfKeysWithDots(t *testing.T) {
	t.Parallel()
	c := parse(t, strings.Replace(example(t, "production.yaml"), "  owner:", "  \"a.b: c d\":", 1))
	if line, column := c.Position(`tags["a.b: c d"]`); line != 9 || column != 3 {
		t.Errorf("got %d:%d", line, column)
	}
	if line, _ := c.Position(`tags["other.key"]`); line != 7 {
		t.Errorf("got line %d, want that of tags", line)
	}
}

// summary shows node groups in short: role(+also) type min/desired/max.
func summary(groups []config.NodeGroup) string {
	var out []string
	for _, g := range groups {
		s := string(g.Role)
		for _, r := range g.Also {
			s += "+" + string(r)
		}
		out = append(out, fmt.Sprintf("%s %s %d/%d/%d", s, strings.Join(g.InstanceTypes, ","), g.Min, g.Desired, g.Max))
	}
	return strings.Join(out, "; ")
}

func TestComputeGoesByRole(t *testing.T) {
	t.Parallel()
	const (
		evaluationCore = "core m7i.2xlarge 2/2/4; "
		evaluationRest = "web-assistant+interface m7i.xlarge 2/2/4"
		productionCore = "core m7i.4xlarge 3/3/6; "
		productionRest = "web-assistant m7i.xlarge 3/3/9; interface m7i.xlarge 3/3/9"
	)
	for _, c := range []struct{ name, profile, compute, want string }{
		{"none", "evaluation", "", evaluationCore + evaluationRest},
		{"empty", "evaluation", "compute: []", evaluationCore + evaluationRest},
		{"none", "production", "", productionCore + productionRest},
		{"one changed", "evaluation", "compute: [{role: core, max: 8}]", "core m7i.2xlarge 2/2/8; " + evaluationRest},
		{"types replaced", "production", "compute: [{role: core, instanceTypes: [m7a.4xlarge, m7i.4xlarge]}]", "core m7a.4xlarge,m7i.4xlarge 3/3/6; " + productionRest},
		{"merged group changed", "evaluation", "compute: [{role: web-assistant, max: 8}]", evaluationCore + "web-assistant+interface m7i.xlarge 2/2/8"},
		{"interface apart", "evaluation", "compute: [{role: interface, max: 8}]", evaluationCore + "web-assistant m7i.xlarge 2/2/4; interface m7i.xlarge 2/2/8"},
		{"both listed", "evaluation", "compute: [{role: interface}, {role: web-assistant}]", evaluationCore + "web-assistant m7i.xlarge 2/2/4; interface m7i.xlarge 2/2/4"},
		{"unmerged", "evaluation", "compute: [{role: web-assistant, also: []}]", evaluationCore + "web-assistant m7i.xlarge 2/2/4; interface m7i.xlarge 2/2/4"},
		{"merged", "production", "compute: [{role: web-assistant, also: [interface]}]", productionCore + "web-assistant+interface m7i.xlarge 3/3/9"},
		{"gpu", "production", "compute: [{role: gpu}]", productionCore + productionRest + "; gpu p5e.48xlarge 0/1/1"},
		{"sorted", "production", "compute: [{role: gpu}, {role: interface}, {role: core}]", productionCore + productionRest + "; gpu p5e.48xlarge 0/1/1"},
	} {
		src := strings.Replace(example(t, "production.yaml"), "profile: production", "profile: "+c.profile+"\n"+c.compute, 1)
		if got := summary(parse(t, src).Compute); got != c.want {
			t.Errorf("%s in %s:\n got %s\nwant %s", c.name, c.profile, got, c.want)
		}
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, new string }{
		{"shared address space", "cidr: 10.80.0.0/16", "cidr: 100.64.0.0/16"},
		{"smallest range", "cidr: 10.80.0.0/16", "cidr: 192.168.16.0/20"},
		{"two zones", "cidr: 10.80.0.0/16", "zones: 2"},
		{"Docker's range", "cidr: 10.80.0.0/16", "cidr: 172.17.0.0/16"},
		{"no public endpoint", "publicAccessCidrs: [203.0.113.0/24]", "publicAccessCidrs: []"},
		{"role with a path", "role/platform", "role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef"},
		{"managed boundary", "123456789012:policy/boundary", "aws:policy/PowerUserAccess"},
		{"one node", "dns:", "compute: [{role: core, min: 1, desired: 1, max: 1}]\ndns:"},
		{"storage that doesn't grow", "dns:", "database: {storageGiB: 500, maxStorageGiB: 500}\ndns:"},
		{"full version", "dns:", "database: {version: \"17.6\"}\ndns:"},
		{"windows that touch", "dns:", "database: {backupWindow: 06:00-07:00}\ndns:"},
		{"window over midnight", "dns:", "database: {backupWindow: 23:45-00:15}\ndns:"},
		{"snapshot of AWS Backup", "dns:", "database: {snapshot: \"awsbackup:job-0123\"}\ndns:"},
		{"compliance", "dns:", "storage: {audit: {objectLock: {mode: compliance, days: 2555}}}\ndns:"},
		{"no object lock", "dns:", "storage: {audit: {objectLock: {mode: off}}}\ndns:"},
		{"no SSO with a reason", "  sso:", "  sso:\n    enabled: false"},
		{"empty tag", "platform@example.com", `""`},
		{"tag in other letters", "owner:", "größe:"},
		{"no limit", "dns:", "waf: {rateLimit: 0}\ndns:"},
		{"sections without keys", "dns:", "tags: {}\ndatabase: {}\ndns:"},
		{"text of several lines", "dns:", "deviations:\n  no-nat: |\n    Because security\n    says so.\ndns:"},
	} {
		base := example(t, "production.yaml")
		if c.name == "no SSO with a reason" {
			base += "deviations:\n  no-sso: Runs behind a proxy that signs users in.\n"
		}
		if c.name == "sections without keys" {
			base = strings.Replace(base, "tags:\n  cost-centre: \"4711\"\n  owner: platform@example.com\n", "", 1)
		}
		src := strings.Replace(base, c.old, c.new, 1)
		if src == base {
			t.Errorf("%s: changes nothing", c.name)
		}
		if _, err := config.Parse("deployment.yaml", []byte(src)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestObjectLockOffForgetsTheDefaultDays(t *testing.T) {
	t.Parallel()
	c := parse(t, strings.Replace(example(t, "production.yaml"), "dns:", "storage: {audit: {objectLock: {mode: off}}}\ndns:", 1))
	if got := c.Storage.Audit.ObjectLock; got != (config.ObjectLock{Mode: config.LockOff}) {
		t.Errorf("got %+v", got)
	}
}

func TestInternalLoadBalancersAllowTheVPC(t *testing.T) {
	t.Parallel()
	c := parse(t, example(t, "production.yaml"))
	if diff := cmp.Diff([]string{"10.80.0.0/16"}, c.Access.Admin.AllowCIDRs); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointsOfKnownProviders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ issuer, authorization, token, userInfo string }{
		{
			"https://login.microsoftonline.com/contoso/v2.0",
			"https://login.microsoftonline.com/contoso/oauth2/v2.0/authorize",
			"https://login.microsoftonline.com/contoso/oauth2/v2.0/token",
			"https://graph.microsoft.com/oidc/userinfo",
		},
		{
			"https://login.microsoftonline.us/contoso/v2.0",
			"https://login.microsoftonline.us/contoso/oauth2/v2.0/authorize",
			"https://login.microsoftonline.us/contoso/oauth2/v2.0/token",
			"https://graph.microsoft.us/oidc/userinfo",
		},
		{
			"https://example.okta.com",
			"https://example.okta.com/oauth2/v1/authorize",
			"https://example.okta.com/oauth2/v1/token",
			"https://example.okta.com/oauth2/v1/userinfo",
		},
		{
			"https://example.oktapreview.com/oauth2/default",
			"https://example.oktapreview.com/oauth2/default/v1/authorize",
			"https://example.oktapreview.com/oauth2/default/v1/token",
			"https://example.oktapreview.com/oauth2/default/v1/userinfo",
		},
		{
			"https://accounts.google.com",
			"https://accounts.google.com/o/oauth2/v2/auth",
			"https://oauth2.googleapis.com/token",
			"https://openidconnect.googleapis.com/v1/userinfo",
		},
		{"https://login.microsoftonline.com/contoso", "", "", ""},
		{"https://evilokta.com", "", "", ""},
		{"https://example.okta.com/", "", "", ""},
		{"https://sso.example.com", "", "", ""},
	} {
		src := strings.Replace(example(t, "evaluation.yaml"), "https://example.okta.com", c.issuer, 1)
		loaded, err := config.Parse("deployment.yaml", []byte(src))
		if c.token == "" {
			if len(faults(t, err)) != 3 {
				t.Errorf("%s: got %v, want three endpoints missing", c.issuer, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.issuer, err)
			continue
		}
		s := loaded.Access.SSO
		if diff := cmp.Diff([]string{c.authorization, c.token, c.userInfo}, []string{s.AuthorizationEndpoint, s.TokenEndpoint, s.UserInfoEndpoint}); diff != "" {
			t.Errorf("%s: %s", c.issuer, diff)
		}
	}
	src := strings.Replace(example(t, "evaluation.yaml"), "    issuer:", "    tokenEndpoint: https://proxy.example.com/token\n    issuer:", 1)
	if got := parse(t, src).Access.SSO.TokenEndpoint; got != "https://proxy.example.com/token" {
		t.Errorf("the file's own token endpoint became %s", got)
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"us-east-1": "aws", "us-gov-west-1": "aws-us-gov", "cn-north-1": "aws-cn", "eu-south-2": "aws"} {
		if got := (&config.Config{Region: region}).Partition(); got != want {
			t.Errorf("%s is of %s, want %s", region, got, want)
		}
	}
	src := strings.NewReplacer("us-east-1", "us-gov-west-1", "arn:aws:", "arn:aws-us-gov:", "use1-az4", "usgw1-az2").Replace(example(t, "gpu-inference.yaml"))
	parse(t, src)
}

func TestEvaluationBecomesProductionByItsProfileAlone(t *testing.T) {
	t.Parallel()
	src := example(t, "evaluation.yaml")
	before := parse(t, src)
	after := parse(t, strings.Replace(src, "profile: evaluation", "profile: production", 1))
	if diff := cmp.Diff(before.Access, after.Access); diff != "" {
		t.Error(diff)
	}
	if got := summary(after.Compute); got != summary(config.Default(config.Production).Compute) {
		t.Errorf("compute is %s", got)
	}
}

// Going from evaluation to production is an update in place: what AWS can't
// change, or can't shrink, agrees.
func TestProfilesDifferInWhatCanChange(t *testing.T) {
	t.Parallel()
	e, p := config.Default(config.Evaluation), config.Default(config.Production)
	for _, f := range []struct {
		what                   string
		evaluation, production any
	}{
		{"network.cidr", e.Network.CIDR, p.Network.CIDR},
		{"network.subnets", e.Network.Subnets, p.Network.Subnets},
		{"cluster.serviceCidr", e.Cluster.ServiceCIDR, p.Cluster.ServiceCIDR},
		{"cluster.version", e.Cluster.Version, p.Cluster.Version},
		{"database.version", e.Database.Version, p.Database.Version},
		{"database.snapshot", e.Database.Snapshot, p.Database.Snapshot},
		{"registry", e.Registry, p.Registry},
	} {
		if diff := cmp.Diff(f.evaluation, f.production); diff != "" {
			t.Errorf("%s differs: %s", f.what, diff)
		}
	}
	if e.Database.StorageGiB > p.Database.StorageGiB {
		t.Error("storage would have to shrink")
	}
	// AWS takes growth from 10% on
	// (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html).
	if e.Database.StorageGiB*11 > p.Database.StorageGiB*10 {
		t.Error("storage would grow by less than a tenth")
	}
	if e.Network.Zones > p.Network.Zones {
		t.Error("zones would go")
	}
	for i, b := range []struct{ e, p config.Bucket }{
		{e.Storage.Models, p.Storage.Models},
		{e.Storage.CodeDocs, p.Storage.CodeDocs},
		{e.Storage.Audit, p.Storage.Audit},
		{e.Storage.Telemetry, p.Storage.Telemetry},
		{e.Storage.Logs, p.Storage.Logs},
	} {
		if b.e.Name != b.p.Name {
			t.Errorf("bucket %d changes its name", i)
		}
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	for _, o := range []config.Options{
		{},
		{Profile: config.Production},
		{Name: "tools", Region: "eu-central-1", Profile: config.Production, Domain: "tools.example.org", Account: "210987654321", AllowCIDR: "198.51.100.0/24"},
		{Region: "us-gov-east-1"},
		{Region: "cn-north-1", Profile: config.Production},
	} {
		src, err := config.Init(o)
		if err != nil {
			t.Errorf("%+v: %v", o, err)
			continue
		}
		c := parse(t, string(src))
		if o.Name != "" && (c.Name != o.Name || c.Region != o.Region || c.Profile != o.Profile || c.Access.Web.Host != o.Domain) {
			t.Errorf("%+v became %s %s %s %s", o, c.Name, c.Region, c.Profile, c.Access.Web.Host)
		}
		if strings.ContainsAny(string(src), "{}\t") {
			t.Errorf("braces or tabs are left:\n%s", src)
		}
		if n := strings.Count(string(src), "\n"); n > 45 {
			t.Errorf("%d lines", n)
		}
	}
	for _, o := range []config.Options{
		{Name: "x"},
		{Name: "pool\nregion: eu-west-1"},
		{Name: "{DOMAIN}"},
		{Region: "us-esat-1"},
		{Profile: "prod"},
		{Domain: "Example.com"},
		{Domain: "-"},
		{Account: "1234"},
		{Account: "arn:aws:iam"},
		{AllowCIDR: "0.0.0.0/0"},
	} {
		src, err := config.Init(o)
		if len(faults(t, err)) == 0 || src != nil {
			t.Errorf("%+v: got %q, %v", o, src, err)
		}
	}
}
