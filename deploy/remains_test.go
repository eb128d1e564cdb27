package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// steps are what a run said it did outside of CloudFormation.
func (w *world) steps() string {
	var all []string
	for _, e := range w.events {
		if s, ok := e.(deploy.Step); ok {
			all = append(all, s.Text)
		}
	}
	return strings.Join(all, "\n")
}

func awsTags(pairs ...string) []any {
	var out []any
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, map[string]any{"Key": pairs[i], "Value": pairs[i+1]})
	}
	return out
}

// controllers makes what controllers in the cluster would: a protected load
// balancer with its target group and security group, whose rules and those of
// the nodes' group name each other, and the volume of a pod.
func (w *world) controllers(a *architecture.Architecture, out map[architecture.StackName]map[string]string) {
	w.t.Helper()
	vpc := out[architecture.Network]["VpcId"]
	tag := awsTags("elbv2.k8s.aws/cluster", a.ClusterName())
	c := w.target(a).AWS
	subnets, err := c.EC2.DescribeSubnets(w.t.Context(), &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{
		{Name: new("vpc-id"), Values: []string{vpc}}, {Name: new("tag:kubernetes.io/role/internal-elb"), Values: []string{"1"}},
	}})
	if err != nil || len(subnets.Subnets) < 2 {
		w.t.Fatalf("private subnets: %+v, %v", subnets, err)
	}
	ids := []any{}
	for _, s := range subnets.Subnets {
		ids = append(ids, *s.SubnetId)
	}
	put := func(typ string, p map[string]any) string { return testkit.MustCreate(w.t, w.box, typ, p).ID }
	group := put("AWS::EC2::SecurityGroup", map[string]any{"VpcId": vpc, "GroupDescription": "backend", "Tags": tag})
	other := w.one("AWS::EC2::SecurityGroup", func(r *account.Resource) bool { return r.Tags["aws:eks:cluster-name"] == a.ClusterName() }).ID
	for _, pair := range [][2]string{{group, other}, {other, group}} {
		_, err := c.EC2.AuthorizeSecurityGroupIngress(w.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &pair[0], IpPermissions: []ec2types.IpPermission{{
			IpProtocol: new("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &pair[1]}},
		}}})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	balancer := put("AWS::ElasticLoadBalancingV2::LoadBalancer", map[string]any{
		"Type": "application", "Scheme": "internal", "Subnets": ids, "SecurityGroups": []any{group}, "Tags": tag,
		"LoadBalancerAttributes": []any{map[string]any{"Key": "deletion_protection.enabled", "Value": "true"}},
	})
	target := put("AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{"VpcId": vpc, "Port": 80, "Protocol": "HTTP", "TargetType": "ip", "Tags": tag})
	put("AWS::ElasticLoadBalancingV2::Listener", map[string]any{
		"LoadBalancerArn": balancer, "Port": 80, "Protocol": "HTTP", "DefaultActions": []any{map[string]any{"Type": "forward", "TargetGroupArn": target}},
	})
	_, err = c.EC2.CreateVolume(w.t.Context(), &ec2.CreateVolumeInput{
		AvailabilityZone: subnets.Subnets[0].AvailabilityZone, Size: aws.Int32(8), TagSpecifications: []ec2types.TagSpecification{{
			ResourceType: ec2types.ResourceTypeVolume, Tags: []ec2types.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}, {Key: new("CSIVolumeName"), Value: new("pvc-1")}},
		}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestL02OneDeleteIsEnough: with what controllers made, interfaces that services
// leave or keep for long, and logs that come back, one delete leaves nothing.
func TestL02OneDeleteIsEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte(`faults:
  - {id: balancers, interfaces: {of: load-balancers, stay: 30m}}
  - {id: database, interfaces: {of: rds, stay: forever}}
  - {id: cluster, interfaces: {of: eks, stay: 40m}}
`)})
		out := w.create(a).Outputs
		w.controllers(a, out)
		w.seen = func(e deploy.Event) {
			if f, ok := e.(deploy.StackFinished); ok && f.Stack == architecture.Database && f.Action == deploy.DeleteStack {
				testkit.MustCreate(t, w.box, "AWS::Logs::LogGroup", map[string]any{"LogGroupName": a.DatabaseLogGroup("error")})
			}
		}
		d := w.destroy(a)
		if d.Outcome != deploy.Clean || len(d.Blockers) > 0 {
			t.Errorf("outcome %s, blockers %v", d.Outcome, d.Blockers)
		}
		w.seen = nil
		for _, want := range []string{"LoadBalancer arn:", "TargetGroup arn:", "took the rules that name security group", "waiting for network interface", "deleted volume vol-", "deleted log group " + a.DatabaseLogGroup("error")} {
			if !strings.Contains(w.steps(), want) {
				t.Errorf("no step says %q:\n%s", want, w.steps())
			}
		}
		w.clean(d)
	})
}

// TestL04BlockedNamesTheHolder: what somebody else holds is named with its
// holder and the next command, in an error and a result; with it out of the way
// the same delete is clean. The deadline ends a delete too.
func TestL04BlockedNamesTheHolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		vpc := w.create(a).Outputs[architecture.Network]["VpcId"]
		c := w.target(a).AWS
		subnets, err := c.EC2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{
			{Name: new("vpc-id"), Values: []string{vpc}}, {Name: new("tag:kubernetes.io/role/internal-elb"), Values: []string{"1"}},
		}})
		if err != nil || len(subnets.Subnets) < 2 {
			t.Fatalf("private subnets: %+v, %v", subnets, err)
		}
		subnet := *subnets.Subnets[0].SubnetId
		theirs := testkit.MustCreate(t, w.box, "AWS::ElasticLoadBalancingV2::LoadBalancer", map[string]any{
			"Name": "theirs", "Type": "application", "Scheme": "internal", "Subnets": []any{subnet, *subnets.Subnets[1].SubnetId},
		}).ID

		late := deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData, Deadline: 5 * time.Minute}
		d, err := deploy.Delete(t.Context(), late)
		var overdue *deploy.OverdueError
		var blocked *deploy.BlockedError
		if !errors.As(err, &overdue) || !errors.As(err, &blocked) || d == nil || d.Outcome != deploy.Blocked {
			t.Fatalf("with a deadline of five minutes: %+v, %v", d, err)
		}
		if !slices.ContainsFunc(blocked.Blockers, func(b deploy.Blocker) bool { return strings.HasSuffix(b.Reason, "_IN_PROGRESS") }) {
			t.Errorf("blockers do not say what goes on: %+v", blocked.Blockers)
		}

		began := time.Now()
		d, err = deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
		if !errors.As(err, &blocked) || d == nil || d.Outcome != deploy.Blocked {
			t.Fatalf("with somebody's load balancer: %+v, %v", d, err)
		}
		i := slices.IndexFunc(blocked.Blockers, func(b deploy.Blocker) bool { return b.Type == "AWS::EC2::Subnet" && b.ID == subnet })
		if i < 0 {
			t.Fatalf("the subnet is no blocker: %+v", blocked.Blockers)
		}
		b := blocked.Blockers[i]
		if !strings.Contains(b.Holder, "ELB app/theirs/") || !strings.Contains(b.Next, "--names theirs") || b.Stack != architecture.Network || b.Reason == "" {
			t.Errorf("the blocker is %+v", b)
		}
		t.Logf("blocked after %v: %v", time.Since(began), blocked.Blockers)

		if !slices.ContainsFunc(blocked.Blockers, func(b deploy.Blocker) bool {
			return b.ID == theirs && strings.Contains(b.Next, "aws elbv2 delete-load-balancer")
		}) {
			t.Errorf("their load balancer is no blocker: %+v", blocked.Blockers)
		}

		testkit.Refused(t, testkit.Delete(w.box, "AWS::ElasticLoadBalancingV2::LoadBalancer", theirs), "")
		w.clean(w.destroy(a))
	})
}

// TestL05KilledCreateLeavesNothing kills a create after each of its first calls:
// a delete leaves the account as it was found, and only says that there is
// nothing if there is nothing.
func TestL05KilledCreateLeavesNothing(t *testing.T) {
	t.Parallel()
	for n := range 14 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				ctx, kill := context.WithCancelCause(t.Context())
				writes := 0
				armed := false
				w := newWorld(t, a, sandbox.Options{Fresh: true, OnCall: func(c sandbox.Call) {
					if !armed || !slices.Contains([]string{"CreateServiceLinkedRole", "CreateChangeSet", "ExecuteChangeSet", "PutParameter"}, c.Operation) {
						return
					}
					if writes++; writes == n+1 {
						kill(errKilled)
					}
				}})
				armed = true
				_, err := deploy.Create(ctx, deploy.CreateOptions{Target: w.target(a)})
				if !errors.Is(err, errKilled) {
					t.Fatalf("the create was not killed: %v", err)
				}
				armed = false
				time.Sleep(10 * time.Minute)
				// Who worked on it is told of apart, and goes in any case.
				before := w.left(func(name string) bool { return strings.HasPrefix(name, "AWS::SSM::Parameter "+a.LeasePath()+"/") })
				d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
				if errors.Is(err, deploy.ErrAbsent) {
					if before != "" {
						t.Errorf("said to be absent, with this there:\n%s", before)
					}
					d, err = &deploy.Deleted{}, nil
				}
				if err != nil {
					t.Fatal(err)
				}
				w.clean(d)
			})
		})
	}
}
