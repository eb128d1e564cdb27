package deploy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

func (w *world) delete(a *architecture.Architecture, data deploy.Data) *deploy.Deleted {
	w.t.Helper()
	res, err := deploy.Delete(w.t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: data})
	if err != nil {
		w.t.Fatalf("delete --data %s: %v", data, err)
	}
	return res
}

// stacks are the stacks that stand, by the names of the catalogue.
func (w *world) stacks(a *architecture.Architecture) []string {
	w.t.Helper()
	s, err := deploy.Look(w.t.Context(), w.target(a))
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, st := range s.Stacks {
		if st.Status != "absent" {
			names = append(names, string(st.Stack))
		}
	}
	return names
}

func (w *world) find(typ string) []*account.Resource {
	return slices.DeleteFunc(w.box.Account().Resources(), func(r *account.Resource) bool { return r.Type != typ })
}

func TestL06DeleteKeepingData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "production")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		before := ids(w)
		w.delete(a, deploy.KeepData)
		p, err := deploy.MakePlan(t.Context(), w.target(a))
		if err != nil {
			t.Fatal(err)
		}
		var adopted []string
		for _, s := range p.Adopted {
			if s.HoldsData {
				adopted = append(adopted, string(s.Stack))
			}
		}
		if diff := cmp.Diff([]string{"keys", "storage", "network", "database"}, adopted); diff != "" || p.Database != nil {
			t.Errorf("the plan goes on from (-want +got):\n%s\nand from %+v", diff, p.Database)
		}
		if diff := cmp.Diff([]string{"keys", "storage", "network", "database"}, w.stacks(a)); diff != "" {
			t.Errorf("stacks that stand (-want +got):\n%s", diff)
		}
		w.create(a)
		w.emptyPlan(a)
		for id := range before {
			if !strings.Contains(id, "EKS::Cluster") && !strings.Contains(id, "HostedZone") && !ids(w)[id] {
				t.Errorf("%s was not kept", id)
			}
		}
		w.clean(w.destroy(a))
	})
}

// TestL06CreateAndDeleteWithSnapshotThreeTimesOver leaves three snapshots. A
// database never begins empty beside one of them without being asked to, the
// plan says what is restored, and a snapshot that turned out to be the wrong one
// is corrected after the creation failed.
func TestL06CreateAndDeleteWithSnapshotThreeTimesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		empty := example(t, "evaluation")
		from := func(snapshot string) *architecture.Architecture {
			return became(t, empty, func(c *config.Config) { c.Database.Snapshot = snapshot })
		}
		a := empty
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		var snapshots []string
		for cycle := range 3 {
			if cycle > 0 {
				newest := snapshots[cycle-1]
				p, err := deploy.MakePlan(t.Context(), w.target(empty))
				if got := paths(t, err); len(got) != 1 || got[0] != "database.snapshot start-empty" || !strings.Contains(p.Refusals[0].Fix, newest) {
					t.Errorf("a plan that begins empty: %v", err)
				}
				_, err = deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(from("poolside-final-none"))})
				if got := paths(t, err); len(got) != 1 || got[0] != "database.snapshot" || !strings.Contains(err.Error(), "there is no such snapshot") {
					t.Errorf("from a snapshot that is not there: %v", err)
				}
				key := w.one("AWS::KMS::Key", func(r *account.Resource) bool { return r.LogicalID == "DatabaseKey" }).ID
				if _, err := w.target(a).AWS.KMS.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &key}); err != nil {
					t.Fatal(err)
				}
				_, err = deploy.MakePlan(t.Context(), w.target(from(newest)))
				if got := paths(t, err); len(got) != 1 || !strings.Contains(err.Error(), key+" is Disabled") {
					t.Errorf("from a snapshot whose key is disabled: %v", err)
				}
				if _, err := w.target(a).AWS.KMS.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &key}); err != nil {
					t.Fatal(err)
				}
				p, err = deploy.MakePlan(t.Context(), w.allowing(empty, guard.Empty))
				if err != nil || p.Database == nil || p.Database.Snapshot != "" || len(p.Database.Finals) != cycle {
					t.Errorf("a plan that may begin empty: %+v, %v", p, err)
				}
				a = from(newest)
				p, err = deploy.MakePlan(t.Context(), w.target(a))
				if err != nil || p.Database == nil || p.Database.Snapshot != newest || p.Database.Taken.IsZero() || len(p.Adopted) != 2 || !p.Adopted[0].HoldsData {
					t.Errorf("a plan that restores: %+v, %v", p, err)
				}
			}
			if cycle == 2 {
				older := from(snapshots[0])
				p, err := deploy.MakePlan(t.Context(), w.target(older))
				if got := paths(t, err); len(got) != 1 || got[0] != "database.snapshot allow-replace" || p.Refusals[0].Fix != "write "+snapshots[1]+" to restore what was there last" {
					t.Errorf("a plan from an older snapshot: %v, %+v", err, p.Refusals)
				}
				w.breakNext(a, `faults: [{id: db, fail: {stack: poolside-database, resource: Database, error: ServiceUnavailable}}]`)
				if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.allowing(older, guard.Replace)}); err == nil {
					t.Fatal("the creation from the wrong snapshot did not fail")
				}
			}
			w.create(a)
			if got, _ := w.find("AWS::RDS::DBInstance")[0].Props["DBSnapshotIdentifier"].(string); got != a.Config.Database.Snapshot {
				t.Errorf("the database is made from %q, want %q", got, a.Config.Database.Snapshot)
			}
			w.emptyPlan(a)
			w.emptyPlan(empty) // the snapshot stays the database's
			if cycle == 2 {
				_, err := deploy.MakePlan(t.Context(), w.target(from(snapshots[0])))
				if got := paths(t, err); len(got) != 1 || got[0] != "database.snapshot" {
					t.Errorf("another snapshot for a database that stands: %v", err)
				}
			}
			d := w.delete(a, deploy.SnapshotData)
			if diff := cmp.Diff([]string{"keys", "storage"}, w.stacks(a)); diff != "" {
				t.Errorf("stacks that stand (-want +got):\n%s", diff)
			}
			i := slices.IndexFunc(d.Kept, func(k deploy.Kept) bool { return k.Type == "AWS::RDS::DBSnapshot" })
			if i < 0 {
				t.Fatalf("no snapshot among what was kept: %+v", d.Kept)
			}
			snapshots = append(snapshots, d.Kept[i].ID)
		}
		var got []string
		for _, s := range w.find("rds:snapshot") {
			if s.Status == "available" && !strings.HasPrefix(s.ID, "rds:") {
				got = append(got, s.ID)
			}
		}
		slices.Sort(snapshots)
		if diff := cmp.Diff(snapshots, got); diff != "" || len(slices.Compact(snapshots)) != 3 {
			t.Errorf("snapshots (-named +there):\n%s", diff)
		}
	})
}

// breakNext lets faults happen from now on.
func (w *world) breakNext(a *architecture.Architecture, src string) {
	w.t.Helper()
	plan, err := rehearse.ParseFaults([]rehearse.Faults{{Name: "day.yaml", Source: []byte(src)}}, a.Config.Region, a, a)
	if err != nil {
		w.t.Fatal(err)
	}
	w.box.Break(fault.New(plan, fault.Options{Seed: 1, Sleep: clock.Real{}.Sleep}))
}

func TestDestroyEmptiesBuckets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		res := w.create(a)
		client := w.target(a).AWS.S3
		bucket := res.Outputs[architecture.Storage]["ModelsBucketName"]
		for _, body := range []string{"one", "two"} {
			if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: new("models/x"), Body: strings.NewReader(body)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: new("models/x")}); err != nil {
			t.Fatal(err)
		}
		w.clean(w.destroy(a))
	})
}

func TestProtection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		example string
		on      bool
	}{{"production", true}, {"evaluation", false}} {
		t.Run(tt.example, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, tt.example)
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				w.create(a)
				s, err := deploy.Look(t.Context(), w.target(a))
				if err != nil {
					t.Fatal(err)
				}
				for _, st := range s.Stacks {
					if st.Protected != tt.on {
						t.Errorf("stack %s protected: %v, want %v", st.Name, st.Protected, tt.on)
					}
				}
				for _, db := range w.find("AWS::RDS::DBInstance") {
					if on, _ := db.Props["DeletionProtection"].(bool); on != tt.on {
						t.Errorf("deletion protection of the database: %v, want %v", db.Props["DeletionProtection"], tt.on)
					}
				}
				policy, err := w.target(a).AWS.CloudFormation.GetStackPolicy(t.Context(), &cloudformation.GetStackPolicyInput{StackName: new(a.StackName("database"))})
				if err != nil {
					t.Fatal(err)
				}
				if got := policy.StackPolicyBody != nil && strings.Contains(*policy.StackPolicyBody, "AWS::RDS::DBInstance"); got != tt.on {
					t.Errorf("a policy protects the database: %v, want %v", got, tt.on)
				}
				_, err = w.target(a).AWS.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: new(a.StackName("parameters"))})
				if (err != nil) != tt.on {
					t.Errorf("deleting a stack behind our back: %v", err)
				}
				if err == nil {
					w.create(a)
				}
				w.clean(w.destroy(a))
			})
		})
	}
}

// defaultGroup asks for a VPC's default security group.
func defaultGroup(vpc string) *ec2.DescribeSecurityGroupsInput {
	return &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{
		{Name: new("vpc-id"), Values: []string{vpc}},
		{Name: new("group-name"), Values: []string{"default"}},
	}}
}

func TestDefaultSecurityGroupIsEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		res := w.create(a)
		vpc := res.Outputs[architecture.Network]["VpcId"]
		groups, err := w.target(a).AWS.EC2.DescribeSecurityGroups(t.Context(), defaultGroup(vpc))
		if err != nil || len(groups.SecurityGroups) != 1 {
			t.Fatalf("%+v, %v", groups, err)
		}
		if g := groups.SecurityGroups[0]; len(g.IpPermissions)+len(g.IpPermissionsEgress) != 0 {
			t.Errorf("the default group has rules: %+v %+v", g.IpPermissions, g.IpPermissionsEgress)
		}
	})
}

func TestUpdateAndDeleteOfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a)}); !errors.Is(err, deploy.ErrAbsent) {
			t.Errorf("update: %v, want ErrAbsent", err)
		}
		if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData}); !errors.Is(err, deploy.ErrAbsent) {
			t.Errorf("delete: %v, want ErrAbsent", err)
		}
		if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a)}); err == nil || errors.Is(err, deploy.ErrAbsent) {
			t.Errorf("delete without saying what becomes of the data: %v", err)
		}
		if diff := w.left(func(string) bool { return false }); diff != "" {
			t.Errorf("the account changed:\n%s", diff)
		}
	})
}

// TestL05RepeatedDelete: a delete that was killed when all was gone, and was heard of no
// more, is repeated, and ends as it would have, with the same manifest. Once AWS has
// removed the keys nothing tells that the deployment ever was.
func TestL05RepeatedDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		first := w.destroy(a)
		again := w.destroy(a)
		if again.Outcome != deploy.Clean || len(again.Kept) == 0 {
			t.Errorf("again: %+v", again)
		}
		byID := func(d *deploy.Deleted) []deploy.Kept {
			return slices.SortedFunc(slices.Values(d.Kept), func(a, b deploy.Kept) int { return strings.Compare(a.ID, b.ID) })
		}
		if diff := cmp.Diff(byID(first), byID(again)); diff != "" {
			t.Errorf("the manifests differ (-first +again):\n%s", diff)
		}
		// What was destroyed can't be kept any more.
		for _, data := range []deploy.Data{deploy.KeepData, deploy.SnapshotData} {
			if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: data}); !errors.Is(err, deploy.ErrAbsent) || !strings.Contains(err.Error(), "it was deleted with its data") {
				t.Errorf("--data %s: %v", data, err)
			}
		}
		time.Sleep(31 * 24 * time.Hour) // the longest that a key waits
		if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData}); !errors.Is(err, deploy.ErrAbsent) {
			t.Errorf("a month later: %v, want ErrAbsent", err)
		}
	})
}

// TestL05DeleteOfNothingNamesWhatIsShared: a delete that was killed at its very
// end left nothing of the deployment but what it wrote to what others share. The
// next one says so.
func TestL05DeleteOfNothingNamesWhatIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		group := testkit.MustCreate(t, w.box, "AWS::Logs::LogGroup", map[string]any{"LogGroupName": "RDSOSMetrics"})
		res, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
		if !errors.Is(err, deploy.ErrAbsent) || !strings.Contains(err.Error(), group.ID) {
			t.Errorf("got %v, want ErrAbsent and %s", err, group.ID)
		}
		if res == nil || len(res.Kept) != 1 || res.Kept[0].ID != group.ID || len(res.Kept[0].Remove) == 0 {
			t.Errorf("got %+v, want %s named", res, group.ID)
		}
	})
}

// TestLossIsRefused removes a repository, with its images, from a protected
// deployment: first by mistake, then on purpose.
func TestLossIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "production")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		before := ids(w)
		c := *a.Config
		c.Registry.Repositories = c.Registry.Repositories[1:]
		next, err := architecture.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next)})
		var refused *deploy.RefusedError
		if !errors.As(err, &refused) || len(refused.Changes()) != 1 || refused.Changes()[0].Type != "AWS::ECR::Repository" {
			t.Fatalf("got %v, want a refusal that names the repository", err)
		}
		if diff := cmp.Diff(before, ids(w)); diff != "" {
			t.Errorf("something was lost all the same (-before +after):\n%s", diff)
		}
		w.emptyPlan(a)
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(next, guard.Replace)}); err != nil {
			t.Errorf("with the loss accepted: %v", err)
		}
		w.emptyPlan(next)
		policy, err := w.target(a).AWS.CloudFormation.GetStackPolicy(t.Context(), &cloudformation.GetStackPolicyInput{StackName: new(a.StackName("storage"))})
		if err != nil || policy.StackPolicyBody == nil || !strings.Contains(*policy.StackPolicyBody, "AWS::ECR::Repository") {
			t.Errorf("the stack policy is not back: %+v, %v", policy, err)
		}
	})
}
