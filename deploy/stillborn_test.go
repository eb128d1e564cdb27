package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL11CreateAfterFailedRollbacks: the creation of every stack that holds data
// fails, and so does its rollback, of all kinds of things that a deletion of the
// stack would leave behind; of one stack that deletion fails too. The next create
// goes on each time, nothing is there twice or in no stack, and a delete leaves the
// account as it was found.
func TestL11CreateAfterFailedRollbacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		c := *a.Config
		c.Backups.Enabled = true
		a, err := architecture.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults:
  - {id: keys, times: 1, fail: {stack: poolside-keys, resource: VolumesAlias, on: [create], error: InternalFailure, late: true}}
  - {id: key, times: 1, fail: {stack: poolside-keys, resource: ApplicationKey, on: [rollback], error: InternalFailure}}
  - {id: storage, times: 1, fail: {stack: poolside-storage, resource: ModelsBucketPolicy, on: [create], error: InternalFailure, late: true}}
  - {id: bucket, times: 1, fail: {stack: poolside-storage, resource: ModelsBucket, on: [rollback], error: InternalFailure}}
  - {id: logs, times: 1, fail: {stack: poolside-storage, resource: LogsBucket, on: [rollback], error: InternalFailure}}
  - {id: repository, times: 1, fail: {stack: poolside-storage, resource: CoreApiRepository, on: [rollback], error: InternalFailure}}
  - {id: network, times: 1, fail: {stack: poolside-network, resource: FlowLog, on: [create], error: InternalFailure, late: true}}
  - {id: group, times: 1, fail: {stack: poolside-network, resource: FlowLogGroup, on: [rollback], error: InternalFailure}}
  - {id: database, times: 1, fail: {stack: poolside-database, resource: CpuAlarm, on: [create], error: InternalFailure, late: true}}
  - {id: instance, times: 1, fail: {stack: poolside-database, resource: Database, on: [rollback], error: InternalFailure}}
  - {id: again, times: 1, fail: {stack: poolside-database, resource: SubnetGroup, on: [delete], error: InternalFailure}}
  - {id: backup, times: 1, fail: {stack: poolside-backup, resource: DatabaseSelection, on: [create], error: InternalFailure, late: true}}
  - {id: vault, times: 1, fail: {stack: poolside-backup, resource: Vault, on: [rollback], error: InternalFailure}}`)})
		var runs []string
		for range 8 {
			_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
			if err == nil {
				runs = append(runs, "done")
				break
			}
			runs = append(runs, err.Error())
			var refused *deploy.RefusedError
			if errors.As(err, &refused) {
				break
			}
		}
		if runs[len(runs)-1] != "done" {
			t.Fatalf("create did not go on:\n%s", strings.Join(runs, "\n"))
		}
		for _, f := range w.faults.Tallies() {
			if f.Times == 0 {
				t.Errorf("fault %s never happened: %s", f.ID, strings.Join(runs, "\n"))
			}
		}
		stands := map[string]bool{}
		for _, s := range w.find("cloudformation:stack") {
			stands[s.ID] = s.Status == "CREATE_COMPLETE" || s.Status == "UPDATE_COMPLETE"
		}
		for _, r := range w.box.Account().Resources() {
			if slices.Contains(guard.Stateful(), r.Type) && strings.Contains(r.Owner, ":stack/") && !stands[r.Owner] && r.Status != "PendingDeletion" {
				t.Errorf("%s %s (%s) is in no stack", r.Type, r.ID, r.LogicalID)
			}
		}
		w.emptyPlan(a)
		w.clean(w.destroy(a))
	})
}

// failedTwice makes a stack whose creation fails, and then its rollback: it made a
// bucket, and could not make another one, which somebody has.
func failedTwice(t *testing.T, a *architecture.Architecture, inYAML bool) *trial {
	t.Helper()
	w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults:
  - {id: forth, times: 1, fail: {stack: poolside-storage, resource: TelemetryBucket, on: [create], error: InternalFailure, late: false}}
  - {id: back, times: 1, fail: {stack: poolside-storage, resource: ModelsBucket, on: [rollback], error: InternalFailure}}`)})
	api := w.target(a).AWS
	body := `{"Resources":{
		"ModelsBucket":{"Type":"AWS::S3::Bucket","DeletionPolicy":"RetainExceptOnCreate","Properties":{"BucketName":"made-and-left"}},
		"TelemetryBucket":{"Type":"AWS::S3::Bucket","DeletionPolicy":"RetainExceptOnCreate","DependsOn":"ModelsBucket","Properties":{"BucketName":"theirs-of-old"}}}}`
	if inYAML {
		body = string(testkit.YAML(t, []byte(body)))
	}
	name := a.StackName(architecture.Storage)
	if _, err := api.CloudFormation.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: &name, TemplateBody: &body, Tags: []cfntypes.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}},
	}); err != nil {
		t.Fatal(err)
	}
	d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
	if st, err := d.Rest(t.Context(), name); err != nil || st.Status != cfntypes.StackStatusRollbackFailed {
		t.Fatalf("the stack is %+v, %v", st, err)
	}
	if _, err := api.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("theirs-of-old")}); err != nil {
		t.Fatal(err)
	}
	return w
}

// naming are clients to whom CloudFormation tells the name of a resource that it
// could not make, as the id of one.
func (w *world) naming(a *architecture.Architecture, id, name string) deploy.Target {
	target := w.target(a)
	target.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil || r.Body == nil {
			return resp, err
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(answer, []byte("<ListStackResourcesResult>")) {
			is := "<LogicalResourceId>" + id + "</LogicalResourceId>"
			members := strings.Split(string(answer), "<member>")
			for i, m := range members {
				if strings.Contains(m, is) {
					m = strings.ReplaceAll(m, is, is+"<PhysicalResourceId>"+name+"</PhysicalResourceId>")
					members[i] = strings.ReplaceAll(m, ">DELETE_COMPLETE<", ">CREATE_FAILED<")
				}
			}
			answer = []byte(strings.Join(members, "<member>"))
		}
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
		return resp, nil
	})
	return target
}

func (w *world) buckets() (names []string) {
	for _, b := range w.find("AWS::S3::Bucket") {
		names = append(names, b.ID)
	}
	slices.Sort(names)
	return names
}

// TestL11RecoverTakesAwayWhatAFailedCreationMade: the recovery of a stack whose
// creation and rollback failed takes away what the creation made, and says so
// before and after; what was there before stays, and is named. Neither it nor a
// create loses what somebody has put in since.
func TestL11RecoverTakesAwayWhatAFailedCreationMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := failedTwice(t, a, false)
		o := deploy.RecoverOptions{Target: w.naming(a, "TelemetryBucket", "theirs-of-old")}
		api := w.target(a).AWS
		object := "put-since"
		if _, err := api.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("made-and-left"), Key: &object, Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
		const refusal = "somebody has put data into what it made: ModelsBucket (AWS::S3::Bucket) made-and-left: it holds objects"
		var failed *stack.Error
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &failed) || !strings.Contains(err.Error(), refusal) || failed.Root().Known != "creation-filled" {
			t.Errorf("recover: %v, want a refusal", err)
		}
		if both := w.buckets(); !slices.Equal(both, []string{"made-and-left", "theirs-of-old"}) {
			t.Errorf("after a refusal: %q", both)
		}
		if _, err := api.S3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new("made-and-left"), Key: &object}); err != nil {
			t.Fatal(err)
		}
		p, err := deploy.PlanRecovery(t.Context(), o)
		if err != nil || len(p.Stacks) != 1 {
			t.Fatalf("plan: %+v, %v", p, err)
		}
		shown := func(s deploy.StackRecovery) {
			t.Helper()
			if len(s.Takes) != 1 || s.Takes[0].PhysicalID != "made-and-left" || len(s.Held) != 1 || s.Held[0].PhysicalID != "theirs-of-old" || !s.Held[0].Left {
				t.Errorf("shown: %+v", s)
			}
		}
		shown(p.Stacks[0])
		done, err := deploy.Recover(t.Context(), o)
		if err != nil || len(done.Stacks) != 1 {
			t.Fatalf("recover: %+v, %v", done, err)
		}
		shown(done.Stacks[0])
		if left := w.buckets(); !slices.Equal(left, []string{"theirs-of-old"}) {
			t.Errorf("left: %q", left)
		}
		for _, want := range []string{"deleted bucket made-and-left, which the failed creation of stack poolside-storage had made", "theirs-of-old stays"} {
			if !strings.Contains(w.steps(), want) {
				t.Errorf("%q is not told: %s", want, w.steps())
			}
		}
		if st, err := (&stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}).Describe(t.Context(), a.StackName(architecture.Storage)); err != nil || st != nil {
			t.Errorf("the stack is still there: %+v, %v", st, err)
		}
	})
}

// TestL07DeleteLeavesWhatWasThereBefore: a stack names a bucket of somebody that it
// could not make. The deletion with all data takes away what the stack made, and
// leaves theirs: also if the stack goes already, since a run that was killed began it.
func TestL07DeleteLeavesWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	for _, going := range []bool{false, true} {
		t.Run(fmt.Sprintf("going=%t", going), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := failedTwice(t, a, false)
				if going {
					name := a.StackName(architecture.Storage)
					if _, err := w.target(a).AWS.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.naming(a, "TelemetryBucket", "theirs-of-old"), Data: deploy.DestroyData}); err != nil {
					t.Fatal(err)
				}
				if waits := strings.Contains(w.steps(), "waiting for stack poolside-storage: DELETE_IN_PROGRESS"); waits != going {
					t.Errorf("the stack goes already: %t", waits)
				}
				if left := w.buckets(); !slices.Equal(left, []string{"theirs-of-old"}) {
					t.Errorf("left: %q", left)
				}
			})
		})
	}
}

// TestL07DeleteLeavesWhatAnUpdateCouldNotMake: an update that failed, and that nobody
// rolled back, names a bucket of somebody that it could not make. The deletion with all
// data leaves it.
func TestL07DeleteLeavesWhatAnUpdateCouldNotMake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(
			`faults: [{id: forth, times: 1, fail: {stack: poolside-storage, resource: TelemetryBucket, on: [create], error: InternalFailure, late: false}}]`)})
		const made = `"ModelsBucket":{"Type":"AWS::S3::Bucket","DeletionPolicy":"RetainExceptOnCreate","Properties":{"BucketName":"made"}}`
		w.stack(a, architecture.Storage, `{"Resources":{`+made+`}}`)
		api, name := w.target(a).AWS, a.StackName(architecture.Storage)
		if _, err := api.CloudFormation.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{
			StackName: &name, DisableRollback: new(true), Tags: []cfntypes.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}},
			TemplateBody: new(`{"Resources":{` + made + `,"TelemetryBucket":{"Type":"AWS::S3::Bucket","DeletionPolicy":"RetainExceptOnCreate","Properties":{"BucketName":"theirs-of-old"}}}}`),
		}); err != nil {
			t.Fatal(err)
		}
		if st, err := (&stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}).Rest(t.Context(), name); err != nil || st.Status != cfntypes.StackStatusUpdateFailed {
			t.Fatalf("the stack is %+v, %v", st, err)
		}
		if _, err := api.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("theirs-of-old")}); err != nil {
			t.Fatal(err)
		}
		if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.naming(a, "TelemetryBucket", "theirs-of-old"), Data: deploy.DestroyData}); err != nil {
			t.Fatal(err)
		}
		if left := w.buckets(); !slices.Equal(left, []string{"theirs-of-old"}) {
			t.Errorf("left: %q", left)
		}
	})
}

// couldNotMake makes a stack with the deployment's tag whose creation of a resource
// failed, and that nobody rolled back.
func couldNotMake(t *testing.T, a *architecture.Architecture, name architecture.StackName, resource, body string) *trial {
	t.Helper()
	w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: fmt.Appendf(nil, `faults: [{id: make, times: 1, fail: {stack: %s, resource: %s, on: [create], error: InternalFailure, late: false}}]`, a.StackName(name), resource)})
	api := w.target(a).AWS
	if _, err := api.CloudFormation.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: new(a.StackName(name)), TemplateBody: &body, DisableRollback: new(true), Tags: []cfntypes.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}},
	}); err != nil {
		t.Fatal(err)
	}
	d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
	if st, err := d.Rest(t.Context(), a.StackName(name)); err != nil || st.Status != cfntypes.StackStatusCreateFailed {
		t.Fatalf("the stack is %+v, %v", st, err)
	}
	return w
}

// TestL06ProtectionOfOthersStays: a stack names a database of somebody that it could
// not make. A deletion neither asks for its protection nor lifts it.
func TestL06ProtectionOfOthersStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		db := a.DatabaseName()
		const network = `"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.9.0.0/16"}},
			"One":{"Type":"AWS::EC2::Subnet","Properties":{"VpcId":{"Ref":"Vpc"},"CidrBlock":"10.9.0.0/20","AvailabilityZone":"us-east-1a"}},
			"Two":{"Type":"AWS::EC2::Subnet","Properties":{"VpcId":{"Ref":"Vpc"},"CidrBlock":"10.9.16.0/20","AvailabilityZone":"us-east-1b"}},
			"SubnetGroup":{"Type":"AWS::RDS::DBSubnetGroup","Properties":{"DBSubnetGroupDescription":"both","SubnetIds":[{"Ref":"One"},{"Ref":"Two"}]}}`
		body := `{"Resources":{` + network + `,"Database":{"Type":"AWS::RDS::DBInstance","DeletionPolicy":"RetainExceptOnCreate","Properties":{
			"DBInstanceIdentifier":"` + db + `","Engine":"postgres","DBInstanceClass":"db.m7g.large","AllocatedStorage":"50","MasterUsername":"keeper",
			"ManageMasterUserPassword":true,"DeletionProtection":true,"DBSubnetGroupName":{"Ref":"SubnetGroup"}}}}}`
		w := couldNotMake(t, a, architecture.Database, "Database", body)
		api := w.target(a).AWS
		if _, err := (&stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}).Apply(t.Context(), stack.Spec{Name: "theirs", Template: []byte(body)}, nil); err != nil {
			t.Fatal(err)
		}
		var asked []deploy.Protection
		_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.naming(a, "Database", db), Data: deploy.DestroyData, Lift: func(_ context.Context, all []deploy.Protection) error {
			asked = append(asked, all...)
			return nil
		}})
		if err != nil || len(asked) > 0 {
			t.Errorf("asked to lift %+v, %v", asked, err)
		}
		out, err := api.RDS.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &db})
		if err != nil || len(out.DBInstances) != 1 || !*out.DBInstances[0].DeletionProtection {
			t.Errorf("their database: %+v, %v", out, err)
		}
	})
}

// TestL08LogsOfOthersStay: a stack names a log group of somebody that it could not
// make. A deletion doesn't take it for one that a service wrote again.
func TestL08LogsOfOthersStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		group := a.ClusterLogGroup()
		w := couldNotMake(t, a, architecture.Cluster, "ClusterLogGroup", `{"Resources":{"ClusterLogGroup":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"`+group+`"}}}}`)
		testkit.MustCreate(t, w.box, "AWS::Logs::LogGroup", map[string]any{"LogGroupName": group})
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.naming(a, "ClusterLogGroup", group), Data: deploy.DestroyData})
		if err != nil {
			t.Fatal(err)
		}
		keptAs(t, d, "AWS::Logs::LogGroup", group)
		if left := w.find("AWS::Logs::LogGroup"); len(left) != 1 || left[0].ID != group {
			t.Errorf("left: %+v", left)
		}
	})
}
