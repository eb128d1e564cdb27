package controlplane_test

import (
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/eks"
)

// gpus has the scheduler keep pods that ask for GPUs waiting, in its own words, until the
// device plugin is on the node, and again when it has stopped.
func (w *world) gpus(admin string) {
	t := w.t
	testkit.MustCreate(t, w.box, eks.TypeNodegroup, obj{
		"ClusterName": "c", "NodegroupName": "g", "NodeRole": w.roles[1], "Subnets": []any{w.subnets[0]}, "InstanceTypes": []any{"g5.12xlarge"}, "AmiType": "AL2023_x86_64_NVIDIA", "Version": "1.34",
		"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 1}, "Labels": obj{"work": "gpu"},
		"Taints": []any{obj{"Key": "nvidia.com/gpu", "Value": "true", "Effect": "NO_SCHEDULE"}},
	})
	w.later(10 * time.Minute)
	const nodes, pods, plugins = "/api/v1/nodes", "/api/v1/namespaces/default/pods", "/apis/apps/v1/namespaces/kube-system/daemonsets"
	onGPUs := func(there map[string]kubeNode) string {
		for name, n := range there {
			if n.Metadata.Labels["work"] == "gpu" && n.ready() {
				return name
			}
		}
		return ""
	}
	node := onGPUs(watched(w, admin, nodes, func(there map[string]kubeNode) bool { return onGPUs(there) != "" }))
	offers := func(want string) {
		t.Helper()
		watched(w, admin, nodes, func(there map[string]kubeNode) bool { return there[node].Status.Allocatable["nvidia.com/gpu"] == want })
	}
	model := func(name string) {
		t.Helper()
		w.want(201, admin, "POST", pods, `{"metadata": {"name": "`+name+`"}, "spec": {"nodeSelector": {"work": "gpu"}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
			"containers": [{"name": "c", "image": "x", "resources": {"limits": {"nvidia.com/gpu": 2}}}]}}`)
	}
	waits := func(name string) {
		t.Helper()
		got := watched(w, admin, pods, func(there map[string]kubePod) bool {
			reason, _ := there[name].condition("PodScheduled")
			return reason == "Unschedulable" || there[name].Spec.NodeName != ""
		})
		if _, says := got[name].condition("PodScheduled"); got[name].Spec.NodeName != "" || !strings.Contains(says, "1 Insufficient nvidia.com/gpu") {
			t.Errorf("pod %s is on %q: %q", name, got[name].Spec.NodeName, says)
		}
	}
	offers("") // its image has the driver and no plugin
	model("first")
	waits("first")
	w.want(201, admin, "POST", plugins, `{"metadata": {"name": "plugin"}, "spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": "nvidia-device-plugin"}},
		"template": {"metadata": {"labels": {"app.kubernetes.io/name": "nvidia-device-plugin"}}, "spec": {"nodeSelector": {"work": "gpu"}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "containers": [{"name": "c", "image": "x"}]}}}}`)
	offers("4")
	watched(w, admin, pods, func(there map[string]kubePod) bool { return there["first"].Spec.NodeName == node })
	w.want(200, admin, "DELETE", plugins+"/plugin", "")
	offers("0")
	model("second")
	waits("second")
	if got := watched(w, admin, pods, func(there map[string]kubePod) bool { return there["first"].Spec.NodeName != "" }); got["first"].Spec.NodeName != node {
		t.Errorf("the pod that had its GPUs is on %q", got["first"].Spec.NodeName)
	}
	for _, name := range []string{"first", "second"} {
		w.want(200, admin, "DELETE", pods+"/"+name, "")
	}
	if err := testkit.Delete(w.box, eks.TypeNodegroup, "c/g"); err != nil {
		t.Fatal(err)
	}
}
