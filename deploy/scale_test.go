package deploy_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// instances are those of a node group that run.
func (w *world) instances(nodegroup string) (ids []string) {
	for _, r := range w.box.Account().Resources() {
		if r.Type == "ec2:instance" && r.Tags["eks:nodegroup-name"] == nodegroup && r.Status == "running" {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// TestScaledNodeGroupsLeaveThePlanEmpty: sizes and bounds that people or an
// autoscaler gave a node group are theirs, whether or not drift is looked for.
// Then a version change goes alone, on request beside others: first the control
// plane, then the nodes, each by itself.
func TestScaledNodeGroupsLeaveThePlanEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		group := w.one("AWS::EKS::Nodegroup", func(r *account.Resource) bool { return r.LogicalID == "CoreZone1" })
		cluster, name, _ := strings.Cut(group.ID, "/")
		if _, err := w.target(a).AWS.EKS.UpdateNodegroupConfig(t.Context(), &eks.UpdateNodegroupConfigInput{
			ClusterName: &cluster, NodegroupName: &name,
			ScalingConfig: &ekstypes.NodegroupScalingConfig{MinSize: aws.Int32(0), DesiredSize: aws.Int32(7), MaxSize: aws.Int32(9)},
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		// The cluster autoscaler changes the Auto Scaling group alone, and EKS tells it.
		live, err := w.target(a).AWS.EKS.DescribeNodegroup(t.Context(), &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.target(a).AWS.AutoScaling.SetDesiredCapacity(t.Context(), &autoscaling.SetDesiredCapacityInput{
			AutoScalingGroupName: live.Nodegroup.Resources.AutoScalingGroups[0].Name, DesiredCapacity: aws.Int32(8),
		}); err != nil {
			t.Fatal(err)
		}
		stays := func(when string) {
			t.Helper()
			live, err := w.target(a).AWS.EKS.DescribeNodegroup(t.Context(), &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &name})
			if err != nil || *live.Nodegroup.ScalingConfig.DesiredSize != 8 {
				t.Errorf("%s: %v, %v", when, live.Nodegroup.ScalingConfig, err)
			}
			if got := len(w.instances(name)); got != 8 {
				t.Errorf("%s there are %d instances", when, got)
			}
		}
		time.Sleep(time.Hour)
		stays("scaled")
		w.emptyPlan(a)
		if p := w.plan(a, true); !p.Empty() {
			t.Errorf("with drift kept, the plan has %q", lines(p))
		}
		if res := w.update(a); res.Changes != 0 {
			t.Errorf("an update changed %d resources", res.Changes)
		}
		stays("after an update that changes nothing")
		scaling := func() map[string]any {
			s, _ := w.one("AWS::EKS::Nodegroup", func(r *account.Resource) bool { return r.ID == group.ID }).Props["ScalingConfig"].(map[string]any)
			return s
		}
		if got := scaling()["MaxSize"]; got != 9.0 && got != 9 {
			t.Errorf("the group's bounds were put back: %v", scaling())
		}

		next := became(t, a, func(c *config.Config) {
			c.Cluster.Version = "1.36"
			c.Cluster.LogRetentionDays = 90
			c.Cluster.Logs = c.Cluster.Logs[1:]
			for i := range c.Compute {
				c.Compute[i].DiskGiB += 20
			}
		})
		if _, err := deploy.MakePlan(t.Context(), w.target(next)); err == nil || strings.Join(paths(t, err), " ") != "cluster.version allow-mixed" {
			t.Errorf("plan: %v", err)
		}
		p, err := deploy.MakePlan(t.Context(), w.allowing(next, guard.Mixed))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Stacks {
			want := map[string]int{"cluster": 1, "nodes": 1}[string(s.Stack)]
			if len(s.Before) != want || want == 1 && !strings.Contains(s.Before[0], "changing the version of") {
				t.Errorf("before stack %s the plan has %q", s.Stack, s.Before)
			}
		}
		w.events, w.listen = nil, true
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.allowing(next, guard.Mixed)}); err != nil {
			t.Fatalf("update: %v\n%s", err, w.failures())
		}
		var order []string
		for _, e := range w.events {
			switch e := e.(type) {
			case deploy.Step:
				if strings.Contains(e.Text, "changing the version of") {
					order = append(order, "version in "+string(e.Stack))
				}
			case deploy.ResourceEvent:
				if e.Status == "UPDATE_COMPLETE" && (e.Stack == "cluster" || e.Stack == "nodes") && slices.Contains([]string{"AWS::EKS::Cluster", "AWS::EKS::Nodegroup", "AWS::Logs::LogGroup", "AWS::EC2::LaunchTemplate"}, e.Type) {
					if what := strings.TrimPrefix(e.Type, "AWS::") + " in " + string(e.Stack); len(order) == 0 || order[len(order)-1] != what {
						order = append(order, what)
					}
				}
			}
		}
		got := strings.Join(order, ", ")
		for _, want := range []string{"version in cluster, EKS::Cluster in cluster, ", "version in nodes, EKS::Nodegroup in nodes, "} {
			if !strings.Contains(got, want) {
				t.Errorf("the order is %s, want in it %s", got, want)
			}
		}
		if v := w.one("AWS::EKS::Cluster", nil).Props["Version"]; v != "1.36" {
			t.Errorf("the cluster runs %v", v)
		}
		w.emptyPlan(next)
	})
}
