package controllers_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
)

// A node with NVIDIA's driver offers its GPUs while a pod of the device plugin is ready
// there, and none once that has stopped; one whose image brings the plugin offers them by
// itself, and no other node does.
//
// https://docs.aws.amazon.com/eks/latest/userguide/ml-eks-k8s-device-plugin.html
func TestDevicePlugin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"external-secrets": mayNot, "aws-load-balancer-controller": mayNot})
		var subnet any
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			subnet = tx.Get(eks.TypeNodegroup, "c/n").Props["Subnets"].([]any)[0]
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for name, image := range map[string]string{"plain": "AL2023_x86_64_NVIDIA", "whole": "BOTTLEROCKET_x86_64_NVIDIA"} {
			testkit.MustCreate(t, w.box, eks.TypeNodegroup, obj{
				"ClusterName": "c", "NodegroupName": name, "NodeRole": "arn:aws:iam::123456789012:role/node", "Subnets": []any{subnet}, "InstanceTypes": []any{"g5.12xlarge"}, "AmiType": image, "Version": "1.34",
				"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 1},
			})
		}
		time.Sleep(30 * time.Minute)
		named := map[string]string{} // nodes by their group
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			list, err := eks.ControlPlanes(tx)
			for _, n := range list[0].Nodes {
				named[n.Labels["eks.amazonaws.com/nodegroup"]] = n.Name
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		offers := func(when, group string, capacity, allocatable any) {
			t.Helper()
			w.looks()
			status, _ := w.api.Get("/api/v1/nodes/" + named[group])["status"].(kubernetes.Object)
			for part, want := range map[string]any{"capacity": capacity, "allocatable": allocatable} {
				if got, _ := status[part].(kubernetes.Object); got["nvidia.com/gpu"] != want || got["cpu"] != "48" {
					t.Errorf("%s, the %s of the node of group %s is %v, want %v GPUs", when, part, group, got, want)
				}
			}
		}
		w.looks() // the nodes aren't registered
		for _, name := range named {
			w.api.Put("/api/v1/nodes/"+name, `{"status": {"capacity": {"cpu": "48"}, "allocatable": {"cpu": "48"}}}`)
		}
		const path = "/api/v1/namespaces/kube-system/pods/plugin-"
		pod := func(group, label, ready, reason string) {
			w.api.Put(path+group, `{"metadata": {"labels": {"app.kubernetes.io/name": "`+label+`"}}, "spec": {"nodeName": "`+named[group]+`"},
				"status": {"conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "`+ready+`", "reason": "`+reason+`"}]}}`)
		}
		const label = "nvidia-device-plugin"
		offers("without the plugin", "plain", nil, nil)
		pod("plain", "other", "True", "")
		offers("beside another pod", "plain", nil, nil)
		pod("plain", label, "False", "ContainersNotReady")
		offers("before the plugin is ready", "plain", nil, nil)
		for _, group := range []string{"plain", "whole", "n"} {
			pod(group, label, "True", "")
		}
		offers("with the plugin", "plain", "4", "4")
		offers("with the plugin, where the image brings it", "whole", nil, nil) // the kubelet has registered them
		offers("with the plugin, where there is no GPU", "n", nil, nil)
		pod("plain", label, "False", "ContainersNotReady")
		offers("when the plugin has stopped", "plain", "4", "0")
		pod("plain", label, "False", "ProcessNotRun")
		offers("with a plugin that can't run here", "plain", "4", "4")
		w.change(path+"plain", `{"spec": {"nodeName": "`+named["whole"]+`"}}`)
		offers("when it is on another node", "plain", "4", "0")

		// What is as it should be isn't written again.
		w.api.Before = func(method, at string) int {
			if strings.Contains(at, "/nodes/") {
				t.Errorf("%s %s", method, at)
			}
			return 0
		}
		w.looks()
	})
}
