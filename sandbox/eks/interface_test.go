package eks_test

import (
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// A cluster's control plane has interfaces in the cluster's subnets, described by
// its name; they go with the cluster.
//
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func TestInterfacesOfClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, d, err := w.create(eks.TypeCluster, w.cluster())
	check(t, err, "")
	faces := func() (out []*account.Resource) {
		w.do(t, func(tx *account.Tx) error {
			for _, f := range tx.List(ec2.TypeNetworkInterface) {
				if props.Str(f.Props, "Description") == "Amazon EKS "+c.ID {
					out = append(out, f)
				}
			}
			return nil
		})
		return out
	}
	if n := len(faces()); n != 3 {
		t.Errorf("%d interfaces, want one in each of three zones", n)
	}
	for _, f := range faces() {
		if f.Status != "in-use" || f.Tags["kubernetes.io/cluster/"+c.ID] != "owned" {
			t.Errorf("interface with tags %v is %s", f.Tags, f.Status)
		}
		w.do(t, func(tx *account.Tx) error {
			_, err := tx.Delete(tx.Get(ec2.TypeSubnet, props.Str(f.Props, "SubnetId")), false)
			check(t, err, "DependencyViolation: The subnet")
			return nil
		})
	}
	w.later(d + time.Minute)
	w.do(t, func(tx *account.Tx) error {
		_, err := tx.Delete(tx.Get(eks.TypeCluster, c.ID), true)
		return err
	})
	w.later(time.Hour)
	if n := len(faces()); n != 0 {
		t.Errorf("%d interfaces are left", n)
	}
}
