package cli_test

import (
	"net/http"
	"runtime"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// TestInferenceKubernetes installs the chart of model servers in a cluster with GPU nodes,
// whose image has NVIDIA's driver and no device plugin: its pods wait, in the scheduler's
// own words, until the plugin's chart is in the bundle too, and wait again once the plugin
// has stopped.
func TestInferenceKubernetes(t *testing.T) {
	s := newInstalling(t, "gpu-inference.yaml", "s3,postgres,oidc")
	sources := func(dir string) (bundle.BuildOptions, error) {
		o, err := samplebundle.WritePlatform(dir, samplebundle.BuildPlatform, s.roots, runtime.GOARCH)
		if err == nil {
			o.Charts = o.Charts[:1] // the model servers'
		}
		return o, err
	}
	bare := s.bundle("bare", sources)
	whole := s.bundle("whole", func(dir string) (bundle.BuildOptions, error) {
		o, err := sources(dir)
		if err == nil {
			err = samplebundle.DevicePlugin(dir, samplebundle.Build, &o, runtime.GOARCH)
		}
		return o, err
	})
	s.create()
	s.run(cli.Done, "images", "push", "-f", s.file, whole)

	const lacks = "Insufficient nvidia.com/gpu"
	_, said := s.run(cli.Failed, "cluster", "apply", "--yes", "--timeout", "15s", "-f", s.file, bare)
	s.has(said, lacks)

	out, _ := s.run(cli.Done, "cluster", "apply", "--yes", "--timeout", "3m", "-f", s.file, whole)
	s.has(out, "installed nvidia-device-plugin in kube-system, revision 1")
	out, _ = s.run(cli.Done, "cluster", "status", "-f", s.file)
	s.has(out, "nvidia-device-plugin kube-system 1 deployed 2/2")
	s.has(out, "poolhouse-inference poolside-models 1 deployed 1/1")

	admin := administrator(t, func(args ...string) string {
		text, _ := s.run(cli.Done, args...)
		return text
	}, s.file)
	const models = "/api/v1/namespaces/poolside-models/pods"
	_, pods := admin.do(http.MethodGet, models, "")
	list, _ := pods["items"].([]any)
	if len(list) != 1 {
		t.Fatalf("%d model servers", len(list))
	}
	pod, _ := list[0].(map[string]any)
	container, _ := at(pod, "spec", "containers").([]any)[0].(map[string]any)
	if got := at(container, "resources", "limits", "nvidia.com/gpu"); got != "1" {
		t.Errorf("it asks for %v GPUs", got)
	}
	path, _ := at(pod, "spec", "nodeName").(string)
	path = "/api/v1/nodes/" + path
	_, node := admin.do(http.MethodGet, path, "")
	if at(node, "metadata", "labels", "node-role.poolhouse/gpu") != "true" || at(node, "status", "allocatable", "nvidia.com/gpu") != "8" {
		t.Errorf("it is on the node %v with %v", at(node, "metadata", "labels"), at(node, "status", "allocatable"))
	}

	// The plugin stops, and with it the offer.
	if code, answer := admin.do(http.MethodDelete, "/apis/apps/v1/namespaces/kube-system/daemonsets/nvidia-device-plugin", ""); code != http.StatusOK {
		t.Fatalf("delete the plugin: %d %v", code, answer)
	}
	admin.until(path, "without GPUs", func(o map[string]any) bool { return at(o, "status", "allocatable", "nvidia.com/gpu") == "0" })
	name, _ := at(pod, "metadata", "name").(string)
	if code, answer := admin.do(http.MethodDelete, models+"/"+name, ""); code != http.StatusOK {
		t.Fatalf("delete the model server: %d %v", code, answer)
	}
	admin.until("/apis/apps/v1/namespaces/poolside-models/deployments/inference", "without a pod that is ready", func(o map[string]any) bool { return at(o, "status", "unavailableReplicas") == 1.0 })
	out, _ = s.run(cli.Pending, "cluster", "status", "-f", s.file)
	s.has(out, lacks)
}
