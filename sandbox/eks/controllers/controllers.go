// Package controllers plays the controllers that make things in AWS for the objects
// of a cluster: the cloud controller of EKS's control plane (a Service of type
// LoadBalancer, to a classic load balancer), the AWS Load Balancer Controller (an
// Ingress, to an application load balancer with its target group; a TargetGroupBinding,
// to the targets of a group), the EBS CSI driver (a claim, to a volume), the External
// Secrets Operator (an ExternalSecret, to a Secret), and the cluster autoscaler (pods that
// fit nowhere, to nodes). Both ends are real: the cluster's API on one side, the account on
// the other. It also plays what NVIDIA's device plugin and the kubelets do together: GPUs
// of an instance, to a resource that its node offers.
//
// Invariants: what is made bears the tags, and the object the finalizer, that the
// controller puts; the finalizer goes when AWS has nothing of it any more. The driver
// works while its add-on is active and the cluster has nodes; the load balancer
// controller, the operator and the autoscaler while a pod of their Deployment is ready,
// or would be if it could run here; the device plugin node by node, while such a pod of
// it is there. Targets are kept, secrets read and groups scaled as the role of a service
// account, whose token STS takes: without a role, or without its leave, nothing happens,
// and the error says so.
//
// Limits: each look lists everything. Network load balancers aren't modelled, so that
// the load balancer controller leaves Services to the cloud controller. What it makes for
// Ingresses, and volumes, are made without asking a role. Bindings are of targets by
// address: nodes as targets, readiness gates of pods and rules of security groups by the
// field networking aren't modelled. Of secrets, generators, PushSecrets, find, rewriting,
// roles that stores assume, keys of users, and functions of templates beyond Go's own
// aren't. What a controller's account may do in the cluster by RBAC isn't asked. GPUs are
// numbers: no pod gets a device, and a node whose plugin has stopped keeps its capacity,
// which kubelets set to 0 after five minutes. The autoscaler knows what nodes a group
// would have without asking AWS, and looks at requests, selectors, node affinity and
// taints: a pod that the scheduler keeps waiting for anything else, such as spreading or
// a volume's zone, gets no node. Only nodes without pods go, no others are drained, and
// of its flags --scale-down-unneeded-time alone is looked at.
//
// https://github.com/kubernetes/cloud-provider-aws/blob/master/pkg/providers/v1/aws.go
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/configurations/
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/tagging.md
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/targetgroupbinding/
// https://external-secrets.io/latest/api/externalsecret/
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
// https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Options say whose controllers these are.
type Options struct {
	Account *account.Account
	Cluster string
	// Endpoint is the URL of the cluster's API, Transport leads there, and Token opens
	// it.
	Endpoint  string
	Transport http.RoundTripper
	Token     string
	// Call carries out an operation of AWS for who has credentials; nil leaves bindings,
	// secrets and groups alone.
	Call func(r *http.Request, by wire.Credential, service, operation string, in map[string]any, body io.Reader) (*wire.Raw, error)
}

// Bring looks at the cluster once, and makes and removes what its objects ask for. It
// can be repeated; what takes AWS time goes on at the next look.
func Bring(ctx context.Context, o Options) error {
	var nodes []eks.Node
	var driver bool
	err := o.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		list, err := eks.ControlPlanes(tx)
		for _, p := range list {
			if p.Cluster == o.Cluster {
				nodes = p.Nodes
			}
		}
		for _, a := range tx.List(eks.TypeAddon) {
			if props.Str(a.Props, "ClusterName") == o.Cluster && props.Str(a.Props, "AddonName") == "aws-ebs-csi-driver" {
				driver = a.Status == "ACTIVE"
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	errs := []error{o.balance(ctx, services)}
	if len(nodes) == 0 {
		return errors.Join(errs...)
	}
	errs = append(errs, o.offer(ctx, nodes))
	if driver {
		errs = append(errs, o.provision(ctx), o.reclaim(ctx))
	}
	for _, one := range []struct {
		chart string
		work  func(context.Context, identity) error
	}{
		{"aws-load-balancer-controller", o.loadBalancers},
		{"external-secrets", o.externalSecrets},
		{"aws-cluster-autoscaler", o.autoscale},
	} {
		as, err := o.installed(ctx, one.chart)
		if err == nil && as != nil {
			err = one.work(ctx, *as)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Run looks again and again until the context ends, and reports what can't be brought
// about, once for as long as it can't.
func Run(ctx context.Context, o Options, every time.Duration, report func(error)) {
	look := time.NewTicker(every)
	defer look.Stop()
	said := ""
	for {
		now := ""
		if err := Bring(ctx, o); err != nil && ctx.Err() == nil {
			if now = err.Error(); now != said {
				report(fmt.Errorf("the controllers of cluster %s: %w", o.Cluster, err))
			}
		}
		said = now
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// head is what all objects have.
type head struct {
	Metadata struct {
		Name, Namespace, UID, ResourceVersion string
		DeletionTimestamp                     string
		Generation                            int64
		Labels, Annotations                   map[string]string
		Finalizers                            []string
		OwnerReferences                       []owner
	} `json:"metadata"`
}

// owner is whom an object goes with.
type owner struct {
	APIVersion         string `json:"apiVersion"`
	Kind               string `json:"kind"`
	Name               string `json:"name"`
	UID                string `json:"uid"`
	Controller         bool   `json:"controller,omitempty"`
	BlockOwnerDeletion bool   `json:"blockOwnerDeletion,omitempty"`
}

// object is one of the API's own, as far as controllers look at it.
type object struct {
	head
	Spec struct {
		Type                          string
		VolumeName                    string
		StorageClassName              string
		AccessModes                   []string
		PersistentVolumeReclaimPolicy string
		Capacity                      struct{ Storage string }
		Resources                     struct{ Requests struct{ Storage string } }
		CSI                           struct{ Driver, VolumeHandle string }
	} `json:"spec"`
	Status struct {
		Phase        string
		LoadBalancer struct{ Ingress []struct{ Hostname string } }
	} `json:"status"`

	Parameters    map[string]string `json:"parameters"` // of a storage class
	ReclaimPolicy string            `json:"reclaimPolicy"`

	VolumeBindingMode string `json:"volumeBindingMode"`
}

func (o *head) going() bool { return o.Metadata.DeletionTimestamp != "" }

func (o *head) has(finalizer string) bool {
	return slices.Contains(o.Metadata.Finalizers, finalizer)
}

// with and without are the object's finalizers with another one, or without one.
func (o *head) with(finalizer string) []string { return append(o.Metadata.Finalizers, finalizer) }

func (o *head) without(finalizer string) []string {
	return slices.DeleteFunc(slices.Clone(o.Metadata.Finalizers), func(f string) bool { return f == finalizer })
}

// refusal is an answer of the API that is none of success.
type refusal struct {
	code int
	text string
}

func (e refusal) Error() string { return e.text }

// answerTime bounds one call of the API with its repetitions, and mostAnswer its answer.
const (
	answerTime = time.Minute
	mostAnswer = 64 << 20
)

// ask calls the API, and calls it again as long as it is asked to come later, as it does
// of kinds that were defined just now.
func (o Options) ask(ctx context.Context, method, path, kind string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	until := time.Now().Add(answerTime)
	for {
		text, later, err := o.askOnce(ctx, method, path, kind, body)
		switch {
		case err == nil && out == nil:
			return nil
		case err == nil:
			return json.Unmarshal(text, out)
		case later == 0 || time.Until(until) <= later:
			return err
		}
		wait := time.NewTimer(later)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

// askOnce calls the API once. Later is when it asks to be called again; 0 unless it does.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
func (o Options) askOnce(ctx context.Context, method, path, kind string, in []byte) (text []byte, later time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(o.Endpoint, "/")+path, bytes.NewReader(in))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+o.Token)
	req.Header.Set("Accept", "application/json")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := o.Transport.RoundTrip(req)
	if err != nil {
		return nil, 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err = io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return nil, 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return text, 0, nil
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && resp.StatusCode == http.StatusTooManyRequests {
		later = time.Duration(max(seconds, 1)) * time.Second
	}
	const most = 300
	return nil, later, refusal{resp.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, resp.Status, text[:min(len(text), most)])}
}

// list are all objects at a path.
func (o Options) list(ctx context.Context, path string) ([]object, error) {
	return listOf[object](ctx, o, path)
}

// listOf are all objects at a path; none if the API doesn't have the kind.
func listOf[T any](ctx context.Context, o Options, path string) ([]T, error) {
	var got struct{ Items []T }
	err := o.ask(ctx, http.MethodGet, path, "", nil, &got)
	if missing(err) {
		return nil, nil
	}
	return got.Items, err
}

// patch changes an object that is still the one that was seen; one that isn't is left.
func (o Options) patch(ctx context.Context, path string, of *head, change map[string]any) error {
	m, ok := change["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		change["metadata"] = m
	}
	m["uid"] = of.Metadata.UID
	err := o.ask(ctx, http.MethodPatch, path, "application/merge-patch+json", change, nil)
	if left(err) {
		return nil
	}
	return err
}

// left tells that an object isn't there any more, or another one is.
func left(err error) bool {
	var no refusal
	return missing(err) || errors.As(err, &no) && no.code == http.StatusConflict
}

// missing tells that an object isn't there, or its kind.
func missing(err error) bool {
	var no refusal
	return errors.As(err, &no) && no.code == http.StatusNotFound
}
