package controllers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

const (
	scaler = "/apis/apps/v1/namespaces/kube-system/deployments/cluster-autoscaler-aws-cluster-autoscaler"
	// mayScale is as upstream advises, and AWS binds it: to groups with the cluster's tag.
	mayScale = `[{"Effect": "Allow", "Action": "autoscaling:DescribeAutoScalingGroups", "Resource": "*"},
		{"Effect": "Allow", "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"], "Resource": "*",
			"Condition": {"StringEquals": {"aws:ResourceTag/k8s.io/cluster-autoscaler/%s": "owned"}}}]`
	installed = `{"metadata": {"labels": {"app.kubernetes.io/name": "aws-cluster-autoscaler"}}, "spec": {"template": {"spec": {"serviceAccountName": "cluster-autoscaler"}}}, "status": {"readyReplicas": %d}}`
)

// scaledWorld has a group of up to three nodes in each of two zones, and an autoscaler.
func scaledWorld(t *testing.T, policy string) *world {
	t.Helper()
	w := newWorld(t, map[string]string{"aws-load-balancer-controller": mayNot, "external-secrets": mayNot})
	var subnets []string
	for _, r := range w.box.Account().Resources() {
		if r.Type == eks.TypeCluster {
			subnets = props.Strs(r.Props, "ResourcesVpcConfig", "SubnetIds")
		}
	}
	for i, name := range []string{"a", "b"} {
		testkit.MustCreate(t, w.box, eks.TypeNodegroup, obj{
			"ClusterName": "c", "NodegroupName": name, "NodeRole": "arn:aws:iam::123456789012:role/node", "Subnets": []any{subnets[i]}, "InstanceTypes": []any{"m6i.xlarge"}, "Version": "1.34",
			"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 3}, "Labels": obj{"work": "models"}, "Taints": []any{obj{"Key": "only", "Value": "models", "Effect": "NO_SCHEDULE"}},
		})
	}
	time.Sleep(30 * time.Minute)
	w.account("kube-system", "cluster-autoscaler", policy)
	w.api.Put(scaler, fmt.Sprintf(installed, 1))
	time.Sleep(time.Minute)
	w.register()
	return w
}

// register has the nodes of the groups be in the cluster, as their kubelets do.
func (w *world) register() {
	w.t.Helper()
	there := map[string]bool{}
	for _, n := range w.nodes() {
		path := "/api/v1/nodes/" + n.Name
		there[path] = true
		if w.api.Get(path) != nil {
			continue
		}
		var taints []string
		for _, x := range n.Taints {
			taints = append(taints, fmt.Sprintf(`{"key": %q, "value": %q, "effect": %q}`, x.Key, x.Value, x.Effect))
		}
		w.api.Put(path, fmt.Sprintf(`{"metadata": {"labels": {"work": %q}}, "spec": {"providerID": %q, "taints": [%s]},
			"status": {"allocatable": {"cpu": %q, "memory": %q, "pods": %q}, "conditions": [{"type": "Ready", "status": "True"}]}}`,
			n.Labels["work"], n.ProviderID, strings.Join(taints, ","), n.Allocatable["cpu"], n.Allocatable["memory"], n.Allocatable["pods"]))
	}
	for _, path := range w.api.Paths() {
		if strings.HasPrefix(path, "/api/v1/nodes/") && !there[path] {
			w.delete(path)
		}
	}
}

func (w *world) nodes() (nodes []eks.Node) {
	w.t.Helper()
	err := w.box.Account().Do(func(tx *account.Tx) error {
		tx.Reads()
		list, err := eks.ControlPlanes(tx)
		for _, p := range list {
			nodes = append(nodes, p.Nodes...)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return nodes
}

// pending makes a pod of so many cores that the scheduler has found no node for.
func (w *world) pending(name string, cores int, more string) {
	w.api.Put("/api/v1/namespaces/shop/pods/"+name, fmt.Sprintf(`{"spec": {"containers": [{"resources": {"requests": {"cpu": "%d", "memory": "1Gi"}}}], "nodeSelector": {"work": "models"},
		"tolerations": [{"key": "only", "operator": "Exists"}]%s}, "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}}`, cores, more))
}

// sizes are what EKS says of its node groups.
func (w *world) sizes() map[string]int {
	w.t.Helper()
	out := map[string]int{}
	err := w.box.Account().Do(func(tx *account.Tx) error {
		tx.Reads()
		for _, name := range []string{"n", "a", "b"} {
			out[name] = props.Int(tx.Read(tx.Get(eks.TypeNodegroup, "c/"+name)), -1, "ScalingConfig", "DesiredSize")
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) sized(when string, a, b int) {
	w.t.Helper()
	if d := cmp.Diff(map[string]int{"n": 1, "a": a, "b": b}, w.sizes()); d != "" {
		w.t.Errorf("%s: %s", when, d)
	}
}

// With the cluster autoscaler, a pod that fits on no node makes the node group grow whose
// nodes it would fit on, the smaller one of two, up to the maximum; nodes that are on their
// way are waited for.
//
// https://docs.aws.amazon.com/eks/latest/best-practices/cas.html
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
func TestClusterAutoscalerGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := scaledWorld(t, fmt.Sprintf(mayScale, "c"))
		busy := func() {
			for i, n := range w.nodes() {
				w.api.Put(fmt.Sprintf("/api/v1/namespaces/shop/pods/busy-%d", i), `{"spec": {"nodeName": "`+n.Name+`", "containers": [{"resources": {"requests": {"cpu": "2"}}}]}, "status": {"phase": "Running"}}`)
			}
		}
		busy()
		w.pending("fits", 1, "")
		w.looks()
		w.sized("it fits on a node that is there", 1, 1)
		w.pending("elsewhere", 3, `, "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "work", "operator": "NotIn", "values": ["models"]}]}]}}}`)
		w.pending("large", 30, "")
		w.looks()
		w.sized("no group has nodes for them", 1, 1)
		w.pending("first", 3, "")
		w.looks()
		w.sized("one is given", 2, 1)
		w.looks()
		w.sized("it is on its way", 2, 1)
		w.pending("second", 3, "")
		w.looks()
		w.sized("the zones are alike", 2, 2)
		time.Sleep(10 * time.Minute)
		w.register()
		if got := len(w.nodes()); got != 5 {
			t.Errorf("%d nodes joined", got)
		}
		for i := range 5 {
			w.pending(fmt.Sprintf("more-%d", i), 3, "")
		}
		w.looks()
		w.sized("the maximum is kept", 3, 3)
	})
}

// A GPU node whose device plugin has told of nothing yet is on its way.
//
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md#special-note-on-gpu-instances
func TestClusterAutoscalerWaitsForGPUs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := scaledWorld(t, fmt.Sprintf(mayScale, "c"))
		change := func(gpus string) {
			for i, n := range w.nodes() {
				w.api.Put("/api/v1/nodes/"+n.Name, fmt.Sprintf(`{"metadata": {"labels": {"k8s.amazonaws.com/accelerator": "nvidia", "work": "models"}}, "spec": {"providerID": %q},
					"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "9"%s}, "conditions": [{"type": "Ready", "status": "True"}]}}`, n.ProviderID, gpus))
				w.api.Put(fmt.Sprintf("/api/v1/namespaces/shop/pods/busy-%d", i), `{"spec": {"nodeName": "`+n.Name+`", "containers": [{"resources": {"requests": {"cpu": "2"}}}]}, "status": {"phase": "Running"}}`)
			}
		}
		change("")
		w.pending("p", 3, "")
		w.looks()
		w.sized("GPUs come", 1, 1)
		change(`, "nvidia.com/gpu": "1"`)
		w.looks()
		w.sized("there is no room on them", 2, 1)
	})
}

// No node group grows without a pod of the cluster autoscaler that is ready, and without a
// role that may scale the cluster's Auto Scaling groups, which AWS binds by their tags.
//
// https://docs.aws.amazon.com/eks/latest/best-practices/cas.html
func TestClusterAutoscalerNeedsARole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := scaledWorld(t, fmt.Sprintf(mayScale, "other"))
		w.pending("p", 3, "")
		w.pending("q", 3, "")
		w.pending("r", 3, "")
		w.refused("for pods that fit nowhere: autoscaling:SetDesiredCapacity: AccessDenied")
		w.api.Put("/api/v1/namespaces/kube-system/serviceaccounts/cluster-autoscaler", `{}`)
		w.refused("act as service account kube-system/cluster-autoscaler: it has no role")
		w.api.Put(scaler, fmt.Sprintf(installed, 0))
		w.looks()
		w.delete(scaler)
		w.looks()
		w.sized("nobody may", 1, 1)
	})
}

// With the cluster autoscaler, a node without pods but a daemon set's goes after ten
// minutes, down to the group's minimum; one that a pod comes to in time stays.
//
// https://docs.aws.amazon.com/eks/latest/best-practices/cas.html
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
func TestClusterAutoscalerShrinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := scaledWorld(t, fmt.Sprintf(mayScale, "c"))
		w.pending("p", 3, "")
		w.pending("q", 3, "")
		w.pending("r", 3, "")
		w.looks()
		w.sized("one more", 2, 1)
		w.pending("nowhere", 30, "")
		time.Sleep(10 * time.Minute)
		w.register()
		for _, name := range []string{"p", "q", "r"} {
			w.delete("/api/v1/namespaces/shop/pods/" + name)
		}
		for i, n := range w.nodes() {
			w.api.Put(fmt.Sprintf("/api/v1/namespaces/kube-system/pods/each-%d", i), `{"metadata": {"ownerReferences": [{"kind": "DaemonSet", "name": "each"}]}, "spec": {"nodeName": "`+n.Name+`"}, "status": {"phase": "Running"}}`)
		}
		w.looks()
		time.Sleep(9 * time.Minute)
		w.looks()
		w.sized("not yet", 2, 1)

		marked := map[string]bool{}
		for _, n := range w.nodes() {
			spec := props.Map(w.api.Get("/api/v1/nodes/"+n.Name), "spec")
			for _, x := range props.Maps(spec, "taints") {
				if props.Str(x, "key") == "DeletionCandidateOfClusterAutoscaler" {
					marked[n.Name] = true
				}
			}
		}
		if len(marked) != 2 {
			t.Errorf("candidates are %v, want the two nodes of the group above its minimum", marked)
		}
		for name := range maps.Clone(marked) {
			w.api.Put("/api/v1/namespaces/shop/pods/on-"+name, `{"spec": {"nodeName": "`+name+`"}, "status": {"phase": "Running"}}`)
		}
		w.looks()
		time.Sleep(2 * time.Minute)
		w.looks()
		w.sized("they are needed again", 2, 1)
		for name := range marked {
			w.delete("/api/v1/namespaces/shop/pods/on-" + name)
		}
		w.looks()
		w.sized("the time begins anew", 2, 1)
		time.Sleep(11 * time.Minute)
		w.looks()
		time.Sleep(10 * time.Minute)
		w.register()
		w.looks()
		w.sized("the minimum is kept", 1, 1)
		if got := len(w.nodes()); got != 3 {
			t.Errorf("%d nodes are left", got)
		}
	})
}

// A node that its taint says isn't ready is on its way: what fits on it waits for it, and
// it doesn't go for having nothing to do.
//
// https://kubernetes.io/docs/concepts/architecture/nodes/#condition
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
func TestClusterAutoscalerWaitsForNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := scaledWorld(t, fmt.Sprintf(mayScale, "c"))
		for i, n := range w.nodes() {
			w.api.Put(fmt.Sprintf("/api/v1/namespaces/shop/pods/busy-%d", i), `{"spec": {"nodeName": "`+n.Name+`", "containers": [{"resources": {"requests": {"cpu": "2"}}}]}, "status": {"phase": "Running"}}`)
		}
		w.pending("p", 3, "")
		w.looks()
		w.sized("there is no room", 2, 1)
		before := w.api.Paths()
		time.Sleep(10 * time.Minute)
		w.register()
		var added string
		for _, path := range w.api.Paths() {
			if !slices.Contains(before, path) {
				added = path
			}
		}
		ready := w.api.Get(added)
		w.change(added, `{"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}}`)
		w.looks()
		w.sized("it is not ready", 2, 1)
		w.delete("/api/v1/namespaces/shop/pods/p")
		w.looks()
		time.Sleep(11 * time.Minute)
		w.looks()
		w.sized("nothing waits for it", 2, 1)
		text, err := json.Marshal(ready)
		if err != nil {
			t.Fatal(err)
		}
		w.api.Put(added, string(text))
		w.looks()
		time.Sleep(11 * time.Minute)
		w.looks()
		w.sized("ready, with nothing to do", 1, 1)
	})
}

// How long a node has nothing to do before it goes is a flag.
//
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md#what-are-the-parameters-to-ca
func TestClusterAutoscalerFlag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := scaledWorld(t, fmt.Sprintf(mayScale, "c"))
		told := func(after string) {
			w.change(scaler, `{"spec": {"template": {"spec": {"containers": [{"command": ["./cluster-autoscaler"], "args": ["--v=4", "--scale-down-unneeded-time=`+after+`"]}]}}}}`)
		}
		told("soon")
		w.refused("read the autoscaler's flag --scale-down-unneeded-time=soon")
		told("1m30s")
		for _, name := range []string{"p", "q", "r"} {
			w.pending(name, 3, "")
		}
		w.looks()
		time.Sleep(10 * time.Minute)
		w.register()
		for _, name := range []string{"p", "q", "r"} {
			w.delete("/api/v1/namespaces/shop/pods/" + name)
		}
		w.looks()
		time.Sleep(time.Minute)
		w.looks()
		w.sized("not yet", 2, 1)
		time.Sleep(time.Minute)
		w.looks()
		w.sized("soon", 1, 1)
	})
}
