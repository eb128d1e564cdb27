package deploy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL12RecoverContinuesARollback: an update fails and so does its way back. The
// recovery shows the exact resource, its cause and what skipping means; it skips
// only what is named, and the database is the same one afterwards.
func TestL12RecoverContinuesARollback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		next := changed(t, a)
		w := broken(t, a, next, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults:
  - {id: update, fail: {stack: poolside-database, resource: Database, on: [update], error: InvalidDBInstanceState, late: true}}
  - {id: back, times: 2, fail: {stack: poolside-database, resource: Database, on: [rollback], error: InternalFailure}}`)})
		w.create(a)
		before := ids(w.world)
		if p, err := deploy.PlanRecovery(t.Context(), deploy.RecoverOptions{Target: w.target(a)}); err != nil || !p.Empty() {
			t.Errorf("of a deployment that is whole: %+v, %v", p, err)
		}
		var failed *stack.Error
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next)}); !errors.As(err, &failed) || !slices.Equal(failed.Skip, []string{"Database"}) {
			t.Fatalf("update: %v, want a rollback that failed", err)
		}
		if s, err := deploy.Look(t.Context(), w.target(next)); err != nil || s.Next != "recover" {
			t.Errorf("status: next is %q, %v", s.Next, err)
		}
		o := deploy.RecoverOptions{Target: w.target(next)}
		p, err := deploy.PlanRecovery(t.Context(), o)
		if err != nil || len(p.Stacks) != 1 || p.Err() != nil {
			t.Fatalf("plan: %+v, %v", p, err)
		}
		s := p.Stacks[0]
		if s.Stack != architecture.Database || s.Status != "UPDATE_ROLLBACK_FAILED" || s.Root == nil || s.Root.Known == "" || len(s.Held) != 1 || s.Held[0].LogicalID != "Database" || !s.Held[0].Data || s.Held[0].Left {
			t.Errorf("shown: %+v", s)
		}
		// The cause is still there.
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &failed) {
			t.Errorf("recover: %v, want the failure again", err)
		}
		var refused *deploy.UnrecoverableError
		for _, skip := range []string{"database/SubnetGroup", "database/None"} {
			o.Skip = []string{skip}
			if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &refused) {
				t.Errorf("skipping %s: %v, want a refusal", skip, err)
			}
		}
		o.Skip = []string{"edge/Rule"}
		if _, err := deploy.Recover(t.Context(), o); err == nil {
			t.Error("skipping what no stuck stack has is not refused")
		}
		o.Skip = []string{"database/Database"}
		if done, err := deploy.Recover(t.Context(), o); err != nil || len(done.Stacks) != 1 || !done.Stacks[0].Held[0].Left {
			t.Fatalf("recover: %+v, %v", done, err)
		}
		w.update(next)
		w.emptyPlan(next)
		for id := range before {
			if !ids(w.world)[id] {
				t.Errorf("%s is gone", id)
			}
		}
	})
}

// TestL12ADeletionThatFailedIsNotFinishedByCreate: somebody began to delete the
// stack of the database, and failed. Neither create nor recover finishes that;
// delete does, or a recovery that leaves the database behind.
func TestL12ADeletionThatFailedIsNotFinishedByCreate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		cfn := w.target(a).AWS.CloudFormation
		d := &stack.Driver{CFN: cfn, Clock: w.target(a).AWS.Clock}
		name := a.StackName(architecture.Database)
		if _, err := cfn.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
			t.Fatal(err)
		}
		// Still on its way: what it comes to is what is judged.
		o := deploy.RecoverOptions{Target: w.target(a), Force: true}
		var refused *deploy.UnrecoverableError
		if st, err := d.Describe(t.Context(), name); err != nil || st.Status != "DELETE_IN_PROGRESS" {
			t.Fatalf("%+v, %v", st, err)
		}
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &refused) {
			t.Errorf("recover by force of a deletion under way: %v, want a refusal", err)
		}
		if st, err := d.Rest(t.Context(), name); err != nil || st == nil || st.Status != "DELETE_FAILED" {
			t.Fatalf("%+v, %v", st, err)
		}
		o.Force = false
		var failed *stack.Error
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)}); !errors.As(err, &failed) || failed.Root().Known != "deletion-began" {
			t.Errorf("create: %v, want a refusal to finish the deletion", err)
		}
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &refused) {
			t.Errorf("recover: %v, want a refusal", err)
		}
		o.Force = true
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &refused) {
			t.Errorf("recover by force: %v, want a refusal", err)
		}
		before := ids(w)
		// The group that the database uses can't go either.
		o.Retain = []string{"database/Database"}
		if _, err := deploy.Recover(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if st, err := d.Describe(t.Context(), name); err != nil || st != nil {
			t.Errorf("the stack is still there: %+v, %v", st, err)
		}
		for id := range before {
			if !ids(w)[id] {
				t.Errorf("%s is gone", id)
			}
		}
	})
}

// TestL12RecoverByForceNamesWhatItLeaves: a rule of somebody's names a security
// group of a stack, so the deletion of the stack fails, and again when it is repeated.
// By force the stack goes, the rest of it too, and the group is named.
func TestL12RecoverByForceNamesWhatItLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		api := w.target(a).AWS
		d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
		name := a.StackName(architecture.Network)
		vpc, err := api.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: new("10.9.0.0/16")})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := api.EC2.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{VpcId: vpc.Vpc.VpcId, GroupName: new("theirs"), Description: new("theirs")})
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"Resources":{
			"Logs":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"goes"}},
			"Group":{"Type":"AWS::EC2::SecurityGroup","DependsOn":"Logs","Properties":{"GroupDescription":"ours","VpcId":%q}}},
			"Outputs":{"Group":{"Value":{"Fn::GetAtt":["Group","GroupId"]}}}}`, *vpc.Vpc.VpcId)
		made, err := d.Apply(t.Context(), stack.Spec{Name: name, Template: []byte(body), Tags: map[string]string{deploy.Tag: a.Name()}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		group := made.State.Outputs["Group"]
		if _, err := api.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: theirs.GroupId, IpPermissions: []ec2types.IpPermission{
			{IpProtocol: new("-1"), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &group}}},
		}}); err != nil {
			t.Fatal(err)
		}
		var failed *stack.Error
		if err := d.Delete(t.Context(), name, stack.DeleteOptions{}); !errors.As(err, &failed) || failed.Status != "DELETE_FAILED" {
			t.Fatalf("delete: %v, want a failure", err)
		}
		o := deploy.RecoverOptions{Target: w.target(a)}
		if _, err := deploy.Recover(t.Context(), o); !errors.As(err, &failed) {
			t.Errorf("recover: %v, want the failure again", err)
		}
		o.Force = true
		got, err := deploy.Recover(t.Context(), o)
		if err != nil || len(got.Stacks) != 1 {
			t.Fatalf("recover by force: %+v, %v", got, err)
		}
		want := []deploy.HeldResource{{LogicalID: "Group", PhysicalID: group, Type: "AWS::EC2::SecurityGroup", Left: true}}
		if diff := cmp.Diff(want, got.Stacks[0].Held, cmpopts.IgnoreUnexported(deploy.HeldResource{})); diff != "" {
			t.Errorf("what is left (-want +got):\n%s", diff)
		}
		if !strings.Contains(w.steps(), "left behind, in no stack: AWS::EC2::SecurityGroup "+group) {
			t.Errorf("what is told: %s", w.steps())
		}
		if st, err := d.Describe(t.Context(), name); err != nil || st != nil {
			t.Errorf("the stack is still there: %+v, %v", st, err)
		}
		if slices.ContainsFunc(w.find("AWS::Logs::LogGroup"), func(r *account.Resource) bool { return r.ID == "goes" }) {
			t.Error("the log group is still there")
		}
		if !slices.ContainsFunc(w.find("AWS::EC2::SecurityGroup"), func(r *account.Resource) bool { return r.ID == group }) {
			t.Error("the group is gone")
		}
	})
}

// TestL12RecoverOfWhatEndsByItself: a stack is in motion, and whole in the end. The
// recovery waits, does nothing, and says what happened.
func TestL12RecoverOfWhatEndsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		api := w.target(a).AWS
		d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
		name := a.StackName(architecture.Network)
		body := func(days int) []byte {
			return fmt.Appendf(nil, `{"Resources":{"Logs":{"Type":"AWS::Logs::LogGroup","Properties":{"RetentionInDays":%d}}}}`, days)
		}
		if _, err := d.Apply(t.Context(), stack.Spec{Name: name, Template: body(30), Tags: map[string]string{deploy.Tag: a.Name()}}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := api.CloudFormation.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: &name, TemplateBody: new(string(body(60)))}); err != nil {
			t.Fatal(err)
		}
		got, err := deploy.Recover(t.Context(), deploy.RecoverOptions{Target: w.target(a)})
		if err != nil {
			t.Fatal(err)
		}
		want := []deploy.SettledStack{{Stack: architecture.Network, Name: name, Was: "UPDATE_IN_PROGRESS", Status: "UPDATE_COMPLETE"}}
		if diff := cmp.Diff(want, got.Settled); diff != "" || !got.Empty() {
			t.Errorf("%d stacks are recovered; settled (-want +got):\n%s", len(got.Stacks), diff)
		}
	})
}

// TestL12RecoverLeavesAnotherCluster: the deletion of the cluster's stack failed at a
// cluster that somebody made in place of the deployment's. A recovery that would delete
// that one is refused, and so is its plan; one that leaves it behind is not.
func TestL12RecoverLeavesAnotherCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		w.breakNext(a, `faults: [{id: it, times: 3, fail: {stack: poolside-cluster, resource: Cluster, on: [delete], error: InternalFailure}}]`)
		api := w.target(a).AWS
		d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
		var failed *stack.Error
		if err := d.Delete(t.Context(), a.StackName(architecture.Cluster), stack.DeleteOptions{}); !errors.As(err, &failed) || failed.Status != "DELETE_FAILED" {
			t.Fatalf("delete: %v, want a failure", err)
		}
		err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, c := range tx.List("AWS::EKS::Cluster") {
				c.Tags[architecture.StackIDTag] += "-of-another"
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		o := deploy.RecoverOptions{Target: w.target(a)}
		for _, retain := range [][]string{nil, {"cluster/Cluster"}} {
			o.Retain = retain
			_, planned := deploy.PlanRecovery(t.Context(), o)
			_, err := deploy.Recover(t.Context(), o)
			var refused *deploy.RefusedError
			var loses *deploy.UnrecoverableError
			switch {
			case retain != nil && (planned != nil || err != nil):
				t.Errorf("leaving it behind: planned %v, recovered %v", planned, err)
			case retain == nil && (!errors.As(planned, &refused) || !errors.As(err, &refused) && !errors.As(err, &loses)):
				t.Errorf("deleting it: planned %v, recovered %v", planned, err)
			}
			if len(w.find("AWS::EKS::Cluster")) != 1 {
				t.Fatal("their cluster is gone")
			}
		}
		if st, err := d.Describe(t.Context(), a.StackName(architecture.Cluster)); err != nil || st != nil {
			t.Errorf("the stack is still there: %+v, %v", st, err)
		}
	})
}
