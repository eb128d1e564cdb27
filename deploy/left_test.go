package deploy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

// bucketNames are the names of a deployment's buckets in the sandbox.
func bucketNames(a *architecture.Architecture) (names []string) {
	for _, b := range a.Buckets {
		names = append(names, strings.NewReplacer("${AWS::AccountId}", "123456789012", "${AWS::Region}", a.Config.Region).Replace(b.Name))
	}
	return names
}

// TestL07LeftoversFollowTheData: a stack that is gone has left two buckets, as a
// creation does whose rollback failed too; a third one is in a stack of somebody
// else's. An inventory says so, and a creation that needs the names what takes
// them away. A deletion that keeps the data takes the empty one away and no other,
// one that destroys it takes the full one too, and theirs stays.
func TestL07LeftoversFollowTheData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		names := bucketNames(a)
		empty, full, theirs := names[0], names[1], names[2]
		bucket := func(name string) string {
			return `{"Type":"AWS::S3::Bucket","DeletionPolicy":"Retain","Properties":{"BucketName":"` + name + `"}}`
		}
		w.stackOf(a, "theirs", `{"Resources":{"B":`+bucket(theirs)+`}}`)
		if _, err := w.target(a).AWS.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &names[3]}); err != nil {
			t.Fatal(err)
		}
		w.stack(a, architecture.Storage, `{"Resources":{"B":`+bucket(empty)+`,"C":`+bucket(full)+`}}`)
		name := a.StackName(architecture.Storage)
		api := w.target(a).AWS
		if _, err := api.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
			t.Fatal(err)
		}
		if err := cloudformation.NewStackDeleteCompleteWaiter(api.CloudFormation).Wait(t.Context(), &cloudformation.DescribeStacksInput{StackName: &name}, 1<<40); err != nil {
			t.Fatal(err)
		}
		if _, err := api.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &full, Key: new("x"), Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
		v, err := inventory.Read(t.Context(), api, a)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []string{empty, full} {
			if i := v.Find("AWS::S3::Bucket", b); i == nil || i.LeftBy != name || !i.Own() || !strings.Contains(i.Why, "left by stack "+name) {
				t.Errorf("the inventory has %s as %+v", b, i)
			}
		}
		// It is of a stack elsewhere, which isn't seen from here.
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, r := range tx.List("AWS::S3::Bucket") {
				if r.ID == names[3] {
					r.Tags = map[string]string{deploy.Tag: a.Name(), "aws:cloudformation:stack-name": "elsewhere", "aws:cloudformation:stack-id": "arn:aws:cloudformation:eu-west-1:123456789012:stack/elsewhere/1"}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if v, err = inventory.Read(t.Context(), api, a); err != nil {
			t.Fatal(err)
		}
		if i := v.Find("AWS::S3::Bucket", names[3]); i == nil || i.Holder != "elsewhere" || i.LeftBy != "" || i.Own() || !strings.Contains(i.Why, "eu-west-1") {
			t.Errorf("the inventory has what a stack of another region made as %+v", i)
		}
		if i := v.Find("AWS::S3::Bucket", theirs); i == nil || i.Holder != "theirs" || i.Own() {
			t.Errorf("the inventory has what is somebody else's as %+v", i)
		}
		if _, err := deploy.MakePlan(t.Context(), w.target(a)); err == nil || strings.Contains(err.Error(), "s3 rb --force s3://"+full) {
			t.Errorf("a creation that needs the names: %v", err)
		}
		// A plan with refusals is a plan.
		p, err := deploy.MakePlan(t.Context(), w.target(a))
		if p == nil {
			t.Fatal(err)
		}
		said := 0
		for _, r := range p.Refusals {
			if strings.Contains(r.Reason, full) {
				said++
				if !strings.Contains(r.Fix, "poolhouse delete FILE --data keep takes it away if it holds nothing") {
					t.Errorf("a creation that needs the name says: %s", r.Fix)
				}
			}
		}
		if said != 1 {
			t.Errorf("%d refusals name %s, want 1", said, full)
		}

		d := w.delete(a, deploy.KeepData)
		if k := keptAs(t, d, "AWS::S3::Bucket", full); k.Passing || !strings.Contains(k.Why, "left by stack "+name) || !strings.Contains(k.Why, "it holds objects") || !slices.Equal(k.Remove, []string{"poolhouse delete FILE --data destroy"}) {
			t.Errorf("what holds data is kept as %+v", k)
		}
		if k := keptAs(t, d, "AWS::S3::Bucket", theirs); !k.Passing || !strings.Contains(k.Why, "stack theirs has it") || len(k.Remove) > 0 {
			t.Errorf("what is somebody else's is kept as %+v", k)
		}
		if left := w.buckets(); slices.Contains(left, empty) || !slices.Contains(left, full) {
			t.Errorf("left: %q", left)
		}
		if want := "deleted bucket " + empty + ", which stack " + name + " had left"; !strings.Contains(w.steps(), want) {
			t.Errorf("%q is not told:\n%s", want, w.steps())
		}

		d = w.destroy(a)
		if left := w.buckets(); !slices.Contains(left, theirs) || slices.Contains(left, full) || d.Outcome != deploy.Clean {
			t.Errorf("%s, left: %q, %+v", d.Outcome, left, d.Kept)
		}
	})
}

// TestL06AProtectedDatabaseThatIsLeft: no stack has a database of the deployment's
// any more, and it is protected from deletion. A deletion says which command comes
// first, and after that takes it away with a last snapshot.
func TestL06AProtectedDatabaseThatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		api, id := w.target(a).AWS, a.DatabaseName()
		net := stack.Spec{Name: "net", Template: []byte(`{"Resources":{
			"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.9.0.0/16"}},
			"One":{"Type":"AWS::EC2::Subnet","Properties":{"VpcId":{"Ref":"Vpc"},"CidrBlock":"10.9.0.0/20","AvailabilityZone":"us-east-1a"}},
			"Two":{"Type":"AWS::EC2::Subnet","Properties":{"VpcId":{"Ref":"Vpc"},"CidrBlock":"10.9.16.0/20","AvailabilityZone":"us-east-1b"}},
			"SubnetGroup":{"Type":"AWS::RDS::DBSubnetGroup","Properties":{"DBSubnetGroupName":"both","DBSubnetGroupDescription":"both","SubnetIds":[{"Ref":"One"},{"Ref":"Two"}]}}}}`)}
		if _, err := (&stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}).Apply(t.Context(), net, nil); err != nil {
			t.Fatal(err)
		}
		w.stack(a, architecture.Database, `{"Resources":{"Database":{"Type":"AWS::RDS::DBInstance","DeletionPolicy":"Retain","Properties":{"DBInstanceIdentifier":"poolside","Engine":"postgres",
			"DBInstanceClass":"db.m7g.large","AllocatedStorage":"50","MasterUsername":"keeper","ManageMasterUserPassword":true,"StorageEncrypted":true,"DBSubnetGroupName":"both"}}}}`)
		w.remove(a, architecture.Database)
		protect := func(on bool) {
			t.Helper()
			if _, err := api.RDS.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &id, DeletionProtection: &on, ApplyImmediately: new(true)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		protect(true)
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.SnapshotData})
		command := "aws rds modify-db-instance --no-deletion-protection --apply-immediately --db-instance-identifier " + id
		if err == nil || d == nil || d.Outcome != deploy.Blocked {
			t.Fatalf("delete: %+v, %v", d, err)
		}
		said := false
		for _, b := range d.Blockers {
			said = said || b.ID == id && strings.HasPrefix(b.Next, command+", then repeat the delete") && strings.Contains(b.Reason, "protected from deletion")
		}
		if !said || len(w.find("AWS::RDS::DBInstance")) != 1 {
			t.Errorf("delete says %+v", d.Blockers)
		}
		protect(false)
		w.delete(a, deploy.SnapshotData)
		if len(w.find("AWS::RDS::DBInstance")) != 0 || w.lastSnapshot() == "" {
			t.Error("the database is still there")
		}
	})
}

// TestL26UnreadStacksLeaveNothing: as long as the resources of one stack can't be
// read, nothing counts as what a stack has left, since that may be taken away.
func TestL26UnreadStacksLeaveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		blind := false
		w := newWorld(t, a, sandbox.Options{Fresh: true, Intercept: func(_ *http.Request, service, operation string) error {
			if blind && service == "cloudformation" && operation == "ListStackResources" {
				return &account.Error{Code: "ValidationError", Message: "it is broken", Status: http.StatusBadRequest}
			}
			return nil
		}})
		w.create(a)
		blind = true
		v, err := inventory.Read(t.Context(), w.target(a).AWS, a)
		if err != nil || len(v.Unknown) == 0 {
			t.Fatalf("unknown: %+v, %v", v, err)
		}
		buckets := 0
		for _, i := range v.Items {
			if i.Type == "AWS::S3::Bucket" {
				buckets++
			}
			if i.LeftBy != "" || i.Holder != "" {
				t.Errorf("%s %s counts as what stack %s%s has: %s", i.Type, i.ID, i.LeftBy, i.Holder, i.Why)
			}
		}
		if buckets == 0 {
			t.Error("the inventory has no bucket")
		}
	})
}

// TestParameterThatAnUpdateLeft: CloudFormation could not delete a parameter when it
// cleaned up after an update, and no stack has it since. A deletion takes it away; one of
// somebody else's under the same path stays, and is named.
func TestParameterThatAnUpdateLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tag     string
		outcome deploy.Outcome
	}{
		"ours":   {"poolside", deploy.Clean},
		"theirs": {"another", deploy.Blocked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{})
				w.create(a)
				id := a.ParameterPath() + "/backup/vault"
				testkit.MustCreate(t, w.box, "AWS::SSM::Parameter", map[string]any{"Name": id, "Type": "String", "Value": "x", "Tags": map[string]any{deploy.Tag: c.tag}})
				d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
				if d == nil || d.Outcome != c.outcome || (err != nil) != (c.outcome == deploy.Blocked) {
					t.Fatalf("got %+v, %v", d, err)
				}
				if err != nil && (len(d.Blockers) != 1 || d.Blockers[0].ID != id || d.Blockers[0].Next != "aws ssm delete-parameter --name "+id) {
					t.Errorf("blockers: %+v", d.Blockers)
				}
				if left := len(w.find("AWS::SSM::Parameter")); left != map[bool]int{true: 1}[c.outcome == deploy.Blocked] {
					t.Errorf("%d parameters are left", left)
				}
			})
		})
	}
}
