package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/objects"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/eks/controllers"
)

const (
	listed   = "203.0.113.10" // an address that the example's cluster lets in
	unlisted = "198.51.100.1"

	controller = "/apis/apps/v1/namespaces/kube-system/deployments/aws-load-balancer-controller"
)

// inhabited is a deployment whose cluster holds what owns things in AWS, which
// controllers have made.
type inhabited struct {
	*world
	a       *architecture.Architecture
	api     *kubernetes.API
	machine func(address string) *cluster.Machine
	// handle is the volume of the claim.
	handle string
	// stop ends the controllers.
	stop func()
}

// inhabit creates the example evaluation and fills its cluster.
func inhabit(t *testing.T) *inhabited {
	t.Helper()
	a := example(t, "evaluation")
	h := &inhabited{a: a, api: kubernetes.New(map[string]map[string]string{"elbv2.k8s.aws/v1beta1": {"targetgroupbindings": "TargetGroupBinding"}})}
	w, door := withKubernetes(t, a, listed, h.api)
	h.world = w
	h.machine = func(address string) *cluster.Machine {
		return w.from(door, func() eks.Caller { return eks.Caller{Internet: netip.MustParseAddr(address)} })
	}
	w.create(a)
	for path, text := range map[string]string{
		"/api/v1/nodes/one":                      `{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}`,
		controller:                               `{"metadata": {"labels": {"app.kubernetes.io/name": "aws-load-balancer-controller"}}, "status": {"readyReplicas": 1}}`,
		"/api/v1/namespaces/shop/services/web":   `{"spec": {"type": "LoadBalancer"}}`,
		"/api/v1/namespaces/shop/services/inner": `{"spec": {"type": "ClusterIP"}}`,
		"/apis/networking.k8s.io/v1/namespaces/shop/ingresses/site":           `{}`,
		"/apis/elbv2.k8s.aws/v1beta1/namespaces/shop/targetgroupbindings/web": `{}`,
	} {
		h.api.Put(path, text)
	}
	h.handle = h.volume(a)
	set := h.api.Put("/apis/apps/v1/namespaces/shop/statefulsets/db", `{}`)
	h.api.Put("/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0", `{"spec": {"volumeName": "pvc-1"}}`)
	h.api.Put("/api/v1/namespaces/shop/pods/db-0", fmt.Sprintf(`{"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": %q, "controller": true}]},
		"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]}}`, set))
	h.api.Put("/api/v1/persistentvolumes/pvc-1", fmt.Sprintf(`{"metadata": {"finalizers": ["external-provisioner.volume.kubernetes.io/finalizer"]},
		"spec": {"persistentVolumeReclaimPolicy": "Delete", "capacity": {"storage": "8Gi"}, "claimRef": {"namespace": "shop", "name": "data-db-0"}, "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": %q}},
		"status": {"phase": "Bound"}}`, h.handle))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		controllers.Run(ctx, controllers.Options{
			Account: w.box.Account(), Cluster: a.ClusterName(), Endpoint: "https://kubernetes", Token: "theirs",
			Transport: testkit.Transport{Handler: h.api},
		}, 5*time.Second, func(err error) { t.Error(err) })
	})
	h.stop = func() { cancel(); running.Wait() }
	t.Cleanup(h.stop)
	time.Sleep(5 * time.Minute) // they make load balancers
	for typ, want := range made {
		if got := w.count(typ, a.ClusterName()); got != want {
			t.Fatalf("controllers made %d %s, want %d", got, typ, want)
		}
	}
	return h
}

// made is what controllers make of what inhabits a cluster.
var made = map[string]int{
	"AWS::ElasticLoadBalancing::LoadBalancer": 1, "AWS::ElasticLoadBalancingV2::LoadBalancer": 1, "AWS::ElasticLoadBalancingV2::TargetGroup": 1,
	"AWS::EC2::SecurityGroup": 2, "ec2:volume": 1,
}

// count counts what controllers have made of a type.
func (w *world) count(typ, name string) (n int) {
	for _, r := range w.box.Account().Resources() {
		if r.Type == typ && (r.Tags["elbv2.k8s.aws/cluster"] == name || r.Tags["kubernetes.io/cluster/"+name] == "owned") && r.Tags["aws:eks:cluster-name"] == "" {
			n++
		}
	}
	return n
}

// volume makes the volume of a claim, as the driver tags it.
func (w *world) volume(a *architecture.Architecture) string {
	w.t.Helper()
	var id string
	err := w.box.Account().Do(func(tx *account.Tx) error {
		v, err := controllers.NewVolume(tx, a.ClusterName(), tx.Zones()[0].Name, "pvc-1", "shop", "data-db-0")
		if err == nil {
			id = v.ID
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// drop deletes an object of the cluster, as its own clients do.
func (h *inhabited) drop(path string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodDelete, "https://kubernetes"+path, strings.NewReader("{}"))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer theirs")
	resp, err := testkit.Transport{Handler: h.api}.RoundTrip(req)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		h.t.Errorf("delete %s: %s, %v", path, resp.Status, err)
	}
}

func (h *inhabited) delete(ctx context.Context, from string, data deploy.Data) (*deploy.Deleted, error) {
	target := h.target(h.a)
	target.Machine = h.machine(from)
	return deploy.Delete(ctx, deploy.DeleteOptions{Target: target, Data: data})
}

// TestL01ObjectsGoFirst: what owns load balancers and volumes goes by its controllers
// before any stack is touched, and nothing is left.
func TestL01ObjectsGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inhabit(t)
		began := false
		h.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.StackStarted); ok && s.Action == deploy.DeleteStack && !began {
				began = true
				for typ := range made {
					if n := h.count(typ, h.a.ClusterName()); n > 0 {
						t.Errorf("%d %s are left when the first stack goes", n, typ)
					}
				}
			}
		}
		// Nothing of the stacks is touched while objects are left.
		h.api.Before = func(method, path string) int {
			for _, r := range h.box.Account().Resources() {
				if r.Type == "cloudformation:stack" && r.Tags[deploy.Tag] != "" && r.Status != "CREATE_COMPLETE" && r.Status != "UPDATE_COMPLETE" {
					t.Errorf("at %s %s stack %s is %s", method, path, r.ID, r.Status)
				}
			}
			return 0
		}
		// Releases go after the load balancers, by the program that holds Helm, and what
		// of them fails stays for the cluster's end.
		const secret = "/api/v1/namespaces/shop/secrets/sh.helm.release.v1."
		for name, label := range map[string]string{"shop": `, "poolhouse/order": "000"`, "stuck": `, "poolhouse/order": "001"`, "theirs": ""} {
			h.api.Put(secret+name+".v2", `{"metadata": {"labels": {"owner": "helm", "name": "`+name+`", "version": "2", "status": "deployed"`+label+`}}, "data": {"release": "secret"}}`)
		}
		program := filepath.Join(t.TempDir(), "releases")
		if err := os.WriteFile(program, []byte("#!/bin/sh\nread line\ncase $line in *'\"operation\":\"uninstall\"'*) echo '{\"event\":{\"release\":\"shop\",\"text\":\"goes\"}}'; echo '{\"problems\":[{\"place\":\"release stuck\",\"reason\":\"a hook fails\",\"next\":\"look\"}]}' ;; esac\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		sweeps := h.seen
		h.seen = func(e deploy.Event) {
			sweeps(e)
			// What the program does.
			if s, ok := e.(deploy.Step); ok && s.Text == "release shop: goes" {
				h.drop(secret + "shop.v2")
			}
		}
		target := h.target(h.a)
		target.Machine = h.machine(listed)
		contents, err := deploy.LookIntoCluster(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&deploy.Contents{
			Kinds:    map[string]int{"Service": 1, "Ingress": 1, "TargetGroupBinding": 1, "PersistentVolumeClaim": 1},
			Volumes:  []deploy.Claimed{{Claim: "shop/data-db-0", Volume: h.handle, Size: "8Gi", Driver: "ebs.csi.aws.com"}},
			Releases: []objects.Release{{Name: "stuck", Namespace: "shop", Revision: "2", Status: "deployed", Order: "001"}, {Name: "shop", Namespace: "shop", Revision: "2", Status: "deployed", Order: "000"}},
		}, contents); diff != "" {
			t.Errorf("what goes (-want +got):\n%s", diff)
		}
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: target, Data: deploy.DestroyData, Releases: program})
		if err != nil {
			t.Fatal(err)
		}
		if d.Outcome != deploy.Clean || !began {
			t.Errorf("outcome %s, blockers %v", d.Outcome, d.Blockers)
		}
		for _, want := range []string{"deleting Service web in shop", "deleting Ingress site in shop", "deleting TargetGroupBinding web in shop", "deleting StatefulSet db in shop", "deleting PersistentVolumeClaim data-db-0 in shop", "release shop: goes", "uninstalled release shop in shop", "not all releases could be uninstalled; what is left goes with the cluster", "a hook fails", "controllers have removed what they made in AWS"} {
			if !strings.Contains(h.steps(), want) {
				t.Errorf("no step says %q", want)
			}
		}
		if strings.Contains(h.steps(), "which no stack has") || strings.Contains(h.steps(), "Service inner") || strings.Contains(h.steps(), "release stuck in") || strings.Contains(h.steps(), "release theirs") {
			t.Errorf("something was left to the sweep by tags, or went that owns nothing:\n%s", h.steps())
		}
		if left := h.api.Paths(); !slices.Equal(left, []string{secret + "stuck.v2", secret + "theirs.v2", "/api/v1/namespaces/shop/services/inner", "/api/v1/nodes/one", controller}) {
			t.Errorf("the cluster holds %v", left)
		}
		h.seen = nil
		h.stop()
		h.clean(d)
	})
}

// TestL06ProtectionThatComesWhileTheClusterIsEmptied: somebody protects a stack once the
// objects of the cluster go. Who does not let that be lifted is not told that nothing was
// touched.
func TestL06ProtectionThatComesWhileTheClusterIsEmptied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inhabit(t)
		target := h.target(h.a)
		target.Machine = h.machine(listed)
		cfn, late := target.AWS.CloudFormation, h.a.StackName(architecture.Identity)
		untouched, begun := errors.New("nothing was changed"), false
		h.seen = func(e deploy.Event) {
			s, ok := e.(deploy.Step)
			if begun || !ok || s.Stack != architecture.Cluster {
				return
			}
			begun = true
			if _, err := cfn.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: &late, EnableTerminationProtection: new(true)}); err != nil {
				t.Error(err)
			}
		}
		_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: target, Data: deploy.DestroyData, Lift: func(context.Context, []deploy.Protection) error {
			if begun {
				return untouched
			}
			return nil
		}})
		if !begun || err == nil || errors.Is(err, untouched) || !strings.Contains(err.Error(), "stays (stack "+late+"); what went before is gone, and what is left stands: repeat the delete") {
			t.Errorf("it ended with %v", err)
		}
		for _, st := range h.find("cloudformation:stack") {
			if strings.Contains(st.ID, "/"+h.a.Name()+"-") && strings.HasPrefix(st.Status, "DELETE_") {
				t.Errorf("%s is %s", st.ID, st.Status)
			}
		}
	})
}

// TestL01SweepsByTag: where the API can't be reached or lets nobody in, where no node
// is ready or no controller runs, what controllers made goes by its tags all the same,
// and the run says why.
func TestL01SweepsByTag(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before func(*inhabited)
		from   string
		want   string
	}{
		"unreachable": {func(*inhabited) {}, unlisted, "no route to the Kubernetes API"},
		"refused": {func(h *inhabited) {
			h.api.Before = func(string, string) int { return http.StatusForbidden }
		}, listed, "403 Forbidden"},
		"no look": {func(h *inhabited) {
			h.api.Reads = func(path string) int { return http.StatusForbidden }
		}, listed, "GET /api/v1/nodes: 403 Forbidden"},
		"no list of Ingresses": {func(h *inhabited) {
			h.api.Reads = func(path string) int {
				if strings.HasSuffix(path, "/ingresses") {
					return http.StatusForbidden
				}
				return 0
			}
		}, listed, "GET /apis/networking.k8s.io/v1/ingresses: 403 Forbidden"},
		"no nodes": {func(h *inhabited) {
			h.api.Put("/api/v1/nodes/one", `{"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}`)
		}, listed, "no node of the cluster is ready"},
		"no controllers": {func(h *inhabited) { h.stop() }, listed, "Service web in shop does not go: nothing takes it out of its finalizers service.kubernetes.io/load-balancer-cleanup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := inhabit(t)
				tc.before(h)
				h.stop() // or they would see their cluster go
				d, err := h.delete(t.Context(), tc.from, deploy.DestroyData)
				if err != nil {
					t.Fatal(err)
				}
				if d.Outcome != deploy.Clean {
					t.Errorf("outcome %s, blockers %v", d.Outcome, d.Blockers)
				}
				if !strings.Contains(h.steps(), tc.want) {
					t.Errorf("no step says %q:\n%s", tc.want, h.steps())
				}
				h.clean(d)
			})
		})
	}
}

// TestL01DestroysWhatOutlivesItsClaim: with the data, volumes go too that their policy
// keeps; the look before says so, and tells them from other people's. What has no claim
// is not waited for.
func TestL01DestroysWhatOutlivesItsClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inhabit(t)
		const volume = `{"spec": {"persistentVolumeReclaimPolicy": %q, "capacity": {"storage": "8Gi"}, %s "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": %q}}, "status": {"phase": "Bound"}}`
		h.api.Put("/api/v1/persistentvolumes/pvc-1", fmt.Sprintf(volume, "Retain", `"claimRef": {"namespace": "shop", "name": "data-db-0"},`, h.handle))
		h.api.Put("/api/v1/persistentvolumes/static", fmt.Sprintf(volume, "Delete", "", h.volume(h.a)))
		h.api.Put("/api/v1/persistentvolumes/theirs", fmt.Sprintf(volume, "Retain", `"claimRef": {"namespace": "shop", "name": "gone"},`, "vol-0123456789abcdef0"))
		target := h.target(h.a)
		target.Machine = h.machine(listed)
		contents, err := deploy.LookIntoCluster(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]deploy.Claimed{
			{Claim: "shop/data-db-0", Volume: h.handle, Size: "8Gi", Driver: "ebs.csi.aws.com"},
			{Claim: "shop/gone", Volume: "vol-0123456789abcdef0", Size: "8Gi", Driver: "ebs.csi.aws.com", Kept: true},
		}, contents.Volumes); diff != "" {
			t.Errorf("what goes (-want +got):\n%s", diff)
		}
		d, err := h.delete(t.Context(), listed, deploy.DestroyData)
		if err != nil {
			t.Fatal(err)
		}
		if steps := h.steps(); !strings.Contains(steps, "deleted volume "+h.handle) || strings.Contains(steps, "controllers leave") {
			t.Errorf("steps:\n%s", steps)
		}
		h.stop()
		h.clean(d)
	})
}

// TestL08ClaimsOutliveTheCluster: the volumes of claims stay with the data, whatever
// their class says, and are named.
func TestL08ClaimsOutliveTheCluster(t *testing.T) {
	t.Parallel()
	for _, data := range []deploy.Data{deploy.KeepData, deploy.SnapshotData} {
		t.Run(string(data), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := inhabit(t)
				d, err := h.delete(t.Context(), listed, data)
				if err != nil {
					t.Fatal(err)
				}
				h.stop()
				if n := h.count("ec2:volume", h.a.ClusterName()); n != 1 || d.Outcome != deploy.Retained {
					t.Errorf("outcome %s with %d volumes of claims", d.Outcome, n)
				}
				if !slices.ContainsFunc(d.Kept, func(k deploy.Kept) bool {
					return k.Type == "AWS::EC2::Volume" && strings.Contains(k.Why, "the claim shop/data-db-0")
				}) {
					t.Errorf("no volume is named: %+v", d.Kept)
				}
				if n := h.count("AWS::ElasticLoadBalancingV2::LoadBalancer", h.a.ClusterName()); n != 0 {
					t.Errorf("%d load balancers are left", n)
				}
			})
		})
	}
}

// TestL31KilledAtKubernetesWrites: a deletion that is killed before and after each of
// its writes to Kubernetes is gone on with, and leaves nothing.
func TestL31KilledAtKubernetesWrites(t *testing.T) {
	t.Parallel()
	for data, want := range map[deploy.Data]int{ // before and after
		deploy.DestroyData:  10, // five deletions
		deploy.SnapshotData: 12, // and the volume that is to stay
		deploy.KeepData:     12,
	} {
		t.Run(string(data), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { killedAtWrites(t, data, want) })
		})
	}
}

func killedAtWrites(t *testing.T, data deploy.Data, want int) {
	h := inhabit(t)
	killed := errors.New("killed")
	var kill context.CancelCauseFunc
	writes, runs := 0, 0
	// Deletions of volumes are the controllers', and so are other patches.
	mine := func(method, path string) bool {
		volume := strings.Contains(path, "/persistentvolumes/")
		return kill != nil && (method == http.MethodDelete && !volume || method == http.MethodPatch && volume && data != deploy.DestroyData)
	}
	h.api.Before = func(method, path string) int {
		if !mine(method, path) {
			return 0
		}
		if writes++; runs%2 == 0 {
			kill(killed)
			return http.StatusServiceUnavailable
		}
		return 0
	}
	h.api.After = func(method, path string) bool {
		if mine(method, path) && runs%2 == 1 {
			kill(killed)
			return true
		}
		return false
	}
	for ; ; runs++ {
		if runs > 40 {
			t.Fatal("it never ends")
		}
		var ctx context.Context
		ctx, kill = context.WithCancelCause(t.Context())
		d, err := h.delete(ctx, listed, data)
		kill(nil)
		if err == nil {
			h.stop()
			if data == deploy.DestroyData {
				h.clean(d)
			} else if n := h.count("ec2:volume", h.a.ClusterName()); n != 1 || d.Outcome != deploy.Retained {
				t.Errorf("outcome %s with %d volumes of claims", d.Outcome, n)
			}
			break
		}
		if !errors.Is(err, killed) {
			t.Fatal(err)
		}
	}
	if writes != want {
		t.Errorf("%d writes were killed in %d runs, want %d", writes, runs, want)
	}
}

// TestControllersBindAtOnce: the sandbox's driver makes the volume of a claim whose class
// doesn't wait for a pod, in a zone of the cluster's nodes, and none for one whose class
// does; with its claim it goes.
func TestControllersBindAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inhabit(t)
		for name, mode := range map[string]string{"now": "", "later": `"volumeBindingMode": "WaitForFirstConsumer", `} {
			h.api.Put("/apis/storage.k8s.io/v1/storageclasses/"+name, `{`+mode+`"reclaimPolicy": "Delete", "parameters": {"type": "gp3"}}`)
			h.api.Put("/api/v1/namespaces/shop/persistentvolumeclaims/"+name, `{"metadata": {"annotations": {"volume.kubernetes.io/storage-provisioner": "ebs.csi.aws.com"}}, "spec": {"storageClassName": "`+name+`", "resources": {"requests": {"storage": "3Gi"}}}}`)
		}
		time.Sleep(5 * time.Minute)
		volume := func(claim string) string {
			spec, _ := h.api.Get("/api/v1/namespaces/shop/persistentvolumeclaims/" + claim)["spec"].(kubernetes.Object)
			name, _ := spec["volumeName"].(string)
			return name
		}
		if volume("now") == "" || volume("later") != "" {
			t.Errorf("volume %q of the claim that is bound at once, %q of the other", volume("now"), volume("later"))
		}
		if n := h.count("ec2:volume", h.a.ClusterName()); n != 2 {
			t.Errorf("%d volumes, want 2", n)
		}
		d, err := h.delete(t.Context(), listed, deploy.DestroyData)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.steps(), "which no stack has") {
			t.Errorf("something was left to the sweep by tags:\n%s", h.steps())
		}
		h.stop()
		h.clean(d)
	})
}
