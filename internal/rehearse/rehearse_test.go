package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/oracle"
)

func source(t *testing.T, name string) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("..", "..", "examples", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func parse(t *testing.T, src []byte) *architecture.Architecture {
	t.Helper()
	c, err := config.Parse("deployment.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRun rehearses a production and holds the report to what it says.
func TestRun(t *testing.T) {
	t.Parallel()
	var (
		steps  []Step
		killed *Killed
		dead   bool
	)
	report, err := Run(t.Context(), Options{Name: "production.yaml", Source: source(t, "production"), Observe: oracle.Observe(t), Emit: func(e Event) {
		switch e := e.(type) {
		case StepStarted:
			steps = append(steps, e.Step)
			dead = false
		case Killed:
			killed, dead = &e, true
		case Deployed:
			if dead {
				t.Errorf("the killed process says %T", e.Event)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{StepGiven, StepValidate, StepPlan, StepCreate, StepResume, StepCheck, StepVerify, StepPlanUpdate, StepUpdate, StepCheckAgain, StepBreach, StepNotice, StepRepair, StepProve, StepOutage, StepDelete, StepCompare}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps, -want +got:\n%s", diff)
	}
	if killed == nil || len(killed.Done) == 0 || len(killed.Moving) == 0 {
		t.Errorf("the first run was killed at %+v, want it to be with stacks done and others in motion", killed)
	}
	if len(report.Verifications) != 3 || !slices.Equal(report.Verifications[1].Failed, []string{breached}) || report.Verifications[2].Passed < 100 {
		t.Errorf("verifications are %+v, want three, of which the second notices the opened bucket alone", report.Verifications)
	}
	if o := report.Outage; o == nil || !o.Foretold.Survives || len(o.Serves) < 4 || len(o.Lost) > 0 {
		t.Errorf("the lost zone left %+v, want a production to serve on", o)
	}
	changed := 0
	for _, s := range report.Update.Stacks {
		if s.Action == deploy.UpdateStack {
			changed++
		}
	}
	if changed < 4 {
		t.Errorf("the update changes %d stacks, want at least 4", changed)
	}
	if len(report.Stacks) != 14 || report.Resources() < 200 {
		t.Errorf("%d stacks with %d resources, want 14 with more than 200", len(report.Stacks), report.Resources())
	}
	for _, s := range report.Stacks {
		if s.End <= s.Start {
			t.Errorf("stack %s took from %v to %v", s.Stack, s.Start, s.End)
		}
		entry, _ := parse(t, source(t, "production")).Stack(s.Stack)
		for _, before := range report.Stacks {
			if slices.Contains(entry.After, before.Stack) && before.End > s.Start {
				t.Errorf("stack %s started at %v, before %s ended at %v", s.Stack, s.Start, before.Stack, before.End)
			}
		}
	}
	if path := report.Path(); len(path) < 4 || path[0] != architecture.Keys || path[len(path)-1] != architecture.Addons {
		t.Errorf("the critical path is %v, want it to lead from keys to add-ons", path)
	}
	for verb, p := range map[string]*chain.Pace{"create": report.Creation, "delete": report.Deletion} {
		// On this clock the ratio is the machine's too: it is held where time is
		// virtual.
		if p == nil || p.Longest < 10*time.Minute || p.Longest > p.Took {
			t.Errorf("the pace of %s is %+v, want its longest chain", verb, p)
		}
	}
	calls := 0
	for _, s := range report.Steps {
		calls += s.Calls
	}
	if calls != report.APICalls() {
		t.Errorf("the product made %d calls and the account answered %d", calls, report.APICalls())
	}
	if s, w := report.Simulated(), report.Wall(); s < 30*time.Minute || s > 3*time.Hour || w <= 0 {
		t.Errorf("%v simulated in %v", s, w)
	}
	for _, row := range report.Rows {
		if row.Shown == NotAtAll {
			t.Errorf("row %s of the reference is not shown: %v", row.ID, row.Missing)
		}
	}
	if len(report.LinkedRoles) == 0 || len(report.Kept) == 0 || len(report.NotModelled) == 0 || report.Stateful == 0 {
		t.Errorf("linked roles %v, kept %v, not modelled %v, stateful %d", report.LinkedRoles, report.Kept, report.NotModelled, report.Stateful)
	}
	b, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Deployment string
		Resources  int
		APICalls   int
	}
	if err := json.Unmarshal(b, &back); err != nil || back.Deployment != "poolside" || back.Resources != report.Resources() || back.APICalls != report.APICalls() {
		t.Errorf("as JSON: %+v, %v", back, err)
	}
}

func TestRunReportsFaults(t *testing.T) {
	t.Parallel()
	report, err := Run(t.Context(), Options{Name: "x.yaml", Source: []byte("name: x\n")})
	var faults config.Faults
	if !errors.As(err, &faults) || report != nil {
		t.Errorf("got %v and %v, want the file's faults and no report", report, err)
	}
}

// A rehearsal that fails says how far it came.
func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	report, err := Run(ctx, Options{Name: "evaluation.yaml", Source: source(t, "evaluation"), Observe: oracle.Observe(t), Emit: func(e Event) {
		if s, ok := e.(StepStarted); ok && s.Step == StepResume {
			cancel(stop)
		}
	}})
	if err == nil || report == nil || report.Failure == "" {
		t.Fatalf("got %v and report %+v, want a failure", err, report)
	}
	if last := report.Steps[len(report.Steps)-1]; last.Step != StepResume || last.Failure == "" {
		t.Errorf("the last step is %+v, want the failed %s", last, StepResume)
	}
}

func TestKilledProcessSendsNothing(t *testing.T) {
	t.Parallel()
	r := &run{clock: clock.NewScaled(1), box: testkit.Sandbox(t, sandbox.Options{}), processes: map[int]*process{}, report: &Report{Calls: map[string]int{}}}
	var err error
	if r.server, err = serve(t.Context(), r.box, r.clock); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.server.close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := r.process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	if _, err := p.clients.Identity(p.ctx); err != nil {
		t.Fatal(err)
	}
	before := r.calls.Load()
	p.kill()
	// Whoever kept a context of his own sends nothing either.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.RoundTrip(req); !errors.Is(err, errKilled) {
		t.Errorf("a request after the kill: %v, want %v", err, errKilled)
	}
	if !errors.Is(context.Cause(p.ctx), errKilled) || r.calls.Load() != before {
		t.Errorf("the context ended with %v, and %d requests left", context.Cause(p.ctx), r.calls.Load()-before)
	}
}

// TestRunInExistingNetwork rehearses in a network that is there: it is given
// before, and what it brings itself is not claimed to have been shown.
func TestRunInExistingNetwork(t *testing.T) {
	t.Parallel()
	report, err := Run(t.Context(), Options{Name: "existing-network.yaml", Source: source(t, "existing-network"), Observe: oracle.Observe(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Rows {
		if slices.Contains([]string{"C7", "C8", "C9"}, r.ID) && (r.Shown != NotAtAll || r.Note == "") {
			t.Errorf("row %s is %s, %q", r.ID, r.Shown, r.Note)
		}
	}
	for _, s := range report.Stacks {
		for _, typ := range []string{"AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::Route", "AWS::EC2::NetworkAcl", "AWS::EC2::VPCEndpoint"} {
			if s.Types[typ] > 0 {
				t.Errorf("stack %s made %d of %s", s.Stack, s.Types[typ], typ)
			}
		}
	}
}

// TestGiven puts what the examples presuppose into an account under the very
// names that they use.
func TestGiven(t *testing.T) {
	t.Parallel()
	restored := strings.Replace(string(source(t, "evaluation")), "dns:", "database: {snapshot: \"arn:aws:rds:us-east-1:123456789012:snapshot:before\"}\ndns:", 1)
	secret := func(name string) string {
		return "AWS::SecretsManager::Secret arn:aws:secretsmanager:us-east-1:123456789012:secret:poolside/" + name + "-AbCdEf"
	}
	existing := []string{"AWS::IAM::Role platform", "AWS::IAM::Role emergency", "AWS::EC2::VPC vpc-0123456789abcdef0"}
	for _, n := range []string{"4", "5", "6", "1", "2", "3"} { // the largest first
		existing = append(existing, "AWS::EC2::Subnet subnet-0123456789abcdef"+n)
	}
	existing = append(existing, secret("web"), secret("admin"),
		"AWS::CertificateManager::Certificate arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef")
	small := strings.Replace(string(source(t, "existing-network")), "10.40.0.0/16", "10.40.0.0/24", 1)
	hub := strings.Replace(string(source(t, "evaluation")), "  cidr: 10.80.0.0/16\n", "  cidr: 10.80.0.0/16\n  transitGateway: {id: tgw-0123456789abcdef0, cidrs: [10.0.0.0/8]}\n", 1)
	for _, tt := range []struct {
		name string
		src  []byte
		want []string
	}{
		{"existing-network", source(t, "existing-network"), existing},
		{"small existing network", []byte(small), existing},
		{"transit gateway", []byte(hub), []string{
			"AWS::IAM::Role platform", "AWS::IAM::Role emergency", "AWS::EC2::TransitGateway tgw-0123456789abcdef0", secret("web"), secret("admin"),
		}},
		{"evaluation", source(t, "evaluation"), []string{"AWS::IAM::Role platform", "AWS::IAM::Role emergency", secret("web"), secret("admin")}},
		{"production", source(t, "production"), []string{
			"AWS::IAM::ManagedPolicy arn:aws:iam::123456789012:policy/boundary", "AWS::IAM::Role platform", "AWS::IAM::Role emergency", secret("web"), secret("admin"),
		}},
		{"enterprise-dns", source(t, "enterprise-dns"), []string{
			"AWS::IAM::Role cloudformation", "AWS::IAM::Role platform", "AWS::IAM::Role emergency", secret("web"), secret("admin"),
			"AWS::CertificateManager::Certificate arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef",
		}},
		{"gpu-inference", source(t, "gpu-inference"), []string{
			"AWS::IAM::Role platform", "AWS::IAM::Role emergency", secret("web"), secret("admin"),
			"AWS::Route53::HostedZone Z0123456789ABCDEFGHIJ", "ec2:capacity-reservation cr-0123456789abcdef0",
		}},
		{"restored", []byte(restored), []string{"AWS::IAM::Role platform", "AWS::IAM::Role emergency", secret("web"), secret("admin"), "rds:snapshot before"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := parse(t, tt.src)
			box := testkit.Sandbox(t, SandboxOptions(a))
			items, err := Given(box, a)
			if err != nil {
				t.Fatal(err)
			}
			there := index(box.Account().Resources())
			var got []string
			for _, i := range items {
				got = append(got, i.Type+" "+i.ID)
				if there[key{i.Type, i.ID}] == nil {
					t.Errorf("%s %s is not in the account", i.Type, i.ID)
				}
				if i.Path == "" {
					t.Errorf("%s %s: no path", i.Type, i.ID)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if again, err := Given(box, a); err != nil || len(again) > 0 {
				t.Errorf("a second time: %v, %v; want nothing", again, err)
			}
		})
	}
}

// The account is the one that the file names; what others own can't be made.
func TestGivenKeepsToItsAccount(t *testing.T) {
	t.Parallel()
	src := strings.Replace(string(source(t, "production")), "iam::123456789012:role/emergency", "iam::999999999999:role/emergency", 1)
	a := parse(t, []byte(strings.ReplaceAll(src, "123456789012", "111122223333")))
	o := SandboxOptions(a)
	if o.AccountID != "111122223333" || o.Region != "us-east-1" || !o.Fresh {
		t.Errorf("got %+v", o)
	}
	items, err := Given(testkit.Sandbox(t, o), a)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		if i.ID == "emergency" {
			t.Error("a role of another account was made")
		}
	}
}

func TestChangeOfProduction(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"production", "self-managed-nat", "enterprise-dns", "gpu-inference", "minimal-egress", "existing-network"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := source(t, name)
			before := parse(t, src)
			next, edits, err := Change(name, src, before.Config)
			if err != nil {
				t.Fatal(err)
			}
			b, n := before.Config, next.Config
			if n.Database.StorageGiB <= b.Database.StorageGiB || len(n.Registry.Repositories) != len(b.Registry.Repositories)+1 || len(n.Access.Web.AllowCIDRs) != len(b.Access.Web.AllowCIDRs)+1 {
				t.Errorf("storage %d, repositories %v, ranges %v", n.Database.StorageGiB, n.Registry.Repositories, n.Access.Web.AllowCIDRs)
			}
			if n.Name != b.Name || n.Profile != b.Profile || n.Network.CIDR != b.Network.CIDR || !slices.Equal(n.Cluster.Administrators, b.Cluster.Administrators) {
				t.Error("the update changes what can't change")
			}
			if len(edits) < 6 {
				t.Errorf("%d edits: %v", len(edits), edits)
			}
		})
	}
}

func TestPromotion(t *testing.T) {
	t.Parallel()
	src := string(source(t, "evaluation"))
	one := strings.Replace(src, "    - arn:aws:iam::123456789012:role/emergency\n", "", 1)
	if one == src {
		t.Fatal("the example has no second administrator")
	}
	nat := strings.Replace(src, "  cidr: 10.80.0.0/16", "  cidr: 10.80.0.0/16\n  nat: {mode: single-gateway}", 1)
	for _, tt := range []struct {
		name, src string
		want      []Edit
	}{
		{"example", src, []Edit{{"profile", `"evaluation"`, `"production"`}, {"network.zones", "2", "2"}}},
		{"one administrator", one, []Edit{
			{"profile", `"evaluation"`, `"production"`},
			{"network.zones", "2", "2"},
			{"cluster.administrators", `["arn:aws:iam::123456789012:role/platform"]`, `["arn:aws:iam::123456789012:role/platform","arn:aws:iam::123456789012:role/rehearsal-1"]`},
		}},
		{"deviation", nat, []Edit{{"profile", `"evaluation"`, `"production"`}, {"network.zones", "2", "2"}, {"deviations.single-nat", `""`, `"` + reason + `"`}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := parse(t, []byte(tt.src))
			next, edits, err := Change("x.yaml", []byte(tt.src), before.Config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, edits); diff != "" {
				t.Errorf("edits, -want +got:\n%s", diff)
			}
			if next.Config.Profile != config.Production || next.Config.Network.Zones != 2 {
				t.Errorf("profile %s with %d zones", next.Config.Profile, next.Config.Network.Zones)
			}
		})
	}
}

func thing(typ, id, status string) *account.Resource {
	return &account.Resource{Type: typ, ID: id, Status: status, Props: map[string]any{"Size": 1, "When": time.Now()}, Tags: map[string]string{}}
}

func TestRemainder(t *testing.T) {
	t.Parallel()
	vpc, bucket := thing("AWS::EC2::VPC", "vpc-1", "available"), thing("AWS::S3::Bucket", "mine", "")
	changed := thing("AWS::S3::Bucket", "mine", "")
	changed.Props = map[string]any{"Size": 2}
	role := thing("AWS::IAM::Role", "AWSServiceRoleForRDS", "")
	role.Props = map[string]any{"Path": "/aws-service-role/rds.amazonaws.com/"}
	past := thing("cloudformation:stack", "poolside-keys", "DELETE_COMPLETE")
	held := thing("AWS::KMS::Key", "key-1", "PendingDeletion")
	keptKey := deploy.Kept{Type: "AWS::KMS::Key", ID: "key-1"}
	keptBucket := deploy.Kept{Type: "AWS::S3::Bucket", ID: "mine"}
	object, policy := thing("s3:object", "mine/key", ""), thing("AWS::S3::BucketPolicy", "mine", "")
	other, theirs := thing("s3:object", "mine-2/key", ""), thing("AWS::S3::BucketPolicy", "mine-2", "")
	for _, tt := range []struct {
		name       string
		start, now []*account.Resource
		kept       []deploy.Kept
		roles      []string
		want       string
	}{
		{"the same", []*account.Resource{vpc, bucket}, []*account.Resource{thing("AWS::EC2::VPC", "vpc-1", "available"), bucket}, nil, nil, ""},
		{"kept as reported", []*account.Resource{bucket}, []*account.Resource{bucket, held}, []deploy.Kept{keptKey}, nil, ""},
		{"service-linked role and memory", nil, []*account.Resource{role, past}, nil, []string{"AWSServiceRoleForRDS"}, ""},
		{"kept with what is in it", nil, []*account.Resource{bucket, object, policy}, []deploy.Kept{keptBucket}, nil, ""},
		{"left of another bucket", nil, []*account.Resource{bucket, other}, []deploy.Kept{keptBucket}, nil, "s3:object mine-2/key is left and was not reported"},
		{"the policy of another bucket", nil, []*account.Resource{bucket, theirs}, []deploy.Kept{keptBucket}, nil, "AWS::S3::BucketPolicy mine-2 is left and was not reported"},
		{"an object of no bucket", nil, []*account.Resource{object}, nil, nil, "s3:object mine/key is left and was not reported"},
		{"left", nil, []*account.Resource{vpc}, nil, nil, "AWS::EC2::VPC vpc-1 is left and was not reported"},
		{"stack left", nil, []*account.Resource{thing("cloudformation:stack", "poolside-keys", "DELETE_FAILED")}, nil, nil, "cloudformation:stack poolside-keys is left"},
		{"gone", []*account.Resource{bucket}, nil, nil, nil, "AWS::S3::Bucket mine was there before and is gone"},
		{"changed", []*account.Resource{bucket}, []*account.Resource{changed}, nil, nil, "AWS::S3::Bucket mine is not as it was: properties"},
		{"reported in vain", nil, nil, []deploy.Kept{keptKey}, nil, "AWS::KMS::Key key-1 is reported as kept and is gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			roles, err := remainder(tt.start, tt.now, tt.kept)
			if diff := cmp.Diff(tt.roles, roles); diff != "" {
				t.Errorf("roles, -want +got:\n%s", diff)
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSameState(t *testing.T) {
	t.Parallel()
	born := time.Now()
	key := &account.Resource{Type: "AWS::KMS::Key", ID: "k", Created: born}
	group := &account.Resource{Type: "AWS::EC2::SecurityGroup", ID: "sg", Created: born}
	reborn := &account.Resource{Type: "AWS::KMS::Key", ID: "k", Created: born.Add(time.Minute)}
	for _, tt := range []struct {
		name  string
		after []*account.Resource
		lost  bool
	}{
		{"kept", []*account.Resource{key, group}, false},
		{"what holds no data may go", []*account.Resource{key}, false},
		{"gone", []*account.Resource{group}, true},
		{"replaced under its name", []*account.Resource{reborn, group}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, err := sameState([]*account.Resource{key, group}, tt.after)
			if n != 1 || (err != nil) != tt.lost {
				t.Errorf("got %d and %v, want 1 and lost %v", n, err, tt.lost)
			}
		})
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	r := &Report{seen: map[architecture.StackName]map[string]bool{}}
	r.note(architecture.Database, "Database")
	r.note(architecture.Parameters, "VpcIdEntry")
	r.finish()
	got := map[string]Shown{}
	for _, row := range r.Rows {
		got[row.ID] = row.Shown
	}
	for id, want := range map[string]Shown{"C12": Partly, "C15": Fully, "C14": NotAtAll, "N1": ByProgram} {
		if got[id] != want {
			t.Errorf("row %s is %s, want %s", id, got[id], want)
		}
	}
	if len(r.Rows) != len(architecture.Reference()) {
		t.Errorf("%d rows, want %d", len(r.Rows), len(architecture.Reference()))
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	for want, hosts := range map[string][]string{
		"poolside.example.com": {"poolside.example.com", "api.poolside.example.com", "admin.poolside.example.com"},
		"example.com":          {"code.example.com", "api.example.com", "admin.internal.example.com"},
	} {
		if got := domain(hosts); got != want {
			t.Errorf("domain of %v is %s, want %s", hosts, got, want)
		}
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	err := box.Account().Do(func(tx *account.Tx) error {
		r := &account.Resource{Type: "x", ID: "old", Attrs: map[string]any{"Arn": "arn:old", "List": []any{"old", 1}}, Data: map[string]any{"in": map[string]any{"a": "old"}}}
		tx.Put(r)
		rename(tx, r, "new")
		if tx.Get("x", "old") != nil || tx.Get("x", "new") != r {
			return errors.New("the store has it under its old name")
		}
		if got, want := fmt.Sprint(r.Attrs, r.Data), fmt.Sprint(map[string]any{"Arn": "arn:new", "List": []any{"new", 1}}, map[string]any{"in": map[string]any{"a": "new"}}); got != want {
			return fmt.Errorf("got %s, want %s", got, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCallsByService(t *testing.T) {
	t.Parallel()
	r := &Report{Calls: map[string]int{"ec2.DescribeVpcs": 2, "ec2.CreateVpc": 1, "sts.GetCallerIdentity": 4}}
	if got, want := r.CallsByService(), map[string]int{"ec2": 3, "sts": 4}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A platform that is opened beside other steps is closed when one of these fails, and is
// a copy of the account as the update left it.
func TestPlatformIsClosed(t *testing.T) {
	t.Parallel()
	broken := errors.New("no servers")
	var (
		original, copied *sandbox.Sandbox
		closed           atomic.Int32
	)
	_, err := Run(t.Context(), Options{
		Name: "evaluation.yaml", Source: source(t, "evaluation"),
		Servers: func(_ context.Context, box *sandbox.Sandbox, _ *architecture.Architecture) (*Servers, []string, error) {
			original = box
			return nil, nil, broken
		},
		Platform: func(_ context.Context, box *sandbox.Sandbox, _ *architecture.Architecture) (*Platform, error) {
			copied = box
			return &Platform{Close: func() error { closed.Add(1); return nil }}, nil
		},
	})
	if !errors.Is(err, broken) || closed.Load() != 1 {
		t.Errorf("%v, and the platform was closed %d times", err, closed.Load())
	}
	if original == nil || copied == nil || original.Account() == copied.Account() {
		t.Fatal("the platform is not in a copy of the account")
	}
	if _, err := sameState(original.Account().Resources(), copied.Account().Resources()); err != nil {
		t.Error(err)
	}
}
