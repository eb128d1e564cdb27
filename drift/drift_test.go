package drift_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/drift"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

const mallory = "arn:aws:iam::123456789012:user/mallory"

// world is a deployment in an account with somebody else in it.
type world struct {
	t    *testing.T
	box  *sandbox.Sandbox
	arch *architecture.Architecture
	// other is the configuration of the other's clients.
	other aws.Config
}

func newWorld(t *testing.T, o sandbox.Options) *world {
	t.Helper()
	c, err := config.LoadFile(filepath.Join("..", "examples", "evaluation.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	arch, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	o.Region, o.Now = c.Region, time.Now
	o.Principals = []sandbox.Principal{
		{AccessKeyID: "AKIAOPERATOR00000000", SecretAccessKey: "o", ARN: "arn:aws:sts::123456789012:assumed-role/Administrator/operator"},
		{AccessKeyID: "AKIAMALLORY000000000", SecretAccessKey: "m", ARN: mallory},
	}
	w := &world{t: t, box: testkit.Sandbox(t, o), arch: arch}
	if _, err := rehearse.Given(w.box, arch); err != nil {
		t.Fatal(err)
	}
	w.other = testkit.ConfigAs(w.box, w.box.Principals()[1])
	if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target()}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) target() deploy.Target {
	w.t.Helper()
	p := w.box.Principals()[0]
	clients, err := awsapi.New(w.t.Context(), awsapi.Options{
		Region: w.arch.Config.Region, Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(w.box),
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
	})
	w.must(err)
	return deploy.Target{Architecture: w.arch, AWS: clients}
}

func (w *world) look(findings ...drift.Finding) *drift.Report {
	w.t.Helper()
	r, err := drift.Look(w.t.Context(), drift.Options{Target: w.target(), Findings: findings})
	w.must(err)
	return r
}

// id is the physical id of a stack's resource.
func (w *world) id(logical string) string {
	w.t.Helper()
	for _, r := range w.box.Account().Resources() {
		if r.LogicalID == logical {
			return r.ID
		}
	}
	w.t.Fatalf("there is no %s", logical)
	return ""
}

// vandalise changes a good deal as the other principal.
func (w *world) vandalise() {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := s3.NewFromConfig(w.other, pathStyle).DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: new(w.id("ModelsBucket"))})
	w.must(err)
	_, err = kms.NewFromConfig(w.other).DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: new(w.id("ApplicationKey"))})
	w.must(err)
	net := ec2.NewFromConfig(w.other)
	_, err = net.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(w.id("AlbWebSecurityGroup")), IpPermissions: open(443)})
	w.must(err)
	_, err = net.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(w.id("DatabaseSecurityGroup")), IpPermissions: open(5432)})
	w.must(err)
	_, err = net.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: new(w.id("ControlPlaneSecurityGroup")), IpPermissions: []ec2types.IpPermission{
		{IpProtocol: new("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: new(w.id("NodesSecurityGroup"))}}},
	}})
	w.must(err)
	_, err = cloudwatchlogs.NewFromConfig(w.other).DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: new(w.id("FlowLogGroup"))})
	w.must(err)
	_, err = ssm.NewFromConfig(w.other).DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: new("/poolhouse/poolside/cluster/name")})
	w.must(err)
	_, err = iam.NewFromConfig(w.other).AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: new(w.id("ClusterRole")), PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess")})
	w.must(err)
	_, err = s3.NewFromConfig(w.other, pathStyle).PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: new(w.id("AuditBucket")), Tagging: w.tagging("AuditBucket", s3types.Tag{Key: new("cost"), Value: new("7")})})
	w.must(err)
}

func open(port int32) []ec2types.IpPermission {
	return []ec2types.IpPermission{{IpProtocol: new("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: new("0.0.0.0/0")}}}}
}

func pathStyle(o *s3.Options) { o.UsePathStyle = true }

// tagging are a bucket's tags with one more.
func (w *world) tagging(logical string, more s3types.Tag) *s3types.Tagging {
	out := &s3types.Tagging{TagSet: []s3types.Tag{more}}
	for _, r := range w.box.Account().Resources() {
		if r.LogicalID == logical {
			for k, v := range r.Tags {
				if !strings.HasPrefix(k, "aws:") {
					out.TagSet = append(out.TagSet, s3types.Tag{Key: &k, Value: &v})
				}
			}
		}
	}
	return out
}

// summary is a report with one line for each item: what, verdict and calls.
func summary(r *drift.Report) []string {
	var out []string
	for _, i := range r.Items {
		line := strings.TrimSpace(fmt.Sprint(i.Stack, " ", i.LogicalID))
		if i.LogicalID == "" {
			line = i.PhysicalID
		}
		if i.Deleted {
			line += " gone"
		}
		for _, d := range i.Differences {
			line += " " + d.Kind + d.Path
		}
		for _, f := range i.Findings {
			line += " " + f.ID
		}
		line += ": " + string(i.Verdict)
		for _, e := range i.Events {
			line += ", " + e.User + " " + e.Name
		}
		out = append(out, line)
	}
	return out
}

func TestDriftIsNamedPlannedAndReverted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		_, err := s3.NewFromConfig(w.other, pathStyle).PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(w.id("ModelsBucket")), Key: new("model"), Body: strings.NewReader("weights")})
		w.must(err)
		if r := w.look(); !r.Empty() || r.Unknown != "" || r.EventsUnknown != "" {
			t.Fatalf("a new deployment: %q", summary(r))
		}
		before := w.box.Account().Resources()
		w.vandalise()
		time.Sleep(6 * time.Minute)

		database := w.id("DatabaseSecurityGroup")
		report := w.look(
			drift.Finding{ID: "bucket-public", Resource: "arn:aws:s3:::" + w.id("ModelsBucket"), Value: "open", Want: "blocked"},
			drift.Finding{ID: "database-open", Resource: database, Value: "0.0.0.0/0", Want: "core nodes only", Fix: "revoke it"},
			drift.Finding{ID: "stranger", Resource: "sg-0123456789abcdef0", Value: "a", Want: "b", Fix: "ask"},
			drift.Finding{ID: "routes", Resource: "rtb-0123456789abcdef0", Value: "a", Want: "b", Fix: "run poolhouse update, which puts it back"},
		)
		want := []string{
			"keys ApplicationKey NOT_EQUAL/EnableKeyRotation: put-back, mallory DisableKeyRotation",
			"storage AuditBucket ADD/Tags/1: leave, mallory PutBucketTagging",
			"storage ModelsBucket REMOVE/PublicAccessBlockConfiguration bucket-public: put-back, mallory DeleteBucketPublicAccessBlock",
			"network AlbWebSecurityGroup ADD/SecurityGroupIngress/2: put-back, mallory AuthorizeSecurityGroupIngress",
			"network FlowLogGroup gone: re-create, mallory DeleteLogGroup",
			"network NodesToControlPlane443In gone: re-create, mallory RevokeSecurityGroupIngress",
			"cluster ClusterRole ADD/ManagedPolicyArns/1: put-back, mallory AttachRolePolicy",
			"parameters ClusterNameEntry gone: re-create, mallory DeleteParameter",
			"network DatabaseSecurityGroup database-open: leave, mallory AuthorizeSecurityGroupIngress",
			"sg-0123456789abcdef0 stranger: leave",
			"rtb-0123456789abcdef0 routes: see-fix",
		}
		if diff := cmp.Diff(want, summary(report)); diff != "" || report.EventsUnknown != "" {
			t.Errorf("report (%s), -want +got:\n%s", report.EventsUnknown, diff)
		}
		for _, i := range report.Items {
			for _, e := range i.Events {
				if e.Principal != mallory || e.From != "127.0.0.1" || time.Since(e.Time) > 10*time.Minute {
					t.Errorf("%s: %+v", i.LogicalID, e)
				}
			}
		}

		// The plan shows it as drift, and the update reverts it.
		plan, err := deploy.MakePlan(t.Context(), w.target())
		w.must(err)
		planned := 0
		for _, s := range plan.Stacks {
			for _, c := range s.Changes {
				if c.Drift {
					planned++
				}
			}
		}
		if planned != 7 {
			t.Errorf("the plan marks %d changes as drift, want 7", planned)
		}
		res, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(), Shown: plan})
		w.must(err)
		if res.Changes < 7 {
			t.Errorf("%d changes, want at least 7", res.Changes)
		}
		plan, err = deploy.MakePlan(t.Context(), w.target())
		w.must(err)
		if !plan.Empty() {
			t.Errorf("the plan is not empty after the update: %+v", plan.Stacks)
		}
		// What no template sets stays, and so does the data. Events of before the
		// update are not asked for.
		if diff := cmp.Diff([]string{"storage AuditBucket ADD/Tags/1: leave"}, summary(w.look())); diff != "" {
			t.Errorf("left after the update, -want +got:\n%s", diff)
		}
		out, err := s3.NewFromConfig(w.other, pathStyle).GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(w.id("ModelsBucket")), Key: new("model")})
		w.must(err)
		if *out.ContentLength != int64(len("weights")) {
			t.Errorf("the object has %d bytes", *out.ContentLength)
		}
		after := w.box.Account().Resources()
		for _, b := range before {
			// A rule that is made again has another id.
			if b.LogicalID != "" && b.LogicalID != "NodesToControlPlane443In" && !slices.ContainsFunc(after, func(a *account.Resource) bool { return a.Type == b.Type && a.ID == b.ID }) {
				t.Errorf("%s %s was replaced", b.Type, b.LogicalID)
			}
		}
	})
}

// TestEventsThatAreNotThere: CloudTrail is late, or not to be asked.
func TestEventsThatAreNotThere(t *testing.T) {
	t.Parallel()
	for name, denied := range map[string]bool{"late": false, "denied": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
					if denied && operation == "LookupEvents" {
						return &account.Error{Code: "AccessDeniedException", Message: "not authorized to perform: cloudtrail:LookupEvents", Status: 400}
					}
					return nil
				}})
				_, err := kms.NewFromConfig(w.other).DisableKeyRotation(t.Context(), &kms.DisableKeyRotationInput{KeyId: new(w.id("ApplicationKey"))})
				w.must(err)
				r := w.look()
				if diff := cmp.Diff([]string{"keys ApplicationKey NOT_EQUAL/EnableKeyRotation: put-back"}, summary(r)); diff != "" || denied != strings.Contains(r.EventsUnknown, "not authorized") {
					t.Errorf("events unknown %q; -want +got:\n%s", r.EventsUnknown, diff)
				}
			})
		})
	}
}

func TestKeyThatWaitsForItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		key := w.id("ApplicationKey")
		_, err := kms.NewFromConfig(w.other).ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &key})
		w.must(err)
		r := w.look()
		if len(r.Items) != 1 || r.Items[0].Verdict != drift.Refuses || !strings.Contains(r.Items[0].Why, "aws kms cancel-key-deletion --key-id "+key) {
			t.Errorf("%+v", r.Items)
		}
	})
}

// TestL06ALostDatabaseLeadsToItsSnapshot: of a database that somebody deleted, the
// snapshot is named that has its data, or that there is none. One of an instance
// that had the name before does not have it.
func TestL06ALostDatabaseLeadsToItsSnapshot(t *testing.T) {
	t.Parallel()
	for _, has := range []string{"its", "none", "another's"} {
		kept := has == "its"
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, sandbox.Options{})
			api, id := rds.NewFromConfig(w.other), w.id("Database")
			_, err := api.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &id, DeletionProtection: new(false), ApplyImmediately: new(true)})
			w.must(err)
			in, want := &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, FinalDBSnapshotIdentifier: new("by-hand")}, "no snapshot of it is there"
			switch has {
			case "its":
				want = "its newest snapshot is by-hand, of "
			case "none":
				in.FinalDBSnapshotIdentifier, in.SkipFinalSnapshot = nil, new(true)
			}
			_, err = api.DeleteDBInstance(t.Context(), in)
			w.must(err)
			time.Sleep(time.Hour)
			if has == "another's" {
				w.must(w.box.Account().Do(func(tx *account.Tx) error {
					for _, s := range tx.List("rds:snapshot") {
						s.Data["instanceCreated"] = time.Now().AddDate(-1, 0, 0)
					}
					return nil
				}))
			}
			r := w.look()
			at := slices.IndexFunc(r.Items, func(i drift.Item) bool { return i.LogicalID == "Database" })
			if at < 0 || r.Items[at].Verdict != drift.Refuses || !strings.Contains(r.Items[at].Why, want) || (r.Items[at].Snapshot == "by-hand") != kept {
				t.Errorf("%+v", r.Items)
			}
		})
	}
}

func TestNothingThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(), Data: deploy.DestroyData})
		w.must(err)
		if _, err := drift.Look(t.Context(), drift.Options{Target: w.target()}); !errors.Is(err, deploy.ErrAbsent) {
			t.Errorf("got %v, want that there is none", err)
		}
	})
}

// TestKubernetesThatWasUpgraded is told, with what the file must say, along
// with other drift.
func TestKubernetesThatWasUpgraded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		_, err := eks.NewFromConfig(w.other).UpdateClusterVersion(t.Context(), &eks.UpdateClusterVersionInput{Name: new(w.id("Cluster")), Version: new("1.36")})
		w.must(err)
		_, err = kms.NewFromConfig(w.other).DisableKeyRotation(t.Context(), &kms.DisableKeyRotationInput{KeyId: new(w.id("ApplicationKey"))})
		w.must(err)
		time.Sleep(2 * time.Hour)
		r := w.look()
		want := []string{
			"keys ApplicationKey NOT_EQUAL/EnableKeyRotation: put-back, mallory DisableKeyRotation",
			"cluster Cluster NOT_EQUAL/Version: leave, mallory UpdateClusterVersion",
		}
		if diff := cmp.Diff(want, summary(r)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		if why := r.Items[1].Why; !strings.Contains(why, `cluster.version: "1.36"`) {
			t.Errorf("why is %q", why)
		}
	})
}

// TestSecretsAreNotTold: what somebody put in the place of a value that is none
// of a secret may be one.
func TestSecretsAreNotTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		_, err := ssm.NewFromConfig(w.other).PutParameter(t.Context(), &ssm.PutParameterInput{Name: new("/poolhouse/poolside/cluster/name"), Value: new("hunter2"), Overwrite: new(true)})
		w.must(err)
		r := w.look()
		if diff := cmp.Diff([]string{"parameters ClusterNameEntry NOT_EQUAL/Value: put-back"}, summary(r)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		plan, err := deploy.MakePlan(t.Context(), w.target())
		w.must(err)
		var text strings.Builder
		view.Drift(&text, r, "f.yaml")
		view.Plan(&text, plan, true)
		for _, v := range []any{r, plan} {
			b, err := json.Marshal(v)
			w.must(err)
			text.Write(b)
		}
		if got := text.String(); strings.Contains(got, "hunter2") || strings.Count(got, stack.Hidden) < 4 {
			t.Errorf("want the value hidden in each:\n%s", got)
		}
	})
}

// TestEventsWithoutEnd: of a resource that is called all the time, the newest
// events are told, and CloudTrail is not asked for all.
func TestEventsWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		w := newWorld(t, sandbox.Options{OnCall: func(c sandbox.Call) {
			if c.Operation == "LookupEvents" {
				asked++
			}
		}})
		key := w.id("ApplicationKey")
		c := kms.NewFromConfig(w.other)
		for range 300 {
			_, err := c.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: &key})
			w.must(err)
			_, err = c.DisableKeyRotation(t.Context(), &kms.DisableKeyRotationInput{KeyId: &key})
			w.must(err)
			time.Sleep(time.Second)
		}
		time.Sleep(6 * time.Minute)
		r := w.look()
		// Two names, five pages each.
		if len(r.Items) != 1 || len(r.Items[0].Events) == 0 || r.Items[0].Events[0].Name != "DisableKeyRotation" || asked > 10 {
			t.Errorf("asked %d times: %+v", asked, r.Items)
		}
	})
}
