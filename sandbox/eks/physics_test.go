package eks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// refused wants the creation of a resource refused.
func refused(t *testing.T, w *world, typ string, p obj, want string) {
	t.Helper()
	_, _, err := w.fork().create(typ, p)
	check(t, err, want)
}

// update moves a resource to properties with changes.
func (w *world) update(typ, id string, changes ...obj) error {
	return w.Do(func(tx *account.Tx) error {
		r := tx.Get(typ, id)
		_, err := tx.Update(r, with(r.Props, changes...), true)
		return err
	})
}

func (w *world) remove(typ, id string) error {
	return w.Do(func(tx *account.Tx) error {
		_, err := tx.Delete(tx.Get(typ, id), true)
		return err
	})
}

// make makes a resource that must be accepted.
func (w *world) make(t *testing.T, typ string, p obj) *account.Resource {
	t.Helper()
	r, _, err := w.create(typ, p)
	if err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	return r
}

// join makes a node group and returns why its nodes did not join, "" if they
// did, and how long that took.
func join(t *testing.T, w *world, change obj) (string, time.Duration) {
	t.Helper()
	w.later(time.Minute)
	_, d, err := w.create(eks.TypeNodegroup, with(w.nodes(), change))
	if err != nil {
		t.Fatal(err)
	}
	w.later(d)
	var failure string
	w.do(t, func(tx *account.Tx) error {
		failure = props.Str(tx.Get(eks.TypeNodegroup, "c/n").Data, "failure")
		return nil
	})
	return failure, d
}

const notJoined = "NodeCreationFailure: Instances failed to join the kubernetes cluster"

// A cluster needs subnets in at least two Availability Zones.
//
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func TestClusterNeedsTwoZones(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused(t, w, eks.TypeCluster, with(w.cluster(), obj{"ResourcesVpcConfig": obj{"SubnetIds": w.subnets[:1]}}), "InvalidParameterException: Subnets specified must be in at least two different AZs")
	refused(t, w, eks.TypeCluster, with(w.cluster(), obj{"ResourcesVpcConfig": obj{"SubnetIds": w.subnets[:2]}}), "")
}

// Some Availability Zones, such as use1-az3, hold no control plane: a cluster
// with a subnet there is refused, and the answer names the zones that will do.
//
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
// https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html
func TestZonesWithoutControlPlanes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := w.make(t, ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.201.0/24", "AvailabilityZone": "us-east-1e"})
	refused(t, w, eks.TypeCluster, with(w.cluster(), obj{"ResourcesVpcConfig": obj{"SubnetIds": append([]any{bad.ID}, w.subnets...)}}),
		"UnsupportedAvailabilityZoneException: Cannot create cluster 'c' because us-east-1e, the targeted availability zone, does not currently have sufficient capacity to support the cluster. Retry and choose from these availability zones: us-east-1a, us-east-1b, us-east-1c")
}

// The subnets of a cluster can change later, but not the set of Availability
// Zones that they are in.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html
func TestClusterKeepsItsZones(t *testing.T) {
	t.Parallel()
	w := ready(t)
	subnets := func(ids ...any) obj { return obj{"ResourcesVpcConfig": obj{"SubnetIds": ids}} }
	for _, c := range []struct {
		ids  []any
		want string
	}{
		{w.subnets[:2], "InvalidParameterException: Provided subnets belong to the AZs [us-east-1a us-east-1b]. Provided subnets must belong to the same set of AZs as the cluster was created with: [us-east-1a us-east-1b us-east-1c]"},
		{[]any{w.subnets[0], w.closed, w.subnets[2]}, ""}, // another subnet of the same zone
	} {
		check(t, w.update(eks.TypeCluster, "c", subnets(c.ids...)), c.want)
	}
}

// Every subnet of a new cluster must have at least six free addresses.
//
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func TestClusterNeedsFreeAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	small := w.make(t, ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.200.0/28", "AvailabilityZone": "us-east-1b"})
	p := with(w.cluster(), obj{"ResourcesVpcConfig": obj{"SubnetIds": append([]any{small.ID}, w.subnets...)}})
	fill := func(n int) {
		w.do(t, func(tx *account.Tx) error {
			for range n {
				if _, err := ec2.AddInterface(tx, ec2.Interface{Subnet: small.ID}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	fill(5) // of eleven
	refused(t, w, eks.TypeCluster, p, "")
	fill(1)
	refused(t, w, eks.TypeCluster, p, "InvalidParameterException: Subnet "+small.ID+" does not have enough free IP addresses")
}

// The role, subnets, instance types, AMI type, disk size and capacity type of
// a node group can not change: CloudFormation replaces the node group.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-eks-nodegroup.html
func TestNodegroupsAreReplaced(t *testing.T) {
	t.Parallel()
	all, err := facts.Load()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, k := range []string{"NodeRole", "Subnets", "InstanceTypes", "AmiType", "DiskSize", "CapacityType", "ScalingConfig", "Labels", "Version"} {
		got[k] = all[eks.TypeNodegroup].Replace(k)
	}
	want := map[string]string{"NodeRole": "yes", "Subnets": "yes", "InstanceTypes": "yes", "AmiType": "yes", "DiskSize": "yes", "CapacityType": "yes", "ScalingConfig": "", "Labels": "", "Version": ""}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	w := ready(t)
	if failure, _ := join(t, w, nil); failure != "" {
		t.Fatal(failure)
	}
	_, err = call(t, w, "UpdateNodegroupConfig", obj{"name": "c", "nodegroupName": "n", "subnets": w.subnets})
	check(t, err, "NotModelled: subnets of UpdateNodegroupConfig")
}

// A control plane rises by one minor version at a time.
//
// https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html
func TestControlPlaneRisesByOneMinor(t *testing.T) {
	t.Parallel()
	w := ready(t)
	_, err := call(t, w, "UpdateClusterVersion", obj{"name": "c", "version": "1.36"})
	check(t, err, "InvalidParameterException: Unsupported Kubernetes minor version update from 1.34 to 1.36")
	out, err := call(t, w, "UpdateClusterVersion", obj{"name": "c", "version": "1.35"})
	if check(t, err, ""); props.Str(out, "update", "type") != "VersionUpdate" {
		t.Errorf("got %v", out)
	}
	w.later(time.Hour)
	out, err = call(t, w, "DescribeCluster", obj{"name": "c"})
	if check(t, err, ""); props.Str(out, "cluster", "version") != "1.35" || props.Str(out, "cluster", "status") != "ACTIVE" {
		t.Errorf("got %v", out)
	}
}

// For seven days after an upgrade a control plane can go back to the version it
// came from, once its nodes are back; otherwise it never goes back.
//
// https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html
func TestControlPlaneGoesBackForAWeek(t *testing.T) {
	t.Parallel()
	w := ready(t)
	if failure, _ := join(t, w, nil); failure != "" {
		t.Fatal(failure)
	}
	version := func(to string) (string, error) {
		out, err := call(t, w, "UpdateClusterVersion", obj{"name": "c", "version": to})
		return props.Str(out, "update", "type"), err
	}
	nodes := func(to string) error {
		_, err := call(t, w, "UpdateNodegroupVersion", obj{"name": "c", "nodegroupName": "n", "version": to})
		return err
	}
	_, err := version("1.33")
	check(t, err, "InvalidParameterException: Unsupported Kubernetes minor version update from 1.34 to 1.33")
	_, err = version("1.35")
	check(t, err, "")
	w.later(time.Hour)
	check(t, nodes("1.35"), "")
	w.later(time.Hour)
	late := w.fork()
	_, err = version("1.34")
	check(t, err, "InvalidRequestException: Nodegroups [n] must be rolled back to version 1.34 before the cluster")
	check(t, nodes("1.34"), "")
	w.later(time.Hour)
	kind, err := version("1.34")
	if check(t, err, ""); kind != "VersionRollback" {
		t.Errorf("update of type %s", kind)
	}
	w.later(time.Hour)
	out, err := call(t, w, "DescribeCluster", obj{"name": "c"})
	if check(t, err, ""); props.Str(out, "cluster", "version") != "1.34" {
		t.Errorf("got %v", out)
	}
	_, err = version("1.33")
	check(t, err, "InvalidParameterException: Unsupported Kubernetes minor version update from 1.34 to 1.33")
	w = late
	w.later(7 * 24 * time.Hour)
	_, err = version("1.34")
	check(t, err, "InvalidParameterException: Unsupported Kubernetes minor version update from 1.35 to 1.34")
}

// Nodes are never newer than the control plane, and at most three minor
// versions older.
//
// https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html
// https://kubernetes.io/releases/version-skew-policy/
func TestNodesFitTheControlPlane(t *testing.T) {
	t.Parallel()
	w := ready(t)
	refused(t, w, eks.TypeNodegroup, with(w.nodes(), obj{"Version": "1.35"}), "InvalidParameterException: Requested Nodegroup kubernetes version 1.35 is not supported with cluster version 1.34")
	refused(t, w, eks.TypeNodegroup, with(w.nodes(), obj{"Version": "1.31"}), "")
	refused(t, w, eks.TypeNodegroup, with(w.nodes(), obj{"Version": "1.30"}), "InvalidParameterException: Requested Nodegroup kubernetes version 1.30")
}

// Before the control plane rises, its nodes must be recent enough to be at most
// three minor versions behind it then.
//
// https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html
func TestNodesRiseBeforeTheControlPlane(t *testing.T) {
	t.Parallel()
	w := ready(t)
	if failure, _ := join(t, w, obj{"Version": "1.31"}); failure != "" {
		t.Fatal(failure)
	}
	up := obj{"name": "c", "version": "1.35"}
	_, err := call(t, w, "UpdateClusterVersion", up)
	check(t, err, "InvalidRequestException: Nodegroups [n] must be updated to match cluster version 1.34 before updating cluster version")
	_, err = call(t, w, "UpdateNodegroupVersion", obj{"name": "c", "nodegroupName": "n", "version": "1.32"})
	check(t, err, "")
	w.later(time.Hour)
	_, err = call(t, w, "UpdateClusterVersion", up)
	check(t, err, "")
}

// One call changes one kind of thing only: logging and access configuration, or
// endpoints and version, can't be changed together.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html
func TestOneKindOfUpdateInACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(t, eks.TypeCluster, with(w.cluster(), obj{"AccessConfig": obj{"AuthenticationMode": "API_AND_CONFIG_MAP"}}))
	w.later(time.Hour)
	logging := obj{"clusterLogging": []any{obj{"types": []any{"scheduler"}, "enabled": true}}}
	_, err := call(t, w, "UpdateClusterConfig", obj{"name": "c", "logging": logging, "accessConfig": obj{"authenticationMode": "API"}})
	check(t, err, "InvalidParameterException: Only one type of update can be allowed.")
	_, err = call(t, w, "UpdateClusterConfig", obj{"name": "c", "logging": logging})
	check(t, err, "")
}

// While a cluster is being updated, no other update and no deletion begins.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html
func TestOneUpdateAtATime(t *testing.T) {
	t.Parallel()
	w := ready(t)
	_, err := call(t, w, "UpdateClusterVersion", obj{"name": "c", "version": "1.35"})
	check(t, err, "")
	_, err = call(t, w, "UpdateClusterConfig", obj{"name": "c", "resourcesVpcConfig": obj{"endpointPublicAccess": true}})
	check(t, err, "ResourceInUseException: Cannot EndpointAccessUpdate because cluster c currently has update ")
	_, err = call(t, w, "DeleteCluster", obj{"name": "c"})
	check(t, err, "ResourceInUseException: Cannot delete because cluster c currently has update ")
	w.later(time.Hour)
	_, err = call(t, w, "UpdateClusterConfig", obj{"name": "c", "resourcesVpcConfig": obj{"endpointPublicAccess": true}})
	check(t, err, "")
}

// Access entries come one way: from the ConfigMap to both, to the API alone,
// and never back.
//
// https://docs.aws.amazon.com/eks/latest/userguide/setting-up-access-entries.html
func TestAuthenticationModeGoesOneWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(t, eks.TypeCluster, with(w.cluster(), obj{"AccessConfig": obj{"AuthenticationMode": "CONFIG_MAP"}}))
	w.later(time.Hour)
	for _, c := range []struct{ to, want string }{
		{"API", "InvalidParameterException: Unsupported authentication mode update from CONFIG_MAP to API"},
		{"API_AND_CONFIG_MAP", ""},
		{"CONFIG_MAP", "InvalidParameterException: Unsupported authentication mode update from API_AND_CONFIG_MAP to CONFIG_MAP"},
		{"API", ""},
		{"API_AND_CONFIG_MAP", "InvalidParameterException: Unsupported authentication mode update from API to API_AND_CONFIG_MAP"},
	} {
		_, err := call(t, w, "UpdateClusterConfig", obj{"name": "c", "accessConfig": obj{"authenticationMode": c.to}})
		check(t, err, c.want)
		w.later(time.Hour)
	}
}

// A cluster's API server is reached by the public endpoint, the private one or
// both, but not by none.
//
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html
func TestSomeEndpointIsOn(t *testing.T) {
	t.Parallel()
	w := ready(t)
	_, err := call(t, w, "UpdateClusterConfig", obj{"name": "c", "resourcesVpcConfig": obj{"endpointPrivateAccess": false}})
	check(t, err, "InvalidParameterException: Private and public endpoint access cannot be false")
}

// An update of a node group's version replaces its nodes in batches, as many at
// a time as may be unavailable, each of which takes its time.
//
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html
func TestNodesAreReplacedInBatches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config  obj
		batches int
	}{
		"one at a time": {nil, 4},
		"three":         {obj{"MaxUnavailable": 3}, 2},
		"half":          {obj{"MaxUnavailablePercentage": 50}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ready(t)
			change := obj{"Version": "1.33", "ScalingConfig": obj{"DesiredSize": 4, "MaxSize": 5}}
			if c.config != nil {
				change["UpdateConfig"] = c.config
			}
			if failure, _ := join(t, w, change); failure != "" {
				t.Fatal(failure)
			}
			nodes := func() (ids []string) {
				w.do(t, func(tx *account.Tx) error {
					for _, i := range eks.Nodes(tx, tx.Get(eks.TypeNodegroup, "c/n")) {
						ids = append(ids, i.ID)
					}
					return nil
				})
				return ids
			}
			old := nodes()
			_, err := call(t, w, "UpdateNodegroupVersion", obj{"name": "c", "nodegroupName": "n", "version": "1.34"})
			check(t, err, "")
			const each = 220 * time.Second
			for i := 1; i < c.batches; i++ {
				w.later(each)
				out, err := call(t, w, "DescribeNodegroup", obj{"name": "c", "nodegroupName": "n"})
				check(t, err, "")
				now := nodes()
				if left := len(slices.DeleteFunc(slices.Clone(now), func(id string) bool { return !slices.Contains(old, id) })); left == 0 || left == 4 || len(now) != 4 || props.Str(out, "nodegroup", "status") != "UPDATING" {
					t.Errorf("after batch %d: %d of %d nodes are old, status %s", i, left, len(now), props.Str(out, "nodegroup", "status"))
				}
			}
			w.later(each)
			out, err := call(t, w, "DescribeNodegroup", obj{"name": "c", "nodegroupName": "n"})
			check(t, err, "")
			if props.Str(out, "nodegroup", "status") != "ACTIVE" || props.Str(out, "nodegroup", "version") != "1.34" || slices.ContainsFunc(nodes(), func(id string) bool { return slices.Contains(old, id) }) {
				t.Errorf("in the end: %v", out)
			}
		})
	}
}

// An update of a node group whose new nodes can't join fails and leaves the old
// nodes alone.
//
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html
func TestUpdateThatNodesDoNotJoin(t *testing.T) {
	t.Parallel()
	w := ready(t)
	if failure, _ := join(t, w, obj{"Version": "1.33"}); failure != "" {
		t.Fatal(failure)
	}
	w.do(t, func(tx *account.Tx) error {
		for _, r := range tx.List(ec2.TypeRoute) {
			if props.Str(r.Props, "NatGatewayId") != "" {
				tx.Drop(r.Type, r.ID)
			}
		}
		return nil
	})
	started, err := call(t, w, "UpdateNodegroupVersion", obj{"name": "c", "nodegroupName": "n"})
	check(t, err, "")
	w.later(time.Hour)
	out, err := call(t, w, "DescribeUpdate", obj{"name": "c", "nodegroupName": "n", "updateId": props.Str(started, "update", "id")})
	check(t, err, "")
	failures := props.Maps(out, "update", "errors")
	if props.Str(out, "update", "status") != "Failed" || len(failures) != 1 || props.Str(failures[0], "errorMessage") != "Couldn't proceed with upgrade process as new nodes are not joining node group n" {
		t.Errorf("got %v", out)
	}
}

// A node group's version goes back only together with that of its cluster.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateNodegroupVersion.html
func TestNodesNeverGoBack(t *testing.T) {
	t.Parallel()
	w := ready(t)
	if failure, _ := join(t, w, nil); failure != "" {
		t.Fatal(failure)
	}
	_, err := call(t, w, "UpdateNodegroupVersion", obj{"name": "c", "nodegroupName": "n", "version": "1.33"})
	check(t, err, "InvalidParameterException: Nodegroup Kubernetes version and release version cannot be downgraded from 1.34 to 1.33")
}

// An add-on has versions for each Kubernetes version; others are refused.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeAddonVersions.html
// https://docs.aws.amazon.com/eks/latest/userguide/updating-an-add-on.html
func TestAddonFitsTheVersion(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.later(time.Minute)
	_, err := call(t, w, "CreateAddon", obj{"name": "c", "addonName": "kube-proxy", "addonVersion": "v1.36.0-eksbuild.21"})
	check(t, err, "InvalidParameterException: Addon version specified is not supported")
	out, err := call(t, w, "CreateAddon", obj{"name": "c", "addonName": "kube-proxy"})
	if check(t, err, ""); props.Str(out, "addon", "addonVersion") != "v1.34.5-eksbuild.4" {
		t.Errorf("got %v", out)
	}
}

// A Kubernetes version whose extended support is over can't be created any
// more.
//
// https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html
func TestVersionsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := with(w.cluster(), obj{"Version": "1.31"})
	refused(t, w, eks.TypeCluster, old, "")
	w.now = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	refused(t, w, eks.TypeCluster, old, "InvalidParameterException: unsupported Kubernetes version")
}

// At the end of its support a cluster is upgraded by EKS: with the policy
// STANDARD when standard support ends, otherwise when extended support does.
//
// https://docs.aws.amazon.com/eks/latest/userguide/view-upgrade-policy.html
func TestClustersAreUpgradedInTheEnd(t *testing.T) {
	t.Parallel()
	for policy, days := range map[string][2]string{"STANDARD": {"1.34", "1.35"}, "EXTENDED": {"1.34", "1.34"}} {
		w := newWorld(t)
		w.make(t, eks.TypeCluster, with(w.cluster(), obj{"UpgradePolicy": obj{"SupportType": policy}}))
		for i, at := range []time.Time{time.Date(2026, 12, 1, 23, 0, 0, 0, time.UTC), time.Date(2026, 12, 2, 2, 0, 0, 0, time.UTC)} {
			w.now = at
			out, err := call(t, w, "DescribeCluster", obj{"name": "c"})
			check(t, err, "")
			if got := props.Str(out, "cluster", "version"); got != days[i] {
				t.Errorf("%s: version %s on %v, want %s", policy, got, at, days[i])
			}
		}
		w.now = time.Date(2027, 12, 3, 0, 0, 0, 0, time.UTC)
		out, err := call(t, w, "DescribeCluster", obj{"name": "c"})
		check(t, err, "")
		if got := props.Str(out, "cluster", "version"); policy == "EXTENDED" && got != "1.35" {
			t.Errorf("%s: version %s after extended support", policy, got)
		}
	}
}

// Extended support can't be switched off once a cluster is in it.
//
// https://docs.aws.amazon.com/eks/latest/userguide/disable-extended-support.html
func TestExtendedSupportIsNotLeft(t *testing.T) {
	t.Parallel()
	w := ready(t)
	standard := obj{"name": "c", "upgradePolicy": obj{"supportType": "STANDARD"}}
	f := w.fork()
	_, err := call(t, f, "UpdateClusterConfig", standard)
	check(t, err, "")
	w.now = time.Date(2026, 12, 3, 0, 0, 0, 0, time.UTC)
	_, err = call(t, w, "UpdateClusterConfig", standard)
	check(t, err, "InvalidParameterException: Extended support can't be disabled for Kubernetes version 1.34")
}

// A cluster with node groups can't be deleted.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_DeleteCluster.html
func TestClusterWithNodegroupsStays(t *testing.T) {
	t.Parallel()
	w := ready(t)
	if failure, _ := join(t, w, nil); failure != "" {
		t.Fatal(failure)
	}
	_, err := call(t, w, "DeleteCluster", obj{"name": "c"})
	check(t, err, "ResourceInUseException: Cluster has nodegroups attached")
	check(t, w.remove(eks.TypeNodegroup, "c/n"), "")
	w.later(time.Hour)
	_, err = call(t, w, "DeleteCluster", obj{"name": "c"})
	check(t, err, "")
}

// A cluster with deletion protection can't be deleted until it is switched off.
//
// https://docs.aws.amazon.com/eks/latest/userguide/deletion-protection.html
func TestDeletionProtection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(t, eks.TypeCluster, with(w.cluster(), obj{"DeletionProtection": true}))
	w.later(time.Hour)
	_, err := call(t, w, "DeleteCluster", obj{"name": "c"})
	check(t, err, "InvalidRequestException: Cannot delete cluster c because deletion protection is enabled")
	_, err = call(t, w, "UpdateClusterConfig", obj{"name": "c", "deletionProtection": false})
	check(t, err, "")
	w.later(time.Minute)
	_, err = call(t, w, "DeleteCluster", obj{"name": "c"})
	check(t, err, "")
}

// Nodes in a subnet without a way to AWS's APIs never join; EKS gives them up
// only after 15 to 35 minutes.
//
// https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html#worker-node-fail
func TestNodesNeedAWayOut(t *testing.T) {
	t.Parallel()
	w := ready(t)
	failure, took := join(t, w, obj{"Subnets": []any{w.closed}})
	if failure != notJoined || took < 15*time.Minute || took > 35*time.Minute {
		t.Errorf("after %v: %q", took, failure)
	}
	out, err := call(t, w, "DescribeNodegroup", obj{"name": "c", "nodegroupName": "n"})
	check(t, err, "")
	issues := props.Maps(out, "nodegroup", "health", "issues")
	if props.Str(out, "nodegroup", "status") != "CREATE_FAILED" || len(issues) != 1 || props.Str(issues[0], "code") != "NodeCreationFailure" || len(props.List(issues[0], "resourceIds")) != 2 {
		t.Errorf("got %v", out)
	}
}

// Without a way to the internet, nodes need interface endpoints for EC2, ECR,
// EKS and STS, and a way to S3, where the layers of images are.
//
// https://docs.aws.amazon.com/eks/latest/userguide/private-clusters.html
func TestNodesJoinByEndpoints(t *testing.T) {
	t.Parallel()
	world := ready(t)
	all := []string{"ec2", "ecr.api", "ecr.dkr", "eks", "sts", "s3"}
	for _, without := range append([]string{""}, all...) {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			w := world.fork()
			g := w.make(t, ec2.TypeSecurityGroup, obj{"VpcId": w.vpc, "GroupDescription": "d", "SecurityGroupIngress": []any{obj{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/16"}}})
			var table string
			w.do(t, func(tx *account.Tx) error {
				table = ec2.RouteTableOf(tx, tx.Get(ec2.TypeSubnet, w.closed)).ID
				return nil
			})
			for _, n := range all {
				p := obj{"VpcId": w.vpc, "ServiceName": "com.amazonaws.us-east-1." + n, "VpcEndpointType": "Interface", "PrivateDnsEnabled": true, "SubnetIds": []any{w.closed}, "SecurityGroupIds": []any{g.ID}}
				if n == "s3" {
					p = obj{"VpcId": w.vpc, "ServiceName": "com.amazonaws.us-east-1.s3", "VpcEndpointType": "Gateway", "RouteTableIds": []any{table}}
				}
				if n != without {
					w.make(t, ec2.TypeVPCEndpoint, p)
				}
			}
			want := ""
			if without != "" {
				want = notJoined
			}
			if failure, _ := join(t, w, obj{"Subnets": []any{w.closed}}); failure != want {
				t.Errorf("got %q, want %q", failure, want)
			}
		})
	}
}

// The role of nodes needs the policies for EKS nodes and for pulling images.
//
// https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html
func TestNodesNeedRolePolicies(t *testing.T) {
	t.Parallel()
	w := ready(t)
	for _, arns := range [][]any{
		{"arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"},
		{"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"},
	} {
		f := w.fork()
		role := f.make(t, iam.TypeRole, obj{"AssumeRolePolicyDocument": trust("ec2.amazonaws.com"), "ManagedPolicyArns": arns})
		if failure, _ := join(t, f, obj{"NodeRole": role.Attrs["Arn"]}); failure != notJoined {
			t.Errorf("with %v: %q", arns, failure)
		}
	}
}

// Nodes join only if the security groups of the control plane let them in.
//
// https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
func TestSecurityGroupsLetNodesIn(t *testing.T) {
	t.Parallel()
	w := ready(t)
	own := w.make(t, ec2.TypeSecurityGroup, obj{"VpcId": w.vpc, "GroupDescription": "d"})
	lt := w.make(t, instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{"SecurityGroupIds": []any{own.ID}}})
	template := obj{"LaunchTemplate": obj{"Id": lt.ID, "Version": "1"}}
	f := w.fork()
	if failure, _ := join(t, f, template); failure != notJoined {
		t.Errorf("with a group of their own: %q", failure)
	}
	var shared string
	w.do(t, func(tx *account.Tx) error {
		shared = props.Str(tx.Get(eks.TypeCluster, "c").Attrs, "ClusterSecurityGroupId")
		return nil
	})
	w.make(t, ec2.TypeSecurityGroupIngress, obj{"GroupId": shared, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "SourceSecurityGroupId": own.ID})
	if failure, _ := join(t, w, template); failure != "" {
		t.Errorf("with a rule for it: %q", failure)
	}
}

// Nodes need the access entry of their role, which EKS makes with the node
// group. An entry of another type, made before, keeps them out; one that is
// deleted later degrades the node group.
//
// https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
func TestNodesNeedTheirAccessEntry(t *testing.T) {
	t.Parallel()
	w := ready(t)
	f := w.fork()
	f.make(t, eks.TypeAccessEntry, obj{"ClusterName": "c", "PrincipalArn": w.nodeRole, "Type": "STANDARD"})
	if failure, _ := join(t, f, nil); failure != notJoined {
		t.Errorf("with an entry for people: %q", failure)
	}
	if failure, _ := join(t, w, nil); failure != "" {
		t.Fatal(failure)
	}
	_, err := call(t, w, "DeleteAccessEntry", obj{"name": "c", "principalArn": w.nodeRole})
	check(t, err, "")
	out, err := call(t, w, "DescribeNodegroup", obj{"name": "c", "nodegroupName": "n"})
	check(t, err, "")
	if issues := props.Maps(out, "nodegroup", "health", "issues"); props.Str(out, "nodegroup", "status") != "DEGRADED" || len(issues) != 1 || props.Str(issues[0], "code") != "AccessDenied" {
		t.Errorf("got %v", out)
	}
}

// Without the private endpoint, nodes reach the API server by the public one,
// if its list of ranges has the address that they leave from.
//
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html
func TestNodesReachThePublicEndpoint(t *testing.T) {
	t.Parallel()
	base := newWorld(t)
	var nat string
	base.do(t, func(tx *account.Tx) error {
		nat = props.Str(tx.List(ec2.TypeEIP)[0].Attrs, "PublicIp")
		return nil
	})
	for name, c := range map[string]struct {
		ranges []any
		want   string
	}{
		"open to all":  {nil, ""},
		"open to them": {[]any{nat + "/32"}, ""},
		"to others":    {[]any{"8.8.8.0/24"}, notJoined},
	} {
		w := base.fork()
		config := obj{"EndpointPrivateAccess": false, "EndpointPublicAccess": true}
		if c.ranges != nil {
			config["PublicAccessCidrs"] = c.ranges
		}
		w.make(t, eks.TypeCluster, with(w.cluster(), obj{"ResourcesVpcConfig": config}))
		w.later(time.Hour)
		w.make(t, eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "vpc-cni"})
		if failure, _ := join(t, w, nil); failure != c.want {
			t.Errorf("%s: got %q, want %q", name, failure, c.want)
		}
	}
}

// The private endpoint is found only in a VPC with DNS resolution and DNS
// hostnames.
//
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func TestPrivateEndpointNeedsNames(t *testing.T) {
	t.Parallel()
	w := ready(t)
	check(t, w.update(ec2.TypeVPC, w.vpc, obj{"EnableDnsHostnames": false}), "")
	if failure, _ := join(t, w, nil); failure != notJoined {
		t.Errorf("got %q", failure)
	}
}

// Nodes become ready only with a network plugin that may do its work.
//
// https://docs.aws.amazon.com/eks/latest/userguide/managing-vpc-cni.html
func TestNodesNeedANetworkPlugin(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.later(time.Minute)
	check(t, w.remove(eks.TypeAddon, "c|vpc-cni"), "")
	if failure, _ := join(t, w, nil); failure != "NodeCreationFailure: Unhealthy nodes in the kubernetes cluster" {
		t.Errorf("got %q", failure)
	}
}

// A node group in a subnet with a route to an internet gateway needs a subnet
// that gives instances public addresses.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Issue.html
func TestPublicSubnetsGiveAddresses(t *testing.T) {
	t.Parallel()
	w := ready(t)
	var public string
	w.do(t, func(tx *account.Tx) error {
		public = tx.Find(ec2.TypeSubnet, func(s *account.Resource) bool { return props.Str(s.Props, "CidrBlock") == "10.0.100.0/24" }).ID
		return nil
	})
	if failure, _ := join(t, w, obj{"Subnets": []any{public}}); !strings.HasPrefix(failure, "Ec2SubnetInvalidConfiguration: One or more Amazon EC2 Subnets of ["+public+"]") {
		t.Errorf("got %q", failure)
	}
}

// What a node group needs and has lost shows in its health: role, instance
// profile, Auto Scaling group and launch template.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Issue.html
func TestNodegroupHealth(t *testing.T) {
	t.Parallel()
	base := ready(t)
	if failure, _ := join(t, base, nil); failure != "" {
		t.Fatal(failure)
	}
	drop := func(typ, key string) func(*account.Tx, *account.Resource) {
		return func(tx *account.Tx, n *account.Resource) { tx.Drop(typ, props.Str(n.Data, key)) }
	}
	for want, wreck := range map[string]func(*account.Tx, *account.Resource){
		"AutoScalingGroupNotFound":  drop(autoscaling.TypeGroup, "asg"),
		"Ec2LaunchTemplateNotFound": drop(instance.TypeLaunchTemplate, "ownTemplate"),
		"IamNodeRoleNotFound": func(tx *account.Tx, n *account.Resource) {
			tx.Drop(iam.TypeRole, iam.RoleByARN(tx, props.Str(n.Props, "NodeRole")).ID)
		},
		"IamInstanceProfileNotFound": func(tx *account.Tx, n *account.Resource) {
			tx.Drop(iam.TypeInstanceProfile, "eks-"+props.Str(n.Data, "uuid"))
		},
		"Ec2LaunchTemplateVersionMismatch": func(tx *account.Tx, n *account.Resource) {
			tx.Get(instance.TypeLaunchTemplate, props.Str(n.Data, "ownTemplate")).Attrs["LatestVersionNumber"] = "7"
		},
		"": func(*account.Tx, *account.Resource) {},
	} {
		w := base.fork()
		w.do(t, func(tx *account.Tx) error {
			wreck(tx, tx.Get(eks.TypeNodegroup, "c/n"))
			return nil
		})
		out, err := call(t, w, "DescribeNodegroup", obj{"name": "c", "nodegroupName": "n"})
		check(t, err, "")
		var got string
		for _, i := range props.Maps(out, "nodegroup", "health", "issues") {
			got += props.Str(i, "code")
		}
		if status := props.Str(out, "nodegroup", "status"); got != want || (status == "ACTIVE") != (want == "") {
			t.Errorf("got %s, %q, want %q", status, got, want)
		}
	}
}

// What a cluster needs and has lost shows in its health: its role, security
// groups and the key of its secrets.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_ClusterIssue.html
func TestClusterHealth(t *testing.T) {
	t.Parallel()
	base := ready(t)
	key := func(status string) func(*account.Tx) {
		return func(tx *account.Tx) { tx.Get("AWS::KMS::Key", "1").Status = status }
	}
	for want, wreck := range map[string]func(*account.Tx){
		"KmsKeyDisabled":          key("Disabled"),
		"KmsKeyMarkedForDeletion": key("PendingDeletion"),
		"KmsKeyNotFound":          func(tx *account.Tx) { tx.Drop("AWS::KMS::Key", "1") },
		"IamRoleNotFound":         func(tx *account.Tx) { tx.Drop(iam.TypeRole, iam.RoleByARN(tx, base.clusterRole).ID) },
		"":                        func(*account.Tx) {},
	} {
		w := base.fork()
		w.do(t, func(tx *account.Tx) error {
			wreck(tx)
			return nil
		})
		out, err := call(t, w, "DescribeCluster", obj{"name": "c"})
		check(t, err, "")
		var got string
		for _, i := range props.Maps(out, "cluster", "health", "issues") {
			got += props.Str(i, "code")
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// With custom networking, pods' interfaces are in the subnets and security
// groups of the ENIConfig that the label of their node names.
//
// https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network.html
func TestPodsHaveSubnetsOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.later(time.Minute)
	pods := w.make(t, ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.60.0/24", "AvailabilityZone": "us-east-1a"})
	g := w.make(t, ec2.TypeSecurityGroup, obj{"VpcId": w.vpc, "GroupDescription": "d"})
	values := fmt.Sprintf(`{"env":{"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG":"true","ENI_CONFIG_LABEL_DEF":"topology.kubernetes.io/zone"},"eniConfig":{"create":true,"region":"us-east-1","subnets":{"us-east-1a":{"id":%q,"securityGroups":[%q]}}}}`, pods.ID, g.ID)
	check(t, w.update(eks.TypeAddon, "c|vpc-cni", obj{"ConfigurationValues": values}), "")
	if failure, _ := join(t, w, nil); failure != "" {
		t.Fatal(failure)
	}
	w.do(t, func(tx *account.Tx) error {
		nodes := eks.Nodes(tx, tx.Get(eks.TypeNodegroup, "c/n"))
		for _, i := range nodes {
			var subnets []string
			for _, f := range ec2.InterfacesOf(tx, i.ID) {
				subnets = append(subnets, props.Str(f.Props, "SubnetId"))
				if props.Str(f.Props, "SubnetId") == pods.ID && !slices.Equal(ec2.InterfaceGroups(f), []string{g.ID}) {
					t.Errorf("security groups %v", ec2.InterfaceGroups(f))
				}
			}
			slices.Sort(subnets)
			want := []string{props.Str(w.subnets[0]), pods.ID}
			slices.Sort(want)
			if d := cmp.Diff(want, subnets); d != "" {
				t.Error(d)
			}
		}
		if len(nodes) == 0 {
			t.Error("no nodes")
		}
		return nil
	})
}

// Encryption of secrets by a key of one's own can be added to a cluster, and
// never be changed or removed.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_AssociateEncryptionConfig.html
// https://docs.aws.amazon.com/eks/latest/userguide/enable-kms.html
func TestEncryptionIsOnlyAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(t, eks.TypeCluster, with(w.cluster(), obj{"EncryptionConfig": nil}))
	w.later(time.Hour)
	add := obj{"name": "c", "encryptionConfig": []any{obj{"resources": []any{"secrets"}, "provider": obj{"keyArn": w.key}}}}
	out, err := call(t, w, "AssociateEncryptionConfig", add)
	if check(t, err, ""); props.Str(out, "update", "type") != "AssociateEncryptionConfig" {
		t.Errorf("got %v", out)
	}
	w.later(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::KMS::Key", ID: "2", Status: "Enabled", Attrs: obj{"Arn": tx.ARN("kms", "key/2")}, Props: obj{}, Data: obj{}})
		return nil
	})
	other := obj{"name": "c", "encryptionConfig": []any{obj{"resources": []any{"secrets"}, "provider": obj{"keyArn": strings.TrimSuffix(w.key, "1") + "2"}}}}
	_, err = call(t, w, "AssociateEncryptionConfig", other)
	check(t, err, "InvalidRequestException: Encryption config is already associated")
	all, err := facts.Load()
	if err != nil || all[eks.TypeCluster].Replace("EncryptionConfig") != "yes" {
		t.Errorf("by CloudFormation it is %q: %v", all[eks.TypeCluster].Replace("EncryptionConfig"), err)
	}
}

// Every cluster has an OpenID Connect issuer of its own.
//
// https://docs.aws.amazon.com/eks/latest/userguide/enable-iam-roles-for-service-accounts.html
func TestEveryClusterHasAnIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := map[string]bool{}
	for _, name := range []string{"c", "d"} {
		w.make(t, eks.TypeCluster, with(w.cluster(), obj{"Name": name}))
		w.later(time.Hour)
		out, err := call(t, w, "DescribeCluster", obj{"name": name})
		check(t, err, "")
		seen[props.Str(out, "cluster", "identity", "oidc", "issuer")] = true
	}
	for issuer := range seen {
		if id, ok := strings.CutPrefix(issuer, "https://oidc.eks.us-east-1.amazonaws.com/id/"); !ok || len(id) != 32 {
			t.Errorf("issuer %s", issuer)
		}
	}
	if len(seen) != 2 {
		t.Errorf("issuers %v", seen)
	}
}

// A node group whose volumes are encrypted with a key that the Auto Scaling
// service-linked role may not use gets no instances.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
func TestNodegroupNeedsTheVolumeKey(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.do(t, func(tx *account.Tx) error {
		tx.Get("AWS::KMS::Key", "1").Props["KeyPolicy"] = obj{"Version": "2012-10-17", "Statement": []any{
			obj{"Effect": "Allow", "Principal": obj{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"},
		}}
		return nil
	})
	lt := w.make(t, instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{"BlockDeviceMappings": []any{obj{"DeviceName": "/dev/xvda", "Ebs": obj{"Encrypted": true, "KmsKeyId": w.key}}}}})
	if failure, _ := join(t, w, obj{"LaunchTemplate": obj{"Id": lt.ID}}); !strings.HasPrefix(failure, "AsgInstanceLaunchFailures: ") || !strings.HasSuffix(failure, "Termination Reason: Client.InternalError: Client error on launch") {
		t.Errorf("got %q", failure)
	}
}

// Nodes that find no free address in their subnets are not launched.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Issue.html
func TestNodesNeedAddresses(t *testing.T) {
	t.Parallel()
	w := ready(t)
	small := w.make(t, ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.200.0/28", "AvailabilityZone": "us-east-1b"})
	w.make(t, ec2.TypeSubnetRouteTableAssociation, obj{"RouteTableId": w.table, "SubnetId": small.ID})
	failure, _ := join(t, w, obj{"Subnets": []any{small.ID}, "ScalingConfig": obj{"DesiredSize": 12, "MaxSize": 12}})
	if !strings.HasPrefix(failure, "InsufficientFreeAddresses: ") {
		t.Errorf("got %q", failure)
	}
}
