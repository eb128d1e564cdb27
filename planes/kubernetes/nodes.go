package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/poolhouse/poolhouse/planes/kubernetes/podspec"
)

// Node is a machine that a kubelet would register.
type Node struct {
	Name       string            `json:"name"`
	ProviderID string            `json:"providerID"`
	Labels     map[string]string `json:"labels,omitempty"`
	Taints     []core.Taint      `json:"taints,omitempty"`
	// Capacity and Allocatable are quantities by resource: {"cpu": "4"}.
	Capacity    map[string]string `json:"capacity"`
	Allocatable map[string]string `json:"allocatable"`
	InternalIP  string            `json:"internalIP,omitempty"`
	// Subnet is the range that its pods' addresses are from: "10.0.64.0/20".
	Subnet string `json:"subnet,omitempty"`
	// Kubelet is its version: "v1.36.0-eks-0000000".
	Kubelet      string `json:"kubelet"`
	Image        string `json:"image"`
	Architecture string `json:"architecture"`
	// Draining has no further pods bound to it, and those on it evicted as
	// disruption budgets allow.
	Draining bool `json:"draining,omitempty"`
}

// Report is what is known of nodes after they were told.
type Report struct {
	// Pods are how many are bound to a node, by its name; those of daemon sets
	// don't count.
	Pods map[string]int `json:"pods"`
	// NotRun are how many of all pods on a node have a process that can't run,
	// by the node's name.
	NotRun map[string]int `json:"notRun"`
}

// leases is the namespace of the kubelets' leases; one lasts leaseFor and is
// renewed after renewAfter.
// https://kubernetes.io/docs/concepts/architecture/leases/
const (
	leases     = "kube-node-lease"
	leaseFor   = 40 // seconds
	renewAfter = 10 * time.Second
)

// nodes are those of a cluster: it registers them, has their kubelets run, renews
// their leases, and speaks for the pods that can't run on them. It is safe for
// concurrent use.
type nodes struct {
	client   kubernetes.Interface
	kubelets *kubelets

	mu   sync.Mutex
	want map[string]Node
}

func newNodes(client kubernetes.Interface, k *kubelets) *nodes {
	return &nodes{client: client, kubelets: k, want: map[string]Node{}}
}

// handler takes the whole list of nodes by PUT, and answers with a [Report]. By
// CONNECT it leads to the address of a pod. Nodes run until the context ends.
func (n *nodes) handler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("CONNECT /", connect(n.kubelets.dialPod))
	mux.HandleFunc("PUT /nodes", func(w http.ResponseWriter, r *http.Request) {
		var list []Node
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
			http.Error(w, "a list of nodes is needed: "+err.Error(), http.StatusBadRequest)
			return
		}
		report, err := n.set(r.Context(), ctx, list)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report) // the client may be gone
	})
	return mux
}

// set brings the cluster's nodes to a list; kubelets run while the other context
// lasts.
func (n *nodes) set(ctx, last context.Context, list []Node) (*Report, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	there, err := n.client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, err
	}
	old := map[string]*core.Node{}
	for i := range there.Items {
		old[there.Items[i].Name] = &there.Items[i]
	}
	want := map[string]Node{}
	var errs []error
	for _, w := range list {
		before, err := n.want[w.Name], error(nil)
		want[w.Name] = w
		have := old[w.Name]
		if have != nil && have.Spec.ProviderID != w.ProviderID {
			// Another machine has got the address of one that is gone.
			err, have, before = n.remove(ctx, w.Name), nil, Node{}
		}
		if err == nil && have == nil {
			err = n.register(ctx, w)
		} else if err == nil {
			err = n.change(ctx, have, before, w)
		}
		if err == nil {
			err = n.kubelets.start(last, w)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", w.Name, err))
		}
	}
	for name := range old {
		if _, ok := want[name]; !ok {
			if err := n.remove(ctx, name); err != nil {
				errs = append(errs, fmt.Errorf("node %s: %w", name, err))
			}
		}
	}
	n.want = want
	report := &Report{Pods: map[string]int{}, NotRun: map[string]int{}}
	for name, w := range want {
		if err := n.count(ctx, w, report); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", name, err))
		}
	}
	return report, errors.Join(errs...)
}

func quantities(from map[string]string) (core.ResourceList, error) {
	out := core.ResourceList{}
	for name, text := range from {
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("read %s %q: %w", name, text, err)
		}
		out[core.ResourceName(name)] = q
	}
	return out, nil
}

// register makes a node, ready, with its lease.
func (n *nodes) register(ctx context.Context, w Node) error {
	capacity, err := quantities(w.Capacity)
	if err != nil {
		return err
	}
	allocatable, err := quantities(w.Allocatable)
	if err != nil {
		return err
	}
	labels := maps.Clone(w.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[core.LabelHostname], labels[core.LabelOSStable], labels[core.LabelArchStable] = w.Name, "linux", w.Architecture
	node := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: w.Name, Labels: labels},
		Spec:       core.NodeSpec{ProviderID: w.ProviderID, Taints: w.Taints, Unschedulable: w.Draining},
		Status: core.NodeStatus{
			Capacity: capacity, Allocatable: allocatable, Conditions: conditions(),
			Addresses: []core.NodeAddress{{Type: core.NodeHostName, Address: w.Name}},
			NodeInfo:  core.NodeSystemInfo{KubeletVersion: w.Kubelet, OperatingSystem: "linux", Architecture: w.Architecture, OSImage: w.Image, MachineID: w.Name, SystemUUID: w.Name, BootID: w.Name},
		},
	}
	if w.InternalIP != "" {
		node.Status.Addresses = append(node.Status.Addresses, core.NodeAddress{Type: core.NodeInternalIP, Address: w.InternalIP})
	}
	// The lease is there before its node, so that the node isn't thought dead.
	if err := n.renew(ctx, w.Name); err != nil {
		return err
	}
	_, err = n.client.CoreV1().Nodes().Create(ctx, node, meta.CreateOptions{})
	return err
}

// conditions are those of a node in order.
func conditions() []core.NodeCondition {
	now := meta.Now()
	out := []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue, Reason: "KubeletReady", Message: "the sandbox keeps this node", LastHeartbeatTime: now, LastTransitionTime: now}}
	for _, t := range []core.NodeConditionType{core.NodeMemoryPressure, core.NodeDiskPressure, core.NodePIDPressure} {
		out = append(out, core.NodeCondition{Type: t, Status: core.ConditionFalse, Reason: "KubeletHasNoPressure", LastHeartbeatTime: now, LastTransitionTime: now})
	}
	return out
}

// renew renews a node's lease.
func (n *nodes) renew(ctx context.Context, name string) error {
	now, seconds := meta.NowMicro(), int32(leaseFor)
	l, err := n.client.CoordinationV1().Leases(leases).Get(ctx, name, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = n.client.CoordinationV1().Leases(leases).Create(ctx, &coordination.Lease{
			ObjectMeta: meta.ObjectMeta{Name: name},
			Spec:       coordination.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, meta.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &name, &seconds, &now
	_, err = n.client.CoordinationV1().Leases(leases).Update(ctx, l, meta.UpdateOptions{})
	return err
}

// change brings a node to what is wanted of it. What others have added to its
// labels and taints stays.
func (n *nodes) change(ctx context.Context, have *core.Node, before, w Node) error {
	next := have.DeepCopy()
	for k := range before.Labels {
		if _, ok := w.Labels[k]; !ok {
			delete(next.Labels, k)
		}
	}
	maps.Copy(next.Labels, w.Labels)
	same := func(a core.Taint) func(core.Taint) bool { return func(b core.Taint) bool { return a.MatchTaint(&b) } }
	for _, t := range before.Taints {
		if !slices.ContainsFunc(w.Taints, same(t)) {
			next.Spec.Taints = slices.DeleteFunc(next.Spec.Taints, same(t))
		}
	}
	for _, t := range w.Taints {
		next.Spec.Taints = append(slices.DeleteFunc(next.Spec.Taints, same(t)), t)
	}
	if w.Draining != before.Draining {
		next.Spec.Unschedulable = w.Draining
	}
	patch, err := json.Marshal(object{"metadata": object{"resourceVersion": have.ResourceVersion, "labels": labelPatch(have.Labels, next.Labels)}, "spec": object{"unschedulable": next.Spec.Unschedulable, "taints": next.Spec.Taints}})
	if err != nil {
		return err
	}
	if maps.Equal(have.Labels, next.Labels) && have.Spec.Unschedulable == next.Spec.Unschedulable && slices.EqualFunc(have.Spec.Taints, next.Spec.Taints, func(a, b core.Taint) bool { return a.MatchTaint(&b) && a.Value == b.Value }) {
		return nil
	}
	_, err = n.client.CoreV1().Nodes().Patch(ctx, have.Name, types.MergePatchType, patch, meta.PatchOptions{})
	return err
}

// labelPatch is what makes labels of others.
func labelPatch(from, to map[string]string) map[string]any {
	out := map[string]any{}
	for k := range from {
		out[k] = nil
	}
	for k, v := range to {
		out[k] = v
	}
	return out
}

// remove deletes a node whose machine is gone, with what was bound to it.
func (n *nodes) remove(ctx context.Context, name string) error {
	errs := []error{n.kubelets.stop(name)}
	pods, err := n.on(ctx, name)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, p := range pods {
		errs = append(errs, n.forget(ctx, &p))
	}
	errs = append(errs, absent(n.client.CoreV1().Nodes().Delete(ctx, name, meta.DeleteOptions{})), absent(n.client.CoordinationV1().Leases(leases).Delete(ctx, name, meta.DeleteOptions{})))
	return errors.Join(errs...)
}

func absent(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// on are the pods bound to a node.
func (n *nodes) on(ctx context.Context, name string) ([]core.Pod, error) {
	pods, err := n.client.CoreV1().Pods("").List(ctx, meta.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", name).String()})
	if err != nil {
		return nil, err
	}
	return pods.Items, nil
}

// forget deletes a pod at once: nothing of it runs, or nothing any more.
func (n *nodes) forget(ctx context.Context, p *core.Pod) error {
	var at int64
	return absent(n.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, meta.DeleteOptions{GracePeriodSeconds: &at, Preconditions: &meta.Preconditions{UID: &p.UID}}))
}

// count counts a node's pods, and evicts them if it is to be drained.
func (n *nodes) count(ctx context.Context, w Node, into *Report) error {
	pods, err := n.on(ctx, w.Name)
	if err != nil {
		return err
	}
	into.Pods[w.Name], into.NotRun[w.Name] = 0, 0
	for _, p := range pods {
		if notRun(&p) {
			into.NotRun[w.Name]++
		}
		if owner := meta.GetControllerOf(&p); owner != nil && owner.Kind == "DaemonSet" {
			continue
		}
		into.Pods[w.Name]++
		if !w.Draining || p.DeletionTimestamp != nil {
			continue
		}
		err := n.client.CoreV1().Pods(p.Namespace).EvictV1(ctx, &policy.Eviction{ObjectMeta: meta.ObjectMeta{Name: p.Name, Namespace: p.Namespace}})
		if absent(err) != nil && !apierrors.IsTooManyRequests(err) {
			return err
		}
	}
	return nil
}

// run renews leases and reports pods until the context ends.
func (n *nodes) run(ctx context.Context) {
	go n.watch(ctx)
	tick := time.NewTicker(renewAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		for name := range n.want {
			// A lease that isn't renewed is tried again before it is over.
			_ = n.renew(ctx, name)
		}
		n.mu.Unlock()
	}
}

// watch follows the pods that are bound to nodes.
func (n *nodes) watch(ctx context.Context) {
	selector := fields.OneTermNotEqualSelector("spec.nodeName", "").String()
	for ctx.Err() == nil {
		list, err := n.client.CoreV1().Pods("").List(ctx, meta.ListOptions{FieldSelector: selector})
		if err == nil {
			for i := range list.Items {
				n.report(ctx, &list.Items[i])
			}
			var w watch.Interface
			if w, err = n.client.CoreV1().Pods("").Watch(ctx, meta.ListOptions{FieldSelector: selector, ResourceVersion: list.ResourceVersion}); err == nil {
				for e := range w.ResultChan() {
					if p, ok := e.Object.(*core.Pod); ok && e.Type != watch.Deleted {
						n.report(ctx, p)
					}
				}
				w.Stop()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// notRun tells that a process of a pod can't run, by what its status says.
func notRun(p *core.Pod) bool {
	for _, list := range [][]core.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			for _, state := range []core.ContainerState{c.State, c.LastTerminationState} {
				if w := state.Waiting; w != nil && strings.Contains(w.Message, podspec.Because) {
					return true
				}
				if t := state.Terminated; t != nil && strings.Contains(t.Message, podspec.Because) {
					return true
				}
			}
		}
	}
	return false
}

// report says of a pod that its processes can't run, or ends one that is to be
// deleted. Others are their kubelet's.
func (n *nodes) report(ctx context.Context, p *core.Pod) {
	why := n.kubelets.cannot()
	if unfit := podspec.Unfit(p); why == "" && unfit != "" {
		why = podspec.Because + unfit
	}
	if why == "" {
		return
	}
	if p.DeletionTimestamp != nil {
		// What fails here comes again with the next list.
		_ = n.forget(ctx, p)
		return
	}
	if p.Status.Phase != core.PodPending || slices.ContainsFunc(p.Status.Conditions, func(c core.PodCondition) bool { return c.Reason == podspec.NotRun }) {
		return
	}
	next := p.DeepCopy()
	now := meta.Now()
	next.Status.StartTime = &now
	for _, t := range []core.PodConditionType{core.PodInitialized, core.ContainersReady, core.PodReady} {
		c := core.PodCondition{Type: t, Status: core.ConditionFalse, Reason: podspec.NotRun, Message: why, LastTransitionTime: now}
		if i := slices.IndexFunc(next.Status.Conditions, func(x core.PodCondition) bool { return x.Type == t }); i >= 0 {
			next.Status.Conditions[i] = c
		} else {
			next.Status.Conditions = append(next.Status.Conditions, c)
		}
	}
	waiting := func(list []core.Container) (out []core.ContainerStatus) {
		for _, c := range list {
			out = append(out, core.ContainerStatus{Name: c.Name, Image: c.Image, State: core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: podspec.NotRun, Message: why}}})
		}
		return out
	}
	next.Status.InitContainerStatuses, next.Status.ContainerStatuses = waiting(p.Spec.InitContainers), waiting(p.Spec.Containers)
	_, _ = n.client.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, next, meta.UpdateOptions{})
}
