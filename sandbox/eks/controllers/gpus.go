package controllers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/poolhouse/poolhouse/sandbox/eks"
)

// plugin is how NVIDIA's chart labels the pods of its device plugin, and gpu the resource
// that these tell kubelets of.
// https://github.com/NVIDIA/k8s-device-plugin
const (
	plugin = "nvidia-device-plugin"
	gpu    = "nvidia.com/gpu"
)

// notRun is the reason by which planes/kubernetes says that no process of a pod can run
// there.
const notRun = "ProcessNotRun"

// machine is a node of the API, as far as it is looked at.
type machine struct {
	head
	Status struct{ Capacity, Allocatable map[string]string } `json:"status"`
}

// placed is a pod, as far as it is looked at.
type placed struct {
	head
	Spec   struct{ NodeName string } `json:"spec"`
	Status struct {
		Conditions []struct{ Type, Status, Reason string }
	} `json:"status"`
}

// offer has nodes offer their GPUs while the device plugin runs there, and none when it
// has stopped; pods that have some keep them.
func (o Options) offer(ctx context.Context, nodes []eks.Node) error {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n eks.Node) bool { return n.GPUs == 0 })
	if len(nodes) == 0 {
		return nil
	}
	pods, err := listOf[placed](ctx, o, "/api/v1/pods"+labelled+plugin)
	if err != nil {
		return err
	}
	served := map[string]bool{}
	for i := range pods {
		served[pods[i].Spec.NodeName] = served[pods[i].Spec.NodeName] || pods[i].serves()
	}
	var errs []error
	for _, n := range nodes {
		errs = append(errs, o.offerOf(ctx, n, served[n.Name]))
	}
	return errors.Join(errs...)
}

// serves tells that a pod does its work: that it is ready, or that it can't run here and
// would be, as where no pods run. NVIDIA's own mounts folders of its node, which isn't
// modelled.
func (p *placed) serves() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True" || c.Reason == notRun
		}
	}
	return false
}

// offerOf has one node offer its GPUs, or none of them.
func (o Options) offerOf(ctx context.Context, n eks.Node, served bool) error {
	path := "/api/v1/nodes/" + n.Name
	var have machine
	if err := o.ask(ctx, http.MethodGet, path, "", nil, &have); missing(err) {
		return nil // it isn't registered yet
	} else if err != nil {
		return err
	}
	all := strconv.Itoa(n.GPUs)
	capacity, allocatable := have.Status.Capacity[gpu], all
	switch {
	case served:
		capacity = all
	case capacity == "":
		return nil // no plugin has run there
	default:
		allocatable = "0"
	}
	if have.Status.Capacity[gpu] == capacity && have.Status.Allocatable[gpu] == allocatable {
		return nil
	}
	return o.patch(ctx, path+"/status", &have.head, map[string]any{"status": map[string]any{
		"capacity": map[string]any{gpu: capacity}, "allocatable": map[string]any{gpu: allocatable},
	}})
}
