package cli_test

import (
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// crowd is a chart of pods of which a node has room for one.
var crowd = map[string]string{
	"Chart.yaml":  "apiVersion: v2\nname: crowd\nversion: 1.0.0\n",
	"values.yaml": "replicas: 2\nimage: {repository: poolhouse-sample/cluster-autoscaler, tag: v1.0.0}\n",
	"templates/crowd.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata: {name: crowd}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: crowd}}
  template:
    metadata: {labels: {app: crowd}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: crowd
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          resources: {requests: {cpu: 5}}
          readinessProbe: {httpGet: {path: /healthz, port: 8080}}
`,
}

// TestClusterAutoscalerKubernetes has pods find no room on the nodes of their kind: with
// the cluster autoscaler, whose role may scale, each zone's group gets the node that they
// fit on, up to its maximum, and loses it once it has nothing to do, down to its minimum.
func TestClusterAutoscalerKubernetes(t *testing.T) {
	s := newInstalling(t, "evaluation.yaml", "s3,postgres,oidc")
	whole := s.bundle("whole", func(dir string) (o bundle.BuildOptions, err error) {
		o = bundle.BuildOptions{Name: "whole", Version: "1.0.0"}
		for name, text := range crowd {
			s.write(filepath.Join("crowd", name), text)
		}
		err = samplebundle.ClusterAutoscaler(dir, samplebundle.Build, &o, runtime.GOARCH)
		o.Charts = append(o.Charts, filepath.Join(s.dir, "crowd"))
		return o, err
	})
	s.create()
	s.run(cli.Done, "images", "push", "-f", s.file, whole)
	soon := s.write("soon.yaml", "extraArgs: {scale-down-unneeded-time: 5s}\n")
	apply := func(want, replicas int, timeout string) string {
		t.Helper()
		values := s.write("replicas.yaml", "replicas: "+strconv.Itoa(replicas)+"\n")
		out, errs := s.run(want, "cluster", "apply", "--yes", "--timeout", timeout, "-f", s.file, "--values", "cluster-autoscaler="+soon, "--values", "crowd="+values, whole)
		return out + errs
	}
	// A look has a token of its own: they age by the account's clock.
	list := func(path string) (items []map[string]any) {
		t.Helper()
		admin := administrator(t, func(args ...string) string {
			text, _ := s.run(cli.Done, args...)
			return text
		}, s.file)
		code, answer := admin.do(http.MethodGet, path, "")
		if code != http.StatusOK {
			t.Fatalf("%s: %d %v", path, code, answer)
		}
		for _, i := range answer["items"].([]any) {
			items = append(items, i.(map[string]any))
		}
		return items
	}
	// zones are those of the nodes of the pods' kind, one for each.
	zones := func() (all []string) {
		t.Helper()
		for _, n := range list("/api/v1/nodes?labelSelector=node-role.poolhouse%2Fcore%3Dtrue") {
			zone, _ := at(n, "metadata", "labels", "topology.kubernetes.io/zone").(string)
			all = append(all, zone)
		}
		slices.Sort(all)
		return all
	}
	least, most := []string{"us-east-1a", "us-east-1b"}, []string{"us-east-1a", "us-east-1a", "us-east-1b", "us-east-1b"}

	s.has(apply(cli.Done, 2, "2m"), "installed crowd in poolside, revision 1")
	if got := zones(); !slices.Equal(got, least) {
		t.Fatalf("at first nodes are in %v", got)
	}
	s.has(apply(cli.Done, 4, "3m"), "upgraded crowd in poolside, revision 2")
	if got := zones(); !slices.Equal(got, most) {
		t.Errorf("grown, nodes are in %v", got)
	}
	on := map[any]bool{}
	for _, p := range list("/api/v1/namespaces/poolside/pods?labelSelector=app%3Dcrowd") {
		on[at(p, "spec", "nodeName")] = true
	}
	if len(on) != 4 {
		t.Errorf("its pods are on %v", on)
	}
	out, _ := s.run(cli.Done, "cluster", "status", "-f", s.file)
	s.has(out, "crowd poolside 2 deployed 4/4")
	s.run(cli.Done, "plan", s.file) // the sizes are the autoscaler's to choose

	// More than the maxima there is no room for.
	s.has(apply(cli.Failed, 5, "15s"), "Insufficient cpu")
	if got := zones(); !slices.Equal(got, most) {
		t.Errorf("with room for no more, nodes are in %v", got)
	}

	s.has(apply(cli.Done, 0, "2m"), "upgraded crowd in poolside")
	for deadline := time.Now().Add(2 * time.Minute); !slices.Equal(zones(), least); <-time.After(time.Second) { // the sandbox is a process of its own
		if time.Now().After(deadline) {
			t.Fatalf("with nothing to do, nodes are in %v", zones())
		}
	}
	<-time.After(10 * time.Second) // twice as long as those were there that went
	if got := zones(); !slices.Equal(got, least) {
		t.Errorf("below the minima, nodes are in %v", got)
	}
}
