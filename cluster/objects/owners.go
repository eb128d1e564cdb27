package objects

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Object is one of the cluster.
type Object struct {
	Kind      string
	Namespace string
	Name      string
	UID       string
	// Going tells that it is being deleted, which its finalizers hold up.
	Going      bool
	Finalizers []string

	path string
}

// String is the object in words: "Service web in shop".
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Name + " in " + o.Namespace
}

// resource is where objects of a kind are.
type resource struct{ kind, base, plural string }

var (
	ingresses  = resource{"Ingress", "/apis/networking.k8s.io/v1", "ingresses"}
	gateways   = resource{"Gateway", "/apis/gateway.networking.k8s.io/v1", "gateways"}
	services   = resource{"Service", "/api/v1", "services"}
	bindings   = resource{"TargetGroupBinding", "/apis/elbv2.k8s.aws/v1beta1", "targetgroupbindings"}
	claims     = resource{"PersistentVolumeClaim", "/api/v1", "persistentvolumeclaims"}
	volumes    = resource{"PersistentVolume", "/api/v1", "persistentvolumes"}
	pods       = resource{"Pod", "/api/v1", "pods"}
	nodes      = resource{"Node", "/api/v1", "nodes"}
	secrets    = resource{"Secret", "/api/v1", "secrets"}
	budgets    = resource{"PodDisruptionBudget", "/apis/policy/v1", "poddisruptionbudgets"}
	snapshots  = resource{"VolumeSnapshotContent", "/apis/snapshot.storage.k8s.io/v1", "volumesnapshotcontents"}
	everywhere = call{}
)

func (r resource) path() string { return r.base + "/" + r.plural }

// at is where one object is.
func (r resource) at(namespace, name string) string {
	if namespace == "" {
		return r.path() + "/" + name
	}
	return r.base + "/namespaces/" + namespace + "/" + r.plural + "/" + name
}

func (r resource) object(i item) Object {
	m := i.Metadata
	return Object{r.kind, m.Namespace, m.Name, m.UID, m.DeletionTimestamp != "", m.Finalizers, r.at(m.Namespace, m.Name)}
}

// Fronts are the objects for which controllers make load balancers: Services of that
// type, Ingresses and Gateways.
func (c *Client) Fronts(ctx context.Context) ([]Object, error) {
	var all []Object
	for _, r := range []resource{ingresses, gateways, services} {
		list, err := c.list(ctx, r.path(), everywhere)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			if r != services || i.Spec.Type == "LoadBalancer" {
				all = append(all, r.object(i))
			}
		}
	}
	return all, nil
}

// Bindings are the TargetGroupBindings. Those that a controller made for a front go
// with it.
func (c *Client) Bindings(ctx context.Context) ([]Object, error) {
	list, err := c.list(ctx, bindings.path(), everywhere)
	var all []Object
	for _, i := range list {
		all = append(all, bindings.object(i))
	}
	return all, err
}

// Claims are the claims to volumes.
func (c *Client) Claims(ctx context.Context) ([]Object, error) {
	list, err := c.list(ctx, claims.path(), everywhere)
	var all []Object
	for _, i := range list {
		all = append(all, claims.object(i))
	}
	return all, err
}

// Users are what keeps pods that use claims: the object at the top of those that
// made them, or the pod itself. As long as one of them is there, its claims don't go,
// or are made again.
// https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
func (c *Client) Users(ctx context.Context) ([]Object, error) {
	list, err := c.list(ctx, pods.path(), everywhere)
	if err != nil {
		return nil, err
	}
	known := map[string][]apiResource{}
	var all []Object
	for _, p := range list {
		uses := false
		for _, v := range p.Spec.Volumes {
			uses = uses || v.PersistentVolumeClaim != nil || v.Ephemeral != nil
		}
		if !uses {
			continue
		}
		top, err := c.top(ctx, known, pods.object(p), p)
		if err != nil {
			return nil, fmt.Errorf("look for what made %s: %w", pods.object(p), err)
		}
		if !slices.ContainsFunc(all, func(o Object) bool { return o.UID == top.UID }) {
			all = append(all, top)
		}
	}
	return all, nil
}

// apiResource is a resource of a group's version, as the API tells of it.
type apiResource struct {
	Name, Kind string
	Namespaced bool
}

// top is the object at the top of those that control one. A node controls the pods
// that it has from files, and is none of them.
func (c *Client) top(ctx context.Context, known map[string][]apiResource, o Object, i item) (Object, error) {
	const deep = 8 // more than any controllers of controllers
	for range deep {
		n := slices.IndexFunc(i.Metadata.OwnerReferences, func(r reference) bool { return r.Controller })
		if n < 0 || i.Metadata.OwnerReferences[n].Kind == nodes.kind {
			return o, nil
		}
		ref := i.Metadata.OwnerReferences[n]
		base := "/apis/" + ref.APIVersion
		if !strings.Contains(ref.APIVersion, "/") {
			base = "/api/" + ref.APIVersion
		}
		if _, ok := known[base]; !ok {
			var got struct{ Resources []apiResource }
			if err := c.do(ctx, call{method: http.MethodGet, path: base}, &got); err != nil && code(err) != http.StatusNotFound {
				return o, err
			}
			known[base] = got.Resources
		}
		at := slices.IndexFunc(known[base], func(r apiResource) bool { return r.Kind == ref.Kind && !strings.Contains(r.Name, "/") })
		if at < 0 || !named.MatchString(ref.Name) {
			return o, nil
		}
		r := resource{ref.Kind, base, known[base][at].Name}
		namespace := i.Metadata.Namespace
		if !known[base][at].Namespaced {
			namespace = ""
		}
		// Others' kinds call what they like "spec.capacity".
		var got struct{ Metadata metadata }
		err := c.do(ctx, call{method: http.MethodGet, path: r.at(namespace, ref.Name), accept: metadataOf}, &got)
		owner := item{Metadata: got.Metadata}
		if code(err) == http.StatusNotFound || err == nil && owner.Metadata.UID != ref.UID {
			return o, nil
		}
		if err == nil {
			err = owner.check()
		}
		if err != nil {
			return o, err
		}
		o, i = r.object(owner), owner
	}
	return o, nil
}

// Volume is what a claim is bound to.
type Volume struct {
	Object
	// Claim is "NAMESPACE/NAME", and "" of a volume that nobody has claimed.
	Claim string
	// Driver is whose volume it is, and Handle what the driver calls it: "vol-...".
	Driver, Handle string
	Size           string
	// Deleted tells that it is deleted with its claim.
	Deleted bool
}

// Volumes are the cluster's volumes.
func (c *Client) Volumes(ctx context.Context) ([]Volume, error) {
	list, err := c.list(ctx, volumes.path(), everywhere)
	var all []Volume
	for _, i := range list {
		v := Volume{Object: volumes.object(i), Size: i.Spec.Capacity.Storage, Deleted: i.Spec.PersistentVolumeReclaimPolicy != "Retain"}
		if i.Spec.ClaimRef != nil {
			v.Claim = i.Spec.ClaimRef.Namespace + "/" + i.Spec.ClaimRef.Name
		}
		if i.Spec.CSI != nil {
			v.Driver, v.Handle = i.Spec.CSI.Driver, i.Spec.CSI.VolumeHandle
		}
		all = append(all, v)
	}
	return all, err
}

// ReadyNodes counts the nodes on which controllers can run.
func (c *Client) ReadyNodes(ctx context.Context) (n int, err error) {
	list, err := c.list(ctx, nodes.path(), everywhere)
	for _, i := range list {
		for _, condition := range i.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				n++
			}
		}
	}
	return n, err
}

// Unready are the nodes that are not ready, by name.
func (c *Client) Unready(ctx context.Context) (names []string, err error) {
	list, err := c.list(ctx, nodes.path(), everywhere)
	for _, i := range list {
		if !slices.ContainsFunc(i.Status.Conditions, func(c condition) bool { return c.Type == "Ready" && c.Status == "True" }) {
			names = append(names, i.Metadata.Name)
		}
	}
	return names, err
}

// Blocking are the budgets that allow no disruption now, of pods that there are: a
// node with such a pod is not drained.
// https://kubernetes.io/docs/tasks/run-application/configure-pdb/
func (c *Client) Blocking(ctx context.Context) (all []Object, err error) {
	list, err := c.list(ctx, budgets.path(), everywhere)
	for _, i := range list {
		if i.Status.DisruptionsAllowed == 0 && i.Status.ExpectedPods > 0 {
			all = append(all, budgets.object(i))
		}
	}
	return all, err
}

// Release is a revision of one of Helm's, as its labels tell: "deployed", "failed".
type Release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Revision  string `json:"revision"`
	Status    string `json:"status"`
	// Order is its place among those that cluster apply has made, the first one least; ""
	// if another client of Helm made it.
	Order string `json:"-"`
}

// order is the label that only releases of poolhouse's have: their place among those
// that were applied together.
const order = "poolhouse/order"

// Releases are the latest revisions of Helm's releases, by namespace and name.
// https://helm.sh/docs/topics/advanced/#storage-backends
func (c *Client) Releases(ctx context.Context) ([]Release, error) {
	what := call{accept: metadataOnly, query: map[string][]string{"labelSelector": {"owner=helm"}}}
	list, err := c.list(ctx, secrets.path(), what)
	last := map[[2]string]Release{}
	for _, i := range list {
		l := i.Metadata.Labels
		r := Release{l["name"], i.Metadata.Namespace, l["version"], l["status"], l[order]}
		k := [2]string{r.Namespace, r.Name}
		// Longer numbers are larger.
		if was, ok := last[k]; !ok || cmp.Or(cmp.Compare(len(was.Revision), len(r.Revision)), cmp.Compare(was.Revision, r.Revision)) < 0 {
			last[k] = r
		}
	}
	var all []Release
	for _, r := range last {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Release) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all, err
}
