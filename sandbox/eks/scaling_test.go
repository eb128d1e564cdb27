package eks_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// EKS tags the Auto Scaling group of a node group for the cluster autoscaler, and tells
// the size that the group is given there as the node group's, which later updates keep.
//
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
// https://docs.aws.amazon.com/eks/latest/APIReference/API_NodegroupScalingConfig.html
func TestNodegroupHasItsGroupsSize(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.make(t, eks.TypeNodegroup, with(w.nodes(), obj{"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 5}}))
	w.later(time.Hour)
	nodes := func(when string, want int) {
		t.Helper()
		out, err := call(t, w, "DescribeNodegroup", obj{"name": "c", "nodegroupName": "n"})
		if err != nil {
			t.Fatal(err)
		}
		if got := props.Int(out, -1, "nodegroup", "scalingConfig", "desiredSize"); got != want {
			t.Errorf("%s the size is %d, want %d", when, got, want)
		}
		w.do(t, func(tx *account.Tx) error {
			list, err := eks.ControlPlanes(tx)
			if err == nil && len(list[0].Nodes) != want {
				t.Errorf("%s there are %d nodes, want %d", when, len(list[0].Nodes), want)
			}
			return err
		})
	}
	nodes("at first", 1)
	w.do(t, func(tx *account.Tx) error {
		g := tx.List(autoscaling.TypeGroup)[0]
		want := map[string]string{
			"eks:cluster-name": "c", "eks:nodegroup-name": "n", "kubernetes.io/cluster/c": "owned",
			"k8s.io/cluster-autoscaler/enabled": "true", "k8s.io/cluster-autoscaler/c": "owned",
		}
		if d := cmp.Diff(want, g.Tags); d != "" {
			t.Error(d)
		}
		for _, o := range autoscaling.Service().Operations {
			if o.Name == "SetDesiredCapacity" {
				_, err := o.Do(tx, &wire.Request{In: obj{"AutoScalingGroupName": g.ID, "DesiredCapacity": 3}})
				return err
			}
		}
		return nil
	})
	w.later(time.Hour)
	nodes("scaled", 3)
	if _, err := call(t, w, "UpdateNodegroupConfig", obj{"name": "c", "nodegroupName": "n", "labels": obj{"addOrUpdateLabels": obj{"a": "b"}}}); err != nil {
		t.Fatal(err)
	}
	nodes("while labels change", 3)
	w.later(time.Hour)
	nodes("with other labels", 3)
}
