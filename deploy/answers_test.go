package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL26LostAnswerOfARevocation: a call that was carried out and whose answer
// was lost is done.
func TestL26LostAnswerOfARevocation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(
			`faults: [{id: in, cut: {operation: "RevokeSecurityGroup*", carriedOut: true}}]`)})
		w.create(a)
		c := w.target(a).AWS
		out, err := deploy.Outputs(t.Context(), w.target(a))
		if err != nil {
			t.Fatal(err)
		}
		groups, err := c.EC2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{
			{Name: new("group-name"), Values: []string{"default"}}, {Name: new("vpc-id"), Values: []string{out[architecture.Network]["VpcId"]}},
		}})
		if err != nil || len(groups.SecurityGroups) != 1 {
			t.Fatalf("the default group: %v, %v", groups, err)
		}
		if g := groups.SecurityGroups[0]; len(g.IpPermissions)+len(g.IpPermissionsEgress) > 0 {
			t.Errorf("the default group has rules: %v %v", g.IpPermissions, g.IpPermissionsEgress)
		}
		if n := w.faults.Tallies()[0].Times; n != 1 {
			t.Errorf("%d answers were lost", n)
		}
	})
}

// TestL20KeysOfAResumedRunWait: a run that is killed just after it made the role
// that keys name is followed by one that waits until KMS knows the role.
func TestL20KeysOfAResumedRunWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := broken(t, a, a, 3, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults: [{id: iam, propagation: {takes: 1m}}]`)})
		role := time.Time{}
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.Step); ok && role.IsZero() && s.Stack == "" {
				role = s.Time
			}
		}
		if !killed(t, 12*time.Second, func(ctx context.Context) error {
			_, err := deploy.Create(ctx, deploy.CreateOptions{Target: w.target(a)})
			return err
		}) || role.IsZero() {
			t.Fatal("the run was not killed while it waited for the role")
		}
		w.create(a)
	})
}

// TestL20OnlyOwnPrincipalsAreWaitedFor: keys that are refused for a principal are
// tried again if this run made the role that they name; if the role was there
// before, they fail at once.
func TestL20OnlyOwnPrincipalsAreWaitedFor(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own=%v", own), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults:
  - {id: keys, times: 1, fail: {stack: poolside-keys, resource: StorageKey, code: MalformedPolicyDocumentException, message: Policy contains a statement with one or more invalid principals.}}`)})
				c := w.target(a).AWS
				if !own {
					if _, err := c.IAM.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: new("autoscaling.amazonaws.com")}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Hour)
				}
				waited := false
				w.seen = func(e deploy.Event) {
					if s, ok := e.(deploy.Step); ok && strings.Contains(s.Text, "trying again in 30s") {
						waited = true
					}
				}
				_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
				var failed *stack.Error
				if own != (err == nil) || own != waited || !own && (!errors.As(err, &failed) || failed.Root().Known != "key-principal") {
					t.Errorf("waited %v, create: %v", waited, err)
				}
			})
		})
	}
}

// TestL21TheRoleOfAutoScalingComesBeforeTheKeys: in an account without it, the role that
// key policies name is made, by the call that services make it by, before the keys; a
// deletion leaves it to the account.
func TestL21TheRoleOfAutoScalingComesBeforeTheKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const role = "AWSServiceRoleForAutoScaling"
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		linked := func() *account.Resource {
			for _, r := range w.find("AWS::IAM::Role") {
				if r.ID == role {
					return r
				}
			}
			return nil
		}
		if linked() != nil {
			t.Fatal("the account has the role")
		}
		keys := 0
		w.seen = func(e deploy.Event) {
			if r, ok := e.(deploy.ResourceEvent); ok && r.Type == "AWS::KMS::Key" && r.Status == "CREATE_IN_PROGRESS" {
				keys++
				if linked() == nil {
					t.Errorf("%s is made before the role that it names", r.LogicalID)
				}
			}
		}
		w.listen = true
		w.create(a)
		w.seen = nil
		named := 0
		for _, k := range w.find("AWS::KMS::Key") {
			if strings.Contains(fmt.Sprint(k.Props["KeyPolicy"]), role) {
				named++
			}
		}
		if keys == 0 || named == 0 {
			t.Errorf("%d keys were made, %d name the role", keys, named)
		}
		w.destroy(a)
		if linked() == nil {
			t.Error("the role went with the deployment")
		}
	})
}
